"""Laws of the learned focus measures and of their weight files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dff import filters
from dff.depth import estimate_depth, lattice_volume
from dff.focus import load_measure, sesf_stack, stack_blocks, stack_layers, stack_tiles, weight_files
from dff.focus.measure import CELL
from dff.focus.sesf_stack import (
    CONTEXT_PX,
    CONTRAST_STEEPNESS,
    EDGE_PX,
    IN_LOOPS,
    LEAST_CONTRAST,
    LEAST_LOG_SHARE,
    SURE_LOGIT,
    SesfStack,
    cells_in_tiles,
    logits_in_tiles,
)
from dff.focus.stack_layers import beside
from dff.focus.stack_pass import Limits
from dff.focus.stack_rows import StackRows
from dff.focus.stack_tiles import HALO_PX
from dff.focus.stack_weights import Weights

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def network() -> SesfStack:
    """A network with weights that matter everywhere, unlike those it starts from."""
    torch.manual_seed(0)
    network = SesfStack(**IN_LOOPS)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def trained() -> SesfStack:
    """The network with the weights that come with the package."""
    return weight_files.loaded("sesf-stack", SesfStack)


def sweep(count: int, size_px: tuple[int, int] = (48, 64), seed: int = 0) -> Tensor:
    """A textured plane through focus, with noise: (N, 1, H, W)."""
    random = torch.Generator().manual_seed(seed)
    texture = torch.rand((1, *size_px), generator=random)
    focus = (count - 1) / 2
    planes = [filters.gaussian(texture, 0.7 + 0.5 * abs(k - focus)) for k in range(count)]
    return torch.stack(planes) + 0.01 * torch.randn((count, 1, *size_px), generator=random)


@pytest.mark.parametrize("count", [2, 3, 40, 300])
def test_any_number_of_frames(network: SesfStack, count: int) -> None:
    """One finite logit a frame and pixel, for few and for many frames and sizes that no cell divides."""
    logits = logits_in_tiles(network, sweep(count, (37, 42)))
    assert logits.shape == (count, 37, 42)
    assert torch.isfinite(logits).all()


def test_reversed_stack_gives_reversed_logits(network: SesfStack) -> None:
    """Turning the stack around turns the answer around."""
    images = sweep(8)
    assert torch.allclose(network(images.flip(0)), network(images).flip(0), atol=1e-4)


def test_statistics_of_the_stack_know_no_order(network: SesfStack) -> None:
    """Without the difference to the neighbours, shuffled frames give shuffled logits."""
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    features = torch.randn(8, 32, 6, 6, generator=torch.Generator().manual_seed(2))
    told = network.blocks[0].exchange
    assert torch.allclose(told(features), told(features[order]), atol=1e-5)


def test_end_frames_are_their_own_missing_neighbours() -> None:
    """Frames that are all equal are the mean of their neighbours, at the ends too."""
    assert (beside(torch.ones(5, 2, 3, 3)) == 1).all()


def test_probabilities_leave_room_for_no_answer(network: SesfStack) -> None:
    """What the network gives are log-probabilities of the frames; the rest is that of no frame being right."""
    total = network(sweep(8)).logsumexp(0)
    assert total.max() <= 1e-5
    assert total.min() < -0.01


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_exposure_does_not_move_the_answer(network: SesfStack, gain: float) -> None:
    """Frames of other brightness, with as much more or less noise, give the same logits."""
    images = sweep(8)
    change = network(images * gain) - network(images)
    assert change.abs().max() < 0.05


def expectation(logits: Tensor) -> Tensor:
    """(H, W) mean frame."""
    return (logits.softmax(0) * torch.arange(len(logits))[:, None, None]).sum(0)


def test_tiles_move_depth_by_less_than_a_fiftieth_of_a_frame(trained: SesfStack) -> None:
    """A picture cut into tiles gives nearly the depth of the whole."""
    images = sweep(5, (48, 300))
    whole, cut = (expectation(logits_in_tiles(trained, images, tile_px=side)) for side in (304, 64))
    assert (whole - cut).abs().max() < 0.02


def test_cells_are_the_means_of_their_pixels(trained: SesfStack) -> None:
    """What is found for cells at once is what the pixels' probabilities average to, in tiles and at odd sizes too."""
    images = sweep(5, (50, 131))
    pixels = logits_in_tiles(trained, images, tile_px=64)
    cells = cells_in_tiles(trained, images, tile_px=64)
    assert cells.shape == (5, 13, 33)
    assert torch.allclose(cells[:, :12, :32], lattice_volume(pixels)[:, :12, :32], atol=1e-4)


