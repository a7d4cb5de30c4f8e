"""What each network is trained for: its losses on one drawn sample, and its scores on scenes held back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from dff.depth import lattice_volume
from dff.focus import drpl, fusegan, load_measure
from dff.focus.sesf import DEVIATION, MEAN, Sesf
from dff.focus.sesf_stack import SesfStack
from dff.focus.sesf_vgg import SesfVgg, with_imagenet_encoder
from dff.training.adversarial import (
    Adversaries,
    confidence_losses,
    fusegan_adversaries,
    generation_losses,
    mffgan_adversaries,
)
from dff.training.losses import LossWeights, Target, structural_similarity, total_loss
from dff.training.pair_losses import mask_losses
from dff.training.scenes import Sampling, TrainingScene, draw_sample
from dff.training.scores import generation_scores, pair_scores, reconstruction_scores, scores_beside_operator
from dff.training.sight import in_sight

OPERATOR = "ring-difference"
"""Whose energies add to the answer of a network where depth is found."""
SIMILARITY_WEIGHT = 1000.0
"""As in the code SESF-Fuse was published with."""

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class Task:
    """How one network is trained."""

    network: Callable[..., nn.Module]
    """Called with the options of the card of the weights that it starts from."""
    losses: Callable[[nn.Module, Sequence[TrainingScene], np.random.Generator, Sampling, str, LossWeights], Losses]
    """Called with network, scenes, source of randomness, how samples are drawn, device, weights of the parts."""
    scores: Callable[[nn.Module, Sequence[TrainingScene], str], dict[str, float]]
    kept: Callable[[nn.Module], nn.Module] = lambda network: network
    """What is saved and scored of the trained network."""
    learning_rate: float = 2e-3
    encoders: Mapping[str, Callable[[], nn.Module]] = field(default_factory=dict)
    """By name: the network with an encoder that was trained elsewhere."""


def stack_losses(
    network: nn.Module,
    scenes: Sequence[TrainingScene],
    random: np.random.Generator,
    sampling: Sampling,
    device: str,
    weights: LossWeights,
) -> Losses:
    """The right frame for every pixel of one stack."""
    sample = draw_sample(scenes, random, sampling)
    images, target = sample.images.to(device), on_device(sample.target, device)
    with half_precision(device):
        logits = network(images)
    if not weights.cell:
        return total_loss(logits.float(), images[:, 0], target, weights)
    energies = lattice_volume(load_measure(OPERATOR)(images))
    target = replace(target, seen=in_sight(images[:, 0], target))
    return total_loss(logits.float(), images[:, 0], target, weights, energies)


def on_device(target: Target, device: str) -> Target:
    """The truth where the network is."""
    return Target(*(part.to(device) for part in (target.index, target.visible, target.edge, target.sharp)))


def half_precision(device: str) -> torch.autocast:
    """bfloat16 where it pays: on a GPU."""
    return torch.autocast("cuda" if device.startswith("cuda") else "cpu", torch.bfloat16, device.startswith("cuda"))


def reconstruction_losses(
    network: nn.Module,
    scenes: Sequence[TrainingScene],
    random: np.random.Generator,
    sampling: Sampling,
    device: str,
    weights: LossWeights,
) -> Losses:
    """A few single pictures given back: Euclidean norm over all of them and structural similarity in 5 x 5 px."""
    sample = draw_sample(scenes, random, sampling)
    chosen = random.choice(len(sample.images), min(4, len(sample.images)), replace=False)
    images = sample.images[np.sort(chosen)].to(device)
    wanted = (images - MEAN) / DEVIATION
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        given = network(images).float()
    norm = (given - wanted).square().sum().sqrt()
    dissimilarity = 1 - structural_similarity(given, wanted)
    return {"norm": norm, "dissimilarity": dissimilarity, "total": norm + SIMILARITY_WEIGHT * dissimilarity}


def drpl_scores(network: nn.Module, scenes: Sequence[TrainingScene], device: str = "cpu") -> dict[str, float]:
    """Decisions and pictures of pairs, with the published receptive field."""
    network.dilate(1)  # type: ignore[operator]
    return pair_scores(partial(drpl.sharper, network), scenes, device)  # type: ignore[arg-type]


def fusegan_scores(network: nn.Module, scenes: Sequence[TrainingScene], device: str = "cpu") -> dict[str, float]:
    """Decisions and pictures of pairs, without the random field."""
    return pair_scores(partial(fusegan.sharper, network, refine=False), scenes, device)  # type: ignore[arg-type]


def generator_of(network: nn.Module) -> nn.Module:
    """What is kept of two adversaries."""
    if not isinstance(network, Adversaries):
        raise TypeError(f"network: must be Adversaries; got {type(network).__name__}")
    return network.generator


TASKS = {
    "sesf-stack": Task(SesfStack, stack_losses, scores_beside_operator),
    "sesf-vgg": Task(
        SesfVgg,
        stack_losses,
        scores_beside_operator,
        learning_rate=1e-3,
        encoders={"imagenet": with_imagenet_encoder},
    ),
    "drpl": Task(drpl.Drpl, mask_losses, drpl_scores),
    "fusegan": Task(fusegan_adversaries, confidence_losses, fusegan_scores, generator_of),
    "mffgan": Task(mffgan_adversaries, generation_losses, generation_scores, generator_of),
    "sesf": Task(Sesf, reconstruction_losses, reconstruction_scores),
}
"""Networks that can be trained, by name."""
