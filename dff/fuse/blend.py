"""Laplacian-pyramid blending: in every band the frames near the index, and among them those with the most detail."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dff.filters import gaussian
from dff.fuse.bands import NOISE_GAIN, collapse, gaussian_pyramid, laplacian_pyramid
from dff.fuse.frames import FrameStack
from dff.fuse.weights import PlaneOf

ENERGY_SIGMA_PX = 0.7
_NOISE_FACTOR = 5.0
"""Energies below this many times that of noise hardly count."""
_CHALLENGE = 0.3
"""Weight, against a frame at the index, of detail that the index does not point at."""
_CHALLENGED_LEVELS = 2
"""Finest bands, in which that may happen."""
_TINY = 1e-30


def pyramid_blend(
    stack: FrameStack, weight: PlaneOf, *, noise: float, levels: int, clipped: Tensor | None = None
) -> Tensor:
    """Mean of every band of the frames with weights of its own, put together again.

    In band l frame k weighs G_l(w_k) (1 + x)^4 + c x^4, where G_l(w_k) is its weight low-passed to the band
    (Burt and Adelson 1983) and x the local energy of the band over that of noise. The second term, in the two finest
    bands only, lets detail far from the index win where it is much stronger, as on bristles that the index has
    lost. The low-pass rest and the surroundings of clipped highlights have the weights G_l(w_k) alone: the disc of a
    defocused highlight is no detail.

    Args:
        stack: The frames. What they hold where they are not valid should continue the picture: it has no weight,
            but the bands of its neighbours reach into it.
        weight: (H, W) weight of frame k.
        noise: Standard deviation of the noise of a frame, white being one.
        levels: Number of halvings.
        clipped: (H, W) where detail does not decide; without it detail does everywhere, but only among the frames
            that have a weight.

    Returns:
        (C, H, W).
    """
    blend: list[Tensor] = []
    totals: list[Tensor] = []
    gains = _energy_gains(clipped, noise, levels)
    for k in range(stack.count):
        bands = laplacian_pyramid(stack[k], levels)
        challenge = None if clipped is None else stack.usable(k, torch.full_like(clipped, _CHALLENGE), 0.0)
        shares = _band_weights(bands, weight(k), challenge, gains)
        parts = [band * share for band, share in zip(bands, shares)]
        blend = [total.add_(part) for total, part in zip(blend, parts)] if blend else parts
        totals = [total.add_(share) for total, share in zip(totals, shares)] if totals else shares
    return collapse([band / total for band, total in zip(blend, totals)])


def _energy_gains(clipped: Tensor | None, noise: float, levels: int) -> list[Tensor | float]:
    """One over the energy of noise in each band, zero where detail does not decide."""
    gains = [1 / (_NOISE_FACTOR * noise**2 * gain + 1e-8) for gain in NOISE_GAIN[:levels]]
    if clipped is None:
        return list(gains)
    return [low[0] * gain for low, gain in zip(gaussian_pyramid(1 - clipped[None], levels), gains)]


def _band_weights(
    bands: Sequence[Tensor], weight: Tensor, challenge: Tensor | None, gains: Sequence[Tensor | float]
) -> list[Tensor]:
    levels = len(bands) - 1
    near = [low[0] for low in gaussian_pyramid(weight[None], levels)]
    far = None if challenge is None else gaussian_pyramid(challenge[None], levels)
    weights = []
    for level, gain in enumerate(gains):
        band = bands[level]
        energy = gaussian((band * band).mean(0, keepdim=True), ENERGY_SIGMA_PX)[0] * gain
        share = near[level] * _fourth_power(1 + energy)
        if far is not None and level < _CHALLENGED_LEVELS:
            share += far[level][0] * _fourth_power(energy)
        weights.append(share.add_(_TINY))
    return [*weights, near[levels] + _TINY]


def _fourth_power(values: Tensor) -> Tensor:
    square = values * values
    return square * square


def window_sigma(clipped: Tensor, noise: float) -> Tensor:
    """(H, W) frames around the index whose mean is best: more of them in noise, few around clipped highlights.

    The mean over a Gaussian of s frames has a variance that falls as noise² / s and a blur that grows as s², so
    that the best s goes with the power 2/5 of the noise. Defocused highlights are clipped over a larger disc and
    brighten what surrounds them, so next to them the index alone is followed.
    """
    sigma = min(max(0.9 * (noise / 0.004) ** 0.4, 0.7), 3.0)
    return torch.where(clipped > 0, 0.4, torch.full_like(clipped, sigma))
