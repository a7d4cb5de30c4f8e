"""What a network claims of a site: the two frames that it finds most probable, and how probable it finds them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dff.depth.select import LATTICE

CLAIMS = 4
"""Planes of a map of claims: first frame, its log-odds, second frame, its log-odds."""
_HALF_WIDTH = 1
"""Frames on either side of a claimed one that count for it: probabilities are spread over some."""
_APART = 4
_SAME_FRAMES = 2.0
_SURE = 7.0
UNCLAIMED = -_SURE
"""Log-odds of a label that a network does not claim."""


def claims_of(shares: Tensor) -> Tensor:
    """The claims of every site.

    Args:
        shares: (N, h, w) logarithm of each frame's probability; what they lack of 1 is that of no frame.

    Returns:
        (CLAIMS, h, w) float32.
    """
    first = shares.argmax(0)
    frame = torch.arange(len(shares), device=shares.device)[:, None, None]
    others = shares.masked_fill((frame - first).abs() <= _APART, -torch.inf)
    second = others.argmax(0)
    return torch.stack([first.float(), _log_odds(shares, first), second.float(), _log_odds(others, second)])


def _log_odds(shares: Tensor, label: Tensor) -> Tensor:
    """(h, w) log-odds of the frames around a label."""
    total = torch.zeros_like(shares[0])
    for step in range(-_HALF_WIDTH, _HALF_WIDTH + 1):
        frame = label + step
        share = shares.gather(0, frame.clamp(0, len(shares) - 1)[None])[0].exp()
        total += share * ((frame >= 0) & (frame < len(shares)))
    return total.clamp(0, 1).logit().clamp(-_SURE, _SURE)


def reclaimed(claims: Tensor, label: Tensor, odds: Tensor) -> Tensor:
    """Claims of sites some of which have been given another label: it takes the place of the second frame.

    Args:
        claims: (CLAIMS, h, w).
        label: (h, w) int64.
        odds: (h, w) log-odds of labels that are new; 0 elsewhere.
    """
    given = torch.stack([label.float(), odds.clamp(-_SURE, _SURE)])
    return torch.cat([claims[:2], torch.where(odds > 0, given, claims[2:])])


def claimed(claims: Tensor, label: Tensor, *, top: int = 0, left: int = 0) -> Tensor:
    """How sure a network is of the labels of a part of the picture: the surest of the sites around that agree.

    Args:
        claims: (CLAIMS, h, w) of the whole lattice.
        label: (H, W) labels of the part.
        top: First row of the part in the whole picture, a multiple of LATTICE.
        left: First column, likewise.

    Returns:
        (H, W) log-odds; UNCLAIMED where none agrees.
    """
    from dff.depth.curve_loops import surest_claims

    best = torch.full(label.shape, UNCLAIMED)
    given = claims.contiguous().numpy(), label.contiguous().numpy()
    surest_claims(*given, LATTICE, top, left, np.float32(_SAME_FRAMES), best.numpy())
    return best
