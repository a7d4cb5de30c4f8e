"""Layers of the stack network for the processor: what `stack_layers` says in tensors, compiled, row by row.

Rows of sites are kept in rings, (rows, frames, channels, MARGIN + width + MARGIN): row y lies at y modulo their
number.
"""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, log_of
from dff.focus.lanes import LANES, add, add_times, every, larger, load, save, times
from dff.focus.stack_scratch import (
    BANK,
    CHANNELS,
    ENERGY_FLOOR,
    KEPT,
    NORMAL,
    ONE,
    PIXELS,
    SEEN,
    SITES,
    SIZE,
    SOURCE,
    TARGET,
    ZERO,
    U,
    add_bias,
    add_product,
    add_statistics,
    begin_statistics,
    block,
    copy,
    exp_of,
    fill,
    give,
    log_sigmoid,
    look_around,
    normalise,
    place,
    rectify,
    ringed,
    take,
    tell_stack,
)


@compiled
def bank_energy(pixels, bank, energy, y0, y1, first, last, height, width, s):
    """Squared answers of the learned filters in the rows from y0 to y1, in the segments from first to last."""
    flat, pitch, frames = pixels.reshape(-1), pixels.shape[3], pixels.shape[1]
    target = energy.reshape(-1)
    for y in range(y0, y1):
        for segment in range(first, last):
            x0 = segment * SITES
            for k in range(frames):
                for x in range(TARGET * SITES, (TARGET + BANK) * SITES, LANES):
                    save(s, x, every(ZERO))
                for tap in range(9):
                    row = place(pixels, min(max(y + tap // 3 - 1, 0), height - 1), k)
                    take(s, SOURCE, flat, row + x0 + tap % 3 - 1, pitch, PIXELS)
                    add_product(s, SOURCE, TARGET, TARGET, bank, tap * PIXELS * BANK, PIXELS, BANK)
                for x in range(TARGET * SITES, (TARGET + BANK) * SITES, LANES):
                    answer = load(s, x)
                    save(s, x, times(answer, answer))
                give(s, TARGET, target, ringed(energy, y, k) + x0, energy.shape[3], BANK, min(SITES, width - x0))


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
    for end in (0, height - 1):
        if y == end:
            share *= np.float32(1.5)
    for x in range(SITES):
        s[U(SIZE * SITES + x)] = share
    if x0 == 0:
        s[U(SIZE * SITES)] *= np.float32(1.5)
    if x0 <= width - 1 < x0 + SITES:
        s[U(SIZE * SITES + width - 1 - x0)] *= np.float32(1.5)
    for c in range(BANK):
        for x in range(c * pitch, c * pitch + SITES, LANES):
            total = _three(flat, above + x)
            total = add(total, _three(flat, here + x))
            total = add(total, _three(flat, below + x))
            save(s, (SOURCE + c) * SITES + x - c * pitch, total)
    for c in range(BANK):
        for x in range(SITES):
            at = (SOURCE + c) * SITES + x
            s[U(at)] = log_of(s[U(at)] * s[U(SIZE * SITES + x)] + ENERGY_FLOOR)


@compiled
def first_features(
    energy, fine, cells, noise, stem, bias, scale, focus, squeeze, squeeze_bias, detail, features, stack,
    y0, y1, first, last, height, width, s,
):  # fmt: skip
    """Features of what is seen of the frames in the rows from y0 to y1, and what the stack is told of them.

    The logarithms of the fine energies relative to the noise are kept as detail.
    """
    frames = features.shape[1]
    flat, fines, variance, coarse = features.reshape(-1), fine.reshape(-1), noise.reshape(-1), cells.reshape(-1)
    for y in range(y0, y1):
        for segment in range(first, last):
            x0 = segment * SITES
            count = min(SITES, width - x0)
            begin_statistics(s)
            at = place(noise, y, 0) + x0
            for x in range(SITES):
                s[U(KEPT * SITES + x)] = ONE / variance[U(at + x)]
            for k in range(frames):
                mean_around(s, energy, y, k, x0, height, width)
                at = place(fine, y, k) + x0
                take(s, SOURCE + BANK, fines, at, fine.shape[3], PIXELS)
                for c in range(SOURCE + BANK, SOURCE + BANK + PIXELS):
                    for x in range(SITES):
                        relative = s[U(c * SITES + x)] * s[U(KEPT * SITES + x)]
                        s[U(c * SITES + x)] = log_of(relative + ENERGY_FLOOR)
                to = block(detail, y, k, segment)
                give(s, SOURCE + BANK, detail.reshape(-1), to, SITES, PIXELS, count)
                take(s, SOURCE + BANK + PIXELS, coarse, place(cells, y, k) + x0, cells.shape[3], 4)
                fill(s, TARGET, bias, CHANNELS)
                add_product(s, SOURCE, TARGET, TARGET, stem, 0, SEEN, CHANNELS)
                give(s, TARGET, flat, block(features, y, k, segment), SITES, CHANNELS, count)
                normalise(s, TARGET, NORMAL)
                add_statistics(s, NORMAL, scale, focus)
            tell_stack(s, frames, squeeze, squeeze_bias, stack, y, x0, count)


@compiled
def mix(
    features, stack, around, around_bias, excite, excite_bias, mixture, mix_bias, gates, mixtures,
    y0, y1, first, last, height, width, s,
):  # fmt: skip
    """Mixtures of a frame's features, its neighbours' and the stack's in the rows from y0 to y1."""
    frames = features.shape[1]
    flat, mixed, gated = features.reshape(-1), mixtures.reshape(-1), gates.reshape(-1)
    here, beside, before = SOURCE, SOURCE + CHANNELS, KEPT + CHANNELS
    for y in range(y0, y1):
        for segment in range(first, last):
            x0 = segment * SITES
            count = min(SITES, width - x0)
            look_around(s, stack, y, x0, height, around, around_bias)
            rectify(s, TARGET, SOURCE, CHANNELS)
            add_bias(s, TARGET, mix_bias, CHANNELS)
            copy(s, TARGET, KEPT, CHANNELS)
            fill(s, TARGET, excite_bias, CHANNELS)
            add_product(s, SOURCE, TARGET, TARGET, excite, 0, CHANNELS, CHANNELS)
            for x in range(CHANNELS * SITES):
                s[U(TARGET * SITES + x)] = ONE / (ONE + exp_of(-s[U(TARGET * SITES + x)]))
            give(s, TARGET, gated, place(gates, y, 0) + x0, gates.shape[3], CHANNELS, count)
            take(s, here, flat, block(features, y, 0, segment), SITES, CHANNELS)
            normalise(s, here, here)
            copy(s, here, before, CHANNELS)
            copy(s, here, NORMAL, CHANNELS)
            for k in range(frames):
                if k + 1 < frames:
                    take(s, NORMAL, flat, block(features, y, k + 1, segment), SITES, CHANNELS)
                    normalise(s, NORMAL, NORMAL)
                for x in range(0, CHANNELS * SITES, LANES):
                    later = load(s, NORMAL * SITES + x)
                    save(s, beside * SITES + x, add(load(s, before * SITES + x), later))
                add_product(s, here, KEPT, TARGET, mixture, 0, 2 * CHANNELS, CHANNELS)
                rectify(s, TARGET, TARGET, CHANNELS)
                give(s, TARGET, mixed, ringed(mixtures, y, k) + x0, mixtures.shape[3], CHANNELS, count)
                copy(s, here, before, CHANNELS)
                copy(s, NORMAL, here, CHANNELS)


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
    zero = every(ZERO)
    for c in range(CHANNELS):
        for x in range(0, SITES, LANES):
            at, q = c * pitch + x, 9 * c
            value = every(bias[U(c)])
            value = _add_row(value, flat, above + at, reach, taps, q)
            value = _add_row(value, flat, here + at, reach, taps, q + 3)
            value = _add_row(value, flat, below + at, reach, taps, q + 6)
            at = c * SITES + x
            save(s, SOURCE * SITES + at, times(larger(value, zero), load(s, gate * SITES + at)))


@compiled
def look(
    features, mixtures, gates, reach, taps, taps_bias, out, out_bias, scale, focus, squeeze, squeeze_bias, stack,
    y0, y1, first, last, height, width, s,
):  # fmt: skip
    """Change the features in the rows from y0 to y1 by what is around them; tell the stack of the next layer."""
    frames = features.shape[1]
    flat, gated = features.reshape(-1), gates.reshape(-1)
    for y in range(y0, y1):
        for segment in range(first, last):
            x0 = segment * SITES
            count = min(SITES, width - x0)
            begin_statistics(s)
            take(s, KEPT, gated, place(gates, y, 0) + x0, gates.shape[3], CHANNELS)
            for k in range(frames):
                look_at(s, mixtures, y, k, x0, reach, height, taps, taps_bias, KEPT)
                at = block(features, y, k, segment)
                take(s, TARGET, flat, at, SITES, CHANNELS)
                add_bias(s, TARGET, out_bias, CHANNELS)
                add_product(s, SOURCE, TARGET, TARGET, out, 0, CHANNELS, CHANNELS)
                give(s, TARGET, flat, at, SITES, CHANNELS, count)
                normalise(s, TARGET, NORMAL)
                add_statistics(s, NORMAL, scale, focus)
            tell_stack(s, frames, squeeze, squeeze_bias, stack, y, x0, count)


@compiled
def decide(
    features, detail, cells, stack, contrast, around, around_bias, gains, gains_bias, unanswered, unanswered_bias,
    correction, steepness, least_contrast, sure, logits, answered,
    y0, y1, first, last, height, width, s,
):  # fmt: skip
    """Logits (frames, rows, PIXELS, width) of the rows from y0 to y1, and (rows, PIXELS, width) of any answer."""
    frames = features.shape[1]
    flat, details, coarse = features.reshape(-1), detail.reshape(-1), cells.reshape(-1)
    contrasts, gain, energies = contrast.reshape(-1), KEPT, KEPT + 4
    for y in range(y0, y1):
        for segment in range(first, last):
            x0 = segment * SITES
            count = min(SITES, width - x0)
            look_around(s, stack, y, x0, height, around, around_bias)
            rectify(s, TARGET, SOURCE, CHANNELS)
            fill(s, TARGET, gains_bias, 8)
            add_product(s, SOURCE, TARGET, TARGET, gains, 0, CHANNELS, 8)
            for x in range(4 * SITES):
                s[U(gain * SITES + x)] = -log_sigmoid(-s[U(TARGET * SITES + x)])
            fill(s, TARGET, unanswered_bias, PIXELS)
            add_product(s, SOURCE, TARGET, TARGET, unanswered, 0, CHANNELS, PIXELS)
            at = place(contrast, y, 0) + x0
            for c in range(PIXELS):
                for x in range(count):
                    learned = log_sigmoid(-min(max(s[U((TARGET + c) * SITES + x)], -sure), sure))
                    known = log_sigmoid((contrasts[U(at + x)] - least_contrast) * steepness)
                    answered[y - y0, c, x0 + x] = learned + known
            for k in range(frames):
                take(s, SOURCE, flat, block(features, y, k, segment), SITES, CHANNELS)
                normalise(s, SOURCE, SOURCE)
                take(s, TARGET, details, block(detail, y, k, segment), SITES, PIXELS)
                take(s, energies, coarse, place(cells, y, k) + x0, cells.shape[3], 4)
                for x in range(SITES):
                    wide = s[U(energies * SITES + x)] * s[U((gain + 1) * SITES + x)]
                    broad = s[U((energies + 1) * SITES + x)] * s[U((gain + 2) * SITES + x)]
                    s[U(SIZE * SITES + x)] = wide + broad
                for c in range(TARGET, TARGET + PIXELS):
                    for x in range(SITES):
                        at = U(c * SITES + x)
                        s[at] = s[at] * s[U(gain * SITES + x)] + s[U(SIZE * SITES + x)]
                add_product(s, SOURCE, TARGET, TARGET, correction, 0, CHANNELS, PIXELS)
                for c in range(PIXELS):
                    for x in range(count):
                        logits[k, y - y0, c, x0 + x] = s[U((TARGET + c) * SITES + x)]


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
