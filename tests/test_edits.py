"""Strokes of the brush: what they cover, what they change, and that everything else stays."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dff import cli, io, pipeline
from dff.align import covered, warp_frame
from dff.edits import STROKE_KINDS, Edits, Stroke, stroke_distance, stroke_weight, stroke_window
from dff.optics import unknown_geometry
from dff.pipeline.sources import source_frames
from dff.settings import Settings
from dff.simulate import render_scene
from dff.stack import Alignment, DepthMap, FocalStack, Reconstruction, Scene
from dff.surface import fill_smoothly

SIZE = (96, 112)
FRAMES = 10
PATH = ((40.0, 30.0), (60.0, 44.0))


def stroke(kind: str = "unknown", **changes: Any) -> Stroke:
    values: dict[str, Any] = {"points": np.array(PATH), "radius_px": 9.0, "frame": 4 if kind == "frame" else None}
    return Stroke(kind, **(values | changes))


def area_of(painted: Stroke, size_px: tuple[int, int] = SIZE) -> Any:
    """(H, W) what a stroke covers by its definition, pixel by pixel: no segments, no windows."""
    y, x = np.mgrid[: size_px[0], : size_px[1]].astype(float)
    along = np.linspace(0, 1, 2000)[:, None]
    path = np.concatenate([a + along * (b - a) for a, b in zip(painted.points, painted.points[1:])] or [painted.points])
    away = np.full(size_px, np.inf)
    for px, py in path:
        np.minimum(away, np.hypot(x - px, y - py), out=away)
    return away


# ---- the brush


def test_a_stroke_covers_what_lies_near_its_path() -> None:
    """Weight 1 inside the hard part, 0 from the radius on, a half where the depth ends."""
    painted = stroke(hardness=0.6)
    window = stroke_window(painted, SIZE)
    distance = stroke_distance(painted, window)
    truth = area_of(painted)
    weight = np.zeros(SIZE, np.float32)
    weight[window] = stroke_weight(painted, distance)
    assert (weight[truth < 0.6 * 9 - 0.01] == 1).all()
    assert (weight[truth > 9 + 0.01] == 0).all()
    inside = np.zeros(SIZE, bool)
    inside[window] = distance <= painted.reach_px
    clear = np.abs(truth - painted.reach_px) > 0.02
    np.testing.assert_array_equal(inside[clear], (truth <= painted.reach_px)[clear])
    np.testing.assert_array_equal(inside[clear], (weight >= 0.5)[clear])


@pytest.mark.parametrize("x", [-200.0, -4.0, 111.0, 400.0])
def test_a_stroke_may_leave_the_picture(x: float) -> None:
    """Only what lies inside counts; a stroke that misses the picture covers nothing."""
    painted = stroke(points=np.array([[x, 20.0]]), hardness=1.0)
    window = stroke_window(painted, SIZE)
    inside = np.zeros(SIZE, bool)
    inside[window] = stroke_distance(painted, window) <= 9
    np.testing.assert_array_equal(inside, area_of(painted) <= 9)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "magic"},
        {"points": np.zeros((0, 2))},
        {"points": np.array([[1.0, np.nan]])},
        {"radius_px": 0.0},
        {"radius_px": float("nan")},
        {"hardness": 1.5},
        {"kind": "frame", "frame": None},
        {"kind": "fill", "frame": 3},
    ],
)
def test_impossible_strokes_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+: .+; got .+; .+"):
        stroke(changes.pop("kind", "unknown"), **changes)


# ---- the file


def test_edits_come_back_from_their_file(tmp_path: Path) -> None:
    edits = Edits(SIZE, tuple(stroke(kind, hardness=0.37) for kind in STROKE_KINDS))
    io.write_edits(edits, tmp_path / "edits.json")
    read = io.read_edits(tmp_path / "edits.json")
    assert read.size_px == SIZE
    for one, two in zip(edits, read):
        assert (one.kind, one.radius_px, one.hardness, one.frame) == (two.kind, two.radius_px, two.hardness, two.frame)
        np.testing.assert_array_equal(one.points, two.points)


ENTRY = {"kind": "unknown", "radius_px": 3, "hardness": 1, "points": [[1, 2]]}


@pytest.mark.parametrize(
    "change",
    [
        {"format": "dff-measurements"},
        {"version": 2},
        {"size_px": 5},
        {"size_px": [5]},
        {"edits": {}, "size_px": None},
        {"edits": [{**ENTRY, "kind": "erase"}]},
        {"edits": [{**ENTRY, "points": [[1, 2, 3]]}]},
        {"edits": [{**ENTRY, "points": [[1, None]]}]},
        {"edits": [{**ENTRY, "points": "11"}]},
        {"edits": [{**ENTRY, "points": [1, 2, 3, 4]}]},
        {"edits": [{**ENTRY, "radius_px": "wide"}]},
        {"edits": [{**ENTRY, "kind": "frame", "frame": 1.5}]},
        {"edits": [{**ENTRY, "kind": "frame", "frame": True}]},
        {"edits": [{**ENTRY, "kind": "frame", "frame": -1}]},
        {"edits": [{"kind": "unknown"}]},
        {"edits": [7]},
        {"edits": [{**ENTRY, "radius_px": 1e300}]},
    ],
)
def test_damaged_edits_are_refused_in_one_line(change: dict[str, Any]) -> None:
    content = {"format": "dff-edits", "version": 1, "size_px": [9, 9], "edits": [ENTRY]} | change
    with pytest.raises(ValueError, match=r"^edits.json: must .+; got .+") as caught:
        io.edits_from(content, "edits.json")
    assert "\n" not in str(caught.value)


def test_the_documented_edits_are_edits() -> None:
    """The example in docs/results.md is read as it stands."""
    text = (Path(__file__).parents[1] / "docs" / "results.md").read_text().split("## edits.json")[1]
    found = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert found
    assert io.edits_from(json.loads(found[1])).counts == {"frame": 1, "unknown": 1}


# ---- a membrane


def test_a_membrane_over_a_plane_is_the_plane() -> None:
    """A tilted plane comes back, uncertainty grows toward the middle, and nothing else is touched."""
    y, x = np.mgrid[:60, :70].astype(np.float32)
    plane = 3 + 0.05 * x - 0.03 * y
    area = (x - 30) ** 2 + (y - 28) ** 2 < 15**2
    damaged = np.where(area, np.float32(99), plane)
    filled, sigma = fill_smoothly(damaged, np.full_like(plane, 0.1), area)
    np.testing.assert_array_equal(np.isfinite(filled), area)
    np.testing.assert_allclose(filled[area], plane[area], atol=2e-3)
    assert sigma[28, 30] > sigma[28, 44] > 0.1


def test_a_membrane_stays_within_its_rim_and_the_known() -> None:
    """No overshoot; ground that touches nothing known stays unknown."""
    rng = np.random.default_rng(0)
    depth = rng.uniform(2, 5, (40, 50)).astype(np.float32)
    area = np.zeros(depth.shape, bool)
    area[10:20, 10:20] = area[25:35, 30:40] = True
    depth[22:38, 27:43] = np.nan
    filled, _ = fill_smoothly(depth, np.full_like(depth, 0.1), area)
    assert np.isfinite(filled[10:20, 10:20]).all()
    assert 2 <= np.nanmin(filled) <= np.nanmax(filled) <= 5
    assert np.isnan(filled[25:35, 30:40]).all()


# ---- a result


@pytest.fixture(scope="module")
def scene() -> Scene:
    """A plane, tilted, in frames that lie on disk as 16-bit PNG."""
    return render_scene("plane", size_px=SIZE, frames=FRAMES, snr=200)


@pytest.fixture(scope="module")
def made(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result folder whose frames breathe, with its source frames beside it."""
    base = tmp_path_factory.mktemp("edits")
    io.write_scene(scene, base / "frames")
    stack = replace(io.read_stack(base / "frames"), geometry=scene.stack.geometry)
    breathing = Alignment.identity(FRAMES, SIZE)
    for k in range(FRAMES):
        breathing.transforms[k] = [[1 + 0.002 * (k - 5), 0, 0.4 * (k - 5)], [0, 1 + 0.002 * (k - 5), 0.1], [0, 0, 1]]
        breathing.gains[k] = 1 + 0.004 * (k - 5)
    breathing.transforms[5] = np.eye(3)
    io.write_alignment(breathing, base / "alignment.json", names=stack.names)
    settings = Settings(alignment=str(base / "alignment.json"), threads=1, formats="ply,xyz")
    pipeline.reconstruct_to_folder(stack, base / "result", settings)
    return base / "result"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "result")
    return tmp_path / "result"


