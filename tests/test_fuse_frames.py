"""`dff fuse` and the presets: one picture of two frames or more, in the frames' own type, options that say why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from dff import cli, filters, io, pipeline
from dff.focus import FOCUS_MEASURES, load_measure
from dff.fuse import skin
from dff.pipeline import fusion
from dff.pipeline.plan import Plan
from dff.settings import PRESETS, Settings, flag_of
from dff.stack import FocalStack, ImageMetadata

SIZE_PX = (64, 80)

pytestmark = pytest.mark.usefixtures("one_thread")


def stack_of(count: int, dtype: type = np.uint16) -> tuple[FocalStack, np.ndarray]:
    """A textured picture of which every frame has one vertical stripe in focus; and the sharp picture."""
    random = torch.Generator().manual_seed(0)
    sharp = filters.gaussian(torch.rand((3, *SIZE_PX), generator=random), 0.7)
    blurred, white = filters.gaussian(sharp, 2.5), np.iinfo(dtype).max
    edges = np.linspace(0, SIZE_PX[1], count + 1).round().astype(int)
    frames = []
    for first, last in pairwise(edges):
        frame = blurred.clone()
        frame[..., first:last] = sharp[..., first:last]
        frames.append((frame.permute(1, 2, 0).numpy() * white).astype(dtype))
    names = tuple(f"{k}.png" for k in range(count))
    stack = FocalStack(frames, names, frames[0].shape, np.dtype(dtype), ImageMetadata())
    return stack, (sharp.permute(1, 2, 0).numpy() * white).astype(dtype)


def error(picture: np.ndarray, sharp: np.ndarray) -> float:
    """Root mean square difference as a share of white."""
    return float(np.sqrt(np.mean(np.square(picture.astype(float) - sharp)))) / np.iinfo(sharp.dtype).max


@pytest.mark.parametrize("name", ["sesf", "fusegan", "sum-modified-laplacian"])
@pytest.mark.parametrize("count", [2, 4])
def test_frames_become_one_sharp_picture_of_their_own_type(name: str, count: int) -> None:
    """A pair and a stack, by networks and by an operator: far nearer to the sharp picture than the mean is."""
    stack, sharp = stack_of(count)
    picture = pipeline.fuse_frames(stack, Settings(measure=name, align="none", brightness="none", threads=1))
    mean = np.mean([stack.frames[k] for k in range(count)], axis=0)
    assert picture.dtype == np.uint16
    assert error(picture, sharp) < 0.6 * error(mean, sharp)


@pytest.mark.parametrize("name", ["sesf", "mffgan"])
def test_the_rule_of_the_paper_is_an_option(name: str) -> None:
    """With the fusion weighted a network selects as published; one that generates does so either way."""
    stack, _ = stack_of(2)
    settings = Settings(measure=name, align="none", brightness="none", threads=1)
    bands, published = (pipeline.fuse_frames(stack, settings.but(fusion=rule)) for rule in ("pyramid", "weighted"))
    images = torch.stack([torch.from_numpy(frame / np.float32(65535)).permute(2, 0, 1) for frame in stack.frames])
    picture = load_measure(name).picture
    assert picture is not None
    wanted = (picture(images).permute(1, 2, 0).numpy().clip(0, 1) * 65535).round()
    assert np.abs(published - wanted).max() <= 1
    assert (np.abs(bands.astype(float) - wanted).max() <= 1) == (name == "mffgan")


def test_strips_blend_as_the_whole_picture_does() -> None:
    """Little memory cuts the picture into tiles: the blend is the same to a rounding."""
    stack, _ = stack_of(3)
    settings = Settings(measure="sum-modified-laplacian", align="none", brightness="none", threads=1)
    whole = pipeline.fuse_frames(stack, settings)
    plan = fusion.make_plan
    small = MonkeyPlan(plan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fusion, "make_plan", small)
        cut = pipeline.fuse_frames(stack, settings)
    assert small.cut
    assert np.abs(whole.astype(float) - cut).max() <= 0.002 * 65535


class MonkeyPlan:
    """A plan of tiles far smaller than memory asks for."""

    def __init__(self, make: Callable[..., Plan]):
        self.make, self.cut = make, False

    def __call__(self, *values: object, **named: object) -> Plan:
        """The plan cut small."""
        self.cut = True
        return replace(self.make(*values, **named), strip_rows=16, tile_columns=32, fusion=(16 + 2 * 96, 32 + 2 * 96))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two frames on disk."""
    stack, _ = stack_of(2, np.uint8)
    for k in range(2):
        io.write_image(tmp_path / f"{k}.png", stack.frames[k])
    return tmp_path


def fuse(folder: Path, output: str, *more: str) -> int:
    """Run the command on both frames."""
    frames = [str(folder / f"{k}.png") for k in range(2)]
    return cli.main(["fuse", *frames, "-o", str(folder / output), "--align", "none", "--quiet", *more])


