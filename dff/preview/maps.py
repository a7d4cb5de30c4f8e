"""Pictures of maps: height in colour over its relief, confidence, relief alone."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dff.preview.lettering import INK, PAPER, Picture, number, round_below, round_steps, text_mask, write_text
from dff.stack import FloatArray

UNKNOWN = (232, 226)
"""The two greys of the chequered ground that stands for unknown."""
_LIGHT = np.array([-0.5, 0.6, 0.62])
"""Direction toward the light: from the upper left, x right, y up, z toward the viewer."""


def shrunk(values: FloatArray, max_px: int) -> FloatArray:
    """The map with at most `max_px` a side: means of the known values of each block, NaN where most are unknown."""
    share = -(-max(values.shape) // max_px)
    if share == 1:
        return np.asarray(values, np.float32)
    rows, columns = (side // share * share for side in values.shape)
    whole = np.asarray(values[:rows, :columns], np.float32)
    known = np.isfinite(whole)
    size = (columns // share, rows // share)
    part = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    mean = cv2.resize(np.where(known, whole, np.float32(0)), size, interpolation=cv2.INTER_AREA)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(part >= 0.5 - 1e-4, mean / part, np.float32(np.nan)).astype(np.float32)


def hillshade(height: FloatArray) -> FloatArray:
    """Light on a height map from the upper left, 1 on level ground, 0 in shadow; NaN where unknown.

    Slopes are scaled so that a steep place of the map (the 90th percentile) stands at 45 degrees: relief is seen
    whatever the units.
    """
    known = np.isfinite(height)
    filled = np.where(known, height, 0).astype(np.float32)
    weight = cv2.GaussianBlur(known.astype(np.float32), (0, 0), 1.2)
    smooth = cv2.GaussianBlur(filled, (0, 0), 1.2) / np.maximum(weight, 1e-6)
    smooth = np.where(known, smooth, np.float32(np.nan))
    right, down = _slope(smooth, 1), _slope(smooth, 0)
    steep = np.percentile(np.hypot(right, down)[known], 90) if known.any() else 0
    gain = 1 / steep if steep > 0 else 1
    light = _LIGHT / np.linalg.norm(_LIGHT)
    toward = light[2] - gain * (right * light[0] - down * light[1])
    shade = np.maximum(toward, 0) / np.sqrt(1 + gain**2 * (right**2 + down**2)) / light[2]
    return np.where(known, shade, np.float32(np.nan)).astype(np.float32)


def _slope(height: FloatArray, axis: int) -> FloatArray:
    """Mean of the differences to both neighbours along an axis; 0 for one that is unknown."""
    steps = np.nan_to_num(np.diff(height, axis=axis))
    limit = 4 * np.percentile(np.abs(steps), 95) if steps.size else 0
    steps = np.clip(steps, -limit, limit)
    before = [(1, 0) if i == axis else (0, 0) for i in range(2)]
    after = [(0, 1) if i == axis else (0, 0) for i in range(2)]
    return (np.pad(steps, before) + np.pad(steps, after)) / 2


def unknown_ground(size_px: tuple[int, int]) -> Picture:
    """The chequered grey ground that stands for unknown."""
    rows, columns = np.ogrid[: size_px[0], : size_px[1]]
    squares = np.where((rows // 8 + columns // 8) % 2, *UNKNOWN).astype(np.uint8)
    return np.repeat(squares[..., None], 3, axis=2)


def coloured(values: FloatArray, low: float, high: float, colours: int) -> Picture:
    """Values through an OpenCV colour map, RGB."""
    level = np.nan_to_num((values - low) / max(high - low, 1e-12)).clip(0, 1)
    return np.ascontiguousarray(cv2.applyColorMap((level * 255 + 0.5).astype(np.uint8), colours)[..., ::-1])


def depth_picture(
    height: FloatArray, unit: str, *, pixel: float | None = None, xy_unit: str = "mm", max_px: int = 1600
) -> Picture:
    """A height map in colour over its relief, with a scale of heights and, where pixels have a size, of lengths.

    Args:
        height: (H, W) heights; NaN, drawn as a chequered ground, where unknown.
        unit: Unit of the heights.
        pixel: Size of a pixel, for the bar of length.
        xy_unit: Unit of that size.
        max_px: Longest side of the map in the picture.

    Returns:
        (H', W', 3) sRGB.
    """
    small = shrunk(height, max_px)
    known = np.isfinite(small)
    low, high = np.percentile(small[known], (0.5, 99.5)) if known.any() else (0.0, 1.0)
    colour = coloured(small, low, high, cv2.COLORMAP_VIRIDIS).astype(np.float32)
    light = 0.62 + 0.38 * np.nan_to_num(hillshade(small))[..., None]
    picture = unknown_ground(small.shape)
    picture[known] = np.clip(colour * light, 0, 255).astype(np.uint8)[known]
    if pixel:
        _draw_length(picture, pixel * height.shape[1] / small.shape[1], xy_unit)
    return with_scale(picture, low, high, f"height, {unit}", cv2.COLORMAP_VIRIDIS)


def confidence_picture(confidence: FloatArray, *, max_px: int = 1600) -> Picture:
    """Confidence 0 to 1 in colour, dark where nothing is known, with its scale."""
    small = shrunk(confidence, max_px)
    return with_scale(coloured(small, 0, 1, cv2.COLORMAP_MAGMA), 0, 1, "confidence", cv2.COLORMAP_MAGMA)


def relief_picture(height: FloatArray, *, max_px: int = 1600) -> Picture:
    """The relief in grey, lit from the upper left; unknown is white."""
    shade = hillshade(shrunk(height, max_px))
    grey = np.where(np.isnan(shade), 255, np.clip(40 + 150 * shade, 0, 255)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def with_scale(picture: Picture, low: float, high: float, title: str, colours: int) -> Picture:
    """A picture with a panel at its right: title, colour bar and round numbers."""
    height, width = picture.shape[:2]
    letters = int(np.clip(height // 38, 12, 30))
    panel = max(letters * 6, text_mask(title, letters).shape[1] + 2 * letters)
    canvas = np.full((height, width + panel, 3), PAPER, np.uint8)
    canvas[:, :width] = picture
    top, bottom, left = letters * 3, height - letters * 2, width + letters
    right = left + round(letters * 1.3)
    bar = coloured(np.linspace(high, low, bottom - top)[:, None].astype(np.float32), low, high, colours)
    canvas[top:bottom, left:right] = bar
    ticks = round_steps(low, high, max(2, (bottom - top) // (letters * 4)))
    step = float(ticks[1] - ticks[0]) if len(ticks) > 1 else high - low
    for tick in ticks:
        row = top + (high - tick) / max(high - low, 1e-12) * (bottom - top - 1)
        canvas[round(row), right : right + letters // 3] = INK
        write_text(canvas, number(tick, step), (right + letters * 0.6, row), size_px=letters)
    write_text(canvas, title, (left, letters * 1.5), size_px=letters)
    return canvas


def _draw_length(picture: Picture, pixel: float, unit: str) -> None:
    """A bar of round length at the lower left, white on dark."""
    height, width = picture.shape[:2]
    letters = int(np.clip(height // 38, 12, 30))
    length = round_below(width * pixel / 4)
    columns, text = round(length / pixel), f"{length:g} {unit}"
    box = np.s_[height - 4 * letters : height - letters, letters : 3 * letters + columns]
    picture[box] = (picture[box] * 0.35).astype(np.uint8)
    row, left = height - round(1.75 * letters), 2 * letters
    picture[row : row + max(2, letters // 5), left : left + columns] = PAPER
    write_text(picture, text, (left + columns / 2, row - 0.9 * letters), size_px=letters, anchor="centre", colour=PAPER)


def bounded(picture: NDArray[np.uint8], max_px: int) -> Picture:
    """A picture shrunk to at most `max_px` a side."""
    share = max_px / max(picture.shape[:2])
    if share >= 1:
        return picture
    size = (max(1, round(picture.shape[1] * share)), max(1, round(picture.shape[0] * share)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
