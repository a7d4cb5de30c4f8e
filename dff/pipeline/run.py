"""The order of the stages, and nothing else: read, order, align, measure, label, refine, fuse, back-project, write."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff import align, filters, fuse, io
from dff.depth import LATTICE, DepthEstimator, Labels
from dff.focus import load_measure
from dff.pipeline.geometry import resolve_geometry, unit_warning
from dff.pipeline.plan import Plan, make_plan
from dff.settings import DEFAULTS, Settings
from dff.stack import Alignment, DepthMap, FocalStack, FocusGeometry, Progress, Reconstruction, silent

RESIDUAL_GATE_PX = 0.3
"""Filtering along the stack pays where frames are registered better than this (rms)."""

_INVALID_LOGIT = -40.0


def open_stack(source: str | Path | list[str], settings: Settings) -> FocalStack:
    """The focal stack at a path, its frames undecoded.

    Raises:
        ValueError, OSError: files that cannot be used.
    """
    return io.read_stack(source, every=settings.every, skip_bad=settings.skip_bad)


def reconstruct(
    stack: FocalStack,
    settings: Settings = DEFAULTS,
    *,
    scratch: str | Path | None = None,
    on_progress: Progress = silent,
    on_frame: Callable[[int, NDArray[Any]], None] | None = None,
) -> Reconstruction:
    """Turn a focal stack into a sharp picture and a depth map.

    Frames are decoded once and moved once; they then lie in one scratch file, from which the stages read strips of
    full-width rows. Memory does not grow with the number of frames beyond the label lattice.

    Args:
        stack: The frames. Their own geometry, if any, stands before that of the settings.
        settings: Every option.
        scratch: Folder for the scratch file; by default that of the settings, else the system's temporary folder.
        on_progress: Called as (stage, done, total).
        on_frame: Called as (k, frame) with each frame as it was decoded.

    Raises:
        ValueError: frames or settings that cannot be used.
        OSError: not enough space for the scratch file.
    """
    stages, messages = Stages(on_progress), []  # type: tuple[Stages, list[str]]
    _use_threads(settings.threads)
    with recorded_warnings(messages):
        stack = _ordered(stack, settings, stages)
        geometry = stack.geometry or resolve_geometry(stack, settings)
        if note := unit_warning(geometry):
            warnings.warn(note, stacklevel=2)
        estimator = make_estimator(settings, geometry)
        plan = plan_for(stack, settings)
        folder = Path(scratch or settings.scratch or io.temporary_folder())
        with io.ScratchStack.create(folder, len(stack), stack.shape, stack.dtype) as frames:
            _read(stack, frames, on_frame, stages)
            alignment = _align(replace(stack, frames=frames), frames, settings, stages)
            estimator = replace(estimator, z_sigma_frames=coherence_frames(settings, alignment))
            strips = _Strips(frames, alignment, estimator, plan, stack.white)
            labels = _label(strips, stages)
            depth, nearest = _refine(strips, labels, stages)
            picture = _fuse(strips, nearest, settings, stages)
    return Reconstruction(
        all_in_focus=picture,
        depth=depth,
        geometry=geometry,
        alignment=alignment,
        settings=settings,
        metadata=stack.metadata,
        names=stack.names,
        suffix=stack.suffix,
        timings_s=stages.timings_s,
        warnings=tuple(messages),
        files=stack.files,
    )


@dataclass
class Stages:
    """The stages of one run: who is told of their progress, and how long they took."""

    on_progress: Progress
    timings_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Any]:
        """Time a stage; gives a function to call with the number of steps done."""
        started = time.perf_counter()
        self.on_progress(name, 0, total)
        yield lambda done: self.on_progress(name, done, total)
        self.timings_s[name] = self.timings_s.get(name, 0.0) + time.perf_counter() - started


@contextmanager
def recorded_warnings(messages: list[str]) -> Iterator[None]:
    """Add each warning to the list once, and issue it again when the block ends."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            issued = list(caught)
    for entry in issued:
        message = " ".join(str(entry.message).split())
        if message not in messages:
            messages.append(message)
            warnings.warn(message, stacklevel=4)


