"""The order of the stages, and nothing else: read, order, align, measure, label, refine, fuse, back-project, write."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dff import align, fuse, io
from dff.depth import LATTICE, DepthEstimator, Labels, split_window
from dff.focus import load_measure
from dff.pipeline.geometry import resolve_geometry, unit_warning
from dff.pipeline.journal import Journal, Stages
from dff.pipeline.plan import Plan, make_plan
from dff.pipeline.strips import Strips, Tile, tiles
from dff.pipeline.watch import UNWATCHED, Watcher
from dff.settings import DEFAULTS, Settings
from dff.stack import Alignment, DepthMap, FocalStack, FocusGeometry, Progress, Reconstruction, silent

RESIDUAL_GATE_PX = 0.3
"""Filtering along the stack pays where frames are registered better than this (rms)."""


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
    watcher: Watcher = UNWATCHED,
    journal: Journal | None = None,
) -> Reconstruction:
    """Turn a focal stack into a sharp picture and a depth map.

    Frames are decoded once and moved once; they then lie in one scratch file, from which the stages read strips of
    full-width rows. Memory does not grow with the number of frames beyond the label lattice.

    Args:
        stack: The frames. Their own geometry, if any, stands before that of the settings.
        settings: Every option.
        scratch: Folder for the scratch file; by default that of the settings, else the system's temporary folder.
        on_progress: Called as (stage, done, total).
        watcher: Who is shown what is found as it is found.
        journal: What earlier runs finished of this one; see `open_journal`.

    Raises:
        ValueError: frames or settings that cannot be used.
        OSError: not enough space for the scratch file.
    """
    journal = journal or Journal()
    messages: list[str] = []
    stages = Stages(on_progress, journal, messages)
    _use_threads(settings.threads)
    with recorded_warnings(messages):
        journal.warn_again()
        stack = _ordered(stack, settings, stages)
        geometry = stack.geometry or resolve_geometry(stack, settings)
        if note := unit_warning(geometry):
            warnings.warn(note, stacklevel=2)
        estimator = _estimator(stack, settings, geometry)
        plan = plan_for(stack, settings)
        watcher.on_start(stack, geometry)
        folder = Path(scratch or settings.scratch or io.temporary_folder())
        with journal.scratch(folder, stack) as frames:
            _read(stack, frames, watcher, stages)
            alignment = _align(replace(stack, frames=frames), settings, stages)
            watcher.on_alignment(alignment)
            _warp(stack, frames, alignment, stages)
            estimator = replace(estimator, z_sigma_frames=_coherence(settings, alignment))
            strips = Strips(frames, alignment, estimator, plan, stack.white)
            labels = _label(strips, stages)
            if labels.label is not None:
                watcher.on_labels(labels.label.numpy())
            strips = replace(strips, estimator=estimator.matched(labels))
            depth, nearest = _refine(strips, labels, stages, watcher)
            picture = _fuse(strips, nearest, settings, stages, watcher)
    return Reconstruction(
        all_in_focus=picture,
        depth=depth,
        geometry=geometry,
        alignment=alignment,
        settings=settings,
        metadata=stack.metadata,
        names=stack.names,
        files=stack.files,
        suffix=stack.suffix,
        timings_s=stages.timings_s,
        warnings=tuple(messages),
    )


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
        order = stages.journal.value(
            "order", lambda: align.estimate_order(stack, on_progress=lambda _, step, __: done(step))
        )
    return replace(_in_order(stack, order), positions=())


def _in_order(stack: FocalStack, order: list[int]) -> FocalStack:
    return stack if order == list(range(len(stack))) else stack.subset(order)


def _estimator(stack: FocalStack, settings: Settings, geometry: FocusGeometry) -> DepthEstimator:
    steps = np.diff(geometry.z)
    even = np.allclose(steps, steps.mean(), rtol=1e-3)
    return replace(
        _bare_estimator(settings),
        z=None if even else np.asarray(geometry.z, float),
        near_first=bool(geometry.z[0] > geometry.z[-1]),
    )


def _bare_estimator(settings: Settings) -> DepthEstimator:
    """The estimator of any stack; smoothed labels let the window be that of planes for the most part."""
    window_px, plane_px = settings.window_sigma_px, 0.0
    if settings.depth_method == "regularised":
        window_px, plane_px = split_window(window_px)
    return DepthEstimator(
        measure=load_measure(settings.measure, window_sigma_px=window_px),
        method=settings.depth_method,
        smoothness=settings.smoothness,
        refit_radius=settings.refit_radius,
        plane_sigma_px=plane_px,
    )


def plan_for(stack: FocalStack, settings: Settings) -> Plan:
    """How a stack will be cut into strips, and what the run takes.

    Raises:
        ValueError: not enough memory for the smallest strip.
    """
    estimator = _bare_estimator(settings)
    return make_plan(
        stack,
        settings,
        halo_px=estimator.halo_px,
        channels=estimator.measure.channels,
        fusion_halo_px=fuse.halo_px(settings.fusion),
    )


def _read(stack: FocalStack, frames: Any, watcher: Watcher, stages: Stages) -> None:
    if stages.journal.finished("fuse") == stack.shape[0]:
        return
    with stages.stage("read frames", len(stack)) as done:
        for k in range(stages.journal.finished("read frames"), len(stack)):
            frame = stack.frames[k]
            frames.write_frame(k, frame)
            watcher.on_frame(k, frame)
            done(k + 1)


def _align(stack: FocalStack, settings: Settings, stages: Stages) -> Alignment:
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


def _warp(stack: FocalStack, frames: Any, alignment: Alignment, stages: Stages) -> None:
    """Move every frame onto the reference, outward from it.

    What a frame does not cover takes the pixels of its neighbour, so that filters along the stack meet no edge
    there; those pixels are never evidence. The frame that a killed run was at may be half moved: it is decoded again.
    """
    still, reference = np.eye(3), alignment.reference
    moved = [k for k in range(len(alignment)) if not np.array_equal(alignment.transforms[k], still)]
    if stages.journal.finished("fuse") == stack.shape[0]:
        return
    first = stages.journal.finished("warp")
    with stages.stage("warp", len(moved)) as done:
        for step, k in list(enumerate(sorted(moved, key=lambda k: abs(k - reference))))[first:]:
            whole = stack.frames[k] if stages.journal.resumed and step == first else frames.read_frame(k)
            frame = align.warp_frame(whole, alignment.transforms[k])
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


def _coherence(settings: Settings, alignment: Alignment) -> float:
    if settings.z_sigma_frames is not None:
        return settings.z_sigma_frames
    residual_px = alignment.residual_rms_px
    return 0.0 if residual_px > RESIDUAL_GATE_PX else 1.0


def _label(strips: Strips, stages: Stages) -> Labels:
    """What the whole lattice says."""
    height, width = strips.size_px
    journal = stages.journal
    if "noise logit" in journal.values:
        return _kept_labels(strips, journal)
    lattice = torch.empty((len(strips.frames), -(-height // LATTICE), -(-width // LATTICE)), dtype=torch.float16)
    rows = np.moveaxis(lattice.numpy(), 1, 0)
    finished = journal.finished("measure focus")
    journal.restore("lattice", rows, -(-finished // LATTICE))
    with stages.stage("measure focus", height) as done:
        for strip in strips.plan.strips(height):
            if strip[1] <= finished:
                continue
            for tile in tiles(strips.plan, strip, strips.size_px):
                part = strips.estimator.lattice(strips.volume(tile))
                place, inside = (tuple(map(_sites, slices)) for slices in (tile.place, tile.inside))
                lattice[:, place[0], place[1]] = part[:, inside[0], inside[1]]
            kept = _sites(slice(*strip))
            journal.keep_rows("lattice", rows[kept], kept.start)
            done(strip[1])
    with stages.stage("label", 1) as done:
        labels = strips.estimator.regularise(lattice)
        if labels.label is not None:
            journal.keep_rows("label", labels.label.numpy(), 0)
        journal.set_value("drop", labels.drop)
        journal.set_value("noise logit", labels.noise_logit)
        done(1)
    return labels


def _sites(pixels: slice) -> slice:
    return slice(pixels.start // LATTICE, -(-pixels.stop // LATTICE))


def _kept_labels(strips: Strips, journal: Journal) -> Labels:
    height, width = strips.size_px
    label = None
    if strips.estimator.method == "regularised":
        label = torch.empty((-(-height // LATTICE), -(-width // LATTICE)), dtype=torch.int64)
        journal.restore("label", label.numpy(), len(label))
    return Labels(label, journal.values["noise logit"], journal.values["drop"])


def _refine(strips: Strips, labels: Labels, stages: Stages, watcher: Watcher) -> tuple[DepthMap, NDArray[np.float32]]:
    """Depth of every pixel, and an index for the picture at every pixel, known or not."""
    height = strips.size_px[0]
    maps = {name: np.empty(strips.size_px, np.float32) for name in ("index", "sigma", "confidence", "nearest")}
    index, sigma, confidence, nearest = maps.values()
    finished = stages.journal.finished("refine depth")
    for name, values in maps.items():
        stages.journal.restore(name, values, finished)
    if finished:
        watcher.on_rows(0, DepthMap(index[:finished], confidence[:finished], sigma[:finished]))
    with stages.stage("refine depth", height) as done:
        for strip in strips.plan.strips(height):
            if strip[1] <= finished:
                continue
            for tile in tiles(strips.plan, strip, strips.size_px):
                _refine_tile(strips, labels, tile, maps)
            rows = slice(*strip)
            for name, values in maps.items():
                stages.journal.keep_rows(name, values[rows], strip[0])
            watcher.on_rows(strip[0], DepthMap(index[rows], confidence[rows], sigma[rows]))
            done(strip[1])
    known = np.isfinite(index)
    nearest[known] = index[known]
    return DepthMap(index, confidence, sigma), nearest


def _refine_tile(strips: Strips, labels: Labels, tile: Tile, maps: dict[str, NDArray[np.float32]]) -> None:
    top, left = tile.read_rows[0], tile.read_columns[0]
    frame = strips.frame_tiles(tile.read_rows, tile.read_columns)
    refined = strips.estimator.refine(strips.volume(tile), labels, top=top, left=left, frame=frame)
    found = (refined.index, refined.sigma, refined.confidence, refined.label)
    index, sigma, confidence, label = (values[tile.inside].to(torch.float32).numpy() for values in found)
    for k, covered in strips.partly_covered(tile.rows, tile.columns):
        # The peak may lie in the frame that does not cover the pixel.
        index[~covered & (np.abs(label - k) <= 1)] = np.nan
    unknown = np.isnan(index)
    sigma[unknown], confidence[unknown] = np.nan, 0
    for target, part in zip(maps.values(), (index, sigma, confidence, label)):
        target[tile.place] = part


def _fuse(
    strips: Strips, index: NDArray[np.float32], settings: Settings, stages: Stages, watcher: Watcher
) -> NDArray[Any]:
    """The all-in-focus picture, in the frames' own type."""
    height, width = strips.size_px
    frames, method = strips.frames, settings.fusion
    picture = np.empty((height, width, frames.shape[2]), frames.dtype)
    plan = strips.plan.for_fusion(fuse.halo_px(method), fuse.row_multiple(method))
    finished = stages.journal.finished("fuse")
    stages.journal.restore("picture", picture, finished)
    if finished:
        watcher.on_picture(0, picture[:finished])
    with stages.stage("fuse", height) as done:
        for strip in plan.strips(height):
            if strip[1] <= finished:
                continue
            for tile in tiles(plan, strip, strips.size_px):
                fused = fuse.all_in_focus(
                    strips.frame_tiles(tile.read_rows, tile.read_columns),
                    count=len(frames),
                    index=torch.from_numpy(index[tile.read]),
                    valid=strips.valid(tile),
                    method=method,
                )
                picture[tile.place] = fuse.to_dtype(fused[:, tile.inside[0], tile.inside[1]], frames.dtype)
            rows = slice(*strip)
            stages.journal.keep_rows("picture", picture[rows], strip[0])
            watcher.on_picture(strip[0], picture[rows])
            done(strip[1])
    return picture
