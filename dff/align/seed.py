"""A first guess of the motion between two frames that may be differently defocused."""

from __future__ import annotations

import cv2
import numpy as np
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
    target = _band(fixed.thumbnail)
    best = -np.inf
    found: FloatArray = np.eye(3)
    for scale in np.linspace(1 - bounds.scale, 1 + bounds.scale, 2 * count + 1) if count else (1.0,):
        scaled = about_centre(np.eye(2) * scale, np.zeros(2), size)
        value, shift = _best_shift(target, _warp(_band(moving.thumbnail), scaled), reach)
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


def _best_shift(fixed: Plane, moving: tuple[Plane, Plane], reach: int) -> tuple[float, FloatArray]:
    """Largest normalised correlation and the shift (x, y) that brings `moving` there."""
    plane, mask = moving
    shape = [fft.next_fast_len(n + reach, real=True) for n in fixed.shape]
    spectrum = [fft.rfft2(part, shape) for part in (fixed, fixed**2, np.ones_like(fixed))]
    moved = [np.conj(fft.rfft2(part, shape)) for part in (plane, mask, plane**2, mask)]
    product, energy, moved_energy, area = (
        fft.irfft2(a * b, shape) for a, b in zip([*spectrum, spectrum[2]], moved, strict=True)
    )
    value = product / np.sqrt(np.maximum(energy, 1e-12) * np.maximum(moved_energy, 1e-12))
    rows, columns = (np.fft.fftfreq(n, 1 / n).round()[:, None] for n in shape)
    columns = columns.T
    value[(area < OVERLAP * fixed.size) | (np.hypot(rows, columns) > reach)] = -1
    value -= 0.02 * (rows**2 + columns**2) / reach**2
    y, x = np.unravel_index(np.argmax(value), value.shape)
    return float(value[y, x]), np.array([columns[0, x], rows[y, 0]])
