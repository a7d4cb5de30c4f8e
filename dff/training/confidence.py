"""Fit the model of confidence, and the scale of the standard deviation, on simulated stacks.

Run: python -m dff.training.confidence
It prints the constants of `dff.depth.confidence` and how well they hold on scenes that were not used.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.optimize import minimize

from dff.depth import DepthEstimator, upsample_label
from dff.depth.confidence import FEATURES
from dff.focus import load_measure
from dff.simulate import render_scene
from dff.stack import FloatArray, Scene

SEED = 4000
SWEEPS = ((36, 0.35), (15, 0.8))
"""Number of frames and blur growth in px a frame."""
FIT_ON = ("rock", "spheres", "bristles", "coin", "weak-texture")
CHECK_ON = ("hemisphere", "staircase", "v-groove")
BLANK_SHARE = 3
"""One part in so many of the fitted pictures is made blank: noise alone, at a depth that cannot be known."""
RIDGE = 1e-3
BORDER_PX = 12
JPEG_QUALITY = 92


@dataclass(frozen=True)
class Samples:
    """Pixels of one or more scenes."""

    features: FloatArray
    """(P, F)."""
    error: FloatArray
    """(P,) absolute error of the index in frames."""
    sigma: FloatArray
    """(P,) standard deviation that noise alone predicts."""


def collect(scene: Scene, *, blank_snr: float | None = None, jpeg_quality: int | None = None) -> Samples:
    """Features and errors at the pixels of a scene where a depth was found and the truth lies inside the sweep.

    Args:
        scene: The scene.
        blank_snr: Signal-to-noise ratio of a part that is made blank; None makes none.
        jpeg_quality: Quality at which the frames are compressed; None leaves them as they are.
    """
    frames = np.stack([scene.stack.frames[k] for k in range(len(scene.stack))]) / scene.stack.white
    if blank_snr is not None:
        part = frames[:, :, : frames.shape[2] // BLANK_SHARE]
        noise = np.random.default_rng(SEED).normal(size=part.shape) * np.sqrt(0.5) / blank_snr
        part[:] = np.clip(0.5 + noise, 0, 1)
    if jpeg_quality is not None:
        frames = np.stack([_compressed(frame, jpeg_quality) for frame in frames])
    images = torch.from_numpy(frames.transpose(0, 3, 1, 2).astype(np.float32))
    estimator = DepthEstimator(load_measure("ring-difference"), z_sigma_frames=1.0)
    labels = estimator.regularise(estimator.sites(images))
    if labels.label is None:
        raise ValueError("confidence: needs the regularised method; got another; do not change the estimator")
    matched = estimator.matched(labels)
    volume = matched.volume(images)
    label = upsample_label(volume, labels.label)
    surface, features = matched.evidence(volume, label, labels, lambda k: images[k])
    inside = np.isfinite(scene.index) & surface.index.isfinite().numpy()
    for edge in (np.s_[:BORDER_PX], np.s_[-BORDER_PX:], np.s_[:, :BORDER_PX], np.s_[:, -BORDER_PX:]):
        inside[edge] = False
    # Those whose surroundings are all scattered are unknown by that alone.
    inside &= features[FEATURES.index("scatter")].numpy() < 1
    error = np.abs(surface.index.numpy() - scene.index)
    return Samples(features.numpy()[:, inside].T, error[inside], surface.sigma.numpy()[inside])


def _compressed(frame: FloatArray, quality: int) -> FloatArray:
    """A frame as a camera writes it: encoded for display in 8 bits, and compressed."""
    shown = np.rint(255 * np.clip(frame, 0, 1) ** (1 / 2.2)).astype(np.uint8)
    _, data = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.float32) / 255


def rendered(names: Sequence[str], seed: int, *, size_px: int = 160) -> Samples:
    """Samples of some scenes over sweeps, noise and compression, as they are and with a blank part."""
    total: list[Samples] = []
    for number, name in enumerate(names):
        for turn, (frames, growth) in enumerate(SWEEPS):
            snr, quality = (150, 40)[(number + turn) % 2], (None, JPEG_QUALITY)[(number // 2 + turn) % 2]
            scene = render_scene(
                name, size_px=size_px, frames=frames, blur_growth_px=growth, snr=snr, seed=seed + number, bits=8
            )
            total += [collect(scene, blank_snr=blank, jpeg_quality=quality) for blank in (None, snr)]
    if not total:
        raise ValueError("confidence: needs at least one scene; got none; name some")
    return Samples(
        *(np.concatenate([getattr(part, name) for part in total]) for name in ("features", "error", "sigma"))
    )


def fit_weights(samples: Samples) -> FloatArray:
    """Constant and weights of the logistic model of P(error <= 1 frame), by ridge-regularised likelihood."""
    design = np.hstack([np.ones((len(samples.error), 1)), samples.features])
    right = samples.error <= 1

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        logit = design @ weights
        value = np.logaddexp(0, np.where(right, -logit, logit)).mean() + RIDGE * np.sum(weights[1:] ** 2)
        slope = design.T @ (1 / (1 + np.exp(-logit)) - right) / len(right)
        return float(value), slope + 2 * RIDGE * np.r_[0, weights[1:]]

    return minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B").x


def confidence_of(weights: FloatArray, features: FloatArray) -> FloatArray:
    """(P,) modelled probability."""
    return 1 / (1 + np.exp(-(weights[0] + features @ weights[1:])))


def fit_sigma(seed: int) -> tuple[float, float]:
    """Scale and floor of the standard deviation on level, textured planes at several noise levels."""
    predicted, measured = [], []
    for snr in (20, 40, 80, 160):
        scene = render_scene("textured-plane", size_px=128, frames=20, blur_growth_px=0.4, snr=snr, seed=seed)
        found = collect(scene)
        predicted.append(np.sqrt(np.median(found.sigma**2)))
        measured.append(1.4826 * np.median(found.error))
    squares, errors = np.array(predicted) ** 2, np.array(measured) ** 2
    scale, floor = np.polyfit(squares, errors, 1)
    return float(np.sqrt(max(scale, 0))), float(np.sqrt(max(floor, 0)))


def main() -> None:
    """Fit, and report."""
    fitted_on = rendered(FIT_ON, SEED)
    weights = fit_weights(fitted_on)
    scale, floor = fit_sigma(SEED)
    lines = [f"FEATURES = {FEATURES}", f"WEIGHTS = {tuple(round(float(w), 3) for w in weights)}"]
    lines.append(f"SIGMA_SCALE = {scale:.3f}, SIGMA_FLOOR_FRAMES = {floor:.3f}")
    checked = rendered(CHECK_ON, SEED + 500)
    for name, samples in (("fitted on", fitted_on), ("held back", checked)):
        modelled, right = confidence_of(weights, samples.features), samples.error <= 1
        lines.append(f"{name}: {right.mean():.3f} right, {modelled.mean():.3f} modelled")
        for low in np.arange(0, 1, 0.1):
            bin_ = (modelled >= low) & (modelled < low + 0.1 + 1e-9)
            if bin_.sum() > 100:
                lines.append(
                    f"  {low:.1f}-{low + 0.1:.1f}: {modelled[bin_].mean():.3f} modelled, "
                    f"{right[bin_].mean():.3f} right, {bin_.mean():.3f} of the pixels"
                )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
