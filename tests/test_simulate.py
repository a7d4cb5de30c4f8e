"""Laws of the simulator: what a real lens and sensor would obey."""

import numpy as np
import pytest

from dff.simulate import SCENES, render_scene

SMALL = {"size_px": 48, "frames": 6}


@pytest.mark.parametrize("name", sorted(set(SCENES) - {"level"}))
def test_every_scene_fills_the_sweep_and_stays_inside_it(name: str) -> None:
    scene = render_scene(name, size_px=64, frames=4, sampling_px=4)
    assert np.isfinite(scene.index).all()
    assert np.ptp(scene.index) > 0.35 * 3
    assert scene.visible.max() == 1
    assert 0.1 < scene.sharp.mean() < 0.8


def test_equal_seeds_give_equal_stacks() -> None:
    first, again, other = (render_scene("coin", seed=seed, **SMALL) for seed in (3, 3, 4))
    assert all((a == b).all() for a, b in zip(first.stack.frames, again.stack.frames))
    assert (first.sharp == again.sharp).all()
    assert (first.stack.frames[2] != other.stack.frames[2]).any()


def test_noise_is_as_promised_at_white_and_at_black() -> None:
    clean, noisy = (render_scene("plane", snr=snr, bits=None, **SMALL) for snr in (None, 35))
    light = np.stack(list(clean.stack.frames))
    noise = np.stack(list(noisy.stack.frames)) - light
    assert noise.std() == pytest.approx(np.sqrt(light.mean()) / 35, rel=0.03)
