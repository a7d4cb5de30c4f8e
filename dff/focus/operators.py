"""Focus operators: how much fine detail each frame shows around each pixel.

Every operator is a bank of small high-pass filters whose squared answers are added up. Kernels are scaled so that
white noise of variance s² gives energy s² in all of them: volumes of different operators share one noise floor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff import filters
from dff.focus.energies import SymmetricEnergy
from dff.focus.measure import FocusMeasure

Kernel = NDArray[np.float32]

ENERGY_FLOOR = 1e-10
"""Energy added before the logarithm: far below one step of a 16-bit image."""
COARSE_RING = (1.0, 1.0, 1.0)
"""Radius of the disk, width of the gap and of the ring, px, for stacks of coarse steps."""


def windowed_log_energy(
    name: str, summary: str, energy: Callable[[Tensor], Tensor], *, reach_px: int, window_sigma_px: float
) -> FocusMeasure:
    """A focus measure from the energy of single pixels.

    Args:
        name: Name in the registry.
        summary: One line for lists.
        energy: (N, H, W) luminance → (N, H, W) energy.
        reach_px: Pixels on either side that `energy` depends on.
        window_sigma_px: Standard deviation of the Gaussian window the energy is averaged over; 0 averages nothing.

    Raises:
        ValueError: a negative window.
    """
    if not window_sigma_px >= 0:
        raise ValueError(f"window_sigma_px: must be at least 0; got {window_sigma_px}; give a window in px")
    taps = filters.gaussian_kernel(window_sigma_px)

    def logits(images: Tensor) -> Tensor:
        return filters.map_planes(
            lambda planes: filters.separable(energy(planes), taps, taps).add_(ENERGY_FLOOR).log_(), images[:, 0]
        )

    samples = max(1.0, 2 * math.pi * window_sigma_px**2)
    return FocusMeasure(name, 1, reach_px + len(taps) // 2, summary, logits, samples=samples)


def filter_bank_energy(kernels: Sequence[Kernel]) -> Callable[[Tensor], Tensor]:
    """Sum of the squared answers of a bank of filters, scaled to the variance of white noise."""
    scaled = equal_noise(kernels)

    def energy(planes: Tensor) -> Tensor:
        total = filters.correlate(planes, scaled[0]).square_()
        for kernel in scaled[1:]:
            total += filters.correlate(planes, kernel).square_()
        return total

    return energy


def equal_noise(kernels: Sequence[Kernel]) -> list[Kernel]:
    """Kernels scaled so that their squared answers to white noise add up to its variance."""
    scale = 1 / math.sqrt(sum(float((kernel**2).sum()) for kernel in kernels))
    return [np.ascontiguousarray(kernel * scale, np.float32) for kernel in kernels]


def ring_kernel(disk_px: float, gap_px: float, ring_px: float) -> Kernel:
    """Mean of a disk minus mean of a ring around it, with soft edges of one pixel.

    Args:
        disk_px: Radius of the disk.
        gap_px: Width of the gap between disk and ring, whose pixels count for neither.
        ring_px: Width of the ring.
    """
    outer = disk_px + gap_px + ring_px
    reach = math.ceil(outer)
    x = np.arange(-reach, reach + 1)
    radius = np.hypot(x, x[:, None])

    def disk(size: float) -> NDArray[np.floating]:
        return np.clip(size + 0.5 - radius, 0, 1)

    centre = disk(disk_px)
    ring = disk(outer) - disk(disk_px + gap_px)
    return (centre / centre.sum() - ring / ring.sum()).astype(np.float32)


def ring_difference(
    *, window_sigma_px: float = 1.0, disk_px: float = 0.5, gap_px: float = 1.0, ring_px: float = 1.0
) -> FocusMeasure:
    """A disk minus the ring around it, with a gap between them (Surh et al., CVPR 2017).

    The gap keeps it local, the ring's many pixels keep it calm under noise. Where the blur grows fast from frame to
    frame, fine detail is there in one frame only, and coarser detail tells more: COARSE_RING.
    """
    summary = "disk minus ring: sharp and calm under noise, the default"
    coarse = ring_kernel(*COARSE_RING)

    def of(kernel: Kernel) -> FocusMeasure:
        (scaled,) = equal_noise([kernel])
        measure = windowed_log_energy(
            "ring-difference",
            summary,
            filter_bank_energy([kernel]),
            reach_px=len(coarse) // 2,
            window_sigma_px=window_sigma_px,
        )
        taps = filters.gaussian_kernel(window_sigma_px)
        return replace(measure, symmetric=SymmetricEnergy.of(scaled, taps, ENERGY_FLOOR))

    return replace(of(ring_kernel(disk_px, gap_px, ring_px)), coarse=of(coarse))


def sum_modified_laplacian(*, window_sigma_px: float = 3.0, step_px: int = 2) -> FocusMeasure:
    """Squared modified Laplacian (|2I - I(x-s) - I(x+s)| + the same in y)² (Nayar and Nakagawa, PAMI 1994)."""
    across = line_kernel([-1, 2, -1], step_px)
    correlation = 2 / 3
    mean_product = 2 / math.pi * (math.sqrt(1 - correlation**2) + correlation * math.asin(correlation))
    scale = 1 / math.sqrt(6 * (2 + 2 * mean_product))
    across = across * np.float32(scale)

    def energy(planes: Tensor) -> Tensor:
        return (filters.correlate(planes, across).abs_() + filters.correlate(planes, across.T).abs_()).square_()

    return windowed_log_energy(
        "sum-modified-laplacian",
        "second differences in x and y: the textbook measure",
        energy,
        reach_px=step_px,
        window_sigma_px=window_sigma_px,
    )


def line_kernel(taps: Sequence[float], step_px: int) -> Kernel:
    """(1, n) kernel of taps that are `step_px` apart."""
    kernel = np.zeros((1, (len(taps) - 1) * step_px + 1), np.float32)
    kernel[0, ::step_px] = taps
    return kernel


def tenengrad(*, window_sigma_px: float = 3.0) -> FocusMeasure:
    """Squared gradient by Sobel's filters (Tenenbaum 1970)."""
    sobel = np.outer([1, 2, 1], [-1, 0, 1]).astype(np.float32)
    return windowed_log_energy(
        "tenengrad",
        "squared Sobel gradient: for coarse texture and noise",
        filter_bank_energy([sobel, sobel.T]),
        reach_px=1,
        window_sigma_px=window_sigma_px,
    )


