"""How long a reconstruction is going to take: a few frames and a part of the picture are worked on, and scaled up."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff import fuse
from dff.pipeline.folder import reconstruct_to_folder
from dff.pipeline.journal import Journal, Stages
from dff.pipeline.plan import Plan
from dff.pipeline.prepare import align_frames, read_frames, use_threads, warp_frames
from dff.pipeline.run import bare_estimator, plan_for
from dff.pipeline.strips import tiles
from dff.pipeline.tiling import LANES
from dff.pipeline.watch import UNWATCHED
from dff.settings import Settings
from dff.stack import FocalStack, Frames, silent

_FRAMES = 6
_CROP_PX = 1024
_FRAME_STAGES = ("measure focus", "label", "refine depth", "fuse", "slabs")
_PIXEL_STAGES = ("points", "mesh", "write")
"""Stages whose time does not depend on the number of frames."""


@dataclass(frozen=True)
class _Repeated:
    """A part of some frames, over and over."""

    frames: Sequence[NDArray[Any]]
    count: int
    part: tuple[slice, slice]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int, /) -> NDArray[Any]:
        place = k % (2 * len(self.frames))
        there_and_back = min(place, 2 * len(self.frames) - 1 - place)
        return np.ascontiguousarray(self.frames[there_and_back][self.part])


def forecast(stack: FocalStack, settings: Settings) -> dict[str, float]:
    """Seconds that each stage is going to take on this machine as it is now, and the start of the program.

    Some frames of the middle are decoded, registered and moved whole; the other stages are run on their centre, with
    two numbers of frames, and scaled to all pixels and frames.

    Raises:
        ValueError: frames or settings that cannot be used.
    """
    use_threads(settings.threads)
    first = max(0, len(stack) // 2 - _FRAMES // 2)
    chosen = stack.subset(range(first, min(len(stack), first + _FRAMES)))
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="dff-forecast-") as folder:
        warnings.simplefilter("ignore")
        frames, seconds = _made_ready(chosen, len(stack), settings, Path(folder))
        few, many = (_Centre.of(chosen, frames, settings, count, Path(folder)) for count in (_FRAMES, 3 * _FRAMES))
    whole, pixels = plan_for(stack, settings), _pixels(stack) / few.pixels
    for stage in _FRAME_STAGES:
        if stage in few.seconds:
            slope = max(0.0, many.seconds[stage] - few.seconds[stage]) / (2 * _FRAMES)
            frames_s = few.seconds[stage] + slope * (len(stack) - _FRAMES)
            work = _worked_on(whole, stage, stack, settings) / _worked_on(few.plan, stage, few.stack, settings)
            seconds[stage] = frames_s * work
    for stage in _PIXEL_STAGES:
        seconds[stage] = pixels * few.seconds.get(stage, 0.0)
    # Stills are of one size, maps are not.
    return {"start": _start_s(), **seconds, "previews": min(2.0, pixels) * few.seconds["previews"]}


def _start_s() -> float:
    """What a process takes until it reads frames; the other libraries are loaded while it does."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import dff.pipeline.folder"], check=False, stdin=subprocess.DEVNULL)
    return time.perf_counter() - started


def _made_ready(
    chosen: FocalStack, count: int, settings: Settings, folder: Path
) -> tuple[list[NDArray[Any]], dict[str, float]]:
    """The chosen frames, registered, and what reading, registering and moving all of them takes."""
    (first, stages), plain = (Stages(silent, Journal(), []) for _ in range(2)), settings.but(alignment=None)
    with Journal().scratch(folder, chosen) as scratch:
        read_frames(chosen, scratch, UNWATCHED, stages)
        # What is registered first waits for the loops to be loaded, however many frames there are.
        align_frames(replace(chosen, frames=scratch).subset(range(2)), plain, first)
        alignment = align_frames(replace(chosen, frames=scratch), plain, stages)
        warp_frames(chosen, scratch, alignment, stages)
        frames = [scratch.read_frame(k) for k in range(len(chosen))]
    pairs = (count - 1) / max(1, len(chosen) - 1)
    shares = {"read frames": count / len(chosen), "align": pairs, "warp": pairs}
    seconds = {stage: shares[stage] * taken_s for stage, taken_s in stages.timings_s.items()}
    seconds["align"] = 0.0 if settings.alignment else seconds["align"] + first.timings_s["align"]
    return frames, seconds


@dataclass(frozen=True)
class _Centre:
    """What the stages took for the centre of so many frames."""

    stack: FocalStack
    plan: Plan
    seconds: dict[str, float]

    @property
    def pixels(self) -> int:
        return _pixels(self.stack)

    @classmethod
    def of(
        cls, chosen: FocalStack, frames: Sequence[NDArray[Any]], settings: Settings, count: int, folder: Path
    ) -> _Centre:
        height, width, channels = chosen.shape
        top, left = max(0, height - _CROP_PX) // 2, max(0, width - _CROP_PX) // 2
        part: Frames = _Repeated(frames, count, (slice(top, top + _CROP_PX), slice(left, left + _CROP_PX)))
        names = tuple(map(str, range(count)))
        stack = FocalStack(part, names, (*part[0].shape[:2], channels), chosen.dtype, chosen.metadata)
        plain = settings.but(
            align="none", alignment=None, z_file=None, step_mm=None, capture="auto", order="name", scratch=None
        )
        result = reconstruct_to_folder(stack, folder / str(count), plain)
        return cls(stack, plan_for(stack, plain), dict(result.timings_s))


def _pixels(stack: FocalStack) -> int:
    return stack.shape[0] * stack.shape[1]


def _worked_on(plan: Plan, stage: str, stack: FocalStack, settings: Settings) -> float:
    """Pixels that a stage works on one after the other, halos included."""
    size, workers = stack.shape[:2], plan.workers[0]
    if stage == "fuse":
        workers = plan.workers[1]
        plan = plan.for_fusion(fuse.halo_px(settings.fusion), fuse.row_multiple(settings.fusion))
    elif stage == "measure focus":
        plan, workers = plan.for_sites(), 1
        if bare_estimator(settings).by_rows:
            # Rows go in once, with little around them.
            parts = [plan.with_halo(part, size[1], LANES) for part in plan.parts(size[1])]
            return float(size[0] * sum(stop - start for start, stop in parts))
    elif stage != "refine depth":
        return _pixels(stack)
    every = [tile for strip in plan.strips(size[0]) for tile in tiles(plan, strip, size)]
    areas = (np.prod([stop - start for start, stop in (tile.read_rows, tile.read_columns)]) for tile in every)
    return float(sum(areas)) / workers


def told_time(seconds: dict[str, float]) -> str:
    """The forecast in one line."""
    total = sum(seconds.values())
    longest = sorted(seconds, key=lambda stage: -seconds[stage])[:3]
    parts = ", ".join(f"{stage} {in_words(seconds[stage])}" for stage in longest)
    return f"time       about {in_words(total)} on this machine as it is now ({parts}, ...)"


def in_words(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
