"""The order along z of frames whose names do not tell it.

Neighbours along z have nearly the same map of local sharpness, look nearly the same and have nearly the same scale;
the shortest path through all frames in that sense is their order. Its direction cannot be seen in the frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dff.align.motion import Bounds, project, similarity_parameters, to_level
from dff.align.pair import climb
from dff.align.pyramid import Plane, Pyramid, is_coded, luminance_pyramid
from dff.align.seed import seed_motion
from dff.stack import FloatArray, FocalStack, Progress, silent

FAR = Bounds(shift=0.15, scale=0.2, rotation_deg=5)
"""Motion that is looked for between any two frames."""
KEPT_PX = 150
"""Short side of what is kept of each frame."""
SHARPNESS_LEVELS = 3
LOOKS_WEIGHT, SCALE_WEIGHT = 0.6, 0.35
"""Weights of a difference in looks and in scale against one in sharpness."""
LEAST_SCALE_PX = 2.0
"""Least difference of scale that is one, px at the corner."""
STARTS = 12


def estimate_order(stack: FocalStack, *, on_progress: Progress = silent) -> list[int]:
    """Frame numbers in their order along z, from the end that frame 0 is nearer to.

    Args:
        stack: Frames in any order; each is decoded once and kept as a thumbnail.
        on_progress: Called as ("order", done, total).
    """
    kept, sharpness = [], []
    for k in range(len(stack)):
        pyramid = luminance_pyramid(stack.frames[k], stack.white, coded=is_coded(stack))
        sharpness.append(_sharpness(pyramid))
        kept.append(pyramid.coarse(KEPT_PX))
        on_progress("order", k + 1, len(stack))
    order = shortest_path(_distances(kept, sharpness))
    return order if order.index(0) < len(order) / 2 else order[::-1]


def _sharpness(pyramid: Pyramid) -> NDArray[Any]:
    """(3, h, w) squared Laplacian of the finest levels against the brightness, averaged down to the thumbnail."""
    height, width = pyramid.thumbnail.shape
    brightness = float(pyramid.thumbnail.mean()) + 1e-6
    energies = [np.square(cv2.Laplacian(level, cv2.CV_32F) / brightness) for level in pyramid.levels[:SHARPNESS_LEVELS]]
    blurred = [cv2.GaussianBlur(energy, (0, 0), 2.0) for energy in energies]
    return np.stack([cv2.resize(energy, (width, height), interpolation=cv2.INTER_AREA) for energy in blurred])


def _distances(kept: Sequence[Pyramid], sharpness: Sequence[NDArray[Any]]) -> FloatArray:
    """(N, N) how much frames differ in sharpness, looks and scale, each in units of the usual nearest neighbour's."""
    fixed = kept[int(np.argmax([maps[0].mean() for maps in sharpness]))]
    motions = [_coarse_motion(fixed, moving) for moving in kept]
    maps = [_warped(planes, motion, fixed) for planes, motion in zip(sharpness, motions)]
    looks = [_warped([moving.thumbnail], motion, fixed) for moving, motion in zip(kept, motions)]
    common = np.all([planes[0] >= 0 for planes in maps], axis=0)
    scale = np.array([similarity_parameters(motion, fixed.size)[2] for motion in motions])[:, None]
    apart = np.abs(scale - scale.T)
    step = max(LEAST_SCALE_PX, _usual_nearest(apart), np.ptp(scale) / len(kept))
    sharper, unlike = _pairwise(_log_energy(maps, common)), _pairwise(_standardised(looks, common))
    units = (
        sharper / _usual_nearest(sharper),
        LOOKS_WEIGHT * unlike / _usual_nearest(unlike),
        SCALE_WEIGHT * apart / step,
    )
    return np.sqrt(units[0] ** 2 + units[1] ** 2 + units[2] ** 2)


def _coarse_motion(fixed: Pyramid, moving: Pyramid) -> FloatArray:
    starts = [seed_motion(fixed, moving, FAR), np.eye(3)]
    return project(climb(fixed, moving, starts), "similarity", fixed.size)


