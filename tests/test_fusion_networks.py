"""Laws of the fusion networks: what they see, order, borders, tiles, precision, what they make of a pair."""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dff import filters
from dff.focus import (
    NETWORKS,
    FocusMeasure,
    conv_crf,
    drpl,
    fusegan,
    load_measure,
    mffgan,
    pairs,
    sesf_vgg,
    weight_files,
)
from dff.focus.inference import in_tiles, mirrored

PAIRWISE = ("drpl", "fusegan")
MEASURES: dict[str, FocusMeasure] = {}

pytestmark = pytest.mark.usefixtures("one_thread")


def measure(name: str) -> FocusMeasure:
    """A network with the weights that come with the package, loaded once."""
    if name not in MEASURES:
        MEASURES[name] = load_measure(name)
    return MEASURES[name]


def texture(size_px: tuple[int, int], seed: int = 0) -> Tensor:
    """(1, H, W) a mixture of fine and coarse random detail, 0.1 to 0.9."""
    random = torch.Generator().manual_seed(seed)
    fine = filters.gaussian(torch.rand((1, *size_px), generator=random), 0.7)
    coarse = filters.gaussian(torch.rand((1, *size_px), generator=random), 4)
    both = (fine - fine.mean()) / fine.std() + (coarse - coarse.mean()) / coarse.std()
    return (0.5 + 0.12 * both).clamp(0.05, 0.95)


def sweep(count: int, size_px: tuple[int, int] = (40, 40), seed: int = 0) -> Tensor:
    """A textured plane through focus in its middle frame, with a little noise: (N, 1, H, W)."""
    sharp, focus = texture(size_px, seed), (count - 1) / 2
    planes = torch.stack([filters.gaussian(sharp, 0.5 * abs(k - focus)) for k in range(count)])
    noise = torch.randn(planes.shape, generator=torch.Generator().manual_seed(seed + 1))
    return planes + 0.003 * noise


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    """A sharp picture (1, H, W), and two of it (2, 1, H, W) that are sharp at the left and at the right."""
    sharp = texture((72, 96), 3)
    blurred = filters.gaussian(sharp, 2.0)
    left, right = sharp.clone(), sharp.clone()
    left[..., 48:], right[..., :48] = blurred[..., 48:], blurred[..., :48]
    return sharp, torch.stack([left, right])


def parameters(network: torch.nn.Module) -> int:
    """Number of learned numbers."""
    return sum(p.numel() for p in network.parameters())


def test_published_sizes() -> None:
    """At full width the networks have the published numbers of parameters, but for what the docstrings say is ours."""
    colour, biases = 9 * 9 * 4 * 64, 29 * 64
    assert parameters(drpl.Drpl(64)) == 1_070_018 - colour - biases
    assert parameters(sesf_vgg.SesfVgg(1.0)) == 8_815_425 + 1
    assert parameters(mffgan.MffGan()) == 40_033
    assert parameters(mffgan.Discriminator()) == 389_761


def seen_px(answer: Tensor, images: Tensor) -> tuple[int, int]:
    """Height and width of what one number of an answer depends on, by its gradient."""
    (gradient,) = torch.autograd.grad(answer, images)
    seen = gradient.abs().sum((0, 1)) > 0
    return int(seen.any(1).sum()), int(seen.any(0).sum())


def shaken(network: torch.nn.Module) -> torch.nn.Module:
    """The network with rectifiers that let every gradient through."""
    for name, module in network.named_children():
        if isinstance(module, torch.nn.ReLU):
            setattr(network, name, torch.nn.LeakyReLU(0.5))
        else:
            shaken(module)
    return network.eval()