def test_context_ends_at_the_halo(trained: SesfStack) -> None:
    """What lies beyond the halo moves depth by less than a fiftieth of a frame; what lies within it does more."""
    images = sweep(5, (16, 160))
    other = images.clone()
    other[..., -16:] = other.flip(0)[..., -16:].roll(1, 0)
    change = (expectation(trained(other)) - expectation(trained(images))).abs().amax(0)
    assert change[: 160 - 16 - HALO_PX].max() < 0.02
    assert change[-16:].max() > 0.1


@pytest.mark.parametrize("sigma", [0.002, 0.03])
def test_blank_ground_is_unknown(sigma: float) -> None:
    """Noise alone has no depth: next to nothing is promised."""
    noise = torch.randn((20, 1, 48, 64), generator=torch.Generator().manual_seed(5))
    depth = estimate_depth(0.5 + sigma * noise, load_measure("sesf-stack"), z_sigma_frames=1.0)
    assert np.isfinite(depth.index).mean() < 0.02


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_hardly_moves_depth(trained: SesfStack, dtype: torch.dtype) -> None:
    """Logits kept in half precision give the same depth to a fiftieth of a frame."""
    logits = trained(sweep(9))
    change = expectation(logits.to(dtype).to(torch.float32)) - expectation(logits)
    assert change.abs().max() < 0.02


