"""Surface files say what they hold: read back by other programs' readers, on objects of known size."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dff import optics
from dff.io import surfaces, write_mesh, write_points
from dff.stack import Alignment, DepthMap, FocusGeometry, Mesh, PointCloud
from dff.surface import grid_mesh, point_blocks, point_cloud

trimesh = pytest.importorskip("trimesh")

SIZE = (61, 101)
PIXEL_MM, STEP_MM = 0.02, 0.05
RADIUS_MM = 0.5


def geometry() -> FocusGeometry:
    """21 frames, the first farthest."""
    return optics.stepped_geometry(np.arange(21) * STEP_MM, SIZE, pixel_size_mm=PIXEL_MM, first="far")


def height_mm() -> np.ndarray:
    """A hemisphere of 0.5 mm radius right of the middle, on a plane at 0.1 mm that rises upwards by 0.1 mm a mm."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    x, y = (columns - 50) * PIXEL_MM, (30 - rows) * PIXEL_MM
    ball = np.sqrt(np.maximum(RADIUS_MM**2 - (x - 0.3) ** 2 - y**2, 0))
    return np.maximum(0.1 + 0.1 * y, ball)


def picture() -> np.ndarray:
    """Red grows to the right, green grows upwards, blue is constant."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack([2 * columns, 4 * (60 - rows), np.full(SIZE, 99)], axis=-1).astype(np.uint8)


def parts(unknown: bool = False) -> tuple[DepthMap, FocusGeometry, Alignment, np.ndarray]:
    """Everything a surface is made of."""
    index = (height_mm() / STEP_MM).astype(np.float32)
    index[5:8, 5:8] = np.nan
    confidence = np.where(np.isfinite(index), np.linspace(0.5, 1, SIZE[1]), 0).astype(np.float32)
    scale = optics.unknown_geometry(np.arange(21), SIZE, first="far") if unknown else geometry()
    return DepthMap(index, confidence, index * 0), scale, Alignment.identity(21, SIZE), picture()


@pytest.fixture(scope="module")
def points() -> PointCloud:
    """The cloud of the object."""
    return point_cloud(*parts())


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    """The mesh of the object."""
    return grid_mesh(*parts(), cut_frames=4)


def check_object(vertices: np.ndarray, colours: np.ndarray | None = None) -> None:
    """The vertices are the known object: millimetres, x right, y up, z toward the camera, and its colours."""
    x, y, z = np.asarray(vertices, float).T
    assert abs(np.ptp(x) - 100 * PIXEL_MM) < 1e-4
    assert abs(np.ptp(y) - 60 * PIXEL_MM) < 1e-4
    ball = (x - 0.3) ** 2 + y**2 < (0.9 * RADIUS_MM) ** 2
    radius = np.sqrt((x - 0.3) ** 2 + y**2 + z**2)[ball]
    assert np.abs(radius - RADIUS_MM).max() < 0.002 * RADIUS_MM
    plane = x < -0.25
    assert abs(np.polyfit(y[plane], z[plane], 1)[0] - 0.1) < 2e-4
    if colours is not None:
        np.testing.assert_allclose(colours[:, 0], x / PIXEL_MM * 2 + 100, atol=1)
        np.testing.assert_allclose(colours[:, 1], y / PIXEL_MM * 4 + 120, atol=1)
        assert (colours[:, 2] == 99).all()


# Points


def test_ply_points(points: PointCloud, tmp_path: Path) -> None:
    """trimesh and Open3D read the same cloud back, with normals, colours and confidence."""
    path = tmp_path / "points.ply"
    assert write_points(path, points) == len(points) == SIZE[0] * SIZE[1] - 9
    loaded = trimesh.load(path)
    np.testing.assert_array_equal(loaded.vertices.astype(np.float32), points.points)
    check_object(loaded.vertices, loaded.colors[:, :3].astype(float))
    raw = loaded.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(np.asarray(raw["confidence"]).ravel(), points.confidence)
    np.testing.assert_array_equal(np.asarray(raw["nz"]).ravel(), points.normals[:, 2])
    header = path.read_bytes().split(b"end_header")[0].decode()
    assert "comment unit mm\n" in header
    assert "comment axes x right, y up, z toward the camera" in header


def test_ply_points_in_open3d(points: PointCloud, tmp_path: Path) -> None:
    """Open3D's own reader finds positions, colours, normals and the confidence attribute."""
    o3d = pytest.importorskip("open3d", exc_type=ImportError)
    write_points(tmp_path / "points.ply", points)
    cloud = o3d.t.io.read_point_cloud(str(tmp_path / "points.ply"))
    check_object(cloud.point.positions.numpy(), cloud.point.colors.numpy().astype(float))
    np.testing.assert_array_equal(cloud.point.normals.numpy(), points.normals)
    np.testing.assert_array_equal(cloud.point["confidence"].numpy().ravel(), points.confidence)


