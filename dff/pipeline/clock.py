"""What each stage takes, told by the calls of a progress callback; stages that overlap share it."""

from __future__ import annotations

import time


class StageClock:
    """Which stages what is taken between two calls of a progress callback belongs to."""

    def __init__(self) -> None:
        self._begun = ["start"]
        """Stages that are not done; after those, the last that was."""
        self._open: set[str] = set()

    def step(self, stage: str, done: int, total: int) -> list[str]:
        """Take the next call; gives the stages that share what was taken since the last one."""
        shared = self._begun
        (self._open.discard if done >= total else self._open.add)(stage)
        self._begun = sorted(self._open) or [stage]
        return shared


class StageSeconds:
    """A progress callback that adds up the seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._clock = StageClock()
        self._since = time.perf_counter()

    def __call__(self, stage: str, done: int, total: int) -> None:
        now, shared = time.perf_counter(), self._clock.step(stage, done, total)
        for name in shared:
            self.seconds[name] = self.seconds.get(name, 0.0) + (now - self._since) / len(shared)
        self._since = now
