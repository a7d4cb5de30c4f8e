"""Depth is averaged as planes: a locally linear regression of the indices of single pixels.

Pooling energies over a window takes the depth of its strongest texture for that of its middle, and costs as many
filters as there are frames. Pooling indices, each weighted by its precision, costs one, and a plane follows slopes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff import filters

_RIDGE_PX2 = 0.05
"""Added to the spread of the pixels along x and y, so that a window with few pixels is level."""


PIXEL_SIGMA_PX = 1.0
"""Window of the energies from which the depth of a single pixel is found."""


def split_window(sigma_px: float) -> tuple[float, float]:
    """Standard deviations of the window of energies and of that of planes which together are one window."""
    pixel_px = min(PIXEL_SIGMA_PX, sigma_px)
    return pixel_px, math.sqrt(sigma_px**2 - pixel_px**2)


@dataclass(frozen=True)
class Planes:
    """Fits planes to maps over a Gaussian window around every pixel (moving least squares), all by the same weights."""

    sigma_px: float
    weight: Tensor
    """(H, W) inverse variance; 0 where there is nothing."""
    factors: Tensor
    """(4, H, W) mean weight around each pixel, and what the moments of a map of no order and along x and y count."""

    @classmethod
    def of(cls, weight: Tensor, sigma_px: float) -> Planes:
        """The moments of some weights.

        Args:
            weight: (H, W) inverse variance; 0 where there is nothing.
            sigma_px: Standard deviation of the Gaussian window.
        """
        from dff.depth.plane_loops import FACTORS, weigh

        weight, factors = weight.contiguous(), torch.empty(FACTORS, *weight.shape)
        weigh(weight.numpy(), _taps(sigma_px), np.float32(_RIDGE_PX2), factors.numpy())
        return cls(sigma_px, weight, factors)

    @property
    def mean_weight(self) -> Tensor:
        """(H, W) mean inverse variance around each pixel."""
        return self.factors[0]

    def __call__(self, values: Tensor) -> Tensor:
        """(H, W) the plane through the values around each pixel; NaN where nothing is near.

        Args:
            values: (H, W) any finite number where the weight is 0.
        """
        return self.through(self.weight * values, torch.nan)

    def through(self, weighted: Tensor, nothing: float) -> Tensor:
        """(H, W) the plane through values.

        Args:
            weighted: (H, W) values times their weight.
            nothing: Value where nothing is near.
        """
        from dff.depth.plane_loops import fit

        result = torch.empty_like(weighted)
        fit(weighted.numpy(), self.factors.numpy(), _taps(self.sigma_px), np.float32(nothing), result.numpy())
        return result


@lru_cache(maxsize=64)
def _taps(sigma_px: float) -> NDArray[np.float32]:
    """(reach + 1, 3) taps of a Gaussian window from its centre, times powers of the distance."""
    taps = filters.gaussian_kernel(sigma_px)
    half = taps[len(taps) // 2 :]
    distance = np.arange(len(half), dtype=np.float32)
    return np.stack([half, half * distance, half * distance * distance], 1)
