"""Semi-global matching on the processor: what `dff.depth.regularise` says in tensors, compiled.

Costs are 16-bit integers, (N, h, w); path costs are float32, of the sites of a row, or of a few rows, side by side.
"""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, copy_row, inner

ROWS = 16
"""Rows whose paths along the row are followed together."""
_ZERO = np.float32(0)


@compiled
def site_costs(logits, apart, truncation, step, cost):
    """Data cost of some rows: see `data_cost`.

    Args:
        logits: (N, rows, w) float32.
        apart: Frames from the best peak beyond which another is the second.
        truncation: Largest drop from the peak that counts.
        step: Unit of the costs.
        cost: (N, rows, w) uint16, changed in place.
    """
    count, rows, width = logits.shape
    peak, second, label = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.int32)
    share = np.empty(width, np.float32)
    for y in range(rows):
        label[:], second[:] = 0, -np.inf
        copy_row(logits[0, y], peak)
        for k in range(1, count):
            row = logits[k, y]
            for x in range(width):
                better = row[x] > peak[x]
                label[x] = k if better else label[x]
                peak[x] = row[x] if better else peak[x]
        for k in range(count):
            row = logits[k, y]
            for x in range(width):
                away = abs(k - label[x]) > apart
                second[x] = row[x] if away and row[x] > second[x] else second[x]
        for x in range(width):
            clear = np.float32(1) - np.exp(second[x] - peak[x])
            share[x] = min(max(clear, np.float32(0.02)), np.float32(1)) / step
        for k in range(count):
            row, target = logits[k, y], cost[k, y]
            for x in range(width):
                target[x] = np.int32(min(peak[x] - row[x], truncation) * share[x] + np.float32(0.5))


@inner
def _cheapest_step(paths, best, other, penalty, jump):
    """Cost of reaching each label from any label of the site before, (N, sites): linear, cut at a jump."""
    count, sites = paths.shape
    floor = other[0]
    copy_row(paths[0], floor)
    for k in range(1, count):
        row = paths[k]
        for x in range(sites):
            floor[x] = min(floor[x], row[x])
    for k in range(count):
        row, target = paths[k], best[k]
        for x in range(sites):
            target[x] = row[x] - floor[x]
    reach, now, then = 1, best, other
    while reach <= 4 and reach < count:
        more = penalty * np.float32(reach)
        for k in range(count):
            low, here, high, target = now[max(k - reach, 0)], now[k], now[min(k + reach, count - 1)], then[k]
            for x in range(sites):
                target[x] = min(here[x], min(low[x], high[x]) + more)
        now, then = then, now
        reach *= 2
    for k in range(count):
        row, target = now[k], paths[k]
        for x in range(sites):
            target[x] = min(row[x], jump)


@inner
def _come(now, moved):
    """Paths at the sites of the next row that they come to: below, and on either side of that."""
    for k in range(now.shape[1]):
        moved[1, k, 0], moved[2, k, -1] = _ZERO, _ZERO
        copy_row(now[0, k], moved[0, k])
        copy_row(now[1, k], moved[1, k, 1:])
        copy_row(now[2, k, 1:], moved[2, k])


@compiled
def down(cost, rows, paths, step, penalty, jump, backward, unit, total):
    """Follow paths from row to row, straight and along both diagonals, and add their costs.

    Args:
        cost: (N, h, w) uint16 data cost.
        rows: First row and row after the last.
        paths: (3, N, w) float32 costs of the paths that come from the rows before, changed in place; zeros at first.
        step: Unit of the costs.
        penalty: Of a change of the label by one.
        jump: Largest penalty.
        backward: Whether paths go from the last row to the first.
        unit: Unit of the sums.
        total: (N, rows, w) int16, changed in place; with no rows nothing is added.
    """
    count, _, width = cost.shape
    now, moved = paths, np.empty((3, count, width), np.float32)
    best, other = np.empty((count, width), np.float32), np.empty((count, width), np.float32)
    for row in range(rows[1] - rows[0]):
        y = rows[1] - 1 - row if backward else rows[0] + row
        _come(now, moved)
        for way in range(3):
            _cheapest_step(moved[way], best, other, penalty, jump)
        for k in range(count):
            source = cost[k, y]
            for way in range(3):
                path = moved[way, k]
                for x in range(width):
                    path[x] += np.float32(source[x]) * step
        if total.shape[1] > 0:
            for k in range(count):
                a, b, c, target = moved[0, k], moved[1, k], moved[2, k], total[k, y - rows[0]]
                for x in range(width):
                    target[x] += np.int16((a[x] + b[x] + c[x]) * unit)
        now, moved = moved, now
    if (rows[1] - rows[0]) % 2 == 1:
        for way in range(3):
            for k in range(count):
                copy_row(now[way, k], paths[way, k])


@compiled
def along(cost, step, penalty, jump, unit, total):
    """Add the costs of the paths along some rows, both ways; see `down`."""
    count, height, width = cost.shape
    paths = np.empty((count, height), np.float32)
    best, other = np.empty((count, height), np.float32), np.empty((count, height), np.float32)
    for backward in (False, True):
        paths[:] = _ZERO
        for column in range(width):
            x = width - 1 - column if backward else column
            _cheapest_step(paths, best, other, penalty, jump)
            for k in range(count):
                path = paths[k]
                for y in range(height):
                    path[y] += np.float32(cost[k, y, x]) * step
                    total[k, y, x] += np.int16(path[y] * unit)


@inner
def _at(total, k, y, x):
    """The total of a label; of none outside the stack a large one."""
    return np.int32(total[k, y, x]) if 0 <= k < len(total) else np.int32(1 << 30)


@compiled
def cheapest(total, tie, label):
    """Label of least total; of two neighbours that are as good, the one on the cheaper side.

    Args:
        total: (N, h, w) int16.
        tie: Totals that differ by no more are as good.
        label: (h, w) int64, changed in place.
    """
    count, height, width = total.shape
    least = np.empty(width, np.int16)
    for y in range(height):
        found = label[y]
        copy_row(total[0, y], least)
        found[:] = 0
        for k in range(1, count):
            row = total[k, y]
            for x in range(width):
                better = row[x] < least[x]
                found[x] = k if better else found[x]
                least[x] = row[x] if better else least[x]
        for x in range(width):
            k, bar = found[x], np.int32(least[x]) + tie
            before, after = _at(total, k - 1, y, x), _at(total, k + 1, y, x)
            up = after <= bar and _at(total, k + 2, y, x) < before
            down = before <= bar and _at(total, k - 2, y, x) < after
            found[x] += np.int64(up) - np.int64(down)
