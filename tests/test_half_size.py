"""Networks that look at frames of half size: the same answer however it is cut, and depth as exact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dff import filters, io, pipeline
from dff.focus import FocusMeasure, load_measure
from dff.focus.half_size import at_half_size, halved
from dff.focus.sesf_stack import CONTEXT_PX
from dff.pipeline import run
from dff.pipeline.strips import Strips
from dff.settings import Settings
from dff.simulate import render_scene
from dff.stack import Alignment, FocalStack, Scene

STILL = Settings(align="none", brightness="none", threads=1)
HALF = STILL.but(network_scale=2)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def half() -> FocusMeasure:
    """The default network at half size."""
    return at_half_size(load_measure("sesf-stack"))


@pytest.fixture(scope="module")
def soft() -> Scene:
    """A rock whose detail is lost in noise at the size of a pixel."""
    return render_scene(
        "rock", size_px=(122, 131), frames=10, blur_growth_px=1.0, kernel_sigma_px=2.5, snr=30, seed=3, sampling_px=5
    )


def sweep(count: int, size_px: tuple[int, int], blur_px: float = 0.7, noise: float = 0.01) -> Tensor:
    """(N, H, W) a textured plane through focus, with noise."""
    random = torch.Generator().manual_seed(0)
    texture = torch.rand((1, *size_px), generator=random)
    planes = [filters.gaussian(texture, blur_px + 0.7 * abs(k - (count - 1) / 2)) for k in range(count)]
    return torch.cat(planes) + noise * torch.randn((count, *size_px), generator=random)


def rows_of(measure: FocusMeasure, planes: Tensor, strip_px: int) -> Tensor:
    """What is found for planes that are taken in by strips of so many rows."""
    rows, height = measure.rows, planes.shape[1]
    assert rows is not None
    way = rows.open(len(planes), (height, planes.shape[2]))
    found = []
    for top in range(0, height, strip_px):
        stop = min(height, top + strip_px)
        first, last = max(0, top - rows.edge_px), min(height, stop + rows.edge_px)
        found.append(way.push(planes[:, first:last], top - first, last - stop))
    return torch.cat(found, 1)


def test_halves_are_means() -> None:
    """Of 2 x 2 pixels; a last pixel without a neighbour stands for two."""
    planes = torch.arange(15.0).view(1, 3, 5)
    expected = torch.tensor([[[3, 5, 6.5], [10.5, 12.5, 14]]])
    assert torch.equal(halved(planes), expected)


def test_every_cell_of_half_size_stands_for_four(half: FocusMeasure) -> None:
    """The answer is the network's own to halved frames."""
    planes = sweep(5, (64, 80))
    rows = load_measure("sesf-stack").rows
    assert rows is not None
    inside = rows.open(5, (32, 40)).push(halved(planes))
    found = rows_of(half, planes, 64)
    assert torch.equal(found, inside.repeat_interleave(2, 1).repeat_interleave(2, 2))


