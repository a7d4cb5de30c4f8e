"""Every network gives the same depth however finely a sweep is sampled, and the same picture however it is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dff import filters, pipeline
from dff.depth import DepthEstimator, frames_of
from dff.focus import NETWORKS, load_measure
from dff.settings import Settings
from dff.stack import FocalStack, ImageMetadata

SIZE_PX = (40, 56)
SWEEP = 24
GROWTH_PX = 0.2
INNER = (slice(8, -8), slice(8, -8))
ALL = [pytest.param(name, marks=[pytest.mark.slow] * (name in ("drpl", "fusegan"))) for name in NETWORKS]
"""Networks of pairs take seconds."""

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def ramp() -> tuple[Tensor, Tensor]:
    """A textured ramp in SWEEP + 1 frames (N, 1, H, W), and the index at which each column (W,) is in focus."""
    random = torch.Generator().manual_seed(3)
    texture = filters.gaussian(torch.rand((1, *SIZE_PX), generator=random), 0.7)
    levels = torch.cat([filters.gaussian(texture, GROWTH_PX * away) for away in range(SWEEP + 2)])
    focus = torch.linspace(0.3, 0.7, SIZE_PX[1]) * SWEEP
    columns, planes = torch.arange(SIZE_PX[1]), []
    for k in range(SWEEP + 1):
        away = (k - focus).abs()
        low, share = away.long(), away.frac()
        planes.append(levels[low, :, columns].T * (1 - share) + levels[low + 1, :, columns].T * share)
    frames = torch.stack(planes)[:, None]
    return frames + 0.002 * torch.randn(frames.shape, generator=random), focus


def depth(name: str, images: Tensor) -> Tensor:
    """(H, W) index by the network's labels and the operator's refit, as a reconstruction finds it."""
    estimator = DepthEstimator(load_measure(name), refit=load_measure("ring-difference"))
    labels = estimator.regularise(estimator.sites(images))
    estimator = estimator.matched(labels)
    return estimator.refine(estimator.volume(images), labels, frames=frames_of(images)).index


@pytest.mark.parametrize("name", ALL)
def test_finer_steps_give_the_same_depth(name: str, ramp: tuple[Tensor, Tensor]) -> None:
    """Sweeps in steps of one, a half and a quarter agree within a tenth of a coarse frame, and with the truth."""
    images, focus = ramp
    found = {step: step * depth(name, images[::step])[INNER] for step in (1, 2, 4)}
    for step in (1, 2):
        assert float((found[step] - found[4]).abs().nanmedian()) < 0.1 * 4
    for index in found.values():
        assert float(index.isfinite().float().mean()) > 0.9
        assert float((index - focus[INNER[1]]).abs().nanmedian()) < 0.1 * 4


def test_which_networks_make_use_of_the_order(ramp: tuple[Tensor, Tensor]) -> None:
    """Those that look at frames one by one give each the same logits in any order; the others are told by name."""
    images = ramp[0][::5, :, :, :24]
    mixed = torch.arange(len(images)) * 2 % len(images)
    found = {}
    for name in NETWORKS:
        measure = load_measure(name)
        found[name] = torch.allclose(measure(images)[mixed], measure(images[mixed]), atol=1e-3)
    assert {name for name, same in found.items() if not same} == {"sesf-stack", "drpl", "fusegan"}


@pytest.mark.parametrize("name", ALL)
def test_shuffled_frames_give_the_same_picture(name: str, ramp: tuple[Tensor, Tensor]) -> None:
    """Frames in any order are put in the order of the sweep by their content; either end may come first."""
    images = ramp[0][2:-2:4]
    frames = [(np.clip(image[0, ..., None].numpy(), 0, 1) * 65535).astype(np.uint16) for image in images]
    settings = Settings(measure=name, align="none", brightness="none", order="auto", threads=1)
    mixed = np.random.default_rng(1).permutation(len(frames)).tolist()
    whole, shuffled = (
        pipeline.fuse_frames(stack_of([frames[k] for k in order]), settings).astype(float) / 65535
        for order in (range(len(frames)), mixed)
    )
    # Neighbours are compared in half the pairs the other way around, and logits kept in half precision.
    assert np.abs(whole - shuffled).max() < 0.01
    assert np.abs(whole - shuffled).mean() < 0.001


def stack_of(frames: list[np.ndarray]) -> FocalStack:
    """The frames as a stack."""
    names = tuple(f"{k}.tif" for k in range(len(frames)))
    return FocalStack(frames, names, frames[0].shape, frames[0].dtype, ImageMetadata())
