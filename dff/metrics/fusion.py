"""Quality of a fused picture against its sources, where no true picture exists.

Definitions are for two sources A, B and the fused picture F; sums over {A, B} become sums over all N sources, for
which no standard exists. Pictures are grey, (H, W), 0 … 1. These figures reward agreement with sources, blurred
ones included: they rank methods on one set of sources and say little across sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dff.metrics.picture import visual_information
from dff.stack import FloatArray

GreyLevels = NDArray[np.int64]
CONTRAST_RADIUS_PX = 15
AGREEMENT = 0.75
"""Similarity of the sources from which Q_Y takes both, not the better one."""


class FusionQuality(NamedTuple):
    """What a fused picture keeps of its sources."""

    edge_preservation: float
    """Q^{AB/F}, up to 0.987."""
    mutual_information: float
    """NMI, 0 … 2."""
    perceptual_contrast: float
    """Q_CB, 0 … 1."""
    structural_transfer: float
    """Q_Y, up to 1."""
    visual_information: float
    """Mean VIF against the sources."""


def fusion_quality(fused: FloatArray, sources: Sequence[FloatArray]) -> FusionQuality:
    """All five figures.

    Args:
        fused: (H, W).
        sources: N pictures (H, W).
    """
    return FusionQuality(
        edge_preservation=edge_preservation(fused, sources),
        mutual_information=normalised_mutual_information(fused, sources),
        perceptual_contrast=perceptual_contrast(fused, sources),
        structural_transfer=structural_transfer(fused, sources),
        visual_information=float(np.mean([visual_information(fused, source) for source in sources])),
    )


def edge_preservation(fused: FloatArray, sources: Iterable[FloatArray]) -> float:
    """Q^{AB/F}: how much of the sources' gradients, in strength and direction, the fused picture keeps.

    Sobel strength g and angle α; G = min(g_A, g_F) / max, Δ = ||α_A - α_F| - π/2| 2/π;
    Q = 1 / (1 + exp(-10 (G - 0.5))) · 1 / (1 + exp(-20 (Δ - 0.75))), averaged with weight g_A over pixels and
    sources. Xydeas and Petrović, Electronics Letters 36(4), 2000, with the constants of the common
    implementation, under which equal pictures give 0.987.

    Args:
        fused: (H, W).
        sources: N pictures (H, W).
    """
    strength_fused, angle_fused = _gradient(fused)
    kept = whole = 0.0
    for source in sources:
        strength, angle = _gradient(source)
        high = np.maximum(strength, strength_fused)
        ratio = np.divide(np.minimum(strength, strength_fused), high, out=np.ones_like(high), where=high > 0)
        parallel = np.abs(np.abs(angle - angle_fused) - np.pi / 2) * 2 / np.pi
        quality = 1 / (1 + np.exp(-10 * (ratio - 0.5))) / (1 + np.exp(-20 * (parallel - 0.75)))
        kept, whole = kept + float((quality * strength).sum()), whole + float(strength.sum())
    return kept / whole if whole > 0 else float("nan")


def _gradient(picture: FloatArray) -> tuple[FloatArray, FloatArray]:
    across = cv2.Sobel(picture.astype(float), cv2.CV_64F, 1, 0, ksize=3)
    down = cv2.Sobel(picture.astype(float), cv2.CV_64F, 0, 1, ksize=3)
    flat = across == 0
    angle = np.where(flat, np.where(down == 0, 0, np.pi / 2), np.arctan(down / np.where(flat, 1, across)))
    return np.hypot(across, down), angle


def normalised_mutual_information(fused: FloatArray, sources: Iterable[FloatArray]) -> float:
    """NMI = 2 mean over sources of 2 I(A, F) / (H(A) + H(F)), 0 … 2; from 256 grey levels, each picture stretched.

    For two sources it is 2 [I(A,F) / (H(A)+H(F)) + I(B,F) / (H(B)+H(F))]: Hossny, Nahavandi, Creighton,
    Electronics Letters 44(18), 2008. A source and a fused picture without any contrast share nothing, 0.

    Args:
        fused: (H, W).
        sources: N pictures (H, W).
    """
    levels = _grey_levels(fused)
    return float(2 * np.mean([_shared_information(_grey_levels(source), levels) for source in sources]))


def _shared_information(a: GreyLevels, b: GreyLevels) -> float:
    joint = np.bincount(a * 256 + b, minlength=65536).reshape(256, 256) / len(a)
    entropies = _entropy(joint.sum(0)) + _entropy(joint.sum(1))
    return 2 * (entropies - _entropy(joint)) / entropies if entropies > 0 else 0.0


def _entropy(probability: FloatArray) -> float:
    present = probability[probability > 0]
    return float(-(present * np.log2(present)).sum())


def _stretched(picture: FloatArray) -> FloatArray:
    values = picture.astype(float)
    span = float(np.ptp(values))
    return (values - values.min()) / span if span > 0 else np.zeros_like(values)


def _grey_levels(picture: FloatArray) -> GreyLevels:
    return np.rint(255 * _stretched(picture)).astype(np.int64).ravel()


def perceptual_contrast(fused: FloatArray, sources: Sequence[FloatArray]) -> float:
    """Q_CB: likeness of local contrast as an eye sees it, 0 … 1.

    Pictures are stretched and filtered by the contrast sensitivity exp(-(r/15.387)²) - 0.7622 exp(-(r/1.3456)²);
    contrast C = |Gaussian of sigma 2 / Gaussian of sigma 4 - 1|, masked C' = C³ / (C² + 1e-4); likeness
    min(C'_A, C'_F) / max, mixed by C'². Chen and Blum, Image and Vision Computing 27(10), 2009.

    Args:
        fused: (H, W).
        sources: N pictures (H, W).
    """
    contrast_fused = _masked_contrast(fused)
    likeness = np.zeros_like(contrast_fused)
    weights, plain = np.zeros_like(likeness), np.zeros_like(likeness)
    for source in sources:
        contrast = _masked_contrast(source)
        high = np.maximum(contrast, contrast_fused)
        like = np.divide(np.minimum(contrast, contrast_fused), high, out=np.ones_like(high), where=high > 0)
        likeness, weights, plain = likeness + like * contrast**2, weights + contrast**2, plain + like
    mixed = np.divide(likeness, weights, out=plain / len(sources), where=weights > 0)
    return float(mixed.mean())


def _masked_contrast(picture: FloatArray) -> FloatArray:
    height, width = picture.shape
    down, across = np.fft.fftfreq(height)[:, None] * height / 15, np.fft.fftfreq(width) * width / 15
    radius = np.hypot(down, across)
    sensitivity = np.exp(-((radius / 15.387) ** 2)) - 0.7622 * np.exp(-((radius / 1.3456) ** 2))
    seen = np.fft.ifft2(np.fft.fft2(_stretched(picture)) * sensitivity).real
    side = 2 * CONTRAST_RADIUS_PX + 1
    fine, coarse = (cv2.GaussianBlur(seen, (side, side), sigma) for sigma in (2, 4))
    contrast = np.abs(fine - coarse) / np.maximum(np.abs(coarse), 1e-9)
    return contrast**3 / (contrast**2 + 1e-4)


def structural_transfer(fused: FloatArray, sources: Sequence[FloatArray]) -> float:
    """Q_Y: structural similarity to the sources, to all of them where they agree and to the best where they differ.

    SSIM without constants in Gaussian windows of 7 px, sigma 1.5; where SSIM(A, B) >= 0.75 the mean weighted by the
    local variances, else the larger. With more than two sources these agree where all neighbours do. Variances are
    kept from falling below zero and flat windows are compared exactly. Yang, Zhang, Wang, Li, IEICE, 2008.

    Args:
        fused: (H, W).
        sources: N pictures (H, W).
    """
    likeness = [_plain_ssim(source, fused) for source in sources]
    variances = [_variance(source) for source in sources]
    best, weights = np.maximum.reduce(likeness), np.add.reduce(variances)
    mixed = np.add.reduce([like * variance for like, variance in zip(likeness, variances)])
    agree = np.ones(best.shape, bool)
    for one, other in pairwise(sources):
        agree &= _plain_ssim(one, other) >= AGREEMENT
    mean = np.divide(mixed, weights, out=best.copy(), where=weights > 0)
    return float(np.where(agree, mean, best).mean())


def _plain_ssim(a: FloatArray, b: FloatArray) -> FloatArray:
    mean_a, mean_b = _mean7(a), _mean7(b)
    var_a, var_b = _variance(a), _variance(b)
    covariance = np.where((var_a > 0) & (var_b > 0), _mean7(a.astype(float) * b) - mean_a * mean_b, 0)
    brightness = _ratio(2 * mean_a * mean_b, mean_a**2 + mean_b**2)
    return brightness * _ratio(2 * covariance, var_a + var_b)


def _variance(picture: FloatArray) -> FloatArray:
    """Local variance; rounding noise of flat windows is zero."""
    variance = _mean7(picture.astype(float) ** 2) - _mean7(picture) ** 2
    return np.where(variance > 1e-12, variance, 0)


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """Quotient that is one where both are zero."""
    return np.divide(above, below, out=np.ones_like(below), where=below > 0)


def _mean7(values: FloatArray) -> FloatArray:
    return np.asarray(cv2.GaussianBlur(values.astype(float), (7, 7), 1.5)[3:-3, 3:-3], float)
