"""The only place that knows the order of the stages: reconstruct a stack, and write the result folder."""

from __future__ import annotations

from dff.pipeline.aligned import align_to_folder
from dff.pipeline.apply import apply_edits, describe_edits
from dff.pipeline.convert import convert_result
from dff.pipeline.duration import forecast, in_words, told_time
from dff.pipeline.first_run import compiled_beside
from dff.pipeline.folder import reconstruct_to_folder
from dff.pipeline.fusion import fuse_frames, fuse_to_file
from dff.pipeline.geometry import resolve_geometry
from dff.pipeline.journal import ResumeError, fingerprint
from dff.pipeline.memory import available_memory_gb, forget_peak, peak_memory_gb
from dff.pipeline.plan import kept_gb
from dff.pipeline.prepare import open_stack
from dff.pipeline.report import describe, summary
from dff.pipeline.retouch import retouch
from dff.pipeline.run import plan_for, reconstruct
from dff.pipeline.sources import source_frames
from dff.pipeline.watch import Watcher

__all__ = [
    "ResumeError",
    "Watcher",
    "align_to_folder",
    "apply_edits",
    "available_memory_gb",
    "compiled_beside",
    "convert_result",
    "describe",
    "describe_edits",
    "fingerprint",
    "forecast",
    "forget_peak",
    "fuse_frames",
    "fuse_to_file",
    "in_words",
    "kept_gb",
    "open_stack",
    "peak_memory_gb",
    "plan_for",
    "reconstruct",
    "reconstruct_to_folder",
    "resolve_geometry",
    "retouch",
    "source_frames",
    "summary",
    "told_time",
]
