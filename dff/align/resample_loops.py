"""Both passes of resampling, row by row, compiled: what lies between them stays in the processor's cache."""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, inner

TAPS = 8
_ZERO = np.float32(0)


@inner
def _down(frame, start, weights, columns, fill, line):
    """One row moved along the columns, (W, C): blocks of columns move alike.

    Args:
        frame: (H, W x C).
        start: (blocks,) first of the rows that each block reads.
        weights: (blocks, TAPS).
        columns: Width of a block times C.
        line: (W x C,) float32, changed in place.
    """
    height, width = frame.shape
    for block in range(len(start)):
        left, right, first = block * columns, min((block + 1) * columns, width), start[block]
        w0, w1, w2, w3 = weights[block, 0], weights[block, 1], weights[block, 2], weights[block, 3]
        w4, w5, w6, w7 = weights[block, 4], weights[block, 5], weights[block, 6], weights[block, 7]
        part = line[left:right]
        if first >= 0 and first + TAPS <= height:
            a, b, c = frame[first, left:right], frame[first + 1, left:right], frame[first + 2, left:right]
            d, e, f = frame[first + 3, left:right], frame[first + 4, left:right], frame[first + 5, left:right]
            g, h = frame[first + 6, left:right], frame[first + 7, left:right]
            for i in range(right - left):
                low = w0 * np.float32(a[i]) + w1 * np.float32(b[i]) + w2 * np.float32(c[i]) + w3 * np.float32(d[i])
                high = w4 * np.float32(e[i]) + w5 * np.float32(f[i]) + w6 * np.float32(g[i]) + w7 * np.float32(h[i])
                part[i] = low + high
        else:
            part[:] = _ZERO
            for tap in range(TAPS):
                weight, row = weights[block, tap], first + tap
                for i in range(right - left):
                    value = np.float32(frame[row, left + i]) if 0 <= row < height else fill
                    part[i] += weight * value


@inner
def _across(line, start, weights, channels, fill, moved):
    """One row moved along the row.

    Args:
        line: (W x C,) float32.
        start: (w,) first of the pixels that each pixel of the answer reads.
        weights: (TAPS, w x C).
        fill: Value outside.
        moved: (w x C,) float32, changed in place.
    """
    width, count = len(line) // channels, len(start)
    x = 0
    while x < count:
        shift, stop = start[x] - x, x + 1
        while stop < count and start[stop] - stop == shift:
            stop += 1
        low, high = min(max(x, -shift), stop), max(min(stop, width - TAPS + 1 - shift), x)
        high = max(high, low)
        _inside(line, weights, low * channels, high * channels, shift * channels, channels, moved)
        for edge in (range(x, low), range(high, stop)):
            for pixel in edge:
                for channel in range(channels):
                    i, total = pixel * channels + channel, _ZERO
                    for tap in range(TAPS):
                        there = pixel + shift + tap
                        value = line[there * channels + channel] if 0 <= there < width else fill
                        total += weights[tap, i] * value
                    moved[i] = total
        x = stop


@inner
def _inside(line, weights, low, high, shift, channels, moved):
    """Sums of eight weighted samples, all of them there, for a run of equal shift."""
    count = high - low
    if count <= 0:
        return
    part = moved[low:high]
    # The compiler gives up on wide registers where it must tell more arrays apart than these.
    for half in range(2):
        first, tap = low + shift + 4 * half * channels, 4 * half
        w0, w1 = weights[tap, low:high], weights[tap + 1, low:high]
        w2, w3 = weights[tap + 2, low:high], weights[tap + 3, low:high]
        a, b = line[first : first + count], line[first + channels : first + channels + count]
        first += 2 * channels
        c, d = line[first : first + count], line[first + channels : first + channels + count]
        if half == 0:
            for i in range(count):
                part[i] = w0[i] * a[i] + w1[i] * b[i] + (w2[i] * c[i] + w3[i] * d[i])
        else:
            for i in range(count):
                part[i] += w0[i] * a[i] + w1[i] * b[i] + (w2[i] * c[i] + w3[i] * d[i])


@compiled
def band(frame, down_start, down_weights, columns, start, weights, channels, fill, white, result):
    """Some rows of a moved frame.

    Args:
        frame: (H, W x C) of any type.
        down_start: (rows, blocks) first row that each block of columns reads.
        down_weights: (rows, blocks, TAPS) float32.
        columns: Width of a block times C.
        start: (w,) first pixel that each pixel of the answer reads.
        weights: (TAPS, w x C) float32.
        channels: C.
        fill: Value outside the frame.
        white: Largest value of an integer type; 0 of floats, which are not rounded.
        result: (rows, w x C) of the frame's type, changed in place.
    """
    line, moved = np.empty(frame.shape[1], np.float32), np.empty(result.shape[1], np.float32)
    for row in range(len(result)):
        _down(frame, down_start[row], down_weights[row], columns, fill, line)
        _across(line, start, weights, channels, fill, moved)
        target = result[row]
        if white > 0:
            for i in range(len(moved)):
                target[i] = min(max(np.rint(moved[i]), _ZERO), white)
        else:
            for i in range(len(moved)):
                target[i] = moved[i]
