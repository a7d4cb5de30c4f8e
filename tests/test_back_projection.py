"""Back-projection: points lie where they were, for every kind of capture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from dff import optics
from dff.stack import Alignment, FocusGeometry
from dff.surface import back_project, back_projection

SIZE = (90, 120)
COUNT = 21
PIXEL_MM = 0.01
STEP_MM = 0.1
REFERENCE = 8


def stepped(size: tuple[int, int] = SIZE, count: int = COUNT) -> FocusGeometry:
    """A rail of known scale, first frame nearest."""
    return optics.stepped_geometry(np.arange(count) * STEP_MM, size, pixel_size_mm=PIXEL_MM)


def grid(size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of every pixel."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float64)
    return columns, rows


@dataclass(frozen=True)
class Camera:
    """A simulated capture: where a point is seen, and the transforms that an ideal aligner finds."""

    geometry: FocusGeometry
    seen: Callable[[np.ndarray, int], np.ndarray]
    """(n, 3) points → (n, 2) pixels of the chief rays in a frame."""

    def alignment(self, *, chained: bool = False) -> Alignment:
        """Each frame's plane of focus laid on its picture in the reference frame, at once or by way of neighbours."""
        plain = Alignment.identity(len(self.geometry), SIZE)
        transforms = np.tile(np.eye(3), (COUNT, 1, 1))
        z = self.geometry.z
        for ks, toward in ((range(REFERENCE - 1, -1, -1), 1), (range(REFERENCE + 1, COUNT), -1)):
            for k in ks:
                near = k + toward
                if chained:
                    transforms[k] = transforms[near] @ self._between(k, near, (z[k] + z[near]) / 2)
                else:
                    transforms[k] = self._between(k, REFERENCE, z[k])
        return replace(plain, transforms=transforms, reference=REFERENCE)

    def _between(self, k: int, other: int, z: float) -> np.ndarray:
        """The map of a plane's picture in one frame to that in another."""
        points = np.array([[0, 0, z], [1, 0, z], [0, 1, z]])
        own, onto = self.seen(points, k), self.seen(points, other)
        answer = np.eye(3)
        answer[:2] = np.linalg.solve(np.column_stack([own, np.ones(3)]), onto).T
        return answer


def pinhole(
    geometry: FocusGeometry, travel_mm: np.ndarray, pupil_mm: np.ndarray, roll_deg: np.ndarray | float = 0.0
) -> Camera:
    """A camera whose pupil is at a height in each frame, moved sideways and rolled between frames."""
    roll = np.deg2rad(np.broadcast_to(roll_deg, len(geometry)))

    def seen(points: np.ndarray, k: int) -> np.ndarray:
        to_plane, to_point = pupil_mm[k] - geometry.z[k], pupil_mm[k] - points[:, 2:]
        place = (points[:, :2] - travel_mm[k]) * (1.0 if np.isinf(pupil_mm[k]) else to_plane / to_point)
        turn = np.array([[np.cos(roll[k]), -np.sin(roll[k])], [np.sin(roll[k]), np.cos(roll[k])]])
        return geometry.centre_px[k] + (place @ turn.T) * (1, -1) / geometry.pixel[k]

    return Camera(geometry, seen)


def tilted_rail(tilt_deg: float, geometry: FocusGeometry, seed: int = 3) -> np.ndarray:
    """Sideways travel of a camera on a rail that is not parallel to its axis and that jitters."""
    jitter = np.random.default_rng(seed).normal(0, 0.005, (len(geometry), 2))
    travel = np.outer(geometry.z, np.tan(np.deg2rad([tilt_deg, -0.6 * tilt_deg]))) + jitter
    return travel - travel[REFERENCE]


def telecentric_camera() -> Camera:
    """Parallel chief rays, a rail tilted by 2 degrees, jitter."""
    geometry = stepped()
    return pinhole(geometry, tilted_rail(2, geometry), np.full(COUNT, np.inf))


def rail_camera() -> Camera:
    """A pupil 60 mm in front of the plane of focus on a tilted, jittering rail, and roll."""
    geometry = stepped()
    roll_deg = 0.05 * (np.arange(COUNT) - REFERENCE)
    return pinhole(geometry, tilted_rail(2, geometry), geometry.z + 60, roll_deg)


def ring_camera() -> Camera:
    """A 50 mm lens focused by its ring from 200 to 205 mm: the picture breathes."""
    focus_mm = np.linspace(200, 205, COUNT)
    geometry = optics.ring_geometry(focus_mm, SIZE, focal_length_mm=50, pixel_pitch_mm=0.005)
    return pinhole(geometry, np.zeros((COUNT, 2)), geometry.z + focus_mm)


