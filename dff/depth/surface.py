"""The surface that single pixels make up: a mixture of planes, beside occlusion edges of what a vote settles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dff import filters
from dff.depth import edges
from dff.depth.beside import Beside
from dff.depth.edges import Frames, Settled
from dff.depth.windows import Curves, Windows

_FLOOR_FRAMES = {False: 0.05, True: 0.02}
"""Standard deviation that no pixel is taken to be better than, for broad and for narrow focus curves: it stands for
relief, which spans the fewer frames the coarser they are."""
_KNOWN_SHARE = 0.5


@dataclass(frozen=True)
class Pixels:
    """What the focus curves of single pixels say."""

    index: Tensor
    """(H, W) sub-frame index; NaN where there is no peak."""
    sigma: Tensor
    """(H, W) its standard deviation from noise alone."""
    label: Tensor
    """(H, W) int64."""
    height: Tensor
    """(H, W) largest logit."""
    shape: Tensor
    """(3, H, W) of the curves; see `dff.depth.windows.Curves`."""

    @property
    def known(self) -> Tensor:
        """(H, W) bool."""
        return self.index.isfinite()


@dataclass(frozen=True)
class Surface:
    """Depth put together from that of single pixels."""

    index: Tensor
    """(H, W) sub-frame index; NaN where there is none."""
    sigma: Tensor
    """(H, W) its standard deviation from noise alone."""
    label: Tensor
    """(H, W) int64."""
    share: Tensor
    """(H, W) share of the votes for the label; 1 away from edges."""


@dataclass(frozen=True)
class Averaging:
    """How single pixels are put together."""

    sigma_px: float
    """Standard deviation of the middle window of planes."""
    samples: float
    """Number of independent samples in the energy of a pixel."""
    near_first: bool
    """Whether the first frame is focused nearest to the camera."""
    narrow: bool
    """Whether focus curves are narrow."""
    drop: float
    """How much a typical logit drops one frame from its peak."""

    @property
    def floor(self) -> float:
        """Variance that no pixel is taken to be better than."""
        return _FLOOR_FRAMES[self.narrow] ** 2

    def curves(self, single: Pixels) -> Curves:
        """What planes are fitted to."""
        return Curves(
            torch.where(single.known, single.index, single.label),
            torch.where(single.known, 1 / (single.sigma.square() + self.floor), 0.0),
            single.height,
            single.shape,
            self.drop,
            self.floor,
        )

    def settled(self, curves: Curves, frames: Frames) -> Settled:
        """What a vote decides near occlusion edges.

        Args:
            curves: What planes are fitted to.
            frames: Gives a window of frame k as (C, h, w).
        """
        label = curves.index.round().to(torch.int64)
        where = edges.near_edges(label)
        picture = edges.edge_picture(frames, edges.nearer_label(label, self.near_first), edges.voters(where))
        return edges.settle(curves.index, curves.weight, label, picture, where)

    def __call__(self, single: Pixels, frames: Frames | None) -> Surface:
        """The surface.

        Args:
            single: What single pixels say.
            frames: Gives a window of frame k as (C, h, w), for the decision at occlusion edges; None: none is made.
        """
        curves = self.curves(single)
        found = Windows.of(curves, self.sigma_px)
        value, variance = found.mixed(self.samples)
        around = filters.gaussian(single.known.to(torch.float32)[None], self.sigma_px)[0]
        value = torch.where(around > _KNOWN_SHARE, value, torch.nan)
        if frames is None:
            return Surface(value, variance.sqrt(), curves.index.round().to(torch.int64), torch.ones_like(value))
        settled = self.settled(curves, frames)
        spots = settled.spots
        beside = Beside.of(settled, single.index, single.sigma, found).mixed()
        index, weight = (values.flatten().index_select(0, spots) for values in (settled.index, settled.weight))
        value.view(-1)[spots] = torch.where(index.isfinite(), beside, torch.nan)
        independent = self.samples / (self.samples + 2 * math.pi * self.sigma_px**2)
        variance.view(-1)[spots] = (1 / weight - self.floor).clamp_min(0) * independent
        return Surface(value, variance.sqrt(), settled.label, settled.share)
