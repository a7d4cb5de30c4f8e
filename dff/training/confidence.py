"""Fit the judges of confidence, and the scale of the standard deviation, on simulated stacks.

Run: python -m dff.training.confidence [MEASURE ...], by default ring-difference.
It renders scenes of ten kinds and collages (minutes), writes what it fits to dff/depth/judges.json, and prints how well
judges keep their word on kinds of scenes that they were not fitted on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

from dff import io, metrics
from dff.depth import DepthEstimator, Labels, Peaks, frames_of
from dff.depth.confidence import FEATURES, LEAST_PROBABILITY, is_clear
from dff.depth.judge import DEFAULT, JUDGES, Judge, read_judges
from dff.focus import NETWORKS, load_measure
from dff.simulate import SCENES, Recipe, render_scene
from dff.stack import FloatArray, Scene
from dff.training.collage import Collage
from dff.training.units import fit_units

COMMAND = "python -m dff.training.confidence"
SEED = 4000
SWEEPS = ((36, 0.35), (24, 0.5), (15, 0.8), (36, 0.25), (18, 1.0))
"""Number of frames and blur growth in px a frame."""
KINDS = (
    *("rock", "spheres", "bristles", "coin", "weak-texture"),
    *("staircase", "v-groove", "cone", "sinusoid", "plane"),
)
COLLAGE = "collage"
SWEEPS_A_KIND = 3
COLLAGES = 15
SIZE_PX = 160
LARGE = ("spheres", "rock", "coin", "bristles", "collage", "weak-texture", "staircase", "sinusoid", "cone", "collage")
"""Once more, larger, so that edges are farther apart."""
LARGE_PX = 256

PHOTOGRAPHS = 2
"""Of each scene, with noise, bits and compression drawn anew; every other one may have a blank part."""
SNR = (25.0, 200.0)
JPEG_QUALITY = 92
BLANK_SHARE = 3
"""One part in so many of a picture is made blank: noise alone, at a depth that cannot be known."""
PIXELS = 5000
"""Drawn from each photograph."""
BORDER_PX = 12

UNITS = 4
STEPS = 800
DECAY = 0.1


@dataclass(frozen=True)
class Subject:
    """A scene to be rendered."""

    kind: str
    size_px: int
    frames: int
    blur_growth_px: float
    seed: int

    def light(self) -> Scene:
        """The scene without noise."""
        SCENES[COLLAGE] = Collage()
        return render_scene(
            self.kind,
            size_px=self.size_px,
            frames=self.frames,
            blur_growth_px=self.blur_growth_px,
            seed=self.seed,
            snr=None,
            bits=None,
        )


@dataclass(frozen=True)
class Samples:
    """Pixels of one or more scenes."""

    features: FloatArray
    """(P, F)."""
    error: FloatArray
    """(P,) absolute error of the index in frames."""
    sigma: FloatArray
    """(P,) standard deviation that noise alone predicts."""

    @property
    def right(self) -> FloatArray:
        """(P,) 1 where the index is right to one frame."""
        return (self.error <= 1).astype(np.float32)

    def some(self, random: np.random.Generator) -> Samples:
        """At most PIXELS of them."""
        chosen = random.permutation(len(self.error))[:PIXELS]
        return Samples(self.features[chosen], self.error[chosen], self.sigma[chosen])


def joined(parts: Sequence[Samples]) -> Samples:
    """All of them.

    Raises:
        ValueError: there are none.
    """
    if not parts:
        raise ValueError("confidence: needs at least one scene; got none; name some")
    return Samples(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("features", "error", "sigma"))
    )


def subjects() -> Iterator[Subject]:
    """All scenes that are fitted on. No seed is one of the benchmark's."""
    for number, kind in enumerate(KINDS):
        for turn in range(SWEEPS_A_KIND):
            sweep = SWEEPS[(number + 2 * turn + number // len(SWEEPS)) % len(SWEEPS)]
            yield Subject(kind, SIZE_PX, *sweep, SEED + 10 * number + turn)
    for number in range(COLLAGES):
        yield Subject(COLLAGE, SIZE_PX, *SWEEPS[number % len(SWEEPS)], SEED + 200 + number)
    for number, kind in enumerate(LARGE):
        yield Subject(kind, LARGE_PX, *SWEEPS[1], SEED + 300 + number)


def estimator_of(measure: str) -> DepthEstimator:
    """The default chain, with a measure that decides the frame."""
    refit = load_measure(DEFAULT) if measure in NETWORKS else None
    return DepthEstimator(load_measure(measure), z_sigma_frames=1.0, refit=refit)


def photographs(light: Scene, random: np.random.Generator) -> Iterator[Tensor]:
    """(N, C, H, W) the frames of a scene as cameras might give them."""
    for number in range(PHOTOGRAPHS):
        snr, bits = float(np.exp(random.uniform(*np.log(SNR)))), int(random.choice((8, 16)))
        sensor = Recipe(snr=snr, bits=bits).sensor
        frames = np.stack([sensor.expose(light.stack.frames[k], random) for k in range(len(light.stack))])
        frames = (frames / np.float32(np.iinfo(frames.dtype).max)).astype(np.float32)
        if number % 2 and random.random() < 0.5:
            part = frames[:, :, : frames.shape[2] // BLANK_SHARE]
            part[:] = np.clip(0.5 + random.normal(size=part.shape) * np.sqrt(0.5) / snr, 0, 1)
        if random.random() < 0.3:
            frames = np.stack([_compressed(frame, JPEG_QUALITY) for frame in frames])
        yield torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))


def _compressed(frame: FloatArray, quality: int) -> FloatArray:
    """A frame as a camera writes it: encoded for display in 8 bits, and compressed."""
    shown = np.rint(255 * np.clip(frame, 0, 1) ** (1 / 2.2)).astype(np.uint8)
    _, data = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.float32) / 255


