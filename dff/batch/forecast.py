"""What a batch is going to take: stack by stack, and all together."""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dff import io, pipeline
from dff.batch.jobs import Job, Row
from dff.batch.pool import cores, share_gb
from dff.batch.run import Record, found_stacks, planned, shared
from dff.settings import DEFAULTS, Settings
from dff.stack import Progress, silent


@dataclass(frozen=True)
class Expected:
    """What a stack is going to take."""

    name: str
    frames: int
    size_px: tuple[int, int]
    memory_gb: float
    scratch_gb: float
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """What a batch is going to take."""

    stacks: tuple[Expected, ...]
    """Those that are to be done, in their order."""
    others: tuple[Row, ...]
    """Those that are finished already or cannot be begun."""
    at_once: int
    """Most stacks at a time."""
    memory_gb: float
    """Memory that all together may take."""

    @property
    def seconds(self) -> float:
        """Until the last one ends: each begins as soon as there is room for it."""
        waiting, now = list(self.stacks), 0.0
        running: list[tuple[float, float]] = []
        while waiting:
            free_gb = self.memory_gb - sum(memory_gb for _, memory_gb in running)
            room = len(running) < self.at_once
            fitting = [stack for stack in waiting if room and (not running or stack.memory_gb <= free_gb)]
            if fitting:
                waiting.remove(fitting[0])
                heapq.heappush(running, (now + fitting[0].seconds, fitting[0].memory_gb))
            else:
                now = heapq.heappop(running)[0]
        return max((end for end, _ in running), default=now)


def forecast_batch(
    folder: str | Path,
    results: str | Path,
    settings: Settings = DEFAULTS,
    *,
    jobs: int = 0,
    memory_gb: float = 0.0,
    force: bool = False,
    on_progress: Progress = silent,
) -> Forecast:
    """What `run_batch` with the same arguments would do; writes nothing.

    The time of the first stack of each size and number of frames is measured on a part of it.

    Args:
        folder: Folder of stacks.
        results: Folder of the results.
        settings: Every option of every stack.
        jobs: Stacks at a time; 0 takes as many as there are cores.
        memory_gb: Memory that all stacks together may take; 0 takes what is free.
        force: Replace results that were made of other frames or with other options.
        on_progress: Called as ("forecast", done, total).

    Raises:
        ValueError: there are no stacks.
        OSError: the folders cannot be read.
    """
    found = found_stacks(folder)
    at_once = min(jobs or cores(), len(found))
    todo, others = planned(found, Record(Path(results)), shared(settings, at_once), force)
    timed: dict[object, float] = {}
    stacks = []
    for done, job in enumerate(todo):
        stacks.append(_expected(job, timed))
        on_progress("forecast", done + 1, len(todo))
    return Forecast(tuple(stacks), tuple(others), at_once, share_gb(memory_gb))


def _expected(job: Job, timed: dict[object, float]) -> Expected:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stack = io.read_stack(job.source, every=job.settings.every, skip_bad=job.settings.skip_bad)
        kind = (stack.shape, stack.dtype, len(stack), stack.suffix)
        if kind not in timed:
            timed[kind] = sum(pipeline.forecast(stack, job.settings).values())
    return Expected(job.name, len(stack), stack.shape[:2], job.memory_gb, job.scratch_gb, timed[kind])


def told_forecast(forecast: Forecast) -> str:
    """A line a stack, and the sum."""
    names = [stack.name for stack in forecast.stacks] + [row.name for row in forecast.others]
    width = max(len(name) for name in names)
    lines = [_told(stack, width) for stack in forecast.stacks]
    lines += [f"{row.name:<{width}}  {row.state} {row.error}".rstrip() for row in forecast.others]
    return "\n".join([*lines, *_sum(forecast)])


def _told(stack: Expected, width: int) -> str:
    height, across = stack.size_px
    return (
        f"{stack.name:<{width}}  {stack.frames} of {across} x {height} px, {stack.memory_gb:.1f} GB of memory, "
        f"{stack.scratch_gb:.2f} GB of disk, {pipeline.in_words(stack.seconds)}"
    )


def _sum(forecast: Forecast) -> list[str]:
    stacks, states = forecast.stacks, [row.state for row in forecast.others]
    kept, failed = states.count("kept"), states.count("failed")
    sizes_gb = [stack.memory_gb for stack in stacks]
    memory_gb = min(_most(sizes_gb, forecast.at_once), max([forecast.memory_gb, *sizes_gb]))
    disk_gb = _most([stack.scratch_gb for stack in stacks], forecast.at_once)
    return [
        f"stacks     {len(stacks)} to do, {kept} kept, {failed} that cannot be begun",
        f"at once    {forecast.at_once} at most, within {forecast.memory_gb:.1f} GB of memory",
        f"takes      up to {memory_gb:.1f} GB of memory and {disk_gb:.2f} GB of disk",
        f"time       about {pipeline.in_words(forecast.seconds)} on this machine as it is now",
    ]


def _most(sizes: Sequence[float], count: int) -> float:
    return sum(sorted(sizes, reverse=True)[:count])
