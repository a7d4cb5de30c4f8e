"""Brightness of the frames against the reference frame."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from dff.align.motion import to_level
from dff.align.pyramid import Plane
from dff.stack import FloatArray

LOW_PASS_PX = 3.0
"""Blur of the thumbnails."""
DARK, BRIGHT = 0.02, 0.95
"""Share of white outside of which a value tells nothing of the exposure."""
FEWEST = 50
OUTSIDE = -1e6
INSIGNIFICANT = 0.002
"""A stack whose gains all differ less from 1 is left as it is."""


def brightness_gains(
    codes: Sequence[Plane], light: Sequence[Plane], transforms: FloatArray, reference: int, factor: int
) -> FloatArray:
    """(N,) factors on the values of frames that bring them to the brightness of the reference frame; NaN of a dark one.

    Defocus keeps local means of light, and changes those of values coded for a display; in whichever of the two the
    ratio of neighbouring frames varies less over the picture, it is taken.

    Args:
        codes: Thumbnails of luminance as the frames have it, one a frame.
        light: Thumbnails of the square of that, or the same again where values are proportional to light.
        transforms: (N, 3, 3) full-size maps onto the reference frame.
        reference: Frame whose gain is 1.
        factor: Reduction of the thumbnails.
    """
    power = 1.0 if light[reference] is codes[reference] else 0.5
    chains = [
        _chained(codes, 1.0, transforms, reference, factor),
        _chained(light, power, transforms, reference, factor),
    ]
    gains = min(chains, key=lambda chain: chain[1])[0]
    if np.nanmax(np.abs(gains - 1)) < INSIGNIFICANT:
        gains[np.isfinite(gains)] = 1.0
    return gains


def _chained(
    planes: Sequence[Plane], power: float, transforms: FloatArray, reference: int, factor: int
) -> tuple[FloatArray, float]:
    """Gains chained outward from the reference frame past dark frames, and the rms spread of the ratios."""
    gains = np.full(len(planes), np.nan)
    gains[reference] = 1.0
    spreads = [0.0]
    for order in (range(reference + 1, len(planes)), range(reference - 1, -1, -1)):
        known = reference
        for k in order:
            between = to_level(np.linalg.inv(transforms[known]) @ transforms[k], factor)
            ratio, spread = brightness_ratio(planes[known], planes[k], between, power=power)
            gains[k] = gains[known] * ratio
            if np.isfinite(ratio):
                known = k
                spreads.append(spread)
    return gains, float(np.sqrt(np.mean(np.square(spreads))))


def brightness_ratio(fixed: Plane, moving: Plane, transform: FloatArray, *, power: float = 1.0) -> tuple[float, float]:
    """How much brighter `fixed` is than `moving`, and how much that varies over the picture.

    The median and the normalised interquartile range of the low-pass ratio over the common area: between neighbours
    most of the picture keeps its defocus. NaN where too little is neither dark nor clipped.

    Args:
        fixed: (H, W) thumbnail.
        moving: (H, W) another, mapped onto it by `transform`.
        transform: (3, 3) in pixels of the thumbnails.
        power: Exponent from the values of the thumbnails to those of the frames.
    """
    fixed, moving = (cv2.GaussianBlur(plane, (0, 0), LOW_PASS_PX) for plane in (fixed, moving))
    moved = cv2.warpPerspective(moving, transform, fixed.shape[::-1], flags=cv2.INTER_LINEAR, borderValue=OUTSIDE)
    dark, bright = DARK ** (1 / power), BRIGHT ** (1 / power)
    usable = (np.minimum(fixed, moved) > dark) & (np.maximum(fixed, moved) < bright)
    if usable.sum() < FEWEST:
        return float("nan"), float("nan")
    low, middle, high = np.percentile(power * np.log(fixed[usable] / moved[usable]), (25, 50, 75))
    return float(np.exp(middle)), float(high - low) / 1.35
