"""Depth from a focus volume: label the sharpest frame, smooth the labels, refit to a fraction of a frame.

A picture is worked on in tiles: volume and lattice of every tile, then the labels of the whole lattice, then the
volume of every tile again with its refit. Tiles start at multiples of LATTICE pixels and carry `halo_px` pixels of
context; what lies inside the halo is then the same as for the whole picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff import filters
from dff.depth import confidence, edges
from dff.depth.plane import fit_planes, split_window
from dff.depth.probability import read_probability
from dff.depth.refine import Refined, fit_peak, has_peak
from dff.depth.regularise import regularise_depth
from dff.depth.select import LATTICE, lattice_volume, peak_drop, select_depth, upsample_label
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
    "split_window",
    "upsample_label",
]


_BLOCK_PX = 1 << 14
_FLOOR_FRAMES = 0.05
_SHARP_FRAMES = 0.06
_KNOWN_SHARE = 0.5

NARROW_DROP = 0.35
"""Focus curves that drop more than this within a frame are narrow: the blur grows by 0.6 px a frame or more."""


@dataclass(frozen=True)
class Labels:
    """What the whole lattice says."""

    label: Tensor | None
    """(h, w) int64 smoothed labels; None where the method takes each pixel's own."""
    noise_logit: float
    """Logit of a place without texture."""
    drop: float = 0.0
    """How much a logit drops one frame from its peak."""

    @property
    def narrow(self) -> bool:
        """Whether the energy falls off within a frame or two."""
        return self.drop > NARROW_DROP


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
    plane_sigma_px: float = 2.3
    """Standard deviation of the window over which the indices of pixels are averaged as planes."""
    near_first: bool = True
    """Whether the first frame is focused nearest to the camera."""

    @property
    def halo_px(self) -> int:
        """Pixels of context on either side of a part."""
        settled = self.method == "regularised" and not self.measure.probabilistic
        context = edges.HALO_PX if settled else confidence.RANGE_PX
        return -(-(self.measure.halo_px + LATTICE + context) // LATTICE) * LATTICE

    def volume(self, images: Tensor) -> Tensor:
        """(N, C, H, W) images 0..1 → (N, H, W) logits."""
        return focus_volume(images, self.measure, z_sigma_frames=self.z_sigma_frames, z=self.z)

    def lattice(self, volume: Tensor) -> Tensor:
        """(N, H, W) logits → (N, H/LATTICE, W/LATTICE) float16, to be put together for the whole picture."""
        return lattice_volume(volume).to(torch.float16)

    def regularise(self, lattice: Tensor) -> Labels:
        """(N, h, w) lattice of the whole picture, which is used up → its labels and its noise."""
        noise_logit = confidence.noise_level(lattice)
        drop = peak_drop(lattice, noise_logit)
        if self.method != "regularised":
            return Labels(None, noise_logit, drop)
        return Labels(regularise_depth(lattice, smoothness=self.smoothness), noise_logit, drop)

    def matched(self, labels: Labels) -> DepthEstimator:
        """The estimator to refine with: its measure is as fine as the blur of the neighbouring frames allows."""
        if self.measure.coarse is None or not labels.narrow:
            return self
        return replace(self, measure=self.measure.coarse)

    def refine(
        self,
        volume: Tensor,
        labels: Labels,
        *,
        top: int = 0,
        left: int = 0,
        frame: Callable[[int], Tensor] | None = None,
    ) -> Refined:
        """Depth of a part of the picture.

        Args:
            volume: (N, H, W) logits of the part with its halo.
            labels: What `regularise` gave.
            top: First row of the part in the whole picture, a multiple of LATTICE.
            left: First column, likewise.
            frame: Gives the part of frame k as (C, H, W), for the decision at occlusion edges; without it none is made.
        """
        if labels.label is None:
            label = select_depth(volume)
        else:
            label = upsample_label(volume, labels.label, top=top, left=left)
        if self.measure.probabilistic:
            refined = read_probability(volume, label, radius=self.refit_radius)
            return refined if self.method != "argmax" else replace(refined, index=_whole_frames(refined))
        surface, features = self.evidence(volume, label, labels, frame)
        probability = confidence.probability(features)
        known = surface.index.isfinite() & (probability > confidence.LEAST_PROBABILITY)
        known &= features[confidence.FEATURES.index("scatter")] < 1
        return Refined(
            torch.where(known, surface.index, torch.nan),
            torch.where(known, confidence.calibrated_sigma(surface.sigma), torch.nan),
            torch.where(known, probability, 0.0),
            surface.label,
        )

    def evidence(
        self, volume: Tensor, label: Tensor, labels: Labels, frame: Callable[[int], Tensor] | None = None
    ) -> tuple[Surface, Tensor]:
        """The surface of a part of the picture, and (F, H, W) what its probability is judged by.

        Args:
            volume: (N, H, W) logits.
            label: (H, W) int64 label of every pixel.
            labels: What `regularise` gave.
            frame: Gives the part of frame k as (C, H, W).
        """
        spread = confidence.label_range(label)
        rows = max(1, _BLOCK_PX // label.shape[1])
        blocks = [slice(top, top + rows) for top in range(0, len(label), rows)]
        parts = [self._fitted_rows(volume[:, block], label[block], spread[block], labels) for block in blocks]
        index, sigma = (torch.cat([getattr(part, name) for part, _ in parts]) for name in ("index", "sigma"))
        single = Pixels(index, sigma, label)
        if self.method == "regularised":
            surface = self._averaged(single, frame)
        else:
            index = index if self.method == "subframe" else torch.where(single.known, label, torch.nan)
            surface = Surface(index, sigma, label, torch.ones_like(index))
        curves = confidence.pooled(torch.cat([curves for _, curves in parts], 1))
        return surface, torch.cat([curves, confidence.surface_features(single.index, surface.index, surface.share)])

    def _averaged(self, single: Pixels, frame: Callable[[int], Tensor] | None) -> Surface:
        """Planes over a window of single pixels, near occlusion edges over those of the same surface."""
        index = torch.where(single.known, single.index, single.label)
        label = index.round().to(torch.int64)
        weight = torch.where(single.known, 1 / (single.sigma.square() + _FLOOR_FRAMES**2), 0.0)
        value, mean_weight = fit_planes(index, weight, self.plane_sigma_px)
        value = self._sharpened(value, weight, mean_weight)
        around = filters.gaussian(single.known.to(torch.float32)[None], self.plane_sigma_px)[0]
        value = torch.where(around > _KNOWN_SHARE, value, torch.nan)
        share = torch.ones_like(value)
        if frame is not None:
            where = edges.near_edges(label)
            picture = edges.edge_picture(frame, edges.nearer_label(label, self.near_first), edges.voters(where))
            settled = edges.settle(index, weight, label, picture, where)
            value = torch.where(where, settled.index, value)
            mean_weight = torch.where(where, settled.weight, mean_weight)
            label, share = settled.label, settled.share
        independent = self.measure.samples / (self.measure.samples + 2 * math.pi * self.plane_sigma_px**2)
        sigma = ((1 / mean_weight - _FLOOR_FRAMES**2).clamp_min(0) * independent).sqrt()
        return Surface(value, sigma, label, share)

    def _sharpened(self, value: Tensor, weight: Tensor, mean_weight: Tensor) -> Tensor:
        """Planes that have been given back the relief that averaging once more takes, where noise allows it."""
        again, _ = fit_planes(value.nan_to_num(), weight, self.plane_sigma_px)
        variance = (1 / mean_weight - _FLOOR_FRAMES**2).clamp_min(0)
        share = 1 / (1 + (variance / _SHARP_FRAMES**2).square())
        return value + share * (value - again)

    def _fitted_rows(self, volume: Tensor, label: Tensor, spread: Tensor, labels: Labels) -> tuple[Pixels, Tensor]:
        """Focus curves of single pixels, in a block of rows that stays in the processor's cache."""
        times = frame_units(np.arange(len(volume)) if self.z is None else self.z)
        fit = fit_peak(
            volume,
            label,
            radius=self.refit_radius,
            position=times,
            noise_logit=labels.noise_logit,
            samples=self.measure.samples,
            narrow=labels.narrow,
        )
        fit = replace(fit, index=_interpolate(fit.index, times))
        features = confidence.curve_features(volume, label, spread, fit, labels.noise_logit)
        known = has_peak(fit, label, len(volume), self.refit_radius)
        known &= features[confidence.FEATURES.index("drop")] > confidence.LEAST_DROP
        return Pixels(torch.where(known, fit.index, torch.nan), fit.sigma, label), features


@dataclass(frozen=True)
class Pixels:
    """What the focus curves of single pixels say."""

    index: Tensor
    """(H, W) sub-frame index; NaN where there is no peak."""
    sigma: Tensor
    """(H, W) its standard deviation from noise alone."""
    label: Tensor
    """(H, W) int64."""

    @property
    def known(self) -> Tensor:
        """(H, W) bool."""
        return self.index.isfinite()


@dataclass(frozen=True)
class Surface:
    """Depth put together from that of single pixels."""

    index: Tensor
    """(H, W) sub-frame index; NaN where there is none."""
    sigma: Tensor
    """(H, W) its standard deviation from noise alone."""
    label: Tensor
    """(H, W) int64."""
    share: Tensor
    """(H, W) share of the votes for the label; 1 away from edges."""


def _whole_frames(refined: Refined) -> Tensor:
    """(H, W) the label where the index is known, NaN elsewhere."""
    return torch.where(torch.isfinite(refined.index), refined.label.to(refined.index.dtype), torch.nan)


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
    if (matched := estimator.matched(labels)) is not estimator:
        estimator, volume = matched, matched.volume(images)
    refined = estimator.refine(volume, labels, frame=lambda k: images[k])
    return DepthMap(refined.index.cpu().numpy(), refined.confidence.cpu().numpy(), refined.sigma.cpu().numpy())
