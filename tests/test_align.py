"""Alignment finds known motions, leaves aligned stacks alone, keeps its bounds and survives bad frames."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dff.align import estimate_alignment
from dff.align.motion import about_centre, corners, move
from dff.stack import FloatArray, FocalStack

SIZE = (300, 400)


def texture(size: tuple[int, int], seed: int) -> FloatArray:
    """Luminance with detail at every scale."""
    rng = np.random.default_rng(seed)
    picture = np.full(size, 0.45, np.float32)
    for scale, amplitude in ((1, 0.08), (4, 0.08), (16, 0.07), (48, 0.06)):
        grain = rng.standard_normal((size[0] // scale + 3, size[1] // scale + 3)).astype(np.float32)
        grain = cv2.GaussianBlur(grain, (0, 0), 1.0)
        picture += amplitude * cv2.resize(grain / grain.std(), size[::-1], interpolation=cv2.INTER_CUBIC)
    return picture.clip(0.02, 0.98)


def similarity(scale: float, degrees: float, x: float, y: float, size: tuple[int, int] = SIZE) -> FloatArray:
    """A known motion about the image centre."""
    angle = np.radians(degrees)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return about_centre(linear, np.array([x, y]), size)


class Bench:
    """A near and a far half, photographed with focus k through a moving, breathing camera."""

    def __init__(self, size: tuple[int, int] = SIZE, *, seed: int = 0, near: float = 2, far: float = 6) -> None:
        self.size, self.rng = size, np.random.default_rng(seed)
        self.canvas = (int(size[0] * 2.7), int(size[1] * 2.7))
        self.layers = [texture(self.canvas, seed + 1), texture(self.canvas, seed + 2)]
        self.focus = (near, far)

    def frame(self, focus: float, transform: FloatArray, *, gain: float = 1, growth_px: float = 0.5) -> FloatArray:
        """(H, W, 1) whose pixel u shows the scene at transform(u)."""
        blurred = [
            cv2.GaussianBlur(layer, (0, 0), max(1.0, 2 * growth_px * abs(focus - plane)))
            for layer, plane in zip(self.layers, self.focus)
        ]
        middle = self.canvas[1] // 2
        scene = np.hstack([blurred[0][:, :middle], blurred[1][:, middle:]])
        half = [(n - 2 * m) / 2 + 0.5 for n, m in zip(self.canvas, self.size)]
        to_canvas = np.array([[2, 0, half[1]], [0, 2, half[0]], [0, 0, 1]])
        flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
        picture = cv2.warpPerspective(scene, to_canvas @ transform, self.size[::-1], flags=flags)
        noise = 0.004 * self.rng.standard_normal(self.size)
        return (gain * picture + noise).clip(0, 1).astype(np.float32)[..., None]


def focal_stack(frames: list[FloatArray]) -> FocalStack:
    """A stack of arrays."""
    names = tuple(f"frame{k}" for k in range(len(frames)))
    return FocalStack(frames, names, frames[0].shape, frames[0].dtype)


def as_type(frame: FloatArray, dtype: str) -> np.ndarray:
    """A 0..1 picture in an integer type."""
    return np.round(frame * np.iinfo(dtype).max).astype(dtype)


def worst_corner_px(found: FloatArray, true: FloatArray, size: tuple[int, int] = SIZE) -> float:
    """Largest distance between two maps at the corners."""
    return float(np.linalg.norm(move(found, corners(size)) - move(true, corners(size)), axis=1).max())


def relative(truth: list[FloatArray], reference: int) -> list[FloatArray]:
    """Maps onto the reference frame from maps onto the scene."""
    return [np.linalg.inv(truth[reference]) @ transform for transform in truth]


@pytest.mark.parametrize(
    "motion",
    [
        similarity(1.012, 0.15, 7.3, -5.6),
        similarity(1.075, 2.8, 30, -20),
        similarity(0.93, -2.8, -25, -28),
        similarity(1, 0, 38, 5),
    ],
    ids=["small", "growing", "shrinking", "shifted"],
)
def test_a_known_motion_between_neighbours_is_found(motion: FloatArray) -> None:
    """Within 0.1 px at the worst corner, up to the bounds, though the two are differently defocused."""
    bench = Bench()
    stack = focal_stack([bench.frame(3, np.eye(3)), bench.frame(4.5, motion, gain=1.03)])
    alignment = estimate_alignment(stack)
    found = np.linalg.inv(alignment.transforms[0]) @ alignment.transforms[1]
    assert worst_corner_px(found, motion) < 0.1
    assert alignment.residual_rms_px < 0.2


@pytest.fixture(scope="module")
def breathing() -> tuple[FocalStack, list[FloatArray]]:
    """Twelve frames with 12 % of breathing, 50 px of drift, and their true maps onto the scene."""
    bench, truth = Bench(near=3, far=8), []
    jitter = np.random.default_rng(3).normal(0, 1, (12, 2))
    for k in range(12):
        truth.append(similarity(1 + 0.12 * (k - 5.5) / 11, 0, 50 * (k - 5.5) / 11 + jitter[k, 0], jitter[k, 1]))
    return focal_stack([bench.frame(k, transform) for k, transform in enumerate(truth)]), truth


def test_breathing_and_drift_of_a_stack_are_undone(breathing: tuple[FocalStack, list[FloatArray]]) -> None:
    """The chained motion stays within 0.3 px of the truth over the whole stack, neighbours within 0.1 px."""
    stack, truth = breathing
    alignment = estimate_alignment(stack)
    for found, true in zip(alignment.transforms, relative(truth, alignment.reference)):
        assert worst_corner_px(found, true) < 0.3
    for k in range(11):
        step = np.linalg.inv(alignment.transforms[k]) @ alignment.transforms[k + 1]
        assert worst_corner_px(step, np.linalg.inv(truth[k]) @ truth[k + 1]) < 0.1
    assert alignment.residual_rms_px < 0.2


def test_a_reversed_stack_gets_the_same_transforms_reversed(breathing: tuple[FocalStack, list[FloatArray]]) -> None:
    """Relative to one frame; the order of the frames must not matter."""
    stack, _ = breathing
    forth = estimate_alignment(stack).transforms
    back = estimate_alignment(stack.subset(range(11, -1, -1))).transforms[::-1]
    for a, b in zip(forth, back):
        assert worst_corner_px(np.linalg.inv(forth[5]) @ a, np.linalg.inv(back[5]) @ b) < 0.1


def test_an_aligned_stack_is_left_exactly_alone() -> None:
    """Transforms are exactly the identity, so that not one value changes."""
    bench = Bench()
    stack = focal_stack([bench.frame(k, np.eye(3)) for k in range(7)])
    alignment = estimate_alignment(stack)
    assert (alignment.transforms == np.eye(3)).all()
    assert (alignment.gains == 1).all()
    assert set(alignment.models) == {"none"}
    assert alignment.residual_rms_px < 0.1


def test_no_model_moves_nothing_but_measures() -> None:
    """Model none keeps the frames and reports what is misregistered."""
    bench = Bench()
    truth = [similarity(1, 0, 0.8 * k, 0) for k in range(4)]
    stack = focal_stack([bench.frame(3 + k / 2, transform) for k, transform in enumerate(truth)])
    alignment = estimate_alignment(stack, model="none")
    assert (alignment.transforms == np.eye(3)).all()
    assert alignment.residual_rms_px == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("model", ["translation", "affine", "homography"])
def test_other_models_are_found(model: str) -> None:
    """A motion of each model comes back within 0.15 px."""
    step = {
        "translation": similarity(1, 0, 6, -3),
        "affine": about_centre(np.array([[1.01, 0.004], [-0.003, 0.995]]), np.array([4.0, 2.0]), SIZE),
        "homography": about_centre(np.eye(2), np.array([3.0, -2.0]), SIZE)
        + np.array([[0] * 3, [0] * 3, [2e-6, -1e-6, 0]]),
    }[model]
    bench, truth = Bench(), [np.linalg.matrix_power(step, k) for k in range(4)]
    stack = focal_stack([bench.frame(3 + k, transform) for k, transform in enumerate(truth)])
    alignment = estimate_alignment(stack, model=model)
    assert set(alignment.models) <= {model, "none"}
    for found, true in zip(alignment.transforms, relative(truth, alignment.reference)):
        assert worst_corner_px(found, true) < 0.15


def test_motion_beyond_the_bounds_is_not_believed() -> None:
    """A jump larger than the bound is not undone; a simpler model or none takes its place, with a warning."""
    bench = Bench()
    stack = focal_stack([bench.frame(3, np.eye(3)), bench.frame(4, similarity(1.05, 0, 10, 0))])
    with pytest.warns(UserWarning, match="frame"):
        alignment = estimate_alignment(stack, max_scale=0.02, max_shift=0.01)
    step = np.linalg.inv(alignment.transforms[0]) @ alignment.transforms[1]
    assert abs(np.sqrt(np.linalg.det(step[:2, :2])) - 1) <= 0.02
    assert worst_corner_px(step, np.eye(3)) < 0.01 * 400 + 0.02 * 250


@pytest.mark.parametrize("bad", ["black", "white", "noise"])
@pytest.mark.parametrize("at", [0, 4, 7])
def test_a_frame_that_shows_nothing_follows_its_neighbours(bad: str, at: int) -> None:
    """It is named in a warning, gets the motion of its neighbours, and the others do not suffer."""
    bench, truth = Bench(), [similarity(1 + 0.006 * k, 0, 2.0 * k, 0) for k in range(8)]
    frames = [bench.frame(k, transform) for k, transform in enumerate(truth)]
    frames[at] = {
        "black": np.zeros_like(frames[0]),
        "white": np.ones_like(frames[0]),
        "noise": np.random.default_rng(1).random(frames[0].shape, np.float32),
    }[bad]
    with pytest.warns(UserWarning, match=f"frame{at}"):
        alignment = estimate_alignment(focal_stack(frames))
    assert alignment.models[at] == "interpolated"
    assert np.isnan(alignment.residual_px[at])
    for k, (found, true) in enumerate(zip(alignment.transforms, relative(truth, alignment.reference))):
        assert worst_corner_px(found, true) < (3 if k == at else 0.3)


def test_a_stack_that_shows_nothing_is_left_alone() -> None:
    """Black frames raise nothing: identity and a warning."""
    stack = focal_stack([np.zeros((*SIZE, 3), np.uint8)] * 3)
    with pytest.warns(UserWarning, match="frame"):
        alignment = estimate_alignment(stack)
    assert (alignment.transforms == np.eye(3)).all()
    assert (alignment.gains == 1).all()


def test_gains_are_found_through_flicker() -> None:
    """5 % of flicker is found within 0.3 %, in frames of any type."""
    gains = 1 + 0.05 * np.array([0, 1, -1, 0.5, -0.7, 0.2])
    bench = Bench()
    frames = [
        as_type(bench.frame(k, similarity(1 + 0.01 * k, 0, 2.0 * k, 0), gain=gain), "uint16")
        for k, gain in enumerate(gains)
    ]
    alignment = estimate_alignment(focal_stack(frames))
    np.testing.assert_allclose(alignment.gains * gains, gains[alignment.reference], rtol=0.003)
    assert (estimate_alignment(focal_stack(frames), brightness="none").gains == 1).all()


def test_progress_is_told_and_may_stop() -> None:
    """Every frame is reported, and an interruption gets through."""
    bench, told = Bench(), []
    stack = focal_stack([bench.frame(k, np.eye(3)) for k in range(3)])
    estimate_alignment(stack, on_progress=lambda *step: told.append(step))
    assert told == [("align", 1, 3), ("align", 2, 3), ("align", 3, 3)]

    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estimate_alignment(stack, on_progress=stop)


@pytest.mark.parametrize(("name", "value"), [("model", "rigid"), ("brightness", "auto")])
def test_an_unknown_choice_is_refused(name: str, value: str) -> None:
    """The line names the option, the choices and what was given."""
    stack = focal_stack([np.zeros((32, 32, 1), np.uint8)] * 2)
    with pytest.raises(ValueError, match=f"{name}: must be .* got '{value}'"):
        estimate_alignment(stack, **{name: value})