def collect(images: Tensor, truth: FloatArray, estimator: DepthEstimator) -> Samples:
    """Features and errors where a depth was found and the truth lies inside the sweep.

    Args:
        images: (N, C, H, W) from 0 to 1.
        truth: (H, W) true index; NaN outside the sweep.
        estimator: How depth is found.
    """
    matched, labels, peaks = labelled(images, estimator)
    surface, features = matched.evidence(peaks, labels, frames_of(images))
    inside = inner(truth) & surface.index.isfinite().numpy()
    # Those whose surroundings are all scattered are unknown by that alone.
    inside &= is_clear(features, promised=labels.claims is not None).numpy()
    error = np.abs(surface.index.numpy() - truth)
    return Samples(features.numpy()[:, inside].T.astype(np.float32), error[inside], surface.sigma.numpy()[inside])


def labelled(images: Tensor, estimator: DepthEstimator) -> tuple[DepthEstimator, Labels, Peaks]:
    """The estimator that refines a stack, the labels, and what focus curves say around them.

    Raises:
        ValueError: the estimator finds depth without labels.
    """
    labels = estimator.regularise(estimator.sites(images), frames_of(images))
    if labels.label is None:
        raise ValueError(f"method: must be regularised; got {estimator.method}; do not change the estimator")
    matched = estimator.matched(labels)
    return matched, labels, matched.peaks(matched.volume(images), labels)


def inner(truth: FloatArray) -> NDArray[np.bool_]:
    """(H, W) where the truth lies inside the sweep and away from the borders."""
    inside = np.zeros(truth.shape, bool)
    inside[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = np.isfinite(truth[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX])
    return inside


def fit_judge(samples: Samples) -> Judge:
    """The judge of largest likelihood, by stochastic descent; equal samples give equal judges."""
    names = FEATURES[: samples.features.shape[1]]
    right = torch.from_numpy(samples.right)

    def loss(answers: Tensor, pixels: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(answers[:, 0], right[pixels])

    found = fit_units(samples.features, 1, loss, units=UNITS, steps=STEPS, decay=DECAY, seed=SEED)
    return Judge(names, found.hidden, found.bias, found.output[0], found.constant[0], 1.0)


def fit_sigma(estimator: DepthEstimator) -> float:
    """Scale of the standard deviation on level, textured planes at several noise levels."""
    predicted, measured = [], []
    random = np.random.default_rng(SEED)
    for snr in (20, 40, 80, 160):
        scene = render_scene("textured-plane", size_px=128, frames=20, blur_growth_px=0.4, snr=snr, seed=SEED)
        frames = np.stack([scene.stack.frames[k] for k in range(len(scene.stack))]) / np.float32(scene.stack.white)
        images = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2), np.float32))
        found = collect(images, scene.index, estimator).some(random)
        predicted.append(np.median(found.sigma**2))
        measured.append((1.4826 * np.median(found.error)) ** 2)
    return float(np.sqrt(max(np.polyfit(predicted, measured, 1)[0], 0.01)))


