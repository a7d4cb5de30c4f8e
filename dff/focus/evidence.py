"""What a network for whole stacks is shown of each frame, on a lattice of cells, relative to the noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dff import filters
from dff.focus import operators
from dff.focus.measure import CELL

PIXELS = CELL * CELL
FINE_SIGMA_PX = 1.2
WIDE_SIGMA_CELLS = 0.75
BROAD_SIGMA_CELLS = 2.0
CELL_CHANNELS = 3
ENERGY_FLOOR = 0.1
"""Energy added before the logarithm, as a share of that of the noise."""
NOISE_FLOOR = 4e-7
"""Least variance of noise: that of rounding to 8 bits, after the filter along the stack. JPEG leaves less than that in
the finest detail where it is smooth, though not in coarser detail."""

_RING = operators.ring_kernel(1.0, 1.0, 1.0)
RING = (_RING / np.linalg.norm(_RING)).astype(np.float32)
"""The ring-difference filter of unit norm,"""
CORNER = (np.outer([1, -2, 1], [1, -2, 1]) / 6).astype(np.float32)
"""and that of the finest diagonal detail."""


@dataclass(frozen=True)
class Survey:
    """What has to be known of a whole stack before any of its frames can be shown."""

    ring: Tensor
    """(N, H, W) squared answers of the ring-difference filter."""
    cells: Tensor
    """(N, h, w, 3) logarithm of that energy around the cell in a wide and in a broad window, relative to the noise;
    low-pass change against the stack's mean."""
    noise: Tensor
    """(h, w, 1) variance of the noise around every cell: the least energy that any frame has there in the finest
    detail, where defocus leaves nothing."""
    contrast: Tensor
    """(h, w) logarithm of the largest over the least energy of the frames in a broad window: noise alone has little."""


def survey(planes: Tensor) -> Survey:
    """What a stack (N, H, W) of luminance shows as a whole; H and W are multiples of CELL."""
    parts = [planes] if filters.exporting() else planes.split(1)
    noise = torch.cat([corner_energy(part) for part in parts]).amin(0) + NOISE_FLOOR
    ring = filters.map_planes(ring_energy, planes)
    cell, mean = cell_mean(ring), cell_mean(planes)
    wide, broad = (above_noise(filters.gaussian(cell, s), noise) for s in (WIDE_SIGMA_CELLS, BROAD_SIGMA_CELLS))
    low = torch.asinh((mean - mean.mean(0)) / (4 * noise.sqrt()))
    return Survey(ring, torch.stack([wide, broad, low], -1), noise[..., None], broad.amax(0) - broad.amin(0))


def cell_mean(planes: Tensor) -> Tensor:
    """(N, H, W) → (N, h, w)."""
    return F.avg_pool2d(planes[:, None], CELL)[:, 0]


def in_cells(planes: Tensor) -> Tensor:
    """(N, H, W) → (N, h, w, 16): a channel for every pixel of a cell."""
    count, height, width = planes.shape
    cells = planes.view(count, height // CELL, CELL, width // CELL, CELL).transpose(2, 3)
    return cells.reshape(count, height // CELL, width // CELL, PIXELS)


def ring_energy(planes: Tensor) -> Tensor:
    """(N, H, W) squared answers of the ring-difference filter of unit norm."""
    return filters.correlate(planes, RING).square_()


def corner_answers(planes: Tensor) -> Tensor:
    """(N, H, W) squared answers of the filter of the finest diagonal detail, those to white noise being 1."""
    return filters.correlate(planes, CORNER).square_()


def corner_energy(planes: Tensor) -> Tensor:
    """(N, H, W) → (N, h, w) energy around every cell in the finest diagonal detail."""
    return filters.gaussian(cell_mean(corner_answers(planes)), BROAD_SIGMA_CELLS)


def pixels_in_noise(planes: Tensor, noise: Tensor) -> Tensor:
    """(N, H, W) → (N, h, w, 16) luminance in standard deviations of the noise."""
    return in_cells(planes) * noise.rsqrt()


def fine_energy(ring: Tensor, noise: Tensor) -> Tensor:
    """(N, H, W) → (N, h, w, 16) logarithm of the ring-difference energy around every pixel, relative to the noise."""
    return above_noise(in_cells(fine_mean(ring)), noise)


def fine_mean(ring: Tensor) -> Tensor:
    """(N, H, W) the ring-difference energy around every pixel."""
    return filters.gaussian(ring, FINE_SIGMA_PX)


def above_noise(energy: Tensor, noise: Tensor) -> Tensor:
    """Logarithm of an energy over that of the noise."""
    return (energy / noise).add_(ENERGY_FLOOR).log_()
