"""Depth is averaged as planes: a locally linear regression of the indices of single pixels.

Pooling energies over a window takes the depth of its strongest texture for that of its middle, and costs as many
filters as there are frames. Pooling indices, each weighted by its precision, costs one, and a plane follows slopes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
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
    mean_weight: Tensor
    """(H, W) its mean around each pixel."""
    factors: tuple[Tensor, Tensor, Tensor]
    """What the moments of a map about each pixel, of no order and along x and y, count for the plane there."""

    @classmethod
    def of(cls, weight: Tensor, sigma_px: float) -> Planes:
        """The moments of some weights.

        Args:
            weight: (H, W) inverse variance; 0 where there is nothing.
            sigma_px: Standard deviation of the Gaussian window.
        """
        mean, x, y, xx, yy, xy = _moments(weight, sigma_px, ((0, 0), (1, 0), (0, 1), (2, 0), (0, 2), (1, 1)))
        total = mean.clamp_min(torch.finfo(torch.float32).tiny)
        mx, my = x / total, y / total
        xx, yy, xy = xx / total - mx * mx + _RIDGE_PX2, yy / total - my * my + _RIDGE_PX2, xy / total - mx * my
        determinant = (xx * yy - xy * xy) * total
        across, down = (xy * my - yy * mx) / determinant, (xy * mx - xx * my) / determinant
        return cls(sigma_px, weight, mean, (1 / total - mx * across - my * down, across, down))

    def __call__(self, values: Tensor) -> Tensor:
        """(H, W) the plane through the values around each pixel; NaN where nothing is near.

        Args:
            values: (H, W) any finite number where the weight is 0.
        """
        moments = _moments(self.weight * values, self.sigma_px, ((0, 0), (1, 0), (0, 1)))
        found = sum(factor * moment for factor, moment in zip(self.factors, moments))
        return torch.where(self.mean_weight > 0, torch.as_tensor(found), torch.nan)


def _moments(plane: Tensor, sigma_px: float, orders: tuple[tuple[int, int], ...]) -> list[Tensor]:
    """(H, W) moments about each pixel of some orders along x and y; beyond the border there is nothing."""
    taps = filters.gaussian_kernel(sigma_px)
    reach = len(taps) // 2
    x = np.arange(len(taps), dtype=np.float32) - reach
    powers: tuple[NDArray[np.float32], ...] = (taps, taps * x, taps * x * x)
    padded = F.pad(plane, (reach,) * 4)[None]
    rows, columns = (slice(reach, reach + side) for side in plane.shape)
    return [filters.separable(padded, powers[across], powers[down])[0, rows, columns] for across, down in orders]
