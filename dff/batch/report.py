"""The table of a batch: CSV for machines, one HTML page with thumbnails for people."""

from __future__ import annotations

import csv
import io as text_io
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from dff import io
from dff.batch.jobs import Row
from dff.markup import STYLE, says, table, tag

COLUMNS = (
    *("name", "state", "frames", "width_px", "height_px", "known_percent", "median_confidence", "lowest", "highest"),
    *("z_unit", "alignment_residual_px", "seconds", "peak_gb", "attempts", "warnings", "error", "output"),
)
_HEAD = ("frames", "size, px", "known, %", "confidence", "height", "residual, px", "time, s", "memory, GB", "attempts")
_STYLE = """
td img { display: block; height: 130px; border-radius: 6px; }
td.prose { max-width: 380px; min-width: 260px; }
td.prose p { margin: 2px 0; font-size: 12.5px; }
tr.failed td { background: #fdf1f0; }
main { max-width: 1400px; }
"""


def write_report(rows: Sequence[Row], results: Path, thumbnail: Callable[[str], Path]) -> None:
    """Write batch.csv and batch.html.

    Args:
        rows: In the order of the table.
        results: Folder of the results.
        thumbnail: Where the small picture of a stack is.
    """
    io.write_bytes(results / "batch.csv", _table(rows).encode())
    io.write_bytes(results / "batch.html", page(rows, results, thumbnail).encode())


def _table(rows: Sequence[Row]) -> str:
    text = text_io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()


def page(rows: Sequence[Row], results: Path, thumbnail: Callable[[str], Path]) -> str:
    """The page; pictures and results are linked, not contained."""
    counts = " · ".join(f"{sum(row.state == state for row in rows)} {state}" for state in ("done", "kept", "failed"))
    head = [says("th", title, kind="text") for title in ("stack", "picture and depth")]
    head += [says("th", title) for title in _HEAD]
    lines = [_line(row, results, thumbnail) for row in rows]
    top = tag(
        "head",
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        says("title", "dff batch"),
        tag("style", STYLE + _STYLE),
    )
    body = tag("main", says("h1", "dff batch"), says("p", counts, kind="soft"), tag("section", table(head, lines)))
    return f"<!doctype html>{tag('html', top, tag('body', body), lang='en')}\n"


def _line(row: Row, results: Path, thumbnail: Callable[[str], Path]) -> str:
    shown = row.state != "failed" and thumbnail(row.name).exists()
    picture = quote(str(thumbnail(row.name).relative_to(results)))
    image = f'<img alt="" loading="lazy" src="{picture}">' if shown else ""
    name = says("a", row.name, href=quote(row.name) + "/") if shown else says("b", row.name)
    state = says("span", row.state, kind=f"verdict {'missed' if row.state == 'failed' else 'met'}")
    told = says("p", row.error or row.warnings, kind="soft")
    cells = [tag("td", name, " ", state, told, kind="prose"), tag("td", image, kind="text")]
    return tag("tr", *cells, *(says("td", value) for value in _values(row)), kind=row.state)


def _values(row: Row) -> list[str]:
    size = None if row.width_px is None else f"{row.width_px} × {row.height_px}"
    height = (
        None if row.lowest is None or row.highest is None else f"{row.lowest:.4g} to {row.highest:.4g} {row.z_unit}"
    )
    figures = (row.frames, size, row.known_percent, row.median_confidence, height)
    costs = (row.alignment_residual_px, row.seconds, row.peak_gb, row.attempts)
    return ["–" if value is None else str(value) for value in (*figures, *costs)]
