"""A result as one self-contained HTML file: no server, no network, a double click opens it."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dff import io
from dff.io.atomic import plain
from viewers.payload import COARSE, Payload
from viewers.retouched import folder_payload

WEB = Path(__file__).parent / "web"
COLOUR_MAPS = {
    "viridis": cv2.COLORMAP_VIRIDIS,
    "magma": cv2.COLORMAP_MAGMA,
    "cividis": cv2.COLORMAP_CIVIDIS,
    "turbo": cv2.COLORMAP_TURBO,
    "grey": cv2.COLORMAP_BONE,
}
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; img-src data: blob:; "
    "connect-src {connect}; base-uri 'none'; form-action 'none'"
)


def write_page(folder: str | Path, path: str | Path, *, max_megapixels: float = 12.0) -> Path:
    """Write a result folder's page.

    Args:
        folder: A result.
        path: HTML file to write.
        max_megapixels: A larger map is thinned.

    Raises:
        OSError: there is no result, or the file cannot be written.
        ValueError: the result is damaged, or the file's name does not end in .html.
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{target}: a page must end in .html; got {target.suffix!r}; name it scan.html")
    payload = folder_payload(folder, max_megapixels=max_megapixels)
    io.write_bytes(target, page(payload).encode())
    return target


def page(payload: Payload, **changes: Any) -> str:
    """The HTML of a payload.

    Args:
        payload: What it shows.
        **changes: Entries of the payload's meta to replace.
    """
    meta = {**payload.meta, **changes, "colour_maps": _colour_maps()}
    connect = "'self'" if meta["served"] else "'none'"
    texts = payload.texts()
    early = {name: text for name, text in texts.items() if name.startswith(COARSE)}
    template = (WEB / "index.html").read_text(encoding="utf-8")
    for name, text in {
        "policy": _POLICY.format(connect=connect),
        "title": html.escape(str(meta["title"])),
        "style": (WEB / "style.css").read_text(encoding="utf-8"),
        "modules": _json({"imports": _modules()}),
        "meta": _json(meta),
        "coarse": _elements(early),
        "data": _elements({name: text for name, text in texts.items() if name not in early}),
    }.items():
        template = template.replace(f"{{{{{name}}}}}", text)
    return template


def _elements(texts: Mapping[str, str]) -> str:
    """Elements that hold texts, by their ids."""
    return "\n".join(f'<script type="text/plain" id="{name}">{text}</script>' for name, text in texts.items())


def _modules() -> dict[str, str]:
    """The viewer's modules by the name they import one another by, as addresses that hold their text."""
    return {
        f"dff/{path.name}": "data:text/javascript;base64," + base64.b64encode(path.read_bytes()).decode()
        for path in sorted(WEB.glob("*.js"))
    }


def _colour_maps() -> dict[str, str]:
    """256 RGB colours by name, in base64."""
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    return {
        name: base64.b64encode(np.ascontiguousarray(cv2.applyColorMap(ramp, code)[:, 0, ::-1]).tobytes()).decode()
        for name, code in COLOUR_MAPS.items()
    }


def _json(value: Any) -> str:
    """JSON that may stand inside a script element; numbers that are not finite become null."""
    text = json.dumps(plain(value), separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
