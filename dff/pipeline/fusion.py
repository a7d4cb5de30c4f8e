"""One sharp picture of a pair or a stack, by the rule of one network or operator, without depth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff import fuse, io
from dff.depth import DepthEstimator
from dff.focus import FocusMeasure
from dff.fuse import skin
from dff.pipeline.journal import Journal, Stages
from dff.pipeline.plan import Plan, make_plan
from dff.pipeline.prepare import coherence, make_ready, ordered, use_threads
from dff.pipeline.run import chosen_measure, frame_noise
from dff.pipeline.strips import Strips, Tile, tiles
from dff.settings import DEFAULTS, Settings
from dff.stack import FocalStack, Progress, silent

PROBABLE = 10.0
"""Probabilities are sharpened by so much less than energies, whose logarithms differ by little."""
PICTURE_HALO_PX = 64
"""Context of rules that make the picture themselves, on strips of a stack."""


def fuse_frames(stack: FocalStack, settings: Settings = DEFAULTS, *, on_progress: Progress = silent) -> NDArray[Any]:
    """All-in-focus picture of frames of one subject, in their own type.

    What the measure says of every frame weighs the frames in a blend band by band. With `fusion` "weighted" a measure
    that comes with a rule of its own, as the fusion networks do, makes the picture; a generating network always does.

    Args:
        stack: Two frames or more.
        settings: `measure` names the network or operator; alignment, precision and memory as for a reconstruction.
        on_progress: Called as (stage, done, total).

    Returns:
        (H, W, C).

    Raises:
        ValueError: frames or settings that cannot be used.
    """
    stages = Stages(on_progress, Journal())
    use_threads(settings.threads)
    stack = ordered(stack, settings, stages)
    measure = chosen_measure(settings)
    by_itself = measure.picture is not None and (measure.generates or settings.fusion == "weighted")
    folder = Path(settings.scratch or io.temporary_folder())
    with io.ScratchStack.create(folder, len(stack), stack.shape, stack.dtype) as frames:
        alignment = make_ready(stack, frames, settings, stages)
        z_sigma_frames = coherence(settings, alignment) if len(stack) > 2 else 0.0
        estimator = DepthEstimator(measure, z_sigma_frames=z_sigma_frames)
        plan = _plan(stack, settings, measure, by_itself)
        strips = Strips(frames, alignment, estimator, plan, stack.white)
        if by_itself:
            return _pictured(strips, stack, settings.soft_skin, stages)
        with io.ScratchStack.create(folder, len(stack), (*stack.shape[:2], 1), np.float16) as logits:
            _measure(strips, logits, stages)
            return _blended(strips, logits, stack, settings, stages)


def _plan(stack: FocalStack, settings: Settings, measure: FocusMeasure, by_itself: bool) -> Plan:
    """Tiles to measure and to blend."""
    channels = max(measure.channels, stack.shape[2])
    return make_plan(
        stack,
        settings,
        halo_px=max(measure.halo_px, PICTURE_HALO_PX) if by_itself else measure.halo_px,
        channels=channels,
        fusion_halo_px=_blend_halo_px(settings),
        measure_bytes=measure.network_bytes,
        fusion_bytes=4 + 4 * channels * settings.soft_skin,
    )


def _blend_halo_px(settings: Settings) -> int:
    return max(fuse.halo_px(settings.fusion), skin.HALO_PX if settings.soft_skin else 0)


def _pictured(strips: Strips, stack: FocalStack, soft_skin: bool, stages: Stages) -> NDArray[Any]:
    """The picture that the measure itself makes: of a pair as a whole, of more frames tile by tile."""
    height, width = stack.shape[:2]
    plan = replace(strips.plan, strip_rows=height, tile_columns=width) if len(stack) == 2 else strips.plan
    picture, measure = np.empty(stack.shape, stack.dtype), strips.estimator.measure
    if measure.picture is None:
        raise ValueError(f"{measure.name}: must come with a picture; got none; choose another --fusion")
    with stages.stage("fuse", height) as done:
        for strip in plan.strips(height):
            for tile in tiles(plan, strip, (height, width)):
                images = strips.images(tile, stack.shape[2])
                fused = measure.picture(images)
                if soft_skin:
                    fused = _softened(fused, images, strips.volume(tile) / _temperature(measure, "weighted"))
                picture[tile.place] = _inside(fused, tile, stack.dtype)
            done(strip[1])
    return picture


def _measure(strips: Strips, logits: io.ScratchStack, stages: Stages) -> None:
    """Keep the logits of all frames, tile by tile."""
    height, width = strips.size_px
    with stages.stage("measure", height) as done:
        for strip in strips.plan.strips(height):
            rows = np.empty((len(strips.frames), strip[1] - strip[0], width, 1), np.float16)
            for tile in tiles(strips.plan, strip, strips.size_px):
                rows[:, :, tile.place[1], 0] = strips.volume(tile)[:, tile.inside[0], tile.inside[1]].numpy()
            for k, frame_rows in enumerate(rows):
                logits.write_frame_rows(k, strip[0], frame_rows)
            done(strip[1])


def _blended(
    strips: Strips, logits: io.ScratchStack, stack: FocalStack, settings: Settings, stages: Stages
) -> NDArray[Any]:
    """The picture, the frames weighted by their logits."""
    method, (height, width) = settings.fusion, stack.shape[:2]
    plan = strips.plan.for_fusion(_blend_halo_px(settings), fuse.row_multiple(method))
    temperature = _temperature(strips.estimator.measure, method)
    picture, noise = np.empty(stack.shape, stack.dtype), frame_noise(strips)
    with stages.stage("fuse", height) as done:
        for strip in plan.strips(height):
            for tile in tiles(plan, strip, (height, width)):
                volume = _logits_of(logits, tile)
                fused = fuse.all_in_focus(
                    strips.frame_tiles(tile),
                    volume=volume,
                    valid=strips.valid(tile),
                    method=method,
                    noise=noise,
                    temperature=temperature,
                )
                if settings.soft_skin:
                    fused = _softened(fused, strips.images(tile, stack.shape[2]), volume / temperature)
                picture[tile.place] = _inside(fused, tile, stack.dtype)
            done(strip[1])
    return picture


def _logits_of(logits: io.ScratchStack, tile: Tile) -> Tensor:
    """(N, H, W) of a tile with its halo."""
    planes = [logits.read_frame_rows(k, *tile.read_rows)[:, tile.read[1], 0] for k in range(len(logits))]
    return torch.from_numpy(np.stack(planes)).to(torch.float32)


def _temperature(measure: FocusMeasure, method: str) -> float:
    """What logits are divided by."""
    return fuse.TEMPERATURE.get(method, 1.0) * (PROBABLE if measure.probabilistic else 1.0)


def _softened(picture: Tensor, images: Tensor, logits: Tensor) -> Tensor:
    """(C, H, W) with feathered transitions on skin; grey pictures have none."""
    return skin.softened(picture, images, logits.softmax(0)) if len(picture) == 3 else picture


def _inside(picture: Tensor, tile: Tile, dtype: Any) -> NDArray[Any]:
    """(h, w, C) of a tile without its halo."""
    return fuse.to_dtype(picture[:, tile.inside[0], tile.inside[1]], dtype)


def fuse_to_file(
    stack: FocalStack,
    output: str | Path,
    settings: Settings = DEFAULTS,
    *,
    force: bool = False,
    on_progress: Progress = silent,
) -> Path:
    """Fuse frames into a picture file that appears whole or not at all, with the frames' profile and EXIF.

    Args:
        stack: Two frames or more.
        output: File to write; .jpg, .png or .tif.
        settings: See `fuse_frames`.
        force: Replace an existing file.
        on_progress: Called as (stage, done, total).

    Raises:
        ValueError: frames or settings that cannot be used, or a format that cannot hold the frames' bit depth.
        OSError: the file exists, or cannot be written.
    """
    path = Path(output)
    if path.exists() and not force:
        raise FileExistsError(f"{path}: must not exist; got a file or folder; choose another name or use --force")
    if io.picture_suffix(path.suffix, stack.dtype) != path.suffix.lower():
        raise ValueError(
            f"{path}: must hold {stack.dtype} pixels; got the ending {path.suffix or 'none'!r}; "
            f"write a {io.picture_suffix(path.suffix, stack.dtype)} file"
        )
    picture = fuse_frames(stack, settings, on_progress=on_progress)
    io.write_image(path, picture, stack.metadata, quality=settings.jpeg_quality)
    return path
