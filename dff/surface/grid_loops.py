"""Points and normals of a grid of pixels, pixel by pixel, compiled."""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, inner

_ZERO, _ONE, _HALF, _SIXTH = np.float32(0), np.float32(1), np.float32(0.5), np.float32(1 / 6)
_INFINITE = np.float32(np.inf)


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


@inner
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
        target, here, there, some = found[y], depth[y], depth[y + down, right:], 0
        for x in range(len(target)):
            target[x] = abs(there[x] - here[x]) > limit
            some += target[x]
        if some == 0:
            continue
        for x in range(len(target)):
            if target[x]:
                link, steady = there[x] - here[x], True
                for offset in (-2, -1, 1, 2):
                    other = _between(depth, y + offset * down, x + offset * right, down, right, 1)
                    steady = steady and other / link >= _HALF
                target[x] = not steady


@compiled
def smeared_steps(depth, limit, down, right, found):
    """Links that take part in a step of more than a limit over three, between level ground; see `jumps`."""
    steep = np.empty(max(depth.shape[1] - 3 * right, 0), np.bool_)
    for y in range(depth.shape[0] - 3 * down):
        here, there, some = depth[y], depth[y + 3 * down, 3 * right :], 0
        for x in range(len(steep)):
            steep[x] = abs(there[x] - here[x]) > limit
            some += steep[x]
        if some == 0:
            continue
        for x in range(len(steep)):
            if not steep[x]:
                continue
            rise = there[x] - here[x]
            before = _between(depth, y - 3 * down, x - 3 * right, down, right, 3) / rise
            after = _between(depth, y + 3 * down, x + 3 * right, down, right, 3) / rise
            if before >= _HALF or after >= _HALF:
                continue
            for offset in range(3):
                i, j = y + offset * down, x + offset * right
                if _between(depth, i, j, down, right, 1) / rise > _SIXTH:
                    found[i, j] = True


@compiled
def force_broken(broken, error):
    """Give infinite error to the corners off the diagonals of broken quads and of those on the picture's edge.

    Args:
        broken: (h, w) bool quads.
        error: (H, W) float32, changed in place.
    """
    rows, columns = broken.shape
    for y in range(min(rows + 1, error.shape[0] - 1)):
        for x in range(min(columns + 1, error.shape[1] - 1)):
            if y == rows or x == columns or broken[y, x]:
                odd = (x + y) % 2
                error[y, x + 1 - odd] = _INFINITE
                error[y + 1, x + odd] = _INFINITE
    for x in range(columns + 1, error.shape[1] - 1):
        if rows < error.shape[0] - 1:
            odd = (x + rows) % 2
            error[rows, x + 1 - odd], error[rows + 1, x + odd] = _INFINITE, _INFINITE
    for y in range(rows + 1, error.shape[0] - 1):
        if columns < error.shape[1] - 1:
            odd = (columns + y) % 2
            error[y, columns + 1 - odd], error[y + 1, columns + odd] = _INFINITE, _INFINITE


@inner
def _raise(error, fields, y, x, down, right):
    """Raise the error of a vertex to that of interpolating between two others; unknown values say nothing."""
    for field in fields:
        wrong = abs(field[y, x] - (field[y - down, x - right] + field[y + down, x + right]) * _HALF)
        if wrong > error[y, x]:
            error[y, x] = wrong


@inner
def _raise_to(error, y, x, down, right):
    """Raise the error of a vertex to that of another, where there is one."""
    i, j = y + down, x + right
    if 0 <= i < error.shape[0] and 0 <= j < error.shape[1]:
        error[y, x] = max(error[y, x], error[i, j])


@compiled
def raise_errors(fields, tile, error):
    """Raise errors to those of leaving vertices out, and to those of all that depend on them; see `decimation`.

    Args:
        fields: (F, H, W) float32; NaN where unknown.
        tile: Side of the largest block.
        error: (H, W) float32, changed in place.
    """
    height, width = error.shape
    s = 1
    while s < tile:
        half = s // 2
        for y in range(0, height, s):
            for x in range(s if y // s % 2 == 0 else 0, width, 2 * s):
                _raise(error, fields, y, x, s * (y // s % 2), s * (1 - y // s % 2))
                if half:
                    for down in (-half, half):
                        for right in (-half, half):
                            _raise_to(error, y, x, down, right)
        for y in range(s, height, 2 * s):
            for x in range(s, width, 2 * s):
                rising = (y // (2 * s) + x // (2 * s)) % 2
                _raise(error, fields, y, x, s, -s if rising else s)
                for away in (-s, s):
                    _raise_to(error, y, x, away, 0)
                    _raise_to(error, y, x, 0, away)
        s *= 2


@compiled
def inside_known(triangles, padded_width, index, result):
    """Copy the triangles whose corners are all known pixels of the picture; gives their number.

    Args:
        triangles: (m, 3) int32 flat indices into a padded grid.
        padded_width: Columns of that.
        index: (H, W) float32; NaN where unknown.
        result: (m, 3) int32 flat indices into the picture, changed in place.
    """
    height, width = index.shape
    count = 0
    for triangle in triangles:
        whole = True
        for corner in range(3):
            row = triangle[corner] // padded_width
            column = triangle[corner] - row * padded_width
            if row >= height or column >= width or np.isnan(index[row, column]):
                whole = False
                break
            result[count, corner] = row * width + column
        count += whole
    return count