@pytest.mark.parametrize("cached_sites", [1, 200, 8192])
def test_frame_by_frame_is_all_at_once(network: SesfStack, cached_sites: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without gradients frames are streamed in bands of any height; the numbers are those of training."""
    monkeypatch.setattr(stack_layers, "CACHED_SITES", cached_sites)
    images = sweep(7, (148, 60))
    assert torch.allclose(network(images), network.together(images[:, 0]), atol=1e-4)


def rows_of(network: SesfStack, images: Tensor, strip_px: int = 64, **options: bool) -> Tensor:
    """What compiled loops give for the images, taken in by strips of so many rows."""
    limits = Limits(CONTRAST_STEEPNESS, LEAST_CONTRAST, SURE_LOGIT, LEAST_LOG_SHARE)
    rows = StackRows(Weights.of(network), limits, len(images), images.shape[2:], **options)
    planes, height = images[:, 0], images.shape[2]
    spans = [(top, min(height, top + strip_px)) for top in range(0, height, strip_px)]
    read = [(max(0, top - EDGE_PX), min(height, stop + EDGE_PX)) for top, stop in spans]
    parts = [rows.push(planes[:, a:b], top - a, b - stop) for (top, stop), (a, b) in zip(spans, read)]
    return torch.cat(parts, 1)


@pytest.mark.parametrize("size", [(148, 60), (30, 301), (4, 5)])
def test_compiled_loops_are_the_tensors(trained: SesfStack, size: tuple[int, int]) -> None:
    """In full precision logarithms of probabilities agree to 1e-4, in cells and in pixels."""
    images = sweep(7, size)
    for pixelwise, tiled in ((False, cells_in_tiles), (True, logits_in_tiles)):
        found = rows_of(trained, images, pixelwise=pixelwise, halves=False)
        expected = tiled(trained, images, tile_px=304)
        assert torch.allclose(found[..., : expected.shape[1], : expected.shape[2]], expected, atol=1e-4)


def test_what_is_kept_in_half_precision_hardly_matters(trained: SesfStack) -> None:
    """Depth moves by less than a hundredth of a frame."""
    images = sweep(9, (60, 64))
    half, full = (expectation(rows_of(trained, images, halves=halves)) for halves in (True, False))
    assert (half - full).abs().max() < 0.01


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_strips_and_threads_change_nothing(trained: SesfStack, threads: int) -> None:
    """Rows that come in strips of any height, worked on by any number of threads, give the same bits."""
    images = sweep(4, (90, 600))
    whole = rows_of(trained, images, 200)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    assert all(torch.equal(rows_of(trained, images, strip_px), whole) for strip_px in (4, 20, 64))
    torch.set_num_threads(before)


def test_what_lies_beyond_the_context_changes_nothing(trained: SesfStack) -> None:
    """Columns and rows farther off than the context are not seen at all: parts of a picture are exact."""
    images = sweep(3, (40, 60 + CONTEXT_PX))
    for turned in (images, images.transpose(2, 3).contiguous()):
        axis = 3 if turned is images else 2
        whole, part = (rows_of(trained, turned.narrow(axis, 0, n)) for n in (60 + CONTEXT_PX, 56 + CONTEXT_PX))
        kept = [56 // CELL if axis == dim + 1 else whole.shape[dim] for dim in (1, 2)]
        assert torch.equal(whole[:, : kept[0], : kept[1]], part[:, : kept[0], : kept[1]])


def test_a_device_that_is_not_there_is_refused() -> None:
    """In one line that names the option."""
    device = "cuda" if not torch.cuda.is_available() else "xpu"
    with pytest.raises(ValueError, match=f"--device: .*{device}.*use cpu"):
        load_measure("sesf-stack", device=device)


def test_another_device_is_shown_tiles_as_tensors(trained: SesfStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images go there and answers come back; compiled loops are not asked, and give the same."""
    here = load_measure("sesf-stack")
    monkeypatch.setattr(sesf_stack, "_in_loops", lambda network, images: False)
    there = load_measure("sesf-stack", device="cpu:0")
    images = sweep(5, (40, 48))
    assert there.rows is None
    assert there.cells is not None
    assert here.rows is not None
    found = here.rows.open(5, (40, 48)).push(images[:, 0])
    assert torch.allclose(there.cells(images), found, atol=0.05)


def test_compiled_loops_look_as_far_as_the_network(trained: SesfStack) -> None:
    """The distances that they are made for are those of its blocks."""
    assert {block.reach for block in trained.blocks} == set(stack_blocks.REACHES)


def test_tiles_fill_half_of_a_graphics_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """With their halos; never less than the processor's tiles."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 80e9))
    tiles = {}
    for free in (1e9, 8e9, 64e9):
        tiles[free] = stack_tiles.tile_side_px(100, torch.device("cuda", 0))
        pixels = (tiles[free] + 2 * HALO_PX) ** 2
        assert 100 * pixels * stack_tiles.BYTES_A_PIXEL <= max(stack_tiles.TILE_BYTES, free / 2)
    assert tiles[1e9] == stack_tiles.tile_side_px(100, torch.device("cpu")) < tiles[8e9] < tiles[64e9]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card")
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_graphics_card_finds_the_same_depth(trained: SesfStack, precision: str) -> None:
    """Within 0.02 frame of the processor."""
    images = slanted(33)
    here, there = (load_measure("sesf-stack", device=device, precision=kind) for device, kind in (
        ("cpu", "float32"), ("cuda", precision),
    ))  # fmt: skip
    depth = [expectation(measure(images)) for measure in (here, there)]
    assert float((depth[0] - depth[1]).abs().median()) < 0.02


@pytest.mark.parametrize("every", [2, 4])
def test_finer_steps_give_the_same_depth(trained: SesfStack, every: int) -> None:
    """A sweep in steps of a half and of a quarter gives the depth of the coarse sweep, in its frames."""
    fine = slanted(33)
    depth, coarse = (expectation(trained(images)) for images in (fine, fine[::every]))
    difference = (depth / every - coarse)[12:-12, 12:-12].abs()
    assert difference.median() < 0.1


def slanted(count: int) -> Tensor:
    """A textured ramp, in focus from a quarter to three quarters of the sweep: (N, 1, 48, 64)."""
    random = torch.Generator().manual_seed(3)
    texture = torch.rand((1, 48, 64), generator=random)
    sigmas = torch.arange(0.0, 12.0, 0.25)
    blurred = torch.cat([filters.gaussian(texture, 0.6 + float(sigma)) for sigma in sigmas])
    focus = torch.linspace(0.25, 0.75, 64) * (count - 1)
    planes = []
    for k in range(count):
        level = ((k - focus).abs() * 12 / count * 4).clamp(max=len(sigmas) - 1.001)
        low, share = level.long(), level.frac()
        columns = torch.arange(64)
        planes.append(blurred[low, :, columns].T * (1 - share) + blurred[low + 1, :, columns].T * share)
    return torch.stack(planes)[:, None] + 0.005 * torch.randn((count, 1, 48, 64), generator=random)


def test_untrained_network_is_an_operator() -> None:
    """The logits start from the ring-difference energies: the frame in focus wins on a textured plane."""
    label = logits_in_tiles(SesfStack().eval(), sweep(9)).argmax(0)
    assert (label == 4).float().mean() > 0.99


def test_shipped_weights_load_and_find_the_focus() -> None:
    """The measure works by its name, without any file of the user's."""
    measure = load_measure("sesf-stack")
    assert (measure(sweep(9)).argmax(0) == 4).float().mean() > 0.99


@pytest.fixture
def file(network: SesfStack, tmp_path: Path) -> Path:
    """A weight file with its card."""
    path = tmp_path / "weights.safetensors"
    weight_files.save_weights(path, network.state_dict(), {"network": "sesf-stack"})
    return path


def test_weights_come_back(network: SesfStack, file: Path) -> None:
    """What was saved is read, to half precision; the card carries the checksum."""
    read = weight_files.load_weights("sesf-stack", network.state_dict(), path=file)
    for name, tensor in network.state_dict().items():
        assert torch.allclose(read[name], tensor, rtol=1e-3, atol=1e-4)
    assert len(json.loads(file.with_suffix(".json").read_text())["sha256"]) == 64


def test_a_changed_weight_file_is_refused(network: SesfStack, file: Path) -> None:
    """One byte that differs is noticed."""
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"weights.safetensors: SHA-256 must be .*; got .*; copy the file anew"):
        weight_files.load_weights("sesf-stack", network.state_dict(), path=file)


