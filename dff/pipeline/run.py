"""The stages that find depth and picture in aligned frames: measure, label, refine, fuse."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff import fuse
from dff.depth import CLAIMS, LATTICE, DepthEstimator, Labels, Sites, forget_uncovered, lattice_size, split_window
from dff.focus import NETWORKS, FocusMeasure, load_measure
from dff.focus.half_size import at_half_size
from dff.pipeline.journal import Journal, Stages
from dff.pipeline.plan import Plan, make_plan
from dff.pipeline.prepare import thread_count
from dff.pipeline.sequence import warn_of_order
from dff.pipeline.slabs import fuse_slabs
from dff.pipeline.strips import Span, Strips, Tile, work_through
from dff.pipeline.watch import Watcher
from dff.settings import Settings
from dff.stack import DepthMap, FocalStack, FocusGeometry

_NOISE_ROWS = 512
_SURE = 0.5
"""Confidence of depth that the picture's veils are taken off by."""
_DISC = 2.2
"""Radius of a disc over the standard deviation of its blur as focus curves tell it, which is a tenth too little."""


def make_estimator(settings: Settings, geometry: FocusGeometry) -> DepthEstimator:
    """How depth is found; the filter along the stack is off until the alignment is known."""
    steps = np.diff(geometry.z)
    even = np.allclose(steps, steps.mean(), rtol=1e-3)
    return replace(
        bare_estimator(settings),
        z=None if even else np.asarray(geometry.z, float),
        near_first=bool(geometry.z[0] > geometry.z[-1]),
    )


def bare_estimator(settings: Settings) -> DepthEstimator:
    """The estimator of any stack; smoothed labels let the window be that of planes for the most part."""
    window_px, plane_px, refit = settings.window_sigma_px, 0.0, None
    if settings.depth_method == "regularised":
        window_px, plane_px = split_window(window_px)
        if settings.measure in NETWORKS:
            refit = load_measure(settings.refit, window_sigma_px=window_px)
    measure = chosen_measure(settings.but(window_sigma_px=window_px))
    return DepthEstimator(
        measure=measure if settings.network_scale == 1 else _at_half_size(measure, settings),
        refit=refit,
        method=settings.depth_method,
        smoothness=settings.smoothness,
        refit_radius=settings.refit_radius,
        plane_sigma_px=plane_px,
    )


def _at_half_size(measure: FocusMeasure, settings: Settings) -> FocusMeasure:
    if settings.depth_method != "regularised":
        raise ValueError(
            f"--network-scale: 2 needs --depth regularised; got {settings.depth_method}; use --network-scale 1"
        )
    return at_half_size(measure)


def chosen_measure(settings: Settings) -> FocusMeasure:
    """The focus measure that the settings name, with their options."""
    options: dict[str, Any] = {"window_sigma_px": settings.window_sigma_px}
    if settings.measure in NETWORKS:
        options["weights"] = settings.weights
    if settings.measure == "drpl":
        options["dilation"] = settings.dilation
    return load_measure(settings.measure, precision=settings.precision, device=settings.device, **options)


def plan_for(stack: FocalStack, settings: Settings) -> Plan:
    """How a stack will be cut into strips, and what the run takes.

    Raises:
        ValueError: not enough memory for the smallest strip.
    """
    estimator = bare_estimator(settings)
    return make_plan(
        stack,
        settings,
        halo_px=estimator.halo_px,
        channels=estimator.channels,
        fusion_halo_px=fuse.halo_px(settings.fusion),
        fusion_multiple=fuse.row_multiple(settings.fusion),
        threads=thread_count(settings.threads),
        measure_bytes=estimator.energies.network_bytes,
        network_bytes=0 if estimator.refit is None else estimator.measure.network_bytes,
        network_halo_px=estimator.network_halo_px,
        rows=estimator.measure.rows if estimator.by_rows else None,
        by_bands=not estimator.energies.probabilistic,
    )


