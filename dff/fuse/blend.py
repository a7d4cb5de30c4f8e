"""Laplacian-pyramid blending: in every band the frames in focus near by, and among them those with the most detail."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dff.filters import gaussian
from dff.fuse.bands import NOISE_GAIN, collapse, laplacian_pyramid
from dff.fuse.frames import FrameStack
from dff.fuse.weights import PlaneOf

ENERGY_SIGMA_PX = 0.7
_NOISE_FACTOR = 8.0
"""Energies below this many times that of noise hardly count."""
_LEAST_GAIN = 0.05
"""Noise gain that no band is taken to have less of: coarse bands are spoiled by other things than noise."""
_AROUND = 0.3
"""Weight of a frame in focus near by, against one in focus here."""
_CELL_PX, _CELLS = 4, 2
"""Near by is what lies within so many cells of so many pixels."""
_TINY = 1e-30


def pyramid_blend(
    stack: FrameStack, weight: PlaneOf, *, noise: float, levels: int, clipped: Tensor | None = None
) -> Tensor:
    """Mean of every band of the frames with weights of its own, put together again.

    In a band frame k weighs max(w, 0.3 w') (1 + x)^6, where w is its weight, w' the largest weight within some 10 px
    and x the local energy of the band over that of noise. So at a depth step both sides' frames are candidates and
    detail decides, band by band: the blurred rim of one side has less of it than the other side in focus. Frames
    that are in focus nowhere near have no say, whatever they show: the discs of defocused highlights have sharp
    edges. The low-pass rest has the weights alone; the surroundings of clipped highlights have w alone.

    Bands: Burt and Adelson, IEEE Transactions on Communications 31(4), 1983.

    Args:
        stack: The frames. What they hold where they are not valid should continue the picture: it has no weight,
            but the bands of its neighbours reach into it.
        weight: (H, W) weight of frame k.
        noise: Standard deviation of the noise of a frame, white being one.
        levels: Number of halvings.
        clipped: (H, W) one around clipped highlights, else zero; without it all weights are w.

    Returns:
        (C, H, W).
    """
    blend: list[Tensor] = []
    totals: list[Tensor] = []
    gains = _energy_gains(clipped, noise, levels)
    for k in range(stack.count):
        here = weight(k)
        if clipped is not None:
            around = torch.maximum(here, _AROUND * largest_near(here) * (1 - clipped))
            here = stack.usable(k, around, 0.0)
        bands = laplacian_pyramid(stack[k], levels)
        shares = _band_weights(bands, here, gains)
        parts = [band * share for band, share in zip(bands, shares)]
        blend = [total.add_(part) for total, part in zip(blend, parts)] if blend else parts
        totals = [total.add_(share) for total, share in zip(totals, shares)] if totals else shares
    return collapse([band / total for band, total in zip(blend, totals)])


def largest_near(plane: Tensor) -> Tensor:
    """(H, W) largest value of a plane within some cells of each pixel's own; cells start at multiples of their side."""
    height, width = plane.shape
    cells = F.max_pool2d(plane[None, None], _CELL_PX, ceil_mode=True)
    largest = F.max_pool2d(cells, 2 * _CELLS + 1, 1, _CELLS)[0, 0]
    return largest.repeat_interleave(_CELL_PX, 0)[:height].repeat_interleave(_CELL_PX, 1)[:, :width]


def _energy_gains(clipped: Tensor | None, noise: float, levels: int) -> list[Tensor | float]:
    """One over the energy of noise in each band, zero where detail does not decide."""
    gains = [1 / (_NOISE_FACTOR * noise**2 * (gain + _LEAST_GAIN)) for gain in NOISE_GAIN[:levels]]
    if clipped is None:
        return list(gains)
    return [_at_level(1 - clipped, level) * gain for level, gain in enumerate(gains)]


def _band_weights(bands: Sequence[Tensor], weight: Tensor, gains: Sequence[Tensor | float]) -> list[Tensor]:
    levels = len(bands) - 1
    weights = []
    for level, gain in enumerate(gains):
        band = bands[level]
        energy = gaussian((band * band).mean(0, keepdim=True), ENERGY_SIGMA_PX)[0] * gain
        weights.append((_at_level(weight, level) + _TINY) * _sixth_power(1 + energy))
    return [*weights, _at_level(weight, levels) + _TINY]


def _at_level(plane: Tensor, level: int) -> Tensor:
    return plane[:: 2**level, :: 2**level]


def _sixth_power(values: Tensor) -> Tensor:
    cube = values * values * values
    return cube * cube


def window_frames(clipped: Tensor, noise: float) -> Tensor:
    """(H, W) frames on either side of the index that have weight: more in noise, one around clipped highlights.

    The mean over s frames has a variance that falls as noise² / s and a blur that grows as s², so that the best s
    goes with the power 2/5 of the noise. Defocused highlights are clipped over a larger disc and brighten what
    surrounds them, so next to them the index alone is followed.
    """
    reach = min(max(2.0 * (noise / 0.004) ** 0.4, 1.5), 6.5)
    return torch.where(clipped > 0, 0.9, torch.full_like(clipped, reach))
