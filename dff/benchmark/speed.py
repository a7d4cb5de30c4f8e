"""How fast the whole program is, stage by stage, against the floor of reading the frames; and how that grows."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dff import io
from dff.benchmark.cost import CommandError, measured_command
from dff.benchmark.estimate import Method
from dff.benchmark.score import Row
from dff.benchmark.speed_stacks import write_speed_stack
from dff.benchmark.suite import Options, Suite, SuiteResult
from dff.settings import DEFAULTS

WHOLE = "whole program"
_LEAST_S = 0.02
"""Stages that take less are not fitted."""


def _run(result: SuiteResult, options: Options, methods: Sequence[Method]) -> None:
    grid = list(_grid(options))
    for number, (megapixels, frames, kind) in enumerate(grid):
        options.on_progress(result.name, number, len(grid))
        scene = f"{kind}, {megapixels:g} MP × {frames}"
        with tempfile.TemporaryDirectory(prefix="dff-speed-", dir=options.cache) as temporary:
            folder = Path(temporary)
            write_speed_stack(folder / "frames", megapixels, frames, kind, seed=options.seed)
            try:
                told = stage_costs(folder)
            except CommandError as error:
                result.skip(scene, WHOLE, error)
                continue
            size = {"kind": kind, "megapixels": megapixels, "frames": frames}
            result.rows += [{"scene": scene, "method": name, **size, **row} for name, row in rows_of(told).items()]
            _run_peers(result, scene, size, folder, methods)
    options.on_progress(result.name, len(grid), len(grid))
    result.notes += [line for kind in options.formats for line in growth(result.rows, kind)]


def _grid(options: Options) -> Iterator[tuple[float, int, str]]:
    for kind in options.formats:
        for megapixels in options.megapixels:
            for frames in options.counts:
                yield megapixels, frames, kind


def stage_costs(folder: Path) -> dict[str, Any]:
    """What the whole program takes for folder/frames, measured in a process of its own.

    Raises:
        CommandError: it fails.
    """
    report = folder / "report.json"
    settings = json.dumps(DEFAULTS.as_dict())
    worker = [sys.executable, "-m", "dff.benchmark.speed_worker"]
    measured_command([*worker, folder / "frames", folder / "result", settings, report], folder=folder)
    return json.loads(report.read_text())


def rows_of(told: dict[str, Any]) -> dict[str, Row]:
    """Figures of the floor, of every stage and of the whole, per megapixel and frame."""
    megapixels = told["frames_mp"]
    floor = told["floor"]["decoding alone"]["cpu_s"]

    def row(cost: dict[str, Any]) -> Row:
        return {
            "cpu_s_per_mp_frame": cost["cpu_s"] / megapixels,
            "wall_s_per_mp_frame": cost["wall_s"] / megapixels,
            "over_decode": cost["cpu_s"] / floor,
            "file_mb_per_mp_frame": cost["file_bytes"] / 1e6 / megapixels if "file_bytes" in cost else float("nan"),
            "peak_gb": cost["peak_gb"],
            "cpu_s": cost["cpu_s"],
        }

    stages = {name: row(cost) for name, cost in told["stages"].items() if name != "end"}
    moved = sum(cost["file_bytes"] for cost in told["stages"].values())
    whole = row({**told["whole"], "file_bytes": moved, "peak_gb": told["peak_gb"]})
    floors = {name: row(cost) for name, cost in told["floor"].items()}
    return {**floors, **stages, WHOLE: {**whole, "predicted_gb": told["predicted_gb"]}}


def _run_peers(result: SuiteResult, scene: str, size: Row, folder: Path, methods: Sequence[Method]) -> None:
    for method in methods:
        if not method.external:
            continue
        try:
            cost = method.estimate(io.read_stack(folder / "frames")).cost
        except CommandError as error:
            result.skip(scene, method.name, error)
            continue
        megapixels = size["megapixels"] * size["frames"]
        figures = {"cpu_s_per_mp_frame": cost.cpu_s / megapixels, "wall_s_per_mp_frame": cost.wall_s / megapixels}
        result.rows.append({"scene": scene, "method": method.name, **size, **figures, "peak_gb": cost.peak_gb})


def growth(rows: Sequence[Row], kind: str) -> list[str]:
    """A line a stage: the exponents with which its processor time grows with pixels and with frames."""
    lines = []
    for stage in dict.fromkeys(row["method"] for row in rows if "cpu_s" in row):
        chosen = [row for row in rows if row["method"] == stage and row["kind"] == kind]
        exponents = fitted_exponents(chosen)
        if exponents:
            told = ", ".join(f"{name}^{value:.2f}" for name, value in exponents.items())
            lines.append(f"growth, {kind}: {stage} takes {told}")
    return lines


def fitted_exponents(rows: Sequence[Row]) -> dict[str, float]:
    """Exponents of the processor time in megapixels and frames, by least squares of the logarithms.

    Only for what was varied; nothing where a time is too short to tell.
    """
    seconds = np.array([row["cpu_s"] for row in rows])
    varied = {name: np.log([row[name] for row in rows]) for name in ("megapixels", "frames")}
    varied = {name: values for name, values in varied.items() if np.ptp(values) > 0} if len(rows) else {}
    if not varied or seconds.min() < _LEAST_S:
        return {}
    design = np.stack([*varied.values(), np.ones(len(rows))], axis=1)
    solution, *_ = np.linalg.lstsq(design, np.log(seconds), rcond=None)
    return dict(zip(varied, solution.tolist()))


SPEED = Suite("speed", "processor time, files moved and memory of each stage, from files to a result folder", _run)
