"""Loops of the stack network for the processor: what `stack_layers` says in tensors, compiled, row by row.

Rows of sites are kept in rings, (rows, frames, channels, MARGIN + width + MARGIN): row y lies at y modulo their
number. SITES neighbouring sites of a row are worked on at a time, in a scratch array whose rows are channels: it stays
in the first cache, and its constant stride lets the compiler use the widest registers. Every site's sums are added up
in the same order wherever it lies, so that results depend on neither threads nor bands.
"""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, log_of
from dff.focus.lanes import LANES, add, add_times, every, larger, load, save, times

SITES = 64
MARGIN = 16
CHANNELS = 32
BANK = 32
PIXELS = 16
SEEN = 52
"""Rows that the first layer sees: bank, fine energies, wide, broad and low-pass energies, nothing."""
LARGEST_FOCUS = np.float32(60.0)
"""Logarithm of the focus weight beyond which frames count no more: sums stay finite."""
U = np.uint64
"""Offsets are never negative: saying so lets the compiler use the widest registers."""

_SOURCE = 0
"""First row of the scratch array of what is multiplied by a matrix,"""
_TARGET = 3 * CHANNELS
"""of what products are added to,"""
_NORMAL = _TARGET + CHANNELS
"""of that in mean square 1,"""
_STACK = _NORMAL + CHANNELS
"""of the sum, maximum and weighted sum over frames,"""
_KEPT = _STACK + 3 * CHANNELS
"""of what stays while frames pass;"""
_SIZE = _KEPT + 2 * CHANNELS
"""the row of the factor that scales a site,"""
_WEIGHT = _SIZE + 1
"""of its focus weight,"""
_TOTAL = _WEIGHT + 1
"""and of the sum of those."""
SCRATCH_ROWS = _TOTAL + 1
_NORM_FLOOR = np.float32(1e-3)
_ENERGY_FLOOR = np.float32(0.1)
_ZERO, _ONE, _HALF = np.float32(0), np.float32(1), np.float32(0.5)


