"""A warning where frames do not seem to come in the order of the sweep, which every filter along the stack takes."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from dff.depth import follows_sweep, lattice_volume
from dff.depth.sequence import LEAST_FRAMES
from dff.focus import focus_volume, load_measure
from dff.pipeline.strips import Span, Strips, Tile

PATCHES = 4
"""Along each side of the picture."""
PATCH_PX = 64
_OPERATOR = "ring-difference"


def warn_of_order(strips: Strips) -> None:
    """Look at patches all over the aligned frames, and warn where those that are sharp alike do not follow each other.

    Args:
        strips: The aligned frames, in the order that they are used in.
    """
    if len(strips.frames) < LEAST_FRAMES:
        return
    rows, columns = (patches(size) for size in strips.size_px)
    energies = torch.cat([_energies(strips, Tile(y, x, y, x)) for y in rows for x in columns], 1)
    if not follows_sweep(energies):
        warnings.warn(
            "frames: their names do not follow the sweep, places are sharpest in frames that are not neighbours; "
            "use --order auto, or rename them",
            stacklevel=2,
        )


def patches(size_px: int) -> list[Span]:
    """Spans of PATCH_PX, PATCHES of them spread evenly over a side."""
    starts = np.linspace(0, max(0, size_px - PATCH_PX), PATCHES).astype(int)
    return [(int(start), min(size_px, int(start) + PATCH_PX)) for start in np.unique(starts)]


def _energies(strips: Strips, tile: Tile) -> Tensor:
    """(N, P) logarithm of the energy of the cells of a patch."""
    return lattice_volume(focus_volume(strips.images(tile, 1), load_measure(_OPERATOR))).flatten(1)