@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_drpl_sees_what_was_published_and_more_when_dilated(dilation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """67 px by itself; 24 px more for every step of dilation."""
    monkeypatch.setattr(drpl.F, "relu", partial(F.leaky_relu, negative_slope=0.5))
    torch.manual_seed(0)
    network = shaken(drpl.Drpl(4, dilation)).double()
    side = 131
    images = torch.rand((1, 2, side, side), dtype=torch.float64, requires_grad=True)
    wanted = 67 + 24 * (dilation - 1)
    assert seen_px(network.masks(images)[0, 0, side // 2, side // 2], images) == (wanted, wanted)
    assert drpl.field_px(dilation) == wanted


def test_fusegan_and_mffgan_see_no_farther_than_their_halo() -> None:
    """The context of a tile is all that one number depends on."""
    torch.manual_seed(0)
    images = torch.rand((1, 2, 160, 160), requires_grad=True)
    height, width = seen_px(shaken(fusegan.FuseGan(4))(images)[0, 80, 80], images)
    assert max(height, width) <= 2 * fusegan.HALO_PX + 1
    images = torch.rand((1, 2, 63, 63), requires_grad=True)
    assert seen_px(mffgan.MffGan()(images)[0, 31, 31], images) == (2 * mffgan.HALO_PX + 1,) * 2


def test_vgg_features_stand_where_torchvision_has_them() -> None:
    """Layers are numbered as in torchvision, so that its weights fit, and the map has an eighth of the size."""
    layers = sesf_vgg.features(1 / 16)
    assert len(layers) == sesf_vgg.LAYERS
    assert [k for k, layer in enumerate(layers) if isinstance(layer, torch.nn.MaxPool2d)] == [4, 9, 16]
    assert layers(torch.rand(1, 3, 32, 48)).shape[-2:] == (4, 6)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_frame_in_focus_wins(name: str) -> None:
    """On a textured plane every network finds the middle frame nearly everywhere."""
    label = measure(name)(sweep(7)).argmax(0)
    assert ((label - 3).abs() <= 1).float().mean() > 0.97
    assert (label == 3).float().mean() > 0.8


@pytest.mark.parametrize("name", NETWORKS)
def test_turning_the_stack_around_turns_the_answer_around(name: str) -> None:
    """No network has a favourite end of the stack; what is kept in half precision moves logarithms a little."""
    images = sweep(5) + 0.05 * torch.arange(5).view(5, 1, 1, 1)
    forward, backward = measure(name)(images), measure(name)(images.flip(0)).flip(0)
    assert torch.allclose(forward, backward, atol=1e-2 if name == "sesf-stack" else 2e-3)


@pytest.mark.parametrize("name", PAIRWISE)
def test_neighbours_decide_alone(name: str) -> None:
    """The difference of two neighbours' logits is the same in the pair and in the stack."""
    images = sweep(6)
    whole, alone = measure(name)(images), measure(name)(images[2:4])
    assert torch.allclose(whole[3] - whole[2], alone[1] - alone[0], atol=1e-3)


def test_log_odds_are_added_up_along_the_stack() -> None:
    """Differences of the logits are the log-odds over the temperature, bounded; shares sum to one."""
    odds = torch.tensor([2.0, 1.0, -20.0, 0.5]).view(4, 1, 1)
    logits = pairs.Chain(temperature=2.0, most=3.0)(odds)
    assert torch.allclose((logits[1:] - logits[:-1])[:, 0, 0], torch.tensor([1.0, 0.5, -3.0, 0.25]))
    assert logits.logsumexp(0).abs() < 1e-6
    assert int(logits.argmax(0)) == 2


def test_a_single_frame_is_no_pair() -> None:
    """The line says what is needed."""
    with pytest.raises(ValueError, match="needs at least 2 frames; got 1"):
        measure("drpl")(sweep(1))


def test_weights_of_sesf_vgg_are_not_bounded() -> None:
    """Unlike the softmax of a sigmoid, a sharp frame among twelve takes more than e / (e + 11) = 0.2 of the weight."""
    share = measure("sesf-vgg")(sweep(11)).softmax(0)
    assert float(share.amax(0).median()) > 0.3


@pytest.mark.parametrize("side_px", [1, 7, 16, 50])
def test_tiles_of_a_local_filter_change_nothing(side_px: int) -> None:
    """Whatever the side of the tiles, a local filter gives what it gives on the whole; the tiles' says sum to one."""
    images = torch.rand((2, 1, 37, 23), generator=torch.Generator().manual_seed(0))

    def blurred(tile: Tensor) -> Tensor:
        return F.avg_pool2d(tile, 3, 1, 1)[:, 0]

    cut = in_tiles(blurred, images, halo_px=9, tile_px=side_px)
    whole = in_tiles(blurred, images, halo_px=9, tile_px=1000)
    assert torch.allclose(cut, whole, atol=1e-5)


def test_mirrored_indices_fold_as_often_as_needed() -> None:
    """Ends are not repeated; a halo may be longer than the picture."""
    assert mirrored(-2, 5, 3, torch.device("cpu")).tolist() == [2, 1, 0, 1, 2, 1, 0]
    assert mirrored(-1, 2, 1, torch.device("cpu")).tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["drpl", "fusegan", "sesf-vgg"])
def test_borders_are_mirrored(name: str) -> None:
    """A picture beyond whose edge its mirror image goes on has the same answer as the picture by itself."""
    images = sweep(3, (24, 32))
    beside = torch.cat([images, images.flip(3)[..., 1:-1], images], 3)
    answer, longer = measure(name)(images), measure(name)(beside)
    inner = slice(0, 32 - 32 % 8)
    assert (answer - longer[..., :32]).abs()[..., inner].max() < 0.05


def expectation(logits: Tensor) -> Tensor:
    """(H, W) mean frame within one frame of the sharpest one."""
    numbers = torch.arange(len(logits))[:, None, None]
    near = (numbers - logits.argmax(0)).abs() <= 1
    return (torch.where(near, logits, -torch.inf).softmax(0) * numbers).sum(0)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("mffgan", "sesf-stack")])
