"""Shapes a scene is made of: reliefs (height fields), and beads and bristles (spheres swept along segments)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dff.simulate.rays import MISS, Chart, Gloss, Rays, diffuse, highlight, unit

SLICE_PX = 1.0
"""Sideways travel of the steepest ray between two slices of a relief."""
BISECTIONS = 12
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Relief:
    """A height field with a texture; rays are marched down through slices of equal height.

    In a parallel bundle all rays at one height are the height field moved by one shift, so a slice costs a
    comparison of two pictures. Inside its slice a crossing is found by one step of fixed-point iteration (rays lean by
    less than surfaces rise), or by bisection for the rays of the truth.
    """

    heights: Chart
    """(1, H, W) mm."""
    texture: Chart
    """(3, H, W) linear albedo with the shading already in it; (5, H, W) with the slopes along x and y for gloss."""
    gloss: Gloss
    low: Point
    """Least x, y and z of the part that can be seen."""
    high: Point

    @staticmethod
    def of(heights: Chart, texture: Chart, gloss: Gloss, seen: tuple[slice, slice] | None = None) -> Relief:
        """A relief that knows its own extent; of its rows and columns only some may ever be seen."""
        spacing = heights.spacing_mm
        rows, columns = seen or (slice(0, heights.image.shape[1]), slice(0, heights.image.shape[2]))
        low = heights.left_mm + columns.start * spacing, heights.top_mm + rows.start * spacing
        high = heights.left_mm + (columns.stop - 1) * spacing, heights.top_mm + (rows.stop - 1) * spacing
        least, most = float(heights.image.min()), float(heights.image.max())
        return Relief(heights, texture, gloss, (*low, least), (*high, max(most, least + 1e-6)))

    def trace(self, rays: Rays, z: Tensor, colour: Tensor) -> None:
        """Write where the relief lies nearer than z."""
        rows, columns = bounding_block(rays, self.low, self.high)
        if rows.stop <= rows.start or columns.stop <= columns.start:
            return
        block = rays.block(rows, columns)
        hit = self._hit(block)
        x, y = block.at(hit)
        seen = self.texture.sample(x, y)
        light = seen[:3]
        if self.gloss.strength > 0:
            normal = unit(torch.stack([-seen[3], -seen[4], torch.ones_like(seen[3])]))
            light = light + highlight(normal, block.slope_x, block.slope_y, self.gloss)
        nearer = hit > z[rows, columns]
        colour[:, rows, columns] = torch.where(nearer, light, colour[:, rows, columns])
        z[rows, columns] = torch.where(nearer, hit, z[rows, columns])

    def _hit(self, rays: Rays) -> Tensor:
        """(rows, columns) heights at which rays first meet the field."""
        slice_low, thickness = self._march(rays)
        # The march compared nearest heights, so the crossing may lie a little beyond its slice.
        low, high = slice_low - thickness, slice_low + 2 * thickness
        if rays.parallel:
            return torch.clamp(self.heights.sample(*rays.at(slice_low + 0.5 * thickness))[0], low, high)
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            inside = self.heights.sample(*rays.at(middle))[0] >= middle
            low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
        return 0.5 * (low + high)

    def _march(self, rays: Rays) -> tuple[Tensor, float]:
        """The highest slice below the surface along each ray, and the thickness of a slice."""
        steepest = max(abs(slope) for slope in rays.slope_range())
        low, depth = self.low[2], self.high[2] - self.low[2]
        slices = max(1, math.ceil(steepest * depth / rays.pixel_mm / SLICE_PX))
        thickness = depth / slices
        hit = torch.full((rays.rows, rays.columns), low, device=rays.device)
        for number in range(1, slices):
            level = low + number * thickness
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
        if won.numel() == 0:
            return
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


def bounding_block(rays: Rays, low: Point, high: Point) -> tuple[slice, slice]:
    """Rows and columns of the rays that can meet a box.

    Args:
        rays: The rays.
        low: Least x, y and z of the box.
        high: Greatest.
    """
    x_low, x_high, y_low, y_high = rays.slope_range()
    block = []
    for axis, origin, count, slopes in (
        (1, rays.top_mm, rays.rows, (y_low, y_high)),
        (0, rays.left_mm, rays.columns, (x_low, x_high)),
    ):
        travel = [slope * z for slope in slopes for z in (low[2], high[2])]
        first = math.floor((low[axis] - max(travel) - origin) / rays.pixel_mm)
        last = math.ceil((high[axis] - min(travel) - origin) / rays.pixel_mm) + 1
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
