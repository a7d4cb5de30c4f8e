"""The report of a run: JSON for machines, Markdown for repositories, one HTML page for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dff import io
from dff.benchmark.plots import three_digits
from dff.benchmark.record import Benchmark, means
from dff.benchmark.suite import SuiteResult


@dataclass(frozen=True)
class Column:
    """One figure of a table."""

    key: str
    title: str
    unit: str = ""
    better: int = -1
    """-1 where less is better, 1 where more is, 0 where neither."""


DEPTH_COLUMNS = (
    Column("mae_frames", "MAE", "frames"),
    Column("median_frames", "median", "frames"),
    Column("interior_mae_frames", "interior MAE", "frames"),
    Column("edge_mae_frames", "edge MAE", "frames"),
    Column("rmse_frames", "RMSE", "frames"),
    Column("over_half_percent", "> 0.5", "%"),
    Column("over_one_percent", "> 1", "%"),
    Column("over_three_percent", "> 3", "%"),
    Column("known_percent", "known", "%", 1),
    Column("known_mae_frames", "MAE of known", "frames"),
    Column("height_median_um", "height, median", "µm"),
    Column("interior_error_over_bound", "error / bound, interior", "times"),
)
OTHER_COLUMNS = (
    Column("mae_at_50_percent_frames", "MAE of the surest half", "frames"),
    Column("ause_relative", "AUSE / random", ""),
    Column("calibration_error", "ECE", ""),
    Column("error_over_promised_sigma", "error / promised σ", "times", 0),
    Column("psnr_db", "PSNR", "dB", 1),
    Column("edge_psnr_db", "edge PSNR", "dB", 1),
    Column("ssim", "SSIM", "", 1),
    Column("edge_ssim", "edge SSIM", "", 1),
    Column("cpu_s_per_mp_frame", "CPU", "s/MP-frame"),
)
LIMIT_COLUMNS = (
    Column("snr", "SNR", "", 0),
    Column("blur_growth_px", "blur growth", "px/frame", 0),
    Column("window_sigma_px", "window", "px", 0),
    Column("rms_frames", "rms error", "frames", 0),
    Column("error_over_bound_rms", "error / bound, rms", "times", 0),
    Column("error_over_bound", "error / bound, robust", "times", 0),
)
SHAPE_COLUMNS = (
    Column("capture", "capture", "", 0),
    Column("quantity", "quantity", "", 0),
    Column("value", "measured", "", 0),
    Column("true", "true", "", 0),
    Column("error", "error", "", 0),
    Column("height_median_um", "height, median", "µm"),
    Column("lateral_median_um", "sideways, median", "µm"),
    Column("height_scale_error_permille", "height scale", "‰", 0),
    Column("lateral_scale_error_permille", "lateral scale", "‰", 0),
    Column("known_percent", "known", "%", 1),
)
REAL_COLUMNS = (
    Column("frames", "frames", "", 0),
    Column("noise_robust_frames", "noise, robust", "frames"),
    Column("noise_rms_frames", "noise, rms", "frames"),
    Column("outliers_percent", "outliers", "%"),
    Column("known_percent", "known in both", "%", 1),
    Column("noise_over_promised", "noise / promised", "times", 0),
    Column("all_noise_rms_frames", "noise of all, rms", "frames"),
)
COST_COLUMNS = (
    Column("depth_cpu_s_per_mp_frame", "aligned frames to depth", "CPU-s/MP-frame"),
    Column("depth_over_decode", "over decoding", "times"),
    Column("decode_cpu_s_per_mp_frame", "decoding", "CPU-s/MP-frame", 0),
    Column("picture_cpu_s_per_mp_frame", "picture", "CPU-s/MP-frame"),
    Column("whole_cpu_s_per_mp_frame", "whole program", "CPU-s/MP-frame"),
    Column("whole_wall_s_per_mp_frame", "whole program, wall", "s/MP-frame"),
    Column("depth_spread_percent", "spread", "%", 0),
    Column("peak_gb", "peak memory", "GB"),
    Column("peak_mb_per_mp_frame", "memory", "MB/MP-frame"),
)
SPEED_COLUMNS = (
    Column("cpu_s_per_mp_frame", "processor", "s/MP-frame"),
    Column("wall_s_per_mp_frame", "wall", "s/MP-frame"),
    Column("over_decode", "over decoding alone", "times"),
    Column("file_mb_per_mp_frame", "files moved", "MB/MP-frame"),
    Column("peak_gb", "peak memory", "GB"),
    Column("predicted_gb", "predicted", "GB", 0),
    Column("predicted_s_per_mp_frame", "wall, predicted", "s/MP-frame", 0),
    Column("cpu_over_ours", "processor, over ours", "times", 0),
    Column("wall_over_ours", "wall, over ours", "times", 0),
)
FUSION_COLUMNS = (
    Column("psnr_db", "PSNR", "dB", 1),
    Column("gain_db", "over the mean of the inputs", "dB", 1),
    Column("edge_psnr_db", "edge PSNR", "dB", 1),
    Column("ssim", "SSIM", "", 1),
    Column("vif", "VIF", "", 1),
    Column("q_abf", "Q^AB/F", "", 1),
    Column("nmi", "NMI", "", 1),
    Column("q_cb", "Q_CB", "", 1),
    Column("q_y", "Q_Y", "", 1),
    Column("vif_sources", "VIF of sources", "", 1),
    Column("cpu_s_per_mp_frame", "CPU", "s/MP-frame"),
)
TABLES: dict[str, dict[str, tuple[Column, ...]]] = {
    "limit": {"": LIMIT_COLUMNS},
    "metrology": {"": SHAPE_COLUMNS},
    "real": {"": REAL_COLUMNS},
    "cost": {"": COST_COLUMNS},
    "speed": {"": SPEED_COLUMNS},
    "fusion": {
        "Pairs": tuple(replace(column, key=f"pair_{column.key}") for column in FUSION_COLUMNS),
        "Stacks": tuple(replace(column, key=f"stack_{column.key}") for column in FUSION_COLUMNS),
    },
}
TRUTH_TABLES: dict[str, tuple[Column, ...]] = {"Depth": DEPTH_COLUMNS, "Confidence, picture and time": OTHER_COLUMNS}
BY_ROW = ("limit", "metrology", "real", "speed")
"""Suites whose table has a line for every row; the others one for the mean of every method."""

Entries = Sequence[Mapping[str, Any]]


def shape_lines(result: SuiteResult) -> Entries:
    """The suite `metrology` with a line for every quantity of a shape, its scale errors beside it."""
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in result.rows:
        key = (row["scene"], row["capture"], row["method"])
        if "value" not in row:
            lines.setdefault((*key, ""), {})[row["quantity"]] = row["error"]
        else:
            lines[(*key, row["quantity"])] = {**row, **lines.get((*key, ""), {})}
    return [line for key, line in lines.items() if key[-1]]


def write(found: Benchmark, folder: Path) -> None:
    """Write benchmark.json, benchmark.md and benchmark.html; error maps are in maps/ already."""
    from dff.benchmark.page import page

    io.write_json(folder / "benchmark.json", found.as_dict())
    io.write_bytes(folder / "benchmark.md", markdown(found).encode())
    io.write_bytes(folder / "benchmark.html", page(found).encode())


def tables_of(name: str, result: SuiteResult) -> list[tuple[str, list[Column], Entries]]:
    """Title, columns that have a value, and lines of each table of a suite."""
    lines: Entries
    if name == "metrology":
        lines = shape_lines(result)
    elif name in BY_ROW:
        lines = result.rows
    else:
        lines = [{"method": method, **figures} for method, figures in means(result).items()]
    tables = []
    for title, columns in TABLES.get(name, TRUTH_TABLES).items():
        there = [column for column in columns if any(_there(line, column) for line in lines)]
        if there:
            tables.append((title, there, lines))
    return tables


def _there(line: Mapping[str, Any], column: Column) -> bool:
    value = line.get(column.key)
    return isinstance(value, str) or (isinstance(value, (int, float)) and math.isfinite(value))


def best_of(name: str, columns: Sequence[Column], lines: Entries) -> dict[str, float]:
    """The best value of every column in which less or more is better, where lines can be compared."""
    best: dict[str, float] = {}
    for column in () if name in BY_ROW else columns:
        values = [line[column.key] for line in lines if _there(line, column)]
        if column.better and len(values) > 1:
            best[column.key] = min(values) if column.better < 0 else max(values)
    return best


def is_best(line: Mapping[str, Any], column: Column, best: Mapping[str, float]) -> bool:
    """Whether a line has the best value of a column."""
    return column.key in best and best[column.key] == line.get(column.key)


def cell(line: Mapping[str, Any], column: Column) -> str:
    """One value as text."""
    value = line.get(column.key)
    if isinstance(value, (str, int)):
        return str(value)
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.1f}" if column.unit in ("%", "dB") else three_digits(value)


def heading(column: Column) -> str:
    """Title and unit of a column."""
    return f"{column.title}, {column.unit}" if column.unit else column.title


def markdown(found: Benchmark) -> str:
    """The tables as Markdown."""
    about = found.about
    lines = [
        "# dff benchmark",
        "",
        f"dff {about['dff']}, {about['machine']['processor']}, {about['machine']['cores']} cores, "
        f"{about['frames']} frames of {about['size_px']} px, seed {about['seed']}.",
        f"Command: `{about['command']}`",
        "",
        f"## Figures to reach ({found.default})",
        "",
        "| figure | at most | found | |",
        "| --- | ---: | ---: | --- |",
    ]
    for target in found.targets:
        limit = f"{target.limit:g} {target.unit}".strip()
        lines.append(f"| {target.name} | {limit} | {three_digits(target.value)} | {target.verdict} |")
    for name, result in found.suites.items():
        lines += ["", f"## {name}", "", f"{result.summary[0].upper()}{result.summary[1:]}.", ""]
        lines += _markdown_tables(name, result)
        lines += [f"- {note}" for note in result.notes]
        lines += [f"- not run: {s['scene']}, {s['method']}: {s['reason']}" for s in result.skipped]
    if found.missing_peers:
        lines += ["", "## Programs that are not installed", ""]
        lines += [f"- {peer['peer']}: `{peer['install']}`" for peer in found.missing_peers]
    return "\n".join(lines) + "\n"


def _markdown_tables(name: str, result: SuiteResult) -> list[str]:
    tables = tables_of(name, result)
    lines = [] if tables else ["Nothing was run.", ""]
    first = ["scene", "method"] if name in BY_ROW else ["method"]
    for title, columns, entries in tables:
        best = best_of(name, columns, entries)
        lines += [f"### {title}", ""] if title else []
        lines.append("| " + " | ".join([*first, *(heading(column) for column in columns)]) + " |")
        lines.append("| " + " | ".join(["---"] * len(first) + ["---:"] * len(columns)) + " |")
        for entry in entries:
            texts = [(cell(entry, column), is_best(entry, column, best)) for column in columns]
            cells = [str(entry[key]) for key in first] + [f"**{text}**" if bold else text for text, bold in texts]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return lines