@dataclass(frozen=True)
class _Strips:
    """The aligned frames, read strip by strip as the tensors that the stages take."""

    frames: Any
    alignment: Alignment
    estimator: DepthEstimator
    plan: Plan
    white: float

    @property
    def size_px(self) -> tuple[int, int]:
        return self.alignment.size_px

    def rows(self, start: int, stop: int) -> Callable[[int], Tensor]:
        """A function of k that gives the strip of frame k, (C, rows, W) float32 at the reference's brightness."""

        def strip(k: int) -> Tensor:
            pixels = self.frames.read_frame_rows(k, start, stop)
            planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).to(torch.float32)
            return planes.mul_(float(self.alignment.gains[k]) / self.white)

        return strip

    def volume(self, start: int, stop: int) -> Tensor:
        """(N, rows, W) logits; frames that do not cover a pixel have none there."""
        channels = self.estimator.measure.channels
        images = torch.empty((len(self.frames), channels, stop - start, self.size_px[1]))
        strip = self.rows(start, stop)
        for k in range(len(self.frames)):
            images[k] = _with_channels(strip(k), channels)
        volume = self.estimator.volume(images)
        for k, covered in self.partly_covered(start, stop, self.estimator.measure.border_px):
            volume[k].masked_fill_(torch.from_numpy(~covered), _INVALID_LOGIT)
        return volume

    def partly_covered(self, start: int, stop: int, margin_px: int) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """Frames that do not cover all of a strip, with (rows, W) where they do, `margin_px` inside their edge."""
        top, bottom = max(0, start - margin_px), min(self.size_px[0], stop + margin_px)
        square = np.ones((2 * margin_px + 1, 2 * margin_px + 1), np.uint8)
        for k, covered in enumerate(align.valid_frames(self.alignment, top, bottom)):
            if not covered.all():
                inner = cv2.erode(covered.view(np.uint8), square)[start - top : stop - top]
                yield k, inner.astype(bool)


def _with_channels(image: Tensor, channels: int) -> Tensor:
    if len(image) == channels:
        return image
    return filters.luminance(image[None]) if channels == 1 else image.expand(channels, -1, -1)


def _use_threads(threads: int) -> None:
    count = threads or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else threads or os.cpu_count()
    torch.set_num_threads(int(count or 1))
    cv2.setNumThreads(int(count or 1))


def _ordered(stack: FocalStack, settings: Settings, stages: Stages) -> FocalStack:
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
        order = align.estimate_order(stack, on_progress=lambda _, step, __: done(step))
    return replace(_in_order(stack, order), positions=())


def _in_order(stack: FocalStack, order: list[int]) -> FocalStack:
    return stack if order == list(range(len(stack))) else stack.subset(order)


def make_estimator(settings: Settings, geometry: FocusGeometry) -> DepthEstimator:
    """How depth is found; the filter along the stack is off until the alignment is known."""
    steps = np.diff(geometry.z)
    even = np.allclose(steps, steps.mean(), rtol=1e-3)
    return DepthEstimator(
        measure=load_measure(settings.measure, window_sigma_px=settings.window_sigma_px),
        method=settings.depth_method,
        smoothness=settings.smoothness,
        refit_radius=settings.refit_radius,
        z=None if even else np.asarray(geometry.z, float),
    )


def plan_for(stack: FocalStack, settings: Settings) -> Plan:
    """How a stack will be cut into strips, and what the run takes.

    Raises:
        ValueError: not enough memory for the smallest strip.
    """
    measure = load_measure(settings.measure, window_sigma_px=settings.window_sigma_px)
    estimator = DepthEstimator(measure)
    return make_plan(stack, settings, halo_px=estimator.halo_px, channels=measure.channels)


def _read(stack: FocalStack, frames: Any, on_frame: Callable[[int, NDArray[Any]], None] | None, stages: Stages) -> None:
    with stages.stage("read frames", len(stack)) as done:
        for k in range(len(stack)):
            frame = stack.frames[k]
            frames.write_frame(k, frame)
            if on_frame is not None:
                on_frame(k, frame)
            done(k + 1)


def _align(stack: FocalStack, frames: Any, settings: Settings, stages: Stages) -> Alignment:
    if settings.alignment:
        alignment = io.read_alignment(settings.alignment)
        _check_alignment(alignment, stack, settings.alignment)
    else:
        with stages.stage("align", len(stack)) as done:
            alignment = align.estimate_alignment(
                stack,
                model=settings.align,
                max_shift=settings.max_shift,
                max_scale=settings.max_scale,
                max_rotation_deg=settings.max_rotation_deg,
                brightness=settings.brightness,
                on_progress=lambda _, step, __: done(step),
            )
    _warp(frames, alignment, stages)
    return alignment


