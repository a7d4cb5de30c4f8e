"""Figures of one estimate against the truth of its scene."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dff import align, measure, metrics, optics
from dff.benchmark.estimate import Estimate
from dff.stack import FloatArray, FocalStack, ImageMetadata, Scene

RELIABILITY_BINS = 10
CURVE_POINTS = 50

Row = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """Errors and confidences of the pixels of one row, to be pooled over the scenes of a suite."""

    error: FloatArray
    """(M,) |index - truth| in frames, over all pixels of known truth; unknown ones are filled."""
    confidence: FloatArray | None
    """(M,) probability of being right to one frame; NaN where the method does not know and promises nothing."""


def score(estimate: Estimate, scene: Scene) -> tuple[Row, Sample | None]:
    """All figures that an estimate allows; what it does not give is left out."""
    row: Row = _cost_figures(estimate, scene.stack)
    sample = None
    if estimate.index is not None:
        index, truth = estimate.index, scene.index
        filled = fill_nearest(index)
        row |= _depth_figures(index, filled, truth) | _length_figures(index, scene)
        row |= _bound_figures(filled, scene)
        sample = _sample(filled, truth, _confidence(estimate))
        row |= _confidence_figures(filled, truth, estimate)
    if estimate.all_in_focus is not None:
        row |= picture_figures(estimate.all_in_focus, scene)
    return row, sample


def fill_nearest(index: FloatArray) -> FloatArray:
    """The map with every unknown pixel given the value of the nearest known one; 0 where none is known."""
    known = np.isfinite(index)
    if known.all() or not known.any():
        return np.nan_to_num(index)
    unknown = (~known).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(unknown, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    value = np.zeros(int(nearest.max()) + 1, np.float32)
    value[nearest[known]] = index[known]
    return value[nearest]


def _cost_figures(estimate: Estimate, stack: FocalStack) -> Row:
    frames_mp = len(stack) * stack.shape[0] * stack.shape[1] / 1e6
    return {
        "cpu_s_per_mp_frame": estimate.cost.cpu_s / frames_mp,
        "wall_s_per_mp_frame": estimate.cost.wall_s / frames_mp,
        "peak_gb": estimate.cost.peak_gb,
    }


def _depth_figures(index: FloatArray, filled: FloatArray, truth: FloatArray) -> Row:
    row: Row = {}
    for region, errors in metrics.depth_errors_by_region(filled, truth).items():
        prefix = "" if region == "all" else f"{region}_"
        row |= {
            f"{prefix}mae_frames": errors.mae,
            f"{prefix}rmse_frames": errors.rmse,
            f"{prefix}median_frames": errors.median,
            f"{prefix}over_half_percent": errors.over_half_percent,
            f"{prefix}over_one_percent": errors.over_one_percent,
            f"{prefix}over_three_percent": errors.over_three_percent,
            f"{prefix}pixels": errors.pixels,
        }
    known = metrics.depth_errors(index, truth)
    return row | {
        "bias_frames": metrics.depth_errors(filled, truth).bias,
        "known_percent": known.coverage_percent,
        "known_mae_frames": known.mae,
        "known_median_frames": known.median,
        "phase_bias_frames": _largest(metrics.interpolation_bias(filled, truth)),
    }


def _largest(values: FloatArray) -> float:
    return float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else float("nan")


def _length_figures(index: FloatArray, scene: Scene) -> Row:
    """Height errors in micrometres over the pixels that the method knows."""
    geometry = scene.stack.geometry
    if geometry is None or geometry.z_unit != "mm":
        return {}
    error = (optics.height_map(index, geometry) - scene.z)[np.isfinite(index) & np.isfinite(scene.index)]
    if not error.size:
        return {}
    return {
        "height_mae_um": 1000 * float(np.abs(error).mean()),
        "height_median_um": 1000 * float(np.median(abs(error))),
    }


def _bound_figures(filled: FloatArray, scene: Scene) -> Row:
    ratio = metrics.error_over_bound(filled, scene.index, scene.bound, pixels=~metrics.occlusion_edges(scene.index))
    return {"interior_error_over_bound_rms": ratio.rms, "interior_error_over_bound": ratio.robust}


def _confidence(estimate: Estimate) -> FloatArray | None:
    if estimate.confidence is None or estimate.index is None:
        return None
    return np.where(np.isfinite(estimate.index), estimate.confidence, np.nan)


def _sample(filled: FloatArray, truth: FloatArray, confidence: FloatArray | None) -> Sample:
    there = np.isfinite(truth)
    return Sample(np.abs(filled - truth)[there], None if confidence is None else confidence[there])


def _confidence_figures(filled: FloatArray, truth: FloatArray, estimate: Estimate) -> Row:
    confidence = _confidence(estimate)
    if confidence is None:
        return {}
    quality = metrics.confidence_quality(filled, truth, np.nan_to_num(confidence))
    promised = np.isfinite(confidence) & np.isfinite(truth)
    bins = metrics.reliability((filled - truth)[promised], confidence[promised])
    row: Row = {
        "ause_frames": quality.ause,
        "ause_relative": quality.ause_relative,
        "mae_at_50_percent_frames": quality.mae_at_50,
        "mae_at_80_percent_frames": quality.mae_at_80,
        "mae_at_90_percent_frames": quality.mae_at_90,
        "calibration_error": bins.calibration_error,
    }
    if estimate.sigma is not None and estimate.index is not None:
        error = np.abs(estimate.index - truth)
        near = (error <= 1) & np.isfinite(estimate.sigma) & (estimate.sigma > 0)
        if near.any():
            row["error_over_promised_sigma"] = 1.4826 * float(np.median(error[near] / estimate.sigma[near]))
    return row


def picture_figures(picture: FloatArray, scene: Scene) -> Row:
    """PSNR and SSIM against the sharp picture, over all pixels and along occlusion edges.

    Args:
        picture: (H, W, C) from 0 to 1; NaN where there is none.
        scene: The truth.
    """
    truth = scene.sharp
    if picture.shape[-1] != truth.shape[-1]:
        picture, truth = (values.mean(-1, keepdims=True) for values in (picture, truth))
    covered: NDArray[np.bool_] = np.asarray(np.isfinite(picture).all(-1))
    picture = np.nan_to_num(picture)
    edges = metrics.occlusion_edges(scene.index, window_px=9) & covered
    row = {
        "psnr_db": metrics.psnr(picture, truth, pixels=covered),
        "ssim": metrics.ssim(picture, truth, pixels=covered),
    }
    if edges.any():
        row |= {
            "edge_psnr_db": metrics.psnr(picture, truth, pixels=edges),
            "edge_ssim": metrics.ssim(picture, truth, pixels=edges),
        }
    return row


def brought_back(estimate: Estimate, scene: Scene) -> Estimate:
    """The estimate of a program that moved the frames, in the pixels of the truth: pictures are registered."""
    picture = estimate.all_in_focus
    if picture is None:
        return estimate
    size: tuple[int, int] = scene.index.shape
    motion = picture_motion(scene.sharp, _of_size(picture, size))

    def back(values: FloatArray | None) -> FloatArray | None:
        return None if values is None else measure.moved(_of_size(values, size), motion, size).astype(np.float32)

    channels = [back(picture[..., channel]) for channel in range(picture.shape[-1])]
    return replace(
        estimate,
        index=back(estimate.index),
        confidence=back(estimate.confidence),
        sigma=back(estimate.sigma),
        all_in_focus=np.stack([part for part in channels if part is not None], axis=-1),
    )


def _of_size(values: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Cut or padded with NaN at the bottom and right."""
    if values.shape[:2] == size:
        return values
    result = np.full((*size, *values.shape[2:]), np.nan, np.float32)
    rows, columns = min(size[0], values.shape[0]), min(size[1], values.shape[1])
    result[:rows, :columns] = values[:rows, :columns]
    return result


