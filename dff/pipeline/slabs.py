"""Sharp pictures of overlapping slabs of frames, for retouching where one thing hides another.

Each slab picks the sharpest of its own frames by the focus volume, whatever the depth of the whole stack says.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from dff import fuse, io
from dff.pipeline.journal import Journal, Stages
from dff.pipeline.plan import Plan, make_plan
from dff.pipeline.strips import Strips, Tile, tiles
from dff.pipeline.tiling import LANES
from dff.settings import Settings
from dff.stack import FocalStack, Reconstruction

_STAGE = "slabs"


def slab_spans(count: int, size: int, overlap: int) -> list[tuple[int, int]]:
    """First frame and frame after the last of every slab: as few as share so many frames, evenly spread.

    Args:
        count: Number of frames.
        size: Frames of a slab.
        overlap: Frames that neighbours share at least.
    """
    if size >= count:
        return [(0, count)]
    steps = -(-(count - size) // (size - overlap))
    starts = [number * (count - size) // steps for number in range(steps + 1)]
    return [(start, start + size) for start in starts]


def fuse_slabs(strips: Strips, stack: FocalStack, settings: Settings, stages: Stages) -> None:
    """Fuse every slab, strip by strip, into the files of the journal."""
    if settings.slab_frames is None or stages.journal.folder is None:
        return
    height, width = strips.size_px
    spans, journal = slab_spans(len(stack), *settings.slab_frames), stages.journal
    finished = journal.finished(_STAGE)
    plan = _plan(strips, stack, settings)
    with stages.stage(_STAGE, height) as done:
        for strip in plan.strips(height):
            if strip[1] <= finished:
                continue
            pictures = np.empty((len(spans), strip[1] - strip[0], width, stack.shape[2]), stack.dtype)
            for tile in tiles(plan, strip, strips.size_px):
                fused = _fused(strips, tile, spans, settings.fusion, journal.values["noise"])
                for number, picture in enumerate(fused):
                    pictures[number][:, slice(*tile.columns)] = fuse.to_dtype(picture, stack.dtype)
            for number, rows in enumerate(pictures):
                journal.keep_rows(_name(number), rows, strip[0])
            done(strip[1])


def _fused(strips: Strips, tile: Tile, spans: Sequence[tuple[int, int]], method: str, noise: float) -> Iterator[Tensor]:
    """(C, H, W) of every slab in a tile, without its halo."""
    volume, valid, frame = strips.volume(tile), strips.valid(tile), strips.frame_tiles(tile)
    rows, columns = tile.inside
    for start, stop in spans:
        picture = fuse.all_in_focus(
            functools.partial(_shifted, frame, start),
            volume=volume[start:stop],
            valid=None if valid is None else valid[start:stop],
            method=method,
            noise=noise,
        )
        yield picture[:, rows, columns]


def _shifted(frame: Callable[[int], Tensor], start: int, k: int) -> Tensor:
    return frame(start + k)


def _plan(strips: Strips, stack: FocalStack, settings: Settings) -> Plan:
    """Tiles that have room for the volume, with the context that measuring and then blending need."""
    multiple, method = max(LANES, fuse.row_multiple(settings.fusion)), settings.fusion
    halo_px = strips.estimator.halo_px + fuse.halo_px(method)
    halo_px = -(-halo_px // multiple) * multiple
    channels = strips.estimator.energies.channels
    plan = make_plan(stack, settings, halo_px=halo_px, channels=channels, fusion_halo_px=fuse.halo_px(method))
    return replace(plan, strip_rows=max(multiple, plan.strip_rows // multiple * multiple))


def write_slabs(result: Reconstruction, folder: Path, journal: Journal, stages: Stages) -> None:
    """Write the picture of every slab into the result folder, named by its first and last frame."""
    settings, picture = result.settings, result.all_in_focus
    if settings.slab_frames is None:
        return
    spans = slab_spans(len(result.names), *settings.slab_frames)
    with stages.stage("write slabs", len(spans)) as done:
        for number, (start, stop) in stages.remaining("write slabs", spans):
            slab = np.empty_like(picture)
            journal.restore(_name(number), slab, len(slab))
            path = io.result_paths(folder).slab(start, stop, io.picture_suffix(result.suffix, slab.dtype))
            io.write_image(path, slab, result.metadata, quality=settings.jpeg_quality)
            done(number + 1)


def _name(number: int) -> str:
    return f"slab-{number}"
