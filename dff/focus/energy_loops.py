"""Energies of a stack, block by block, compiled: filtered along the stack, by a symmetric kernel, squared, averaged.

A block of rows and columns of some frames stays in the processor's cache while all this is done to it, so that the
frames are read once and nothing but the answer is written. `dff.focus.operators` says the same in tensors.
"""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, inner, log_of

REACH = 3
"""Pixels on either side that the kernel, and the window, reach at most."""
MARGIN = 2 * REACH
ROWS, COLUMNS = 48, 512
"""Pixels of a block: that of the seven frames that the filter along the stack mixes fits into the second cache."""
CELL = 4
_NOTHING = np.float32(1e-6)
_ZERO, _SHARE = np.float32(0), np.float32(1 / CELL**2)
_LEAST_LOGIT, _LEAST = np.float32(-40), np.float32(np.exp(-40))
"""Logit of a frame that does not cover a pixel, and e to it."""


@inner
def mirrored(place, size):
    """The place in a row of that size that a place, maybe outside of it, shows."""
    if size == 1:
        return 0
    place = abs(place)
    period = 2 * size - 2
    place = place % period
    return min(place, period - place)


@inner
def _coherent(images, mean, weights, first, top, left, rows, columns, block):
    """A block of a filtered frame with MARGIN pixels around, mirrored at the picture's edges."""
    height, width = images.shape[1], images.shape[2]
    count = len(weights)
    rest = np.float32(1)
    for weight in weights:
        rest -= weight
    start, stop = max(0, left - MARGIN), min(width, left + columns + MARGIN)
    inner = start - (left - MARGIN)
    for row in range(rows + 2 * MARGIN):
        y = mirrored(top + row - MARGIN, height)
        line = block[row, inner : inner + stop - start]
        if count == 7:
            a, b = images[first, y, start:stop], images[first + 1, y, start:stop]
            c, d = images[first + 2, y, start:stop], images[first + 3, y, start:stop]
            e, f = images[first + 4, y, start:stop], images[first + 5, y, start:stop]
            g = images[first + 6, y, start:stop]
            o, p, q, r = weights[0], weights[1], weights[2], weights[3]
            s, t, u = weights[4], weights[5], weights[6]
            for x in range(stop - start):
                line[x] = o * a[x] + p * b[x] + q * c[x] + r * d[x] + s * e[x] + t * f[x] + u * g[x]
        else:
            source = images[first, y, start:stop]
            weight = weights[0]
            for x in range(stop - start):
                line[x] = weight * source[x]
            for j in range(1, count):
                source, weight = images[first + j, y, start:stop], weights[j]
                for x in range(stop - start):
                    line[x] += weight * source[x]
        if abs(rest) > _NOTHING:
            source = mean[y, start:stop]
            for x in range(stop - start):
                line[x] += rest * source[x]
        for x in range(inner):
            block[row, x] = block[row, mirrored(left - MARGIN + x, width) - (left - MARGIN)]
        for x in range(inner + stop - start, columns + 2 * MARGIN):
            block[row, x] = block[row, mirrored(left - MARGIN + x, width) - (left - MARGIN)]


