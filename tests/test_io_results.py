"""The result folder and its inverse, alignments, scenes, and what is never overwritten."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dff.io import (
    check_output,
    check_scene_output,
    read_alignment,
    read_description,
    read_geometry,
    read_image,
    read_map,
    read_reconstruction,
    read_stack,
    result_paths,
    write_alignment,
    write_image,
    write_reconstruction,
    write_scene,
)
from dff.optics import height_map, stepped_geometry, unknown_geometry
from dff.settings import VERSION, Settings
from dff.stack import Alignment, DepthMap, FocalStack, ImageMetadata, Reconstruction, Scene

H, W, N = 300, 40, 5
"""More rows than are worked on at a time."""


def alignment(rng: np.random.Generator) -> Alignment:
    residual_px = rng.random(N)
    residual_px[2] = np.nan
    return Alignment(
        transforms=rng.normal(size=(N, 3, 3)),
        gains=rng.random(N),
        residual_px=residual_px,
        models=("similarity", "similarity", "none", "translation", "affine"),
        reference=2,
        size_px=(H, W),
    )


def reconstruction(dtype: str = "uint16", suffix: str = ".png", channels: int = 3, seed: int = 0) -> Reconstruction:
    rng = np.random.default_rng(seed)
    index, sigma, confidence = (rng.random((H, W), dtype=np.float32) for _ in range(3))
    index = index * (N - 1)
    index[:30], sigma[:30], confidence[:30] = np.nan, np.nan, 0
    return Reconstruction(
        all_in_focus=(rng.random((H, W, channels)) * np.iinfo(dtype).max).astype(dtype),
        depth=DepthMap(index, confidence, sigma),
        geometry=stepped_geometry(np.cumsum(rng.random(N)), (H, W), pixel_size_mm=0.0042),
        alignment=alignment(rng),
        settings=Settings(step_mm=0.1, formats="ply,obj", z_sigma_frames=0.5),
        metadata=ImageMetadata(camera="A", lens="B", f_number=2.8, pixel_pitch_mm=0.004, icc=b"not a real profile"),
        names=tuple(f"frame {k}é.png" for k in range(N)),
        files=tuple(f"/stacks/frame {k}é.png" for k in range(N)),
        suffix=suffix,
        timings_s={"align": 1.25, "fuse": 0.1},
        warnings=("one", "two"),
    )


def assert_equal(a: Any, b: Any) -> None:
    """All fields of two reconstructions, NaN equal to NaN."""
    np.testing.assert_array_equal(a.all_in_focus, b.all_in_focus)
    assert a.all_in_focus.dtype == b.all_in_focus.dtype
    for part, names in (
        ("depth", ("index", "confidence", "sigma")),
        ("geometry", ("z", "pixel", "centre_px", "z_unit", "xy_unit", "capture")),
        ("alignment", ("transforms", "gains", "residual_px", "models", "reference", "size_px")),
    ):
        for name in names:
            np.testing.assert_array_equal(getattr(getattr(a, part), name), getattr(getattr(b, part), name))
    for name in ("settings", "metadata", "names", "suffix", "timings_s", "warnings"):
        assert getattr(a, name) == getattr(b, name), name


@pytest.mark.parametrize(
    ("dtype", "suffix", "channels"), [("uint16", ".png", 3), ("uint8", ".tif", 1), ("uint16", ".nef", 3)]
)
def test_a_result_comes_back_as_it_was(tmp_path: Path, dtype: str, suffix: str, channels: int) -> None:
    """Reading is the inverse of writing, to the last bit."""
    written = reconstruction(dtype, suffix, channels)
    write_reconstruction(written, tmp_path / "new" / "result")
    assert_equal(read_reconstruction(tmp_path / "new" / "result"), written)


def test_the_files_of_a_result(tmp_path: Path) -> None:
    """Each map says its unit; depth is the height of the index; JSON tells what a reader asks first."""
    written = reconstruction("uint8", ".jpg")
    paths = write_reconstruction(written, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        *("all_in_focus.jpg", "depth.tif", "index.tif", "confidence.tif", "sigma.tif"),
        *("alignment.json", "reconstruction.json"),
    }
    assert paths == result_paths(tmp_path)
    expected = height_map(written.depth.index, written.geometry)
    np.testing.assert_array_equal(read_map(paths.depth), expected)
    assert "mm" in read_description(paths.depth)
    assert "frames" in read_description(paths.index)
    content = json.loads(paths.reconstruction.read_text())
    assert content["dff"] == VERSION
    assert content["statistics"]["known_share"] == pytest.approx(0.9)
    assert content["statistics"]["highest_mm"] == pytest.approx(float(np.nanmax(expected)))
    assert content["units"]["depth.tif"] == "mm"
    assert content["versions"]["numpy"] == np.__version__


def test_without_a_scale_every_file_says_so(tmp_path: Path) -> None:
    """Frames and px, never a mm that was not measured."""
    written = replace(reconstruction(), geometry=unknown_geometry(np.arange(5.0), (H, W)))
    paths = write_reconstruction(written, tmp_path)
    assert "height z toward the camera in frames" in read_description(paths.depth)
    units = json.loads(paths.reconstruction.read_text())["units"]
    assert units["depth.tif"] == "frames"
    assert units["points and mesh"] == "x, y in px, z in frames"


def test_a_result_of_nothing_known_is_written(tmp_path: Path) -> None:
    """No statistics of nothing, and no error."""
    nothing = np.full((H, W), np.nan, np.float32)
    written = replace(reconstruction(), depth=DepthMap(nothing, np.zeros((H, W), np.float32), nothing))
    paths = write_reconstruction(written, tmp_path)
    statistics = json.loads(paths.reconstruction.read_text())["statistics"]
    assert (statistics["known_share"], statistics["highest_mm"]) == (0, None)


def test_a_result_is_replaced_only_by_force(tmp_path: Path) -> None:
    """With force all of the earlier result goes, its surfaces too; what is not ours stays."""
    write_reconstruction(reconstruction("uint8", ".jpg"), tmp_path)
    (tmp_path / "points.ply").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"must hold no result; got reconstruction.json; replace it with --force"):
        write_reconstruction(reconstruction(seed=1), tmp_path)
    write_reconstruction(reconstruction(seed=1), tmp_path, force=True)
    assert not (tmp_path / "points.ply").exists()
    assert not (tmp_path / "all_in_focus.jpg").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert_equal(read_reconstruction(tmp_path), reconstruction(seed=1))


def test_surfaces_written_before_stay(tmp_path: Path) -> None:
    """The pipeline may write points and previews into the folder first."""
    (tmp_path / "points.ply").write_text("new")
    write_reconstruction(reconstruction(), tmp_path)
    assert (tmp_path / "points.ply").exists()


def test_a_failure_leaves_no_result_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is one clear line; there is no half-written file and no reconstruction.json."""
    import dff.io.pictures

    calls = []

    def fill_disk(path: Path, *_: Any, **__: Any) -> None:
        path.write_bytes(b"half")
        calls.append(path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dff.io.maps, "write_tiff_page", fill_disk)
    with pytest.raises(OSError, match=r"depth.tif: the disk must have room; got .* GB free; free some or choose"):
        write_reconstruction(reconstruction(), tmp_path)
    assert calls
    assert {path.name for path in tmp_path.iterdir()} == {"all_in_focus.png"}
    with pytest.raises(FileNotFoundError, match=r"must hold a result; got no reconstruction.json"):
        read_reconstruction(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(version=99), "must be of version 1; got 99; use the program that wrote it"),
        (lambda content: content.update(format="x"), "must be of format dff-reconstruction; got 'x'"),
        (lambda content: content.pop("geometry"), r"must be complete; got KeyError\('geometry'\)"),
    ],
)
def test_a_result_of_another_make_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    """Later versions, other files, missing parts."""
    path = write_reconstruction(reconstruction(), tmp_path).reconstruction
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_reconstruction(tmp_path)
    path.write_text("{ half")
    with pytest.raises(ValueError, match="must be JSON"):
        read_reconstruction(tmp_path)


