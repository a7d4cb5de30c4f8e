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
from dff.depth.mixture import added, mixture_of
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
_SLOPE_SIGMA_PX = 0.7
_LEAST_DROP = 0.02
_DIFFERENCE = np.array([-0.5, 0, 0.5], np.float32)
_ONE = np.ones(1, np.float32)


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
    """(J, H, W) mean variance of the pixels in each window, from noise alone."""
    features: Tensor
    """(F, H, W) in the order of FEATURES."""
    sigmas_px: tuple[float, ...]
    """(J,) standard deviations of the windows."""

    @classmethod
    def of(cls, curves: Curves, sigma_px: float) -> Windows:
        """The planes of every window.

        Args:
            curves: What single pixels say.
            sigma_px: Standard deviation of the middle window.
        """
        steer = _Steered.of(curves.height)
        planes = [Planes.of(curves.weight, scale * sigma_px) for scale in SCALES]
        values = []
        for fitted in planes[:-1]:
            value = fitted(curves.index).nan_to_num()
            values += [value, value + fitted(curves.index - steer(value)).nan_to_num()]
        values.append(planes[-1](curves.index).nan_to_num())
        noises = [(1 / fitted.mean_weight.clamp_min(_LEAST) - curves.floor).clamp_min(_LEAST) for fitted in planes]
        features = _features(values, noises, curves)
        owners = (0, 0, 1, 1, 2)
        return cls(
            torch.stack(values),
            torch.stack([noises[k] for k in owners]),
            features,
            tuple(planes[k].sigma_px for k in owners),
        )

    def mixed(self, samples: float) -> tuple[Tensor, Tensor]:
        """The mixture of the planes.

        Args:
            samples: Number of independent samples in a pixel's energy.

        Returns:
            (H, W) index and (H, W) its variance from noise alone.
        """
        shares = mixture_of("open")(self.features)
        independent = self.features.new_tensor([samples / (samples + 2 * math.pi * px**2) for px in self.sigmas_px])
        variance = self.variance * independent[:, None, None]
        return added(shares * self.values), added(shares * variance)


def halo_px(sigma_px: float) -> int:
    """Pixels of context that the mixture depends on, of windows of a standard deviation of the middle one."""
    narrow, middle, wide = (len(filters.gaussian_kernel(scale * sigma_px)) // 2 for scale in SCALES)
    slope, around = (len(filters.gaussian_kernel(px)) // 2 for px in (_SLOPE_SIGMA_PX, _AROUND_SIGMA_PX))
    return max(2 * max(narrow, middle) + slope + 1, wide) + around


@dataclass(frozen=True)
class _Steered:
    """What single pixels make of a surface: its depth where the energy of their window has its centre.

    With a Gaussian window that is off the pixel by the window's variance times the gradient of the energy's logarithm.
    """

    across: Tensor
    down: Tensor

    @classmethod
    def of(cls, height: Tensor) -> _Steered:
        variance = PIXEL_SIGMA_PX**2
        across, down = _gradient(height)
        return cls((variance * across).clamp(-1, 1), (variance * down).clamp(-1, 1))

    def __call__(self, surface: Tensor) -> Tensor:
        smooth = filters.gaussian(surface[None], _SLOPE_SIGMA_PX)[0]
        across, down = _gradient(smooth)
        return smooth + self.across * across + self.down * down


def _gradient(values: Tensor) -> tuple[Tensor, Tensor]:
    across, down = ((_DIFFERENCE, _ONE), (_ONE, _DIFFERENCE))
    return filters.separable(values[None], *across)[0], filters.separable(values[None], *down)[0]


def log_frames(distance: Tensor) -> Tensor:
    """Logarithm of a distance in frames."""
    return distance.abs().clamp(_LEAST_FRAMES, _MOST_FRAMES).log()


def _features(values: list[Tensor], noises: list[Tensor], curves: Curves) -> Tensor:
    narrow, narrow_sharpened, middle, middle_sharpened, wide = values
    distances = torch.stack(
        [
            log_frames(narrow_sharpened - narrow),
            log_frames(middle_sharpened - middle),
            log_frames(narrow - middle),
            log_frames(middle - wide),
        ]
    )
    off = (curves.index - middle).clamp(-_FARTHEST_OFF, _FARTHEST_OFF).square()
    scatter = filters.gaussian(off[None], _SCATTER_SIGMA_PX)[0].clamp_min(_LEAST)
    others = torch.stack(
        [
            0.5 * noises[0].log(),
            0.5 * noises[-1].log(),
            0.5 * scatter.log(),
            *curves.shape,
            torch.full_like(middle, math.log(max(curves.drop, _LEAST_DROP))),
        ]
    )
    return torch.cat([distances, filters.gaussian(distances, _AROUND_SIGMA_PX), others]).nan_to_num(0.0, 3.0, -3.0)
