"""What the compiled loops of the stack network are made of: a scratch array, and what is done to its rows.

SITES neighbouring sites of a row of the picture are worked on at a time, in a scratch array whose rows are channels: it
stays in the first cache. Every site's sums are added up in the same order wherever it lies, so that results depend on
neither threads nor strips.
"""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, log_of
from dff.focus.lanes import LANES, add, add_times, apart, every, larger, load, save, times

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

SOURCE = 0
"""First row of the scratch array of what is multiplied by a matrix,"""
TARGET = 3 * CHANNELS
"""of what products are added to,"""
NORMAL = TARGET + CHANNELS
"""of that in mean square 1,"""
STACK = NORMAL + CHANNELS
"""of the sum, maximum and weighted sum over frames,"""
KEPT = STACK + 3 * CHANNELS
"""of what stays while frames pass;"""
SIZE = KEPT + 2 * CHANNELS
"""the row of the factor that scales a site,"""
WEIGHT = SIZE + 1
"""of its focus weight,"""
TOTAL = WEIGHT + 1
"""and of the sum of those."""
SCRATCH_ROWS = TOTAL + 1
_NORM_FLOOR = np.float32(1e-3)
ENERGY_FLOOR = np.float32(0.1)
ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)


@compiled
def exp_of(x):
    """e to a float32 between -87 and 87, to 1e-7 (polynomial of the Cephes library)."""
    x = min(max(x, np.float32(-87)), np.float32(87))
    n = np.floor(x * np.float32(1.44269504) + HALF)
    r = x - n * np.float32(0.693359375)
    r = r - n * np.float32(-2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    return (p * (r * r) + r + ONE) * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@compiled
def log_sigmoid(x):
    """Logarithm of 1 / (1 + e^-x)."""
    return min(x, ZERO) - log_of(ONE + exp_of(-abs(x)))


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
    apart()
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
def block(ring, y, k, segment):
    """Where a segment of a row of a frame begins in a flattened ring (rows, frames, segments, channels, SITES)."""
    rows, frames, segments, channels, _ = ring.shape
    return (((y % rows) * frames + k) * segments + segment) * channels * SITES


@compiled
def ringed(ring, y, k):
    """The same in a ring that ends with a row of zeros."""
    rows, frames, channels, pitch = ring.shape
    return ((y % (rows - 1)) * frames + k) * channels * pitch + MARGIN


@compiled
def take(s, target, flat, at, pitch, rows):
    """s[target + c] = flat[at + c pitch] and the SITES after."""
    apart()
    for c in range(rows):
        for x in range(0, SITES, LANES):
            save(s, (target + c) * SITES + x, load(flat, at + c * pitch + x))


@compiled
def give(s, source, flat, at, pitch, rows, count):
    """flat[at + c pitch] = s[source + c] of SITES sites, of which so many are in the picture; the others are 0."""
    apart()
    for c in range(rows):
        for x in range(0, SITES, LANES):
            save(flat, at + c * pitch + x, load(s, (source + c) * SITES + x))
        for x in range(count, SITES):
            flat[U(at + c * pitch + x)] = ZERO


@compiled
def rectify(s, source, target, rows):
    """s[target + c] = max(0, s[source + c])."""
    zero = every(ZERO)
    for x in range(0, rows * SITES, LANES):
        save(s, target * SITES + x, larger(load(s, source * SITES + x), zero))


@compiled
def normalise(s, source, target):
    """Each site's channels, scaled to mean square 1."""
    apart()
    for x in range(0, SITES, LANES):
        total = every(ZERO)
        for c in range(source * SITES + x, (source + CHANNELS) * SITES + x, SITES):
            value = load(s, c)
            total = add_times(total, value, value)
        save(s, SIZE * SITES + x, total)
    for x in range(SIZE * SITES, (SIZE + 1) * SITES):
        s[U(x)] = ONE / np.sqrt(s[U(x)] * np.float32(1 / CHANNELS) + _NORM_FLOOR)
    for x in range(0, SITES, LANES):
        size = load(s, SIZE * SITES + x)
        for c in range(x, CHANNELS * SITES + x, SITES):
            save(s, target * SITES + c, times(load(s, source * SITES + c), size))


@compiled
def begin_statistics(s):
    """Forget the frames."""
    for x in range(0, CHANNELS * SITES, LANES):
        save(s, STACK * SITES + x, every(ZERO))
        save(s, (STACK + CHANNELS) * SITES + x, every(np.float32(-3e38)))
        save(s, (STACK + 2 * CHANNELS) * SITES + x, every(ZERO))
    for x in range(0, SITES, LANES):
        save(s, TOTAL * SITES + x, every(ZERO))


@compiled
def add_statistics(s, normal, scale, focus):
    """One more frame to the sum, the maximum and the focus-weighted sum of its channels.

    Args:
        s: Scratch.
        normal: First row of its channels, of mean square 1.
        scale: (channels,) of the norm.
        focus: (channels,) what the focus weight's logarithm is made of, with that scale.
    """
    apart()
    for x in range(0, SITES, LANES):
        total = every(ZERO)
        for c in range(CHANNELS):
            total = add_times(total, every(focus[U(c)]), load(s, (normal + c) * SITES + x))
        save(s, WEIGHT * SITES + x, total)
    for x in range(WEIGHT * SITES, (WEIGHT + 1) * SITES):
        s[U(x)] = exp_of(min(max(s[U(x)], -LARGEST_FOCUS), LARGEST_FOCUS))
    for x in range(0, SITES, LANES):
        weight, at = load(s, WEIGHT * SITES + x), TOTAL * SITES + x
        save(s, at, add(load(s, at), weight))
        for c in range(CHANNELS):
            value = times(every(scale[U(c)]), load(s, (normal + c) * SITES + x))
            at = (STACK + c) * SITES + x
            save(s, at, add(load(s, at), value))
            at += CHANNELS * SITES
            save(s, at, larger(load(s, at), value))
            at += CHANNELS * SITES
            save(s, at, add_times(load(s, at), value, weight))


@compiled
def tell_stack(s, frames, squeeze, bias, stack, y, x0, count):
    """Squeeze mean, maximum and weighted mean of the frames into a row of the stack's own features."""
    apart()
    share = every(np.float32(1 / frames))
    for x in range(STACK * SITES, (STACK + CHANNELS) * SITES, LANES):
        save(s, x, times(load(s, x), share))
    for x in range(CHANNELS * SITES):
        s[U((STACK + 2 * CHANNELS) * SITES + x)] /= s[U(TOTAL * SITES + x % SITES)]
    fill(s, TARGET, bias, CHANNELS)
    add_product(s, STACK, TARGET, TARGET, squeeze, 0, 3 * CHANNELS, CHANNELS)
    give(s, TARGET, stack.reshape(-1), place(stack, y, 0) + x0, stack.shape[3], CHANNELS, count)


@compiled
def look_around(s, stack, y, x0, height, around, bias):
    """The stack's features and what is made of those around, as target."""
    apart()
    flat, pitch = stack.reshape(-1), stack.shape[3]
    take(s, TARGET, flat, place(stack, y, 0) + x0, pitch, CHANNELS)
    add_bias(s, TARGET, bias, CHANNELS)
    for tap in range(9):
        row = y + tap // 3 - 1
        if 0 <= row < height:
            take(s, SOURCE, flat, place(stack, row, 0) + x0 + tap % 3 - 1, pitch, CHANNELS)
            rectify(s, SOURCE, SOURCE, CHANNELS)
            add_product(s, SOURCE, TARGET, TARGET, around, tap * CHANNELS * CHANNELS, CHANNELS, CHANNELS)
