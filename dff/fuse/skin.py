"""Softer transitions between frames on skin: it has little texture, and a sharp seam on a cheek is seen at once.

Where a picture has the colour of skin and no edges, the weights of the frames are feathered before they mix. No
network has to do with it; the frames' own pixels are mixed, none is made.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dff import filters

FEATHER_SIGMA_PX = 6.0
HALO_PX = 32
"""Context: the feather's three standard deviations, and those of what tells skin."""
BLUE_CHROMA, RED_CHROMA = (77 / 255, 127 / 255), (133 / 255, 173 / 255)
"""Of skin of every shade, in YCbCr (Chai and Ngan, IEEE TCSVT 9(4), 1999)."""
CHROMA_RAMP = 5 / 255
FLAT_GRADIENT, EDGE_GRADIENT = 0.01, 0.04
"""Differences between neighbours up to which skin is smooth, and from which it is an edge."""


def skin_share(picture: Tensor) -> Tensor:
    """How much each pixel is smooth skin, 0 to 1.

    Args:
        picture: (3, H, W) RGB from 0 to 1, encoded for display.

    Returns:
        (H, W).
    """
    red, green, blue = filters.gaussian(picture, 1.0)
    light = 0.299 * red + 0.587 * green + 0.114 * blue
    share = _inside((blue - light) / 1.772 + 128 / 255, *BLUE_CHROMA)
    share = share * _inside((red - light) / 1.402 + 128 / 255, *RED_CHROMA)
    across, down = torch.zeros_like(light), torch.zeros_like(light)
    across[:, 1:], down[1:] = light[:, 1:] - light[:, :-1], light[1:] - light[:-1]
    gradient = torch.hypot(across, down)
    smooth = ((EDGE_GRADIENT - gradient) / (EDGE_GRADIENT - FLAT_GRADIENT)).clamp(0, 1)
    return filters.gaussian((share * smooth)[None], 2.0)[0]


def _inside(values: Tensor, low: float, high: float) -> Tensor:
    """1 within the bounds, falling to 0 over a ramp outside."""
    return (1 - torch.maximum(low - values, values - high) / CHROMA_RAMP).clamp(0, 1)


def softened(picture: Tensor, images: Tensor, share: Tensor) -> Tensor:
    """The picture with feathered transitions where it is smooth skin; untouched where it is not.

    Args:
        picture: (3, H, W) fused of the images, 0 to 1.
        images: (N, 3, H, W).
        share: (N, H, W) weight of every frame; they sum to one.

    Returns:
        (3, H, W).
    """
    feathered = filters.gaussian(share, FEATHER_SIGMA_PX)
    soft = (images * (feathered / feathered.sum(0).clamp_min(1e-6))[:, None]).sum(0)
    return picture + skin_share(picture) * (soft - picture)