def test_blocks_write_the_same_file(points: PointCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cloud that comes block by block makes the same bytes as one in one piece."""
    monkeypatch.setattr("dff.surface.back_projection.BLOCK_PX", 500)
    monkeypatch.setattr(surfaces, "CHUNK", 77)
    write_points(tmp_path / "whole.ply", points)
    blocks = point_blocks(*parts())
    assert write_points(tmp_path / "blocks.ply", blocks) == len(points)
    assert (tmp_path / "whole.ply").read_bytes() == (tmp_path / "blocks.ply").read_bytes()


def test_xyz_points(points: PointCloud, tmp_path: Path) -> None:
    """The text file is a table with commented head: x y z red green blue confidence."""
    path = tmp_path / "points.xyz"
    write_points(path, points)
    table = np.loadtxt(path)
    assert table.shape == (len(points), 7)
    check_object(table[:, :3], table[:, 3:6])
    np.testing.assert_allclose(table[:, 6], points.confidence, atol=5e-4)
    assert path.read_text().startswith("# dff ")
    assert "unit mm" in path.read_text().splitlines()[0]


def test_an_interrupted_cloud_leaves_no_file(points: PointCloud, tmp_path: Path) -> None:
    """When a block fails, neither a file nor a remnant is left, and an older file stays."""
    path = tmp_path / "points.ply"
    path.write_bytes(b"older")

    def failing() -> Iterator[PointCloud]:
        yield points
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_points(path, failing())
    assert [file.name for file in tmp_path.iterdir()] == ["points.ply"]
    assert path.read_bytes() == b"older"


# Meshes


def check_mesh(loaded: Any, mesh: Mesh, scale: float = 1.0) -> None:
    """The same number of triangles, wound so that they face the camera."""
    assert len(loaded.faces) == len(mesh.triangles)
    assert (loaded.face_normals[:, 2] > 0).all()
    np.testing.assert_allclose(loaded.area / scale**2, trimesh.Trimesh(mesh.vertices, mesh.triangles).area, rtol=1e-4)


def test_ply_mesh(mesh: Mesh, tmp_path: Path) -> None:
    """Vertices, faces, colours and normals come back."""
    path = tmp_path / "mesh.ply"
    write_mesh(path, mesh)
    loaded = trimesh.load(path, process=False)
    check_object(loaded.vertices, loaded.visual.vertex_colors[:, :3].astype(float))
    check_mesh(loaded, mesh)
    np.testing.assert_array_equal(loaded.faces, mesh.triangles)
    np.testing.assert_allclose(loaded.vertex_normals, mesh.normals, atol=1e-6)
    assert b"comment unit mm\n" in path.read_bytes()[:400]


def test_obj_with_texture(mesh: Mesh, tmp_path: Path) -> None:
    """The OBJ finds its material and its picture, and the picture lies on it the right way up."""
    write_mesh(tmp_path / "model.obj", mesh, picture())
    assert {file.name for file in tmp_path.iterdir()} == {"model.obj", "model.mtl", "model.jpg"}
    loaded = trimesh.load(tmp_path / "model.obj", process=False, maintain_order=True)
    check_object(loaded.vertices)
    check_mesh(loaded, mesh)
    image = np.asarray(loaded.visual.material.image).astype(float)
    assert image.shape[:2] == SIZE
    rows = np.rint((1 - loaded.visual.uv[:, 1]) * SIZE[0] - 0.5).astype(int)
    columns = np.rint(loaded.visual.uv[:, 0] * SIZE[1] - 0.5).astype(int)
    assert np.abs(image[rows, columns] - mesh.colours).mean() < 3
    assert "# unit mm" in (tmp_path / "model.obj").read_text()


def test_obj_without_texture_carries_colours(mesh: Mesh, tmp_path: Path) -> None:
    """Without a picture the vertices have their colours, and no material is named."""
    write_mesh(tmp_path / "model.obj", mesh)
    assert [file.name for file in tmp_path.iterdir()] == ["model.obj"]
    loaded = trimesh.load(tmp_path / "model.obj", process=False, maintain_order=True)
    check_object(loaded.vertices, loaded.visual.vertex_colors[:, :3].astype(float))


def _glb_document(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    assert struct.unpack("<4sII", data[:12]) == (b"glTF", 2, len(data))
    return dict(json.loads(data[20 : 20 + struct.unpack("<I", data[12:16])[0]]))


def test_glb_is_in_metres(mesh: Mesh, tmp_path: Path) -> None:
    """A glTF reader that applies the node's scale finds metres, y up, the texture embedded and upright."""
    from PIL import Image

    path = tmp_path / "model.glb"
    write_mesh(path, mesh, picture())
    scene = trimesh.load_scene(path)
    loaded = scene.to_geometry()
    check_object(loaded.vertices * 1000)
    check_mesh(loaded, mesh, scale=0.001)
    document = _glb_document(path)
    assert document["asset"]["extras"]["unit"] == "mm"
    image = document["bufferViews"][document["images"][0]["bufferView"]]
    start = 20 + struct.unpack("<I", path.read_bytes()[12:16])[0] + 8 + image["byteOffset"]
    pixels = np.asarray(Image.open(io.BytesIO(path.read_bytes()[start : start + image["byteLength"]]))).astype(float)
    assert np.abs(pixels - picture()).mean() < 3
    uv = next(iter(scene.geometry.values())).visual.uv
    np.testing.assert_allclose(uv, mesh.uv, atol=1e-6)


def test_glb_colours_are_linear(mesh: Mesh, tmp_path: Path) -> None:
    """Without a picture the vertices carry colours in linear light, as glTF has them."""
    write_mesh(tmp_path / "model.glb", mesh)
    document = _glb_document(tmp_path / "model.glb")
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    assert "TEXCOORD_0" not in attributes
    accessor = document["accessors"][attributes["COLOR_0"]]
    view = document["bufferViews"][accessor["bufferView"]]
    data = (tmp_path / "model.glb").read_bytes()
    start = 20 + struct.unpack("<I", data[12:16])[0] + 8 + view["byteOffset"]
    linear = np.frombuffer(data, "<u2", accessor["count"] * 4, start).reshape(-1, 4) / 65535
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(encoded[:, :3] * 255, mesh.colours, atol=0.6)
    assert (linear[:, 3] == 1).all()


def test_stl_in_millimetres(mesh: Mesh, tmp_path: Path) -> None:
    """The STL has the same triangles in mm, and its head says so without looking like a text STL."""
    write_mesh(tmp_path / "model.stl", mesh)
    loaded = trimesh.load(tmp_path / "model.stl")
    check_object(loaded.vertices)
    check_mesh(loaded, mesh)
    head = (tmp_path / "model.stl").read_bytes()[:80]
    assert not head.startswith(b"solid")
    assert b"unit mm" in head


# What all share


@pytest.mark.parametrize("ending", ["ply", "xyz", "obj", "glb", "stl"])
def test_an_unknown_scale_is_said_in_every_file(ending: str, tmp_path: Path) -> None:
    """Without a scale the files name pixels and frames as their units."""
    path = tmp_path / f"surface.{ending}"
    if ending == "xyz":
        write_points(path, point_cloud(*parts(unknown=True)))
    else:
        write_mesh(path, grid_mesh(*parts(unknown=True)), picture())
    assert b"x, y in px, z in frames" in path.read_bytes()


def test_another_ending_is_refused(points: PointCloud, mesh: Mesh, tmp_path: Path) -> None:
    """The line names the file and what it could end in."""
    with pytest.raises(ValueError, match=r"points\.pcd: must end in \.ply, \.xyz; got '\.pcd'"):
        write_points(tmp_path / "points.pcd", points)
    with pytest.raises(ValueError, match=r"model\.3ds: must end in \.ply, \.obj, \.glb, \.stl; got '\.3ds'"):
        write_mesh(tmp_path / "model.3ds", mesh)


@pytest.mark.parametrize("kind", ["uint16", "float32", "grey"])
def test_a_texture_of_any_type_is_eight_bits(mesh: Mesh, kind: str) -> None:
    """16-bit, float and grey pictures become ordinary JPEG."""
    import cv2

    source = {
        "uint16": picture().astype(np.uint16) * 257,
        "float32": picture().astype(np.float32) / 255,
        "grey": picture()[..., :1],
    }[kind]
    data = surfaces.encode_texture(source, 95)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(float)
    expected = np.repeat(picture()[..., :1], 3, axis=2) if kind == "grey" else picture()
    assert np.abs(decoded - expected).mean() < 3


def test_a_texture_too_large_for_graphics_cards_is_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longer side is bounded and the shape kept."""
    import cv2

    monkeypatch.setattr(surfaces, "TEXTURE_MAX_PX", 50)
    small = cv2.imdecode(np.frombuffer(surfaces.encode_texture(picture(), 95), np.uint8), cv2.IMREAD_COLOR)
    assert small.shape[:2] == (30, 50)
