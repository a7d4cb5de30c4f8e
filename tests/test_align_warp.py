"""Warped frames keep their type and range, and the valid area is what they cover."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from test_align import SIZE, Bench, as_type, similarity

from dff.align import covered, partly_covered, valid_area, valid_frames, warp_frame
from dff.align.resample import separable_motion
from dff.stack import Alignment, FloatArray


def alignment_of(*transforms: FloatArray, size: tuple[int, int] = SIZE) -> Alignment:
    """An alignment of given transforms."""
    count = len(transforms)
    return Alignment(np.array(transforms), np.ones(count), np.full(count, np.nan), ("similarity",) * count, 0, size)


def test_the_identity_returns_the_frame_itself() -> None:
    """Not even a copy is made."""
    frame = np.zeros((8, 9, 3), np.uint8)
    assert warp_frame(frame, np.eye(3)) is frame


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_type_and_shape_are_kept(dtype: str, channels: int) -> None:
    """16 bit in, 16 bit out; one channel stays one channel; the size can be chosen."""
    frame = np.zeros((20, 30, channels), dtype)
    assert warp_frame(frame, similarity(1, 0, 1, 0)).dtype == frame.dtype
    assert warp_frame(frame, similarity(1, 0, 1, 0)).shape == frame.shape
    assert warp_frame(frame, np.eye(3), (25, 40)).shape == (25, 40, channels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_nothing_wraps_round_at_a_sharp_edge(dtype: str) -> None:
    """Beside full white the interpolation rings; black stays black and white stays white."""
    white = np.iinfo(dtype).max
    frame = np.zeros((40, 60, 1), dtype)
    frame[:, 30:] = white
    warped = warp_frame(frame, similarity(1, 0, 0.5, 0, (40, 60)))[5:-5, 8:-8, 0].astype(float)
    assert warped[:, :18].max() < 0.15 * white
    assert warped[:, -18:].min() > 0.85 * white


def test_a_float_frame_does_not_ring_beyond_its_range() -> None:
    """Values stay between the frame's least and largest."""
    frame = np.random.default_rng(0).uniform(0.2, 0.7, (40, 60, 3)).astype(np.float32)
    warped = warp_frame(frame, similarity(1, 0, 0.5, 0.5, (40, 60)), fill=0.3)
    assert warped.min() >= frame.min()
    assert warped.max() <= frame.max()


def test_warping_undoes_a_motion() -> None:
    """A frame moved by a known map agrees with the unmoved one where it covers it."""
    bench, motion = Bench(), similarity(1.02, 0.5, 3.3, -2.6)
    still, moved = (as_type(bench.frame(2, transform), "uint16") for transform in (np.eye(3), motion))
    warped = warp_frame(moved, motion)
    valid = valid_frames(alignment_of(motion))[0]
    difference = (warped.astype(float) - still)[valid] / 65535
    assert difference.std() < 0.012


def test_the_valid_area_is_covered_by_all_frames_and_nothing_else() -> None:
    """Exactly the pixels whose samples all lie inside every frame: white frames stay white there."""
    transforms = [np.eye(3), similarity(1.03, 1, 6, -4), similarity(0.97, -1, -3, 9)]
    transforms[2][2, :2] = 2e-5, -1e-5
    alignment = alignment_of(*transforms)
    white = np.full((*SIZE, 1), 255, np.uint8)
    seen = [(warp_frame(white, transform)[..., 0] == 255) for transform in transforms]
    valid = valid_frames(alignment)
    for inside, full in zip(valid, seen):
        assert not (inside & ~full).any()
        assert (full & ~inside).mean() < 0.03
    np.testing.assert_array_equal(valid_area(alignment), valid.all(axis=0))
    assert 0.5 < valid_area(alignment).mean() < 1


def test_rows_of_the_validity_agree_with_the_whole() -> None:
    """A strip gives what the whole picture gives."""
    alignment = alignment_of(np.eye(3), similarity(1.03, 1, 6, -4))
    np.testing.assert_array_equal(
        valid_frames(alignment, (100, 130), (7, 90)), valid_frames(alignment)[:, 100:130, 7:90]
    )


