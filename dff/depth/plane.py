"""Depth is averaged as planes: a locally linear regression of the indices of single pixels.

Pooling energies over a window takes the depth of its strongest texture for that of its middle, and costs as many
filters as there are frames. Pooling indices, each weighted by its precision, costs one, and a plane follows slopes.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
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


def fit_planes(index: Tensor, weight: Tensor, sigma_px: float) -> tuple[Tensor, Tensor]:
    """Value at each pixel of the plane through the indices around it (moving least squares).

    Args:
        index: (H, W) sub-frame index; any finite number where the weight is 0.
        weight: (H, W) inverse variance; 0 where there is nothing.
        sigma_px: Standard deviation of the Gaussian window.

    Returns:
        (H, W) planes, NaN where nothing is near, and (H, W) the mean weight around each pixel.
    """
    taps = filters.gaussian_kernel(sigma_px)
    x = np.arange(len(taps), dtype=np.float32) - len(taps) // 2
    powers = (taps, taps * x, taps * x * x)
    reach = len(taps) // 2
    rows, columns = (slice(reach, reach + side) for side in index.shape)
    padded, valued = (F.pad(plane, (reach,) * 4) for plane in (weight, weight * index))

    def moment(plane: Tensor, across: int, down: int) -> Tensor:
        return filters.separable(plane[None], powers[across], powers[down])[0, rows, columns]

    mean_weight = moment(padded, 0, 0)
    total = mean_weight.clamp_min(torch.finfo(torch.float32).tiny)
    mx, my, mz = moment(padded, 1, 0) / total, moment(padded, 0, 1) / total, moment(valued, 0, 0) / total
    xx = moment(padded, 2, 0) / total - mx * mx + _RIDGE_PX2
    yy = moment(padded, 0, 2) / total - my * my + _RIDGE_PX2
    xy = moment(padded, 1, 1) / total - mx * my
    xz, yz = moment(valued, 1, 0) / total - mx * mz, moment(valued, 0, 1) / total - my * mz
    determinant = xx * yy - xy * xy
    value = mz - ((xz * yy - yz * xy) * mx + (yz * xx - xz * xy) * my) / determinant
    return torch.where(mean_weight > 0, value, torch.nan), mean_weight
