"""Laws of depth: sub-frame peaks, planes of single pixels, the decision at occlusion edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dff import fuse, metrics
from dff.depth import (
    DepthEstimator,
    Labels,
    edges,
    estimate_depth,
    frames_of,
    halo,
    plane,
    regularise_depth,
    split_window,
)
from dff.depth.peaks import logits_around
from dff.depth.refine import fit_peak
from dff.focus import load_measure
from dff.simulate import render_scene
from dff.stack import Scene

pytestmark = pytest.mark.usefixtures("one_thread")


def images_of(scene: Scene) -> Tensor:
    """(N, C, H, W)."""
    return torch.stack([fuse.frame_tensor(scene.stack.frames[k]) for k in range(len(scene.stack))])


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("width", "narrow"), [(3.0, False), (1.5, False), (1.0, True)])
def test_no_bias_is_periodic_in_the_fraction_of_the_frame(width: float, narrow: bool) -> None:
    """Energies that fall off as textures do give their centre back, wherever it lies between the frames."""
    truth = torch.linspace(6.0, 7.0, 21)
    defocus = torch.arange(14.0)[:, None] - truth
    volume = (-2 * torch.log1p((defocus / width) ** 2))[:, None]
    found = fit_peak(volume, volume.argmax(0), narrow=narrow)
    assert (found.index[0] - truth).abs().max() < 0.03


def test_uneven_steps_are_fitted_where_the_frames_are() -> None:
    """A peak sampled at uneven positions comes back at its position."""
    position = np.array([0, 0.7, 1.9, 2.6, 3.4, 4.9, 5.5, 6.8])
    volume = torch.as_tensor(-0.3 * (position - 3.0) ** 2, dtype=torch.float32)[:, None, None]
    found = fit_peak(volume, volume.argmax(0), position=position)
    assert found.index.item() == pytest.approx(3.0, abs=0.05)


def test_planes_follow_slopes_up_to_the_border() -> None:
    """A tilted plane stays what it is, whatever the weights of its pixels."""
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    tilted = 5 + 0.2 * x - 0.1 * y
    found = plane.Planes.of(torch.rand(40, 50, generator=random()), 2.0)(tilted)
    assert (found - tilted).abs().max() < 0.03


def test_pixels_without_weight_say_nothing() -> None:
    """Wild values of weight 0 do not matter; where nothing is near, nothing is known."""
    index, weight = torch.full((30, 60), 7.0), torch.ones(30, 60)
    wild = torch.rand(30, 60, generator=random()) < 0.3
    wild[:, 40:] = True
    index[wild], weight[wild] = 1000.0, 0.0
    planes = plane.Planes.of(weight, 2.0)
    found = planes(index)
    assert (found[:, :40] - 7).abs().max() < 1e-3
    assert found[:, 50:].isnan().all()
    assert (planes.mean_weight[:, 50:] == 0).all()


@pytest.mark.parametrize("window_px", [0.6, 1.0, 2.5])
def test_two_windows_make_up_one(window_px: float) -> None:
    """Variances add up to that of the window asked for."""
    assert math.hypot(*split_window(window_px)) == pytest.approx(window_px)


def two_surfaces(shift: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Colours with an edge at column 30, true index, and labels whose edge lies `shift` px too far right."""
    column = torch.arange(60).expand(40, 60)
    colour = torch.tensor([[0.8, 0.3, 0.2], [0.2, 0.5, 0.8]])
    picture = colour[(column >= 30).to(torch.int64)].permute(2, 0, 1)
    picture = picture + 0.05 * torch.randn(3, 40, 60, generator=random(1))
    truth = torch.where(column < 30, 4.2, 15.7)
    return picture, truth, torch.where(column < 30 + shift, 4, 16)


@pytest.mark.parametrize("shift", [-2, 0, 2])
def test_the_edge_of_the_labels_moves_to_that_of_the_colours(shift: int) -> None:
    """Pixels of the wrong surface take the depth of the surface they look like, and not one in between."""
    picture, truth, label = two_surfaces(shift)
    index = label + torch.where(label < 10, 0.2, -0.3)
    where = edges.near_edges(label)
    settled = edges.settle(index, torch.ones_like(index), label, picture, where)
    inside = where & (torch.arange(40)[:, None] % 39 != 0)
    assert ((settled.index - truth).abs()[inside] < 0.05).float().mean() > 0.97


def test_exposure_does_not_move_an_edge() -> None:
    """Likeness is relative to the contrast around a pixel."""
    picture, _, label = two_surfaces()
    index, where = label.to(torch.float32), edges.near_edges(label)
    found = [edges.settle(index, torch.ones_like(index), label, gain * picture, where) for gain in (1.0, 0.25)]
    assert torch.equal(found[0].label, found[1].label)


def test_a_slope_is_no_edge() -> None:
    """Labels that change by a frame a pixel are not doubted; a step of six frames is, on both sides."""
    column = torch.arange(40).expand(12, 40)
    assert not edges.near_edges(column).any()
    near = edges.near_edges(torch.where(column < 20, 3, 9))[5]
    assert near.nonzero().flatten().tolist() == list(range(17, 23))


def test_the_picture_of_an_edge_is_that_of_the_nearer_surface() -> None:
    """The frame is that of the least label where the first frame is nearest, else of the largest."""
    label = torch.where(torch.arange(40).expand(12, 40) < 20, 3, 9)
    assert edges.nearer_label(label, near_first=True)[5, 22] == 3
    assert edges.nearer_label(label, near_first=False)[5, 17] == 9
    where = edges.near_edges(label)
    full = [torch.full((3, 12, 40), float(k * k)) for k in range(10)]
    picture = edges.edge_picture(lambda k, window: full[k][:, window[0], window[1]], label, where)
    assert torch.equal(picture[0][where], label[where].to(torch.float32))
    assert not picture[0][~where].any()


