"""Fit the small networks with one hidden layer that `dff.depth.units` runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dff.stack import FloatArray

BATCH = 4096
RATE = 1e-2
LEAST_SPREAD = 1e-3
Row = tuple[float, ...]


@dataclass(frozen=True)
class Units:
    """The numbers of a network, on features as they are: constant + output . tanh(bias + hidden . features)."""

    hidden: tuple[Row, ...]
    """(units, F)."""
    bias: Row
    output: tuple[Row, ...]
    """(J, units)."""
    constant: Row


def fit_units(
    features: FloatArray,
    answers: int,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    units: int,
    steps: int,
    decay: float,
    seed: int,
) -> Units:
    """The network of least loss, by stochastic descent; equal features give equal networks.

    Args:
        features: (P, F).
        answers: Their number J.
        loss: Gives the loss of (B, J) answers at the pixels of these (B,) numbers.
        units: Units of the hidden layer.
        steps: Steps of the descent.
        decay: How much weights shrink: fewer accidents of the scenes are learned.
        seed: Of the first weights and of the batches.
    """
    generator = torch.Generator().manual_seed(seed)
    mean, spread = features.mean(0), features.std(0) + LEAST_SPREAD
    inputs = torch.from_numpy(((features - mean) / spread).astype(np.float32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(features.shape[1], units), nn.Tanh(), nn.Linear(units, answers))
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(steps):
        batch = torch.randint(len(inputs), (BATCH,), generator=generator)
        found = loss(network(inputs[batch]), batch)
        optimiser.zero_grad()
        found.backward()
        optimiser.step()
        schedule.step()
    return _unscaled(network, mean, spread)


def _unscaled(network: nn.Sequential, mean: FloatArray, spread: FloatArray) -> Units:
    """The network on features as they are."""
    first, second = (
        {key: value.detach().double().numpy() for key, value in part.named_parameters()}
        for part in (network[0], network[2])
    )
    hidden = first["weight"] / spread

    def rounded(values: FloatArray) -> Row:
        return tuple(float(f"{value:.5g}") for value in values)

    return Units(
        tuple(rounded(row) for row in hidden),
        rounded(first["bias"] - hidden @ mean),
        tuple(rounded(row) for row in second["weight"]),
        rounded(second["bias"]),
    )
