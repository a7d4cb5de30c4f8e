"""Bundles of rays and the surfaces they meet.

Inside the simulator x runs right, y runs down (as image rows do) and z runs toward the camera, all in mm. A ray is
x(z) = x + slope_x z, y(z) = y + slope_y z: its height is its parameter, so the largest z is the nearest hit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

MISS = float("-inf")


@dataclass(frozen=True)
class Rays:
    """One ray a pixel of a square lattice laid over the plane z = 0."""

    left_mm: float
    """x of the first column."""
    top_mm: float
    """y of the first row."""
    rows: int
    columns: int
    pixel_mm: float
    slope_x: float | Tensor
    """One slope for all rays (a parallel bundle), or (1, columns)."""
    slope_y: float | Tensor
    """Likewise, or (rows, 1): where a ray is along x depends on its column and height alone."""
    device: torch.device

    @property
    def parallel(self) -> bool:
        """Whether all rays have one direction."""
        return not isinstance(self.slope_x, Tensor)

    @property
    def x(self) -> Tensor:
        """(1, columns) x at z = 0."""
        return (self.left_mm + self.pixel_mm * torch.arange(self.columns, device=self.device))[None].float()

    @property
    def y(self) -> Tensor:
        """(rows, 1) y at z = 0."""
        return (self.top_mm + self.pixel_mm * torch.arange(self.rows, device=self.device))[:, None].float()

    def at(self, z: Tensor | float) -> tuple[Tensor, Tensor]:
        """x and y of every ray at height z."""
        return self.x + self.slope_x * z, self.y + self.slope_y * z

    def block(self, rows: slice, columns: slice) -> Rays:
        """The rays of some rows and columns."""
        slope_x, slope_y = self.slope_x, self.slope_y
        return Rays(
            left_mm=self.left_mm + columns.start * self.pixel_mm,
            top_mm=self.top_mm + rows.start * self.pixel_mm,
            rows=rows.stop - rows.start,
            columns=columns.stop - columns.start,
            pixel_mm=self.pixel_mm,
            slope_x=slope_x[:, columns] if isinstance(slope_x, Tensor) else slope_x,
            slope_y=slope_y[rows] if isinstance(slope_y, Tensor) else slope_y,
            device=self.device,
        )

    def slope_range(self) -> tuple[float, float, float, float]:
        """Least and greatest slope along x, then along y."""
        if self.parallel:
            return float(self.slope_x), float(self.slope_x), float(self.slope_y), float(self.slope_y)
        x, y = torch.as_tensor(self.slope_x), torch.as_tensor(self.slope_y)
        return float(x.min()), float(x.max()), float(y.min()), float(y.max())

    def slopes(self, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        """The slopes of a block of rays, one a ray."""
        shape = self.rows, self.columns
        parts = (torch.as_tensor(s, device=self.device, dtype=torch.float32) for s in (self.slope_x, self.slope_y))
        across, down = (part.expand(shape)[rows, columns] for part in parts)
        return across, down


class Surface(Protocol):
    """Something rays can meet."""

    def trace(self, rays: Rays, z: Tensor, colour: Tensor) -> None:
        """Where the surface lies nearer than z, write its height and its colour.

        Args:
            rays: The rays.
            z: (rows, columns) heights hit so far, MISS where nothing was.
            colour: (3, rows, columns) linear colours seen so far.
        """
        ...


Surfaces = tuple[Surface, ...]


def trace(surfaces: Surfaces, rays: Rays) -> tuple[Tensor, Tensor]:
    """Height (rows, columns) and linear colour (3, rows, columns) of what each ray meets first."""
    z = torch.full((rays.rows, rays.columns), MISS, device=rays.device)
    colour = torch.zeros((3, rays.rows, rays.columns), device=rays.device)
    for surface in surfaces:
        surface.trace(rays, z, colour)
    return z, colour


@dataclass(frozen=True)
class Chart:
    """An image laid over the plane: a texture, or heights."""

    image: Tensor
    """(C, H, W)."""
    left_mm: float
    """x of the centre of the first column."""
    top_mm: float
    spacing_mm: float

    def nearest(self, x: Tensor, y: Tensor) -> Tensor:
        """Nearest values (C, rows, columns) at x (columns,) and y (rows,); those at the border beyond it."""
        _, height, width = self.image.shape
        column = ((x - self.left_mm) / self.spacing_mm).round().long().clamp(0, width - 1)
        row = ((y - self.top_mm) / self.spacing_mm).round().long().clamp(0, height - 1)
        return self.image.index_select(1, row).index_select(2, column)

    def sample(self, x: Tensor, y: Tensor) -> Tensor:
        """Bilinear values (C, ...) at points; mirrored beyond the borders."""
        channels, height, width = self.image.shape
        shape = x.shape if x.shape == y.shape else torch.broadcast_shapes(x.shape, y.shape)
        grid = torch.empty((*shape, 2), device=self.image.device)
        across, down = 2 / (self.spacing_mm * (width - 1)), 2 / (self.spacing_mm * (height - 1))
        torch.add(x * across, -self.left_mm * across - 1, out=grid[..., 0])
        torch.add(y * down, -self.top_mm * down - 1, out=grid[..., 1])
        grid = grid.view(1, math.prod(shape[:-1]), shape[-1], 2)
        values = F.grid_sample(self.image[None], grid, mode="bilinear", padding_mode="reflection", align_corners=True)
        return values.view(channels, *shape)


LIGHT = (-0.45, -0.55, 0.70)
"""Direction toward the light: from the upper left, in front."""
AMBIENT = 0.45


@dataclass(frozen=True)
class Gloss:
    """A highlight that moves with the viewpoint (Blinn 1977)."""

    strength: float = 0.0
    exponent: float = 60.0


def light_direction(device: torch.device) -> Tensor:
    """Unit vector toward the light."""
    direction = torch.tensor(LIGHT, device=device)
    return direction / direction.norm()


def diffuse(normal: Tensor) -> Tensor:
    """Lambert shading of unit normals (3, ...), with ambient light."""
    light = light_direction(normal.device)
    facing = torch.einsum("c,c...->...", light, normal).clamp(min=0)
    return AMBIENT + (1 - AMBIENT) / LIGHT_FACING * facing


LIGHT_FACING = LIGHT[2] / sum(part**2 for part in LIGHT) ** 0.5
"""Cosine between the light and the axis: shading is 1 on a plane that faces the camera."""


def unit(vectors: Tensor) -> Tensor:
    """Vectors (3, ...) scaled to length 1."""
    return vectors * torch.rsqrt((vectors * vectors).sum(0).clamp(min=1e-30))


def highlight(normal: Tensor, slope_x: Tensor | float, slope_y: Tensor | float, gloss: Gloss) -> Tensor:
    """Specular light seen along rays of these slopes from unit normals (3, ...)."""
    toward = torch.stack(
        torch.broadcast_tensors(
            torch.as_tensor(slope_x, device=normal.device, dtype=normal.dtype),
            torch.as_tensor(slope_y, device=normal.device, dtype=normal.dtype),
            torch.ones_like(normal[0]),
        )
    )
    light = light_direction(normal.device).reshape(3, *(1,) * (normal.dim() - 1))
    half = unit(unit(toward) + light)
    return gloss.strength * (half * normal).sum(0).clamp(min=0) ** gloss.exponent