@pytest.mark.parametrize("damage", ["short", "text", "no card", "bad card", "absent"])
def test_a_broken_weight_file_is_refused_in_one_line(network: SesfStack, file: Path, damage: str) -> None:
    """Every kind of damage gives one line that names the file."""
    card = file.with_suffix(".json")
    if damage in ("short", "text"):
        file.write_bytes(file.read_bytes()[:100] if damage == "short" else b"not weights")
        import hashlib

        card.write_text(json.dumps({"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}))
    elif damage == "no card":
        card.unlink()
    elif damage == "bad card":
        card.write_text("{")
    else:
        file.unlink()
    with pytest.raises(ValueError, match="weights") as refusal:
        weight_files.load_weights("sesf-stack", network.state_dict(), path=file)
    assert "\n" not in str(refusal.value)


def test_weights_of_another_network_are_refused(file: Path) -> None:
    """Names and shapes must be the network's."""
    other = SesfStack(channels=16).state_dict()
    with pytest.raises(ValueError, match="must be those of sesf-stack"):
        weight_files.load_weights("sesf-stack", other, path=file)


def test_weights_that_are_not_finite_are_refused(network: SesfStack, tmp_path: Path) -> None:
    """A run that went wrong cannot be shipped."""
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tensors["bank"][0, 0, 0, 0] = torch.nan
    weight_files.save_weights(tmp_path / "w.safetensors", tensors, {})
    with pytest.raises(ValueError, match="must be finite; got NaN or infinity in bank"):
        weight_files.load_weights("sesf-stack", network.state_dict(), path=tmp_path / "w.safetensors")
