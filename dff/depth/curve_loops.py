"""What focus curves say of every pixel, row by row, compiled."""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, inner

_AROUND = 3


@compiled
def best_of_sites(volume, sites, cell, top, left, label):
    """Of the labels of the sites around each pixel, the one that its own logits support best; the first of equals.

    Args:
        volume: (N, H, W) float32 logits of a part of the picture.
        sites: (h, w) int64 labels of the whole picture's lattice.
        cell: Pixels along the side of a site.
        top: First row of the part in the whole picture, a multiple of `cell`.
        left: First column, likewise.
        label: (H, W) int64, changed in place.
    """
    height, width = label.shape
    candidates = np.empty(_AROUND * _AROUND, np.int64)
    for y0 in range(0, height, cell):
        for x0 in range(0, width, cell):
            count = _candidates(sites, (top + y0) // cell, (left + x0) // cell, candidates)
            for y in range(y0, min(y0 + cell, height)):
                for x in range(x0, min(x0 + cell, width)):
                    chosen = candidates[0]
                    best = volume[chosen, y, x]
                    for j in range(1, count):
                        logit = volume[candidates[j], y, x]
                        if logit > best:
                            best, chosen = logit, candidates[j]
                    label[y, x] = chosen


@inner
def _candidates(sites, row, column, found):
    """How many different labels there are at a site and around it, and those in the order they are met."""
    count = 0
    for down in (0, -1, 1):
        y = min(max(row + down, 0), sites.shape[0] - 1)
        for across in (0, -1, 1):
            frame = sites[y, min(max(column + across, 0), sites.shape[1] - 1)]
            known = False
            for j in range(count):
                known = known or found[j] == frame
            if not known:
                found[count] = frame
                count += 1
    return count


@compiled
def surest_claims(claims, label, cell, top, left, same, result):
    """How sure the surest claim of the sites around each pixel is that agrees with its label.

    Args:
        claims: (2 M, h, w) of the whole lattice: frames, each before its log-odds.
        label: (H, W) int64 labels of a part of the picture.
        cell: Pixels along the side of a site.
        top: First row of the part in the whole picture, a multiple of `cell`.
        left: First column, likewise.
        same: Frames within which claims and labels agree.
        result: (H, W) float32, changed in place where a claim agrees and is surer.
    """
    height, width = label.shape
    frames = np.empty(_AROUND * _AROUND * len(claims) // 2, np.float32)
    sures = np.empty_like(frames)
    for y0 in range(0, height, cell):
        for x0 in range(0, width, cell):
            count = _claimed(claims, (top + y0) // cell, (left + x0) // cell, frames, sures)
            for y in range(y0, min(y0 + cell, height)):
                for x in range(x0, min(x0 + cell, width)):
                    surest, own = result[y, x], label[y, x]
                    for j in range(count):
                        if sures[j] > surest and abs(frames[j] - own) <= same:
                            surest = sures[j]
                    result[y, x] = surest


@inner
def _claimed(claims, row, column, frames, sures):
    """How many different frames are claimed at a site and around it, those, and how sure the surest claims are."""
    count = 0
    for down in (-1, 0, 1):
        y = min(max(row + down, 0), claims.shape[1] - 1)
        for across in (-1, 0, 1):
            x = min(max(column + across, 0), claims.shape[2] - 1)
            for j in range(0, len(claims), 2):
                frame, sure, place = claims[j, y, x], claims[j + 1, y, x], 0
                while place < count and frames[place] != frame:
                    place += 1
                if place == count:
                    frames[place], sures[place] = frame, sure
                    count += 1
                else:
                    sures[place] = max(sures[place], sure)
    return count


@compiled
def forget(index, label, first, stop, radius):
    """Make indices unknown where a frame near the label does not cover the pixel.

    Args:
        index: (H, W) float32, changed in place.
        label: (H, W) float32.
        first: (N, H) first column that each frame covers in each row.
        stop: (N, H) column after the last, likewise.
        radius: float32 frames that are near.
    """
    width = index.shape[1]
    for k in range(len(first)):
        frame = np.float32(k)
        for y in range(index.shape[0]):
            low = min(first[k, y], stop[k, y])
            for x in range(low):
                if abs(label[y, x] - frame) <= radius:
                    index[y, x] = np.nan
            for x in range(max(stop[k, y], low), width):
                if abs(label[y, x] - frame) <= radius:
                    index[y, x] = np.nan
