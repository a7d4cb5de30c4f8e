"""Surfaces as Open3D's own objects, for its viewer, registration and Poisson reconstruction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff.stack import Mesh, PointCloud


def to_open3d(surface: PointCloud | Mesh) -> Any:
    """An open3d.t.geometry.PointCloud or TriangleMesh with all that the surface carries.

    Args:
        surface: A cloud becomes positions, colors, normals, confidence; a mesh becomes vertex positions, colors,
            normals, triangle indices and texture_uvs.
    """
    import open3d as o3d

    def tensor(values: NDArray[Any]) -> Any:
        return o3d.core.Tensor.from_numpy(np.ascontiguousarray(values))

    if isinstance(surface, PointCloud):
        cloud = o3d.t.geometry.PointCloud(tensor(surface.points))
        cloud.point.colors = tensor(surface.colours)
        cloud.point.normals = tensor(surface.normals)
        cloud.point.confidence = tensor(surface.confidence[:, None])
        return cloud
    mesh = o3d.t.geometry.TriangleMesh(tensor(surface.vertices), tensor(surface.triangles))
    mesh.vertex.colors = tensor(surface.colours)
    mesh.vertex.normals = tensor(surface.normals)
    mesh.triangle.texture_uvs = tensor(surface.uv[surface.triangles])
    return mesh
