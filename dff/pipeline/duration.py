"""How long a reconstruction is going to take: a few frames and a part of the picture are worked on, and scaled up."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff import align, fuse
from dff.pipeline.folder import reconstruct_to_folder
from dff.pipeline.plan import Plan
from dff.pipeline.prepare import use_threads
from dff.pipeline.run import plan_for
from dff.pipeline.strips import tiles
from dff.settings import Settings
from dff.stack import FocalStack, Frames

_FRAMES = 6
_CROP_PX = 1024
_VOLUME_STAGES = ("measure focus", "refine depth")
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
    """Seconds that each stage is going to take on this machine as it is now.

    Some frames of the middle are decoded and registered whole; the other stages are run on their centre, with two
    numbers of frames, and scaled to all pixels and frames.

    Raises:
        ValueError: frames or settings that cannot be used.
    """
    use_threads(settings.threads)
    first = max(0, len(stack) // 2 - _FRAMES // 2)
    chosen = stack.subset(range(first, min(len(stack), first + _FRAMES)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frames, seconds = _read_and_registered(chosen, len(stack), settings)
        few, many = (_centre_s(chosen, frames, settings, count) for count in (_FRAMES, 3 * _FRAMES))
    plan, (height, width) = plan_for(stack, settings), stack.shape[:2]
    pixels = height * width / (min(height, _CROP_PX) * min(width, _CROP_PX))
    for stage in ("measure focus", "label", "refine depth", "fuse", "slabs"):
        if stage in few:
            slope = max(0.0, many[stage] - few[stage]) / (2 * _FRAMES)
            frames_s = few[stage] + slope * (len(stack) - _FRAMES)
            seconds[stage] = pixels * frames_s * _waste(plan, stage, settings, (height, width))
    for stage in _PIXEL_STAGES:
        seconds[stage] = pixels * few.get(stage, 0.0)
    # Stills are of one size, maps are not.
    return {**seconds, "previews": min(2.0, pixels) * few["previews"]}


def _read_and_registered(
    chosen: FocalStack, count: int, settings: Settings
) -> tuple[list[NDArray[Any]], dict[str, float]]:
    """The chosen frames, and what reading, registering and moving all of them takes."""
    started = time.perf_counter()
    frames = [chosen.frames[k] for k in range(len(chosen))]
    share = count / len(frames)
    seconds = {"read frames": share * (time.perf_counter() - started)}
    if settings.alignment or settings.align == "none":
        return frames, seconds
    started = time.perf_counter()
    alignment = align.estimate_alignment(replace(chosen, frames=frames), model=settings.align)
    seconds["align"] = share * (time.perf_counter() - started)
    moved = [t for t in alignment.transforms if not np.array_equal(t, np.eye(3))]
    if moved:
        started = time.perf_counter()
        align.warp_frame(frames[0], moved[0])
        seconds["warp"] = (count - 1) * (time.perf_counter() - started)
    return frames, seconds


def _centre_s(chosen: FocalStack, frames: Sequence[NDArray[Any]], settings: Settings, count: int) -> dict[str, float]:
    """Seconds a stage of so many frames' centre, without registration."""
    height, width, channels = chosen.shape
    top, left = max(0, height - _CROP_PX) // 2, max(0, width - _CROP_PX) // 2
    part: Frames = _Repeated(frames, count, (slice(top, top + _CROP_PX), slice(left, left + _CROP_PX)))
    stack = FocalStack(
        part, tuple(map(str, range(count))), (*part[0].shape[:2], channels), chosen.dtype, chosen.metadata
    )
    plain = settings.but(
        align="none", alignment=None, z_file=None, step_mm=None, capture="auto", order="name", scratch=None
    )
    with tempfile.TemporaryDirectory(prefix="dff-forecast-") as folder:
        return dict(reconstruct_to_folder(stack, Path(folder, "result"), plain).timings_s)


def _waste(plan: Plan, stage: str, settings: Settings, size: tuple[int, int]) -> float:
    """How many times each pixel is worked on, because tiles overlap."""
    if stage == "fuse":
        plan = plan.for_fusion(fuse.halo_px(settings.fusion), fuse.row_multiple(settings.fusion))
    elif stage not in _VOLUME_STAGES:
        return 1.0
    every = [tile for strip in plan.strips(size[0]) for tile in tiles(plan, strip, size)]
    read = sum(np.prod([stop - start for start, stop in (tile.read_rows, tile.read_columns)]) for tile in every)
    return float(read) / (size[0] * size[1])


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
