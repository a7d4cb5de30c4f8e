"""MFF-GAN (Zhang, Le, Shao, Xu, Ma; Information Fusion 66, 2021): a generator of the fused luminance itself.

Published: two branches of 5 x 5 and 3 x 3 layers, one for the nearer and one for the farther picture, that exchange
features twice; a decision block, |I - G*G*I| with a 3 x 3 Gaussian G, that says which picture the fused one must be
like; a discriminator of gradient maps with soft labels; colour as the mean of both chromas weighted by their
saturation. Ours: the training pictures, the initial weights but the last layer's, detail in units of the local
contrast as input, so that weak texture counts, and that the answer, in the same units, is added to the mean of both
pictures, which need not be learned then. The network gives a picture and no measure of focus;
its measure here is the published decision block, averaged over a Gaussian window, which is a classical operator: no
generated pixel is measured. Also ours: both orders of a pair are asked, and of more than two pictures those two are
fused that the decision block finds the sharpest in each pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dff import filters
from dff.focus import operators, pairs, weight_files
from dff.focus.inference import in_tiles
from dff.focus.measure import FocusMeasure

WIDTH = 16
HALO_PX = 5 + pairs.CONTRAST_REACH_PX
"""Context: the layers', and what the contrast is taken from."""
LARGEST_CHANGE = 4.0
"""Of the mean of both pictures, in units of the local contrast."""
BLUR = np.array(
    [[0.0947, 0.1183, 0.0947], [0.1183, 0.1478, 0.1183], [0.0947, 0.1183, 0.0947]],
    np.float32,
)
"""The decision block's Gaussian."""
PATCH_PX = 60
"""Side of the gradient maps that the discriminator judges."""


class Branch(nn.Module):
    """The layers of one of the two pictures."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(1, width, 5, padding=2)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.exchange = nn.Conv2d(2 * width, width, 1)
        self.third = nn.Conv2d(3 * width, width, 3, padding=1)
        self.second_exchange = nn.Conv2d(2 * width, width, 1)
        self.fourth = nn.Conv2d(4 * width, width, 3, padding=1)


class MffGan(nn.Module):
    """The generator: luminance of a nearer and of a farther picture → that of the fused one."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.branches = nn.ModuleList([Branch(width), Branch(width)])
        self.out = nn.Conv2d(8 * width, 1, 1)
        nn.init.trunc_normal_(self.out.weight, std=1e-3)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 2, H, W) from 0 to 1 → (B, H, W) from 0 to 1."""
        detail, contrast = pairs.detail_and_contrast(images)
        one = self.each("first", [(side,) for side in (detail / contrast).split(1, 1)])
        two = self.each("second", zip(one))
        told = self.each("exchange", [two, two])
        three = self.each("third", zip(one, two, told))
        told = self.each("second_exchange", [three, three])
        four = self.each("fourth", zip(one, two, three, told))
        change: Tensor = torch.tanh(self.out(torch.cat([*one, *two, *three, *four], 1)))
        return images.mean(1) + LARGEST_CHANGE * (contrast * change)[:, 0]

    def each(self, layer: str, inputs: Iterable[Sequence[Tensor]]) -> list[Tensor]:
        """One layer of both branches, each on its own inputs side by side."""
        return [
            F.leaky_relu(getattr(branch, layer)(torch.cat(list(parts), 1)), 0.2)
            for branch, parts in zip(self.branches, inputs)
        ]


class Discriminator(nn.Module):
    """Gradient maps (B, 1, PATCH_PX, PATCH_PX) → (B,) scores, near 1 for joint maps of both sources."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, 32, 3, 2), nn.LeakyReLU(0.2)]
        for incoming in (32, 64, 128):
            layers += [nn.Conv2d(incoming, 2 * incoming, 3, 2), nn.BatchNorm2d(2 * incoming), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * 256, 1))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, 1, PATCH_PX, PATCH_PX) → (B,)."""
        score: Tensor = self.layers(maps)
        return score[:, 0]


def residual_kernel() -> operators.Kernel:
    """(5, 5) what repeated blur takes away: identity minus the Gaussian twice."""
    blurred = np.zeros((5, 5), np.float32)
    for y in range(3):
        for x in range(3):
            blurred[y : y + 3, x : x + 3] += BLUR[y, x] * BLUR
    kernel = -blurred
    kernel[2, 2] += 1
    return kernel


def repeated_blur_residual(images: Tensor) -> Tensor:
    """(B, H, W) |I - G*G*I|: the decision block's sharpness of every pixel."""
    kernel = torch.from_numpy(residual_kernel()).to(images)[None, None]
    return F.conv2d(F.pad(images[:, None], (2, 2, 2, 2), mode="reflect"), kernel)[:, 0].abs()


