"""Repeatability on real stacks: depth from the odd frames against depth from the even ones."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dff import io, measure, optics
from dff.benchmark.cases import Skip, aligned_stack
from dff.benchmark.cost import CommandError
from dff.benchmark.estimate import Estimate, Method
from dff.benchmark.score import Row
from dff.benchmark.suite import Options, Suite, SuiteResult
from dff.stack import DepthMap, FocalStack, FocusGeometry

LEAST_FRAMES = 4
"""Frames that each half of a stack needs."""


def _run(result: SuiteResult, options: Options, methods: Sequence[Method]) -> None:
    folders = [folder for folder in sorted((options.data / "stacks").glob("*")) if folder.is_dir()]
    if not folders:
        result.skip("all", "all", f"no stacks at {options.data / 'stacks'}; name the folder with --data")
    for number, folder in enumerate(folders):
        options.on_progress(result.name, number, len(folders))
        try:
            stack = halves_of(folder)
        except Skip as reason:
            result.skip(folder.name, "all", reason)
            continue
        for method in methods:
            _add(result, folder.name, stack, method)
    options.on_progress(result.name, len(folders), len(folders))


def _add(result: SuiteResult, name: str, stack: FocalStack, method: Method) -> None:
    if method.own_alignment:
        result.skip(name, method.name, "it moves the frames of each half by itself")
        return
    try:
        row = odd_against_even(stack, method)
    except CommandError as error:
        result.skip(name, method.name, error)
    else:
        result.rows.append({"scene": name, "method": method.name, **row})


def halves_of(folder: Path) -> FocalStack:
    """An aligned stack that is long enough to be cut in two.

    Raises:
        Skip: it is not.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stack = io.read_stack(folder)
    if len(stack) < 2 * LEAST_FRAMES:
        raise Skip(f"{len(stack)} frames: each half needs {LEAST_FRAMES}")
    aligned, _ = aligned_stack(stack)
    return replace(aligned, geometry=optics.unknown_geometry(np.arange(float(len(stack))), stack.shape[:2]))


def odd_against_even(stack: FocalStack, method: Method) -> Row:
    """Noise of the depth from every second frame, in frames of the whole stack."""
    halves = [_half(stack, method, start) for start in (0, 1)]
    sure = measure.compare(*halves, min_confidence=0.5)
    every = measure.compare(*halves)
    return {
        "frames": len(stack),
        "noise_robust_frames": sure.robust_rms,
        "noise_rms_frames": sure.rms,
        "known_percent": sure.coverage_percent,
        "outliers_percent": sure.outliers_percent,
        "noise_over_promised": sure.noise_over_promised,
        "all_noise_robust_frames": every.robust_rms,
        "all_noise_rms_frames": every.rms,
        "all_known_percent": every.coverage_percent,
    }


def _half(stack: FocalStack, method: Method, start: int) -> tuple[DepthMap, FocusGeometry]:
    half = stack.subset(range(start, len(stack), 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        depth = depth_of(method.estimate(half))
    return depth, half.geometry or optics.unknown_geometry(np.arange(float(len(half))), half.shape[:2])


def depth_of(estimate: Estimate) -> DepthMap:
    """An estimate as a depth map; a method without confidence trusts all it knows."""
    if estimate.index is None:
        raise ValueError("depth: the method gives none; choose another method")
    known = np.isfinite(estimate.index)
    unknown = np.full(known.shape, np.nan, np.float32)
    return DepthMap(
        index=estimate.index,
        confidence=known.astype(np.float32) if estimate.confidence is None else estimate.confidence,
        sigma=unknown if estimate.sigma is None else estimate.sigma,
    )


REAL = Suite("real", "real stacks: depth from the odd frames against depth from the even ones", _run)
