"""Small plots as SVG text: lines, a reliability diagram, bars. Coordinates are px of the drawing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from dff.preview.lettering import number, round_steps

COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6d5f", "#8a63d2"),
    *("#b0b020", "#444444", "#c2185b", "#00838f", "#6d4c41", "#5c8a1e", "#3949ab", "#ad7b00"),
)
"""Told apart by colour-blind readers (after Okabe and Ito)."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """One axis: its range, its title, and whether it is logarithmic."""

    low: float
    high: float
    title: str
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Where a value stands, from 0 to 1."""
        if self.logarithmic:
            return math.log(max(value, 1e-12) / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[tuple[float, str]]:
        """Round values with their text."""
        if not self.logarithmic:
            values = [float(v) for v in round_steps(self.low, self.high, 5)]
            step = values[1] - values[0] if len(values) > 1 else 1.0
            return [(value, number(value, step)) for value in values]
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = [m * 10.0**p for p in powers for m in (1, 2, 5)]
        return [(v, f"{v:g}") for v in values if self.low * 0.999 <= v <= self.high * 1.001]


@dataclass(frozen=True)
class Series:
    """One line of a plot."""

    name: str
    points: Points
    colour: str
    dashed: bool = False
    dots: bool = False
    bold: bool = False


@dataclass(frozen=True)
class Box:
    """The plotting area in px."""

    left: float
    right: float
    top: float
    bottom: float

    def place(self, x: Axis, y: Axis, point: tuple[float, float]) -> tuple[float, float]:
        """Where a point is drawn."""
        across = self.left + x.share(point[0]) * (self.right - self.left)
        return across, self.bottom - y.share(point[1]) * (self.bottom - self.top)


def element(name: str, text: str = "", **attributes: object) -> str:
    """An SVG element; numbers are rounded to a tenth, `kind` becomes `class` and underscores become dashes."""
    words = []
    for key, value in attributes.items():
        shown = f"{value:.1f}" if isinstance(value, float) else str(value)
        words.append(f' {"class" if key == "kind" else key.replace("_", "-")}="{shown}"')
    return f"<{name}{''.join(words)}/>" if not text else f"<{name}{''.join(words)}>{text}</{name}>"


def line_plot(series: Sequence[Series], x: Axis, y: Axis, *, size: tuple[int, int] = (520, 320)) -> str:
    """Lines with a legend below.

    Args:
        series: The lines, the most important one last: it is drawn on top.
        x: Horizontal axis.
        y: Vertical axis; lines are cut off beyond it.
        size: Width and height of the plotting area with its labels.
    """
    width, height = size
    box = Box(54, width - 14, 14, height - 44)
    clip = f"clip{width}x{height}"
    area = element("rect", x=box.left, y=box.top - 4, width=box.right - box.left, height=box.bottom - box.top + 8)
    parts = [_frame(x, y, box), element("clipPath", area, id=clip)]
    for one in series:
        points = [box.place(x, y, point) for point in one.points if all(map(math.isfinite, point))]
        parts.append(element("g", _line(one, points), clip_path=f"url(#{clip})") if points else "")
    entries = [one for one in series if one.name]
    columns = 2 if max((len(one.name) for one in entries), default=0) < 30 else 1
    for k, one in enumerate(entries):
        parts.append(_legend(one, box.left + (k % columns) * (width - box.left) / 2, height + 14 + 20 * (k // columns)))
    return _svg(width, height + 20 * math.ceil(len(entries) / columns) + 6, parts)


def _frame(x: Axis, y: Axis, box: Box) -> str:
    parts = []
    for value, text in y.ticks():
        row = box.place(x, y, (x.low, value))[1]
        parts.append(element("line", kind="grid", x1=box.left, x2=box.right, y1=row, y2=row))
        parts.append(element("text", text, x=box.left - 7, y=row + 4, text_anchor="end"))
    for value, text in x.ticks():
        column = box.place(x, y, (value, y.low))[0]
        parts.append(element("line", kind="tick", x1=column, x2=column, y1=box.bottom, y2=box.bottom + 5))
        parts.append(element("text", text, x=column, y=box.bottom + 18, text_anchor="middle"))
    parts.append(element("line", kind="axis", x1=box.left, x2=box.right, y1=box.bottom, y2=box.bottom))
    parts.append(_title(x.title, f"translate({(box.left + box.right) / 2:.0f} {box.bottom + 36:.0f})"))
    parts.append(_title(y.title, f"translate(14 {(box.top + box.bottom) / 2:.0f}) rotate(-90)"))
    return "".join(parts)


def _title(text: str, transform: str) -> str:
    return element("text", escape(text), kind="title", text_anchor="middle", transform=transform)


def _line(one: Series, points: Points) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = "5 4" if one.dashed else "none"
    dots = points if one.dots else []
    circles = (element("circle", cx=x, cy=y, r=4 if one.bold else 3, fill=one.colour) for x, y in dots)
    width = 3 if one.bold else 1.7
    line = element("polyline", points=path, fill="none", stroke=one.colour, stroke_width=width, stroke_dasharray=dash)
    return line + "".join(circles)


def _legend(one: Series, x: float, y: float) -> str:
    dash = "5 4" if one.dashed else "none"
    line = element(
        "line", x1=x, x2=x + 22, y1=y - 4, y2=y - 4, stroke=one.colour, stroke_width=3, stroke_dasharray=dash
    )
    return line + element("text", escape(one.name), x=x + 28, y=y, font_weight=600 if one.bold else 400)


def bar_plot(bars: Sequence[tuple[str, Mapping[str, float]]], *, title: str, width: int = 1060) -> str:
    """Lying bars, one group a method, with the numbers at their ends.

    Args:
        bars: Name of the group and its values by name.
        title: What the length is.
        width: Of the drawing.
    """
    kinds = list(dict.fromkeys(kind for _, values in bars for kind in values))
    finite = [value for _, values in bars for value in values.values() if math.isfinite(value)]
    axis = Axis(0, 1.02 * max([*finite, 1e-9]), title)
    thick, gap = 13, 11
    group = thick * len(kinds) + gap
    letters = max((len(name) for name, _ in bars), default=0)
    box = Box(24 + 7 * letters, width - 60, 6, 12 + group * len(bars))
    parts = []
    for value, text in axis.ticks():
        column = box.left + axis.share(value) * (box.right - box.left)
        parts.append(element("line", kind="grid", x1=column, x2=column, y1=box.top, y2=box.bottom))
        parts.append(element("text", text, x=column, y=box.bottom + 16, text_anchor="middle"))
    for k, (name, values) in enumerate(bars):
        y = 12 + group * k
        parts.append(element("text", escape(name), x=box.left - 8, y=y + (group - gap) / 2 + 4, text_anchor="end"))
        for j, kind in enumerate(kinds):
            parts.append(_bar(values.get(kind, math.nan), axis, box, y + thick * j, thick, COLOURS[j % len(COLOURS)]))
    parts.append(_title(title, f"translate({(box.left + box.right) / 2:.0f} {box.bottom + 34:.0f})"))
    for j, kind in enumerate(kinds):
        left, top = box.left + 200 * j, box.bottom + 44
        parts.append(element("rect", x=left, y=top, width=14, height=11, rx=2, fill=COLOURS[j % len(COLOURS)]))
        parts.append(element("text", escape(kind), x=left + 20, y=top + 10))
    return _svg(width, round(box.bottom) + 62, parts)


def _bar(value: float, axis: Axis, box: Box, y: float, thick: int, colour: str) -> str:
    if not math.isfinite(value):
        return ""
    length = axis.share(value) * (box.right - box.left)
    bar = element("rect", x=box.left, y=y, width=max(length, 1.0), height=thick - 2, rx=2, fill=colour)
    return bar + element("text", three_digits(value), kind="value", x=box.left + length + 5, y=y + thick - 3.5)


def three_digits(value: float) -> str:
    """A number with three significant digits, without an exponent where it can be read without."""
    if not np.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 6)}f}"


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    return element(
        "svg",
        "".join(parts),
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        xmlns="http://www.w3.org/2000/svg",
    )
