"""Back-projection to points, normals, outliers, and meshes with real cuts, all on the pixel grid."""

from __future__ import annotations

from dff.surface.back_projection import back_project, back_project_rows
from dff.surface.cloud import point_blocks, point_cloud, thinned
from dff.surface.convert import to_open3d
from dff.surface.fill import fill_smoothly
from dff.surface.grid import grid_normals, islands, joined, outliers, select_surface
from dff.surface.mesh import grid_mesh

__all__ = [
    "back_project",
    "back_project_rows",
    "fill_smoothly",
    "grid_mesh",
    "grid_normals",
    "islands",
    "joined",
    "outliers",
    "point_blocks",
    "point_cloud",
    "select_surface",
    "thinned",
    "to_open3d",
]
