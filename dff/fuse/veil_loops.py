"""Veiled pixels one by one, compiled; see `dff.fuse.veil`."""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, inner

_ZERO, _ONE, _HALF = np.float32(0), np.float32(1), np.float32(0.5)
_STEEPEST_FRAMES = np.float32(2)
"""Neighbouring pixels that differ by more are no slope."""
_LEAST_SHARE, _FULL_SHARE = np.float32(0.01), np.float32(0.05)
"""Shares of the veil between which it begins to be taken off,"""
LEAST_SEEN, _WELL_SEEN = np.float32(0.25), np.float32(0.5)
"""and of what is left of the surface behind it."""
_TOLERANCE, _CONTRAST, _UNLIKE = np.float32(0.08), np.float32(0.1), np.float32(0.1)
"""What the proof may be off by: a share of the light, of the variance around, and of how unlike the surfaces are."""
_SHARP = np.float32(5)
"""How much fine detail counts against a proof: the farther surface has none in the nearer one's frame."""
_LARGEST_CHANGE, _SLACK = np.float32(3), np.float32(0.25)
"""No colour changes by more than this many times what the two frames differ by around it, nor leaves the span of what
they show near by for more than this share of it."""


@inner
def _slope(before, here, after, first, last):
    """Growth a pixel, of the pixel's own surface; the first has none before, the last none after."""
    total, count = _ZERO, _ZERO
    if not first and abs(here - before) < _STEEPEST_FRAMES:
        total, count = total + (here - before), count + _ONE
    if not last and abs(after - here) < _STEEPEST_FRAMES:
        total, count = total + (after - here), count + _ONE
    return total / max(count, _ONE)


@compiled
def describe(depth, rows, columns, colours, values):
    """Put depth, its growth along x and y, and colours of some pixels where they lie.

    Args:
        depth: (H, W) float32.
        rows: (M).
        columns: (M).
        colours: (M, C) float32.
        values: (H, W, 3 + C) float32, changed in place.
    """
    bottom, right = depth.shape[0] - 1, depth.shape[1] - 1
    for m in range(len(rows)):
        y, x = rows[m], columns[m]
        here, above, below = depth[y, x], depth[max(y - 1, 0), x], depth[min(y + 1, bottom), x]
        values[y, x, 0] = here
        values[y, x, 1] = _slope(depth[y, max(x - 1, 0)], here, depth[y, min(x + 1, right)], x == 0, x == right)
        values[y, x, 2] = _slope(above, here, below, y == 0, y == bottom)
        for channel in range(colours.shape[1]):
            values[y, x, 3 + channel] = colours[m, channel]


@compiled
def describe_behind(known, rows, columns, values):
    """Put depth, colours and their mean square of some pixels where they lie.

    Args:
        known: (H, W, 3 + C) float32, as `describe` gives it.
        rows: (M).
        columns: (M).
        values: (H, W, 4 + C) float32, changed in place; the last two planes stay.
    """
    channels = known.shape[2] - 3
    for m in range(len(rows)):
        here, target, square = known[rows[m], columns[m]], values[rows[m], columns[m]], _ZERO
        target[0] = here[0]
        for channel in range(channels):
            target[1 + channel] = here[3 + channel]
            square += here[3 + channel] * here[3 + channel]
        target[1 + channels] = square / np.float32(channels)


@compiled
def replace_behind(colours, radius, rows, columns, values):
    """Put other colours, their mean square, a radius and one at some of these pixels."""
    channels = colours.shape[1]
    for m in range(len(rows)):
        target, square = values[rows[m], columns[m]], _ZERO
        for channel in range(channels):
            target[1 + channel] = colours[m, channel]
            square += colours[m, channel] * colours[m, channel]
        target[1 + channels], target[2 + channels], target[3 + channels] = (
            square / np.float32(channels),
            radius[m],
            _ONE,
        )


@inner
def _square(value):
    return value * value


