"""Whether frames come in the order of the sweep: what is sharp in one frame is then sharp in its neighbours."""

from __future__ import annotations

from torch import Tensor

LEAST_FRAMES = 8
"""Fewer follow each other by chance."""
_BEST = 3
_STANDS_OUT = 1.5
"""Logarithm of energy by which the sharpest frame of a place must be above the median frame, to be no noise."""
_LEAST_CLEAR = 0.05
_LEAST_SHARE, _OVER_CHANCE = 0.25, 3.0
"""Of the places whose sharpest frames follow each other: 0.3 to 1 of them in the order of the sweep."""


def follows_sweep(energies: Tensor) -> bool:
    """Whether the three sharpest frames of a place follow each other more often than those of shuffled frames.

    Args:
        energies: (N, P) logarithm of the energy of every frame in places all over the picture; without a filter
            along the stack, which makes frames alike that follow each other.

    Returns:
        True also where frames are too few, or too little stands out of the noise, to tell.
    """
    count, places = energies.shape
    if count < LEAST_FRAMES or not places:
        return True
    clear = energies.amax(0) - energies.median(0).values > _STANDS_OUT
    if clear.float().mean() < _LEAST_CLEAR:
        return True
    best = energies[:, clear].topk(_BEST, 0).indices
    share = float((best.amax(0) - best.amin(0) == _BEST - 1).float().mean())
    return share >= max(_LEAST_SHARE, _OVER_CHANCE * 6 / (count * (count - 1)))
