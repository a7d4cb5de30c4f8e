"""A small network with one hidden layer at many pixels, compiled: a pixel's answer does not depend on the others."""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, exp_of, inner

BLOCK_PX = 1024
_ZERO, _ONE, _TWO, _MOST = np.float32(0), np.float32(1), np.float32(2), np.float32(20)


@compiled
def answers(features, hidden, bias, output, constant, result):
    """constant + output . tanh(bias + hidden . features).

    Args:
        features: (F, P) float32.
        hidden: (units, F) float32.
        bias: (units,) float32.
        output: (J, units) float32.
        constant: (J,) float32.
        result: (J, P) float32, changed in place.
    """
    unit = np.empty(BLOCK_PX, np.float32)
    for start in range(0, features.shape[1], BLOCK_PX):
        size = min(BLOCK_PX, features.shape[1] - start)
        _answered(features, start, size, hidden, bias, output, constant, unit, result, start)


@compiled
def mixtures(features, hidden, bias, output, constant, values, variances, owners, factors, mixed, variance):
    """Means of several estimates, and of their variances, with shares softmax(`answers`).

    Args:
        features: (F, P) float32; the network as for `answers`.
        values: (J, P) float32.
        variances: (K, P) float32; without any, no variance is mixed.
        owners: (J,) which of those belongs to each estimate.
        factors: (J,) float32 what it is multiplied by.
        mixed: (P,) float32, changed in place.
        variance: (P,) float32, changed in place; not looked at without variances.
    """
    unit, shares = np.empty(BLOCK_PX, np.float32), np.empty((len(constant), BLOCK_PX), np.float32)
    total, largest = np.empty(BLOCK_PX, np.float32), np.empty(BLOCK_PX, np.float32)
    for start in range(0, features.shape[1], BLOCK_PX):
        part = slice(start, min(start + BLOCK_PX, features.shape[1]))
        size = part.stop - start
        _answered(features, start, size, hidden, bias, output, constant, unit, shares, 0)
        _softened(shares, size, largest, total)
        found = mixed[part]
        found[:] = _ZERO
        for j in range(len(values)):
            _add(shares[j], _ONE, values[j, part], found)
        _divide(found, total)
        if len(variances):
            found = variance[part]
            found[:] = _ZERO
            for j in range(len(owners)):
                _add(shares[j], factors[j], variances[owners[j], part], found)
            _divide(found, total)


@inner
def _answered(features, start, size, hidden, bias, output, constant, unit, result, place):
    """The same for a few pixels from `start` on, whose answers begin at a place of the result."""
    count, part = len(features), slice(start, start + size)
    for j in range(len(constant)):
        result[j, place : place + size] = constant[j]
    for u in range(len(bias)):
        unit[:size] = bias[u]
        last = count - count % 4
        for f in range(0, last, 4):
            a, b, c, d = features[f, part], features[f + 1, part], features[f + 2, part], features[f + 3, part]
            p, q, r, s = hidden[u, f], hidden[u, f + 1], hidden[u, f + 2], hidden[u, f + 3]
            for x in range(size):
                unit[x] += p * a[x] + q * b[x] + r * c[x] + s * d[x]
        for f in range(last, count):
            row, weight = features[f, part], hidden[u, f]
            for x in range(size):
                unit[x] += weight * row[x]
        for x in range(size):
            unit[x] = _ONE - _TWO / (exp_of(min(_TWO * unit[x], _MOST)) + _ONE)
        for j in range(len(constant)):
            found, weight = result[j, place : place + size], output[j, u]
            for x in range(size):
                found[x] += weight * unit[x]


@inner
def _softened(shares, size, largest, total):
    """Turn answers into weights, and add these up."""
    largest[:size], total[:size] = -np.inf, _ZERO
    for j in range(len(shares)):
        row = shares[j]
        for x in range(size):
            largest[x] = max(largest[x], row[x])
    for j in range(len(shares)):
        row = shares[j]
        for x in range(size):
            row[x] = exp_of(row[x] - largest[x])
            total[x] += row[x]


@inner
def _add(share, factor, values, found):
    for x in range(len(found)):
        found[x] += share[x] * factor * values[x]


@inner
def _divide(found, total):
    for x in range(len(found)):
        found[x] /= total[x]
