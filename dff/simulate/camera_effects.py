"""What comes between the scene's light and the sensor: flicker, vignetting, dust."""

from __future__ import annotations

import numpy as np

from dff.stack import FloatArray


def flicker_gains(frames: int, deviation: float, random: np.random.Generator) -> FloatArray:
    """(N,) brightness of the lamp in each frame, 1 on average."""
    gains = 1 + deviation * np.clip(random.standard_normal(frames), -2.5, 2.5)
    return gains / gains.mean()


def vignetting(size_px: tuple[int, int], fall: float) -> FloatArray:
    """(H, W, 1) share of the light that reaches the sensor: 1 in the middle, 1 - fall in the corners."""
    height, width = size_px
    down = (np.arange(height, dtype=np.float32)[:, None] - (height - 1) / 2) / (height / 2)
    across = (np.arange(width, dtype=np.float32)[None] - (width - 1) / 2) / (width / 2)
    return (1 - fall * np.minimum((down**2 + across**2) / 2, 1))[..., None].astype(np.float32)


def dust(size_px: tuple[int, int], specks: int, random: np.random.Generator) -> FloatArray:
    """(H, W, 1) share of the light that passes dust on the sensor: small soft shadows that stay with the pixels."""
    height, width = size_px
    down, across = np.mgrid[:height, :width].astype(np.float32)
    passed = np.ones(size_px, np.float32)
    for _ in range(specks):
        row, column = random.uniform(0, height), random.uniform(0, width)
        radius, dark, edge = random.uniform(1.5, 5), random.uniform(0.15, 0.5), 0.7
        distance = np.hypot(down - row, across - column)
        passed *= 1 - dark / (1 + np.exp(np.clip((distance - radius) / edge, -30, 30)))
    return passed[..., None]
