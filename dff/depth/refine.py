"""Sub-frame peaks: a parabola through the energies around each label, by weighted least squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_BROAD, _NARROW = (1.5, 0.25), (4.0, 0.35)
"""Power of the energies as weights, and bend q, of broad and narrow focus curves."""
_FLATTEST = 1e-6


@dataclass(frozen=True)
class Refined:
    """What a fit around a label found at each pixel."""

    index: Tensor
    """(H, W) sub-frame index; NaN where there is no peak inside the sweep."""
    sigma: Tensor
    """(H, W) standard deviation of the index in frames; NaN where the index is."""
    confidence: Tensor
    """(H, W) probability that the index is right to one frame; 0 where unknown."""
    label: Tensor
    """(H, W) int64 the label the fit started from: an answer everywhere, known or not."""


@dataclass(frozen=True)
class PeakFit:
    """The parabola at each pixel."""

    index: Tensor
    """(H, W) its vertex in frames."""
    curvature: Tensor
    """(H, W) drop of the logit one frame from the vertex; positive for a peak."""
    height: Tensor
    """(H, W) largest logit in the window."""
    residual: Tensor
    """(H, W) weighted rms of the logits about the parabola."""
    sigma: Tensor
    """(H, W) standard deviation of the vertex from the noise of the logits alone, frames."""


def fit_peak(
    volume: Tensor,
    label: Tensor,
    *,
    radius: int = 3,
    position: NDArray[np.floating] | None = None,
    noise_logit: float = -torch.inf,
    samples: float = 50.0,
    narrow: bool = False,
) -> PeakFit:
    """Vertex of the weighted least-squares parabola through the energies within `radius` frames of the label.

    Not the logarithm l of the energy is taken for a parabola but (1 - exp(-q l)) / q: the energy of a texture falls
    off with defocus as a power of a parabola, and the logarithm leaves a bias that is periodic in the fraction of the
    frame. Weights are a power of the energies relative to the largest, so that the fit narrows by itself where the
    peak is narrow. A logit's variance is that of the logarithm of a mean of n squared samples of signal and noise,
    v = (2 / n) (2 r - 1) / r², r the energy over that of the noise; the normal matrix carries it to the vertex.

    Args:
        volume: (N, H, W) logits.
        label: (H, W) frame to search around.
        radius: Frames on either side.
        position: (N,) frame index each plane of the volume stands for; evenly spaced by default.
        noise_logit: Logit of a place without texture.
        samples: Number n of independent samples in a window of the measure.
        narrow: Whether the energy falls off within a frame or two.
    """
    count, (power, bend) = len(volume), _NARROW if narrow else _BROAD
    t = torch.as_tensor(np.arange(count) if position is None else position, dtype=torch.float32, device=volume.device)
    frame = label + torch.arange(-radius, radius + 1, device=volume.device)[:, None, None]
    inside = (frame >= 0) & (frame < count)
    frame = frame.clamp_(0, count - 1)
    logit = volume.gather(0, frame)
    height = logit.amax(0)
    drop = logit - height
    weight = (drop * power).exp_().mul_(inside)
    stretch = (drop * -bend).exp_()
    noise = _variance(logit - noise_logit, samples).mul_((weight * stretch).square_())
    sums = _sums(t[frame] - t[label], weight, (1 - stretch) / bend, noise)
    slope, curvature, residual, sigma = _solve(sums)
    return PeakFit(t[label] - slope / (2 * curvature), -curvature, height, residual, sigma)


def _variance(above_noise: Tensor, samples: float) -> Tensor:
    ratio = above_noise.clamp(0, 30).exp_()
    return (2 / samples) * (2 * ratio - 1) / ratio.square()


def _sums(x: Tensor, weight: Tensor, y: Tensor, noise: Tensor) -> list[Tensor]:
    """Moments of x (0-4), of x y (5-7), of y² (8), and of x with the noise (9-13), over the frames."""
    moments, products, noises = [], [], []
    product = weight * y
    square = (product * y).sum(0)
    for power in range(5):
        moments.append(weight.sum(0))
        noises.append(noise.sum(0))
        if power < 3:
            products.append(product.sum(0))
            product = product * x
        weight, noise = weight * x, noise * x
    return [*moments, *products, square, *noises]


def _solve(sums: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Slope and curvature at the label, rms residual, and the standard deviation of the vertex."""
    s0, s1, s2, s3, s4, t0, t1, t2, yy, *noise = sums
    m1, m2 = s1 / s0, s2 / s0
    a11, a12, a22 = m2 - m1 * m1, s3 / s0 - m1 * m2, s4 / s0 - m2 * m2
    b0, b1, b2 = t0 / s0, t1 / s0 - m1 * t0 / s0, t2 / s0 - m2 * t0 / s0
    determinant = a11 * a22 - a12 * a12
    slope = (b1 * a22 - b2 * a12) / determinant
    curvature = (a11 * b2 - a12 * b1) / determinant
    residual = (yy / s0 - b0 * b0 - slope * b1 - curvature * b2).clamp_min(0).sqrt()
    # The vertex is -slope / 2 curvature; its derivatives weigh the samples as p0 + p1 x + p2 x².
    to_slope, to_curvature = -0.5 / curvature, slope / (2 * curvature * curvature)
    p1 = (to_slope * a22 - to_curvature * a12) / determinant
    p2 = (to_curvature * a11 - to_slope * a12) / determinant
    p = (-p1 * m1 - p2 * m2, p1, p2)
    variance = sum(p[i] * p[j] * noise[i + j] for i in range(3) for j in range(3))
    return slope, curvature, residual, torch.as_tensor(variance).clamp_min(0).sqrt() / s0


def highest_near(volume: Tensor, label: Tensor, radius: int) -> Tensor:
    """(H, W) frame of the largest logit within `radius` frames of the label.

    Args:
        volume: (N, H, W) logits.
        label: (H, W) int64.
        radius: Frames on either side.
    """
    frame = label + torch.arange(-radius, radius + 1, device=volume.device)[:, None, None]
    frame = frame.clamp_(0, len(volume) - 1)
    best, *others = volume.gather(0, frame)
    highest = frame[0]
    for logit, place in zip(others, frame[1:]):
        highest = torch.where(logit > best, place, highest)
        best = torch.maximum(best, logit)
    return highest


def has_peak(fit: PeakFit, label: Tensor, count: int, radius: int) -> Tensor:
    """(H, W) where the parabola has its peak in the window and inside the sweep."""
    near = (fit.index - label).abs() <= radius
    return (fit.curvature > _FLATTEST) & near & (fit.index >= 0) & (fit.index <= count - 1)
