"""How much a picture's texture tells about focus, pixel by pixel."""

from __future__ import annotations

import numpy as np
import torch

from dff import filters
from dff.stack import FloatArray


def texture_energy(sharp: FloatArray, window_sigma_px: float) -> tuple[FloatArray, FloatArray]:
    """Variance of the luminance in a window, and its mean frequency in cycles per px: V and f of focus_limit.

    V f is the integral of |f| over the spectrum, so it is the local mean square of the picture filtered by the
    square root of frequency (Parseval).

    Args:
        sharp: (H, W, 3) noise-free picture in focus.
        window_sigma_px: Standard deviation of the window, px.

    Returns:
        (H, W) variance and (H, W) frequency; the frequency is 0 where there is no texture.
    """
    image = torch.from_numpy(np.ascontiguousarray(sharp.transpose(2, 0, 1)))[None].double()
    light = filters.luminance(image)[0].numpy()
    padded = np.pad(light, 16, mode="reflect")
    frequency = np.hypot(np.fft.fftfreq(padded.shape[0])[:, None], np.fft.rfftfreq(padded.shape[1])[None])
    weighted = np.fft.irfft2(np.fft.rfft2(padded) * np.sqrt(frequency), s=padded.shape)[16:-16, 16:-16]
    mean, square, product = _windowed(np.stack([light, light**2, weighted**2]), window_sigma_px)
    variance = np.maximum(square - mean**2, 0)
    return variance, np.where(variance > 1e-12, product / np.maximum(variance, 1e-12), 0.0)


def _windowed(planes: FloatArray, sigma_px: float) -> FloatArray:
    return filters.gaussian(torch.from_numpy(planes.astype(np.float32)), sigma_px).numpy().astype(float)
