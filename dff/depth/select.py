"""Labels: the frame that is sharpest at each pixel, on the pixels and on the coarse lattice."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dff import filters
from dff.focus import CELL

LATTICE = CELL
"""The lattice has one site for every LATTICE x LATTICE pixels; strips must start at multiples of it."""


def lattice_size(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the lattice of a picture."""
    return -(-height // LATTICE), -(-width // LATTICE)


def select_depth(volume: Tensor) -> Tensor:
    """(N, H, W) logits → (H, W) int64 index of the largest; the first of equals."""
    best = volume[0].clone()
    label = torch.zeros(volume.shape[1:], dtype=torch.int64, device=volume.device)
    for k in range(1, len(volume)):
        better = volume[k] > best
        label.masked_fill_(better, k)
        torch.maximum(best, volume[k], out=best)
    return label


def lattice_volume(volume: Tensor) -> Tensor:
    """Logarithm of the mean energy of every lattice cell.

    Args:
        volume: (N, H, W) logits; the first row must be at a multiple of LATTICE in the whole picture.

    Returns:
        (N, ceil(H / LATTICE), ceil(W / LATTICE)).
    """
    count, height, width = volume.shape
    rows, columns = lattice_size(height, width)
    result = volume.new_empty(count, rows, columns)
    for k in range(count):
        padded = F.pad(
            volume[k][None, None], (0, columns * LATTICE - width, 0, rows * LATTICE - height), mode="replicate"
        )
        result[k] = F.avg_pool2d(padded.exp_(), LATTICE)[0, 0].log_()
    return result


def upsample_label(volume: Tensor, lattice_label: Tensor, *, top: int = 0, left: int = 0) -> Tensor:
    """Full-resolution label: of the lattice labels around each pixel, the one its own logits support best.

    Args:
        volume: (N, H, W) logits of a part of the picture.
        lattice_label: (h, w) labels of the whole picture's lattice.
        top: First row of the part in the whole picture, a multiple of LATTICE.
        left: First column, likewise.

    Returns:
        (H, W) int64.
    """
    from dff.depth.curve_loops import best_of_sites

    label = torch.empty(volume.shape[1:], dtype=torch.int64)
    best_of_sites(volume.numpy(), lattice_label.to(torch.int64).numpy(), LATTICE, top, left, label.numpy())
    return label


def largest(values: Tensor, reach: int) -> Tensor:
    """(H, W) float32 maximum over a square.

    Args:
        values: (H, W).
        reach: Pixels on either side.
    """
    if filters.by_opencv(values):
        square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
        return torch.from_numpy(cv2.dilate(values.to(torch.float32).numpy(), square))
    across = F.max_pool2d(values.to(torch.float32)[None, None], (1, 2 * reach + 1), 1, (0, reach))
    return F.max_pool2d(across, (2 * reach + 1, 1), 1, (reach, 0))[0, 0]
