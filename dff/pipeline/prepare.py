"""Frames made ready: opened, put in order, decoded into the scratch file, registered and moved."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dff import align, io, preview
from dff.ahead import ahead, crew, in_turn, set_threads
from dff.pipeline.geometry import resolve_geometry
from dff.pipeline.journal import Stages
from dff.pipeline.memory import reuse_freed_memory, reused_frames
from dff.pipeline.plan import frames_at_once
from dff.pipeline.watch import SMALL_PX, UNWATCHED, Watcher
from dff.settings import Settings
from dff.stack import Alignment, FocalStack

RESIDUAL_GATE_PX = 0.3
"""Filtering along the stack pays where frames are registered better than this (rms)."""


def open_stack(source: str | Path | list[str], settings: Settings) -> FocalStack:
    """The focal stack at a path, its frames undecoded.

    Raises:
        ValueError, OSError: files that cannot be used.
    """
    return io.read_stack(source, every=settings.every, skip_bad=settings.skip_bad)


def thread_count(threads: int) -> int:
    """How many threads a run uses; 0 is one a core that it may use."""
    if threads:
        return threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_threads(threads: int) -> None:
    """Set how many threads the loaded libraries use, 0 is one a core; they do not clear memory over and over."""
    reuse_freed_memory()
    set_threads(thread_count(threads))


@contextmanager
def recorded_warnings(messages: list[str]) -> Iterator[None]:
    """Add each warning to the list once as it comes, and issue it again when the block ends."""
    before = len(messages)

    def record(message: Warning | str, *_: Any, **__: Any) -> None:
        text = " ".join(str(message).split())
        if text not in messages:
            messages.append(text)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = record
        yield
    for text in messages[before:]:
        warnings.warn(text, stacklevel=4)


def ordered(stack: FocalStack, settings: Settings, stages: Stages) -> FocalStack:
    """The frames in the order of the sweep: as their table says, as their content says, or as they are."""
    if settings.z_file and stack.geometry is None:
        order = io.read_focus_table(settings.z_file, len(stack), names=stack.names).order()
        if order != list(range(len(stack))):
            warnings.warn(
                f"{settings.z_file}: the frames are not named in the order of their z; z is followed", stacklevel=2
            )
        return replace(_in_order(stack, order), geometry=resolve_geometry(stack, settings))
    if settings.order != "auto":
        return stack
    with stages.stage("find the order", len(stack)) as done:
        order = stages.journal.value(
            "order", lambda: align.estimate_order(stack, on_progress=lambda _, step, __: done(step))
        )
    return replace(_in_order(stack, order), positions=())


def _in_order(stack: FocalStack, order: list[int]) -> FocalStack:
    return stack if order == list(range(len(stack))) else stack.subset(order)


def make_ready(
    stack: FocalStack, frames: Any, settings: Settings, stages: Stages, watcher: Watcher = UNWATCHED
) -> Alignment:
    """Decode every frame into the scratch file, register them, and move them onto the reference there.

    Args:
        stack: The frames as they are.
        frames: The scratch file.
        settings: Every option.
        stages: Who is told, and what earlier runs finished.
        watcher: Who is shown the frames and their alignment.

    Raises:
        ValueError: a frame cannot be used, or an alignment is made for other frames.
    """
    with reused_frames(stack.frame_bytes):
        _read(stack, frames, settings, stages, watcher)
        alignment = _aligned(replace(stack, frames=frames), settings, stages)
        watcher.on_alignment(alignment)
        _move(stack, frames, alignment, stages)
    return alignment


def _read(stack: FocalStack, frames: Any, settings: Settings, stages: Stages, watcher: Watcher) -> None:
    """Decode the frames, several at the same time; one after the other they are written."""
    if not stages.journal.needs_frames(stack.shape[0]):
        return

    def decoded(k: int) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
        frame = stack.frames[k]
        return frame, preview.thumbnail(frame, SMALL_PX) if watcher.sees_frames else None

    left = range(stages.journal.finished("read frames"), len(stack))
    workers = frames_at_once(stack, settings, cv2.getNumThreads())
    with stages.stage("read frames", len(stack)) as done, crew(workers) as pool:
        ready = ahead(decoded, left) if pool is None else in_turn(pool, decoded, left, workers)
        for k, (frame, small) in zip(left, ready):
            frames.write_frame(k, frame)
            if small is not None:
                watcher.on_frame(k, small)
            done(k + 1)


def _aligned(stack: FocalStack, settings: Settings, stages: Stages) -> Alignment:
    """The alignment of the file that the settings name, or as the frames show it."""
    if settings.alignment:
        alignment = io.read_alignment(settings.alignment)
        _check_alignment(alignment, stack, settings.alignment)
    else:
        alignment = stages.journal.alignment(lambda: _estimated(stack, settings, stages))
    return alignment


def _estimated(stack: FocalStack, settings: Settings, stages: Stages) -> Alignment:
    with stages.stage("align", len(stack)) as done:
        return align.estimate_alignment(
            stack,
            model=settings.align,
            max_shift=settings.max_shift,
            max_scale=settings.max_scale,
            max_rotation_deg=settings.max_rotation_deg,
            brightness=settings.brightness,
            on_progress=lambda _, step, __: done(step),
        )


def _move(stack: FocalStack, frames: Any, alignment: Alignment, stages: Stages) -> None:
    """Move every frame onto the reference, outward from it.

    What a frame does not cover takes the pixels of its neighbour, so that filters along the stack meet no edge
    there; those pixels are never evidence. The frame that a killed run was at may be half moved: it is decoded again.
    """
    still, reference = np.eye(3), alignment.reference
    moved = [k for k in range(len(alignment)) if not np.array_equal(alignment.transforms[k], still)]
    if not stages.journal.needs_frames(stack.shape[0]):
        return
    first = stages.journal.finished("warp")
    order = sorted(moved, key=lambda k: abs(k - reference))[first:]

    def moved_frame(k: int) -> NDArray[Any]:
        half_moved = stages.journal.resumed and k == order[0]
        return align.warp_frame(stack.frames[k] if half_moved else frames.read_frame(k), alignment.transforms[k])

    with stages.stage("warp", len(moved)) as done, closing(ahead(moved_frame, order)) as ready:
        for step, (k, frame) in enumerate(zip(order, ready), first + 1):
            if k != reference:
                _take_from_neighbour(frame, k, k - 1 if k > reference else k + 1, frames, alignment)
            frames.write_frame(k, frame)
            done(step)


def _take_from_neighbour(frame: NDArray[Any], k: int, toward: int, frames: Any, alignment: Alignment) -> None:
    """Give the pixels that frame k does not cover those of its neighbour, as bright as the frame."""
    scale = alignment.gains[toward] / alignment.gains[k]
    for window in align.partly_covered(alignment.transforms[k], alignment.size_px):
        bare = ~align.covered(alignment.transforms[k], alignment.size_px, *((part.start, part.stop) for part in window))
        frame[window][bare] = _in_type(frames.read_part(toward, *window)[bare] * scale, frame.dtype)


def _in_type(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if not np.issubdtype(dtype, np.integer):
        return values.astype(dtype)
    return np.clip(np.rint(values), 0, np.iinfo(dtype).max).astype(dtype)


def _check_alignment(alignment: Alignment, stack: FocalStack, path: str) -> None:
    got, wanted = (len(alignment), *alignment.size_px), (len(stack), *stack.shape[:2])
    if got != wanted:
        raise ValueError(
            f"{path}: must be made for {wanted[0]} frames of {wanted[2]} x {wanted[1]} px; got one for {got[0]} frames "
            f"of {got[2]} x {got[1]} px; give the alignment.json of a stack of the same shape"
        )


def coherence(settings: Settings, alignment: Alignment) -> float:
    """Standard deviation of the filter along the stack, frames; 0 where frames are not registered well enough."""
    if settings.z_sigma_frames is not None:
        return settings.z_sigma_frames
    residual_px = alignment.residual_rms_px
    return 0.0 if residual_px > RESIDUAL_GATE_PX else 1.0
