"""Triangle meshes as subjects: reading Wavefront OBJ, and exact ray casting by Open3D (Embree)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff.simulate.rays import MISS, Chart, Gloss, Rays, diffuse, highlight
from dff.simulate.surfaces import Point, bounding_block, solid_colour
from dff.stack import FloatArray


def read_obj(path: str | Path) -> tuple[FloatArray, NDArray[np.int32]]:
    """Vertices (V, 3) and triangles (T, 3) of a Wavefront OBJ file; polygons are cut into fans.

    Raises:
        ValueError: the file holds no triangle, a line cannot be read, or a face names a vertex that is not there.
    """
    vertices: list[list[float]] = []
    faces: list[tuple[int, int, int]] = []
    for number, line in enumerate(Path(path).read_text(errors="replace").splitlines(), 1):
        words = line.split()
        try:
            if words[:1] == ["v"]:
                vertices.append([float(word) for word in words[1:4]])
            elif words[:1] == ["f"]:
                corners = [_vertex_number(word, len(vertices)) for word in words[1:]]
                faces += [(corners[0], corners[i], corners[i + 1]) for i in range(1, len(corners) - 1)]
        except ValueError:
            raise ValueError(f"{path}: line {number} must be a vertex or a face; got {line!r}; mend the file") from None
    triangles = np.array(faces, np.int32).reshape(-1, 3)
    if not len(triangles) or triangles.min() < 0 or triangles.max() >= len(vertices):
        raise ValueError(
            f"{path}: must hold triangles between its vertices; got {len(faces)} triangles and {len(vertices)} "
            "vertices; export the mesh again"
        )
    return np.array(vertices, float).reshape(-1, 3), triangles


def _vertex_number(word: str, count: int) -> int:
    number = int(word.split("/")[0])
    return number - 1 if number > 0 else count + number


def laid_flat(vertices: FloatArray, turn_deg: tuple[float, float, float] = (0, 0, 0)) -> FloatArray:
    """Vertices centred, turned so that the box's shortest side stands up, then about x, y and z; largest side 1."""
    order = np.argsort(-np.ptp(vertices, axis=0), kind="stable")
    turned = vertices[:, order]
    if np.linalg.det(np.eye(3)[order]) < 0:
        turned = turned * (1, -1, 1)
    turned = turned @ rotation(turn_deg).T
    low, high = turned.min(0), turned.max(0)
    return (turned - (low + high) / 2) / max(high - low)


def rotation(turn_deg: tuple[float, float, float]) -> FloatArray:
    """(3, 3) turn about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(turn_deg)):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[j, i], turn[i, j] = np.sin(angle), -np.sin(angle)
        matrix = turn @ matrix
    return matrix


def vertex_normals(vertices: FloatArray, triangles: NDArray[np.int32]) -> FloatArray:
    """(V, 3) unit normals, means over the triangles around weighted by area."""
    corners = vertices[triangles]
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], areas)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)


@dataclass(frozen=True)
class Body:
    """A closed or open mesh, with undercuts and everything behind them."""

    scene: Any
    """open3d.t.geometry.RaycastingScene."""
    low: Point
    """Least x, y, z, mm."""
    high: Point
    normals: Tensor
    """(V, 3)."""
    triangles: Tensor
    """(T, 3)."""
    texture: Chart
    gloss: Gloss = field(default_factory=Gloss)

    @staticmethod
    def of(vertices: FloatArray, triangles: NDArray[np.int32], texture: Chart, gloss: Gloss) -> Body:
        """A body from vertices in mm (x right, y down, z toward the camera)."""
        import open3d

        scene = open3d.t.geometry.RaycastingScene(nthreads=1)
        tensor = open3d.core.Tensor.from_numpy
        scene.add_triangles(tensor(vertices.astype(np.float32)), tensor(triangles.astype(np.uint32)))
        device = texture.image.device
        normals = torch.as_tensor(vertex_normals(vertices, triangles), dtype=torch.float32, device=device)
        corners = torch.as_tensor(triangles.astype(np.int64), device=device)
        low, high = ((float(x), float(y), float(z)) for x, y, z in (vertices.min(0), vertices.max(0)))
        return Body(scene, low, high, normals, corners, texture, gloss)

    def trace(self, rays: Rays, z: Tensor, colour: Tensor) -> None:
        """Write where the body lies nearer than z."""
        rows, columns = bounding_block(rays, self.low, self.high)
        if rows.stop <= rows.start or columns.stop <= columns.start:
            return
        x, y = (part.expand(rays.rows, rays.columns)[rows, columns] for part in rays.at(0.0))
        slope_x, slope_y = rays.slopes(rows, columns)
        top = self.high[2] + 1.0
        origin = torch.stack([x + slope_x * top, y + slope_y * top, torch.full_like(x, top)], dim=-1)
        direction = torch.stack([-slope_x, -slope_y, -torch.ones_like(x)], dim=-1)
        height, normal = self._cast(origin, direction, top)
        nearer = height > z[rows, columns]
        height, normal = height[nearer], normal[nearer].T
        slope = torch.stack([slope_x[nearer], slope_y[nearer], torch.ones_like(height)])
        point = torch.stack([x[nearer], y[nearer], torch.zeros_like(height)]) + slope * height
        z[rows, columns] = z[rows, columns].masked_scatter(nearer, height)
        shaded = self._colour(point, slope, normal)
        colour[:, rows, columns] = colour[:, rows, columns].masked_scatter(nearer[None], shaded)

    def _cast(self, origin: Tensor, direction: Tensor, top: float) -> tuple[Tensor, Tensor]:
        """Heights of the first hits, MISS where none, and normals (..., 3) toward the camera."""
        import open3d

        rays = torch.cat([origin, direction], dim=-1).cpu().contiguous().numpy()
        hits = self.scene.cast_rays(open3d.core.Tensor.from_numpy(rays), nthreads=1)
        device = origin.device
        distance = torch.from_numpy(hits["t_hit"].numpy()).to(device)
        met = torch.isfinite(distance)
        triangle = torch.from_numpy(hits["primitive_ids"].numpy().astype(np.int64)).to(device)
        share = torch.from_numpy(hits["primitive_uvs"].numpy()).to(device)
        corner = self.normals[self.triangles[torch.where(met, triangle, torch.zeros_like(triangle))]]
        weight = torch.cat([1 - share.sum(-1, keepdim=True), share], dim=-1)
        normal = torch.nn.functional.normalize((corner * weight[..., None]).sum(-2), dim=-1)
        normal = torch.where(((normal * direction).sum(-1) > 0)[..., None], -normal, normal)
        return torch.where(met, top - distance, torch.full_like(distance, MISS)), normal

    def _colour(self, point: Tensor, slope: Tensor, normal: Tensor) -> Tensor:
        colour = solid_colour(self.texture, point) * diffuse(normal)
        if self.gloss.strength > 0:
            colour = colour + highlight(normal, slope[0], slope[1], self.gloss)
        return colour
