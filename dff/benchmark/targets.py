"""The figures to reach, each with what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dff.benchmark.suite import SuiteResult
from dff.focus import NETWORKS


@dataclass(frozen=True)
class Target:
    """A figure to reach and what was found."""

    name: str
    limit: float
    unit: str
    value: float
    """NaN where it was not measured in this run."""

    @property
    def verdict(self) -> str:
        """ "met", "missed" or "not measured"."""
        if not math.isfinite(self.value):
            return "not measured"
        return "met" if self.value <= self.limit else "missed"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "verdict": self.verdict}


OPERATOR_FRAMES = {"clean": (0.60, 0.08), "noisy": (0.80, 0.17)}
NETWORK_FRAMES = {"clean": (0.45, 0.08), "noisy": (0.60, 0.15)}
"""Mean and median error to reach, in frames."""
OPERATOR_CPU_S, NETWORK_CPU_S = 0.10, 0.25


def targets(suites: Mapping[str, SuiteResult], method: str) -> list[Target]:
    """All figures to reach, for one method."""
    network = method in NETWORKS
    limits, cpu_s = (NETWORK_FRAMES, NETWORK_CPU_S) if network else (OPERATOR_FRAMES, OPERATOR_CPU_S)

    def mean(suite: str, figure: str) -> float:
        values = suites[suite].values(method, figure) if suite in suites else []
        return float(np.mean(values)) if values else math.nan

    def pooled(suite: str, figure: str) -> float:
        return float(suites[suite].pooled.get(method, {}).get(figure, math.nan)) if suite in suites else math.nan

    return [
        *(Target(f"{name}, mean error", limits[name][0], "frames", mean(name, "mae_frames")) for name in limits),
        *(Target(f"{name}, median error", limits[name][1], "frames", mean(name, "median_frames")) for name in limits),
        Target("clean, mean error at occlusion edges", 2.0, "frames", mean("clean", "edge_mae_frames")),
        Target("textured plane, largest error over bound (SNR 35)", 1.5, "times", _limit(suites, method)),
        Target("clean, mean error of the most confident half", 0.12, "frames", pooled("clean", "mae_at_half")),
        Target("held-back, largest gap of the reliability diagram", 0.05, "", pooled("held-back", "largest_gap")),
        Target("held-back, largest gap over tenths of the pixels", 0.05, "", pooled("held-back", "largest_gap_equal")),
        Target("aligned frames to depth", cpu_s, "CPU-s per MP-frame", _cost(suites, method)),
        Target("whole program, largest stack of suite speed", 0.25, "s per MP-frame", _speed(suites)),
    ]


def _speed(suites: Mapping[str, SuiteResult]) -> float:
    rows = [row for row in suites["speed"].rows if row["method"] == "whole program"] if "speed" in suites else []
    largest = max(rows, key=lambda row: row["megapixels"] * row["frames"], default={})
    return float(largest.get("wall_s_per_mp_frame", math.nan))


def _limit(suites: Mapping[str, SuiteResult], method: str) -> float:
    values = suites["limit"].values(method, "error_over_bound_rms", snr=35) if "limit" in suites else []
    return max(values, default=math.nan)


def _cost(suites: Mapping[str, SuiteResult], method: str) -> float:
    values = suites["cost"].values(method, "depth_cpu_s_per_mp_frame") if "cost" in suites else []
    return float(np.mean(values)) if values else math.nan


def verdicts(found: Sequence[Target]) -> str:
    """One line: how many were met."""
    count = {word: sum(target.verdict == word for target in found) for word in ("met", "missed", "not measured")}
    return ", ".join(f"{number} {word}" for word, number in count.items() if number)
