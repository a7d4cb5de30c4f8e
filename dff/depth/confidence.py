"""Confidence: how probable it is that an index is right to one frame, and whether anything is known at all.

`dff.depth.judge` holds the model; `python -m dff.training.confidence` fits it on rendered stacks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dff import filters
from dff.depth.judge import judge_of
from dff.depth.refine import PeakFit
from dff.depth.select import largest

SECOND_PEAK_FRAMES = 4
"""Another peak is one at least this far from the label."""
RANGE_PX = 4
"""Labels are compared within this distance."""
LEAST_DROP = 0.05
"""A focus curve flatter than this (logarithm of energy, peak over mean) says nothing."""

_FARTHEST_OFF = 3.0
_SCATTER_FRAMES = (1.1, 1.5)
"""Pixels of noise are scattered evenly over the window of the fit: by 1.7 frames rms about their mean."""
_SCATTER_SIGMA_PX = 4.0
_POOL_SIGMA_PX = 2.0
HALO_PX = 12
"""Pixels of context that the probability depends on, beside what the surface does: the reach of the scatter."""
_PROMISED, _LOG_SIGMA = 0.5, 0.0
"""What a network's log-odds, and the logarithm of the curves' standard deviation, must be among scattered pixels."""

LEAST_PROBABILITY = 0.3
"""What is less probable than this is a guess, and counts as unknown."""

PROMISED = "promised"
"""How sure a network is of the label."""
FEATURES = (
    "margin",
    "drop",
    "above_noise",
    "label_range",
    "width",
    "residual",
    "log_sigma",
    "to_end",
    "off_plane",
    "share",
    "scatter",
    PROMISED,
)
"""The last only where a network decides the frame."""

SIGMA_FLOOR_FRAMES = 0.1
"""Error that remains without noise, of the parabola and of surfaces that are not level; chosen, not fitted."""


def curve_features(volume: Tensor, label: Tensor, spread: Tensor, fit: PeakFit, noise_logit: float) -> Tensor:
    """(F, H, W) what the probability is judged by, in the order of FEATURES.

    Args:
        volume: (N, H, W) logits.
        label: (H, W) the labels.
        spread: (H, W) what `label_range` gave.
        fit: The parabolas.
        noise_logit: Logit of a place without texture.
    """
    count = len(volume)
    other, mean = _second_peak(volume, label)
    to_end = torch.minimum(fit.index, count - 1 - fit.index)
    return torch.stack(
        [
            (fit.height - other).clamp(-1, 3),
            (fit.height - mean).clamp(0, 3),
            (fit.height - noise_logit).clamp(0, 5),
            torch.log1p(spread),
            torch.log(fit.curvature.clamp(1e-4, 10)),
            fit.residual.clamp(0, 1),
            torch.log(fit.sigma.clamp(1e-3, 10)),
            to_end.clamp(0, 3),
        ]
    )


def pooled(features: Tensor) -> Tensor:
    """(F, H, W) features averaged over the pixels around: those of single pixels are noisy."""
    return filters.gaussian(features.nan_to_num(0.0, 3.0, -3.0), _POOL_SIGMA_PX)


def surface_features(single: Tensor, surface: Tensor, share: Tensor) -> Tensor:
    """(3, H, W) the last of FEATURES: how far single pixels are off the surface, the votes for it, and
    whether the pixels around are scattered as those of noise are.

    Args:
        single: (H, W) index of each pixel by itself; NaN where it has none.
        surface: (H, W) index of the surface.
        share: (H, W) share of the votes.
    """
    off = (single - surface).abs().nan_to_num(_FARTHEST_OFF).clamp_max(_FARTHEST_OFF)
    rms = filters.gaussian(off.square()[None], _SCATTER_SIGMA_PX)[0].clamp_min(0).sqrt()
    low, high = _SCATTER_FRAMES
    return torch.stack([off, share, ((rms - low) / (high - low)).clamp(0, 1)])


def _second_peak(volume: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Largest logit away from the label, and the mean logit of all frames."""
    count = len(volume)
    away = min(SECOND_PEAK_FRAMES, max(1, count // 5))
    if filters.by_opencv(volume) and volume[0].is_contiguous():
        return _second_peak_compiled(volume, label, away)
    other, mean = torch.full_like(volume[0], -torch.inf), torch.zeros_like(volume[0])
    for k in range(count):
        other = torch.where((label - k).abs() > away, torch.maximum(other, volume[k]), other)
        mean += volume[k] / count
    return other, mean


def _second_peak_compiled(volume: Tensor, label: Tensor, away: int) -> tuple[Tensor, Tensor]:
    from dff.depth.curve_loops import second_peak

    count, step = len(volume), volume.stride(0)
    flat = volume.as_strided(((count - 1) * step + volume[0].numel(),), (1,)).numpy()
    other, mean = torch.empty(volume.shape[1:]), torch.empty(volume.shape[1:])
    second_peak(flat, step, count, label.numpy(), away, other.numpy(), mean.numpy())
    return other, mean


def label_range(label: Tensor) -> Tensor:
    """(H, W) largest less smallest label within RANGE_PX."""
    return largest(label, RANGE_PX) + largest(-label, RANGE_PX)


def probability(features: Tensor, measure: str = "") -> Tensor:
    """Probability that the index is right to one frame.

    Args:
        features: (F, H, W) in the order of FEATURES; "promised" may be left out.
        measure: Name of the measure that decided the frame.

    Returns:
        (H, W).
    """
    judge = judge_of(measure)
    return judge(features[[FEATURES.index(name) for name in judge.features]])


def is_known(features: Tensor, probability: Tensor, measure: str = "") -> Tensor:
    """Where an index is more than a guess.

    Energies of noise are told by how scattered they are. Beside edges energies of two surfaces are scattered too: there
    the index stands where a network promises it and the focus curves have clear peaks.

    Args:
        features: (F, H, W) in the order of FEATURES.
        probability: (H, W) what `probability` gave.
        measure: Name of the measure that decided the frame.

    Returns:
        (H, W) bool.
    """
    promised = PROMISED in judge_of(measure).features
    return (probability > LEAST_PROBABILITY) & is_clear(features, promised=promised)


def is_clear(features: Tensor, *, promised: bool) -> Tensor:
    """Where indices are less scattered than those of noise, or where a network promises enough.

    Args:
        features: (F, H, W) in the order of FEATURES.
        promised: Whether promises are to be believed.

    Returns:
        (H, W) bool.
    """
    named = dict(zip(FEATURES, features))
    clear = named["scatter"] < 1
    return clear | ((named[PROMISED] > _PROMISED) & (named["log_sigma"] < _LOG_SIGMA)) if promised else clear


def calibrated_sigma(sigma: Tensor, measure: str = "") -> Tensor:
    """Standard deviation of an index from that of its parabola's vertex, frames."""
    floor = torch.as_tensor(SIGMA_FLOOR_FRAMES, dtype=sigma.dtype, device=sigma.device)
    return (judge_of(measure).sigma_scale * sigma).hypot(floor)
