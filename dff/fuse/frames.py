"""Frames as the fusion sees them: one at a time, float32 with white at one, and back to the frames' own type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from dff.covered import Covered

NEARLY_WHITE = 0.95
"""Channels above this may be clipped."""
LEAST_NOISE = 0.001
"""Standard deviation of noise, white being one, that no picture is taken to be better than."""

FrameSource = Tensor | Sequence[Tensor] | Callable[[int], Tensor]
Window = tuple[slice, slice]
"""Rows and columns."""
WHOLE: Window = (slice(None), slice(None))


@runtime_checkable
class FrameParts(Protocol):
    """A source that spares reading and converting what is not asked for."""

    def part(self, k: int, window: Window) -> Tensor:
        """A window of frame k, (C, h, w)."""

    def pixels(self, k: int, window: Window) -> tuple[NDArray[Any], float]:
        """The same as it is stored, (h, w, C), and the factor that makes white one."""

    def reaches(self, k: int, value: float) -> NDArray[np.bool_]:
        """(H, W) where some channel of frame k has at least a value, white being one."""


@dataclass(frozen=True)
class FrameStack:
    """N frames and where they are valid."""

    source: FrameSource
    count: int
    valid: Tensor | Covered | None = None
    """(N, H, W); None where all are."""

    def __getitem__(self, k: int) -> Tensor:
        """Frame k, (C, H, W)."""
        return self.source(k) if callable(self.source) else self.source[k]

    def part(self, k: int, window: Window) -> Tensor:
        """A window of frame k, (C, h, w)."""
        rows, columns = window
        return self.source.part(k, window) if isinstance(self.source, FrameParts) else self[k][:, rows, columns]

    def pixels(self, k: int, window: Window) -> tuple[NDArray[Any], float]:
        """A window of frame k, (h, w, C), and what it is to be multiplied by."""
        if isinstance(self.source, FrameParts):
            return self.source.pixels(k, window)
        return np.ascontiguousarray(self.part(k, window).movedim(0, -1).cpu().numpy(), np.float32), 1.0

    def reaches(self, k: int, value: float) -> Tensor:
        """(H, W) where some channel of frame k has at least a value."""
        if isinstance(self.source, FrameParts):
            return torch.from_numpy(self.source.reaches(k, value))
        return (self[k] >= value).any(0)

    def usable(self, k: int, values: Tensor, instead: float, window: Window = WHOLE) -> Tensor:
        """Values (H, W) of a window of frame k, and something else where the frame is not valid."""
        return values if self.valid is None else torch.where(self.valid_in(k, window), values, instead)

    def valid_in(self, k: int, window: Window = WHOLE) -> Tensor:
        """(h, w) where frame k is valid in a window; without rows: everywhere."""
        if self.valid is None:
            return torch.empty((0, 0), dtype=torch.bool)
        return self.valid.plane(k, window) if isinstance(self.valid, Covered) else self.valid[k][window]

    @cached_property
    def bare(self) -> Tensor | None:
        """(H, W) where no frame is valid; None where there is a valid one everywhere."""
        bare = None if self.valid is None else ~somewhere(self.valid)
        return bare if bare is not None and bool(bare.any()) else None


def somewhere(valid: Tensor | Covered) -> Tensor:
    """(N, H, W) → (H, W) where any frame is valid."""
    if isinstance(valid, Covered):
        return valid.somewhere()
    found = valid[0].clone()
    for plane in valid[1:]:
        found |= plane
    return found


def frame_stack(
    frames: FrameSource, count: int | None, volume: Tensor | None, valid: Tensor | Covered | None
) -> FrameStack:
    """Frames with their number, which volume and valid have to agree with.

    Raises:
        ValueError: the number of frames is not known, or differs.
    """
    if not callable(frames):
        count = len(frames)
    elif count is None:
        planes = volume if volume is not None else valid
        if planes is None:
            raise ValueError("count: must be given with a function of frames and an index only; got None; give N")
        count = len(planes)
    for name, planes in (("volume", volume), ("valid", valid)):
        if planes is not None and len(planes) != count:
            raise ValueError(f"{name}: must have one plane a frame; got {len(planes)} for {count} frames; match them")
    return FrameStack(frames, count, None if valid is None or bool(everywhere(valid).all()) else valid)


def everywhere(valid: Tensor | Covered) -> Tensor:
    """(N, H, W) → (H, W) where all frames are valid."""
    if isinstance(valid, Covered):
        return valid.everywhere()
    found = valid[0].clone()
    for plane in valid[1:]:
        found &= plane
    return found


def near_clipped(stack: FrameStack, radius_px: int) -> Tensor:
    """(H, W) one within `radius_px`, by rows and columns, of a pixel that is nearly white in some frame, else zero."""
    clipped = stack.reaches(0, NEARLY_WHITE)
    for k in range(1, stack.count):
        clipped |= stack.reaches(k, NEARLY_WHITE)
    if not clipped.any():
        return clipped.float()
    square = np.ones((2 * radius_px + 1, 2 * radius_px + 1), np.uint8)
    grown = cv2.dilate(clipped.cpu().numpy().view(np.uint8), square)
    return torch.from_numpy(grown).to(clipped.device, torch.float32)


def frame_tensor(frame: NDArray[Any]) -> Tensor:
    """Frame (H, W, C) of integers or floats as (C, H, W) float32 with white at one."""
    planes = torch.from_numpy(np.ascontiguousarray(np.moveaxis(frame, -1, 0), dtype=np.float32))
    return planes / _white(frame.dtype)


def to_dtype(picture: Tensor, dtype: DTypeLike) -> NDArray[Any]:
    """Picture (C, H, W) with white at one as (H, W, C) of a type: rounded, clipped, not dithered."""
    values = np.moveaxis(picture.cpu().numpy(), 0, -1)
    target = np.dtype(dtype)
    if not np.issubdtype(target, np.integer):
        return np.ascontiguousarray(values, dtype=target)
    white = _white(target)
    return np.clip(np.rint(values * np.float32(white)), 0, white).astype(target)


def noise_level(frames: Iterable[NDArray[Any]]) -> float:
    """Standard deviation of the noise of the quietest frame, white being one.

    Median of the absolute diagonal Haar detail over 0.6745: texture is rare in it, and rarest out of focus. Donoho
    and Johnstone, Biometrika 81(3), 1994.

    Args:
        frames: Some frames (H, W, C), best those far from focus.
    """
    levels = [_diagonal_detail(frame) for frame in frames]
    return max(min(levels), LEAST_NOISE)


def _diagonal_detail(frame: NDArray[Any]) -> float:
    height, width = (size // 2 * 2 for size in frame.shape[:2])
    cells = frame[:height, :width].astype(np.float32)
    detail = (cells[::2, ::2] - cells[1::2, ::2] - cells[::2, 1::2] + cells[1::2, 1::2]) / 2
    return float(np.median(np.abs(detail))) / 0.6745 / _white(frame.dtype)


def _white(dtype: np.dtype[Any]) -> float:
    return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0
