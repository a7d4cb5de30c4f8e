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
from dff.fuse import skin
from dff.pipeline.journal import Journal, Stages
from dff.pipeline.plan import make_plan
from dff.pipeline.prepare import align_frames, coherence, ordered, read_frames, use_threads, warp_frames
from dff.pipeline.run import chosen_measure
from dff.pipeline.strips import Strips, Tile, tiles
from dff.pipeline.watch import UNWATCHED
from dff.settings import DEFAULTS, Settings
from dff.stack import FocalStack, Progress, silent

ENERGY_TEMPERATURE = 0.1
"""Divides logarithms of energies: the sharpest frame takes nearly all."""
PICTURE_HALO_PX = 64
"""Context of rules that make the picture themselves, on strips of a stack."""


def fuse_frames(stack: FocalStack, settings: Settings = DEFAULTS, *, on_progress: Progress = silent) -> NDArray[Any]:
    """All-in-focus picture of frames of one subject, in their own type.

    A measure that comes with a rule of its own, as the fusion networks do, makes the picture; for the others the
    frames are weighted by the softmax of their logits. A pair is fused as a whole, more frames tile by tile.

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
    halo_px = max(measure.halo_px, PICTURE_HALO_PX)
    channels = max(measure.channels, stack.shape[2])
    plan = make_plan(stack, settings, halo_px=halo_px, channels=channels, fusion_halo_px=0)
    folder = Path(settings.scratch or io.temporary_folder())
    with io.ScratchStack.create(folder, len(stack), stack.shape, stack.dtype) as frames:
        read_frames(stack, frames, UNWATCHED, stages)
        alignment = align_frames(replace(stack, frames=frames), settings, stages)
        warp_frames(stack, frames, alignment, stages)
        z_sigma_frames = coherence(settings, alignment) if len(stack) > 2 else 0.0
        estimator = DepthEstimator(measure, z_sigma_frames=z_sigma_frames)
        return _fused_tiles(Strips(frames, alignment, estimator, plan, stack.white), stack, settings.soft_skin, stages)


def _fused_tiles(strips: Strips, stack: FocalStack, soft_skin: bool, stages: Stages) -> NDArray[Any]:
    """The picture in the frames' own type: a pair as a whole, more frames tile by tile."""
    height, width = stack.shape[:2]
    plan = replace(strips.plan, strip_rows=height, tile_columns=width) if len(stack) == 2 else strips.plan
    picture = np.empty(stack.shape, stack.dtype)
    with stages.stage("fuse", height) as done:
        for strip in plan.strips(height):
            for tile in tiles(plan, strip, (height, width)):
                rows, columns = tile.inside
                picture[tile.place] = fuse.to_dtype(_fused(strips, tile, soft_skin)[:, rows, columns], stack.dtype)
            done(strip[1])
    return picture


def _fused(strips: Strips, tile: Tile, soft_skin: bool) -> Tensor:
    """(C, H, W) of a tile with its halo."""
    measure, part = strips.estimator.measure, strips.frame_tiles(tile)
    temperature = 1.0 if measure.probabilistic else ENERGY_TEMPERATURE
    volume = strips.volume(tile) if soft_skin or measure.picture is None else None
    images = torch.stack([part(k) for k in range(len(strips.frames))]) if soft_skin or measure.picture else None
    if measure.picture is not None and images is not None:
        picture = measure.picture(images)
    else:
        valid = strips.valid(tile)
        picture = fuse.all_in_focus(part, volume=volume, valid=valid, method="weighted", temperature=temperature)
    if soft_skin and images is not None and volume is not None and len(picture) == 3:
        picture = skin.softened(picture, images, (volume / temperature).softmax(0))
    return picture


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