def find_depth(
    strips: Strips, stack: FocalStack, settings: Settings, stages: Stages, watcher: Watcher
) -> tuple[DepthMap, NDArray[Any]]:
    """Depth of every pixel of aligned frames, and the all-in-focus picture in the frames' own type."""
    if settings.order == "name" and settings.z_file is None:
        warn_of_order(strips)
    labels = _label(strips, stages)
    if labels.label is not None:
        watcher.on_labels(labels.label.numpy())
    strips = replace(strips, estimator=strips.estimator.matched(labels))
    depth, nearest = _refine(strips, labels, stages, watcher)
    picture = _fuse(strips, nearest, _Depths.of(strips, labels, depth), settings, stages, watcher)
    fuse_slabs(strips, stack, settings, stages)
    return depth, picture


def _label(strips: Strips, stages: Stages) -> Labels:
    """What the whole lattice says."""
    journal = stages.journal
    if "noise logit" in journal.values:
        return _kept_labels(strips, journal)
    sites = _measured_sites(strips, stages)
    with stages.stage("label", 1) as done:
        labels = strips.estimator.regularise(sites, strips.whole_frames())
        for name, values in (("label", labels.label), ("claims", labels.claims)):
            if values is not None:
                journal.keep_rows(name, values.movedim(-2, 0).numpy(), 0)
        journal.set_value("drop", labels.drop)
        journal.set_value("noise logit", labels.noise_logit)
        done(1)
    return labels


