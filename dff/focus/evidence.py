"""What a network for whole stacks is shown of each frame, on a lattice of cells, relative to the noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dff import filters
from dff.focus import operators

CELL = 4
"""Pixels along the side of a lattice cell."""
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


@dataclass(frozen=True)
class Evidence:
    """What the network is shown of a stack, on the lattice of h x w cells; all of it relative to the noise."""

    pixels: Tensor
    """(N, 16, h, w) luminance in standard deviations of the noise, a channel for every pixel of a cell."""
    fine: Tensor
    """(N, 16, h, w) logarithm of the ring-difference energy around every pixel."""
    cells: Tensor
    """(N, 3, h, w) the same around the cell in a wide and a broad window; low-pass change against the stack's mean."""


@dataclass(frozen=True)
class Survey:
    """What has to be known of a whole stack before any of its frames can be shown."""

    mean: Tensor
    """(H, W) mean luminance."""
    noise: Tensor
    """(h, w) variance of the noise around every cell: the least energy that any frame has there in the finest detail,
    where defocus leaves nothing."""
    contrast: Tensor
    """(h, w) logarithm of the largest over the least energy of the frames in a broad window: noise alone has little."""


def survey(planes: Tensor) -> Survey:
    """Mean, noise and contrast of a stack (N, H, W) of luminance; H and W are multiples of CELL."""
    noise = torch.stack([corner_energy(plane[None])[0] for plane in planes]).amin(0) + NOISE_FLOOR
    cells = [F.avg_pool2d(ring_energy(plane[None]), CELL) for plane in planes]
    broad = above_noise(filters.gaussian(torch.cat(cells), BROAD_SIGMA_CELLS), noise)
    return Survey(planes.mean(0), noise, broad.amax(0) - broad.amin(0))


def ring_energy(planes: Tensor) -> Tensor:
    """(N, H, W) squared answers of the ring-difference filter of unit norm."""
    kernel = operators.ring_kernel(1.0, 1.0, 1.0)
    return filters.correlate(planes, (kernel / np.linalg.norm(kernel)).astype(np.float32)).square_()


def corner_energy(planes: Tensor) -> Tensor:
    """(N, H, W) → (N, h, w) energy around every cell in the finest diagonal detail, that of white noise being 1."""
    corner = (np.outer([1, -2, 1], [1, -2, 1]) / 6).astype(np.float32)
    energy = F.avg_pool2d(filters.correlate(planes, corner).square_()[:, None], CELL)[:, 0]
    return filters.gaussian(energy, BROAD_SIGMA_CELLS)


def observe(planes: Tensor, whole: Survey) -> Evidence:
    """What the network is shown of some frames (N, H, W) of a stack."""
    ring = ring_energy(planes)
    taps = filters.gaussian_kernel(FINE_SIGMA_PX)
    fine = F.pixel_unshuffle(filters.separable(ring, taps, taps)[:, None], CELL)
    cell = F.avg_pool2d(ring[:, None], CELL)[:, 0]
    energies = [filters.gaussian(cell, sigma) for sigma in (WIDE_SIGMA_CELLS, BROAD_SIGMA_CELLS)]
    low = F.avg_pool2d((planes - whole.mean)[:, None], CELL)[:, 0] / whole.noise.sqrt()
    cells = [*(above_noise(energy, whole.noise) for energy in energies), torch.asinh(low / 4)]
    pixels = F.pixel_unshuffle(planes[:, None], CELL) / whole.noise.sqrt()
    return Evidence(pixels, above_noise(fine, whole.noise), torch.stack(cells, 1))


def above_noise(energy: Tensor, noise: Tensor) -> Tensor:
    """Logarithm of an energy over that of the noise."""
    return (energy / noise + ENERGY_FLOOR).log()
