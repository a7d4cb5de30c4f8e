"""Laws of SESF-Fuse: its size, its measure, its decision and its clean-up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dff import filters
from dff.focus.sesf import Sesf, clean_decision, feature_frequency, fuse_pair, logits, smoothed


def test_it_has_the_published_size() -> None:
    """74 803 parameters, 14 416 of them in the encoder."""
    network = Sesf()
    assert sum(p.numel() for p in network.parameters()) == 74803
    assert sum(p.numel() for p in network.encoder.parameters()) == 14416


def test_frequency_of_a_step() -> None:
    """A step of 1 across x counts once for each row of the window, for each channel."""
    features = torch.zeros(1, 2, 31, 31)
    features[..., 16:] = 1
    frequency = feature_frequency(features)[0] * 121
    assert frequency[15, 16] == pytest.approx(2 * 11)
    assert frequency[15, 5] == pytest.approx(0)


def test_frequency_ignores_a_constant() -> None:
    """Brighter features are not sharper ones."""
    features = torch.randn(1, 3, 20, 20)
    inner = (slice(None), slice(7, -7), slice(7, -7))
    assert torch.allclose(feature_frequency(features + 5)[inner], feature_frequency(features)[inner], atol=1e-4)


def test_small_regions_are_dropped() -> None:
    """Specks and holes of less than a hundredth of the picture go, the large region stays."""
    first = np.zeros((100, 100), bool)
    first[:, :50] = True
    noisy = first.copy()
    noisy[40:47, 70:77] = True
    noisy[20:23, 20:23] = False
    assert (clean_decision(noisy) == first).mean() > 0.995


def test_guided_filter_keeps_an_edge_of_the_guide() -> None:
    """A map with the guide's own edge passes; one without structure becomes its mean."""
    guide = torch.zeros(40, 40)
    guide[:, 20:] = 1
    assert (smoothed(guide, guide) - guide).abs().max() < 1e-3
    assert smoothed(torch.ones(40, 40), guide)[20, 20] == pytest.approx(0.5, abs=0.1)


@pytest.fixture(scope="module")
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """A sharp picture, and two of it that are sharp at the left and at the right."""
    sharp = torch.rand((1, 96, 96), generator=torch.Generator().manual_seed(0))
    blurred = filters.gaussian(sharp, 2.0)
    left, right = sharp.clone(), sharp.clone()
    left[..., 48:], right[..., :48] = blurred[..., 48:], blurred[..., :48]
    return sharp, torch.stack([left, right])


def test_a_pair_becomes_sharp_all_over(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    """The fused picture is far closer to the sharp one than the mean of the two, even before training."""
    torch.manual_seed(0)
    sharp, images = pair
    volume = logits(Sesf().eval(), images)
    fused = fuse_pair(images, volume)
    error, of_mean = ((picture - sharp).square().mean() for picture in (fused, images.mean(0)))
    assert error < 0.1 * of_mean
