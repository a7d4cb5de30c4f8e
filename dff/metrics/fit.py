"""Least-squares fits for metrology: height scale, levelling plane, lateral scale."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dff.stack import FloatArray


class LineFit(NamedTuple):
    """estimated = scale · true + offset."""

    scale: float
    """1 is a perfect scale of height."""
    offset: float
    rms: float
    """Of what the line leaves: linearity deviation."""


class PlaneFit(NamedTuple):
    """z = slope_x · x + slope_y · y + offset."""

    slope_x: float
    slope_y: float
    offset: float
    rms: float
    """Of what the plane leaves: flatness deviation of a flat object."""


class SimilarityFit(NamedTuple):
    """estimated = scale · rotation(true) + shift, in the plane."""

    scale: float
    """1 is a perfect lateral scale."""
    rotation_deg: float
    shift: tuple[float, float]
    rms: float
    """Of the distances that are left."""


def fit_line(estimated: FloatArray, true: FloatArray) -> LineFit:
    """Scale and offset of estimated heights against true ones, over the pairs that are known.

    Args:
        estimated: (...) heights; NaN where unknown.
        true: (...) heights.

    Raises:
        ValueError: fewer than two different true heights.
    """
    known = np.isfinite(estimated) & np.isfinite(true)
    x, y = true[known].astype(float), estimated[known].astype(float)
    if x.size < 2 or np.ptp(x) == 0:
        raise ValueError(f"true: needs two different known heights; got {x.size} values; give more of the object")
    centred = x - x.mean()
    scale = float((centred * y).sum() / (centred**2).sum())
    offset = float(y.mean() - scale * x.mean())
    return LineFit(scale, offset, _rms(y - scale * x - offset))


def fit_plane(points: FloatArray) -> PlaneFit:
    """Plane of least squared height differences.

    Args:
        points: (..., 3) x, y, z; points with NaN are left out.

    Raises:
        ValueError: fewer than three known points, or all on one line.
    """
    known = points.reshape(-1, 3).astype(float)
    known = known[np.isfinite(known).all(1)]
    middle = known.mean(0) if len(known) else np.zeros(3)
    across, heights = known[:, :2] - middle[:2], known[:, 2] - middle[2]
    if np.linalg.matrix_rank(across) < 2:
        raise ValueError(f"points: a plane needs three known points off one line; got {len(known)}; give more")
    slope, *_ = np.linalg.lstsq(across, heights, rcond=None)
    offset = middle[2] - slope @ middle[:2]
    return PlaneFit(float(slope[0]), float(slope[1]), float(offset), _rms(heights - across @ slope))


def fit_similarity(estimated: FloatArray, true: FloatArray) -> SimilarityFit:
    """Scale, rotation and shift that bring true points onto estimated ones.

    As complex numbers, estimated = a · true + b with a = scale · exp(i rotation); Umeyama, IEEE PAMI 13(4), 1991,
    without reflection.

    Args:
        estimated: (M, 2) x, y; points with NaN are left out.
        true: (M, 2) the same points.

    Raises:
        ValueError: fewer than two different known points.
    """
    known = np.isfinite(estimated).all(1) & np.isfinite(true).all(1)
    to, start = (values[known, 0] + 1j * values[known, 1] for values in (estimated, true))
    if len(start) < 2 or not np.ptp(np.abs(start - start[0])):
        raise ValueError(f"true: needs two different known points; got {len(start)}; give more of the object")
    centred = start - start.mean()
    turn = np.vdot(centred, to) / np.vdot(centred, centred)
    shift = to.mean() - turn * start.mean()
    return SimilarityFit(
        scale=float(np.abs(turn)),
        rotation_deg=float(np.degrees(np.angle(turn))),
        shift=(float(shift.real), float(shift.imag)),
        rms=_rms(np.abs(to - turn * start - shift)),
    )


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
