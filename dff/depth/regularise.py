"""Semi-global matching of labels: neighbouring lattice sites agree on a frame unless their volumes object."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dff import filters
from dff.ahead import ahead

Span = tuple[int, int]

_STEP_COST = 0.06
_JUMP_COST = 0.7
_TRUNCATION = 3.0
COST_STEP = _TRUNCATION / np.iinfo(np.uint16).max
"""Logit of one step of costs that are whole numbers."""
_TIE = 4
"""Sums of path costs that differ by no more than this, in steps of `resolution`, are as good."""
_COST_ROWS = 16
_LEAST_BLOCK_ROWS = 16
"""Rows of a block at least; of high lattices as many as hold the least memory, some 0.6 bytes a site and frame."""
_APART = 4
"""Frames from the best peak beyond which another is the second."""


def regularise_depth(lattice: Tensor, *, smoothness: float = 1.0) -> Tensor:
    """Labels that are smooth except where the volume insists (Hirschmueller, PAMI 2008).

    The data term is the drop of the logit from its peak, cut at a ceiling and scaled by how much the best peak
    stands out from the second, so that empty sites follow their neighbours.

    Args:
        lattice: (N, h, w) logits, of any floating type; their place is taken by the data term.
        smoothness: Factor on the penalties of label changes; 0 keeps the peaks.

    Returns:
        (h, w) int64 labels.
    """
    if filters.by_opencv(lattice):
        return _compiled(lattice, smoothness)
    cost = data_cost(lattice)
    total = torch.zeros_like(cost, dtype=torch.int16)
    for axis in (1, 2):
        for flip in (False, True):
            moved, slabs = cost.movedim(axis, 0), total.movedim(axis, 0)
            sources = _Flipped(moved) if flip else moved
            aggregate(sources, _Flipped(slabs) if flip else slabs, smoothness, diagonals=axis == 1)
    return _cheapest(total)


def costs_in(lattice: Tensor) -> NDArray[np.uint16] | None:
    """(N, h, w) the memory of a lattice, in which `regularise_depth` leaves the data term in steps of COST_STEP.

    Args:
        lattice: (N, h, w).

    Returns:
        None of lattices whose memory has no place for it.
    """
    whole = filters.by_opencv(lattice) and lattice.dtype == torch.float16
    return lattice.numpy().view(np.uint16) if whole else None


def _compiled(lattice: Tensor, smoothness: float) -> Tensor:
    """The same by compiled loops; costs are 16-bit integers."""
    from dff.depth import path_loops

    height, width = lattice.shape[1:]
    place = costs_in(lattice)
    cost = np.empty(lattice.shape, np.uint16) if place is None else place
    step = np.float32(COST_STEP)
    for top in range(0, height, _COST_ROWS):
        rows = slice(top, top + _COST_ROWS)
        logits = lattice[:, rows].to(torch.float32).numpy()
        path_loops.site_costs(logits, _APART, np.float32(_TRUNCATION), step, cost[:, rows])
    label = np.empty((height, width), np.int64)
    _Paths(cost, step, smoothness).follow(label)
    return torch.from_numpy(label)


@dataclass(frozen=True)
class _Paths:
    """Paths through all sites, of which sums are held for some rows at a time.

    Those from above are followed once to note where they stand at the first row of every block, then again block by
    block from below, where those from below meet them.
    """

    cost: NDArray[np.uint16]
    step: np.float32
    smoothness: float

    def follow(self, label: NDArray[np.int64]) -> None:
        """Find the label (h, w) of least total at every site, in place."""
        from dff.depth import path_loops

        count, height, width = self.cost.shape
        rows = max(_LEAST_BLOCK_ROWS, math.isqrt(2 * height))
        blocks = [(top, min(top + rows, height)) for top in range(0, height, rows)]
        begun, nothing = [np.zeros((3, count, width), np.float32)], np.empty((count, 0, width), np.int16)
        for block in blocks[:-1]:
            begun.append(begun[-1].copy())
            self._down(block, begun[-1], nothing)

        def from_above(block: Span) -> NDArray[np.int16]:
            total = np.zeros((count, block[1] - block[0], width), np.int16)
            self._down(block, begun.pop(), total)
            self._along(block, total)
            return total

        below = np.zeros_like(begun[0])
        with closing(ahead(from_above, blocks[::-1])) as totals:
            for block, total in zip(blocks[::-1], totals):
                self._down(block, below, total, True)
                path_loops.cheapest(total, _TIE, label[slice(*block)])

    def _down(self, rows: Span, paths: NDArray[np.float32], total: NDArray[np.int16], backward: bool = False) -> None:
        from dff.depth import path_loops

        path_loops.down(self.cost, rows, paths, self.step, *self._penalties, backward, self._unit, total)

    def _along(self, rows: Span, total: NDArray[np.int16]) -> None:
        from dff.depth import path_loops

        for top in range(*rows, path_loops.ROWS):
            stop = min(top + path_loops.ROWS, rows[1])
            target = total[:, top - rows[0] : stop - rows[0]]
            path_loops.along(self.cost[:, top:stop], self.step, *self._penalties, self._unit, target)

    @property
    def _penalties(self) -> tuple[np.float32, np.float32]:
        return np.float32(_STEP_COST * self.smoothness), np.float32(_JUMP_COST * self.smoothness)

    @property
    def _unit(self) -> np.float32:
        return np.float32(1 / resolution(self.smoothness))


def _cheapest(total: Tensor) -> Tensor:
    """(h, w) int64 label of least total; of two neighbours that are as good, the one on the cheaper side.

    The first of equals would not be the mirrored label of a stack turned around.
    """
    label = total.argmin(0)

    def at(step: int) -> Tensor:
        frame = label + step
        found = total.gather(0, frame.clamp(0, len(total) - 1)[None])[0].to(torch.int32)
        return torch.where((frame >= 0) & (frame < len(total)), found, torch.iinfo(torch.int32).max // 2)

    bar = at(0) + _TIE
    up, down = (at(1) <= bar) & (at(2) < at(-1)), (at(-1) <= bar) & (at(-2) < at(1))
    return label + up.to(torch.int64) - down.to(torch.int64)


class _Flipped:
    """Slabs of a tensor in reverse order, in place."""

    def __init__(self, slabs: Tensor):
        self.slabs = slabs

    def __len__(self) -> int:
        return len(self.slabs)

    def __getitem__(self, k: int) -> Tensor:
        return self.slabs[len(self.slabs) - 1 - k]


Slabs = Tensor | _Flipped


def data_cost(lattice: Tensor) -> Tensor:
    """(N, h, w) cost of each label, from 0 at the peak, in the place of the logits."""
    peak = lattice[0].to(torch.float32)
    label = torch.zeros(lattice.shape[1:], dtype=torch.int16, device=lattice.device)
    for k in range(1, len(lattice)):
        label.masked_fill_(lattice[k] > peak, k)
        peak = torch.maximum(peak, lattice[k])
    second = torch.full_like(peak, -torch.inf)
    for k in range(len(lattice)):
        second = torch.where((k - label).abs() > _APART, torch.maximum(second, lattice[k]), second)
    confidence = (1 - (second - peak).exp()).clamp(0.02, 1)
    for k in range(len(lattice)):
        lattice[k] = (peak - lattice[k]).clamp_max(_TRUNCATION) * confidence
    return lattice


def aggregate(cost: Slabs, total: Slabs, smoothness: float, *, diagonals: bool) -> None:
    """Add to `total` the path costs from slab 0 onward: straight, and along both diagonals.

    Args:
        cost: (slabs, N, sites) data cost.
        total: The same shape, int16 in steps of `resolution`, changed in place.
        smoothness: Factor on the penalties.
        diagonals: Whether the two diagonal paths are followed too.
    """
    shifts, steps = (0, 1, -1) if diagonals else (0,), 1 / resolution(smoothness)
    paths = cost[0].to(torch.float32).expand(len(shifts), *cost[0].shape)
    total[0].add_((paths.sum(0) * steps).to(torch.int16))
    for k in range(1, len(cost)):
        moved = torch.stack([_shifted(path, shift) for path, shift in zip(paths, shifts)])
        paths = cost[k] + cheapest_step(moved, smoothness)
        total[k].add_((paths.sum(0) * steps).to(torch.int16))


def resolution(smoothness: float) -> float:
    """The step of the sums: the largest sum of eight paths fits into 16 bits."""
    return 8 * (_TRUNCATION + _JUMP_COST * smoothness) / 32767


def _shifted(path: Tensor, shift: int) -> Tensor:
    if shift == 0:
        return path
    padded = F.pad(path, (1, 0)) if shift > 0 else F.pad(path, (0, 1))
    return padded[:, :-1] if shift > 0 else padded[:, 1:]


def cheapest_step(paths: Tensor, smoothness: float) -> Tensor:
    """Cost of reaching each label from any label of the site before: linear, cut at a jump.

    Args:
        paths: (directions, N, sites).
    """
    floor = paths.amin(1, keepdim=True)
    best = paths - floor
    for reach in (1, 2, 4):
        if reach >= best.shape[1]:
            break
        stepped = best.clone()
        penalty = _STEP_COST * smoothness * reach
        torch.minimum(stepped[:, reach:], best[:, :-reach] + penalty, out=stepped[:, reach:])
        torch.minimum(stepped[:, :-reach], best[:, reach:] + penalty, out=stepped[:, :-reach])
        best = stepped
    return best.clamp_max_(_JUMP_COST * smoothness)
