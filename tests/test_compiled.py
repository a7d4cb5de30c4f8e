"""Compiled loops say what the tensors say, however the picture is cut and shared out."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dff
from dff import compiled, filters
from dff.align import resample
from dff.covered import Covered
from dff.depth import confidence, forget_uncovered, regularise, regularise_depth
from dff.depth.mixture import mixture_of
from dff.depth.peaks import Peaks, logits_around
from dff.depth.refine import fit_peak
from dff.depth.select import lattice_volume
from dff.depth.unit_loops import BLOCK_PX
from dff.focus import coherent, focus_cells, focus_volume, load_measure, luminance_of, stack_filter
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
    covered = Covered(np.zeros((9, size[0]), np.int32), np.full((9, size[0]), size[1], np.int32), size[1])
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
            start, phase = resample._samples(u)
            # Columns of a block move alike: that of the block's middle.
            rows, down = resample._samples(motion.v(np.array([24.5]), np.array([float(y)])))
            weights = resample._lanczos()
            patch = np.full((8, 8, 3), 7.0)
            for i in range(8):
                for j in range(8):
                    row, column = rows[0] + i, start[0] + j
                    if 0 <= row < 40 and 0 <= column < 50:
                        patch[i, j] = frame[row, column]
            expected = np.einsum("i,j,ijc->c", weights[down[0]], weights[phase[0]], patch)
            expected = np.clip(np.rint(expected), 0, white) if white else expected
            np.testing.assert_allclose(found[y, x], expected, atol=1 if white else 1e-4)


CALLED = "from dff.compiled import inner\n\nSTEP = {step}\n\n\n@inner\ndef called(x):\n    return x + STEP\n"
CALLER = """
from dff.compiled import compiled
from dff.called_loops import called


@compiled
def caller(values, result):
    for i in range(len(values)):
        result[i] = called(values[i])
"""


@pytest.fixture
def loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Writes loops whose callee adds a number, loads them anew, and gives the one that calls."""
    monkeypatch.setattr(dff, "__path__", [*dff.__path__, str(tmp_path / "dff")])
    monkeypatch.setattr(compiled, "_PACKAGE", tmp_path / "dff")
    (tmp_path / "dff").mkdir()

    def load(step: int, other: str = "") -> Any:
        for name, text in (("called", CALLED.format(step=step)), ("caller", CALLER), ("other", other)):
            (tmp_path / "dff" / f"{name}_loops.py").write_text(text)
            sys.modules.pop(f"dff.{name}_loops", None)
        importlib.invalidate_caches()
        compiled.forget_sources()
        return importlib.import_module("dff.caller_loops").caller

    yield load
    compiled.forget_sources()
    for name in ("called", "caller", "other"):
        sys.modules.pop(f"dff.{name}_loops", None)


def test_machine_code_is_that_of_the_present_sources(loops: Callable[..., Any]) -> None:
    """After a change in what loops call they are compiled anew; after one elsewhere, or none, they are not."""
    values, result = np.arange(3.0), np.empty(3)
    for step, other, reused in ((1, "", 0), (1, "", 1), (1, "CHANGED = 1", 1), (22, "", 0), (22, "", 1)):
        caller = loops(step, other)
        caller(values, result)
        np.testing.assert_array_equal(result, values + step)
        assert len(caller.stats.cache_hits) == reused


def test_former_machine_code_is_removed(
    tmp_path: Path, loops: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One folder is left of each file of loops, wherever machine code is to lie."""
    for folder in (tmp_path / "dff" / "__pycache__", tmp_path / "elsewhere"):
        for step in (1, 2):
            caller = loops(step)
            assert not compiled.has_machine_code("dff.caller_loops")
            caller(np.arange(3.0), np.empty(3))
            assert compiled.has_machine_code("dff.caller_loops")
        assert len(list(folder.glob("loops-caller_loops-*"))) == 1
        monkeypatch.setattr(compiled.config, "CACHE_DIR", str(tmp_path / "elsewhere"))


def test_all_that_loops_import_belongs_to_their_machine_code() -> None:
    """The quick look at the sources finds what Python imports: constants from anywhere are frozen into loops."""
    root = Path(dff.__file__).parent
    for path in [*root.rglob("*_loops.py"), *(root / "focus").glob("stack_*.py")]:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("dff"):
                sources = {_origin(node.module, name.name) for name in node.names}
                assert sources <= compiled._imported(path), f"{path.name} imports {node.module}"


def _origin(module: str, name: str) -> Path:
    """The file that gives a module a name: of a package, maybe a module of that name."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    part = importlib.util.find_spec(f"{module}.{name}") if spec.submodule_search_locations else None
    return Path(str((part or spec).origin))


def test_code_for_other_types_is_not_taken(loops: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that keep code at the very same time may give it the same name: it is compiled again then."""
    kept = loops(1)
    kept(np.arange(3.0), np.empty(3))
    other, result = loops(1), np.empty(3, np.float32)
    key = kept._cache._index_key(kept.signatures[0], kept.targetctx.codegen())
    monkeypatch.setattr(type(other._cache), "_index_key", lambda *_: key)
    other(np.arange(3.0, dtype=np.float32), result)
    assert result.tolist() == [1, 2, 3]
    assert not other.stats.cache_hits


@pytest.mark.parametrize(
    ("letters", "arguments"),
    [
        ("f2 q i1 d", (np.zeros((2, 3), np.float32), 1, np.zeros(3, np.int32), 0.5)),
        ("f3A dd ?2 H1", (np.zeros((2, 3, 4), np.float32)[:, ::2], (0.5, 1.0), np.zeros((2, 2), bool), np.uint16([1]))),
    ],
)
def test_loops_are_compiled_for_types_in_letters(letters: str, arguments: tuple[Any, ...]) -> None:
    """Those of arrays of NumPy, of numbers and of tuples: a call with them finds machine code."""

    @compiled.compiled
    def loop(a, b, c, d):
        return a.shape[0]

    compiled.compile_for(loop, letters)
    (expected,) = loop.signatures
    assert loop(*arguments) == 2
    assert loop.signatures == [expected]


def test_what_loops_call_is_not_for_python() -> None:
    """It has no machine code of its own."""
    with pytest.raises(TypeError, match="not callable"):
        compiled.log_of(np.float32(1))
