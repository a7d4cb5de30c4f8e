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
    """Planes of a part of the picture, averaged over cells side by side."""

    side_px: int
    size: tuple[int, int]
    """Rows and columns of cells."""
    near: Side
    """All pixels of a cell with one side."""
    rest: Side | None
    """What lies behind in cells with two sides; no share in others. None where cells are pixels."""

    @classmethod
    def of(cls, planes: Tensor, side_px: int) -> Cells:
        """Cells from the top left corner on.

        Args:
            planes: (P, H, W), the first of which is depth, larger where farther.
            side_px: Side of a cell.
        """
        count, height, width = planes.shape
        if side_px == 1:
            values = planes.flatten(1).T.contiguous()
            return cls(1, (height, width), Side(torch.ones_like(values[:, 0]), values), None)
        rows, columns = -(-height // side_px), -(-width // side_px)
        pad = (0, columns * side_px - width, 0, rows * side_px - height)
        wide = F.pad(planes[None], pad, mode="replicate")[0].view(count, rows, side_px, columns, side_px)
        low, high = wide[0].amin((1, 3)), wide[0].amax((1, 3))
        border = torch.where(high - low > JUMP_FRAMES, (low + high) / 2, high)
        near = (wide[0] <= border[:, None, :, None]).to(planes.dtype)
        share = near.mean((1, 3))
        nearer, all_of = (wide * near).mean((2, 4)), wide.mean((2, 4))
        behind = 1 - share
        rest = (all_of - nearer) / torch.where(behind > 0, behind, 1)
        sides = ((share, nearer / share), (behind, torch.where(behind > 0, rest, nearer / share)))
        flat = [Side(part.flatten(), values.flatten(1).T.contiguous()) for part, values in sides]
        return cls(side_px, (rows, columns), flat[0], flat[1])

    @property
    def far(self) -> Side:
        """What lies behind where there are two sides, else all."""
        return self.near if self.rest is None else self.rest

    @property
    def sides(self) -> tuple[Side, ...]:
        """All that gives light."""
        return (self.near,) if self.rest is None else (self.near, self.rest)

    def nearest(self, reach: int) -> Tensor:
        """(h w) least depth within so many cells by rows and columns."""
        depth = self.near.depth.view(1, *self.size)
        return -F.max_pool2d(-depth, 2 * reach + 1, 1, reach).flatten()


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
    if cells.side_px == 1:
        return values[place]
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
