"""Geometry tables: where each frame is in focus, and how large its pixels are there, from a CSV file.

Columns are named with their unit: z_mm, position_mm (way travelled) or focus_distance_mm; pixel_mm or magnification;
centre_x_px and centre_y_px; frame or name. mm may also be nm, um, cm, m or in.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dff.io.metadata import unit_mm
from dff.optics import heights, ring_geometry, table_geometry
from dff.stack import FloatArray, FocusGeometry

LENGTHS = {
    "z": "z",
    "height": "z",
    "position": "position",
    "focus_distance": "focus_distance",
    "pixel": "pixel",
    "pixel_size": "pixel",
}
NAMES = ("frame", "name", "file", "filename")
_AXIS = ("z", "position", "focus_distance")


@dataclass(frozen=True)
class FocusTable:
    """Columns of a geometry table by name, lengths in mm, one row a frame."""

    path: Path
    columns: Mapping[str, FloatArray]
    lines: tuple[int, ...]
    """Line of the file that each row stands in."""

    @property
    def axis(self) -> str:
        """The column that tells where frames are in focus."""
        return next(name for name in _AXIS if name in self.columns)

    def order(self) -> list[int]:
        """Frames sorted along the sweep, the first of them first or last."""
        along = self.columns[self.axis]
        rising = along[-1] >= along[0]
        return [int(k) for k in np.argsort(along if rising else -along, kind="stable")]

    def sorted(self) -> FocusTable:
        """The rows along the sweep."""
        order = self.order()
        columns = {name: values[order] for name, values in self.columns.items()}
        return replace(self, columns=columns, lines=tuple(self.lines[k] for k in order))


def read_geometry(
    path: str | Path,
    count: int,
    size_px: tuple[int, int],
    *,
    names: Sequence[str] = (),
    first: str = "near",
    pixel_size_mm: float | None = None,
    focal_length_mm: float | None = None,
    pixel_pitch_mm: float | None = None,
    medium_index: float = 1.0,
) -> FocusGeometry:
    """The geometry that a CSV table gives, its rows along the sweep; `FocusTable.order` tells their frames.

    Args:
        path: Columns separated by commas, semicolons or tabs, with a line of names. One of z_mm (height toward the
            camera), position_mm (way travelled) and focus_distance_mm (lens to subject); optionally pixel_mm or
            magnification, centre_x_px and centre_y_px, and frame or name, by which rows are matched with frames.
        count: Number of frames.
        size_px: (H, W).
        names: File names of the frames.
        first: For position columns, whether the first frame is focused "near" to or "far" from the camera.
        pixel_size_mm: Size of a pixel on the subject, where the table does not tell it.
        focal_length_mm: For focus distances.
        pixel_pitch_mm: Size of a pixel on the sensor, for magnifications and focus distances.
        medium_index: Refractive index that z and position are multiplied by.

    Raises:
        OSError: there is no such file.
        ValueError: missing rows or columns, values that are no numbers, repeated z; with the line.
    """
    table = read_focus_table(path, count, names=names).sorted()
    _check_distinct(table)
    columns = table.columns
    pixel_mm = _pixel_mm(table, pixel_size_mm, pixel_pitch_mm)
    centre_px = _centres(table)
    if table.axis == "focus_distance":
        return _ring(table, size_px, focal_length_mm, pixel_pitch_mm, pixel_mm, centre_px, medium_index)
    along = columns[table.axis] * medium_index
    z_mm = heights(along, first=first) if table.axis == "position" else along
    return table_geometry(z_mm, size_px, pixel_mm=pixel_mm, centre_px=centre_px)


def read_focus_table(path: str | Path, count: int, *, names: Sequence[str] = ()) -> FocusTable:
    """The rows of a CSV table in the order of the frames; they may be unsorted along the sweep.

    Raises:
        OSError: there is no such file.
        ValueError: missing rows or columns, or values that are no numbers; with the line.
    """
    source = Path(path)
    header, rows = _cells(source)
    columns = _columns(source, header)
    labels = [(line, cells[header.index(columns["name"])]) for line, cells in rows] if "name" in columns else []
    chosen = _matched(source, labels, count, names) if labels else _counted(source, rows, count)
    picked = [rows[k] for k in chosen]
    values = {}
    for name, title in columns.items():
        if name != "name":
            factor = _factor(title)
            column = [_number(source, line, title, cells[header.index(title)]) for line, cells in picked]
            values[name] = np.array(column) * factor
    return FocusTable(source, values, tuple(line for line, _ in picked))


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The column titles, and (line number, cells) of every row."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: must be a table; got no such file; check the name") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: must be text; got {error.reason}; save the table as CSV in UTF-8") from error
    lines = [(k, _uncommented(line.strip())) for k, line in enumerate(text.splitlines(), 1)]
    lines = [(k, line) for k, line in lines if line]
    if not lines:
        raise ValueError(f"{path}: must hold a table; got an empty file; write one row a frame under a header line")
    separator = next((mark for mark in ";\t" if mark in lines[0][1]), ",")
    rows = list(zip((k for k, _ in lines), csv.reader((line for _, line in lines), delimiter=separator)))
    titles = [cell.strip() for cell in rows[0][1]]
    if all(_is_number(cell) for cell in titles):
        raise ValueError(
            f"{path}: first line must name the columns; got {lines[0][1]!r}; put z_mm or the like above it"
        )
    cells = [(k, [cell.strip() for cell in row]) for k, row in rows[1:]]
    for k, row in cells:
        if len(row) < len(titles):
            raise ValueError(f"{path}, line {k}: must have {len(titles)} cells; got {len(row)}; complete the row")
    return titles, cells


def _uncommented(line: str) -> str:
    """A line without its comment; a comment that names columns is a header."""
    if not line.startswith("#"):
        return line
    titles = line.lstrip("# \t")
    return titles if any(_kind(title) for title in re.split(r"[,;\t]", titles)) else ""


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _columns(path: Path, titles: Sequence[str]) -> dict[str, str]:
    """Title of each known column, by what it is."""
    found: dict[str, str] = {}
    for title in titles:
        kind = _kind(title)
        if kind and kind in found:
            raise ValueError(f"{path}: columns must differ; got {found[kind]!r} and {title!r}; keep one of them")
        if kind:
            found[kind] = title
    axes = [name for name in _AXIS if name in found]
    if len(axes) != 1:
        raise ValueError(
            f"{path}: must have one column of z_mm, position_mm, focus_distance_mm (or _um, _m); "
            f"got {', '.join(titles)}; name the column with its unit"
        )
    if "pixel" in found and "magnification" in found:
        raise ValueError(f"{path}: must have pixel_mm or magnification; got both; keep one of them")
    if ("centre_x" in found) != ("centre_y" in found):
        raise ValueError(f"{path}: centre_x_px and centre_y_px belong together; got one of them; add the other")
    return found


def _words(title: str) -> str:
    """A title in lower case with underscores: "Focus distance [mm]" is focus_distance_mm."""
    return "_".join(re.split(r"[\s_()\[\]/]+", title.lower().replace("center", "centre"))).strip("_")


def _kind(title: str) -> str | None:
    words = _words(title)
    if words in NAMES:
        return "name"
    if words == "magnification":
        return words
    if words in ("centre_x_px", "centre_y_px"):
        return words.removesuffix("_px")
    stem, _, unit = words.rpartition("_")
    return LENGTHS.get(stem) if unit_mm(unit) else None


def _factor(title: str) -> float:
    """Millimetres in the unit of a column of lengths, 1 for other columns."""
    stem, _, unit = _words(title).rpartition("_")
    return (unit_mm(unit) or 1.0) if stem in LENGTHS else 1.0


def _number(path: Path, line: int, title: str, text: str) -> float:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{path}, line {line}: {title} must be a finite number; got {text!r}; mend the row")
    return value


def _counted(path: Path, rows: Sequence[Any], count: int) -> list[int]:
    if len(rows) != count:
        raise ValueError(
            f"{path}: must have one row a frame; got {len(rows)} rows for {count} frames; "
            "add the missing rows, or a column of file names"
        )
    return list(range(count))


def _matched(path: Path, labels: Sequence[tuple[int, str]], count: int, names: Sequence[str]) -> list[int]:
    """Row of each frame, by file name with or without its ending, or by frame number."""
    by_label: dict[str, int] = {}
    for k, (line, label) in enumerate(labels):
        if label.lower() in by_label:
            raise ValueError(f"{path}, line {line}: each frame must have one row; got {label!r} again; remove one")
        by_label[label.lower()] = k
    wanted = [(name, name.lower(), Path(name).stem.lower()) for name in names]
    if any(full in by_label or stem in by_label for _, full, stem in wanted):
        rows = [by_label.get(full, by_label.get(stem)) for _, full, stem in wanted]
        missing = [name for (name, _, _), row in zip(wanted, rows) if row is None]
        if missing:
            raise ValueError(f"{path}: must have a row for each frame; got none for {missing[0]!r}; add it")
        return [row for row in rows if row is not None]
    return _numbered(path, by_label, count)


def _numbered(path: Path, by_label: dict[str, int], count: int) -> list[int]:
    """Row of each frame by its number, counted from 0, or from 1 where 0 is not there but the count is."""
    start = 1 if "0" not in by_label and str(count) in by_label else 0
    rows = [by_label.get(str(k + start)) for k in range(count)]
    if None in rows:
        example = next(iter(by_label))
        raise ValueError(
            f"{path}: frames must be file names or numbers from 0; got {example!r} and none for frame "
            f"{rows.index(None)}; name each frame"
        )
    return [row for row in rows if row is not None]


def _check_distinct(table: FocusTable) -> None:
    """Refuse positions that repeat, naming the lines."""
    along = table.columns[table.axis]
    same = np.flatnonzero(np.diff(along) == 0)
    if same.size:
        first, again = sorted(table.lines[same[0] : same[0] + 2])
        raise ValueError(
            f"{table.path}, line {again}: {table.axis} must differ from frame to frame; got {along[same[0]]:g} mm "
            f"as in line {first}; remove one of the frames"
        )


def _pixel_mm(table: FocusTable, pixel_size_mm: float | None, pixel_pitch_mm: float | None) -> FloatArray | None:
    columns = table.columns
    for name in ("pixel", "magnification", "focus_distance"):
        if name in columns and (columns[name] <= 0).any():
            k = int(np.argmax(columns[name] <= 0))
            raise ValueError(
                f"{table.path}, line {table.lines[k]}: {name} must be more than 0; got {columns[name][k]:g}; mend it"
            )
    if "pixel" in columns:
        return columns["pixel"]
    if "magnification" in columns:
        if pixel_pitch_mm is None:
            raise ValueError(f"{table.path}: magnification needs the pixel pitch; got none; give --pixel-pitch in mm")
        return pixel_pitch_mm / columns["magnification"]
    return None if pixel_size_mm is None else np.full(len(table.lines), pixel_size_mm)


def _centres(table: FocusTable) -> FloatArray | None:
    if "centre_x" not in table.columns:
        return None
    return np.stack([table.columns["centre_x"], table.columns["centre_y"]], axis=1)


def _ring(
    table: FocusTable,
    size_px: tuple[int, int],
    focal_length_mm: float | None,
    pixel_pitch_mm: float | None,
    pixel_mm: FloatArray | None,
    centre_px: FloatArray | None,
    medium_index: float,
) -> FocusGeometry:
    if focal_length_mm is None:
        raise ValueError(f"{table.path}: focus distances need the focal length; got none; give --focal-length in mm")
    if medium_index != 1:
        raise ValueError(f"--medium-index: must be 1 with focus distances; got {medium_index:g}; give a column z_mm")
    distances_mm = table.columns["focus_distance"]
    geometry = ring_geometry(distances_mm, size_px, focal_length_mm=focal_length_mm, pixel_pitch_mm=pixel_pitch_mm)
    if pixel_mm is not None:
        geometry = replace(geometry, pixel=pixel_mm, xy_unit="mm")
    return geometry if centre_px is None else replace(geometry, centre_px=centre_px)
