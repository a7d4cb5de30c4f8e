"""The only place that knows the order of the stages: reconstruct a stack, and write the result folder."""

from __future__ import annotations

from dff.pipeline.folder import reconstruct_to_folder
from dff.pipeline.geometry import resolve_geometry
from dff.pipeline.journal import ResumeError, fingerprint
from dff.pipeline.memory import available_memory_gb, forget_peak, peak_memory_gb
from dff.pipeline.report import describe, summary
from dff.pipeline.run import open_stack, plan_for, reconstruct
from dff.pipeline.watch import Watcher

__all__ = [
    "ResumeError",
    "Watcher",
    "available_memory_gb",
    "describe",
    "fingerprint",
    "forget_peak",
    "open_stack",
    "peak_memory_gb",
    "plan_for",
    "reconstruct",
    "reconstruct_to_folder",
    "resolve_geometry",
    "summary",
]
