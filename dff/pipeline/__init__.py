"""The only place that knows the order of the stages: reconstruct a stack, and write the result folder."""

from __future__ import annotations

from dff.pipeline.apply import apply_edits, describe_edits
from dff.pipeline.folder import reconstruct_to_folder
from dff.pipeline.geometry import resolve_geometry
from dff.pipeline.report import describe, summary
from dff.pipeline.retouch import retouch
from dff.pipeline.run import open_stack, plan_for, reconstruct

__all__ = [
    "apply_edits",
    "describe",
    "describe_edits",
    "open_stack",
    "plan_for",
    "reconstruct",
    "reconstruct_to_folder",
    "resolve_geometry",
    "retouch",
    "summary",
]
