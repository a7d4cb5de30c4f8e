"""The frames of a stack at a glance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dff.preview.lettering import PAPER, Picture, write_text
from dff.stack import Frames

_GROUND = 24


def contact_sheet(frames: Frames, *, labels: Sequence[str] | None = None, width_px: int = 1600) -> Picture:
    """Thumbnails of all frames in order, each with its number.

    Args:
        frames: Decoded one at a time.
        labels: A few words for each frame instead of its number from 0.
        width_px: Width of the sheet.

    Returns:
        (H, width_px, 3) sRGB.
    """
    count = len(frames)
    first = thumbnail(frames[0], width_px)
    shape = first.shape[0] / first.shape[1]
    columns = min(count, max(1, round(math.sqrt(count * shape * 1.5))))
    gap = max(2, width_px // 200)
    wide = (width_px - gap * (columns + 1)) // columns
    high = max(1, round(wide * shape))
    rows = -(-count // columns)
    sheet = np.full((rows * (high + gap) + gap, width_px, 3), _GROUND, np.uint8)
    for k in range(count):
        top, left = gap + k // columns * (high + gap), gap + k % columns * (wide + gap)
        cell = sheet[top : top + high, left : left + wide]
        cell[:] = cv2.resize(thumbnail(frames[k], wide), (wide, high), interpolation=cv2.INTER_AREA)
        _label(cell, str(k) if labels is None else labels[k])
    return sheet


def thumbnail(frame: NDArray[Any], width_px: int) -> Picture:
    """A frame of any type in 8 bits and three channels, no wider than asked."""
    share = min(1.0, width_px / frame.shape[1])
    size = (max(1, round(frame.shape[1] * share)), max(1, round(frame.shape[0] * share)))
    picture = np.ascontiguousarray(frame)
    # Halving is several times as fast as any other reduction.
    while min(picture.shape[1] // size[0], picture.shape[0] // size[1]) >= 2:
        half = (picture.shape[1] // 2, picture.shape[0] // 2)
        picture = cv2.resize(picture[: 2 * half[1], : 2 * half[0]], half, interpolation=cv2.INTER_AREA)
    small = np.atleast_3d(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR))
    white = np.iinfo(frame.dtype).max if np.issubdtype(frame.dtype, np.integer) else 1
    narrow = small if white == 255 else np.clip(np.nan_to_num(small / white) * 255 + 0.5, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(narrow, (*narrow.shape[:2], 3)))


def _label(cell: Picture, text: str) -> None:
    """The number on a dark tab in the upper left corner."""
    letters = int(np.clip(cell.shape[0] // 9, 10, 22))
    tab = cell[: round(letters * 1.5), : round(letters * (0.7 + 0.62 * len(text)))]
    tab[:] = (tab * 0.3).astype(np.uint8)
    write_text(cell, text, (letters * 0.4, letters * 0.75), size_px=letters, colour=PAPER)