def _warped(planes: Sequence[Plane] | NDArray[Any], motion: FloatArray, fixed: Pyramid) -> FloatArray:
    """Thumbnails moved onto the fixed frame; -1 outside."""
    size = fixed.thumbnail.shape[::-1]
    transform = to_level(motion, fixed.factors[-1])
    return np.stack([cv2.warpPerspective(p, transform, size, flags=cv2.INTER_LINEAR, borderValue=-1) for p in planes])


def _log_energy(maps: Sequence[FloatArray], common: NDArray[np.bool_]) -> FloatArray:
    """(N, F) log sharpness against the mean of all frames."""
    energy = np.array([planes[:, common] for planes in maps])
    floor = np.percentile(energy, 1, axis=(0, 2), keepdims=True) + 1e-9
    logarithm = np.log(np.maximum(energy, 0) + floor).reshape(len(energy), -1)
    return logarithm - logarithm.mean(axis=0)


def _standardised(looks: Sequence[FloatArray], common: NDArray[np.bool_]) -> FloatArray:
    """(N, F) luminance free of brightness and contrast."""
    luminance = np.array([plane[0][common] for plane in looks])
    spread = luminance.std(axis=1, keepdims=True) + 1e-6
    return (luminance - luminance.mean(axis=1, keepdims=True)) / spread


def _pairwise(features: FloatArray) -> FloatArray:
    return np.sqrt(np.array([np.mean((features - row) ** 2, axis=1) for row in features]))


def _usual_nearest(distances: FloatArray) -> float:
    """Median distance to the nearest other frame."""
    others = distances + np.diag(np.full(len(distances), np.inf))
    return float(np.median(others.min(axis=1))) + 1e-9


def shortest_path(distances: FloatArray) -> list[int]:
    """A short open path through all points: greedy from several starts, improved by 2-opt and moving single points.

    Args:
        distances: (N, N) symmetric.
    """
    count = len(distances)
    # A point at no distance from any other turns the open path into a closed one.
    closed = np.zeros((count + 1, count + 1))
    closed[:count, :count] = distances
    starts = np.unique(np.linspace(0, count - 1, min(count, STARTS)).round().astype(int))
    tours = [_improved(closed, [count, *_greedy(distances, int(start))]) for start in starts]
    best = min(tours, key=lambda tour: _length(closed, tour))
    gap = best.index(count)
    return best[gap + 1 :] + best[:gap]


def _greedy(distances: FloatArray, start: int) -> list[int]:
    tour, left = [start], set(range(len(distances))) - {start}
    while left:
        nearest = min(left, key=lambda k: distances[tour[-1], k])
        tour.append(nearest)
        left.remove(nearest)
    return tour


def _length(closed: FloatArray, tour: list[int]) -> float:
    return float(closed[tour, tour[1:] + tour[:1]].sum())


def _improved(closed: FloatArray, tour: list[int]) -> list[int]:
    while True:
        changed = _moved_point(closed, _reversed_part(closed, tour))
        if _length(closed, changed) > _length(closed, tour) - 1e-9:
            return tour
        tour = changed


def _reversed_part(closed: FloatArray, tour: list[int]) -> list[int]:
    """The tour with the part reversed that shortens it most (2-opt)."""
    here, after = np.array(tour), np.roll(tour, -1)
    edge = closed[here, after]
    gain = edge[:, None] + edge[None] - closed[np.ix_(here, here)] - closed[np.ix_(after, after)]
    i, j = np.unravel_index(np.argmax(np.triu(gain, 1)), gain.shape)
    return tour[: i + 1] + tour[i + 1 : j + 1][::-1] + tour[j + 1 :] if gain[i, j] > 1e-9 else tour


def _moved_point(closed: FloatArray, tour: list[int]) -> list[int]:
    """The tour with the point moved elsewhere that shortens it most."""
    best, chosen = 1e-9, tour
    for k, point in enumerate(tour):
        rest = np.array(tour[:k] + tour[k + 1 :])
        after = np.roll(rest, -1)
        cost = closed[rest, point] + closed[point, after] - closed[rest, after]
        saved = closed[tour[k - 1], point] + closed[point, tour[(k + 1) % len(tour)]]
        gain = saved - closed[tour[k - 1], tour[(k + 1) % len(tour)]] - cost
        if gain.max() > best:
            at = int(np.argmax(gain)) + 1
            best, chosen = float(gain.max()), [*rest[:at].tolist(), point, *rest[at:].tolist()]
    return chosen
