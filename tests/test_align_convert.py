"""`dff align` and `dff convert`: aligned frames and other formats, from the command line to readers of their own."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from dff import cli, io
from dff.simulate import render_scene
from dff.stack import FocalStack


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of 16 bits, of which every second one is moved by (2, 1) px."""
    folder = tmp_path_factory.mktemp("frames") / "moved"
    scene = render_scene("plane", size_px=160, frames=10, blur_growth_px=0.35, snr=200)
    io.write_scene(scene, folder)
    for path in sorted(folder.glob("frame_*.png"))[1::2]:
        frame = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), np.roll(frame, (1, 2), (0, 1)))
    return folder


@pytest.fixture(scope="module")
def result(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What these frames give, aligned."""
    folder = tmp_path_factory.mktemp("result") / "result"
    call = ["reconstruct", str(frames), "-o", str(folder), "--z-file", str(frames / "z.csv"), "--quiet"]
    assert cli.main(call) == 0
    return folder


@pytest.mark.filterwarnings("ignore:the scale is not known")
def test_align_writes_frames_that_lie_on_each_other(frames: Path, tmp_path: Path) -> None:
    """Motion is undone in files of the same names and depth, and alignment.json is what a reconstruction takes."""
    out = tmp_path / "aligned"
    assert cli.main(["align", str(frames), "-o", str(out), "--align", "translation", "--quiet"]) == 0
    aligned, given = io.read_stack(out), io.read_stack(frames)
    assert aligned.names == given.names
    assert aligned.dtype == given.dtype == np.uint16
    inside = np.s_[12:-12, 12:-12]

    def apart(stack: FocalStack) -> float:
        pairs = [(stack.frames[k][inside].astype(float), stack.frames[k + 1][inside]) for k in range(9)]
        return float(np.mean([np.abs(one - other).mean() for one, other in pairs]))

    assert apart(aligned) < 0.5 * apart(given)
    call = ["reconstruct", str(frames), "-o", str(tmp_path / "r"), "--alignment", str(out / "alignment.json")]
    assert cli.main([*call, "--quiet"]) == 0
    found = io.read_reconstruction(tmp_path / "r").alignment
    np.testing.assert_array_equal(found.transforms, io.read_alignment(out / "alignment.json").transforms)


@pytest.mark.filterwarnings("ignore:the scale is not known")
def test_aligned_frames_are_replaced_only_when_asked(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second call is refused in one line, --force replaces, and another folder is never touched."""
    call = ["align", str(frames), "-o", str(tmp_path / "a"), "--align", "none", "--quiet"]
    assert cli.main(call) == 0
    assert cli.main(call) == 2
    assert cli.main([*call, "--force"]) == 0
    (tmp_path / "a" / "letter.txt").write_text("mine")
    capsys.readouterr()
    assert cli.main([*call, "--force"]) == 2
    assert "letter.txt" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.glb", "a.stl", "a.obj", "a.ply"])
def test_meshes_of_other_formats_are_the_same_surface(result: Path, tmp_path: Path, name: str) -> None:
    """Every format has the extent of the PLY mesh that the reconstruction wrote; glTF is in metres."""
    kind = ["--as", "mesh"] if name == "a.ply" else []
    assert cli.main(["convert", str(result), "-o", str(tmp_path / name), *kind]) == 0
    wanted, found = trimesh.load(result / "mesh.ply"), trimesh.load(tmp_path / name, force="mesh")
    unit = 1e-3 if name == "a.glb" else 1.0
    np.testing.assert_allclose(np.sort(found.extents), np.sort(wanted.extents * unit), rtol=1e-3)


def test_points_and_coordinates(result: Path, tmp_path: Path) -> None:
    """Options select; the grid has NaN where the cloud has no point."""
    for name, extra in (("few.ply", ["--max-points", "500"]), ("all.xyz", []), ("all.npy", [])):
        assert cli.main(["convert", str(result), "-o", str(tmp_path / name), *extra]) == 0
    grid = np.load(tmp_path / "all.npy")
    points = np.loadtxt(tmp_path / "all.xyz")[:, :3]
    assert len(trimesh.load(tmp_path / "few.ply").vertices) <= 500
    np.testing.assert_allclose(points, grid[np.isfinite(grid).all(-1)], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "extra", "words"),
    [
        ("a.dxf", [], "must end in .ply"),
        ("a.stl", ["--as", "points"], "--as: a .stl file holds mesh"),
        ("a.ply", ["--min-confidence", "1"], "lower --min-confidence"),
    ],
)
def test_what_cannot_be_converted_is_told(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, extra: list[str], words: str
) -> None:
    """One line, exit code 2, nothing written."""
    assert cli.main(["convert", str(result), "-o", str(tmp_path / name), *extra]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
