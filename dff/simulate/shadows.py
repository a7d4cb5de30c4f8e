"""Shadows cast on reliefs by everything in a scene, baked into their textures: light does not move with the view."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dff.simulate.rays import LIGHT, MISS, Rays, Surfaces, trace
from dff.simulate.surfaces import Relief

LAMP_SAMPLES = 12
LAMP_SPREAD = 0.16
"""Radius of the lamp seen from the scene, as a slope."""
DARKNESS = 0.5
"""Share of the light that comes from the lamp alone."""
STRIDE = 2
"""Pixels between the points whose shadow is found."""


def with_shadows(surfaces: Surfaces) -> Surfaces:
    """The scene with its reliefs' textures darkened where other parts of it stand before the lamp."""
    reliefs = tuple(surface for surface in surfaces if isinstance(surface, Relief))
    others = tuple(surface for surface in surfaces if not isinstance(surface, Relief))
    return tuple(_shaded(part, reliefs, others) if isinstance(part, Relief) else part for part in surfaces)


def _shaded(ground: Relief, reliefs: tuple[Relief, ...], others: Surfaces) -> Relief:
    height = ground.heights.image[0, ::STRIDE, ::STRIDE]
    top = torch.stack([_over(ground, relief) for relief in reliefs]).amax(0)
    blocked = torch.zeros_like(height)
    for number in range(LAMP_SAMPLES):
        radius = LAMP_SPREAD * math.sqrt((number + 0.5) / LAMP_SAMPLES)
        angle = number * math.pi * (3 - math.sqrt(5))
        slopes = LIGHT[0] / LIGHT[2] + radius * math.cos(angle), LIGHT[1] / LIGHT[2] + radius * math.sin(angle)
        shadow = _by_relief(height, top, slopes, ground.heights.spacing_mm * STRIDE)
        if others:
            shadow |= _by_others(ground, height, others, slopes)
        blocked += shadow / LAMP_SAMPLES
    size = ground.texture.image.shape[1:]
    lit = F.interpolate((1 - DARKNESS * blocked)[None, None], size, mode="bilinear", align_corners=True)[0]
    image = torch.cat([ground.texture.image[:3] * lit, ground.texture.image[3:]])
    return replace(ground, texture=replace(ground.texture, image=image))


def _over(ground: Relief, relief: Relief) -> Tensor:
    """(H, W) heights of a relief over another's points; MISS beside it."""
    chart, other = ground.heights, relief.heights
    _, height, width = chart.image.shape
    x = chart.left_mm + chart.spacing_mm * torch.arange(0, width, STRIDE, device=chart.image.device)
    y = chart.top_mm + chart.spacing_mm * torch.arange(0, height, STRIDE, device=chart.image.device)
    beside_x, beside_y = (x < relief.low[0]) | (x > relief.high[0]), (y < relief.low[1]) | (y > relief.high[1])
    return other.nearest(x, y)[0].masked_fill(beside_x[None] | beside_y[:, None], MISS)


def _by_relief(height: Tensor, top: Tensor, slopes: tuple[float, float], spacing_mm: float) -> Tensor:
    """(H, W) where the highest relief stands on the way to the lamp, stepping a pixel at a time."""
    rows, columns = height.shape
    rise = spacing_mm / max(abs(slopes[0]), abs(slopes[1]))
    shadow = torch.zeros_like(height, dtype=torch.bool)
    row, column = torch.arange(rows, device=height.device), torch.arange(columns, device=height.device)
    for step in range(1, math.ceil(float(top.max() - height.min()) / rise) + 1):
        climb = step * rise
        there = (row + round(slopes[1] * climb / spacing_mm)).clamp(0, rows - 1)
        where = (column + round(slopes[0] * climb / spacing_mm)).clamp(0, columns - 1)
        shadow |= top.index_select(0, there).index_select(1, where) > height + climb + spacing_mm
    return shadow


def _by_others(ground: Relief, height: Tensor, others: Surfaces, slopes: tuple[float, float]) -> Tensor:
    """(H, W) where a body stands on the way from the ground to the lamp."""
    pixel = ground.heights.spacing_mm * STRIDE
    spans = [math.ceil(abs(slope) * ground.high[2] / pixel) for slope in slopes]
    rays = Rays(
        left_mm=ground.heights.left_mm - (spans[0] * pixel if slopes[0] > 0 else 0),
        top_mm=ground.heights.top_mm - (spans[1] * pixel if slopes[1] > 0 else 0),
        rows=height.shape[0] + spans[1],
        columns=height.shape[1] + spans[0],
        pixel_mm=pixel,
        slope_x=slopes[0],
        slope_y=slopes[1],
        device=height.device,
    )
    first, _ = trace(others, rays)
    x = ground.heights.left_mm + pixel * torch.arange(height.shape[1], device=height.device)[None] - slopes[0] * height
    y = ground.heights.top_mm + pixel * torch.arange(height.shape[0], device=height.device)[:, None]
    y = y - slopes[1] * height
    column = ((x - rays.left_mm) / pixel).round().long().clamp(0, rays.columns - 1)
    row = ((y - rays.top_mm) / pixel).round().long().clamp(0, rays.rows - 1)
    return (first > MISS)[row, column] & (first[row, column] > height + pixel)
