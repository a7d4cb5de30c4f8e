"""A process that runs one method on one folder and reports what it took: python -m dff.benchmark.worker."""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from dff import io, optics, pipeline
from dff.benchmark.cost import stopwatch
from dff.pipeline.memory import peak_memory_gb
from dff.settings import Settings
from dff.stack import FocalStack

DEPTH_STAGES = ("measure focus", "label", "refine depth")
PICTURE_STAGES = ("fuse",)


class StageClock:
    """Processor seconds of each stage, taken between the calls of a progress callback."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}
        self._stage, self._since = "start", time.process_time()

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.process_time()
        self.cpu_s[self._stage] = self.cpu_s.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now

    def total(self, stages: tuple[str, ...]) -> float:
        """Processor seconds of some stages."""
        self(self._stage, 0, 0)
        return sum(self.cpu_s.get(stage, 0.0) for stage in stages)


def run(stack: FocalStack, settings: Settings, repeats: int) -> dict[str, object]:
    """Decode the frames and reconstruct them several times; processor and wall seconds of each repeat."""
    told: dict[str, list[float]] = {"decode_cpu_s": [], "depth_cpu_s": [], "fuse_cpu_s": [], "wall_s": []}
    idle = peak_memory_gb()
    for _ in range(repeats):
        with stopwatch() as decoding:
            for k in range(len(stack)):
                stack.frames[k]
        clock = StageClock()
        with stopwatch() as whole, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipeline.reconstruct(stack, settings, on_progress=clock)
        told["decode_cpu_s"].append(decoding[0].cpu_s)
        told["depth_cpu_s"].append(clock.total(DEPTH_STAGES))
        told["fuse_cpu_s"].append(clock.total(PICTURE_STAGES))
        told["wall_s"].append(whole[0].wall_s)
    pixels = stack.shape[0] * stack.shape[1]
    return {**told, "frames_mp": len(stack) * pixels / 1e6, "idle_gb": idle, "peak_gb": peak_memory_gb()}


def main(folder: str, settings: str, repeats: str, report: str) -> None:
    """Run as a process: the folder of frames, settings as JSON, repeats, and the file to report to."""
    stack = io.read_stack(folder)
    geometry = optics.unknown_geometry(np.arange(float(len(stack))), stack.shape[:2])
    told = run(
        FocalStack(stack.frames, stack.names, stack.shape, stack.dtype, stack.metadata, geometry),
        Settings(**json.loads(settings)),
        int(repeats),
    )
    Path(report).write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
