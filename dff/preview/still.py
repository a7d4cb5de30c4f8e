"""A still of a mesh in the round, drawn by a z-buffer of our own: no window, no graphics driver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dff.preview.lettering import Picture, write_text
from dff.stack import FloatArray, Mesh

SUPERSAMPLING = 2
_EDGE = 1e-5
_RIM = (250, 250, 250)
_GROUND = np.array([246, 246, 248]), np.array([196, 198, 204])
_KEY, _FILL = np.array([-0.45, 0.62, 0.64]), np.array([0.7, -0.1, 0.7])


def render_still(
    mesh: Mesh,
    *,
    size_px: tuple[int, int] = (900, 1200),
    turn_deg: float | None = None,
    tilt_deg: float | None = None,
    relief: float | None = None,
) -> Picture:
    """The mesh seen obliquely, in its own colours under soft light.

    Args:
        mesh: What to draw.
        size_px: (H, W) of the picture.
        turn_deg: Turn of the view; 0 looks along the optical axis, positive from the left. None takes 24 degrees
            to the side that the surface faces.
        tilt_deg: Tilt of the view, positive from below; None takes 38 degrees likewise.
        relief: Factor on the heights; None keeps them true to scale, unless the surface is so flat that nothing
            would be seen or the scale is not known, and then the picture says so.

    Returns:
        (H, W, 3) sRGB.
    """
    factor = fitting_relief(mesh) if relief is None else relief
    facing = mesh.normals.mean(axis=0)
    turn_deg = (-24.0 if facing[0] > 0.05 else 24.0) if turn_deg is None else turn_deg
    tilt_deg = (-38.0 if facing[1] > 0.05 else 38.0) if tilt_deg is None else tilt_deg
    view = view_of(turn_deg, tilt_deg)
    size = (size_px[0] * SUPERSAMPLING, size_px[1] * SUPERSAMPLING)
    return _drawn(mesh, factor, view, size, _framing(mesh.vertices * (1, 1, factor), view, size))


def render_views(
    mesh: Mesh, views: Sequence[FloatArray], *, size_px: tuple[int, int] = (720, 960), relief: float | None = None
) -> Iterator[Picture]:
    """The mesh from several sides at one distance and scale, for films and stereo pairs; a picture at a time.

    Args:
        mesh: What to draw.
        views: Rotations (3, 3) from world to view axes, as view_of gives them.
        size_px: (H, W) of the pictures.
        relief: Factor on the heights; None as in render_still.
    """
    factor = fitting_relief(mesh) if relief is None else relief
    size = (size_px[0] * SUPERSAMPLING, size_px[1] * SUPERSAMPLING)
    framing = _steady_framing(mesh.vertices * (1, 1, factor), views, size)
    for view in views:
        yield _drawn(mesh, factor, view, size, framing)


def _drawn(mesh: Mesh, factor: float, view: FloatArray, size: tuple[int, int], framing: _Framing) -> Picture:
    colours = _lit(mesh.normals * (1, 1, 1 / factor), mesh.colours, view)
    screen = _project(mesh.vertices * (1, 1, factor), view, size, framing)
    picture = _ground(size)
    _draw(picture, screen, mesh.triangles, colours)
    half = (size[1] // SUPERSAMPLING, size[0] // SUPERSAMPLING)
    finished = cv2.resize(picture, half, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    if mesh.unit != "mm":
        _say(finished, "heights not to scale")
    elif abs(factor - 1) > 0.01:
        _say(finished, f"heights × {factor:.2g}")
    return finished


def fitting_relief(mesh: Mesh) -> float:
    """Factor on the heights that shows them: 1 in mm unless they are less than a tenth of the width.

    Noise is not blown up: a quarter of the surface at most becomes steeper than 40 degrees.
    """
    low, high = np.percentile(mesh.vertices, (0.5, 99.5), axis=0)
    width, depth = max(high[0] - low[0], high[1] - low[1]), max(high[2] - low[2], 1e-9)
    slope = np.percentile(np.hypot(mesh.normals[:, 0], mesh.normals[:, 1]) / np.maximum(mesh.normals[:, 2], 1e-6), 75)
    steepest = 0.84 / max(slope, 1e-9)
    if mesh.unit == "mm":
        return float(max(1.0, min(0.1 * width / depth, steepest)))
    return float(min(0.22 * width / depth, steepest))


def view_of(turn_deg: float, tilt_deg: float) -> FloatArray:
    """Rotation (3, 3) from world to view axes, which are x right, y up, z toward the viewer."""
    turn, tilt = np.deg2rad([turn_deg, tilt_deg])
    about_y = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]])
    return about_x @ about_y


def _lit(normals: FloatArray, colours: NDArray[np.uint8], view: FloatArray) -> FloatArray:
    """Colours under a key light from the upper left, a weak fill light and light from all sides."""
    facing = normals @ view.T
    facing /= np.maximum(np.linalg.norm(facing, axis=1, keepdims=True), 1e-12)
    light = sum(
        strength * np.maximum(facing @ (toward / np.linalg.norm(toward)), 0)
        for strength, toward in ((0.62, _KEY), (0.16, _FILL))
    )
    return np.minimum(colours * (0.42 + np.asarray(light))[:, None], 255).astype(np.float32)


@dataclass(frozen=True)
class _Framing:
    """Where the camera stands, and what of its picture is seen."""

    origin: FloatArray
    """Point of the world that is looked at."""
    offset: FloatArray
    """From there to the middle of the picture, in view axes."""
    distance: float
    middle: FloatArray
    scale: float


def _framing(vertices: FloatArray, view: FloatArray, size: tuple[int, int]) -> _Framing:
    """The framing in which a surface fills the picture of one view."""
    origin = np.median(vertices, axis=0)
    turned = (vertices - origin) @ view.T
    low, high = np.percentile(turned, (0.5, 99.5), axis=0)
    offset = (low + high) / 2
    distance = float(max(1.6 * np.max(high - low), 1.1 * (turned - offset)[:, 2].max()))
    low, high = np.percentile(_flat(turned - offset, distance), (0.2, 99.8), axis=0)
    scale = 0.9 * min(size[1] / max(high[0] - low[0], 1e-9), size[0] / max(high[1] - low[1], 1e-9))
    return _Framing(origin, offset, distance, (low + high) / 2, scale)


def _steady_framing(vertices: FloatArray, views: Sequence[FloatArray], size: tuple[int, int]) -> _Framing:
    """The framing about the middle of a surface in which it stays in the picture of every view."""
    some = vertices[:: max(1, len(vertices) // 20_000)]
    low, high = np.percentile(some, (0.5, 99.5), axis=0)
    origin = (low + high) / 2
    distance = 1.6 * float(np.linalg.norm(high - low))
    places = [np.abs(_flat((some - origin) @ view.T, distance)) for view in views]
    reach = np.max([np.percentile(place, 99.8, axis=0) for place in places], axis=0)
    scale = 0.45 * min(size[1] / max(reach[0], 1e-9), size[0] / max(reach[1], 1e-9))
    return _Framing(origin, np.zeros(3), distance, np.zeros(2), scale)


def _flat(turned: FloatArray, distance: float) -> FloatArray:
    """Gentle perspective."""
    return np.asarray(turned[:, :2] / (1 - turned[:, 2:] / distance))


def _project(vertices: FloatArray, view: FloatArray, size: tuple[int, int], framing: _Framing) -> FloatArray:
    """Columns, rows and nearness of the vertices in a picture."""
    turned = (vertices - framing.origin) @ view.T - framing.offset
    flat = _flat(turned, framing.distance)
    place = (flat - framing.middle) * framing.scale * (1, -1) + np.array([size[1], size[0]]) / 2
    return np.concatenate([place, 1 / (framing.distance - turned[:, 2:])], axis=1)


def _ground(size: tuple[int, int]) -> Picture:
    """A neutral ground, lighter above."""
    level = np.linspace(0, 1, size[0])[:, None, None]
    rows = (_GROUND[0] * (1 - level) + _GROUND[1] * level + 0.5).astype(np.uint8)
    return np.repeat(rows, size[1], axis=1)


def _draw(picture: Picture, screen: FloatArray, triangles: NDArray[np.int32], colours: FloatArray) -> None:
    """Fill the triangles, the nearest in front."""
    from dff.preview.still_loops import draw

    draw(picture, np.zeros(picture.shape[:2]), screen, np.ascontiguousarray(triangles), colours, _EDGE)


def _say(picture: Picture, text: str) -> None:
    """A line at the foot, with a rim of light so that it is read over dark subjects too."""
    letters = max(12, picture.shape[0] // 45)
    left, middle = letters, picture.shape[0] - 1.2 * letters
    for across, down in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        write_text(picture, text, (left + across, middle + down), size_px=letters, colour=_RIM)
    write_text(picture, text, (left, middle), size_px=letters)
