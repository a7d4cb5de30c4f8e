"""Cells of pixels with a nearer and a farther side, over which discs of any size cost the same."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
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
    """(h, w) share of the cell's pixels."""
    values: Tensor
    """(P, h, w) mean of every plane; the first is depth."""

    @property
    def depth(self) -> Tensor:
        """(h, w)."""
        return self.values[0]

    def quarters(self) -> list[Side]:
        """The four cells of each 2 x 2, all of which lie side by side; without pixels beyond the borders."""
        pad = (0, -self.share.shape[1] % 2, 0, -self.share.shape[0] % 2)
        share, values = F.pad(self.share, pad), F.pad(self.values, pad)
        return [Side(share[y::2, x::2], values[:, y::2, x::2]) for y in (0, 1) for x in (0, 1)]


@dataclass(frozen=True)
class Cells:
    """Planes of a part of the picture, averaged over cells side by side."""

    side_px: int
    near: Side
    """All pixels of a cell with one side."""
    rest: Side | None
    """What lies behind in cells with two sides; no share in others. None where cells are pixels."""

    @classmethod
    def of(cls, planes: Tensor, known: Tensor) -> Cells:
        """Pixels as cells.

        Args:
            planes: (P, H, W), the first of which is depth, larger where farther.
            known: (H, W) bool: pixels that count.
        """
        return cls(1, Side(known.to(planes.dtype), planes), None)

    @property
    def sides(self) -> tuple[Side, ...]:
        """All that gives light."""
        return (self.near,) if self.rest is None else (self.near, self.rest)

    @property
    def far(self) -> Side:
        """What lies behind where there are two sides, else all."""
        if self.rest is None:
            return self.near
        behind = self.rest.share > 0
        share = torch.where(behind, self.rest.share, self.near.share)
        return Side(share, torch.where(behind, self.rest.values, self.near.values))

    def coarser(self) -> Cells:
        """Cells of twice the side."""
        parts = [quarter for side in self.sides for quarter in side.quarters()]
        there = [part.share > 0 for part in parts]
        low, high = torch.full_like(parts[0].share, NOWHERE), torch.full_like(parts[0].share, -NOWHERE)
        for part, seen in zip(parts, there):
            low = torch.minimum(low, torch.where(seen, part.depth, NOWHERE))
            high = torch.maximum(high, torch.where(seen, part.depth, -NOWHERE))
        border = torch.where(high - low > JUMP_FRAMES, (low + high) / 2, high)
        near = [part.share * (part.depth <= border) for part in parts]
        rest = [part.share - share for part, share in zip(parts, near)]
        return Cells(2 * self.side_px, _mean(parts, near), _mean(parts, rest))

    def nearest(self, reach: int) -> Tensor:
        """(h, w) least depth within so many cells by rows and columns."""
        depth = torch.where(self.near.share > 0, self.near.depth, NOWHERE)
        return -largest_around(-depth, reach)


def largest_around(plane: Tensor, reach: int) -> Tensor:
    """(h, w) largest value within so many cells by rows and columns."""
    rows = F.max_pool2d(plane[None], (2 * reach + 1, 1), 1, (reach, 0))
    return F.max_pool2d(rows, (1, 2 * reach + 1), 1, (0, reach))[0]


def _mean(parts: Sequence[Side], shares: Sequence[Tensor]) -> Side:
    """Mean of the parts of cells, each with its share of a quarter."""
    total, sums = torch.zeros_like(shares[0]), torch.zeros_like(parts[0].values)
    for part, share in zip(parts, shares):
        total += share
        sums += part.values * share
    sums /= torch.where(total > 0, total, 1)
    return Side(total / 4, sums)


@dataclass(frozen=True)
class Around:
    """One side of the cells around some of them."""

    depth: Tensor
    """(K) of the cells with a rim of cells that are nowhere."""
    table: Tensor
    """(K, 1 + P) share and values of the same cells."""
    place: Tensor
    """(M) flat place of the cells in the middle among these."""
    columns: int

    @classmethod
    def of(cls, side: Side, middle: Tensor, reach: int) -> Around:
        """The cells around those of a mask (h, w)."""
        pad = (reach,) * 4
        depth = F.pad(torch.where(side.share > 0, side.depth, NOWHERE), pad, value=NOWHERE)
        table = F.pad(torch.cat([side.share[None], side.values]), pad).flatten(1).T.contiguous()
        row, column = middle.nonzero(as_tuple=True)
        columns = depth.shape[1]
        return cls(depth.flatten(), table, (row + reach) * columns + column + reach, columns)

    def at(self, x: int, y: int) -> Tensor:
        """(M) flat place of the cells at an offset."""
        return self.place + (y * self.columns + x)


def disc_offsets(reach: int) -> Iterator[tuple[int, int]]:
    """Offsets x, y of the cells that a disc of a radius touches."""
    for y in range(-reach, reach + 1):
        for x in range(-reach, reach + 1):
            if math.hypot(x, y) < reach + 0.5:
                yield x, y


def share_of_disc(away: float, radius: Tensor) -> Tensor:
    """Share of a disc's area that a cell so far from its middle has."""
    return (radius + 0.5 - away).clamp(0, 1) / (math.pi * (radius.square() + 1 / 12))


def to_pixels(values: Tensor, depth: Tensor, side_px: int, place: Tensor, wanted: Tensor, within: float) -> Tensor:
    """(M, P) values of cells at pixels, linear between the cells of about a pixel's depth; 0 without any.

    Args:
        values: (P, h, w).
        depth: (h, w) of the cells.
        side_px: Side of a cell.
        place: (2, M) row and column of the pixels.
        wanted: (M) their depth.
        within: Frames by which the depth may differ.
    """
    table = values.flatten(1).T.contiguous()
    (rows, columns), depths = depth.shape, depth.flatten()
    down, across = (place + 0.5) / side_px - 0.5
    top, left = down.floor(), across.floor()
    total, sums = torch.zeros_like(wanted), table.new_zeros((len(wanted), len(values)))
    for y in (0, 1):
        for x in (0, 1):
            row, column = top + y, left + x
            weight = (1 - (across - column).abs()) * (1 - (down - row).abs())
            cell = (row.clamp(0, rows - 1) * columns + column.clamp(0, columns - 1)).to(torch.int64)
            weight = weight * ((depths[cell] - wanted).abs() <= within)
            total += weight
            sums += weight[:, None] * table[cell]
    return sums / torch.where(total > 0, total, 1)[:, None]
