"""Layers of the stack network on rows of sites: `stack_layers` says the same in tensors, compiled, row by row.

Rows of sites are kept in rings of blocks, (rows, segments, frames, channels, SITES), or, of the stack as a whole,
(rows, 1, channels, MARGIN + width + MARGIN): row y lies at y modulo their number. Every function here works on one
segment of the rows from y0 to y1.
"""

from __future__ import annotations

import numpy as np

from dff.compiled import exp_of, inner, log_of
from dff.focus.lanes import LANES, add, add_times, apart, every, fetch, from_both, less, load, save, times
from dff.focus.stack_scratch import (
    BANK,
    BANK_PARTS,
    CHANNELS,
    ENERGY_FLOOR,
    KEPT,
    MARGIN,
    ONE,
    PARTS,
    PIXELS,
    SEEN,
    SITES,
    SIZE,
    SOURCE,
    TARGET,
    TOGETHER,
    U,
    add_products,
    begin_statistics,
    block,
    change,
    clear,
    fetch_part,
    log_sigmoid,
    look_around,
    place,
    put_product,
    rectify,
    tell_each,
    tell_stack,
)
from dff.focus.tiles import ROWS, added, put_tile, scaled, squared, subtracted, tile_at, tile_of

_WIDE = SITES + 2 * MARGIN
_FACTORS = 4 * PIXELS * _WIDE
"""Where the scratch holds what scales four rows of pixels, after those."""
_NOTHING = np.zeros(ROWS, np.float32)


@inner
def _put_factors(noise, y, segment, s, to):
    """What takes pixels to standard deviations of the noise, for the site on either side as well."""
    variance, at = noise.reshape(-1), place(noise, y, 0) + segment * SITES - MARGIN
    for x in range(_WIDE):
        s[U(to + x)] = ONE / np.sqrt(variance[U(at + x)])


@inner
def _take_pixels(pixels, y, segment, k, width, s, factors, to):
    """Pixels in standard deviations of the noise, with the site on either side, the border repeated."""
    flat, first = pixels.reshape(-1), segment * SITES
    here = block(pixels, y, segment, k)
    before, after = block(pixels, y, max(0, segment - 1), k), block(pixels, y, segment + 1, k)
    inside, end = first + SITES < width, min(SITES, width - first)
    for x in range(0, SITES, LANES):
        factor = load(s, factors + MARGIN + x)
        for c in range(PIXELS):
            save(s, to + c * _WIDE + MARGIN + x, times(load(flat, here + c * SITES + x), factor))
    for c in range(PIXELS):
        row = to + c * _WIDE + MARGIN
        left, right = s[U(row)], s[U(row + end - 1)]
        if first:
            left = flat[U(before + (c + 1) * SITES - 1)] * s[U(factors + MARGIN - 1)]
        if inside:
            right = flat[U(after + c * SITES)] * s[U(factors + MARGIN + SITES)]
        s[U(row - 1)], s[U(row + end)] = left, right


@inner
def _fetch_pixels(pixels, top, height, segment, k, part):
    """Have one of BANK_PARTS of four rows of a frame's pixels brought near, and of those beside."""
    flat, step = pixels.reshape(-1), PIXELS // BANK_PARTS
    for row in range(top, top + 4):
        y = min(max(row, 0), height - 1)
        fetch_part(flat, block(pixels, y, segment, k), PIXELS * SITES, part, BANK_PARTS)
        for c in range(part * step, (part + 1) * step):
            fetch(flat, block(pixels, y, segment + 1, k) + c * SITES)


@inner
def _fold_rows(s):
    """Four rows of pixels, in their place, as the bank's filters are put together for two rows of answers at once."""
    step = PIXELS * _WIDE
    for x in range(0, step, LANES):
        a, b, c, d = load(s, x), load(s, step + x), load(s, 2 * step + x), load(s, 3 * step + x)
        save(s, x, less(a, c))
        save(s, step + x, add(b, c))
        save(s, 2 * step + x, less(c, b))
        save(s, 3 * step + x, less(d, b))


@inner
def _answers(sums, s, row, bank, o, x):
    """A tile of sums and the answers of filters to a row of those."""
    for across in range(3):
        of, first = row * PIXELS * _WIDE + MARGIN + x + across - 1, ((3 * row + across) * BANK + o) * PIXELS
        sums = add_products(sums, s, of, _WIDE, PIXELS, bank, first)
    return sums


