"""How good depth and pictures are: methods times scenes, with other programs side by side."""

from __future__ import annotations

from dff.benchmark.comparison import compare_folders
from dff.benchmark.peers import PEERS
from dff.benchmark.record import Benchmark
from dff.benchmark.run import SUITES, run_benchmark

__all__ = ["PEERS", "SUITES", "Benchmark", "compare_folders", "run_benchmark"]