def test_an_unmoved_stack_is_valid_everywhere() -> None:
    """No border is lost without a motion."""
    assert valid_area(Alignment.identity(3, SIZE)).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("parameters", [(1, 0, 0.3, -0.7), (1.012, 0, -20.4, 7.1), (0.99, 0.03, 3.25, 2)])
def test_resampling_by_columns_and_rows_is_the_interpolation(dtype: str, parameters: tuple[float, ...]) -> None:
    """Columns first and rows then give, to a fraction of a percent, what 8 x 8 samples at each pixel's place give."""
    frame = Bench().frame(0, np.eye(3))
    motion = similarity(*parameters)
    assert separable_motion(motion) is not None
    white = 1.0 if dtype == "float32" else np.iinfo(dtype).max
    frame = frame.astype(dtype) if dtype == "float32" else as_type(frame, dtype)
    warped = warp_frame(frame, motion)
    expected = interpolated(frame.astype(float) / white, motion)
    difference = (warped / white - expected)[valid_frames(alignment_of(motion))[0]]
    assert difference.std() < (0.003 if dtype == "uint8" else 0.002)
    assert np.abs(difference).max() < 0.02


def interpolated(frame: FloatArray, motion: FloatArray) -> FloatArray:
    """Lanczos interpolation of 8 x 8 samples at every pixel's exact place."""
    rows, columns = np.mgrid[: frame.shape[0], : frame.shape[1]]
    u, v, _ = np.einsum("ij,jyx->iyx", np.linalg.inv(motion), np.stack([columns, rows, np.ones_like(rows)]))
    taps = np.arange(-3, 5)
    result = np.zeros(frame.shape)
    weights = []
    for place in (u, v):
        away = (place - np.floor(place))[..., None] - taps
        weight = np.sinc(away) * np.sinc(away / 4)
        weights.append(weight / weight.sum(axis=-1, keepdims=True))
    for i, j in np.ndindex(8, 8):
        x = np.clip(np.floor(u).astype(int) + taps[i], 0, frame.shape[1] - 1)
        y = np.clip(np.floor(v).astype(int) + taps[j], 0, frame.shape[0] - 1)
        result += frame[y, x] * (weights[0][..., i] * weights[1][..., j])[..., None]
    return result


def test_threads_do_not_change_a_warped_frame() -> None:
    """One thread and three give the same numbers."""
    import torch

    frame, motion = as_type(Bench().frame(0, np.eye(3)), "uint8"), similarity(1.01, 0.02, 3.3, -2.6)
    before = torch.get_num_threads()
    warped = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        warped.append(warp_frame(frame, motion))
    torch.set_num_threads(before)
    np.testing.assert_array_equal(*warped)


@pytest.mark.parametrize(
    "parameters", [(1.03, 1, 6, -4), (0.97, -1, -3, 9), (1, 0, 25, 0), (0.1, 45, 0, 0), (1, 0, 900, 0)]
)
def test_what_is_not_covered_lies_in_windows_at_the_edges(parameters: tuple[float, ...]) -> None:
    """Outside the windows all is covered, and a small motion makes small windows."""
    motion = similarity(*parameters)
    bare = ~covered(motion, SIZE)
    windows = partly_covered(motion, SIZE)
    area = sum(bare[window].size for window in windows)
    for window in windows:
        bare[window] = False
    assert not bare.any()
    assert area < 0.3 * bare.size or parameters[0] == 0.1 or parameters[2] == 900
    assert partly_covered(np.eye(3), SIZE) == []


@pytest.mark.parametrize("parameters", [(1.03, 1, 6, -4), (0.97, -1, -3, 9), (1, 0, 25, 0), (1, 0, 900, 0)])
def test_a_margin_takes_as_many_pixels_off_what_is_covered(parameters: tuple[float, ...]) -> None:
    """Around what is not covered, and not along the picture's own edge; a part says what the whole says."""
    motion = similarity(*parameters)
    eroded = cv2.erode(covered(motion, SIZE).view(np.uint8), np.ones((11, 11), np.uint8)).astype(bool)
    np.testing.assert_array_equal(covered(motion, SIZE, margin_px=5), eroded)
    part = covered(motion, SIZE, (7, 60), (3, 50), margin_px=5)
    np.testing.assert_array_equal(part, eroded[7:60, 3:50])
