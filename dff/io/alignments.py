"""Alignments as JSON: saved with a result, applied again to another stack of the same shape."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dff.io.atomic import read_json, write_json
from dff.stack import Alignment

FORMAT = "dff-alignment"
FORMAT_VERSION = 1


def write_alignment(alignment: Alignment, path: str | Path, *, names: Sequence[str] = ()) -> None:
    """Write an alignment as JSON in which every number keeps all its digits."""
    labels = list(names) or [f"frame {k}" for k in range(len(alignment))]
    frames = [
        {
            "name": labels[k],
            "model": alignment.models[k],
            "gain": alignment.gains[k],
            "residual_px": alignment.residual_px[k],
            "transform": alignment.transforms[k],
        }
        for k in range(len(alignment))
    ]
    write_json(
        path,
        {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "meaning": "transform maps (x, y, 1) of a frame's own pixels to the reference frame's; "
            "(0, 0) is the centre of the top-left pixel",
            "size_px": list(alignment.size_px),
            "reference": alignment.reference,
            "frames": frames,
        },
    )


def read_alignment(path: str | Path) -> Alignment:
    """An alignment from JSON.

    Raises:
        OSError: there is no such file.
        ValueError: it is not an alignment of a version this program knows.
    """
    content = read_json(path)
    check_format(path, content, FORMAT, FORMAT_VERSION)
    try:
        return _alignment(content)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: must be a whole alignment; got {error!r}; write it again") from error


def check_format(path: str | Path, content: dict[str, Any], name: str, version: int) -> None:
    """Refuse JSON of another kind or of a later version.

    Raises:
        ValueError: naming what was found.
    """
    if content.get("format") != name:
        raise ValueError(f"{path}: must be of format {name}; got {content.get('format')!r}; name another file")
    if content.get("version") != version:
        raise ValueError(
            f"{path}: must be of version {version}; got {content.get('version')!r}; use the program that wrote it"
        )


def _alignment(content: dict[str, Any]) -> Alignment:
    frames = content["frames"]
    height, width = content["size_px"]
    return Alignment(
        transforms=np.array([frame["transform"] for frame in frames], float).reshape(-1, 3, 3),
        gains=np.array([frame["gain"] for frame in frames], float),
        residual_px=np.array([frame["residual_px"] for frame in frames], float),
        models=tuple(str(frame["model"]) for frame in frames),
        reference=int(content["reference"]),
        size_px=(int(height), int(width)),
    )
