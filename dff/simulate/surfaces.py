"""Shapes a scene is made of: reliefs (height fields), and beads and bristles (spheres swept along segments)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from dff.simulate.rays import MISS, Chart, Gloss, Rays, diffuse, highlight

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
        """Heights of the field under every ray where it passes a level."""
        if not rays.parallel:
            return self.heights.sample(*rays.at(level))[0]
        column = round((rays.left_mm + float(rays.slope_x) * level - self.heights.left_mm) / rays.pixel_mm)
        row = round((rays.top_mm + float(rays.slope_y) * level - self.heights.top_mm) / rays.pixel_mm)
        _, height, width = self.heights.image.shape
        inside = 0 <= row <= height - rays.rows and 0 <= column <= width - rays.columns
        if not inside or abs(self.heights.spacing_mm / rays.pixel_mm - 1) > 1e-6:
            return self.heights.sample(*rays.at(level))[0]
        return self.heights.image[0, row : row + rays.rows, column : column + rays.columns]

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
        return F.normalize(torch.stack([-across, -down, torch.ones_like(across)]), dim=0)


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
        rows, columns = self._boxes(rays)
        flat, which = _inside(rows, columns, rays)
        if flat.numel() == 0:
            return
        origin, slope = _rays_of(rays, flat)
        height, normal = self._hit(origin, slope, which)
        met = height > MISS
        flat, which, height, normal = flat[met], which[met], height[met], normal[:, met]
        nearest = z.view(-1).scatter_reduce(0, flat, height, "amax")
        first = (height == nearest[flat]) & (height > z.view(-1)[flat])
        flat, which, height, normal = flat[first], which[first], height[first], normal[:, first]
        origin, slope = origin[:, met][:, first], slope[:, met][:, first]
        colour.view(3, -1)[:, flat] = self._colour(origin + slope * height, slope, normal, which)
        z.view(-1)[flat] = height

    def _boxes(self, rays: Rays) -> tuple[Tensor, Tensor]:
        """(M, rows) and (M, columns) lattice numbers around each rod's picture."""
        x_low, x_high, y_low, y_high = rays.slope_range()
        boxes = []
        for axis, origin, slopes in ((1, rays.top_mm, (y_low, y_high)), (0, rays.left_mm, (x_low, x_high))):
            ends = torch.stack([e[:, axis] - s * e[:, 2] for e in (self.start, self.end) for s in slopes])
            margin = self.radius * (1 + max(abs(slope) for slope in slopes)) + rays.pixel_mm
            first = ((ends.min(0).values - margin - origin) / rays.pixel_mm).floor().long()
            last = ((ends.max(0).values + margin - origin) / rays.pixel_mm).ceil().long()
            span = int((last - first).max()) + 1
            boxes.append(first[:, None] + torch.arange(span, device=rays.device))
        return boxes[0], boxes[1]

    def _hit(self, origin: Tensor, slope: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Height (P,) and unit normal (3, P) of the nearest hit of each ray with its rod; MISS where there is none."""
        axis = (self.end - self.start).T[:, which]
        radius = self.radius[which]
        start = self.start.T[:, which]
        level = start[2]
        offset = origin + slope * level - start
        length2, along, away = (axis**2).sum(0), (axis * slope).sum(0), (axis * offset).sum(0)
        a = (slope**2).sum(0) * length2 - along**2
        b = length2 * (slope * offset).sum(0) - away * along
        c = length2 * ((offset**2).sum(0) - radius**2) - away**2
        root = b**2 - a * c
        height = (root.clamp(min=0).sqrt() - b) / torch.where(a > 0, a, torch.ones_like(a))
        position = away + height * along
        on_side = (position > 0) & (position < length2) & (root >= 0)
        cap = start + axis * (position > 0.5 * length2)
        cap_height = cap[2] + _sphere_height(origin + slope * cap[2] - cap, slope, radius)
        height = torch.where(on_side, level + height, cap_height)
        foot = torch.where(on_side, start + axis * (position / length2.clamp(min=1e-20)), cap)
        return height, (origin + slope * height.clamp(min=-1e6) - foot) / radius

    def _colour(self, point: Tensor, slope: Tensor, normal: Tensor, which: Tensor) -> Tensor:
        wander = which * (self.texture.spacing_mm * 37.3)
        texture = self.texture.sample(
            point[0] + 0.41 * point[2] + wander, point[1] + 0.33 * point[2] + 0.7 * wander
        ).reshape(3, -1)
        colour = texture * self.tint.T[:, which] * diffuse(normal)
        if self.gloss.strength > 0:
            colour = colour + highlight(normal, slope[0], slope[1], self.gloss)
        return colour


def _inside(rows: Tensor, columns: Tensor, rays: Rays) -> tuple[Tensor, Tensor]:
    """Flat lattice numbers (P,) of all boxes' pixels inside the bundle, and the rod each belongs to."""
    r, c = rows[:, :, None], columns[:, None, :]
    inside = (r >= 0) & (r < rays.rows) & (c >= 0) & (c < rays.columns)
    which = torch.arange(len(rows), device=rows.device)[:, None, None].expand(inside.shape)
    return (r * rays.columns + c)[inside], which[inside]


def _rays_of(rays: Rays, flat: Tensor) -> tuple[Tensor, Tensor]:
    """Origins (3, P) at z = 0 and directions (3, P) per unit of height of some rays."""
    x = rays.left_mm + rays.pixel_mm * (flat % rays.columns)
    y = rays.top_mm + rays.pixel_mm * torch.div(flat, rays.columns, rounding_mode="floor")
    one = torch.ones_like(x)
    slopes = [s.reshape(-1)[flat] if isinstance(s, Tensor) else one * s for s in (rays.slope_x, rays.slope_y)]
    return torch.stack([x, y, torch.zeros_like(x)]), torch.stack([*slopes, one])


def _sphere_height(offset: Tensor, slope: Tensor, radius: Tensor) -> Tensor:
    """Highest crossing of rays with spheres, from the rays' origins relative to the centres; MISS where none."""
    a, b = (slope**2).sum(0), (slope * offset).sum(0)
    root = b**2 - a * ((offset**2).sum(0) - radius**2)
    return torch.where(root >= 0, (root.clamp(min=0).sqrt() - b) / a, torch.full_like(a, MISS))
