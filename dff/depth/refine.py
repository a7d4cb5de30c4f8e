"""Sub-frame peaks: a parabola through the logits around each label, by weighted least squares."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_WEIGHT_POWER = 4.0


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


def fit_peak(
    volume: Tensor, label: Tensor, *, radius: int = 3, position: NDArray[np.floating] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Vertex of the weighted least-squares parabola through the logits within `radius` frames of the label.

    Weights are the energies to the power 4 relative to the largest, so that the fit narrows by itself where the
    peak is narrow.

    Args:
        volume: (N, H, W) logits.
        label: (H, W) frame to search around.
        radius: Frames on either side.
        position: (N,) frame index each plane of the volume stands for; evenly spaced by default.

    Returns:
        Index, curvature (positive for a peak) and rms residual, (H, W) each.
    """
    count = len(volume)
    t = torch.as_tensor(np.arange(count) if position is None else position, dtype=torch.float32, device=volume.device)
    moments = [torch.zeros(volume.shape[1:], device=volume.device) for _ in range(9)]
    centre, samples = t[label], []
    for j in range(-radius, radius + 1):
        frame = label + j
        inside = (frame >= 0) & (frame < count)
        frame = frame.clamp(0, count - 1)
        y = volume.gather(0, frame[None])[0]
        samples.append((torch.where(inside, y, -torch.inf), t[frame] - centre))
    top = torch.stack([y for y, _ in samples]).amax(0)
    for y, x in samples:
        y = y - top
        _accumulate(moments, x, torch.nan_to_num(y, neginf=0), (y * _WEIGHT_POWER).exp())
    slope, curvature, residual = _solve(moments)
    return centre - slope / (2 * curvature), -curvature, residual


def _accumulate(moments: list[Tensor], x: Tensor, y: Tensor, weight: Tensor) -> None:
    for power in range(5):
        moments[power] += weight
        if power < 3:
            moments[5 + power] += weight * y
        if power < 4:
            weight = weight * x
    del weight


def _solve(moments: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    s0, s1, s2, s3, s4, t0, t1, t2, _ = moments
    m1, m2, m3 = s1 / s0, s2 / s0, s3 / s0
    a11, a12, a22 = m2 - m1 * m1, m3 - m1 * m2, s4 / s0 - m2 * m2
    b1, b2 = t1 / s0 - m1 * t0 / s0, t2 / s0 - m2 * t0 / s0
    determinant = a11 * a22 - a12 * a12
    slope = (b1 * a22 - b2 * a12) / determinant
    curvature = (a11 * b2 - a12 * b1) / determinant
    return slope, curvature, torch.zeros_like(slope)


def refine_depth(
    volume: Tensor, label: Tensor, *, radius: int = 3, position: NDArray[np.floating] | None = None
) -> Refined:
    """Sub-frame index around a label, with its standard deviation and confidence.

    Args:
        volume: (N, H, W) logits.
        label: (H, W) frame to search around.
        radius: Frames on either side.
        position: (N,) frame index each plane of the volume stands for.
    """
    index, curvature, _ = fit_peak(volume, label, radius=radius, position=position)
    inside = (curvature > 0) & ((index - label).abs() <= radius) & (index >= 0) & (index <= len(volume) - 1)
    index = torch.where(inside, index, math.nan)
    sigma = torch.where(inside, 1 / curvature.clamp_min(1e-6).sqrt(), math.nan)
    return Refined(index, sigma, inside.to(volume.dtype), label)
