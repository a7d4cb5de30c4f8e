"""Suites of scenes whose depth is known at every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dff.benchmark.cases import Case, rendered_case, stored_cases
from dff.benchmark.estimate import Method
from dff.benchmark.score import Sample, pooled, score
from dff.benchmark.suite import Options, Suite, SuiteResult, answer, loaded

FIVE_SCENES = ("rock", "spheres", "bristles", "coin", "weak-texture")
OTHER_SCENES = ("fractal-rock", "demo", "hemisphere")
MESHES = ("scorpion", "skull", "wingnut")
HELD_BACK_SEED = 9001
"""Added to the seed, so that no scene used for calibration comes back."""


def compare_with_truth(cases: Sequence[Case], result: SuiteResult, options: Options, methods: Sequence[Method]) -> None:
    """Rows for every scene and method, and pooled curves of confidence for every method."""
    samples: dict[str, list[Sample]] = {}
    for scene in loaded(result, cases, options):
        for method in methods:
            estimate = answer(result, method, scene)
            if estimate is None:
                continue
            row, sample = score(estimate, scene)
            result.rows.append({"scene": scene.name, "method": method.name, **row})
            if sample is not None:
                samples.setdefault(method.name, []).append(sample)
            options.show(result.name, scene, method.name, estimate)
    result.pooled = {name: found for name, parts in samples.items() if (found := pooled(parts))}


def _rendered(name: str, summary: str, scenes: Sequence[str], *, seed: int = 0, **parameters: Any) -> Suite:
    def run(result: SuiteResult, options: Options, methods: Sequence[Method]) -> None:
        shared = {"size_px": options.size_px, "frames": options.frames, "seed": options.seed + seed, **parameters}
        names = [str(options.data / "meshes" / name / f"{name}.obj") if name in MESHES else name for name in scenes]
        compare_with_truth([rendered_case(name, options.cache, **shared) for name in names], result, options, methods)

    return Suite(name, summary, run)


CLEAN = _rendered(
    "clean",
    "five macro subjects with occlusion, signal-to-noise ratio 150 at white, blur growing 0.35 px a frame",
    FIVE_SCENES,
    snr=150,
    blur_growth_px=0.35,
)
NOISY = _rendered(
    "noisy", "the same subjects at a signal-to-noise ratio of 35", FIVE_SCENES, snr=35, blur_growth_px=0.35
)
HELD_BACK = _rendered(
    "held-back",
    "subjects, seeds, noise and step that confidence was not calibrated on",
    (*FIVE_SCENES, *OTHER_SCENES, *MESHES),
    seed=HELD_BACK_SEED,
    snr=70,
    blur_growth_px=0.5,
)


def _stored(result: SuiteResult, options: Options, methods: Sequence[Method]) -> None:
    compare_with_truth(stored_cases(options.data / "rendered"), result, options, methods)


RENDERED = Suite("rendered", "path-traced stacks of another renderer, frames aligned by dff for every method", _stored)
