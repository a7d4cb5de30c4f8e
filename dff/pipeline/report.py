"""What a run is going to do, and what it found, in a few lines for people."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dff import optics
from dff.pipeline.geometry import resolve_geometry, unit_warning
from dff.pipeline.plan import Plan, kept_gb
from dff.settings import Settings
from dff.stack import FocalStack, FocusGeometry, Reconstruction


def describe(stack: FocalStack, settings: Settings, output: Path | None) -> str:
    """What a stack is.

    Raises:
        ValueError: settings that contradict each other.
    """
    height, width, channels = stack.shape
    meta = stack.metadata
    geometry = stack.geometry or resolve_geometry(stack, settings)
    tags = (
        meta.camera,
        meta.lens,
        f"{meta.focal_length_mm:g} mm" if meta.focal_length_mm else None,
        f"f/{meta.f_number:g}" if meta.f_number else None,
    )
    lines = [
        f"frames     {len(stack)} of {width} x {height} px, {'colour' if channels == 3 else 'grey'}, {stack.dtype}",
        f"first      {stack.names[0]}",
        f"last       {stack.names[-1]}",
        f"camera     {', '.join(tag for tag in tags if tag) or 'not told by the files'}",
        f"geometry   {_geometry_line(geometry)}",
    ]
    if output is not None:
        lines.append(f"output     {output}")
    elif note := unit_warning(geometry):
        lines.append(f"units      {note}")
    return "\n".join(lines)


def needs(plan: Plan, stack: FocalStack, settings: Settings) -> str:
    """What reconstructing a stack takes, in one line."""
    disk_gb = plan.scratch_gb + kept_gb(stack, settings)
    return (
        f"takes      {plan.memory_gb:.1f} GB of memory, {disk_gb:.2f} GB of scratch disk, "
        f"{len(plan.strips(stack.shape[0]))} strips of {plan.strip_rows} rows"
    )


def _geometry_line(geometry: FocusGeometry) -> str:
    z, pixel = np.asarray(geometry.z, float), np.asarray(geometry.pixel, float)
    steps = np.abs(np.diff(z))
    step = (
        f"{steps.mean():.4g}"
        if np.allclose(steps, steps.mean(), rtol=1e-3)
        else f"{steps.min():.4g} to {steps.max():.4g}"
    )
    size = f"{pixel.mean():.4g}" if np.ptp(pixel) < 1e-9 else f"{pixel.min():.4g} to {pixel.max():.4g}"
    first = "near" if z[0] > z[-1] else "far"
    return f"{geometry.capture}, step {step} {geometry.z_unit}, pixel {size} {geometry.xy_unit}, first frame {first}"


def summary(result: Reconstruction, output: Path) -> str:
    """What a reconstruction found, in a few lines."""
    known = result.depth.known
    z = optics.height_map(result.depth.index, result.geometry)
    unit = result.geometry.z_unit
    residual_px = result.alignment.residual_rms_px
    lines = [f"known      {100 * known.mean():.1f} % of the pixels"]
    if known.any():
        low, high = np.nanpercentile(z, (1, 99))
        lines.append(f"height     {low:.4g} to {high:.4g} {unit} (1st to 99th percentile)")
        lines.append(f"confidence {np.median(result.depth.confidence[known]):.2f} (median of the known)")
    lines.append("alignment  " + ("not measured" if np.isnan(residual_px) else f"{residual_px:.2f} px rms residual"))
    if result.settings.network_scale == 2:
        lines.append("network    decided on frames of half size")
    lines.append(f"time       {sum(result.timings_s.values()):.1f} s")
    lines.append(f"result     {output}")
    return "\n".join(lines)
