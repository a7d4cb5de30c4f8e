"""The depth that competes with another one: a second peak of the focus curve, nearer or farther than the first."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_RISE = 0.2
"""A curve has another peak where it rises by this much (logarithm of energy) behind a valley; chosen, not fitted."""


def beyond_valley(volume: Tensor, index: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Focus curves of which only what lies behind the next valley on one side counts.

    From the given index each curve is followed until it has risen by LEAST_RISE above the lowest value met. All
    frames before that lowest one take its value: they say neither yes nor no.

    Args:
        volume: (N, H, W) logits.
        index: (H, W) index to start from; NaN starts at the sharpest frame.
        side: 1 toward higher frame numbers, -1 toward lower ones.

    Returns:
        (N, H, W) logits, level where nothing rises, and (H, W) where something does.
    """
    count = len(volume)
    start = torch.where(torch.isnan(index), volume.argmax(0), torch.nan_to_num(index).round()).to(torch.int64)
    start = start.clamp(0, count - 1)
    lowest, valley = volume.gather(0, start[None])[0], start.clone()
    found = torch.zeros_like(start, dtype=torch.bool)
    for step in range(1, count):
        frame = start + side * step
        inside = (frame >= 0) & (frame < count) & ~found
        logit = volume.gather(0, frame.clamp(0, count - 1)[None])[0]
        lower = inside & (logit <= lowest)
        lowest, valley = torch.where(lower, logit, lowest), torch.where(lower, frame, valley)
        found |= inside & (logit > lowest + LEAST_RISE)
    frames = torch.arange(count, device=volume.device)[:, None, None]
    behind = ((frames - valley) * side >= 0) & found
    return torch.where(behind, volume, lowest), found
