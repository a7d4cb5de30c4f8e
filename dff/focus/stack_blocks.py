"""The blocks of the stack network: every frame with its neighbours, then every site with those around it.

See `stack_kernels` for how rows are kept.
"""

from __future__ import annotations

import numpy as np

from dff.compiled import inner
from dff.focus.lanes import LANES, add, add_times, apart, every, fetch, from_both, larger, load, save, times
from dff.focus.stack_scratch import (
    CHANNELS,
    KEPT,
    MIXED,
    MIXED_PARTS,
    SITES,
    SOURCE,
    STACK,
    TARGET,
    TOGETHER,
    ZERO,
    U,
    add_products,
    add_products_of_sums,
    begin_statistics,
    block,
    change,
    fetch_part,
    look_around,
    put_normal,
    put_product,
    rectify,
    sigmoid,
    tell_each,
    tell_stack,
)
from dff.focus.tiles import ROWS, put_tile, rectified, tile_at


@inner
def mix(
    features, stack, around, around_bias, excite, excite_bias, mixture, mix_bias, gates, mixtures,
    y0, y1, segment, height, width, s,
):  # fmt: skip
    """Mixtures of a frame's features, its neighbours' and the stack's."""
    apart()
    frames, count = features.shape[2], min(SITES, width - segment * SITES)
    flat, gated, mixed = features.reshape(-1), gates.reshape(-1), mixtures.reshape(-1)
    for y in range(y0, y1):
        look_around(s, stack, y, segment, height, around, around_bias)
        rectify(s, TARGET, SOURCE, CHANNELS)
        for c in range(MIXED):
            for x in range(c * SITES, (c + 1) * SITES, LANES):
                save(s, KEPT * SITES + x, add(load(s, TARGET * SITES + x), every(mix_bias[U(c)])))
        put_product(s, SOURCE, TARGET, excite, CHANNELS, excite_bias, MIXED)
        at = block(gates, y, segment, 0)
        for x in range(MIXED * SITES):
            gated[U(at + x)] = sigmoid(s[U(TARGET * SITES + x)])
        put_normal(s, STACK, flat, block(features, y, segment, 0))
        for k in range(frames):
            if k + 1 < frames:
                put_normal(s, _slot(k + 1), flat, block(features, y, segment, k + 1))
            around_it = _slot(max(0, k - 1)), _slot(min(k + 1, frames - 1))
            at, to = block(features, y, segment, k + 2), block(mixtures, y, segment, k)
            _put_mixture(s, _slot(k), *around_it, mixture, flat, at, mixed, to, count)


@inner
def _slot(k):
    """First row of the scratch that holds a frame's features while its neighbours are mixed."""
    return STACK + k % 3 * CHANNELS


