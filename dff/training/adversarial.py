"""A generator and its discriminator, trained side by side by least squares (Mao et al., ICCV 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from dff.focus import fusegan, mffgan
from dff.stack import FloatArray
from dff.training.losses import LossWeights
from dff.training.pair_losses import draw_pairs, laplacian
from dff.training.scenes import Sampling, TrainingScene

MAP_WEIGHT = 100.0
"""Of FuseGAN's L1 term beside the discriminator's opinion: as is usual for image-to-image GANs."""
CONTENT_WEIGHT, GRADIENT_WEIGHT = 300.0, 5.0
"""Of MFF-GAN: content beside the discriminator's opinion, gradients beside intensities.

Published as 10 and 5. Frames of a stack differ by far less than the published pairs, one of which is thoroughly
blurred: with 10 the opinion outweighs the content, and the intensities drift away from both sources.
"""
TRUE_SCORES, FALSE_SCORES = (0.7, 1.2), (0.0, 0.3)
"""Soft labels of MFF-GAN."""
PATCHES_A_SAMPLE = 16
PATCH_SNR = 25.0, 400.0
"""Range of the signal-to-noise ratio at white of the patches that the generator sees."""
GAMMAS = (1.0, 2.2)
"""Of patches: linear light, and encoded for display."""


class Adversaries(nn.Module):
    """Both networks as one that the training loop knows; only the generator is kept in the end.

    In one backward pass each learns its own lesson: the generator is judged by a discriminator whose weights are
    held, the discriminator judges a picture whose maker is.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module):
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator

    def opinion(self, *inputs: Tensor) -> Tensor:
        """The discriminator's scores, without a lesson for it."""
        held = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        scores: Tensor = functional_call(self.discriminator, held, inputs)
        return scores


def fusegan_adversaries() -> Adversaries:
    """FuseGAN's."""
    return Adversaries(fusegan.FuseGan(), fusegan.Discriminator())


def mffgan_adversaries() -> Adversaries:
    """MFF-GAN's."""
    return Adversaries(mffgan.MffGan(), mffgan.Discriminator())


def confidence_losses(
    network: nn.Module,
    scenes: Sequence[TrainingScene],
    random: np.random.Generator,
    sampling: Sampling,
    device: str,
    weights: LossWeights,
) -> dict[str, Tensor]:
    """FuseGAN's: a confidence map like the true one, and one that the discriminator takes for true."""
    if not isinstance(network, Adversaries):
        raise TypeError(f"network: must be Adversaries; got {type(network).__name__}")
    pairs = draw_pairs(scenes, random, sampling=sampling, device=device)
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        log_odds = network.generator(pairs.images)
    found = pairs.known * log_odds.float().sigmoid()
    wanted = pairs.known * pairs.first_share
    true, false = network.discriminator(pairs.images, wanted), network.discriminator(pairs.images, found.detach())
    parts = {
        "map": pairs.mean((found - wanted).abs()),
        "opinion": (network.opinion(pairs.images, found) - 1).square().mean() / 2,
        "discriminator": ((true - 1).square().mean() + false.square().mean()) / 2,
    }
    parts["total"] = MAP_WEIGHT * parts["map"] + parts["opinion"] + parts["discriminator"]
    return parts


def generation_losses(
    network: nn.Module,
    scenes: Sequence[TrainingScene],
    random: np.random.Generator,
    sampling: Sampling,
    device: str,
    weights: LossWeights,
) -> dict[str, Tensor]:
    """MFF-GAN's: like the picture that its decision block picks, in grey and in gradient, without any truth.

    Only the generator sees noise (ours): the decision block compares single pixels, and would pick noise.
    """
    if not isinstance(network, Adversaries):
        raise TypeError(f"network: must be Adversaries; got {type(network).__name__}")
    patches = draw_patches(scenes, random)
    images = 2 * patches.to(device) - 1
    fused = 2 * network.generator(with_noise(patches, random).to(device))[:, None] - 1
    second_is_sharper = mffgan.repeated_blur_residual(images[:, 1]) > mffgan.repeated_blur_residual(images[:, 0])
    edges = torch.cat([laplacian(images[:, side : side + 1]) for side in range(2)], 1)
    picked, picked_edges = (picked_of(planes, second_is_sharper) for planes in (images, edges))
    joint, own = edges.abs().amax(1, keepdim=True), laplacian(fused).abs()
    true, false = network.discriminator(joint), network.discriminator(own.detach())
    parts = {
        "intensity": (fused - picked).square().mean(),
        "gradient": (laplacian(fused) - picked_edges).square().mean(),
        "opinion": (network.opinion(own) - random.uniform(*TRUE_SCORES)).square().mean(),
        "discriminator": (true - random.uniform(*TRUE_SCORES)).square().mean()
        + (false - random.uniform(*FALSE_SCORES)).square().mean(),
    }
    content = GRADIENT_WEIGHT * parts["gradient"] + parts["intensity"]
    parts["total"] = CONTENT_WEIGHT * content + parts["opinion"] + parts["discriminator"]
    return parts


def picked_of(planes: Tensor, second: Tensor) -> Tensor:
    """(B, 1, H, W) of two planes (B, 2, H, W) the one that is asked for in each pixel."""
    return torch.where(second, planes[:, 1], planes[:, 0])[:, None]


def draw_patches(scenes: Sequence[TrainingScene], random: np.random.Generator) -> Tensor:
    """(B, 2, PATCH_PX, PATCH_PX) pairs from 0 to 1 without noise, each of another place and scene, in either order."""
    return torch.from_numpy(np.stack([_patch(scenes, random) for _ in range(PATCHES_A_SAMPLE)]))


def with_noise(patches: Tensor, random: np.random.Generator) -> Tensor:
    """Patches (B, 2, H, W) with shot noise, each pair of another signal-to-noise ratio."""
    low, high = np.log(PATCH_SNR)
    snr = np.exp(random.uniform(low, high, len(patches))).astype(np.float32)
    grain = torch.from_numpy(random.standard_normal(tuple(patches.shape), dtype=np.float32))
    return patches + grain * (patches + 0.01).sqrt() / torch.from_numpy(snr).view(-1, 1, 1, 1)


def _patch(scenes: Sequence[TrainingScene], random: np.random.Generator) -> FloatArray:
    scene = scenes[int(random.integers(len(scenes)))]
    top, left = (int(random.integers(max(1, side - mffgan.PATCH_PX + 1))) for side in scene.index.shape)
    place = slice(top, top + mffgan.PATCH_PX), slice(left, left + mffgan.PATCH_PX)
    known = scene.index[place][np.isfinite(scene.index[place])]
    focus = random.choice(known, 2) if known.size else random.uniform(0, len(scene.frames), 2)
    apart = focus + random.normal(0, 0.1 * len(scene.frames), 2)
    numbers = np.clip(apart.round().astype(int), 0, len(scene.frames) - 1)
    light = scene.frames[numbers][:, place[0], place[1]].astype(np.float32) / 65535
    bright = light * random.uniform(0.5, 1) / max(0.5, float(np.percentile(light, 99.5)))
    return np.asarray(np.clip(bright, 0, 1) ** (1 / random.choice(GAMMAS)), np.float32)
