"""The plots of each suite."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dff.benchmark.limit import NOISES_SNR, WINDOWS_PX
from dff.benchmark.plots import COLOURS, Axis, Points, Series, bar_plot, line_plot
from dff.benchmark.record import Benchmark, means
from dff.benchmark.suite import SuiteResult
from dff.markup import says, tag

GREY = "#9aa3b2"
MOST_LINES = 7
"""Largest number of methods in one plot of confidence."""
_COVERAGE_CAPTION = (
    "Error of the pixels that are trusted most. Low and rising late is good; the dashed line ranks the pixels by "
    "their true error, which no method can beat."
)
_RELIABILITY_CAPTION = (
    "What confidence promised against how often it was right to one frame. On the diagonal it keeps its word; bins "
    "of less than 1 % of the pixels are left out."
)
_COSTS = {
    "depth_cpu_s_per_mp_frame": "aligned frames to depth",
    "decode_cpu_s_per_mp_frame": "decoding the JPEG frames",
    "whole_cpu_s_per_mp_frame": "whole program",
}


def suite_figures(found: Benchmark, name: str, result: SuiteResult) -> str:
    """All plots of a suite as HTML."""
    if name == "limit":
        return tag("div", *(_limit_figure(found, result, snr) for snr in NOISES_SNR), kind="plots")
    if name == "real":
        return _real_figure(result)
    if name == "cost":
        return _cost_figure(result)
    if name == "speed":
        return _speed_figure(result)
    return "" if name == "metrology" else _error_bars(result) + _confidence_figures(found, result)


def _speed_figure(result: SuiteResult) -> str:
    """Processor time of each stage, per scene."""
    stages = dict.fromkeys(row["method"] for row in result.rows if "cpu_s" in row)
    scenes = dict.fromkeys(row["scene"] for row in result.rows)
    time = {(row["method"], row["scene"]): row["cpu_s_per_mp_frame"] for row in result.rows}
    bars = [(stage, {scene: time[stage, scene] for scene in scenes if (stage, scene) in time}) for stage in stages]
    return bar_plot(bars, title="CPU-s per MP-frame") if bars else ""


def _colours(found: Benchmark) -> dict[str, str]:
    return {method.name: COLOURS[k % len(COLOURS)] for k, method in enumerate(found.methods)}


def _error_bars(result: SuiteResult) -> str:
    rows = {method: row for method, row in means(result).items() if "mae_frames" in row}
    order = sorted(rows, key=lambda method: rows[method]["mae_frames"])
    bars = [(m, {"all pixels": rows[m]["mae_frames"], "interior": rows[m]["interior_mae_frames"]}) for m in order]
    return says("h3", "Mean error, unknown pixels filled") + bar_plot(bars, title="frames") if bars else ""


def _figure(plot: str, caption: str) -> str:
    return tag("figure", plot, says("figcaption", caption))


def _confidence_figures(found: Benchmark, result: SuiteResult) -> str:
    names = _most_telling(found, result)
    if not names:
        return ""
    return tag(
        "div",
        _figure(_coverage_plot(found, result, names), _COVERAGE_CAPTION),
        _figure(_reliability_plot(found, result, names), _RELIABILITY_CAPTION),
        kind="plots",
    )


def _most_telling(found: Benchmark, result: SuiteResult) -> list[str]:
    """The default method, last, after other programs and the methods whose surest half is best."""
    order = sorted(result.pooled, key=lambda method: result.pooled[method]["mae_at_half"])
    other = [m.name for m in found.methods if m.external and m.name in result.pooled]
    chosen = list(dict.fromkeys([*other, *order]))[:MOST_LINES]
    return [m for m in chosen if m != found.default] + [found.default] * (found.default in result.pooled)


def _coverage_plot(found: Benchmark, result: SuiteResult, names: Sequence[str]) -> str:
    colour = _colours(found)

    def points(method: str, curve: str) -> Points:
        part = result.pooled[method]
        return list(zip(100 * np.asarray(part["coverage"]), np.asarray(part[curve])))

    lines = [Series("perfect ranking", points(names[-1], "oracle_mae_frames"), GREY, dashed=True)]
    lines += [Series(m, points(m, "mae_frames"), colour[m], bold=m == found.default) for m in names]
    highest = max(value for line in lines for _, value in line.points)
    share = Axis(0, 100, "most confident share of the pixels, %")
    return line_plot(lines, share, Axis(0, 1.05 * max(highest, 1e-6), "mean error, frames"))


def _reliability_plot(found: Benchmark, result: SuiteResult, names: Sequence[str]) -> str:
    colour = _colours(found)
    lines = [Series("", [(0, 0), (1, 1)], GREY, dashed=True)]
    for method in names:
        bins = {key: np.asarray(value) for key, value in result.pooled[method]["reliability"].items()}
        filled = bins["pixels"] >= 0.01 * bins["pixels"].sum()
        points = list(zip(bins["confidence"][filled], bins["frequency"][filled]))
        lines.append(Series(method, points, colour[method], dots=True, bold=method == found.default))
    return line_plot(lines, Axis(0, 1, "confidence"), Axis(0, 1, "share right to one frame"))


def _limit_figure(found: Benchmark, result: SuiteResult, snr: float) -> str:
    colour = _colours(found)
    lines = [Series("1.5 times the bound", [(0.25, 1.5), (1.6, 1.5)], GREY, dashed=True)]
    for method in dict.fromkeys(row["method"] for row in result.rows):
        for window in WINDOWS_PX:
            where = {"method": method, "snr": snr, "window_sigma_px": window}
            rows = [row for row in result.rows if all(row[key] == value for key, value in where.items())]
            points = sorted((row["blur_growth_px"], row["error_over_bound_rms"]) for row in rows)
            middle = window == WINDOWS_PX[1]
            name = f"{method}, window {window:g} px" if middle else ""
            lines.append(Series(name, points, colour[method], dots=middle, bold=middle and method == found.default))
    growth = Axis(0.25, 1.6, "blur growth, px a frame", logarithmic=True)
    ratio = Axis(0.8, 100, "rms error / bound", logarithmic=True)
    caption = f"Signal-to-noise ratio {snr}. Thin lines: windows of {WINDOWS_PX[0]:g} and {WINDOWS_PX[-1]:g} px."
    return _figure(line_plot(lines, growth, ratio), caption)


def _real_figure(result: SuiteResult) -> str:
    kinds = list(dict.fromkeys(row["method"] for row in result.rows))
    bars = [
        (scene, {kind: next(iter(result.values(kind, "noise_robust_frames", scene=scene)), math.nan) for kind in kinds})
        for scene in dict.fromkeys(row["scene"] for row in result.rows)
    ]
    return bar_plot(bars, title="robust noise of the depth from half of the frames, frames")


def _cost_figure(result: SuiteResult) -> str:
    bars = [(row["method"], {title: row[key] for key, title in _COSTS.items() if key in row}) for row in result.rows]
    return bar_plot(bars, title="CPU-s per MP-frame")
