"""Which sites two surfaces contend for, and what the frames of each say, site by site, compiled."""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, inner

_DIAGONAL = np.float32(1.4142135)
_FARTHER = np.int32(1 << 30)


@compiled
def cones(depth, step, least, source):
    """The least of all depths, to each of which its distance is added; distances run along rows, columns, diagonals.

    Args:
        depth: (h, w) float32.
        step: What a distance of one site adds.
        least: (h, w) float32, changed in place.
        source: (h, w) float32 depth that it starts from, likewise.
    """
    height, width = depth.shape
    for y in range(height):
        for x in range(width):
            least[y, x] = source[y, x] = depth[y, x]
    aslant = step * _DIAGONAL
    for y in range(height):
        for x in range(width):
            _lower(least, source, y, x, y, x - 1, step)
            _lower(least, source, y, x, y - 1, x, step)
            _lower(least, source, y, x, y - 1, x - 1, aslant)
            _lower(least, source, y, x, y - 1, x + 1, aslant)
    for y in range(height - 1, -1, -1):
        for x in range(width - 1, -1, -1):
            _lower(least, source, y, x, y, x + 1, step)
            _lower(least, source, y, x, y + 1, x, step)
            _lower(least, source, y, x, y + 1, x + 1, aslant)
            _lower(least, source, y, x, y + 1, x - 1, aslant)


@inner
def _lower(least, source, y, x, row, column, further):
    """Go on from a neighbour, if that leads lower."""
    if 0 <= row < least.shape[0] and 0 <= column < least.shape[1] and least[row, column] + further < least[y, x]:
        least[y, x] = least[row, column] + further
        source[y, x] = source[row, column]


@compiled
def sides(cost, where, middle, near_first, lead, nearer):
    """How much more the data cost a nearer surface than a farther one, and the best frame of the nearer.

    Args:
        cost: (N, h, w) uint16.
        where: (h, w) bool: the sites that are wanted.
        middle: (h, w) float32: frames up to it, counted from the nearest, are those of the nearer surface.
        near_first: Whether the first frame is the nearest.
        lead: (h, w) float32, changed in place.
        nearer: (h, w) int64 from the first frame on, likewise.
    """
    count, height, width = cost.shape
    near, far = np.empty(width, np.int32), np.empty(width, np.int32)
    for y in range(height):
        near[:], far[:] = _FARTHER, _FARTHER
        for depth in range(count):
            k = depth if near_first else count - 1 - depth
            for x in range(width):
                if where[y, x]:
                    here = np.int32(cost[k, y, x])
                    if depth > middle[y, x]:
                        far[x] = min(far[x], here)
                    elif here < near[x]:
                        near[x], nearer[y, x] = here, k
        for x in range(width):
            if where[y, x]:
                lead[y, x] = np.float32(near[x] - far[x])
