"""Text and numbers on pictures."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
INK = (45, 45, 48)
PAPER = (255, 255, 255)


@lru_cache(maxsize=16)
def _font(size_px: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size_px)


def text_mask(text: str, size_px: int) -> NDArray[Any]:
    """(rows, columns) coverage 0 to 1 of a line of text, with the same rows for every text of one size."""
    from PIL import Image, ImageDraw

    font = _font(size_px)
    width = max(1, math.ceil(font.getlength(text)) + 2)
    ascent, descent = font.getmetrics()
    image = Image.new("L", (width, ascent + descent), 0)
    ImageDraw.Draw(image).text((1, 0), text, fill=255, font=font)
    return np.asarray(image, np.float32) / np.float32(255)


def write_text(
    picture: Picture,
    text: str,
    place: tuple[float, float],
    *,
    size_px: int,
    anchor: Literal["left", "centre", "right"] = "left",
    colour: tuple[int, int, int] = INK,
) -> None:
    """Draw a line of text into a picture.

    Args:
        picture: (H, W, 3), changed in place; what lies outside is left out.
        text: The line.
        place: Column of the anchor and row of the text's middle.
        size_px: Size of the letters.
        anchor: Which part of the line stands at the column.
        colour: Red, green, blue.
    """
    mask = text_mask(text, size_px)
    rows, columns = mask.shape
    left = round(place[0] - {"left": 0, "centre": columns / 2, "right": columns}[anchor])
    top = round(place[1] - rows / 2)
    inside = np.s_[max(top, 0) : max(top + rows, 0), max(left, 0) : max(left + columns, 0)]
    area = picture[inside]
    part = mask[max(-top, 0) :, max(-left, 0) :][: area.shape[0], : area.shape[1], None]
    picture[inside] = np.round(area * (1 - part) + np.array(colour) * part).astype(np.uint8)


def round_steps(low: float, high: float, count: int) -> NDArray[Any]:
    """About `count` round numbers (1, 2 or 5 times a power of ten apart) from low to high."""
    span = max(high - low, 1e-12)
    raw = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((f * power for f in (1, 2, 5, 10)), key=lambda s: abs(math.log(s / raw)))
    return np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1) * step


def round_below(limit: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not more than a positive limit."""
    power = math.floor(math.log10(limit) + 1e-9)
    return float(f"{max(m for m in (1, 2, 5) if m <= limit / 10.0**power + 1e-9)}e{power}")


def number(value: float, step: float) -> str:
    """A number with the digits that its step needs."""
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 2
    return f"{value + 0.0:.{digits}f}"
