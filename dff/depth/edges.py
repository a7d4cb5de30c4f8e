"""Occlusion edges: which of two surfaces a pixel shows is decided by its neighbours of the same colour.

Next to an edge the window of a focus measure sees both surfaces, and the one of stronger contrast wins on both
sides. The frame that is focused on the nearer surface knows better: there the edge itself is sharp, while a frame
focused on the farther surface has the nearer one's blur over it. In that frame each pixel is compared with those
around it, and takes the depth of those it looks like (weights after Yoon and Kweon, PAMI 2006). What is found to
belong to the other surface is filled from that surface alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff import filters
from dff.depth.select import largest
from dff.stack import FloatArray

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
Frames = Callable[[int, tuple[slice, slice]], Tensor]
"""Gives a window of frame k as (C, h, w)."""

_ROUNDS = 2
_VOTE_SIGMA_PX = 6.0
_FILL_SIGMA_PX = 2.5
_LIKENESS = 0.4
_LEAST_CONTRAST = 0.03
_AGREE_FRAMES = 4.0
_SAME_FRAMES = 2.0
_DENSE_PX = 2
_BLOCK_PX = 256
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

    @cached_property
    def spots(self) -> Tensor:
        """(M,) int64 places of the pixels near an edge in maps that are flat."""
        return spots(self.where)


def frames_of(images: Tensor) -> Frames:
    """The frames of a part of the picture that is held as (N, C, H, W)."""
    return lambda k, window: images[k][:, window[0], window[1]]


def near_edges(label: Tensor) -> Tensor:
    """(H, W) bool: within NEAR_EDGE_PX of a jump of the labels."""
    jump = largest(label, 1) + largest(-label, 1) > JUMP_FRAMES
    return largest(jump.to(torch.float32), NEAR_EDGE_PX) > 0


def spots(where: Tensor) -> Tensor:
    """(M,) int64 places in a flat map where a map (H, W) of bool is true."""
    return torch.from_numpy(np.flatnonzero(where.numpy()))


def voters(where: Tensor) -> Tensor:
    """(H, W) bool: the pixels, and all whose vote they need."""
    return largest(where.to(torch.float32), VOTE_PX) > 0


def nearer_label(label: Tensor, near_first: bool) -> Tensor:
    """(H, W) int64 label of the nearest surface around each pixel: the frame in which an edge there is sharp."""
    near = -largest(-label, _PICTURE_PX) if near_first else largest(label, _PICTURE_PX)
    return near.to(torch.int64)


def edge_picture(frames: Frames, label: Tensor, where: Tensor) -> Tensor:
    """Colours at some pixels, each from the frame of its label; 0 elsewhere.

    Args:
        frames: Gives a window of frame k as (C, h, w).
        label: (H, W) int64 frame of each pixel.
        where: (H, W) bool pixels that are wanted.

    Returns:
        (C, H, W), encoded as the square root.
    """
    from dff.depth.edge_loops import boxes, put

    wanted = torch.where(where, label, -1).numpy()
    found = np.empty((int(wanted.max(initial=-1)) + 1, 4), np.int64)
    picture: FloatArray | None = None
    for top, left in itertools.product(*(range(0, side, _BLOCK_PX) for side in label.shape)):
        boxes(np.ascontiguousarray(wanted[top : top + _BLOCK_PX, left : left + _BLOCK_PX]), found)
        for k in np.flatnonzero(found[:, 1]).tolist():
            first, last, start, stop = found[k].tolist()
            place = slice(top + first, top + last), slice(left + start, left + stop)
            window = frames(k, place).numpy()
            picture = np.zeros((len(window), *label.shape), np.float32) if picture is None else picture
            put(window, k, np.ascontiguousarray(wanted[place]), picture[:, place[0], place[1]])
    return torch.zeros((1, *label.shape)) if picture is None else torch.from_numpy(picture).clamp_min_(0).sqrt_()


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
    trust = _padded(torch.where(weight > 0, 1.0, _UNKNOWN_TRUST).numpy())
    voted, share = label.to(torch.float32), torch.ones_like(index)
    for _ in range(_ROUNDS):
        voted, share = _vote(voted, trust, near)
    kept = torch.where((index - voted).abs() <= _SAME_FRAMES, weight, 0.0)
    value, mean_weight = _fill(voted, index, kept, near)
    return Settled(where, voted.to(torch.int64), value, mean_weight, share)


@dataclass(frozen=True)
class _Neighbours:
    """The pixels to decide, and their neighbours with their likeness."""

    spots: Tensor
    """(M,) int64 flat place in the map."""
    place: FloatArray
    """(M,) flat place in the padded map."""
    offsets: FloatArray
    """(K,) from there to the neighbours at OFFSETS."""
    likeness: NDArray[np.uint16]
    """(M, K) how much each pixel looks like its neighbours."""

    @classmethod
    def of(cls, where: Tensor, picture: Tensor) -> _Neighbours:
        """Colours differ by the contrast around a pixel, whatever the exposure."""
        from dff.depth.edge_loops import likeness

        reach = VOTE_PX
        mean, square = (filters.mirrored_box(planes, reach) for planes in (picture, picture.square()))
        where_flat, (mean, square) = spots(where), (planes.flatten(1) for planes in (mean, square))
        mean, square = (planes.index_select(1, where_flat) for planes in (mean, square))
        contrast = (square - (1 - _LEAST_CONTRAST**2) * mean.square()).sum(0).clamp_min(1e-12)
        row, column = np.divmod(where_flat.numpy(), where.shape[1])
        width = where.shape[1] + 2 * reach
        place = (row + reach) * width + column + reach
        offsets = np.array([y * width + x for x, y, _ in OFFSETS])
        colours = np.stack([_padded(plane) for plane in picture.numpy()])
        found = np.empty((len(place), len(OFFSETS)), np.uint16)
        likeness(colours, place, offsets, (0.5 / (_LIKENESS**2 * contrast)).numpy(), found)
        return cls(where_flat, place, offsets, found)

    def spread(self, values: FloatArray, elsewhere: Tensor) -> Tensor:
        """A map with values at the pixels to decide."""
        result = elsewhere.clone()
        result.view(-1)[self.spots] = torch.from_numpy(values)
        return result

    def of_map(self, values: Tensor) -> FloatArray:
        """(M,) what a map (H, W) has at the pixels to decide."""
        return values.flatten().index_select(0, self.spots).numpy()


def _padded(values: FloatArray, border: int = cv2.BORDER_REPLICATE) -> FloatArray:
    """A map padded by VOTE_PX, flat: by its own edge, or with BORDER_CONSTANT by 0."""
    return np.asarray(cv2.copyMakeBorder(values, *(VOTE_PX,) * 4, border, value=0.0), np.float32).ravel()


def _kernel(sigma_px: float) -> FloatArray:
    """(K,) weights of the neighbours at OFFSETS, for likenesses that are whole numbers."""
    from dff.depth.edge_loops import ALIKE

    weights = [step * math.exp(-(x * x + y * y) / (2 * sigma_px**2)) for x, y, step in OFFSETS]
    return np.array(weights, np.float32) / np.float32(ALIKE)


def _vote(label: Tensor, trust: FloatArray, near: _Neighbours) -> tuple[Tensor, Tensor]:
    """Labels that most like-coloured neighbours agree on, out of the extremes around each pixel and its own."""
    from dff.depth.edge_loops import votes

    around = (label, -largest(-label, VOTE_PX // 2), largest(label, VOTE_PX // 2))
    candidates = np.stack([near.of_map(plane) for plane in around])
    weights = _kernel(_VOTE_SIGMA_PX) * (near.offsets != 0)
    chosen, share = np.empty_like(candidates[:2])
    labels, agree = _padded(label.numpy()), np.float32(1 / _AGREE_FRAMES)
    votes(labels, trust, near.place, near.offsets, weights, near.likeness, agree, candidates, chosen, share)
    return near.spread(chosen, label), near.spread(share, torch.ones_like(label))


def _fill(label: Tensor, index: Tensor, weight: Tensor, near: _Neighbours) -> tuple[Tensor, Tensor]:
    """Plane through the indices around each pixel that lie on the surface of its label."""
    from dff.depth.edge_loops import fills

    labels, kernel = near.of_map(label), _kernel(_FILL_SIGMA_PX)
    away = np.array([(x, y) for x, y, _ in OFFSETS], np.float32)
    value, mean_weight = np.empty((2, len(labels)), np.float32)
    limits = np.float32(2 * _SAME_FRAMES), np.float32(_RIDGE_PX2)
    maps = _padded(index.numpy()), _padded(weight.numpy(), cv2.BORDER_CONSTANT)
    fills(labels, *maps, near.place, near.offsets, away, kernel, near.likeness, *limits, value, mean_weight)
    nothing = torch.full_like(label, torch.nan)
    total = sum(math.exp(-(x * x + y * y) / (2 * _FILL_SIGMA_PX**2)) for x, y, _ in OFFSETS)
    return near.spread(value, nothing), near.spread(mean_weight / np.float32(total), nothing)
