"""Focal stacks by light-field rendering: the scene is traced once for every direction, and serves all frames.

A parallel bundle of slope s sees, in frame k, pixel X of the plane of focus z_k along the ray that crosses z = 0 at
X - s z_k. So each frame is the mean of the same parallel views, each shifted by s z_k: exact occlusion at the price
of one trace a direction (light fields: Levoy and Hanrahan 1996; refocusing: Ng 2005). With the pupil at a finite
distance L, pixel X takes only the directions with |X / L + s| inside the aperture: the same views, through a window
that moves with the direction. Every capture is rendered by this one rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dff.simulate.aperture import Aperture
from dff.simulate.camera import Sweep, transmission
from dff.simulate.chief import Truth, sharp_picture
from dff.simulate.lattice import Lattice, Phases
from dff.simulate.rays import Rays, Surfaces, trace
from dff.stack import FloatArray

GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
BAND_BYTES = 128e6
"""Memory of one band's sums; one band a thread is in work."""


@dataclass(frozen=True)
class Rendering:
    """Noise-free frames and what the reference frame's chief rays meet."""

    frames: FloatArray
    """(N, H, W, 3) float32 linear light."""
    sharp: FloatArray
    """(H, W, 3) float32 pinhole picture of the reference frame through the in-focus kernel."""
    z: FloatArray
    """(H, W) float32 height of the chief ray's first hit, mm."""
    visible: FloatArray
    """(H, W) float32 share of the aperture that sees that point."""


@dataclass(frozen=True)
class Views:
    """The directions a stack is rendered from."""

    slopes: FloatArray
    """(V, 2)."""
    offsets: FloatArray
    """(V, 2) sub-pixel phases of each view's lattice, from 0 to 1."""
    spacing: float
    """Distance between neighbouring directions, as a share of the aperture's radius."""


def views(sweep: Sweep, aperture: Aperture, *, sampling_px: float = 2.0, least: int = 64) -> Views:
    """Directions on a Vogel spiral, as dense as the largest blur needs.

    Args:
        sweep: The frames.
        aperture: Shape of the pupil.
        sampling_px: Distance between neighbouring directions in the largest blur, px.
        least: Least number of directions in one pupil.
    """
    radius = float(sweep.aperture_slope.max())
    largest_px = radius * float(np.ptp(sweep.plane_mm)) / float(sweep.pixel_mm.min())
    in_pupil = max(least, math.ceil(math.pi * (largest_px / sampling_px) ** 2))
    half = np.array([(size - 1) / 2 for size in sweep.size_px[::-1]]) * float(sweep.pixel_mm.max())
    lean = (half[None] / sweep.pupil_mm[:, None]).max(0)
    reach = radius + float(np.hypot(*lean))
    count = math.ceil(in_pupil * (reach / radius) ** 2)
    number = np.arange(count) + 0.5
    length, angle = reach * np.sqrt(number / count), number * GOLDEN_ANGLE
    slopes = np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1)
    beyond = np.maximum(np.abs(slopes) - lean, 0)
    kept = np.hypot(*beyond.T) <= radius
    if sweep.telecentric:
        kept &= aperture.transmission(torch.as_tensor(slopes / radius)).numpy() > 0
    # The two-dimensional golden ratio (Roberts 2018) spreads phases evenly over any run of views.
    offsets = (np.outer(np.arange(count), (0.7548776662466927, 0.5698402909980532)) + 0.5) % 1
    return Views(slopes[kept], offsets[kept], math.sqrt(math.pi / in_pupil))


def render(
    surfaces: Surfaces,
    sweep: Sweep,
    aperture: Aperture,
    *,
    kernel_sigma_px: float = 0.75,
    sampling_px: float = 2.0,
    device: str = "cpu",
    workers: int = 1,
) -> Rendering:
    """Render every frame of a sweep, and the truth of its reference frame.

    Args:
        surfaces: What is in the scene.
        sweep: The frames.
        aperture: Shape of the pupil.
        kernel_sigma_px: Standard deviation of the blur in focus (diffraction, pixel, low-pass filter).
        sampling_px: Distance between neighbouring directions in the largest blur, px.
        device: Where tensors are computed.
        workers: Bands of rows that are rendered side by side.
    """
    height, width = sweep.size_px
    directions = views(sweep, aperture, sampling_px=sampling_px)
    result = Rendering(
        frames=np.empty((len(sweep.plane_mm), height, width, 3), np.float32),
        sharp=np.empty((height, width, 3), np.float32),
        z=np.empty((height, width), np.float32),
        visible=np.empty((height, width), np.float32),
    )

    def band(rows: tuple[int, int]) -> None:
        _render_band(surfaces, sweep, aperture, directions, rows, kernel_sigma_px, torch.device(device), result)

    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(band, _bands(sweep)))
    return result


