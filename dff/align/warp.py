"""Moving frames onto the reference frame, and which pixels are then covered."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from dff.align.resample import TAPS, can_resample, resample, separable_motion
from dff.stack import Alignment, FloatArray

Span = tuple[int, int]
_LONG_SHARE = 0.9
"""Rows of which a frame covers this share lie between its upper and its lower edge."""


def warp_frame(
    frame: NDArray[Any], transform: FloatArray, size: tuple[int, int] | None = None, *, fill: float = 0
) -> NDArray[Any]:
    """A frame moved onto the reference frame, of its own type; the frame itself where nothing moves.

    Values stay within the range that the frame has, so that nothing wraps around or rings beyond black and white.
    Outside the frame is `fill`; `valid_frames` tells where that is.

    Args:
        frame: (H, W, C) of any type.
        transform: (3, 3) map from the frame's pixels to the reference frame's.
        size: (H, W) of the answer; the frame's own by default.
        fill: Value of uncovered pixels.
    """
    size = size or (frame.shape[0], frame.shape[1])
    if size == frame.shape[:2] and is_identity(transform):
        return frame
    planes = frame.reshape(*frame.shape[:2], -1)
    motion = separable_motion(transform) if can_resample(planes) else None
    if motion is not None:
        moved = resample(planes, motion, size, fill)
        moved = moved if np.issubdtype(frame.dtype, np.integer) else np.clip(moved, *_range(frame, fill), out=moved)
    elif frame.dtype == np.uint8:
        moved = _interpolated(planes, transform, size, fill)
    else:
        moved = _by_channels(planes, transform, size, fill)
    return moved.reshape(*size, *frame.shape[2:])


def _by_channels(planes: NDArray[Any], transform: FloatArray, size: tuple[int, int], fill: float) -> NDArray[Any]:
    """Twice as fast through float as on 16-bit integers; one channel at a time to save memory."""
    low, high = _range(planes, fill)
    moved = np.empty((*size, planes.shape[2]), planes.dtype)
    for channel in range(planes.shape[2]):
        plane = _interpolated(planes[..., channel].astype(np.float32), transform, size, fill)
        plane = np.rint(plane, out=plane) if np.issubdtype(planes.dtype, np.integer) else plane
        moved[..., channel] = np.clip(plane, low, high, out=plane)
    return moved


def _interpolated(planes: NDArray[Any], transform: FloatArray, size: tuple[int, int], fill: float) -> NDArray[Any]:
    edge = (fill,) * (1 if planes.ndim == 2 else planes.shape[2])
    return cv2.warpPerspective(planes, transform, size[::-1], flags=cv2.INTER_LANCZOS4, borderValue=edge)


def _range(frame: NDArray[Any], fill: float) -> tuple[float, float]:
    """Least and largest value of an integer type, or of what a float picture holds."""
    if np.issubdtype(frame.dtype, np.integer):
        return 0, np.iinfo(frame.dtype).max
    return min(float(frame.min()), fill), max(float(frame.max()), fill)


def is_identity(transform: FloatArray) -> bool:
    """Whether a map is exactly the identity."""
    return bool((np.asarray(transform) == np.eye(3)).all())


def valid_frames(alignment: Alignment, rows: Span | None = None, columns: Span | None = None) -> NDArray[np.bool_]:
    """Which frames cover each pixel of a part with all samples that the interpolation reads.

    Args:
        alignment: N frames of (H, W) pixels.
        rows: First row and row after the last; all by default.
        columns: Likewise.

    Returns:
        (N, rows, columns).
    """
    return np.stack([covered(transform, alignment.size_px, rows, columns) for transform in alignment.transforms])


def valid_area(alignment: Alignment) -> NDArray[np.bool_]:
    """(H, W) which pixels are covered by every frame."""
    area = np.ones(alignment.size_px, bool)
    for transform in alignment.transforms:
        area &= covered(transform, alignment.size_px)
    return area


def covered(
    transform: FloatArray,
    size: tuple[int, int],
    rows: Span | None = None,
    columns: Span | None = None,
    *,
    margin_px: int = 0,
) -> NDArray[np.bool_]:
    """(rows, columns) which pixels a frame covers with all samples that the interpolation reads.

    Args:
        transform: (3, 3) map from the frame's pixels to the reference frame's.
        size: (H, W) of the frames.
        rows: First row and row after the last; all by default.
        columns: Likewise.
        margin_px: Pixels on either side, of the picture, that have to be covered too.
    """
    rows, columns = rows or (0, size[0]), columns or (0, size[1])
    first, stop = covered_columns(transform, size, rows, columns, margin_px=margin_px)
    width = columns[1] - columns[0]
    if not first.any() and (stop == width).all():
        return np.ones((len(first), width), bool)
    across = np.arange(width, dtype=np.int32)
    return (across >= first[:, None]) & (across < stop[:, None])


def covered_columns(
    transform: FloatArray, size: tuple[int, int], rows: Span, columns: Span, *, margin_px: int = 0
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(rows,) first column that a frame covers in each row of a part, and (rows,) that after the last, from its left.

    Args:
        transform: (3, 3) map from the frame's pixels to the reference frame's.
        size: (H, W) of the frames.
        rows: First row and row after the last.
        columns: Likewise.
        margin_px: Pixels on either side, of the picture, that have to be covered too.
    """
    left, right = columns
    if is_identity(transform):
        return np.zeros(rows[1] - rows[0], np.int32), np.full(rows[1] - rows[0], right - left, np.int32)
    first, last = (ends[slice(*rows)] for ends in _inner_spans(transform.tobytes(), size, margin_px))
    return np.clip(first - left, 0, right - left), np.clip(last + 1 - left, 0, right - left)


