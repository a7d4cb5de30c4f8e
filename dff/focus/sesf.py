"""SESF-Fuse (Ma, Zhu, Yin, Ban, Huang, Mukeshimana; arXiv 1908.01703): spatial frequency of an autoencoder's features.

Published: a grey-scale autoencoder with squeeze-excite blocks and dense connections, trained to give back single
pictures; the decision which of two pictures is sharper by the spatial frequency of the encoder's features in 11 x 11
pixels; its clean-up by opening, closing and dropping small regions; a guided filter along the border. Ours: the
training pictures, mirrored context at the borders, and the same measure for N frames at once, whose argmax needs no
order of pairs; each frame's share of it goes through the guided filter, without the clean-up of regions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dff import filters
from dff.focus import weight_files
from dff.focus.inference import NETWORK_BYTES, in_tiles
from dff.focus.measure import FocusMeasure

MEAN, DEVIATION = 0.45005, 0.26465
"""Of the grey levels it was published for."""
WIDTH = 16
REDUCED = 2
BLOCKS = 4
RADIUS_PX = 5
SMALL_SHARE = 0.01
GUIDE_RADIUS_PX = 4
GUIDE_EPS = 0.1 / 255**2
"""For pictures from 0 to 1; published as 0.1 for 0 to 255."""
ENERGY_FLOOR = 1e-10
HALO_PX = BLOCKS + 1 + RADIUS_PX
"""Context: the encoder's, one pixel of the differences, the window's."""


class ConvBlock(nn.Sequential):
    """Convolution, rectifier, batch norm: in this order."""

    def __init__(self, incoming: int, outgoing: int):
        super().__init__(nn.Conv2d(incoming, outgoing, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(outgoing))


class SqueezeExcite(nn.Module):
    """Channels scaled by what the whole picture holds of them (cSE)."""

    def __init__(self, channels: int = WIDTH, reduced: int = REDUCED):
        super().__init__()
        self.squeeze = nn.Linear(channels, reduced, bias=False)
        self.excite = nn.Linear(reduced, channels, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) → the same."""
        gate = self.excite(F.relu(self.squeeze(features.mean((2, 3))))).sigmoid()
        return features * gate[:, :, None, None]


class Sesf(nn.Module):
    """The autoencoder. At fusion time the decoder is left aside."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(
            nn.Sequential(ConvBlock(max(1, number * WIDTH), WIDTH), SqueezeExcite()) for number in range(BLOCKS)
        )
        widths = (BLOCKS * WIDTH, 64, 32, 16, 1)
        self.decoder = nn.Sequential(*[ConvBlock(a, b) for a, b in pairwise(widths)])

    def features(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) luminance 0..1 → (N, 64, H, W); every block sees those before it."""
        found: list[Tensor] = []
        incoming = (images - MEAN) / DEVIATION
        for block in self.encoder:
            found.append(block(torch.cat(found, 1) if found else incoming))
        return torch.cat(found, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) → the same pictures, given back, in deviations from the mean."""
        given: Tensor = self.decoder(self.features(images))
        return given


def feature_frequency(features: Tensor) -> Tensor:
    """(N, H, W) squared spatial frequency: differences to the left and upper neighbours, summed over 11 x 11 px.

    Args:
        features: (N, C, H, W).
    """
    features = features.float()
    across = F.pad(features[..., 1:] - features[..., :-1], (1, 0)).square().sum(1)
    down = F.pad(features[..., 1:, :] - features[..., :-1, :], (0, 0, 1, 0)).square().sum(1)
    return F.avg_pool2d((across + down)[:, None], 2 * RADIUS_PX + 1, 1, RADIUS_PX)[:, 0]


def sesf(
    *, window_sigma_px: float | None = None, weights: str | None = None, tile_px: int | None = None
) -> FocusMeasure:
    """The measure of SESF-Fuse for any number of frames: logarithm of the spatial frequency of the features.

    The squeeze-excite blocks look at all of the picture they are given, so strips differ a little from the whole.

    Args:
        window_sigma_px: Without meaning here: the window is 11 x 11 px, as published.
        weights: Path of a weight file; the one that comes with the package if not given.
        tile_px: Side of the tiles a large picture is cut into.
    """
    network = weight_files.loaded("sesf", Sesf, path=weights)
    measured = partial(in_tiles, partial(logits, network), halo_px=HALO_PX, tile_px=tile_px)
    return FocusMeasure(
        "sesf",
        1,
        HALO_PX,
        "spatial frequency of an autoencoder's features (SESF-Fuse)",
        measured,
        network_bytes=NETWORK_BYTES,
        picture=partial(fused_picture, measured),
    )


@torch.no_grad()
def logits(network: Sesf, images: Tensor) -> Tensor:
    """(N, 1, H, W) → (N, H, W), a frame at a time."""
    network.to(images.device)
    energies = [feature_frequency(network.features(image[None])) for image in images]
    return torch.cat(energies).add_(ENERGY_FLOOR).log_()


def fused_picture(measured: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """One picture of many: a pair as published, more by the share of each frame in the argmax.

    Args:
        measured: (N, 1, H, W) → (N, H, W) logits.
        images: (N, C, H, W) from 0 to 1.

    Returns:
        (C, H, W).
    """
    grey = filters.luminance(images)
    volume = measured(grey[:, None])
    if len(images) == 2:
        return fuse_pair(images, volume)
    label = volume.argmax(0)
    provisional = grey.gather(0, label[None])[0]
    picture, total = torch.zeros_like(images[0]), torch.zeros_like(provisional)
    for k in label.unique().tolist():
        share = smoothed(provisional, (label == k).float())
        picture, total = picture + share * images[k], total + share
    return picture / total.clamp_min(1e-6)


def fuse_pair(images: Tensor, volume: Tensor) -> Tensor:
    """Two pictures as one, as published: decision, clean-up, guided filter.

    Args:
        images: (2, C, H, W) from 0 to 1.
        volume: (2, H, W) logits.

    Returns:
        (C, H, W).
    """
    first = clean_decision((volume[0] > volume[1]).cpu().numpy())
    share = torch.from_numpy(first.astype(np.float32)).to(images.device)
    provisional = filters.luminance(images)[0] * share + filters.luminance(images)[1] * (1 - share)
    share = smoothed(provisional, share)
    return images[0] * share + images[1] * (1 - share)


def clean_decision(first: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A decision map without ragged borders and small regions.

    Args:
        first: (H, W) whether the first picture is the sharper.
    """
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * RADIUS_PX + 1,) * 2)
    least = SMALL_SHARE * first.size
    opened = cv2.morphologyEx(first.astype(np.uint8), cv2.MORPH_OPEN, disk) > 0
    specks_gone = without_small(opened, least)
    closed = cv2.morphologyEx(specks_gone.astype(np.uint8), cv2.MORPH_CLOSE, disk) > 0
    return ~without_small(~closed, least)


def without_small(mask: NDArray[np.bool_], least_px: float) -> NDArray[np.bool_]:
    """The mask without its connected regions of fewer pixels."""
    _, regions, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    large = statistics[:, cv2.CC_STAT_AREA] >= least_px
    large[0] = False
    return np.asarray(large[regions])


def smoothed(guide: Tensor, share: Tensor) -> Tensor:
    """A share, 0 to 1, along the edges of the guide, by the published guided filter.

    Args:
        guide: (H, W) from 0 to 1.
        share: (H, W).
    """
    return filters.guided(guide[None], share[None], radius_px=GUIDE_RADIUS_PX, eps=GUIDE_EPS)[0].clamp(0, 1)
