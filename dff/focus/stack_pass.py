"""The stack network's layers one after the other, by as many threads as there are, each on a segment at a time.

What is to be done is put in a row: band after band of rows of sites, layer after layer, segment after segment. Threads
take the next task each, and wait only where the layer before has not been through the same and the neighbouring
segments. Of two tasks that are worked on at the same time none needs what the other changes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dff.compiled import compiled, inner, written_out
from dff.focus import stack_blocks
from dff.focus import stack_kernels as kernels
from dff.focus.stack_scratch import PIXELS, SITES
from dff.focus.turns import claim, publish, published

Floats = NDArray[np.float32]
BAND = 2
"""Rows of sites that pass through a layer at a time."""
_PATIENCE = 4096
_bank, _first, _mix, _look = kernels.bank_energy, kernels.first_features, stack_blocks.mix, stack_blocks.look
_decide, _cells, _pixels = kernels.decide, kernels.put_cell_shares, kernels.put_pixel_shares


class Rings(NamedTuple):
    """What layers keep of the last rows; see `stack_kernels`."""

    pixels: Floats
    fine: Floats
    cells: Floats
    noise: Floats
    contrast: Floats
    energy: Floats
    detail: NDArray[np.uint16] | Floats
    features: Floats
    stacks: Floats
    """(blocks + 1, ...)."""
    gates: Floats
    """(blocks, ...)."""
    mixtures: NDArray[np.uint16] | Floats
    """Those of all blocks,"""
    cuts: NDArray[np.int64]
    """and (blocks + 1,) which of their rows each begins and ends with."""


class Limits(NamedTuple):
    """Of what the network decides."""

    steepness: float | np.float32
    """Of the log-odds of an answer over the contrast"""
    least_contrast: float | np.float32
    """from which on there is one."""
    sure: float | np.float32
    """Largest log-odds of having no answer, or of having one."""
    least_share: float | np.float32
    """Least logarithm of a probability."""


class Extent(NamedTuple):
    """Of a pass through the layers."""

    before: int
    """Rows that have passed into the layers,"""
    after: int
    """that will have when this is done;"""
    first: int
    """the row of the picture that answers begin with."""
    height: int
    width: int
    lags: NDArray[np.int64]
    """Rows that each layer is behind."""


class Desk(NamedTuple):
    """What a thread has for itself."""

    scratch: Floats
    logits: Floats
    """(N, PIXELS SITES)."""
    answered: Floats
    """(PIXELS SITES,)."""

    @classmethod
    def of(cls, count: int, rows: int) -> Desk:
        """For so many frames, and rows of the scratch."""
        sizes = (rows * SITES,), (count, PIXELS * SITES), (PIXELS * SITES,)
        return cls(*(np.zeros(size, np.float32) for size in sizes))


@compiled
def work(rings, weights, limits, extent, desk, turns, cells, pixels, task):
    """Do tasks until none is left, or until one has to wait.

    Args:
        rings: `Rings`.
        weights: `Weights`.
        limits: `Limits`.
        extent: `Extent`.
        desk: This thread's `Desk`.
        turns: (segments + 1,) layers that each segment has been through in this pass, and the next task.
        cells: (N, rows, width) answers of cells, or none.
        pixels: (N, rows, 4, width, 4) answers of pixels, or none.
        task: One that has waited, or -1.

    Returns:
        The task that has to wait; -1 if all are taken.
    """
    steps, segments = len(extent.lags), len(turns) - 1
    total = -(-(extent.after - extent.before) // BAND) * steps * segments
    if task < 0:
        task = claim(turns, segments)
    while task < total:
        number, segment = task // segments, task % segments
        if not _ready(turns, number, max(0, segment - 1), min(segments, segment + 2)):
            return task
        step, top = number % steps, extent.before + number // steps * BAND
        y0, y1 = top - extent.lags[step], min(top + BAND, extent.after) - extent.lags[step]
        y0, y1 = min(max(0, y0), extent.height), min(max(0, y1), extent.height)
        if y0 < y1:
            _do(rings, weights, limits, extent, desk, cells, pixels, step, y0, y1, segment)
        publish(turns, segment, number + 1)
        task = claim(turns, segments)
    return -1


@inner
def _ready(turns, number, first, last):
    """Whether the layer before has been through these segments."""
    for _ in range(_PATIENCE):
        behind = False
        for segment in range(first, last):
            behind |= published(turns, segment) < number
        if not behind:
            return True
    return False


@inner
def _part(weights, step, number):
    """The numbers of a layer's part."""
    return weights.numbers[weights.cuts[step, number] : weights.cuts[step, number + 1]]


@written_out
def _do(rings, weights, limits, extent, desk, cells, pixels, step, y0, y1, segment):
    """A layer, of some rows of a segment."""
    r, s, height, width = rings, desk.scratch, extent.height, extent.width
    number = (step - 2) // 2
    if step == 0:
        _bank(r.pixels, r.noise, _part(weights, 0, 0), r.energy, y0, y1, segment, height, width, s)
    elif step == 1:
        _first(
            r.energy, r.fine, r.cells, r.noise, _part(weights, step, 0), _part(weights, step, 1),
            _part(weights, step, 2), _part(weights, step, 3), _part(weights, step, 4), _part(weights, step, 5),
            r.detail, r.features, r.stacks[0], y0, y1, segment, height, width, s,
        )  # fmt: skip
    elif step == len(extent.lags) - 1:
        for y in range(y0, y1):
            _answer(r, weights, limits, extent, desk, cells, pixels, step, y, segment)
    elif step % 2 == 0:
        _mix(
            r.features, r.stacks[number], _part(weights, step, 0), _part(weights, step, 1), _part(weights, step, 2),
            _part(weights, step, 3), _part(weights, step, 4), _part(weights, step, 5), r.gates[number],
            r.mixtures[r.cuts[number] : r.cuts[number + 1]], y0, y1, segment, height, width, s,
        )  # fmt: skip
    else:
        _look(
            r.features, r.mixtures[r.cuts[number] : r.cuts[number + 1]], r.gates[number], weights.reach[number],
            _part(weights, step, 0), _part(weights, step, 1), _part(weights, step, 2), _part(weights, step, 3),
            _part(weights, step, 4), _part(weights, step, 5), _part(weights, step, 6), _part(weights, step, 7),
            r.stacks[number + 1], y0, y1, segment, height, width, s,
        )  # fmt: skip


@written_out
def _answer(r, weights, limits, extent, desk, cells, pixels, step, y, segment):
    """The last layer, and the probabilities that follow."""
    _decide(
        r.features, r.detail, r.cells, r.stacks[-1], r.contrast, _part(weights, step, 0), _part(weights, step, 1),
        _part(weights, step, 2), _part(weights, step, 3), _part(weights, step, 4), _part(weights, step, 5),
        _part(weights, step, 6), limits.steepness, limits.least_contrast, limits.sure, desk.logits, desk.answered, y,
        segment, extent.height, desk.scratch,
    )  # fmt: skip
    left = segment * SITES
    stop, row = min(left + SITES, extent.width), y - extent.first
    if cells.size:
        _cells(desk.logits, desk.answered, limits.least_share, cells[:, row, left:stop], stop - left)
    else:
        _pixels(desk.logits, desk.answered, limits.least_share, pixels[:, row, :, left:stop], stop - left)