def test_tiles_move_depth_by_less_than_a_fiftieth_of_a_frame(name: str) -> None:
    """A picture cut into tiles gives nearly the depth of the whole."""
    images = sweep(3, (48, 64))
    whole, cut = (expectation(load_measure(name, tile_px=side)(images)) for side in (512, 32))
    assert (whole - cut).abs().max() < 0.02


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        # Most processors have no float16: deep networks take seconds.
        pytest.param(name, half, marks=[pytest.mark.slow] * (half == "float16" and name in PAIRWISE))
        for name in NETWORKS
        for half in ("float16", "bfloat16")
    ],
)
def test_half_precision_moves_depth_by_less_than_a_fiftieth_of_a_frame(name: str, precision: str) -> None:
    """Convolutions in half precision change the answer by little, and the logits stay float32."""
    images = sweep(3, (32, 32))
    half = load_measure(name, precision=precision)(images)
    change = (expectation(half) - expectation(measure(name)(images))).abs()
    assert half.dtype == torch.float32
    assert float(change.mean()) < 0.02
    assert float(change.quantile(0.95)) < 0.02


def test_an_unknown_precision_is_refused() -> None:
    """The line lists those there are."""
    with pytest.raises(ValueError, match="--precision: must be one of float32, float16, bfloat16; got 'int4'"):
        load_measure("drpl", precision="int4")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_pair_becomes_sharp_all_over(name: str, pair: tuple[Tensor, Tensor]) -> None:
    """The fused picture is far closer to the sharp one than the mean of both, selected or generated."""
    sharp, images = pair
    chosen = measure(name)
    fused = chosen.picture(images) if chosen.picture else pairs.mixed(images, chosen(images))
    error, of_mean = ((picture - sharp)[..., 4:-4, 4:-4].square().mean() for picture in (fused, images.mean(0)))
    assert error < 0.4 * of_mean


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("mffgan", "sesf-stack", "sesf-vgg")])
def test_a_selection_invents_nothing(name: str, pair: tuple[Tensor, Tensor]) -> None:
    """Every colour lies between those of the frames, and equal frames come back."""
    _, images = pair
    colour = images[:, :, :48, :64].expand(-1, 3, -1, -1) * torch.tensor([1.0, 0.8, 0.5]).view(3, 1, 1)
    picture = measure(name).picture
    assert picture is not None
    for frames in (colour, torch.cat([colour, colour.flip(0)[:1]])):
        fused = picture(frames)
        assert (fused >= frames.amin(0) - 1e-2).all()
        assert (fused <= frames.amax(0) + 1e-2).all()
    assert torch.allclose(picture(colour[:1].expand(2, -1, -1, -1)), colour[0], atol=2e-3)


