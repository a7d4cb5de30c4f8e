"""Back-projection: from a sub-frame index at every pixel to points in space, exact for every kind of capture.

A point in focus in frame k at that frame's own pixel u_k lies at (u_k - c_k) pixel_k in the plane z_k, whatever
the perspective of the lens (in-focus imaging maps a plane to a plane at one scale). u_k follows from the reference
pixel by the inverse of the frame's alignment transform T_k. The part of T_k that moves the principal point or
turns about it is a motion of the camera (jitter, a rail that is not parallel to the optical axis, roll); the point
moved the other way in the frame and not in space. Adding the camera's motion back leaves

    (X, -Y) = pixel_k V_k^-1 (u_ref - c_ref),    V_k = (A_k A_kᵀ)^(1/2),

A_k the linear part of T_k about the principal point: only its stretch changes the object. A homography keeps its
projective part in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dff.stack import Alignment, FloatArray, FocusGeometry

BLOCK_PX = 1 << 20
"""Pixels that are worked on at a time."""


def row_blocks(size_px: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """First row and row after the last of full-width blocks of about a megapixel."""
    height, width = size_px
    rows = max(1, BLOCK_PX // width)
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def plane_maps(geometry: FocusGeometry, alignment: Alignment) -> FloatArray:
    """Maps from reference pixels about the principal point to places in each frame's plane of focus.

    Returns:
        (N, 3, 3) projective maps of (x, y, 1) columns, y down, in the geometry's unit; the last element is 1.
    """
    centres = np.asarray(geometry.centre_px, float)
    onto = alignment.transforms @ _shifts(centres)
    landed = onto[:, :2, 2] / onto[:, 2:, 2]
    onto = _shifts(-landed) @ onto
    onto /= onto[:, 2:, 2:]
    left, _, right = np.linalg.svd(onto[:, :2, :2])
    turn = np.tile(np.eye(3), (len(onto), 1, 1))
    turn[:, :2, :2] = left @ right
    maps = np.linalg.inv(onto @ turn.transpose(0, 2, 1))
    maps /= maps[:, 2:, 2:]
    maps[:, :2] *= np.asarray(geometry.pixel, float)[:, None, None]
    return maps


def _shifts(offsets: FloatArray) -> FloatArray:
    shifts = np.tile(np.eye(3), (len(offsets), 1, 1))
    shifts[:, :2, 2] = offsets
    return shifts


def back_project(index: FloatArray, geometry: FocusGeometry, alignment: Alignment) -> FloatArray:
    """Points in space at every pixel of the reference frame.

    Args:
        index: (H, W) sub-frame index; NaN where unknown.
        geometry: Heights, pixel sizes and principal points, one row a frame.
        alignment: How the frames were moved onto the reference frame.

    Returns:
        (H, W, 3) float32 x right, y up, z toward the camera, in the geometry's units; the origin lies on the
        optical axis (the image centre) at the far end of the sweep; NaN where the index is.

    Raises:
        ValueError: index, geometry and alignment of different sizes.
    """
    check_sizes(index.shape, geometry, alignment)
    points = np.empty((*index.shape, 3), np.float32)
    for top, bottom in row_blocks(index.shape):
        points[top:bottom] = back_project_rows(index[top:bottom], top, geometry, alignment)
    return points


def back_project_rows(index: FloatArray, first_row: int, geometry: FocusGeometry, alignment: Alignment) -> FloatArray:
    """Points at full-width rows of the reference frame, (rows, W) → (rows, W, 3), as back_project gives them."""
    rows, width = index.shape
    x, y = np.arange(width, dtype=np.float32), np.arange(first_row, first_row + rows, dtype=np.float32)
    return back_project_pixels(x[None, :], y[:, None], index, geometry, alignment)


def back_project_pixels(
    x_px: FloatArray, y_px: FloatArray, index: FloatArray, geometry: FocusGeometry, alignment: Alignment
) -> FloatArray:
    """Points at any pixels of the reference frame.

    Args:
        x_px: Columns, of a shape that broadcasts to that of the index.
        y_px: Rows, likewise.
        index: (...) sub-frame index.
        geometry: One row a frame.
        alignment: One transform a frame.

    Returns:
        (..., 3) float32, as back_project gives them.
    """
    from dff.surface.grid_loops import points_at

    table = _steady(
        np.concatenate([plane_maps(geometry, alignment).reshape(-1, 9)[:, :8], geometry.z[:, None]], axis=1)
    )
    centre = geometry.centre_px[alignment.reference]
    places = np.atleast_2d(np.asarray(index, np.float32))
    u, v = (
        np.array(np.broadcast_to(part - middle, places.shape), np.float32, order="C")
        for part, middle in zip((x_px, y_px), centre)
    )
    points = np.empty((*places.shape, 3), np.float32)
    points_at(u, v, np.ascontiguousarray(places), table, points)
    return points.reshape(*np.shape(index), 3)


def _steady(table: FloatArray) -> NDArray[np.float32]:
    """The table in float32; a column that hardly differs between frames is that of the first."""
    pixel = abs(table[0, 0])
    negligible = np.array([pixel * 1e-8] * 6 + [1e-12] * 2 + [0.0])
    steady = np.where(np.ptp(table, axis=0) > negligible, table, table[:1])
    return np.ascontiguousarray(steady, np.float32)


def check_sizes(size_px: tuple[int, ...], geometry: FocusGeometry, alignment: Alignment) -> None:
    """Refuse maps, geometry and alignment that do not belong together.

    Raises:
        ValueError: naming what differs.
    """
    if len(geometry) != len(alignment):
        raise ValueError(
            f"alignment: must have one row a frame; got {len(alignment)} for a geometry of {len(geometry)}; "
            "give both from one stack"
        )
    if tuple(size_px) != tuple(alignment.size_px):
        raise ValueError(
            f"index: must have the size of the aligned frames; got {tuple(size_px)} for {tuple(alignment.size_px)}; "
            "give the map and the alignment of one stack"
        )
