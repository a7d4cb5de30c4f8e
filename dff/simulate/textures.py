"""Procedural textures: noise of natural spectra, mixed from a few colours."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dff.simulate.sensor import decode_srgb
from dff.stack import FloatArray

Shape = tuple[int, int]


def fractal_noise(
    shape: Shape,
    random: np.random.Generator,
    *,
    exponent: float = 1.0,
    coarsest_px: float = 64.0,
    finest_px: float = 2.0,
) -> FloatArray:
    """Noise whose amplitude falls as frequency^-exponent between two wavelengths; mean 0, standard deviation 1."""
    down = np.fft.fftfreq(shape[0])[:, None]
    across = np.fft.rfftfreq(shape[1])[None]
    frequency = np.hypot(down, across)
    amplitude = np.maximum(frequency, 1 / coarsest_px) ** -exponent * np.exp(-((frequency * finest_px / 1.2) ** 4))
    amplitude[0, 0] = 0
    spectrum = np.fft.rfft2(random.standard_normal(shape, dtype=np.float32)) * amplitude
    noise = np.fft.irfft2(spectrum, s=shape)
    return ((noise - noise.mean()) / noise.std()).astype(np.float32)


Palette = tuple[tuple[float, float, float], ...]

STONE: Palette = ((0.20, 0.18, 0.16), (0.46, 0.41, 0.35), (0.70, 0.66, 0.60))
MOSS: Palette = ((0.10, 0.14, 0.05), (0.30, 0.40, 0.14), (0.62, 0.64, 0.34))
SAND: Palette = ((0.34, 0.26, 0.17), (0.58, 0.47, 0.33), (0.80, 0.72, 0.58))
BRONZE: Palette = ((0.16, 0.09, 0.04), (0.45, 0.29, 0.14), (0.78, 0.60, 0.36))
CHITIN: Palette = ((0.10, 0.05, 0.03), (0.34, 0.17, 0.07), (0.62, 0.40, 0.18))
CERAMIC: Palette = ((0.50, 0.52, 0.55), (0.66, 0.67, 0.68), (0.82, 0.82, 0.80))
GLASS: Palette = ((0.35, 0.38, 0.42), (0.62, 0.62, 0.62), (0.92, 0.90, 0.86))


def colour_ramp(value: FloatArray, palette: Palette) -> FloatArray:
    """Linear colours (H, W, 3) along a palette, for values of mean 0 and standard deviation 1."""
    position = np.clip(0.5 + 0.17 * value, 0, 1) * (len(palette) - 1)
    stops = np.arange(len(palette))
    channels = [np.interp(position, stops, [colour[c] for colour in palette]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def mottled(shape: Shape, random: np.random.Generator, palette: Palette, *, scale: float = 1.0) -> FloatArray:
    """Mineral-like colours (H, W, 3): broad patches, fine grain and dark specks."""
    broad = fractal_noise(shape, random, exponent=1.6, coarsest_px=90 * scale, finest_px=6 * scale)
    grain = fractal_noise(shape, random, exponent=0.6, coarsest_px=14 * scale, finest_px=2.2)
    picture = colour_ramp(0.75 * broad + 0.85 * grain, palette)
    specks = fractal_noise(shape, random, exponent=0.8, coarsest_px=10 * scale, finest_px=2.5)
    dark = np.clip((specks - 1.5) * 1.5, 0, 0.75)[..., None]
    return picture * (1 - dark)


def gradient(heights: FloatArray, spacing: float) -> tuple[FloatArray, FloatArray]:
    """Slopes of heights along x and y."""
    across = cv2.Sobel(heights, cv2.CV_32F, 1, 0, ksize=3, scale=1 / (8 * spacing))
    down = cv2.Sobel(heights, cv2.CV_32F, 0, 1, ksize=3, scale=1 / (8 * spacing))
    return np.asarray(across, np.float32), np.asarray(down, np.float32)


def shading(
    heights: FloatArray,
    slopes: tuple[FloatArray, FloatArray],
    spacing: float,
    light: tuple[float, float, float],
    ambient: float,
) -> FloatArray:
    """Lambert shading with open sky: hollows are darker (H, W)."""
    across, down = slopes
    length = np.sqrt(across**2 + down**2 + 1)
    norm = float(np.linalg.norm(light))
    facing = np.clip((-across * light[0] - down * light[1] + light[2]) / (length * norm), 0, None)
    hollow = np.zeros_like(heights)
    for sigma in (4.0, 14.0):
        hollow += np.clip((cv2.GaussianBlur(heights, (0, 0), sigma) - heights) / (sigma * spacing), 0, 1.5)
    open_sky = 1 / (1 + 0.5 * hollow)
    return ((ambient * open_sky + (1 - ambient) * facing * norm / light[2]) * np.sqrt(open_sky)).astype(np.float32)


PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")


def list_pictures(folder: str | Path) -> tuple[Path, ...]:
    """JPEG and PNG pictures of a folder and the folders in it, in the order of their names.

    Raises:
        ValueError: there is none.
    """
    found = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    if not found:
        raise ValueError(f"textures: {folder} must hold JPEG or PNG pictures; got none; name another folder")
    return tuple(found)


def photographed(shape: Shape, random: np.random.Generator, path: Path) -> FloatArray:
    """Linear colours (H, W, 3) of an 8-bit sRGB picture, mirrored until it covers the shape, from a random place on.

    Raises:
        ValueError: the picture cannot be read.
    """
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"textures: {path} must be a picture; got a file that cannot be decoded; remove it")
    rows, columns = (_mirrored(random, count, length) for count, length in zip(shape, picture.shape))
    return decode_srgb(np.asarray(picture[rows][:, columns, ::-1], np.float32) / 255).astype(np.float32)


def _mirrored(random: np.random.Generator, count: int, length: int) -> NDArray[np.intp]:
    number = (np.arange(count) + random.integers(length)) % (2 * length)
    return np.where(number < length, number, 2 * length - 1 - number)
