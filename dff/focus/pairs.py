"""Networks that compare two pictures, as measures of whole stacks.

Such a network says how likely one picture is the sharper. Along a stack its answers on neighbours are added up
(Bradley and Terry, Biometrika 39, 1952): logit of frame i + 1 minus logit of frame i = log-odds that i + 1 is the
sharper. N - 1 passes, no reference frame, and the answer turns around with the stack. The rule is ours: the published
networks know pairs only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dff import filters


@dataclass(frozen=True)
class Chain:
    """How answers on neighbours are added up."""

    temperature: float = 1.0
    """Divides each answer. Answers on neighbouring pairs err together, so that their plain sum is far too sure."""
    most: float = 8.0
    """No two neighbours differ by larger log-odds."""

    def __call__(self, log_odds: Tensor) -> Tensor:
        """Logarithm of each frame's share from the log-odds between neighbours.

        Args:
            log_odds: (N - 1, H, W) that frame i + 1 is sharper than frame i.

        Returns:
            (N, H, W).
        """
        bounded = (log_odds / self.temperature).clamp(-self.most, self.most)
        return F.pad(bounded.cumsum(0), (0, 0, 0, 0, 1, 0)).log_softmax(0)


PICTURE = Chain()
"""For pictures: what is sharper takes nearly all."""

CONTRAST_RADIUS_PX = 4
CONTRAST_PASSES = 2
CONTRAST_REACH_PX = 2 * CONTRAST_RADIUS_PX * CONTRAST_PASSES
LEAST_CONTRAST = 0.004
"""Standard deviation, of white, below which detail is not brought up: a step of an 8-bit picture."""


def normalised(images: Tensor) -> Tensor:
    """Detail of both pictures in units of the contrast that they have together around each pixel.

    Args:
        images: (B, 2, H, W) from 0 to 1.

    Returns:
        (B, 2, H, W).
    """
    detail, contrast = detail_and_contrast(images)
    return detail / contrast


def detail_and_contrast(images: Tensor) -> tuple[Tensor, Tensor]:
    """Detail of both pictures, and the contrast that they have together around each pixel.

    Args:
        images: (B, 2, H, W) from 0 to 1.

    Returns:
        (B, 2, H, W) difference to the mean around, and (B, 1, H, W) its standard deviation.
    """
    detail = images - smooth(images.flatten(0, 1)).view_as(images)
    contrast = smooth(detail.square().mean(1)).sqrt() + LEAST_CONTRAST
    return detail, contrast[:, None]


def smooth(planes: Tensor) -> Tensor:
    """(N, H, W) mean around each pixel, over CONTRAST_REACH_PX / 2 on either side."""
    for _ in range(CONTRAST_PASSES):
        planes = filters.box(planes, CONTRAST_RADIUS_PX)
    return planes


def neighbours(images: Tensor) -> tuple[Tensor, Tensor]:
    """Each frame but the last, and each frame but the first: (N - 1, ...) both.

    Raises:
        ValueError: fewer than two frames.
    """
    if len(images) < 2:
        raise ValueError(f"images: a network of pairs needs at least 2 frames; got {len(images)}; give more frames")
    return images[:-1], images[1:]


def first_is_sharper(forward: Tensor, backward: Tensor) -> Tensor:
    """Log-odds that the first of two is the sharper, from the answers to both orders: swapping them turns the sign.

    Args:
        forward: Log-odds of the first, asked (first, second).
        backward: Log-odds of the second, asked (second, first).
    """
    return torch.sub(forward, backward).div_(2)


def mixed(images: Tensor, logits: Tensor) -> Tensor:
    """One picture, the frames weighted by the softmax of their logits.

    Args:
        images: (N, C, H, W).
        logits: (N, H, W).

    Returns:
        (C, H, W).
    """
    return (images * logits.softmax(0)[:, None]).sum(0)