@pytest.fixture(scope="module")
def before(made: Path) -> Reconstruction:
    return io.read_reconstruction(made)


def retouched(before: Reconstruction, *strokes: Stroke) -> Reconstruction:
    return pipeline.retouch(before, Edits(SIZE, strokes), source_frames(before, []))


def paint(folder: Path, *strokes: Stroke) -> None:
    io.write_edits(Edits(SIZE, strokes), folder / "edits.json")


def contents(folder: Path, *, but: tuple[str, ...] = ()) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name not in but}


def differing(before: Reconstruction, after: Reconstruction) -> Any:
    """(H, W) where anything of two results differs."""
    one, two = before.depth, after.depth
    changed = (before.all_in_focus != after.all_in_focus).any(axis=2)
    for a, b in ((one.index, two.index), (one.confidence, two.confidence), (one.sigma, two.sigma)):
        changed |= (a != b) & ~(np.isnan(a) & np.isnan(b))
    return changed


def test_the_result_tells_where_its_frames_are(made: Path) -> None:
    result = io.read_reconstruction(made)
    assert [Path(name).name for name in result.files] == list(result.names)
    assert all(Path(name).is_file() for name in result.files)


def test_no_edits_change_nothing(folder: Path) -> None:
    """Without a file, and with an empty one."""
    before = contents(folder)
    pipeline.apply_edits(folder)
    assert contents(folder) == before
    paint(folder)
    pipeline.apply_edits(folder)
    assert contents(folder, but=("edits.json",)) == before


