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
"""Luminance outside tells nothing of the exposure."""
FEWEST = 50
OUTSIDE = -1e6
INSIGNIFICANT = 0.002
"""A stack whose gains all differ less from 1 is left as it is."""


def brightness_ratio(fixed: Plane, moving: Plane, transform: FloatArray) -> float:
    """How much brighter `fixed` is than `moving`: the median of the low-pass ratio over their common area.

    Between neighbours most of the picture keeps its defocus, so that the median is right even where blurring changes
    local means, as it does in gamma-coded pictures. NaN where too little is neither dark nor clipped.

    Args:
        fixed: (H, W) thumbnail of luminance.
        moving: (H, W) another, mapped onto it by `transform`.
    """
    fixed, moving = (cv2.GaussianBlur(plane, (0, 0), LOW_PASS_PX) for plane in (fixed, moving))
    moved = cv2.warpPerspective(moving, transform, fixed.shape[::-1], flags=cv2.INTER_LINEAR, borderValue=OUTSIDE)
    usable = (np.minimum(fixed, moved) > DARK) & (np.maximum(fixed, moved) < BRIGHT)
    if usable.sum() < FEWEST:
        return float("nan")
    return float(np.median(fixed[usable] / moved[usable]))


def brightness_gains(thumbnails: Sequence[Plane], transforms: FloatArray, reference: int, factor: int) -> FloatArray:
    """(N,) factors that bring frames to the brightness of the reference frame, chained; NaN of a dark frame.

    Args:
        thumbnails: One a frame, reduced by `factor`.
        transforms: (N, 3, 3) full-size maps onto the reference frame.
        reference: Frame whose gain is 1.
        factor: Reduction of the thumbnails.
    """
    gains = np.full(len(thumbnails), np.nan)
    gains[reference] = 1.0
    for order in (range(reference + 1, len(thumbnails)), range(reference - 1, -1, -1)):
        known = reference
        for k in order:
            between = to_level(np.linalg.inv(transforms[known]) @ transforms[k], factor)
            gains[k] = gains[known] * brightness_ratio(thumbnails[known], thumbnails[k], between)
            known = k if np.isfinite(gains[k]) else known
    if np.nanmax(np.abs(gains - 1)) < INSIGNIFICANT:
        gains[np.isfinite(gains)] = 1.0
    return gains
