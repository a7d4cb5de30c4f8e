"""Occlusion edges: which of two surfaces a pixel shows is decided by its neighbours of the same colour.

Next to an edge the window of a focus measure sees both surfaces, and the one of stronger contrast wins on both
sides. The frame that is focused on the nearer surface knows better: there the edge itself is sharp, while a frame
focused on the farther surface has the nearer one's blur over it. In that frame each pixel is compared with those
around it, and takes the depth of those it looks like (weights after Yoon and Kweon, PAMI 2006). What is found to
belong to the other surface is filled from that surface alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dff import filters
from dff.depth.select import largest

JUMP_FRAMES = 3.0
"""Neighbouring labels farther apart than this are an edge."""
NEAR_EDGE_PX = 2
"""How far from an edge labels are doubted: the reach of a single pixel's energy."""
_PICTURE_PX = 4
"""How far the nearer surface is looked for whose frame shows the edge."""
VOTE_PX = 8
"""Neighbours up to this far have a vote."""
HALO_PX = 4 * VOTE_PX
"""Rows of context that the depth of a row depends on: two votes, the filling, and the picture's frame."""

_ROUNDS = 2
_VOTE_SIGMA_PX = 6.0
_FILL_SIGMA_PX = 2.5
_LIKENESS = 0.4
_LEAST_CONTRAST = 0.03
_AGREE_FRAMES = 4.0
_SAME_FRAMES = 2.0
_DENSE_PX = 2
_UNKNOWN_TRUST = 0.1
_RIDGE_PX2 = 0.5


def _offsets() -> list[tuple[int, int, float]]:
    """x, y and weight of the neighbours: all of the nearest, and every other row and column of those farther off."""
    reach = range(-VOTE_PX, VOTE_PX + 1)
    disk = [(x, y) for y in reach for x in reach if x * x + y * y <= VOTE_PX * VOTE_PX]
    dense = [(x, y, 1.0) for x, y in disk if max(abs(x), abs(y)) <= _DENSE_PX]
    return dense + [(x, y, 4.0) for x, y in disk if max(abs(x), abs(y)) > _DENSE_PX and x % 2 == 0 and y % 2 == 0]


OFFSETS = _offsets()


@dataclass(frozen=True)
class Settled:
    """What the vote decided at the pixels near an edge."""

    where: Tensor
    """(H, W) bool: near an edge."""
    label: Tensor
    """(H, W) labels after the vote."""
    index: Tensor
    """(H, W) depth from the pixels of the same surface; NaN where there is none, and away from edges."""
    weight: Tensor
    """(H, W) mean weight of those pixels."""
    share: Tensor
    """(H, W) share of the votes that agree with the label; 1 away from edges."""


def near_edges(label: Tensor) -> Tensor:
    """(H, W) bool: within NEAR_EDGE_PX of a jump of the labels."""
    jump = largest(label, 1) + largest(-label, 1) > JUMP_FRAMES
    return largest(jump.to(torch.float32), NEAR_EDGE_PX) > 0


def voters(where: Tensor) -> Tensor:
    """(H, W) bool: the pixels, and all whose vote they need."""
    return largest(where.to(torch.float32), VOTE_PX) > 0


def nearer_label(label: Tensor, near_first: bool) -> Tensor:
    """(H, W) int64 label of the nearest surface around each pixel: the frame in which an edge there is sharp."""
    near = -largest(-label, _PICTURE_PX) if near_first else largest(label, _PICTURE_PX)
    return near.to(torch.int64)


def edge_picture(frame: Callable[[int], Tensor], label: Tensor, where: Tensor) -> Tensor:
    """(C, H, W) colours at some pixels, each from the frame of its label; 0 elsewhere.

    Args:
        frame: Gives frame k as (C, H, W).
        label: (H, W) int64 frame of each pixel.
        where: (H, W) bool pixels that are wanted.
    """
    wanted = torch.where(where, label, -1)
    picture: Tensor | None = None
    for k in torch.unique(wanted).tolist():
        if k < 0:
            continue
        image, there = frame(k), wanted == k
        picture = torch.zeros_like(image) if picture is None else picture
        picture[:, there] = image[:, there]
    return torch.zeros((1, *label.shape)) if picture is None else picture.clamp_min_(0).sqrt_()


def settle(index: Tensor, weight: Tensor, label: Tensor, picture: Tensor, where: Tensor) -> Settled:
    """Depth near occlusion edges, by a vote of like-coloured neighbours on the label and a plane through its voters.

    Args:
        index: (H, W) sub-frame index of single pixels; any finite number where the weight is 0.
        weight: (H, W) their inverse variance; 0 where unknown.
        label: (H, W) int64.
        picture: (C, H, W) colours in the frame that is focused on the nearer surface, over all that votes.
        where: (H, W) bool: the pixels to decide.
    """
    near = _Neighbours.of(where, picture)
    trust = torch.where(weight > 0, 1.0, _UNKNOWN_TRUST)
    voted, share = label.to(torch.float32), torch.ones_like(index)
    for _ in range(_ROUNDS):
        voted, share = _vote(voted, trust, near)
    kept = torch.where((index - voted).abs() <= _SAME_FRAMES, weight, 0.0)
    value, mean_weight = _fill(voted, index, kept, near)
    return Settled(where, voted.to(torch.int64), value, mean_weight, share)


