"""Deep occlusions: a nearer surface reaches as far as its outline, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from dff import filters
from dff.depth import DepthEstimator, frames_of, outline
from dff.depth.claims import reclaimed
from dff.depth.outline import Contenders
from dff.depth.outline_loops import cones
from dff.focus import load_measure
from dff.fuse import frame_tensor
from dff.simulate import render_scene
from dff.stack import Scene

pytestmark = pytest.mark.usefixtures("one_thread")
FRAMES, NEAR, FAR = 40, 8, 30
SITES = 48


def test_cones_are_the_least_of_all() -> None:
    """Of depths with their distances, along rows, columns and diagonals; each knows where it starts from."""
    depth = np.random.default_rng(1).uniform(0, 30, (13, 17)).astype(np.float32)
    least, source = np.empty_like(depth), np.empty_like(depth)
    cones(depth, np.float32(1.5), least, source)
    y, x = np.mgrid[:13, :17]
    for row, column in np.ndindex(depth.shape):
        down, across = abs(y - row), abs(x - column)
        away = np.maximum(down, across) + (np.sqrt(2) - 1) * np.minimum(down, across)
        sums = depth + 1.5 * away
        assert least[row, column] == pytest.approx(sums.min(), abs=1e-4)
        assert source[row, column] == depth.flat[sums.argmin()]


def smoothed(colours: Tensor, values: Tensor) -> Tensor:
    """Values along colours, in the windows that outlines are looked at in."""
    return filters.guided_by_colours(colours, values, radius_px=12, noise=0.004)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_guided_value_is_a_linear_function_of_the_colours_around(channels: int) -> None:
    """Values that are one come back; noise on them is averaged away; without colours they are averaged."""
    random = torch.Generator().manual_seed(0)
    colours = torch.rand((channels, 60, 70), generator=random)
    values = 3 * colours[0] - colours.sum(0) + 0.5
    noise = torch.randn(values.shape, generator=random)
    assert (smoothed(colours, values) - values).abs().max() < 0.1
    assert (smoothed(colours, values + noise) - values).std() < 0.2
    assert smoothed(torch.full_like(colours, 0.5), noise).std() < 0.1


def disc() -> NDArray[np.bool_]:
    """(SITES, SITES) a disc in the middle."""
    y, x = np.mgrid[:SITES, :SITES] - SITES / 2 + 0.5
    return np.asarray(np.hypot(x, y) < 12)


def pictures(exposure: float = 1.0) -> Tensor:
    """(FRAMES, 3, H, W) a plain disc before a ground of another colour; sharp in every frame."""
    shape = torch.from_numpy(disc()).repeat_interleave(4, 0).repeat_interleave(4, 1)
    texture = 0.1 * torch.rand(shape.shape, generator=torch.Generator().manual_seed(2))
    planes = [torch.where(shape, on, under) + texture for on, under in ((0.6, 0.2), (0.3, 0.3), (0.2, 0.4))]
    return exposure * torch.stack(planes).expand(FRAMES, -1, -1, -1)


def contenders() -> Contenders:
    """Of the disc's sites a third are taken for the ground; those at its outline are not."""
    random = np.random.default_rng(3)
    y, x = np.mgrid[:SITES, :SITES] - SITES / 2 + 0.5
    wrong = disc() & (np.hypot(x, y) < 9) & (random.random((SITES, SITES)) < 0.35)
    label = np.where(disc() & ~wrong, NEAR, FAR)
    cost = np.full((FRAMES, SITES, SITES), 60000, np.uint16)
    for frame, at in ((NEAR, disc()), (FAR, ~disc() | wrong)):
        cost[frame] = np.where(at, random.integers(0, 20000, at.shape), 60000)
    return Contenders(label, cost, 0.5, True)


def test_a_plain_disc_reaches_as_far_as_its_outline() -> None:
    """All of it is near; of the ground nothing changes."""
    found, odds = contenders().settled(frames_of(pictures()))
    assert (found[disc()] == NEAR).mean() > 0.99
    assert (found[~disc()] == FAR).all()
    assert np.array_equal(odds > 0, found != contenders().label)


def test_exposure_does_not_move_outlines() -> None:
    """Frames four times as dark give the same labels."""
    bright, dark = (contenders().settled(frames_of(pictures(exposure)))[0] for exposure in (1.0, 0.25))
    assert np.array_equal(bright, dark)


def test_a_reversed_stack_gives_the_reversed_labels() -> None:
    """The first frame is then the farthest."""
    ahead = contenders()
    back = replace(ahead, label=FRAMES - 1 - ahead.label, cost=ahead.cost[::-1].copy(), near_first=False)
    images = pictures()
    found, _ = back.settled(frames_of(images.flip(0)))
    assert np.array_equal(FRAMES - 1 - found, ahead.settled(frames_of(images))[0])


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large they are."""
    whole, _ = contenders().settled(frames_of(pictures()))
    monkeypatch.setattr(outline, "_BLOCK", 12)
    assert np.array_equal(contenders().settled(frames_of(pictures()))[0], whole)


@pytest.mark.parametrize("case", ["slope", "shallow", "unknown blur"])
def test_where_no_occlusion_is_deep_no_frame_is_asked_for(case: str) -> None:
    """A surface that bends out of focus hides nothing; nor do small steps; nor is anything known without energies."""
    given = contenders()
    if case == "slope":
        across = np.arange(SITES) * FRAMES // SITES
        given = replace(given, label=np.broadcast_to(across, (SITES, SITES)).copy())
    elif case == "shallow":
        given = replace(given, label=np.where(disc(), FAR - 8, FAR))
    else:
        given = replace(given, growth_px=0.0)

    def asked(k: int, window: tuple[slice, slice]) -> Tensor:
        raise AssertionError("no frame is needed")

    label, odds = given.settled(asked)
    assert label is given.label
    assert not odds.any()


@pytest.fixture(scope="module")
def beads() -> Scene:
    """Overlapping beads whose blur is deep."""
    return render_scene("spheres", size_px=112, frames=24, blur_growth_px=0.7, snr=100)


@pytest.mark.parametrize("measure", ["ring-difference", "sesf-stack"])
def test_overlapping_beads_are_labelled_better_with_the_pictures(beads: Scene, measure: str) -> None:
    """The mean error of the labels falls by a tenth at least."""
    images = torch.stack([frame_tensor(frame) for frame in beads.stack.frames])
    refit = load_measure("ring-difference") if measure == "sesf-stack" else None
    estimator = DepthEstimator(load_measure(measure), z_sigma_frames=1.0, refit=refit)
    errors = []
    for frames in (None, frames_of(images)):
        label = estimator.regularise(estimator.sites(images), frames).label
        assert label is not None
        errors.append(np.nanmean(np.abs(label.numpy() - beads.index[2::4, 2::4])))
    assert errors[1] < 0.9 * errors[0]


def test_claims_follow_new_labels() -> None:
    """Their second frame gives way, as sure as the decision was; other sites keep what a network claims."""
    claims = torch.arange(4 * 6, dtype=torch.float32).view(4, 2, 3)
    label, odds = torch.full((2, 3), 9), torch.zeros(2, 3)
    odds[1, 2] = 1.5
    found = reclaimed(claims, label, odds)
    assert found[:, 1, 2].tolist() == [claims[0, 1, 2], claims[1, 1, 2], 9.0, 1.5]
    kept = odds == 0
    assert torch.equal(found[:, kept], claims[:, kept])
