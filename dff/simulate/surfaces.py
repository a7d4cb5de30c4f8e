"""Shapes a scene is made of: reliefs (height fields), and beads and bristles (spheres swept along segments)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dff.simulate.rays import MISS, Chart, Gloss, Rays, diffuse, highlight, unit
from dff.stack import FloatArray

SLICE_PX = 1.0
"""Sideways travel of the steepest ray between two slices of a relief."""


@dataclass(frozen=True)
class Relief:
    """A height field with a texture; rays are marched down through slices of equal height.

    In a parallel bundle all rays at one height are the height field moved by one shift, so a slice costs a
    comparison of two pictures. The crossing is then refined by one secant step on bilinear heights.
    """

    heights: Chart
    """(1, H, W) mm."""
    texture: Chart
    """(3, H, W) linear albedo with the shading already in it."""
    gloss: Gloss = field(default_factory=Gloss)
    low_mm: float = 0.0
    high_mm: float = 0.0

    @staticmethod
    def of(heights: Chart, texture: Chart, gloss: Gloss | None = None) -> Relief:
        """A relief that knows its own range of heights."""
        low, high = float(heights.image.min()), float(heights.image.max())
        return Relief(heights, texture, gloss or Gloss(), low, max(high, low + 1e-6))

    def trace(self, rays: Rays, z: Tensor, colour: Tensor) -> None:
        """Write where the relief lies nearer than z."""
        hit, thickness = self._march(rays)
        hit = self._refine(rays, hit, thickness)
        x, y = rays.at(hit)
        seen = self.texture.sample(x, y)
        if self.gloss.strength > 0:
            seen = seen + highlight(self._normal(x, y), rays.slope_x, rays.slope_y, self.gloss)
        nearer = hit > z
        colour.copy_(torch.where(nearer, seen, colour))
        z.copy_(torch.where(nearer, hit, z))

    def _march(self, rays: Rays) -> tuple[Tensor, float]:
        """The highest slice below the surface along each ray, and the thickness of a slice."""
        steepest = max(abs(slope) for slope in rays.slope_range())
        travel_px = steepest * (self.high_mm - self.low_mm) / rays.pixel_mm
        slices = max(1, math.ceil(travel_px / SLICE_PX))
        thickness = (self.high_mm - self.low_mm) / slices
        hit = torch.full((rays.rows, rays.columns), self.low_mm, device=rays.device)
        for number in range(1, slices):
            level = self.low_mm + number * thickness
            hit.masked_fill_(self._heights_at(rays, level) >= level, level)
        return hit, thickness

    def _heights_at(self, rays: Rays, level: float) -> Tensor:
        """Nearest heights of the field under every ray where it passes a level."""
        chart = self.heights
        if rays.parallel and abs(chart.spacing_mm / rays.pixel_mm - 1) < 1e-6:
            column = round((rays.left_mm + float(rays.slope_x) * level - chart.left_mm) / rays.pixel_mm)
            row = round((rays.top_mm + float(rays.slope_y) * level - chart.top_mm) / rays.pixel_mm)
            _, height, width = chart.image.shape
            if 0 <= row <= height - rays.rows and 0 <= column <= width - rays.columns:
                return chart.image[0, row : row + rays.rows, column : column + rays.columns]
        x, y = rays.at(level)
        return chart.nearest(x[0], y[:, 0])[0]

    def _refine(self, rays: Rays, hit: Tensor, thickness: float) -> Tensor:
        below = self.heights.sample(*rays.at(hit))[0] - hit
        above = self.heights.sample(*rays.at(hit + thickness))[0] - (hit + thickness)
        fall = below - above
        # The march compared the nearest heights, so the crossing may lie a little beyond its slice.
        share = torch.where(fall > 1e-3 * thickness, below / fall, torch.zeros_like(fall)).clamp(-1, 2)
        return hit + thickness * share

    def _normal(self, x: Tensor, y: Tensor) -> Tensor:
        span = self.heights.spacing_mm
        across = (self.heights.sample(x + span, y)[0] - self.heights.sample(x - span, y)[0]) / (2 * span)
        down = (self.heights.sample(x, y + span)[0] - self.heights.sample(x, y - span)[0]) / (2 * span)
        return unit(torch.stack([-across, -down, torch.ones_like(across)]))


@dataclass(frozen=True)
class Rods:
    """Spheres swept along segments: beads (both ends in one place) and the pieces of bristles."""

    start: Tensor
    """(M, 3) x, y, z of one end, mm."""
    end: Tensor
    """(M, 3) of the other."""
    radius: Tensor
    """(M,) mm."""
    tint: Tensor
    """(M, 3) factors on the texture's colour."""
    texture: Chart
    gloss: Gloss = field(default_factory=Gloss)

    def trace(self, rays: Rays, z: Tensor, colour: Tensor) -> None:
        """Write where a rod lies nearer than z."""
        flat, which = self._candidates(rays)
        if flat.numel() == 0:
            return
        origin, slope = _rays_of(rays, flat)
        height = self._height(origin, slope, which)
        before = z.view(-1).clone()
        z.view(-1).scatter_reduce_(0, flat, height, "amax")
        won = ((height == z.view(-1)[flat]) & (height > before[flat])).nonzero()[:, 0]
        flat, which, slope = flat[won], which[won], slope[:, won]
        point = origin[:, won] + slope * height[won]
        colour.view(3, -1)[:, flat] = self._colour(point, slope, which)

    def _candidates(self, rays: Rays) -> tuple[Tensor, Tensor]:
        """Flat lattice numbers (P,) of the pixels around each rod's picture, and the rod (P,) each belongs to."""
        x_low, x_high, y_low, y_high = rays.slope_range()
        inside, numbers = [], []
        for axis, origin, count, slopes in (
            (1, rays.top_mm, rays.rows, (y_low, y_high)),
            (0, rays.left_mm, rays.columns, (x_low, x_high)),
        ):
            ends = torch.stack([e[:, axis] - s * e[:, 2] for e in (self.start, self.end) for s in slopes])
            margin = self.radius * (1 + max(abs(slope) for slope in slopes))
            first = ((ends.min(0).values - margin - origin) / rays.pixel_mm).ceil().long().clamp(min=0)
            last = ((ends.max(0).values + margin - origin) / rays.pixel_mm).floor().long().clamp(max=count - 1)
            span = max(int((last - first).max()) + 1, 0)
            number = first[:, None] + torch.arange(span, device=rays.device)
            numbers.append(number)
            inside.append(number <= last[:, None])
        within = (inside[0][:, :, None] & inside[1][:, None, :]).nonzero()
        which = within[:, 0]
        return numbers[0][which, within[:, 1]] * rays.columns + numbers[1][which, within[:, 2]], which

    def _height(self, origin: Tensor, slope: Tensor, which: Tensor) -> Tensor:
        """Height (P,) of the nearest hit of each ray with its rod, MISS where there is none (capsule: Quilez 2016)."""
        axis, start, radius = (self.end - self.start).T[:, which], self.start.T[:, which], self.radius[which]
        level = start[2]
        offset = origin + slope * level - start
        length2, along, away = _dot(axis, axis), _dot(axis, slope), _dot(axis, offset)
        a = _dot(slope, slope) * length2 - along**2
        b = length2 * _dot(slope, offset) - away * along
        c = length2 * (_dot(offset, offset) - radius**2) - away**2
        root = b**2 - a * c
        height = (root.clamp(min=0).sqrt() - b) / torch.where(a > 0, a, torch.ones_like(a))
        position = away + height * along
        on_side = (position > 0) & (position < length2) & (root >= 0)
        cap = start + axis * (position > 0.5 * length2)
        cap_height = cap[2] + _sphere_height(origin + slope * cap[2] - cap, slope, radius)
        return torch.where(on_side, level + height, cap_height)

    def _normal(self, point: Tensor, which: Tensor) -> Tensor:
        """Unit normals (3, P) at points of rods."""
        start = self.start.T[:, which]
        axis = self.end.T[:, which] - start
        share = (_dot(point - start, axis) / _dot(axis, axis).clamp(min=1e-20)).clamp(0, 1)
        return (point - start - axis * share) / self.radius[which]

    def _colour(self, point: Tensor, slope: Tensor, which: Tensor) -> Tensor:
        normal = self._normal(point, which)
        colour = solid_colour(self.texture, point, which) * self.tint.T[:, which] * diffuse(normal)
        if self.gloss.strength > 0:
            colour = colour + highlight(normal, slope[0], slope[1], self.gloss)
        return colour


