"""Windows of planes: over how many pixels depth is averaged is decided at every pixel.

A wide window is calm and takes relief away, a narrow one keeps both. Planes over windows of three sizes are mixed by
shares that a small network gives them, which looks at how far the planes are from each other, at the noise, and at the
focus curves (the numbers are in `mixtures.json`; `python -m dff.training.windows` fits them). Shares depend on
nothing that the direction of the stack, or the exposure, could change, and they add up to one: the mixture is a mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dff import filters
from dff.depth.mixture import mixture_of
from dff.depth.plane import PIXEL_SIGMA_PX, Planes

SCALES = (0.5, 1.0, 1.75)
"""Sizes of the windows, relative to the one that is asked for."""
DISTANCES = ("narrow_sharpened", "middle_sharpened", "narrow_middle", "middle_wide")
FEATURES = (
    *DISTANCES,
    *(f"{name}_around" for name in DISTANCES),
    *("noise_narrow", "noise_wide", "scatter", "above_noise", "residual", "width", "drop"),
)
"""What the shares are judged by: logarithms of frames between planes, there and around, and of other frames; what is
known of the focus curves; how much a typical one drops within a frame."""
VALUES = ("narrow", "narrow_sharpened", "middle", "middle_sharpened", "wide")
"""What is mixed."""
_LEAST_FRAMES, _MOST_FRAMES = 1e-3, 3.0
_LEAST = 1e-6
_AROUND_SIGMA_PX, _SCATTER_SIGMA_PX = 2.5, 2.0
_FARTHEST_OFF = 1.5
_LIMITS = np.array([_LEAST_FRAMES, _MOST_FRAMES, _FARTHEST_OFF], np.float32)
_SLOPE_SIGMA_PX = 0.7
_LEAST_DROP = 0.02
_OWNERS = (0, 0, 1, 1, 2)
"""Which window each of VALUES is of."""


@dataclass(frozen=True)
class Curves:
    """What the focus curves of single pixels say, as far as planes are concerned."""

    index: Tensor
    """(H, W) sub-frame index; the label where there is none."""
    weight: Tensor
    """(H, W) its inverse variance; 0 where there is none."""
    height: Tensor
    """(H, W) largest logit."""
    shape: Tensor
    """(3, H, W) height above the noise, residual of the parabola, logarithm of its curvature."""
    drop: float
    """How much a typical logit drops one frame from its peak."""
    floor: float
    """Variance of a pixel that no noise explains, and that is part of its weight."""


@dataclass(frozen=True)
class Windows:
    """Planes over windows of several sizes."""

    values: Tensor
    """(J, H, W) in the order of VALUES."""
    variance: Tensor
    """(3, H, W) mean variance of the pixels in the windows of SCALES, from noise alone."""
    features: Tensor
    """(F, H, W) in the order of FEATURES."""
    sigmas_px: tuple[float, ...]
    """(3,) standard deviations of the windows."""

    @classmethod
    def of(cls, curves: Curves, sigma_px: float) -> Windows:
        """The planes of every window.

        Args:
            curves: What single pixels say.
            sigma_px: Standard deviation of the middle window.
        """
        from dff.depth.window_loops import noise, remains, tell

        planes = [Planes.of(curves.weight, scale * sigma_px) for scale in SCALES]
        weighted, values = curves.weight * curves.index, torch.empty(len(VALUES), *curves.index.shape)
        rest, maps = torch.empty_like(weighted), (curves.index, curves.height.contiguous(), planes[0].weight)
        index, height, weight = (plane.numpy() for plane in maps)
        for k, fitted in enumerate(planes):
            values[2 * k] = value = fitted.through(weighted, 0.0)
            if fitted is not planes[-1]:
                smooth = filters.gaussian(value[None], _SLOPE_SIGMA_PX)[0].numpy()
                remains(index, smooth, height, weight, np.float32(PIXEL_SIGMA_PX**2), rest.numpy())
                torch.add(value, fitted.through(rest, 0.0), out=values[2 * k + 1])
        features, variance = torch.empty(len(FEATURES), *index.shape), torch.empty(len(SCALES), *index.shape)
        tell(values.numpy(), index, _LIMITS, features.numpy(), rest.numpy())
        for fitted, target in zip(planes, variance):
            noise(fitted.mean_weight.numpy(), np.float32(curves.floor), np.float32(_LEAST), target.numpy())
        _tell_others(features, rest, variance, curves)
        return cls(values, variance, features, tuple(fitted.sigma_px for fitted in planes))

    def mixed(self, samples: float) -> tuple[Tensor, Tensor]:
        """The mixture of the planes.

        Args:
            samples: Number of independent samples in a pixel's energy.

        Returns:
            (H, W) index and (H, W) its variance from noise alone.
        """
        independent = [samples / (samples + 2 * math.pi * self.sigmas_px[k] ** 2) for k in _OWNERS]
        units = mixture_of("open").units
        return units.mixed_with_variance(self.features, self.values, self.variance, _OWNERS, independent)


def halo_px(sigma_px: float) -> int:
    """Pixels of context that the mixture depends on, of windows of a standard deviation of the middle one."""
    narrow, middle, wide = (len(filters.gaussian_kernel(scale * sigma_px)) // 2 for scale in SCALES)
    slope, around = (len(filters.gaussian_kernel(px)) // 2 for px in (_SLOPE_SIGMA_PX, _AROUND_SIGMA_PX))
    return max(2 * max(narrow, middle) + slope + 1, wide) + around


def _tell_others(features: Tensor, off: Tensor, variance: Tensor, curves: Curves) -> None:
    """Write all features but the distances between planes, which are there.

    Args:
        features: (F, H, W) changed in place.
        off: (H, W) squared distance of single pixels from the middle plane.
        variance: (3, H, W) mean variance of the pixels in each window.
        curves: What single pixels say.
    """
    from dff.depth.window_loops import half_logs

    count = len(DISTANCES)
    filters.gaussian(features[:count], _AROUND_SIGMA_PX, out=features[count : 2 * count])
    scatter = filters.gaussian(off[None], _SCATTER_SIGMA_PX)[0]
    for k, source in enumerate((variance[0], variance[-1], scatter), 2 * count):
        half_logs(source.numpy(), np.float32(_LEAST), features[k].numpy())
    features[2 * count + 3 : -1] = curves.shape
    features[-1] = math.log(max(curves.drop, _LEAST_DROP))
