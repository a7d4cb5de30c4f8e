"""Read-out of log-probabilities, as trained networks give them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dff.depth.confidence import LEAST_PROBABILITY
from dff.depth.refine import Refined

SPREAD_FRAMES = 0.6
"""Standard deviation of the soft labels that networks learn from: their probabilities are spread by it."""
HALF_WIDTH_FRAMES = 1.5
"""A frame more or less is what is asked; half a frame is due to the spread of the labels."""
OFFSET, SLOPE = -0.77, 1.18
"""From the log-odds of a summed probability to those of being right to a frame: networks promise a little too much.

Fitted on stacks that were not trained on, rendered as those trained on: `sesf-stack`, seeds from 1300 on.
"""
SURE = 1 - 1e-4
SIGMA_FLOOR_FRAMES = 0.1
"""Least standard deviation told, as that of the operators."""


def read_probability(volume: Tensor, label: Tensor, *, radius: int = 3) -> Refined:
    """Mean frame around a label, its standard deviation, and the probability that it is right to one frame.

    Mean and deviation are those of the probability within `radius` frames of the label: other peaks do not pull. From
    the variance that of the soft labels is taken off. The confidence is the probability within HALF_WIDTH_FRAMES of
    the mean, cut frames counted in part, calibrated; where it is less than LEAST_PROBABILITY the answer is a guess:
    unknown.
    A label on the first or last frame may belong to something outside of the sweep: unknown.

    Args:
        volume: (N, H, W) log-probabilities; what they lack of 1 is the probability that no frame is right.
        label: (H, W) int64 frame to read around.
        radius: Frames on either side.
    """
    count = len(volume)
    moments = [torch.zeros_like(volume[0]) for _ in range(3)]
    for j in range(-radius, radius + 1):
        share = _share(volume, label + j)
        for power, moment in enumerate(moments):
            moment += share * j**power
    mass = moments[0].clamp_min(torch.finfo(volume.dtype).tiny)
    mean = moments[1] / mass
    variance = moments[2] / mass - mean**2 - SPREAD_FRAMES**2
    sigma = (variance.clamp_min(0) + SIGMA_FLOOR_FRAMES**2).sqrt()
    index = label + mean
    near = torch.zeros_like(mean)
    for j in range(-radius, radius + 1):
        near += (HALF_WIDTH_FRAMES + 0.5 - (mean - j).abs()).clamp(0, 1) * _share(volume, label + j)
    confidence = calibrated(near)
    known = (label > 0) & (label < count - 1) & (confidence >= LEAST_PROBABILITY)
    return Refined(
        index=torch.where(known, index, math.nan),
        sigma=torch.where(known, sigma, math.nan),
        confidence=torch.where(known, confidence, 0.0),
        label=label,
    )


def calibrated(share: Tensor) -> Tensor:
    """Probability of being right to a frame, of the probability that a network gives the frames around its answer."""
    return (OFFSET + SLOPE * share.clamp(1 - SURE, SURE).logit()).sigmoid()


def _share(volume: Tensor, frame: Tensor) -> Tensor:
    """(H, W) probability of a frame at each pixel; 0 for frames that are not there."""
    inside = (frame >= 0) & (frame < len(volume))
    logit = volume.gather(0, frame.clamp(0, len(volume) - 1)[None])[0]
    return logit.exp() * inside
