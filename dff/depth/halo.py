"""Halos: what defocus makes of strong edges is no evidence of a surface.

A frame far from a strong edge's own has it spread over a disk whose radius grows with the distance of the frames. The
rim of the disk passes over blank ground beside the edge, whose focus curve then peaks there, at the ends of the sweep
most of all. Such a peak is weak beside the edge's own and no farther from it than the disk reaches; it belongs to no
surface that goes on beyond the disk; and it is flat, for the rim of one frame is the inside of the disk of another,
while a texture's energy falls to that of the noise.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dff.depth.select import LATTICE

HALO_PX = 32
"""Rows of context that the answer depends on."""
LEAST_GROWTH_PX = 1.0
"""Where the blur grows by less from frame to frame, halos reach no farther than edges are blurred anyway."""
_STEPS = 5
"""Cells within which strong edges are looked for."""
_REACH = 3
"""Cells within which the rest of a surface is looked for."""
_WEAKER = 1.5
_APART_FRAMES = 2
_SAME_FRAMES = 1
_OWN_SHARE = 0.5
_FLAT_SHARE = 0.4
"""Curves whose peak is above their mean by less than this share of its height above the noise are flat."""
_MARGIN_PX = 4.0
_DISK = 8.0
"""Reach of a halo over the standard deviation of the blur: a disk's radius is twice its own, and the growth is
underestimated as much where pictures are never sharp to the pixel."""
_EXPONENT = 1.5
_LARGEST_GROWTH_PX = 4.0
_LABEL_ROOM = 1 << 16
_STEPS_A_UNIT = 100.0
_LEAST_LOGIT = -41.0


def blur_growth_px(drop: float, z_sigma_frames: float) -> float:
    """Growth of the blur in px a frame, roughly, from how much a logit drops within a frame.

    Energies fall off as (1 + (g k)²)^-1.5 for a blur of about a pixel in focus; the filter along the stack widens that.

    Args:
        drop: Logarithm of energy.
        z_sigma_frames: Standard deviation of the filter along the stack.
    """
    if drop <= 0:
        return 0.0
    width = 1 / math.expm1(drop / _EXPONENT) - z_sigma_frames**2
    return 1 / math.sqrt(max(width, 1 / _LARGEST_GROWTH_PX**2))


def in_halo(peak: Tensor, mean: Tensor, label: Tensor, growth_px: float, noise_logit: float) -> Tensor:
    """(H, W) bool: where the peak at the label is that of a neighbour's defocus.

    Args:
        peak: (H, W) logit at the label.
        mean: (H, W) mean of the logits, those below that of noise counted as that.
        label: (H, W) int64 frame of every pixel; the first row is at a multiple of LATTICE in the whole picture.
        growth_px: Growth of the blur's standard deviation, px a frame.
        noise_logit: Logit of a place without texture.
    """
    logit, frame = _cells(peak, label)
    doubted = _beside_stronger(logit, frame, growth_px)
    alone = doubted & (_share_of_surface(frame, ~doubted) < _OWN_SHARE)
    height, width = label.shape
    cell, its_frame = (_upsampled(values, height, width) for values in (alone, frame))
    return cell & ((label - its_frame).abs() <= _SAME_FRAMES) & _is_flat(peak, mean, noise_logit)


def _is_flat(peak: Tensor, mean: Tensor, noise_logit: float) -> Tensor:
    """(H, W) bool: the mean of the focus curve is not far below its peak."""
    return peak - mean < _FLAT_SHARE * (peak - noise_logit)


def _cells(peak: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """(h, w) largest logit in every cell, and the label of its pixel."""
    return _unpacked(F.max_pool2d(_packed(peak, label)[None], LATTICE, ceil_mode=True)[0])


def _packed(logit: Tensor, label: Tensor) -> Tensor:
    """Logit and label as one number that is the larger the larger the logit."""
    steps = ((logit.double() - _LEAST_LOGIT) * _STEPS_A_UNIT).clamp_min(0).round()
    return steps * _LABEL_ROOM + label


def _unpacked(packed: Tensor) -> tuple[Tensor, Tensor]:
    steps = torch.floor(packed / _LABEL_ROOM)
    return steps / _STEPS_A_UNIT + _LEAST_LOGIT, (packed - steps * _LABEL_ROOM).to(torch.int64)


def _beside_stronger(logit: Tensor, frame: Tensor, growth_px: float) -> Tensor:
    """(h, w) bool: a cell of another frame is stronger, and near enough to spread over this one."""
    strongest, found = _packed(logit, frame), torch.zeros_like(frame, dtype=torch.bool)
    for step in range(1, _STEPS + 1):
        strongest = F.max_pool2d(strongest[None], 3, 1, 1)[0]
        other, its_frame = _unpacked(strongest)
        apart = (its_frame - frame).abs()
        reaches = _DISK * growth_px * apart + _MARGIN_PX >= LATTICE * step
        found |= (other - logit > _WEAKER) & (apart >= _APART_FRAMES) & reaches
    return found


def _share_of_surface(frame: Tensor, clear: Tensor) -> Tensor:
    """(h, w) share of the cells around of about the same frame that are beyond doubt."""
    height, width = frame.shape
    pad = (_REACH,) * 4
    frames = F.pad(frame, pad, value=-_LABEL_ROOM)
    clears = F.pad(clear, pad)
    good, same = (torch.zeros_like(frame, dtype=torch.float32) for _ in range(2))
    reach = range(-_REACH, _REACH + 1)
    for y, x in ((y, x) for y in reach for x in reach if 0 < x * x + y * y <= _REACH * _REACH):
        rows, columns = slice(_REACH + y, _REACH + y + height), slice(_REACH + x, _REACH + x + width)
        like = (frames[rows, columns] - frame).abs() <= _SAME_FRAMES
        same += like
        good += like & clears[rows, columns]
    return good / same.clamp_min(1)


def _upsampled(cells: Tensor, height: int, width: int) -> Tensor:
    """(H, W) every cell's value at its pixels."""
    return cells.repeat_interleave(LATTICE, 0)[:height].repeat_interleave(LATTICE, 1)[:, :width]