@inner
def bank_energy(pixels, noise, bank, energy, y0, y1, segment, height, width, s):
    """Squared answers of the learned filters, of two rows at most.

    Two rows of answers take four products with a row instead of six (Winograd, Arithmetic Complexity of Computations,
    1980: F(2, 3)).
    """
    apart()
    target, count = energy.reshape(-1), min(SITES, width - segment * SITES)
    for row in range(4):
        _put_factors(noise, min(max(y0 + row - 1, 0), height - 1), segment, s, _FACTORS + row * _WIDE)
    for k in range(pixels.shape[2]):
        for row in range(4):
            y, factors = min(max(y0 + row - 1, 0), height - 1), _FACTORS + row * _WIDE
            _take_pixels(pixels, y, segment, k, width, s, factors, row * PIXELS * _WIDE)
        _fold_rows(s)
        one, other = block(energy, y0, segment, k), block(energy, y1 - 1, segment, k)
        for x in range(0, SITES, 2 * LANES):
            for o in range(0, BANK, ROWS):
                part = (x // LANES * BANK // 2 + o) // ROWS
                _fetch_pixels(pixels, y0 - 1, height, segment, k + 1, part)
                nothing, at = tile_of(_NOTHING, 0), o * SITES + x
                fetch_part(target, one + BANK * SITES, BANK * SITES, part, BANK_PARTS)
                fetch_part(target, other + BANK * SITES, BANK * SITES, part, BANK_PARTS)
                even, odd = _answers(nothing, s, 1, bank, o, x), _answers(nothing, s, 2, bank, o, x)
                if y1 > y0 + 1:
                    second = _answers(subtracted(even, odd), s, 3, bank, o, x)
                    put_tile(target, other + at, SITES, LANES, squared(second))
                first = _answers(added(even, odd), s, 0, bank, o, x)
                put_tile(target, one + at, SITES, LANES, squared(first))
        clear(target, one, SITES, BANK, count)
        clear(target, other, SITES, BANK, count)


@inner
def _three(flat, above, here, below, at, up, down):
    return add_times(add_times(load(flat, here + at), load(flat, above + at), up), load(flat, below + at), down)


@inner
def mean_around(s, energy, y, segment, k, height):
    """Mean energy of 3 x 3 sites, as the first rows of the source; shares are in the row of sizes."""
    apart()
    flat, segments = energy.reshape(-1), energy.shape[1]
    above, here = block(energy, max(y - 1, 0), segment, k), block(energy, y, segment, k)
    below, step = block(energy, min(y + 1, height - 1), segment, k), energy.shape[2] * BANK * SITES
    up, down = every(np.float32(y > 0)), every(np.float32(y < height - 1))
    edges = every(np.float32(segment > 0)), every(np.float32(segment < segments - 1))
    left, right = SITES - LANES - step * (segment > 0), step * (segment < segments - 1)
    for c in range(0, BANK * SITES, SITES):
        before = times(_three(flat, above, here, below, c + left, up, down), edges[0])
        now = _three(flat, above, here, below, c, up, down)
        for x in range(0, SITES, LANES):
            if x < SITES - LANES:
                after = _three(flat, above, here, below, c + x + LANES, up, down)
            else:
                after = times(_three(flat, above, here, below, c + right, up, down), edges[1])
            total = add(add(from_both(before, now, 15), now), from_both(now, after, 1))
            save(s, SOURCE * SITES + c + x, times(total, load(s, SIZE * SITES + x)))
            before, now = now, after


@inner
def _shares_around(s, y, segment, height, width):
    """Shares of 3 x 3 sites, of fewer at the borders, as the row of sizes."""
    share = np.float32(1 / 9)
    for end in (0, height - 1):
        if y == end:
            share *= np.float32(1.5)
    for x in range(SITES):
        s[U(SIZE * SITES + x)] = share
    if segment == 0:
        s[U(SIZE * SITES)] *= np.float32(1.5)
    last = width - 1 - segment * SITES
    if last < SITES:
        s[U(SIZE * SITES + last)] *= np.float32(1.5)


@inner
def first_features(
    energy, fine, cells, noise, stem, bias, scale, focus, squeeze, squeeze_bias, detail, features, stack,
    y0, y1, segment, height, width, s,
):  # fmt: skip
    """Features of what is seen of the frames, and what the stack is told of them.

    The logarithms of the fine energies relative to the noise are kept as detail.
    """
    apart()
    frames, count = features.shape[2], min(SITES, width - segment * SITES)
    flat, variance, details = features.reshape(-1), noise.reshape(-1), detail.reshape(-1)
    fines, coarse = fine.reshape(-1), cells.reshape(-1)
    for y in range(y0, y1):
        begin_statistics(s)
        _shares_around(s, y, segment, height, width)
        at = place(noise, y, 0) + segment * SITES
        for x in range(SITES):
            s[U(KEPT * SITES + x)] = ONE / variance[U(at + x)]
        for k in range(frames):
            mean_around(s, energy, y, segment, k, height)
            at, to = block(fine, y, segment, k), (SOURCE + BANK) * SITES
            for x in range(0, PIXELS * SITES, LANES):
                fetch(fines, at + PIXELS * SITES + x)
                save(s, to + x, times(load(fines, at + x), load(s, KEPT * SITES + x % SITES)))
            for x in range((BANK + PIXELS) * SITES):
                s[U(SOURCE * SITES + x)] = log_of(s[U(SOURCE * SITES + x)] + ENERGY_FLOOR)
            at = block(detail, y, segment, k)
            for x in range(0, PIXELS * SITES, LANES):
                save(details, at + x, load(s, to + x))
            at, to = block(cells, y, segment, k), to + PIXELS * SITES
            for x in range(0, 4 * SITES, LANES):
                save(s, to + x, load(coarse, at + x))
            at = block(features, y, segment, k)
            change(s, SOURCE, SEEN, stem, bias, focus, flat, at, k % TOGETHER, True)
            tell_each(s, flat, at, k, frames, scale)
        tell_stack(s, frames, squeeze, squeeze_bias, stack, y, segment, count)


@inner
def decide(
    features, detail, cells, stack, contrast, around, around_bias, gains, gains_bias, unanswered, unanswered_bias,
    correction, steepness, least_contrast, sure, logits, answered, y, segment, height, s,
):  # fmt: skip
    """Logits (frames, PIXELS, SITES) of a row, and (PIXELS, SITES) logarithm of the probability of any answer."""
    apart()
    frames, flat = features.shape[2], features.reshape(-1)
    given, contrasts = logits.reshape(-1), contrast.reshape(-1)
    look_around(s, stack, y, segment, height, around, around_bias)
    rectify(s, TARGET, SOURCE, CHANNELS)
    put_product(s, SOURCE, KEPT, gains, CHANNELS, gains_bias, ROWS)
    for x in range(KEPT * SITES, (KEPT + 4) * SITES):
        s[U(x)] = -log_sigmoid(-s[U(x)])
    put_product(s, SOURCE, TARGET, unanswered, CHANNELS, unanswered_bias, PIXELS)
    at = place(contrast, y, 0) + segment * SITES
    for c in range(PIXELS):
        for x in range(SITES):
            learned = log_sigmoid(-min(max(s[U((TARGET + c) * SITES + x)], -sure), sure))
            known = log_sigmoid((contrasts[U(at + x)] - least_contrast) * steepness)
            answered[U(c * SITES + x)] = learned + known
    for k in range(frames):
        at, of = block(detail, y, segment, k), block(cells, y, segment, k)
        _weigh_energies(s, detail.reshape(-1), at, cells.reshape(-1), of)
        at = block(features, y, segment, k)
        for x in range(0, SITES, 2 * LANES):
            size = at + CHANNELS * SITES + x
            row = load(flat, size), load(flat, size + LANES)
            for o in range(0, PIXELS, ROWS):
                for part in range(x // LANES * 2 + o // 4, x // LANES * 2 + o // 4 + 2):
                    fetch_part(flat, at + (CHANNELS + 1) * SITES, (CHANNELS + 1) * SITES, part, PARTS)
                sums = tile_of(_NOTHING, 0)
                sums = add_products(sums, flat, at + x, SITES, CHANNELS, correction, o * CHANNELS)
                known = tile_at(s, (TARGET + o) * SITES + x, SITES)
                put_tile(given, (k * PIXELS + o) * SITES + x, SITES, LANES, added(scaled(sums, row), known))


@inner
def _weigh_energies(s, details, at, coarse, of):
    """Energies of a frame's pixels and around them, weighed by the gains that are kept, as target."""
    for x in range(0, SITES, LANES):
        gain, wide = load(s, KEPT * SITES + x), load(s, (KEPT + 1) * SITES + x)
        broad = load(s, (KEPT + 2) * SITES + x)
        around = add_times(times(wide, load(coarse, of + x)), broad, load(coarse, of + SITES + x))
        for c in range(x, PIXELS * SITES + x, SITES):
            fetch(details, at + PIXELS * SITES + c)
            save(s, TARGET * SITES + c, add_times(around, gain, load(details, at + c)))


@inner
def put_pixel_shares(logits, answered, least, result, count):
    """Logarithm of each frame's probability in the pixels of a row, (frames, 4, sites, 4)."""
    apart()
    total = _exponentials(logits, answered, False)
    for k in range(len(logits)):
        for c in range(PIXELS):
            for x in range(count):
                at = U(c * SITES + x)
                result[k, c // 4, x, c % 4] = max(logits[k, at] - total[at], least)


@inner
def put_cell_shares(logits, answered, least, result, count):
    """Logarithm of each frame's mean probability in the cells of a row, (frames, sites). Logits are used up."""
    apart()
    shares, mean = _exponentials(logits, answered, True), np.empty(SITES, np.float32)
    for k in range(len(logits)):
        mean[:] = 0
        for c in range(0, PIXELS * SITES, SITES):
            for x in range(SITES):
                mean[U(x)] += logits[k, U(c + x)] * shares[U(c + x)]
        for x in range(count):
            result[k, x] = max(log_of(mean[x] * np.float32(1 / PIXELS)), least)


@inner
def _exponentials(logits, answered, kept):
    """What takes logits, or their exponentials where these are kept in their place, to probabilities.

    That is the logarithm of what to divide by, or the factor.
    """
    size = logits.shape[1]
    largest, total = np.empty(size, np.float32), np.zeros(size, np.float32)
    largest[:] = -np.inf
    for k in range(len(logits)):
        for i in range(size):
            largest[i] = max(largest[i], logits[k, i])
    for k in range(len(logits)):
        for i in range(size):
            power = exp_of(logits[k, i] - largest[i])
            total[i] += power
            if kept:
                logits[k, i] = power
    for i in range(size):
        total[i] = exp_of(answered[i]) / total[i] if kept else largest[i] + log_of(total[i]) - answered[i]
    return total
