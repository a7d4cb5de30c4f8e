"""The suite of fusion: pairs and stacks whose sharp picture is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dff import metrics
from dff.benchmark.cases import rendered_case
from dff.benchmark.estimate import Method
from dff.benchmark.fusion_methods import MEAN, fusion_methods
from dff.benchmark.score import Row, picture_figures
from dff.benchmark.suite import Options, Suite, SuiteResult, answer, loaded
from dff.benchmark.truth import FIVE_SCENES
from dff.stack import LUMINANCE, FloatArray, Scene

SNR = 70
BLUR_GROWTH_PX = 0.35
STACK_FRAMES = 12
"""About; every so many frames of a rendered stack."""
PAIR_QUANTILES = (0.25, 0.75)
"""Of the true index: where the two frames of a pair are in focus."""


def _run(result: SuiteResult, options: Options, methods: Sequence[Method]) -> None:
    """Rows for every scene, once as a pair and once as a stack, and every method."""
    parameters = {"size_px": options.size_px, "frames": options.frames, "seed": options.seed}
    cases = [
        rendered_case(name, options.cache, **parameters, snr=SNR, blur_growth_px=BLUR_GROWTH_PX) for name in FIVE_SCENES
    ]
    chosen = [*fusion_methods([m.name for m in methods if not m.external]), *[m for m in methods if m.external]]
    for scene in loaded(result, cases, options):
        for kind, frames in (("pair", pair_frames(scene.index)), ("stack", stack_frames(len(scene.stack)))):
            part = replace(scene, stack=scene.stack.subset(frames))
            for method in chosen:
                estimate = answer(result, method, part)
                if estimate is not None and estimate.all_in_focus is not None:
                    figures = fusion_figures(estimate.all_in_focus, part, estimate.cost.cpu_s)
                    result.rows.append(_row(scene.name, method.name, kind, figures))
    add_gains(result.rows)


def _row(scene: str, method: str, kind: str, figures: Row) -> Row:
    return {"scene": scene, "method": method, "kind": kind, **{f"{kind}_{key}": v for key, v in figures.items()}}


def pair_frames(index: FloatArray) -> list[int]:
    """Two frames in focus on the nearer and on the farther parts of a scene."""
    first, second = (int(number) for number in np.nanquantile(index, PAIR_QUANTILES).round())
    return [first, max(second, first + 1)]


def stack_frames(count: int) -> list[int]:
    """Every so many frames, so that about STACK_FRAMES are left."""
    return list(range(0, count, max(1, round(count / STACK_FRAMES))))


def fusion_figures(picture: FloatArray, scene: Scene, cpu_s: float) -> Row:
    """Figures against the sharp picture, and against the frames it was made of.

    Args:
        picture: (H, W, C) from 0 to 1.
        scene: The frames it was made of, and the sharp picture.
        cpu_s: Processor seconds it took.
    """
    grey = _grey(picture)
    sources = [_grey(scene.stack.frames[k] / scene.stack.white) for k in range(len(scene.stack))]
    quality = metrics.fusion_quality(grey, sources)
    pixels = len(sources) * grey.size
    return {
        **picture_figures(picture, scene),
        "vif": metrics.visual_information(grey, _grey(scene.sharp)),
        "q_abf": quality.edge_preservation,
        "nmi": quality.mutual_information,
        "q_cb": quality.perceptual_contrast,
        "q_y": quality.structural_transfer,
        "vif_sources": quality.visual_information,
        "cpu_s_per_mp_frame": 1e6 * cpu_s / pixels,
    }


def _grey(picture: Any) -> FloatArray:
    values = np.nan_to_num(np.asarray(picture, np.float32))
    return values[..., 0] if values.shape[-1] == 1 else values @ np.array(LUMINANCE, np.float32)


def add_gains(rows: Sequence[Row]) -> None:
    """Give every row its gain over the mean of the inputs of the same scene, dB."""
    for kind in ("pair", "stack"):
        floor = {row["scene"]: row[f"{kind}_psnr_db"] for row in rows if row["method"] == MEAN and row["kind"] == kind}
        for row in rows:
            if row["kind"] == kind and row["scene"] in floor:
                row[f"{kind}_gain_db"] = row[f"{kind}_psnr_db"] - floor[row["scene"]]


FUSION = Suite(
    "fusion",
    f"the five subjects as pairs and as stacks of about {STACK_FRAMES} frames, signal-to-noise ratio {SNR}: the fused "
    "picture against the sharp one (PSNR, SSIM, VIF) and against its sources (Q^AB/F, NMI, Q_CB, Q_Y, VIF)",
    _run,
)
