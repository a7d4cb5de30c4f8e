"""How much each frame counts at each pixel, before the picture's bands have their say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dff.fuse.frames import WHOLE, FrameStack, Window, everywhere

_BEYOND = 1e4
"""Loss of logit per frame outside the window around the index: more than any difference of sharpness."""

PlaneOf = Callable[[int], Tensor]
Span = tuple[int, int]


@dataclass(frozen=True)
class FrameWeights:
    """Share of every frame in every pixel; the shares of a pixel sum to one."""

    weight: PlaneOf
    """(H, W) weight of frame k, zero where the frame is not used."""
    total: Tensor
    """(H, W) sum of the weights before they are normalised; zero where no frame is valid."""
    count: int

    def __getitem__(self, k: int) -> Tensor:
        """(H, W) share of frame k; every frame has the same where none is valid."""
        return torch.where(self.total > 0, self.weight(k) / self.total.clamp(min=1e-30), 1 / self.count)


def softmax_weights(
    stack: FrameStack,
    *,
    volume: Tensor | None,
    index: Tensor | None,
    temperature: float,
    sigma_frames: float | Tensor,
    radius_frames: float,
) -> PlaneOf:
    """Weight of every frame, the largest at each pixel being one: exp(logit - largest logit).

    The logit is the volume's over the temperature, within `radius_frames` of the index where that is known; without
    a volume it is that of a Gaussian around the index. Where no frame in the window is valid, the nearest valid
    ones take over.

    Args:
        stack: The frames, of which only number and validity are used.
        volume: (N, H, W) focus measure.
        index: (H, W) index that the window is centred on; NaN opens it to all frames.
        temperature: Divides the volume.
        sigma_frames: Standard deviation of the Gaussian, one for all pixels or (H, W).
        radius_frames: Half width of the window in a volume.

    Raises:
        ValueError: neither volume nor index.
    """
    if volume is None and index is None:
        raise ValueError("fusion: needs a focus volume or an index map; got neither; give one")

    def logit(k: int) -> Tensor:
        away = torch.tensor(0.0) if index is None else torch.nan_to_num(torch.abs(k - index))
        if volume is None:
            value = -0.5 * (away / sigma_frames) ** 2
        else:
            value = volume[k] / temperature - _BEYOND * (away.to(volume.device) - radius_frames).clamp(min=0)
        return stack.usable(k, value, -torch.inf)

    if volume is None and stack.valid is None:
        return lambda k: torch.exp(logit(k))
    peak = logit(0)
    for k in range(1, stack.count):
        peak = torch.maximum(peak, logit(k))
    peak = torch.where(torch.isfinite(peak), peak, 0)
    return lambda k: torch.exp(logit(k) - peak)


@dataclass(frozen=True)
class WindowWeights:
    """Weight (1 - d²)² of a frame at distance d from the index, in units of the reach; none beyond.

    Where no frame near the index is valid, the nearest valid ones take over; where the index is unknown, all frames
    weigh the same.
    """

    stack: FrameStack
    """Of which only number and validity are used."""
    index: Tensor
    """(H, W) sub-frame index; NaN where unknown."""
    reach: Tensor
    """(H, W) more than half a frame."""

    def __call__(self, k: int, window: Window = WHOLE) -> Tensor:
        """(h, w) weight of frame k in a window."""
        distance = self.stack.usable(k, torch.nan_to_num(torch.abs(k - self.index[window])), torch.inf, window)
        return (1 - ((distance - self.gap[window]) / self.reach[window]) ** 2).clamp(min=0) ** 2

    def extent(self, k: int) -> tuple[Span, Span] | None:
        """Rows and columns that hold all weight of frame k; None where it has none."""
        if self.stack.bare is not None:
            return (0, self.index.shape[0]), (0, self.index.shape[1])
        spans = []
        for low, high in self._ranges:
            places = torch.nonzero((low < k) & (k < high))
            if not len(places):
                return None
            spans.append((int(places[0]), int(places[-1]) + 1))
        return spans[0], spans[1]

    @cached_property
    def gap(self) -> Tensor:
        """(H, W) by how much the nearest valid frame is farther away than half a frame."""
        last = self.stack.count - 1
        nearest = torch.abs(self.index - self.index.round().clamp(0, last))
        if self.stack.valid is not None:
            partly = torch.nonzero(~everywhere(self.stack.valid), as_tuple=True)
            index, least = self.index[partly], torch.full_like(self.index[partly], torch.inf)
            for k in range(self.stack.count):
                valid = self.stack.valid_in(k)[partly]
                least = torch.where(valid, torch.minimum(least, torch.abs(k - index)), least)
            nearest[partly] = least
        return torch.nan_to_num((nearest - 0.5).clamp(min=0), posinf=0.0)

    @cached_property
    def _ranges(self) -> list[tuple[Tensor, Tensor]]:
        """Frames between which each row, and each column, has weight."""
        around = self.reach + self.gap
        unknown = torch.isnan(self.index)
        low = torch.where(unknown, -torch.inf, self.index - around)
        high = torch.where(unknown, torch.inf, self.index + around)
        return [(low.amin(axis), high.amax(axis)) for axis in (1, 0)]


def pick_weights(stack: FrameStack, *, volume: Tensor | None, index: Tensor | None) -> PlaneOf:
    """Linear interpolation between the two frames on either side of the index.

    Where the index is unknown the frame of the largest logit is taken, or the mean of all without a volume; where
    neither neighbour is valid, the nearest valid frame.

    Args:
        stack: The frames, of which only number and validity are used.
        volume: (N, H, W) focus measure.
        index: (H, W) sub-frame index; NaN where unknown.

    Raises:
        ValueError: neither volume nor index.
    """
    target = index
    if volume is not None:
        sharpest = torch.stack([stack.usable(k, plane, -torch.inf) for k, plane in enumerate(volume)])
        label = sharpest.argmax(0).to(volume.dtype)
        target = label if index is None else torch.where(torch.isfinite(index), index, label)
    if target is None:
        raise ValueError("fusion: needs a focus volume or an index map; got neither; give one")
    distance = _distance(stack, target)
    nearest = _nearest(distance, stack.count)
    reach = torch.where(nearest < 1, 1, nearest + 0.5)
    return lambda k: (reach - distance(k)).clamp(min=0)


def _distance(stack: FrameStack, index: Tensor) -> PlaneOf:
    """Frames between frame k and the index: none where that is unknown, infinitely many where k is not valid."""
    return lambda k: stack.usable(k, torch.nan_to_num(torch.abs(k - index)), torch.inf)


def _nearest(distance: PlaneOf, count: int) -> Tensor:
    nearest = distance(0)
    for k in range(1, count):
        nearest = torch.minimum(nearest, distance(k))
    return nearest


def normalised(weight: PlaneOf, count: int) -> FrameWeights:
    """Weights as shares that sum to one."""
    total = weight(0)
    for k in range(1, count):
        total = total + weight(k)
    return FrameWeights(weight, total, count)


def weighted_mean(stack: FrameStack, weight: PlaneOf) -> Tensor:
    """(C, H, W) mean of the frames, pixel by pixel; frames of no weight are not asked for."""
    shares = normalised(weight, stack.count)
    picture = _part(stack, shares, 0)
    for k in range(1, stack.count):
        if shares.weight(k).any():
            picture += _part(stack, shares, k)
    return picture


def _part(stack: FrameStack, shares: FrameWeights, k: int) -> Tensor:
    frame = stack[k]
    return stack.usable(k, frame, 0) * shares[k]
