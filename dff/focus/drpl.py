"""DRPL (Li, Guo, Lu, Zhang, Xu, Wu, Zhang; IEEE TIP 29, 2020): both focus masks of a pair by deep regression.

Published: the two pictures side by side in the channels, full resolution throughout, a 9 x 9 and two 3 x 3 layers with
batch norm, rectifier and swish, 12 residual blocks, two more layers, two masks; a receptive field of 67 px; losses on
masks, merged picture and its edges; the decision (m1 + 1 - m2) / 2. Ours: luminance instead of colour, 16 channels
instead of 64, detail in units of the local contrast as input, so that weak texture counts, both orders of a pair asked
so that swapping the pictures swaps the answer, the rule for stacks (`dff.focus.pairs`), training on rendered pairs with
true occlusion, and a dilation of the later residual blocks for blur that 67 px cannot take in: the weights are trained
with and without it.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dff import filters
from dff.focus import pairs, weight_files
from dff.focus.inference import NETWORK_BYTES, in_tiles
from dff.focus.measure import FocusMeasure

CHANNELS = 16
BLOCKS = 12
DILATED_BLOCKS = 6
"""The last ones, whose dilation can be chosen."""
DILATIONS = (1, 2, 3, 4)
PUBLISHED_FIELD_PX = 67
CHAIN = pairs.Chain(temperature=12.0, most=3.0)
"""Of the measure: confidence of depth is then the share right to a frame, within 0.05, on scenes held back."""


class ConvSwish(nn.Sequential):
    """Convolution, batch norm, rectifier and, as published, swish on top of it."""

    def __init__(self, incoming: int, outgoing: int, side_px: int = 3):
        convolution = nn.Conv2d(incoming, outgoing, side_px, padding=side_px // 2, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outgoing), nn.ReLU(), nn.SiLU())


class Residual(nn.Module):
    """Two convolutions with batch norm, added to what comes in."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) → the same."""
        inner = F.relu(self.first_norm(self.first(features)))
        return F.relu(features + self.second_norm(self.second(inner)))


class Drpl(nn.Module):
    """(B, 2, H, W) luminance of two pictures → (B, 2, H, W) logits of their masks."""

    def __init__(self, channels: int = CHANNELS, dilation: int = 1) -> None:
        super().__init__()
        self.head = nn.Sequential(ConvSwish(2, channels, 9), *[ConvSwish(channels, channels) for _ in range(2)])
        self.blocks = nn.Sequential(*[Residual(channels) for _ in range(BLOCKS)])
        self.tail = nn.Sequential(
            *[ConvSwish(channels, channels) for _ in range(2)], nn.Conv2d(channels, 2, 3, padding=1)
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.dilate(dilation)

    def dilate(self, dilation: int) -> None:
        """Spread the taps of the later residual blocks; the weights fit every dilation."""
        for block in list(self.blocks)[-DILATED_BLOCKS:]:
            for convolution in (block.first, block.second):
                convolution.dilation = convolution.padding = (dilation, dilation)  # type: ignore[union-attr]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 2, H, W) from 0 to 1 → (B, 2, H, W) mask logits."""
        return self.masks(pairs.normalised(images))

    def masks(self, normalised: Tensor) -> Tensor:
        """(B, 2, H, W) detail in units of the local contrast → (B, 2, H, W) mask logits."""
        masks: Tensor = self.tail(self.blocks(self.head(normalised)))
        return masks


def field_px(dilation: int = 1) -> int:
    """Side of the square of normalised pixels that one answer depends on."""
    return PUBLISHED_FIELD_PX + 4 * DILATED_BLOCKS * (dilation - 1)


def context_px(dilation: int = 1) -> int:
    """Reach of one answer: half of the network's field, and what the contrast is taken from."""
    return field_px(dilation) // 2 + pairs.CONTRAST_REACH_PX


def sharper(network: Drpl, first: Tensor, second: Tensor) -> Tensor:
    """Log-odds that the first picture is the sharper, from both masks and both orders.

    Args:
        network: The network.
        first: (B, H, W) luminance.
        second: (B, H, W).

    Returns:
        (B, H, W).
    """
    forward, backward = (
        (masks[:, 0] - masks[:, 1]).float() / 2
        for masks in (network(torch.stack([first, second], 1)), network(torch.stack([second, first], 1)))
    )
    return pairs.first_is_sharper(forward, backward)


@torch.no_grad()
def stack_logits(network: Drpl, images: Tensor, *, chain: pairs.Chain = pairs.PICTURE) -> Tensor:
    """(N, 1, H, W) → (N, H, W), a pair of neighbours at a time."""
    network.to(images.device)
    before, after = pairs.neighbours(images[:, 0])
    odds = torch.cat([sharper(network, b[None], a[None]) for b, a in zip(after, before)])
    return chain(odds)


@torch.no_grad()
def pair_mask(network: Drpl, images: Tensor) -> Tensor:
    """(2, 1, H, W) → (1, H, W) share of the first, (m1 + 1 - m2) / 2 as published, of both orders."""
    network.to(images.device)
    forward, backward = (network(both[None, :, 0]).float().sigmoid() for both in (images, images.flip(0)))
    return (2 + forward[:, 0] - forward[:, 1] + backward[:, 1] - backward[:, 0]) / 4


def fused_picture(network: Drpl, images: Tensor, *, halo_px: int, tile_px: int | None = None) -> Tensor:
    """One picture of many: a pair by its masks, as published; more by the softmax of their logits.

    Args:
        network: The network.
        images: (N, C, H, W) from 0 to 1.
        halo_px: Context of a tile.
        tile_px: Side of the tiles a large picture is cut into.

    Returns:
        (C, H, W).
    """
    grey = filters.luminance(images)[:, None]
    if len(images) == 2:
        share = in_tiles(partial(pair_mask, network), grey, halo_px=halo_px, tile_px=tile_px)
        return images[0] * share + images[1] * (1 - share)
    return pairs.mixed(images, in_tiles(partial(stack_logits, network), grey, halo_px=halo_px, tile_px=tile_px))


def drpl(
    *,
    window_sigma_px: float | None = None,
    weights: str | None = None,
    dilation: int = 1,
    tile_px: int | None = None,
) -> FocusMeasure:
    """DRPL on pairs of neighbours, added up along the stack.

    Args:
        window_sigma_px: Without meaning here: the network has learned its windows.
        weights: Path of a weight file; the one that comes with the package if not given.
        dilation: Of the later residual blocks: 1 sees 67 px, as published; 2, 3 and 4 see 91, 115 and 139 px.
        tile_px: Side of the tiles a large picture is cut into.

    Raises:
        ValueError: a dilation that the weights were not trained with.
    """
    if dilation not in DILATIONS:
        raise ValueError(f"--dilation: must be one of 1, 2, 3, 4; got {dilation}; choose one of them")
    network = weight_files.loaded("drpl", Drpl, path=weights)
    network.dilate(dilation)
    halo_px = context_px(dilation)
    return FocusMeasure(
        "drpl",
        1,
        halo_px,
        "which of two neighbours is sharper, by deep regression, added up along the stack (DRPL)",
        partial(
            in_tiles,
            partial(stack_logits, network, chain=CHAIN),
            halo_px=halo_px,
            tile_px=tile_px,
        ),
        probabilistic=True,
        network_bytes=NETWORK_BYTES,
        picture=partial(fused_picture, network, halo_px=halo_px, tile_px=tile_px),
    )
