"""From a stack to a result folder that appears whole or not at all."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff import io, optics, preview, surface
from dff.pipeline.run import Stages, reconstruct, recorded_warnings
from dff.settings import DEFAULTS, Settings
from dff.stack import DepthMap, FocalStack, Progress, Reconstruction, silent

POINT_FORMATS = {"ply": "points.ply", "xyz": "points.xyz"}
MESH_FORMATS = {"ply": "mesh.ply", "obj": "mesh.obj", "glb": "mesh.glb", "stl": "mesh.stl"}
_THUMBNAIL_PX = 480
_FRAME_PX = 640
_FRAME_QUALITY = 80
_STILL_FACES = 800_000


def reconstruct_to_folder(
    stack: FocalStack,
    output: str | Path,
    settings: Settings = DEFAULTS,
    *,
    force: bool = False,
    on_progress: Progress = silent,
) -> Reconstruction:
    """Reconstruct a stack and write everything into a new folder.

    Args:
        stack: The frames.
        output: Folder to make.
        settings: Every option.
        force: Replace an existing result.
        on_progress: Called as (stage, done, total).

    Raises:
        ValueError: frames or settings that cannot be used.
        OSError: the output exists, or cannot be written.
    """
    io.check_output(output, force=force)
    thumbnails: list[NDArray[np.uint8]] = []
    messages: list[str] = []
    with io.staged_folder(output) as staging, recorded_warnings(messages):
        result = reconstruct(
            stack,
            settings,
            scratch=settings.scratch or staging,
            on_progress=on_progress,
            on_frame=lambda k, frame: thumbnails.append(write_frame_preview(k, frame, staging)),
        )
        stages = Stages(on_progress, dict(result.timings_s))
        shown = surface.select_surface(
            result.depth,
            min_confidence=settings.min_confidence,
            outlier_sigma=settings.outlier_sigma,
            cut_frames=settings.cut_frames,
        )
        if shown.known.any():
            write_surfaces(result, shown, staging, stages)
        else:
            warnings.warn("no pixel has a trustworthy depth: no point cloud and no mesh were written", stacklevel=2)
        write_previews(result, shown, thumbnails, staging / "previews", stages)
        result = replace(result, timings_s=stages.timings_s, warnings=tuple(messages) or result.warnings)
        io.write_reconstruction(result, staging)
    return result


def write_frame_preview(k: int, frame: NDArray[Any], folder: Path) -> NDArray[np.uint8]:
    """Write the small picture of a frame that the viewer shows; gives the smaller one of the contact sheet."""
    picture = preview.thumbnail(frame, _FRAME_PX)
    io.write_image(io.result_paths(folder).frame_preview(k), picture, quality=_FRAME_QUALITY)
    return preview.thumbnail(picture, _THUMBNAIL_PX)


def write_surfaces(result: Reconstruction, shown: DepthMap, folder: Path, stages: Stages) -> None:
    """Write the clouds and meshes that the settings name."""
    settings, parts = result.settings, (shown, result.geometry, result.alignment, result.all_in_focus)
    points = [POINT_FORMATS[name] for name in settings.surface_formats if name in POINT_FORMATS]
    with stages.stage("points", len(points)) as done:
        chosen = surface.thinned(shown.known, settings.max_points)
        for step, name in enumerate(points):
            blocks = surface.point_blocks(*parts, chosen=chosen, cut_frames=settings.cut_frames)
            io.write_points(folder / name, blocks)
            done(step + 1)
    meshes = [MESH_FORMATS[name] for name in settings.surface_formats if name in MESH_FORMATS]
    with stages.stage("mesh", len(meshes)) as done:
        mesh = surface.grid_mesh(*parts, cut_frames=settings.cut_frames, max_faces=settings.max_faces)
        for step, name in enumerate(meshes):
            io.write_mesh(folder / name, mesh, result.all_in_focus)
            done(step + 1)


def write_previews(
    result: Reconstruction, shown: DepthMap, thumbnails: list[NDArray[np.uint8]], folder: Path, stages: Stages
) -> None:
    """Write the pictures that show at a glance what was found; those of the frames only where there are any."""
    pictures = _previews(result, shown, thumbnails)
    with stages.stage("previews", len(pictures)) as done:
        for step, (name, draw) in enumerate(pictures.items()):
            io.write_image(folder / name, draw())
            done(step + 1)


def _previews(
    result: Reconstruction, shown: DepthMap, thumbnails: list[NDArray[np.uint8]]
) -> dict[str, Callable[[], NDArray[np.uint8]]]:
    geometry, settings = result.geometry, result.settings
    pictures: dict[str, Callable[[], NDArray[np.uint8]]] = {
        "depth.png": lambda: preview.depth_picture(
            optics.height_map(shown.index, geometry),
            geometry.z_unit,
            pixel=float(np.mean(geometry.pixel)),
            xy_unit=geometry.xy_unit,
        ),
        "confidence.png": lambda: preview.confidence_picture(result.depth.confidence),
    }
    if thumbnails:
        pictures["contact.jpg"] = lambda: preview.contact_sheet(thumbnails)
    if shown.known.any():
        parts = (shown, geometry, result.alignment, result.all_in_focus)
        mesh = functools.partial(surface.grid_mesh, *parts, cut_frames=settings.cut_frames, max_faces=_STILL_FACES)
        pictures["shaded.png"] = lambda: preview.render_still(mesh())
    return pictures
