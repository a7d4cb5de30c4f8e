"""Laws of fusion: shares sum to one, equal frames stay equal, strips give the whole picture's numbers."""

import numpy as np
import pytest
import torch

from dff import fuse
from dff.covered import Covered
from dff.fuse import bands, weights
from dff.fuse.blend import pyramid_blend
from dff.fuse.frames import frame_stack

METHODS = fuse.FUSION_METHODS
LEVELS = 3


def stack(count=6, channels=3, rows=96, columns=61, seed=0):
    generator = torch.Generator().manual_seed(seed)
    frames = torch.rand(count, channels, rows, columns, generator=generator)
    volume = 4 * torch.randn(count, rows, columns, generator=generator)
    index = (count - 1) * torch.rand(rows, columns, generator=generator)
    index[40:44, 10:20] = torch.nan
    return frames, volume, index


def invalid_corner(count, rows, columns):
    valid = torch.ones(count, rows, columns, dtype=torch.bool)
    for k in range(count):
        valid[k, : 2 * k + 1] = False
    valid[:, :, -3:] = False
    return valid


def psnr(a, b):
    return float(-10 * torch.log10(((a - b) ** 2).mean()))


@pytest.mark.parametrize("with_index", [False, True])
@pytest.mark.parametrize("with_valid", [False, True])
def test_shares_sum_to_one(with_index, with_valid):
    frames, volume, index = stack()
    valid = invalid_corner(*volume.shape) if with_valid else None
    index = index if with_index else None
    frames = frame_stack(frames, None, volume, valid)
    softmax = weights.softmax_weights(
        frames, volume=volume, index=index, temperature=0.1, sigma_frames=0.5, radius_frames=2
    )
    for weight in (softmax, weights.pick_weights(frames, volume=volume, index=index)):
        normalised = weights.normalised(weight, 6)
        shares = torch.stack([normalised[k] for k in range(6)])
        assert torch.allclose(shares.sum(0), torch.ones_like(volume[0]), atol=1e-6)
        assert (shares >= 0).all()
        if valid is not None:
            assert (shares[~valid & valid.any(0)] == 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_equal_frames_come_back_unchanged(method, dtype):
    white = np.iinfo(dtype).max
    frame = np.random.default_rng(1).integers(0, white, (70, 53, 3), endpoint=True, dtype=dtype)
    _, volume, index = stack(count=9, rows=70, columns=53)
    planes = fuse.frame_tensor(frame)
    for kwargs in ({"volume": volume}, {"index": index}, {"volume": volume, "index": index}):
        picture = fuse.all_in_focus(lambda k: planes, method=method, count=9, **kwargs)
        result = fuse.to_dtype(picture, dtype)
        assert result.dtype == dtype
        assert np.array_equal(result, frame)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("with_valid", [False, True])
def test_strips_give_exactly_the_whole_picture(method, with_valid):
    frames, volume, index = stack(rows=229, columns=61, channels=1)
    valid = invalid_corner(*volume.shape) if with_valid else None
    whole = fuse.all_in_focus(frames, volume=volume, index=index, valid=valid, method=method, levels=LEVELS)
    halo, multiple = fuse.halo_px(method, levels=LEVELS), fuse.row_multiple(method, levels=LEVELS)
    assert halo % multiple == 0
    for start, stop in ((0, 8), (8, 72), (72, 88), (88, 229)):
        top, bottom = max(0, start - halo), min(229, stop + halo)
        rows = slice(top, bottom)
        strip = fuse.all_in_focus(
            frames[:, :, rows],
            volume=volume[:, rows],
            index=index[rows],
            valid=None if valid is None else valid[:, rows],
            method=method,
            levels=LEVELS,
        )
        assert torch.equal(strip[:, start - top : stop - top], whole[:, start:stop])


@pytest.mark.parametrize("method", ["weighted", "pyramid"])
def test_order_of_frames_does_not_matter_to_a_volume(method):
    frames, volume, _ = stack()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    a = fuse.all_in_focus(frames, volume=volume, method=method)
    b = fuse.all_in_focus(frames[order], volume=volume[order], method=method)
    assert torch.allclose(a, b, atol=2e-6)


@pytest.mark.parametrize("method", METHODS)
def test_exposure_scales_the_picture(method):
    frames, volume, index = stack()
    frames = 0.9 * frames
    a = fuse.all_in_focus(frames, volume=volume, index=index, method=method)
    b = fuse.all_in_focus(frames * 0.25, volume=volume, index=index, method=method, noise=fuse.NOISE / 4)
    assert torch.allclose(a * 0.25, b, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_constants_are_kept(method):
    _, volume, index = stack()
    frames = torch.full((6, 1, 96, 61), 0.7)
    picture = fuse.all_in_focus(frames, volume=volume, index=index, method=method)
    assert torch.allclose(picture, torch.full_like(picture, 0.7), atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_blank_frames_give_a_finite_mean(method):
    frames, _, _ = stack()
    picture = fuse.all_in_focus(frames, volume=torch.zeros(6, 96, 61), method=method)
    assert torch.isfinite(picture).all()
    assert picture.min() > -0.5
    assert picture.max() < 1.5


def half_and_half():
    """A vertical edge between a half sharp in frame 0 and a half sharp in frame 1."""
    from dff.filters import gaussian

    generator = torch.Generator().manual_seed(3)
    sharp = gaussian(torch.rand(1, 96, 128, generator=generator), 1.0)
    sharp = 0.5 + (sharp - 0.5) * 1.5
    soft = gaussian(sharp, 3.0)
    left = torch.arange(128) < 64
    frames = torch.stack([torch.where(left, sharp, soft), torch.where(left, soft, sharp)])
    detail = frames[:, 0] - gaussian(frames[:, 0], 1.0)
    volume = torch.log(gaussian(detail**2, 2.0) + 1e-8)
    return frames, volume, (~left).float().expand(96, 128), sharp


@pytest.mark.parametrize("method", METHODS)
def test_half_and_half_comes_back_sharp(method):
    frames, volume, index, sharp = half_and_half()
    worst = min(psnr(frame, sharp) for frame in frames)
    from_volume = psnr(fuse.all_in_focus(frames, volume=volume, method=method), sharp)
    from_index = psnr(fuse.all_in_focus(frames, index=index, method=method), sharp)
    assert worst < 30
    assert from_volume > 38
    assert from_index > 38


@pytest.mark.parametrize("method", METHODS)
def test_invalid_pixels_have_no_weight(method):
    """What lies outside a frame's valid area moves nothing but the bands that reach into it."""
    frames, volume, index = stack()
    valid = invalid_corner(*volume.shape)
    spoiled = torch.where(valid[:, None], frames, 1 - frames)
    picture, other = (
        fuse.all_in_focus(source, volume=volume, index=index, valid=valid, method=method, levels=2)
        for source in (frames, spoiled)
    )
    assert (picture[:, ~valid.any(0)] == 0).all()
    if method in ("pyramid", "unveiled"):
        assert ((picture - other)[:, 40:, :20] == 0).all()
    else:
        assert torch.equal(picture, other)
    flat = torch.full((6, 1, 96, 61), 0.4)
    picture = fuse.all_in_focus(flat, index=index, valid=valid, method=method)
    assert torch.allclose(picture[:, valid.any(0)], torch.tensor(0.4), atol=1e-6)


def test_pick_interpolates_between_neighbours():
    frames = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 1, 3, 4)
    index = torch.tensor([0.0, 0.25, 2.5, 4.0]).expand(3, 4)
    picture = fuse.all_in_focus(frames, index=index, method="pick")
    assert torch.allclose(picture[0], index)


def test_unknown_index_picks_the_sharpest():
    frames, volume, _ = stack()
    index = torch.full((96, 61), torch.nan)
    picture = fuse.all_in_focus(frames, volume=volume, index=index, method="pick")
    expected = torch.gather(frames, 0, volume.argmax(0).expand(1, 3, 96, 61))[0]
    assert torch.equal(picture, expected)


def test_far_frames_do_not_dilute():
    frames = torch.zeros(100, 1, 4, 4)
    frames[50] = 1
    index = torch.full((4, 4), 50.0)
    volume = torch.zeros(100, 4, 4)
    volume[50] = 0.2
    picture = fuse.all_in_focus(frames, volume=volume, index=index, method="weighted", radius_frames=0.5)
    assert torch.allclose(picture, torch.ones_like(picture))


def test_frames_are_asked_for_one_at_a_time_and_only_where_used():
    frames, volume, _ = stack()
    volume[3] -= 1000
    asked = []
    fuse.all_in_focus(lambda k: (asked.append(k), frames[k])[1], volume=volume, method="weighted")
    assert asked == [0, 1, 2, 4, 5]


@pytest.mark.parametrize("size", [(64, 48), (33, 47), (3, 3), (1, 7), (2, 1)])
def test_other_devices_halve_and_double_alike(size):
    planes = torch.rand(2, *size, generator=torch.Generator().manual_seed(0))
    low = bands._halve(planes)
    assert torch.allclose(low, bands._halve_axis(bands._halve_axis(planes, 2), 1), atol=1e-6)
    doubled = bands._double_axis(bands._double_axis(low, 1, size[0]), 2, size[1])
    assert torch.allclose(bands._double(low, planes), doubled, atol=1e-6)


def test_pyramid_collapses_to_the_picture():
    planes = torch.rand(3, 75, 46, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(bands.collapse(bands.laplacian_pyramid(planes, 4)), planes, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_are_rounded_and_clipped(dtype):
    white = np.iinfo(dtype).max
    picture = torch.tensor([-0.1, 0.4 / white, 0.6 / white, 1.2]).view(1, 2, 2)
    assert fuse.to_dtype(picture, dtype)[..., 0].ravel().tolist() == [0, 0, 1, white]


def test_refusals_name_the_cure():
    frames, volume, index = stack()
    with pytest.raises(ValueError, match="fusion: must be one of weighted, pick, pyramid, unveiled; got 'max'"):
        fuse.all_in_focus(frames, volume=volume, method="max")
    with pytest.raises(ValueError, match="needs a focus volume or an index map"):
        fuse.all_in_focus(frames)
    with pytest.raises(ValueError, match="volume: must have one plane a frame; got 5 for 6"):
        fuse.all_in_focus(frames, volume=volume[:5])
    with pytest.raises(ValueError, match="count: must be given"):
        fuse.all_in_focus(lambda k: frames[k], index=index)


def test_noise_gain_of_the_bands():
    noise = torch.randn(1, 1024, 1024, generator=torch.Generator().manual_seed(0))
    for band, gain in zip(bands.laplacian_pyramid(noise, 6)[:-1], bands.NOISE_GAIN):
        assert float((band**2).mean()) == pytest.approx(gain, rel=0.1)


@pytest.mark.parametrize("sigma", [0.005, 0.03])
def test_noise_level_is_found_under_texture(sigma):
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:200, :300]
    texture = 0.5 + 0.3 * np.sin(columns / 9) * np.cos(rows / 7)
    frames = [texture + rng.normal(0, noise, texture.shape) for noise in (2 * sigma, sigma)]
    integers = [np.rint(65535 * frame[..., None].clip(0, 1)).astype(np.uint16) for frame in frames]
    assert fuse.noise_level(integers) == pytest.approx(sigma, rel=0.1)
    assert fuse.noise_level([np.zeros((9, 9, 1), np.uint8)]) > 0


def test_noise_is_averaged_away():
    """Frames that differ by noise alone: the blend takes more of them the noisier they are."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(9, 1, 64, 64, generator=generator)
    index = torch.full((64, 64), 4.0)
    left = [
        float(fuse.all_in_focus(0.5 + sigma * noise, index=index, noise=sigma).std()) / sigma for sigma in (0.003, 0.03)
    ]
    assert left[1] < left[0] < 0.8
    assert left[1] < 0.65


def disc(radius):
    y, x = np.mgrid[-16:17, -16:17]
    return (radius + 0.5 - np.hypot(y, x)).clip(0, 1)


def test_a_defocused_highlight_is_not_detail():
    """A clipped highlight over dark ground keeps its size: the discs that blur makes of it leave no halo."""
    import cv2

    frames = []
    for k in range(9):
        radius = 2 + 1.5 * abs(k - 4)
        frame = np.full((96, 96), 0.1)
        frame[32:65, 32:65] += 6 * disc(radius) * (2 / radius) ** 2
        frames.append(cv2.GaussianBlur(frame, (0, 0), 0.7).clip(0, 1))
    frames = torch.from_numpy(np.stack(frames)[:, None].astype(np.float32))
    picture = fuse.all_in_focus(frames, index=torch.full((96, 96), 4.0))
    assert float((picture - frames[4]).abs().max()) < 0.02
    assert float((frames.mean(0) - frames[4]).abs().max()) > 0.5


def test_detail_that_the_index_places_a_little_wrong_wins():
    """A bright hair, sharp in frame 2, over ground at frame 8; the index map has it a few pixels beside its place."""
    from dff.filters import gaussian

    generator = torch.Generator().manual_seed(1)
    ground = 0.3 + 0.05 * torch.randn(1, 96, 96, generator=generator)
    hair = torch.zeros(1, 96, 96)
    hair[:, :, 47:49] = 1

    def seen(k):
        cover = gaussian(hair, 0.3 + 0.8 * abs(k - 2))
        return gaussian(ground, 0.3 + 0.8 * abs(k - 8)) * (1 - cover) + 0.9 * cover

    frames = torch.stack([seen(k) for k in range(11)])
    index = torch.where(hair[0] > 0, 2.0, 8.0).roll(5, 1)
    picked, blended = (fuse.all_in_focus(frames, index=index, method=method) for method in ("pick", "pyramid"))
    assert float(picked[0, :, 47:49].mean()) < 0.5
    assert float(blended[0, :, 47:49].mean()) > 0.7
    far = slice(5, 30)
    assert psnr(blended[:, :, far], frames[8][:, :, far]) > 45


@pytest.mark.parametrize("with_valid", [False, True])
def test_only_what_a_frame_is_in_focus_near_is_looked_at(with_valid):
    """What a frame shows far from where it has weight changes nothing, and most of it is not asked for."""
    generator = torch.Generator().manual_seed(2)
    frames = torch.rand(24, 3, 640, 320, generator=generator)
    index = torch.linspace(-0.4, 23.4, 640)[:, None] + torch.linspace(0, 2, 320)
    index = index.clamp(0, 23) + 0.1 * torch.randn(640, 320, generator=generator)
    index[30:33, 40] = torch.nan
    valid = invalid_corner(24, 640, 320) if with_valid else None
    clipped = torch.zeros_like(index)
    clipped[100:120, 100:120] = 1
    asked = []

    class Shown:
        def __call__(self, k):
            raise AssertionError("a whole frame was asked for")

        def part(self, k, window):
            raise AssertionError

        def pixels(self, k, window):
            rows, columns = window
            asked.append((rows.stop - rows.start) * (columns.stop - columns.start))
            return shown[k][:, rows, columns].movedim(0, -1).contiguous().numpy(), 1.0

        def reaches(self, k, value):
            raise AssertionError

    weight = weights.WindowWeights(frame_stack(frames, None, None, valid), index, torch.full_like(index, 2.0))
    pictures = []
    for beyond in (0.0, 9.0):
        shown = frames.clone()
        for k in range(24):
            far = torch.ones(640, dtype=torch.bool)
            looked_at = weight(k) > 0 if weight.stack.bare is None else (weight(k) > 0) | weight.stack.bare
            for row in torch.nonzero(looked_at.any(1))[:, 0]:
                far[max(0, row - 64) : row + 65] = False
            shown[k][:, far] = beyond
        source = frame_stack(Shown(), 24, None, valid)
        pictures.append(pyramid_blend(source, weight, noise=0.004, levels=LEVELS, clipped=clipped))
    assert torch.equal(*pictures)
    # Where no frame is valid, all are looked at.
    assert (sum(asked) < 0.7 * 2 * 24 * 640 * 320) is not with_valid


@pytest.mark.parametrize("with_valid", [False, True])
def test_rows_and_columns_that_hold_all_weight(with_valid):
    index = torch.linspace(0, 23, 640)[:, None] + torch.zeros(320)
    valid = invalid_corner(24, 640, 320) if with_valid else None
    source = frame_stack(torch.zeros(24, 1, 640, 320), None, None, valid)
    weight = weights.WindowWeights(source, index, torch.full_like(index, 2.0))
    (top, bottom), columns = weight.extent(1)
    assert (top, columns) == (0, (0, 320))
    assert (bottom < 200) is not with_valid


@pytest.mark.parametrize("method", fuse.FUSION_METHODS)
@pytest.mark.parametrize("covering", [False, True])
def test_columns_say_where_frames_are_valid(method, covering):
    """As masks do, with a frame that is valid everywhere and without one."""
    generator = np.random.default_rng(4)
    first, stop = (generator.integers(*span, (5, 40), np.int32) for span in ((0, 9), (40, 49)))
    if covering:
        first[2], stop[2] = 0, 48
    frames = torch.from_numpy(generator.random((5, 3, 40, 48), np.float32))
    index = torch.from_numpy(4 * generator.random((40, 48), np.float32))
    across = np.arange(48)
    mask = torch.from_numpy((across >= first[..., None]) & (across < stop[..., None]))
    found = [
        fuse.all_in_focus(frames, index=index, valid=valid, method=method) for valid in (mask, columns(first, stop))
    ]
    assert torch.equal(*found)


def columns(first, stop):
    return Covered(first, stop, 48)