def off_centre_camera() -> Camera:
    """A table whose principal point wanders."""
    z = np.linspace(2, 0, COUNT)
    centres = np.column_stack([60 + 3 * z, 40 - 2 * z])
    geometry = optics.table_geometry(z, SIZE, pixel_mm=0.01 + 0.0002 * z, centre_px=centres)
    return pinhole(geometry, np.zeros((COUNT, 2)), np.full(COUNT, 80.0))


CAMERAS = [telecentric_camera, rail_camera, ring_camera, off_centre_camera]


@pytest.mark.parametrize("build", CAMERAS, ids=lambda build: build.__name__)
def test_a_point_comes_back_where_it_was(build: Callable[[], Camera]) -> None:
    """What a simulated camera sees sharp in a frame lies where the point was, seen from the reference camera's axis."""
    camera = build()
    alignment = camera.alignment()
    here = np.random.default_rng(0).uniform(-0.3, 0.3, (50, 2))
    for k in (0, 5, REFERENCE, COUNT - 1):
        points = np.column_stack([here, np.full(50, camera.geometry.z[k])])
        own = np.column_stack([camera.seen(points, k), np.ones(50)])
        x, y, _ = (own @ alignment.transforms[k].T).T
        found = back_projection.back_project_pixels(x, y, np.full(50, k, np.float32), camera.geometry, alignment)
        np.testing.assert_allclose(found, points, atol=2e-6)


def test_a_chain_of_neighbours_keeps_the_scale() -> None:
    """Transforms chained from neighbours, each right half way between two planes of focus, do not bend the object."""
    camera = rail_camera()
    alignment = camera.alignment(chained=True)
    side = np.linspace(-0.3, 0.3, 7)
    for k in (0, COUNT - 1):
        points = np.array([[x, y, camera.geometry.z[k]] for x in side for y in side])
        own = np.column_stack([camera.seen(points, k), np.ones(len(points))])
        x, y, _ = (own @ alignment.transforms[k].T).T
        found = back_projection.back_project_pixels(
            x, y, np.full(len(points), k, np.float32), camera.geometry, alignment
        )
        scale = np.polyfit(points[:, :2].ravel(), (found - found.mean(axis=0))[:, :2].ravel(), 1)[0]
        assert abs(scale - 1) < 0.002
        assert np.abs(found.mean(axis=0) - points.mean(axis=0)).max() < 0.1 * PIXEL_MM
        np.testing.assert_allclose(found[:, 2], points[:, 2], atol=1e-6)


def test_between_frames_everything_is_interpolated() -> None:
    """Half way between two frames a point lies half way between its places in both."""
    camera = ring_camera()
    alignment = camera.alignment()
    at = np.array([20.0, 100.0]), np.array([70.0, 3.0])
    low, half, high = (
        back_projection.back_project_pixels(*at, np.full(2, k, np.float32), camera.geometry, alignment)
        for k in (4.0, 4.5, 5.0)
    )
    np.testing.assert_allclose(half, (low + high) / 2, atol=1e-6)


def test_a_homography_is_undone_in_full() -> None:
    """The perspective part of a transform reaches the points: they follow the frame's own pixels."""
    geometry = stepped()
    plain = Alignment.identity(COUNT, SIZE)
    transforms = plain.transforms.copy()
    transforms[5, 2, :2] = 4e-5, -3e-5
    alignment = replace(plain, transforms=transforms)
    own = np.array([[0.0, 0, 1], [119, 10, 1], [60, 89, 1]])
    centre = np.array([[*geometry.centre_px[5], 1]])
    (onto, middle) = ((p @ transforms[5].T) for p in (own, centre))
    onto, middle = onto / onto[:, 2:], middle / middle[:, 2:]
    at = onto[:, :2] - middle[:, :2] + centre[:, :2]
    found = back_projection.back_project_pixels(at[:, 0], at[:, 1], np.full(3, 5, np.float32), geometry, alignment)
    tilted = PIXEL_MM * (own - centre)[:, :2] * (1, -1)
    distance = np.linalg.norm(found[:, None, :2] - found[None, :, :2], axis=-1)
    np.testing.assert_allclose(distance, np.linalg.norm(tilted[:, None] - tilted[None], axis=-1), rtol=1e-4, atol=1e-6)


def test_axes_units_and_unknown_pixels() -> None:
    """x right, y up, z toward the camera, origin at the picture's centre on the far end; NaN gives NaN."""
    index = np.full(SIZE, COUNT - 1.0, np.float32)
    index[0, 0], index[3, 4] = 0, np.nan
    points = back_project(index, stepped(), Alignment.identity(COUNT, SIZE))
    assert points.dtype == np.float32
    np.testing.assert_allclose(points[0, 0], [-59.5 * PIXEL_MM, 44.5 * PIXEL_MM, 2], rtol=1e-6)
    np.testing.assert_allclose(points[-1, -1], [59.5 * PIXEL_MM, -44.5 * PIXEL_MM, 0], atol=1e-7)
    assert np.isnan(points).all(axis=-1)[3, 4]
    assert np.isnan(points).sum() == 3
    unscaled = optics.unknown_geometry(np.arange(COUNT), SIZE)
    points = back_project(index, unscaled, Alignment.identity(COUNT, SIZE))
    np.testing.assert_allclose(points[0, 0], [-59.5, 44.5, 20], rtol=1e-6)


