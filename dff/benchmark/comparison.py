"""Two result folders of one object: brought together, and the map of their noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff import io, measure
from dff.benchmark.pictures import noise_picture
from dff.benchmark.score import picture_motion
from dff.measure import Comparison
from dff.stack import FloatArray, Reconstruction

COMPARISON_FILES = ("noise.tif", "noise.png", "comparison.json")


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
        pictures = [result.all_in_focus for result in (first, second)]
        _check_sizes(*pictures)
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


def _check_sizes(one: NDArray[Any], two: NDArray[Any]) -> None:
    if one.shape[:2] != two.shape[:2]:
        raise ValueError(
            f"compare: both pictures must have one size; got {one.shape[1]} x {one.shape[0]} and {two.shape[1]} x "
            f"{two.shape[0]} px; reconstruct frames of one size"
        )


def compare_folders(
    first: str | Path,
    second: str | Path,
    output: str | Path,
    *,
    motion: str = "similarity",
    fit_scale: bool = False,
    min_confidence: float = 0.5,
    force: bool = False,
) -> str:
    """Compare two result folders and write noise.tif, noise.png and comparison.json.

    Args:
        first: Result folder; its pixels are those of the noise map.
        second: Another result folder.
        output: Folder to write.
        motion: "none", or the motion model that brings their pictures together.
        fit_scale: Whether the heights of the second may be scaled.
        min_confidence: Pixels of less confidence are left out.
        force: Replace an earlier comparison.

    Returns:
        What was found, in words.

    Raises:
        ValueError: results that cannot be compared, or an output that exists.
        OSError: a result that cannot be read, or an output that cannot be written.
    """
    io.check_output(output, force=force, ours=COMPARISON_FILES)
    results = [io.read_reconstruction(folder) for folder in (first, second)]
    comparison, moved = compare_results(*results, motion=motion, fit_scale=fit_scale, min_confidence=min_confidence)
    unit = comparison.unit
    figures = {"first": str(first), "second": str(second), **comparison.figures(), **moved}
    with io.staged_folder(output) as folder:
        io.write_map(folder / "noise.tif", comparison.noise, f"(first - second) / sqrt 2 in {unit}; NaN is unknown")
        io.write_image(folder / "noise.png", noise_picture(comparison))
        io.write_json(folder / "comparison.json", figures)
    return f"{describe(comparison, moved)}\nresult     {output}"


def describe(comparison: Comparison, moved: dict[str, float]) -> str:
    """What a comparison found, a line each."""
    unit, scale = ("µm", 1000.0) if comparison.unit == "mm" else (comparison.unit, 1.0)
    honest = comparison.noise_over_promised
    promise = "they promise no standard deviation" if honest != honest else f"{honest:.2g} times what they promise"
    return "\n".join(
        [
            f"noise      {scale * comparison.robust_rms:.3g} {unit} robust, {scale * comparison.rms:.3g} {unit} rms",
            f"outliers   {comparison.outliers_percent:.2g} % beyond three times the robust noise",
            f"coverage   {comparison.coverage_percent:.1f} % known in both",
            f"promised   {promise}",
            f"moved      {moved['shift_x_px']:+.2f}, {moved['shift_y_px']:+.2f} px, {moved['rotation_deg']:+.3f} deg, "
            f"scale {moved['lateral_scale']:.5f}",
            f"heights    {scale * comparison.offset:+.4g} {unit}, tilt {scale * comparison.tilt_x:+.2g}, "
            f"{scale * comparison.tilt_y:+.2g} {unit}/px, scale {comparison.height_scale:.5f}",
        ]
    )
