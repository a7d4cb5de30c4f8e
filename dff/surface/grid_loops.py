"""Points and normals of a grid of pixels, pixel by pixel, compiled."""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled

_ZERO, _ONE, _HALF, _SIXTH = np.float32(0), np.float32(1), np.float32(0.5), np.float32(1 / 6)


@compiled
def points_at(x, y, index, table, points):
    """Back-project pixels by what their frames say, linear between frames.

    Args:
        x: (n, m) float32 columns from the principal point.
        y: (n, m) rows, likewise.
        index: (n, m) float32 sub-frame index; NaN where unknown.
        table: (N, 9) float32 a projective map's first eight numbers, and the height, of each frame.
        points: (n, m, 3) float32, changed in place.
    """
    last = max(len(table) - 2, 0)
    for row in range(index.shape[0]):
        for column in range(index.shape[1]):
            place = index[row, column]
            if np.isnan(place):
                points[row, column, :] = np.float32(np.nan)
                continue
            low = min(max(np.int64(np.floor(place)), 0), last)
            here, there = table[low], table[min(low + 1, len(table) - 1)]
            far = place - np.float32(low)
            near = _ONE - far
            u, v = x[row, column], y[row, column]
            a, b, c = near * here[0] + far * there[0], near * here[1] + far * there[1], near * here[2] + far * there[2]
            d, e, f = near * here[3] + far * there[3], near * here[4] + far * there[4], near * here[5] + far * there[5]
            g, h = near * here[6] + far * there[6], near * here[7] + far * there[7]
            share = _ONE / (g * u + h * v + _ONE)
            points[row, column, 0] = (a * u + b * v + c) * share
            points[row, column, 1] = -(d * u + e * v + f) * share
            points[row, column, 2] = near * here[8] + far * there[8]


@compiled
def tangents(points, across, down, right, below):
    """Sums of the differences of joined neighbours on both sides of a pixel, along the rows and along the columns.

    Args:
        points: (H, W, 3) float32.
        across: (H, W - 1) bool.
        down: (H - 1, W) bool.
        right: (H, W, 3) float32, changed in place.
        below: Likewise.
    """
    height, width = points.shape[:2]
    for y in range(height):
        for x in range(width):
            for i in range(3):
                here, one, two = points[y, x, i], _ZERO, _ZERO
                if x > 0 and across[y, x - 1]:
                    one += here - points[y, x - 1, i]
                if x + 1 < width and across[y, x]:
                    one += points[y, x + 1, i] - here
                if y > 0 and down[y - 1, x]:
                    two += here - points[y - 1, x, i]
                if y + 1 < height and down[y, x]:
                    two += points[y + 1, x, i] - here
                right[y, x, i], below[y, x, i] = one, two


@compiled
def normals(points, right, below, result):
    """Unit cross products of tangents; straight at the camera where there is none, NaN where unknown."""
    for y in range(points.shape[0]):
        for x in range(points.shape[1]):
            a, b, c = right[y, x, 0], right[y, x, 1], right[y, x, 2]
            d, e, f = below[y, x, 0], below[y, x, 1], below[y, x, 2]
            p, q, r = e * c - f * b, f * a - d * c, d * b - e * a
            length = np.sqrt(p * p + q * q + r * r)
            if np.isnan(points[y, x, 2]):
                p, q, r, length = np.float32(np.nan), np.float32(np.nan), np.float32(np.nan), _ONE
            elif not length > _ZERO:
                p, q, r, length = _ZERO, _ZERO, _ONE, _ONE
            result[y, x, 0], result[y, x, 1], result[y, x, 2] = p / length, q / length, r / length


@compiled
def _between(depth, y, x, down, right, count):
    """Difference over some pixels from a place on, along a direction; NaN outside the map."""
    below, beside = y + count * down, x + count * right
    if y < 0 or x < 0 or below >= depth.shape[0] or beside >= depth.shape[1]:
        return np.float32(np.nan)
    return depth[below, beside] - depth[y, x]


@compiled
def jumps(depth, limit, down, right, found):
    """Links of more than a limit, unless the two before and the two after go on at least half as steeply.

    Args:
        depth: (H, W) float32; NaN where unknown.
        limit: In its unit.
        down: Rows from a pixel to the next that it is linked to, 0 or 1.
        right: Columns, likewise.
        found: (H - down, W - right) bool, all False, changed in place.
    """
    for y in range(found.shape[0]):
        for x in range(found.shape[1]):
            link = depth[y + down, x + right] - depth[y, x]
            if abs(link) > limit:
                steady = True
                for offset in (-2, -1, 1, 2):
                    other = _between(depth, y + offset * down, x + offset * right, down, right, 1)
                    steady = steady and other / link >= _HALF
                found[y, x] = not steady


@compiled
def smeared_steps(depth, limit, down, right, found):
    """Links that take part in a step of more than a limit over three, between level ground; see `jumps`."""
    for y in range(depth.shape[0] - 3 * down):
        for x in range(depth.shape[1] - 3 * right):
            rise = _between(depth, y, x, down, right, 3)
            if not abs(rise) > limit:
                continue
            before = _between(depth, y - 3 * down, x - 3 * right, down, right, 3) / rise
            after = _between(depth, y + 3 * down, x + 3 * right, down, right, 3) / rise
            if before >= _HALF or after >= _HALF:
                continue
            for offset in range(3):
                i, j = y + offset * down, x + offset * right
                if _between(depth, i, j, down, right, 1) / rise > _SIXTH:
                    found[i, j] = True
