"""Sub-frame peaks: a parabola through the logits around each label, by weighted least squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_WEIGHT_POWER = 4.0
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
) -> PeakFit:
    """Vertex of the weighted least-squares parabola through the logits within `radius` frames of the label.

    Weights are the energies to the power 4 relative to the largest, so that the fit narrows by itself where the
    peak is narrow. A logit's variance is that of the logarithm of a mean of n squared samples of signal and noise,
    v = (2 / n) (2 r - 1) / r², r the energy over that of the noise; the normal matrix carries it to the vertex.

    Args:
        volume: (N, H, W) logits.
        label: (H, W) frame to search around.
        radius: Frames on either side.
        position: (N,) frame index each plane of the volume stands for; evenly spaced by default.
        noise_logit: Logit of a place without texture.
        samples: Number n of independent samples in a window of the measure.
    """
    count = len(volume)
    t = torch.as_tensor(np.arange(count) if position is None else position, dtype=torch.float32, device=volume.device)
    centre, height = t[label], _height(volume, label, radius)
    sums = [torch.zeros_like(height) for _ in range(14)]
    for j in range(-radius, radius + 1):
        frame = label + j
        inside = (frame >= 0) & (frame < count)
        frame = frame.clamp(0, count - 1)
        logit = volume.gather(0, frame[None])[0]
        y = logit - height
        weight = (y * _WEIGHT_POWER).exp() * inside
        _accumulate(sums, t[frame] - centre, y, weight, _variance(logit - noise_logit, samples))
    slope, curvature, residual, sigma = _solve(sums)
    index = centre - slope / (2 * curvature)
    return PeakFit(index, -curvature, height, residual, sigma)


def _height(volume: Tensor, label: Tensor, radius: int) -> Tensor:
    count = len(volume)
    height = volume.gather(0, label[None])[0]
    for j in range(-radius, radius + 1):
        height = torch.maximum(height, volume.gather(0, (label + j).clamp(0, count - 1)[None])[0])
    return height


def _variance(above_noise: Tensor, samples: float) -> Tensor:
    ratio = above_noise.clamp(0, 30).exp()
    return (2 / samples) * (2 * ratio - 1) / ratio.square()


def _accumulate(sums: list[Tensor], x: Tensor, y: Tensor, weight: Tensor, variance: Tensor) -> None:
    """Add a sample: moments of x (0-4), of x y (5-7), of y² (8), and of x with squared weights (9-13)."""
    sums[8] += weight * y * y
    noise = weight * weight * variance
    for power in range(5):
        sums[power] += weight
        sums[9 + power] += noise
        if power < 3:
            sums[5 + power] += weight * y
        weight, noise = weight * x, noise * x


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


def has_peak(fit: PeakFit, label: Tensor, count: int, radius: int) -> Tensor:
    """(H, W) where the parabola has its peak in the window and inside the sweep."""
    near = (fit.index - label).abs() <= radius
    return (fit.curvature > _FLATTEST) & near & (fit.index >= 0) & (fit.index <= count - 1)
