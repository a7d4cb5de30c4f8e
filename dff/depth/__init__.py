"""Depth from a focus volume: label the sharpest frame, smooth the labels, refit to a fraction of a frame.

A picture is worked on in full-width strips: volume and lattice of every strip, then the labels of the whole
lattice, then the volume of every strip again with its refit. Strips start at multiples of LATTICE rows and carry
`halo_px` rows of context; the rows inside the halo are then the same as for the whole picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff.depth import confidence, edges, plane
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


_BLOCK_PX = 1 << 14
_FLOOR_FRAMES = 0.05


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
    plane_sigma_px: float = 1.7
    """Standard deviation of the window over which the indices of pixels are averaged as planes."""
    near_first: bool = True
    """Whether the first frame is focused nearest to the camera."""

    @property
    def halo_px(self) -> int:
        """Rows of context on either side of a strip."""
        return -(-(self.measure.halo_px + LATTICE + edges.HALO_PX) // LATTICE) * LATTICE

    def volume(self, images: Tensor) -> Tensor:
        """(N, C, H, W) images 0..1 → (N, H, W) logits."""
        return focus_volume(images, self.measure, z_sigma_frames=self.z_sigma_frames, z=self.z)

    def lattice(self, volume: Tensor) -> Tensor:
        """(N, H, W) logits → (N, H/LATTICE, W/LATTICE) float16, to be put together for the whole picture."""
        return lattice_volume(volume).to(torch.float16)

    def regularise(self, lattice: Tensor) -> Labels:
        """(N, h, w) lattice of the whole picture → its labels and its noise."""
        noise_logit = confidence.noise_level(lattice)
        if self.method != "regularised":
            return Labels(None, noise_logit)
        return Labels(regularise_depth(lattice.to(torch.float32), smoothness=self.smoothness), noise_logit)

    def refine(
        self, volume: Tensor, labels: Labels, *, top: int = 0, frame: Callable[[int], Tensor] | None = None
    ) -> Refined:
        """Depth of a strip.

        Args:
            volume: (N, H, W) logits of the strip with its halo.
            labels: What `regularise` gave.
            top: First row of the strip in the whole picture, a multiple of LATTICE.
            frame: Gives the strip of frame k as (C, H, W), for the decision at occlusion edges; without it none is made.
        """
        label = select_depth(volume) if labels.label is None else upsample_label(volume, labels.label, top=top)
        if self.measure.probabilistic:
            return read_probability(volume, label, radius=self.refit_radius)
        return self._fitted(volume, label, labels, frame)

    def _fitted(
        self, volume: Tensor, label: Tensor, labels: Labels, frame: Callable[[int], Tensor] | None
    ) -> Refined:
        """Sub-frame index, standard deviation and confidence from parabolas around the labels.

        Pixels are worked on in blocks of rows that stay in the processor's cache.
        """
        spread = confidence.label_range(label)
        rows = max(1, _BLOCK_PX // label.shape[1])
        blocks = [slice(top, top + rows) for top in range(0, len(label), rows)]
        parts = [
            self._fitted_rows(volume[:, block], label[block], spread[block], labels.noise_logit) for block in blocks
        ]
        index, sigma = (torch.cat(maps) for maps in list(zip(*parts))[:2])
        features = torch.cat([part[2] for part in parts], 1)
        return self._averaged(Refined(index, sigma, torch.zeros_like(index), label), features, frame)

    def _averaged(self, single: Refined, features: Tensor, frame: Callable[[int], Tensor] | None) -> Refined:
        """Depth from that of single pixels: planes over a window, and near edges over those of the same surface."""
        known = single.index.isfinite()
        index, label = torch.where(known, single.index, single.label), single.label
        weight = torch.where(known, 1 / (single.sigma.square() + _FLOOR_FRAMES**2), 0.0)
        value, mean_weight = plane.fit_planes(index, weight, self.plane_sigma_px)
        share = torch.ones_like(index)
        if frame is not None:
            where = edges.near_edges(label)
            picture = edges.edge_picture(frame, edges.nearer_label(label, self.near_first), edges.voters(where))
            settled = edges.settle(index, weight, label, picture, where)
            value, mean_weight = torch.where(where, settled.index, value), torch.where(where, settled.weight, mean_weight)
            label, share = settled.label, settled.share
        off = torch.where(known, (index - value).abs(), 3.0).nan_to_num(3.0).clamp(0, 3)
        probability = confidence.probability(torch.cat([features, torch.stack([off, share])]))
        known = value.isfinite() & (known | (share < 1))
        return Refined(
            torch.where(known, value, torch.nan),
            torch.where(known, mean_weight.rsqrt(), torch.nan),
            torch.where(known, probability, 0.0),
            label,
        )

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
        known = has_peak(fit, label, len(volume), self.refit_radius)
        known &= features[confidence.FEATURES.index("drop")] > confidence.LEAST_DROP
        return torch.where(known, fit.index, torch.nan), fit.sigma, features


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
    labels = estimator.regularise(estimator.lattice(volume))
    refined = estimator.refine(volume, labels, frame=lambda k: images[k])
    return DepthMap(refined.index.cpu().numpy(), refined.confidence.cpu().numpy(), refined.sigma.cpu().numpy())
