"""Measurements on depth maps: how far two results of one object agree."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dff import optics
from dff.stack import DepthMap, FloatArray, FocusGeometry

STILL_PX = 0.02
"""A lateral motion smaller than this is not undone: interpolation would do more harm."""
_FIT_PIXELS = 200_000
_TUKEY = 4.685


@dataclass(frozen=True)
class Comparison:
    """Two height maps of one object, brought together, and what is left between them."""

    noise: FloatArray
    """(H, W) float32 (first - second) / √2: the noise of one map if both are equally good; NaN where either is
    unknown."""
    unit: str
    """Of heights and noise, in words: "mm" or "frames"."""
    rms: float
    """Root mean square of the noise, outliers included."""
    robust_rms: float
    """1.4826 times its median absolute value: the noise of the bulk."""
    outliers_percent: float
    """Share beyond three times the robust rms; 0.27 for Gaussian noise."""
    noise_over_promised: float
    """Robust rms of the noise over the standard deviation that the maps promise; 1 is honest, NaN without promise."""
    coverage_percent: float
    """Share of the common area that is known in both."""
    first_known_percent: float
    second_known_percent: float
    offset: float
    """Height added to the second map."""
    tilt_x: float
    """Height added per pixel to the right."""
    tilt_y: float
    """Height added per pixel downward."""
    height_scale: float
    """Factor on the heights of the second map."""

    def figures(self) -> dict[str, float | str]:
        """The numbers by name, without the map, for JSON."""
        return {name: value for name, value in vars(self).items() if name != "noise"}


def compare(
    first: tuple[DepthMap, FocusGeometry],
    second: tuple[DepthMap, FocusGeometry],
    *,
    motion: FloatArray | None = None,
    fit_scale: bool = False,
    min_confidence: float = 0.0,
) -> Comparison:
    """Noise of a height map from two results of one object, in the pixels of the first.

    The second map is moved by `motion`; then an offset and a tilt, and on request a factor on the heights, are
    fitted robustly and removed. Two repeats suffice to estimate measurement noise (ISO 25178-600).

    Args:
        first: Depth and geometry of the first result.
        second: Depth and geometry of the second.
        motion: (3, 3) map from the second's pixels to the first's, (x, y, 1) columns; None for no motion.
        fit_scale: Whether the heights of the second may be scaled.
        min_confidence: Pixels of less confidence are left out.

    Raises:
        ValueError: units or sizes differ, or fewer than 100 pixels are known in both.
    """
    _check_alike(first, second)
    (one, one_sigma), (two, two_sigma) = (_heights(*part, min_confidence) for part in (first, second))
    inside = np.ones(one.shape, bool)
    if motion is not None and not _still(motion, one.shape):
        inside = np.isfinite(moved(np.zeros_like(two), motion, one.shape))
        two, two_sigma = (moved(values, motion, one.shape) for values in (two, two_sigma))
    known = np.isfinite(one) & np.isfinite(two)
    if known.sum() < 100:
        raise ValueError(f"compare: needs 100 px known in both; got {known.sum()}; compare results of one object")
    fitted = _fit(one, two, known, fit_scale)
    offset, tilt_x, tilt_y, scale = fitted
    rows, columns = np.indices(one.shape)
    noise = (one - (scale * two + offset + tilt_x * columns + tilt_y * rows)) / np.sqrt(2)
    promised = np.sqrt((one_sigma**2 + (scale * two_sigma) ** 2) / 2)
    shares = [100 * float(part[inside].mean()) for part in (known, np.isfinite(one), np.isfinite(two))]
    return Comparison(
        noise.astype(np.float32), first[1].z_unit, *_spread(noise[known], promised[known]), *shares, *fitted
    )


def _spread(noise: FloatArray, promised: FloatArray) -> tuple[float, float, float, float]:
    """rms, robust rms, percent of outliers, and ratio to the promised standard deviation."""
    size = np.abs(noise)
    robust = 1.4826 * float(np.median(size))
    usable = np.isfinite(promised) & (promised > 0)
    ratio = 1.4826 * float(np.median(size[usable] / promised[usable])) if usable.any() else float("nan")
    return float(np.sqrt(np.mean(size**2))), robust, 100 * float(np.mean(size > 3 * robust)), ratio


def _check_alike(first: tuple[DepthMap, FocusGeometry], second: tuple[DepthMap, FocusGeometry]) -> None:
    units = [geometry.z_unit for _, geometry in (first, second)]
    if units[0] != units[1]:
        raise ValueError(f"compare: both heights must have one unit; got {units[0]} and {units[1]}; give both --step")
    shapes = [depth.index.shape for depth, _ in (first, second)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"compare: both maps must have one size; got {shapes[0]} and {shapes[1]}; crop the frames")


def _heights(depth: DepthMap, geometry: FocusGeometry, min_confidence: float) -> tuple[FloatArray, FloatArray]:
    """Heights and their promised standard deviations."""
    index = np.where(depth.confidence >= min_confidence, depth.index, np.nan)
    slope = np.abs(np.gradient(np.asarray(geometry.z, float)))
    sigma = depth.sigma * optics.interpolate(slope, np.asarray(index, float))
    return optics.height_map(index, geometry).astype(float), np.asarray(sigma, float)


def _still(motion: FloatArray, size_px: tuple[int, ...]) -> bool:
    height, width = size_px
    corners = np.array([(0, 0, 1), (width, 0, 1), (0, height, 1), (width, height, 1)], float).T
    there = motion @ corners
    return bool(np.abs(there[:2] / there[2] - corners[:2]).max() < STILL_PX)


def moved(values: FloatArray, motion: FloatArray, size_px: tuple[int, int]) -> FloatArray:
    """A map in other pixels, bilinear; NaN where a neighbour is unknown or outside.

    Args:
        values: (H, W) map.
        motion: (3, 3) from its pixels to the wanted ones.
        size_px: (H, W) wanted.
    """
    size = size_px[::-1]
    known = np.isfinite(values)
    warped = cv2.warpPerspective(np.where(known, values, 0).astype(np.float64), motion, size, flags=cv2.INTER_LINEAR)
    share = cv2.warpPerspective(known.astype(np.float64), motion, size, flags=cv2.INTER_LINEAR)
    return np.where(share > 0.999, warped, np.nan)


def _fit(one: FloatArray, two: FloatArray, known: NDArray[np.bool_], fit_scale: bool) -> tuple[float, ...]:
    """Offset, tilt along x and y, and scale that bring the second map onto the first, robustly."""
    place = np.flatnonzero(known)[:: max(1, int(known.sum()) // _FIT_PIXELS)]
    rows, columns = np.unravel_index(place, known.shape)
    base = float(np.median(two.flat[place]))
    terms = [np.ones(place.size), columns - known.shape[1] / 2, rows - known.shape[0] / 2]
    terms += [two.flat[place] - base] if fit_scale else []
    answer = robust_fit(np.stack(terms, axis=1), one.flat[place] - two.flat[place])
    constant, tilt_x, tilt_y = answer[:3]
    extra = answer[3] if fit_scale else 0.0
    offset = constant - tilt_x * known.shape[1] / 2 - tilt_y * known.shape[0] / 2 - extra * base
    return float(offset), float(tilt_x), float(tilt_y), float(1 + extra)


def robust_fit(terms: FloatArray, values: FloatArray, *, rounds: int = 30) -> FloatArray:
    """Coefficients of a linear model by iteratively reweighted least squares with Tukey's biweight.

    Huber and Ronchetti, Robust Statistics, 2009; the scale is the median absolute residual.

    Args:
        terms: (n, p) design matrix.
        values: (n,) observations.
        rounds: Largest number of iterations.
    """
    answer: FloatArray = np.zeros(terms.shape[1])
    answer[0] = np.median(values)
    for _ in range(rounds):
        residual = np.abs(values - terms @ answer)
        scale = max(1.4826 * float(np.median(residual)), 1e-12)
        weight = np.clip(1 - (residual / (_TUKEY * scale)) ** 2, 0, None) ** 2
        normal = terms.T @ (weight[:, None] * terms)
        update = np.linalg.lstsq(normal, terms.T @ (weight * values), rcond=None)[0]
        done = np.abs(terms @ (update - answer)).max() < 1e-4 * scale
        answer = update
        if done:
            break
    return answer
