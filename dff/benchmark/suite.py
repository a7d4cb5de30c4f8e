"""What all suites share: options, results, and the loop over scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dff.benchmark.cases import Case, Skip
from dff.benchmark.cost import CommandError
from dff.benchmark.estimate import Estimate, Method
from dff.benchmark.score import Row, brought_back
from dff.stack import Progress, Scene, silent


def show_nothing(suite: str, scene: Scene, method: str, estimate: Estimate) -> None:
    """Draws nothing."""


@dataclass(frozen=True)
class Options:
    """What a run is asked for."""

    cache: Path
    """Folder that rendered scenes are kept in."""
    data: Path
    """Folder of stored stacks: rendered/ with truth, stacks/ without."""
    size_px: int = 256
    frames: int = 36
    seed: int = 0
    megapixels: Sequence[float] = (2, 6)
    """Sizes of the frames that speed is measured with,"""
    counts: Sequence[int] = (10, 30)
    """their numbers,"""
    formats: Sequence[str] = ("jpeg", "tiff")
    """and their kinds of file."""
    show: Callable[[str, Scene, str, Estimate], None] = show_nothing
    """Called with suite, scene, method and estimate, to draw it."""
    on_progress: Progress = silent


@dataclass
class SuiteResult:
    """Rows of one suite, and what was not run."""

    name: str
    summary: str
    rows: list[Row] = field(default_factory=list)
    pooled: dict[str, Any] = field(default_factory=dict)
    """By method: error against coverage, and reliability, over the pixels of all scenes."""
    skipped: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What the rows say together, a line each."""

    def skip(self, case: str, method: str, reason: object) -> None:
        """Note what was not run, and why."""
        self.skipped.append({"scene": case, "method": method, "reason": " ".join(str(reason).split())})

    def values(self, method: str, figure: str, **where: Any) -> list[float]:
        """One figure of a method over its rows, or over those whose entries are as given."""
        return [
            row[figure]
            for row in self.rows
            if row["method"] == method and figure in row and all(row.get(key) == value for key, value in where.items())
        ]


@dataclass(frozen=True)
class Suite:
    """A named set of scenes and figures."""

    name: str
    summary: str
    run: Callable[[SuiteResult, Options, Sequence[Method]], None]


def loaded(result: SuiteResult, cases: Sequence[Case], options: Options) -> Iterator[Scene]:
    """The scenes of the cases that can be had; the others are noted."""
    for number, case in enumerate(cases):
        options.on_progress(result.name, number, len(cases))
        try:
            scene = case.load()
        except Skip as reason:
            result.skip(case.name, "all", reason)
        else:
            yield scene
    options.on_progress(result.name, len(cases), len(cases))


def answer(result: SuiteResult, method: Method, scene: Scene) -> Estimate | None:
    """The method's estimate in the truth's pixels; None where the program failed, which is noted."""
    try:
        estimate = method.estimate(scene.stack)
    except CommandError as error:
        result.skip(scene.name, method.name, error)
        return None
    return brought_back(estimate, scene) if method.own_alignment else estimate
