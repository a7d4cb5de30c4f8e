"""How depth is found in steps: sites, labels, then what the focus curves of pixels say, refined to a surface."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff.covered import Covered
from dff.depth import confidence, edges, halo, windows
from dff.depth.claims import claimed, reclaimed
from dff.depth.edges import Frames
from dff.depth.labels import NARROW_RADIUS, Labels
from dff.depth.outline import Contenders
from dff.depth.peaks import Peaks, logits_around
from dff.depth.probability import read_probability
from dff.depth.refine import Refined, fit_peak, in_frames
from dff.depth.regularise import costs_in, regularise_depth
from dff.depth.select import LATTICE, lattice_volume, select_depth, upsample_label
from dff.depth.sites import SiteRows, Sites, site_logit
from dff.depth.surface import Averaging, Pixels, Surface
from dff.focus import (
    ALL_ROWS,
    UNCOVERED_LOGIT,
    FocusMeasure,
    coherent,
    focus_cells,
    focus_volume,
    frame_units,
    with_channels,
)

_SPREAD_FRAMES = 1
"""Frames by which probabilities reach farther than focus curves are of use."""


@dataclass(frozen=True)
class DepthEstimator:
    """How depth is found, in steps that a pipeline can run strip by strip.

    For every strip: sites. Once: regularise. For every strip again: volume, refine; or, where curves are energies,
    volume and peaks for a few rows at a time, then refine_peaks.
    """

    measure: FocusMeasure
    """Decides the frame."""
    method: str = "regularised"
    """argmax, subframe or regularised."""
    smoothness: float = 1.0
    refit_radius: int = 2
    z_sigma_frames: float = 0.0
    z: NDArray[np.floating] | None = None
    """(N,) positions of the frames where the steps are uneven; any unit."""
    plane_sigma_px: float = 2.3
    """Standard deviation of the window over which the indices of pixels are averaged as planes."""
    near_first: bool = True
    """Whether the first frame is focused nearest to the camera."""
    refit: FocusMeasure | None = None
    """Operator whose energies measure depth where another measure decides the frame; None: the same does both."""

    @property
    def energies(self) -> FocusMeasure:
        """The measure that depth is refined with."""
        return self.refit or self.measure

    @property
    def measures(self) -> tuple[FocusMeasure, ...]:
        """All measures that look at the frames."""
        return (self.measure,) if self.refit is None else (self.measure, self.refit)

    @property
    def channels(self) -> int:
        """Channels that the images must have."""
        return max(measure.channels for measure in self.measures)

    @property
    def halo_px(self) -> int:
        """Pixels of context on either side of a part that is refined, or measured by energies."""
        probable = self.method != "regularised" or self.energies.probabilistic
        surface_px = 0 if probable else max(edges.HALO_PX, windows.halo_px(self.plane_sigma_px)) + confidence.HALO_PX
        context = max(halo.HALO_PX, surface_px)
        return -(-(self.energies.halo_px + context + LATTICE) // LATTICE) * LATTICE

    @property
    def network_halo_px(self) -> int:
        """Pixels of context on either side of a part that all measures look at."""
        reach = max(measure.halo_px for measure in self.measures)
        return -(-(reach + LATTICE) // LATTICE) * LATTICE

    @property
    def border_px(self) -> int:
        """Pixels inside a frame's own edge whose logits must not be used."""
        return max(measure.border_px for measure in self.measures)

    def of_energies(self) -> DepthEstimator:
        """The estimator that decides the frame by energies too."""
        return replace(self, measure=self.energies, refit=None)

    def volume(self, images: Tensor, covered: Covered | None = None, inside: slice = ALL_ROWS) -> Tensor:
        """Logits to refine with.

        Args:
            images: (N, C, H, W) from 0 to 1.
            covered: What frames cover; elsewhere they have no logit.
            inside: Rows that are wanted; the others are their context.

        Returns:
            (N, rows, W).
        """
        return self._logits(images, self.z_sigma_frames, covered, inside)

    def _logits(self, images: Tensor, z_sigma_frames: float, covered: Covered | None, inside: slice) -> Tensor:
        along = functools.partial(focus_volume, z_sigma_frames=z_sigma_frames, z=self.z)
        return along(images, self.energies, covered=covered, inside=inside)

    def sites(self, images: Tensor, covered: Covered | None = None) -> Sites:
        """The lattice of a part of the picture, to be put together for the whole.

        Args:
            images: (N, C, H, W) from 0 to 1.
            covered: What frames cover; None: all cover everything.
        """
        if self.refit is None:
            images = with_channels(images, self.channels)
            return Sites.of(self._cells(images, self.z_sigma_frames, covered))
        images = self.coherent(images)
        return Sites.of(self._cells(images, 0.0, covered), self._shares(images, covered))

    @property
    def by_rows(self) -> bool:
        """Whether the lattice is found row by row: what a strip has to see is then `row_halo_px` alone."""
        return self.measure.rows is not None and self.refit is not None

    @property
    def row_halo_px(self) -> int:
        """Rows of context on either side of a strip whose sites are found row by row."""
        edge_px = 0 if self.measure.rows is None else self.measure.rows.edge_px
        return -(-max(self.energies.halo_px, edge_px) // LATTICE) * LATTICE

    def site_rows(self, count: int, size_px: tuple[int, int]) -> SiteRows:
        """A lattice whose rows are found strip by strip.

        Args:
            count: Number of frames.
            size_px: Height and width of the picture.

        Raises:
            ValueError: the measure looks at whole tiles.
        """
        rows = self.measure.rows
        if rows is None:
            raise ValueError(f"measure: must look at rows; got {self.measure.name}; use sites")
        return SiteRows(
            rows.open(count, size_px), lambda images, *given: self._cells(images, 0.0, *given), rows.edge_px
        )

    def coherent(self, images: Tensor) -> Tensor:
        """(N, C, H, W) images as all measures look at them: with their channels, filtered along the stack."""
        return coherent(with_channels(images, self.channels), self.z_sigma_frames, self.z)

    def _cells(
        self, images: Tensor, z_sigma_frames: float, covered: Covered | None, inside: slice = ALL_ROWS
    ) -> Tensor:
        """(N, h, w) logarithm of the mean energy of a site."""
        along = functools.partial(focus_cells, z_sigma_frames=z_sigma_frames, z=self.z)
        cells = along(images, self.energies, covered=covered, inside=inside)
        return lattice_volume(self._logits(images, z_sigma_frames, covered, inside)) if cells is None else cells

    def _shares(self, images: Tensor, covered: Covered | None) -> Tensor:
        """(N, h, w) logarithm of what the measure gives each frame of a site."""
        if self.measure.cells is not None:
            shares = self.measure.cells(with_channels(images, self.measure.channels))
            for k, where in () if covered is None else covered.bare():
                shares[k] += site_logit(where)
            return shares
        volume = focus_volume(images, self.measure)
        volume = volume if self.measure.probabilistic else volume.log_softmax(0)
        for k, where in () if covered is None else covered.bare():
            volume[k].masked_fill_(where, UNCOVERED_LOGIT)
        return lattice_volume(volume)

    def regularise(self, sites: Sites, frames: Frames | None = None) -> Labels:
        """The labels and the noise of the whole picture, from its sites, of which the lattice is used up.

        Args:
            sites: Of the whole picture.
            frames: Gives a window of frame k as (C, h, w), for the decision at deep occlusions; None: none is made.
        """
        noise_logit = sites.noise_logit()
        labels = Labels(None, noise_logit, sites.typical_drop(noise_logit), sites.claims)
        if self.method != "regularised":
            return labels
        label = regularise_depth(sites.lattice, smoothness=self.smoothness)
        cost = costs_in(sites.lattice)
        if frames is not None and cost is not None:
            contenders = Contenders(label.numpy(), cost, self.blur_growth_px(labels), self.near_first)
            label, odds = (torch.from_numpy(values) for values in contenders.settled(frames))
            if labels.claims is not None:
                labels = replace(labels, claims=reclaimed(labels.claims, label, odds))
        return replace(labels, label=label)

    def matched(self, labels: Labels) -> DepthEstimator:
        """The estimator to refine with: its energies are as fine as the blur of the neighbouring frames allows."""
        if self.energies.coarse is None or not labels.narrow:
            return self
        if self.refit is None:
            return replace(self, measure=self.energies.coarse)
        return replace(self, refit=self.energies.coarse)

    def blur_growth_px(self, labels: Labels) -> float:
        """Growth of the blur's standard deviation in px a frame, roughly; 0 where focus curves are no energies."""
        return 0.0 if self.energies.probabilistic else halo.blur_growth_px(labels.drop, self.z_sigma_frames)

    def refine(
        self,
        volume: Tensor,
        labels: Labels,
        *,
        top: int = 0,
        left: int = 0,
        frames: Frames | None = None,
    ) -> Refined:
        """Depth of a part of the picture.

        Args:
            volume: (N, H, W) logits of the part with its halo.
            labels: What `regularise` gave.
            top: First row of the part in the whole picture, a multiple of LATTICE.
            left: First column, likewise.
            frames: Gives a window of the part of frame k as (C, h, w), for the decision at occlusion edges; without it
                none is made.
        """
        if not self.energies.probabilistic:
            peaks = self.peaks(volume, labels, top=top, left=left)
            return self.refine_peaks(peaks, labels, top=top, left=left, frames=frames)
        label = self._label(volume, labels, top, left)
        refined = read_probability(volume, label, radius=self.refit_radius + _SPREAD_FRAMES)
        return refined if self.method != "argmax" else replace(refined, index=_whole_frames(refined))

    def peaks(self, volume: Tensor, labels: Labels, *, top: int = 0, left: int = 0) -> Peaks:
        """What the focus curves of single pixels say, after which their logits are not needed.

        Args:
            volume: (N, H, W) logits of a part of the picture, whatever its size.
            labels: What `regularise` gave.
            top: First row of the part in the whole picture, a multiple of LATTICE.
            left: First column, likewise.
        """
        return self.peaks_at(volume, self._label(volume, labels, top, left), labels)

    def peaks_at(self, volume: Tensor, label: Tensor, labels: Labels) -> Peaks:
        """The same at (H, W) int64 labels of the pixels that are known."""
        times = None if self.z is None else frame_units(self.z)
        fit = fit_peak(
            volume,
            label,
            radius=self._radius(labels),
            search=NARROW_RADIUS if labels.narrow else 0,
            position=times,
            noise_logit=labels.noise_logit,
            samples=self.energies.samples,
            narrow=labels.narrow,
        )
        fit = fit if times is None else in_frames(fit, times)
        halos = self.has_halos(labels)
        return Peaks(len(volume), label, fit, logits_around(volume, label, labels.noise_logit, halos=halos))

    def has_halos(self, labels: Labels) -> bool:
        """Whether the blur grows so fast that it reaches beyond edges."""
        return self.blur_growth_px(labels) > halo.LEAST_GROWTH_PX

    def _label(self, volume: Tensor, labels: Labels, top: int, left: int) -> Tensor:
        if labels.label is None:
            return select_depth(volume)
        return upsample_label(volume, labels.label, top=top, left=left)

    def _radius(self, labels: Labels) -> int:
        """Frames on either side that are fitted."""
        return NARROW_RADIUS if labels.narrow else self.refit_radius

    def refine_peaks(
        self, peaks: Peaks, labels: Labels, *, top: int = 0, left: int = 0, frames: Frames | None = None
    ) -> Refined:
        """Depth of a part of the picture; see `refine`.

        Args:
            peaks: Of the part with its halo.
            labels: What `regularise` gave.
            top: First row of the part in the whole picture, a multiple of LATTICE.
            left: First column, likewise.
            frames: Gives a window of the part of frame k as (C, h, w).
        """
        surface, features = self.evidence(peaks, labels, frames, top=top, left=left)
        probability = confidence.probability(features, self.measure.name)
        known = surface.index.isfinite() & confidence.is_known(features, probability, self.measure.name)
        if self.has_halos(labels):
            logits = peaks.around[2], peaks.around[3]
            known &= ~halo.in_halo(*logits, peaks.label, self.blur_growth_px(labels), labels.noise_logit)
        return Refined(
            torch.where(known, surface.index, torch.nan),
            torch.where(known, confidence.calibrated_sigma(surface.sigma, self.measure.name), torch.nan),
            torch.where(known, probability, 0.0),
            surface.label,
        )

    def evidence(
        self,
        peaks: Peaks,
        labels: Labels,
        frames: Frames | None = None,
        *,
        top: int = 0,
        left: int = 0,
    ) -> tuple[Surface, Tensor]:
        """The surface of a part of the picture, and (F, H, W) what its probability is judged by.

        Args:
            peaks: Of the focus curves.
            labels: What `regularise` gave.
            frames: Gives a window of the part of frame k as (C, h, w).
            top: First row of the part in the whole picture, a multiple of LATTICE.
            left: First column, likewise.
        """
        single, curves = self.single(peaks, labels)
        if self.method == "regularised":
            surface = self.averaging(labels)(single, frames)
        else:
            index = single.index if self.method == "subframe" else torch.where(single.known, peaks.label, torch.nan)
            surface = Surface(index, single.sigma, peaks.label, torch.ones_like(index))
        features = [confidence.pooled(curves), confidence.surface_features(single.index, surface.index, surface.share)]
        if labels.claims is not None:
            promised = claimed(labels.claims, surface.label, top=top, left=left)
            features.append(confidence.pooled(promised[None]))
        return surface, torch.cat(features)

    def single(self, peaks: Peaks, labels: Labels) -> tuple[Pixels, Tensor]:
        """What the focus curves of single pixels say, and (F, H, W) their features, for `confidence`.

        Args:
            peaks: Of the focus curves.
            labels: What `regularise` gave.
        """
        index, features = confidence.curve_features(peaks, radius=self._radius(labels), noise_logit=labels.noise_logit)
        shape = features[[confidence.FEATURES.index(name) for name in ("above_noise", "residual", "width")]]
        return Pixels(index, peaks.fit.sigma, peaks.label, peaks.fit.height, shape), features

    def averaging(self, labels: Labels) -> Averaging:
        """How single pixels are put together."""
        return Averaging(self.plane_sigma_px, self.energies.samples, self.near_first, labels.narrow, labels.drop)


def _whole_frames(refined: Refined) -> Tensor:
    """(H, W) the label where the index is known, NaN elsewhere."""
    return torch.where(torch.isfinite(refined.index), refined.label.to(refined.index.dtype), torch.nan)
