"""What the chief rays of the reference frame meet: depth, sharp picture, and who else in the pupil sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dff.simulate.aperture import Aperture
from dff.simulate.camera import Sweep, transmission
from dff.simulate.lattice import Lattice, Phases
from dff.simulate.rays import Rays, Surfaces, trace

PHASES = 16
"""Sub-pixel phases the sharp picture is averaged over."""


def chief_rays(
    sweep: Sweep, rows: tuple[int, int], device: torch.device, *, halo: int = 0, offset: tuple[float, float] = (0, 0)
) -> Rays:
    """Rays from the pixels of the reference frame through the centre of its pupil.

    Args:
        sweep: The frames.
        rows: First and last row of pixels.
        device: Where tensors are computed.
        halo: Pixels added on every side.
        offset: Shift (x, y) of every ray, px.
    """
    k = sweep.reference
    height, width = sweep.size_px
    pixel, distance, plane = float(sweep.pixel_mm[k]), float(sweep.pupil_mm[k]), float(sweep.plane_mm[k])
    count, columns = rows[1] - rows[0] + 2 * halo, width + 2 * halo
    left = (-halo + offset[0] - (width - 1) / 2) * pixel
    top = (rows[0] - halo + offset[1] - (height - 1) / 2) * pixel
    slope_x: float | Tensor = 0.0
    slope_y: float | Tensor = 0.0
    if not sweep.telecentric:
        x = left + pixel * torch.arange(columns, device=device)
        y = top + pixel * torch.arange(count, device=device)
        slope_x, slope_y = -x[None] / distance, -y[:, None] / distance
    widen = 1 + plane / distance
    drift = sweep.drift_mm[k]
    return Rays(
        float(drift[0]) + left * widen,
        float(drift[1]) + top * widen,
        count,
        columns,
        pixel * widen,
        slope_x,
        slope_y,
        device,
    )


def sharp_picture(
    surfaces: Surfaces, sweep: Sweep, rows: tuple[int, int], kernel_sigma_px: float, device: torch.device
) -> Tensor:
    """(3, rows, W) pinhole picture of the reference frame through the in-focus kernel of the frames."""
    k, halo = sweep.reference, math.ceil(4 * kernel_sigma_px) + 2
    pixel = float(sweep.pixel_mm[k])
    height, width = sweep.size_px
    lattice = Lattice(
        left_mm=(-halo - (width - 1) / 2) * pixel,
        top_mm=(rows[0] - halo - (height - 1) / 2) * pixel,
        rows=rows[1] - rows[0] + 2 * halo,
        columns=width + 2 * halo,
        pixel_mm=pixel,
    )
    total = torch.zeros((3, lattice.rows, lattice.columns), device=device)
    for across, down in _phases():
        rays = chief_rays(sweep, rows, device, halo=halo + 1, offset=(across, down))
        _, colour = trace(surfaces, rays)
        total.add_(Phases(colour).at(1 - down, 1 - across, lattice.rows, lattice.columns), alpha=1 / PHASES)
    return lattice.to_pixels(total, sweep, k, rows, kernel_sigma_px)


def _phases() -> list[tuple[float, float]]:
    side = math.isqrt(PHASES)
    return [(i / side, j / side) for j in range(side) for i in range(side)]


@dataclass(frozen=True)
class Truth:
    """Points the chief rays of the reference frame meet, and how much of the pupil has looked at them."""

    sweep: Sweep
    aperture: Aperture
    x: Tensor
    """(rows, W) mm."""
    y: Tensor
    z: Tensor
    """(rows, W) height, mm."""
    tolerance: Tensor
    """(rows, W) how much higher a view may hit and still be the same surface, mm."""
    sees: Tensor
    """(rows, W) sum of the weights of the directions that see the point."""
    looks: Tensor
    """(rows, W) sum of the weights of all directions."""

    @staticmethod
    def of(surfaces: Surfaces, sweep: Sweep, aperture: Aperture, rows: tuple[int, int], device: torch.device) -> Truth:
        """Trace the chief rays."""
        rays = chief_rays(sweep, rows, device)
        z, _ = trace(surfaces, rays)
        x, y = rays.at(z)
        step = float(np.abs(np.diff(sweep.plane_mm)).mean())
        around = F.pad(z[None, None], (1, 1, 1, 1), mode="replicate")
        relief = F.max_pool2d(around, 3, 1)[0, 0] + F.max_pool2d(-around, 3, 1)[0, 0]
        tolerance = 0.5 * step + relief.clamp(max=2 * step)
        return Truth(sweep, aperture, x, y, z, tolerance, torch.zeros_like(z), torch.zeros_like(z))

    def look(self, rays: Rays, z: Tensor) -> None:
        """Count one view: does it see each point?"""
        k, drift = self.sweep.reference, self.sweep.drift_mm[self.sweep.reference]
        slope_x, slope_y = float(rays.slope_x), float(rays.slope_y)
        column = ((self.x - slope_x * self.z - rays.left_mm) / rays.pixel_mm).round().long()
        row = ((self.y - slope_y * self.z - rays.top_mm) / rays.pixel_mm).round().long()
        inside = (row >= 0) & (row < rays.rows) & (column >= 0) & (column < rays.columns)
        flat = row.clamp(0, rays.rows - 1) * rays.columns + column.clamp(0, rays.columns - 1)
        clear = z.view(-1)[flat] <= self.z + self.tolerance
        weight = inside.float()
        if not self.sweep.telecentric:
            x, y = self.x - float(drift[0]), self.y - float(drift[1])
            weight = weight * transmission(self.sweep, self.aperture, k, x, y, slope_x, slope_y, 0.0)
        self.looks.add_(weight)
        self.sees.addcmul_(weight, clear.float())

    def visible(self) -> Tensor:
        """(rows, W) share of the pupil that sees each point; NaN where none looked."""
        return torch.where(self.looks > 0, self.sees / self.looks, torch.full_like(self.z, math.nan))
