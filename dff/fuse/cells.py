"""Cells of pixels with a nearer and a farther side, over which discs of any size cost the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dff.stack import FloatArray

JUMP_FRAMES = 3.0
"""Cells whose depth spans more have two sides."""
NOWHERE = 1e6
"""Depth of a side without pixels."""


@dataclass(frozen=True)
class Side:
    """Means over the pixels of one side of every cell."""

    share: FloatArray
    """(h, w) share of the cell's pixels."""
    values: FloatArray
    """(h, w, P) mean of every plane; the first is depth."""

    @classmethod
    def empty(cls, height: int, width: int, planes: int) -> Side:
        """Cells without pixels."""
        return cls(np.zeros((height, width), np.float32), np.zeros((height, width, planes), np.float32))

    @property
    def depth(self) -> FloatArray:
        """(h, w), nowhere without pixels."""
        return np.where(self.share > 0, self.values[..., 0], np.float32(NOWHERE))

    def framed_depth(self, reach: int) -> FloatArray:
        """The depth with a rim of cells that are nowhere."""
        return np.pad(self.depth, reach, constant_values=NOWHERE)


@dataclass(frozen=True)
class Cells:
    """Planes of a part of the picture, averaged over cells side by side."""

    side_px: int
    near: Side
    """All pixels of a cell with one side."""
    rest: Side
    """What lies behind in cells with two sides; no share in others. Without rows where cells are pixels."""

    @classmethod
    def of(cls, values: FloatArray, known: NDArray[np.bool_]) -> Cells:
        """Pixels as cells.

        Args:
            values: (H, W, P), the first of which is depth, larger where farther.
            known: (H, W): pixels that count.
        """
        return cls(1, Side(known.astype(np.float32), values), Side.empty(0, 0, values.shape[2]))

    @property
    def sides(self) -> tuple[Side, ...]:
        """All that gives light."""
        return (self.near, self.rest) if len(self.rest.share) else (self.near,)

    @property
    def far_depth(self) -> FloatArray:
        """(h, w) of what lies behind where there are two sides, else of all; nowhere without pixels."""
        return np.where(self.rest.share > 0, self.rest.values[..., 0], self.near.depth)

    def coarser(self) -> Cells:
        """Cells of twice the side."""
        from dff.fuse.cell_loops import coarser

        (height, width), planes = self.near.share.shape, self.near.values.shape[2]
        near, rest = (Side.empty(-(-height // 2), -(-width // 2), planes) for _ in range(2))
        given = (array for side in (self.near, self.rest, near, rest) for array in (side.share, side.values))
        coarser(*given)
        return Cells(2 * self.side_px, near, rest)

    def nearest(self, reach: int) -> FloatArray:
        """(h, w) least depth within so many cells by rows and columns."""
        return least_around(self.near.depth, reach)


def least_around(plane: FloatArray, reach: int) -> FloatArray:
    """(h, w) least value within so many cells by rows and columns."""
    return np.asarray(cv2.erode(plane, _square(reach)))


def largest_around(plane: NDArray[Any], reach: int) -> NDArray[Any]:
    """(h, w) or (h, w, C) largest value within so many cells by rows and columns."""
    return np.asarray(cv2.dilate(plane, _square(reach)))


def _square(reach: int) -> NDArray[np.uint8]:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def disc_offsets(reach: int) -> NDArray[np.int64]:
    """(K, 2) offsets x, y of the cells that a disc of a radius touches."""
    span = range(-reach, reach + 1)
    return np.array([(x, y) for y in span for x in span if math.hypot(x, y) < reach + 0.5])


def to_pixels(
    values: FloatArray,
    depth: FloatArray,
    side_px: int,
    place: NDArray[np.intp],
    wanted: FloatArray,
    within: float,
    sums: FloatArray,
    near: NDArray[np.bool_],
) -> None:
    """Add values of cells at pixels, linear between the cells of about a pixel's depth; nothing without any.

    Args:
        values: (h, w, P).
        depth: (h, w) of the cells.
        side_px: Side of a cell.
        place: (2, M) row and column of the pixels.
        wanted: (M) their depth.
        within: Frames by which the depth may differ.
        sums: (M, P), changed in place.
        near: (h, w) cells whose pixels are looked at.
    """
    from dff.fuse.cell_loops import add_at_pixels

    add_at_pixels(values, depth, side_px, *np.ascontiguousarray(place), wanted, np.float32(within), near, sums)
