"""Registration of two neighbouring frames: seed, correlation on coarse levels, blocks on fine ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from dff.align.local import (
    BLOCKS_SIDE_PX,
    FEWEST,
    MotionFit,
    block_displacements,
    fit_motion,
    misregistration,
    robust_rms,
)
from dff.align.motion import DEGREES, MODELS, Bounds, corner_shift, from_level, project, to_level
from dff.align.pyramid import Plane, Pyramid
from dff.align.seed import seed_motion
from dff.stack import FloatArray

COARSE_SIDES_PX = (60, 300)
"""Short sides of the levels on which the correlation is climbed."""
BLOCKS_PER_DEGREE = 4
"""Blocks needed for each degree of freedom of a model."""
REFINEMENTS = 3
STANDING_PX = 0.1
"""A refinement that moves the corners less, in px of the level, is the last."""
FINER_TRUST = 2.0
"""A finer level is preferred unless it is less certain than the coarser one by more than this factor."""
BETTER = 0.01
"""Difference of correlation that makes another start worth while."""
DIFFERENT_PX = 0.5
"""Starting motions closer than this at the corners of the thumbnail are one."""


@dataclass(frozen=True)
class PairMotion:
    """How a frame is moved onto its neighbour."""

    transform: FloatArray
    """(3, 3) full-size map from the moving frame's pixels to the fixed frame's."""
    model: str
    """The model used, "none" where nothing better than the identity was found."""
    residual_px: float
    """Rms misregistration that is left; NaN where it cannot be measured, or no motion was found."""
    sigma_px: FloatArray
    """(4,) standard deviations of shift x, y, scale and rotation, the latter two in px at the corner; infinite where
    blocks could not confirm the motion."""


_UNMOVED = PairMotion(np.eye(3), "none", float("nan"), np.full(4, np.inf))


def register_pair(
    fixed: Pyramid,
    moving: Pyramid,
    model: str,
    bounds: Bounds,
    expected: Sequence[FloatArray] = (),
) -> PairMotion:
    """The motion that brings a frame onto its neighbour, of the model asked for or the next simpler one that holds.

    Args:
        fixed: Frame that stays.
        moving: Frame that is moved.
        model: Richest model to be used, one of MODELS.
        bounds: Motions outside are not believed.
        expected: Full-size maps to start from besides the identity and the seed.
    """
    if model == "none":
        return replace(_UNMOVED, residual_px=misregistration(fixed, moving, np.eye(3)))
    start = climb(fixed, moving, [seed_motion(fixed, moving, bounds), *expected, np.eye(3)])
    for simpler in reversed(MODELS[1 : MODELS.index(model) + 1]):
        found = refine_pair(fixed, moving, project(start, simpler, fixed.size), simpler)
        if found is not None and bounds.hold(found.transform, fixed.size):
            return found
    return _UNMOVED


def climb(fixed: Pyramid, moving: Pyramid, starts: Sequence[FloatArray]) -> FloatArray:
    """The affine map of largest correlation on the coarse levels, from the best of several starts.

    Args:
        fixed: Frame that stays.
        moving: Frame that is moved.
        starts: Full-size maps from the moving frame's pixels to the fixed frame's.
    """
    first, *finer = _coarse(fixed)
    climbed = [_correlate(fixed, moving, first, start) for start in _distinct(starts, fixed, first)]
    best = max(climbed, key=lambda result: result[0])[1]
    for level in finer:
        best = _correlate(fixed, moving, level, best)[1]
    return best


def is_better_start(fixed: Pyramid, moving: Pyramid, start: FloatArray, found: PairMotion) -> bool:
    """Whether another start leads to a clearly larger correlation than that of a motion that was found without it.

    Args:
        fixed: Frame that stays.
        moving: Frame that is moved.
        start: Full-size map.
        found: What `register_pair` gave.
    """
    first = _coarse(fixed)[0]
    if len(_distinct([found.transform, start], fixed, first)) == 1:
        return False
    other, own = (_correlate(fixed, moving, first, motion)[0] for motion in (start, found.transform))
    return other > own + BETTER


def _coarse(pyramid: Pyramid) -> list[int]:
    """The levels on which the correlation is climbed, from the coarsest on."""
    coarse = [k for k, level in enumerate(pyramid.levels) if min(level.shape) <= COARSE_SIDES_PX[1]]
    return coarse[::-1] or [len(pyramid.levels) - 1]


def _distinct(starts: Sequence[FloatArray], fixed: Pyramid, level: int) -> list[FloatArray]:
    kept: list[FloatArray] = []
    size, factor = fixed.size, fixed.factors[level]
    for start in starts:
        if all(corner_shift(np.linalg.inv(other) @ start, size) > DIFFERENT_PX * factor for other in kept):
            kept.append(start)
    return kept


def _correlate(fixed: Pyramid, moving: Pyramid, level: int, start: FloatArray) -> tuple[float, FloatArray]:
    """Correlation and full-size map after climbing on one level (Evangelidis and Psarakis, PAMI 2008)."""
    factor = fixed.factors[level]
    inverse = to_level(np.linalg.inv(start), factor)[:2].astype(np.float32)
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 60, 1e-4)
    try:
        value, climbed = cv2.findTransformECC(
            fixed.levels[level], moving.levels[level], inverse, cv2.MOTION_AFFINE, stop
        )
        return value, np.linalg.inv(from_level(np.vstack([np.asarray(climbed), [0, 0, 1]]).astype(float), factor))
    except (cv2.error, np.linalg.LinAlgError):
        return -1.0, start


def refine_pair(
    fixed: Pyramid, moving: Pyramid, start: FloatArray, model: str, *, levels: int | None = None
) -> PairMotion | None:
    """The motion fitted to block displacements, from coarse to fine as long as it can be measured there.

    Coarse levels see the light and the defocused parts, which move otherwise than what is in focus.

    None where no level can measure it.

    Args:
        fixed: Frame that stays.
        moving: Frame that is moved.
        start: Full-size map, right to a pixel or so of the coarsest level looked at.
        model: Motion model, not "none".
        levels: How many of the finest levels to look at; all by default.
    """
    found = None
    transform = start
    for level in reversed(range(len(fixed.levels[:levels]))):
        factor, planes = fixed.factors[level], (fixed.levels[level], moving.levels[level])
        if level and min(planes[0].shape) < BLOCKS_SIDE_PX:
            continue
        fit = _refine_level(*planes, to_level(transform, factor), model)
        if fit is None:
            continue
        sigma = np.pad(fit.sigma_px[:4], (0, max(0, 4 - len(fit.sigma_px)))) * factor
        if found is None or np.linalg.norm(sigma) < FINER_TRUST * np.linalg.norm(found.sigma_px):
            transform = from_level(fit.transform, factor)
            found = PairMotion(transform, model, robust_rms(fit.left) * factor, sigma)
    return found


def _refine_level(fixed: Plane, moving: Plane, transform: FloatArray, model: str) -> MotionFit | None:
    """Measure and fit until the motion stands still; None where there are too few blocks."""
    fit = None
    for _ in range(REFINEMENTS):
        measured = block_displacements(fixed, moving, transform)
        if len(measured) < max(FEWEST, BLOCKS_PER_DEGREE * DEGREES[model]):
            return fit
        fit = fit_motion(measured, transform, model, fixed.shape)
        if corner_shift(fit.transform @ np.linalg.inv(transform), fixed.shape) < STANDING_PX:
            break
        transform = fit.transform
    return fit
