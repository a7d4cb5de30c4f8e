"""Confidence: how probable it is that an index is right to one frame, and whether anything is known at all.

`dff.depth.judge` holds the model; `python -m dff.training.confidence` fits it on rendered stacks.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dff import filters
from dff.depth.judge import judge_of
from dff.depth.peaks import Peaks
from dff.depth.refine import FLATTEST
from dff.depth.select import largest

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

_LIMITS = np.array(
    [(-1, 3), (0, 3), (0, 5), (0, np.inf), (1e-4, 10), (0, 1), (1e-3, 10), (0, 3)],
    np.float32,
)
"""Least and largest value of what focus curves say, before logarithms are taken."""

SIGMA_FLOOR_FRAMES = 0.1
"""Error that remains without noise, of the parabola and of surfaces that are not level; chosen, not fitted."""


def curve_features(peaks: Peaks, *, radius: int, noise_logit: float) -> tuple[Tensor, Tensor]:
    """What the focus curves of single pixels say.

    Args:
        peaks: Of the curves, with indices in frames.
        radius: Frames on either side that were fitted.
        noise_logit: Logit of a place without texture.

    Returns:
        (H, W) index, NaN where the parabola has no peak in its window and inside the sweep, or the curve is flat; and
        (F, H, W) what the probability is judged by, in the order of FEATURES.
    """
    from dff.depth.peak_loops import CURVES, curves

    index, features = torch.empty(peaks.label.shape), torch.empty(CURVES, *peaks.label.shape)
    maps = label_range(peaks.label), peaks.fit.start, peaks.fit.maps, peaks.around
    given = *(values.numpy() for values in maps), peaks.count, radius, np.float32(noise_logit), _LIMITS
    curves(*given, np.float32(LEAST_DROP), np.float32(FLATTEST), index.numpy(), features.numpy())
    return index, features


def pooled(features: Tensor) -> Tensor:
    """(F, H, W) features averaged over the pixels around: those of single pixels are noisy."""
    return filters.gaussian(features, _POOL_SIGMA_PX)


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
