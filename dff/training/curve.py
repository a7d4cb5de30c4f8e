"""The losses of a run as a picture."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np

SIZE_PX = (480, 800)
MARGIN_PX = 48
COLOURS = ((30, 30, 30), (200, 60, 40), (40, 110, 200), (30, 140, 60), (170, 100, 20), (130, 60, 160))


def draw_curve(log: Path, picture: Path) -> None:
    """Draw every loss of a log, each relative to its first value, on a logarithmic scale.

    Args:
        log: CSV file with a column "step" and a column a loss.
        picture: PNG file to write.
    """
    from dff import io

    if not log.exists():
        return
    with log.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if len(rows) < 2:
        return
    steps = np.array([float(row["step"]) for row in rows])
    names = [name for name in rows[0] if name not in ("step", "learning_rate", "seconds")]
    canvas = np.full((*SIZE_PX, 3), 255, np.uint8)
    for number, name in enumerate(names):
        values = np.array([float(row[name]) for row in rows])
        relative = np.log10(np.maximum(values, 1e-9) / max(values[0], 1e-9))
        colour = COLOURS[number % len(COLOURS)]
        _line(canvas, steps / steps[-1], relative, colour)
        text = f"{name} {values[0]:.3g} -> {values[-1]:.3g}"
        cv2.putText(canvas, text, (60, 24 + 18 * number), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
    cv2.putText(
        canvas, f"{int(steps[-1])} steps", (SIZE_PX[1] - 120, SIZE_PX[0] - 12), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 0, 1
    )
    io.write_image(picture, canvas)


def _line(canvas: np.ndarray, across: np.ndarray, relative: np.ndarray, colour: tuple[int, int, int]) -> None:
    """A curve over the picture: 1.2 decades down, 0.2 up."""
    height, width = canvas.shape[:2]
    x = MARGIN_PX + across * (width - 2 * MARGIN_PX)
    y = MARGIN_PX + (0.2 - np.clip(relative, -1.2, 0.2)) / 1.4 * (height - 2 * MARGIN_PX)
    points = np.column_stack([x, y]).round().astype(np.int32)
    cv2.polylines(canvas, [points], False, colour, 1, cv2.LINE_AA)
