"""What the stack network is shown of a frame, in compiled loops: `evidence` says the same in tensors."""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, inner, log_of
from dff.focus.energy_loops import REACH as RING_REACH
from dff.focus.energy_loops import energies, mirrored
from dff.focus.stack_scratch import ENERGY_FLOOR, MARGIN, ONE, PIXELS, SITES, U, block

REACH = 4
"""Pixels on either side that the window reaches."""
_EDGE = REACH + RING_REACH
_COLUMNS = 512
"""Pixels of a row that are seen at a time."""
AROUND = 6
"""Cells on either side that energies are averaged over, at most."""


@inner
def put_row(line, ring, y, k, channel):
    """A row of sites of one channel."""
    flat = ring.reshape(-1)
    for left in range(0, len(line), SITES):
        at = block(ring, y, left // SITES, k) + channel * SITES
        for x in range(min(SITES, len(line) - left)):
            flat[U(at + x)] = line[left + x]


@inner
def _put_cells(line, ring, y, k, row, left):
    """A row of pixels from a segment's first on, as channels of the cells that it is row number `row` of."""
    flat = ring.reshape(-1)
    for start in range(0, len(line) // 4, SITES):
        at = block(ring, y, left // (4 * SITES) + start // SITES, k) + 4 * row * SITES
        for x in range(min(SITES, len(line) // 4 - start)):
            for across in range(4):
                flat[U(at + across * SITES + x)] = line[U(4 * (start + x) + across)]


@inner
def _add_to_cells(line, cells, left):
    first = left // 4
    for x in range(len(line) // 4):
        four = (line[4 * x] + line[4 * x + 1]) + (line[4 * x + 2] + line[4 * x + 3])
        cells[U(first + x)] += four * np.float32(1 / PIXELS)


@inner
def _put_part(plane, first, left, size, part):
    """A part of the plane, repeated to whole cells, with _EDGE pixels around, mirrored at its edges."""
    (height, width), (rows, columns) = plane.shape, size
    inner, outer = max(0, _EDGE - left), min(columns + 2 * _EDGE, width - left + _EDGE)
    tall, wide = -(-height // 4) * 4, -(-width // 4) * 4
    for row in range(rows + 2 * _EDGE):
        source, line = plane[min(mirrored(first + row - _EDGE, tall), height - 1)], part[row]
        for x in range(inner, outer):
            line[x] = source[left + x - _EDGE]
        for x in range(inner):
            line[x] = source[min(mirrored(left + x - _EDGE, wide), width - 1)]
        for x in range(outer, columns + 2 * _EDGE):
            line[x] = source[min(mirrored(left + x - _EDGE, wide), width - 1)]


@inner
def _corners(part, corner, row, columns, line):
    """Squared answers of the filter of the finest diagonal detail to a row of a block."""
    up, here, down = part[_EDGE + row - 1], part[_EDGE + row], part[_EDGE + row + 1]
    c00, c01, c10, c11 = corner[0, 0], corner[0, 1], corner[1, 0], corner[1, 1]
    for x in range(columns):
        a, c, b = _EDGE + x - 1, _EDGE + x, _EDGE + x + 1
        sides = (up[a] + down[a]) + (up[b] + down[b])
        answer = c00 * here[c] + c01 * (here[a] + here[b]) + c10 * (up[c] + down[c]) + c11 * sides
        line[x] = answer * answer


@inner
def _windowed(energy, taps, row, columns, total, line):
    """Energies of a row of a block averaged over the window."""
    o, p, q, r, s = energy[row + 4], energy[row + 3], energy[row + 2], energy[row + 1], energy[row]
    u, v, w, z = energy[row + 5], energy[row + 6], energy[row + 7], energy[row + 8]
    t0, t1, t2, t3, t4 = taps[0], taps[1], taps[2], taps[3], taps[4]
    for x in range(columns + 2 * REACH):
        near = t0 * o[x] + t1 * (p[x] + u[x]) + t2 * (q[x] + v[x])
        total[x] = near + t3 * (r[x] + w[x]) + t4 * (s[x] + z[x])
    for x in range(columns):
        c = x + REACH
        near = t0 * total[c] + t1 * (total[c - 1] + total[c + 1]) + t2 * (total[c - 2] + total[c + 2])
        line[x] = near + t3 * (total[c - 3] + total[c + 3]) + t4 * (total[c - 4] + total[c + 4])


@compiled
def see(plane, first, rows, kernel, corner, window, pixels, fine, maps, y, k):
    """Take in cells of a frame: their pixels, their fine energies, and means of what is averaged over more cells.

    Args:
        plane: (height, width) luminance, with what lies above and below as far as there is any.
        first: Its first row that is taken in.
        rows: Number of rows of cells.
        kernel: (RING_REACH + 1, RING_REACH + 1) ring filter from its centre, the same in its four quarters.
        corner: (2, 2) filter of the finest diagonal detail, likewise.
        window: (REACH + 1,) of the fine energies, likewise.
        pixels: Ring of the pixels of cells.
        fine: Ring of their fine energies.
        maps: (3, rows, cells) energies of corners and of rings, and luminance.
        y: Row of the first cells in the picture.
        k: Number of the frame.
    """
    part = np.empty((4 * rows + 2 * _EDGE, _COLUMNS + 2 * _EDGE), np.float32)
    energy = np.empty((4 * rows + 2 * REACH, _COLUMNS + 2 * REACH), np.float32)
    sums = np.empty((RING_REACH + 1, _COLUMNS + 2 * _EDGE), np.float32)
    room = np.empty(_COLUMNS, np.float32)
    maps[:] = 0
    for left in range(0, 4 * maps.shape[2], _COLUMNS):
        columns = min(_COLUMNS, 4 * maps.shape[2] - left)
        line = room[:columns]
        _put_part(plane, first, left, (4 * rows, columns), part)
        # The window reaches a pixel farther than the kernel.
        energies(part, kernel, 4 * rows + 2, columns + 2, sums, energy)
        for row in range(4 * rows):
            seen = part[_EDGE + row, _EDGE : _EDGE + columns]
            _put_cells(seen, pixels, y + row // 4, k, row % 4, left)
            _add_to_cells(seen, maps[2, row // 4], left)
            _corners(part, corner, row, columns, line)
            _add_to_cells(line, maps[0, row // 4], left)
            _add_to_cells(energy[REACH + row, REACH : REACH + columns], maps[1, row // 4], left)
            _windowed(energy, window, row, columns, sums[0], line)
            _put_cells(line, fine, y + row // 4, k, row % 4, left)


@inner
def _average(maps, k, channel, y, first, height, taps, line, result):
    """A row of a map averaged over the cells around, mirrored at the picture's edges."""
    width = len(result)
    inside = line[AROUND : AROUND + width]
    here = maps[k, channel, y - first]
    for x in range(width):
        inside[x] = taps[0] * here[x]
    for away in range(1, len(taps)):
        up = maps[k, channel, mirrored(y - away, height) - first]
        down, tap = maps[k, channel, mirrored(y + away, height) - first], taps[away]
        for x in range(width):
            inside[x] += tap * (up[x] + down[x])
    for away in range(1, len(taps)):
        line[AROUND - away] = inside[mirrored(-away, width)]
        line[AROUND + width - 1 + away] = inside[mirrored(width - 1 + away, width)]
    for x in range(width):
        result[x] = taps[0] * line[AROUND + x]
    for away in range(1, len(taps)):
        tap = taps[away]
        for x in range(width):
            result[x] += tap * (line[AROUND + x - away] + line[AROUND + x + away])


@compiled
def relative_energies(maps, first, y0, y1, height, wide, broad, noise_floor, noise, contrast, cells):
    """Fill the rows from y0 to y1 of the rings of the noise, of the contrast and of the energies of cells.

    Args:
        maps: (frames, 3, rows, width) energies of corners and of rings, and luminance.
        first: Row of the picture that they begin with.
        y0: First row to fill.
        y1: The row after the last.
        height: Rows of the picture.
        wide: (n,) window of one average of the energies of rings, from its centre.
        broad: (n,) that of the other and of the corners', reaching AROUND cells at most.
        noise_floor: Least variance of the noise.
        noise: Ring of its variance.
        contrast: Ring of the logarithm of the largest over the least broad energy.
        cells: Ring of both logarithms of energies over the noise, and of the change of luminance.
    """
    frames, width = maps.shape[0], maps.shape[3]
    mean, least = np.empty(width, np.float32), np.empty(width, np.float32)
    inside = slice(MARGIN, MARGIN + width)
    corner, change, line = (
        np.empty(width, np.float32),
        np.empty(width, np.float32),
        np.empty(width + 2 * AROUND, np.float32),
    )
    energies = np.empty((2, frames, width), np.float32)
    for y in range(y0, y1):
        variance, span = noise[y % len(noise), 0, 0, inside], contrast[y % len(contrast), 0, 0, inside]
        variance[:], mean[:], least[:], span[:] = np.inf, 0, np.inf, -np.inf
        for k in range(frames):
            _average(maps, k, 0, y, first, height, broad, line, corner)
            _average(maps, k, 1, y, first, height, wide, line, energies[0, k])
            _average(maps, k, 1, y, first, height, broad, line, energies[1, k])
            luminance = maps[k, 2, y - first]
            for x in range(width):
                variance[x] = min(variance[x], corner[x])
                mean[x] += luminance[x]
        for x in range(width):
            variance[x] += noise_floor
            mean[x] *= np.float32(1 / frames)
        for k in range(frames):
            for c in range(2):
                row = energies[c, k]
                for x in range(width):
                    row[x] = log_of(row[x] / variance[x] + ENERGY_FLOOR)
                put_row(row, cells, y, k, c)
            luminance, seen = maps[k, 2, y - first], energies[1, k]
            for x in range(width):
                span[x], least[x] = max(span[x], seen[x]), min(least[x], seen[x])
                steps = (luminance[x] - mean[x]) / (np.float32(4) * np.sqrt(variance[x]))
                size = abs(steps)
                change[x] = np.copysign(log_of(size + np.sqrt(size * size + ONE)), steps)
            put_row(change, cells, y, k, 2)
        for x in range(width):
            span[x] -= least[x]
