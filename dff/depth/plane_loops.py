"""Planes through maps over a Gaussian window around every pixel, row by row, compiled.

Beyond the border there is nothing. Pixels at equal distance on either side are added or subtracted first.
"""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, inner

ORDERS = 3
"""Powers of the distance that taps are multiplied by: 0, 1 and 2."""
FACTORS = 4
"""Mean weight, and what the moments of no order, along x and along y count."""
_LEAST = np.finfo(np.float32).tiny
_ZERO, _ONE = np.float32(0), np.float32(1)


@inner
def _add_four(t, u, v, w, sign, a, b, c, d, e, f, g, h, found):
    """Add four pairs of rows to a row, each pair with its tap."""
    for x in range(len(found)):
        first = t * (b[x] + sign * a[x]) + u * (d[x] + sign * c[x])
        found[x] += first + v * (f[x] + sign * e[x]) + w * (h[x] + sign * g[x])


@inner
def _add_pair(t, sign, a, b, found):
    """Add a pair of rows to a row."""
    for x in range(len(found)):
        found[x] += t * (b[x] + sign * a[x])


@inner
def _row(values, y, nothing):
    return values[y] if 0 <= y < len(values) else nothing


@inner
def _down(values, y, taps, order, nothing, found):
    """Moment of some order along y of the columns around row y."""
    middle, tap, sign, j = values[y], taps[0, order], -_ONE if order == 1 else _ONE, 1
    for x in range(len(found)):
        found[x] = tap * middle[x]
    while j + 3 < len(taps):
        a, b = _row(values, y - j, nothing), _row(values, y + j, nothing)
        c, d = _row(values, y - j - 1, nothing), _row(values, y + j + 1, nothing)
        e, f = _row(values, y - j - 2, nothing), _row(values, y + j + 2, nothing)
        g, h = _row(values, y - j - 3, nothing), _row(values, y + j + 3, nothing)
        four = taps[j, order], taps[j + 1, order], taps[j + 2, order], taps[j + 3, order]
        _add_four(four[0], four[1], four[2], four[3], sign, a, b, c, d, e, f, g, h, found)
        j += 4
    while j < len(taps):
        _add_pair(taps[j, order], sign, _row(values, y - j, nothing), _row(values, y + j, nothing), found)
        j += 1


@inner
def _across(line, taps, order, found):
    """Moment of some order along x around the pixels of a row that has the reach of the taps at either end."""
    reach, width, sign, j = len(taps) - 1, len(found), -_ONE if order == 1 else _ONE, 1
    tap = taps[0, order]
    for x in range(width):
        found[x] = tap * line[reach + x]
    while j + 3 <= reach:
        low, high = reach - j, reach + j
        a, b = line[low : low + width], line[high : high + width]
        c, d = line[low - 1 : low - 1 + width], line[high + 1 : high + 1 + width]
        e, f = line[low - 2 : low - 2 + width], line[high + 2 : high + 2 + width]
        g, h = line[low - 3 : low - 3 + width], line[high + 3 : high + 3 + width]
        four = taps[j, order], taps[j + 1, order], taps[j + 2, order], taps[j + 3, order]
        _add_four(four[0], four[1], four[2], four[3], sign, a, b, c, d, e, f, g, h, found)
        j += 4
    while j <= reach:
        low, high = reach - j, reach + j
        _add_pair(taps[j, order], sign, line[low : low + width], line[high : high + width], found)
        j += 1


@compiled
def weigh(weight, taps, ridge, found):
    """What the moments of a map count for the plane around each pixel.

    Args:
        weight: (H, W) float32.
        taps: (reach + 1, ORDERS) float32 of the window from its centre, times powers of the distance.
        ridge: float32 added to the spread of the pixels along x and y.
        found: (FACTORS, H, W) float32, changed in place.
    """
    height, width = weight.shape
    reach, nothing = len(taps) - 1, np.zeros(width, np.float32)
    down, moments = np.zeros((ORDERS, width + 2 * reach), np.float32), np.empty((6, width), np.float32)
    for y in range(height):
        for order in range(ORDERS):
            _down(weight, y, taps, order, nothing, down[order, reach : reach + width])
        _across(down[0], taps, 0, moments[0])
        _across(down[0], taps, 1, moments[1])
        _across(down[1], taps, 0, moments[2])
        _across(down[0], taps, 2, moments[3])
        _across(down[2], taps, 0, moments[4])
        _across(down[1], taps, 1, moments[5])
        mean, level, across, along = found[0, y], found[1, y], found[2, y], found[3, y]
        for x in range(width):
            scale = _ONE / max(moments[0, x], _LEAST)
            mx, my = moments[1, x] * scale, moments[2, x] * scale
            xx = moments[3, x] * scale - mx * mx + ridge
            yy = moments[4, x] * scale - my * my + ridge
            xy = moments[5, x] * scale - mx * my
            share = scale / (xx * yy - xy * xy)
            to_x, to_y = (xy * my - yy * mx) * share, (xy * mx - xx * my) * share
            mean[x] = moments[0, x]
            level[x] = scale - mx * to_x - my * to_y
            across[x] = to_x
            along[x] = to_y


@compiled
def fit(product, factors, taps, without, result):
    """The plane through a map around each pixel.

    Args:
        product: (H, W) float32 map times its weight.
        factors: (FACTORS, H, W) what `weigh` gave.
        taps: (reach + 1, ORDERS) float32 of the window.
        without: float32 where nothing is near.
        result: (H, W) float32, changed in place.
    """
    height, width = product.shape
    reach, nothing = len(taps) - 1, np.zeros(width, np.float32)
    down, moments = np.zeros((2, width + 2 * reach), np.float32), np.empty((3, width), np.float32)
    level, mx, my = moments[0], moments[1], moments[2]
    for y in range(height):
        _down(product, y, taps, 0, nothing, down[0, reach : reach + width])
        _down(product, y, taps, 1, nothing, down[1, reach : reach + width])
        _across(down[0], taps, 0, level)
        _across(down[0], taps, 1, mx)
        _across(down[1], taps, 0, my)
        mean, row = factors[0, y], result[y]
        to_level, to_x, to_y = factors[1, y], factors[2, y], factors[3, y]
        for x in range(width):
            value = to_level[x] * level[x] + to_x[x] * mx[x] + to_y[x] * my[x]
            row[x] = value if mean[x] > _ZERO else without
