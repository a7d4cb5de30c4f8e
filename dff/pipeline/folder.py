"""From a stack to a result folder that appears whole or not at all."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff import io, optics, preview, surface
from dff.ahead import crew, in_turn
from dff.pipeline.journal import Stages, fingerprint, open_journal
from dff.pipeline.memory import reuse_freed_memory
from dff.pipeline.plan import Plan
from dff.pipeline.prepare import recorded_warnings
from dff.pipeline.watch import UNWATCHED, Watcher
from dff.pipeline.whole import reconstruct
from dff.settings import DEFAULTS, Settings
from dff.stack import DepthMap, FocalStack, FocusGeometry, Progress, Reconstruction, silent

POINT_FORMATS = {"ply": "points.ply", "xyz": "points.xyz"}
MESH_FORMATS = {"ply": "mesh.ply", "obj": "mesh.obj", "glb": "mesh.glb", "stl": "mesh.stl"}
_FRAME_QUALITY = 80
_STILL_FACES = 800_000
_STILL_PX = 1_400_000
"""The still has fewer pixels than this, of which its mesh needs no more."""


def reconstruct_to_folder(
    stack: FocalStack,
    output: str | Path,
    settings: Settings = DEFAULTS,
    *,
    force: bool = False,
    resume: bool = False,
    on_progress: Progress = silent,
    watcher: Watcher = UNWATCHED,
) -> Reconstruction:
    """Reconstruct a stack and write everything into a new folder.

    What a run has finished lies beside the output until the end. A run that is killed leaves it there; the next one
    for the same output deletes it, or goes on with it.

    Args:
        stack: The frames.
        output: Folder to make.
        settings: Every option.
        force: Replace an existing result.
        resume: Go on with what a killed run left, and leave the same when interrupted; a result that is whole
            already is given as it is.
        on_progress: Called as (stage, done, total).
        watcher: Who is shown what is found as it is found.

    Raises:
        ValueError: frames or settings that cannot be used.
        OSError: the output exists, or cannot be written.
    """
    digest = fingerprint(stack, settings)
    if resume and digest and io.read_fingerprint(output) == digest:
        return io.read_reconstruction(output)
    io.check_output(output, force=force)
    messages: list[str] = []
    plans: list[Plan] = []

    def on_start(stack: FocalStack, geometry: FocusGeometry) -> None:
        watcher.on_start(stack, geometry)
        for k in range(journal.finished("read frames") if watcher.sees_frames else 0):
            watcher.on_frame(k, io.read_image(io.result_paths(staging).frame_preview(k)))

    def on_plan(plan: Plan) -> None:
        plans.append(plan)
        watcher.on_plan(plan)

    def on_frame(k: int, small: NDArray[np.uint8]) -> None:
        write_frame_preview(k, small, staging)
        watcher.on_frame(k, small)

    with io.staged_folder(output, keep=resume) as staging, recorded_warnings(messages):
        journal = open_journal(staging.parent, stack, settings, resume=resume)
        result = reconstruct(
            stack,
            settings,
            scratch=settings.scratch or staging.parent,
            on_progress=on_progress,
            watcher=replace(watcher, on_start=on_start, on_plan=on_plan, on_frame=on_frame),
            journal=journal,
        )
        from dff.pipeline.slabs import write_slabs

        reuse_freed_memory(False)
        stages = Stages(on_progress, journal)
        stages.timings_s.update(result.timings_s)
        shown = surface.select_surface(
            result.depth,
            min_confidence=settings.min_confidence,
            outlier_sigma=settings.outlier_sigma,
            cut_frames=settings.cut_frames,
        )
        if not shown.known.any():
            warnings.warn("no pixel has a trustworthy depth: no point cloud and no mesh were written", stacklevel=2)

        def write_products(kind: str) -> None:
            if kind == "previews":
                write_previews(result, shown, staging, stages)
            elif shown.known.any():
                write_surfaces(result, shown, staging, stages)

        with crew(2 if plans[0].beside else 1) as pool:
            list(in_turn(pool, write_products, ("surfaces", "previews"), 2))
        write_slabs(result, staging, journal, stages)
        told = tuple(messages) or result.warnings
        result = replace(result, warnings=told, fingerprint=digest)
        result = write_maps(result, staging, stages)
    return result


def write_maps(result: Reconstruction, folder: Path, stages: Stages) -> Reconstruction:
    """Write the picture, the maps and the summary; gives the result with the times of all stages but this one."""
    result = replace(result, timings_s=dict(stages.timings_s))
    with stages.stage("write", 1) as done:
        io.result_paths(folder).reconstruction.unlink(missing_ok=True)
        io.write_reconstruction(result, folder)
        done(1)
    return result


def write_frame_preview(k: int, small: NDArray[np.uint8], folder: Path) -> None:
    """Write the small picture of a frame that the viewer shows and the contact sheet is made of."""
    io.write_image(io.result_paths(folder).frame_preview(k), small, quality=_FRAME_QUALITY)


def write_surfaces(result: Reconstruction, shown: DepthMap, folder: Path, stages: Stages) -> None:
    """Write the clouds and meshes that the settings name."""
    settings, parts = result.settings, (shown, result.geometry, result.alignment, result.all_in_focus)
    points = [POINT_FORMATS[name] for name in settings.surface_formats if name in POINT_FORMATS]
    with stages.stage("points", len(points)) as done:
        chosen = surface.thinned(shown.known, settings.max_points)
        for step, name in stages.remaining("points", points):
            blocks = surface.point_blocks(*parts, chosen=chosen, cut_frames=settings.cut_frames)
            io.write_points(folder / name, blocks)
            done(step + 1)
    meshes = [MESH_FORMATS[name] for name in settings.surface_formats if name in MESH_FORMATS]
    with stages.stage("mesh", len(meshes)) as done:
        remaining = stages.remaining("mesh", meshes)
        if remaining:
            mesh = surface.grid_mesh(*parts, cut_frames=settings.cut_frames, max_faces=settings.max_faces)
        for step, name in remaining:
            io.write_mesh(folder / name, mesh, result.all_in_focus)
            done(step + 1)


def write_previews(result: Reconstruction, shown: DepthMap, folder: Path, stages: Stages) -> None:
    """Write the pictures that show at a glance what was found."""
    pictures = _previews(result, shown, folder)
    with stages.stage("previews", len(pictures)) as done:
        for step, name in stages.remaining("previews", list(pictures)):
            io.write_image(io.result_paths(folder).previews / name, pictures[name]())
            done(step + 1)


@dataclass(frozen=True)
class _FramePreviews:
    """The small pictures of the frames as they were written."""

    folder: Path
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int, /) -> NDArray[Any]:
        return io.read_image(io.result_paths(self.folder).frame_preview(k))


def _previews(result: Reconstruction, shown: DepthMap, folder: Path) -> dict[str, Callable[[], NDArray[np.uint8]]]:
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
    if io.result_paths(folder).frame_preview(0).is_file():
        pictures["contact.jpg"] = lambda: preview.contact_sheet(_FramePreviews(folder, len(result.names)))
    if shown.known.any():
        parts = (shown, geometry, result.alignment, result.all_in_focus)
        stride = max(1, math.isqrt(shown.index.size // _STILL_PX))
        mesh = functools.partial(
            surface.grid_mesh, *parts, cut_frames=settings.cut_frames, max_faces=_STILL_FACES, stride=stride
        )
        pictures["shaded.png"] = lambda: preview.render_still(mesh())
    return pictures