def bounding_block(rays: Rays, low: FloatArray, high: FloatArray) -> tuple[slice, slice]:
    """Rows and columns of the rays that can meet a box.

    Args:
        rays: The rays.
        low: (3,) least x, y and z of the box.
        high: (3,) greatest.
    """
    x_low, x_high, y_low, y_high = rays.slope_range()
    block = []
    for axis, origin, count, slopes in (
        (1, rays.top_mm, rays.rows, (y_low, y_high)),
        (0, rays.left_mm, rays.columns, (x_low, x_high)),
    ):
        travel = [slope * z for slope in slopes for z in (float(low[2]), float(high[2]))]
        first = math.floor((float(low[axis]) - max(travel) - origin) / rays.pixel_mm)
        last = math.ceil((float(high[axis]) - min(travel) - origin) / rays.pixel_mm) + 1
        block.append(slice(max(0, first), min(count, last)))
    return block[0], block[1]


def solid_colour(texture: Chart, point: Tensor, which: Tensor | int = 0) -> Tensor:
    """Colours (3, P) of points in space, the texture drawn through the body at a slant, shifted from body to body."""
    wander = which * (texture.spacing_mm * 37.3)
    x, y = point[0] + 0.41 * point[2] + wander, point[1] + 0.33 * point[2] + 0.7 * wander
    return texture.sample(x, y).reshape(3, -1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _rays_of(rays: Rays, flat: Tensor) -> tuple[Tensor, Tensor]:
    """Origins (3, P) at z = 0 and directions (3, P) per unit of height of some rays."""
    x = rays.left_mm + rays.pixel_mm * (flat % rays.columns)
    y = rays.top_mm + rays.pixel_mm * torch.div(flat, rays.columns, rounding_mode="floor")
    one = torch.ones_like(x)
    across, down = rays.slopes(slice(None), slice(None))
    slopes = (
        (one * rays.slope_x, one * rays.slope_y)
        if rays.parallel
        else (across.reshape(-1)[flat], down.reshape(-1)[flat])
    )
    return torch.stack([x, y, torch.zeros_like(x)]), torch.stack([*slopes, one])


def _sphere_height(offset: Tensor, slope: Tensor, radius: Tensor) -> Tensor:
    """Highest crossing of rays with spheres, from the rays' origins relative to the centres; MISS where none."""
    a, b = _dot(slope, slope), _dot(slope, offset)
    root = b**2 - a * (_dot(offset, offset) - radius**2)
    return torch.where(root >= 0, (root.clamp(min=0).sqrt() - b) / a, torch.full_like(a, MISS))
