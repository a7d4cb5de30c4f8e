"""Cells of pixels with a nearer and a farther side, over which discs of any size cost the same."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

JUMP_FRAMES = 3.0
"""Cells whose depth spans more have two sides."""
NOWHERE = 1e6
"""Depth of a side without pixels."""


@dataclass(frozen=True)
class Side:
    """Means over the pixels of one side of every cell."""

    share: Tensor
    """(h w) share of the cell's pixels."""
    values: Tensor
    """(h w, P) mean of every plane; the first is depth."""

    @property
    def depth(self) -> Tensor:
        """(h w)."""
        return self.values[:, 0]


@dataclass(frozen=True)
class Cells:
    """Planes of a part of the picture, averaged over cells side by side; pixels of unknown depth have no share."""

    side_px: int
    size: tuple[int, int]
    """Rows and columns of cells."""
    near: Side
    """All pixels of a cell with one side."""
    rest: Side
    """What lies behind in cells with two sides; no share in others."""
    far: Side
    """What lies behind where there are two sides, else all."""

    @classmethod
    def of(cls, planes: Tensor, known: Tensor, side_px: int) -> Cells:
        """Cells from the top left corner on.

        Args:
            planes: (P, H, W), the first of which is depth, larger where farther.
            known: (H, W) bool: where the depth is known.
            side_px: Side of a cell.
        """
        count, height, width = planes.shape
        rows, columns = -(-height // side_px), -(-width // side_px)
        pad = (0, columns * side_px - width, 0, rows * side_px - height)
        wide = F.pad(planes, pad).view(count, rows, side_px, columns, side_px)
        there = F.pad(known, pad).view(rows, side_px, columns, side_px)
        low = torch.where(there, wide[0], NOWHERE).amin((1, 3))
        high = torch.where(there, wide[0], -NOWHERE).amax((1, 3))
        border = torch.where(high - low > JUMP_FRAMES, (low + high) / 2, high)
        nearer = there & (wide[0] <= border[:, None, :, None])
        near, rest = (_side(wide, part) for part in (nearer, there & ~nearer))
        behind = rest.share > 0
        far = Side(torch.where(behind, rest.share, near.share), torch.where(behind[:, None], rest.values, near.values))
        return cls(side_px, (rows, columns), near, rest, far)

    @property
    def sides(self) -> tuple[Side, Side]:
        """All that gives light."""
        return self.near, self.rest

    def nearest(self, reach: int) -> Tensor:
        """(h w) least depth within so many cells by rows and columns."""
        depth = F.max_pool2d(-self.near.depth.view(1, *self.size), (2 * reach + 1, 1), 1, (reach, 0))
        return -F.max_pool2d(depth, (1, 2 * reach + 1), 1, (0, reach)).flatten()


def _side(wide: Tensor, there: Tensor) -> Side:
    """Means over some pixels of every cell."""
    count = there.sum((1, 3)).flatten()
    sums = (wide * there).sum((2, 4)).flatten(1)
    means = sums / count.clamp(min=1)
    means[0] = torch.where(count > 0, means[0], NOWHERE)
    return Side(count / (there.shape[1] * there.shape[3]), means.T.contiguous())


@dataclass(frozen=True)
class Disc:
    """Cells around some of them, offset by offset."""

    cells: Cells
    place: Tensor
    """(M) flat place of the cells in the middle."""
    reach: int

    def each(self) -> Iterator[tuple[int, int, Tensor, Tensor]]:
        """Offset x, y of every cell within reach, and for the middles (m) that have it, their number and its place."""
        rows, columns = self.cells.size
        row, column = self.place // columns, self.place % columns
        for y in range(-self.reach, self.reach + 1):
            for x in range(-self.reach, self.reach + 1):
                if math.hypot(x, y) > self.reach + 0.5:
                    continue
                inside = (row + y >= 0) & (row + y < rows) & (column + x >= 0) & (column + x < columns)
                number = inside.nonzero()[:, 0]
                yield x, y, number, self.place[number] + (y * columns + x)


def to_pixels(cells: Cells, values: Tensor, place: Tensor, depth: Tensor, width: int, within: Tensor | float) -> Tensor:
    """(M, P) values of the cells' far sides at pixels, linear between cells of about a pixel's depth; 0 without any.

    Args:
        cells: The cells.
        values: (h w, P) of every cell.
        place: (M) flat place of the pixels.
        depth: (M) their depth.
        width: Columns of pixels.
        within: Frames by which the depth may differ.
    """
    rows, columns = cells.size
    across, down = ((part + 0.5) / cells.side_px - 0.5 for part in (place % width, place // width))
    left, top = across.floor(), down.floor()
    total, sums = torch.zeros_like(depth), values.new_zeros((len(place), values.shape[1]))
    for y in (0, 1):
        for x in (0, 1):
            column, row = left + x, top + y
            weight = (1 - (across - column).abs()) * (1 - (down - row).abs())
            cell = (row.clamp(0, rows - 1) * columns + column.clamp(0, columns - 1)).to(torch.int64)
            weight = weight * ((cells.far.depth[cell] - depth).abs() <= within)
            total += weight
            sums += weight[:, None] * values[cell]
    return sums / torch.where(total > 0, total, 1)[:, None]
