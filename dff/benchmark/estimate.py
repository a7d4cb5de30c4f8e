"""What a method says of a focal stack, and what saying it took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dff.benchmark.cost import Cost
from dff.settings import Settings
from dff.stack import FloatArray, FocalStack


@dataclass(frozen=True)
class Estimate:
    """Answer of one method; what the method does not give is None."""

    cost: Cost
    index: FloatArray | None = None
    """(H, W) sub-frame index; NaN where the method says it does not know."""
    confidence: FloatArray | None = None
    """(H, W) probability that the index is right to one frame."""
    sigma: FloatArray | None = None
    """(H, W) standard deviation of the index in frames."""
    all_in_focus: FloatArray | None = None
    """(H, W, C) float32 with white at one."""


@dataclass(frozen=True)
class Method:
    """Something that turns aligned frames into depth, a picture, or both."""

    name: str
    summary: str
    estimate: Callable[[FocalStack], Estimate]
    external: bool = False
    """Whether it is another program."""
    own_alignment: bool = False
    """Whether it always registers the frames itself, so that its pixels have to be brought back."""
    settings: Settings | None = None
    """Settings of the whole program that run this method; None for what it does not contain."""
    with_window: Callable[[float], Method] | None = None
    """The method with another window, standard deviation in px; None where it has none."""
