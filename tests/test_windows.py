"""Laws of the mixtures of windows, and of the compiled vote beside edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dff.depth import beside, edges, windows
from dff.depth.edge_loops import CANDIDATES, votes
from dff.depth.mixture import Mixture, read_mixtures
from dff.depth.windows import Curves, Windows
from dff.training import units
from dff.training.windows import NAMES, Estimates, fit_mixture

SIGMA_PX = 2.3
SAMPLES = 6.3


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def curves_of(index: Tensor, sigma: float) -> Curves:
    """Pixels of a noise, with texture of uneven strength."""
    height = torch.randn(index.shape, generator=random(1))
    shape = torch.stack([height + 3, torch.full_like(index, 0.05), torch.full_like(index, -2.0)])
    return Curves(index, torch.full_like(index, 1 / (sigma**2 + 0.0025)), height, shape, 0.14, 0.0025)


def surface(period_px: float) -> Tensor:
    """Waves of a frame and a half to either side."""
    x = torch.arange(96.0)
    return 12 + 1.5 * torch.sin(2 * torch.pi * x / period_px).expand(64, 96).contiguous()


def noisy(truth: Tensor, sigma: float) -> Tensor:
    return truth + sigma * torch.randn(truth.shape, generator=random(2))


def error(found: Tensor, truth: Tensor) -> float:
    return float((found - truth)[8:-8, 8:-8].abs().median())


def test_shares_add_up_and_names_are_those_of_the_estimates() -> None:
    """A mixture is a mean, and looks at what is computed."""
    for name, mixture in read_mixtures().items():
        assert (mixture.features, mixture.values) == NAMES[name]
        shares = mixture(torch.randn(len(mixture.features), 50, generator=random()))
        torch.testing.assert_close(shares.sum(0), torch.ones(50))


def test_relief_is_kept_and_noise_is_averaged_away() -> None:
    """On waves the mixture is closer than the widest plane, on noisy level ground calmer than the middle one."""
    waves, level = surface(24.0), torch.full((64, 96), 12.0)
    relief = Windows.of(curves_of(noisy(waves, 0.02), 0.02), SIGMA_PX)
    calm = Windows.of(curves_of(noisy(level, 0.5), 0.5), SIGMA_PX)
    assert error(relief.mixed(SAMPLES)[0], waves) < 0.5 * error(relief.values[windows.VALUES.index("wide")], waves)
    middle = calm.values[windows.VALUES.index("middle")]
    assert error(calm.mixed(SAMPLES)[0], level) < 0.9 * error(middle, level)


def test_a_stack_turned_around_has_mirrored_surfaces() -> None:
    """Shares see nothing of the direction."""
    index = noisy(surface(40.0), 0.2)
    there, back = (Windows.of(curves_of(values, 0.2), SIGMA_PX).mixed(SAMPLES) for values in (index, 30 - index))
    torch.testing.assert_close(there[0], 30 - back[0], rtol=0, atol=2e-4)
    torch.testing.assert_close(there[1], back[1], rtol=1e-3, atol=1e-6)


def test_planes_depend_on_the_halo_alone() -> None:
    """What is farther off changes nothing."""
    index = noisy(surface(40.0), 0.2)
    other, reach = index.clone(), windows.halo_px(SIGMA_PX)
    other[:, 10 + reach + 1 :] += 5
    found = [Windows.of(curves_of(values, 0.2), SIGMA_PX).mixed(SAMPLES)[0][:, :11] for values in (index, other)]
    assert torch.equal(*found)


def test_estimates_far_from_the_vote_are_cut() -> None:
    """Planes of the other surface move a pixel by no more than two frames."""
    index = torch.where(torch.arange(96).expand(64, 96) < 48, 5.0, 25.0)
    label, where = index.to(torch.int64), torch.zeros(64, 96, dtype=torch.bool)
    where[:, 44:52] = True
    settled = edges.Settled(where, label, index, torch.full_like(index, 100.0), torch.ones_like(index))
    found = Windows.of(curves_of(index, 0.1), SIGMA_PX)
    near = beside.Beside.of(settled, index.flip(1), torch.full_like(index, 0.1), found)
    assert (near.values - index[where]).abs().max() <= 2
    assert (near.mixed() - index[where]).abs().max() <= 2


def test_fitting_finds_the_better_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a feature tells which of two estimates is right, the mixture takes it; equal estimates, equal mixtures."""
    monkeypatch.setattr(units, "BATCH", 512)
    monkeypatch.setattr("dff.training.windows.STEPS", 200)
    generator = np.random.default_rng(0)
    features = generator.normal(size=(5000, 2)).astype(np.float32)
    values = np.where(features[:, :1] > 0, [[0.0, 1.0]], [[1.0, 0.0]]).astype(np.float32)
    found = Estimates(features, values, np.zeros(5000, np.float32))
    mixture: Mixture = fit_mixture(found, ("tells", "noise"), ("one", "other"))
    mixed = (mixture(torch.from_numpy(features.T)).numpy() * values.T).sum(0)
    assert np.abs(mixed).mean() < 0.15
    assert fit_mixture(found, ("tells", "noise"), ("one", "other")) == mixture


def test_the_compiled_vote_is_that_of_its_formula() -> None:
    """Neighbours vote by likeness and trust for labels within `agree` frames; the first of equals is chosen."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 20, 200).astype(np.float32)
    trusts, place = generator.random(200).astype(np.float32), np.arange(50, 150)
    offsets = np.array([-40, -3, 0, 7, 31])
    weights = np.array([1, 0.5, 0, 2, 1], np.float32)
    alike = generator.random((100, 5)).astype(np.float32)
    candidates = generator.integers(0, 20, (CANDIDATES, 100)).astype(np.float32)
    chosen, share = np.empty((2, 100), np.float32)
    votes(labels, trusts, place, offsets, weights, alike, np.float32(0.25), candidates, chosen, share)
    there = place[:, None] + offsets
    counted = alike * weights * trusts[there]
    agreement = np.maximum(0, 1 - np.abs(candidates[:, :, None] - labels[there]) / 4)
    expected = (agreement * counted).sum(-1)
    np.testing.assert_array_equal(chosen, np.take_along_axis(candidates, expected.argmax(0)[None], 0)[0])
    np.testing.assert_allclose(share, expected.max(0) / counted.sum(-1), rtol=1e-4)
