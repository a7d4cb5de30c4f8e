"""A small network with one hidden layer at many pixels, compiled: a pixel's answer does not depend on the others."""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, exp_of

BLOCK_PX = 1024
_ONE, _TWO, _MOST = np.float32(1), np.float32(2), np.float32(20)


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
        stop = min(start + BLOCK_PX, features.shape[1])
        size = stop - start
        for j in range(len(constant)):
            result[j, start:stop] = constant[j]
        for u in range(len(bias)):
            unit[:size] = bias[u]
            for f in range(len(features)):
                values, weight = features[f, start:stop], hidden[u, f]
                for x in range(size):
                    unit[x] += weight * values[x]
            for x in range(size):
                unit[x] = _ONE - _TWO / (exp_of(min(_TWO * unit[x], _MOST)) + _ONE)
            for j in range(len(constant)):
                found, weight = result[j, start:stop], output[j, u]
                for x in range(size):
                    found[x] += weight * unit[x]
