"""Colours of single pixels, each out of frames of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from dff.fuse.frames import FrameStack


def colours_at(stack: FrameStack, place: Tensor, frame: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """(M, C) mean of the frames about a frame at some pixels, and (M) whether any of them is valid.

    Args:
        stack: The frames.
        place: (2, M) row and column of the pixels.
        frame: (M) sub-frame index.
        reach: Frames on either side that have weight.
    """
    ordered, order = frame.sort(stable=True)
    bounds = torch.arange(stack.count, device=frame.device, dtype=frame.dtype)
    first, after = (torch.searchsorted(ordered, bounds + away).tolist() for away in (-reach, reach))
    total, sums = torch.zeros_like(frame), torch.zeros(0)
    for k in range(stack.count):
        if first[k] == after[k]:
            continue
        chosen = order[first[k] : after[k]]
        part, there = _pixels(stack, k, place[:, chosen])
        weight = (1 - ((frame[chosen] - k) / reach).square()).clamp(min=0).square() * there
        sums = sums if len(sums) else part.new_zeros((len(frame), part.shape[1]))
        total.index_add_(0, chosen, weight)
        sums.index_add_(0, chosen, part * weight[:, None])
    return sums / torch.where(total > 0, total, 1)[:, None], total > 0


def _pixels(stack: FrameStack, k: int, place: Tensor) -> tuple[Tensor, Tensor]:
    """(M, C) colours of frame k at some pixels, and (M) whether it is valid there."""
    (top, left), (bottom, right) = place.amin(1).tolist(), place.amax(1).tolist()
    window = slice(top, bottom + 1), slice(left, right + 1)
    row, column = place[0] - top, place[1] - left
    planes = stack.part(k, window)
    part = planes.flatten(1).index_select(1, row * planes.shape[2] + column).T
    if stack.valid is None:
        return part, torch.ones_like(part[:, 0])
    return part, stack.valid[k][window][row, column].to(part.dtype)
