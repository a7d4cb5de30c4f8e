"""Metrology on known shapes: what an instrument would report of a part, measured alike on estimate and truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from dff import metrics
from dff.measure import robust_fit
from dff.stack import FloatArray

Places = FloatArray
"""(n, 3) x, y, z in mm."""


@dataclass(frozen=True)
class Quantity:
    """One figure of a part, with its unit in its name."""

    name: str
    value: float


def flatness(places: Places) -> list[Quantity]:
    """Rms distance from the best plane, and the plane's slope."""
    x, y, z = places.T
    offset, across, down = robust_fit(np.stack([np.ones_like(x), x, y], 1), z)
    residual = z - across * x - down * y - offset
    return [
        Quantity("flatness_rms_um", 1000 * float(np.sqrt(np.mean(residual**2)))),
        Quantity("flatness_robust_um", 1482.6 * float(np.median(np.abs(residual)))),
        Quantity("slope_deg", float(np.degrees(np.arctan(np.hypot(across, down))))),
    ]


def step_height(places: Places) -> list[Quantity]:
    """Mean height of a step of a staircase of six treads that rises along x."""
    x, _, z = places.T
    half = np.abs(x).max()
    tread = (x / half + 1) * 3
    middle = np.abs(tread - np.floor(tread) - 0.5) < 0.3
    number = np.clip(np.floor(tread), 0, 5)
    level = [float(np.median(z[middle & (number == k)])) for k in range(6) if (middle & (number == k)).any()]
    steps = np.diff(level) if len(level) > 1 else np.array([np.nan])
    return [
        Quantity("step_height_um", 1000 * float(np.mean(steps))),
        Quantity("step_height_spread_um", 1000 * float(np.ptp(steps))),
    ]


def ellipsoid(places: Places) -> list[Quantity]:
    """Half axes of the ellipsoid of revolution that stands on level ground, from its upper part.

    z² = a + b z + c r²; with the centre at height z0 = b / 2 the vertical half axis is √(a + z0²).
    """
    x, y, z = places.T
    low, high = np.percentile(z, [2, 99.5])
    cap = z > low + 0.5 * (high - low)
    radius_2 = x[cap] ** 2 + y[cap] ** 2
    terms = np.stack([np.ones(int(cap.sum())), z[cap], radius_2, x[cap], y[cap]], 1)
    constant, linear, ratio, _, _ = robust_fit(terms, z[cap] ** 2)
    height = np.sqrt(max(constant + linear**2 / 4, 0))
    radius = height / np.sqrt(-ratio) if ratio < 0 else float("nan")
    return [Quantity("radius_um", 1000 * float(radius)), Quantity("vertical_radius_um", 1000 * float(height))]


def cone_angle(places: Places) -> list[Quantity]:
    """Slope of the flank of a cone around the origin."""
    x, y, z = places.T
    low, high = np.percentile(z, [2, 99.5])
    flank = (z > low + 0.2 * (high - low)) & (z < low + 0.85 * (high - low))
    radius = np.hypot(x, y)[flank]
    slope = robust_fit(np.stack([np.ones(radius.size), radius], 1), z[flank])[1]
    return [Quantity("flank_deg", float(np.degrees(np.arctan(-slope))))]


def groove(places: Places) -> list[Quantity]:
    """Angle between the flanks of a groove along y at x = 0, and its depth."""
    x, _, z = places.T
    deep, shallow = np.percentile(z, [1, 99])
    flank = (z > deep + 0.2 * (shallow - deep)) & (z < deep + 0.8 * (shallow - deep))
    slopes, bottoms = [], []
    for side in (x < 0, x > 0):
        distance = np.abs(x[flank & side])
        bottom, slope = robust_fit(np.stack([np.ones(distance.size), distance], 1), z[flank & side])
        slopes.append(slope)
        bottoms.append(bottom)
    opening = 180 - float(np.degrees(np.arctan(slopes).sum()))
    return [
        Quantity("opening_deg", opening),
        Quantity("depth_um", 1000 * float(np.median(z[z > deep + 0.9 * (shallow - deep)]) - np.mean(bottoms))),
    ]


def wave(places: Places) -> list[Quantity]:
    """Period and amplitude of a sinusoid along x."""
    x, _, z = places.T
    width = float(np.ptp(x))

    def fitted(cycles: float) -> tuple[FloatArray, float]:
        phase = 2 * np.pi * cycles / width * x
        terms = np.stack([np.ones_like(x), np.sin(phase), np.cos(phase), x], 1)
        answer = np.linalg.lstsq(terms, z, rcond=None)[0]
        return answer, float(np.square(z - terms @ answer).sum())

    coarse = np.arange(0.75, 16, 0.25)
    start = float(coarse[np.argmin([fitted(cycles)[1] for cycles in coarse])])
    best = float(minimize_scalar(lambda c: fitted(c)[1], bounds=(start - 0.3, start + 0.3), method="bounded").x)
    answer = fitted(best)[0]
    return [
        Quantity("period_um", 1000 * width / best),
        Quantity("amplitude_um", 1000 * float(np.hypot(answer[1], answer[2]))),
    ]


SHAPES: dict[str, Callable[[Places], list[Quantity]]] = {
    "plane": flatness,
    "staircase": step_height,
    "hemisphere": ellipsoid,
    "cone": cone_angle,
    "sinusoid": wave,
    "v-groove": groove,
}
"""How each scene of the simulator is measured."""


def scale_errors(estimated: FloatArray, true: FloatArray) -> dict[str, float]:
    """Errors of the lateral scale and of the height scale, in parts per thousand, and of places, in micrometres.

    Args:
        estimated: (H, W, 3) x, y, z in mm; NaN where unknown.
        true: (H, W, 3) of the same pixels.
    """
    known = np.isfinite(estimated).all(-1) & np.isfinite(true).all(-1)
    here, there = estimated[known], true[known]
    if len(here) < 100:
        return {}
    near = np.abs(here[:, 2] - there[:, 2]) < 3 * max(1.4826 * float(np.median(np.abs(here - there)[:, 2])), 1e-6)
    lateral = metrics.fit_similarity(here[near][:, :2], there[near][:, :2])
    distance = np.hypot(*(here - there)[near][:, :2].T)
    result = {
        "lateral_scale_error_permille": 1000 * (lateral.scale - 1),
        "lateral_median_um": 1000 * float(np.median(distance)),
        "height_median_um": 1000 * float(np.median(np.abs(here[:, 2] - there[:, 2]))),
    }
    if np.ptp(there[near][:, 2]) > 0:
        height = metrics.fit_line(here[near][:, 2], there[near][:, 2])
        result["height_scale_error_permille"] = 1000 * (height.scale - 1)
    return result
