"""Local misregistration of two pictures: one small displacement per block, with its standard deviation.

The difference D of two registered blocks is explained by the gradient and the Laplacian of their mean M,
D = a M + dx M_x + dy M_y + b (M_xx + M_yy) + c: the Laplacian takes up a difference in defocus and a, c a difference
in brightness, so that neither is mistaken for motion. Least squares after Lucas and Kanade (IJCAI 1981), with the
diffusion of Fleet and Langley (PAMI 1995) for the blur.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dff.align import block_loops
from dff.align.motion import basis, small_motion, to_level
from dff.align.pyramid import BLUR_PX, Plane, Pyramid
from dff.stack import FloatArray

BLOCK_PX = 32
SMALL_BLOCK_PX = 16
BLOCKS_SIDE_PX = 96
"""Levels whose short side is less have too few blocks."""
LARGEST_PX = 2.0
"""Displacements beyond this are outside the reach of the fit, in px of the level;"""
REACH_PX = 0.7
"""a level is only looked at where the level above found less, in px of the level;"""
SIGMA_PX = 0.15
"""less certain ones are not used."""
SYSTEMATIC_PX = 0.05
"""Error of a displacement that its own noise does not show, in px of the level."""
CORRELATED = 4 * math.pi * BLUR_PX**2
"""Pixels that share their noise because of the blur of the levels."""
NOISE = 1e-4
"""Least noise of a low-pass picture: quantisation of eight bits."""
LARGEST_CONTRAST = 1.0
"""Difference of contrast over its mean beyond which one of the pictures shows nothing."""
OUTSIDE = -1e6
DERIVATIVE = np.array([1, -8, 0, 8, -1], np.float32) / 12
UNCHANGED = np.ones(1, np.float32)
FEWEST = 8
"""Blocks without which nothing is said."""


@dataclass(frozen=True)
class Displacements:
    """Displacements of blocks that have enough texture in both pictures, in px of the level."""

    points: FloatArray
    """(B, 2) centres of the blocks."""
    shift: FloatArray
    """(B, 2) where a point of the fixed picture is found in the moved one, less where it should be."""
    covariance: FloatArray
    """(B, 2, 2) of the shift."""

    def __len__(self) -> int:
        return len(self.points)

    @property
    def sigma(self) -> FloatArray:
        """(B,) standard deviation of the length of the shift."""
        return np.sqrt(np.trace(self.covariance, axis1=1, axis2=2))


def block_displacements(fixed: Plane, moving: Plane, transform: FloatArray) -> Displacements:
    """Displacements left between a picture and another one moved onto it.

    Args:
        fixed: (H, W) level of a pyramid.
        moving: (H, W) same level of another.
        transform: Map from the pixels of `moving` to those of `fixed`.
    """
    height, width = fixed.shape
    # Linear interpolation blurs a little, which the Laplacian takes up; OpenCV's cubic moves slopes by up to 0.05 px.
    moved = cv2.warpPerspective(moving, transform, (width, height), flags=cv2.INTER_LINEAR, borderValue=OUTSIDE)
    side = BLOCK_PX if min(height, width) >= 8 * BLOCK_PX else SMALL_BLOCK_PX
    inside = np.empty((height // side, width // side), bool)
    block_loops.inside(moved, side, OUTSIDE / 1e4, inside)
    corners = np.argwhere(inside) * side
    moments = np.empty((len(corners), block_loops.FEATURES, block_loops.FEATURES))
    block_loops.moments(_features(fixed, moved), corners, side, moments)
    return _fit(moments, corners[:, ::-1] + (side - 1) / 2, side * side)


def _features(fixed: Plane, moved: Plane) -> NDArray[np.float32]:
    """(5, H, W) what a difference is explained by, and the difference."""
    features = np.empty((block_loops.FEATURES, *fixed.shape), np.float32)
    mean = cv2.addWeighted(fixed, 0.5, moved, 0.5, 0, dst=features[2])
    cv2.sepFilter2D(mean, cv2.CV_32F, DERIVATIVE, UNCHANGED, dst=features[0])
    cv2.sepFilter2D(mean, cv2.CV_32F, UNCHANGED, DERIVATIVE, dst=features[1])
    cv2.Laplacian(mean, cv2.CV_32F, ksize=1, dst=features[3])
    cv2.subtract(fixed, moved, dst=features[4])
    return features


def _fit(moments: FloatArray, points: FloatArray, count: int) -> Displacements:
    """Least squares of the last feature of every block on the others and a constant.

    Args:
        moments: (B, 5, 5) sums of products about the means.
        points: (B, 2) centres of the blocks.
        count: Pixels of a block.
    """
    normal, right = moments[:, :4, :4], moments[:, :4, 4]
    inverse = np.linalg.inv(normal + 1e-9 * np.eye(4))
    solution = np.einsum("bij,bj->bi", inverse, right)
    least = NOISE**2 * count
    left = np.maximum(moments[:, 4, 4] - np.einsum("bi,bi->b", solution, right), least)
    covariance = inverse[:, :2, :2] * (left * CORRELATED / (count - 5))[:, None, None]
    shift = solution[:, :2]
    certain = (np.trace(covariance, axis1=1, axis2=2) < SIGMA_PX**2) & (covariance[:, [0, 1], [0, 1]] > 0).all(axis=1)
    good = certain & (np.abs(shift).max(axis=1) < LARGEST_PX) & (np.abs(solution[:, 2]) < LARGEST_CONTRAST)
    return Displacements(points[good], shift[good], covariance[good])


@dataclass(frozen=True)
class MotionFit:
    """A motion that explains displacements."""

    transform: FloatArray
    """(3, 3) map from the pixels of the moving level to those of the fixed one."""
    left: Displacements
    """What the motion does not explain."""
    sigma_px: FloatArray
    """(D,) standard deviation of each parameter of `basis`, px of the level."""


def fit_motion(measured: Displacements, transform: FloatArray, model: str, size: tuple[int, int]) -> MotionFit:
    """Robust least-squares motion of a model (Cauchy weights, iterated).

    Args:
        measured: Displacements left by `transform`.
        transform: Map from the pixels of the moving level to those of the fixed one.
        model: One of MODELS but "none".
        size: (H, W) of the level.
    """
    design = basis(measured.points, model, size)
    precision = np.linalg.inv(measured.covariance + SYSTEMATIC_PX**2 * np.eye(2))
    weights = np.ones(len(measured))
    parameters = np.zeros(design.shape[2])
    for _ in range(8):
        weighted = design.transpose(0, 2, 1) @ precision * weights[:, None, None]
        normal = (weighted @ design).sum(axis=0)
        parameters = np.linalg.solve(normal, (weighted @ measured.shift[..., None]).sum(axis=0)[:, 0])
        left = measured.shift - design @ parameters
        distance = np.einsum("bi,bij,bj->b", left, precision, left)
        spread = np.median(distance) / (2 * math.log(2)) + 1e-9
        weights = 1 / (1 + distance / (4 * spread))
    return MotionFit(
        transform=np.linalg.inv(small_motion(parameters, size)) @ transform,
        left=Displacements(measured.points, left, measured.covariance),
        sigma_px=np.sqrt(np.diag(np.linalg.inv(normal)) * spread),
    )


def robust_rms(measured: Displacements) -> float:
    """Rms length of the displacements less their noise, the longest fifth cut to the next; NaN of fewer than eight."""
    if len(measured) < FEWEST:
        return float("nan")
    squares = (measured.shift**2).sum(axis=1)
    # Cutting takes nothing from equal lengths and a fifth from normal ones.
    square = float(np.minimum(squares, np.percentile(squares, 80)).mean()) / 0.9
    return math.sqrt(max(square / len(measured), square - float(np.median(measured.sigma**2))))


def misregistration(fixed: Pyramid, moving: Pyramid, transform: FloatArray) -> float:
    """Rms misregistration of two frames after moving one onto the other, px of the frame; NaN where unmeasurable.

    Looked for from coarse to fine, down to the finest level whose displacements are within the reach of the fit.

    Args:
        transform: Full-size map from the pixels of `moving` to those of `fixed`.
    """
    found = float("nan")
    for level in reversed(range(len(fixed.levels))):
        factor = fixed.factors[level]
        if found > REACH_PX * factor:
            break
        if level and min(fixed.levels[level].shape) < BLOCKS_SIDE_PX:
            continue
        measured = block_displacements(fixed.levels[level], moving.levels[level], to_level(transform, factor))
        if len(measured) >= FEWEST:
            found = robust_rms(measured) * factor
    return found
