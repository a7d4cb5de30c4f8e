"""A small network with one hidden layer, on maps of features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_BLOCK_PX = 1 << 16


def answers(
    features: Tensor,
    hidden: Sequence[Sequence[float]],
    bias: Sequence[float],
    output: Sequence[Sequence[float]],
    constant: Sequence[float],
) -> Tensor:
    """constant + output . tanh(bias + hidden . features), part by part.

    Args:
        features: (F, ...).
        hidden: (units, F).
        bias: (units,).
        output: (J, units).
        constant: (J,).

    Returns:
        (J, ...).
    """
    first, shift, second, offset = (
        torch.tensor(values, dtype=torch.float32, device=features.device) for values in (hidden, bias, output, constant)
    )
    flat = features.flatten(1)
    result = flat.new_empty(len(offset), flat.shape[1])
    for start in range(0, flat.shape[1], _BLOCK_PX):
        part = slice(start, start + _BLOCK_PX)
        units = torch.addmm(shift[:, None], first, flat[:, part]).tanh_()
        result[:, part] = torch.addmm(offset[:, None], second, units)
    return result.reshape(len(offset), *features.shape[1:])
