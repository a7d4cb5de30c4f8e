"""Compiled loops say what the tensors say, however the picture is cut and shared out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dff import compiled, filters
from dff.align import resample
from dff.depth import confidence, regularise, regularise_depth
from dff.depth.select import lattice_volume
from dff.focus import coherent, focus_cells, focus_volume, load_measure, stack_filter
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
    where = torch.zeros(size, dtype=torch.bool)
    where[:, :7] = True
    masked = expected.clone()
    masked[3].masked_fill_(where, -40)
    cells = focus_cells(images, measure, z_sigma_frames=1.0, z=z, uncovered={3: where})
    torch.testing.assert_close(cells, lattice_volume(masked), rtol=0, atol=2e-5)


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
    assert focus_cells(images, measure, uncovered={}) is None
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


def test_second_peaks_agree_with_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of some rows of a volume, at labels of all frames."""
    generator = torch.Generator().manual_seed(3)
    volume = torch.randn(12, 9, 37, generator=generator)[:, 2:7]
    label = torch.randint(0, 12, (5, 37), generator=generator)
    found = confidence._second_peak(volume, label)
    monkeypatch.setattr(filters, "by_opencv", lambda _: False)
    for one, other in zip(found, confidence._second_peak(volume, label)):
        torch.testing.assert_close(one, other)


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
