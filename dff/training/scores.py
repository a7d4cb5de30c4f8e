"""How good a network's labels are, before any regularisation or refit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from dff.focus import load_measure, stack_filter
from dff.focus.sesf import DEVIATION, MEAN
from dff.metrics.depth import depth_errors, occlusion_edges
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
