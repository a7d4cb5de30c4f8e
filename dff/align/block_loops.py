"""Moments of what the blocks of two pictures show, compiled: nothing is copied block by block."""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, inner_sums

FEATURES = 5
_AROUND = 2
"""Pixels around a block that derivatives look at."""


@compiled
def inside(moved, side, least, found):
    """Whether the moved picture covers each block and the pixels around it.

    Args:
        moved: (H, W) float32, far below `least` where it covers nothing.
        side: Of the blocks, px.
        least: The least value that a picture has.
        found: (rows, columns) bool, changed in place.
    """
    height, width = moved.shape
    for row in range(found.shape[0]):
        for column in range(found.shape[1]):
            first, last = max(column * side - _AROUND, 0), min((column + 1) * side + _AROUND, width)
            bare = 0
            for y in range(max(row * side - _AROUND, 0), min((row + 1) * side + _AROUND, height)):
                line = moved[y, first:last]
                for x in range(len(line)):
                    bare += 1 if line[x] < least else 0
            found[row, column] = bare == 0


@compiled
def moments(planes, corners, side, result):
    """Sums of products of five features about their means, block by block.

    Args:
        planes: (FEATURES, H, W) float32.
        corners: (B, 2) first row and column of each block.
        side: Of the blocks, px.
        result: (B, FEATURES, FEATURES) float64, changed in place.
    """
    count = side * side
    part, total = np.empty((FEATURES, count), np.float32), np.empty(FEATURES)
    for block in range(len(corners)):
        top, left = corners[block]
        for i in range(FEATURES):
            own, centre = part[i], planes[i, top, left]
            for row in range(side):
                line, target = planes[i, top + row, left : left + side], own[row * side : (row + 1) * side]
                for x in range(side):
                    target[x] = line[x] - centre
            total[i] = _sum(own)
            for j in range(i + 1):
                value = _product(own, part[j]) - total[i] * total[j] / count
                result[block, i, j], result[block, j, i] = value, value


@inner_sums
def _sum(values):
    total = np.float32(0)
    for x in range(len(values)):
        total += values[x]
    return np.float64(total)


@inner_sums
def _product(one, other):
    total = np.float32(0)
    for x in range(len(one)):
        total += one[x] * other[x]
    return np.float64(total)
