"""A part of a depth map laid smoothly between what is known around it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dff.stack import FloatArray
from dff.surface.grid import BoolArray, fill_nearest

_RIM_PX = 3
_TOLERANCE = 1e-6
_NEIGHBOURS = ((0, 1), (1, 0), (0, -1), (-1, 0))
_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


def fill_smoothly(depth: FloatArray, sigma: FloatArray, area: BoolArray) -> tuple[FloatArray, FloatArray]:
    """A membrane over an area, held by the known pixels at its rim, with its standard deviation.

    The membrane solves Laplace's equation, so it stays between the lowest and the highest value of its rim. It is the
    most probable surface whose neighbouring pixels differ by independent steps (Brownian motion); the variance of such
    a surface grows by the variance of a step for every pixel from the rim.

    Args:
        depth: (H, W) in frames; NaN where unknown. Values inside the area are not used.
        sigma: (H, W) standard deviation of the depth.
        area: (H, W) pixels to fill.

    Returns:
        (H, W) depth and (H, W) standard deviation in the area; NaN outside it and in parts that touch nothing known.
    """
    known = np.isfinite(depth) & ~area
    wanted = area & _reachable(area, known)
    filled = np.full(depth.shape, np.nan, np.float32)
    deviation = filled.copy()
    if wanted.any():
        filled[wanted] = _membrane(np.where(known, depth, np.float32(np.nan)), wanted)
        deviation[wanted] = _deviation(depth, sigma, known, wanted)
    return filled, deviation


def _reachable(area: BoolArray, known: BoolArray) -> BoolArray:
    """Connected parts of the area that have a known pixel beside them."""
    count, parts = cv2.connectedComponents(area.astype(np.uint8), connectivity=4)
    beside = cv2.dilate(known.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))) > 0
    held = np.zeros(count, bool)
    held[parts[area & beside]] = True
    return np.asarray(held[parts], bool)


def _membrane(rim: FloatArray, wanted: BoolArray) -> FloatArray:
    """(n,) values of the wanted pixels: each the mean of its neighbours."""
    from scipy import sparse
    from scipy.sparse.linalg import cg

    count = int(wanted.sum())
    place = np.full(np.add(wanted.shape, 2), -1, np.int64)
    place[1:-1, 1:-1][wanted] = np.arange(count)
    values = np.pad(rim, 1, constant_values=np.nan)
    rows, columns = np.nonzero(wanted)
    degree, held, links = np.zeros(count), np.zeros(count), []
    for down, across in _NEIGHBOURS:
        beside = (rows + 1 + down, columns + 1 + across)
        linked, value = place[beside], values[beside]
        inside, fixed = linked >= 0, np.isfinite(value)
        degree += inside | fixed
        held[fixed] += value[fixed]
        links.append((np.nonzero(inside)[0], linked[inside]))
    first, second = (np.concatenate(ends) for ends in zip(*links))
    scale = 1 / np.sqrt(degree)
    joined = sparse.csr_matrix((-scale[first] * scale[second], (first, second)), shape=(count, count))
    start = fill_nearest(rim)[wanted] / scale
    solution, _ = cg(joined + sparse.eye(count), held * scale, x0=start, rtol=_TOLERANCE, maxiter=4 * sum(wanted.shape))
    return np.asarray(solution * scale, np.float32)


def _deviation(depth: FloatArray, sigma: FloatArray, known: BoolArray, wanted: BoolArray) -> NDArray[np.float32]:
    reach = 2 * _RIM_PX + 1
    rim = known & (cv2.dilate(wanted.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0)
    banded = np.where(rim, depth, np.nan)
    steps = np.concatenate([np.diff(banded, axis=axis).ravel() for axis in (0, 1)])
    steps = steps[np.isfinite(steps)]
    step = _TO_SIGMA * float(np.median(np.abs(steps))) if steps.size else 0.0
    noise = sigma[rim & np.isfinite(sigma)]
    held = float(np.median(noise)) if noise.size else 0.0
    away = cv2.distanceTransform(np.pad(wanted, 1, mode="edge").astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    return np.sqrt(held**2 + step**2 * away[1:-1, 1:-1][wanted]).astype(np.float32)