def test_unknown_is_a_hole_everywhere(folder: Path) -> None:
    """NaN, confidence 0, no point and no triangle there; the picture stays."""
    before = io.read_reconstruction(folder)
    painted = stroke("unknown")
    inside = area_of(painted) <= 9 - 0.02
    assert before.depth.known[inside].mean() > 0.9
    paint(folder, painted)
    pipeline.apply_edits(folder)
    after = io.read_reconstruction(folder)
    assert not after.depth.known[inside].any()
    assert not after.depth.confidence[inside].any()
    assert np.isnan(after.depth.sigma[inside]).all()
    assert np.isnan(io.read_map(folder / "depth.tif")[inside]).all()
    assert not differing(before, after)[area_of(painted) > 9 + 0.02].any()
    np.testing.assert_array_equal(before.all_in_focus, after.all_in_focus)
    assert after.edits == {"unknown": 1}
    centre = np.array([(PATH[0][0] + PATH[1][0]) / 2, (PATH[0][1] + PATH[1][1]) / 2])
    pixel = after.geometry.pixel.mean()
    away = (np.array([centre[0] - (SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2 - centre[1]])) * pixel
    points = np.loadtxt(folder / "points.xyz", comments="#")[:, :2]
    assert np.hypot(*(points - away).T).min() > 7 * pixel


def test_a_frame_is_taken_as_it_is(before: Reconstruction) -> None:
    """Inside a hard brush stand the pixels of the moved frame and its number; outside nothing changes."""
    painted = stroke("frame", frame=2)
    after = retouched(before, painted)
    away = area_of(painted)
    inside = away <= 9 - 0.02
    frame = io.read_image(before.files[2]).astype(np.float64)
    moved = warp_frame(io.read_image(before.files[2]), before.alignment.transforms[2])
    wanted = np.clip(np.rint(moved * before.alignment.gains[2]), 0, 65535)
    assert frame.shape == moved.shape
    assert np.abs(after.all_in_focus[inside].astype(float) - wanted[inside]).max() <= 1
    assert (after.depth.index[inside] == 2).all()
    assert (after.depth.confidence[inside] == np.float32(0.6)).all()
    assert (after.depth.sigma[inside] == 0.5).all()
    assert not differing(before, after)[away > 9 + 0.02].any()


def test_a_soft_rim_fades_between_picture_and_frame(before: Reconstruction) -> None:
    painted = stroke("frame", frame=0, hardness=0.2)
    after = retouched(before, painted)
    away = area_of(painted)
    rim = (away > 0.2 * 9 + 0.02) & (away < 9 - 0.02)
    low, high = (
        extreme(
            before.all_in_focus[rim],
            np.rint(warp_frame(io.read_image(before.files[0]), before.alignment.transforms[0])[rim] * 0.98),
        )
        for extreme in (np.minimum, np.maximum)
    )
    got = after.all_in_focus[rim].astype(float)
    assert (got >= low - 1).all()
    assert (got <= high + 1).all()
    assert not differing(before, after)[away > 9 + 0.02].any()
    np.testing.assert_array_equal((after.depth.index == 0)[rim], (away <= 9 * 0.6)[rim])


def test_what_a_frame_does_not_cover_stays(before: Reconstruction) -> None:
    painted = stroke("frame", frame=0, points=np.array([[110.0, 60.0]]), hardness=1.0)
    after = retouched(before, painted)
    bare = ~covered(before.alignment.transforms[0], SIZE) & (area_of(painted) <= 9)
    assert bare.any()
    assert not differing(before, after)[bare].any()


def test_a_fill_repairs_a_plane(before: Reconstruction, scene: Scene) -> None:
    """A wrong patch and a hole take the depth of the plane around them, and the picture stays."""
    wide = stroke("fill", radius_px=13.0)
    after = retouched(before, stroke("frame", frame=9), stroke("unknown", points=np.array([[52.0, 40.0]])), wide)
    inside = area_of(wide) <= 12.9
    assert after.depth.known[inside].all()
    assert np.abs(after.depth.index - scene.index)[inside].max() < 0.5
    assert (after.depth.sigma[inside] > 0).all()
    assert before.all_in_focus.shape == after.all_in_focus.shape


def test_later_strokes_cover_earlier_ones(before: Reconstruction) -> None:
    after = retouched(before, stroke("unknown"), stroke("frame", frame=3))
    assert (after.depth.index[area_of(stroke()) <= 8.9] == 3).all()


def test_applying_twice_is_applying_once_and_the_untouched_result_comes_back(folder: Path) -> None:
    """Byte for byte, whatever was painted in between; the user's own files are left alone."""
    before = contents(folder)
    (folder / "measurements.json").write_text("{}")
    paint(folder, stroke("frame"), stroke("fill", radius_px=12.0))
    pipeline.apply_edits(folder)
    once = contents(folder)
    pipeline.apply_edits(folder)
    assert contents(folder) == once
    assert contents(folder / "originals", but=("edits.json",)) == before
    (folder / "edits.json").unlink()
    pipeline.apply_edits(folder)
    assert contents(folder) == before | {"measurements.json": b"{}"}


def test_an_interrupted_run_changes_nothing(folder: Path) -> None:
    """Nor does it leave anything beside the folder."""
    paint(folder, stroke("frame"))
    before, beside = contents(folder), sorted(folder.parent.iterdir())

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "mesh" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.apply_edits(folder, on_progress=stop)
    assert contents(folder) == before
    assert sorted(folder.parent.iterdir()) == beside


def test_only_frames_that_are_needed_are_read(folder: Path, tmp_path: Path, made: Path) -> None:
    """The others may be gone; a needed one that is gone is named, and nothing changes; --frames finds it."""
    moved = tmp_path / "moved"
    moved.mkdir()
    names = io.read_reconstruction(folder).names
    shutil.copy(made.parent / "frames" / names[4], moved)
    table = json.loads((folder / "reconstruction.json").read_text())
    table["files"] = [str(tmp_path / "gone" / name) for name in names]
    (folder / "reconstruction.json").write_text(json.dumps(table))
    before = contents(folder)
    paint(folder, stroke("frame", frame=4))
    with pytest.raises(FileNotFoundError, match=rf"{names[4]} must be there; got none in .*gone; .*--frames"):
        pipeline.apply_edits(folder)
    assert contents(folder, but=("edits.json",)) == before
    pipeline.apply_edits(folder, frames=moved)
    assert (io.read_reconstruction(folder).depth.index[area_of(stroke()) <= 8.9] == 4).all()


def test_frames_that_are_pages_of_one_file_are_found_again(tmp_path: Path) -> None:
    """By their names, in any order, also of a file that was moved."""
    import tifffile

    pages = np.random.default_rng(0).integers(0, 255, (5, 20, 24), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    stack = io.read_stack(tmp_path / "stack.tif").subset([4, 2, 0])
    again = io.reopen_frames(stack.files, stack.names, stack.shape, stack.dtype)
    for k, page in enumerate((4, 2, 0)):
        np.testing.assert_array_equal(again[k][..., 0], pages[page])
    (tmp_path / "stack.tif").rename(tmp_path / "moved.tif")
    result = Reconstruction(
        all_in_focus=pages[0][..., None],
        depth=DepthMap(*(np.zeros((20, 24), np.float32) for _ in range(3))),
        geometry=unknown_geometry(range(3), (20, 24)),
        alignment=Alignment.identity(3, (20, 24)),
        names=stack.names,
        files=stack.files,
    )
    with pytest.raises(FileNotFoundError, match=r"stack.tif must be there"):
        source_frames(result, [1])
    moved = source_frames(result, [1], moved_to=tmp_path / "moved.tif")
    np.testing.assert_array_equal(moved[1][..., 0], pages[2])


def test_edits_of_another_picture_are_refused(folder: Path) -> None:
    io.write_edits(Edits((50, 50), (stroke("unknown"),)), folder / "edits.json")
    with pytest.raises(ValueError, match="must be painted on this result; got strokes on 50 x 50 px"):
        pipeline.apply_edits(folder)
    paint(folder, stroke("frame", frame=FRAMES))
    with pytest.raises(ValueError, match=f"frames must be from 0 to {FRAMES - 1}; got {FRAMES}"):
        pipeline.apply_edits(folder)


def test_the_command_applies_and_tells(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paint(folder, stroke("frame"), stroke("unknown"))
    before = contents(folder)
    assert cli.main(["apply", str(folder), "--dry-run"]) == 0
    told = capsys.readouterr().err
    assert "1 frame, 1 unknown" in told
    assert "1 to be read" in told
    assert contents(folder) == before
    assert cli.main(["apply", str(folder), "--quiet"]) == 0
    assert io.read_reconstruction(folder).edits == {"frame": 1, "unknown": 1}
    assert cli.main(["apply", str(folder.parent / "nothing")]) == 2
    (folder / "edits.json").write_text("{")
    capsys.readouterr()
    assert cli.main(["apply", str(folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# ---- depths that compete


def layered_frames() -> list[Any]:
    """A veil that is sharp at frame 4.3 before a wall that is sharp at frame 11.2."""
    rng = np.random.default_rng(3)
    walls = [cv2.GaussianBlur(rng.normal(0, 1, (72, 80)).astype(np.float32), (0, 0), 0.7) for _ in range(2)]
    frames = []
    for k in range(16):
        layers = [cv2.GaussianBlur(wall, (0, 0), 0.2 + 0.8 * abs(k - at)) for wall, at in zip(walls, (4.3, 11.2))]
        picture = 0.5 + 0.16 * layers[0] + 0.1 * layers[1]
        frames.append(np.clip(np.rint(255 * picture), 0, 255).astype(np.uint8)[..., None])
    return frames


def test_the_nearer_and_the_farther_of_two_layers() -> None:
    """From either layer the brush finds the other, and no third."""
    frames = layered_frames()
    stack = FocalStack(frames, tuple(f"{k}" for k in range(16)), (72, 80, 1), np.dtype(np.uint8))
    with pytest.warns(UserWarning, match="scale is not known"):
        result = pipeline.reconstruct(stack, Settings(align="none", threads=1))
    assert np.nanmedian(result.depth.index) == pytest.approx(4.3, abs=0.3)
    assert result.geometry.z[0] > result.geometry.z[-1]
    brush = {"points": np.array([[40.0, 36.0]]), "radius_px": 20.0, "frame": None}
    inside = area_of(stroke(**brush), (72, 80)) <= 19.9
    farther = pipeline.retouch(result, Edits((72, 80), (stroke("farther", **brush),)), frames)
    found = farther.depth.index[inside]
    assert np.median(found) == pytest.approx(11.2, abs=0.4)
    assert np.mean(np.abs(found - 11.2) < 1) > 0.9
    assert not differing(result, farther)[~inside & (area_of(stroke(**brush), (72, 80)) > 20.02)].any()
    wanted = pipeline.retouch(result, Edits((72, 80), (stroke("frame", **(brush | {"frame": 11})),)), frames)
    both = farther.all_in_focus[inside].astype(float), wanted.all_in_focus[inside].astype(float)
    assert np.corrcoef(both[0].ravel(), both[1].ravel())[0, 1] > 0.95
    again = Edits((72, 80), (stroke("farther", **brush), stroke("nearer", **brush)))
    back = pipeline.retouch(result, again, frames).depth.index[inside]
    assert np.nanmedian(np.abs(back - result.depth.index[inside])) < 0.3
    nothing = pipeline.retouch(result, Edits((72, 80), (stroke("nearer", **brush),)), frames)
    assert differing(result, nothing).mean() < 0.02
