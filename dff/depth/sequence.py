"""Whether frames come in the order of the sweep: what is sharp in one frame is then sharp in its neighbours."""

from __future__ import annotations

from torch import Tensor

LEAST_FRAMES = 8
"""Fewer follow each other by chance."""
_BEST = 3
_STANDS_OUT = 1.5
"""Logarithm of energy by which the sharpest frame of a place must be above the median frame, to be no noise."""
_LEAST_CLEAR = 0.05
_FOLLOWING = 0.5
"""How far the share of places whose sharpest frame stands beside another sharp one must be from chance toward all."""


def follows_sweep(energies: Tensor) -> bool:
    """Whether a place's sharpest frame has a neighbour among the three sharpest, more often than by chance.

    A place may be sharp twice, where something nearer stands before it; each time it is so in a few frames in turn.

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
    share = float(((best[1:] - best[0]).abs() == 1).any(0).float().mean())
    chance = 1 - (count - 3) * (count - 4) / ((count - 1) * (count - 2))
    return share >= chance + _FOLLOWING * (1 - chance)
