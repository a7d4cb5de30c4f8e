"""Reduced luminance of a frame, from the working level down to a thumbnail."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dff.stack import LUMINANCE, FocalStack

Plane = NDArray[Any]
"""(H, W) float32."""

BLUR_PX = 1.0
"""Every level is blurred by this, so that noise does not pass for texture."""
FULL_PIXELS = 800_000
"""Smaller frames are registered at full size,"""
HALF_PIXELS = 12_000_000
"""smaller ones at half size, larger ones at a quarter."""
THUMBNAIL_PX = 64
"""The pyramid ends before its short side falls below this."""


@dataclass(frozen=True)
class Pyramid:
    """Low-pass luminance of one frame, 0 to 1, in proportion to light, each level half as large as the one before."""

    levels: tuple[Plane, ...]
    factors: tuple[int, ...]
    """Reduction of each level against the frame."""
    size: tuple[int, int]
    """(H, W) of the frame."""
    codes: Plane
    """Thumbnail of the luminance as the frame has it, coded or not."""

    @property
    def thumbnail(self) -> Plane:
        """The smallest level."""
        return self.levels[-1]

    def coarse(self, largest_px: int) -> Pyramid:
        """The levels whose short side is at most this, or the smallest."""
        small = [k for k, level in enumerate(self.levels) if min(level.shape) <= largest_px] or [len(self.levels) - 1]
        return replace(self, levels=tuple(self.levels[k] for k in small), factors=tuple(self.factors[k] for k in small))


def working_factor(size: tuple[int, int]) -> int:
    """Reduction of the finest level that is looked at."""
    pixels = size[0] * size[1]
    return 1 if pixels < FULL_PIXELS else 2 if pixels < HALF_PIXELS else 4


def is_coded(stack: FocalStack) -> bool:
    """Whether values are coded for a display: eight bits, or a colour profile; others are proportional to light."""
    return stack.dtype == np.uint8 or stack.metadata.icc is not None


def luminance_pyramid(frame: NDArray[Any], white: float, *, coded: bool) -> Pyramid:
    """Luminance of a frame at the working level and below.

    Defocus blurs light, not codes: in codes, bright areas seem to grow into dark ones as they blur, which looks like
    motion. Coded luminance is therefore squared, which is near enough to light.

    Args:
        frame: (H, W, C) of any type, C is 1 or 3.
        white: The value of full white.
        coded: Whether values are coded for a display.
    """
    size = (frame.shape[0], frame.shape[1])
    factor = working_factor(size)
    plane = _luminance(_reduce(frame, factor), white)
    levels = [plane * plane if coded else plane]
    factors = [factor]
    while min(levels[-1].shape) >= 2 * THUMBNAIL_PX:
        levels.append(_reduce(levels[-1], 2))
        factors.append(factors[-1] * 2)
    blurred = tuple(cv2.GaussianBlur(level, (0, 0), BLUR_PX) for level in levels)
    codes = cv2.resize(plane, levels[-1].shape[::-1], interpolation=cv2.INTER_AREA) if coded else blurred[-1]
    return Pyramid(blurred, tuple(factors), size, codes)


def _reduce(picture: NDArray[Any], factor: int) -> NDArray[Any]:
    height, width = picture.shape[0] // factor, picture.shape[1] // factor
    if factor == 1 or not (height and width):
        return picture
    reduced = picture[: height * factor, : width * factor]
    # Halving is several times as fast as any other reduction.
    for step in range(factor.bit_length() - 2, -1, -1):
        reduced = cv2.resize(reduced, (width << step, height << step), interpolation=cv2.INTER_AREA)
    return reduced


def _luminance(picture: NDArray[Any], white: float) -> Plane:
    weights = np.array([LUMINANCE if picture.ndim == 3 and picture.shape[2] == 3 else (1,)], np.float32)
    plane = cv2.transform(picture.astype(np.float32), weights / np.float32(white))
    if np.issubdtype(picture.dtype, np.floating):
        np.nan_to_num(plane, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
    return plane