@dataclass(frozen=True)
class _Neighbours:
    """The pixels to decide, and their neighbours with their likeness."""

    place: Tensor
    """(M,) flat place in the padded map."""
    width: int
    """Width of the padded map."""
    where: Tensor
    likeness: Tensor
    """(K, M) float16, how much each pixel looks like its neighbours at OFFSETS."""

    @classmethod
    def of(cls, where: Tensor, picture: Tensor) -> _Neighbours:
        """Colours differ by the contrast around a pixel, whatever the exposure."""
        reach = VOTE_PX
        box = np.full(2 * reach + 1, 1 / (2 * reach + 1), np.float32)
        mean, square = (filters.separable(planes, box, box) for planes in (picture, picture.square()))
        contrast = (square - (1 - _LEAST_CONTRAST**2) * mean.square()).sum(0)[where].clamp_min(1e-12)
        sharpness = 0.5 / (_LIKENESS**2 * contrast)
        row, column = where.nonzero(as_tuple=True)
        width = where.shape[1] + 2 * reach
        place = (row + reach) * width + column + reach
        colours = F.pad(picture[None], (reach,) * 4, mode="replicate")[0].flatten(1)
        here = colours.index_select(1, place)
        likeness = torch.empty((len(OFFSETS), len(place)), dtype=torch.float16)
        for (x, y, _), like in zip(OFFSETS, likeness):
            unlike = colours.index_select(1, place + (y * width + x)).sub_(here).square_().sum(0)
            like.copy_(unlike.mul_(sharpness).neg_().exp_())
        return cls(place, width, where, likeness)

    def flat(self, values: Tensor, *, fill: float | None = None) -> Tensor:
        """A map padded by VOTE_PX, flat: by its own edge, or by a number."""
        pad = (VOTE_PX,) * 4
        if fill is not None:
            return F.pad(values, pad, value=fill).flatten()
        return F.pad(values[None, None], pad, mode="replicate").flatten()

    def each(self, sigma_px: float) -> Iterator[tuple[int, int, Tensor, Tensor]]:
        """Offset x, y, place and weight of every neighbour in turn, and of the pixel itself."""
        for (x, y, step), like in zip(OFFSETS, self.likeness):
            there = self.place + (y * self.width + x)
            yield x, y, there, like.to(torch.float32).mul_(step * math.exp(-(x * x + y * y) / (2 * sigma_px**2)))

    def spread(self, values: Tensor, elsewhere: Tensor) -> Tensor:
        """A map with values at the pixels to decide."""
        result = elsewhere.clone()
        result[self.where] = values
        return result


def _vote(label: Tensor, trust: Tensor, near: _Neighbours) -> tuple[Tensor, Tensor]:
    """Labels that most like-coloured neighbours agree on, out of the extremes around each pixel and its own."""
    around = (label, -largest(-label, VOTE_PX // 2), largest(label, VOTE_PX // 2))
    candidates = torch.stack([plane[near.where] for plane in around])
    votes, total = torch.zeros_like(candidates), torch.zeros_like(near.place, dtype=torch.float32)
    labels, trusts = near.flat(label), near.flat(trust)
    for x, y, there, weight in near.each(_VOTE_SIGMA_PX):
        if x == 0 and y == 0:
            continue
        weight = weight * trusts.index_select(0, there)
        agreement = (candidates - labels.index_select(0, there)).abs_().mul_(-1 / _AGREE_FRAMES).add_(1).clamp_min_(0)
        votes.addcmul_(agreement, weight)
        total += weight
    best = votes.argmax(0, keepdim=True)
    share = votes.gather(0, best)[0] / total.clamp_min(1e-12)
    chosen = candidates.gather(0, best)[0]
    return near.spread(chosen, label), near.spread(share, torch.ones_like(label))


def _fill(label: Tensor, index: Tensor, weight: Tensor, near: _Neighbours) -> tuple[Tensor, Tensor]:
    """Plane through the indices around each pixel that lie on the surface of its label."""
    labels = label[near.where]
    indices, weights = near.flat(index), near.flat(weight, fill=0.0)
    sums = [torch.zeros_like(labels) for _ in range(9)]
    kernel = 0.0
    for x, y, there, like in near.each(_FILL_SIGMA_PX):
        kernel += math.exp(-(x * x + y * y) / (2 * _FILL_SIGMA_PX**2))
        value = indices.index_select(0, there) - labels
        part = like * weights.index_select(0, there) * (value.abs() <= 2 * _SAME_FRAMES)
        for total, factor in zip(sums, (1, x, y, x * x, x * y, y * y)):
            total.add_(part, alpha=factor)
        part = part * value
        for total, factor in zip(sums[6:], (1, x, y)):
            total.add_(part, alpha=factor)
    w, *moments = sums
    total = w.clamp_min(1e-20)
    mx, my, xx, xy, yy, mz, xz, yz = (moment / total for moment in moments)
    xx, yy, xy = xx - mx * mx + _RIDGE_PX2, yy - my * my + _RIDGE_PX2, xy - mx * my
    xz, yz = xz - mx * mz, yz - my * mz
    value = labels + mz - ((xz * yy - yz * xy) * mx + (yz * xx - xz * xy) * my) / (xx * yy - xy * xy)
    nothing = torch.full_like(label, torch.nan)
    value = torch.where(w > 0, value, torch.nan)
    return near.spread(value, nothing), near.spread(w / kernel, nothing)
