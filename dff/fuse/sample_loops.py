"""Pixels sorted by the frames that they are taken from, and their colours, compiled; see `colours_at`."""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled

_ZERO, _ONE = np.float32(0), np.float32(1)


@compiled
def sort_by_frame(frame, order, first):
    """Sort pixels by the frame before their own, those of one frame as they come.

    Args:
        frame: (M) float32, from the first frame to the last.
        order: (M) int32, changed in place.
        first: (N + 1) int64 zeros, changed in place: where each frame's pixels begin in it.
    """
    for place in frame:
        first[np.int64(place) + 1] += 1
    for k in range(1, len(first)):
        first[k] += first[k - 1]
    after = first.copy()
    for m in range(len(frame)):
        k = np.int64(frame[m])
        order[after[k]] = m
        after[k] += 1


@compiled
def about_frame(order, first, frame, k, reach, rows, columns):
    """Pixels within so many frames of frame k, and their first row, row after the last, and columns likewise."""
    start = first[max(np.int64(np.floor(k - reach)), 0)]
    stop = first[min(np.int64(np.floor(k + reach)) + 1, len(first) - 1)]
    some, count = np.empty(stop - start, np.int32), 0
    top, bottom, left, right = np.int64(2**40), np.int64(0), np.int64(2**40), np.int64(0)
    for m in order[start:stop]:
        if abs(frame[m] - k) < reach:
            some[count] = m
            count += 1
            top, bottom = min(top, rows[m]), max(bottom, rows[m] + 1)
            left, right = min(left, columns[m]), max(right, columns[m] + 1)
    return some[:count], (top, bottom, left, right)


@compiled
def add_colours(pixels, scale, valid, top, left, rows, columns, some, frame, k, reach, total, sums):
    """Add what frame k shows of some pixels, and its weights.

    Args:
        pixels: (h, w, C) a part of the frame, of any type.
        scale: What makes white one.
        valid: (h, w) bool where it has a picture; without rows: everywhere.
        top: First row of the part.
        left: First column.
        rows: (M) of the pixels.
        columns: Likewise.
        some: (n) int32 which of them.
        frame: (M) float32 the frame they are taken from.
        k: This one.
        reach: Frames on either side that have weight.
        total: (M) float32, changed in place.
        sums: (M, C) float32, likewise.
    """
    for m in some:
        y, x = rows[m] - top, columns[m] - left
        if len(valid) and not valid[y, x]:
            continue
        away = (frame[m] - k) / reach
        weight = _ONE - away * away
        weight *= weight
        total[m] += weight
        for channel in range(pixels.shape[2]):
            sums[m, channel] += np.float32(pixels[y, x, channel]) * scale * weight
