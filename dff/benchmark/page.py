"""One self-contained HTML page: figures to reach, plots, tables and error maps of a run."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

from dff.benchmark.figures import suite_figures
from dff.benchmark.plots import three_digits
from dff.benchmark.record import Benchmark
from dff.benchmark.report import BY_ROW, Column, best_of, cell, is_best, tables_of
from dff.benchmark.suite import SuiteResult
from dff.benchmark.targets import verdicts
from dff.markup import STYLE, says, table, tag

LONG_TABLE = 24
"""A table with more lines is folded."""


def page(found: Benchmark) -> str:
    """The whole page."""
    sections = [_targets(found), *(_suite(found, name, result) for name, result in found.suites.items())]
    head = tag(
        "head",
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        says("title", "dff benchmark"),
        tag("style", STYLE),
    )
    body = tag("body", tag("main", _head(found), *sections, _methods(found)))
    return f"<!doctype html>{tag('html', head, body, lang='en')}\n"


def _head(found: Benchmark) -> str:
    about = found.about
    machine = about["machine"]
    facts = [
        f"dff {about['dff']}",
        f"{about['frames']} frames of {about['size_px']} × {about['size_px']} px",
        f"seed {about['seed']}",
        f"{machine['processor']}, {machine['cores']} cores",
        *(f"{name} {text}" for name, text in about["versions"].items()),
    ]
    links = [says("a", name, href=f"#{name}") for name in ("targets", *found.suites, "methods")]
    return (
        says("h1", "dff benchmark")
        + says("p", " · ".join(facts), kind="soft")
        + tag("p", says("code", about["command"]))
        + tag("nav", *links)
    )


def _targets(found: Benchmark) -> str:
    lines = [
        tag(
            "tr",
            says("td", target.name, kind="text"),
            says("td", f"{target.limit:g}"),
            tag("td", says("b", three_digits(target.value))),
            says("td", target.unit, kind="text"),
            tag("td", says("span", target.verdict, kind=f"verdict {target.verdict.split()[0]}")),
        )
        for target in found.targets
    ]
    head = [says("th", "figure", kind="text"), says("th", "at most"), says("th", "found")]
    head += [says("th", "unit", kind="text"), tag("th")]
    told = tag("p", "Method ", says("b", found.default), f": {verdicts(found.targets)}.", kind="soft")
    return tag("section", says("h2", "Figures to reach"), told, table(head, lines), id="targets")


def _suite(found: Benchmark, name: str, result: SuiteResult) -> str:
    summary = f"{result.summary[0].upper()}{result.summary[1:]}."
    parts = [says("h2", name), says("p", summary, kind="soft")]
    if result.rows:
        parts += [suite_figures(found, name, result), _tables(found, name, result)]
        if name not in BY_ROW and name != "cost":
            parts += [_scene_table(found, result), _maps(found, name)]
    if result.notes:
        parts.append(tag("ul", *(says("li", note) for note in result.notes)))
    if result.skipped:
        items = (says("li", f"{s['scene']}, {s['method']}: {s['reason']}") for s in result.skipped)
        parts += [says("h3", "Not run"), tag("ul", *items)]
    return tag("section", *parts, id=name)


def _tables(found: Benchmark, name: str, result: SuiteResult) -> str:
    first = ["scene", "method"] if name in BY_ROW else ["method"]
    parts = []
    for title, columns, entries in tables_of(name, result):
        best = best_of(name, columns, entries)
        head = [says("th", key, kind="text") for key in first]
        head += [_head_cell(column, entries[0]) for column in columns]
        lines = []
        for entry in entries:
            cells = [says("td", entry[key], kind="text") for key in first]
            cells += [says("td", cell(entry, c), kind=_kind(entry, c, best)) for c in columns]
            lines.append(tag("tr", *cells, kind="default" if entry["method"] == found.default else ""))
        whole = table(head, lines)
        folded = len(lines) > LONG_TABLE
        parts.append(says("h3", title) if title else "")
        parts.append(tag("details", says("summary", f"All {len(lines)} rows"), whole) if folded else whole)
    return "".join(parts)


def _head_cell(column: Column, entry: Mapping[str, Any]) -> str:
    kind = "text" if isinstance(entry.get(column.key), str) else ""
    return tag("th", says("span", column.title), says("small", column.unit), kind=kind)


def _kind(entry: Mapping[str, Any], column: Column, best: Mapping[str, float]) -> str:
    if isinstance(entry.get(column.key), str):
        return "text"
    return "best" if is_best(entry, column, best) else ""


def _scene_table(found: Benchmark, result: SuiteResult) -> str:
    """Mean error of every method on every scene."""
    scenes = list(dict.fromkeys(row["scene"] for row in result.rows))
    methods = list(dict.fromkeys(row["method"] for row in result.rows if "mae_frames" in row))
    values = {(r["method"], r["scene"]): r.get("mae_frames", math.nan) for r in result.rows}
    least = {s: min((v for (_, s2), v in values.items() if s2 == s and v == v), default=math.nan) for s in scenes}
    lines = []
    for method in methods:
        cells = [says("td", method, kind="text")]
        for scene in scenes:
            value = values.get((method, scene), math.nan)
            cells.append(says("td", three_digits(value), kind="best" if value == least[scene] else ""))
        lines.append(tag("tr", *cells, kind="default" if method == found.default else ""))
    head = [says("th", "method", kind="text"), *(says("th", scene) for scene in scenes)]
    return says("h3", "Mean error by scene, frames") + table(head, lines) if methods else ""


def _maps(found: Benchmark, suite: str) -> str:
    """Picture, truth and the error of every method, a row a scene."""
    scenes = [scene for where, scene in found.thumbnails if where == suite]
    if not scenes:
        return ""
    parts = [says("h3", "Error maps: blue is a frame too early, red a frame too late; full colour from one frame on")]
    for scene in scenes:
        figures = (
            tag("figure", f'<img alt="" src="{_data(jpeg)}">', says("figcaption", title))
            for title, jpeg in found.thumbnails[suite, scene]
        )
        parts.append(tag("div", *figures, kind="maps"))
    return "".join(parts)


def _data(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _methods(found: Benchmark) -> str:
    lines = [
        tag("tr", tag("td", says("b", m.name), kind="text"), says("td", m.summary, kind="prose")) for m in found.methods
    ]
    missing = [tag("li", f"{p['peer']}: not installed; ", says("code", p["install"])) for p in found.missing_peers]
    parts = [says("h2", "Methods"), table([], lines)]
    if missing:
        parts += [says("h3", "Programs that are not installed"), tag("ul", *missing)]
    return tag("section", *parts, id="methods")
