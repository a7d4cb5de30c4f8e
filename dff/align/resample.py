"""Resampling by Lanczos interpolation along columns, then along rows: 16 samples a pixel instead of 64.

A motion without projective part and with little rotation moves the pixels of a few neighbouring columns alike along
the column, and those of a few neighbouring rows alike along the row. Both passes are then products of a block of
pixels with a matrix of eight samples a row, which torch has as the sum of weighted rows of a table.

Catmull and Smith, SIGGRAPH 1980; Turkowski, "Filters for common resampling tasks", Graphics Gems, 1990.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dff.stack import FloatArray

TAPS = 4
"""Samples on either side that the interpolation reads."""
PHASES = 1024
"""Places between two pixels that are told apart."""
STEP_PX = 1 / 32
"""Largest difference of motion within a block: what cv2.warpPerspective tells apart."""
BLOCK = 64
"""Most columns or rows of a block: more do not fit into the nearest memory."""
FEWEST = 16
"""Smaller blocks do not pay."""

_DEPTHS = {np.dtype(np.uint8): cv2.CV_8U, np.dtype(np.uint16): cv2.CV_16U, np.dtype(np.float32): cv2.CV_32F}
_ONE = np.ones(1)
"""OpenCV rounds and clips while it multiplies."""


@dataclass(frozen=True)
class SeparableMotion:
    """Where the samples of the reference frame's pixels (x, y) lie in a frame: (u, v)."""

    row: tuple[float, float, float]
    """u is the sum of x, y and 1 times these;"""
    column: tuple[float, float, float]
    """v is the sum of u, y and 1 times these."""

    @property
    def block(self) -> tuple[int, int]:
        """Rows that u, and columns that v, is nearly the same for."""
        rows, columns = (
            BLOCK if abs(slope) * BLOCK <= STEP_PX else int(STEP_PX / abs(slope))
            for slope in (self.row[1], self.column[0])
        )
        return rows, columns

    def u(self, x: FloatArray, y: float) -> FloatArray:
        return self.row[0] * x + self.row[1] * y + self.row[2]

    def v(self, u: FloatArray, y: FloatArray) -> FloatArray:
        return np.asarray(self.column[0] * u + self.column[1] * y + self.column[2])


def separable_motion(transform: FloatArray) -> SeparableMotion | None:
    """A motion as two passes; None where it turns or shears too much for that, or is projective.

    Args:
        transform: (3, 3) map from the frame's pixels to the reference frame's.
    """
    (a, b, c), (d, e, f), last = np.linalg.inv(transform)
    if np.any(last[:2]) or not a:
        return None
    motion = SeparableMotion((a, b, c), (d / a, e - d * b / a, f - d * c / a))
    return motion if min(motion.block) >= FEWEST else None


def resample(frame: NDArray[Any], motion: SeparableMotion, size: tuple[int, int], fill: float) -> NDArray[Any]:
    """A frame where it is seen in the reference frame, rounded and clipped to its type.

    Args:
        frame: (H, W, C) uint8, uint16 or float32.
        motion: How it moves.
        size: (H, W) of the answer.
        fill: Value outside the frame.
    """
    rows = motion.block[0]
    result = np.empty((*size, frame.shape[2]), frame.dtype)

    def band(top: int) -> None:
        part = result[top : top + rows]
        part[:] = _band(frame, motion, top, (len(part), size[1]), fill)

    with ThreadPoolExecutor(torch.get_num_threads()) as workers:
        list(workers.map(band, range(0, size[0], rows)))
    return result


def can_resample(dtype: np.dtype[Any]) -> bool:
    """Whether pixels of a type can be resampled."""
    return dtype in _DEPTHS