@torch.no_grad()
def fused_luminance(network: MffGan, images: Tensor, *, tile_px: int | None = None) -> Tensor:
    """What the generator makes of two pictures, the mean of both orders, so that neither has a branch of its own.

    Args:
        network: The generator.
        images: (2, H, W) from 0 to 1.
        tile_px: Side of the tiles a large picture is cut into.

    Returns:
        (H, W).
    """
    network.to(images.device)

    def generated(pair: Tensor) -> Tensor:
        both = pair[:, 0]
        answer: Tensor = network(torch.stack([both, both.flip(0)])).float().mean(0, keepdim=True)
        return answer

    return in_tiles(generated, images[:, None], halo_px=HALO_PX, tile_px=tile_px)[0]


def fused_picture(
    network: MffGan, decided: Callable[[Tensor], Tensor], images: Tensor, *, tile_px: int | None = None
) -> Tensor:
    """Generated luminance, chroma of both sources weighted by their saturation; of more than two, of the best two.

    Args:
        network: The generator.
        decided: (N, 1, H, W) → (N, H, W) how sharp the decision block finds each frame.
        images: (N, C, H, W) from 0 to 1, the nearest first.
        tile_px: Side of the tiles a large picture is cut into.

    Returns:
        (C, H, W).
    """
    if len(images) > 2:
        images = sharpest_two(images, decided(filters.luminance(images)[:, None]))
    grey = filters.luminance(images)
    light = fused_luminance(network, grey, tile_px=tile_px)
    if images.shape[1] == 1:
        return light[None]
    chroma = images - grey[:, None]
    saturation = chroma.abs().amax(1, keepdim=True) + 1e-6
    return light + (chroma * saturation).sum(0) / saturation.sum(0)


def sharpest_two(images: Tensor, logits: Tensor) -> Tensor:
    """Two pictures made of many: in every pixel the two sharpest frames, the nearer in the first.

    Args:
        images: (N, C, H, W).
        logits: (N, H, W).

    Returns:
        (2, C, H, W).
    """
    numbers = logits.topk(2, 0).indices.sort(0).values
    return images.gather(0, numbers[:, None].expand(-1, images.shape[1], -1, -1))


def mffgan(
    *, window_sigma_px: float | None = 3.0, weights: str | None = None, tile_px: int | None = None
) -> FocusMeasure:
    """MFF-GAN: its picture is generated, its measure is its own decision block.

    Args:
        window_sigma_px: Standard deviation of the window the decision block's answer is averaged over.
        weights: Path of a weight file of the generator; the one that comes with the package if not given.
        tile_px: Side of the tiles a large picture is cut into.
    """
    network = weight_files.loaded("mffgan", MffGan, path=weights)
    measure = operators.windowed_log_energy(
        "mffgan",
        "what repeated blur takes away, the decision block of a generating network (MFF-GAN)",
        operators.filter_bank_energy([residual_kernel()]),
        reach_px=2,
        window_sigma_px=3.0 if window_sigma_px is None else window_sigma_px,
    )
    return replace(measure, picture=partial(fused_picture, network, measure, tile_px=tile_px), generates=True)
