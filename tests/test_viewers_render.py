"""Pictures and films of a result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dff import io, preview
from dff.optics import stepped_geometry
from dff.stack import Alignment, DepthMap, Mesh, Reconstruction
from viewers import render

SIZE = (96, 128)


def two_plates() -> Mesh:
    """A white level ground, and above it a small red plate."""

    def plate(half: float, z: float) -> np.ndarray:
        return np.array([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]], np.float32)

    white, red = np.full((4, 3), 230, np.uint8), np.tile(np.array([220, 10, 10], np.uint8), (4, 1))
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return Mesh(
        vertices=np.concatenate([plate(1, 0), plate(0.2, 0.5)]),
        triangles=np.concatenate([triangles, triangles + 4]),
        normals=np.tile(np.array([0, 0, 1], np.float32), (8, 1)),
        colours=np.concatenate([white, red]),
        uv=np.zeros((8, 2), np.float32),
    )


def red_column(picture: np.ndarray) -> float:
    """Mean column of the red plate."""
    red = (picture[..., 0] > 90) & (picture[..., 1] < 60)
    assert red.any()
    return float(np.nonzero(red)[1].mean())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows, columns = np.mgrid[0:40, 0:50].astype(np.float32)
    index = 2 + np.sin(columns / 8) + 0.02 * rows
    picture = np.stack([columns * 5, rows * 6, 128 + 0 * rows], axis=-1).astype(np.uint8)
    result = Reconstruction(
        all_in_focus=picture,
        depth=DepthMap(index, np.ones_like(index), np.full_like(index, 0.05)),
        geometry=stepped_geometry(0.1 * np.arange(5), (40, 50), pixel_size_mm=0.02),
        alignment=Alignment.identity(5, (40, 50)),
        names=tuple("abcde"),
    )
    folder = tmp_path_factory.mktemp("render") / "result"
    io.write_reconstruction(result, folder)
    return folder


def test_every_kind_is_made_and_told(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any screen."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    stages: dict[str, int] = {}
    options = render.RenderOptions(SIZE, seconds=0.4, frames_per_s=10)
    paths = render.render_result(
        folder, tmp_path, options=options, on_progress=lambda s, done, _: stages.update({s: done})
    )
    assert {path.name for path in paths} == {
        "still.png", "sheet.png", "turntable.mp4", "turntable.gif", "rocking.mp4", "rocking.gif",
        "stereo_parallel.png", "stereo_cross_eyed.png", "anaglyph.png",
    }  # fmt: skip
    assert all(path.stat().st_size > 500 for path in paths)
    assert stages["turntable"] == 4
    film = io.read_stack(str(tmp_path / "turntable.mp4"))
    assert (len(film), film.shape[:2]) == (4, SIZE)
    assert np.abs(film.frames[0].astype(float) - film.frames[2]).mean() > 2


def test_unknown_kinds_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--what: must name still, .*got 'hologram'"):
        render.render_result(folder, tmp_path, ["still", "hologram"])


def test_without_pyav_films_are_gif_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a warning says what MP4 needs."""
    monkeypatch.setattr(render.importlib.util, "find_spec", lambda _: None)
    pictures = [np.full((16, 16, 3), 40 * k, np.uint8) for k in range(4)]
    with pytest.warns(UserWarning, match=r"rocking\.mp4: needs PyAV"):
        assert render.write_films(tmp_path / "rocking", iter(pictures), frames_per_s=5) == [tmp_path / "rocking.gif"]


def test_frames_that_cannot_be_found_are_named(folder: Path, tmp_path: Path) -> None:
    """Before anything is drawn of them; the mesh needs none."""
    frames = render.RenderOptions(SIZE, stereo="frames")
    with pytest.raises(ValueError, match="does not tell its files; name their folder with --frames"):
        render.render_result(folder, tmp_path, ["anaglyph"], frames)
    assert render.render_result(folder, tmp_path, ["still"], frames) == [tmp_path / "still.png"]
    with pytest.raises(ValueError, match="--stereo: must be mesh or frames; got 'hair'"):
        render.RenderOptions(stereo="hair")


def test_rocking_made_of_frames_swings_both_ways(tmp_path: Path) -> None:
    """Each angle is fused once, left and right alike, and the film closes."""
    asked: list[float] = []

    class Frames:
        def views(self, angles_deg: list[float], **_: object) -> list[np.ndarray]:
            asked.extend(angles_deg)
            return [np.full((16, 16, 3), 128 + angle, np.uint8) for angle in angles_deg]

    options = render.RenderOptions(SIZE, seconds=2, stereo="frames")
    studio = render._Studio(two_plates(), options, lambda *_: None, Frames())  # type: ignore[arg-type]
    assert [path.suffix for path in studio.make("rocking", tmp_path)] == [".mp4", ".gif"]
    assert len(asked) == render.ROCKING_FRAMES
    assert len(set(asked)) == render.ROCKING_FRAMES // 2 + 1
    assert max(asked) == -min(asked) == pytest.approx(render.ROCKING_DEG)
    assert asked[0] == 0


def test_films_have_two_endings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.mp4 or \.gif"):
        io.write_film(tmp_path / "film.avi", [np.zeros((8, 8, 3), np.uint8)], frames_per_s=5)
    with pytest.raises(ValueError, match="needs pictures"):
        io.write_film(tmp_path / "film.gif", [], frames_per_s=5)
    assert list(tmp_path.iterdir()) == []


def test_the_turntable_closes() -> None:
    """The step from the last view to the first is the step between neighbours, and the camera stays above."""
    views = render.turntable_views(8)
    turns = [np.linalg.norm(views[k] - views[k - 1]) for k in range(8)]
    np.testing.assert_allclose(turns, turns[0])
    heights = [float((view @ [0, 0, 1])[1]) for view in views]
    np.testing.assert_allclose(heights, heights[0])
    assert heights[0] > 0.5


def test_rocking_swings_both_ways() -> None:
    """What is near moves against what is far, right as the camera goes left, and both ways alike."""
    views = render.rocking_views(4, preview.view_of(0, 0))
    still, from_left, _, from_right = (red_column(p) for p in preview.render_views(two_plates(), views, size_px=SIZE))
    assert from_left - still > 2
    assert from_right - still == pytest.approx(still - from_left, abs=1.0)


def test_scale_is_steady_from_view_to_view() -> None:
    """A ground that does not turn keeps its size whatever the other views are."""
    front = preview.view_of(0, 0)
    pictures = list(preview.render_views(two_plates(), [front, preview.view_of(60, 0), front], size_px=SIZE))
    np.testing.assert_array_equal(pictures[0], pictures[2])


def test_the_left_eye_is_at_the_left(folder: Path) -> None:
    """In a pair for parallel eyes a near thing lies farther right in the left picture than in the right one."""
    studio = render._Studio(two_plates(), render.RenderOptions(SIZE), lambda *_: None)
    left, right = studio._eyes("pair")
    assert red_column(left) > red_column(right)


def test_an_anaglyph_of_one_grey_is_grey() -> None:
    grey = np.full((4, 4, 3), 128, np.uint8)
    assert np.ptp(render.anaglyph(grey, grey).astype(int)) <= 12
    black = np.zeros_like(grey)
    only_left = render.anaglyph(grey, black)[0, 0].astype(int)
    assert only_left[0] > 90
    assert only_left[1:].max() < 20
