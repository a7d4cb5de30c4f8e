"""A small network with one hidden layer, on maps of features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def answers(
    features: Tensor,
    hidden: Sequence[Sequence[float]],
    bias: Sequence[float],
    output: Sequence[Sequence[float]],
    constant: Sequence[float],
) -> Tensor:
    """constant + output . tanh(bias + hidden . features).

    Args:
        features: (F, ...).
        hidden: (units, F).
        bias: (units,).
        output: (J, units).
        constant: (J,).

    Returns:
        (J, ...).
    """
    from dff.depth import unit_loops

    numbers = (np.array(values, np.float32) for values in (hidden, bias, output, constant))
    flat = features.flatten(1).contiguous()
    result = torch.empty(len(constant), flat.shape[1])
    unit_loops.answers(flat.numpy(), *numbers, result.numpy())
    return result.reshape(len(constant), *features.shape[1:])
