"""Point clouds and meshes as files: PLY, XYZ, OBJ with texture, STL; GLB is in gltf.

All keep x right, y up, z toward the camera and the surface's own unit, which the file names; colours are 8-bit sRGB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from dff.io.atomic import atomic_folder, atomic_path
from dff.io.gltf import write_glb
from dff.settings import VERSION
from dff.stack import Mesh, PointCloud

AXES = "x right, y up, z toward the camera, origin on the optical axis at the far end of the sweep"
CHUNK = 1 << 17
"""Records that are formatted at a time."""
TEXTURE_MAX_PX = 8192
"""Longest side of a texture that graphics cards are sure to take."""

_POINT = [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")]
_COLOUR = [(name, "u1") for name in ("red", "green", "blue")]
_PLY_TYPES = {"<f4": "float", "u1": "uchar"}
_COUNT_DIGITS = 12


def write_points(path: str | Path, cloud: PointCloud | Iterable[PointCloud]) -> int:
    """Write a point cloud as .ply or .xyz, whole or not at all.

    Args:
        path: Its ending chooses the format.
        cloud: A cloud, or its blocks one after another, of which only one is held at a time.

    Returns:
        Number of points.

    Raises:
        ValueError: another ending.
        OSError: the file cannot be written.
    """
    writers = {".ply": _write_ply_points, ".xyz": _write_xyz}
    writer = writers[_ending(path, writers)]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        return writer(file, iter([cloud] if isinstance(cloud, PointCloud) else cloud))


def write_mesh(path: str | Path, mesh: Mesh, texture: NDArray[Any] | None = None, *, quality: int = 92) -> None:
    """Write a mesh as .ply, .obj, .glb or .stl, whole or not at all.

    PLY and STL carry no picture. OBJ writes its .mtl and .jpg beside it. GLB is in metres, as glTF wants it.

    Args:
        path: Its ending chooses the format.
        mesh: The mesh.
        texture: (H, W, C) all-in-focus picture for OBJ and GLB; without it they carry the vertices' colours.
        quality: JPEG quality of the texture, 1 to 100.

    Raises:
        ValueError: another ending.
        OSError: a file cannot be written.
    """
    ending = _ending(path, (".ply", ".obj", ".glb", ".stl"))
    picture = None if texture is None else encode_texture(texture, quality)
    if ending == ".obj":
        _write_obj(Path(path), mesh, picture)
        return
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        if ending == ".glb":
            write_glb(file, mesh, picture, name=Path(path).stem, axes=AXES)
        elif ending == ".stl":
            _write_stl(file, mesh)
        else:
            _write_ply_mesh(file, mesh)


def _ending(path: str | Path, known: Iterable[str]) -> str:
    ending = Path(path).suffix.lower()
    if ending not in known:
        raise ValueError(f"{path}: must end in {', '.join(known)}; got {ending or 'no ending'!r}; choose one of them")
    return ending


def encode_texture(picture: NDArray[Any], quality: int) -> bytes:
    """A picture as 8-bit JPEG of at most 8192 px a side, (H, W, C) of any type."""
    white = np.iinfo(picture.dtype).max if np.issubdtype(picture.dtype, np.integer) else 1
    longest = max(picture.shape[:2])
    if longest > TEXTURE_MAX_PX:
        size = tuple(round(side * TEXTURE_MAX_PX / longest) for side in (picture.shape[1], picture.shape[0]))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    if white != 255:
        picture = (np.clip(np.nan_to_num(picture / np.float32(white)), 0, 1) * 255 + 0.5).astype(np.uint8)
    colour = picture if picture.ndim == 3 and picture.shape[2] == 3 else np.repeat(np.atleast_3d(picture), 3, axis=2)
    return bytes(cv2.imencode(".jpg", np.ascontiguousarray(colour[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def _chunks(*arrays: NDArray[Any]) -> Iterator[tuple[NDArray[Any], ...]]:
    for start in range(0, len(arrays[0]), CHUNK):
        yield tuple(array[start : start + CHUNK] for array in arrays)


def _ply_header(unit: str, vertices: int, fields: list[tuple[str, str]], faces: int | None) -> bytes:
    """The header, of one length for any number of vertices."""
    lines = ["ply", "format binary_little_endian 1.0", f"comment dff {VERSION}", f"comment unit {unit}"]
    lines += [f"comment axes {AXES}", f"element vertex {vertices}"]
    lines += [f"property {_PLY_TYPES[kind]} {name}" for name, kind in fields]
    if faces is not None:
        lines += [f"element face {faces}", "property list uchar int vertex_indices"]
    lines += ["comment " + "-" * (_COUNT_DIGITS - len(str(vertices))), "end_header", ""]
    return "\n".join(lines).encode("ascii")


def _write_ply_points(file: BinaryIO, blocks: Iterator[PointCloud]) -> int:
    fields = [*_POINT, *_COLOUR, ("confidence", "<f4")]
    count, unit = 0, ""
    for block in blocks:
        if not unit:
            unit = block.unit
            file.write(_ply_header(unit, 0, fields, None))
        for points, normals, colours, confidence in _chunks(
            block.points, block.normals, block.colours, block.confidence
        ):
            records = _vertex_records(fields, points, normals, colours)
            records["confidence"] = confidence
            records.tofile(file)
        count += len(block)
    file.seek(0)
    file.write(_ply_header(unit, count, fields, None))
    return count


def _vertex_records(
    fields: list[tuple[str, str]], points: NDArray[Any], normals: NDArray[Any], colours: NDArray[Any]
) -> NDArray[Any]:
    records = np.empty(len(points), fields)
    columns = np.concatenate([points, normals], axis=1).T, colours.T
    for (name, _), column in zip([*_POINT, *_COLOUR], [*columns[0], *columns[1]]):
        records[name] = column
    return records


def _write_ply_mesh(file: BinaryIO, mesh: Mesh) -> None:
    fields = [*_POINT, *_COLOUR]
    file.write(_ply_header(mesh.unit, len(mesh.vertices), fields, len(mesh.triangles)))
    for vertices, normals, colours in _chunks(mesh.vertices, mesh.normals, mesh.colours):
        _vertex_records(fields, vertices, normals, colours).tofile(file)
    for (triangles,) in _chunks(mesh.triangles):
        records = np.empty(len(triangles), [("count", "u1"), ("corners", "<i4", 3)])
        records["count"], records["corners"] = 3, triangles
        records.tofile(file)


def _write_xyz(file: BinaryIO, blocks: Iterator[PointCloud]) -> int:
    count = 0
    for block in blocks:
        if not count:
            file.write(f"# dff {VERSION}; unit {block.unit}; {AXES}\n# x y z red green blue confidence\n".encode())
        for points, colours, confidence in _chunks(block.points, block.colours, block.confidence):
            values = np.concatenate([points, colours, confidence[:, None]], axis=1, dtype=np.float64)
            file.write(_lines("%.5f %.5f %.5f %d %d %d %.3f\n", values))
        count += len(block)
    return count


def _lines(form: str, values: NDArray[Any]) -> bytes:
    """One line of text a row."""
    return (form * len(values) % tuple(values.ravel().tolist())).encode("ascii")


def _write_stl(file: BinaryIO, mesh: Mesh) -> None:
    title = f"dff {VERSION} binary STL; unit {mesh.unit}; x right, y up, z toward the camera"
    file.write(title.encode("ascii")[:80].ljust(80))
    file.write(np.uint32(len(mesh.triangles)).tobytes())
    for (triangles,) in _chunks(mesh.triangles):
        corners = mesh.vertices[triangles]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        records = np.zeros(len(triangles), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
        records["normal"] = normals / np.where(length > 0, length, 1)
        records["corners"] = corners
        records.tofile(file)


def _write_obj(path: Path, mesh: Mesh, picture: bytes | None) -> None:
    """The mesh with its material and texture, which name each other and so appear together."""
    with atomic_folder(path.parent) as folder:
        with (folder / path.name).open("wb") as file:
            _write_obj_mesh(file, mesh, path.stem if picture else None)
        if picture:
            (folder / f"{path.stem}.jpg").write_bytes(picture)
            material = (
                f"# dff {VERSION}\nnewmtl surface\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {path.stem}.jpg\n"
            )
            (folder / f"{path.stem}.mtl").write_text(material, encoding="utf-8")


def _write_obj_mesh(file: BinaryIO, mesh: Mesh, material: str | None) -> None:
    file.write(f"# dff {VERSION}\n# unit {mesh.unit}\n# axes {AXES}\n".encode())
    if material:
        file.write(f"mtllib {material}.mtl\nusemtl surface\n".encode())
        for (vertices,) in _chunks(mesh.vertices):
            file.write(_lines("v %.6f %.6f %.6f\n", vertices))
        for (uv,) in _chunks(mesh.uv):
            file.write(_lines("vt %.6f %.6f\n", uv))
    else:
        for vertices, colours in _chunks(mesh.vertices, mesh.colours):
            file.write(_lines("v %.6f %.6f %.6f %.4f %.4f %.4f\n", np.hstack([vertices, colours / 255])))
    for (normals,) in _chunks(mesh.normals):
        file.write(_lines("vn %.4f %.4f %.4f\n", normals))
    form = "f %d/%d/%d %d/%d/%d %d/%d/%d\n" if material else "f %d//%d %d//%d %d//%d\n"
    for (triangles,) in _chunks(mesh.triangles):
        file.write(_lines(form, np.repeat(triangles + 1, 3 if material else 2, axis=1)))
