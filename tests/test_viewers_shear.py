"""Views from the side made of the frames: geometry says how far everything moves, and hair stays hair."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dff import io, pipeline, surface
from dff.settings import Settings
from dff.simulate import render_scene
from dff.stack import Reconstruction, Scene
from viewers import shear

SETTINGS = Settings(align="none", threads=1)
SIZE = (128, 128)
EYE_DEG = 2.5


def result_of(scene: Scene, folder: Path) -> Reconstruction:
    """A reconstruction of the scene from files."""
    io.write_scene(scene, folder)
    stack = replace(io.read_stack(folder), geometry=scene.stack.geometry)
    return pipeline.reconstruct(stack, SETTINGS)


def test_every_stair_is_seen_where_geometry_says(tmp_path: Path) -> None:
    """Between the eyes each stair is moved by its height times the angle, within 0.2 px, near to the right of far."""
    scene = render_scene("staircase", size_px=192, frames=12)
    result = result_of(scene, tmp_path / "stairs")
    relief = 1.0
    with shear.sheared_frames(result, size_px=(192, 192), relief=relief) as frames:
        left, right = frames.views([EYE_DEG, -EYE_DEG])
        middle, edge = frames.middle, (192 - left.shape[1]) // 2
    z = np.interp(scene.index[96], np.arange(12), result.geometry.z)
    assert edge > 0
    for stair in range(6):
        column = int(np.clip(round((stair + 0.5) * 192 / 6) - edge, 12, 179 - 2 * edge))
        height = z[column + edge] - result.geometry.z[middle]
        wanted = 2 * relief * height * np.tan(np.deg2rad(EYE_DEG)) / 0.02
        assert disparity(left, right, column, round(wanted)) == pytest.approx(wanted, abs=0.2), stair


def disparity(left: Any, right: Any, column: int, start: int) -> float:
    """How far right a part of the left picture lies of the same part of the right one: the slope of the phase."""
    parts = []
    for eye, by in ((left, start - start // 2), (right, -(start // 2))):
        window = eye[16:176, column + by - 8 : column + by + 8].mean(axis=2)
        parts.append(np.fft.rfft((window - window.mean()) * np.hanning(16), 32))
    cross = (parts[0] * parts[1].conj()).sum(axis=0)[1:9]
    frequency, weight = np.arange(1, 9) / 32, np.abs(cross)
    moved = -(weight * frequency * np.angle(cross)).sum() / (2 * np.pi * (weight * frequency**2).sum())
    return float(moved + start)


def test_hair_is_kept_that_a_mesh_breaks(tmp_path: Path) -> None:
    """Patches of bristles look in the view as they do in the picture, more so than in the mesh turned alike."""
    scene = render_scene("bristles", size_px=128, frames=12)
    result = result_of(scene, tmp_path / "bristles")
    with shear.sheared_frames(result, size_px=SIZE, relief=1.0) as frames:
        (view,) = frames.views([EYE_DEG])
    hair = cv2.erode(((scene.index < 8) & np.isfinite(scene.index)).astype(np.uint8), np.ones((2, 2)))
    places = [(y, x) for y, x in np.argwhere(hair) if 20 < x < 108 and 10 < y < 118][::30]
    assert len(places) > 12
    picture = result.all_in_focus
    kept = likeness(picture, view, places, (128 - view.shape[1]) // 2)
    broken = likeness(picture, turned_mesh(result), places, 0)
    assert kept > 0.85
    assert kept > broken + 0.2


def turned_mesh(result: Reconstruction) -> Any:
    """The mesh at full detail seen by the same eye, in its own colours, every vertex a pixel."""
    chosen = surface.select_surface(result.depth, min_confidence=0.6, outlier_sigma=3.0, cut_frames=3.0)
    mesh = surface.grid_mesh(chosen, result.geometry, result.alignment, result.all_in_focus, max_faces=0)
    z = mesh.vertices[:, 2] - result.geometry.z[6]
    columns = np.rint((mesh.vertices[:, 0] + z * np.tan(np.deg2rad(EYE_DEG))) / 0.02 + 63.5).astype(int)
    rows = np.rint(63.5 - mesh.vertices[:, 1] / 0.02).astype(int)
    view = np.zeros((*SIZE, 3), np.uint8)
    for k in np.argsort(z):
        if 0 <= columns[k] < 128 and 0 <= rows[k] < 128:
            view[rows[k], columns[k]] = mesh.colours[k]
    return view


def likeness(picture: Any, view: Any, places: list[Any], edge: int) -> float:
    """Mean correlation of patches of a picture with the most similar place of a view in the same rows."""
    found = []
    flat = [surface.cloud.colours_8bit(part) for part in (picture, view)]
    for y, x in places:
        patch = flat[0][y - 8 : y + 9, x - 8 : x + 9]
        strip = flat[1][y - 8 : y + 9, max(x - edge - 22, 0) : x - edge + 23]
        found.append(float(cv2.matchTemplate(strip, patch, cv2.TM_CCOEFF_NORMED).max()))
    return float(np.mean(found))