@inner
def energies(block, quarter, rows, columns, sums, energy):
    """Squared answers of the kernel to a block, with REACH pixels around.

    The kernel is the same in all four quarters: pixels of the rows at equal distance are added first.
    """
    if not quarter[REACH].any() and not quarter[:, REACH].any():
        _short_energies(block, quarter, rows, columns, sums, energy)
        return
    wide = columns + 2 * MARGIN
    q00, q01, q02, q03 = quarter[0, 0], quarter[0, 1], quarter[0, 2], quarter[0, 3]
    q10, q11, q12, q13 = quarter[1, 0], quarter[1, 1], quarter[1, 2], quarter[1, 3]
    q20, q21, q22, q23 = quarter[2, 0], quarter[2, 1], quarter[2, 2], quarter[2, 3]
    q30, q31, q32, q33 = quarter[3, 0], quarter[3, 1], quarter[3, 2], quarter[3, 3]
    zero, one, two, three = sums[0], sums[1], sums[2], sums[3]
    for row in range(rows + 2 * REACH):
        a, b, c, d = block[row], block[row + 1], block[row + 2], block[row + 3]
        e, f, g = block[row + 4], block[row + 5], block[row + 6]
        # Sums over each column, for the columns of the kernel at every distance.
        for x in range(wide):
            near, next, far = c[x] + e[x], b[x] + f[x], a[x] + g[x]
            zero[x] = q00 * d[x] + q10 * near + q20 * next + q30 * far
            one[x] = q01 * d[x] + q11 * near + q21 * next + q31 * far
            two[x] = q02 * d[x] + q12 * near + q22 * next + q32 * far
            three[x] = q03 * d[x] + q13 * near + q23 * next + q33 * far
        line = energy[row]
        for x in range(columns + 2 * REACH):
            o = x + REACH
            answer = zero[o] + (one[o - 1] + one[o + 1]) + (two[o - 2] + two[o + 2]) + (three[o - 3] + three[o + 3])
            line[x] = answer * answer


@inner
def _short_energies(block, quarter, rows, columns, sums, energy):
    """The same for a kernel that reaches a pixel less."""
    wide = columns + 2 * MARGIN
    q00, q01, q02 = quarter[0, 0], quarter[0, 1], quarter[0, 2]
    q10, q11, q12 = quarter[1, 0], quarter[1, 1], quarter[1, 2]
    q20, q21, q22 = quarter[2, 0], quarter[2, 1], quarter[2, 2]
    zero, one, two = sums[0], sums[1], sums[2]
    for row in range(rows + 2 * REACH):
        centre = row + REACH
        a, b, c, d, e = block[centre - 2], block[centre - 1], block[centre], block[centre + 1], block[centre + 2]
        # Sums over each column, for the columns of the kernel at every distance.
        for x in range(wide):
            near, far = b[x] + d[x], a[x] + e[x]
            zero[x] = q00 * c[x] + q10 * near + q20 * far
            one[x] = q01 * c[x] + q11 * near + q21 * far
            two[x] = q02 * c[x] + q12 * near + q22 * far
        line = energy[row]
        for x in range(columns + 2 * REACH):
            o = x + REACH
            answer = zero[o] + (one[o - 1] + one[o + 1]) + (two[o - 2] + two[o + 2])
            line[x] = answer * answer


@inner
def _windowed(energy, taps, floor, row, columns, sums, line):
    """Energies of one row of a block averaged over the window of (REACH + 1) taps, and the floor."""
    here, total = energy[row + REACH], sums[0]
    a, b, c = energy[row + 2], energy[row + 1], energy[row]
    d, e, f = energy[row + 4], energy[row + 5], energy[row + 6]
    t0, t1, t2, t3 = taps[0], taps[1], taps[2], taps[3]
    for x in range(columns + 2 * REACH):
        total[x] = t0 * here[x] + t1 * (a[x] + d[x]) + t2 * (b[x] + e[x]) + t3 * (c[x] + f[x])
    for x in range(columns):
        o = x + REACH
        line[x] = floor + (
            t0 * total[o]
            + t1 * (total[o - 1] + total[o + 1])
            + t2 * (total[o - 2] + total[o + 2])
            + t3 * (total[o - 3] + total[o + 3])
        )


@inner
def _scratch():
    """A block, its energies, and sums of its rows."""
    block = np.empty((ROWS + 2 * MARGIN, COLUMNS + 2 * MARGIN), np.float32)
    energy = np.empty((ROWS + 2 * REACH, COLUMNS + 2 * REACH), np.float32)
    return block, energy, np.empty((REACH + 1, COLUMNS + 2 * MARGIN), np.float32)