@inner
def _put_mixture(s, here, before, after, mixture, flat, ahead, mixed, at, count):
    """What is kept and products with a frame and with the sum of its neighbours, rectified, LANES sites at a time."""
    apart()
    for x in range(0, SITES, 2 * LANES):
        for o in range(0, MIXED, ROWS):
            sums, first = tile_at(s, (KEPT + o) * SITES + x, SITES), o * 2 * CHANNELS
            part = (x // LANES * MIXED // 2 + o) // ROWS
            fetch_part(flat, ahead, (CHANNELS + 1) * SITES, part, MIXED_PARTS)
            fetch_part(mixed, at + MIXED * SITES, MIXED * SITES, part, MIXED_PARTS)
            sums = add_products(sums, s, here * SITES + x, SITES, CHANNELS, mixture, first)
            first += CHANNELS * ROWS
            of, other = before * SITES + x, after * SITES + x
            sums = add_products_of_sums(sums, s, of, other, SITES, CHANNELS, mixture, first)
            put_tile(mixed, at + x * MIXED + o * LANES, LANES, LANES * MIXED, rectified(sums))
    for x in range(count, SITES):
        for c in range(MIXED):
            mixed[U(at + x // LANES * LANES * MIXED + c * LANES + x % LANES)] = 0


def _look_at(reach):
    """Looks around at sites that are `reach` apart."""
    rest = LANES - reach

    @inner
    def look_at(s, mixed, above, here, below, left, right, edges, taps, bias, gated, gate):
        apart()
        zero = every(ZERO)
        for c in range(MIXED):
            q = 9 * c
            t0, t1, t2 = every(taps[U(q)]), every(taps[U(q + 1)]), every(taps[U(q + 2)])
            t3, t4, t5 = every(taps[U(q + 3)]), every(taps[U(q + 4)]), every(taps[U(q + 5)])
            t6, t7, t8 = every(taps[U(q + 6)]), every(taps[U(q + 7)]), every(taps[U(q + 8)])
            constant = every(bias[U(c)])
            for row in (above, here, below):
                fetch(mixed, row + (MIXED + c) * SITES)
                fetch(mixed, row + (MIXED + c) * SITES + SITES // 2)
            at = c * LANES + left
            a, b, d = load(mixed, above + at), load(mixed, here + at), load(mixed, below + at)
            l0 = times(add_times(add_times(times(t0, a), t3, b), t6, d), edges[0])
            at = c * LANES
            a, b, d = load(mixed, above + at), load(mixed, here + at), load(mixed, below + at)
            l1 = add_times(add_times(times(t0, a), t3, b), t6, d)
            middle = add_times(add_times(add_times(constant, t1, a), t4, b), t7, d)
            r0 = add_times(add_times(times(t2, a), t5, b), t8, d)
            for x in range(0, SITES, LANES):
                at = c * LANES + (x + LANES) * MIXED if x < SITES - LANES else c * LANES + right
                a, b, d = load(mixed, above + at), load(mixed, here + at), load(mixed, below + at)
                r1 = add_times(add_times(times(t2, a), t5, b), t8, d)
                if x == SITES - LANES:
                    r1 = times(r1, edges[1])
                value = add(add(middle, from_both(l0, l1, rest)), from_both(r0, r1, reach))
                at = c * SITES + x
                save(s, SOURCE * SITES + at, times(larger(value, zero), load(gated, gate + at)))
                l0, r0 = l1, r1
                l1 = add_times(add_times(times(t0, a), t3, b), t6, d)
                middle = add_times(add_times(add_times(constant, t1, a), t4, b), t7, d)

    return look_at


REACHES = (1, 2, 4, 6)
_look_at_1, _look_at_2, _look_at_4, _look_at_6 = (_look_at(reach) for reach in REACHES)


@inner
def _put_taps(s, taps, up, down):
    """The taps, as kept in the scratch: 0 in rows that lie outside of the picture."""
    for q in range(9 * MIXED):
        row = q % 9 // 3
        s[U(KEPT * SITES + q)] = taps[q] if row == 1 or (row == 0 and up) or (row == 2 and down) else ZERO


@inner
def look(
    features, mixtures, gates, reach, taps, taps_bias, out, out_bias, scale, focus, squeeze, squeeze_bias, stack,
    y0, y1, segment, height, width, s,
):  # fmt: skip
    """Change the features by what is around them; tell the stack of the next layer.

    Each channel of the mixtures is weighed over 3 x 3 sites that are `reach` apart, one of REACHES, and let through by
    the gate.
    """
    apart()
    segments, frames = mixtures.shape[1], features.shape[2]
    flat, mixed, gated = features.reshape(-1), mixtures.reshape(-1), gates.reshape(-1)
    step, count = frames * MIXED * SITES, min(SITES, width - segment * SITES)
    edges = every(np.float32(segment > 0)), every(np.float32(segment < segments - 1))
    left = (SITES - LANES) * MIXED - step * (segment > 0)
    right = step * (segment < segments - 1)
    for y in range(y0, y1):
        begin_statistics(s)
        _put_taps(s, taps, y >= reach, y + reach < height)
        held = s[KEPT * SITES : KEPT * SITES + 9 * MIXED]
        gate = block(gates, y, segment, 0)
        for k in range(frames):
            above, here = block(mixtures, max(y - reach, 0), segment, k), block(mixtures, y, segment, k)
            below = block(mixtures, min(y + reach, height - 1), segment, k)
            if reach == 1:
                _look_at_1(s, mixed, above, here, below, left, right, edges, held, taps_bias, gated, gate)
            elif reach == 2:
                _look_at_2(s, mixed, above, here, below, left, right, edges, held, taps_bias, gated, gate)
            elif reach == 4:
                _look_at_4(s, mixed, above, here, below, left, right, edges, held, taps_bias, gated, gate)
            else:
                _look_at_6(s, mixed, above, here, below, left, right, edges, held, taps_bias, gated, gate)
            at = block(features, y, segment, k)
            change(s, SOURCE, MIXED, out, out_bias, focus, flat, at, k % TOGETHER, False)
            tell_each(s, flat, at, k, frames, scale)
        tell_stack(s, frames, squeeze, squeeze_bias, stack, y, segment, count)
