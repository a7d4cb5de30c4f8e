"""The parts of alignment: motions, local misregistration, brightness and the path of a stack."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from test_align import SIZE, Bench, focal_stack, similarity, worst_corner_px

from dff.align import estimate_alignment
from dff.align.brightness import brightness_gains
from dff.align.local import block_displacements, misregistration
from dff.align.motion import (
    MODELS,
    Bounds,
    basis,
    corners,
    from_level,
    move,
    project,
    similarity_parameters,
    similarity_transform,
    small_motion,
    to_level,
)
from dff.align.pair import PairMotion
from dff.align.path import reconcile
from dff.align.pyramid import luminance_pyramid
from dff.align.seed import seed_motion
from dff.stack import FloatArray

ANY = np.array([[1.02, -0.01, 3], [0.015, 0.99, -5], [1e-5, -2e-5, 1]])
"""A map of no simpler model than the richest."""


def test_levels_keep_pixel_centres() -> None:
    """The centre of a 4 x 4 block of pixels is a pixel of the quarter level, and back again is the same map."""
    double = np.diag([2.0, 2.0, 1.0])
    double[:2, 2] = 0.5
    np.testing.assert_allclose(to_level(double, 4) @ [0, 0, 1], np.linalg.inv(_level4()) @ double @ [1.5, 1.5, 1])
    np.testing.assert_allclose(from_level(to_level(ANY, 4), 4), ANY, atol=1e-12)


def _level4() -> FloatArray:
    return np.array([[4, 0, 1.5], [0, 4, 1.5], [0, 0, 1]])


@pytest.mark.parametrize("model", MODELS)
def test_a_projection_is_of_its_model_and_changes_nothing_twice(model: str) -> None:
    """Projecting is idempotent, and each model keeps what is its own."""
    once = project(ANY, model, SIZE)
    np.testing.assert_allclose(project(once, model, SIZE), once, atol=1e-12)
    assert (once[2, :2] == 0).all() == (model != "homography")
    if model in ("none", "translation"):
        np.testing.assert_allclose(once[:2, :2], np.eye(2), atol=1e-12)
    if model == "similarity":
        assert once[0, 0] == pytest.approx(once[1, 1])
        assert once[0, 1] == pytest.approx(-once[1, 0])


@pytest.mark.parametrize("model", MODELS[1:])
def test_a_small_motion_moves_as_its_basis_says(model: str) -> None:
    """To first order, for every model."""
    points = corners(SIZE)
    design = basis(points, model, SIZE)
    parameters = np.random.default_rng(0).normal(0, 0.02, design.shape[2])
    moved = move(small_motion(parameters, SIZE), points) - points
    np.testing.assert_allclose(moved, design @ parameters, atol=1e-4)


def test_similarity_parameters_are_inverted_exactly() -> None:
    """There and back, for a large motion."""
    motion = similarity(1.07, 2.5, 30, -20)
    np.testing.assert_allclose(similarity_transform(similarity_parameters(motion, SIZE), SIZE), motion, atol=1e-12)


@pytest.mark.parametrize(
    ("motion", "held"),
    [
        (similarity(1.049, 0, 0, 0), True),
        (similarity(1.051, 0, 0, 0), False),
        (similarity(1, 1.9, 0, 0), True),
        (similarity(1, -2.1, 0, 0), False),
        (similarity(1, 0, 39, 0), True),
        (similarity(1, 0, 0, -41), False),
        (np.full((3, 3), np.nan), False),
    ],
)
def test_bounds_hold_what_is_inside(motion: FloatArray, held: bool) -> None:
    """Scale, rotation and shift each have their own."""
    assert Bounds(shift=0.1, scale=0.05, rotation_deg=2).hold(motion, SIZE) is held


@pytest.mark.parametrize("motion", [similarity(1.08, 0, 20, -25), similarity(0.92, 2, -35, 10)])
def test_the_seed_is_near_though_one_frame_is_blurred(motion: FloatArray) -> None:
    """Near enough for a climb: a few pixels of the thumbnail."""
    bench = Bench()
    sharp, blurred = bench.frame(4, np.eye(3)), bench.frame(9, motion)
    pyramids = [luminance_pyramid(frame, 1, coded=False) for frame in (sharp, blurred)]
    found = seed_motion(*pyramids, Bounds(0.1, 0.08, 3))
    assert worst_corner_px(found, motion) < 4 * pyramids[0].factors[-1]


@pytest.mark.parametrize("injected_px", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("defocus", [0.0, 1.5])
def test_the_residual_tracks_an_injected_error(injected_px: float, defocus: float) -> None:
    """A known shift is reported within 0.05 px or a tenth, whether or not the frames are equally sharp."""
    bench = Bench()
    pyramids = [
        luminance_pyramid(bench.frame(focus, np.eye(3)), 1, coded=False) for focus in (3 - defocus / 2, 3 + defocus / 2)
    ]
    wrong = similarity(1, 0, 0.6 * injected_px, 0.8 * injected_px)
    assert misregistration(*pyramids, wrong) == pytest.approx(injected_px, rel=0.1, abs=0.05)


def test_a_large_misregistration_is_reported_as_large() -> None:
    """Beyond the reach of the finest level a coarser one measures it, within a quarter."""
    bench = Bench()
    pyramids = [luminance_pyramid(bench.frame(focus, np.eye(3)), 1, coded=False) for focus in (2.5, 3.5)]
    assert misregistration(*pyramids, similarity(1, 0, 1.8, 2.4)) == pytest.approx(3, rel=0.25)


def test_defocus_is_not_mistaken_for_motion() -> None:
    """Blocks of unmoved frames of different sharpness are found in place, nearly all of them."""
    bench = Bench(near=2, far=8)
    levels = [luminance_pyramid(bench.frame(focus, np.eye(3)), 1, coded=False).levels[0] for focus in (2.25, 3.75)]
    measured = block_displacements(*levels, np.eye(3))
    assert len(measured) > 100
    assert np.sqrt((measured.shift**2).sum(axis=1).mean()) < 0.05


def test_the_residual_of_frames_without_texture_is_unknown() -> None:
    """NaN, not zero."""
    flat = [luminance_pyramid(np.full((*SIZE, 1), value, np.uint8), 255, coded=True) for value in (100, 101)]
    assert np.isnan(misregistration(*flat, np.eye(3)))


@pytest.mark.parametrize("coded", [False, True])
def test_gains_are_not_fooled_by_defocus(coded: bool) -> None:
    """A picture of strong contrast that only blurs, in light or in codes, has gains of one; flicker is found."""
    rng = np.random.default_rng(1)
    light = cv2.resize((rng.random((160, 200)) > 0.8).astype(np.float32) * 0.8 + 0.05, (800, 640), interpolation=0)
    frames = [cv2.GaussianBlur(light, (0, 0), 1 + k) for k in range(6)]
    flicker = np.array([1, 1.05, 0.97, 1, 1.02, 1])
    values = [gain * (np.sqrt(frame) if coded else frame) for frame, gain in zip(frames, flicker)]
    pyramids = [luminance_pyramid(value[..., None], 1, coded=True) for value in values]
    gains = brightness_gains(
        [p.codes for p in pyramids], [p.thumbnail for p in pyramids], np.tile(np.eye(3), (6, 1, 1)), 3, 4
    )
    np.testing.assert_allclose(gains * flicker, 1, rtol=0.003)


def links_of(steps: list[float], *, sigma_px: float = 0.02, missing: tuple[int, ...] = ()) -> dict:
    """Measured shifts along x between neighbours."""
    sigma = np.full(4, sigma_px)
    return {
        (k, k + 1): PairMotion(similarity(1, 0, step, 0), "similarity", 0.0, sigma)
        for k, step in enumerate(steps)
        if k not in missing
    }


def shifts_of(links: dict, count: int) -> FloatArray:
    """Shift along x of each step of the reconciled path."""
    path = reconcile(links, count, SIZE, "similarity")
    return np.array([similarity_parameters(step, SIZE)[0] for step in path.steps])


def test_a_missing_step_follows_the_trend() -> None:
    """Inside and at the end of a steady stack."""
    np.testing.assert_allclose(shifts_of(links_of([3.0] * 12, missing=(4, 11)), 13), 3, atol=0.05)


def test_a_simpler_model_leaves_the_rest_to_the_trend() -> None:
    """A pair that only allowed a translation takes its scale from the pairs around it."""
    growth = similarity(1.01, 0, 0, 0)
    sigma = np.full(4, 0.02)
    links = {(k, k + 1): PairMotion(growth, "similarity", 0.0, sigma) for k in range(12)}
    links[5, 6] = PairMotion(similarity(1, 0, 1, 0), "translation", 0.0, np.array([0.02, 0.02, 0, 0]))
    step = reconcile(links, 13, SIZE, "similarity").steps[5]
    assert np.sqrt(np.linalg.det(step[:2, :2])) == pytest.approx(1.01, abs=1e-3)
    assert similarity_parameters(step, SIZE)[0] == pytest.approx(1, abs=0.05)


def test_a_certain_jump_is_kept() -> None:
    """A bump in a steady stack is real if it was measured well."""
    steps = [1.0] * 12
    steps[5] = 8.0
    assert shifts_of(links_of(steps), 13)[5] == pytest.approx(8, abs=0.1)


def test_an_uncertain_jump_is_not_believed() -> None:
    """The same bump measured badly follows the trend."""
    links = links_of([1.0] * 12) | {
        (5, 6): PairMotion(similarity(1, 0, 8, 0), "similarity", 4.0, np.full(4, 3.0)),
    }
    assert shifts_of(links, 13)[5] == pytest.approx(1, abs=0.2)


def test_longer_links_mend_a_common_bias() -> None:
    """Neighbours that are pulled together by a tenth are corrected by links over four frames that are not."""
    links = links_of([0.4] * 16, sigma_px=0.05)
    for k in range(13):
        links[k, k + 4] = PairMotion(similarity(1, 0, 2.0, 0), "similarity", 0.0, np.full(4, 0.05))
    assert shifts_of(links, 17).mean() == pytest.approx(0.5, abs=0.03)


def test_a_motionless_stack_is_still_and_a_slow_drift_is_not() -> None:
    """Noise does not move a stack; a drift that adds up to pixels does."""
    rng = np.random.default_rng(0)
    noise = reconcile(links_of(list(rng.normal(0, 0.02, 20))), 21, SIZE, "similarity")
    drift = reconcile(links_of([0.3] * 20), 21, SIZE, "similarity")
    assert noise.is_still(10)
    assert not drift.is_still(10)


def test_a_fixed_pattern_does_not_hold_a_slow_stack_back() -> None:
    """Dust and hot pixels that stand still in every frame bias a slow drift by less than a tenth."""
    bench, truth = Bench(near=2, far=8), [similarity(1, 0, 0.5 * k, 0) for k in range(10)]
    pattern = 0.04 * np.random.default_rng(5).standard_normal((*SIZE, 1)).astype(np.float32)
    stack = focal_stack([(bench.frame(k, transform) + pattern).clip(0, 1) for k, transform in enumerate(truth)])
    alignment = estimate_alignment(stack)
    drift = alignment.transforms[-1][0, 2] - alignment.transforms[0][0, 2]
    assert drift == pytest.approx(4.5, rel=0.1)
