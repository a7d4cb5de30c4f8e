"""The stack network on rows of a picture, as they come: for memory that does not depend on the picture's height.

Rows of all frames go in from top to bottom; each layer works on a row as soon as it has the rows below that it looks
at, and keeps those above in rings. Nothing is worked on twice and no context is cut, so that it does not matter how
many rows come at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff import filters
from dff.focus import stack_sight as sight
from dff.focus.evidence import BROAD_SIGMA_CELLS, CORNER, FINE_SIGMA_PX, NOISE_FLOOR, RING, WIDE_SIGMA_CELLS
from dff.focus.lanes import converts_halves
from dff.focus.measure import CELL
from dff.focus.sesf_stack import EDGE_PX
from dff.focus.stack_pass import BAND, Desk, Extent, Limits, Rings, work
from dff.focus.stack_scratch import BANK, CHANNELS, MARGIN, MIXED, PIXELS, SCRATCH_ROWS, SITES
from dff.focus.stack_weights import Floats, Weights

STRIP = 16
"""Rows of sites that are taken in at a time, at most."""
_PAUSE_S = 5e-4
"""Of a thread that waits for another."""


def _quarter(kernel: Floats, reach: int) -> Floats:
    """A kernel that is the same in its four quarters, from its centre, filled up with zeros."""
    part = kernel[tuple(slice(side // 2, None) for side in kernel.shape)]
    return np.ascontiguousarray(np.pad(part, [(0, reach + 1 - side) for side in part.shape]), np.float32)


_FILTERS = (
    _quarter(RING, sight.RING_REACH),
    _quarter(CORNER, 1),
    _quarter(filters.gaussian_kernel(FINE_SIGMA_PX), sight.REACH),
)
_WINDOWS = tuple(
    _quarter(kernel, len(kernel) // 2) for kernel in map(filters.gaussian_kernel, (WIDE_SIGMA_CELLS, BROAD_SIGMA_CELLS))
)


class StackRows:
    """A picture's rows of all frames on their way through the network."""

    def __init__(
        self,
        weights: Weights,
        limits: Limits,
        count: int,
        size_px: tuple[int, int],
        *,
        pixelwise: bool = False,
        halves: bool = True,
    ):
        """Make room for a picture.

        Args:
            weights: The network's numbers.
            limits: Of what it decides.
            count: Number of frames.
            size_px: Height and width.
            pixelwise: Give every pixel's probabilities instead of those of cells of CELL x CELL.
            halves: Keep what is looked at around in half precision, where the processor can.
        """
        self.weights, self.count, self.pixelwise = weights, count, pixelwise
        self.height, self.width = (-(-side // CELL) for side in size_px)
        self.segments = -(-self.width // SITES)
        self.threads = min(self.segments, torch.get_num_threads())
        self.desks = [Desk.of(count, SCRATCH_ROWS) for _ in range(self.threads)]
        self.taken, self.known, self.passed = 0, 0, 0
        """Rows of sites that have been taken in, whose noise is known, and that went into the layers."""
        self.pool = ThreadPoolExecutor(self.threads)
        self.limits = Limits(*(np.float32(limit) for limit in limits))
        self.lags = self._lags()
        self.lag = int(self.lags[-1])
        """Rows that the answer is behind the noise."""
        self.rings = self._rings(np.uint16 if halves and converts_halves() else np.float32)
        self.rings.noise.fill(1)
        self.maps: Floats = np.empty((count, 3, 0, self.width), np.float32)
        """Energy of corners and of rings, and luminance, of the sites that are still to be averaged over."""

    def _lags(self) -> NDArray[np.int64]:
        """Rows that every layer is behind the noise."""
        lags = [1, 2]
        for reach in self.weights.reach:
            lags += [lags[-1] + 1, lags[-1] + 1 + reach]
        return np.array([*lags, lags[-1] + 1], np.int64)

    def _rings(self, kept: Any) -> Rings:
        """Rows that layers look back at; `kept` is the type of what is looked at around."""
        strip, behind = STRIP + sight.AROUND + 4, STRIP + sight.AROUND + self.lag + BAND + 1
        whole, reaches = self.lag - 2 + BAND, self.weights.reach
        cuts = np.concatenate([[0], np.cumsum(2 * reaches + BAND)])
        return Rings(
            self._blocks(strip, PIXELS),
            self._blocks(strip, PIXELS),
            self._blocks(behind, 4),
            self._row(behind, 1),
            self._row(behind, 1),
            self._blocks(BAND + 2, BANK),
            self._blocks(whole, PIXELS, kept),
            self._blocks(whole, CHANNELS + 1, kept),
            np.stack([self._row(BAND + 2, 2 * CHANNELS)] * (len(reaches) + 1)),
            np.stack([self._blocks(max(reaches) + BAND, MIXED, frames=1)] * len(reaches)),
            self._blocks(cuts[-1], MIXED, kept),
            cuts,
        )

    def _row(self, rows: int, channels: int) -> Floats:
        return np.zeros((rows, 1, channels, SITES * self.segments + 2 * MARGIN), np.float32)

    def _blocks(self, rows: int, channels: int, dtype: Any = np.float32, *, frames: int | None = None) -> NDArray[Any]:
        return np.zeros((rows, self.segments, frames or self.count, channels, SITES), dtype)

    def push(self, planes: Tensor, above_px: int = 0, below_px: int = 0) -> Tensor:
        """Take in the next rows.

        Args:
            planes: (N, above + rows + below, W) luminance; rows are a multiple of CELL, but for the last ones.
            above_px: Rows that were taken in before: EDGE_PX of them, as far as there are any.
            below_px: Rows that come next, likewise.

        Returns:
            (N, h, w) logarithm of each frame's mean probability in the cells of the next rows that are decided, or
            (N, H, W) of its probability in their pixels.
        """
        found = []
        rows_px = planes.shape[1] - above_px - below_px
        for top in range(0, rows_px, STRIP * CELL):
            stop = min(rows_px, top + STRIP * CELL)
            first, last = max(0, above_px + top - EDGE_PX), min(planes.shape[1], above_px + stop + EDGE_PX)
            self._take_in(planes[:, first:last], above_px + top - first, -(-(stop - top) // CELL))
            found.append(self._advance())
        return torch.from_numpy(np.concatenate(found, 1) if len(found) > 1 else found[0])

    def _take_in(self, planes: Tensor, above_px: int, rows: int) -> None:
        """Pixels, energies and the noise that follows from them."""
        maps = np.empty((self.count, 3, rows, self.width), np.float32)

        def take_in(first: int, last: int) -> None:
            for k in range(first, last):
                plane, rings = np.ascontiguousarray(planes[k].numpy()), (self.rings.pixels, self.rings.fine)
                sight.see(plane, above_px, rows, *_FILTERS, *rings, maps[k], self.taken, k)

        self._share(take_in, 0, self.count)
        self.maps = np.concatenate([self.maps, maps], 2)
        self.taken += rows
        self._relate()

    def _relate(self) -> None:
        """The noise, and energies relative to it, of the rows whose surroundings have been taken in."""
        ready = self.height if self.taken == self.height else max(self.known, self.taken - sight.AROUND)
        first = self.taken - self.maps.shape[2]

        def relate(y0: int, y1: int) -> None:
            rings = self.rings.noise, self.rings.contrast, self.rings.cells
            sight.relative_energies(self.maps, first, y0, y1, self.height, *_WINDOWS, np.float32(NOISE_FLOOR), *rings)

        self._share(relate, self.known, ready)
        self.maps = self.maps[:, :, max(0, ready - sight.AROUND - first) :]
        self.known = ready

    def _share(self, do: Callable[[int, int], None], first: int, last: int) -> None:
        """Do something for all numbers from `first` to `last`, a range on every thread."""
        cuts = [first + (last - first) * number // self.threads for number in range(self.threads + 1)]
        list((map if self.threads == 1 else self.pool.map)(do, cuts, cuts[1:]))

    def _advance(self) -> Floats:
        """Let whole bands of rows pass through the layers as far as their surroundings are known."""
        last = self.taken == self.height
        stop = self.height + self.lag if last else self.known // BAND * BAND
        first, end = (min(max(0, row - self.lag), self.height) for row in (self.passed, stop))
        shape, nothing = (self.count, end - first), (self.count, 0)
        cells = np.empty((*(nothing if self.pixelwise else shape), self.width), np.float32)
        pixels = np.empty((*(shape if self.pixelwise else nothing), CELL, self.width, CELL), np.float32)
        extent = Extent(self.passed, stop, first, self.height, self.width, self.lags)
        turns = np.zeros(self.segments + 1, np.int64)

        def do(number: int, _: int) -> None:
            task = -1
            arguments = self.rings, self.weights, self.limits, extent, self.desks[number], turns, cells, pixels
            while (task := work(*arguments, task)) >= 0:
                time.sleep(_PAUSE_S)

        self._share(do, 0, self.threads)
        self.passed = stop
        if last:
            self.pool.shutdown()
        whole = pixels.reshape(self.count, -1, self.width * CELL)
        return whole if self.pixelwise else cells
