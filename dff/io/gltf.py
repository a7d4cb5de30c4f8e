"""Binary glTF 2.0: one mesh with its texture in one file, in metres."""

from __future__ import annotations

import json
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dff.settings import VERSION
from dff.stack import Mesh

METRES_PER_MM = 0.001
_FLOAT, _UINT16, _UINT32 = 5126, 5123, 5125
_VERTEX_DATA, _INDEX_DATA = 34962, 34963


def write_glb(file: BinaryIO, mesh: Mesh, picture: bytes | None, *, name: str, axes: str) -> None:
    """Write a mesh as GLB.

    The numbers stay in the mesh's unit and the node scales by 0.001: mm become the metres of glTF. A mesh of
    unknown scale is scaled in the same way; asset.extras names the unit.

    Args:
        file: Open for writing.
        mesh: The mesh.
        picture: JPEG of the texture; without it the vertices carry their colours, linear as glTF wants them.
        name: Name of the node.
        axes: The axes in words.
    """
    parts = _Parts()
    attributes = {
        "POSITION": parts.add(mesh.vertices.astype("<f4"), "VEC3", _FLOAT, bounds=True),
        "NORMAL": parts.add(mesh.normals.astype("<f4"), "VEC3", _FLOAT),
    }
    if picture is None:
        attributes["COLOR_0"] = parts.add(_linear_colours(mesh.colours), "VEC4", _UINT16, normalised=True)
    else:
        uv = np.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], axis=1)
        attributes["TEXCOORD_0"] = parts.add(uv.astype("<f4"), "VEC2", _FLOAT)
    indices = parts.add(mesh.triangles.astype("<u4").reshape(-1), "SCALAR", _UINT32, target=_INDEX_DATA)
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": f"dff {VERSION}", "extras": {"unit": mesh.unit, "axes": axes}},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": name, "scale": [METRES_PER_MM] * 3}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": indices, "material": 0}]}],
        "materials": [_material(picture is not None)],
    }
    if picture is not None:
        document["images"] = [{"bufferView": parts.view(picture), "mimeType": "image/jpeg"}]
        document["samplers"] = [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}]
        document["textures"] = [{"source": 0, "sampler": 0}]
    document |= {"accessors": parts.accessors, "bufferViews": parts.views, "buffers": [{"byteLength": parts.length}]}
    _write_chunks(file, document, parts)


def _material(textured: bool) -> dict[str, Any]:
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 0.9}
    if textured:
        surface["baseColorTexture"] = {"index": 0}
    return {"name": "surface", "pbrMetallicRoughness": surface, "doubleSided": True}


def _linear_colours(colours: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """sRGB colours decoded to linear light, in 16 bits with full opacity."""
    encoded = np.arange(256) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    opaque = np.full((len(colours), 4), 65535, "<u2")
    opaque[:, :3] = np.round(linear * 65535).astype("<u2")[colours]
    return opaque


class _Parts:
    """The binary chunk as it grows, with the accessors and views that describe it."""

    def __init__(self) -> None:
        self.data: list[bytes | memoryview] = []
        self.length = 0
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, data: bytes | memoryview, target: int | None = None) -> int:
        """Append bytes, padded to four; gives the number of their view."""
        size = len(data)
        entry = {"buffer": 0, "byteOffset": self.length, "byteLength": size}
        self.views.append(entry if target is None else {**entry, "target": target})
        padding = bytes(-size % 4)
        self.data += [data, padding]
        self.length += size + len(padding)
        return len(self.views) - 1

    def add(
        self,
        values: NDArray[Any],
        kind: str,
        component: int,
        *,
        bounds: bool = False,
        normalised: bool = False,
        target: int = _VERTEX_DATA,
    ) -> int:
        """Append an array; gives the number of its accessor."""
        data = np.ascontiguousarray(values).data.cast("B")
        entry: dict[str, Any] = {
            "bufferView": self.view(data, target),
            "componentType": component,
            "count": len(values),
            "type": kind,
        }
        if normalised:
            entry["normalized"] = True
        if bounds:
            entry |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        self.accessors.append(entry)
        return len(self.accessors) - 1


def _write_chunks(file: BinaryIO, document: dict[str, Any], parts: _Parts) -> None:
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    header = np.array([2, 12 + 8 + len(text) + 8 + parts.length, len(text)], "<u4").tobytes()
    file.write(b"glTF" + header + b"JSON" + text)
    file.write(np.uint32(parts.length).tobytes() + b"BIN\0")
    for data in parts.data:
        file.write(data)
