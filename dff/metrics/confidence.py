"""How well confidence tells right from wrong (sparsification) and how often it keeps its word (calibration)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dff.stack import FloatArray

COVERAGES = (0.5, 0.8, 0.9, 1.0)


class ConfidenceQuality(NamedTuple):
    """Ranking and calibration of a confidence map over the pixels that have an estimate and a truth."""

    ause: float
    """Area between the sparsification curve and the oracle's, in frames."""
    ause_relative: float
    """That area over the one of a random ranking: 0 is the oracle, 1 is chance."""
    mae_at_50: float
    """Mean error of the half of the pixels that is trusted most, frames."""
    mae_at_80: float
    mae_at_90: float
    mae_at_100: float
    calibration_error: float
    """Expected calibration error of P(|e| <= tolerance)."""


class Reliability(NamedTuple):
    """A reliability diagram: one entry a bin, in order of confidence; NaN in empty bins."""

    confidence: FloatArray
    """(bins,) mean confidence."""
    frequency: FloatArray
    """(bins,) share of the bin's pixels that are right."""
    pixels: FloatArray
    """(bins,) number of pixels."""
    calibration_error: float
    """Expected calibration error: mean |confidence - frequency| weighted by pixels."""


def sparsification(error: FloatArray, confidence: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean error of the m most trusted pixels for m = 1 … M, and the same for the oracle that ranks by error.

    Pixels of equal confidence count with their mean error, which is what random order gives on average.
    Ilg et al., Uncertainty estimates for optical flow, ECCV 2018.

    Args:
        error: (M,) absolute errors.
        confidence: (M,) larger is more trusted.

    Returns:
        Two (M,) curves; entry m - 1 is at coverage m / M.
    """
    order = np.argsort(-confidence, kind="stable")
    _, group = np.unique(-confidence[order], return_inverse=True)
    means = np.bincount(group, weights=error[order]) / np.bincount(group)
    kept = np.arange(1, len(error) + 1)
    return np.cumsum(means[group]) / kept, np.cumsum(np.sort(error.astype(float))) / kept


def reliability(
    error: FloatArray,
    confidence: FloatArray,
    *,
    tolerance_frames: float = 1.0,
    bins: int = 10,
    equally_filled: bool = False,
) -> Reliability:
    """How often |error| <= tolerance, against what confidence promised.

    ECE = sum_b n_b / n |mean confidence_b - frequency_b| (Naeini et al., AAAI 2015; Guo et al., ICML 2017).

    Args:
        error: (M,) errors in frames.
        confidence: (M,) probabilities, 0 … 1.
        tolerance_frames: What counts as right.
        bins: Number of bins.
        equally_filled: Whether bins have as many pixels each, rather than the same width.
    """
    if equally_filled:
        rank = np.argsort(np.argsort(confidence, kind="stable"), kind="stable")
        bin_of = rank * bins // max(len(confidence), 1)
    else:
        bin_of = np.clip((confidence * bins).astype(int), 0, bins - 1)
    count = np.bincount(bin_of, minlength=bins).astype(float)
    divisor = np.where(count, count, np.nan)
    promised = np.bincount(bin_of, weights=confidence, minlength=bins) / divisor
    kept = np.bincount(bin_of, weights=np.abs(error) <= tolerance_frames, minlength=bins) / divisor
    gap = np.nansum(np.abs(promised - kept) * count) / max(count.sum(), 1)
    return Reliability(promised, kept, count, float(gap) if len(error) else float("nan"))


def confidence_quality(
    index: FloatArray, truth: FloatArray, confidence: FloatArray, *, tolerance_frames: float = 1.0
) -> ConfidenceQuality:
    """Ranking and calibration of a confidence map.

    AUSE = mean over coverages of (curve - oracle); a random ranking has the curve of constant mean error.

    Args:
        index: (H, W) estimated index; NaN where unknown.
        truth: (H, W) true index; NaN where there is none.
        confidence: (H, W) P(|index - truth| <= tolerance).
        tolerance_frames: What counts as right.
    """
    known = np.isfinite(index) & np.isfinite(truth)
    if not known.any():
        nan = float("nan")
        return ConfidenceQuality(nan, nan, nan, nan, nan, nan, nan)
    error, trust = np.abs(index - truth)[known].astype(float), confidence[known].astype(float)
    curve, oracle = sparsification(error, trust)
    area, chance = float((curve - oracle).mean()), float((error.mean() - oracle).mean())
    at_50, at_80, at_90, at_100 = (float(curve[int(np.ceil(share * len(curve))) - 1]) for share in COVERAGES)
    calibration = reliability(error, trust, tolerance_frames=tolerance_frames).calibration_error
    relative = area / chance if chance > 0 else 0.0
    return ConfidenceQuality(area, relative, at_50, at_80, at_90, at_100, calibration)
