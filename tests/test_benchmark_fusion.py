"""The fusion suite: figures on made-up pictures, the classical floor, and a whole tiny run."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dff import filters, metrics
from dff.benchmark import cases, fusion_methods, fusion_suite, run_benchmark
from dff.focus import NETWORKS
from dff.stack import Scene

SIZE = 64

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered scenes of these tests."""
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture(scope="module")
def scene(cache: Path) -> Scene:
    """A small scene with occlusion."""
    parameters = {"size_px": SIZE, "frames": 8, "blur_growth_px": 0.35, "seed": 0, "snr": 70}
    return cases.rendered_case("staircase", cache, **parameters).load()


def test_the_sharp_picture_is_the_best_there_is(scene: Scene) -> None:
    """The truth has no error, and the mean of the frames has."""
    truth = fusion_suite.fusion_figures(scene.sharp, scene, 1.0)
    frames = np.stack([scene.stack.frames[k] for k in range(8)]) / scene.stack.white
    mean = fusion_suite.fusion_figures(frames.mean(0), scene, 1.0)
    assert truth["psnr_db"] == np.inf
    assert truth["vif"] == pytest.approx(1, abs=1e-6)
    assert mean["psnr_db"] < 45
    assert mean["vif"] < truth["vif"]
    assert mean["ssim"] < truth["ssim"]
    assert truth["cpu_s_per_mp_frame"] == pytest.approx(1e6 / (8 * SIZE * SIZE))


def test_pairs_are_in_focus_within_the_scene() -> None:
    """The two frames lie at a quarter and three quarters of the depths, and are never the same."""
    index = np.linspace(0, 20, 101)[None]
    assert fusion_suite.pair_frames(index) == [5, 15]
    assert fusion_suite.pair_frames(np.full((3, 3), 7.0)) == [7, 8]


@pytest.mark.parametrize(("count", "left"), [(36, 12), (12, 12), (7, 7), (100, 13)])
def test_stacks_are_thinned_evenly(count: int, left: int) -> None:
    """About twelve frames are left, at even steps."""
    frames = fusion_suite.stack_frames(count)
    assert len(frames) == left
    assert len(set(np.diff(frames))) == 1


def test_gains_are_over_the_mean_of_the_same_scene_and_kind() -> None:
    """Pairs are compared with pairs."""
    rows = [
        {"scene": "a", "method": fusion_methods.MEAN, "kind": "pair", "pair_psnr_db": 30.0},
        {"scene": "a", "method": fusion_methods.MEAN, "kind": "stack", "stack_psnr_db": 25.0},
        {"scene": "a", "method": "m", "kind": "pair", "pair_psnr_db": 33.0},
        {"scene": "a", "method": "m", "kind": "stack", "stack_psnr_db": 24.0},
    ]
    fusion_suite.add_gains(rows)
    assert [row.get("pair_gain_db", row.get("stack_gain_db")) for row in rows] == [0, 0, 3, -1]


def test_the_classical_floor_keeps_equal_frames_and_beats_the_mean() -> None:
    """Two-scale guided filter fusion: shares sum to one, the sharp side of each frame wins."""
    sharp = filters.gaussian(torch.rand((3, 64, 96), generator=torch.Generator().manual_seed(0)), 0.7)
    blurred = filters.gaussian(sharp, 2.0)
    images = torch.stack([sharp, sharp])
    images[0, ..., 48:], images[1, ..., :48] = blurred[..., 48:], blurred[..., :48]
    error, of_mean = (
        (picture - sharp).square().mean() for picture in (fusion_methods.guided_fusion(images), images.mean(0))
    )
    assert error < 0.2 * of_mean
    assert torch.allclose(fusion_methods.guided_fusion(sharp.expand(3, -1, -1, -1)), sharp, atol=1e-5)
    assert torch.allclose(fusion_methods.shares(images).sum(0), torch.ones(3, 64, 96))


