"""What focus measures look at, frame by frame, compiled: luminance, and frames that are filtered along the stack."""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, inner

BLOCK_PX = 4096
"""Pixels of all frames that stay in the processor's cache while they are mixed."""
_ZERO, _ONE = np.float32(0), np.float32(1)
_NOTHING = np.float32(1e-6)


@compiled
def luminance(pixels, weights, result):
    """Weighted sum of three channels.

    Args:
        pixels: (H, 3 W) of any type: the channels of a pixel lie side by side.
        weights: (3,) float32.
        result: (H, W) float32, changed in place.
    """
    red, green, blue = weights[0], weights[1], weights[2]
    for y in range(pixels.shape[0]):
        source, row = pixels[y], result[y]
        for x in range(len(row)):
            first, second, third = source[3 * x], source[3 * x + 1], source[3 * x + 2]
            row[x] = red * np.float32(first) + green * np.float32(second) + blue * np.float32(third)


@compiled
def mixed(frames, weights, first, counts, result):
    """Every frame as the mean of the stack plus weighted differences of its neighbours from that mean.

    Args:
        frames: (N, P) float32.
        weights: (N, most) of the frames in each filtered frame, the first `counts` of each row.
        first: (N,) the first of those frames.
        counts: (N,) their number.
        result: (N, P) float32, changed in place.
    """
    mean = np.empty(BLOCK_PX, np.float32)
    for start in range(0, frames.shape[1], BLOCK_PX):
        part = slice(start, min(start + BLOCK_PX, frames.shape[1]))
        _average(frames, part, mean)
        for k in range(len(frames)):
            rest, line = _ONE, result[k, part]
            for j in range(counts[k]):
                rest -= weights[k, j]
            _sum_of(frames, first[k], weights[k, : counts[k]], part, line)
            if abs(rest) > _NOTHING:
                for x in range(len(line)):
                    line[x] += rest * mean[x]


@inner
def _average(frames, part, mean):
    """Mean of all frames."""
    size, share = part.stop - part.start, _ONE / np.float32(len(frames))
    mean[:size] = _ZERO
    for k in range(len(frames)):
        row = frames[k, part]
        for x in range(size):
            mean[x] += share * row[x]


@inner
def _sum_of(frames, first, weights, part, line):
    """Weighted sum of some neighbouring frames."""
    line[:] = _ZERO
    last = len(weights) - len(weights) % 4
    for j in range(0, last, 4):
        k, p, q, r, s = first + j, weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
        a, b, c, d = frames[k, part], frames[k + 1, part], frames[k + 2, part], frames[k + 3, part]
        for x in range(len(line)):
            line[x] += p * a[x] + q * b[x] + r * c[x] + s * d[x]
    for j in range(last, len(weights)):
        row, weight = frames[first + j, part], weights[j]
        for x in range(len(line)):
            line[x] += weight * row[x]