def test_the_random_field_mends_single_pixels_and_keeps_edges() -> None:
    """A pixel against all of its like is overruled; at an edge of the guide both sides keep their own label."""
    guide = torch.zeros(1, 24, 24)
    guide[..., 12:] = 0.8
    odds = torch.where(guide > 0.5, 1.0, -1.0)
    wrong = odds.clone()
    wrong[0, 8, 4] = 0.8
    belief = conv_crf.refined(wrong, guide)
    assert ((belief > 0) == (odds > 0)).all()
    assert (belief.abs() > odds.abs()).float().mean() > 0.99


def test_the_random_field_prefers_no_label() -> None:
    """Turning the signs turns the answer."""
    random = torch.Generator().manual_seed(0)
    odds, guide = torch.randn((1, 16, 16), generator=random), torch.rand((1, 16, 16), generator=random)
    assert torch.allclose(conv_crf.refined(-odds, guide), -conv_crf.refined(odds, guide), atol=1e-5)


def test_the_decision_block_is_a_high_pass() -> None:
    """Identity minus a Gaussian twice: nothing is left of an even picture; the blurred side of a pair loses."""
    assert mffgan.residual_kernel().sum() == pytest.approx(1 - mffgan.BLUR.sum() ** 2, abs=1e-6)
    assert mffgan.repeated_blur_residual(torch.full((1, 9, 9), 0.5)).max() < 1e-3
    sharp = texture((40, 40))
    residual = [mffgan.repeated_blur_residual(planes).mean() for planes in (sharp, filters.gaussian(sharp, 1.0))]
    assert residual[0] > 2 * residual[1]


def test_a_generated_picture_has_no_favourite_source(pair: tuple[Tensor, Tensor]) -> None:
    """Near and far may be swapped; equal pictures hardly change, but for noise; tiles are not seen."""
    _, images = pair
    picture = measure("mffgan").picture
    assert picture is not None
    assert torch.allclose(picture(images), picture(images.flip(0)), atol=1e-5)
    smooth = filters.gaussian(images[0], 1.0)
    assert (picture(smooth.expand(2, 1, -1, -1)) - smooth).abs().max() < 0.03
    cut = load_measure("mffgan", tile_px=40).picture
    assert cut is not None
    assert torch.allclose(picture(images), cut(images), atol=1e-4)


def test_of_many_frames_the_two_sharpest_are_generated_from() -> None:
    """In every pixel the two with the largest logits, the nearer frame first."""
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 1, 2)
    logits = torch.tensor([[0.0, 5.0], [3.0, 1.0], [9.0, 0.0], [1.0, 4.0]]).view(4, 1, 2)
    assert mffgan.sharpest_two(images, logits)[:, 0, 0].tolist() == [[1.0, 0.0], [2.0, 3.0]]