def fit(measure: str, photographed: Callable[[Subject], Scene] = Subject.light) -> tuple[Judge, list[str]]:
    """The judge of a measure, and lines about how well judges hold on kinds that they were not fitted on.

    Args:
        measure: Name of the measure that decides the frame.
        photographed: Gives the light of a scene.
    """
    estimator = estimator_of(measure)
    of_kind: dict[str, list[Samples]] = {}
    for subject in subjects():
        light, random = photographed(subject), np.random.default_rng([SEED, subject.seed])
        found = [collect(images, light.index, estimator).some(random) for images in photographs(light, random)]
        of_kind.setdefault(subject.kind, []).extend(found)
    judge, lines = judge_of_kinds({kind: joined(parts) for kind, parts in of_kind.items()})
    return replace(judge, sigma_scale=round(fit_sigma(estimator), 3), command=f"{COMMAND} {measure}"), lines


def judge_of_kinds(of_kind: Mapping[str, Samples]) -> tuple[Judge, list[str]]:
    """The judge of all kinds of scenes, as sure as judges can be of a kind that they do not know.

    Every kind is judged by the judge of the others. The log-odds that these should have given, a straight line in
    those that they gave (Platt 1999), are what the judge of all gives.
    """
    left_out = [(judge_but(of_kind, kind), samples) for kind, samples in of_kind.items()]
    promised = [judge(torch.from_numpy(samples.features.T)).numpy() for judge, samples in left_out]
    slope, offset = transfer(promised, list(of_kind.values()))
    judge = fit_judge(joined(list(of_kind.values())))
    output = tuple(float(f"{slope * value:.5g}") for value in judge.output)
    judge = replace(judge, output=output, constant=round(slope * judge.constant + offset, 5))
    confidence = 1 / (1 + np.exp(-(slope * _log_odds(np.concatenate(promised)) + offset)))
    errors = np.concatenate([samples.error for samples in of_kind.values()])
    return judge, [f"log-odds x {slope:.3f} + {offset:.3f}", *_diagram(confidence, errors)]


def judge_but(of_kind: Mapping[str, Samples], kind: str) -> Judge:
    """The judge of all kinds but one."""
    return fit_judge(joined([samples for other, samples in of_kind.items() if other != kind]))


def transfer(promised: Sequence[FloatArray], kinds: Sequence[Samples]) -> tuple[float, float]:
    """Slope and offset of the log-odds of unknown kinds against those promised; every kind counts the same."""
    logit = [_log_odds(values) for values in promised]

    def loss(line: FloatArray) -> float:
        shifted = [np.where(kind.right > 0, -1, 1) * (line[0] * x + line[1]) for x, kind in zip(logit, kinds)]
        return float(np.mean([np.logaddexp(0, values).mean() for values in shifted]))

    slope, offset = minimize(loss, [1.0, 0.0], method="Nelder-Mead").x
    return float(slope), float(offset)


def _log_odds(confidence: FloatArray) -> FloatArray:
    inside = np.clip(confidence.astype(float), 1e-6, 1 - 1e-6)
    return np.log(inside / (1 - inside))


def _diagram(confidence: FloatArray, error: FloatArray) -> list[str]:
    """The reliability diagram, a line a bin."""
    known = confidence > LEAST_PROBABILITY
    found = metrics.reliability(error[known], confidence[known])
    lines = [f"kinds left out in turn: {known.mean():.3f} known, calibration error {found.calibration_error:.3f}"]
    for promise, kept, pixels in zip(found.confidence, found.frequency, found.pixels):
        if pixels:
            lines.append(f"  {promise:.3f} promised, {kept:.3f} kept, {pixels / known.sum():.3f} of the pixels")
    return lines


def main(measures: Sequence[str]) -> None:
    """Fit the judges of some measures, write them, and report."""
    for measure in measures or [DEFAULT]:
        judge, lines = fit(measure)
        io.write_json(JUDGES, {name: asdict(kept) for name, kept in ({**read_judges(), measure: judge}).items()})
        sys.stdout.write("\n".join([f"{measure}: standard deviation x {judge.sigma_scale}", *lines]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
