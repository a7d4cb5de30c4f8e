"""Fit the model of confidence, and the scale of the standard deviation, on simulated stacks.

Run: python -m dff.training.confidence
It prints the constants of `dff.depth.confidence` and how well they hold on scenes that were not used.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize

from dff.depth import DepthEstimator, upsample_label
from dff.depth.confidence import FEATURES, curve_features, label_range
from dff.depth.refine import fit_peak, has_peak
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


@dataclass(frozen=True)
class Samples:
    """Pixels of one or more scenes."""

    features: FloatArray
    """(P, F)."""
    error: FloatArray
    """(P,) absolute error of the index in frames."""
    sigma: FloatArray
    """(P,) standard deviation that noise alone predicts."""

    def __add__(self, other: Samples) -> Samples:
        return Samples(
            np.concatenate([self.features, other.features]),
            np.concatenate([self.error, other.error]),
            np.concatenate([self.sigma, other.sigma]),
        )


def collect(scene: Scene, *, z_sigma_frames: float = 1.0, blank_snr: float | None = None) -> Samples:
    """Features and errors at the pixels of a scene where a peak was found and the truth lies inside the sweep.

    Args:
        scene: The scene.
        z_sigma_frames: Filter along the stack.
        blank_snr: Signal-to-noise ratio of a part that is made blank; None makes none.
    """
    frames = np.stack([scene.stack.frames[k] for k in range(len(scene.stack))]) / scene.stack.white
    if blank_snr is not None:
        part = frames[:, :, : frames.shape[2] // BLANK_SHARE]
        noise = np.random.default_rng(SEED).normal(size=part.shape) * np.sqrt(0.5) / blank_snr
        part[:] = np.clip(0.5 + noise, 0, 1)
    images = torch.from_numpy(frames.transpose(0, 3, 1, 2).astype(np.float32))
    estimator = DepthEstimator(load_measure("ring-difference"), z_sigma_frames=z_sigma_frames)
    volume = estimator.volume(images)
    labels = estimator.regularise(estimator.lattice(volume))
    if labels.label is None:
        raise ValueError("confidence: needs the regularised method; got another; do not change the estimator")
    label = upsample_label(volume, labels.label)
    fit = fit_peak(volume, label, noise_logit=labels.noise_logit, samples=estimator.measure.samples)
    inside = np.isfinite(scene.index) & has_peak(fit, label, len(volume), estimator.refit_radius).numpy()
    for edge in (np.s_[:BORDER_PX], np.s_[-BORDER_PX:], np.s_[:, :BORDER_PX], np.s_[:, -BORDER_PX:]):
        inside[edge] = False
    features = curve_features(volume, label, label_range(label), fit, labels.noise_logit).numpy()[:, inside].T
    return Samples(features, np.abs(fit.index.numpy() - scene.index)[inside], fit.sigma.numpy()[inside])


def rendered(names: Sequence[str], seed: int, *, blank: bool, size_px: int = 128) -> Samples:
    """Samples of some scenes over sweeps and noise levels, with a blank part in each or none."""
    total: Samples | None = None
    for number, name in enumerate(names):
        for turn, (frames, growth) in enumerate(SWEEPS):
            snr = (150, 40)[(number + turn) % 2]
            scene = render_scene(
                name, size_px=size_px, frames=frames, blur_growth_px=growth, snr=snr, seed=seed + number, bits=8
            )
            found = collect(scene, blank_snr=snr if blank else None)
            total = found if total is None else total + found
    if total is None:
        raise ValueError("confidence: needs at least one scene; got none; name some")
    return total


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
    fitted_on = rendered(FIT_ON, SEED, blank=True) + rendered(FIT_ON, SEED + 100, blank=False)
    weights = fit_weights(fitted_on)
    scale, floor = fit_sigma(SEED)
    lines = [f"FEATURES = {FEATURES}", f"WEIGHTS = {tuple(round(float(w), 3) for w in weights)}"]
    lines.append(f"SIGMA_SCALE = {scale:.3f}, SIGMA_FLOOR_FRAMES = {floor:.3f}")
    checked = rendered(CHECK_ON, SEED + 500, blank=True)
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
