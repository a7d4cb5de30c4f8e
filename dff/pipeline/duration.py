"""How long a reconstruction is going to take: a few frames and a part of the picture are worked on, and scaled up."""

from __future__ import annotations

import math
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

from dff import fuse, io
from dff.pipeline.clock import StageSeconds
from dff.pipeline.folder import reconstruct_to_folder, write_frame_preview
from dff.pipeline.journal import Journal, Stages
from dff.pipeline.plan import Plan
from dff.pipeline.prepare import make_ready, use_threads
from dff.pipeline.run import bare_estimator, plan_for
from dff.pipeline.strips import tiles
from dff.pipeline.tiling import LANES
from dff.pipeline.watch import Watcher
from dff.settings import Settings
from dff.stack import FocalStack, Frames

_WHOLE_FRAMES = (4, 10)
"""Numbers of whole frames that are read, registered and moved,"""
_FRAMES = (6, 18)
"""and of parts of them that everything else is done with,"""
_SIZES_PX = ((256, 256), (512, 2048))
"""of these heights and widths; threads share the columns of a network."""
_LEAST_SHARE = 0.5
"""What one frame more takes at least, over what a frame takes of so few."""
_SHOWN_PX = 1_700_000
"""Pixels that pictures to look at have at most."""
_WHOLE_STAGES = ("read frames", "align", "warp")
_FRAME_STAGES = ("measure focus", "label", "refine depth", "fuse", "slabs", "write slabs")
_PIXEL_STAGES = ("points", "mesh", "previews", "write")
"""Stages whose time does not depend on the number of frames."""


@dataclass(frozen=True)
class _Repeated:
    """Some frames, over and over."""

    frames: Sequence[NDArray[Any]]
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int, /) -> NDArray[Any]:
        place = k % (2 * len(self.frames))
        return self.frames[min(place, 2 * len(self.frames) - 1 - place)]


def forecast(stack: FocalStack, settings: Settings) -> dict[str, float]:
    """Seconds that each stage is going to take on this machine as it is now, and the start of the program.

    What is paid once a process, to load libraries and loops, is what a small part of the picture takes longer the
    first time than the second. Some frames of the middle are then read, registered and moved whole, in two numbers;
    the other stages are run on their centre, in two sizes and with two numbers of frames. All is scaled to all pixels
    and frames.

    Raises:
        ValueError: frames or settings that cannot be used.
    """
    use_threads(settings.threads)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="dff-forecast-") as temporary:
        warnings.simplefilter("ignore")
        folder, plain = Path(temporary), _plain(settings)
        some = _middle(stack, _FRAMES[0])
        parts = [_centre(some.frames[k], _SIZES_PX[0]) for k in range(len(some))]
        first, again = (_Centre.of(stack, parts, plain, _FRAMES[0], folder) for _ in range(2))
        loading = {name: max(0.0, taken_s - again.seconds.get(name, 0.0)) for name, taken_s in first.seconds.items()}
        ready = [_made_ready(_middle(stack, count), plain, folder) for count in _WHOLE_FRAMES]
        still, parts = plain.but(align="none"), ready[-1].parts
        small = _Centre.of(stack, [_centre(part, _SIZES_PX[0]) for part in parts], still, _FRAMES[0], folder)
        few, many = (_Centre.least(stack, parts, still, count, folder) for count in _FRAMES)
    seconds = {stage: _of_frames(stage, ready, len(stack)) for stage in _WHOLE_STAGES}
    seconds |= _of_parts(small, few, many, stack, settings)
    if settings.alignment:
        seconds["align"] = loading["align"] = 0.0
    seconds = {stage: taken_s + loading.get(stage, 0.0) for stage, taken_s in seconds.items()}
    return {"start": _start_s(), **seconds}


