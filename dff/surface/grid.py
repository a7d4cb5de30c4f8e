"""What a height field says on its pixel grid: which neighbours are joined, normals, outliers, islands.

Neighbours on the grid are neighbours on the surface, so every answer is a small filter over the picture instead of
a search among points.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dff.stack import DepthMap, FloatArray
from dff.surface.back_projection import row_blocks

BoolArray = NDArray[np.bool_]

NOISE_FLOOR_FRAMES = 0.25
"""A map is never taken to be less noisy than this where outliers are judged."""
_HALO = 16
_TO_SIGMA = 1.2533
"""Standard deviation over mean absolute deviation of a normal distribution, sqrt(pi / 2)."""


def joined(depth: FloatArray, cut: float) -> tuple[BoolArray, BoolArray]:
    """Whether each pixel lies on one surface with the pixel at its right, and with the one below.

    Two known neighbours do unless a step of more than `cut` lies between them: from one to the next, or smeared
    over three links between level ground. A step of more than half of that parts them too where it leads on to a
    larger one, so that a cut does not fray. A steady slope is no step, however steep.

    Args:
        depth: (H, W) depth in any unit; NaN where unknown.
        cut: Largest step, in that unit.

    Returns:
        (H, W - 1) and (H - 1, W).
    """
    weak = _steps(depth, cut / 2, 1), _steps(depth, cut / 2, 0)
    strong = _steps(depth, cut, 1), _steps(depth, cut, 0)
    broken = _reached(_at_pixels(*weak), _at_pixels(*strong))
    known = np.isfinite(depth)
    across = known[:, 1:] & known[:, :-1] & ~(weak[0] & broken[:, :-1])
    return across, known[1:] & known[:-1] & ~(weak[1] & broken[:-1])


def close(depth: FloatArray, limit: float) -> tuple[BoolArray, BoolArray]:
    """Whether each pixel and the one at its right, and the one below, differ by at most a limit or by steady slope.

    Unlike joined, the answer at a pixel depends on the pixels within three of it only.
    """
    known = np.isfinite(depth)
    steep_across, steep_down = _jumps(depth, limit, 1), _jumps(depth, limit, 0)
    return known[:, 1:] & known[:, :-1] & ~steep_across, known[1:] & known[:-1] & ~steep_down


def _steps(depth: FloatArray, limit: float, axis: int) -> BoolArray:
    """Links that are a step of more than a limit or take part in one that is smeared over three."""
    from dff.surface.grid_loops import smeared_steps

    steps = _jumps(depth, limit, axis)
    smeared_steps(np.ascontiguousarray(depth, np.float32), np.float32(limit), 1 - axis, axis, steps)
    return steps


def _jumps(depth: FloatArray, limit: float, axis: int) -> BoolArray:
    """Links of more than a limit, unless the two before and the two after go on at least half as steeply."""
    from dff.surface.grid_loops import jumps

    found = np.zeros((depth.shape[0] - (1 - axis), depth.shape[1] - axis), bool)
    jumps(np.ascontiguousarray(depth, np.float32), np.float32(limit), 1 - axis, axis, found)
    return found


def _at_pixels(across: BoolArray, down: BoolArray) -> BoolArray:
    """Pixels that have a link of theirs, to the right or below, marked."""
    marked = np.zeros((across.shape[0], down.shape[1]), bool)
    marked[:, :-1] |= across
    marked[:-1] |= down
    return marked


def _reached(weak: BoolArray, strong: BoolArray) -> BoolArray:
    """Parts of the weak marks, connected across gaps of up to two pixels, that hold a strong one."""
    wide = cv2.dilate(weak.astype(np.uint8), np.ones((3, 3), np.uint8))
    labels = cv2.connectedComponents(wide, connectivity=8)[1]
    holds = np.zeros(labels.max(initial=0) + 1, bool)
    holds[labels[strong]] = True
    holds[0] = False
    reached: BoolArray = holds[labels]
    return reached


def grid_normals(points: FloatArray, across: BoolArray, down: BoolArray, *, sigma_px: float = 1.5) -> FloatArray:
    """Unit normals of a grid of points, toward the camera.

    The slope at a pixel is the Gaussian mean of the differences between joined neighbours around it, so that
    neither unknown pixels nor steps bend a normal; a plane's normal is exact.

    Args:
        points: (H, W, 3); NaN where unknown.
        across: (H, W - 1) whether a pixel is joined to the one at its right.
        down: (H - 1, W) whether a pixel is joined to the one below.
        sigma_px: Standard deviation of the Gaussian.

    Returns:
        (H, W, 3) float32; straight at the camera where nothing around is joined, NaN where unknown.
    """
    from dff.surface import grid_loops

    points = np.ascontiguousarray(points, np.float32)
    right, below, normals = np.empty_like(points), np.empty_like(points), np.empty_like(points)
    grid_loops.tangents(points, across, down, right, below)
    smooth = [cv2.GaussianBlur(sums, (0, 0), sigma_px, borderType=cv2.BORDER_CONSTANT) for sums in (right, below)]
    grid_loops.normals(points, *smooth, normals)
    return normals


def fill_nearest(depth: FloatArray) -> FloatArray:
    """The map with unknown pixels given the value of the nearest known one; all NaN stays all NaN."""
    unknown = np.isnan(depth)
    if not unknown.any() or unknown.all():
        return depth
    labels = cv2.distanceTransformWithLabels(
        unknown.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3, labelType=cv2.DIST_LABEL_PIXEL
    )[1]
    values = np.zeros(labels.max() + 1, np.float32)
    values[labels[~unknown]] = depth[~unknown]
    filled: FloatArray = values[labels]
    return filled


def outliers(depth: FloatArray, sigma: float, *, floor: float) -> BoolArray:
    """Pixels that stand off from the median of the 5 x 5 around them by more than `sigma` local deviations.

    A corner of a step stands off too; it is spared, as it agrees with three or more of its eight neighbours. The
    local deviation is the mean absolute distance to that median over 21 x 21 pixels, each counted with at most
    32 times the floor so that an outlier does not excuse itself.

    Args:
        depth: (H, W); NaN where unknown.
        sigma: Factor on the local standard deviation.
        floor: Standard deviation that is granted everywhere, in the unit of the map.

    Returns:
        (H, W), False where unknown.
    """
    found = np.zeros(depth.shape, bool)
    for top, bottom in row_blocks(depth.shape):
        above, below = max(0, top - _HALO), min(len(depth), bottom + _HALO)
        near = np.ascontiguousarray(depth[above:below], np.float32)
        found[top:bottom] = _outliers_of_rows(near, sigma, floor)[top - above : bottom - above]
    return found


def _outliers_of_rows(depth: FloatArray, sigma: float, floor: float) -> BoolArray:
    known = np.isfinite(depth)
    found = np.zeros(depth.shape, bool)
    if not known.any():
        return found
    filled = fill_nearest(depth)
    distance = np.abs(filled - cv2.medianBlur(filled, 5))
    distance[~known] = 0
    window = (21, 21)
    share = np.maximum(cv2.blur(known.astype(np.float32), window), 1e-6)
    usual = cv2.blur(np.minimum(distance, 32 * floor), window) / share
    allowed = sigma * np.maximum(_TO_SIGMA * usual, floor)
    suspects = np.nonzero(distance > allowed)
    found[suspects] = _fellows(depth, suspects, allowed[suspects]) < 3
    return found


def _fellows(depth: FloatArray, places: tuple[NDArray[np.intp], ...], allowed: FloatArray) -> NDArray[np.intp]:
    """How many of the eight neighbours of each place differ from it by no more than is allowed there."""
    framed = np.pad(depth, 1, constant_values=np.nan)
    rows, columns = places
    offsets = [(down, right) for down in (0, 1, 2) for right in (0, 1, 2) if (down, right) != (1, 1)]
    near = [np.abs(framed[rows + down, columns + right] - depth[places]) <= allowed for down, right in offsets]
    return np.sum(near, axis=0)


def islands(across: BoolArray, down: BoolArray, known: BoolArray, min_px: int) -> BoolArray:
    """Known pixels in patches of fewer than `min_px` pixels that are joined to nothing else.

    Args:
        across: (H, W - 1) joins to the right.
        down: (H - 1, W) joins below.
        known: (H, W).
        min_px: Smallest patch that is not an island.
    """
    core = known.copy()
    core[:, :-1] &= across | ~known[:, 1:]
    core[:-1] &= down | ~known[1:]
    _, labels, stats, _ = cv2.connectedComponentsWithStats(core.astype(np.uint8), connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] >= min_px
    large[0] = False
    kept = large[labels]
    for _ in range(2):
        kept = _spread(kept, across, down)
    return known & ~kept


def _spread(kept: BoolArray, across: BoolArray, down: BoolArray) -> BoolArray:
    """The kept pixels and those joined to one of them."""
    spread = kept.copy()
    spread[:, 1:] |= kept[:, :-1] & across
    spread[:, :-1] |= kept[:, 1:] & across
    spread[1:] |= kept[:-1] & down
    spread[:-1] |= kept[1:] & down
    return spread


def select_surface(
    depth: DepthMap,
    *,
    min_confidence: float = 0.5,
    outlier_sigma: float = 3.0,
    cut_frames: float = 3.0,
    min_island_px: int | None = None,
) -> DepthMap:
    """The part of a depth map that belongs in clouds and meshes: confident, no outliers, no small islands.

    Args:
        depth: Map of (H, W) pixels.
        min_confidence: Least confidence.
        outlier_sigma: See outliers; 0 keeps all.
        cut_frames: Step at which a surface ends, for the islands.
        min_island_px: Smallest patch that is kept; 0 keeps all, None takes a fifteen-hundredth of the picture, at
            least 100.

    Returns:
        The map with everything else unknown.
    """
    index = np.where(depth.confidence >= min_confidence, depth.index, np.float32(np.nan))
    if outlier_sigma > 0:
        index[outliers(index, outlier_sigma, floor=NOISE_FLOOR_FRAMES)] = np.nan
    smallest = max(100, index.size // 1_500) if min_island_px is None else min_island_px
    if smallest > 0:
        index[islands(*joined(index, cut_frames), np.isfinite(index), smallest)] = np.nan
    kept = np.isfinite(index)
    return DepthMap(
        index=index,
        confidence=np.where(kept, depth.confidence, np.float32(0)),
        sigma=np.where(kept, depth.sigma, np.float32(np.nan)),
    )
