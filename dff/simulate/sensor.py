"""What the sensor and the file make of light: colour filters, noise, clipping, tone curve, quantisation, JPEG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dff.stack import FloatArray

WORKING_WHITE = 60000
"""White of the 16-bit mosaic that is demosaiced: noise above white is not cut before it is averaged."""


@dataclass(frozen=True)
class Sensor:
    """A sensor with Poisson and Gaussian noise, and the file it writes.

    Raises:
        ValueError: a value outside its range, or a JPEG of more than 8 bits.
    """

    full_well_e: float | None = 22500.0
    """Electrons of a full-white pixel; None for a sensor without noise."""
    read_noise_e: float = 3.0
    exposure: float = 1.0
    """Factor on the light before it is clipped at white."""
    bayer: bool = False
    """One colour a pixel (RGGB), the others interpolated."""
    encoding: str = "linear"
    """"linear" in light, or "srgb"."""
    bits: int | None = 16
    """8 or 16 bits a channel, or None for float32."""
    jpeg_quality: int | None = None
    """Write and read the frame as a JPEG of this quality."""

    def __post_init__(self) -> None:
        if self.full_well_e is not None and not self.full_well_e > 0:
            raise ValueError(f"full_well_e: must be positive; got {self.full_well_e}; give electrons at white")
        if not self.exposure > 0:
            raise ValueError(f"exposure: must be positive; got {self.exposure}; give a factor such as 1")
        if self.read_noise_e < 0:
            raise ValueError(f"read_noise_e: must not be negative; got {self.read_noise_e}; give electrons")
        if self.encoding not in ("linear", "srgb"):
            raise ValueError(f"encoding: must be linear or srgb; got {self.encoding!r}; choose one of them")
        if self.bits not in (8, 16, None):
            raise ValueError(f"bits: must be 8, 16 or None; got {self.bits}; choose one of them")
        if self.jpeg_quality is not None and (self.bits != 8 or not 1 <= self.jpeg_quality <= 100):
            raise ValueError(
                f"jpeg_quality: must be 1 to 100 with 8 bits; got {self.jpeg_quality} with {self.bits}; set bits=8"
            )

    def noise(self, light: FloatArray) -> FloatArray:
        """Standard deviation of one linear sample that receives this light (1 is white), before any tone curve."""
        variance = np.full(np.shape(light), 0.0 if self.bits is None else 1 / (12 * (2**self.bits - 1) ** 2))
        if self.full_well_e is not None:
            exposed = np.maximum(light, 0) * self.exposure
            variance = variance + exposed / self.full_well_e + (self.read_noise_e / self.full_well_e) ** 2
        return np.sqrt(variance) / self.exposure

    def expose(self, light: FloatArray, random: np.random.Generator) -> NDArray[Any]:
        """One frame, in the type of the file, from noise-free linear light (H, W, 3)."""
        signal = np.maximum(light, 0) * np.float32(self.exposure)
        signal = demosaic(self._collect(mosaic(signal), random)) if self.bayer else self._collect(signal, random)
        signal = np.clip(signal, 0, 1)
        frame = quantise(encode_srgb(signal) if self.encoding == "srgb" else signal, self.bits)
        return frame if self.jpeg_quality is None else through_jpeg(frame, self.jpeg_quality)

    def _collect(self, signal: FloatArray, random: np.random.Generator) -> FloatArray:
        if self.full_well_e is None:
            return signal
        electrons = random.poisson(np.minimum(signal, 4) * self.full_well_e).astype(np.float32)
        electrons += np.float32(self.read_noise_e) * random.standard_normal(signal.shape, dtype=np.float32)
        return electrons / np.float32(self.full_well_e)


def full_well(snr: float, read_noise_e: float) -> float:
    """Electrons at white for which the signal-to-noise ratio there is snr.

    Raises:
        ValueError: the ratio is not positive.
    """
    if not snr > 0:
        raise ValueError(f"snr: must be positive; got {snr}; give a ratio such as 150, or None for no noise")
    return (snr**2 + math.sqrt(snr**4 + 4 * (snr * read_noise_e) ** 2)) / 2


def mosaic(light: FloatArray) -> FloatArray:
    """(H, W) what an RGGB colour filter lets through of (H, W, 3)."""
    raw = light[..., 1].copy()
    raw[0::2, 0::2] = light[0::2, 0::2, 0]
    raw[1::2, 1::2] = light[1::2, 1::2, 2]
    return raw


def demosaic(raw: FloatArray) -> FloatArray:
    """(H, W, 3) colours from an RGGB mosaic (H, W), interpolated along edges."""
    lift = 2000
    levels = np.clip(raw * WORKING_WHITE / 1.5 + lift, 0, 65535).astype(np.uint16)
    colours = np.asarray(cv2.cvtColor(levels, cv2.COLOR_BayerRGGB2RGB_EA), np.float32)
    return (colours - lift) * np.float32(1.5 / WORKING_WHITE)


def encode_srgb(light: FloatArray) -> FloatArray:
    """sRGB tone values of linear light 0..1 (IEC 61966-2-1)."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-8) ** (1 / 2.4) - 0.055)


def decode_srgb(tone: FloatArray) -> FloatArray:
    """Linear light of sRGB tone values 0..1."""
    return np.where(tone <= 0.04045, tone / 12.92, ((np.maximum(tone, 0) + 0.055) / 1.055) ** 2.4)


def quantise(picture: FloatArray, bits: int | None) -> NDArray[Any]:
    """A picture 0..1 in the type of so many bits."""
    if bits is None:
        return picture.astype(np.float32)
    white = 2**bits - 1
    return (picture * white + 0.5).astype(np.uint8 if bits == 8 else np.uint16)


def through_jpeg(frame: NDArray[Any], quality: int) -> NDArray[Any]:
    """An 8-bit frame written as a JPEG and read again."""
    _, code = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))[..., ::-1])
