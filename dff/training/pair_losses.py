"""What networks of pairs are told: which of two frames of a rendered stack is the sharper, and the sharp picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dff.focus.drpl import DILATIONS, Drpl
from dff.focus.pairs import normalised
from dff.training.losses import LossWeights, structural_similarity
from dff.training.scenes import Sample, Sampling, TrainingScene, draw_sample

MASK_WEIGHT, PICTURE_WEIGHT, EDGE_WEIGHT = 0.8, 0.1, 0.1
"""As in the code DRPL was published with."""
PICTURE_WINDOW_PX = 11
DILATED_SHARE = 1 / 4
"""Of the steps in which DRPL is trained with a dilation."""
PAIRS_A_SAMPLE = 4
NEIGHBOURS_SHARE = 0.5


@dataclass(frozen=True)
class Pairs:
    """Pairs of frames of one stack."""

    first: Tensor
    """(B, H, W) luminance."""
    second: Tensor
    first_share: Tensor
    """(B, H, W) 1 where the first is the sharper, 0 where the second is, in between within half a frame of a tie."""
    known: Tensor
    """(B, H, W) 1 where the truth is known."""
    sharp: Tensor
    """(B, H, W) all-in-focus luminance."""

    @property
    def images(self) -> Tensor:
        """(B, 2, H, W) both pictures."""
        return torch.stack([self.first, self.second], 1)

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the pixels whose truth is known."""
        return (values * self.known).sum() / self.known.sum().clamp_min(1)


def draw_pairs(
    scenes: Sequence[TrainingScene],
    random: np.random.Generator,
    *,
    sampling: Sampling,
    device: str,
    count: int = PAIRS_A_SAMPLE,
) -> Pairs:
    """Pairs of a piece of a stack as a camera might have taken it: neighbours, and frames far apart, in either order.

    Args:
        scenes: What to draw from.
        random: Decides everything.
        sampling: From what distribution the piece is drawn.
        device: Where the tensors go.
        count: Number of pairs.
    """
    sample = draw_sample(scenes, random, sampling)
    numbers = np.array([pair_of(sample, random) for _ in range(count)])
    first, second = torch.from_numpy(numbers.T).to(device)
    images, index = sample.images[:, 0].to(device), sample.target.index.to(device)
    known = torch.isfinite(index)
    away = (torch.where(known, index, 0) - torch.arange(len(images), device=device)[:, None, None]).abs()
    return Pairs(
        first=images[first],
        second=images[second],
        first_share=(0.5 + (away[second] - away[first]) / 2).clamp(0, 1),
        known=known.expand(len(numbers), -1, -1).float(),
        sharp=sample.target.sharp.to(device).expand(len(numbers), -1, -1),
    )


def pair_of(sample: Sample, random: np.random.Generator) -> tuple[int, int]:
    """Two frames, neighbours around some of the truth or any two, in either order."""
    count = len(sample.images)
    if random.random() < NEIGHBOURS_SHARE:
        index = sample.target.index.numpy()
        known = index[np.isfinite(index)]
        middle = known[random.integers(known.size)] if known.size else count / 2
        one = int(np.clip(math.floor(middle + random.normal(0, 2)), 0, count - 2))
        both = [one, one + 1]
    else:
        both = [int(number) for number in random.choice(count, 2, replace=False)]
    random.shuffle(both)
    return both[0], both[1]


def mask_losses(
    network: nn.Module,
    scenes: Sequence[TrainingScene],
    random: np.random.Generator,
    sampling: Sampling,
    device: str,
    weights: LossWeights,
) -> dict[str, Tensor]:
    """DRPL's: both masks, likeness of the merged picture, and its edges."""
    if not isinstance(network, Drpl):
        raise TypeError(f"network: must be a Drpl; got {type(network).__name__}")
    network.dilate(int(random.choice(DILATIONS[1:])) if random.random() < DILATED_SHARE else 1)
    pairs = draw_pairs(scenes, random, sampling=sampling, device=device)
    detail = normalised(pairs.images)
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        logits = network.masks(detail)
    masks = logits.float().sigmoid()
    wanted = torch.stack([pairs.first_share, 1 - pairs.first_share], 1)
    parts = {"masks": pairs.mean((masks - wanted).abs().mean(1))}
    merged, sharp = (masks * pairs.images).sum(1, keepdim=True), pairs.sharp[:, None]
    parts["picture"] = 1 - structural_similarity(merged, sharp, side_px=PICTURE_WINDOW_PX)
    parts["edges"] = pairs.mean((unsharp(merged) - unsharp(sharp)).abs()[:, 0])
    parts["total"] = MASK_WEIGHT * parts["masks"] + PICTURE_WEIGHT * parts["picture"] + EDGE_WEIGHT * parts["edges"]
    return parts


def laplacian(pictures: Tensor) -> Tensor:
    """(B, 1, H, W) sum of the differences to the four neighbours."""
    taps = pictures.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    return F.conv2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), taps)


def unsharp(pictures: Tensor) -> Tensor:
    """(B, 1, H, W) pictures minus their Laplacian."""
    return pictures - laplacian(pictures)