def test_what_does_not_belong_together_is_refused() -> None:
    """A map, a geometry and an alignment of different stacks are refused in one line."""
    index = np.zeros(SIZE, np.float32)
    with pytest.raises(ValueError, match="one row a frame; got 7 for a geometry of 21"):
        back_project(index, stepped(), Alignment.identity(7, SIZE))
    with pytest.raises(ValueError, match=r"size of the aligned frames; got \(90, 120\) for \(9, 9\)"):
        back_project(index, stepped(), Alignment.identity(COUNT, (9, 9)))


@pytest.mark.parametrize("name", ["relief", "rubble-rail"])
def test_rendered_scenes_come_back_in_millimetres(shared: Path, name: str) -> None:
    """Path-traced scenes, focused by ring and by rail, come back with lateral and height scale within 0.2 %."""
    truth = np.load(shared / "data" / "rendered" / name / "truth.npz")
    focus_z, reference, size = truth["focus_z"].astype(float), int(truth["reference"]), truth["z"].shape
    distance_mm, pixel_mm = 100.0, float(truth["pixel_mm"])
    rail = str(truth["kind"]) == "rail"
    camera_z = distance_mm + focus_z[reference] if rail else distance_mm
    scale = (camera_z - focus_z) / distance_mm
    geometry = optics.table_geometry(focus_z, size, pixel_mm=pixel_mm * (1 if rail else scale))
    alignment = Alignment.identity(len(focus_z), size)
    if rail:
        transforms = alignment.transforms.copy()
        transforms[:, 0, 0] = transforms[:, 1, 1] = 1 / scale
        transforms[:, :2, 2] = np.outer(1 - 1 / scale, optics.image_centre(size))
        alignment = replace(alignment, transforms=transforms, reference=reference)
    points = back_project(truth["frame"], geometry, alignment)
    x, y = grid(size)
    ray = pixel_mm * (camera_z - truth["z"]) / distance_mm
    expected = (x - x.mean()) * ray, -(y - y.mean()) * ray, truth["z"] - focus_z.min()
    known = np.isfinite(truth["frame"])
    for axis, values in enumerate(expected):
        slope = np.polyfit(values[known], points[..., axis][known], 1)[0]
        assert abs(slope - 1) < 0.002
        assert np.abs(points[..., axis] - values)[known].max() < 0.002 * np.ptp(values[known])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relief", "rubble-rail"])
def test_the_aligner_s_own_transforms_keep_the_scale(shared: Path, name: str) -> None:
    """Path-traced frames aligned as a user's would be: every point, at its own frame's pixel, comes back in place.

    The affine map from the true to the found points has no scale beyond 0.2 %, no shear beyond 0.1 degrees.
    """
    from dff import align, io

    folder = shared / "data" / "rendered" / name
    truth = np.load(folder / "truth.npz")
    alignment = align.estimate_alignment(io.read_stack(folder / "frames"))
    focus_z, z, size = truth["focus_z"].astype(float), truth["z"].astype(float), truth["z"].shape
    rail, pixel_mm = str(truth["kind"]) == "rail", float(truth["pixel_mm"])
    pixel = np.full(len(focus_z), pixel_mm) if rail else pixel_mm * (100 - focus_z) / 100
    geometry = optics.table_geometry(focus_z, size, pixel_mm=pixel)
    x, y = grid(size)
    ray = pixel_mm * ((100 + focus_z[int(truth["reference"])] if rail else 100) - z) / 100
    world = np.stack([(x - x.mean()) * ray, -(y - y.mean()) * ray, z - focus_z.min()], axis=-1)
    known = np.isfinite(truth["frame"])
    index, world = truth["frame"][known].astype(float), world[known]
    low = np.clip(index.astype(int), 0, len(focus_z) - 2)
    aligned = 0
    for k, weight in ((low, low + 1 - index), (low + 1, index - low)):
        own = world[:, :2] * (1, -1) / pixel[k, None] + optics.image_centre(size)
        onto = np.einsum("nij,nj->ni", alignment.transforms[k], np.column_stack([own, np.ones(len(own))]))
        aligned = aligned + weight[:, None] * onto[:, :2] / onto[:, 2:]
    found = back_projection.back_project_pixels(*aligned.T, index.astype(np.float32), geometry, alignment)
    fit = np.linalg.lstsq(np.column_stack([world, np.ones(len(world))]), found.astype(float), rcond=None)[0]
    assert np.abs(np.diag(fit[:3]) - 1).max() < 0.002
    assert np.abs(fit[:3] - np.diag(np.diag(fit[:3]))).max() < np.tan(np.deg2rad(0.1))
