"""Laws of confidence: what a judge says, and what it is fitted to say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from dff import metrics
from dff.depth import confidence
from dff.depth.judge import DEFAULT, Judge, judge_of, read_judges
from dff.depth.sites import Sites
from dff.stack import FloatArray
from dff.training import confidence as fitting
from dff.training import units
from dff.training.confidence import Samples, fit_judge, judge_of_kinds


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fit that takes no time, on one thread."""
    monkeypatch.setattr(fitting, "STEPS", 800)
    monkeypatch.setattr(units, "BATCH", 512)
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


def samples(shift: float = 0.0, seed: int = 0, count: int = 20_000) -> Samples:
    """Pixels that are right with a probability that depends on the first two features alone."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, len(confidence.FEATURES) - 1)).astype(np.float32)
    wrong = random.random(count) > truth(features, shift)
    return Samples(features, np.where(wrong, 2.0, 0.5), np.ones(count))


def truth(features: FloatArray, shift: float = 0.0) -> FloatArray:
    """Probability of being right: no straight line in the features."""
    return 1 / (1 + np.exp(-(1 + shift - 2 * features[:, 0] ** 2 + features[:, 1])))


def promised(judge: Judge, found: Samples) -> FloatArray:
    return judge(torch.from_numpy(found.features.T)).numpy()


def test_a_judge_keeps_its_word() -> None:
    """On pixels that it was not fitted on, and where no straight line would."""
    judge, others = fit_judge(samples()), samples(seed=1)
    assert np.abs(promised(judge, others) - truth(others.features)).mean() < 0.06
    diagram = metrics.reliability(others.error, promised(judge, others), equally_filled=True)
    assert np.abs(diagram.confidence - diagram.frequency).max() < 0.08


def test_equal_samples_give_equal_judges() -> None:
    """Fitting twice gives the same numbers."""
    assert fit_judge(samples()) == fit_judge(samples())


def test_judges_are_as_sure_as_they_can_be_of_kinds_they_do_not_know() -> None:
    """Where kinds of scenes differ in what cannot be seen, a judge promises less of the surest and more of the rest."""
    kinds = {f"kind {k}": samples(shift, seed=k) for k, shift in enumerate((-2.5, 0.0, 2.5))}
    judge, lines = judge_of_kinds(kinds)
    plain = fit_judge(fitting.joined(list(kinds.values())))
    spread = [np.std(np.arctanh(2 * promised(which, kinds["kind 1"]) - 1)) for which in (judge, plain)]
    assert spread[0] < spread[1]
    assert "left out" in lines[1]


def test_every_judge_looks_at_features_that_there_are() -> None:
    """The file's judges can be read, and the default one needs no network."""
    for judge in read_judges().values():
        assert set(judge.features) <= set(confidence.FEATURES)
        assert len(judge.hidden) == len(judge.bias) == len(judge.output)
    assert confidence.PROMISED not in judge_of(DEFAULT).features
    assert judge_of("tenengrad") == judge_of(DEFAULT)


def test_judging_part_by_part_is_judging_at_once() -> None:
    """Blocks of pixels do not matter, whatever the shape."""
    judge = judge_of(DEFAULT)
    features = torch.randn(len(judge.features), 270, 300, generator=torch.Generator().manual_seed(0))
    whole = judge(features)
    assert whole.shape == (270, 300)
    assert torch.allclose(whole[100:110], judge(features[:, 100:110]), atol=1e-6)


def test_bins_of_equal_population_hold_as_many_pixels() -> None:
    """However confidences are spread, and also where they are all the same."""
    values = np.linspace(0, 1, 1000) ** 8
    filled = metrics.reliability(np.zeros(1000), values, equally_filled=True)
    assert (filled.pixels == 100).all()
    assert np.isfinite(metrics.reliability(np.zeros(50), np.full(50, 0.7), equally_filled=True).confidence).all()


def test_frames_that_do_not_cover_a_site_are_no_noise() -> None:
    """Their logits tell nothing of how quiet a place without texture is, nor of how fast curves drop."""
    energies = -8 - 0.1 * (torch.arange(9.0)[:, None, None] - 4).square().expand(9, 20, 20)
    partly = energies.clone()
    partly[4:, :10], partly[6:] = -40.0, -40.0
    whole, seen = Sites.of(energies), Sites.of(partly)
    assert seen.noise_logit() == pytest.approx(whole.noise_logit(), abs=1.0)
    assert seen.typical_drop(-15.0) == pytest.approx(whole.typical_drop(-15.0), abs=0.01)
