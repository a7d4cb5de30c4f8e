"""Mixtures: which share each of several estimates of a depth has, by a small network from what is known of a pixel.

Its numbers are kept in mixtures.json, one set for pixels of open surfaces and one for those near occlusion edges, with
the command that writes them: python -m dff.training.windows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from dff.depth.units import Units

MIXTURES = Path(__file__).with_name("mixtures.json")
Row = tuple[float, ...]


@dataclass(frozen=True)
class Mixture:
    """One hidden layer: shares = softmax(constant + output . tanh(bias + hidden . features))."""

    features: tuple[str, ...]
    """Names of what it looks at."""
    values: tuple[str, ...]
    """Names of what it mixes."""
    hidden: tuple[Row, ...]
    """(units, F)."""
    bias: Row
    output: tuple[Row, ...]
    """(J, units)."""
    constant: Row
    command: str = ""
    """Which fitted it."""

    def __call__(self, features: Tensor) -> Tensor:
        """(F, ...) features in the order of their names → (J, ...) shares, which add up to one."""
        return self.units.answers(features).softmax(0)

    @property
    def units(self) -> Units:
        """The network."""
        return Units.of(self.hidden, self.bias, self.output, self.constant)


def read_mixtures() -> dict[str, Mixture]:
    """All mixtures by name."""
    return {
        name: Mixture(
            features=tuple(kept["features"]),
            values=tuple(kept["values"]),
            hidden=tuple(tuple(row) for row in kept["hidden"]),
            bias=tuple(kept["bias"]),
            output=tuple(tuple(row) for row in kept["output"]),
            constant=tuple(kept["constant"]),
            command=kept["command"],
        )
        for name, kept in json.loads(MIXTURES.read_text()).items()
    }


@lru_cache(maxsize=1)
def _known_mixtures() -> dict[str, Mixture]:
    return read_mixtures()


def mixture_of(name: str) -> Mixture:
    """The mixture for "open" surfaces or for pixels near an "edge"."""
    return _known_mixtures()[name]
