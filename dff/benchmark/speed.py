"""How fast the whole program is, stage by stage, against the floor of reading the frames; and how that grows."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dff import io
from dff.benchmark.cost import CommandError, Cost, measured_command
from dff.benchmark.estimate import Method
from dff.benchmark.growth import growth
from dff.benchmark.score import Row
from dff.benchmark.speed_stacks import write_speed_stack
from dff.benchmark.suite import Options, Suite, SuiteResult
from dff.settings import DEFAULTS, Settings

WHOLE = "whole program"
_OVER_OURS = {"cpu": "cpu_s_per_mp_frame", "wall": "wall_s_per_mp_frame"}


def _run(result: SuiteResult, options: Options, methods: Sequence[Method]) -> None:
    grid = list(_grid(options))
    ours = {method.name: method.settings for method in methods if method.settings}
    for number, (megapixels, frames, kind) in enumerate(grid):
        options.on_progress(result.name, number, len(grid))
        about: Row = {"scene": f"{kind}, {megapixels:g} MP × {frames}", "kind": kind}
        about |= {"megapixels": megapixels, "frames": frames}
        with tempfile.TemporaryDirectory(prefix="dff-speed-", dir=options.cache) as temporary:
            folder = Path(temporary)
            write_speed_stack(folder / "frames", megapixels, frames, kind, seed=options.seed)
            for name, settings in (ours or {DEFAULTS.measure: DEFAULTS}).items():
                _run_ours(result, about, folder, name, settings)
            _run_peers(result, about, folder, methods)
    options.on_progress(result.name, len(grid), len(grid))
    result.notes += [line for kind in options.formats for line in growth(result.rows, kind, WHOLE)]


def _run_ours(result: SuiteResult, about: Row, folder: Path, name: str, settings: Settings) -> None:
    """The whole program with some settings; stages are named by their measure where it is not the default."""
    first = "" if name == DEFAULTS.measure else f"{name}: "
    try:
        told = stage_costs(folder, settings)
    except CommandError as error:
        result.skip(about["scene"], first + WHOLE, error)
        return
    result.rows += [{**about, "method": first + stage, **row} for stage, row in rows_of(told).items()]


def _grid(options: Options) -> Iterator[tuple[float, int, str]]:
    for kind in options.formats:
        for megapixels in options.megapixels:
            for frames in options.counts:
                yield megapixels, frames, kind


def stage_costs(folder: Path, settings: Settings = DEFAULTS) -> dict[str, Any]:
    """What the whole program takes for folder/frames, each of its stages, and the floor beneath it.

    The program is a process of its own, measured from its start to its end as other programs are. What no stage took
    is the start: interpreter, libraries, opening the files.

    Raises:
        CommandError: it fails.
    """
    frames, words = folder / "frames", json.dumps(settings.as_dict())
    with tempfile.TemporaryDirectory(dir=folder) as work:
        report = Path(work, "report.json")
        whole = _measured("speed_worker", frames, Path(work, "result"), words, report)
        stages = json.loads(report.read_text())
        _measured("speed_floor", frames, words, report)
        told = json.loads(report.read_text())
    for kind in ("cpu_s", "wall_s"):
        stages["start"][kind] += getattr(whole, kind) - sum(cost[kind] for cost in stages.values())
    peak_gb = max(cost["peak_gb"] for cost in stages.values())
    return {**told, "stages": stages, "whole": {**asdict(whole), "peak_gb": peak_gb}}


def _measured(module: str, *words: str | Path) -> Cost:
    command = [sys.executable, "-m", f"dff.benchmark.{module}", *words]
    return measured_command(command, folder=Path(words[0]).parent)


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

    seconds = told["predicted_s"]

    def foretold(taken_s: float) -> Row:
        return {"predicted_s_per_mp_frame": taken_s / megapixels}

    stages = {name: {**row(cost), **foretold(seconds.get(name, 0.0))} for name, cost in told["stages"].items()}
    moved = sum(cost["file_bytes"] for cost in told["stages"].values())
    whole = row({**told["whole"], "file_bytes": moved})
    predicted = {"predicted_gb": told["predicted_gb"], **foretold(sum(seconds.values()))}
    floors = {name: row(cost) for name, cost in told["floor"].items()}
    return {**floors, **stages, WHOLE: {**whole, **predicted}}


def _run_peers(result: SuiteResult, about: Row, folder: Path, methods: Sequence[Method]) -> None:
    """Other programs on the same frames, and how many times as long as ours they take."""
    megapixels = about["megapixels"] * about["frames"]
    ours = [row for row in result.rows if row["scene"] == about["scene"] and row["method"].endswith(WHOLE)]
    for method in methods:
        if not method.external:
            continue
        try:
            cost = method.estimate(io.read_stack(folder / "frames")).cost
        except CommandError as error:
            result.skip(about["scene"], method.name, error)
            continue
        figures = {"cpu_s_per_mp_frame": cost.cpu_s / megapixels, "wall_s_per_mp_frame": cost.wall_s / megapixels}
        result.rows.append(
            {"method": method.name, **about, **figures, **_ratios(figures, ours), "peak_gb": cost.peak_gb}
        )


def _ratios(figures: Row, ours: Sequence[Row]) -> Row:
    """How many times as much as the first of ours, the default if it was run."""
    if not ours:
        return {}
    return {f"{kind}_over_ours": figures[figure] / ours[0][figure] for kind, figure in _OVER_OURS.items()}


SPEED = Suite("speed", "processor time, files moved and memory of each stage, from files to a result folder", _run)
