"""Where there is something to see: a network must not promise depth of blank ground far from all detail."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dff.focus.evidence import cell_mean, ring_energy, survey
from dff.focus.measure import CELL
from dff.training.losses import LEAST_VISIBLE, Target

REACH_CELLS = 3
"""Detail this near, on the same surface, is enough."""
SAME_SURFACE_FRAMES = 2.0
LEAST_ENERGY = 1.0
"""Of the true picture's detail, relative to the noise of the frames."""


def in_sight(images: Tensor, target: Target) -> Tensor:
    """Where detail of the same surface stands out of the noise nearby.

    Args:
        images: (N, H, W) luminance that the network sees; H and W are multiples of CELL.
        target: Truth.

    Returns:
        (H, W) bool.
    """
    energy = cell_mean(ring_energy(target.sharp[None]))[0] / survey(images).noise[..., 0]
    index = _index_of_cells(target)
    reach = 2 * REACH_CELLS + 1
    around = F.pad(torch.where(energy > LEAST_ENERGY, index, torch.nan), (REACH_CELLS,) * 4, value=torch.nan)
    detailed = around.unfold(0, reach, 1).unfold(1, reach, 1)
    near = detailed.flatten(2).repeat_interleave(CELL, 0).repeat_interleave(CELL, 1)
    return ((near - target.index[..., None]).abs() <= SAME_SURFACE_FRAMES).any(-1)


def _index_of_cells(target: Target) -> Tensor:
    """(h, w) mean index of the pixels of a cell that all of the aperture sees; where surfaces meet, the nearer."""
    counts = torch.isfinite(target.index) & (target.visible >= LEAST_VISIBLE)
    share = F.avg_pool2d(counts[None].float(), CELL)[0]
    return F.avg_pool2d(torch.where(counts, target.index, 0.0)[None], CELL)[0] / share.where(share > 0, torch.nan)
