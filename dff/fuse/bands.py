"""Gaussian and Laplacian pyramids of planes (C, H, W); a level starts at every second row of the finer one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

NOISE_GAIN = (0.888, 0.0533, 0.0103, 0.0024, 0.0006, 0.000155)
"""Variance of each band of a picture of white noise of variance one."""


def gaussian_pyramid(planes: Tensor, levels: int) -> list[Tensor]:
    """Planes (C, H, W) and their `levels` halvings, finest first."""
    pyramid = [planes]
    for _ in range(levels):
        pyramid.append(_halve(pyramid[-1]))
    return pyramid


def laplacian_pyramid(planes: Tensor, levels: int) -> list[Tensor]:
    """Bands of planes (C, H, W), finest first, and the low-pass rest; `collapse` is the inverse.

    Burt and Adelson, IEEE Transactions on Communications 31(4), 1983.
    """
    low = gaussian_pyramid(planes, levels)
    bands = []
    for fine, coarse in itertools.pairwise(low):
        smooth = _double(coarse, fine)
        bands.append(torch.sub(fine, smooth, out=smooth))
    return [*bands, low[-1]]


def collapse(bands: Sequence[Tensor]) -> Tensor:
    """Planes (C, H, W) of a Laplacian pyramid."""
    planes = bands[-1]
    for band in reversed(bands[:-1]):
        planes = band + _double(planes, band)
    return planes


def _halve(planes: Tensor) -> Tensor:
    """Every second pixel after the binomial filter 1 4 6 4 1, borders mirrored."""
    if planes.device.type == "cpu":
        size = (planes.shape[1] + 1) // 2, (planes.shape[2] + 1) // 2
        halved = np.empty((len(planes), *size), np.float32)
        for plane, target in zip(planes.contiguous().numpy(), halved):
            cv2.pyrDown(plane, dst=target, dstsize=size[::-1])
        return torch.from_numpy(halved)
    return _halve_axis(_halve_axis(planes, 2), 1)


def _double(planes: Tensor, like: Tensor) -> Tensor:
    """Planes interpolated by the same filter to the size of `like`."""
    height, width = like.shape[-2:]
    if planes.device.type == "cpu":
        doubled = np.empty((len(planes), height, width), np.float32)
        for plane, target in zip(planes.contiguous().numpy(), doubled):
            cv2.pyrUp(plane, dst=target, dstsize=(width, height))
        return torch.from_numpy(doubled)
    return _double_axis(_double_axis(planes, 1, height), 2, width)


def _halve_axis(planes: Tensor, axis: int) -> Tensor:
    """What cv2.pyrDown does along one axis, for other devices."""
    last = planes.shape[axis] - 1
    centres = torch.arange(0, last + 1, 2, device=planes.device)
    result = torch.zeros_like(planes.index_select(axis, centres))
    for offset, tap in zip(range(-2, 3), (1, 4, 6, 4, 1)):
        mirrored = last - (last - (centres + offset).abs()).abs()
        result += planes.index_select(axis, mirrored.clamp(min=0)) * (tap / 16)
    return result


def _double_axis(planes: Tensor, axis: int, size: int) -> Tensor:
    """What cv2.pyrUp does along one axis, for other devices: mirrored before the first, repeated after the last."""
    last = planes.shape[axis] - 1
    here = torch.arange(last + 1, device=planes.device)
    before = planes.index_select(axis, (here - 1).abs().clamp(max=last))
    after = planes.index_select(axis, (here + 1).clamp(max=last))
    pair = torch.stack([(before + 6 * planes + after) / 8, (planes + after) / 2], dim=axis + 1)
    return pair.flatten(axis, axis + 1).narrow(axis, 0, size)