@torch.inference_mode()
def _band(frame: NDArray[Any], motion: SeparableMotion, top: int, size: tuple[int, int], fill: float) -> NDArray[Any]:
    """(rows, W, C) some rows of the answer, which all have the same motion along the row."""
    (height, width), channels = size, frame.shape[2]
    columns = motion.block[1]
    y = np.arange(top, top + height, dtype=float)
    middles = np.arange(0, frame.shape[1], columns) + (columns - 1) / 2
    v = motion.v(middles[:, None], y)
    low, high = (int(np.clip(edge, 0, frame.shape[0])) for edge in (v.min() - TAPS, v.max() + TAPS + 2))
    if high <= low:
        return np.full((height, width, channels), fill, frame.dtype)
    table = _blocks(frame[low:high], columns, fill)
    places, weights = _samples(v, low, high, frame.shape[0])
    places += (np.arange(len(middles), dtype=np.int32) * (high - low + 1))[:, None, None]
    moved = _weighted(table.view(-1, channels * columns), places, weights)
    across = _turned(moved.view(len(middles), height, channels, columns), frame.shape[1], fill)
    u = motion.u(np.arange(width, dtype=float), top + (height - 1) / 2)
    pixels = _weighted(across, *_samples(u, 0, frame.shape[1], frame.shape[1])).numpy()
    narrow = cv2.multiply(pixels, _ONE, dtype=_DEPTHS[frame.dtype]).reshape(width, height, channels)
    return cv2.transpose(narrow).reshape(height, width, channels)


def _blocks(rows: NDArray[Any], columns: int, fill: float) -> torch.Tensor:
    """(blocks, rows + 1, C, columns) of some rows (rows, W, C) and one row of the fill."""
    count = -(-rows.shape[1] // columns)
    whole = rows.shape[1] // columns * columns
    table = np.empty((count, len(rows) + 1, rows.shape[2], columns), np.float32)
    table[:, -1] = fill
    for channel, plane in enumerate(cv2.split(rows)):
        inner = plane[:, :whole].reshape(len(rows), -1, columns)
        table[: inner.shape[1], :-1, channel] = inner.transpose(1, 0, 2)
        if whole < rows.shape[1]:
            table[-1, :-1, channel, : rows.shape[1] - whole] = plane[:, whole:]
            table[-1, :-1, channel, rows.shape[1] - whole :] = fill
    return torch.from_numpy(table)


def _turned(moved: torch.Tensor, width: int, fill: float) -> torch.Tensor:
    """(W + 1, rows x C) columns of blocks (blocks, rows, C, columns), and one column of the fill."""
    count, height, channels, columns = moved.shape
    across = torch.empty(width + 1, height * channels)
    across[-1] = fill
    for number, block in enumerate(moved.view(count, height * channels, columns)):
        start, stop = number * columns, min((number + 1) * columns, width)
        across[start:stop].copy_(block.t()[: stop - start])
    return across


def _samples(places: FloatArray, first: int, last: int, size: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(..., 8) numbers of the samples around each place, in a table from first up to last, and their weights.

    Samples outside the frame are the one after the last.
    """
    quantised = np.rint(places * PHASES).astype(np.int64)
    whole, phase = np.divmod(quantised, PHASES)
    samples = whole[..., None] + np.arange(1 - TAPS, TAPS + 1)
    outside = (samples < 0) | (samples >= size)
    samples = np.where(outside, last, samples) - first
    return samples.astype(np.int32), _lanczos()[phase]


def _weighted(table: torch.Tensor, places: NDArray[np.int32], weights: NDArray[np.float32]) -> torch.Tensor:
    """Sums of weighted rows of a table, a row for each eight places."""
    rows, shares = (torch.from_numpy(values.reshape(-1, 2 * TAPS)) for values in (places, weights))
    return torch.nn.functional.embedding_bag(rows, table, per_sample_weights=shares, mode="sum")


@lru_cache(maxsize=1)
def _lanczos() -> NDArray[np.float32]:
    """(PHASES, 8) weights of the samples around a place, by how far it lies behind the fourth."""
    away = np.arange(PHASES)[:, None] / PHASES - np.arange(1 - TAPS, TAPS + 1)
    weights = np.sinc(away) * np.sinc(away / TAPS)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
