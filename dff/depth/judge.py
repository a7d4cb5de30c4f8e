"""The model of confidence: a small network from what is known of a pixel to the probability that its index is right.

Its numbers are kept in judges.json, one set for every measure that it was fitted for, each with the command that
writes it: python -m dff.training.confidence MEASURE.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from dff.depth.units import Units

JUDGES = Path(__file__).with_name("judges.json")
DEFAULT = "ring-difference"
"""Whose judge serves measures that have none of their own."""


@dataclass(frozen=True)
class Judge:
    """One hidden layer: logit = constant + output . tanh(bias + hidden . features)."""

    features: tuple[str, ...]
    """Names of what it looks at."""
    hidden: tuple[tuple[float, ...], ...]
    """(units, F)."""
    bias: tuple[float, ...]
    output: tuple[float, ...]
    constant: float
    sigma_scale: float
    """Measured over predicted standard deviation of the index on textured planes."""
    command: str = ""
    """Which fitted it."""

    def __call__(self, features: Tensor) -> Tensor:
        """(F, ...) features in the order of their names → probability that the index is right to one frame."""
        return Units.of(self.hidden, self.bias, [self.output], [self.constant]).answers(features)[0].sigmoid_()


def read_judges() -> dict[str, Judge]:
    """All judges by the name of the measure that decides the frame."""
    return {
        name: Judge(
            features=tuple(kept["features"]),
            hidden=tuple(tuple(row) for row in kept["hidden"]),
            bias=tuple(kept["bias"]),
            output=tuple(kept["output"]),
            constant=kept["constant"],
            sigma_scale=kept["sigma_scale"],
            command=kept["command"],
        )
        for name, kept in json.loads(JUDGES.read_text()).items()
    }


@lru_cache(maxsize=1)
def _known_judges() -> dict[str, Judge]:
    return read_judges()


def judge_of(measure: str) -> Judge:
    """The judge fitted for a measure, else the one of the default measure."""
    judges = _known_judges()
    return judges.get(measure, judges[DEFAULT])