def grey_level_variance(*, window_sigma_px: float = 3.0) -> FocusMeasure:
    """Squared deviation from the mean grey level of the window.

    The mean is taken around each pixel rather than once a window, which keeps float32 exact at low contrast.
    """
    taps = filters.gaussian_kernel(max(window_sigma_px, 1.0))

    def energy(planes: Tensor) -> Tensor:
        return (planes - filters.separable(planes, taps, taps)).square_()

    return windowed_log_energy(
        "grey-level-variance",
        "variance of grey levels: for coarse texture",
        energy,
        reach_px=len(taps) // 2,
        window_sigma_px=window_sigma_px,
    )


def directional_dilated_laplacian(
    *, window_sigma_px: float = 2.0, dilations_px: Sequence[int] = (1, 2, 3, 4)
) -> FocusMeasure:
    """Squared second differences in four directions at several dilations (DDL, Ashfaq and Mahmood, IJCV 2026)."""
    kernels = [kernel for step in dilations_px for kernel in directional_laplacians(step)]
    return windowed_log_energy(
        "directional-dilated-laplacian",
        "second differences in four directions at four scales: best on clean stacks",
        filter_bank_energy(kernels),
        reach_px=max(dilations_px),
        window_sigma_px=window_sigma_px,
    )


def directional_laplacians(step_px: int) -> list[Kernel]:
    """Second differences across, down and along both diagonals."""
    across = line_kernel([-1, 2, -1], step_px)
    falling = np.zeros((2 * step_px + 1, 2 * step_px + 1), np.float32)
    falling[(0, step_px, -1), (0, step_px, -1)] = -1, 2, -1
    return [across, across.T, falling, falling[:, ::-1]]


def spatial_frequency(*, window_sigma_px: float = 3.0) -> FocusMeasure:
    """Squared row and column frequency: first differences to both neighbours (Eskicioglu and Fisher 1995)."""
    back = np.array([[-1, 1, 0]], np.float32)
    kernels = [back, back[:, ::-1], back.T, back[:, ::-1].T]
    return windowed_log_energy(
        "spatial-frequency",
        "first differences along rows and columns: the fusion networks' decision rule",
        filter_bank_energy(kernels),
        reach_px=1,
        window_sigma_px=window_sigma_px,
    )


def laplacian_pyramid_energy(*, window_sigma_px: float = 3.0, levels: int = 3) -> FocusMeasure:
    """Squared bands of a Laplacian pyramid kept at full size (Burt and Adelson 1983, à trous).

    Each band counts by the inverse of its share of white noise, so that noise weighs the same in all of them.
    """
    binomial = [np.array([1, 4, 6, 4, 1], np.float32) / 16]
    smoothers = [line_kernel(list(binomial[0]), 2**level)[0] for level in range(levels)]
    gains = band_noise(smoothers)

    def energy(planes: Tensor) -> Tensor:
        total = torch.zeros_like(planes)
        for taps, gain in zip(smoothers, gains):
            smooth = filters.separable(planes, taps, taps)
            total += (planes - smooth).square_().div_(gain * levels)
            planes = smooth
        return total

    return windowed_log_energy(
        "laplacian-pyramid",
        "energy of three octaves of detail: for texture of unknown scale",
        energy,
        reach_px=sum(len(taps) // 2 for taps in smoothers),
        window_sigma_px=window_sigma_px,
    )


def band_noise(smoothers: Sequence[NDArray[np.float32]]) -> list[float]:
    """Variance of white noise of variance 1 in each band of an undecimated Laplacian pyramid."""
    reach = sum(len(taps) // 2 for taps in smoothers)
    response = torch.zeros(1, 2 * reach + 1, 2 * reach + 1)
    response[0, reach, reach] = 1
    gains = []
    for taps in smoothers:
        smooth = filters.separable(response, taps, taps)
        gains.append(float((response - smooth).square().sum()))
        response = smooth
    return gains
