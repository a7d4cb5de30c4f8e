"""Fit the mixtures of windows, on simulated stacks.

Run: python -m dff.training.windows
It renders the scenes that `dff.training.confidence` does (minutes), and writes dff/depth/mixtures.json. Judges of
confidence look at what mixtures give: fit them anew afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from dff import io
from dff.depth import DepthEstimator, beside, frames_of, windows
from dff.depth.mixture import MIXTURES, Mixture
from dff.stack import FloatArray, Scene
from dff.training.confidence import SEED, Subject, estimator_of, inner, labelled, photographs, subjects
from dff.training.units import fit_units

COMMAND = "python -m dff.training.windows"
MEASURE = "sesf-stack"
"""Decides the frame."""
UNITS = 16
STEPS = 2400
DECAY = 1e-2
PIXELS = 4000
"""Drawn from each photograph, of each kind of pixel."""
WRONG_FRAMES = 1.5
"""Open surfaces that are farther off have a wrong label, which no window mends."""
CUT_FRAMES = 1.0
"""Errors count up to this."""
NAMES = {"open": (windows.FEATURES, windows.VALUES), "edge": (beside.FEATURES, beside.VALUES)}


@dataclass(frozen=True)
class Estimates:
    """Estimates of pixels, what they are judged by, and the truth."""

    features: FloatArray
    """(P, F)."""
    values: FloatArray
    """(P, J)."""
    truth: FloatArray
    """(P,)."""

    def some(self, random: np.random.Generator) -> Estimates:
        """At most PIXELS of them."""
        chosen = random.permutation(len(self.truth))[:PIXELS]
        return Estimates(self.features[chosen], self.values[chosen], self.truth[chosen])


def collect(images: Tensor, truth: FloatArray, estimator: DepthEstimator) -> dict[str, Estimates]:
    """Estimates where the truth lies inside the sweep, of open surfaces and near edges.

    Args:
        images: (N, C, H, W) from 0 to 1.
        truth: (H, W) true index; NaN outside the sweep.
        estimator: How depth is found.
    """
    estimator, labels, peaks = labelled(images, estimator)
    single, _ = estimator.single(peaks, labels)
    averaging = estimator.averaging(labels)
    curves = averaging.curves(single)
    found = windows.Windows.of(curves, averaging.sigma_px)
    settled = averaging.settled(curves, frames_of(images))
    near = beside.Beside.of(settled, single.index, single.sigma, found)
    true, inside = torch.from_numpy(truth), torch.from_numpy(inner(truth))
    middle = found.values[windows.VALUES.index("middle")]
    right = inside & ~settled.where & single.known & ((middle - true).abs() < WRONG_FRAMES)
    chosen = inside[settled.where]
    return {
        "open": _estimates(found.features[:, right], found.values[:, right], true[right]),
        "edge": _estimates(near.features[:, chosen], near.values[:, chosen], true[settled.where][chosen]),
    }


def _estimates(features: Tensor, values: Tensor, truth: Tensor) -> Estimates:
    return Estimates(features.T.numpy(), values.T.numpy(), truth.numpy())


def fit_mixture(found: Estimates, features: tuple[str, ...], values: tuple[str, ...]) -> Mixture:
    """The mixture of least mean error, errors cut at CUT_FRAMES; equal estimates give equal mixtures.

    Args:
        found: What it is fitted to.
        features: Names of what it looks at.
        values: Names of what it mixes.
    """
    estimates, truth = torch.from_numpy(found.values), torch.from_numpy(found.truth)

    def loss(answers: Tensor, pixels: Tensor) -> Tensor:
        mixed = (answers.softmax(1) * estimates[pixels]).sum(1)
        return (mixed - truth[pixels]).abs().clamp_max(CUT_FRAMES).mean()

    units = fit_units(found.features, len(values), loss, units=UNITS, steps=STEPS, decay=DECAY, seed=SEED)
    return Mixture(features, values, units.hidden, units.bias, units.output, units.constant, COMMAND)


def fit(rendered: Callable[[Subject], Scene] = Subject.light) -> tuple[dict[str, Mixture], list[str]]:
    """The mixtures, and lines about the errors of what they mix.

    Args:
        rendered: Gives the light of a scene.
    """
    estimator, parts = estimator_of(MEASURE), {name: list[Estimates]() for name in NAMES}
    for found in _collected(estimator, rendered):
        for name, estimates in found.items():
            parts[name].append(estimates)
    joined = {name: _joined(estimates) for name, estimates in parts.items()}
    mixtures = {name: fit_mixture(found, *NAMES[name]) for name, found in joined.items()}
    return mixtures, [line for name, found in joined.items() for line in _report(name, mixtures[name], found)]


def _collected(estimator: DepthEstimator, rendered: Callable[[Subject], Scene]) -> Iterator[dict[str, Estimates]]:
    for subject in subjects():
        light, random = rendered(subject), np.random.default_rng([SEED, subject.seed])
        for images in photographs(light, random):
            found = collect(images, light.index, estimator)
            yield {name: estimates.some(random) for name, estimates in found.items()}


def _joined(parts: list[Estimates]) -> Estimates:
    return Estimates(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("features", "values", "truth"))
    )


def _report(name: str, mixture: Mixture, found: Estimates) -> list[str]:
    """The mean error, cut, and the median, of everything that is mixed and of the mixture."""
    shares = mixture(torch.from_numpy(found.features.T)).numpy().T
    columns = dict(zip(mixture.values, found.values.T)) | {"mixture": (shares * found.values).sum(1)}
    errors = {title: np.abs(values - found.truth) for title, values in columns.items()}
    return [
        f"{name}, {title}: mean {np.minimum(error, CUT_FRAMES).mean():.3f}, median {np.median(error):.3f}"
        for title, error in errors.items()
    ]


def main() -> None:
    """Fit the mixtures, write them, and report."""
    mixtures, lines = fit()
    io.write_json(MIXTURES, {name: asdict(mixture) for name, mixture in mixtures.items()})
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
