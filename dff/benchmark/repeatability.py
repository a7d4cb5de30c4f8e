"""Repeatability: one object measured twice, from different frames or from two results on disk."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dff import io, measure, optics
from dff.benchmark.cases import Skip, aligned_stack
from dff.benchmark.estimate import Estimate, Method
from dff.benchmark.pictures import noise_picture
from dff.benchmark.score import Row, picture_motion
from dff.benchmark.suite import Options, Suite, SuiteResult
from dff.measure import Comparison
from dff.stack import DepthMap, FloatArray, FocalStack, FocusGeometry, Reconstruction

LEAST_FRAMES = 4
"""Frames that each half of a stack needs."""


def _run(result: SuiteResult, options: Options, methods: Sequence[Method]) -> None:
    folders = [folder for folder in sorted((options.data / "stacks").glob("*")) if folder.is_dir()]
    if not folders:
        result.skip("all", "all", f"no stacks at {options.data / 'stacks'}; name the folder with --data")
    for number, folder in enumerate(folders):
        options.on_progress(result.name, number, len(folders))
        try:
            stack = halves_of(folder)
        except Skip as reason:
            result.skip(folder.name, "all", reason)
            continue
        for method in methods:
            if not method.external:
                result.rows.append({"scene": folder.name, "method": method.name, **odd_against_even(stack, method)})
    options.on_progress(result.name, len(folders), len(folders))


def halves_of(folder: Path) -> FocalStack:
    """An aligned stack that is long enough to be cut in two.

    Raises:
        Skip: it is not.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stack = io.read_stack(folder)
    if len(stack) < 2 * LEAST_FRAMES:
        raise Skip(f"{len(stack)} frames: each half needs {LEAST_FRAMES}")
    aligned, _ = aligned_stack(stack)
    return replace(aligned, geometry=optics.unknown_geometry(np.arange(float(len(stack))), stack.shape[:2]))


def odd_against_even(stack: FocalStack, method: Method) -> Row:
    """Noise of the depth from every second frame, in frames of the whole stack."""
    halves = [_half(stack, method, start) for start in (0, 1)]
    sure = measure.compare(*halves, min_confidence=0.5)
    every = measure.compare(*halves)
    return {
        "frames": len(stack),
        "noise_robust_frames": sure.robust_rms,
        "noise_rms_frames": sure.rms,
        "known_percent": sure.coverage_percent,
        "outliers_percent": sure.outliers_percent,
        "noise_over_promised": sure.noise_over_promised,
        "all_noise_robust_frames": every.robust_rms,
        "all_noise_rms_frames": every.rms,
        "all_known_percent": every.coverage_percent,
    }


def _half(stack: FocalStack, method: Method, start: int) -> tuple[DepthMap, FocusGeometry]:
    half = stack.subset(range(start, len(stack), 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        depth = depth_of(method.estimate(half))
    return depth, half.geometry or optics.unknown_geometry(np.arange(float(len(half))), half.shape[:2])


def depth_of(estimate: Estimate) -> DepthMap:
    """An estimate as a depth map; a method without confidence trusts all it knows."""
    if estimate.index is None:
        raise ValueError("depth: the method gives none; choose another method")
    known = np.isfinite(estimate.index)
    unknown = np.full(known.shape, np.nan, np.float32)
    return DepthMap(
        index=estimate.index,
        confidence=known.astype(np.float32) if estimate.confidence is None else estimate.confidence,
        sigma=unknown if estimate.sigma is None else estimate.sigma,
    )


REAL = Suite("real", "real stacks: depth from the odd frames against depth from the even ones", _run)


def compare_results(
    first: Reconstruction,
    second: Reconstruction,
    *,
    motion: str = "similarity",
    fit_scale: bool = False,
    min_confidence: float = 0.5,
) -> tuple[Comparison, dict[str, float]]:
    """Noise of two results of one object, and the lateral motion between them.

    Args:
        first: Its pixels are those of the noise map.
        second: Another result of the same size.
        motion: "none", or the motion model that brings their pictures together.
        fit_scale: Whether the heights of the second may be scaled.
        min_confidence: Pixels of less confidence are left out.
    """
    transform: FloatArray = np.eye(3)
    if motion != "none":
        pictures = [_normalised(result.all_in_focus) for result in (first, second)]
        if pictures[0].shape[:2] == pictures[1].shape[:2]:
            transform = picture_motion(*pictures, model=motion)
    comparison = measure.compare(
        (first.depth, first.geometry),
        (second.depth, second.geometry),
        motion=transform,
        fit_scale=fit_scale,
        min_confidence=min_confidence,
    )
    height, width = first.depth.index.shape
    centre = np.array([(width - 1) / 2, (height - 1) / 2, 1])
    there = transform @ centre
    shift = there[:2] / there[2] - centre[:2]
    return comparison, {
        "shift_x_px": float(shift[0]),
        "shift_y_px": float(shift[1]),
        "rotation_deg": float(np.degrees(np.arctan2(transform[1, 0], transform[0, 0]))),
        "lateral_scale": float(np.sqrt(abs(np.linalg.det(transform[:2, :2])))),
    }


def _normalised(picture: np.ndarray) -> np.ndarray:
    white = np.iinfo(picture.dtype).max if np.issubdtype(picture.dtype, np.integer) else 1
    return (picture / np.float32(white)).astype(np.float32)


def compare_folders(
    first: str | Path,
    second: str | Path,
    output: str | Path,
    *,
    motion: str = "similarity",
    fit_scale: bool = False,
    min_confidence: float = 0.5,
) -> str:
    """Compare two result folders and write noise.tif, noise.png and comparison.json; returns a summary in words."""
    results = [io.read_reconstruction(folder) for folder in (first, second)]
    comparison, moved = compare_results(*results, motion=motion, fit_scale=fit_scale, min_confidence=min_confidence)
    folder = Path(output)
    unit = comparison.unit
    io.write_map(folder / "noise.tif", comparison.noise, f"(first - second) / sqrt 2, {unit}; NaN where unknown")
    io.write_image(folder / "noise.png", noise_picture(comparison))
    figures = {"first": str(first), "second": str(second), **comparison.figures(), **moved}
    io.write_json(folder / "comparison.json", figures)
    return describe(comparison, moved)


def describe(comparison: Comparison, moved: dict[str, float]) -> str:
    """What a comparison found, a line each."""
    unit, scale = ("µm", 1000.0) if comparison.unit == "mm" else (comparison.unit, 1.0)
    honest = comparison.noise_over_promised
    return "\n".join(
        [
            f"noise      {scale * comparison.robust_rms:.3g} {unit} robust, {scale * comparison.rms:.3g} {unit} rms",
            f"outliers   {comparison.outliers_percent:.2g} % beyond three times the robust noise",
            f"coverage   {comparison.coverage_percent:.1f} % known in both",
            f"promised   noise is {honest:.2g} times what the results promise"
            if honest == honest
            else "promised   the results promise no standard deviation",
            f"moved      {moved['shift_x_px']:+.2f}, {moved['shift_y_px']:+.2f} px, {moved['rotation_deg']:+.3f} deg, "
            f"scale {moved['lateral_scale']:.5f}",
            f"heights    {scale * comparison.offset:+.4g} {unit}, tilt {scale * comparison.tilt_x:+.2g}, "
            f"{scale * comparison.tilt_y:+.2g} {unit}/px, scale {comparison.height_scale:.5f}",
        ]
    )
