"""What the compiled loops of the stack network are made of: a scratch array, and what is done to its rows.

SITES neighbouring sites of a row of the picture are worked on at a time, in a scratch array whose rows are channels: it
stays in the first caches. Every site's sums are added up in the same order wherever it lies, so that results depend on
neither threads nor strips.
"""

from __future__ import annotations

import numpy as np

from dff.compiled import exp_of, inner, log_of
from dff.focus.lanes import LANES, add, add_times, apart, every, fetch, larger, load, over, root, save, times
from dff.focus.tiles import ROWS, add_dots, add_squares, add_weighed, added, put_tile, tile_at, tile_of

SITES = 64
MARGIN = 16
CHANNELS = 32
MIXED = 8
"""Channels of the mixtures in blocks."""
BANK = 16
PIXELS = 16
SEEN = BANK + PIXELS + 4
"""Rows that the first layer sees: bank, fine energies, wide, broad and low-pass energies, nothing."""
TOGETHER = 4
"""Frames that are added to the statistics at a time."""
PARTS, MIXED_PARTS, BANK_PARTS = (SITES // (2 * LANES) * rows // ROWS for rows in (CHANNELS, MIXED, BANK))
"""Tiles of a block; with each a part of the next frame's is fetched, so that memory is never waited for."""
LINE = 64
"""Bytes of a line of the cache."""
LARGEST_FOCUS = np.float32(60.0)
"""Logarithm of the focus weight beyond which frames count no more: sums stay finite."""
U = np.uint64
"""Offsets are never negative: saying so lets the compiler use the widest registers."""

SOURCE = 0
"""First row of the scratch array of what is multiplied by a matrix,"""
TARGET = SEEN
"""of what becomes of the stack's own features,"""
STACK = TARGET + CHANNELS
"""of the sum, maximum and weighted sum over frames,"""
KEPT = STACK + 3 * CHANNELS
"""of what stays while frames pass;"""
SIZE = KEPT + CHANNELS
"""the row of the factor that scales a site,"""
TOTAL = SIZE + 1
"""of the sum of focus weights,"""
WEIGHT = TOTAL + 1
"""and rows of those of the frames that are added next."""
SCRATCH_ROWS = WEIGHT + TOGETHER
_BLOCK = (CHANNELS + 1) * SITES
_NORM_FLOOR = np.float32(1e-3)
_SHARE = np.float32(1 / CHANNELS)
_LARGEST = np.float32(80)
ENERGY_FLOOR = np.float32(0.1)
ZERO, ONE = np.float32(0), np.float32(1)


@inner
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return ONE / (ONE + exp_of(min(-x, _LARGEST)))


@inner
def log_sigmoid(x):
    """Logarithm of 1 / (1 + e^-x)."""
    return min(x, ZERO) - log_of(ONE + exp_of(-abs(x)))


@inner
def add_products(sums, flat, at, pitch, inputs, weight, first):
    """A tile of sums and the products of a matrix with the rows of an array.

    Args:
        sums: A tile: as many outputs as it has rows.
        flat: (n,) array.
        at: Where its first row begins.
        pitch: From one row to the next.
        inputs: Number of rows.
        weight: Matrices as `packed` makes them.
        first: Where that of these outputs begins.
    """
    for c in range(inputs):
        sums = add_weighed(sums, weight, first + c * ROWS, load(flat, at), load(flat, at + LANES))
        at += pitch
    return sums


@inner
def add_products_of_sums(sums, flat, at, other, pitch, inputs, weight, first):
    """The same with rows that are the sums of two."""
    for c in range(inputs):
        u, v = add(load(flat, at), load(flat, other)), add(load(flat, at + LANES), load(flat, other + LANES))
        sums = add_weighed(sums, weight, first + c * ROWS, u, v)
        at, other = at + pitch, other + pitch
    return sums


@inner
def put_product(s, source, target, weight, inputs, bias, outputs):
    """s[target + o] = bias[o] + the sum of weight[o, c] s[source + c]."""
    apart()
    for x in range(0, SITES, 2 * LANES):
        for o in range(0, outputs, ROWS):
            sums = add_products(tile_of(bias, o), s, source * SITES + x, SITES, inputs, weight, o * inputs)
            put_tile(s, (target + o) * SITES + x, SITES, LANES, sums)


def packed(matrix: np.ndarray) -> np.ndarray:
    """(outputs, inputs) input by input for every tile of outputs, filled up with zeros, as `add_products` takes it."""
    outputs = -(-matrix.shape[0] // ROWS)
    whole = np.zeros((ROWS * outputs, matrix.shape[1]), np.float32)
    whole[: matrix.shape[0]] = matrix
    return np.ascontiguousarray(whole.reshape(outputs, ROWS, -1).transpose(0, 2, 1)).ravel()


@inner
def place(ring, y, k):
    """Where the sites of a row of a frame begin in a flattened ring (rows, frames, channels, pitch)."""
    rows, frames, channels, pitch = ring.shape
    return ((y % rows) * frames + k) * channels * pitch + MARGIN


@inner
def block(ring, y, segment, k):
    """Where a segment of a row of a frame begins in a flattened ring (rows, segments, frames, channels, SITES)."""
    rows, segments, frames, channels, _ = ring.shape
    return (((y % rows) * segments + segment) * frames + k) * channels * SITES


@inner
def fetch_part(flat, at, size, part, parts):
    """Have one of so many parts of the `size` numbers of an array from `at` on brought near."""
    step = size // parts
    for of in range(at + part * step, at + (part + 1) * step, LINE // flat.itemsize):
        fetch(flat, of)


@inner
def clear(flat, at, pitch, rows, count):
    """flat[at + c pitch] = 0 at those of SITES sites that are not among the first so many."""
    for c in range(rows):
        for x in range(count, SITES):
            flat[U(at + c * pitch + x)] = ZERO


@inner
def rectify(s, source, target, rows):
    """s[target + c] = max(0, s[source + c])."""
    zero = every(ZERO)
    for x in range(0, rows * SITES, LANES):
        save(s, target * SITES + x, larger(load(s, source * SITES + x), zero))


@inner
def put_normal(s, target, flat, at):
    """Put a block of features into the scratch, scaled to mean square 1 by the factors that follow them."""
    apart()
    for x in range(0, SITES, LANES):
        size = load(flat, at + CHANNELS * SITES + x)
        for c in range(x, CHANNELS * SITES + x, SITES):
            save(s, target * SITES + c, times(load(flat, at + c), size))


@inner
def change(s, source, inputs, weight, bias, focus, flat, at, number, anew):
    """Features of a frame, from the rows that a matrix makes them of; the factors that scale them; the focus weight.

    Args:
        s: Scratch.
        source: First row of what is multiplied.
        inputs: Number of rows multiplied.
        weight: (CHANNELS, inputs) as `packed` makes them.
        bias: (CHANNELS,).
        focus: (CHANNELS,) what the focus weight's logarithm is made of.
        flat: Flattened ring of features.
        at: Where their block begins; a row of factors follows the channels.
        number: Among the frames that are added to the statistics next.
        anew: Whether there are none yet to which to add.
    """
    apart()
    floor, share, one = every(_NORM_FLOOR), every(_SHARE), every(ONE)
    for x in range(0, SITES, 2 * LANES):
        squares = focused = (every(ZERO), every(ZERO))
        for o in range(0, CHANNELS, ROWS):
            sums = add_products(tile_of(bias, o), s, source * SITES + x, SITES, inputs, weight, o * inputs)
            to = at + o * SITES + x
            fetch_part(flat, at + _BLOCK, _BLOCK, (x // LANES * CHANNELS // 2 + o) // ROWS, PARTS)
            if not anew:
                sums = added(sums, tile_at(flat, to, SITES))
            put_tile(flat, to, SITES, LANES, sums)
            squares, focused = add_squares(squares, sums), add_dots(focused, sums, focus, o)
        size = over(one, root(add_times(floor, squares[0], share)))
        beside = over(one, root(add_times(floor, squares[1], share)))
        to = at + CHANNELS * SITES + x
        save(flat, to, size)
        save(flat, to + LANES, beside)
        to = (WEIGHT + number) * SITES + x
        save(s, to, times(focused[0], size))
        save(s, to + LANES, times(focused[1], beside))


@inner
def begin_statistics(s):
    """Forget the frames."""
    for x in range(0, CHANNELS * SITES, LANES):
        save(s, STACK * SITES + x, every(ZERO))
        save(s, (STACK + CHANNELS) * SITES + x, every(np.float32(-3e38)))
        save(s, (STACK + 2 * CHANNELS) * SITES + x, every(ZERO))
    for x in range(0, SITES, LANES):
        save(s, TOTAL * SITES + x, every(ZERO))


@inner
def add_statistics(s, flat, at, frames, scale):
    """Some more frames to the sum, the maximum and the focus-weighted sum of their channels.

    Args:
        s: Scratch, with the logarithms of the focus weights.
        flat: Flattened ring of features.
        at: Where the block of the first of the frames begins; a row of factors follows the channels.
        frames: Number of frames, at most TOGETHER.
        scale: (channels,) of the norm, by which the maximum is scaled.
    """
    apart()
    for x in range(WEIGHT * SITES, (WEIGHT + frames) * SITES):
        s[U(x)] = exp_of(min(max(s[U(x)], -LARGEST_FOCUS), LARGEST_FOCUS))
    for x in range(0, SITES, LANES):
        weights = load(s, TOTAL * SITES + x)
        for k in range(frames):
            weights = add(weights, load(s, (WEIGHT + k) * SITES + x))
        save(s, TOTAL * SITES + x, weights)
        for c in range(CHANNELS):
            to, scaling = (STACK + c) * SITES + x, every(scale[U(c)])
            total, most = load(s, to), load(s, to + CHANNELS * SITES)
            weighted = load(s, to + 2 * CHANNELS * SITES)
            of, factor = at + c * SITES + x, at + CHANNELS * SITES + x
            for k in range(frames):
                value = times(load(flat, of + k * _BLOCK), load(flat, factor + k * _BLOCK))
                total = add(total, value)
                most = larger(most, times(value, scaling))
                weighted = add_times(weighted, value, load(s, (WEIGHT + k) * SITES + x))
            save(s, to, total)
            save(s, to + CHANNELS * SITES, most)
            save(s, to + 2 * CHANNELS * SITES, weighted)


@inner
def tell_each(s, flat, at, k, frames, scale):
    """Add frames to the statistics, when there are TOGETHER of them or this is the last."""
    number = k % TOGETHER
    if number == TOGETHER - 1 or k == frames - 1:
        add_statistics(s, flat, at - number * (CHANNELS + 1) * SITES, number + 1, scale)


@inner
def tell_stack(s, frames, squeeze, bias, stack, y, segment, count):
    """Squeeze mean, maximum and weighted mean of the frames into a row of the stack's own features, also rectified."""
    apart()
    share = every(ONE / np.float32(frames))
    for x in range(0, SITES, LANES):
        weight = over(every(ONE), load(s, TOTAL * SITES + x))
        for c in range(STACK * SITES + x, (STACK + CHANNELS) * SITES + x, SITES):
            save(s, c, times(load(s, c), share))
            at = c + 2 * CHANNELS * SITES
            save(s, at, times(load(s, at), weight))
    put_product(s, STACK, TARGET, squeeze, 3 * CHANNELS, bias, CHANNELS)
    flat, pitch = stack.reshape(-1), stack.shape[3]
    first, zero = place(stack, y, 0) + segment * SITES, every(ZERO)
    for c in range(CHANNELS):
        for x in range(0, SITES, LANES):
            value, at = load(s, (TARGET + c) * SITES + x), first + c * pitch + x
            save(flat, at, value)
            save(flat, at + CHANNELS * pitch, larger(value, zero))
    clear(flat, first, pitch, 2 * CHANNELS, count)


@inner
def look_around(s, stack, y, segment, height, around, bias):
    """The stack's features and what is made of those around, as target."""
    apart()
    flat, pitch = stack.reshape(-1), stack.shape[3]
    here, whole = place(stack, y, 0) + segment * SITES, CHANNELS * CHANNELS
    for x in range(0, SITES, 2 * LANES):
        for o in range(0, CHANNELS, ROWS):
            sums = added(tile_of(bias, o), tile_at(flat, here + o * pitch + x, pitch))
            for row in range(max(0, y - 1), min(height, y + 2)):
                at = place(stack, row, 0) + segment * SITES + CHANNELS * pitch + x
                for across in range(3):
                    tap = (3 * (row - y + 1) + across) * whole + o * CHANNELS
                    sums = add_products(sums, flat, at + across - 1, pitch, CHANNELS, around, tap)
            put_tile(s, (TARGET + o) * SITES + x, SITES, LANES, sums)
