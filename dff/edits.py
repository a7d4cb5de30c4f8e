"""What a user paints on a result by hand: strokes of a round brush, and the pixels that a stroke covers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dff.stack import FloatArray

STROKE_KINDS = ("frame", "fill", "unknown", "nearer", "farther")
"""Take one frame; the depth of what is around; no depth; the nearer or the farther of the depths that compete."""

Window = tuple[slice, slice]
"""Rows and columns of a part of the picture."""


@dataclass(frozen=True)
class Stroke:
    """One pull of a round brush.

    Raises:
        ValueError: values that no brush can have.
    """

    kind: str
    points: FloatArray
    """(n, 2) path (x, y) of the brush's centre in pixels of the result; one point is a dab."""
    radius_px: float
    hardness: float = 1.0
    """Share of the radius inside which the brush covers wholly; from there it fades to nothing at the radius."""
    frame: int | None = None
    """Frame to take, for the kind "frame"."""

    def __post_init__(self) -> None:
        if self.kind not in STROKE_KINDS:
            raise ValueError(f"kind: must be one of {', '.join(STROKE_KINDS)}; got {self.kind!r}; choose one of them")
        points = np.asarray(self.points)
        if points.ndim != 2 or points.shape[1] != 2 or not len(points) or not np.isfinite(points).all():
            raise ValueError(f"points: must be (n, 2) finite numbers; got {points.shape}; give at least one x, y")
        if not 0 < self.radius_px < 1e5:
            raise ValueError(f"radius_px: must be positive; got {self.radius_px}; give the brush's radius")
        if not 0 <= self.hardness <= 1:
            raise ValueError(f"hardness: must be from 0 to 1; got {self.hardness}; give another")
        if (self.kind == "frame") != (self.frame is not None):
            raise ValueError(
                f"frame: must be given for the kind frame alone; got {self.frame} for {self.kind}; mend it"
            )

    @property
    def reach_px(self) -> float:
        """Distance from the path within which a pixel belongs to the stroke: its weight is at least a half there."""
        return self.radius_px * (1 + self.hardness) / 2


@dataclass(frozen=True)
class Edits:
    """Strokes in the order they were painted; later ones cover earlier ones.

    Raises:
        ValueError: a frame below 0.
    """

    size_px: tuple[int, int]
    """(H, W) of the result."""
    strokes: tuple[Stroke, ...] = ()

    def __post_init__(self) -> None:
        lowest = min((stroke.frame for stroke in self.strokes if stroke.frame is not None), default=0)
        if lowest < 0:
            raise ValueError(f"frame: must be at least 0; got {lowest}; frames count from 0")

    def __len__(self) -> int:
        return len(self.strokes)

    def __iter__(self) -> Iterator[Stroke]:
        return iter(self.strokes)

    @property
    def frames(self) -> tuple[int, ...]:
        """Frames that strokes take, each once."""
        return tuple(sorted({stroke.frame for stroke in self.strokes if stroke.frame is not None}))

    @property
    def counts(self) -> dict[str, int]:
        """Number of strokes of each kind there is."""
        return dict(Counter(stroke.kind for stroke in self.strokes))


def stroke_window(stroke: Stroke, size_px: tuple[int, int], margin_px: int = 0) -> Window:
    """Rows and columns that a stroke can touch, with a margin; empty where it lies outside the picture."""
    reach = stroke.radius_px + margin_px
    low = np.ceil(np.min(stroke.points, axis=0) - reach).astype(int)
    high = np.floor(np.max(stroke.points, axis=0) + reach).astype(int) + 1
    (left, top), (right, bottom) = np.maximum(low, 0), np.maximum(np.minimum(high, size_px[::-1]), 0)
    return slice(int(top), max(int(top), int(bottom))), slice(int(left), max(int(left), int(right)))


def stroke_distance(stroke: Stroke, window: Window) -> NDArray[np.float32]:
    """(h, w) distance of the pixels of a window from the path, in px; infinite beyond the radius."""
    rows, columns = window
    distance = np.full((rows.stop - rows.start, columns.stop - columns.start), np.inf, np.float32)
    path = np.asarray(stroke.points, float) - (columns.start, rows.start)
    for start, stop in zip(path, path[1:] if len(path) > 1 else path):
        low = np.maximum(np.floor(np.minimum(start, stop) - stroke.radius_px).astype(int), 0)
        high = np.maximum(np.ceil(np.maximum(start, stop) + stroke.radius_px).astype(int) + 1, 0)
        part = distance[low[1] : high[1], low[0] : high[0]]
        y, x = np.ogrid[low[1] : low[1] + part.shape[0], low[0] : low[0] + part.shape[1]]
        np.minimum(part, _from_segment(x, y, start, stop), out=part)
    distance[distance > stroke.radius_px] = np.inf
    return distance


def _from_segment(x: NDArray[np.int_], y: NDArray[np.int_], start: FloatArray, stop: FloatArray) -> FloatArray:
    along = stop - start
    length = float(along @ along)
    share = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / length if length else np.zeros((1, 1))
    share = np.clip(share, 0, 1)
    return np.hypot(x - start[0] - share * along[0], y - start[1] - share * along[1]).astype(np.float32)


def stroke_weight(stroke: Stroke, distance: FloatArray) -> NDArray[np.float32]:
    """(h, w) how far a stroke covers each pixel: 1 inside its hardness, falling smoothly to 0 at its radius.

    Args:
        distance: (h, w) what `stroke_distance` gave.
    """
    soft = stroke.radius_px * (1 - stroke.hardness)
    if soft <= 0:
        return (distance <= stroke.radius_px).astype(np.float32)
    share = np.clip((stroke.radius_px - distance) / soft, 0, 1)
    return (share * share * (3 - 2 * share)).astype(np.float32)
