"""Meshes on the pixel grid: triangles where the surface is whole, none across steps and unknown pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff.stack import Alignment, DepthMap, FloatArray, FocusGeometry, Mesh
from dff.surface import decimation
from dff.surface.back_projection import back_project_pixels, check_sizes, row_blocks
from dff.surface.cloud import colours_8bit, oriented_rows
from dff.surface.grid import BoolArray, joined

COLOUR_PER_FRAME = 8.0
"""When a mesh is thinned, an error of an eighth of full white counts as much as one of a frame in depth."""
FORCED_SHARE = 0.6
"""The cuts of a thinned mesh may take this share of its vertices."""


def grid_mesh(
    depth: DepthMap,
    geometry: FocusGeometry,
    alignment: Alignment,
    all_in_focus: NDArray[Any],
    *,
    cut_frames: float = 3.0,
    max_faces: int = 0,
    stride: int = 1,
) -> Mesh:
    """Shared vertices and triangles of the known pixels, cut where the surface is.

    A mesh of more than `max_faces` triangles is thinned where that loses least, in depth and in colour; its cuts
    stay to the pixel. Where the cuts alone take more, every second, third, ... row and column is taken, and gaps
    narrower than that close.

    Args:
        depth: Map of (H, W) pixels.
        geometry: One row a frame.
        alignment: One transform a frame.
        all_in_focus: (H, W, C) colours in any type.
        cut_frames: Largest step between joined neighbours.
        max_faces: Largest number of triangles; 0 keeps all.
        stride: Every so many rows and columns are taken from the start.

    Raises:
        ValueError: sizes that do not belong together, or no triangle at all.
    """
    check_sizes(depth.index.shape, geometry, alignment)
    index, triangles = depth.index, None
    while triangles is None:
        thin = np.s_[::stride, ::stride]
        triangles = _triangles(index[thin], all_in_focus[thin], cut_frames, max_faces)
        stride += triangles is None
    if not len(triangles):
        raise ValueError("mesh: needs joined known pixels; got none; lower --min-confidence or raise --cut")
    used, triangles = _compressed(triangles, index[thin].size)
    rows, columns = (part * stride for part in np.divmod(used, index[thin].shape[1]))
    return Mesh(
        vertices=back_project_pixels(columns, rows, index[rows, columns], geometry, alignment),
        triangles=triangles,
        normals=_normals_at(rows, columns, index, geometry, alignment, cut_frames),
        colours=colours_8bit(all_in_focus[rows, columns]),
        uv=_texture_places(rows, columns, index.shape),
        unit=geometry.unit,
    )


def _triangles(index: FloatArray, colours: NDArray[Any], cut: float, max_faces: int) -> NDArray[np.int32] | None:
    """(m, 3) flat indices of at most `max_faces` triangles, or None where the cuts alone take too many."""
    across, down = joined(index, cut)
    links = across[:-1].astype(np.uint8) + across[1:] + down[:, :-1] + down[:, 1:]
    if not max_faces or 2 * np.count_nonzero(links >= 2) <= max_faces:
        return _quad_triangles(index, across, down, links >= 2)
    known = np.isfinite(index)
    empty = ~(known[:-1, :-1] | known[:-1, 1:] | known[1:, :-1] | known[1:, 1:])
    error = decimation.vertex_errors([index, _brightness(colours) * COLOUR_PER_FRAME], (links < 4) & ~empty)
    errors = error[: index.shape[0], : index.shape[1]][known]
    vertices = max_faces // 2
    if np.count_nonzero(np.isinf(errors)) > FORCED_SHARE * vertices:
        return None
    while True:
        active = error > np.partition(errors, len(errors) - vertices)[len(errors) - vertices]
        triangles = _adaptive_triangles(index, across, down, links >= 2, active)
        if len(triangles) <= max_faces:
            return triangles
        vertices = min(vertices - 1, int(0.98 * vertices * max_faces / len(triangles)))


def _adaptive_triangles(
    index: FloatArray, across: BoolArray, down: BoolArray, quads: BoolArray, active: BoolArray
) -> NDArray[np.int32]:
    """Triangles between active vertices: those of whole quads by their links, the larger ones as they come."""
    from dff.surface.grid_loops import inside_known

    height, width = index.shape
    parts = [_quad_triangles(index, across, down, quads & decimation.full_quads(active)[: height - 1, : width - 1])]
    for triangles in decimation.adaptive_triangles(active):
        kept = np.empty_like(triangles)
        parts.append(kept[: inside_known(triangles, active.shape[1], index, kept)])
    return np.concatenate(parts)


def _quad_triangles(index: FloatArray, across: BoolArray, down: BoolArray, quads: BoolArray) -> NDArray[np.int32]:
    """One or two triangles in each chosen quad, halved along the diagonal that keeps more, then the flatter one.

    With a b over c d, a triangle is there when both of its links are.
    """
    parts = [np.empty((0, 3), np.int32)]
    for top, bottom in row_blocks(quads.shape) if quads.size else ():
        rows, columns = np.nonzero(quads[top:bottom])
        rows += top
        ab, cd = across[rows, columns], across[rows + 1, columns]
        ac, bd = down[rows, columns], down[rows, columns + 1]
        falling = np.abs(index[rows, columns] - index[rows + 1, columns + 1])
        rising = np.abs(index[rows, columns + 1] - index[rows + 1, columns])
        gain = (ac & ab).astype(np.int8) + (bd & cd) - (ac & cd) - (bd & ab)
        turned = (gain > 0) | ((gain == 0) & (rising < falling))
        a = (rows * index.shape[1] + columns).astype(np.int32)
        b, c, d = a + 1, a + index.shape[1], a + index.shape[1] + 1
        for corners, there in (
            ((a, c, d), ~turned & ac & cd),
            ((a, d, b), ~turned & bd & ab),
            ((a, c, b), turned & ac & ab),
            ((b, c, d), turned & bd & cd),
        ):
            parts.append(np.stack([corner[there] for corner in corners], axis=1))
    return np.concatenate(parts)


def _compressed(triangles: NDArray[np.int32], count: int) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """The flat indices in use, ascending, and the triangles counted in them."""
    in_use = np.zeros(count, bool)
    in_use[triangles] = True
    place = np.cumsum(in_use, dtype=np.int32) - 1
    return np.nonzero(in_use)[0], place[triangles]


def _normals_at(
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    index: FloatArray,
    geometry: FocusGeometry,
    alignment: Alignment,
    cut_frames: float,
) -> FloatArray:
    """Grid normals at pixels whose rows ascend."""
    parts = []
    for top, bottom in row_blocks(index.shape):
        here = slice(*np.searchsorted(rows, (top, bottom)))
        normals = oriented_rows(index, (top, bottom), geometry, alignment, cut_frames=cut_frames)[1]
        parts.append(normals[rows[here] - top, columns[here]])
    return np.concatenate(parts)


def _brightness(colours: NDArray[Any]) -> FloatArray:
    """(H, W) mean of the channels, 0 to 1."""
    white = np.iinfo(colours.dtype).max if np.issubdtype(colours.dtype, np.integer) else 1
    total = colours[..., 0].astype(np.float32)
    for channel in range(1, colours.shape[-1]):
        total += colours[..., channel]
    return total / np.float32(colours.shape[-1]) / np.float32(white)


def _texture_places(rows: NDArray[np.intp], columns: NDArray[np.intp], size_px: tuple[int, ...]) -> FloatArray:
    height, width = size_px
    return np.stack([(columns + 0.5) / width, 1 - (rows + 0.5) / height], axis=1).astype(np.float32)
