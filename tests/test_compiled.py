"""Compiled loops say what the tensors say, however the picture is cut and shared out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dff import compiled, filters
from dff.align import resample
from dff.depth import confidence, forget_uncovered, regularise, regularise_depth
from dff.depth.mixture import mixture_of
from dff.depth.peaks import Peaks, logits_around
from dff.depth.refine import fit_peak
from dff.depth.select import lattice_volume
from dff.depth.unit_loops import BLOCK_PX
from dff.focus import Covered, coherent, focus_cells, focus_volume, load_measure, luminance_of, stack_filter
from dff.fuse import all_in_focus, blend

UNEVEN = np.array([0.0, 1.0, 1.4, 3.0, 4.0, 4.5, 6.0, 7.0, 9.0])


def frames(height: int, width: int, count: int = 9) -> torch.Tensor:
    """(N, 1, H, W) frames of texture."""
    return torch.rand(count, 1, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("z", [None, UNEVEN])
@pytest.mark.parametrize("size", [(61, 530), (5, 9)])
def test_energies_agree_with_tensors(narrow: bool, z: np.ndarray | None, size: tuple[int, int]) -> None:
    """Logits of pixels and of cells, filtered along the stack; the ends of the sweep and the edges included."""
    measure = load_measure("ring-difference", window_sigma_px=1.0)
    measure = measure.coarse if narrow and measure.coarse else measure
    images = frames(*size)
    expected = measure(coherent(images, 1.0, z))
    assert measure.symmetric is not None
    torch.testing.assert_close(focus_volume(images, measure, z_sigma_frames=1.0, z=z), expected, rtol=0, atol=2e-5)
    covered = Covered(np.zeros((9, size[0]), np.int32), np.full((9, size[0]), size[1], np.int32))
    covered.first[3], covered.stop[3, 2:] = 2, 4
    masked = expected.clone()
    masked[3, :, :2] = masked[3, 2:, 4:] = -40
    found = focus_volume(images, measure, z_sigma_frames=1.0, z=z, covered=covered)
    torch.testing.assert_close(found, masked, rtol=0, atol=2e-5)
    cells = focus_cells(images, measure, z_sigma_frames=1.0, z=z, covered=covered)
    torch.testing.assert_close(cells, lattice_volume(masked), rtol=0, atol=2e-5)
    replaced = focus_volume(images, replace(measure, symmetric=None), z_sigma_frames=1.0, z=z, covered=covered)
    torch.testing.assert_close(replaced, masked, rtol=0, atol=0)


def test_energies_are_the_same_in_every_tile() -> None:
    """A tile with its halo gives bit for bit what the whole picture gives, on any number of threads."""
    measure, images = load_measure("ring-difference", window_sigma_px=1.0), frames(160, 700)
    whole = focus_volume(images, measure, z_sigma_frames=1.0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        part = focus_volume(images[..., 33:120, 32:611], measure, z_sigma_frames=1.0)
    finally:
        torch.set_num_threads(before)
    halo = measure.halo_px
    inside = slice(33 + halo, 120 - halo), slice(32 + halo, 611 - halo)
    assert torch.equal(part[:, halo:-halo, halo:-halo], whole[:, inside[0], inside[1]])


def test_windows_that_reach_far_are_left_to_tensors() -> None:
    """The loops hold seven taps."""
    measure, images = load_measure("ring-difference", window_sigma_px=2.0), frames(20, 20)
    assert measure.symmetric is None
    assert focus_cells(images, measure) is None
    assert torch.equal(focus_volume(images, measure), replace(measure)(images))


@pytest.mark.parametrize("sigma", [0.0, 0.4, 1.0])
def test_bands_hold_all_weights(sigma: float) -> None:
    """What bands leave out is zero."""
    along = stack_filter(UNEVEN, sigma)
    weights, first, counts = along.bands
    rows = np.zeros_like(along.rows)
    for row, weight, start, count in zip(rows, weights, first, counts):
        row[start : start + count] = weight[:count]
    np.testing.assert_allclose(rows, along.rows, atol=1e-7)


@pytest.mark.parametrize("count", [2, 5, 30])
def test_labels_agree_with_tensors(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Semi-global matching on the processor decides as that on other devices, but for ties in a few sites of noise."""
    generator = torch.Generator().manual_seed(2)
    depth = torch.rand(5, 7, generator=generator).repeat_interleave(8, 0).repeat_interleave(8, 1) * count
    noise = torch.rand(count, 40, 56, generator=generator)
    lattice = (noise - (torch.arange(count)[:, None, None] - depth).abs().mul(0.4).clamp_max(2)).to(torch.float16)
    found = regularise_depth(lattice.clone())
    assert torch.equal(regularise_depth(lattice.float()), found)
    monkeypatch.setattr(filters, "by_opencv", lambda _: False)
    assert (regularise_depth(lattice.clone()) != found).float().mean() < 2e-3


