"""What each method costs: a process of its own for every method, on the same JPEG frames."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dff import io
from dff.benchmark.cases import Skip, rendered_case
from dff.benchmark.cost import CommandError, Cost, measured_command
from dff.benchmark.estimate import Method
from dff.benchmark.score import Row
from dff.benchmark.suite import Options, Suite, SuiteResult
from dff.settings import Settings
from dff.stack import Scene

REPEATS = 3
SIDE = 2
"""The frames are this many times as wide as those of the other suites."""


def _run(result: SuiteResult, options: Options, methods: Sequence[Method]) -> None:
    size_px = SIDE * options.size_px
    case = rendered_case("rock", options.cache, size_px=size_px, frames=options.frames, seed=options.seed, snr=150)
    try:
        scene = case.load()
    except Skip as reason:
        result.skip(case.name, "all", reason)
        return
    with tempfile.TemporaryDirectory(prefix="dff-cost-") as temporary:
        folder = Path(temporary)
        frames = write_photographs(scene, folder / "frames")
        for number, method in enumerate(methods):
            options.on_progress(result.name, number, len(methods))
            try:
                figures = external_cost(method, frames) if method.external else own_cost(method, folder)
            except CommandError as error:
                result.skip(scene.name, method.name, error)
                continue
            if figures:
                result.rows.append({"scene": scene.name, "method": method.name, **figures})
    options.on_progress(result.name, len(methods), len(methods))


def write_photographs(scene: Scene, folder: Path) -> Scene:
    """The scene's frames as 8 bit JPEG files, encoded for display as a camera does, and the scene read back."""
    folder.mkdir(parents=True)
    for k in range(len(scene.stack)):
        light = scene.stack.frames[k] / scene.stack.white
        io.write_image(folder / f"frame_{k:03d}.jpg", np.rint(255 * np.clip(light, 0, 1) ** (1 / 2.2)).astype(np.uint8))
    return replace(scene, stack=replace(io.read_stack(folder), geometry=scene.stack.geometry))


def own_cost(method: Method, folder: Path) -> Row:
    """Processor seconds of decoding and of each stage, least of several repeats; the whole program once."""
    if method.settings is None:
        return {}
    report = folder / "report.json"
    settings = json.dumps(method.settings.but(align="none", brightness="none").as_dict())
    command = [
        sys.executable,
        "-m",
        "dff.benchmark.worker",
        str(folder / "frames"),
        settings,
        str(REPEATS),
        str(report),
    ]
    measured_command(command, folder=folder)
    whole = whole_cost(method.settings, folder)
    told = json.loads(report.read_text())
    megapixels = told["frames_mp"]
    decode, depth, fuse = (np.array(told[name]) / megapixels for name in ("decode_cpu_s", "depth_cpu_s", "fuse_cpu_s"))
    return {
        "decode_cpu_s_per_mp_frame": float(decode.min()),
        "depth_cpu_s_per_mp_frame": float(depth.min()),
        "depth_over_decode": float(depth.min() / decode.min()),
        "depth_spread_percent": 100 * float(np.ptp(depth) / depth.min()),
        "picture_cpu_s_per_mp_frame": float(fuse.min()),
        "whole_cpu_s_per_mp_frame": whole.cpu_s / megapixels,
        "whole_wall_s_per_mp_frame": whole.wall_s / megapixels,
        "peak_gb": whole.peak_gb,
        "peak_mb_per_mp_frame": 1000 * (told["peak_gb"] - told["idle_gb"]) / megapixels,
    }


def whole_cost(settings: Settings, folder: Path) -> Cost:
    """The whole program from files to a result folder: alignment, depth, picture, points and mesh."""
    output = folder / "result"
    chosen = ["--measure", settings.measure, "--depth", settings.depth_method, "--quiet", "--force"]
    frames = str(folder / "frames")
    return measured_command(
        [sys.executable, "-m", "dff.cli", "reconstruct", frames, "-o", output, *chosen], folder=folder
    )


def external_cost(method: Method, scene: Scene) -> Row:
    """Processor seconds and peak memory of another program's whole run, from files to picture and depth."""
    cost = method.estimate(scene.stack).cost
    megapixels = len(scene.stack) * scene.stack.shape[0] * scene.stack.shape[1] / 1e6
    return {
        "whole_cpu_s_per_mp_frame": cost.cpu_s / megapixels,
        "whole_wall_s_per_mp_frame": cost.wall_s / megapixels,
        "peak_gb": cost.peak_gb,
    }


COST = Suite("cost", f"processor time and memory on JPEG frames, least of {REPEATS} runs; spread is their range", _run)