def test_a_source_without_contrast_has_no_say_in_q_cb() -> None:
    """Q_CB weighs likeness by squared contrast: beside an even source a picture is compared with the other alone."""
    picture = np.random.default_rng(0).random((64, 64))
    even = np.full_like(picture, 0.5)
    assert metrics.perceptual_contrast(picture, [picture, even]) == pytest.approx(1)
    other = np.random.default_rng(1).random((64, 64))
    alone = metrics.perceptual_contrast(picture, [other])
    assert metrics.perceptual_contrast(picture, [other, even]) == pytest.approx(alone)


def test_methods_are_those_that_are_named() -> None:
    """The mean is always there; networks by name, the classical floor with the straw man."""
    assert [method.name for method in fusion_methods.fusion_methods([])] == [fusion_methods.MEAN]
    everything = {method.name for method in fusion_methods.fusion_methods(["straw-man", "ring-difference", *NETWORKS])}
    assert {*NETWORKS, *fusion_methods.CLASSICAL, fusion_methods.GUIDED, fusion_methods.CHAIN} <= everything


@pytest.mark.slow
def test_networks_keep_their_published_order_on_pairs(cache: Path) -> None:
    """By their own rules all are far above the mean; by what of the edges survives, selection before generation."""
    names = [name for name in NETWORKS if name != "sesf-stack"]
    chosen = fusion_methods.fusion_methods(names)
    own = [method for method in chosen if method.name.endswith(fusion_methods.OWN_RULE) or method.name == "mffgan"]
    found: dict[str, list[tuple[float, float]]] = {}
    for subject, seed in itertools.product(("rock", "coin", "weak-texture"), range(3)):
        parameters = {"size_px": 96, "frames": 16, "blur_growth_px": 0.5, "seed": seed, "snr": 70}
        scene = cases.rendered_case(subject, cache, **parameters).load()
        pair = replace(scene, stack=scene.stack.subset(fusion_suite.pair_frames(scene.index)))
        for method in (chosen[0], *own):
            picture = method.estimate(pair.stack).all_in_focus
            assert picture is not None
            figures = fusion_suite.fusion_figures(picture, pair, 0.0)
            name = method.name.removesuffix(fusion_methods.OWN_RULE)
            found.setdefault(name, []).append((figures["psnr_db"], figures["q_abf"]))
    decibels, edges = ({name: np.mean(rows, axis=0)[k] for name, rows in found.items()} for k in range(2))
    assert min(decibels[name] for name in names) > decibels[fusion_methods.MEAN] + 2.5
    assert decibels["drpl"] > decibels["sesf-vgg"]
    assert min(names, key=lambda name: edges[name]) == "mffgan"


def test_a_whole_run_writes_both_tables(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs and stacks, with truth, in JSON, Markdown and HTML."""
    monkeypatch.setattr(fusion_suite, "FIVE_SCENES", ("staircase",))
    found = run_benchmark(
        ["fusion"], methods=["straw-man", "sesf"], output=tmp_path, size_px=SIZE, frames=8, cache=cache
    )
    rows = json.loads((tmp_path / "benchmark.json").read_text())["suites"]["fusion"]["rows"]
    assert {(row["method"], row["kind"]) for row in rows} >= {("sesf", "pair"), ("guided-filter", "stack")}
    assert found.suites["fusion"].values("sesf", "stack_gain_db")[0] > 1
    told = (tmp_path / "benchmark.md").read_text()
    assert "### Pairs" in told
    assert "### Stacks" in told
    assert "over the mean of the inputs" in (tmp_path / "benchmark.html").read_text()


def test_figures_ignore_pixels_without_a_picture(scene: Scene) -> None:
    """A program that loses a border is judged on what is left."""
    picture = scene.sharp.copy()
    picture[:4] = np.nan
    assert fusion_suite.fusion_figures(picture, replace(scene), 1.0)["psnr_db"] == np.inf
