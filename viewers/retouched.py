"""What a page carries of edits: the strokes, which of them are applied, and how those parts were before.

With the untouched parts in the page, strokes that are applied can be taken back there too, before `dff apply` runs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dff import io
from dff.edits import Edits, stroke_distance, stroke_window
from dff.stack import Reconstruction
from dff.surface.cloud import colours_8bit
from viewers.payload import Payload, make_payload, packed_blocks, planes_of, thinned_result

_MARGIN_PX = 3
"""Joins of pixels change beside a stroke too."""


def folder_payload(folder: str | Path, *, max_megapixels: float = 12.0) -> Payload:
    """Pack a result folder for the browser, with what was painted on it.

    Args:
        folder: A result.
        max_megapixels: A larger map is thinned.

    Raises:
        OSError: there is no result.
        ValueError: the result or its edits are damaged.
    """
    paths = io.result_paths(folder)
    result = io.read_reconstruction(folder)
    payload = make_payload(result, folder, max_megapixels=max_megapixels)
    edits, applied = (
        io.edits_content(io.read_edits(path)) if path.is_file() else None
        for path in (paths.edits, paths.originals / "edits.json")
    )
    payload = replace(payload, meta={**payload.meta, "edits": edits, "applied": applied})
    if applied is None:
        return payload
    edits_applied = io.read_edits(paths.originals / "edits.json")
    return _with_untouched(payload, result, io.read_reconstruction(paths.originals), edits_applied)


def _with_untouched(payload: Payload, result: Reconstruction, untouched: Reconstruction, applied: Edits) -> Payload:
    """The payload with the maps and the picture as they were, wherever a stroke lies or has changed what is joined."""
    stride, first, rows = (int(payload.meta[name]) for name in ("stride", "first", "rows"))
    height, width = payload.meta["size"]
    mask = _touched(applied)[first::stride, first::stride][:height, :width]
    small, shown = thinned_result(untouched, stride, first)
    before, now = planes_of(small, shown), planes_of(*thinned_result(result, stride, first))
    for name, plane in before.items():
        mask = mask | (plane != now[name])
    maps = dict(payload.maps)
    maps["untouched.mask"] = packed_blocks(mask.astype(np.uint8), rows)
    for name, plane in before.items():
        maps[f"untouched.{name}"] = packed_blocks(np.where(mask, plane, plane.dtype.type(0)), rows)
    maps["untouched.picture"] = [_patch(small.all_in_focus, mask)]
    return replace(payload, meta={**payload.meta, "untouched": True}, maps=maps)


def _touched(edits: Edits) -> NDArray[np.bool_]:
    """(H, W) pixels under or right beside a stroke."""
    touched = np.zeros(edits.size_px, np.uint8)
    for stroke in edits:
        window = stroke_window(stroke, edits.size_px)
        touched[window] |= np.isfinite(stroke_distance(stroke, window))
    return cv2.dilate(touched, np.ones((2 * _MARGIN_PX + 1,) * 2, np.uint8)) > 0


def _patch(pixels: NDArray[Any], mask: NDArray[np.bool_]) -> bytes:
    """PNG of the picture where the mask is set, nothing elsewhere."""
    colours = np.where(mask[..., None], colours_8bit(pixels)[..., ::-1], np.uint8(0))
    return cv2.imencode(".png", np.dstack([colours, mask.astype(np.uint8) * 255]))[1].tobytes()
