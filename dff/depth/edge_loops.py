"""The vote beside occlusion edges, pixel by pixel, compiled. `dff.depth.edges` says the same in tensors.

Maps are flat and padded, so that a neighbour lies at a fixed distance whatever the row.
"""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, compiled_sums, exp_of

CANDIDATES = 3
ALIKE = 65535
"""Likeness of equal colours."""
_ALIKE, _HALF = np.float32(ALIKE), np.float32(0.5)
_ZERO, _ONE, _LEAST = np.float32(0), np.float32(1), np.float32(1e-12)
_NOTHING = np.float32(1e-20)


@compiled
def likeness(colours, place, offsets, sharpness, result):
    """How much each pixel looks like its neighbours.

    Args:
        colours: (C, P) padded colours.
        place: (M,) of the pixels.
        offsets: (K,) from a pixel to its neighbours.
        sharpness: (M,) what squared distances of colours are multiplied by.
        result: (M, K) uint16 of ALIKE for the same colours, changed in place: half of the memory, and as exact.
    """
    row = np.empty(len(offsets), np.float32)
    for pixel in range(len(place)):
        here, target, factor = place[pixel], result[pixel], -sharpness[pixel]
        row[:] = _ZERO
        for channel in range(len(colours)):
            plane = colours[channel]
            own = plane[here]
            for k in range(len(offsets)):
                unlike = plane[here + offsets[k]] - own
                row[k] += unlike * unlike
        for k in range(len(offsets)):
            target[k] = np.uint16(exp_of(row[k] * factor) * _ALIKE + _HALF)


@compiled_sums
def votes(labels, trusts, place, offsets, weights, alike, agree, candidates, chosen, share):
    """Labels that most like-coloured neighbours agree on; the first of equals.

    Args:
        labels: (P,) padded labels.
        trusts: (P,) how much each counts.
        place: (M,) of the pixels.
        offsets: (K,) from a pixel to its neighbours.
        weights: (K,) of the neighbours, over ALIKE; 0 for the pixel itself.
        alike: (M, K) how much pixels look like their neighbours.
        agree: Frames within which labels agree, the less the farther apart.
        candidates: (CANDIDATES, M) labels to choose from.
        chosen: (M,) float32, changed in place.
        share: (M,) float32 share of the votes for it, changed in place.
    """
    for pixel in range(len(place)):
        here, row, total = place[pixel], alike[pixel], _ZERO
        a, b, c = candidates[0, pixel], candidates[1, pixel], candidates[2, pixel]
        for_a, for_b, for_c = _ZERO, _ZERO, _ZERO
        for k in range(len(offsets)):
            there = here + offsets[k]
            weight, label = np.float32(row[k]) * weights[k] * trusts[there], labels[there]
            total += weight
            for_a += weight * max(_ZERO, _ONE - abs(a - label) * agree)
            for_b += weight * max(_ZERO, _ONE - abs(b - label) * agree)
            for_c += weight * max(_ZERO, _ONE - abs(c - label) * agree)
        best, most = a, for_a
        if for_b > most:
            best, most = b, for_b
        if for_c > most:
            best, most = c, for_c
        chosen[pixel], share[pixel] = best, most / max(total, _LEAST)


@compiled_sums
def fills(labels, indices, weights, place, offsets, away, kernel, alike, farthest, ridge, value, mean_weight):
    """Planes through the indices around each pixel that lie on the surface of its label.

    Args:
        labels: (M,) of the pixels.
        indices: (P,) padded indices of single pixels.
        weights: (P,) padded inverse variances.
        place: (M,) of the pixels.
        offsets: (K,) from a pixel to its neighbours.
        away: (K, 2) the same along x and y.
        kernel: (K,) weights of the neighbours, over ALIKE.
        alike: (M, K) how much pixels look like their neighbours.
        farthest: Frames from the label beyond which an index is of another surface.
        ridge: Added to the spread of the pixels along x and y.
        value: (M,) float32, changed in place; NaN where there is nothing.
        mean_weight: (M,) float32 sum of the weights, changed in place.
    """
    for pixel in range(len(place)):
        here, row, label = place[pixel], alike[pixel], labels[pixel]
        w = x = y = xx = xy = yy = z = xz = yz = _ZERO
        for k in range(len(offsets)):
            there = here + offsets[k]
            off = indices[there] - label
            part = np.float32(row[k]) * kernel[k] * weights[there]
            if abs(off) > farthest:
                part = _ZERO
            across, down = away[k, 0], away[k, 1]
            level = part * off
            w += part
            x += part * across
            y += part * down
            xx += part * across * across
            xy += part * across * down
            yy += part * down * down
            z += level
            xz += level * across
            yz += level * down
        total = max(w, _NOTHING)
        x, y, xx, xy, yy = x / total, y / total, xx / total, xy / total, yy / total
        z, xz, yz = z / total, xz / total, yz / total
        xx, yy, xy = xx - x * x + ridge, yy - y * y + ridge, xy - x * y
        xz, yz = xz - x * z, yz - y * z
        slope = ((xz * yy - yz * xy) * x + (yz * xx - xz * xy) * y) / (xx * yy - xy * xy)
        value[pixel] = label + z - slope if w > _ZERO else np.float32(np.nan)
        mean_weight[pixel] = w


@compiled
def boxes(wanted, found):
    """The rows and columns that each frame is wanted in.

    Args:
        wanted: (h, w) number of the frame of each pixel; -1 where none is wanted.
        found: (N, 4) first row, row after the last, first column, column after the last, changed in place; a frame
            that is not wanted has no rows.
    """
    height, width = wanted.shape
    for k in range(len(found)):
        found[k, 0], found[k, 1], found[k, 2], found[k, 3] = height, 0, width, 0
    for y in range(height):
        for x in range(width):
            k = wanted[y, x]
            if k >= 0:
                box = found[k]
                box[0], box[1] = min(box[0], y), max(box[1], y + 1)
                box[2], box[3] = min(box[2], x), max(box[3], x + 1)


@compiled
def put(window, frame, wanted, picture):
    """Copy a window of a frame where that frame is wanted.

    Args:
        window: (C, h, w) colours.
        frame: Its number.
        wanted: (h, w) number of the frame of each pixel.
        picture: (C, h, w) changed in place.
    """
    for channel in range(len(window)):
        source, target = window[channel], picture[channel]
        for y in range(wanted.shape[0]):
            for x in range(wanted.shape[1]):
                if wanted[y, x] == frame:
                    target[y, x] = source[y, x]
