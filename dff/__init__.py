"""Depth from focus: a focal stack becomes a sharp picture, a metric depth map and a 3D surface."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dff.settings import VERSION as __version__  # noqa: N811 - a constant by another name

_HOMES = {
    "Settings": "settings",
    "FocalStack": "stack",
    "FocusGeometry": "stack",
    "Alignment": "stack",
    "DepthMap": "stack",
    "Reconstruction": "stack",
    "Scene": "stack",
    "read_stack": "io",
    "read_reconstruction": "io",
    "write_reconstruction": "io",
    "estimate_alignment": "align",
    "FOCUS_MEASURES": "focus",
    "focus_volume": "focus",
    "reconstruct": "pipeline",
    "apply_edits": "pipeline",
    "render_scene": "simulate",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dff' has no attribute {name!r}")
    return getattr(import_module(f"dff.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
