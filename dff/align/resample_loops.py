"""Both passes of resampling, row by row, compiled: what lies between them stays in the processor's cache."""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, inner, written_out

TAPS = 8
WIDE = 384
"""Samples of a tile of a row: whole pixels, whose weights lie in the nearest memory."""
_ZERO = np.float32(0)


@inner
def _down(frame, start, phase, lanczos, columns, fill, line):
    """One row moved along the columns, (W, C): blocks of columns move alike.

    Args:
        frame: (H, W x C).
        start: (blocks,) first of the rows that each block reads.
        phase: (blocks,) of the samples.
        lanczos: (phases, TAPS) float32, weights of the samples.
        columns: Width of a block times C.
        line: (W x C,) float32, changed in place.
    """
    height, width = frame.shape
    for block in range(len(start)):
        left, right, first = block * columns, min((block + 1) * columns, width), start[block]
        weights = lanczos[phase[block]]
        w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
        w4, w5, w6, w7 = weights[4], weights[5], weights[6], weights[7]
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
                weight, row = weights[tap], first + tap
                for i in range(right - left):
                    value = np.float32(frame[row, left + i]) if 0 <= row < height else fill
                    part[i] += weight * value


@inner
def _tiled(phase, lanczos, channels):
    """(tiles, TAPS x WIDE) weights of the samples that each pixel of a row reads, tile by tile.

    Args:
        phase: (w,) of the samples of each pixel.
        lanczos: (phases, TAPS) float32, weights of the samples.
        channels: C.
    """
    weights = np.empty((-(-len(phase) * channels // WIDE), TAPS * WIDE), np.float32)
    for x in range(len(phase)):
        own, tile, first = lanczos[phase[x]], weights[x * channels // WIDE], x * channels % WIDE
        for tap in range(TAPS):
            for channel in range(channels):
                tile[tap * WIDE + first + channel] = own[tap]
    return weights


@inner
def _runs(start, width, channels):
    """(runs, 4) how runs of pixels that lie in one tile, and read samples equally far away, are added up.

    Args:
        start: (w,) first of the pixels that each pixel of the answer reads.
        width: Pixels of a row.
        channels: C.

    Returns:
        First pixel of each run, first and last pixel but one that read no samples beyond the edges, and pixel after
        the last.
    """
    count, wide = len(start), WIDE // channels
    runs, found, x = np.empty((count, 4), np.int64), 0, 0
    while x < count:
        shift, stop = start[x] - x, x + 1
        while stop < count and stop % wide and start[stop] - stop == shift:
            stop += 1
        low = min(max(x, -shift), stop)
        runs[found, 0], runs[found, 3] = x, stop
        runs[found, 1], runs[found, 2] = low, max(min(stop, width - TAPS + 1 - shift), low)
        found, x = found + 1, stop
    return runs[:found]


@written_out
def _sums(line, weights, count, channels, white, target):
    """Sums of eight weighted samples, all of them there, for a run of equal shift.

    Where the number of channels is known in advance, the compiler has few arrays to tell apart, and wide registers.
    """
    if white > 0:
        for i in range(count):
            low = weights[i] * line[i] + weights[WIDE + i] * line[i + channels]
            low += weights[2 * WIDE + i] * line[i + 2 * channels] + weights[3 * WIDE + i] * line[i + 3 * channels]
            high = weights[4 * WIDE + i] * line[i + 4 * channels] + weights[5 * WIDE + i] * line[i + 5 * channels]
            high += weights[6 * WIDE + i] * line[i + 6 * channels] + weights[7 * WIDE + i] * line[i + 7 * channels]
            target[i] = min(max(np.rint(low + high), _ZERO), white)
    else:
        for i in range(count):
            low = weights[i] * line[i] + weights[WIDE + i] * line[i + channels]
            low += weights[2 * WIDE + i] * line[i + 2 * channels] + weights[3 * WIDE + i] * line[i + 3 * channels]
            high = weights[4 * WIDE + i] * line[i + 4 * channels] + weights[5 * WIDE + i] * line[i + 5 * channels]
            high += weights[6 * WIDE + i] * line[i + 6 * channels] + weights[7 * WIDE + i] * line[i + 7 * channels]
            target[i] = low + high


@inner
def _grey(line, weights, count, white, target):
    """Sums of one channel."""
    _sums(line, weights, count, 1, white, target)


@inner
def _rgb(line, weights, count, white, target):
    """Sums of three channels."""
    _sums(line, weights, count, 3, white, target)


@inner
def _across(line, runs, start, weights, channels, fill, white, target):
    """One row moved along the row.

    Args:
        line: (W x C,) float32.
        runs: Of `_runs`.
        start: (w,) first of the pixels that each pixel of the answer reads.
        weights: (tiles, TAPS x WIDE).
        channels: C, 1 or 3.
        fill: Value outside.
        white: Largest value of an integer type; 0 of floats, which are not rounded.
        target: (w x C,) changed in place.
    """
    width = len(line) // channels
    for run in range(len(runs)):
        first, low, high, stop = runs[run]
        tile, away = weights[first * channels // WIDE], (start[first] - first) * channels
        if low < high:
            part, begin = target[low * channels : high * channels], low * channels
            if channels == 3:
                _rgb(line[begin + away :], tile[begin % WIDE :], len(part), white, part)
            else:
                _grey(line[begin + away :], tile[begin % WIDE :], len(part), white, part)
        for edge in (range(first, low), range(high, stop)):
            for i in range(edge.start * channels, edge.stop * channels):
                total = _ZERO
                for tap in range(TAPS):
                    there = i + away + tap * channels
                    total += tile[tap * WIDE + i % WIDE] * (line[there] if 0 <= there < width * channels else fill)
                target[i] = min(max(np.rint(total), _ZERO), white) if white > 0 else total


@compiled
def band(frame, down_start, down_phase, columns, start, phase, lanczos, channels, fill, white, result):
    """Some rows of a moved frame.

    Args:
        frame: (H, W x C) of any type.
        down_start: (rows, blocks) first row that each block of columns reads.
        down_phase: (rows, blocks) phase of those.
        columns: Width of a block times C.
        start: (w,) first pixel that each pixel of the answer reads.
        phase: (w,) phase of those.
        lanczos: (phases, TAPS) float32, weights of the samples.
        channels: C, 1 or 3.
        fill: Value outside the frame.
        white: Largest value of an integer type; 0 of floats, which are not rounded.
        result: (rows, w x C) of the frame's type, changed in place.
    """
    line = np.empty(frame.shape[1], np.float32)
    runs, weights = _runs(start, frame.shape[1] // channels, channels), _tiled(phase, lanczos, channels)
    for row in range(len(result)):
        _down(frame, down_start[row], down_phase[row], lanczos, columns, fill, line)
        _across(line, runs, start, weights, channels, fill, white, result[row])
