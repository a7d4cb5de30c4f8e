"""Two results of one object: what is removed, and what is reported as noise."""

from __future__ import annotations

import numpy as np
import pytest

from dff import measure, optics
from dff.stack import DepthMap, FocusGeometry

SIZE = (90, 120)
NOISE = 0.05


def surface() -> np.ndarray:
    """A bumpy surface in frames."""
    rows, columns = np.indices(SIZE)
    return 8 + 2.5 * np.sin(columns / 9) * np.cos(rows / 11) + 0.01 * columns


def result(
    index: np.ndarray, *, geometry: FocusGeometry | None = None, noise: float = NOISE, seed: int = 0
) -> tuple[DepthMap, FocusGeometry]:
    """A result with Gaussian noise that promises what it has."""
    noisy = index + np.random.default_rng(seed).normal(0, noise, index.shape)
    depth = DepthMap(noisy.astype(np.float32), np.ones(SIZE, np.float32), np.full(SIZE, noise, np.float32))
    return depth, geometry or optics.unknown_geometry(np.arange(20.0), SIZE, first="far")


def test_the_noise_of_one_map_is_found() -> None:
    """rms, robust rms and the promise all agree for Gaussian noise."""
    found = measure.compare(result(surface(), seed=1), result(surface(), seed=2))
    assert found.rms == pytest.approx(NOISE, rel=0.03)
    assert found.robust_rms == pytest.approx(NOISE, rel=0.05)
    assert found.noise_over_promised == pytest.approx(1, rel=0.05)
    assert found.outliers_percent < 0.6
    assert found.coverage_percent == 100
    assert found.unit == "frames"


def test_offset_tilt_and_scale_are_no_noise() -> None:
    """What another fixture or another step changes is fitted and told."""
    rows, columns = np.indices(SIZE)
    other = (surface() - 1.5 - 0.004 * columns + 0.002 * rows) / 1.1
    found = measure.compare(result(surface(), seed=1), result(other, seed=2), fit_scale=True)
    assert found.rms == pytest.approx(NOISE * np.sqrt((1 + 1.1**2) / 2), rel=0.04)
    assert found.height_scale == pytest.approx(1.1, rel=0.01)
    assert found.tilt_x == pytest.approx(0.004, rel=0.05)
    assert found.tilt_y == pytest.approx(-0.002, rel=0.05)
    unscaled = measure.compare(result(surface(), seed=1), result(other, seed=2))
    assert unscaled.rms > 1.5 * found.rms
    assert unscaled.height_scale == 1


def test_outliers_neither_bend_the_fit_nor_hide() -> None:
    """A block of wrong depth changes rms and the share of outliers, not the robust rms and the offset."""
    wrong = surface()
    wrong[:20, :30] += 7
    found = measure.compare(result(surface(), seed=1), result(wrong, seed=2))
    assert found.offset == pytest.approx(0, abs=0.01)
    assert found.robust_rms == pytest.approx(NOISE, rel=0.15)
    assert found.rms > 10 * NOISE
    assert found.outliers_percent == pytest.approx(100 * 600 / (90 * 120), rel=0.15)


def test_a_lateral_motion_is_undone() -> None:
    """With the motion the noise is small, without it the slopes of the surface appear."""
    rows, columns = np.indices(SIZE)
    turn, shift = np.deg2rad(1.5), np.array([3.3, -2.6])
    linear = 1.02 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    motion = np.eye(3)
    motion[:2, :2], motion[:2, 2] = linear, shift
    x, y, _ = motion @ np.stack([columns.ravel(), rows.ravel(), np.ones(rows.size)])
    other = (8 + 2.5 * np.sin(x / 9) * np.cos(y / 11) + 0.01 * x).reshape(SIZE)
    pair = (result(surface(), noise=1e-4, seed=1), result(other, noise=1e-4, seed=2))
    undone = measure.compare(*pair, motion=motion)
    assert undone.rms < 0.01
    assert measure.compare(*pair).rms > 0.3
    assert 0.9 < np.isfinite(undone.noise).mean() < 0.99
    assert undone.coverage_percent == pytest.approx(100)


def test_unknown_pixels_stay_unknown_and_are_counted() -> None:
    """NaN in either map is NaN in the noise map; coverage tells of each."""
    holes = surface()
    holes[:45] = np.nan
    other = surface()
    other[:, :30] = np.nan
    found = measure.compare(result(holes, seed=1), result(other, seed=2))
    assert np.isnan(found.noise[:45]).all()
    assert np.isnan(found.noise[:, :30]).all()
    assert (found.first_known_percent, found.second_known_percent) == (50, 75)
    assert found.coverage_percent == 37.5


def test_heights_are_compared_in_mm_and_over_different_frames() -> None:
    """Every second frame of a stack, with its own rows of the geometry, measures the same heights."""
    whole = optics.stepped_geometry(0.1 * np.arange(20), SIZE, pixel_size_mm=0.01)
    first = result(surface(), geometry=whole, seed=1)
    second = result(surface() / 2, geometry=whole.rows(range(0, 20, 2)), noise=NOISE / 2, seed=2)
    found = measure.compare(first, second)
    assert found.unit == "mm"
    assert found.rms == pytest.approx(0.1 * NOISE, rel=0.05)
    assert found.noise_over_promised == pytest.approx(1, rel=0.1)


def test_what_cannot_be_compared_is_refused_in_one_line() -> None:
    """Other units, other sizes and maps without common pixels."""
    metric = optics.stepped_geometry(0.1 * np.arange(20), SIZE, pixel_size_mm=0.01)
    small = DepthMap(*(np.ones((4, 4), np.float32),) * 3)
    empty = DepthMap(*(np.full(SIZE, np.nan, np.float32),) * 3)
    here = result(surface())
    for other, word in (((here[0], metric), "unit"), ((small, here[1]), "size"), ((empty, here[1]), "known in both")):
        with pytest.raises(ValueError, match=word) as caught:
            measure.compare(here, other)
        assert "\n" not in str(caught.value)
