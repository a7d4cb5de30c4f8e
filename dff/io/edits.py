"""edits.json: what was painted in the viewer, in pixels of the result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dff.edits import Edits, Stroke
from dff.io.alignments import check_format
from dff.io.atomic import read_json, write_json

FORMAT = "dff-edits"
FORMAT_VERSION = 1
MAX_STROKES = 20_000
MAX_POINTS = 1_000_000


def read_edits(path: str | Path) -> Edits:
    """The strokes in a file.

    Raises:
        OSError: there is no such file.
        ValueError: it does not hold edits of a version this program knows.
    """
    return edits_from(read_json(path), path)


def edits_from(content: Mapping[str, Any], label: str | Path = "edits") -> Edits:
    """The strokes in the content of an edits.json.

    Args:
        content: What the JSON says.
        label: What an error calls it.

    Raises:
        ValueError: it does not hold edits of a version this program knows, or too many.
    """
    check_format(label, dict(content), FORMAT, FORMAT_VERSION)
    try:
        height, width = (int(side) for side in content["size_px"])
        entries = list(content["edits"])
        points = sum(len(entry["points"]) for entry in entries)
        if len(entries) > MAX_STROKES or points > MAX_POINTS:
            raise ValueError(
                f"edits: must be at most {MAX_STROKES} of {MAX_POINTS} points in all; got {len(entries)} of {points}; "
                "apply them in parts"
            )
        return Edits((height, width), tuple(_stroke(entry) for entry in entries))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{label}: must hold whole strokes; got {error}; paint them again") from error


def write_edits(edits: Edits, path: str | Path) -> None:
    """Write strokes as JSON."""
    write_json(path, edits_content(edits))


def edits_content(edits: Edits) -> dict[str, Any]:
    """What an edits.json says: the inverse of `edits_from`."""
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "meaning": "strokes of a round brush; points are x, y in pixels of the result, (0, 0) is the centre of the "
        "top-left pixel",
        "size_px": list(edits.size_px),
        "edits": [_entry(stroke) for stroke in edits],
    }


def _stroke(entry: Mapping[str, Any]) -> Stroke:
    frame = entry.get("frame")
    if frame is not None and (isinstance(frame, bool) or int(frame) != frame):
        raise ValueError(f"frame: must be a whole number; got {frame!r}; name a frame")
    return Stroke(
        kind=str(entry["kind"]),
        points=np.array(entry["points"], float),
        radius_px=float(entry["radius_px"]),
        hardness=float(entry["hardness"]),
        frame=None if frame is None else int(frame),
    )


def _entry(stroke: Stroke) -> dict[str, Any]:
    frame = {} if stroke.frame is None else {"frame": stroke.frame}
    brush = {"radius_px": stroke.radius_px, "hardness": stroke.hardness}
    return {"kind": stroke.kind, **frame, **brush, "points": stroke.points}
