"""What frames cover of a part of the picture, as columns of its rows: less memory than pixel by pixel."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_WHOLE = slice(None), slice(None)


@dataclass(frozen=True)
class Covered:
    """The columns that each frame covers in the rows of a part of the picture."""

    first: NDArray[np.int32]
    """(N, H)."""
    stop: NDArray[np.int32]
    """(N, H) that after the last."""
    width: int
    """Columns of the part."""

    def __len__(self) -> int:
        return len(self.first)

    def plane(self, k: int, window: tuple[slice, slice] = _WHOLE) -> Tensor:
        """(h, w) bool where frame k covers a window of the part, rows and columns."""
        return self._between(self.first[k], self.stop[k], window)

    def bare(self) -> Iterator[tuple[int, Tensor]]:
        """Frames that do not cover all of the part, and (H, W) bool where they do not."""
        for k in np.flatnonzero((self.first > 0).any(1) | (self.stop < self.width).any(1)).tolist():
            yield k, ~self.plane(k)

    def everywhere(self) -> Tensor:
        """(H, W) bool where all frames cover it."""
        return self._between(self.first.max(0), self.stop.min(0), _WHOLE)

    def somewhere(self) -> Tensor:
        """(H, W) bool where any frame covers it."""
        if ((self.first == 0) & (self.stop == self.width)).all(1).any():
            return torch.ones((self.first.shape[1], self.width), dtype=torch.bool)
        return functools.reduce(torch.logical_or, map(self.plane, range(len(self))))

    def _between(self, first: NDArray[np.int32], stop: NDArray[np.int32], window: tuple[slice, slice]) -> Tensor:
        across = np.arange(self.width, dtype=np.int32)[window[1]]
        return torch.from_numpy((across >= first[window[0], None]) & (across < stop[window[0], None]))
