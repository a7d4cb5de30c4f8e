"""A process that measures what no program can undercut: python -m dff.benchmark.speed_floor."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

import imagecodecs
import numpy as np

from dff import io, pipeline
from dff.benchmark.cost import Cost, stopwatch
from dff.settings import Settings
from dff.stack import FocalStack

_PASSES = 5


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


def main(folder: str, settings: str, report: str) -> None:
    """Run as a process: the frames, settings as JSON, and the file to report to, forecasts included."""
    warnings.simplefilter("ignore")
    chosen = Settings(**json.loads(settings))
    stack = pipeline.open_stack(folder, chosen)
    floor = {"decoding alone": decoding(stack), "one memory pass": memory_pass(stack)}
    told = {
        "frames_mp": len(stack) * stack.shape[0] * stack.shape[1] / 1e6,
        "floor": {name: asdict(cost) for name, cost in floor.items()},
        "predicted_gb": pipeline.plan_for(stack, chosen).memory_gb,
        "predicted_s": pipeline.forecast(stack, chosen),
    }
    Path(report).write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
