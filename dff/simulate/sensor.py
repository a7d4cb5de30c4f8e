"""What the sensor makes of light: noise, clipping, quantisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff.stack import FloatArray


@dataclass(frozen=True)
class Sensor:
    """A sensor with Poisson and Gaussian noise."""

    full_well_e: float | None = 22500.0
    """Electrons of a full-white pixel; None for a sensor without noise."""
    read_noise_e: float = 3.0
    bits: int | None = 16
    """8 or 16 bits a channel, or None for float32."""

    @staticmethod
    def of_snr(snr: float | None, read_noise_e: float = 3.0, bits: int | None = 16) -> Sensor:
        """The sensor whose signal-to-noise ratio at white is snr; None is without noise."""
        if snr is None:
            return Sensor(None, read_noise_e, bits)
        if not snr > 0:
            raise ValueError(f"snr: must be positive; got {snr}; give a ratio such as 150, or None for no noise")
        return Sensor((snr**2 + math.sqrt(snr**4 + 4 * (snr * read_noise_e) ** 2)) / 2, read_noise_e, bits)

    def noise(self, light: FloatArray) -> FloatArray:
        """Standard deviation of one sample that receives this light (1 is white)."""
        variance = np.full(np.shape(light), 0.0 if self.bits is None else 1 / (12 * (2**self.bits - 1) ** 2))
        if self.full_well_e is not None:
            variance = variance + np.maximum(light, 0) / self.full_well_e + (self.read_noise_e / self.full_well_e) ** 2
        return np.sqrt(variance)

    def expose(self, light: FloatArray, random: np.random.Generator) -> NDArray[Any]:
        """One frame from noise-free linear light (H, W, C)."""
        signal = np.maximum(light, 0)
        if self.full_well_e is not None:
            electrons = random.poisson(signal * self.full_well_e).astype(np.float32)
            electrons += self.read_noise_e * random.standard_normal(signal.shape, dtype=np.float32)
            signal = electrons / np.float32(self.full_well_e)
        return quantise(np.clip(signal, 0, 1), self.bits)


def quantise(picture: FloatArray, bits: int | None) -> NDArray[Any]:
    """A picture 0..1 in the type of so many bits."""
    if bits is None:
        return picture.astype(np.float32)
    white = 2**bits - 1
    return (picture * white + 0.5).astype(np.uint8 if bits == 8 else np.uint16)
