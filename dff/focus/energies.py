"""Windowed energy of one symmetric kernel: what compiled loops compute from a whole stack at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff.focus.coherence import StackFilter

_REACH = 3
_STRIP_ROWS = 96
_CELL = 4


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

    def logits(self, planes: Tensor, along: StackFilter, uncovered: Mapping[int, Tensor]) -> Tensor:
        """(N, H, W) logarithm of the energies.

        Args:
            planes: (N, H, W) luminance.
            along: Filter along the stack.
            uncovered: (H, W) bool by frame: where it has no energy.
        """
        from dff.focus.energy_loops import logits

        result = torch.empty_like(planes, dtype=torch.float32, memory_format=torch.contiguous_format)
        self._run(logits, planes, along, uncovered, result)
        return result

    def cells(self, planes: Tensor, along: StackFilter, uncovered: Mapping[int, Tensor]) -> Tensor:
        """(N, h, w) logarithm of the mean energy of cells of 4 x 4 pixels.

        Args:
            planes: (N, H, W) luminance, from a multiple of 4 pixels on.
            along: Filter along the stack.
            uncovered: (H, W) bool by frame: where it has no energy.
        """
        from dff.focus.energy_loops import cells

        count, height, width = planes.shape
        result = torch.empty(count, -(-height // _CELL), -(-width // _CELL))
        self._run(cells, planes, along, uncovered, result)
        return result

    def _run(
        self,
        loop: Callable[..., Any],
        planes: Tensor,
        along: StackFilter,
        uncovered: Mapping[int, Tensor],
        result: Tensor,
    ) -> None:
        place = np.full(len(planes), -1)
        place[list(uncovered)] = np.arange(len(uncovered))
        bare = np.stack([where.numpy() for where in uncovered.values()] or [np.empty((0, 0), bool)])
        images = np.ascontiguousarray(planes.detach().numpy(), np.float32)
        # Rows that sum to one have no use for the mean.
        mean = images[0] if np.allclose(along.gain, 1, atol=1e-6) else images.mean(0)
        weights, first, counts = along.bands
        given = (images, mean, weights, first, counts, self.quarter, self.taps, np.float32(self.floor), bare, place)
        height = images.shape[1]
        spans = [(top, min(top + _STRIP_ROWS, height)) for top in range(0, height, _STRIP_ROWS)]
        with ThreadPoolExecutor(torch.get_num_threads()) as workers:
            list(workers.map(lambda span: loop(*given, span, result.numpy()), spans))
