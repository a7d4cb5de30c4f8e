"""How good depth and pictures are: methods times scenes, with other programs side by side."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "PEERS": "peers",
    "SUITES": "run",
    "Benchmark": "record",
    "compare_folders": "comparison",
    "run_benchmark": "run",
}

__all__ = ["PEERS", "SUITES", "Benchmark", "compare_folders", "run_benchmark"]


def __getattr__(name: str) -> Any:
    # Processes that measure import a module of this package, and must not pay for the others.
    if name not in _HOMES:
        raise AttributeError(f"module 'dff.benchmark' has no attribute {name!r}")
    return getattr(import_module(f"dff.benchmark.{_HOMES[name]}"), name)