@compiled
def exp_of(x):
    """e to a float32 between -87 and 87, to 1e-7 (polynomial of the Cephes library)."""
    x = min(max(x, np.float32(-87)), np.float32(87))
    n = np.floor(x * np.float32(1.44269504) + _HALF)
    r = x - n * np.float32(0.693359375)
    r = r - n * np.float32(-2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    return (p * (r * r) + r + _ONE) * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@compiled
def log_sigmoid(x):
    """Logarithm of 1 / (1 + e^-x)."""
    return min(x, _ZERO) - log_of(_ONE + exp_of(-abs(x)))


@compiled
def add_product(s, source, base, target, weight, first, inputs, outputs):
    """s[target + o] = s[base + o] + the sum of weight[o, c] s[source + c].

    Args:
        s: Scratch.
        source: First row of what is multiplied.
        base: First row of what is added to.
        target: First row of the sums; not among the source's.
        weight: (outputs, inputs) as `packed` makes them.
        first: Where they begin.
        inputs: Number of rows multiplied.
        outputs: Number of rows added to, a multiple of 8.
    """
    for x in range(0, SITES, 2 * LANES):
        q = first
        for o in range(0, outputs, 8):
            at = (base + o) * SITES + x
            a0, b0 = load(s, at), load(s, at + LANES)
            a1, b1 = load(s, at + SITES), load(s, at + SITES + LANES)
            a2, b2 = load(s, at + 2 * SITES), load(s, at + 2 * SITES + LANES)
            a3, b3 = load(s, at + 3 * SITES), load(s, at + 3 * SITES + LANES)
            a4, b4 = load(s, at + 4 * SITES), load(s, at + 4 * SITES + LANES)
            a5, b5 = load(s, at + 5 * SITES), load(s, at + 5 * SITES + LANES)
            a6, b6 = load(s, at + 6 * SITES), load(s, at + 6 * SITES + LANES)
            a7, b7 = load(s, at + 7 * SITES), load(s, at + 7 * SITES + LANES)
            for c in range(source * SITES + x, (source + inputs) * SITES + x, SITES):
                u, v = load(s, c), load(s, c + LANES)
                w = every(weight[U(q)])
                a0, b0 = add_times(a0, w, u), add_times(b0, w, v)
                w = every(weight[U(q + 1)])
                a1, b1 = add_times(a1, w, u), add_times(b1, w, v)
                w = every(weight[U(q + 2)])
                a2, b2 = add_times(a2, w, u), add_times(b2, w, v)
                w = every(weight[U(q + 3)])
                a3, b3 = add_times(a3, w, u), add_times(b3, w, v)
                w = every(weight[U(q + 4)])
                a4, b4 = add_times(a4, w, u), add_times(b4, w, v)
                w = every(weight[U(q + 5)])
                a5, b5 = add_times(a5, w, u), add_times(b5, w, v)
                w = every(weight[U(q + 6)])
                a6, b6 = add_times(a6, w, u), add_times(b6, w, v)
                w = every(weight[U(q + 7)])
                a7, b7 = add_times(a7, w, u), add_times(b7, w, v)
                q += 8
            at = (target + o) * SITES + x
            _save_two(s, at, a0, b0)
            _save_two(s, at + SITES, a1, b1)
            _save_two(s, at + 2 * SITES, a2, b2)
            _save_two(s, at + 3 * SITES, a3, b3)
            _save_two(s, at + 4 * SITES, a4, b4)
            _save_two(s, at + 5 * SITES, a5, b5)
            _save_two(s, at + 6 * SITES, a6, b6)
            _save_two(s, at + 7 * SITES, a7, b7)


@compiled
def _save_two(s, at, a, b):
    save(s, at, a)
    save(s, at + LANES, b)


def packed(matrix: np.ndarray) -> np.ndarray:
    """(outputs, inputs) input by input for every 8 outputs, filled up with zeros, as `add_product` takes it."""
    outputs = -(-matrix.shape[0] // 8)
    whole = np.zeros((8 * outputs, matrix.shape[1]), np.float32)
    whole[: matrix.shape[0]] = matrix
    return np.ascontiguousarray(whole.reshape(outputs, 8, -1).transpose(0, 2, 1)).ravel()


@compiled
def fill(s, target, values, rows):
    """s[target + c] = values[c]."""
    for c in range(rows):
        value = every(values[c])
        for x in range((target + c) * SITES, (target + c + 1) * SITES, LANES):
            save(s, x, value)


@compiled
def add_bias(s, target, values, rows):
    """s[target + c] += values[c]."""
    for c in range(rows):
        value = every(values[c])
        for x in range((target + c) * SITES, (target + c + 1) * SITES, LANES):
            save(s, x, add(load(s, x), value))


@compiled
def copy(s, source, target, rows):
    """s[target + c] = s[source + c]."""
    for x in range(0, rows * SITES, LANES):
        save(s, target * SITES + x, load(s, source * SITES + x))


@compiled
def place(ring, y, k):
    """Where the sites of a row of a frame begin in a flattened ring."""
    rows, frames, channels, pitch = ring.shape
    return ((y % rows) * frames + k) * channels * pitch + MARGIN


@compiled
def ringed(ring, y, k):
    """The same in a ring that ends with a row of zeros."""
    rows, frames, channels, pitch = ring.shape
    return ((y % (rows - 1)) * frames + k) * channels * pitch + MARGIN


@compiled
def take(s, target, flat, at, pitch, rows):
    """s[target + c] = flat[at + c pitch] and the SITES after."""
    for c in range(rows):
        for x in range(0, SITES, LANES):
            save(s, (target + c) * SITES + x, load(flat, at + c * pitch + x))


@compiled
def give(s, source, flat, at, pitch, rows, count):
    """flat[at + c pitch] = s[source + c] of SITES sites, of which so many are in the picture; the others are 0."""
    for c in range(rows):
        for x in range(0, SITES, LANES):
            save(flat, at + c * pitch + x, load(s, (source + c) * SITES + x))
        for x in range(count, SITES):
            flat[U(at + c * pitch + x)] = _ZERO


@compiled
def rectify(s, source, target, rows):
    """s[target + c] = max(0, s[source + c])."""
    zero = every(_ZERO)
    for x in range(0, rows * SITES, LANES):
        save(s, target * SITES + x, larger(load(s, source * SITES + x), zero))


@compiled
def normalise(s, source, target):
    """Each site's channels, scaled to mean square 1."""
    for x in range(0, SITES, LANES):
        total = every(_ZERO)
        for c in range(source * SITES + x, (source + CHANNELS) * SITES + x, SITES):
            value = load(s, c)
            total = add_times(total, value, value)
        save(s, _SIZE * SITES + x, total)
    for x in range(_SIZE * SITES, (_SIZE + 1) * SITES):
        s[U(x)] = _ONE / np.sqrt(s[U(x)] * np.float32(1 / CHANNELS) + _NORM_FLOOR)
    for x in range(0, SITES, LANES):
        size = load(s, _SIZE * SITES + x)
        for c in range(x, CHANNELS * SITES + x, SITES):
            save(s, target * SITES + c, times(load(s, source * SITES + c), size))


@compiled
def begin_statistics(s):
    """Forget the frames."""
    for x in range(0, CHANNELS * SITES, LANES):
        save(s, _STACK * SITES + x, every(_ZERO))
        save(s, (_STACK + CHANNELS) * SITES + x, every(np.float32(-3e38)))
        save(s, (_STACK + 2 * CHANNELS) * SITES + x, every(_ZERO))
    for x in range(0, SITES, LANES):
        save(s, _TOTAL * SITES + x, every(_ZERO))


@compiled
def add_statistics(s, normal, scale, focus):
    """One more frame to the sum, the maximum and the focus-weighted sum of its channels.

    Args:
        s: Scratch.
        normal: First row of its channels, of mean square 1.
        scale: (channels,) of the norm.
        focus: (channels,) what the focus weight's logarithm is made of, with that scale.
    """
    for x in range(0, SITES, LANES):
        total = every(_ZERO)
        for c in range(CHANNELS):
            total = add_times(total, every(focus[U(c)]), load(s, (normal + c) * SITES + x))
        save(s, _WEIGHT * SITES + x, total)
    for x in range(_WEIGHT * SITES, (_WEIGHT + 1) * SITES):
        s[U(x)] = exp_of(min(max(s[U(x)], -LARGEST_FOCUS), LARGEST_FOCUS))
    for x in range(0, SITES, LANES):
        weight, at = load(s, _WEIGHT * SITES + x), _TOTAL * SITES + x
        save(s, at, add(load(s, at), weight))
        for c in range(CHANNELS):
            value = times(every(scale[U(c)]), load(s, (normal + c) * SITES + x))
            at = (_STACK + c) * SITES + x
            save(s, at, add(load(s, at), value))
            at += CHANNELS * SITES
            save(s, at, larger(load(s, at), value))
            at += CHANNELS * SITES
            save(s, at, add_times(load(s, at), value, weight))


@compiled
def tell_stack(s, frames, squeeze, bias, stack, y, x0, count):
    """Squeeze mean, maximum and weighted mean of the frames into a row of the stack's own features."""
    share = every(np.float32(1 / frames))
    for x in range(_STACK * SITES, (_STACK + CHANNELS) * SITES, LANES):
        save(s, x, times(load(s, x), share))
    for x in range(CHANNELS * SITES):
        s[U((_STACK + 2 * CHANNELS) * SITES + x)] /= s[U(_TOTAL * SITES + x % SITES)]
    fill(s, _TARGET, bias, CHANNELS)
    add_product(s, _STACK, _TARGET, _TARGET, squeeze, 0, 3 * CHANNELS, CHANNELS)
    give(s, _TARGET, stack.reshape(-1), place(stack, y, 0) + x0, stack.shape[3], CHANNELS, count)


@compiled
def look_around(s, stack, y, x0, height, around, bias):
    """The stack's features and what is made of those around, as target."""
    flat, pitch = stack.reshape(-1), stack.shape[3]
    take(s, _TARGET, flat, place(stack, y, 0) + x0, pitch, CHANNELS)
    add_bias(s, _TARGET, bias, CHANNELS)
    for tap in range(9):
        row = y + tap // 3 - 1
        if 0 <= row < height:
            take(s, _SOURCE, flat, place(stack, row, 0) + x0 + tap % 3 - 1, pitch, CHANNELS)
            rectify(s, _SOURCE, _SOURCE, CHANNELS)
            add_product(s, _SOURCE, _TARGET, _TARGET, around, tap * CHANNELS * CHANNELS, CHANNELS, CHANNELS)


@compiled
def put_cells(planes, ring, y, k):
    """Pixels of frames from k on, (frames, 4 rows, 4 width), as channels of the ring's rows from y on."""
    flat, pitch = ring.reshape(-1), ring.shape[3]
    for frame in range(planes.shape[0]):
        for row in range(planes.shape[1]):
            at = place(ring, y + row // 4, k + frame) + (row % 4) * 4 * pitch
            for x in range(planes.shape[2] // 4):
                for across in range(4):
                    flat[U(at + across * pitch + x)] = planes[frame, row, 4 * x + across]


@compiled
def cell_means(plane, first, result):
    """(rows, width) means of 4 x 4 pixels of a plane (height, 4 width), from row `first` on."""
    total = np.empty(4 * result.shape[1], np.float32)
    for y in range(result.shape[0]):
        row = first + 4 * y
        for x in range(len(total)):
            total[x] = (plane[row, x] + plane[row + 1, x]) + (plane[row + 2, x] + plane[row + 3, x])
        for x in range(result.shape[1]):
            four = (total[4 * x] + total[4 * x + 1]) + (total[4 * x + 2] + total[4 * x + 3])
            result[y, x] = four * np.float32(1 / PIXELS)


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
                    relative[x] = log_of(energy[x] / variance[x] + _ENERGY_FLOOR)
            broad, change = cells[y % len(cells), k, 1, inside], cells[y % len(cells), k, 2, inside]
            luminance = maps[3, k, y - first]
            for x in range(width):
                span[x], least[x] = max(span[x], broad[x]), min(least[x], broad[x])
                steps = (luminance[x] - mean[x]) / (np.float32(4) * np.sqrt(variance[x]))
                size = abs(steps)
                change[x] = np.copysign(log_of(size + np.sqrt(size * size + _ONE)), steps)
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
                    flat[U(at + x)] *= _ONE / np.sqrt(variance[U(of + x)])
                flat[U(at - 1)], flat[U(at + width)] = flat[U(at)], flat[U(at + width - 1)]


@compiled
def bank_energy(pixels, bank, energy, y0, y1, first, last, height, width, s):
    """Squared answers of the learned filters in the rows from y0 to y1, in the segments from first to last."""
    flat, pitch, frames = pixels.reshape(-1), pixels.shape[3], pixels.shape[1]
    target = energy.reshape(-1)
    for y in range(y0, y1):
        for segment in range(first, last):
            x0 = segment * SITES
            for k in range(frames):
                for x in range(_TARGET * SITES, (_TARGET + BANK) * SITES, LANES):
                    save(s, x, every(_ZERO))
                for tap in range(9):
                    row = place(pixels, min(max(y + tap // 3 - 1, 0), height - 1), k)
                    take(s, _SOURCE, flat, row + x0 + tap % 3 - 1, pitch, PIXELS)
                    add_product(s, _SOURCE, _TARGET, _TARGET, bank, tap * PIXELS * BANK, PIXELS, BANK)
                for x in range(_TARGET * SITES, (_TARGET + BANK) * SITES, LANES):
                    answer = load(s, x)
                    save(s, x, times(answer, answer))
                give(s, _TARGET, target, ringed(energy, y, k) + x0, energy.shape[3], BANK, min(SITES, width - x0))


@compiled
def _three(flat, at):
    return add(add(load(flat, at - 1), load(flat, at)), load(flat, at + 1))


@compiled
def mean_around(s, energy, y, k, x0, height, width):
    """Logarithm of the mean energy of 3 x 3 sites, of fewer at the borders, as the first rows of the source."""
    flat, pitch = energy.reshape(-1), energy.shape[3]
    zeros = place(energy, energy.shape[0] - 1, k) + x0
    above = zeros if y == 0 else ringed(energy, y - 1, k) + x0
    here = ringed(energy, y, k) + x0
    below = zeros if y == height - 1 else ringed(energy, y + 1, k) + x0
    share = np.float32(1 / 9)
    if y == 0 or y == height - 1:
        share *= np.float32(1.5)
    for x in range(SITES):
        s[U(_SIZE * SITES + x)] = share
    if x0 == 0:
        s[U(_SIZE * SITES)] *= np.float32(1.5)
    if x0 <= width - 1 < x0 + SITES:
        s[U(_SIZE * SITES + width - 1 - x0)] *= np.float32(1.5)
    for c in range(BANK):
        for x in range(c * pitch, c * pitch + SITES, LANES):
            total = _three(flat, above + x)
            total = add(total, _three(flat, here + x))
            total = add(total, _three(flat, below + x))
            save(s, (_SOURCE + c) * SITES + x - c * pitch, total)
    for c in range(BANK):
        for x in range(SITES):
            at = (_SOURCE + c) * SITES + x
            s[U(at)] = log_of(s[U(at)] * s[U(_SIZE * SITES + x)] + _ENERGY_FLOOR)


@compiled
def first_features(
    energy, fine, cells, noise, stem, bias, scale, focus, squeeze, squeeze_bias, detail, features, stack,
    y0, y1, first, last, height, width, s,
):  # fmt: skip
    """Features of what is seen of the frames in the rows from y0 to y1, and what the stack is told of them.

    The logarithms of the fine energies relative to the noise are kept as detail.
    """
    frames, pitch = features.shape[1], features.shape[3]
    flat, fines, variance, coarse = features.reshape(-1), fine.reshape(-1), noise.reshape(-1), cells.reshape(-1)
    for y in range(y0, y1):
        for segment in range(first, last):
            x0 = segment * SITES
            count = min(SITES, width - x0)
            begin_statistics(s)
            at = place(noise, y, 0) + x0
            for x in range(SITES):
                s[U(_KEPT * SITES + x)] = _ONE / variance[U(at + x)]
            for k in range(frames):
                mean_around(s, energy, y, k, x0, height, width)
                at = place(fine, y, k) + x0
                take(s, _SOURCE + BANK, fines, at, fine.shape[3], PIXELS)
                for c in range(_SOURCE + BANK, _SOURCE + BANK + PIXELS):
                    for x in range(SITES):
                        relative = s[U(c * SITES + x)] * s[U(_KEPT * SITES + x)]
                        s[U(c * SITES + x)] = log_of(relative + _ENERGY_FLOOR)
                to = place(detail, y, k) + x0
                give(s, _SOURCE + BANK, detail.reshape(-1), to, detail.shape[3], PIXELS, count)
                take(s, _SOURCE + BANK + PIXELS, coarse, place(cells, y, k) + x0, cells.shape[3], 4)
                fill(s, _TARGET, bias, CHANNELS)
                add_product(s, _SOURCE, _TARGET, _TARGET, stem, 0, SEEN, CHANNELS)
                give(s, _TARGET, flat, place(features, y, k) + x0, pitch, CHANNELS, count)
                normalise(s, _TARGET, _NORMAL)
                add_statistics(s, _NORMAL, scale, focus)
            tell_stack(s, frames, squeeze, squeeze_bias, stack, y, x0, count)


@compiled
def mix(
    features, stack, around, around_bias, excite, excite_bias, mixture, mix_bias, gates, mixtures,
    y0, y1, first, last, height, width, s,
):  # fmt: skip
    """Mixtures of a frame's features, its neighbours' and the stack's in the rows from y0 to y1."""
    frames, pitch = features.shape[1], features.shape[3]
    flat, mixed, gated = features.reshape(-1), mixtures.reshape(-1), gates.reshape(-1)
    here, beside, before = _SOURCE, _SOURCE + CHANNELS, _KEPT + CHANNELS
    for y in range(y0, y1):
        for segment in range(first, last):
            x0 = segment * SITES
            count = min(SITES, width - x0)
            look_around(s, stack, y, x0, height, around, around_bias)
            rectify(s, _TARGET, _SOURCE, CHANNELS)
            add_bias(s, _TARGET, mix_bias, CHANNELS)
            copy(s, _TARGET, _KEPT, CHANNELS)
            fill(s, _TARGET, excite_bias, CHANNELS)
            add_product(s, _SOURCE, _TARGET, _TARGET, excite, 0, CHANNELS, CHANNELS)
            for x in range(CHANNELS * SITES):
                s[U(_TARGET * SITES + x)] = _ONE / (_ONE + exp_of(-s[U(_TARGET * SITES + x)]))
            give(s, _TARGET, gated, place(gates, y, 0) + x0, gates.shape[3], CHANNELS, count)
            take(s, here, flat, place(features, y, 0) + x0, pitch, CHANNELS)
            normalise(s, here, here)
            copy(s, here, before, CHANNELS)
            copy(s, here, _NORMAL, CHANNELS)
            for k in range(frames):
                if k + 1 < frames:
                    take(s, _NORMAL, flat, place(features, y, k + 1) + x0, pitch, CHANNELS)
                    normalise(s, _NORMAL, _NORMAL)
                for x in range(0, CHANNELS * SITES, LANES):
                    later = load(s, _NORMAL * SITES + x)
                    save(s, beside * SITES + x, add(load(s, before * SITES + x), later))
                add_product(s, here, _KEPT, _TARGET, mixture, 0, 2 * CHANNELS, CHANNELS)
                rectify(s, _TARGET, _TARGET, CHANNELS)
                give(s, _TARGET, mixed, ringed(mixtures, y, k) + x0, mixtures.shape[3], CHANNELS, count)
                copy(s, here, before, CHANNELS)
                copy(s, _NORMAL, here, CHANNELS)


@compiled
def _add_row(total, flat, at, reach, taps, q):
    total = add_times(total, every(taps[U(q)]), load(flat, at - reach))
    total = add_times(total, every(taps[U(q + 1)]), load(flat, at))
    return add_times(total, every(taps[U(q + 2)]), load(flat, at + reach))


@compiled
def look_at(s, mixtures, y, k, x0, reach, height, taps, bias, gate):
    """Each channel of the mixtures weighed over 3 x 3 sites that are `reach` apart, let through by the gate, as source.

    Above and below the picture is the row of zeros that the ring ends with.
    """
    flat, pitch = mixtures.reshape(-1), mixtures.shape[3]
    zeros = place(mixtures, mixtures.shape[0] - 1, k) + x0
    above = zeros if y < reach else ringed(mixtures, y - reach, k) + x0
    here = ringed(mixtures, y, k) + x0
    below = zeros if y + reach >= height else ringed(mixtures, y + reach, k) + x0
    zero = every(_ZERO)
    for c in range(CHANNELS):
        for x in range(0, SITES, LANES):
            at, q = c * pitch + x, 9 * c
            value = every(bias[U(c)])
            value = _add_row(value, flat, above + at, reach, taps, q)
            value = _add_row(value, flat, here + at, reach, taps, q + 3)
            value = _add_row(value, flat, below + at, reach, taps, q + 6)
            at = c * SITES + x
            save(s, _SOURCE * SITES + at, times(larger(value, zero), load(s, gate * SITES + at)))


@compiled
def look(
    features, mixtures, gates, reach, taps, taps_bias, out, out_bias, scale, focus, squeeze, squeeze_bias, stack,
    y0, y1, first, last, height, width, s,
):  # fmt: skip
    """Change the features in the rows from y0 to y1 by what is around them; tell the stack of the next layer."""
    frames, pitch = features.shape[1], features.shape[3]
    flat, gated = features.reshape(-1), gates.reshape(-1)
    for y in range(y0, y1):
        for segment in range(first, last):
            x0 = segment * SITES
            count = min(SITES, width - x0)
            begin_statistics(s)
            take(s, _KEPT, gated, place(gates, y, 0) + x0, gates.shape[3], CHANNELS)
            for k in range(frames):
                look_at(s, mixtures, y, k, x0, reach, height, taps, taps_bias, _KEPT)
                at = place(features, y, k) + x0
                take(s, _TARGET, flat, at, pitch, CHANNELS)
                add_bias(s, _TARGET, out_bias, CHANNELS)
                add_product(s, _SOURCE, _TARGET, _TARGET, out, 0, CHANNELS, CHANNELS)
                give(s, _TARGET, flat, at, pitch, CHANNELS, count)
                normalise(s, _TARGET, _NORMAL)
                add_statistics(s, _NORMAL, scale, focus)
            tell_stack(s, frames, squeeze, squeeze_bias, stack, y, x0, count)


@compiled
def decide(
    features, detail, cells, stack, contrast, around, around_bias, gains, gains_bias, unanswered, unanswered_bias,
    correction, steepness, least_contrast, sure, logits, answered,
    y0, y1, first, last, height, width, s,
):  # fmt: skip
    """Logits (frames, rows, PIXELS, width) of the rows from y0 to y1, and (rows, PIXELS, width) of any answer."""
    frames, pitch = features.shape[1], features.shape[3]
    flat, details, coarse = features.reshape(-1), detail.reshape(-1), cells.reshape(-1)
    contrasts, gain, energies = contrast.reshape(-1), _KEPT, _KEPT + 4
    for y in range(y0, y1):
        for segment in range(first, last):
            x0 = segment * SITES
            count = min(SITES, width - x0)
            look_around(s, stack, y, x0, height, around, around_bias)
            rectify(s, _TARGET, _SOURCE, CHANNELS)
            fill(s, _TARGET, gains_bias, 8)
            add_product(s, _SOURCE, _TARGET, _TARGET, gains, 0, CHANNELS, 8)
            for x in range(4 * SITES):
                s[U(gain * SITES + x)] = -log_sigmoid(-s[U(_TARGET * SITES + x)])
            fill(s, _TARGET, unanswered_bias, PIXELS)
            add_product(s, _SOURCE, _TARGET, _TARGET, unanswered, 0, CHANNELS, PIXELS)
            at = place(contrast, y, 0) + x0
            for c in range(PIXELS):
                for x in range(count):
                    learned = log_sigmoid(-min(max(s[U((_TARGET + c) * SITES + x)], -sure), sure))
                    known = log_sigmoid((contrasts[U(at + x)] - least_contrast) * steepness)
                    answered[y - y0, c, x0 + x] = learned + known
            for k in range(frames):
                take(s, _SOURCE, flat, place(features, y, k) + x0, pitch, CHANNELS)
                normalise(s, _SOURCE, _SOURCE)
                take(s, _TARGET, details, place(detail, y, k) + x0, detail.shape[3], PIXELS)
                take(s, energies, coarse, place(cells, y, k) + x0, cells.shape[3], 4)
                for x in range(SITES):
                    wide = s[U(energies * SITES + x)] * s[U((gain + 1) * SITES + x)]
                    broad = s[U((energies + 1) * SITES + x)] * s[U((gain + 2) * SITES + x)]
                    s[U(_SIZE * SITES + x)] = wide + broad
                for c in range(_TARGET, _TARGET + PIXELS):
                    for x in range(SITES):
                        at = U(c * SITES + x)
                        s[at] = s[at] * s[U(gain * SITES + x)] + s[U(_SIZE * SITES + x)]
                add_product(s, _SOURCE, _TARGET, _TARGET, correction, 0, CHANNELS, PIXELS)
                for c in range(PIXELS):
                    for x in range(count):
                        logits[k, y - y0, c, x0 + x] = s[U((_TARGET + c) * SITES + x)]


@compiled
def log_shares(logits, answered, least, result, first, last):
    """Logarithm of each frame's probability in the pixels of rows from first to last, (frames, rows, 4, width, 4)."""
    frames, _, _, width = logits.shape
    largest, total = np.empty(width, np.float32), np.empty(width, np.float32)
    for row in range(first, last):
        for c in range(PIXELS):
            _sum_of_exponentials(logits, row, c, largest, total)
            for x in range(width):
                largest[x] += log_of(total[x]) - answered[row, c, x]
            for k in range(frames):
                for x in range(width):
                    result[k, row, c // 4, x, c % 4] = max(logits[k, row, c, x] - largest[x], least)


@compiled
def _sum_of_exponentials(logits, row, c, largest, total):
    largest[:], total[:] = -np.inf, 0
    for k in range(logits.shape[0]):
        for x in range(len(largest)):
            largest[x] = max(largest[x], logits[k, row, c, x])
    for k in range(logits.shape[0]):
        for x in range(len(largest)):
            total[x] += exp_of(logits[k, row, c, x] - largest[x])


@compiled
def log_cell_shares(logits, answered, least, result, first, last):
    """Logarithm of each frame's mean probability in the cells of rows from first to last, (frames, rows, width)."""
    frames, _, _, width = logits.shape
    largest, total = np.empty(width, np.float32), np.empty(width, np.float32)
    for row in range(first, last):
        for k in range(frames):
            result[k, row] = 0
        for c in range(PIXELS):
            _sum_of_exponentials(logits, row, c, largest, total)
            for x in range(width):
                largest[x] += log_of(total[x]) - answered[row, c, x]
            for k in range(frames):
                for x in range(width):
                    result[k, row, x] += exp_of(logits[k, row, c, x] - largest[x])
        for k in range(frames):
            for x in range(width):
                result[k, row, x] = max(log_of(result[k, row, x] * np.float32(1 / PIXELS)), least)
