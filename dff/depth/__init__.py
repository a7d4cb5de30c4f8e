"""Depth from a focus volume: label the sharpest frame, smooth the labels, refit to a fraction of a frame.

A picture is worked on in tiles: the sites of every tile, then the labels of the whole lattice, then the volume of
every tile with its refit. Tiles start at multiples of LATTICE pixels and carry `halo_px` pixels of context; what lies
inside the halo is then the same as for the whole picture.

A network decides the labels, on the lattice alone and only once; an operator's energies, which cost little, then
measure depth to a fraction of a frame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dff.depth.claims import CLAIMS
from dff.depth.edges import Frames, frames_of
from dff.depth.estimator import DepthEstimator
from dff.depth.labels import Labels, forget_uncovered
from dff.depth.peaks import Peaks
from dff.depth.plane import split_window
from dff.depth.refine import Refined
from dff.depth.regularise import regularise_depth
from dff.depth.select import LATTICE, lattice_size, lattice_volume, select_depth, upsample_label
from dff.depth.sequence import follows_sweep
from dff.depth.sites import SeenRows, SiteRows, Sites
from dff.focus import FocusMeasure
from dff.stack import DepthMap

__all__ = [
    "CLAIMS",
    "LATTICE",
    "DepthEstimator",
    "Frames",
    "Labels",
    "Peaks",
    "Refined",
    "SeenRows",
    "SiteRows",
    "Sites",
    "estimate_depth",
    "follows_sweep",
    "forget_uncovered",
    "frames_of",
    "lattice_size",
    "lattice_volume",
    "regularise_depth",
    "select_depth",
    "split_window",
    "upsample_label",
]


def estimate_depth(
    images: Tensor,
    measure: FocusMeasure,
    *,
    method: str = "regularised",
    smoothness: float = 1.0,
    refit_radius: int = 2,
    z_sigma_frames: float = 0.0,
    z: NDArray[np.floating] | None = None,
) -> DepthMap:
    """Depth of a whole stack at once.

    Args:
        images: (N, C, H, W) float32 from 0 to 1, aligned.
        measure: Focus measure.
        method: "argmax", "subframe" or "regularised".
        smoothness: Weight of the label's smoothness.
        refit_radius: Frames on either side of the label that the fit uses.
        z_sigma_frames: Standard deviation of the filter along the stack in mean steps; 0 is off.
        z: (N,) positions of the frames where the steps are uneven; any unit.
    """
    estimator = DepthEstimator(measure, method, smoothness, refit_radius, z_sigma_frames, z)
    labels = estimator.regularise(estimator.sites(images), frames_of(images))
    estimator = estimator.matched(labels)
    refined = estimator.refine(estimator.volume(images), labels, frames=frames_of(images))
    return DepthMap(refined.index.cpu().numpy(), refined.confidence.cpu().numpy(), refined.sigma.cpu().numpy())