def test_labels_are_found_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of any number of rows give the same: paths go on from one to the next."""
    lattice = torch.rand(9, 70, 33, generator=torch.Generator().manual_seed(5)).to(torch.float16)
    found = []
    for rows in (100, 31, 16, 13):
        monkeypatch.setattr(regularise, "_LEAST_BLOCK_ROWS", rows)
        found.append(regularise_depth(lattice.clone()))
    assert all(torch.equal(labels, found[0]) for labels in found[1:])
    assert len(found[0].unique()) > 2


@pytest.mark.parametrize("z", [None, UNEVEN])
def test_frames_are_filtered_as_by_tensors(z: np.ndarray | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Along the stack, the ends of the sweep included, colours too."""
    images = torch.rand(9, 3, 40, 50, generator=torch.Generator().manual_seed(6))
    found = coherent(images, 1.0, z)
    monkeypatch.setattr(filters, "by_opencv", lambda _: False)
    torch.testing.assert_close(found, coherent(images, 1.0, z), rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_luminance_of_pixels_is_that_of_tensors(dtype: type) -> None:
    """Of colours and of grey frames."""
    pixels = (np.random.default_rng(7).random((9, 37, 3)) * 200).astype(dtype)
    images = torch.from_numpy(pixels.astype(np.float32) / 200).permute(2, 0, 1)[None]
    for part, expected in ((pixels, images), (pixels[..., :1], images[:, :1])):
        found = luminance_of(part, 1 / 200, torch.empty(9, 37))
        torch.testing.assert_close(found, filters.luminance(expected)[0], rtol=0, atol=1e-6)


def test_curves_of_pixels_say_what_they_are_defined_by() -> None:
    """The largest logit away from the label, the mean, and the parabola of least squares, at labels of all frames."""
    generator = torch.Generator().manual_seed(3)
    frame = torch.arange(12.0)[:, None, None]
    centre = torch.rand(5, 300, generator=generator) * 11
    volume = torch.rand(12, 5, 300, generator=generator) - 0.2 * (frame - centre).square().clamp_max(20)
    label = centre.round().to(torch.int64)
    fit = fit_peak(volume, label, radius=2, noise_logit=-3.0, samples=6.0)
    peaks = Peaks(len(volume), label, fit, logits_around(volume, label, -3.0, halos=False))
    index, features = confidence.curve_features(peaks, radius=2, noise_logit=-3.0)
    named = dict(zip(confidence.FEATURES, features))
    far = volume.masked_fill((frame - label).abs() <= 2, -torch.inf).amax(0)
    torch.testing.assert_close(named["margin"], (fit.height - far).clamp(-1, 3))
    torch.testing.assert_close(named["drop"], (fit.height - volume.mean(0)).clamp(0, 3))
    for y, x in ((0, 0), (2, 37), (3, 255), (4, 256), (4, 299)):
        near = slice(max(0, label[y, x] - 2), label[y, x] + 3)
        logit = volume[near, y, x].double().numpy() - float(fit.height[y, x])
        time = np.arange(12)[near]
        curve = np.polyfit(time, (1 - np.exp(-0.25 * logit)) / 0.25, 2, w=np.exp(0.75 * logit))
        assert float(fit.index[y, x]) == pytest.approx(-curve[1] / (2 * curve[0]), abs=1e-3)
        assert float(fit.curvature[y, x]) == pytest.approx(-curve[0], rel=1e-3)
        known = curve[0] < 0 and abs(fit.index[y, x] - label[y, x]) <= 2 and 0 <= fit.index[y, x] <= 11
        assert bool(index[y, x].isfinite()) == (known and float(named["drop"][y, x]) > confidence.LEAST_DROP)


def test_two_frames_make_no_parabola() -> None:
    """At the ends of the sweep, or where one frame alone has any energy, nothing is known, whatever the rounding."""
    volume = torch.full((6, 1, 3), -40.0)
    volume[:2, 0, 0] = torch.tensor([-3.0, -3.5])
    volume[3, 0, 1] = volume[5, 0, 2] = -4.0
    fit = fit_peak(volume, torch.tensor([[0, 3, 5]]), radius=1, narrow=True)
    assert fit.index.isnan().all()


def test_indices_are_unknown_where_frames_do_not_cover() -> None:
    """The label's own frame and those beside it count."""
    index, label = np.ones((2, 3, 6), np.float32)
    first, stop = np.zeros((4, 3), np.int32), np.full((4, 3), 6, np.int32)
    first[2, 1], stop[3, 2], stop[0, 0] = 2, 1, 4
    forget_uncovered(index, label, first, stop)
    assert np.isnan(index).tolist() == [[False] * 4 + [True] * 2, [True] * 2 + [False] * 4, [False] * 6]


def test_a_mixture_is_the_mean_by_its_shares() -> None:
    """Of values and of variances, for more pixels than a block holds."""
    generator = torch.Generator().manual_seed(8)
    mixture, count = mixture_of("open"), 40 * 60
    features = torch.randn(len(mixture.features), 40, 60, generator=generator)
    values, variances = torch.randn(5, 40, 60, generator=generator), torch.rand(3, 40, 60, generator=generator)
    owners, factors = [0, 0, 1, 1, 2], [0.5, 0.4, 0.3, 0.2, 0.1]
    mixed, variance = mixture.units.mixed_with_variance(features, values, variances, owners, factors)
    shares = mixture(features)
    assert mixed.numel() == count > BLOCK_PX
    torch.testing.assert_close(mixed, (shares * values).sum(0))
    scaled = variances[owners] * torch.tensor(factors)[:, None, None]
    torch.testing.assert_close(variance, (shares * scaled).sum(0))
    torch.testing.assert_close(mixture.units.mixed(features, values), mixed)


def test_pictures_agree_with_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blended over a window of the index, parts of which are not known, of frames that are not valid everywhere."""
    generator = torch.Generator().manual_seed(4)
    images = torch.rand(6, 3, 96, 128, generator=generator)
    index = torch.rand(96, 128, generator=generator) * 2 + torch.linspace(0, 3, 128)
    index[30:40, 50:60] = torch.nan
    valid = torch.ones(6, 96, 128, dtype=torch.bool)
    valid[4, :, 100:] = False
    found = all_in_focus(images, index=index, valid=valid)
    monkeypatch.setattr(blend, "by_opencv", lambda _: False)
    torch.testing.assert_close(found, all_in_focus(images, index=index, valid=valid), rtol=0, atol=2e-5)


def test_resampling_is_the_sum_of_weighted_samples() -> None:
    """In the middle and beyond the edges, in every type, for a motion that scales and shifts."""
    rng = np.random.default_rng(5)
    transform = np.array([[1.02, 0, 3.3], [0, 0.98, -2.6], [0, 0, 1]])
    motion = resample.separable_motion(transform)
    assert motion is not None
    for dtype, white in ((np.uint8, 255), (np.uint16, 65535), (np.float32, 0)):
        frame = (rng.random((40, 50, 3)) * max(white, 1)).astype(dtype)
        found = resample.resample(frame, motion, (40, 50), 7)
        for y, x in ((0, 0), (20, 25), (39, 49), (2, 48)):
            u = motion.u(np.array([float(x)]), 19.5)
            start, across = resample._samples(u)
            # Columns of a block move alike: that of the block's middle.
            rows, down = resample._samples(motion.v(np.array([24.5]), np.array([float(y)])))
            patch = np.full((8, 8, 3), 7.0)
            for i in range(8):
                for j in range(8):
                    row, column = rows[0] + i, start[0] + j
                    if 0 <= row < 40 and 0 <= column < 50:
                        patch[i, j] = frame[row, column]
            expected = np.einsum("i,j,ijc->c", down[0], across[0], patch)
            expected = np.clip(np.rint(expected), 0, white) if white else expected
            np.testing.assert_allclose(found[y, x], expected, atol=1 if white else 1e-4)


def test_machine_code_is_that_of_the_present_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba itself looks at a loop's own file only: after a change in what it calls, other machine code is wanted."""
    monkeypatch.setattr(compiled, "_PACKAGE", tmp_path)
    compiled._stamp.cache_clear()
    called, caller = tmp_path / "called.py", tmp_path / "caller_loops.py"
    called.write_text("from dff.compiled import compiled\n")
    caller.write_text("from dff.compiled import compiled\n")
    former = Path(compiled._cache_folder(""))
    former.mkdir(parents=True)
    called.write_text("from dff.compiled import compiled  # changed\n")
    compiled._stamp.cache_clear()
    now = Path(compiled._cache_folder(""))
    compiled._stamp.cache_clear()
    assert now != former
    assert now.parent == former.parent
    assert not former.exists()
    assert compiled._cache_folder(str(tmp_path / "elsewhere")).startswith(str(tmp_path / "elsewhere"))
    compiled._stamp.cache_clear()
