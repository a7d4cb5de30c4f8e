"""The command line: exit codes, one-line errors, options that mirror the settings."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from dff import cli, io
from dff.settings import DEFAULTS, Settings, flag_of
from dff.simulate import render_scene


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten small PNG frames with their table."""
    folder = tmp_path_factory.mktemp("frames") / "dome"
    io.write_scene(render_scene("hemisphere", size_px=64, frames=10, blur_growth_px=0.5, bits=8), folder)
    return folder


def test_defaults_of_the_command_line_are_the_settings(frames: Path) -> None:
    """A command without options asks for the default settings, and every setting has its flag."""
    options = cli.build_parser().parse_args(["reconstruct", str(frames), "-o", "x"])
    assert cli.settings_from(options) == DEFAULTS
    flags = {flag_of(spec.name, spec.metadata) for spec in fields(Settings)}
    assert len(flags) == len(fields(Settings))


def test_reconstruct_writes_a_result(frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The plain call works, a second one is refused, --force replaces."""
    call = ["reconstruct", str(frames), "-o", str(tmp_path / "result"), "--step", "0.1"]
    call += ["--pixel-size", "0.02", "--align", "none"]
    assert cli.main([*call, "--quiet"]) == 0
    assert io.read_reconstruction(tmp_path / "result").geometry.metric
    capsys.readouterr()
    assert cli.main(call) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--force" in error
    assert cli.main([*call, "--force", "--quiet"]) == 0


def test_dry_run_says_what_it_takes_and_writes_nothing(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Frames, geometry, memory and scratch disk are told."""
    assert cli.main(["reconstruct", str(frames), "-o", str(tmp_path / "r"), "--step", "0.1", "--dry-run"]) == 0
    told = capsys.readouterr().err
    for word in ("10 of 64 x 64 px", "GB of memory", "scratch disk", "step 0.1 mm", "time       about"):
        assert word in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--step", "-0.1"], "--step: must be more than 0"),
        (["--step", "nan"], "--step: must be a number"),
        (["--formats", "ply,dwg"], "--formats: must name"),
        (["--measure", "magic"], "--measure: must be one of"),
        (["--max-memory", "0.1"], "--max-memory: must be at least 0.5 GB"),
        (["--z-file", "missing.csv"], "missing.csv"),
        (["--alignment", "missing.json"], "missing.json"),
    ],
)
def test_a_bad_option_is_one_line_and_code_2(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str], words: str
) -> None:
    """The rule and the cure, no traceback, nothing written."""
    assert cli.main(["reconstruct", str(frames), "-o", str(tmp_path / "r"), "--quiet", *extra]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dff: error:")]
    assert len(lines) == 1
    assert words in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_one_line_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The path is named."""
    assert cli.main(["reconstruct", str(tmp_path / "nothing"), "-o", str(tmp_path / "r")]) == 2
    assert "nothing" in capsys.readouterr().err


def test_info_tells_the_unit(frames: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`dff info` says frames and px where no scale is known."""
    assert cli.main(["info", str(frames)]) == 0
    assert "z is in frames" in capsys.readouterr().err


def test_measures_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Every registered focus measure has its line."""
    from dff.focus import FOCUS_MEASURES

    assert cli.main(["measures"]) == 0
    told = capsys.readouterr().err
    assert all(name in told for name in FOCUS_MEASURES)


def test_simulate_writes_frames_that_reconstruct(tmp_path: Path) -> None:
    """A simulated stack is written with its table and truth, and reconstructs in mm."""
    folder = tmp_path / "scene"
    assert cli.main(["simulate", "plane", "-o", str(folder), "--size", "64", "--frames", "8"]) == 0
    call = ["reconstruct", str(folder), "-o", str(tmp_path / "r"), "--z-file", str(folder / "z.csv")]
    assert cli.main([*call, "--align", "none", "--quiet"]) == 0
    truth, found = io.read_map(folder / "truth" / "z.tif"), io.read_map(tmp_path / "r" / "depth.tif")
    assert np.nanmedian(np.abs(truth - found)) < 0.1 * np.ptp(truth)


def test_a_batch_with_a_bad_stack_ends_with_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table is written and names it; a folder without any stack is code 2."""
    assert cli.main(["batch", str(tmp_path), "-o", str(tmp_path / "out"), "--quiet"]) == 2
    assert "must hold focal stacks" in capsys.readouterr().err
    (tmp_path / "stacks" / "bad").mkdir(parents=True)
    (tmp_path / "stacks" / "bad" / "1.jpg").write_bytes(b"\xff\xd8\xff no picture")
    assert cli.main(["batch", str(tmp_path / "stacks"), "-o", str(tmp_path / "out"), "--quiet"]) == 1
    assert "0 done, 0 kept, 1 failed" in capsys.readouterr().err
    assert "bad" in (tmp_path / "out" / "batch.html").read_text()
