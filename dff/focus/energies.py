"""Windowed energy of one symmetric kernel: what compiled loops compute from a whole stack at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff.covered import Covered
from dff.focus.coherence import StackFilter

UNCOVERED_LOGIT = -40.0
"""Of frames that do not cover a pixel."""
_REACH = 3
_STRIP_ROWS = 96
_CELL = 4
_EVERYWHERE = np.empty((0, 0), np.int32)


@dataclass(frozen=True)
class SymmetricEnergy:
    """An operator of one kernel that is the same in its four quarters, in the words of `energy_loops`."""

    quarter: NDArray[np.float32]
    """(4, 4) kernel from its centre."""
    taps: NDArray[np.float32]
    """(4,) window from its centre."""
    floor: float
    """Energy added before the logarithm."""

    @classmethod
    def of(cls, kernel: NDArray[np.float32], taps: NDArray[np.float32], floor: float) -> SymmetricEnergy | None:
        """The energy of a kernel averaged over a window; None where either reaches too far.

        Args:
            kernel: (odd, odd) the same in its four quarters.
            taps: (odd,) of the window, likewise.
            floor: Energy added before the logarithm.
        """
        if max(*kernel.shape, len(taps)) > 2 * _REACH + 1:
            return None
        quarter, half = np.zeros((_REACH + 1, _REACH + 1), np.float32), np.zeros(_REACH + 1, np.float32)
        part = kernel[kernel.shape[0] // 2 :, kernel.shape[1] // 2 :]
        quarter[: part.shape[0], : part.shape[1]] = part
        half[: len(taps) // 2 + 1] = taps[len(taps) // 2 :]
        return cls(quarter, half, floor)

    def logits(self, planes: Tensor, along: StackFilter, covered: Covered | None, inside: slice) -> Tensor:
        """(N, rows, W) logarithm of the energies.

        Args:
            planes: (N, H, W) luminance.
            along: Filter along the stack.
            covered: What frames cover; elsewhere they have no energy. None: all cover everything.
            inside: Rows that are wanted; the others are their context.
        """
        from dff.focus.energy_loops import logits

        rows = range(planes.shape[1])[inside]
        result = torch.empty(len(planes), len(rows), planes.shape[2])
        self._run(logits, planes, along, covered, rows, result)
        return result

    def cells(self, planes: Tensor, along: StackFilter, covered: Covered | None, inside: slice) -> Tensor:
        """(N, h, w) logarithm of the mean energy of cells of 4 x 4 pixels; see `logits`.

        Args:
            planes: (N, H, W) luminance, from a multiple of 4 pixels on.
            along: Filter along the stack.
            covered: What frames cover.
            inside: Rows that are wanted, likewise.
        """
        from dff.focus.energy_loops import cells

        count, _, width = planes.shape
        rows = range(planes.shape[1])[inside]
        result = torch.empty(count, -(-len(rows) // _CELL), -(-width // _CELL))
        self._run(cells, planes, along, covered, rows, result)
        return result

    def _run(
        self,
        loop: Callable[..., Any],
        planes: Tensor,
        along: StackFilter,
        covered: Covered | None,
        rows: range,
        result: Tensor,
    ) -> None:
        images = np.ascontiguousarray(planes.detach().numpy(), np.float32)
        # Rows that sum to one have no use for the mean.
        mean = images[0] if np.allclose(along.gain, 1, atol=1e-6) else images.mean(0)
        ends = (_EVERYWHERE, _EVERYWHERE) if covered is None else (covered.first, covered.stop)
        given = images, mean, *along.bands, self.quarter, self.taps, np.float32(self.floor), *ends
        spans = [(top, min(top + _STRIP_ROWS, rows.stop)) for top in range(rows.start, rows.stop, _STRIP_ROWS)]
        with ThreadPoolExecutor(torch.get_num_threads()) as workers:
            list(workers.map(lambda span: loop(*given, span, rows.start, result.numpy()), spans))
