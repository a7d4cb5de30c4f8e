"""Adaptive triangles on a grid: the 4-8 mesh, whose right triangles are halved only where the surface needs it.

A triangle is halved at the middle of its hypotenuse, so every vertex of the grid is the split vertex of the two
triangles that share a hypotenuse. With the error of a vertex raised to at least that of the vertices that depend on
it, the vertices above any threshold form a mesh without cracks (Lindstrom et al., SIGGRAPH 1996; Evans, Kirkpatrick
and Townsend, Algorithmica 2001). Names below: a *centre* of spacing s lies in the middle of a block of 2s x 2s, a
*side* of spacing s in the middle of a block's side; a block's diagonal joins the two corners whose row and column,
counted in blocks, have an even sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dff.stack import FloatArray
from dff.surface.grid import BoolArray

TILE = 64
"""Side of the largest block, in pixels; a power of two."""


def padded_size(size_px: tuple[int, int]) -> tuple[int, int]:
    """The smallest grid of whole tiles that holds a picture."""
    height, width = (-(-max(n - 1, 1) // TILE) * TILE + 1 for n in size_px)
    return height, width


def vertex_errors(fields: Sequence[FloatArray], broken: BoolArray) -> FloatArray:
    """How much is lost where a vertex is left out, at least as much as at any vertex that depends on it.

    Args:
        fields: (H, W) maps whose interpolation errors count, in units of what is tolerated; NaN where unknown.
        broken: (H - 1, W - 1) quads of four pixels of which some but not all make a whole surface.

    Returns:
        (H', W') float32 of padded_size; infinite where the vertex is needed at any tolerance.
    """
    from dff.surface.grid_loops import force_broken, raise_errors

    size = padded_size(fields[0].shape)
    padded = np.full((len(fields), *size), np.nan, np.float32)
    padded[:, : fields[0].shape[0], : fields[0].shape[1]] = fields
    error = np.zeros(size, np.float32)
    force_broken(broken, error)
    raise_errors(padded, TILE, error)
    error[::TILE, ::TILE] = np.inf
    return error


_CORNERS = {
    (0, 0): ((0, 0), (1, 0), (0, 1)),
    (1, 0): ((1, 0), (1, 1), (0, 0)),
    (1, 1): ((1, 1), (0, 1), (1, 0)),
    (0, 1): ((0, 1), (0, 0), (1, 1)),
}
"""By corner (row, column) of a block: the half of the block that has its right angle there."""


def adaptive_triangles(active: BoolArray) -> Iterator[NDArray[np.int32]]:
    """Triangles between the active vertices, less the quads whose four pixels are all in use.

    Args:
        active: (H', W') vertices in use, with everything that they depend on.

    Yields:
        (m, 3) flat indices into the grid, counter-clockwise where rows go down.
    """
    for corner, order in _CORNERS.items():
        opposite = _at_corner(active, (1 - corner[0], 1 - corner[1]))
        yield _triangles(_off_diagonal(active, corner, 1) & ~opposite, order, 1, active.shape[1])
    s = 1
    while s < TILE:
        yield from _halves_of_blocks(active, s)
        yield from _quarters_of_blocks(active, s)
        s *= 2


def full_quads(active: BoolArray) -> BoolArray:
    """(H' - 1, W' - 1) quads whose both halves are in use."""
    full = np.zeros((active.shape[0] - 1, active.shape[1] - 1), bool)
    for corner in ((0, 0), (0, 1)):
        opposite = _at_corner(active, (1 - corner[0], 1 - corner[1]))
        full |= _off_diagonal(active, corner, 1) & opposite
    return full


def _at_corner(grid: BoolArray, corner: tuple[int, int]) -> BoolArray:
    """The values of a grid at one corner (row, column) of every cell."""
    rows, columns = grid.shape[0] - 1, grid.shape[1] - 1
    return grid[corner[0] : rows + corner[0], corner[1] : columns + corner[1]]


def _off_diagonal(active: BoolArray, corner: tuple[int, int], side: int) -> BoolArray:
    """Blocks of a side whose given corner is active and off the block's diagonal."""
    here = _at_corner(active[::side, ::side], corner).copy()
    even = sum(corner) % 2
    here[::2, even::2] = False
    here[1::2, 1 - even :: 2] = False
    return here


def _halves_of_blocks(active: BoolArray, s: int) -> Iterator[NDArray[np.int32]]:
    whole = ~active[s :: 2 * s, s :: 2 * s]
    for corner, order in _CORNERS.items():
        yield _triangles(_off_diagonal(active, corner, 2 * s) & whole, order, 2 * s, active.shape[1])


def _quarters_of_blocks(active: BoolArray, s: int) -> Iterator[NDArray[np.int32]]:
    centres = active[s :: 2 * s, s :: 2 * s]
    across, down = active[:: 2 * s, s :: 2 * s], active[s :: 2 * s, :: 2 * s]
    for side, start, end in (
        (across[1:], (2, 0), (2, 2)),
        (down[:, 1:], (2, 2), (0, 2)),
        (across[:-1], (0, 2), (0, 0)),
        (down[:, :-1], (0, 0), (2, 0)),
    ):
        yield _triangles(centres & ~side, ((1, 1), start, end), s, active.shape[1])


def _triangles(blocks: BoolArray, order: tuple[tuple[int, int], ...], s: int, width: int) -> NDArray[np.int32]:
    """Flat indices of one triangle in each chosen block, its corners given in units of s from the block's first."""
    side = s * max(max(corner) for corner in order)
    rows, columns = np.nonzero(blocks)
    first = (rows * (side * width) + columns * side).astype(np.int32)
    return np.stack([first + (row * width + column) * s for row, column in order], axis=1)
