"""Pictures of maps: truth, estimate, error and confidence side by side, and the noise between two results."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dff import io
from dff.benchmark.estimate import Estimate
from dff.measure import Comparison
from dff.preview.lettering import INK, PAPER, number, round_steps, write_text
from dff.preview.maps import coloured, shrunk, unknown_ground
from dff.stack import FloatArray, Scene

Picture = NDArray[np.uint8]

ERROR_LIMIT_FRAMES = 1.0
"""Errors beyond it have the strongest colour."""
_PANEL_PX = 384
_THUMBNAIL_PX = 288
_LETTERS_PX = 15
_STOPS = ((5, 48, 97), (67, 147, 195), (247, 247, 247), (214, 96, 77), (103, 0, 31))


def diverging_colours() -> NDArray[np.uint8]:
    """Blue over white to red, as a table for cv2.applyColorMap."""
    level = np.linspace(0, len(_STOPS) - 1, 256)
    rgb = [np.interp(level, range(len(_STOPS)), channel) for channel in zip(*_STOPS)]
    return np.stack(rgb[::-1], axis=-1).round().astype(np.uint8)[:, None]


def write_panels(path: Path, scene: Scene, estimate: Estimate) -> None:
    """Truth, estimate, error and confidence of one method on one scene, with their scales, as one file."""
    if estimate.index is None:
        return
    truth, index, limit = scene.index, estimate.index, ERROR_LIMIT_FRAMES
    low, high = _range(truth)
    panels = [
        panel(truth, low, high, "truth, frames", cv2.COLORMAP_VIRIDIS),
        panel(index, low, high, "estimate, frames", cv2.COLORMAP_VIRIDIS),
        panel(index - truth, -limit, limit, "error, frames", diverging_colours()),
    ]
    if estimate.confidence is not None:
        panels.append(panel(estimate.confidence, 0, 1, "confidence", cv2.COLORMAP_MAGMA))
    io.write_image(path, beside(panels))


def _range(truth: FloatArray) -> tuple[float, float]:
    low, high = np.nanpercentile(truth, (1, 99)) if np.isfinite(truth).any() else (0.0, 1.0)
    return float(low), float(high)


def subject_jpeg(scene: Scene) -> bytes:
    """The all-in-focus truth, brightened for display."""
    return _jpeg(np.rint(255 * np.clip(scene.sharp, 0, 1) ** (1 / 2.2)).astype(np.uint8))


def truth_jpeg(scene: Scene) -> bytes:
    """The true index in colour."""
    return _jpeg(drawn(scene.index, *_range(scene.index), cv2.COLORMAP_VIRIDIS))


def error_jpeg(scene: Scene, index: FloatArray) -> bytes:
    """The error of an index map in colour."""
    return _jpeg(drawn(index - scene.index, -ERROR_LIMIT_FRAMES, ERROR_LIMIT_FRAMES, diverging_colours()))


def _jpeg(picture: Picture) -> bytes:
    share = max(1, -(-max(picture.shape[:2]) // _THUMBNAIL_PX))
    small = cv2.resize(picture, (picture.shape[1] // share, picture.shape[0] // share), interpolation=cv2.INTER_AREA)
    bgr = np.ascontiguousarray(small.reshape(*small.shape[:2], -1)[..., ::-1])
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def noise_picture(comparison: Comparison) -> Picture:
    """The noise map of two results, its colours ending at four times the robust noise."""
    scale, unit = (1000, "µm") if comparison.unit == "mm" else (1, comparison.unit)
    limit = max(4 * scale * comparison.robust_rms, 1e-9)
    title = f"(first - second) / sqrt 2, {unit}"
    return panel(scale * comparison.noise, -limit, limit, title, diverging_colours(), side_px=1200)


def panel(
    values: FloatArray, low: float, high: float, title: str, colours: int | Picture, *, side_px: int = _PANEL_PX
) -> Picture:
    """A map under its title, over its colour bar; what is unknown is chequered."""
    small = shrunk(np.asarray(values, np.float32), side_px)
    times = max(1, side_px // max(small.shape))
    picture = drawn(small.repeat(times, axis=0).repeat(times, axis=1), low, high, colours)
    height, width = picture.shape[:2]
    letters = _LETTERS_PX
    canvas = np.full((height + 5 * letters, width, 3), PAPER, np.uint8)
    canvas[2 * letters : 2 * letters + height] = picture
    write_text(canvas, title, (0, letters * 0.9), size_px=letters)
    _draw_bar(canvas, low, high, colours)
    return canvas


def drawn(values: FloatArray, low: float, high: float, colours: int | Picture) -> Picture:
    """A map in colour; what is unknown is chequered."""
    picture = unknown_ground(values.shape)
    known = np.isfinite(values)
    picture[known] = coloured(values, low, high, colours)[known]  # type: ignore[arg-type]
    return picture


def _draw_bar(canvas: Picture, low: float, high: float, colours: int | Picture) -> None:
    """A lying colour bar with round numbers at the bottom of the canvas."""
    height, width = canvas.shape[:2]
    letters = _LETTERS_PX
    top, left, right = height - round(2.3 * letters), 2 * letters, width - 2 * letters
    ramp = np.linspace(low, high, right - left, dtype=np.float32)[None].repeat(letters // 2, axis=0)
    canvas[top : top + letters // 2, left:right] = coloured(ramp, low, high, colours)  # type: ignore[arg-type]
    ticks = round_steps(low, high, 4)
    step = float(ticks[1] - ticks[0]) if len(ticks) > 1 else high - low
    for tick in ticks:
        column = left + (tick - low) / max(high - low, 1e-12) * (right - left - 1)
        canvas[top + letters // 2 : top + letters // 2 + 4, round(column)] = INK
        place = (column, top + 1.5 * letters)
        write_text(canvas, number(float(tick), step), place, size_px=letters - 2, anchor="centre")


def beside(panels: list[Picture]) -> Picture:
    """Pictures of one height in a row, with a gap between them."""
    gap = np.full((panels[0].shape[0], _LETTERS_PX, 3), PAPER, np.uint8)
    row = [part for one in panels for part in (one, gap)][:-1]
    return np.ascontiguousarray(np.concatenate(row, axis=1))
