"""SESF-VGG: saliency of VGG16 features, softmax over the images of a stack.

What goes by the name of SESF-Fuse in some programs: the first 23 layers of VGG16 (Simonyan and Zisserman, ICLR 2015:
conv1_1 to conv4_3, three poolings), a head of two convolutions, one number a pixel and image, softmax over images. Its
faults are mended here: no sigmoid before the softmax, which would bound every weight by e / (e + N - 1) and make the
picture a mean; a learned temperature; the map of an eighth of the size is brought to full size along the strong edges
of a provisional picture, by a guided filter; mirrored context instead of black borders; detail in units of the largest
contrast that any frame has around a pixel, so that weak texture counts. It is trained end to end on rendered stacks at
a quarter of the published width (with `--encoder-weights imagenet` at full width).
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dff.focus import imagenet, pairs, weight_files
from dff.focus.inference import NETWORK_BYTES, in_tiles
from dff.focus.measure import FocusMeasure

CHANNELS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512)
"""Of the layers of VGG16 up to conv4_3; 0 is a pooling."""
LAYERS = 23
WIDTH = 0.25
"""Of the layers, as a share of the published one."""
HEAD = 256
STRIDE = 8
HALO_PX = 80 + pairs.CONTRAST_REACH_PX
"""Context: 46 px of the features, 8 of the head, the rest of the guided filter, and what contrast is taken from."""
GUIDE_EPS = 1e-2
"""Variance of the guide below which it is texture, that weights must not follow."""
LEAST_LOG_SHARE = -30.0


def features(width: float) -> nn.Sequential:
    """The first 23 layers of VGG16, numbered as in torchvision."""
    layers: list[nn.Module] = []
    incoming = 3
    for published in CHANNELS:
        if published == 0:
            layers.append(nn.MaxPool2d(2))
            continue
        outgoing = max(4, round(published * width))
        layers += [nn.Conv2d(incoming, outgoing, 3, padding=1), nn.ReLU()]
        incoming = outgoing
    return nn.Sequential(*layers)


class SesfVgg(nn.Module):
    """(N, 1, H, W) luminance → (N, H, W) logits; H and W are multiples of STRIDE."""

    def __init__(self, width: float = WIDTH) -> None:
        super().__init__()
        self.options = {"width": width}
        self.features = features(width)
        last, inner = max(4, round(CHANNELS[-1] * width)), max(4, round(HEAD * width))
        self.head = nn.Sequential(nn.Conv2d(last, inner, 3, padding=1), nn.ReLU(), nn.Conv2d(inner, 1, 1))
        self.log_gain = nn.Parameter(torch.zeros(()))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def saliency(self, details: Tensor) -> Tensor:
        """(n, 1, H, W) detail in units of the contrast → (n, 1, H / 8, W / 8) over the learned temperature."""
        found: Tensor = self.head(self.features(details.expand(-1, 3, -1, -1)))
        return found * self.log_gain.exp()

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) → (N, H, W)."""
        details = standardised(images)
        if torch.is_grad_enabled():
            small = self.saliency(details)
        else:
            small = torch.cat([self.saliency(detail[None]) for detail in details])
        return guided(small.float(), images)


def standardised(images: Tensor) -> Tensor:
    """(N, 1, H, W) detail in units of the largest contrast that any of the frames has around each pixel."""
    detail = images - pairs.smooth(images[:, 0])[:, None]
    contrast = pairs.smooth(detail[:, 0].square()).amax(0).sqrt() + pairs.LEAST_CONTRAST
    return detail / contrast


def guided(small: Tensor, images: Tensor) -> Tensor:
    """Logits at full size, along the edges of the picture that their smooth version makes.

    As in the fast guided filter (He and Sun, 2015) the slope against the guide is found on the small lattice and
    brought to full size; it acts on what the guide has beyond the lattice, so that the lattice's own values stand.

    Args:
        small: (N, 1, h, w) logits.
        images: (N, 1, H, W) luminance.

    Returns:
        (N, H, W).
    """
    smooth = _full_size(small, images)
    guide = (smooth.softmax(0) * images).sum(0, keepdim=True)
    guide_small = F.interpolate(guide, small.shape[-2:], mode="area")
    mean_guide = _mean3(guide_small)
    variance = (_mean3(guide_small**2) - mean_guide**2).clamp_min(0)
    slope = (_mean3(guide_small * small) - mean_guide * _mean3(small)) / (variance + GUIDE_EPS)
    return (smooth + _full_size(_mean3(slope), images) * (guide - _full_size(guide_small, images)))[:, 0]


def _full_size(planes: Tensor, images: Tensor) -> Tensor:
    return F.interpolate(planes, images.shape[-2:], mode="bilinear", align_corners=False)


def _mean3(planes: Tensor) -> Tensor:
    """Mean of 3 x 3 cells, of those that are there at the border."""
    return F.avg_pool2d(planes, 3, 1, 1, count_include_pad=False)


def with_imagenet_encoder() -> SesfVgg:
    """The network at full width, its encoder as trained on ImageNet; the head is new.

    Raises:
        ValueError: the weights cannot be had here.
    """
    weights = imagenet.vgg16_features(LAYERS)
    network = SesfVgg(width=1.0)
    network.features.load_state_dict(weights)
    return network


@torch.no_grad()
def stack_logits(network: SesfVgg, images: Tensor) -> Tensor:
    """(N, 1, H, W) → (N, H, W) logarithm of each frame's share."""
    shares: Tensor = network.to(images.device)(images).log_softmax(0)
    return shares.clamp_min(LEAST_LOG_SHARE)


def sesf_vgg(
    *, window_sigma_px: float | None = None, weights: str | None = None, tile_px: int | None = None
) -> FocusMeasure:
    """Saliency of VGG features with softmax over the frames; its logits are those of a probability.

    Args:
        window_sigma_px: Without meaning here: the network has learned its windows.
        weights: Path of a weight file; the one that comes with the package if not given. Its card tells the width.
        tile_px: Side of the tiles a large picture is cut into.
    """
    network = weight_files.loaded("sesf-vgg", SesfVgg, path=weights)
    return FocusMeasure(
        "sesf-vgg",
        1,
        HALO_PX,
        "saliency of VGG features, softmax over the frames",
        partial(in_tiles, partial(stack_logits, network), halo_px=HALO_PX, multiple=STRIDE, tile_px=tile_px),
        probabilistic=True,
        network_bytes=NETWORK_BYTES,
    )
