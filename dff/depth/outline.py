"""Deep occlusions: a nearer surface reaches as far as its outline, seen in the frame that is focused on it.

The deeper the step behind an outline, the wider the nearer surface's blur lies over the farther one, and the farther
one's texture shines through it. Where the nearer surface has little texture of its own, sites well inside of its
outline are then taken for the farther surface, far beyond the reach of a vote among neighbours. All sites within the
blur are contested. What the data say of both sides is made smooth along the colours of the frame that is focused on
the nearer surface, where the outline is sharp (guided filter of He, Sun and Tang, PAMI 2013), and its sign decides.
Sites only ever go to the nearer surface: no farther one is ever hidden by its own lack of texture.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dff import filters
from dff.depth.edges import Frames, edge_picture
from dff.depth.regularise import COST_STEP
from dff.depth.select import LATTICE, largest
from dff.stack import FloatArray

_LEAST_FRAMES = 10.0
"""Steps of fewer frames are no deep ones,"""
_LEAST_BLUR_PX = 10.0
"""nor are those of fewer frames across which the blur grows by less."""
_REACH = 4.0
"""Sites are contested as far as this many standard deviations of the blur."""
_WINDOW = 12
"""Sites on either side whose colours a site is compared with."""
_TRUST = 1.0
"""Logit that the label weighs."""
_NOISE = 0.004
"""Variance of colours, relative to their square, below which they tell nothing."""
_BLOCK = 256


@dataclass(frozen=True)
class Contenders:
    """The surfaces of a lattice, and what the data say."""

    label: NDArray[np.int64]
    """(h, w)."""
    cost: NDArray[np.uint16]
    """(N, h, w) what the data say against every frame of a site, in steps of COST_STEP."""
    growth_px: float
    """Growth of the blur's standard deviation, px a frame; 0 where it is not known."""
    near_first: bool
    """Whether the first frame is focused nearest to the camera."""

    def settled(self, frames: Frames) -> tuple[NDArray[np.int64], FloatArray]:
        """(h, w) labels with which nearer surfaces reach as far as their outlines, and log-odds of those that are new.

        Args:
            frames: Gives a window of frame k, of the whole picture, as (C, H, W).

        Returns:
            Labels, and log-odds; 0 of those that are as they were.
        """
        unchanged = self.label, np.zeros(self.label.shape, np.float32)
        if self.growth_px <= 0:
            return unchanged
        depth = self._from_the_nearest(self.label).astype(np.float32)
        contest = _Contest.of(depth, self.growth_px)
        if not contest.where.any():
            return unchanged
        farther = depth > contest.middle
        lead, nearer = self._sides(contest)
        lead += np.where(farther, _TRUST, -_TRUST).astype(np.float32) * contest.where
        focus = self._from_the_nearest(np.rint(contest.nearest).astype(np.int64))
        smooth = _along_colours(lead, contest.where, focus, frames)
        new = contest.where & farther & (smooth < 0)
        return np.where(new, nearer, self.label), np.where(new, -smooth, np.float32(0))

    def _from_the_nearest(self, frame: NDArray[np.int64]) -> NDArray[np.int64]:
        """Frames counted from the other end of the sweep, if that is the nearer one."""
        return frame if self.near_first else len(self.cost) - 1 - frame

    def _sides(self, contest: _Contest) -> tuple[FloatArray, NDArray[np.int64]]:
        """(h, w) by how much the data are for the farther surface, as logits, and the best frame of the nearer one."""
        from dff.depth.outline_loops import sides

        lead, nearer = np.zeros(contest.where.shape, np.float32), np.zeros(contest.where.shape, np.int64)
        sides(self.cost, contest.where, contest.middle, self.near_first, lead, nearer)
        lead *= np.float32(COST_STEP)
        return lead, nearer


@dataclass(frozen=True)
class _Contest:
    """The sites that a nearer and a farther surface may both claim. Depths are in frames from the nearest one."""

    where: NDArray[np.bool_]
    """(h, w)."""
    middle: FloatArray
    """(h, w) depth between the two."""
    nearest: FloatArray
    """(h, w) depth of the nearer one."""

    @classmethod
    def of(cls, depth: FloatArray, growth_px: float) -> _Contest:
        """A surface reaches as far as its blur does in the frame that is focused on the other."""
        from dff.depth.outline_loops import cones

        step = np.float32(LATTICE / (_REACH * growth_px))
        near, far, nearest, farthest = (np.empty_like(depth) for _ in range(4))
        cones(depth, step, near, nearest)
        cones(-depth, step, far, farthest)
        least = min(_LEAST_FRAMES, _LEAST_BLUR_PX / growth_px)
        return cls(-far - near > least, (near - far) / 2, nearest)


def _along_colours(
    values: FloatArray, where: NDArray[np.bool_], focus: NDArray[np.int64], frames: Frames
) -> FloatArray:
    """(h, w) values made smooth along the colours of the frames in focus; zero in blocks that are not wanted.

    Args:
        values: (h, w).
        where: (h, w) which are wanted.
        focus: (h, w) frame whose colours count.
        frames: Gives a window of frame k as (C, H, W).
    """
    result = np.zeros_like(values)
    for top, left in itertools.product(*(range(0, side, _BLOCK) for side in where.shape)):
        place = slice(top, top + _BLOCK), slice(left, left + _BLOCK)
        if not where[place].any():
            continue
        first = max(0, top - 2 * _WINDOW), max(0, left - 2 * _WINDOW)
        around = tuple(slice(a, b + _BLOCK + 2 * _WINDOW) for a, b in zip(first, (top, left)))
        wanted = largest(torch.from_numpy(where[around]), 2 * _WINDOW) > 0
        colours = edge_picture(_sites_of(frames, first), torch.from_numpy(focus[around]), wanted)
        smooth = filters.guided_by_colours(colours, torch.from_numpy(values[around]), radius_px=_WINDOW, noise=_NOISE)
        inside = tuple(slice(a - b, a - b + _BLOCK) for a, b in zip((top, left), first))
        result[place] = smooth[inside].numpy()
    return result


def _sites_of(frames: Frames, first: tuple[int, int]) -> Frames:
    """Gives the mean colours of a window of sites of frame k, counted from some site."""

    def part(k: int, window: tuple[slice, slice]) -> Tensor:
        rows, columns = (
            slice(LATTICE * (start + place.start), LATTICE * (start + place.stop))
            for start, place in zip(first, window)
        )
        pixels = frames(k, (rows, columns))
        height, width = pixels.shape[1:]
        whole = F.pad(pixels[None], (0, -width % LATTICE, 0, -height % LATTICE), mode="replicate")
        return F.avg_pool2d(whole, LATTICE)[0]

    return part
