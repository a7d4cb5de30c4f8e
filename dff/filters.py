"""Separable filters on stacks of planes, the same numbers for every strip height.

On the processor OpenCV does the work, without copying; on other devices torch's convolution does. Every output
row depends on its own input rows only (no running sums), so a strip with enough rows around it gives exactly
what the whole picture gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dff.stack import LUMINANCE


def luminance(images: Tensor) -> Tensor:
    """Weighted sum of the channels.

    Args:
        images: (N, C, H, W), C is 1 or 3.

    Returns:
        (N, H, W).
    """
    if images.shape[1] == 1:
        return images[:, 0]
    red, green, blue = LUMINANCE
    return images[:, 0] * red + images[:, 1] * green + images[:, 2] * blue


def by_opencv(planes: Tensor) -> bool:
    """Whether OpenCV does the work: on the processor, unless a network is being exported, which needs torch's own."""
    return planes.device.type == "cpu" and not exporting()


def exporting() -> bool:
    """Whether torch is writing down what is computed, for other programs to repeat."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


@lru_cache(maxsize=64)
def gaussian_kernel(sigma: float) -> NDArray[np.float32]:
    """Gaussian taps that sum to one, cut at three standard deviations.

    Args:
        sigma: Standard deviation in samples; 0 gives the identity.
    """
    if sigma <= 0:
        return np.ones(1, np.float32)
    radius = max(1, math.ceil(3 * sigma))
    x = np.arange(-radius, radius + 1)
    taps = np.exp(-0.5 * (x / sigma) ** 2)
    return (taps / taps.sum()).astype(np.float32)


def separable(
    planes: Tensor, row_taps: NDArray[np.float32], column_taps: NDArray[np.float32], *, out: Tensor | None = None
) -> Tensor:
    """Correlate every plane with the outer product of two kernels of odd length; borders are mirrored.

    Args:
        planes: (N, H, W) float32.
        row_taps: Taps along x.
        column_taps: Taps along y.
        out: (N, H, W) contiguous on the processor, to be filled and given back; by default new memory.

    Returns:
        (N, H, W).
    """
    if by_opencv(planes):
        return _separable_cpu(planes, row_taps, column_taps, torch.empty(planes.shape) if out is None else out)
    across, down = len(row_taps) // 2, len(column_taps) // 2
    padded = F.pad(planes[:, None], (across, across, down, down), mode="reflect")
    rows = torch.as_tensor(row_taps, device=planes.device).view(1, 1, 1, -1)
    columns = torch.as_tensor(column_taps, device=planes.device).view(1, 1, -1, 1)
    return F.conv2d(F.conv2d(padded, rows), columns)[:, 0]


def _separable_cpu(
    planes: Tensor, row_taps: NDArray[np.float32], column_taps: NDArray[np.float32], out: Tensor
) -> Tensor:
    for plane, target in zip(planes.contiguous().numpy(), out.numpy()):
        cv2.sepFilter2D(plane, cv2.CV_32F, row_taps, column_taps, dst=target, borderType=cv2.BORDER_REFLECT_101)
    return out


def gaussian(planes: Tensor, sigma_px: float, *, out: Tensor | None = None) -> Tensor:
    """Gaussian mean of every plane, (N, H, W) → (N, H, W); `out` as for `separable`."""
    taps = gaussian_kernel(sigma_px)
    return separable(planes, taps, taps, out=out)


def correlate(planes: Tensor, kernel: NDArray[np.float32]) -> Tensor:
    """Correlate every plane with a small kernel of odd size; borders are mirrored.

    Args:
        planes: (N, H, W) float32.
        kernel: (rows, columns) taps; zeros cost nothing on the processor.

    Returns:
        (N, H, W).
    """
    if by_opencv(planes):
        source = planes.contiguous().numpy()
        result = np.empty_like(source)
        for plane, target in zip(source, result):
            cv2.filter2D(plane, cv2.CV_32F, kernel, dst=target, borderType=cv2.BORDER_REFLECT_101)
        return torch.from_numpy(result)
    down, across = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = F.pad(planes[:, None], (across, across, down, down), mode="reflect")
    return F.conv2d(padded, torch.as_tensor(kernel.copy(), device=planes.device)[None, None])[:, 0]


def box(planes: Tensor, radius_px: int) -> Tensor:
    """Mean over the square of every pixel, of the pixels that are there at the border, (N, H, W) → (N, H, W)."""
    side = 2 * radius_px + 1
    rows = F.avg_pool2d(planes[:, None], (1, side), 1, (0, radius_px), count_include_pad=False)
    return F.avg_pool2d(rows, (side, 1), 1, (radius_px, 0), count_include_pad=False)[:, 0]


def mirrored_box(planes: Tensor, radius_px: int) -> Tensor:
    """Mean over the square of every pixel; borders are mirrored, (N, H, W) → (N, H, W)."""
    taps = np.full(2 * radius_px + 1, 1 / (2 * radius_px + 1), np.float32)
    return separable(planes, taps, taps)


def guided(guide: Tensor, planes: Tensor, *, radius_px: int, eps: float) -> Tensor:
    """Planes smoothed where the guide is flat, kept where it has edges (He, Sun and Tang, PAMI 2013).

    Args:
        guide: (N, H, W).
        planes: (N, H, W).
        radius_px: Half the side of the window.
        eps: Variance of the guide below which it is flat.

    Returns:
        (N, H, W).
    """
    mean_guide, mean_planes = box(guide, radius_px), box(planes, radius_px)
    variance = (box(guide * guide, radius_px) - mean_guide**2).clamp_min(0)
    slope = (box(guide * planes, radius_px) - mean_guide * mean_planes) / (variance + eps)
    return box(slope, radius_px) * guide + box(mean_planes - slope * mean_guide, radius_px)


def guided_by_colours(colours: Tensor, plane: Tensor, *, radius_px: int, noise: float) -> Tensor:
    """A plane as linear functions of the colours around, which the windows agree on (He, Sun and Tang, PAMI 2013).

    Args:
        colours: (C, H, W).
        plane: (H, W).
        radius_px: Half the side of the window.
        noise: Variance of the colours, relative to their mean square, below which they are flat: exposure has no say.

    Returns:
        (H, W).
    """
    count = len(colours)
    pairs = [(i, j) for i in range(count) for j in range(i, count)]
    products = torch.stack([colours[i] * colours[j] for i, j in pairs])
    found = mirrored_box(torch.cat([colours, plane[None], products, colours * plane]), radius_px)
    mean, level, products, together = found.split([count, 1, len(pairs), count])
    spread = torch.empty(*plane.shape, count, count, dtype=torch.float64)
    for (i, j), product in zip(pairs, products):
        spread[..., i, j] = spread[..., j, i] = product.double() - mean[i].double() * mean[j]
    bright = torch.stack([product for (i, j), product in zip(pairs, products) if i == j]).mean(0)
    spread.diagonal(dim1=-2, dim2=-1).add_((noise * bright + 1e-9)[..., None])
    slope = torch.linalg.solve(spread, (together - mean * level).movedim(0, -1).double()).movedim(-1, 0).float()
    offset = level - (slope * mean).sum(0)
    *slopes, shift = mirrored_box(torch.cat([slope, offset]), radius_px)
    return (torch.stack(slopes) * colours).sum(0) + shift


def map_planes(function: Callable[[Tensor], Tensor], planes: Tensor) -> Tensor:
    """Apply a function to one plane at a time, so that temporaries stay as small as a plane.

    On the processor planes are shared out between as many threads as torch may use.

    Args:
        function: (1, H, W) → (1, H, W).
        planes: (N, H, W).

    Returns:
        (N, H, W).
    """
    if exporting():
        return function(planes)
    result = torch.empty_like(planes, memory_format=torch.contiguous_format)

    def one(k: int) -> None:
        result[k] = function(planes[k : k + 1])[0]

    threads = torch.get_num_threads() if planes.device.type == "cpu" else 1
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(len(planes))))
    return result
