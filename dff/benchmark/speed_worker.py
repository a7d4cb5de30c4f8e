"""A process that reconstructs a folder and reports what every stage took: python -m dff.benchmark.speed_worker."""

from __future__ import annotations

import json
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import imagecodecs
import numpy as np

from dff import io, pipeline
from dff.benchmark.cost import Cost, stopwatch
from dff.settings import Settings
from dff.stack import FocalStack

_IO = Path("/proc/self/io")
_PASSES = 5


@dataclass
class StageCost:
    """What a stage took."""

    cpu_s: float = 0.0
    wall_s: float = 0.0
    file_bytes: int = 0
    """Read from and written to files, those in memory included."""
    peak_gb: float = 0.0


class StageMeter:
    """Costs of each stage, taken between the calls of a progress callback."""

    def __init__(self) -> None:
        self.stages: dict[str, StageCost] = {}
        self._stage = "start"
        self._since = self._now()

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = self._now()
        cost = self.stages.setdefault(self._stage, StageCost())
        cost.cpu_s += now[0] - self._since[0]
        cost.wall_s += now[1] - self._since[1]
        cost.file_bytes += now[2] - self._since[2]
        cost.peak_gb = max(cost.peak_gb, pipeline.peak_memory_gb())
        if stage != self._stage:
            pipeline.forget_peak()
        self._stage, self._since = stage, now

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


def decoding(stack: FocalStack) -> Cost:
    """Decoding every frame by the library alone, which no program that reads the frames can undercut."""
    with stopwatch() as costs:
        for path in map(Path, stack.files):
            if path.suffix == ".jpg":
                imagecodecs.jpeg8_decode(path.read_bytes())
            else:
                io.read_image(path)
    return costs[0]


def memory_pass(stack: FocalStack) -> Cost:
    """Copying every frame in memory once."""
    frame = stack.frames[0]
    target = np.empty_like(frame)
    np.copyto(target, frame)
    with stopwatch() as costs:
        for _ in range(_PASSES):
            np.copyto(target, frame)
    share = len(stack) / _PASSES
    return Cost(costs[0].cpu_s * share, costs[0].wall_s * share)


def main(folder: str, output: str, settings: str, report: str) -> None:
    """Run as a process: the frames, the folder for the result, settings as JSON, and the file to report to."""
    warnings.simplefilter("ignore")
    chosen = Settings(**json.loads(settings))
    stack = pipeline.open_stack(folder, chosen)
    floor = {"decoding alone": decoding(stack), "one memory pass": memory_pass(stack)}
    predicted = pipeline.plan_for(stack, chosen)
    meter = StageMeter()
    with stopwatch() as whole:
        pipeline.reconstruct_to_folder(stack, output, chosen, on_progress=meter)
        meter("end", 0, 0)
    told = {
        "frames_mp": len(stack) * stack.shape[0] * stack.shape[1] / 1e6,
        "floor": {name: asdict(cost) for name, cost in floor.items()},
        "stages": {name: asdict(cost) for name, cost in meter.stages.items()},
        "whole": asdict(whole[0]),
        "peak_gb": max(cost.peak_gb for cost in meter.stages.values()),
        "predicted_gb": predicted.memory_gb,
        "predicted_s": sum(pipeline.forecast(stack, chosen).values()),
    }
    Path(report).write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