def test_options_of_other_versions_do_not_matter(tmp_path: Path) -> None:
    """An option that is gone is passed over; one that is new has its default."""
    path = write_reconstruction(reconstruction(), tmp_path).reconstruction
    content = json.loads(path.read_text())
    content["settings"]["gone"] = 1
    del content["settings"]["fusion"]
    path.write_text(json.dumps(content))
    assert read_reconstruction(tmp_path).settings == reconstruction().settings


def test_an_alignment_comes_back_exactly(tmp_path: Path) -> None:
    """To the last digit; unmeasured residuals stay unmeasured."""
    written = alignment(np.random.default_rng(3))
    write_alignment(written, tmp_path / "a.json", names=[f"{k}.jpg" for k in range(N)])
    back = read_alignment(tmp_path / "a.json")
    for name in ("transforms", "gains", "residual_px", "models", "reference", "size_px"):
        np.testing.assert_array_equal(getattr(back, name), getattr(written, name))
    assert "3.jpg" in (tmp_path / "a.json").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "must be of format dff-alignment; got None"),
        ('{"format": "dff-alignment", "version": 2}', "must be of version 1; got 2"),
        ('{"format": "dff-alignment", "version": 1}', r"must be a whole alignment; got KeyError\('frames'\)"),
        ("[1]", "must hold a JSON object; got list"),
        ("hello", "must be JSON"),
    ],
)
def test_what_is_no_alignment_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """In one line that names the file."""
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_alignment(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError, match="must be a file; got no such file"):
        read_alignment(tmp_path / "gone.json")


