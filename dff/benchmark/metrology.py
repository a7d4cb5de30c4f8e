"""Known shapes measured in millimetres through the whole program, alignment included."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from dff import pipeline, surface
from dff.benchmark.cases import rendered_case, true_places
from dff.benchmark.estimate import Method
from dff.benchmark.score import Row
from dff.benchmark.shapes import SHAPES, scale_errors
from dff.benchmark.suite import Options, Suite, SuiteResult, loaded
from dff.settings import Settings
from dff.stack import FloatArray, Scene

CAPTURES = ("telecentric", "rail")


def _run(result: SuiteResult, options: Options, methods: Sequence[Method]) -> None:
    shared = {"size_px": options.size_px, "frames": options.frames, "seed": options.seed, "snr": 150}
    cases = [rendered_case(name, options.cache, **shared, capture=capture) for capture in CAPTURES for name in SHAPES]
    for scene in loaded(result, cases, options):
        for method in methods:
            if method.settings is not None:
                result.rows += measured(scene, method.name, method.settings)


def measured(scene: Scene, method: str, settings: Settings) -> list[Row]:
    """Quantities of a part, estimated and true, one a row; the first row also has the scale errors."""
    true = true_places(scene)
    estimated, residual_px = places(scene, settings)
    inside = np.isfinite(scene.index)
    known = inside & np.isfinite(estimated).all(-1)
    about = {"scene": scene.name, "capture": scene.settings["capture"], "method": method}
    scales = {
        **scale_errors(np.where(inside[..., None], estimated, np.nan), true),
        "known_percent": 100 * float(known.sum() / max(inside.sum(), 1)),
        "alignment_residual_px": residual_px,
    }
    rows = [{**about, "quantity": name, "error": value} for name, value in scales.items()]
    if known.sum() < 1000:
        return rows
    pairs = zip(SHAPES[scene.name](estimated[known]), SHAPES[scene.name](true[inside]))
    return rows + [
        {**about, "quantity": got.name, "value": got.value, "true": wanted.value, "error": got.value - wanted.value}
        for got, wanted in pairs
    ]


def places(scene: Scene, settings: Settings) -> tuple[FloatArray, float]:
    """(H, W, 3) back-projected x, y, z of every pixel and the rms misregistration, px."""
    align = "none" if scene.settings["capture"] == "telecentric" else settings.align
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pipeline.reconstruct(scene.stack, settings.but(align=align))
    sure = np.where(found.depth.confidence >= settings.min_confidence, found.depth.index, np.nan)
    return surface.back_project(sure, found.geometry, found.alignment), found.alignment.residual_rms_px


METROLOGY = Suite("metrology", "known shapes through the whole program: what an instrument would report of them", _run)