@compiled
def logits(images, mean, weights, first, counts, quarter, taps, floor, begun, ended, span, origin, result):
    """Logarithm of the windowed energy of some rows of every frame.

    Args:
        images: (N, H, W) float32.
        mean: (H, W) mean of the frames.
        weights: (N, most) of the frames in each filtered frame, the first `counts` of each row.
        first: (N,) the first of those frames.
        counts: (N,) their number.
        quarter: (REACH + 1, REACH + 1) kernel from its centre.
        taps: (REACH + 1,) of the window from its centre.
        floor: Energy added before the logarithm.
        begun: (N, H) first column of each row of a frame that has energy; without rows: all have.
        ended: (N, H) column after the last.
        span: First row and row after the last.
        origin: Row of the images that is the first of the result.
        result: (N, H', W) float32, changed in place.
    """
    width = images.shape[2]
    block, energy, sums = _scratch()
    for top in range(span[0], span[1], ROWS):
        rows = min(ROWS, span[1] - top)
        for left in range(0, width, COLUMNS):
            columns = min(COLUMNS, width - left)
            for k in range(len(images)):
                _coherent(images, mean, weights[k, : counts[k]], first[k], top, left, rows, columns, block)
                energies(block, quarter, rows, columns, sums, energy)
                for row in range(rows):
                    line = result[k, top + row - origin, left : left + columns]
                    _windowed(energy, taps, floor, row, columns, sums, line)
                    for x in range(columns):
                        line[x] = log_of(line[x])
                    if len(begun):
                        _fill_beyond(line, begun[k, top + row] - left, ended[k, top + row] - left, _LEAST_LOGIT)


@inner
def _fill_beyond(line, first, stop, value):
    """Put a value before the first pixel of a row that counts, and from the one after the last on."""
    last = len(line)
    line[: min(max(first, 0), last)] = value
    line[min(max(stop, 0), last) :] = value


@inner
def _cell_row(energy, taps, floor, corner, last, columns, begun, ended, left, sums, line, total):
    """Sums over CELL rows of windowed energies, where frames have any; rows after the last are as the last."""
    total[:columns] = _ZERO
    for step in range(CELL):
        row = min(corner + step, last)
        _windowed(energy, taps, floor, row, columns, sums, line)
        if len(begun):
            _fill_beyond(line[:columns], begun[row] - left, ended[row] - left, _ZERO)
        for x in range(columns):
            total[x] += line[x]


@inner
def _rows_of(columns, k, top):
    """Columns of a frame from a row on; none where all frames have energy everywhere."""
    return columns[k, top:] if len(columns) else columns.ravel()[:0]


@compiled
def cells(images, mean, weights, first, counts, quarter, taps, floor, begun, ended, span, origin, result):
    """Logarithm of the mean windowed energy of the cells of some rows of every frame; see `logits`.

    Args:
        span: First row, a multiple of CELL after the origin, and row after the last.
        result: (N, ceil(H / CELL), ceil(W / CELL)) float32, changed in place.
    """
    width = images.shape[2]
    block, energy, sums = _scratch()
    line, total = np.empty(COLUMNS, np.float32), np.empty(COLUMNS, np.float32)
    for top in range(span[0], span[1], ROWS):
        rows = min(ROWS, span[1] - top)
        for left in range(0, width, COLUMNS):
            columns = min(COLUMNS, width - left)
            for k in range(len(images)):
                _coherent(images, mean, weights[k, : counts[k]], first[k], top, left, rows, columns, block)
                energies(block, quarter, rows, columns, sums, energy)
                firsts, stops = _rows_of(begun, k, top), _rows_of(ended, k, top)
                for corner in range(0, rows, CELL):
                    last = span[1] - 1 - top
                    _cell_row(energy, taps, floor, corner, last, columns, firsts, stops, left, sums, line, total)
                    found = result[k, (top + corner - origin) // CELL, left // CELL :]
                    for cell in range((columns + CELL - 1) // CELL):
                        energy_sum = _ZERO
                        for step in range(CELL):
                            energy_sum += total[min(CELL * cell + step, columns - 1)]
                        found[cell] = log_of(max(energy_sum * _SHARE, _LEAST))
