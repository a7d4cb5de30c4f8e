"""Quality of a picture against the true one: PSNR, SSIM, VIF. Values are 0 … 1 with white at one."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dff.stack import FloatArray

SSIM_SIGMA_PX = 1.5
SSIM_RADIUS_PX = 5
VIF_SCALES = 4
VIF_NOISE = 2.0 / 255**2
"""Variance of the noise of the visual system, 2 in grey levels squared."""


def psnr(picture: FloatArray, truth: FloatArray, *, pixels: NDArray[np.bool_] | None = None) -> float:
    """Peak signal-to-noise ratio -10 log10 mean (picture - truth)², dB; infinite for equal pictures.

    Args:
        picture: (H, W) or (H, W, C).
        truth: The same shape.
        pixels: (H, W) the pixels to count.
    """
    difference = picture.astype(float) - truth
    error = float(np.mean(np.square(difference if pixels is None else difference[pixels])))
    return float("inf") if error == 0 else -10 * float(np.log10(error))


def ssim(picture: FloatArray, truth: FloatArray, *, pixels: NDArray[np.bool_] | None = None) -> float:
    """Mean structural similarity over the pixels whose window lies inside the picture.

    Args:
        picture: (H, W) or (H, W, C); channels are averaged.
        truth: The same shape.
        pixels: (H, W) the pixels to count.

    Raises:
        ValueError: the picture is smaller than the window.
    """
    border = SSIM_RADIUS_PX
    if min(truth.shape[:2]) <= 2 * border:
        raise ValueError(
            f"SSIM: needs more than {2 * border} px on either side; got {truth.shape[1]} x {truth.shape[0]}; "
            "compare a larger piece"
        )
    inside = (slice(border, -border), slice(border, -border))
    similarity = ssim_map(picture, truth)[inside]
    return float(similarity.mean() if pixels is None else similarity[pixels[inside]].mean())


def ssim_map(picture: FloatArray, truth: FloatArray) -> FloatArray:
    """(H, W) structural similarity of the surroundings of each pixel.

    (2 μx μy + C1)(2 σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2)), Gaussian window of 11 px and sigma 1.5,
    C1 = 0.01², C2 = 0.03². Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004.
    """
    x, y = picture.astype(float), truth.astype(float)
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    var_x, var_y = _window_mean(x * x) - mean_x**2, _window_mean(y * y) - mean_y**2
    covariance = _window_mean(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity /= (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return similarity if similarity.ndim == 2 else similarity.mean(-1)


def _window_mean(values: FloatArray) -> FloatArray:
    side = 2 * SSIM_RADIUS_PX + 1
    return np.asarray(cv2.GaussianBlur(values, (side, side), SSIM_SIGMA_PX, borderType=cv2.BORDER_REFLECT_101), float)


def visual_information(picture: FloatArray, reference: FloatArray) -> float:
    """Visual information fidelity in the pixel domain (VIFp): information about the reference that the picture keeps.

    Per window of four scales the picture is g · reference + noise of variance σv²; the ratio is
    sum log(1 + g² σr² / (σv² + σn²)) / sum log(1 + σr² / σn²), σn² = 2 grey levels squared. 1 for the reference
    itself, more for a picture of higher contrast. Sheikh and Bovik, IEEE TIP 15(2), 2006.

    Args:
        picture: (H, W).
        reference: (H, W).

    Raises:
        ValueError: fewer than 41 px on a side, which the coarsest window needs.
    """
    if min(reference.shape) < 41:
        raise ValueError(f"VIF: needs at least 41 px on either side; got {reference.shape}; compare a larger piece")
    x, y = reference.astype(float), picture.astype(float)
    kept = whole = 0.0
    for scale in range(VIF_SCALES):
        side = 2 ** (VIF_SCALES - scale) + 1
        if scale:
            x, y = _valid_mean(x, side)[::2, ::2], _valid_mean(y, side)[::2, ::2]
        kept_here, whole_here = _information(x, y, side)
        kept, whole = kept + kept_here, whole + whole_here
    return kept / whole if whole > 0 else 1.0


def _information(x: FloatArray, y: FloatArray, side: int) -> tuple[float, float]:
    tiny = 1e-10 / 255**2
    mean_x, mean_y = _valid_mean(x, side), _valid_mean(y, side)
    var_x = np.maximum(_valid_mean(x * x, side) - mean_x**2, 0)
    var_y = np.maximum(_valid_mean(y * y, side) - mean_y**2, 0)
    covariance = _valid_mean(x * y, side) - mean_x * mean_y
    usable = (var_x >= tiny) & (var_y >= tiny) & (covariance > 0)
    gain = np.where(usable, covariance / np.maximum(var_x, tiny), 0)
    noise = np.maximum(np.where(usable, var_y - gain * covariance, var_y), tiny)
    kept = np.log10(1 + gain**2 * var_x / (noise + VIF_NOISE)).sum()
    return float(kept), float(np.log10(1 + var_x / VIF_NOISE).sum())


def _valid_mean(values: FloatArray, side: int) -> FloatArray:
    """Gaussian mean with sigma a fifth of the side, where the window lies inside."""
    half = side // 2
    mean = cv2.GaussianBlur(values, (side, side), side / 5, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(mean[half:-half, half:-half], float)