def _warp(frames: Any, alignment: Alignment, stages: Stages) -> None:
    """Move every frame onto the reference, outward from it.

    What a frame does not cover takes the pixels of its neighbour, so that filters along the stack meet no edge
    there; those pixels are never evidence.
    """
    still, reference = np.eye(3), alignment.reference
    moved = [k for k in range(len(alignment)) if not np.array_equal(alignment.transforms[k], still)]
    with stages.stage("warp", len(moved)) as done:
        for step, k in enumerate(sorted(moved, key=lambda k: abs(k - reference))):
            frame = align.warp_frame(frames.read_frame(k), alignment.transforms[k])
            covered = align.covered(alignment.transforms[k], alignment.size_px)
            if k != reference and not covered.all():
                toward = k - 1 if k > reference else k + 1
                scale = alignment.gains[toward] / alignment.gains[k]
                other = frames.read_frame(toward)[~covered] * scale
                frame[~covered] = _in_type(other, frame.dtype)
            frames.write_frame(k, frame)
            done(step + 1)


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


def coherence_frames(settings: Settings, alignment: Alignment) -> float:
    """Standard deviation of the filter along the stack that the settings, or else the residual, ask for."""
    if settings.z_sigma_frames is not None:
        return settings.z_sigma_frames
    residual_px = alignment.residual_rms_px
    return 0.0 if residual_px > RESIDUAL_GATE_PX else 1.0


def _label(strips: _Strips, stages: Stages) -> Labels:
    """What the whole lattice says."""
    height, width = strips.size_px
    plan = strips.plan
    lattice = torch.empty((len(strips.frames), -(-height // LATTICE), -(-width // LATTICE)), dtype=torch.float16)
    with stages.stage("measure focus", height) as done:
        for start, stop in plan.strips(height):
            top, bottom = plan.with_halo((start, stop), height)
            part = strips.estimator.lattice(strips.volume(top, bottom))
            first, last = start // LATTICE, -(-stop // LATTICE)
            lattice[:, first:last] = part[:, first - top // LATTICE : last - top // LATTICE]
            done(stop)
    with stages.stage("label", 1) as done:
        labels = strips.estimator.regularise(lattice)
        done(1)
    return labels


def _refine(strips: _Strips, labels: Labels, stages: Stages) -> tuple[DepthMap, NDArray[np.float32]]:
    """Depth of every pixel, and an index for the picture at every pixel, known or not."""
    height, width = strips.size_px
    index, sigma, nearest = (np.empty((height, width), np.float32) for _ in range(3))
    confidence = np.empty((height, width), np.float32)
    with stages.stage("refine depth", height) as done:
        for start, stop in strips.plan.strips(height):
            top, bottom = strips.plan.with_halo((start, stop), height)
            refined = strips.estimator.refine(strips.volume(top, bottom), labels, top=top)
            inside = slice(start - top, stop - top)
            index[start:stop] = refined.index[inside].numpy()
            sigma[start:stop] = refined.sigma[inside].numpy()
            confidence[start:stop] = refined.confidence[inside].numpy()
            nearest[start:stop] = refined.label[inside].numpy()
            _forget_ends(index[start:stop], nearest[start:stop], strips, (start, stop))
            done(stop)
    unknown = np.isnan(index)
    sigma[unknown], confidence[unknown] = np.nan, 0
    known = np.isfinite(index)
    nearest[known] = index[known]
    return DepthMap(index, confidence, sigma), nearest


def _forget_ends(
    index: NDArray[np.float32], label: NDArray[np.float32], strips: _Strips, rows: tuple[int, int]
) -> None:
    """Make the depth unknown next to frames that do not cover the pixel: the peak may lie in them."""
    for k, covered in strips.partly_covered(*rows, strips.estimator.measure.border_px):
        index[~covered & (np.abs(label - k) <= 1)] = np.nan


def _fuse(strips: _Strips, index: NDArray[np.float32], settings: Settings, stages: Stages) -> NDArray[Any]:
    """The all-in-focus picture, in the frames' own type."""
    height, width = strips.size_px
    frames, method = strips.frames, settings.fusion
    picture = np.empty((height, width, frames.shape[2]), frames.dtype)
    plan = strips.plan.for_fusion(fuse.halo_px(method), fuse.row_multiple(method))
    with stages.stage("fuse", height) as done:
        for start, stop in plan.strips(height):
            top, bottom = plan.with_halo((start, stop), height)
            fused = fuse.all_in_focus(
                strips.rows(top, bottom),
                count=len(frames),
                index=torch.from_numpy(index[top:bottom]),
                valid=torch.from_numpy(align.valid_frames(strips.alignment, top, bottom)),
                method=method,
            )
            picture[start:stop] = fuse.to_dtype(fused[:, start - top : stop - top], frames.dtype)
            done(stop)
    return picture
