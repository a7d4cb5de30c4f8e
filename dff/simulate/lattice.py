"""The lattice pictures are summed on, and how pixels read it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dff.simulate.camera import Sweep

STEPS = 4
LINEAR_VARIANCE = 1 / 6 + 1 / (12 * STEPS**2)
"""Variance in px² that bilinear sampling at random phases, rounded to quarters, adds to the in-focus kernel."""


@dataclass(frozen=True)
class Lattice:
    """A square lattice on the plane of focus, about the optical axis, that covers the pixels of every frame."""

    left_mm: float
    top_mm: float
    rows: int
    columns: int
    pixel_mm: float

    @staticmethod
    def of(sweep: Sweep, rows: tuple[int, int], *, halo: int) -> Lattice:
        """The lattice under some rows of pixels, as fine as the finest frame, with a halo."""
        fine, coarse = float(sweep.pixel_mm.min()), float(sweep.pixel_mm.max())
        height, width = sweep.size_px
        first, last = rows[0] - (height - 1) / 2, rows[1] - 1 - (height - 1) / 2
        top = min(first * fine, first * coarse) - halo * fine
        bottom = max(last * fine, last * coarse) + halo * fine
        right = (width - 1) / 2 * coarse + halo * fine
        return Lattice(-right, top, math.ceil((bottom - top) / fine - 1e-6) + 1, _count(2 * right, fine), fine)

    def to_pixels(self, picture: Tensor, sweep: Sweep, k: int, rows: tuple[int, int], sigma_px: float) -> Tensor:
        """(3, rows, W) what frame k's pixels see of a picture on the lattice, through the in-focus kernel."""
        height, width = sweep.size_px
        pixel = float(sweep.pixel_mm[k])
        down = (torch.arange(*rows, device=picture.device) - (height - 1) / 2) * pixel
        across = (torch.arange(width, device=picture.device) - (width - 1) / 2) * pixel
        variance = (sigma_px * pixel / self.pixel_mm) ** 2 - LINEAR_VARIANCE
        smooth = _gaussian_at(picture, (across - self.left_mm) / self.pixel_mm, variance**0.5)
        return _gaussian_at(smooth.mT, (down - self.top_mm) / self.pixel_mm, variance**0.5).mT


def _count(length: float, spacing: float) -> int:
    return math.ceil(length / spacing - 1e-6) + 1


def _gaussian_at(picture: Tensor, position: Tensor, sigma: float) -> Tensor:
    """Gaussian means of (..., n) at fractional positions along the last axis."""
    radius = math.ceil(3.5 * sigma + 0.5)
    nearest = position.round()
    taps = torch.arange(-radius, radius + 1, device=picture.device)
    weight = torch.exp(-0.5 * ((nearest[:, None] + taps - position[:, None]) / sigma) ** 2)
    weight = (weight / weight.sum(1, keepdim=True)).to(picture.dtype)
    result = torch.zeros((*picture.shape[:-1], len(position)), device=picture.device)
    for number, tap in enumerate(taps.tolist()):
        column = (nearest.long() + tap).clamp(0, picture.shape[-1] - 1)
        result.addcmul_(picture[..., column], weight[:, number])
    return result


@dataclass(frozen=True)
class Phases:
    """One picture moved by every quarter of a pixel, made when first asked for."""

    picture: Tensor
    """(3, rows, columns)."""
    made: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def at(self, row: float, column: float, rows: int, columns: int) -> Tensor:
        """(3, rows, columns) of the picture from a fractional position on, to the nearest quarter pixel, bilinear."""
        top, down = divmod(round(row * STEPS), STEPS)
        left, across = divmod(round(column * STEPS), STEPS)
        return self._phase(down, across)[:, top : top + rows, left : left + columns]

    def _phase(self, down: int, across: int) -> Tensor:
        if (down, across) == (0, 0):
            return self.picture
        if (down, across) not in self.made:
            if down:
                level = self._phase(0, across)
                moved = torch.lerp(level[:, :-1], level[:, 1:], down / STEPS)
            else:
                moved = torch.lerp(self.picture[:, :, :-1], self.picture[:, :, 1:], across / STEPS)
            self.made[down, across] = moved
        return self.made[down, across]