def picture_motion(fixed: NDArray[Any], moving: NDArray[Any], *, model: str = "similarity") -> FloatArray:
    """(3, 3) map from the pixels of one picture to those of another of the same object.

    Args:
        fixed: (H, W, C) picture.
        moving: (H, W, C) picture of the same size.
        model: Motion model of `dff.align`.
    """
    grey = [_grey(picture) for picture in (fixed, moving)]
    pair = FocalStack(grey, ("fixed", "moving"), grey[0].shape, np.dtype(np.float32), ImageMetadata())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alignment = align.estimate_alignment(pair, model=model)
    return np.asarray(np.linalg.inv(alignment.transforms[0]) @ alignment.transforms[1])


def _grey(picture: NDArray[Any]) -> NDArray[np.float32]:
    white = np.iinfo(picture.dtype).max if np.issubdtype(picture.dtype, np.integer) else 1
    return np.nan_to_num(picture.mean(-1, keepdims=True) / white).astype(np.float32)


def pooled(samples: list[Sample]) -> dict[str, Any]:
    """Error against coverage, and the reliability diagram, over the pixels of several scenes.

    Pixels that a method does not know come last in the curve; the diagram has only those it promises something of.

    Returns:
        `coverage` and `mae_frames` with CURVE_POINTS entries, and `reliability` with one entry a bin.
    """
    errors = np.concatenate([sample.error for sample in samples])
    given = [sample.confidence for sample in samples if sample.confidence is not None]
    if len(given) < len(samples):
        return {}
    confidence = np.concatenate(given)
    curve, oracle = metrics.sparsification(errors, np.nan_to_num(confidence))
    share = np.linspace(1 / CURVE_POINTS, 1, CURVE_POINTS)
    place = np.ceil(share * len(errors)).astype(int) - 1
    promised = np.isfinite(confidence)
    bins, filled = (
        metrics.reliability(errors[promised], confidence[promised], bins=RELIABILITY_BINS, equally_filled=equally)
        for equally in (False, True)
    )
    return {
        "coverage": share,
        "mae_frames": curve[place],
        "oracle_mae_frames": oracle[place],
        "mae_at_half": float(curve[(len(curve) - 1) // 2]),
        "reliability": {"confidence": bins.confidence, "frequency": bins.frequency, "pixels": bins.pixels},
        "calibration_error": bins.calibration_error,
        "largest_gap": largest_gap(bins.confidence, bins.frequency, bins.pixels),
        "largest_gap_equal": largest_gap(filled.confidence, filled.frequency, filled.pixels),
    }


def largest_gap(confidence: FloatArray, frequency: FloatArray, pixels: NDArray[Any]) -> float:
    """Largest distance of the reliability diagram from the diagonal, over bins with a hundredth of the pixels."""
    filled = pixels >= 0.01 * pixels.sum()
    return float(np.abs(confidence - frequency)[filled].max()) if filled.any() else float("nan")