def test_the_command_writes_the_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One call: two files in, one out; what was used is said."""
    assert fuse(folder, "out.png", "--model", "sesf") == 0
    assert "2 frames fused by sesf" in capsys.readouterr().err
    assert io.read_image(folder / "out.png").shape == (*SIZE_PX, 3)


@pytest.mark.parametrize(
    ("output", "more", "said"),
    [
        ("0.png", [], "0.png: must not exist"),
        ("out.gif", [], "out.gif: must hold uint8 pixels; got the ending '.gif'; write a .png file"),
        ("out.png", ["--model", "none"], "--measure: must be one of"),
        ("out.png", ["--model", "drpl", "--weights", "nowhere.safetensors"], "nowhere.safetensors"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    folder: Path, output: str, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line, no file."""
    before = sorted(folder.iterdir())
    assert fuse(folder, output, *more) == cli.USAGE_ERROR
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_set_of_options_with_reasons(name: str) -> None:
    """Every change names an option, differs from the default, is accepted, and says why; its model exists."""
    preset, defaults = PRESETS[name], Settings()
    assert preset.model in FOCUS_MEASURES
    for option, change in preset.changes.items():
        assert change.value != getattr(defaults, option)
        assert len(change.reason) > 20
    settings = Settings.of(name)
    assert settings.preset == name
    assert all(getattr(settings, option) == change.value for option, change in preset.changes.items())


def test_what_is_given_beside_a_preset_stands() -> None:
    """A flag wins over the preset, the preset over the default, also if the flag gives the default's value."""
    parser = cli.build_parser()
    options = parser.parse_args(["reconstruct", "x", "-o", "y", "--preset", "landscape", "--align", "similarity"])
    settings = cli.settings_from(options)
    assert settings.align == "similarity"
    assert settings.window_sigma_px == PRESETS["landscape"].changes["window_sigma_px"].value
    assert cli.settings_from(parser.parse_args(["reconstruct", "x", "-o", "y"])) == Settings()


def test_an_unknown_preset_is_refused() -> None:
    """The line lists those there are."""
    with pytest.raises(ValueError, match="--preset: must be one of macro, landscape, portrait; got 'sunset'"):
        Settings.of("sunset")


def test_presets_are_the_choices_of_the_option() -> None:
    """What the option offers is what there is."""
    (option,) = [spec for spec in fields(Settings) if spec.name == "preset"]
    assert tuple(option.metadata["choices"]) == tuple(PRESETS)


def test_skin_is_told_by_colour_and_smoothness() -> None:
    """Fair and dark skin count, sky, leaves and grey do not; neither does an edge."""
    colours = {"fair": (0.88, 0.67, 0.56), "dark": (0.45, 0.30, 0.22), "sky": (0.5, 0.7, 0.95), "leaf": (0.3, 0.5, 0.2)}
    found = {
        name: float(skin.skin_share(torch.tensor(colour).view(3, 1, 1).expand(3, 24, 24)).mean())
        for name, colour in {**colours, "grey": (0.5, 0.5, 0.5)}.items()
    }
    assert min(found["fair"], found["dark"]) > 0.9
    assert max(found["sky"], found["leaf"], found["grey"]) < 0.1
    edge = torch.tensor(colours["fair"]).view(3, 1, 1).repeat(1, 24, 24)
    edge[:, :, 12:] *= 0.6
    assert float(skin.skin_share(edge)[:, 11:13].max()) < 0.5


def test_a_seam_on_skin_is_feathered_and_elsewhere_kept() -> None:
    """Two frames of different brightness meet in a line: on skin the step becomes a slope, on blue it stays."""
    step = torch.ones(2, 1, 64, 64)
    step[1] = 0.98
    share = torch.zeros(2, 64, 64)
    share[0, :, :32], share[1, :, 32:] = 1, 1
    for colour, feathered in (((0.88, 0.67, 0.56), True), ((0.5, 0.7, 0.95), False)):
        images = step * torch.tensor(colour).view(3, 1, 1)
        picture = (images * share[:, None]).sum(0)
        jump = skin.softened(picture, images, share)[0, 32].diff().abs().max()
        before = picture[0, 32].diff().abs().max()
        assert bool(jump < 0.3 * before) == feathered


def test_the_portrait_preset_softens(tmp_path: Path) -> None:
    """The preset runs end to end on a pair, with the network that it names."""
    stack, sharp = stack_of(2, np.uint8)
    settings = Settings.of("portrait", align="none", threads=1, measure=PRESETS["portrait"].model)
    assert settings.soft_skin
    assert pipeline.fuse_frames(stack, settings).shape == sharp.shape


def test_the_documents_tell_every_change_of_every_preset() -> None:
    """docs/networks.md has a row a change, with the flag and the reason that the settings give."""
    told = (Path(__file__).parent.parent / "docs" / "networks.md").read_text()
    flags = {spec.name: flag_of(spec.name, spec.metadata) for spec in fields(Settings)}
    for preset in PRESETS.values():
        assert f"`--model {preset.model}` | {preset.model_reason} |" in told
        for option, change in preset.changes.items():
            value = "" if change.value is True else f" {change.value:g}" if isinstance(change.value, float) else ""
            value = value or ("" if change.value is True else f" {change.value}")
            assert f"`{flags[option]}{value}` | {change.reason} |" in told
