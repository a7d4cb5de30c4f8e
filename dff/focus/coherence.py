"""Coherence along the stack: neighbouring frames say nearly the same, so their noise can be averaged away.

The signed images are filtered along z before any measure squares them. Rows are Gaussian and scaled to equal noise
gain, at the ends too: otherwise the noisier end frames look sharper and every empty pixel peaks there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff import filters
from dff.stack import LUMINANCE

_CUT_SIGMAS = 3.0


@dataclass(frozen=True)
class StackFilter:
    """A filter along the stack and what it does to the frames."""

    rows: NDArray[np.float64]
    """(N, N) weights of the frames (columns) in each filtered frame."""

    @property
    def position(self) -> NDArray[np.float64]:
        """(N,) frame index that each filtered frame stands for: off the whole numbers near the ends."""
        return self.rows @ np.arange(len(self.rows)) / self.gain

    @property
    def gain(self) -> NDArray[np.float64]:
        """(N,) factor on detail that stays in focus over the filter's width."""
        return self.rows.sum(1)

    @property
    def bands(self) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.intp]]:
        """(N, most) weights of neighbouring frames in each row, the first of them, and how many they are."""
        first = (self.rows != 0).argmax(1)
        counts = len(self.rows) - (self.rows[:, ::-1] != 0).argmax(1) - first
        weights = np.zeros((len(self.rows), int(counts.max())), np.float32)
        for row, weight, start, count in zip(self.rows, weights, first, counts):
            weight[:count] = row[start : start + count]
        return weights, first, counts

    def __call__(self, images: Tensor) -> Tensor:
        """Filtered images y = mean + M (x - mean), where the mean is that of the stack at each pixel.

        Args:
            images: (N, ...).
        """
        if filters.by_opencv(images) and not images.requires_grad:
            return self._compiled(images)
        mean = images.mean(0)
        result = torch.empty_like(images)
        for k, row in enumerate(self.rows):
            frame = torch.mul(mean, float(1 - row.sum()), out=result[k])
            for j in np.flatnonzero(row):
                frame.add_(images[j], alpha=float(row[j]))
        return result

    def _compiled(self, images: Tensor) -> Tensor:
        from dff.focus.coherence_loops import mixed

        frames = images.contiguous()
        # NumPy asks for large pages, which a system clears sooner.
        result = np.empty(frames.shape, np.float32)
        mixed(frames.flatten(1).numpy(), *self.bands, result.reshape(len(frames), -1))
        return torch.from_numpy(result)


def luminance_of(pixels: NDArray[Any], scale: float, out: Tensor) -> Tensor:
    """Weighted sum of the channels of a frame.

    Args:
        pixels: (H, W, C) of any type, C is 1 or 3.
        scale: What they are multiplied by.
        out: (H, W) float32, filled and given back.
    """
    from dff.focus.coherence_loops import luminance

    if pixels.shape[2] == 1:
        np.multiply(pixels[..., 0], np.float32(scale), out=out.numpy())
        return out
    weights = (np.array(LUMINANCE) * scale).astype(np.float32)
    luminance(np.ascontiguousarray(pixels).reshape(len(pixels), -1), weights, out.numpy())
    return out


def stack_filter(z: NDArray[Any], sigma_frames: float) -> StackFilter:
    """Gaussian rows along z of equal noise gain, for even and uneven steps.

    Each row's weights are scaled to the L2 norm that an interior row of an even stack has at unit gain.

    Args:
        z: (N,) positions of the frames, strictly monotone, in any unit.
        sigma_frames: Standard deviation in mean steps; 0 filters nothing.

    Raises:
        ValueError: a negative standard deviation, or positions that are not monotone.
    """
    if not sigma_frames >= 0:
        raise ValueError(f"z_sigma_frames: must be at least 0; got {sigma_frames}; give 0 to turn the filter off")
    t = frame_units(z)
    if sigma_frames == 0:
        return StackFilter(np.eye(len(t)))
    distance = np.abs(t[:, None] - t)
    weights = np.where(distance <= _CUT_SIGMAS * sigma_frames, np.exp(-0.5 * (distance / sigma_frames) ** 2), 0)
    reach = math.floor(_CUT_SIGMAS * sigma_frames)
    interior = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_frames) ** 2)
    noise_gain = np.linalg.norm(interior) / interior.sum()
    return StackFilter(weights * (noise_gain / np.linalg.norm(weights, axis=1, keepdims=True)))


def frame_units(z: NDArray[Any]) -> NDArray[np.float64]:
    """(N,) positions in mean steps from the first frame, increasing.

    Raises:
        ValueError: positions that are not strictly monotone.
    """
    z = np.asarray(z, float)
    steps = np.diff(z)
    if len(z) < 2 or not ((steps > 0).all() or (steps < 0).all()):
        raise ValueError(f"z: must be strictly monotone over at least 2 frames; got {z.tolist()}; sort the frames")
    return (z - z[0]) / steps.mean()
