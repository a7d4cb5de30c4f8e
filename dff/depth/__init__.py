"""Depth from a focus volume: label the sharpest frame, smooth the labels, refit to a fraction of a frame.

A picture is worked on in tiles: volume and lattice of every tile, then the labels of the whole lattice, then the
volume of every tile again with its refit. Tiles start at multiples of LATTICE pixels and carry `halo_px` pixels of
context; what lies inside the halo is then the same as for the whole picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff.depth import confidence
from dff.depth.probability import read_probability
from dff.depth.refine import Refined, fit_peak, has_peak
from dff.depth.regularise import regularise_depth
from dff.depth.select import LATTICE, lattice_volume, select_depth, upsample_label
from dff.focus import FocusMeasure, focus_volume, frame_units
from dff.stack import DepthMap

__all__ = [
    "LATTICE",
    "DepthEstimator",
    "Labels",
    "Refined",
    "estimate_depth",
    "lattice_volume",
    "regularise_depth",
    "select_depth",
    "upsample_label",
]


_BLOCK_PX = 1 << 17


@dataclass(frozen=True)
class Labels:
    """What the whole lattice says."""

    label: Tensor | None
    """(h, w) int64 smoothed labels; None where the method takes each pixel's own."""
    noise_logit: float
    """Logit of a place without texture."""


@dataclass(frozen=True)
class DepthEstimator:
    """How depth is found, in steps that a pipeline can run strip by strip.

    For every strip: volume, lattice. Once: regularise. For every strip again: volume, refine.
    """

    measure: FocusMeasure
    method: str = "regularised"
    """argmax, subframe or regularised."""
    smoothness: float = 1.0
    refit_radius: int = 3
    z_sigma_frames: float = 0.0
    z: NDArray[np.floating] | None = None
    """(N,) positions of the frames where the steps are uneven; any unit."""

    @property
    def halo_px(self) -> int:
        """Rows of context on either side of a strip."""
        return -(-(self.measure.halo_px + LATTICE + confidence.RANGE_PX) // LATTICE) * LATTICE

    def volume(self, images: Tensor) -> Tensor:
        """(N, C, H, W) images 0..1 → (N, H, W) logits."""
        return focus_volume(images, self.measure, z_sigma_frames=self.z_sigma_frames, z=self.z)

    def lattice(self, volume: Tensor) -> Tensor:
        """(N, H, W) logits → (N, H/LATTICE, W/LATTICE) float16, to be put together for the whole picture."""
        return lattice_volume(volume).to(torch.float16)

    def regularise(self, lattice: Tensor) -> Labels:
        """(N, h, w) lattice of the whole picture, which is used up → its labels and its noise."""
        noise_logit = confidence.noise_level(lattice)
        if self.method != "regularised":
            return Labels(None, noise_logit)
        return Labels(regularise_depth(lattice, smoothness=self.smoothness), noise_logit)

    def refine(self, volume: Tensor, labels: Labels, *, top: int = 0, left: int = 0) -> Refined:
        """Depth of a part of the picture.

        Args:
            volume: (N, H, W) logits of the part with its halo.
            labels: What `regularise` gave.
            top: First row of the part in the whole picture, a multiple of LATTICE.
            left: First column, likewise.
        """
        if labels.label is None:
            label = select_depth(volume)
        else:
            label = upsample_label(volume, labels.label, top=top, left=left)
        if self.measure.probabilistic:
            return read_probability(volume, label, radius=self.refit_radius)
        return self._fitted(volume, label, labels.noise_logit)

    def _fitted(self, volume: Tensor, label: Tensor, noise_logit: float) -> Refined:
        """Sub-frame index, standard deviation and confidence from parabolas around the labels.

        Pixels are worked on in blocks of rows that stay in the processor's cache.
        """
        spread = confidence.label_range(label)
        rows = max(1, _BLOCK_PX // label.shape[1])
        blocks = [slice(top, top + rows) for top in range(0, len(label), rows)]
        parts = [self._fitted_rows(volume[:, block], label[block], spread[block], noise_logit) for block in blocks]
        index, sigma, probability = (torch.cat(maps) for maps in zip(*parts))
        return Refined(index, sigma, probability, label)

    def _fitted_rows(
        self, volume: Tensor, label: Tensor, spread: Tensor, noise_logit: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        times = frame_units(np.arange(len(volume)) if self.z is None else self.z)
        fit = fit_peak(
            volume,
            label,
            radius=self.refit_radius,
            position=times,
            noise_logit=noise_logit,
            samples=self.measure.samples,
        )
        fit = replace(fit, index=_interpolate(fit.index, times))
        features = confidence.curve_features(volume, label, spread, fit, noise_logit)
        probability = confidence.probability(features)
        known = has_peak(fit, label, len(volume), self.refit_radius)
        known &= features[confidence.FEATURES.index("drop")] > confidence.LEAST_DROP
        known &= probability > confidence.LEAST_PROBABILITY
        index = label.to(volume.dtype) if self.method == "argmax" else fit.index
        return (
            torch.where(known, index, torch.nan),
            torch.where(known, confidence.calibrated_sigma(fit.sigma), torch.nan),
            torch.where(known, probability, 0.0),
        )


def _interpolate(position: Tensor, times: NDArray[np.float64]) -> Tensor:
    """Frame index at positions between frames; beyond the ends the last step goes on."""
    knots = torch.as_tensor(times, dtype=position.dtype, device=position.device)
    low = (torch.searchsorted(knots, position.contiguous()) - 1).clamp(0, len(knots) - 2)
    return low + (position - knots[low]) / (knots[low + 1] - knots[low])


def estimate_depth(
    images: Tensor,
    measure: FocusMeasure,
    *,
    method: str = "regularised",
    smoothness: float = 1.0,
    refit_radius: int = 3,
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
    volume = estimator.volume(images)
    refined = estimator.refine(volume, estimator.regularise(estimator.lattice(volume)))
    return DepthMap(refined.index.cpu().numpy(), refined.confidence.cpu().numpy(), refined.sigma.cpu().numpy())
