"""Blur near focus by wave optics: the incoherent transfer function of a defocused, aberrated lens.

The pupil carries the phase 2π (W20 rho² + W40 rho⁴) with W20 = NA² dz / (2 lambda) waves at the rim; the
autocorrelation of the pupil is the transfer function of incoherent light (Hopkins 1955; Goodman, Introduction to
Fourier Optics, 6.4). Here NA is the tangent of the cone's half angle, as everywhere in the simulator.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dff.stack import FloatArray

PUPIL_RADIUS = 96
"""Samples along the pupil's radius."""
LEVELS = 21
"""Defocus levels a picture is blurred at, between which pixels interpolate."""
REACH_DOF = 2.0
"""Depths of field within which wave optics replaces geometry."""


@dataclass(frozen=True)
class WaveOptics:
    """A lens near its focus, seen on the subject's side."""

    aperture_slope: float
    pixel_mm: float
    wavelengths_mm: tuple[float, float, float] = (0.00061, 0.00054, 0.00046)
    """Of red, green and blue."""
    spherical_waves: float = 0.0
    """W40 at the rim, in waves of the middle wavelength."""
    axial_colour_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """How much higher than the plane of focus red, green and blue are in focus."""

    @property
    def depth_of_field_mm(self) -> float:
        """lambda / NA² of the middle wavelength."""
        return self.wavelengths_mm[1] / self.aperture_slope**2

    def waves(self, defocus_mm: float, channel: int) -> float:
        """W20 of a point this far above the plane of focus, in waves of the channel's light."""
        from_focus = defocus_mm - self.axial_colour_mm[channel]
        return self.aperture_slope**2 * from_focus / (2 * self.wavelengths_mm[channel])

    def transfer(self, frequency: FloatArray, defocus_mm: float, channel: int) -> FloatArray:
        """Transfer function at frequencies in cycles per px of the subject's side."""
        spherical = self.spherical_waves * self.wavelengths_mm[1] / self.wavelengths_mm[channel]
        shear, values = transfer_function(round(self.waves(defocus_mm, channel), 4), round(spherical, 4))
        lengths = frequency / self.pixel_mm * self.wavelengths_mm[channel] / self.aperture_slope
        return np.interp(lengths, shear, values, right=0.0)

    def blur(self, picture: FloatArray, defocus_mm: float) -> FloatArray:
        """(H, W, 3) a flat picture this far above the plane of focus; borders are mirrored."""
        pad = 32
        padded = np.pad(picture, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
        height, width = padded.shape[:2]
        frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
        result = np.empty_like(picture)
        for channel in range(3):
            spectrum = np.fft.rfft2(padded[..., channel]) * self.transfer(frequency, defocus_mm, channel)
            result[..., channel] = np.fft.irfft2(spectrum, s=(height, width))[pad:-pad, pad:-pad]
        return result

    def refine(self, frames: FloatArray, sharp: FloatArray, z: FloatArray, plane_mm: FloatArray) -> None:
        """Replace, in place, what geometry says of surfaces near focus by wave optics.

        A pixel is replaced where its surface lies within two depths of field of the plane of focus and is nearly flat
        over the blur spot; toward either limit both are mixed.

        Args:
            frames: (N, H, W, 3) noise-free frames.
            sharp: (H, W, 3) their picture in focus.
            z: (H, W) height of what each pixel sees, mm.
            plane_mm: (N,) heights of the planes of focus.
        """
        reach = REACH_DOF * self.depth_of_field_mm
        levels = np.linspace(-reach, reach, LEVELS)
        blurred = np.stack([self.blur(sharp, level) for level in levels])
        flat = flatness(z, reach)
        rows, columns = np.indices(z.shape)
        for frame, plane in zip(frames, plane_mm):
            defocus = z - plane
            weight = (np.clip(2 - 2 * np.abs(defocus) / reach, 0, 1) * flat)[..., None]
            position = np.clip((defocus + reach) / (2 * reach) * (LEVELS - 1), 0, LEVELS - 1.001)
            low = position.astype(np.intp)
            share = (position - low)[..., None]
            wave = blurred[low, rows, columns] * (1 - share) + blurred[low + 1, rows, columns] * share
            frame += (weight * (wave - frame)).astype(np.float32)


def flatness(z: FloatArray, reach_mm: float, radius_px: int = 3) -> FloatArray:
    """(H, W) 1 where heights around a pixel differ by much less than a reach, 0 where by more."""
    import cv2

    kernel = np.ones((2 * radius_px + 1,) * 2, np.uint8)
    relief = np.asarray(cv2.dilate(z, kernel)) - np.asarray(cv2.erode(z, kernel))
    return np.clip(2 - 2 * relief / reach_mm, 0, 1)


@lru_cache(maxsize=512)
def transfer_function(defocus_waves: float, spherical_waves: float = 0.0) -> tuple[FloatArray, FloatArray]:
    """Shear of the pupil in radii (0 to 2) and the incoherent transfer function there.

    Args:
        defocus_waves: W20.
        spherical_waves: W40.
    """
    size = 4 * PUPIL_RADIUS + 4
    axis = (np.arange(size) - size // 2) / PUPIL_RADIUS
    squared = axis[None] ** 2 + axis[:, None] ** 2
    phase = 2 * np.pi * (defocus_waves * squared + spherical_waves * squared**2)
    rim = np.clip((1 - np.sqrt(squared)) * PUPIL_RADIUS + 0.5, 0, 1)
    spread = np.abs(np.fft.fft2(rim * np.exp(1j * phase))) ** 2
    transfer = np.fft.ifft2(spread).real[0]
    shear = np.arange(2 * PUPIL_RADIUS + 2) / PUPIL_RADIUS
    return shear, transfer[: len(shear)] / transfer[0]


def strehl_ratio(defocus_waves: float, spherical_waves: float = 0.0) -> float:
    """Peak of the point spread over its peak in focus, on the axis: the pupil's mean, squared."""
    area = (np.arange(2000) + 0.5) / 2000
    phase = 2 * np.pi * (defocus_waves * area + spherical_waves * area**2)
    return float(np.abs(np.mean(np.exp(1j * phase))) ** 2)