def test_labels_of_a_stack_turned_around_are_mirrored() -> None:
    """Also where two frames are equally sharp."""
    lattice = torch.randn(9, 12, 14, generator=random(2))
    lattice[4] = lattice[3]
    there, back = (regularise_depth(v.clone().to(torch.float16)) for v in (lattice, lattice.flip(0)))
    assert (there == 8 - back).float().mean() > 0.99


@pytest.mark.parametrize(("growth_px", "narrow"), [(0.35, False), (1.2, True)])
def test_the_refit_measures_as_coarsely_as_the_steps_are(growth_px: float, narrow: bool) -> None:
    """Blur that grows fast narrows the focus curve, and the refit takes the coarser disk."""
    scene = render_scene("textured-plane", size_px=56, frames=10, blur_growth_px=growth_px, snr=80)
    images = images_of(scene)
    estimator = DepthEstimator(load_measure("ring-difference"), z_sigma_frames=1.0)
    labels = Labels(None, -20.0, estimator.sites(images).typical_drop(-20.0))
    assert labels.narrow == narrow
    assert (estimator.matched(labels) is estimator) != narrow


def test_occlusion_edges_are_found_better_with_the_pictures() -> None:
    """On overlapping beads the error beside edges is at least a tenth smaller than from energies alone."""
    scene = render_scene("spheres", size_px=80, frames=14, blur_growth_px=0.7, snr=100)
    images = images_of(scene)
    estimator = DepthEstimator(load_measure("ring-difference"), z_sigma_frames=1.0)
    volume = estimator.volume(images)
    labels = estimator.regularise(estimator.sites(images))

    peaks = estimator.peaks_at(volume, labels_of(volume, labels), labels)
    found = [estimator.evidence(peaks, labels, frames)[0] for frames in (None, frames_of(images))]
    edge = metrics.occlusion_edges(scene.index)
    alone, settled = (np.nanmean(np.abs(surface.index.numpy() - scene.index)[edge]) for surface in found)
    assert settled < 0.9 * alone


def labels_of(volume: Tensor, labels: Labels) -> Tensor:
    """(H, W) label of every pixel."""
    assert labels.label is not None
    return labels.label.repeat_interleave(4, 0).repeat_interleave(4, 1)[: volume.shape[1], : volume.shape[2]]


def test_blank_ground_is_unknown() -> None:
    """Noise alone has no depth: hardly a pixel of it claims one, while texture beside it does."""
    scene = render_scene("textured-plane", size_px=96, frames=16, blur_growth_px=0.5, snr=60)
    images = images_of(scene)
    blank = images[..., :48]
    blank[:] = 0.5 + torch.randn(blank.shape, generator=random(3)) * math.sqrt(0.5) / 60
    depth = estimate_depth(images, load_measure("ring-difference"), z_sigma_frames=1.0)
    assert np.isfinite(depth.index[:, :40]).mean() < 0.05
    assert np.nanmean(depth.confidence[:, :40]) < 0.05
    assert np.isfinite(depth.index[:, 56:]).mean() > 0.95


def print_on_blank_ground(distance_px: int, growth_px: float = 2.0) -> tuple[Tensor, Tensor]:
    """Logits and labels of a line in frame 3 whose blur's rim is what the ground beside it peaks with; noise is 0."""
    column, frame = torch.arange(64), torch.arange(10)[:, None]
    off, apart = (column - 20).abs(), (frame - 3).abs()
    line = 6 - 2 * torch.log1p((growth_px * apart.float()) ** 2)
    rim = 2.5 - 0.2 * (off - 2 * growth_px * apart).abs()
    curves = torch.where(off < 2, line, torch.where(off < distance_px, rim.clamp_min(1.0), torch.zeros(())))
    volume = curves[:, None].expand(10, 24, 64).contiguous()
    return volume, volume.argmax(0)


def test_the_halo_of_a_line_is_no_surface() -> None:
    """Blank ground beside a bright line peaks at the ends of the sweep, where the line's blur ends; the line stays."""
    volume, label = print_on_blank_ground(16)
    found = halo.in_halo(*logits_around(volume, label, 0.0, halos=True)[2:], label, 2.0, 0.0)
    line, beside = (
        (torch.arange(64) - 20).abs() < 2,
        (torch.arange(64) - 20).abs().clamp(8, 14) == (torch.arange(64) - 20).abs(),
    )
    assert not found[:, line].any()
    assert found[:, beside].float().mean() > 0.8


def test_weak_ground_beside_a_line_is_a_surface() -> None:
    """Its curves fall to the noise, and it goes on farther than the line's blur reaches."""
    volume, _ = print_on_blank_ground(2)
    ground = (3.0 - 1.5 * (torch.arange(10.0) - 8).abs()).clamp_min(0)[:, None, None]
    volume = torch.maximum(volume, ground.expand_as(volume))
    label = volume.argmax(0)
    assert not halo.in_halo(*logits_around(volume, label, 0.0, halos=True)[2:], label, 2.0, 0.0).any()


@pytest.mark.parametrize("growth_px", [1.0, 1.5, 2.5])
def test_blur_growth_is_told_by_how_curves_drop(growth_px: float) -> None:
    """Without a filter along the stack it is that of curves like those of textures; with one it is less certain."""
    drop = 1.5 * math.log1p(growth_px**2)
    assert halo.blur_growth_px(drop, 0.0) == pytest.approx(growth_px)
    assert halo.blur_growth_px(drop, 0.5) >= growth_px
    assert halo.blur_growth_px(0.0, 1.0) == 0