def _start_s() -> float:
    """What a process takes until it reads frames; the other libraries are loaded while it does."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import dff.pipeline.folder"], check=False, stdin=subprocess.DEVNULL)
    return time.perf_counter() - started


def _plain(settings: Settings) -> Settings:
    """What does not depend on which frames there are."""
    return settings.but(alignment=None, z_file=None, step_mm=None, capture="auto", order="name", scratch=None)


def _middle(stack: FocalStack, count: int) -> FocalStack:
    first = max(0, len(stack) // 2 - count // 2)
    return stack.subset(range(first, min(len(stack), first + count)))


def _centre(frame: NDArray[Any], size_px: tuple[int, int]) -> NDArray[Any]:
    top, left = (max(0, side - wanted) // 2 for side, wanted in zip(frame.shape, size_px))
    return np.ascontiguousarray(frame[top : top + size_px[0], left : left + size_px[1]])


@dataclass(frozen=True)
class _Ready:
    """What reading, registering and moving so many whole frames took, and the centres of some of them."""

    count: int
    seconds: dict[str, float]
    parts: list[NDArray[Any]]


def _made_ready(chosen: FocalStack, settings: Settings, folder: Path) -> _Ready:
    previews, clock = folder / "frames", StageSeconds()
    io.result_paths(previews).frame_preview(0).parent.mkdir(parents=True, exist_ok=True)
    watcher = Watcher(on_frame=lambda k, small: write_frame_preview(k, small, previews))
    with Journal().scratch(folder, chosen) as scratch:
        make_ready(chosen, scratch, settings, Stages(clock, Journal(), []), watcher)
        clock("end", 0, 0)
        first = max(0, len(chosen) - _FRAMES[0]) // 2
        some = range(first, min(len(chosen), first + _FRAMES[0]))
        return _Ready(len(chosen), clock.seconds, [_centre(scratch.read_frame(k), _SIZES_PX[1]) for k in some])


def _of_frames(stage: str, ready: Sequence[_Ready], count: int) -> float:
    """Seconds of a stage that works on whole frames one after the other, for all of them."""
    few, many = ready
    taken_s = many.seconds.get(stage, 0.0)
    each_s = (taken_s - few.seconds.get(stage, 0.0)) / max(1, many.count - few.count)
    each_s = min(max(each_s, _LEAST_SHARE * taken_s / many.count), taken_s / many.count)
    return taken_s + each_s * (count - many.count)


@dataclass(frozen=True)
class _Centre:
    """What the stages took for the centre of so many frames."""

    stack: FocalStack
    plan: Plan
    seconds: dict[str, float]

    @classmethod
    def of(
        cls, whole: FocalStack, parts: Sequence[NDArray[Any]], settings: Settings, count: int, folder: Path
    ) -> _Centre:
        frames: Frames = _Repeated(parts, count)
        height, width, channels = parts[0].shape
        names = tuple(map(str, range(count)))
        stack = FocalStack(frames, names, (height, width, channels), whole.dtype, whole.metadata, suffix=whole.suffix)
        share, clock = _pixels(stack) / _pixels(whole), StageSeconds()
        # Cloud and mesh are thinned as much as those of the whole.
        points, faces = (math.ceil(share * most) for most in (settings.max_points, settings.max_faces))
        settings = settings.but(max_points=points, max_faces=faces)
        reconstruct_to_folder(stack, folder / "result", settings, force=True, on_progress=clock)
        clock("end", 0, 0)
        return cls(stack, plan_for(stack, settings), clock.seconds)

    @classmethod
    def least(
        cls, whole: FocalStack, parts: Sequence[NDArray[Any]], settings: Settings, count: int, folder: Path
    ) -> _Centre:
        """The same twice, and the shorter time of each stage: what else the machine did in between counts once."""
        one, other = (cls.of(whole, parts, settings, count, folder) for _ in range(2))
        return replace(one, seconds={name: min(s, other.seconds.get(name, s)) for name, s in one.seconds.items()})


def _of_parts(small: _Centre, few: _Centre, many: _Centre, stack: FocalStack, settings: Settings) -> dict[str, float]:
    """Seconds of the stages that are run on parts of the picture, for all of it and for all frames."""
    plan, seconds = plan_for(stack, settings), {}
    for stage in few.seconds.keys() & {*_FRAME_STAGES, *_PIXEL_STAGES}:
        least_s, few_s, many_s = (centre.seconds.get(stage, 0.0) for centre in (small, few, many))
        below, there, then = (_worked_on(part.plan, stage, part.stack, settings) for part in (small, few, many))
        slope = max(0.0, few_s - least_s) / (there - below) if there > below else few_s / there
        once_s = max(0.0, few_s - slope * there)
        each_s = max(0.0, many_s * there / then - few_s) / (_FRAMES[1] - _FRAMES[0]) if stage in _FRAME_STAGES else 0.0
        grown_s = max(0.0, few_s - once_s + each_s * (len(stack) - _FRAMES[0]))
        seconds[stage] = once_s + grown_s * _worked_on(plan, stage, stack, settings) / there
    return seconds


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
    elif stage == "previews":
        return min(_SHOWN_PX, _pixels(stack))
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
