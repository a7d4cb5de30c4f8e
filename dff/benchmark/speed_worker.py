"""A process that reconstructs a folder and reports what every stage took: python -m dff.benchmark.speed_worker."""

from __future__ import annotations

import json
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from dff import pipeline, program
from dff.settings import Settings

_IO = Path("/proc/self/io")


@dataclass
class StageCost:
    """What a stage took."""

    cpu_s: float = 0.0
    wall_s: float = 0.0
    file_bytes: int = 0
    """Read from and written to files, those in memory included."""
    peak_gb: float = 0.0


class StageMeter:
    """Costs of each stage, taken between the calls of a progress callback; stages that overlap share them."""

    def __init__(self) -> None:
        self.stages: dict[str, StageCost] = {}
        self._clock = pipeline.StageClock()
        self._since = self._now()

    def __call__(self, stage: str, done: int, total: int) -> None:
        now, shared = self._now(), self._clock.step(stage, done, total)
        share = 1 / len(shared)
        for name in shared:
            cost = self.stages.setdefault(name, StageCost())
            cost.cpu_s += share * (now[0] - self._since[0])
            cost.wall_s += share * (now[1] - self._since[1])
            cost.file_bytes += round(share * (now[2] - self._since[2]))
            cost.peak_gb = max(cost.peak_gb, pipeline.peak_memory_gb())
        if stage not in shared:
            pipeline.forget_peak()
        self._since = now

    @staticmethod
    def _now() -> tuple[float, float, int]:
        return time.process_time(), time.perf_counter(), moved_bytes()


def moved_bytes() -> int:
    """Bytes that this process has read from and written to files; 0 where the system does not tell."""
    try:
        lines = _IO.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("rchar", "wchar")))


def main(folder: str, output: str, settings: str, report: str) -> NoReturn:
    """Run as a process: the frames, the folder for the result, settings as JSON, and the file to report to."""
    program.begin()
    warnings.simplefilter("ignore")
    chosen = Settings(**json.loads(settings))
    meter = StageMeter()
    stack = pipeline.open_stack(folder, chosen)
    pipeline.describe(stack, chosen, Path(output))
    pipeline.reconstruct_to_folder(stack, output, chosen, on_progress=meter)
    meter("end", 0, 0)
    Path(report).write_text(json.dumps({name: asdict(cost) for name, cost in meter.stages.items()}))
    program.end(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
