"""Point clouds: the known pixels of a height field, thinned evenly, with colour, normal and confidence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff.stack import Alignment, DepthMap, FloatArray, FocusGeometry, PointCloud
from dff.surface.back_projection import back_project_rows, check_sizes, row_blocks
from dff.surface.grid import BoolArray, close, grid_normals

NORMAL_SIGMA_PX = 1.5
_HALO = 12


def colours_8bit(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """sRGB colours in 8 bits from pixels of any type, (..., 1 or 3) → (..., 3)."""
    if pixels.dtype == np.uint16:
        narrow = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    elif pixels.dtype == np.uint8:
        narrow = pixels
    else:
        narrow = (np.clip(np.nan_to_num(pixels), 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.broadcast_to(narrow, (*narrow.shape[:-1], 3))


def lattice_step(share: int) -> int:
    """The shift k for which the pixels with (row + k column) mod share = 0 lie most evenly."""

    def gap(k: int) -> int:
        reach = range(-share, share + 1)
        return min(r * r + c * c for r in reach for c in reach if (r or c) and (r + k * c) % share == 0)

    return max(range(share), key=gap) if share <= 32 else round(math.sqrt(share))


def thinned(known: BoolArray, max_points: int) -> BoolArray:
    """An even share of the known pixels, at most `max_points` of them; 0 keeps all.

    One pixel in n is taken, on the lattice (row + k column) mod n = 0 whose points lie farthest apart.
    """
    count = int(known.sum())
    if not max_points or count <= max_points:
        return known
    share = -(-count // max_points)
    while True:
        rows, columns = np.ogrid[:share, : known.shape[1]]
        lattice = (rows + lattice_step(share) * columns) % share == 0
        chosen = known & lattice[np.arange(len(known)) % share]
        if chosen.sum() <= max_points:
            return chosen
        share += 1


def oriented_rows(
    index: FloatArray, rows: tuple[int, int], geometry: FocusGeometry, alignment: Alignment, *, cut_frames: float
) -> tuple[FloatArray, FloatArray]:
    """Points and normals of some rows of the map, the same numbers for every choice of rows.

    Args:
        index: (H, W) the whole map.
        rows: First row and row after the last.
        geometry: One row a frame.
        alignment: One transform a frame.
        cut_frames: Step that normals do not look across.

    Returns:
        Two arrays (rows, W, 3).
    """
    above, below = max(0, rows[0] - _HALO), min(len(index), rows[1] + _HALO)
    near = index[above:below]
    points = back_project_rows(near, above, geometry, alignment)
    normals = grid_normals(points, *close(near, cut_frames / 2), sigma_px=NORMAL_SIGMA_PX)
    inner = slice(rows[0] - above, rows[1] - above)
    return points[inner], normals[inner]


def point_blocks(
    depth: DepthMap,
    geometry: FocusGeometry,
    alignment: Alignment,
    all_in_focus: NDArray[Any],
    *,
    chosen: BoolArray | None = None,
    cut_frames: float = 3.0,
) -> Iterator[PointCloud]:
    """The cloud of the known pixels in blocks of rows, top to bottom, so that a large cloud is never held.

    Args:
        depth: Map of (H, W) pixels.
        geometry: One row a frame.
        alignment: One transform a frame.
        all_in_focus: (H, W, C) colours in any type.
        chosen: (H, W) the known pixels that become points, all by default; normals look at the others too.
        cut_frames: Step that normals do not look across.

    Raises:
        ValueError: sizes that do not belong together.
    """
    check_sizes(depth.index.shape, geometry, alignment)
    for top, bottom in row_blocks(depth.index.shape):
        known = np.isfinite(depth.index[top:bottom])
        here = np.flatnonzero(known if chosen is None else known & chosen[top:bottom])
        points, normals = oriented_rows(depth.index, (top, bottom), geometry, alignment, cut_frames=cut_frames)
        yield PointCloud(
            points=points.reshape(-1, 3).take(here, axis=0),
            colours=colours_8bit(_flat(all_in_focus[top:bottom]).take(here, axis=0)),
            normals=normals.reshape(-1, 3).take(here, axis=0),
            confidence=depth.confidence[top:bottom].ravel().take(here).astype(np.float32),
            unit=geometry.unit,
        )


def _flat(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels.reshape(-1, pixels.shape[-1])


def point_cloud(
    depth: DepthMap,
    geometry: FocusGeometry,
    alignment: Alignment,
    all_in_focus: NDArray[Any],
    *,
    max_points: int = 0,
    cut_frames: float = 3.0,
) -> PointCloud:
    """The cloud of at most `max_points` known pixels, as point_blocks gives it, in one piece; 0 takes all."""
    chosen = thinned(depth.known, max_points)
    blocks = list(point_blocks(depth, geometry, alignment, all_in_focus, chosen=chosen, cut_frames=cut_frames))
    return PointCloud(
        points=np.concatenate([block.points for block in blocks]),
        colours=np.concatenate([block.colours for block in blocks]),
        normals=np.concatenate([block.normals for block in blocks]),
        confidence=np.concatenate([block.confidence for block in blocks]),
        unit=geometry.unit,
    )
