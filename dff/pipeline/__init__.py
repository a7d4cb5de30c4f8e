"""The only place that knows the order of the stages: reconstruct a stack, and write the result folder."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "ResumeError": "journal",
    "StageClock": "clock",
    "Watcher": "watch",
    "align_to_folder": "aligned",
    "apply_edits": "apply",
    "available_memory_gb": "memory",
    "compiled_beside": "first_run",
    "convert_result": "convert",
    "describe": "report",
    "describe_edits": "apply",
    "fingerprint": "journal",
    "forecast": "duration",
    "forget_peak": "memory",
    "fuse_frames": "fusion",
    "fuse_to_file": "fusion",
    "in_words": "duration",
    "kept_gb": "plan",
    "needs": "report",
    "open_stack": "prepare",
    "peak_memory_gb": "memory",
    "plan_for": "run",
    "reconstruct": "whole",
    "reconstruct_to_folder": "folder",
    "resolve_geometry": "geometry",
    "retouch": "retouching",
    "source_frames": "sources",
    "summary": "report",
    "told_time": "duration",
}
"""Modules by what they offer: each is loaded when it is wanted, since some need libraries that take long to load."""

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dff.pipeline' has no attribute {name!r}")
    return getattr(import_module(f"dff.pipeline.{_HOMES[name]}"), name)
