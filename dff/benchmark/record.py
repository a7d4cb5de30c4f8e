"""Everything one run of the benchmark found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dff.benchmark.estimate import Method
from dff.benchmark.plots import three_digits
from dff.benchmark.suite import SuiteResult
from dff.benchmark.targets import Target, targets
from dff.settings import DEFAULTS


@dataclass
class Benchmark:
    """Everything one run found."""

    about: dict[str, Any]
    methods: list[Method]
    missing_peers: list[dict[str, Any]]
    suites: dict[str, SuiteResult] = field(default_factory=dict)
    thumbnails: dict[tuple[str, str], list[tuple[str, bytes]]] = field(default_factory=dict)
    """Small JPEG pictures with their titles, by suite and scene: subject, truth, error of each method."""

    @property
    def default(self) -> str:
        """The method that the figures to reach are for: the default, or else the last of ours."""
        names = [method.name for method in self.methods if not method.external]
        return DEFAULTS.measure if DEFAULTS.measure in names else names[-1]

    @property
    def targets(self) -> list[Target]:
        """The figures to reach, for the default method."""
        return targets(self.suites, self.default)

    def summary(self, output: str) -> str:
        """What was found, a line each."""
        lines = [f"{t.verdict:12} {t.name}: {three_digits(t.value)} (at most {t.limit:g})" for t in self.targets]
        lines = [line for line in lines if not line.startswith("not")]
        lines += [note for result in self.suites.values() for note in result.notes]
        lines += [
            f"not run      {s['scene']}, {s['method']}: {s['reason']}" for r in self.suites.values() for s in r.skipped
        ]
        lines += [f"not run      {peer['peer']}: not installed; {peer['install']}" for peer in self.missing_peers]
        return "\n".join([*lines, f"report       {output}/benchmark.html"])

    def as_dict(self) -> dict[str, Any]:
        """The whole record, for JSON."""
        return {
            **self.about,
            "methods": [
                {"name": m.name, "summary": m.summary, "external": m.external, "default": m.name == self.default}
                for m in self.methods
            ],
            "missing_peers": self.missing_peers,
            "targets": [target.as_dict() for target in self.targets],
            "suites": {
                name: {
                    "summary": result.summary,
                    "means": means(result),
                    "rows": result.rows,
                    "pooled": result.pooled,
                    "skipped": result.skipped,
                    "notes": result.notes,
                }
                for name, result in self.suites.items()
            },
        }


def means(result: SuiteResult) -> dict[str, dict[str, float]]:
    """Mean of every figure over the scenes, by method."""
    table: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(row["method"] for row in result.rows):
        rows = [row for row in result.rows if row["method"] == name]
        figures = dict.fromkeys(key for row in rows for key, value in row.items() if isinstance(value, (int, float)))
        table[name] = {figure: float(np.mean([row[figure] for row in rows if figure in row])) for figure in figures}
    return table