def test_an_output_folder_is_checked_and_not_made(tmp_path: Path) -> None:
    """New, nested and empty folders pass; nothing is created."""
    check_output(tmp_path / "a" / "b")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".DS_Store").write_text("")
    check_output(tmp_path / "empty", force=True)
    assert not (tmp_path / "a").exists()


def test_an_output_folder_is_never_one_with_other_files(tmp_path: Path) -> None:
    """A folder is replaced as a whole: photographs in it are safe, even by force."""
    write_image(tmp_path / "DSC_1.jpg", np.zeros((8, 8), np.uint8))
    for force in (False, True):
        with pytest.raises(
            ValueError, match=r"output must be a folder of its own; got DSC_1.jpg in it; choose another"
        ):
            check_output(tmp_path, force=force)


def test_an_earlier_result_is_replaced_only_by_force(tmp_path: Path) -> None:
    """Refused before any work is done."""
    write_reconstruction(reconstruction(), tmp_path)
    (tmp_path / "previews").mkdir()
    (tmp_path / "mesh.obj").write_text("")
    with pytest.raises(ValueError, match=r"output must be empty; got .*; replace it with --force"):
        check_output(tmp_path)
    check_output(tmp_path, force=True)


@pytest.mark.parametrize("name", ["file", "file/below", "file/far/below"])
def test_a_file_in_the_way_is_named(tmp_path: Path, name: str) -> None:
    """A result needs a folder."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError, match=r"output must be a folder; got the file .*file; choose another name"):
        check_output(tmp_path / name)


def test_a_folder_that_cannot_be_written_is_named() -> None:
    """Found before any work: the kernel's own file system takes no files, not even root's."""
    if not Path("/proc/self").is_dir():
        pytest.skip("no /proc here")
    with pytest.raises(OSError, match=r"/proc/result: must be writable; got .*; choose another folder"):
        check_output("/proc/result")


def scene() -> Scene:
    rng = np.random.default_rng(0)
    frames = (rng.random((3, 20, 24, 3)) * 65535).astype(np.uint16)
    stack = FocalStack(
        frames=frames,
        names=("a", "b", "c"),
        shape=(20, 24, 3),
        dtype=np.dtype(np.uint16),
        geometry=stepped_geometry([0, 0.1, 0.25], (20, 24), pixel_size_mm=0.003),
    )
    maps = {name: rng.random((20, 24), dtype=np.float32) for name in ("index", "z", "visible", "bound")}
    return Scene("noise", stack, sharp=rng.random((20, 24, 3), dtype=np.float32), settings={"seed": 0}, **maps)


def test_a_scene_is_a_stack_with_table_and_truth(tmp_path: Path) -> None:
    """The folder reads as a stack, its table as the stack's geometry, its truth bit for bit."""
    written, folder = scene(), tmp_path / "scene"
    write_scene(written, folder)
    stack = read_stack(folder)
    for k in range(3):
        np.testing.assert_array_equal(stack.frames[k], written.stack.frames[k])
    geometry = read_geometry(folder / "z.csv", 3, stack.shape[:2], names=stack.names)
    assert written.stack.geometry is not None
    np.testing.assert_array_equal(geometry.z, written.stack.geometry.z)
    for name in ("index", "z", "visible", "bound"):
        np.testing.assert_array_equal(read_map(folder / "truth" / f"{name}.tif"), getattr(written, name))
    np.testing.assert_array_equal(read_image(folder / "truth" / "sharp.tif"), written.sharp)
    with pytest.raises(ValueError, match="output must be empty"):
        check_scene_output(folder)
    with pytest.raises(ValueError, match="output must be a folder of its own"):
        check_output(folder, force=True)
    write_scene(written, folder, force=True)
    assert not list(tmp_path.glob(".*"))


def test_the_documented_ways_to_read_a_result_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block of Python in docs/results.md runs, and its table names the files there are."""
    text = (Path(__file__).parent.parent / "docs" / "results.md").read_text(encoding="utf-8")
    write_reconstruction(reconstruction(), tmp_path / "result")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        subprocess.run([sys.executable, "-c", block], check=True, capture_output=True)
    for path in (tmp_path / "result").iterdir():
        assert f"`{path.stem}.*`" in text or f"`{path.name}`" in text
    content = json.loads((tmp_path / "result" / "reconstruction.json").read_text(encoding="utf-8"))
    for key in content:
        assert f"`{key}`" in text