def test_a_guided_map_follows_the_edge_of_the_picture() -> None:
    """A step that the small lattice only knows to 8 px is brought to the edge of the guide."""
    images = torch.full((2, 1, 64, 64), 0.2)
    images[..., 28:] = 0.8
    small = torch.zeros(2, 1, 8, 8)
    small[0, ..., :3], small[0, ..., 3], small[0, ..., 4:] = 4, 0, -4
    small[1] = -small[0]
    share = sesf_vgg.guided(small, images).softmax(0)[0]
    rise = (share[32, 24:32] - share[32, 25:33]).abs()
    assert int(rise.argmax()) == 3
    assert float(rise.max()) > 3 * float(rise.median())


@pytest.fixture(params=NETWORKS)
def copied(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """Name of a network and a copy of its weight file with the card."""
    source = weight_files.FOLDER / f"{request.param}.safetensors"
    for file in (source, weight_files.card_path(source)):
        shutil.copy(file, tmp_path)
    return request.param, tmp_path / source.name


def recarded(path: Path) -> None:
    """Give a changed file a card that fits it."""
    card = json.loads(weight_files.card_path(path).read_text())
    card["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    weight_files.card_path(path).write_text(json.dumps(card))


@pytest.mark.parametrize("damage", ["changed", "short", "text", "no card", "bad card", "absent", "foreign", "options"])
def test_a_broken_or_foreign_weight_file_is_refused(copied: tuple[str, Path], damage: str) -> None:
    """Whatever is wrong with it, one line names the file."""
    name, path = copied
    card = weight_files.card_path(path)
    if damage == "changed":
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(bytes(data))
    elif damage in ("short", "text"):
        path.write_bytes(path.read_bytes()[:100] if damage == "short" else b"not weights")
        recarded(path)
    elif damage in ("no card", "absent"):
        (card if damage == "no card" else path).unlink()
    elif damage == "bad card":
        card.write_text("[")
    elif damage == "foreign":
        other = weight_files.FOLDER / f"{'drpl' if name != 'drpl' else 'sesf'}.safetensors"
        shutil.copy(other, path)
        shutil.copy(weight_files.card_path(other), card)
    else:
        card.write_text(json.dumps({**json.loads(card.read_text()), "options": {"depth": 3}}))
        if name == "sesf-stack":
            card.write_text("{}")
    with pytest.raises(ValueError, match=f"{name}") as refusal:
        load_measure(name, weights=str(path))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", NETWORKS)
def test_cards_tell_where_weights_come_from(name: str) -> None:
    """Command, data, seed, hours, scores and checksum; all files together are small enough for a package."""
    card = json.loads(weight_files.card_path(weight_files.FOLDER / f"{name}.safetensors").read_text())
    assert {"command", "data", "seed", "hours", "scores", "sha256", "parameters"} <= card.keys()
    assert sum(path.stat().st_size for path in weight_files.FOLDER.iterdir()) < 30e6


def test_imagenet_weights_that_cannot_be_had_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, or with a broken torchvision, the option is named and so is the cure."""
    from dff.focus import imagenet

    class Models:
        class VGG16_Weights:  # noqa: N801 - torchvision's own name
            IMAGENET1K_V1 = None

        @staticmethod
        def vgg16(**_: object) -> None:
            raise OSError("no route\nto host")

    monkeypatch.setattr(imagenet, "imported_torchvision", lambda: type("Torchvision", (), {"models": Models}))
    with pytest.raises(ValueError, match=r"--encoder-weights: imagenet must be downloaded once; got no route to host;"):
        sesf_vgg.with_imagenet_encoder()


@pytest.mark.slow
def test_torchvision_is_imported_also_beside_a_torch_without_cuda() -> None:
    """Where it is installed, its VGG16 can be built, and the layers are ours."""
    pytest.importorskip("importlib.metadata").version("torchvision")
    from dff.focus.imagenet import imported_torchvision

    layers = imported_torchvision().models.vgg16(weights=None).features[: sesf_vgg.LAYERS]
    ours = sesf_vgg.features(1.0).state_dict()
    assert {key: tensor.shape for key, tensor in layers.state_dict().items()} == {
        key: tensor.shape for key, tensor in ours.items()
    }
