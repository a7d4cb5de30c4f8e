"""Laws of the read-out of probabilities."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dff.depth import estimate_depth
from dff.depth.probability import calibrated, read_probability
from dff.focus import FocusMeasure


def bell(centre: float, sigma: float = 0.8, count: int = 15) -> Tensor:
    """(N, 1, 1) log-probabilities of a Gaussian over frames."""
    return (-0.5 * ((torch.arange(count) - centre) / sigma) ** 2).log_softmax(0)[:, None, None]


@pytest.mark.parametrize("centre", [4.0, 6.3, 7.5, 9.8])
def test_index_is_the_centre_of_the_bell(centre: float) -> None:
    """The mean of a bell comes back, and its deviation less that of the soft labels."""
    found = read_probability(bell(centre), bell(centre).argmax(0))
    assert found.index.item() == pytest.approx(centre, abs=0.02)
    assert found.sigma.item() == pytest.approx(math.sqrt(0.8**2 - 0.6**2 + 0.1**2), abs=0.03)


def test_a_second_peak_costs_confidence_not_place() -> None:
    """Another peak far off leaves the index where it is and takes its share of the confidence."""
    volume = torch.logaddexp(bell(4.0), bell(11.0) - 1).log_softmax(0)
    found = read_probability(volume, torch.tensor([[4]]))
    assert found.index.item() == pytest.approx(4.0, abs=0.02)
    near = bell(4.0).exp()[3:6].sum() / (1 + math.exp(-1))
    assert found.confidence.item() == pytest.approx(calibrated(near).item(), abs=0.02)


def test_confidence_is_the_share_within_one_frame() -> None:
    """A single frame holds all of it; an even stack three frames' share, and nothing is known of many frames."""
    sharp = torch.full((9, 1, 1), -50.0)
    sharp[4] = 0
    assert read_probability(sharp, torch.tensor([[4]])).confidence.item() == pytest.approx(1.0, abs=1e-3)
    even = torch.zeros(9, 1, 1).log_softmax(0)
    assert read_probability(even, torch.tensor([[4]])).confidence.item() == 0
    three = torch.tensor(3 / 5).expand(1, 1)
    even = torch.zeros(5, 1, 1).log_softmax(0)
    assert read_probability(even, torch.tensor([[2]])).confidence.item() == pytest.approx(calibrated(three).item())


def test_no_answer_takes_its_share() -> None:
    """Probability that no frame has is missing from the confidence; where most is missing nothing is known."""
    whole, half, little = (
        read_probability(bell(6.0) + math.log(share), torch.tensor([[6]])) for share in (1.0, 0.6, 0.2)
    )
    assert half.confidence.item() < whole.confidence.item() - 0.3
    assert half.index.item() == pytest.approx(whole.index.item(), abs=1e-4)
    assert little.index.isnan().all()
    assert little.confidence.item() == 0


def test_the_largest_of_all_frames_is_a_whole_frame() -> None:
    """The method "argmax" gives no fractions, of probabilities neither."""
    measure = FocusMeasure("bell", 1, 0, "", lambda images: images[:, 0], probabilistic=True)
    volume = bell(6.3).expand(-1, 16, 16)[:, None]
    found = {method: estimate_depth(volume, measure, method=method).index for method in ("argmax", "subframe")}
    assert (found["argmax"] == 6).all()
    assert found["subframe"] == pytest.approx(6.3, abs=0.02)


@pytest.mark.parametrize("end", [0, 14])
def test_a_peak_on_the_end_is_unknown(end: int) -> None:
    """What may be in focus outside of the sweep has no index and no confidence."""
    found = read_probability(bell(end), torch.tensor([[end]]))
    assert found.index.isnan().all()
    assert found.confidence.item() == 0


def test_reversal_mirrors_the_index() -> None:
    """A stack turned around has its index counted from the other end."""
    volume = (torch.randn(12, 5, 5, generator=torch.Generator().manual_seed(0)) * 3).log_softmax(0)
    there, back = (read_probability(v, v.argmax(0)) for v in (volume, volume.flip(0)))
    assert torch.allclose(there.index, 11 - back.index, atol=1e-4, equal_nan=True)
    assert torch.allclose(there.confidence, back.confidence, atol=1e-5)
