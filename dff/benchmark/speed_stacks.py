"""Focal stacks of any size, made in no time: a tilted plane of texture, for measuring speed and not accuracy."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

FORMATS = ("jpeg", "tiff")
"""8 bit JPEG as a camera writes it, and 16 bit TIFF without compression."""
_LEVELS = 9
_BLUR_PX = 0.7
_DRIFT_PX = 0.4
_BREATHING = 2e-4
_NOISE = 1.5
_TINTS = (0.82, 0.92, 1.0)
_QUALITY = 92


def write_speed_stack(folder: Path, megapixels: float, frames: int, kind: str, *, seed: int = 0) -> list[Path]:
    """Write the frames of a stack of so many megapixels each, 3 : 2; the frames drift and breathe as on a rail.

    Args:
        folder: New folder for them.
        megapixels: Size of a frame.
        frames: Number of frames.
        kind: One of FORMATS.
        seed: Of texture and noise.
    """
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    size = (height, round(1.5 * height))
    rng = np.random.default_rng(seed)
    blurred = [_blurred(_texture(rng, size), _BLUR_PX * level) for level in range(_LEVELS)]
    noise = rng.normal(0, _NOISE, size).astype(np.float32)
    folder.mkdir(parents=True)
    return [_write(folder, k, _frame(blurred, noise, k, frames), kind) for k in range(frames)]


def _texture(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W) noise of all octaves, 30 to 220."""
    texture = np.zeros(size, np.float32)
    for octave in range(6):
        coarse = rng.random((-(-size[0] >> octave), -(-size[1] >> octave)), dtype=np.float32)
        texture += cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC) * 1.4**octave
    return 30 + 190 * (texture - texture.min()) / np.ptp(texture)


def _blurred(texture: NDArray[np.float32], sigma_px: float) -> NDArray[np.uint8]:
    picture = cv2.GaussianBlur(texture, (0, 0), sigma_px) if sigma_px else texture
    return np.rint(picture).astype(np.uint8)


def _frame(blurred: list[NDArray[np.uint8]], noise: NDArray[np.float32], k: int, count: int) -> NDArray[np.float32]:
    """(H, W) frame k: every row as blurred as it is far from its plane of focus."""
    height, width = noise.shape
    away = np.abs(k - count * np.linspace(0.15, 0.85, height)).clip(max=_LEVELS - 1.01)
    picture = np.empty((height, width), np.float32)
    for row in range(height):
        level, share = int(away[row]), away[row] % 1
        picture[row] = (1 - share) * blurred[level][row] + share * blurred[level + 1][row]
    scale = 1 + _BREATHING * (k - count / 2)
    shift = _DRIFT_PX * (k - count / 2) + (1 - scale) * np.array([width, height]) / 2
    moved = cv2.warpAffine(
        picture, np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), (width, height), borderMode=cv2.BORDER_REFLECT
    )
    return moved + np.roll(noise, 7919 * k)


def _write(folder: Path, k: int, picture: NDArray[np.float32], kind: str) -> Path:
    """Write a frame; the file's own library is used, so that neither compression nor metadata are ours."""
    white = 255 if kind == "jpeg" else 65535
    planes = [picture * np.float32(tint * white / 255) for tint in _TINTS]
    values = np.clip(np.rint(cv2.merge(planes)), 0, white)
    pixels = values.astype(np.uint8) if kind == "jpeg" else values.astype(np.uint16)
    path = folder / f"frame_{k:03d}{'.jpg' if kind == 'jpeg' else '.tif'}"
    options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY] if kind == "jpeg" else [cv2.IMWRITE_TIFF_COMPRESSION, 1]
    cv2.imwrite(str(path), pixels, options)
    return path
