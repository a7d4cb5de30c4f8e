"""The aligned frames, read part by part as the tensors that the stages take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff import align, filters
from dff.depth import DepthEstimator, Sites
from dff.pipeline.plan import LANES, Plan
from dff.stack import Alignment

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

    @property
    def size_px(self) -> tuple[int, int]:
        return self.alignment.size_px

    def frame_tiles(self, tile: Tile) -> Callable[[int], Tensor]:
        """A function of k that gives a tile of frame k with its halo: (C, H, W) float32, as bright as the reference."""

        def part(k: int) -> Tensor:
            pixels = self.frames.read_frame_rows(k, *tile.read_rows)[:, tile.read[1]]
            planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).to(torch.float32)
            return planes.mul_(float(self.alignment.gains[k]) / self.white)

        return part

    def volume(self, tile: Tile) -> Tensor:
        """(N, H, W) logits of a tile with its halo, to refine with."""
        images = self.images(tile, self.estimator.energies.channels)
        return self.estimator.volume(images, self.uncovered(tile, self.estimator.energies.border_px))

    def sites(self, tile: Tile) -> Sites:
        """The lattice of a tile with its halo."""
        images = self.images(tile, self.estimator.channels)
        return self.estimator.sites(images, self.uncovered(tile, self.estimator.border_px))

    def images(self, tile: Tile, channels: int) -> Tensor:
        """(N, C, H, W) a tile of every frame with its halo."""
        sides = [stop - start for start, stop in (tile.read_rows, tile.read_columns)]
        images = torch.empty((len(self.frames), channels, *sides))
        part = self.frame_tiles(tile)
        for k in range(len(self.frames)):
            images[k] = _of_channels(part(k), channels)
        return images

    def uncovered(self, tile: Tile, margin_px: int) -> dict[int, Tensor]:
        """(H, W) bool by frame: what it does not cover of a tile with its halo, and a margin."""
        parts = self.partly_covered(tile.read_rows, tile.read_columns, margin_px)
        return {k: torch.from_numpy(~covered) for k, covered in parts}

    def valid(self, tile: Tile) -> Tensor | None:
        """(N, H, W) which frames cover each pixel of a tile with its halo; None where all do."""
        valid = align.valid_frames(self.alignment, tile.read_rows, tile.read_columns)
        return None if valid.all() else torch.from_numpy(valid)

    def partly_covered(self, rows: Span, columns: Span, margin_px: int) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """Frames that do not cover all of a part with a margin around, and (H, W) where their logits count."""
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


def _of_channels(image: Tensor, channels: int) -> Tensor:
    if len(image) == channels:
        return image
    return filters.luminance(image[None]) if channels == 1 else image.expand(channels, -1, -1)