def partly_covered(transform: FloatArray, size: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Windows along the edges that hold all pixels that a frame does not cover.

    Args:
        transform: (3, 3) map from the frame's pixels to the reference frame's.
        size: (H, W) of the frames.
    """
    height, width = size
    if is_identity(transform):
        return []
    first, last = _spans(transform, size, np.arange(height), (0, width))
    long = np.flatnonzero(last - first >= _LONG_SHARE * width)
    if not len(long):
        return [(slice(0, height), slice(0, width))]
    top, bottom = int(long[0]), int(long[-1]) + 1
    left, right = int(first[top:bottom].max()), int(last[top:bottom].min()) + 1
    windows = [(0, top, 0, width), (bottom, height, 0, width), (top, bottom, 0, left), (top, bottom, right, width)]
    return [(slice(a, b), slice(c, d)) for a, b, c, d in windows if a < b and c < d]


@lru_cache(maxsize=1024)
def _inner_spans(
    transform: bytes, size: tuple[int, int], margin_px: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """First and last column of each row that is covered with all pixels of the picture within a margin."""
    height, width = size
    matrix = np.frombuffer(transform).reshape(3, 3)
    first, last = _spans(matrix, size, np.arange(height), (0, width))
    first, last = first + margin_px * (first > 0), last - margin_px * (last < width - 1)
    first, last = np.pad(first, margin_px), np.pad(last, margin_px, constant_values=width)
    around = 2 * margin_px + 1
    inner = sliding_window_view(first, around).max(1), sliding_window_view(last, around).min(1)
    return inner[0].astype(np.int32), inner[1].astype(np.int32)


def _spans(
    transform: FloatArray, size: tuple[int, int], rows: NDArray[np.integer], columns: Span
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """First and last covered column of each row: what a frame covers is convex. The last is before the first if none.

    A sample x = (x_row · u) / (w_row · u) with a positive denominator lies beyond a bound on one side of a line.
    """
    x_row, y_row, w_row = np.linalg.inv(transform)
    low, high_x, high_y = TAPS - 1, size[1] - 1 - TAPS, size[0] - 1 - TAPS
    first, last = np.full(len(rows), columns[0]), np.full(len(rows), columns[1] - 1)
    for slope, down, offset in (
        x_row - low * w_row,
        high_x * w_row - x_row,
        y_row - low * w_row,
        high_y * w_row - y_row,
        w_row,
    ):
        rest = down * rows + offset
        if slope == 0:
            last = np.where(rest >= 0, last, columns[0] - 1)
        elif slope > 0:
            first = np.maximum(first, np.ceil(np.clip(-rest / slope, columns[0], columns[1])).astype(int))
        else:
            last = np.minimum(last, np.floor(np.clip(-rest / slope, columns[0] - 1, columns[1])).astype(int))
    return first, last