@pytest.mark.parametrize("size", [(93, 150), (85, 37), (3, 9)])
def test_strips_and_threads_change_nothing(half: FocusMeasure, size: tuple[int, int]) -> None:
    """Bit for bit, at sizes that nothing divides; whole pictures are answered alike."""
    planes = sweep(4, size)
    whole = rows_of(half, planes, 200)
    assert whole.shape == (4, -(-size[0] // 4), -(-size[1] // 4))
    assert half.cells is not None
    assert torch.equal(half.cells(planes[:, None]), whole)
    for threads, strip_px in ((1, 8), (1, 24), (2, 64)):
        torch.set_num_threads(threads)
        assert torch.equal(rows_of(half, planes, strip_px), whole)
    torch.set_num_threads(1)


def test_what_lies_beyond_the_context_changes_nothing(half: FocusMeasure) -> None:
    """It reaches twice as far as at full size, and no farther."""
    assert half.rows is not None
    assert half.rows.context_px == 2 * CONTEXT_PX
    planes = sweep(3, (24, 72 + 2 * CONTEXT_PX))
    part = rows_of(half, planes[..., : 64 + 2 * CONTEXT_PX], 24)
    assert torch.equal(rows_of(half, planes, 24)[..., :16], part[..., :16])


def test_soft_noisy_frames_are_seen_better(soft: Scene) -> None:
    """More pixels are right to a frame than at full size; the summary tells."""
    half, whole = (pipeline.reconstruct(soft.stack, chosen) for chosen in (HALF, STILL))
    right = [(np.abs(result.depth.index - soft.index) < 1).mean() for result in (half, whole)]
    assert right[0] > right[1]
    assert "half size" in pipeline.summary(half, Path("result"))
    assert "half size" not in pipeline.summary(whole, Path("result"))


def test_parts_change_nothing_where_frames_have_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips, columns and what frames do not cover fit together at half size."""
    scene = render_scene("rock", size_px=(122, 131), frames=9, blur_growth_px=0.8, jitter_px=3.0, sampling_px=5)
    assert scene.alignment is not None
    io.write_alignment(scene.alignment, tmp_path / "alignment.json")
    settings = HALF.but(alignment=str(tmp_path / "alignment.json"))
    plan = run.plan_for(scene.stack, settings)
    whole = pipeline.reconstruct(scene.stack, settings)
    monkeypatch.setattr(run, "plan_for", lambda *_: replace(plan, sites=(24, 64, 2 * CONTEXT_PX)))
    cut = pipeline.reconstruct(scene.stack, settings)
    assert np.isnan(whole.depth.index).any()
    assert np.isfinite(whole.depth.index).mean() > 0.5
    np.testing.assert_array_equal(cut.depth.index, whole.depth.index)
    np.testing.assert_array_equal(cut.depth.confidence, whole.depth.confidence)


def test_a_run_that_goes_on_finds_the_same(tmp_path: Path) -> None:
    """Strips that were measured before are not needed for those below."""
    planes = sweep(4, (450, 40)).numpy()[..., None]
    stack = FocalStack(list(planes), tuple("abcd"), planes[0].shape, planes.dtype)
    settings = HALF.but(step_mm=0.1, pixel_size_mm=0.01)
    frames = io.ScratchStack.create(tmp_path, 4, stack.shape, stack.dtype)
    for k, plane in enumerate(planes):
        frames.write_frame(k, plane)
    estimator = run.make_estimator(settings, pipeline.resolve_geometry(stack, settings))
    strips = Strips(frames, Alignment.identity(4, (450, 40)), estimator, run.plan_for(stack, settings), 1.0)
    parts = [[(tile.rows, sites.lattice) for _, tile, sites in strips.site_parts(done)] for done in (0, 384)]
    assert [rows for rows, _ in parts[1]] == [(384, 448), (448, 450)]
    assert all(torch.equal(here, there) for (_, here), (_, there) in zip(parts[0][-2:], parts[1]))
    frames.release()


def test_a_reversed_stack_is_mirrored(soft: Scene) -> None:
    """The first frame becomes the last."""
    frames, settings = [soft.stack.frames[k] for k in range(10)], HALF.but(step_mm=0.1, pixel_size_mm=0.01)
    stacks = (replace(soft.stack, geometry=None, frames=found) for found in (frames, frames[::-1]))
    there, back = (pipeline.reconstruct(stack, settings).depth.index for stack in stacks)
    both = np.isfinite(there) & np.isfinite(back)
    assert both.mean() > 0.5 * np.isfinite(there).mean()
    assert np.median(np.abs(there + back - (len(frames) - 1))[both]) < 1e-3


def test_a_textured_plane_is_as_exact() -> None:
    """The fit to a fraction of a frame is that of frames as they are."""
    scene = render_scene("textured-plane", size_px=128, frames=12, blur_growth_px=0.7, snr=100, sampling_px=5)
    error = [
        np.abs(pipeline.reconstruct(scene.stack, chosen).depth.index - scene.index)[8:-8, 8:-8]
        for chosen in (HALF, STILL)
    ]
    assert [np.isfinite(values).mean() > 0.99 for values in error] == [True, True]
    half, whole = (float(np.nanmean(values)) for values in error)
    assert half < 1.02 * whole


@pytest.mark.parametrize(
    "changes", [{"measure": "ring-difference"}, {"depth_method": "argmax"}, {"precision": "bfloat16"}]
)
def test_what_cannot_look_at_half_size_is_refused(soft: Scene, changes: dict[str, Any]) -> None:
    """In one line that names the option and the cure."""
    with pytest.raises(ValueError, match=r"--network-scale: 2 .*; got .*; use .*"):
        pipeline.reconstruct(soft.stack, HALF.but(**changes))


def test_the_plan_takes_no_more_memory(soft: Scene) -> None:
    """Wide pictures of many frames fit at half size where they fit as they are."""
    stack = replace(soft.stack, geometry=None, shape=(400, 9600, 3))
    half, whole = (run.plan_for(stack, settings.but(max_memory_gb=1.0)) for settings in (HALF, STILL))
    assert half.memory_gb <= whole.memory_gb
    assert half.sites[2] == 2 * whole.sites[2]
