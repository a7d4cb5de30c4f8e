"""Weights and sums of blending, pixel by pixel, compiled."""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled

_ZERO, _ONE = np.float32(0), np.float32(1)


@compiled
def window_weight(k, index, gap, reach, valid, rows, columns, result):
    """Weight of frame k in a window: see `WindowWeights`.

    Args:
        index: (H, W) float32 sub-frame index; NaN where unknown.
        gap: (H, W) float32.
        reach: Likewise.
        valid: (H, W) bool where the frame has a picture; without rows: everywhere.
        rows: First row, and row after the last.
        columns: Likewise.
        result: (h, w) float32, changed in place.
    """
    frame = np.float32(k)
    for y in range(rows[0], rows[1]):
        places, target = index[y, columns[0] : columns[1]], result[y - rows[0]]
        gaps, reaches = gap[y, columns[0] : columns[1]], reach[y, columns[0] : columns[1]]
        for x in range(len(target)):
            distance = abs(frame - places[x])
            distance = distance if distance == distance else _ZERO
            away = (distance - gaps[x]) / reaches[x]
            weight = max(_ONE - away * away, _ZERO)
            target[x] = weight * weight
        if len(valid):
            there = valid[y, columns[0] : columns[1]]
            for x in range(len(target)):
                target[x] = target[x] if there[x] else _ZERO


@compiled
def energy(band, result):
    """Sum of the squared channels of a band, (C, h, w) → (h, w)."""
    for y in range(band.shape[1]):
        target, first = result[y], band[0, y]
        for x in range(len(target)):
            target[x] = first[x] * first[x]
        for channel in range(1, len(band)):
            other = band[channel, y]
            for x in range(len(target)):
                target[x] += other[x] * other[x]


@compiled
def add_weighted(band, weight, top, left, blend, total):
    """Add a band times its weights, and the weights, where the band lies.

    Args:
        band: (C, h, w).
        weight: (h, w).
        top: First row in the sums.
        left: First column.
        blend: (C, H, W) sum of bands, changed in place.
        total: (H, W) sum of weights, likewise.
    """
    width = band.shape[2]
    for y in range(band.shape[1]):
        share, sums = weight[y], total[top + y, left : left + width]
        for x in range(width):
            sums[x] += share[x]
        for channel in range(len(band)):
            source, target = band[channel, y], blend[channel, top + y, left : left + width]
            for x in range(width):
                target[x] += source[x] * share[x]


@compiled
def band_weight(energy, gain, top, left, weight, step, result):
    """(1 + energy x gain)^6 times the weight of every `step`-th pixel.

    Args:
        energy: (h, w).
        gain: (H, W).
        top: First row in the gains.
        left: First column.
        weight: (h', w') of the finest band.
        step: Pixels of that from one of this band's to the next.
        result: (h, w), changed in place.
    """
    width = energy.shape[1]
    for y in range(energy.shape[0]):
        source, factor = energy[y], gain[top + y, left : left + width]
        share, target = weight[y * step], result[y]
        for x in range(width):
            value = _ONE + source[x] * factor[x]
            cube = value * value * value
            target[x] = cube * cube
        if step == 1:
            for x in range(width):
                target[x] *= share[x]
        else:
            for x in range(width):
                target[x] *= share[x * step]
