"""Simulated scenes as folders: the frames, their geometry table, and the truth."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from dff.io.atomic import write_bytes, write_json
from dff.io.maps import write_map
from dff.io.pictures import write_image
from dff.io.results import check_output
from dff.io.staging import staged_folder
from dff.stack import FocusGeometry, Scene

SCENE_FILES = ("frame_*.*", "z.csv", "truth", "scene.json")
"""Patterns of the names of everything in a scene folder."""


def check_scene_output(folder: str | Path, *, force: bool = False) -> None:
    """Refuse a folder that a scene cannot be written into; see `check_output`."""
    check_output(folder, force=force, ours=SCENE_FILES)


def write_scene(scene: Scene, folder: str | Path, *, force: bool = False) -> None:
    """Write a scene, whole or not at all: frames, z.csv (the geometry table), truth/ and scene.json.

    Raises:
        ValueError: there is a scene already and `force` is not set, or there are other files.
        OSError: the folder cannot be written.
    """
    check_scene_output(folder, force=force)
    stack = scene.stack
    suffix = ".png" if np.issubdtype(stack.dtype, np.integer) else ".tif"
    names = [f"frame_{k:03d}{suffix}" for k in range(len(stack))]
    with staged_folder(folder) as base:
        for k, name in enumerate(names):
            write_image(base / name, stack.frames[k], stack.metadata)
        if stack.geometry is not None:
            write_geometry(stack.geometry, base / "z.csv", names)
        _write_truth(scene, base / "truth")
        write_json(base / "scene.json", {"name": scene.name, "frames": names, "settings": scene.settings})


def _write_truth(scene: Scene, folder: Path) -> None:
    unit = "frames" if scene.stack.geometry is None else scene.stack.geometry.z_unit
    for name, values, meaning in (
        ("index", scene.index, "true sharpest frame in frames, from 0; NaN is outside the sweep"),
        ("z", scene.z, f"true height z toward the camera in {unit}"),
        ("visible", scene.visible, "share of the aperture that sees the point"),
        ("bound", scene.bound, "least standard deviation of the index in frames"),
    ):
        write_map(folder / f"{name}.tif", values, meaning)
    write_image(folder / "sharp.tif", np.asarray(scene.sharp, np.float32))


def write_geometry(geometry: FocusGeometry, path: str | Path, names: list[str]) -> None:
    """Write a geometry as the CSV table that `read_geometry` reads.

    Raises:
        ValueError: its heights are not in mm.
    """
    if geometry.z_unit != "mm":
        raise ValueError(f"{path}: heights must be in mm; got {geometry.z_unit}; give the step of the stack")
    pixel = ["pixel_mm"] if geometry.xy_unit == "mm" else []
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["frame", "z_mm", *pixel, "centre_x_px", "centre_y_px"])
    for k, name in enumerate(names):
        size = [repr(float(geometry.pixel[k]))] if pixel else []
        x, y = geometry.centre_px[k]
        table.writerow([name, repr(float(geometry.z[k])), *size, repr(float(x)), repr(float(y))])
    write_bytes(path, text.getvalue().encode())
