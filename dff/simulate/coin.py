"""The relief struck on a coin: rim, legend and a chambered shell."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from dff.stack import FloatArray

LEGEND = "DEPTH FROM FOCUS * MMXXVI * "
TURNS = 2.6
GROWTH = 0.17
"""Rate of the logarithmic spiral r = exp(GROWTH angle)."""


@cache
def coin_relief(size: int) -> FloatArray:
    """(size, size) relief of a coin, 0 in the field to 1 at the highest; -1 outside the rim."""
    axis = (np.arange(size, dtype=np.float32) - (size - 1) / 2) * 2 / size
    radius = np.hypot(axis[None], axis[:, None])
    angle = np.arctan2(axis[:, None], axis[None])
    relief = 0.85 * np.clip((radius - 0.915) / 0.012, 0, 1)
    bead = np.hypot((np.remainder(angle * 30 / np.pi, 2) - 1) * np.pi / 60 * 0.87, radius - 0.875) / 0.022
    relief = np.maximum(relief, 0.6 * np.sqrt(np.maximum(1 - bead**2, 0)))
    for number, letter in enumerate(LEGEND):
        _stamp(relief, letter, 360 * number / len(LEGEND) - 90)
    relief = np.maximum(np.asarray(cv2.GaussianBlur(relief, (0, 0), size / 450)), shell_relief(axis / 0.56))
    return np.where(radius <= 1, relief, -1).astype(np.float32)


def _stamp(relief: FloatArray, letter: str, at_deg: float) -> None:
    """Raise one letter at an angle on the legend's circle, its foot toward the centre."""
    size = len(relief)
    box = np.zeros((size // 6, size // 6), np.uint8)
    scale, thick = size / 330, max(1, size // 150)
    (width, height), _ = cv2.getTextSize(letter, cv2.FONT_HERSHEY_DUPLEX, scale, thick)
    origin = ((box.shape[1] - width) // 2, (box.shape[0] + height) // 2)
    cv2.putText(box, letter, origin, cv2.FONT_HERSHEY_DUPLEX, scale, 255, thick, cv2.LINE_AA)
    middle, angle = (box.shape[0] - 1) / 2, np.radians(at_deg)
    turn = cv2.getRotationMatrix2D((middle, middle), -(at_deg + 90), 1.0)
    turn[0, 2] += (size - 1) / 2 + 0.3675 * size * np.cos(angle) - middle
    turn[1, 2] += (size - 1) / 2 + 0.3675 * size * np.sin(angle) - middle
    raised = cv2.warpAffine(box, turn, (size, size), flags=cv2.INTER_LINEAR).astype(np.float32) / 255
    np.maximum(relief, 0.55 * raised, out=relief)


def shell_relief(axis: FloatArray) -> FloatArray:
    """An ammonite on a square of axis x axis: a ribbed tube along a logarithmic spiral, 0 to 1, about 1 wide."""
    x, y = axis[None] - 0.06, axis[:, None] + 0.02
    radius = np.maximum(np.hypot(x, y), 1e-4)
    angle = np.arctan2(y, x)
    turn = np.log(radius) / GROWTH
    outer = np.ceil((turn - angle) / (2 * np.pi)) * 2 * np.pi + angle
    edge, inner = np.exp(GROWTH * outer), np.exp(GROWTH * (outer - 2 * np.pi))
    across = (radius - inner) / (edge - inner) * 2 - 1
    tube = np.sqrt(np.maximum(1 - across**2, 0)) * np.minimum(1, 0.35 + 0.65 * edge)
    ribs = 1 + 0.14 * np.cos(8 * outer + 0.9 * across**2 * 3) * np.minimum(1, 3 * radius)
    inside = (outer <= 0.0) & (outer > -2 * np.pi * TURNS)
    return np.where(inside, 0.95 * np.clip(tube * ribs, 0, 1.1) / 1.1, 0)
