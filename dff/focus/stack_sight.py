"""What the stack network is shown of a frame, in compiled loops: `evidence` says the same in tensors."""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, log_of
from dff.focus.stack_scratch import ENERGY_FLOOR, MARGIN, ONE, PIXELS, U, place

REACH = 4
"""Pixels on either side that the ring filter, and the window, reach at most."""


@compiled
def _mirrored(place, size):
    if size == 1:
        return 0
    place = abs(place) % (2 * size - 2)
    return min(place, 2 * size - 2 - place)


@compiled
def _put_mirrored(line, row, width):
    """A row of pixels with REACH more on either side."""
    for x in range(width):
        line[REACH + x] = row[x]
    for x in range(REACH):
        line[x] = row[_mirrored(x - REACH, width)]
        line[REACH + width + x] = row[_mirrored(width + x, width)]


@compiled
def _add_answers(answer, line, weights, width):
    """Add a row of pixels, weighed by half a row of a kernel that is the same to the left and to the right."""
    w0, w1, w2, w3, w4 = weights[0], weights[1], weights[2], weights[3], weights[4]
    for x in range(width):
        c = REACH + x
        near = w0 * line[c] + w1 * (line[c - 1] + line[c + 1]) + w2 * (line[c - 2] + line[c + 2])
        answer[x] += near + w3 * (line[c - 3] + line[c + 3]) + w4 * (line[c - 4] + line[c + 4])


@compiled
def _put_cells(line, ring, y, k, row):
    """A row of pixels as channels of the cells that it is row number `row` of."""
    flat, pitch = ring.reshape(-1), ring.shape[3]
    at = place(ring, y, k) + 4 * row * pitch
    for x in range(len(line) // 4):
        for across in range(4):
            flat[U(at + across * pitch + x)] = line[U(4 * x + across)]


@compiled
def _add_to_cells(line, cells):
    for x in range(len(cells)):
        four = (line[4 * x] + line[4 * x + 1]) + (line[4 * x + 2] + line[4 * x + 3])
        cells[x] += four * np.float32(1 / PIXELS)


@compiled
def see(plane, first, rows, kernel, corner, window, pixels, fine, maps, y, k):
    """Take in cells of a frame: their pixels, their fine energies, and means of what is averaged over more cells.

    Args:
        plane: (height, 4 width) luminance, with what lies above and below as far as there is any.
        first: Its first row that is taken in.
        rows: Number of rows of cells.
        kernel: (REACH + 1, REACH + 1) ring filter from its centre, the same in its four quarters.
        corner: (REACH + 1, REACH + 1) filter of the finest diagonal detail, likewise.
        window: (REACH + 1,) of the fine energies, likewise.
        pixels: Ring of the pixels of cells.
        fine: Ring of their fine energies.
        maps: (3, rows, width) energies of corners and of rings, and luminance.
        y: Row of the first cells in the picture.
        k: Number of the frame.
    """
    height, width = plane.shape
    total = 4 * rows + 2 * REACH
    energy, line = np.zeros((total, width), np.float32), np.empty(width + 2 * REACH, np.float32)
    answer = np.empty(width, np.float32)
    maps[:] = 0
    for row in range(4 * rows):
        _put_cells(plane[first + row], pixels, y + row // 4, k, row % 4)
        _add_to_cells(plane[first + row], maps[2, row // 4])
        answer[:] = 0
        for down in range(-1, 2):
            _put_mirrored(line, plane[_mirrored(first + row + down, height)], width)
            _add_answers(answer, line, corner[abs(down)], width)
        for x in range(width):
            answer[x] *= answer[x]
        _add_to_cells(answer, maps[0, row // 4])
    for row in range(total):
        centre = _mirrored(first + row - REACH, height)
        for down in range(-REACH, REACH + 1):
            _put_mirrored(line, plane[_mirrored(centre + down, height)], width)
            _add_answers(energy[row], line, kernel[abs(down)], width)
        for x in range(width):
            energy[row, x] *= energy[row, x]
    for row in range(4 * rows):
        _add_to_cells(energy[REACH + row], maps[1, row // 4])
        answer[:] = 0
        for down in range(-REACH, REACH + 1):
            weight, here = window[abs(down)], energy[REACH + row + down]
            for x in range(width):
                answer[x] += weight * here[x]
        _put_mirrored(line, answer, width)
        answer[:] = 0
        _add_answers(answer, line, window, width)
        _put_cells(answer, fine, y + row // 4, k, row % 4)


@compiled
def relative_energies(maps, first, y0, y1, noise_floor, noise, contrast, cells):
    """Fill the rows from y0 to y1 of the rings of the noise, of the contrast and of the energies of cells.

    Args:
        maps: (4, frames, rows, width) mean energies of corners, mean energies of rings in a wide and in a broad
            window, and luminance.
        first: Row of the picture that they begin with.
        y0: First row to fill.
        y1: The row after the last.
        noise_floor: Least variance of the noise.
        noise: Ring of its variance.
        contrast: Ring of the logarithm of the largest over the least broad energy.
        cells: Ring of both logarithms of energies over the noise, and of the change of luminance.
    """
    frames, width = maps.shape[1], maps.shape[3]
    mean, least = np.empty(width, np.float32), np.empty(width, np.float32)
    inside = slice(MARGIN, MARGIN + width)
    for y in range(y0, y1):
        variance, span = noise[y % len(noise), 0, 0, inside], contrast[y % len(contrast), 0, 0, inside]
        variance[:], mean[:], least[:], span[:] = np.inf, 0, np.inf, -np.inf
        for k in range(frames):
            corner, luminance = maps[0, k, y - first], maps[3, k, y - first]
            for x in range(width):
                variance[x] = min(variance[x], corner[x])
                mean[x] += luminance[x]
        for x in range(width):
            variance[x] += noise_floor
            mean[x] *= np.float32(1 / frames)
        for k in range(frames):
            for c in range(2):
                energy, relative = maps[1 + c, k, y - first], cells[y % len(cells), k, c, inside]
                for x in range(width):
                    relative[x] = log_of(energy[x] / variance[x] + ENERGY_FLOOR)
            broad, change = cells[y % len(cells), k, 1, inside], cells[y % len(cells), k, 2, inside]
            luminance = maps[3, k, y - first]
            for x in range(width):
                span[x], least[x] = max(span[x], broad[x]), min(least[x], broad[x])
                steps = (luminance[x] - mean[x]) / (np.float32(4) * np.sqrt(variance[x]))
                size = abs(steps)
                change[x] = np.copysign(log_of(size + np.sqrt(size * size + ONE)), steps)
        for x in range(width):
            span[x] -= least[x]


@compiled
def in_noise(pixels, noise, y0, y1, width):
    """Pixels from row y0 to y1 in standard deviations of the noise, the border repeated once on either side."""
    flat, pitch, variance = pixels.reshape(-1), pixels.shape[3], noise.reshape(-1)
    for y in range(y0, y1):
        for k in range(pixels.shape[1]):
            for c in range(PIXELS):
                at, of = place(pixels, y, k) + c * pitch, place(noise, y, 0)
                for x in range(width):
                    flat[U(at + x)] *= ONE / np.sqrt(variance[U(of + x)])
                flat[U(at - 1)], flat[U(at + width)] = flat[U(at)], flat[U(at + width - 1)]
