"""Errors of an index map against its truth, in frames; interior and occlusion edges apart.

e = index - truth over the pixels where both are known. Multiplied by the step the same figures are lengths.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dff.stack import FloatArray

Pixels = NDArray[np.bool_]


class DepthErrors(NamedTuple):
    """Errors in frames; shares in percent of the pixels compared."""

    mae: float
    """Mean |e|."""
    rmse: float
    """Square root of the mean e²."""
    median: float
    """Median |e|."""
    bias: float
    """Mean e."""
    over_half_percent: float
    """Share with |e| > 0.5."""
    over_one_percent: float
    """Share with |e| > 1."""
    over_three_percent: float
    """Share with |e| > 3."""
    coverage_percent: float
    """Share of the pixels of known truth that have an estimate."""
    pixels: int
    """Number of pixels compared."""


class BoundRatio(NamedTuple):
    """Error over the least possible error; 1 is perfect, and what `dff` calls efficiency."""

    rms: float
    """rms(e) / rms(bound): outliers count in full."""
    robust: float
    """1.4826 median(|e| / bound): the standard deviation of the bulk."""


def depth_errors(index: FloatArray, truth: FloatArray, *, pixels: Pixels | None = None) -> DepthErrors:
    """Errors over all pixels, or over some; NaN where nothing can be compared.

    Args:
        index: (H, W) estimated sub-frame index; NaN where unknown.
        truth: (H, W) true index; NaN where there is none.
        pixels: (H, W) the pixels to count.

    Raises:
        ValueError: shapes differ.
    """
    _check_shape("index", index, truth)
    wanted = np.isfinite(truth) if pixels is None else np.isfinite(truth) & pixels
    known = wanted & np.isfinite(index)
    count = int(known.sum())
    coverage = 100 * count / wanted.sum() if wanted.any() else float("nan")
    if not count:
        nan = float("nan")
        return DepthErrors(nan, nan, nan, nan, nan, nan, nan, float(coverage), 0)
    error = index[known].astype(float) - truth[known]
    size = np.abs(error)
    return DepthErrors(
        mae=float(size.mean()),
        rmse=float(np.sqrt((error**2).mean())),
        median=float(np.median(size)),
        bias=float(error.mean()),
        over_half_percent=float(100 * (size > 0.5).mean()),
        over_one_percent=float(100 * (size > 1).mean()),
        over_three_percent=float(100 * (size > 3).mean()),
        coverage_percent=float(coverage),
        pixels=count,
    )


def occlusion_edges(truth: FloatArray, *, window_px: int = 7, range_frames: float = 4.0) -> Pixels:
    """(H, W) pixels where the true index spans more than `range_frames` within a square window.

    Args:
        truth: (H, W) true index; NaN is left out of the span.
        window_px: Odd side of the window.
        range_frames: Span that makes an edge.
    """
    window = np.ones((window_px, window_px), np.uint8)
    known, beyond = np.isfinite(truth), np.float32(1e9)
    highest = cv2.dilate(np.where(known, truth, -beyond).astype(np.float32), window, borderValue=-1e9)
    lowest = cv2.erode(np.where(known, truth, beyond).astype(np.float32), window, borderValue=1e9)
    return highest - lowest > range_frames


def depth_errors_by_region(
    index: FloatArray, truth: FloatArray, *, filled: Pixels | None = None
) -> dict[str, DepthErrors]:
    """Errors over "all", "interior" and "edge" pixels, and over "measured" and "filled" ones where these are told.

    Args:
        index: (H, W) estimated index; NaN where unknown.
        truth: (H, W) true index.
        filled: (H, W) pixels whose estimate was filled in from their neighbours.
    """
    edge = occlusion_edges(truth)
    regions = {"all": np.ones_like(edge), "interior": ~edge, "edge": edge}
    if filled is not None:
        regions |= {"measured": ~filled, "filled": filled}
    return {name: depth_errors(index, truth, pixels=pixels) for name, pixels in regions.items()}


def error_over_bound(
    index: FloatArray, truth: FloatArray, bound: FloatArray, *, pixels: Pixels | None = None
) -> BoundRatio:
    """How far the errors are above the Cramér-Rao bound of `dff.optics.focus_limit`.

    Args:
        index: (H, W) estimated index; NaN where unknown.
        truth: (H, W) true index.
        bound: (H, W) least standard deviation of the index, frames; infinite where nothing can be known.
        pixels: (H, W) the pixels to count.
    """
    _check_shape("bound", bound, truth)
    known = np.isfinite(index) & np.isfinite(truth) & np.isfinite(bound) & (bound > 0)
    known &= True if pixels is None else pixels
    if not known.any():
        return BoundRatio(float("nan"), float("nan"))
    error, least = (index - truth)[known].astype(float), bound[known].astype(float)
    rms = np.sqrt((error**2).mean() / (least**2).mean())
    return BoundRatio(rms=float(rms), robust=float(1.4826 * np.median(np.abs(error) / least)))


def interpolation_bias(
    index: FloatArray, truth: FloatArray, *, bins: int = 10, within_frames: float = 1.0
) -> FloatArray:
    """(bins,) mean error against the fractional part of the true index: the bias that sub-frame fits leave.

    Args:
        index: (H, W) estimated index; NaN where unknown.
        truth: (H, W) true index.
        bins: Number of equal parts of a frame; bin 0 starts at a whole frame.
        within_frames: Larger errors are left out: they are wrong frames, not interpolation.
    """
    error = (index - truth).astype(float)
    near = np.abs(error) <= within_frames
    bin_of = np.minimum((np.mod(truth[near], 1) * bins).astype(int), bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    total = np.bincount(bin_of, weights=error[near], minlength=bins)
    return np.where(count, total / np.maximum(count, 1), np.nan)


def bumpiness(index: FloatArray, truth: FloatArray) -> float:
    """100 mean min(0.05, |Hessian of e|): penalises noise and staircases, forgives smooth error.

    After the toolkit of the 4D light field benchmark (Honauer et al., ACCV 2016), there with disparities in px.

    Args:
        index: (H, W) estimated index; pixels whose Hessian needs an unknown are left out.
        truth: (H, W) true index.
    """
    error = (index - truth).astype(float)
    rows, columns = np.gradient(error)
    second = np.stack([*np.gradient(rows), *np.gradient(columns)])
    size = np.sqrt((second**2).sum(0))
    known = np.isfinite(size)
    return float(100 * np.minimum(size[known], 0.05).mean()) if known.any() else float("nan")


def _check_shape(name: str, values: FloatArray, truth: FloatArray) -> None:
    if values.shape != truth.shape:
        raise ValueError(f"{name}: must have the shape of the truth {truth.shape}; got {values.shape}; resample it")
