"""The aligned frames, read part by part as the tensors that the stages take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff import align, filters, io
from dff.depth import DepthEstimator
from dff.pipeline.plan import LANES, Plan
from dff.stack import Alignment

_INVALID_LOGIT = -40.0

Span = tuple[int, int]


@dataclass(frozen=True)
class Tile:
    """A part of the picture, and what is read for it."""

    rows: Span
    columns: Span
    read_rows: Span
    read_columns: Span

    @property
    def place(self) -> tuple[slice, slice]:
        """The part in the whole picture."""
        return slice(*self.rows), slice(*self.columns)

    @property
    def read(self) -> tuple[slice, slice]:
        """What is read, in the whole picture."""
        return slice(*self.read_rows), slice(*self.read_columns)

    @property
    def inside(self) -> tuple[slice, slice]:
        """The part in what is read."""
        top, left = self.read_rows[0], self.read_columns[0]
        return (
            slice(self.rows[0] - top, self.rows[1] - top),
            slice(self.columns[0] - left, self.columns[1] - left),
        )


def tiles(plan: Plan, strip: Span, size_px: tuple[int, int]) -> list[Tile]:
    """The tiles of a strip from left to right."""
    height, width = size_px
    read_rows = plan.with_halo(strip, height)
    return [Tile(strip, part, read_rows, plan.with_halo(part, width, LANES)) for part in plan.parts(width)]


@dataclass(frozen=True)
class Strips:
    """The aligned frames and how depth is found in them."""

    frames: Any
    alignment: Alignment
    estimator: DepthEstimator
    plan: Plan
    white: float
    kept: io.ScratchArrays | None = None
    """Where logits are kept that are dear to find twice."""

    @property
    def size_px(self) -> tuple[int, int]:
        return self.alignment.size_px

    def frame_tiles(self, tile: Tile) -> TileFrames:
        """A tile of every frame with its halo."""
        return TileFrames(self, tile)

    def volume(self, tile: Tile) -> Tensor:
        """(N, H, W) logits of a tile with its halo; frames that do not cover a pixel have none there."""
        channels = self.estimator.measure.channels
        sides = [stop - start for start, stop in (tile.read_rows, tile.read_columns)]
        images = torch.empty((len(self.frames), channels, *sides))
        part = self.frame_tiles(tile)
        for k in range(len(self.frames)):
            images[k] = _with_channels(part(k), channels)
        volume = self.estimator.volume(images)
        for k, covered in self.partly_covered(tile.read_rows, tile.read_columns):
            volume[k].masked_fill_(torch.from_numpy(~covered), _INVALID_LOGIT)
        return volume

    def keep(self, tile: Tile, volume: Tensor) -> None:
        """Keep the logits of a tile, if any are kept."""
        if self.kept is not None:
            self.kept.put(tile.rows + tile.columns, self._inner(tile, volume).numpy())

    def again(self, tile: Tile) -> tuple[Tile, Tensor]:
        """A tile and its logits once more; without halo, in half precision, where logits are kept.

        A tile that was measured before the run was killed and resumed is measured again, to the same numbers.
        """
        if self.kept is None:
            return tile, self.volume(tile)
        found = self.kept.get(tile.rows + tile.columns)
        inner = self._inner(tile, self.volume(tile)) if found is None else torch.from_numpy(found)
        return replace(tile, read_rows=tile.rows, read_columns=tile.columns), inner.to(torch.float32)

    @staticmethod
    def _inner(tile: Tile, volume: Tensor) -> Tensor:
        return volume[:, tile.inside[0], tile.inside[1]].to(torch.float16)

    def valid(self, tile: Tile) -> Tensor | None:
        """(N, H, W) which frames cover each pixel of a tile with its halo; None where all do."""
        valid = align.valid_frames(self.alignment, tile.read_rows, tile.read_columns)
        return None if valid.all() else torch.from_numpy(valid)

    def partly_covered(self, rows: Span, columns: Span) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """Frames that do not cover all of a part, with (H, W) where their logits count."""
        margin_px = self.estimator.measure.border_px
        wider = [
            (max(0, start - margin_px), min(size, stop + margin_px))
            for (start, stop), size in zip((rows, columns), self.size_px)
        ]
        square = np.ones((2 * margin_px + 1, 2 * margin_px + 1), np.uint8)
        tops = [span[0] - outer[0] for span, outer in zip((rows, columns), wider)]
        sides = [stop - start for start, stop in (rows, columns)]
        inner = tuple(slice(top, top + side) for top, side in zip(tops, sides))
        for k, transform in enumerate(self.alignment.transforms):
            covered = align.covered(transform, self.size_px, *wider)
            if not covered.all():
                yield k, cv2.erode(covered.view(np.uint8), square)[inner].astype(bool)


@dataclass(frozen=True)
class TileFrames:
    """A function of k that gives a tile of frame k with its halo: (C, H, W) float32, as bright as the reference."""

    strips: Strips
    tile: Tile

    def __call__(self, k: int) -> Tensor:
        return self.part(k, (slice(None), slice(None)))

    def part(self, k: int, window: tuple[slice, slice]) -> Tensor:
        """A window of the tile, (C, h, w)."""
        pixels = self._pixels(k, window)
        planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).to(torch.float32)
        return planes.mul_(self._scale(k))

    def reaches(self, k: int, value: float) -> NDArray[np.bool_]:
        """(H, W) where some channel of frame k has at least a value, white being one."""
        pixels, scale = self._pixels(k, (slice(None), slice(None))), np.float32(self._scale(k))
        if not np.issubdtype(pixels.dtype, np.integer):
            return np.asarray((pixels.astype(np.float32) * scale >= value).any(-1))
        levels = np.arange(np.iinfo(pixels.dtype).max + 1, dtype=np.float32) * scale
        below = int(np.searchsorted(levels, np.float32(value))) - 1
        return np.asarray(cv2.inRange(pixels, (0.0,) * 4, (float(below),) * 4) == 0)

    def _pixels(self, k: int, window: tuple[slice, slice]) -> NDArray[Any]:
        rows, columns = (
            slice(*(first + place for place in part.indices(last - first)[:2]))
            for part, (first, last) in zip(window, (self.tile.read_rows, self.tile.read_columns))
        )
        return self.strips.frames.read_part(k, rows, columns)

    def _scale(self, k: int) -> float:
        return float(self.strips.alignment.gains[k]) / self.strips.white


def _with_channels(image: Tensor, channels: int) -> Tensor:
    if len(image) == channels:
        return image
    return filters.luminance(image[None]) if channels == 1 else image.expand(channels, -1, -1)
