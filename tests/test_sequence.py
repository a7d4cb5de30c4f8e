"""Frames that are not named in the order of the sweep are told from those that are."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from dff.depth import follows_sweep
from dff.pipeline import reconstruct
from dff.settings import Settings
from dff.simulate import render_scene
from dff.stack import FocalStack

SETTINGS = Settings(
    measure="ring-difference", align="none", brightness="none", threads=1, step_mm=0.1, pixel_size_mm=0.01
)


def curves(count: int, noise: float = 0.3) -> torch.Tensor:
    """(N, P) focus curves whose peaks lie anywhere in the sweep."""
    random = torch.Generator().manual_seed(1)
    away = torch.arange(float(count))[:, None] - (count - 1) * torch.rand(500, generator=random)
    return 6 / (1 + (away / 2) ** 2) + noise * torch.randn(count, 500, generator=random)


@pytest.mark.parametrize(("count", "stride"), [(8, 3), (12, 5), (36, 7)])
def test_shuffled_curves_are_told_from_ordered_ones(count: int, stride: int) -> None:
    """In either direction, at small and large numbers of frames."""
    ordered = curves(count)
    shuffled = ordered[stride * torch.arange(count) % count]
    assert follows_sweep(ordered)
    assert follows_sweep(ordered.flip(0))
    assert not follows_sweep(shuffled)


def test_what_cannot_be_told_is_not_doubted() -> None:
    """Noise alone, few frames, no places."""
    random = torch.Generator().manual_seed(3)
    assert follows_sweep(0.2 * torch.randn(20, 500, generator=random))
    assert follows_sweep(curves(6)[[3, 0, 5, 1, 4, 2]])
    assert follows_sweep(torch.zeros(20, 0))


def stack_of(frames: Sequence[np.ndarray]) -> FocalStack:
    """Frames of which nothing else is known."""
    names = tuple(f"{k}.tif" for k in range(len(frames)))
    return FocalStack(frames, names, frames[0].shape, frames[0].dtype)


def test_a_reconstruction_of_shuffled_names_warns() -> None:
    """One line that names the cure; not for the sweep, and not where the order is found."""
    frames = render_scene("rock", size_px=96, frames=12, blur_growth_px=0.8, seed=1).stack.frames
    stack, mixed = (stack_of([frames[k * stride % 12] for k in range(12)]) for stride in (1, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reconstruct(stack, SETTINGS)
    with pytest.warns(UserWarning, match="do not follow the sweep.*--order auto"):
        reconstruct(mixed, SETTINGS)
    assert not any("sweep" in text for text in reconstruct(mixed, SETTINGS.but(order="auto")).warnings)
