"""A small network with one hidden layer, on maps of features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dff.stack import FloatArray

Rows = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Units:
    """answers = constant + output . tanh(bias + hidden . features)."""

    hidden: FloatArray
    """(units, F) float32."""
    bias: FloatArray
    """(units,)."""
    output: FloatArray
    """(J, units)."""
    constant: FloatArray
    """(J,)."""

    @classmethod
    def of(cls, hidden: Rows, bias: Sequence[float], output: Rows, constant: Sequence[float]) -> Units:
        """The network of some numbers."""
        return cls(*(np.array(values, np.float32) for values in (hidden, bias, output, constant)))

    @property
    def numbers(self) -> tuple[FloatArray, ...]:
        """In the order that `unit_loops` takes them."""
        return self.hidden, self.bias, self.output, self.constant

    def answers(self, features: Tensor) -> Tensor:
        """(F, ...) features → (J, ...)."""
        from dff.depth import unit_loops

        flat = features.flatten(1).contiguous()
        result = torch.empty(len(self.constant), flat.shape[1])
        unit_loops.answers(flat.numpy(), *self.numbers, result.numpy())
        return result.reshape(len(self.constant), *features.shape[1:])

    def mixed(self, features: Tensor, values: Tensor) -> Tensor:
        """The mean of estimates by shares that the softmax of the answers gives.

        Args:
            features: (F, ...).
            values: (J, ...).

        Returns:
            (...).
        """
        nothing = torch.empty(0, *values.shape[1:])
        return self.mixed_with_variance(features, values, nothing, (), ())[0]

    def mixed_with_variance(
        self,
        features: Tensor,
        values: Tensor,
        variances: Tensor,
        owners: Sequence[int],
        factors: Sequence[float],
    ) -> tuple[Tensor, Tensor]:
        """The means of estimates and of their variances, by the same shares.

        Args:
            features: (F, ...).
            values: (J, ...).
            variances: (K, ...).
            owners: (J,) which of those belongs to each estimate.
            factors: (J,) what it is multiplied by.

        Returns:
            (...) each.
        """
        from dff.depth import unit_loops

        mixed, variance = torch.empty(2, *values.shape[1:])
        given = (maps.flatten(1).contiguous().numpy() for maps in (features, values, variances))
        looked, *estimates = given
        which = np.array(owners, np.int64), np.array(factors, np.float32)
        results = (found.view(-1).numpy() for found in (mixed, variance))
        unit_loops.mixtures(looked, *self.numbers, *estimates, *which, *results)
        return mixed, variance
