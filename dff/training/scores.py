"""How good a network's labels are, before any regularisation or refit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dff.focus import load_measure, stack_filter
from dff.focus.sesf import DEVIATION, MEAN
from dff.metrics.depth import depth_errors, occlusion_edges
from dff.metrics.picture import psnr
from dff.training.scenes import TrainingScene

SNR = {"clean": 150.0, "noisy": 35.0}


def scores_beside_operator(
    network: nn.Module, scenes: Sequence[TrainingScene], device: str = "cpu"
) -> dict[str, float]:
    """The network's label scores, and those of the ring-difference operator on the same scenes."""
    operator = label_scores(load_measure("ring-difference"), scenes, device)
    return label_scores(network, scenes, device) | {f"ring_difference_{key}": score for key, score in operator.items()}


@torch.no_grad()
def label_scores(
    network: Callable[[Tensor], Tensor], scenes: Sequence[TrainingScene], device: str = "cpu"
) -> dict[str, float]:
    """Mean errors of the sharpest frame, in frames, over scenes with little and with much noise.

    Args:
        network: (N, 1, H, W) → (N, H, W).
        scenes: Scenes not trained on.
        device: Where the network is.
    """
    scores = {}
    for suite, snr in SNR.items():
        rows = [_scene_scores(network, scene, snr, number, device) for number, scene in enumerate(scenes)]
        if rows:
            for name, values in zip(("mae", "edge_mae", "median"), zip(*rows)):
                scores[f"{suite}_{name}"] = round(float(np.nanmean(values)), 4)
    return scores


@torch.no_grad()
def pair_scores(
    sharper: Callable[[Tensor, Tensor], Tensor], scenes: Sequence[TrainingScene], device: str = "cpu"
) -> dict[str, float]:
    """How often the sharper of two frames is found, and what the picture mixed of them is worth, dB.

    The mean of the two frames and the better one in every pixel are the floor and the ceiling.

    Args:
        sharper: Two pictures (1, H, W) → log-odds (1, H, W) that the first is the sharper.
        scenes: Scenes not trained on; a pair is taken of each, at the signal-to-noise ratios of SNR.
        device: Where the network is.
    """

    def row(pair: ScoredPair) -> dict[str, float]:
        first, second = pair.images.to(device)
        share = sharper(first[None], second[None]).sigmoid()[0].cpu()
        right = ((share > 0.5) == pair.first_is_sharper)[pair.clear].float().mean()
        return {"accuracy": float(right), "psnr_db": pair.decibels(pair.mixed(share)), **pair.floor_and_ceiling()}

    return _pair_means(row, scenes)


@torch.no_grad()
def generation_scores(network: nn.Module, scenes: Sequence[TrainingScene], device: str = "cpu") -> dict[str, float]:
    """What generated pictures of pairs are worth, dB, beside their mean and the better one in every pixel.

    Args:
        network: (1, 2, H, W) luminance → (1, H, W).
        scenes: Scenes not trained on.
        device: Where the network is.
    """

    def row(pair: ScoredPair) -> dict[str, float]:
        picture = network(pair.images[None].to(device))[0].cpu()
        return {"psnr_db": pair.decibels(picture), **pair.floor_and_ceiling()}

    return _pair_means(row, scenes)


def _pair_means(row: Callable[[ScoredPair], dict[str, float]], scenes: Sequence[TrainingScene]) -> dict[str, float]:
    scores: dict[str, float] = {}
    for suite, snr in SNR.items():
        rows = [row(scored_pair(scene, snr, number)) for number, scene in enumerate(scenes)]
        for name in rows[0] if rows else ():
            scores[f"{suite}_{name}"] = round(float(np.nanmean([found[name] for found in rows])), 3)
    return scores


@dataclass(frozen=True)
class ScoredPair:
    """Two frames of a scene, with noise, and what is true of them."""

    images: Tensor
    """(2, H, W) luminance."""
    first_is_sharper: Tensor
    """(H, W) bool."""
    clear: Tensor
    """(H, W) bool, pixels where one is nearer to focus by more than half a frame."""
    sharp: Tensor
    """(H, W) all-in-focus luminance."""

    def mixed(self, share: Tensor) -> Tensor:
        """(H, W) the first by its share, the second by the rest."""
        return share * self.images[0] + (1 - share) * self.images[1]

    def decibels(self, picture: Tensor) -> float:
        """PSNR of a picture, dB."""
        return psnr(picture.numpy(), self.sharp.numpy())

    def floor_and_ceiling(self) -> dict[str, float]:
        """PSNR of the mean of both, and of the better one in every pixel."""
        return {
            "mean_psnr_db": self.decibels(self.images.mean(0)),
            "ideal_psnr_db": self.decibels(self.mixed(self.first_is_sharper.float())),
        }


def scored_pair(scene: TrainingScene, snr: float, seed: int) -> ScoredPair:
    """A pair focused on the nearer and on the farther parts of a scene.

    Args:
        scene: A scene.
        snr: Signal-to-noise ratio at white.
        seed: Of the noise.
    """
    near, far = (int(number) for number in np.nanquantile(scene.index, (0.2, 0.8)).round())
    near, far = (near, far) if near < far else (max(0, near - 1), min(len(scene.frames) - 1, far + 1))
    light = scene.frames[[near, far]].astype(np.float32) / 65535
    grain = np.random.default_rng([seed, 1]).standard_normal(light.shape, dtype=np.float32)
    index = torch.from_numpy(scene.index)
    gain = (index - far).abs() - (index - near).abs()
    return ScoredPair(
        images=torch.from_numpy(light + np.sqrt(light + 0.01) / np.float32(snr) * grain),
        first_is_sharper=gain > 0,
        clear=gain.abs() > 0.5,
        sharp=torch.from_numpy(scene.sharp),
    )


@torch.no_grad()
def reconstruction_scores(network: nn.Module, scenes: Sequence[TrainingScene], device: str = "cpu") -> dict[str, float]:
    """Peak signal-to-noise ratio of pictures given back by an autoencoder, dB.

    Args:
        network: (N, 1, H, W) from 0 to 1 → the same pictures in deviations from their mean.
        scenes: Scenes not trained on.
        device: Where the network is.
    """
    ratios = []
    for scene in scenes:
        wanted = torch.from_numpy(scene.sharp)[None, None].to(device)
        error = (network(wanted) * DEVIATION + MEAN - wanted).square().mean()
        ratios.append(float(-10 * error.log10()))
    return {"psnr_db": round(float(np.mean(ratios)), 3)} if ratios else {}


def _scene_scores(
    network: Callable[[Tensor], Tensor], scene: TrainingScene, snr: float, number: int, device: str
) -> tuple[float, float, float]:
    random = np.random.default_rng(number)
    light = scene.frames.astype(np.float32) / 65535
    grain = random.standard_normal(light.shape, dtype=np.float32)
    images = torch.from_numpy(light + np.sqrt(light + 0.01) / np.float32(snr) * grain)
    filtered = stack_filter(np.arange(float(len(images))), 1.0)(images)
    label = network(filtered[:, None].to(device)).argmax(0).cpu().numpy().astype(np.float32)
    whole = depth_errors(label, scene.index)
    edges = depth_errors(label, scene.index, pixels=occlusion_edges(scene.index))
    return whole.mae, edges.mae, whole.median
