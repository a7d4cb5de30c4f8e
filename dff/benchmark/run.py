"""Methods times scenes: run the suites and gather everything into one record."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dff.benchmark import pictures, report
from dff.benchmark.cost_suite import COST
from dff.benchmark.estimate import Estimate, Method
from dff.benchmark.fusion_suite import FUSION
from dff.benchmark.limit import LIMIT
from dff.benchmark.methods import STRAW_MAN, our_methods
from dff.benchmark.metrology import METROLOGY
from dff.benchmark.peers import find_peers
from dff.benchmark.record import Benchmark
from dff.benchmark.repeatability import REAL
from dff.benchmark.speed import SPEED
from dff.benchmark.speed_stacks import FORMATS
from dff.benchmark.suite import Options, Suite, SuiteResult, show_nothing
from dff.benchmark.truth import CLEAN, HELD_BACK, NOISY, RENDERED
from dff.settings import DEFAULTS, VERSION
from dff.stack import Progress, Scene, silent

SUITES: dict[str, Suite] = {
    suite.name: suite for suite in (CLEAN, NOISY, METROLOGY, LIMIT, HELD_BACK, RENDERED, REAL, COST, SPEED, FUSION)
}
STANDARD_SUITES = ("clean", "noisy", "cost")
"""What is run when no suite is named."""
FEW_METHODS = {"metrology", "limit", "real", "speed"}
"""Suites that take long: of our methods only the default and the straw man run in them unless some are named."""


def run_benchmark(
    suites: Sequence[str] = (),
    *,
    methods: Sequence[str] = (),
    peers: Sequence[str] = (),
    output: str | Path | None = None,
    size_px: int = 256,
    frames: int = 36,
    seed: int = 0,
    megapixels: Sequence[float] = (2, 6),
    counts: Sequence[int] = (10, 30),
    formats: Sequence[str] = FORMATS,
    cache: str | Path | None = None,
    data: str | Path | None = None,
    on_progress: Progress = silent,
) -> Benchmark:
    """Run methods and other programs over suites.

    Args:
        suites: Names among SUITES; STANDARD_SUITES if none.
        methods: Names of our methods; all if none.
        peers: Names of other programs.
        output: Folder for the report and the error maps.
        size_px: Side of the rendered frames.
        frames: Number of rendered frames.
        seed: Of shapes, textures and noise.
        megapixels: Sizes of the frames of the suite `speed`.
        counts: Numbers of its frames.
        formats: Their kinds of file, among FORMATS.
        cache: Folder that rendered scenes are kept in; by default they are rendered anew.
        data: Folder of stored stacks; by default $DFF_SHARED/data or ../shared/data.
        on_progress: Called as (suite, done, total).

    Raises:
        ValueError: an unknown suite, method or program, or a size that is too small.
    """
    names = list(suites or STANDARD_SUITES)
    _check(names, size_px, frames)
    _check_speed(megapixels, counts, formats)
    ours, (others, missing) = our_methods(methods), find_peers(peers)
    found = Benchmark(_about(names, size_px, frames, seed), [*ours, *others], missing)
    stored = Path(data or Path(os.environ.get("DFF_SHARED", "../shared"), "data"))
    with _folder(cache) as kept:
        show = show_nothing if output is None else _Gallery(Path(output), found.thumbnails)
        options = Options(
            kept, stored, size_px, frames, seed, megapixels, counts, formats, show=show, on_progress=on_progress
        )
        for name in names:
            found.suites[name] = result = SuiteResult(name, SUITES[name].summary)
            SUITES[name].run(result, options, _chosen(name, found.methods, bool(methods)))
            if output is not None:
                report.write(found, Path(output))
    return found


def _check(names: Sequence[str], size_px: int, frames: int) -> None:
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        raise ValueError(f"suite: must be among {', '.join(SUITES)}; got {', '.join(unknown)}; correct the name")
    if size_px < 48:
        raise ValueError(f"--size: must be at least 48 px; got {size_px}; give a larger size")
    if frames < 6:
        raise ValueError(f"--frames: must be at least 6; got {frames}; give more frames")


def _check_speed(megapixels: Sequence[float], counts: Sequence[int], formats: Sequence[str]) -> None:
    if not megapixels or min(megapixels) < 0.1:
        raise ValueError(f"--megapixels: must be at least 0.1; got {list(megapixels)}; give larger sizes")
    if not counts or min(counts) < 4:
        raise ValueError(f"--counts: must be at least 4; got {list(counts)}; give more frames")
    if not formats or not set(formats) <= set(FORMATS):
        raise ValueError(f"--formats: must be among {', '.join(FORMATS)}; got {list(formats)}; correct the name")


def _chosen(suite: str, methods: Sequence[Method], named: bool) -> list[Method]:
    if suite not in FEW_METHODS or named:
        return list(methods)
    return [method for method in methods if method.external or method.name in (STRAW_MAN, DEFAULTS.measure)]


@contextmanager
def _folder(named: str | Path | None) -> Iterator[Path]:
    if named is not None:
        Path(named).mkdir(parents=True, exist_ok=True)
        yield Path(named)
        return
    with tempfile.TemporaryDirectory(prefix="dff-scenes-") as temporary:
        yield Path(temporary)


@dataclass(frozen=True)
class _Gallery:
    """Writes a picture of each estimate of depth, and keeps small ones for the page."""

    folder: Path
    thumbnails: dict[tuple[str, str], list[tuple[str, bytes]]]

    def __call__(self, suite: str, scene: Scene, method: str, estimate: Estimate) -> None:
        if estimate.index is None:
            return
        pictures.write_panels(self.folder / "maps" / f"{suite}-{scene.name}-{method}.png", scene, estimate)
        shown = self.thumbnails.setdefault((suite, scene.name), [])
        if not shown:
            shown += [(scene.name, pictures.subject_jpeg(scene)), ("truth", pictures.truth_jpeg(scene))]
        shown.append((method, pictures.error_jpeg(scene, estimate.index)))


def _about(suites: Sequence[str], size_px: int, frames: int, seed: int) -> dict[str, Any]:
    names = ("numpy", "torch", "opencv-python", "scipy")
    return {
        "dff": VERSION,
        "command": " ".join(["dff", *sys.argv[1:]]),
        "suites": list(suites),
        "size_px": size_px,
        "frames": frames,
        "seed": seed,
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        },
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in names}},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
