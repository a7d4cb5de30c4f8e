"""Means over cells and discs of cells, compiled; see `dff.fuse.cells`."""

from __future__ import annotations

import math

import numpy as np

from dff.compiled import compiled, inner
from dff.fuse.cells import JUMP_FRAMES, NOWHERE

_ZERO, _ONE, _HALF, _QUARTER = np.float32(0), np.float32(1), np.float32(0.5), np.float32(0.25)
_PI, _TWELFTH = np.float32(math.pi), np.float32(1 / 12)
_JUMP, _NOWHERE = np.float32(JUMP_FRAMES), np.float32(NOWHERE)
_MOST_RAYS, _FADING = np.float32(3), np.float32(4)


@compiled
def depth_range(depth, known, side, least, most):
    """Least and largest depth of the known pixels of cells; nowhere, and minus that, without any.

    Args:
        depth: (H, W) float32.
        known: (H, W) bool.
        side: Pixels.
        least: (h, w) float32, changed in place.
        most: Likewise.
    """
    least[:], most[:] = _NOWHERE, -_NOWHERE
    for y in range(depth.shape[0]):
        low, high = least[y // side], most[y // side]
        for x in range(depth.shape[1]):
            if known[y, x]:
                low[x // side] = min(low[x // side], depth[y, x])
                high[x // side] = max(high[x // side], depth[y, x])


@inner
def _widened(share, values, i, j, low, high):
    """Depths between which the pixels of four cells lie, and those of others."""
    for y in range(2 * i, min(2 * i + 2, share.shape[0])):
        for x in range(2 * j, min(2 * j + 2, share.shape[1])):
            if share[y, x] > _ZERO:
                low, high = min(low, values[y, x, 0]), max(high, values[y, x, 0])
    return low, high


@inner
def _shared_out(share, values, i, j, border, near, near_values, rest, rest_values):
    """Add four cells to the side of one that they lie on."""
    for y in range(2 * i, min(2 * i + 2, share.shape[0])):
        for x in range(2 * j, min(2 * j + 2, share.shape[1])):
            part = share[y, x]
            if not part > _ZERO:
                continue
            if values[y, x, 0] <= border:
                near[i, j] += part
                for plane in range(values.shape[2]):
                    near_values[i, j, plane] += values[y, x, plane] * part
            else:
                rest[i, j] += part
                for plane in range(values.shape[2]):
                    rest_values[i, j, plane] += values[y, x, plane] * part


@inner
def _averaged(share, values, i, j):
    """Sums of four cells to means."""
    if share[i, j] > _ZERO:
        for plane in range(values.shape[2]):
            values[i, j, plane] /= share[i, j]
        share[i, j] *= _QUARTER


@compiled
def coarser(share, values, behind, behind_values, near, near_values, rest, rest_values):
    """Cells of twice the side; see `Cells`.

    Args:
        share: (h, w) float32 of the nearer side of the finer cells.
        values: (h, w, P) float32.
        behind: The same of their farther side, or without rows.
        behind_values: Likewise.
        near: (h', w') float32 zeros, changed in place.
        near_values: (h', w', P), likewise.
        rest: Likewise.
        rest_values: Likewise.
    """
    for i in range(near.shape[0]):
        for j in range(near.shape[1]):
            low, high = _widened(share, values, i, j, _NOWHERE, -_NOWHERE)
            low, high = _widened(behind, behind_values, i, j, low, high)
            if low > high:
                continue
            border = (low + high) * _HALF if high - low > _JUMP else high
            _shared_out(share, values, i, j, border, near, near_values, rest, rest_values)
            _shared_out(behind, behind_values, i, j, border, near, near_values, rest, rest_values)
            _averaged(near, near_values, i, j)
            _averaged(rest, rest_values, i, j)


@inner
def _share_of_disc(away, radius):
    """Share of a disc's area that a cell so far from its middle has."""
    return min(max(radius + _HALF - away, _ZERO), _ONE) / (_PI * (radius * radius + _TWELFTH))


@compiled
def add_veils(middle, here, framed, share, values, offsets, growth, low, high, fading, veils):
    """Add share, share times depth, and light of what one side of the cells lays over others.

    Args:
        middle: (h, w) bool cells that lie behind something.
        here: (h, w) float32 their depth.
        framed: Depth of the side, with a rim as wide as the offsets reach.
        share: (h, w) float32 of the side.
        values: (h, w, P) float32: depth, its growth a pixel along x and y, colours.
        offsets: (K, 2) integers x, y.
        growth: Growth of a disc's radius a frame, in pixels, and in cells.
        low: Least radius, in cells.
        high: Largest.
        fading: Whether the last quarter of the radii fades out.
        veils: (h, w, P - 1) float32, changed in place.
    """
    rim = (framed.shape[0] - middle.shape[0]) // 2
    for i in range(middle.shape[0]):
        for j in range(middle.shape[1]):
            if not middle[i, j]:
                continue
            for x, y in offsets:
                radius = (here[i, j] - framed[i + y + rim, j + x + rim]) * growth[1]
                away = np.float32(np.sqrt(np.float32(x * x + y * y)))
                if radius < low or radius < away - _HALF or radius >= high:
                    continue
                mean, veil = values[i + y, j + x], veils[i, j]
                slant = _ONE + (mean[1] * np.float32(x) + mean[2] * np.float32(y)) * growth[0] / radius
                weight = share[i + y, j + x] * min(max(slant, _ZERO), _MOST_RAYS) * _share_of_disc(away, radius)
                if fading:
                    weight *= min(_FADING * (_ONE - radius / high), _ONE)
                veil[0] += weight
                veil[1] += weight * mean[0]
                for plane in range(3, len(mean)):
                    veil[plane - 1] += weight * mean[plane]


@compiled
def add_discs(middle, here, framed, share, values, offsets, radius, sums):
    """Add weights, and values times weights, of one side's cells of about a depth in the discs around some cells.

    Args:
        middle: (h, w) bool the cells.
        here: (h, w) float32 their depth.
        framed: Depth of the side, with a rim as wide as the offsets reach.
        share: (h, w) float32 of the side.
        values: (h, w, P) float32.
        offsets: (K, 2) integers x, y.
        radius: (h, w) float32 of the discs, in cells.
        sums: (h, w, 1 + Q) float32, changed in place: of the values behind the first.
    """
    rim = (framed.shape[0] - middle.shape[0]) // 2
    for i in range(middle.shape[0]):
        for j in range(middle.shape[1]):
            if not middle[i, j]:
                continue
            for x, y in offsets:
                if abs(framed[i + y + rim, j + x + rim] - here[i, j]) > _JUMP:
                    continue
                away = np.float32(np.sqrt(np.float32(x * x + y * y)))
                weight = share[i + y, j + x] * _share_of_disc(away, radius[i, j])
                sums[i, j, 0] += weight
                for plane in range(1, sums.shape[2]):
                    sums[i, j, plane] += weight * values[i + y, j + x, plane]


@compiled
def add_at_pixels(values, depth, side, rows, columns, wanted, within, near, sums):
    """Add values of cells at pixels, linear between the cells of about a pixel's depth; see `to_pixels`."""
    weights, cells = np.empty(4, np.float32), np.empty((4, 2), np.int64)
    last, step = (depth.shape[0] - 1, depth.shape[1] - 1), np.float32(side)
    for m in range(len(rows)):
        if not near[rows[m] // side, columns[m] // side]:
            continue
        down = (np.float32(rows[m]) + _HALF) / step - _HALF
        across = (np.float32(columns[m]) + _HALF) / step - _HALF
        top, left, total = np.floor(down), np.floor(across), _ZERO
        for n in range(4):
            row, column = top + np.float32(n // 2), left + np.float32(n % 2)
            weights[n] = (_ONE - abs(across - column)) * (_ONE - abs(down - row))
            cells[n, 0] = min(max(np.int64(row), 0), last[0])
            cells[n, 1] = min(max(np.int64(column), 0), last[1])
            if not abs(depth[cells[n, 0], cells[n, 1]] - wanted[m]) <= within:
                weights[n] = _ZERO
            total += weights[n]
        if not total > _ZERO:
            continue
        for plane in range(values.shape[2]):
            mean = _ZERO
            for n in range(4):
                mean += weights[n] * values[cells[n, 0], cells[n, 1], plane]
            sums[m, plane] += mean / total