def _measured_sites(strips: Strips, stages: Stages) -> Sites:
    height, width = strips.size_px
    journal = stages.journal
    sites = Sites.empty(len(strips.frames), lattice_size(height, width), claimed=strips.estimator.refit is not None)
    rows = {name: values.movedim(-2, 0).numpy() for name, values in sites.maps()}
    finished = journal.finished("measure focus")
    for name, values in rows.items():
        journal.restore(name, values, -(-min(finished, height) // LATTICE))
    with stages.stage("measure focus", strips.site_steps) as done:
        for step, tile, found in strips.site_parts(finished):
            place, inside = ((_sites(y), _sites(x)) for y, x in (tile.place, tile.inside))
            sites.put(place, found, inside)
            for name, values in rows.items():
                journal.keep_rows(name, values[place[0]], place[0].start)
            done(step)
    return sites


def _sites(pixels: slice) -> slice:
    return slice(pixels.start // LATTICE, -(-pixels.stop // LATTICE))


def _kept_labels(strips: Strips, journal: Journal) -> Labels:
    size = lattice_size(*strips.size_px)
    found: dict[str, Tensor | None] = {"label": None, "claims": None}
    if strips.estimator.method == "regularised":
        found["label"] = torch.empty(size, dtype=torch.int64)
    if strips.estimator.refit is not None:
        found["claims"] = torch.empty((CLAIMS, *size))
    for name, values in found.items():
        if values is not None:
            journal.restore(name, values.movedim(-2, 0).numpy(), size[0])
    return Labels(found["label"], journal.values["noise logit"], journal.values["drop"], found["claims"])


def _refine(strips: Strips, labels: Labels, stages: Stages, watcher: Watcher) -> tuple[DepthMap, NDArray[np.float32]]:
    """Depth of every pixel, and an index for the picture at every pixel, known or not."""
    height = strips.size_px[0]
    maps = {name: np.empty(strips.size_px, np.float32) for name in ("index", "sigma", "confidence", "nearest")}
    index, sigma, confidence, nearest = maps.values()
    finished = stages.journal.finished("refine depth")
    for name, values in maps.items():
        stages.journal.restore(name, values, finished)
    if finished:
        watcher.on_rows(0, DepthMap(index[:finished], confidence[:finished], sigma[:finished]))
    with stages.stage("refine depth", height) as done:

        def refine(tile: Tile) -> None:
            _refine_tile(strips, labels, tile, maps)

        def keep(strip: Span) -> None:
            rows = slice(*strip)
            for name, values in maps.items():
                stages.journal.keep_rows(name, values[rows], strip[0])
            watcher.on_rows(strip[0], DepthMap(index[rows], confidence[rows], sigma[rows]))
            done(strip[1])

        workers = strips.plan.workers[0]
        work_through(strips.plan, strips.size_px, refine, keep, finished=finished, workers=workers)
    known = np.isfinite(index)
    nearest[known] = index[known]
    return DepthMap(index, confidence, sigma), nearest


def _refine_tile(strips: Strips, labels: Labels, tile: Tile, maps: dict[str, NDArray[np.float32]]) -> None:
    top, left = tile.read_rows[0], tile.read_columns[0]
    estimator, frames = strips.estimator, strips.frame_tiles(tile).part
    if estimator.energies.probabilistic:
        refined = estimator.refine(strips.volume(tile), labels, top=top, left=left, frames=frames)
    else:
        refined = estimator.refine_peaks(strips.peaks(tile, labels), labels, top=top, left=left, frames=frames)
    found = (refined.index, refined.sigma, refined.confidence, refined.label)
    index, sigma, confidence, label = (values[tile.inside].to(torch.float32).numpy() for values in found)
    # The peak may lie in a frame that does not cover the pixel.
    forget_uncovered(index, label, *strips.covered_columns(tile, strips.estimator.energies.border_px))
    unknown = np.isnan(index)
    sigma[unknown], confidence[unknown] = np.nan, 0
    for target, part in zip(maps.values(), (index, sigma, confidence, label)):
        target[tile.place] = part


@dataclass(frozen=True)
class _Depths:
    """What the picture's veils are taken off by."""

    known: NDArray[np.bool_]
    """(H, W)."""
    defocus: fuse.Defocus | None
    """None where focus curves do not tell how the blur grows."""

    @classmethod
    def of(cls, strips: Strips, labels: Labels, depth: DepthMap) -> _Depths:
        growth_px = strips.estimator.blur_growth_px(labels)
        defocus = fuse.Defocus(_DISC * growth_px, strips.estimator.near_first) if growth_px > 0 else None
        return cls(depth.confidence >= _SURE, defocus)


def _fuse(
    strips: Strips,
    index: NDArray[np.float32],
    depths: _Depths,
    settings: Settings,
    stages: Stages,
    watcher: Watcher,
) -> NDArray[Any]:
    """The all-in-focus picture, in the frames' own type."""
    height, width = strips.size_px
    frames, method = strips.frames, settings.fusion
    picture = np.empty((height, width, frames.shape[2]), frames.dtype)
    plan = strips.plan.for_fusion(fuse.halo_px(method), fuse.row_multiple(method))
    noise = stages.journal.value("noise", lambda: frame_noise(strips))
    finished = stages.journal.finished("fuse")
    stages.journal.restore("picture", picture, finished)
    if finished:
        watcher.on_picture(0, picture[:finished])
    with stages.stage("fuse", height) as done:

        def blend(tile: Tile) -> None:
            fused = fuse.all_in_focus(
                strips.frame_tiles(tile),
                count=len(frames),
                index=torch.from_numpy(index[tile.read]),
                valid=strips.covered(tile),
                method=method,
                known=torch.from_numpy(depths.known[tile.read]),
                defocus=depths.defocus,
                noise=noise,
                inside=tile.inside,
            )
            picture[tile.place] = fuse.to_dtype(fused[:, tile.inside[0], tile.inside[1]], frames.dtype)

        def keep(strip: Span) -> None:
            rows = slice(*strip)
            stages.journal.keep_rows("picture", picture[rows], strip[0])
            watcher.on_picture(strip[0], picture[rows])
            done(strip[1])

        work_through(plan, strips.size_px, blend, keep, finished=finished, workers=plan.workers[1])
    return picture


def frame_noise(strips: Strips) -> float:
    """Standard deviation of the noise of a frame, white being one, from the middle rows of a few frames."""
    last, middle = len(strips.frames) - 1, strips.size_px[0] // 2
    rows = max(0, middle - _NOISE_ROWS // 2), min(strips.size_px[0], middle + _NOISE_ROWS // 2)
    some = sorted({0, last // 3, 2 * last // 3, last})
    return fuse.noise_level(strips.frames.read_frame_rows(k, *rows) for k in some)
