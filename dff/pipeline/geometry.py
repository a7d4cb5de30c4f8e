"""The geometry that a user's options, and then the files' own tags, describe."""

from __future__ import annotations

import numpy as np

from dff import io, optics
from dff.settings import Settings
from dff.stack import FocalStack, FocusGeometry


def resolve_geometry(stack: FocalStack, settings: Settings) -> FocusGeometry:
    """The geometry the settings describe; tags of the files fill what the settings leave open.

    Raises:
        ValueError: options that contradict each other or miss a partner.
    """
    pixel_size_mm = _pixel_size(stack, settings)
    if settings.z_file:
        return _from_table(stack, settings, pixel_size_mm)
    if settings.capture in ("ring", "table"):
        raise ValueError(
            f"--capture: {settings.capture} needs the positions of the frames; got no --z-file; give a CSV table"
        )
    positions = np.asarray(stack.positions or range(len(stack)), float)
    step_mm = settings.step_mm or stack.metadata.step_mm
    size = stack.shape[:2]
    if step_mm is None:
        if settings.capture != "auto":
            raise ValueError(f"--capture: {settings.capture} needs the distance between frames; got no --step; give it")
        return optics.unknown_geometry(positions, size, first=settings.first, pixel_size_mm=pixel_size_mm)
    microscope = stack.metadata.pixel_size_mm is not None
    telecentric = settings.capture == "telecentric" or (settings.capture == "auto" and microscope)
    return optics.stepped_geometry(
        positions * step_mm * settings.medium_index,
        size,
        pixel_size_mm=pixel_size_mm,
        first=settings.first,
        capture="telecentric" if telecentric else "rail",
    )


def _from_table(stack: FocalStack, settings: Settings, pixel_size_mm: float | None) -> FocusGeometry:
    if settings.step_mm is not None:
        raise ValueError("--step: must not be given with --z-file; got both; keep the one that describes the stack")
    return io.read_geometry(
        str(settings.z_file),
        len(stack),
        stack.shape[:2],
        names=stack.names,
        first=settings.first,
        pixel_size_mm=pixel_size_mm,
        focal_length_mm=settings.focal_length_mm or stack.metadata.focal_length_mm,
        pixel_pitch_mm=settings.pixel_pitch_mm or stack.metadata.pixel_pitch_mm,
        medium_index=settings.medium_index,
    )


def _pixel_size(stack: FocalStack, settings: Settings) -> float | None:
    if settings.pixel_size_mm is not None:
        if settings.magnification is not None:
            raise ValueError(
                "--magnification: must not be given with --pixel-size; got both; one of them gives the scale"
            )
        return settings.pixel_size_mm
    if settings.magnification is None:
        return stack.metadata.pixel_size_mm
    pitch_mm = settings.pixel_pitch_mm or stack.metadata.pixel_pitch_mm
    if pitch_mm is None:
        raise ValueError(
            "--magnification: needs the size of a sensor pixel; the files do not tell it; give --pixel-pitch in mm"
        )
    return pitch_mm / settings.magnification


def unit_warning(geometry: FocusGeometry) -> str | None:
    """What a user must know of the units of a result without a full scale."""
    if geometry.metric:
        return None
    cures = (("--step or --z-file", geometry.z_unit), ("--pixel-size", geometry.xy_unit))
    missing = " and ".join(name for name, unit in cures if unit != "mm")
    return (
        f"the scale is not known: x and y are in {geometry.xy_unit}, z is in {geometry.z_unit}; "
        f"give {missing} to get mm"
    )
