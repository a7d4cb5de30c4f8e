"""A first guess of the motion between two frames that may be differently defocused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from dff.align.motion import Bounds, about_centre, from_level
from dff.align.pyramid import Plane, Pyramid
from dff.stack import FloatArray

SCALE_STEP = 0.04
OVERLAP = 0.3
"""Least share of the thumbnail that must be common."""


def seed_motion(fixed: Pyramid, moving: Pyramid, bounds: Bounds) -> FloatArray:
    """The shift and scale of largest normalised correlation between two thumbnails, as a full-size map.

    Normalised correlation over the common area, at every shift and a few scales: unlike phase correlation it has no
    false peaks where one frame is defocused.

    Args:
        fixed: Frame onto which `moving` is mapped.
    """
    size = (fixed.thumbnail.shape[0], fixed.thumbnail.shape[1])
    reach = max(1, round(bounds.shift * max(size)))
    count = round(bounds.scale / SCALE_STEP)
    target, moved = _Target.of(_band(fixed.thumbnail), reach), _band(moving.thumbnail)
    best = -np.inf
    found: FloatArray = np.eye(3)
    for scale in np.linspace(1 - bounds.scale, 1 + bounds.scale, 2 * count + 1) if count else (1.0,):
        scaled = about_centre(np.eye(2) * scale, np.zeros(2), size)
        value, shift = target.best_shift(*_warp(moved, scaled))
        if value > best:
            best, found = value, about_centre(np.eye(2) * scale, shift, size)
    return from_level(found, fixed.factors[-1])


def _band(plane: Plane) -> Plane:
    wide = max(plane.shape) / 10
    return cv2.GaussianBlur(plane, (0, 0), 1.0) - cv2.GaussianBlur(plane, (0, 0), wide)


def _warp(plane: Plane, transform: FloatArray) -> tuple[Plane, Plane]:
    size = plane.shape[::-1]
    return (
        cv2.warpAffine(plane, transform[:2], size, flags=cv2.INTER_LINEAR),
        cv2.warpAffine(np.ones_like(plane), transform[:2], size, flags=cv2.INTER_NEAREST),
    )


@dataclass(frozen=True)
class _Target:
    """A plane that others are correlated with at every shift."""

    size: int
    """Its pixels."""
    shape: tuple[int, int]
    """Of the transforms."""
    spectra: tuple[NDArray[Any], ...]
    """Of the plane, of its square and of ones."""
    reach: int
    """Largest shift."""

    @classmethod
    def of(cls, plane: Plane, reach: int) -> _Target:
        rows, columns = (fft.next_fast_len(n + reach, real=True) for n in plane.shape)
        parts = plane, plane**2, np.ones_like(plane)
        return cls(plane.size, (rows, columns), tuple(fft.rfft2(part, (rows, columns)) for part in parts), reach)

    def best_shift(self, plane: Plane, mask: Plane) -> tuple[float, FloatArray]:
        """Largest normalised correlation and the shift (x, y) that brings a plane there, which a mask tells of."""
        own, square, ones = self.spectra
        moved, covered, energies = (np.conj(fft.rfft2(part, self.shape)) for part in (plane, mask, plane**2))
        pairs = (own, moved), (square, covered), (ones, energies), (ones, covered)
        product, energy, moved_energy, area = (fft.irfft2(a * b, self.shape) for a, b in pairs)
        value = product / np.sqrt(np.maximum(energy, 1e-12) * np.maximum(moved_energy, 1e-12))
        rows, columns = (np.fft.fftfreq(n, 1 / n).round()[:, None] for n in self.shape)
        columns = columns.T
        value[(area < OVERLAP * self.size) | (np.hypot(rows, columns) > self.reach)] = -1
        value -= 0.02 * (rows**2 + columns**2) / self.reach**2
        y, x = np.unravel_index(np.argmax(value), value.shape)
        return float(value[y, x]), np.array([columns[0, x], rows[y, 0]])