@compiled
def doubts(own, behind, nearer, smooth, around, share, light, variance, numbers):
    """What speaks against a change: how wrong the proof is, how unlike the surfaces are, how large the change is.

    Args:
        own: (M, C) float32 colours in the pixel's own frame.
        behind: Behind the veil.
        nearer: In the frame that is focused on the nearer surface.
        smooth: The same with its neighbours' mean.
        around: (M, C + 1) mean of the farther surface over the disc that the nearer one's frame blurs it over.
        share: (M) of the veil.
        light: (M, C) of the veil.
        variance: Of the noise.
        numbers: (M, 3) float32, changed in place.
    """
    count = np.float32(own.shape[1])
    for m in range(len(share)):
        wrong, unlike, change, sharp = _ZERO, _ZERO, _ZERO, _ZERO
        for channel in range(own.shape[1]):
            wrong += _square(nearer[m, channel] - around[m, channel])
            unlike += _square(nearer[m, channel] - light[m, channel] / share[m])
            change += _square(behind[m, channel] - own[m, channel])
            sharp += _square(nearer[m, channel] - smooth[m, channel])
        numbers[m, 0] = wrong / count + _SHARP * max(sharp / count - variance, _ZERO)
        numbers[m, 1], numbers[m, 2] = unlike / count, change / count


@compiled
def proofs(numbers, around, share, variance, proven, clear):
    """How far a change is proven, and how far it is worth while, both from 0 to 1.

    Args:
        numbers: (M, 3) float32 doubts, smoothed.
        around: (M, C + 1) float32 mean colour and mean square of the farther surface around.
        share: (M) of the veil.
        variance: Of the noise.
        proven: (M) float32, changed in place.
        clear: Likewise.
    """
    channels = around.shape[1] - 1
    for m in range(len(share)):
        light = _ZERO
        for channel in range(channels):
            light += around[m, channel] * around[m, channel]
        light /= np.float32(channels)
        spread = max(around[m, channels] - light, _ZERO)
        wrong, unlike, change = numbers[m, 0], numbers[m, 1], numbers[m, 2]
        allowed = _TOLERANCE * _TOLERANCE * light + _CONTRAST * spread + _UNLIKE * unlike + variance
        off = wrong * _HALF / allowed
        ramp = min(max((share[m] - _LEAST_SHARE) / (_FULL_SHARE - _LEAST_SHARE), _ZERO), _ONE)
        seen = min(max((_ONE - share[m] - LEAST_SEEN) / (_WELL_SEEN - LEAST_SEEN), _ZERO), _ONE)
        proven[m] = _ONE / (_ONE + off * off)
        clear[m] = ramp * seen * change / (change + variance)


@compiled
def sum_in_cells(values, rows, columns, side, cells):
    """Add values (M, P) of pixels up in the cells (h, w, P) that they lie in."""
    for m in range(len(rows)):
        for plane in range(values.shape[1]):
            cells[rows[m] // side, columns[m] // side, plane] += values[m, plane]


@compiled
def bounds_in_cells(one, other, rows, columns, side, bounds):
    """Raise minus the least, and the largest, of two colours (M, C) in the cells (h, w, 2 C) that they lie in."""
    channels = one.shape[1]
    for m in range(len(rows)):
        cell = bounds[rows[m] // side, columns[m] // side]
        for channel in range(channels):
            a, b = one[m, channel], other[m, channel]
            cell[channel] = max(cell[channel], -min(a, b))
            cell[channels + channel] = max(cell[channels + channel], max(a, b))


@compiled
def put(own, behind, trust, rows, columns, apart, side, low, high, picture):
    """Change a picture toward the colours behind the veil, within bounds.

    Args:
        own: (M, C) float32 colours in the pixel's own frame.
        behind: Behind the veil.
        trust: (M) how far to change.
        rows: (M).
        columns: (M).
        apart: (H, W) float32 what the two frames differ by around.
        side: Pixels of a cell.
        low: (h, w, C) float32 minus the least colour around each cell.
        high: The largest.
        picture: (C, H, W) float32, changed in place.
    """
    for m in range(len(rows)):
        y, x = rows[m], columns[m]
        least, largest, most = low[y // side, x // side], high[y // side, x // side], _LARGEST_CHANGE * apart[y, x]
        for channel in range(own.shape[1]):
            colour = min(max(behind[m, channel], own[m, channel] - most), own[m, channel] + most)
            slack = _SLACK * (largest[channel] + least[channel])
            colour = min(max(colour, -least[channel] - slack), largest[channel] + slack)
            picture[channel, y, x] += trust[m] * (colour - picture[channel, y, x])
