"""Resampling by Lanczos interpolation along columns, then along rows: 16 samples a pixel instead of 64.

A motion without projective part and with little rotation moves the pixels of a few neighbouring columns alike along
the column, and those of a few neighbouring rows alike along the row. Both passes are then sums of eight samples whose
weights are found once for all of these.

Catmull and Smith, SIGGRAPH 1980; Turkowski, "Filters for common resampling tasks", Graphics Gems, 1990.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dff.stack import FloatArray

TAPS = 4
"""Samples on either side that the interpolation reads."""
PHASE_BITS = 10
PHASES = 1 << PHASE_BITS
"""Places between two pixels that are told apart."""
STEP_PX = 1 / 32
"""Largest difference of motion within a block: what cv2.warpPerspective tells apart."""
BLOCK_ROWS, BLOCK_COLUMNS = 256, 512
"""Most rows and columns of a block: those of more columns do not fit into the nearest memory."""
FEWEST = 16
"""Smaller blocks do not pay."""

_TYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))
_CHANNELS = (1, 3)


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
            most if abs(slope) * most <= STEP_PX else int(STEP_PX / abs(slope))
            for slope, most in ((self.row[1], BLOCK_ROWS), (self.column[0], BLOCK_COLUMNS))
        )
        return rows, columns

    def u(self, x: FloatArray, y: float) -> FloatArray:
        return np.asarray(self.row[0] * x + self.row[1] * y + self.row[2])

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
        frame: (H, W, C) that `can_resample` holds for.
        motion: How it moves.
        size: (H, W) of the answer.
        fill: Value outside the frame.
    """
    rows = motion.block[0]
    frame = np.ascontiguousarray(frame)
    result = np.empty((*size, frame.shape[2]), frame.dtype)

    def band(top: int) -> None:
        _band(frame, motion, top, fill, result[top : top + rows])

    with ThreadPoolExecutor(cv2.getNumThreads()) as workers:
        list(workers.map(band, range(0, size[0], rows)))
    return result


def can_resample(frame: NDArray[Any]) -> bool:
    """Whether a frame (H, W, C) is of a type, and has a number of channels, that can be resampled."""
    return frame.dtype in _TYPES and frame.shape[2] in _CHANNELS


def _band(frame: NDArray[Any], motion: SeparableMotion, top: int, fill: float, result: NDArray[Any]) -> None:
    """Some rows of the answer, (rows, W, C), which all have the same motion along the row."""
    from dff.align.resample_loops import band

    (height, width, channels), columns = result.shape, motion.block[1]
    y = np.arange(top, top + height, dtype=float)
    middles = np.arange(0, frame.shape[1], columns) + (columns - 1) / 2
    down = _samples(motion.v(middles, y[:, None]))
    across = _samples(motion.u(np.arange(width, dtype=float), top + (height - 1) / 2))
    white = np.float32(np.iinfo(frame.dtype).max if np.issubdtype(frame.dtype, np.integer) else 0)
    flat = frame.reshape(frame.shape[0], -1)
    moved = result.reshape(height, -1)
    band(flat, *down, columns * channels, *across, _lanczos(), channels, np.float32(fill), white, moved)


def _samples(places: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(...) first of the eight samples around each place, and how many phases it lies behind the fourth."""
    phases = np.rint(places * PHASES).astype(np.int64)
    return (phases >> PHASE_BITS) + 1 - TAPS, phases & (PHASES - 1)


@lru_cache(maxsize=1)
def _lanczos() -> NDArray[np.float32]:
    """(PHASES, 8) weights of the samples around a place, by how far it lies behind the fourth."""
    away = np.arange(PHASES)[:, None] / PHASES - np.arange(1 - TAPS, TAPS + 1)
    weights = np.sinc(away) * np.sinc(away / TAPS)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