@contextmanager
def single_threaded() -> Iterator[int]:
    """Tensors computed on one thread each, as small ones gain nothing from sharing; gives the threads there were."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def _bands(sweep: Sweep) -> list[tuple[int, int]]:
    """Row ranges whose accumulators fit a fixed memory, two at the least of any but a small picture."""
    height, width = sweep.size_px
    rows = min(max(32, int(BAND_BYTES / (len(sweep.plane_mm) * width * 12))), max(64, math.ceil(height / 2)))
    return [(first, min(first + rows, height)) for first in range(0, height, rows)]


def _render_band(
    surfaces: Surfaces,
    sweep: Sweep,
    aperture: Aperture,
    directions: Views,
    rows: tuple[int, int],
    kernel_sigma_px: float,
    device: torch.device,
    result: Rendering,
) -> None:
    lattice = Lattice.of(sweep, rows, halo=math.ceil(4 * kernel_sigma_px) + 2)
    truth = Truth.of(surfaces, sweep, aperture, rows, device)
    light = _Light.of(sweep, lattice, device)
    for slope, offset in zip(directions.slopes, directions.offsets):
        window = _window(sweep, lattice, slope, directions.spacing)
        if window is None:
            continue
        rays = _bundle(sweep, lattice, window, slope, offset, device)
        z, colour = trace(surfaces, rays)
        truth.look(rays, z)
        light.add(rays, colour, window, aperture, directions.spacing)
    band = slice(*rows)
    for k, picture in enumerate(light.pictures()):
        sharpened = lattice.to_pixels(picture, sweep, k, rows, kernel_sigma_px)
        result.frames[k, band] = sharpened.permute(1, 2, 0).cpu().numpy()
    result.z[band] = truth.z.cpu().numpy()
    result.visible[band] = truth.visible().cpu().numpy()
    result.sharp[band] = sharp_picture(surfaces, sweep, rows, kernel_sigma_px, device).permute(1, 2, 0).cpu().numpy()


Window = tuple[int, int, int, int]


def _window(sweep: Sweep, lattice: Lattice, slope: FloatArray, softness: float) -> Window | None:
    """First and last lattice rows and columns that look along a slope through the pupil of any frame."""
    if sweep.telecentric:
        return 0, lattice.rows, 0, lattice.columns
    limits = []
    for axis, start, count in ((1, lattice.top_mm, lattice.rows), (0, lattice.left_mm, lattice.columns)):
        reach = sweep.aperture_slope * (1 + softness)
        low = float(((-slope[axis] - reach) * sweep.pupil_mm).min())
        high = float(((-slope[axis] + reach) * sweep.pupil_mm).max())
        first = max(0, math.floor((low - start) / lattice.pixel_mm))
        last = min(count, math.ceil((high - start) / lattice.pixel_mm) + 1)
        if first >= last:
            return None
        limits += [first, last]
    return limits[0], limits[1], limits[2], limits[3]


def _bundle(
    sweep: Sweep, lattice: Lattice, window: Window, slope: FloatArray, offset: FloatArray, device: torch.device
) -> Rays:
    """The parallel rays of one slope that any frame's window needs."""
    pixel = lattice.pixel_mm
    moves = sweep.drift_mm - slope * sweep.plane_mm[:, None]
    left = lattice.left_mm + window[2] * pixel + moves[:, 0].min() - (1 + offset[0]) * pixel
    top = lattice.top_mm + window[0] * pixel + moves[:, 1].min() - (1 + offset[1]) * pixel
    spans = np.ceil(np.ptp(moves, axis=0) / pixel).astype(int) + 4
    return Rays(
        left_mm=float(left),
        top_mm=float(top),
        rows=window[1] - window[0] + int(spans[1]),
        columns=window[3] - window[2] + int(spans[0]),
        pixel_mm=pixel,
        slope_x=float(slope[0]),
        slope_y=float(slope[1]),
        device=device,
    )


@dataclass(frozen=True)
class _Light:
    """Sums of the views of every frame, on the lattice."""

    sweep: Sweep
    lattice: Lattice
    total: Tensor
    """(N, 3, rows, columns)."""
    weight: Tensor
    """(N or 1, rows or 1, columns or 1)."""

    @staticmethod
    def of(sweep: Sweep, lattice: Lattice, device: torch.device) -> _Light:
        count = len(sweep.plane_mm)
        total = torch.zeros((count, 3, lattice.rows, lattice.columns), device=device)
        one = (1, 1, 1) if sweep.telecentric else (count if not sweep.one_scale else 1, lattice.rows, lattice.columns)
        return _Light(sweep, lattice, total, torch.zeros(one, device=device))

    def add(self, rays: Rays, colour: Tensor, window: Window, aperture: Aperture, softness: float) -> None:
        """Add one view to every frame."""
        rows, columns = slice(window[0], window[1]), slice(window[2], window[3])
        let, phases = None, Phases(colour)
        if self.sweep.telecentric:
            self.weight.add_(1)
        for k in range(len(self.total)):
            target = self.total[k, :, rows, columns]
            if not self.sweep.telecentric and (let is None or not self.sweep.one_scale):
                let = self._transmission(rays, window, aperture, softness, k)
                self.weight[min(k, len(self.weight) - 1), rows, columns].add_(let)
            view = phases.at(*self._corner(rays, window, k), *target.shape[-2:])
            target.add_(view) if let is None else target.addcmul_(view, let)

    def pictures(self) -> Iterator[Tensor]:
        """(3, rows, columns) of each frame."""
        for k, total in enumerate(self.total):
            yield total / self.weight[min(k, len(self.weight) - 1)].clamp(min=1e-12)

    def _corner(self, rays: Rays, window: Window, k: int) -> tuple[float, float]:
        """Row and column, in the view, of the window's first point in frame k."""
        pixel = self.lattice.pixel_mm
        plane, drift = self.sweep.plane_mm[k], self.sweep.drift_mm[k]
        x = self.lattice.left_mm + window[2] * pixel + drift[0] - float(rays.slope_x) * plane
        y = self.lattice.top_mm + window[0] * pixel + drift[1] - float(rays.slope_y) * plane
        return (y - rays.top_mm) / pixel, (x - rays.left_mm) / pixel

    def _transmission(self, rays: Rays, window: Window, aperture: Aperture, softness: float, k: int) -> Tensor:
        lattice, device = self.lattice, self.total.device
        x = lattice.left_mm + lattice.pixel_mm * torch.arange(window[2], window[3], device=device)[None]
        y = lattice.top_mm + lattice.pixel_mm * torch.arange(window[0], window[1], device=device)[:, None]
        return transmission(self.sweep, aperture, k, x, y, float(rays.slope_x), float(rays.slope_y), softness)
