"""A conditional random field in a small window, by convolution (Teichmann and Cipolla, 2018): two labels.

Every pixel is the first picture's or the second's. Mean-field inference adds to a pixel's log-odds what its neighbours
believe, weighted by a Gaussian of distance and likeness (appearance) and by one of distance alone (smoothness).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

RADIUS_PX = 3
"""Reach of the window: pixels whose distance in x and y adds up to no more."""
ITERATIONS = 4
APPEARANCE_WEIGHT, SMOOTHNESS_WEIGHT = 1.5, 0.5
APPEARANCE_SIGMA_PX, SMOOTHNESS_SIGMA_PX = 3.0, 1.5
GREY_SIGMA = 0.05
"""Difference of luminance, of white, that makes two pixels unlike."""
REACH_PX = RADIUS_PX * ITERATIONS
"""Context that a pixel's answer depends on."""


@lru_cache(maxsize=1)
def window() -> tuple[tuple[int, int], ...]:
    """Offsets (down, across) of the neighbours."""
    reach = range(-RADIUS_PX, RADIUS_PX + 1)
    return tuple((y, x) for y in reach for x in reach if 0 < abs(y) + abs(x) <= RADIUS_PX)


def shifted(planes: Tensor) -> Iterator[Tensor]:
    """The planes (B, H, W) as seen from each offset of the window, borders mirrored."""
    height, width = planes.shape[1:]
    padded = F.pad(planes[:, None], (RADIUS_PX,) * 4, mode="reflect")[:, 0]
    for y, x in window():
        yield padded[:, RADIUS_PX + y : RADIUS_PX + y + height, RADIUS_PX + x : RADIUS_PX + x + width]


def couplings(guide: Tensor) -> list[Tensor]:
    """How much each neighbour in the window counts, (B, H, W) an offset; both kernels sum to their weight.

    Args:
        guide: (B, H, W) luminance.
    """
    alike = [
        torch.exp(-0.5 * ((y * y + x * x) / APPEARANCE_SIGMA_PX**2 + ((other - guide) / GREY_SIGMA) ** 2))
        for (y, x), other in zip(window(), shifted(guide))
    ]
    near = torch.tensor([-0.5 * (y * y + x * x) / SMOOTHNESS_SIGMA_PX**2 for y, x in window()]).softmax(0)
    total = alike[0].clone()
    for kernel in alike[1:]:
        total += kernel
    # Where no neighbour is alike, appearance says nothing.
    sure = APPEARANCE_WEIGHT / (total + 1)
    return [kernel * sure + SMOOTHNESS_WEIGHT * float(share) for kernel, share in zip(alike, near)]


def refined(log_odds: Tensor, guide: Tensor) -> Tensor:
    """Log-odds after the neighbours have been heard.

    Swapping the labels turns the sign: the field prefers neither.

    Args:
        log_odds: (B, H, W) of the first label, each pixel for itself.
        guide: (B, H, W) luminance whose edges the labels may follow.

    Returns:
        (B, H, W).
    """
    kernels = couplings(guide)
    belief = log_odds
    for _ in range(ITERATIONS):
        told = shifted(torch.tanh(belief / 2))
        belief = log_odds.clone()
        for kernel, other in zip(kernels, told):
            belief.addcmul_(kernel, other)
    return belief
