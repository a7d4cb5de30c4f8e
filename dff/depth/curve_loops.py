"""What whole focus curves say, row by row, compiled."""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled


@compiled
def second_peak(logits, step, count, label, away, other, mean):
    """Largest logit away from the label, and the mean logit of all frames.

    Args:
        logits: float32 of some rows of all frames: row y of frame k starts at k times `step` plus y times W.
        step: Numbers from one frame to the next.
        count: N.
        label: (rows, W) int64.
        away: Frames from the label that are still near it.
        other: (rows, W) float32, changed in place.
        mean: Likewise.
    """
    width = label.shape[1]
    share, near = np.float32(1 / count), np.empty(width, np.int32)
    for y in range(label.shape[0]):
        largest, total = other[y], mean[y]
        largest[:], total[:], near[:] = -np.inf, np.float32(0), label[y]
        for k in range(count):
            start = k * step + y * width
            row = logits[start : start + width]
            for x in range(width):
                total[x] += row[x] * share
                far = abs(near[x] - k) > away and row[x] > largest[x]
                largest[x] = row[x] if far else largest[x]
