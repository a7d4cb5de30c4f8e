"""What a focus network is told about its mistakes: the right frame, how far off, the picture, one peak."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW_FRAMES = 3
QUADRATIC_FRAMES = 0.1
"""Errors of the mean frame below this count by their square, larger ones by their size."""
LARGEST_LOG_SHARE = -1e-5
LEAST_SHARE = 1e-13
FARTHEST_FRAMES = 10.0
LEAST_VISIBLE = 0.9
UNIMODAL_FRAMES = 5.0


@dataclass(frozen=True)
class LossWeights:
    """How much each part counts."""

    label: float = 1.0
    """Cross-entropy against a soft label."""
    distance: float = 0.25
    """Expected distance to the true frame, cut at FARTHEST_FRAMES."""
    expectation: float = 1.0
    """Smooth L1 of the mean frame around the peak."""
    picture: float = 2.0
    """Difference of the weighted picture to the sharp one."""
    unimodal: float = 0.02
    """Logits that fall toward the true frame."""
    answer: float = 0.5
    """Cross-entropy of whether the truth lies in the sweep."""
    edge: float = 3.0
    """Factor on pixels at occlusion edges."""
    cell: float = 0.0
    """Cross-entropy on the lattice that depth is found on, where an operator's energies add to the network's answer."""
    label_sigma_frames: float = 0.6


CLOSE_UP_LOSSES = LossWeights(cell=2.0)
"""Where depth is what counts."""


@dataclass(frozen=True)
class Target:
    """What the network should have said."""

    index: Tensor
    """(H, W) true sub-frame index; NaN where it is unknown or outside the sweep."""
    visible: Tensor
    """(H, W) share of the aperture that sees the point."""
    edge: Tensor
    """(H, W) bool, occlusion edges."""
    sharp: Tensor
    """(H, W) all-in-focus luminance."""
    seen: Tensor | None = None
    """(H, W) bool, where there is something to see; without it, an answer is expected wherever there is one."""


def total_loss(
    logits: Tensor, images: Tensor, target: Target, weights: LossWeights, energies: Tensor | None = None
) -> dict[str, Tensor]:
    """Parts of the loss by name, and their weighted sum as "total".

    Args:
        logits: (N, H, W) logarithm of each frame's probability; what they lack of 1 is that of no answer.
        images: (N, H, W) luminance the network saw.
        target: Truth.
        weights: Weight of each part.
        energies: (N, h, w) logarithm of an operator's mean energy in every cell, for the part "cell".
    """
    known = torch.isfinite(target.index)
    index = torch.where(known, target.index, 0.0)
    importance = known * torch.where(target.edge, weights.edge, 1.0)
    importance = importance / importance.sum().clamp_min(1)
    log_share = logits.log_softmax(0)
    share = log_share.exp()
    distance = (frame_numbers(logits) - index).abs()
    measured = importance * (target.visible >= LEAST_VISIBLE)
    parts = {
        "label": (importance * cross_entropy(log_share, distance, weights.label_sigma_frames)).sum(),
        "distance": (importance * (share * distance.clamp_max(FARTHEST_FRAMES)).sum(0)).sum(),
        "expectation": (measured * expectation_error(logits, index)).sum(),
        "picture": (importance * ((share * images).sum(0) - target.sharp).abs()).sum(),
        "unimodal": (importance * unimodality(logits, index)).sum(),
        "answer": answer_error(logits, known if target.seen is None else known & target.seen).mean(),
    }
    if energies is not None:
        soft = (-0.5 * (distance / weights.label_sigma_frames) ** 2).softmax(0)
        parts["cell"] = cell_error(logits, energies, soft * importance)
    parts["total"] = torch.stack([getattr(weights, name) * part for name, part in parts.items()]).sum()
    return parts


def structural_similarity(given: Tensor, wanted: Tensor, *, side_px: int = 5, sigma_px: float = 1.5) -> Tensor:
    """Mean structural similarity of pictures (Wang et al. 2004), constants 0.01² and 0.03².

    Args:
        given: (N, 1, H, W).
        wanted: The same shape.
        side_px: Side of the Gaussian window.
        sigma_px: Standard deviation of the window.
    """
    axis = torch.arange(side_px, device=given.device) - side_px // 2
    line = (-0.5 * (axis / sigma_px) ** 2).softmax(0)
    window = torch.outer(line, line)[None, None]

    def mean(picture: Tensor) -> Tensor:
        return F.conv2d(picture, window)

    mean_given, mean_wanted = mean(given), mean(wanted)
    variances = mean(given**2) - mean_given**2 + mean(wanted**2) - mean_wanted**2
    covariance = mean(given * wanted) - mean_given * mean_wanted
    level = (2 * mean_given * mean_wanted + 1e-4) / (mean_given**2 + mean_wanted**2 + 1e-4)
    return (level * (2 * covariance + 9e-4) / (variances + 9e-4)).mean()


def frame_numbers(logits: Tensor) -> Tensor:
    """(N, 1, 1) 0, 1, 2 ..."""
    return torch.arange(len(logits), dtype=logits.dtype, device=logits.device)[:, None, None]


def cross_entropy(log_share: Tensor, distance: Tensor, sigma_frames: float) -> Tensor:
    """(H, W) cross-entropy against a Gaussian around the true index.

    Args:
        log_share: (N, H, W) logarithm of each frame's share.
        distance: (N, H, W) frames to the true index.
        sigma_frames: Standard deviation of the Gaussian.
    """
    soft = (-0.5 * (distance / sigma_frames) ** 2).softmax(0)
    return -(soft * log_share).sum(0)


def expectation_error(logits: Tensor, index: Tensor) -> Tensor:
    """(H, W) smooth L1 between the true index and the mean frame within WINDOW_FRAMES of the peak.

    Zero where the peak is farther off than the window: there the label has to move first.
    """
    peak = logits.detach().argmax(0)
    numbers = frame_numbers(logits)
    near = (numbers - peak).abs() <= WINDOW_FRAMES
    mean = (torch.where(near, logits, -math.inf).softmax(0) * numbers).sum(0)
    close = (peak - index).abs() <= WINDOW_FRAMES
    return F.smooth_l1_loss(mean, index, reduction="none", beta=QUADRATIC_FRAMES) * close


def answer_error(logits: Tensor, known: Tensor) -> Tensor:
    """(H, W) cross-entropy of the summed probability of all frames against whether one of them is right.

    Args:
        logits: (N, H, W) log-probabilities.
        known: (H, W) bool, the truth lies in the sweep.
    """
    answered = logits.logsumexp(0).clamp_max(LARGEST_LOG_SHARE)
    return -torch.where(known, answered, torch.log(-torch.expm1(answered)))


def cell_error(logits: Tensor, energies: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy of cells, whose shares are the mean of their pixels' times those of an operator.

    Args:
        logits: (N, H, W) log-probabilities.
        energies: (N, h, w) logarithm of the operator's mean energy.
        wanted: (N, H, W) soft labels times the importance of each pixel.
    """
    side_px = logits.shape[-1] // energies.shape[-1]
    shares, wanted = (F.avg_pool2d(planes[:, None], side_px)[:, 0] for planes in (logits.exp(), wanted))
    together = (shares.clamp_min(LEAST_SHARE).log() + energies).log_softmax(0)
    return -(side_px**2) * (wanted * together).sum()


def unimodality(logits: Tensor, index: Tensor) -> Tensor:
    """(H, W) mean fall of the logits toward the true index, within UNIMODAL_FRAMES of it."""
    middle = frame_numbers(logits)[:-1] + 0.5
    toward = torch.where(middle < index, 1.0, -1.0)
    near = (middle - index).abs() <= UNIMODAL_FRAMES
    return (F.relu(-toward * (logits[1:] - logits[:-1])) * near).mean(0)
