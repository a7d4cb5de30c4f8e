"""FuseGAN (Guo, Nie, Cao, Zhou, Mei, He; IEEE TMM 21(8), 2019): a focus confidence map by a conditional GAN.

Published: a Siamese encoder for both pictures, one decoder, a confidence map as output, a discriminator that judges
pictures and map together by least squares, refinement of the map by a convolutional conditional random field. The
layers, the weight of the L1 term and the field's constants are ours, since they could not be read: the skeleton of
image-to-image GANs, at a quarter of its usual width, on luminance. Also ours: both orders of a pair are asked so that
swapping the pictures swaps the answer, the rule for stacks (`dff.focus.pairs`), and the training pairs.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from dff import filters
from dff.focus import conv_crf, pairs, weight_files
from dff.focus.inference import NETWORK_BYTES, in_tiles
from dff.focus.measure import FocusMeasure

WIDTH = 16
BLOCKS = 6
STRIDE = 4
CHAIN = pairs.Chain(temperature=4.5, most=3.0)
"""Of the measure: confidence of depth is then the share right to a frame, within 0.03, on scenes held back."""
HALO_PX = 64
"""Context of the generator: 63 px."""


class ConvNorm(nn.Sequential):
    """Convolution, batch norm, rectifier."""

    def __init__(self, incoming: int, outgoing: int, side_px: int, stride: int = 1):
        convolution = nn.Conv2d(incoming, outgoing, side_px, stride, side_px // 2, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outgoing), nn.ReLU())


class UpNorm(nn.Sequential):
    """Transposed convolution to twice the size, batch norm, rectifier."""

    def __init__(self, incoming: int, outgoing: int):
        convolution = nn.ConvTranspose2d(incoming, outgoing, 4, 2, 1, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outgoing), nn.ReLU())


class Residual(nn.Module):
    """Two convolutions, added to what comes in."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = ConvNorm(channels, channels, 3)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) → the same."""
        inner: Tensor = self.second(self.first(features))
        return features + inner


class FuseGan(nn.Module):
    """The generator: two pictures → log-odds that the first is the sharper."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            ConvNorm(1, width, 7),
            ConvNorm(width, 2 * width, 3, 2),
            ConvNorm(2 * width, 4 * width, 3, 2),
            *[Residual(4 * width) for _ in range(BLOCKS)],
        )
        self.decoder = nn.Sequential(
            UpNorm(8 * width, 4 * width), UpNorm(4 * width, 2 * width), nn.Conv2d(2 * width, 1, 7, padding=3)
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode(self, images: Tensor) -> Tensor:
        """(B, H, W) luminance 0..1 → (B, C, H / 4, W / 4)."""
        features: Tensor = self.encoder(images[:, None] - 0.5)
        return features

    def decode(self, first: Tensor, second: Tensor) -> Tensor:
        """Features of both pictures → (B, H, W) log-odds that the first is the sharper."""
        log_odds: Tensor = self.decoder(torch.cat([first, second], 1))
        return log_odds[:, 0]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 2, H, W) → (B, H, W); H and W are multiples of STRIDE."""
        both = self.encode(images.flatten(0, 1)).unflatten(0, (-1, 2))
        return self.decode(both[:, 0], both[:, 1])


class Discriminator(nn.Module):
    """Both pictures and a confidence map, (B, 3, H, W) → one score a patch; near 1 for true maps."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for factor, stride in ((1, 2), (2, 2), (4, 1)):
            layers += [
                nn.Conv2d(factor * width, 2 * factor * width, 4, stride, 1, bias=False),
                nn.BatchNorm2d(2 * factor * width),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 1))

    def forward(self, images: Tensor, confidence: Tensor) -> Tensor:
        """(B, 2, H, W) pictures and (B, H, W) map → (B, 1, h, w)."""
        score: Tensor = self.layers(torch.cat([images, confidence[:, None]], 1))
        return score


def sharper(network: FuseGan, first: Tensor, second: Tensor, *, refine: bool = True) -> Tensor:
    """Log-odds that the first picture is the sharper, refined by the random field.

    Args:
        network: The generator.
        first: (B, H, W) luminance.
        second: (B, H, W).
        refine: Whether the conditional random field has its say.
    """
    return _compared(network, (first, second), (network.encode(first), network.encode(second)), refine)


def _compared(network: FuseGan, images: tuple[Tensor, Tensor], features: tuple[Tensor, Tensor], refine: bool) -> Tensor:
    forward, backward = network.decode(*features).float(), network.decode(*features[::-1]).float()
    log_odds = pairs.first_is_sharper(forward, backward)
    return conv_crf.refined(log_odds, (images[0] + images[1]) / 2) if refine else log_odds


@torch.no_grad()
def stack_logits(
    network: FuseGan, images: Tensor, *, refine: bool = False, chain: pairs.Chain = pairs.PICTURE
) -> Tensor:
    """(N, 1, H, W) → (N, H, W): each frame encoded once, each pair of neighbours compared."""
    network.to(images.device)
    before, _ = pairs.neighbours(images[:, 0])
    odds, features = [], network.encode(before[:1])
    for k in range(len(before)):
        both = images[k : k + 1, 0], images[k + 1 : k + 2, 0]
        following = network.encode(both[1])
        odds.append(_compared(network, both[::-1], (following, features), refine))
        features = following
    return chain(torch.cat(odds))


def fused_picture(network: FuseGan, images: Tensor, *, tile_px: int | None = None) -> Tensor:
    """One picture of many: a pair by its refined confidence, as published; more by the softmax of refined logits.

    Args:
        network: The generator.
        images: (N, C, H, W) from 0 to 1.
        tile_px: Side of the tiles a large picture is cut into.

    Returns:
        (C, H, W).
    """
    return pairs.mixed(images, measured(network, filters.luminance(images)[:, None], refine=True, tile_px=tile_px))


def measured(
    network: FuseGan, images: Tensor, *, refine: bool, chain: pairs.Chain = pairs.PICTURE, tile_px: int | None = None
) -> Tensor:
    """(N, 1, H, W) → (N, H, W) logits of pictures of any size."""
    compared = partial(stack_logits, network, refine=refine, chain=chain)
    halo_px = HALO_PX + conv_crf.REACH_PX * refine
    return in_tiles(compared, images, halo_px=halo_px, multiple=STRIDE, tile_px=tile_px)


def fusegan(
    *,
    window_sigma_px: float | None = None,
    weights: str | None = None,
    refine: bool = False,
    tile_px: int | None = None,
) -> FocusMeasure:
    """FuseGAN's confidence on pairs of neighbours, added up along the stack.

    Args:
        window_sigma_px: Without meaning here: the network has learned its windows.
        weights: Path of a weight file; the one that comes with the package if not given.
        refine: Whether the conditional random field, which the published method ends with, refines every pair of
            the measure, too. Where depth is wanted the labels are smoothed later, so that it is left out by default.
        tile_px: Side of the tiles a large picture is cut into.
    """
    network = weight_files.loaded("fusegan", FuseGan, path=weights)
    return FocusMeasure(
        "fusegan",
        1,
        HALO_PX + conv_crf.REACH_PX * refine,
        "confidence of a conditional GAN in the sharper of two neighbours, added up along the stack (FuseGAN)",
        partial(measured, network, refine=refine, chain=CHAIN, tile_px=tile_px),
        probabilistic=True,
        network_bytes=NETWORK_BYTES,
        picture=partial(fused_picture, network, tile_px=tile_px),
    )
