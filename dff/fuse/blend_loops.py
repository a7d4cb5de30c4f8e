"""Blending of bands over the blocks of a picture in which a frame has weight, compiled; see `dff.fuse.blocks`.

Runs, (R, 3) integers, are rows with their first column and the column after their last.
"""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, copy_row, inner

_ZERO, _ONE, _HALF, _EIGHTH, _SIX = np.float32(0), np.float32(1), np.float32(0.5), np.float32(0.125), np.float32(6)
_FOUR, _SCALE = np.float32(4), np.float32(1 / 256)


@compiled
def frame_range(index, gap, reach, side, low, high):
    """Frames between which pixels of cells have weight.

    Args:
        index: (H, W) float32 sub-frame index; NaN where unknown, where every frame has.
        gap: (H, W) float32, see `WindowWeights`.
        reach: Likewise.
        side: Pixels of a cell.
        low: (h, w) float32, changed in place.
        high: Likewise.
    """
    low[:], high[:] = np.float32(np.inf), np.float32(-np.inf)
    for y in range(index.shape[0]):
        least, most = low[y // side], high[y // side]
        for x in range(index.shape[1]):
            place, around = index[y, x], gap[y, x] + reach[y, x]
            if place != place:
                place, around = _ZERO, np.float32(np.inf)
            least[x // side] = min(least[x // side], place - around)
            most[x // side] = max(most[x // side], place + around)


@inner
def _window_weight(frame, place, gap, reach):
    """Weight of a frame at a pixel: see `WindowWeights`."""
    distance = abs(frame - place)
    distance = distance if distance == distance else _ZERO
    away = (distance - gap) / reach
    weight = max(_ONE - away * away, _ZERO)
    return weight * weight


@inner
def _row_weights(frame, index, gap, reach, valid, result):
    """Weights of a frame in a row of pixels; none where it is not valid, which is without pixels where it is all."""
    for x in range(len(result)):
        result[x] = _window_weight(frame, index[x], gap[x], reach[x])
    for x in range(len(valid)):
        result[x] = result[x] if valid[x] else _ZERO


@inner
def _part(plane, y, start, stop):
    """Some pixels of a row; none of a plane without rows."""
    return plane[y, start:stop] if len(plane) else plane.ravel()[:0]


@compiled
def largest_in_cells(frame, runs, index, gap, reach, valid, side, largest):
    """The largest weight of a frame in each cell.

    Args:
        frame: Number of the frame.
        runs: Of cells that may have weight.
        index: (H, W) float32 sub-frame index.
        gap: (H, W) float32, see `WindowWeights`.
        reach: Likewise.
        valid: (H, W) bool where the frame has a picture; without rows: everywhere.
        side: Pixels of a cell.
        largest: (h, w) float32, changed in place.
    """
    buffer, most = np.empty(index.shape[1], np.float32), np.empty(index.shape[1] + side, np.float32)
    largest[:] = _ZERO
    for i, first, last in runs:
        start, stop = first * side, min(last * side, index.shape[1])
        most[start : last * side] = _ZERO
        weights, highest = buffer[start:stop], most[start:stop]
        for y in range(i * side, min(i * side + side, len(index))):
            given = index[y, start:stop], gap[y, start:stop], reach[y, start:stop], _part(valid, y, start, stop)
            _row_weights(frame, *given, weights)
            for x in range(len(weights)):
                highest[x] = max(highest[x], weights[x])
        for j in range(first, last):
            largest[i, j] = most[j * side : (j + 1) * side].max()


@compiled
def weigh(frame, index, gap, reach, clipped, near, around, valid, bare, top, left, side, runs, weight):
    """Weight of a frame in some runs of a window, and a share of what it has near by.

    Args:
        frame: Number of the frame.
        index: (H, W) float32 sub-frame index.
        gap: (H, W) float32, see `WindowWeights`.
        reach: Likewise.
        clipped: (H, W) float32 one where nothing near by counts, else zero.
        near: (h, w) float32 largest weight near each cell.
        around: Share of that.
        valid: (H, W) bool where the frame has a picture; without rows: everywhere.
        bare: (H, W) bool where no frame has; likewise.
        top: First row of the window.
        left: First column.
        side: Pixels of a cell.
        runs: Of the window, from the first pixel of a cell on.
        weight: (h', w') float32 of the window, changed in place there.
    """
    for y, first, last in runs:
        row, target = top + y, weight[y, first:last]
        start, stop = left + first, left + last
        there, spared, cells = _part(valid, row, start, stop), clipped[row, start:stop], near[row // side]
        _row_weights(frame, index[row, start:stop], gap[row, start:stop], reach[row, start:stop], there, target)
        for x in range(0, len(target), side):
            beside = cells[(start + x) // side] * around
            for i in range(x, min(x + side, len(target))):
                target[i] = max(target[i], beside * (_ONE - spared[i]))
        for x in range(len(there)):
            target[x] = target[x] if there[x] else _ZERO
        nowhere = _part(bare, row, start, stop)
        for x in range(len(nowhere)):
            target[x] = _ONE if nowhere[x] else target[x]


@compiled
def occupied(plane, block, found):
    """(b, c) bool, all False and changed in place: blocks of a plane that hold anything but zero."""
    for y in range(plane.shape[0]):
        for j in range(found.shape[1]):
            if not found[y // block, j]:
                for value in plane[y, j * block : (j + 1) * block]:
                    if value != _ZERO:
                        found[y // block, j] = True


@compiled
def runs_of(blocks, side, extra, height, width):
    """Runs of pixels within so many rows and columns of the blocks of a side."""
    found, count, same = np.empty((height * (blocks.shape[1] // 2 + 1), 3), np.int32), 0, 0
    before = (-1, -1)
    for y in range(height):
        span = max(y - extra, 0) // side, min(y + extra, height - 1) // side
        start = count
        if span == before:
            for n in range(same):
                copy_row(found[start - same + n], found[count])
                found[count, 0] = y
                count += 1
        else:
            for j in range(blocks.shape[1]):
                if not blocks[span[0] : span[1] + 1, j].any():
                    continue
                first, stop = max(j * side - extra, 0), min((j + 1) * side + extra, width)
                if count > start and first <= found[count - 1, 2]:
                    found[count - 1, 2] = stop
                else:
                    found[count, 0], found[count, 1], found[count, 2] = y, first, stop
                    count += 1
        before, same = span, count - start
    return found[:count]


@inner
def _mirrored(place, size):
    """A place beyond the borders, which are mirrored."""
    place = abs(place)
    return max(min(place, 2 * (size - 1) - place), 0)


@compiled
def planes_of(pixels, scale, runs, planes):
    """Put pixels (h, w, C) of any type times a scale into planes (C, h, w) of float32, in the runs."""
    for y, start, stop in runs:
        source = pixels[y, start:stop]
        for plane in range(len(planes)):
            target = planes[plane, y, start:stop]
            for x in range(len(target)):
                target[x] = np.float32(source[x, plane]) * scale


@compiled
def halve(fine, runs, coarse):
    """Every second pixel of planes after the binomial filter 1 4 6 4 1, borders mirrored.

    Args:
        fine: (C, h, w) float32.
        runs: Of the halved planes.
        coarse: (C, h', w') float32, changed in place in the runs.
    """
    height, width = fine.shape[1:]
    buffer = np.empty(width + 5, np.float32)
    for y, start, stop in runs:
        first, last = max(2 * start - 2, 0), min(2 * stop + 1, width)
        for plane in range(len(fine)):
            source, row = fine[plane], buffer[first + 2 : last + 2]
            a, b = source[_mirrored(2 * y - 2, height), first:last], source[_mirrored(2 * y - 1, height), first:last]
            c, d = source[2 * y, first:last], source[_mirrored(2 * y + 1, height), first:last]
            e = source[_mirrored(2 * y + 2, height), first:last]
            for x in range(len(row)):
                row[x] = (a[x] + e[x]) + _FOUR * (b[x] + d[x]) + _SIX * c[x]
            for x in (-2, -1, width, width + 1, width + 2):
                buffer[x + 2] = buffer[_mirrored(x, width) + 2]
            row, target = buffer[2 * start :], coarse[plane, y, start:stop]
            for x in range(len(target)):
                outer, inner = row[2 * x] + row[2 * x + 4], row[2 * x + 1] + row[2 * x + 3]
                target[x] = (outer + _FOUR * inner + _SIX * row[2 * x + 2]) * _SCALE


@inner
def _doubled(coarse, y, start, stop, buffer, row):
    """Row y of a plane interpolated to twice the size, from a column on, which is even, to another."""
    height, width = coarse.shape
    i, first, last = y // 2, max(start // 2 - 1, 0), min((stop + 1) // 2 + 1, width)
    here, after = coarse[i, first:last], coarse[min(i + 1, height - 1), first:last]
    before, values = coarse[_mirrored(i - 1, height), first:last], buffer[first + 1 : last + 1]
    if y % 2:
        for x in range(len(values)):
            values[x] = (here[x] + after[x]) * _HALF
    else:
        for x in range(len(values)):
            values[x] = (before[x] + after[x] + _SIX * here[x]) * _EIGHTH
    buffer[0], buffer[width + 1] = buffer[min(2, width)], buffer[width]
    values = buffer[start // 2 :]
    for x in range((stop + 1) // 2 - start // 2):
        row[2 * x] = (values[x] + values[x + 2] + _SIX * values[x + 1]) * _EIGHTH
        row[2 * x + 1] = (values[x + 1] + values[x + 2]) * _HALF


@compiled
def band_of(fine, coarse, runs, band, energy):
    """What planes have beyond the next coarser ones, and the sum of its squares over the planes.

    Args:
        fine: (C, h, w) float32.
        coarse: (C, h', w') float32.
        runs: Where.
        band: (C, h, w) float32, changed in place there.
        energy: (h, w) float32, likewise.
    """
    buffer, row = np.empty(coarse.shape[2] + 2, np.float32), np.empty(fine.shape[2] + 2, np.float32)
    for y, start, stop in runs:
        total, smooth = energy[y, start:stop], row[start % 2 :]
        total[:] = _ZERO
        for plane in range(len(fine)):
            _doubled(coarse[plane], y, start - start % 2, stop, buffer, row)
            source, target = fine[plane, y, start:stop], band[plane, y, start:stop]
            for x in range(len(total)):
                value = source[x] - smooth[x]
                target[x] = value
                total[x] += value * value


@compiled
def smooth_rows(energy, taps, runs):
    """Filter rows in place, borders mirrored; only what is as far from the ends of runs as taps reach is right."""
    reach, width = len(taps) // 2, energy.shape[1]
    buffer = np.empty(width + 2 * reach, np.float32)
    for y, start, stop in runs:
        row = energy[y]
        copy_row(row[start:stop], buffer[reach + start :])
        for x in range(1, reach + 1):
            if start == 0:
                buffer[reach - x] = row[_mirrored(-x, width)]
            if stop == width:
                buffer[reach + width - 1 + x] = row[_mirrored(width - 1 + x, width)]
        first, last = start if start == 0 else start + reach, stop if stop == width else stop - reach
        target = row[first:last]
        target[:] = _ZERO
        for tap in range(len(taps)):
            source, factor = buffer[first + tap :], taps[tap]
            for x in range(len(target)):
                target[x] += factor * source[x]


@compiled
def add_band(band, energy, taps, gain, clipped, corner, weight, step, runs, top, left, blend, total):
    """Add a band times its weights (1 + x)^6 w, and the weights, where it lies; x is the filtered energy times a gain.

    Args:
        band: (C, h, w) float32.
        energy: (h, w) float32, rows filtered.
        taps: Of the filter, for columns.
        gain: One over the energy of noise.
        clipped: (H', W') float32 of the whole finest band: one where detail does not decide, else zero.
        corner: Its row and column that the weight begins at.
        weight: (h', w') w of the finest band.
        step: Pixels of the finest band from one of this to the next.
        runs: Where.
        top: Row of the sums that the first row is added to.
        left: Column, likewise.
        blend: (C, H, W) float32 sum of bands, changed in place.
        total: (H, W) float32 sum of weights, likewise.
    """
    height, reach, buffer = energy.shape[0], len(taps) // 2, np.empty(energy.shape[1], np.float32)
    for y, start, stop in runs:
        shares = buffer[start:stop]
        shares[:] = _ZERO
        for tap in range(len(taps)):
            source, factor = energy[_mirrored(y + tap - reach, height), start:stop], taps[tap]
            for x in range(len(shares)):
                shares[x] += source[x] * factor
        here, spared = weight[y * step, start * step :], clipped[corner[0] + y * step, corner[1] + start * step :]
        if step == 1:
            for x in range(len(shares)):
                shares[x] = _sixth_power(_ONE + shares[x] * (gain * (_ONE - spared[x]))) * here[x]
        else:
            for x in range(len(shares)):
                shares[x] = _sixth_power(_ONE + shares[x] * (gain * (_ONE - spared[x * step]))) * here[x * step]
        _add_row(band, shares, y, start, stop, top, left, blend, total)


@inner
def _sixth_power(value):
    cube = value * value * value
    return cube * cube


@inner
def _add_row(planes, shares, y, start, stop, top, left, blend, total):
    """Add some pixels of a row of planes times weights, and the weights."""
    sums = total[top + y, left + start : left + stop]
    for x in range(len(shares)):
        sums[x] += shares[x]
    for plane in range(len(planes)):
        source, target = planes[plane, y, start:stop], blend[plane, top + y, left + start : left + stop]
        for x in range(len(shares)):
            target[x] += source[x] * shares[x]


@compiled
def add_rest(planes, weight, step, runs, top, left, blend, total):
    """Add the low-pass rest (C, h, w) times the weight of every `step`-th pixel; see `add_band`."""
    buffer = np.empty(planes.shape[2], np.float32)
    for y, start, stop in runs:
        shares, here = buffer[start:stop], weight[y * step, start * step :]
        for x in range(len(shares)):
            shares[x] = here[x * step]
        _add_row(planes, shares, y, start, stop, top, left, blend, total)
