"""Pictures to look at show what is there, at its place, and say what they show."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dff import optics
from dff.preview import confidence_picture, contact_sheet, depth_picture, relief_picture, render_still, still
from dff.preview.lettering import INK, number, round_below, round_steps, text_mask, write_text
from dff.preview.maps import UNKNOWN, hillshade, shrunk
from dff.stack import Alignment, DepthMap, Mesh
from dff.surface import grid_mesh

SIZE = (240, 320)


def ramp() -> np.ndarray:
    """Height that grows to the right, unknown in a corner."""
    height = np.tile(np.linspace(0, 2, SIZE[1], dtype=np.float32), (SIZE[0], 1))
    height[:40, :40] = np.nan
    return height


# Numbers and letters


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.013, 0.0178), (-3, 250), (12.2, 12.9)])
def test_steps_of_a_scale_are_round(low: float, high: float) -> None:
    """Ticks lie within the range, 1, 2 or 5 times a power of ten apart, and their numbers tell them apart."""
    ticks = round_steps(low, high, 6)
    step = ticks[1] - ticks[0]
    assert low - 1e-9 <= ticks[0] <= ticks[-1] <= high + 1e-9
    assert 3 <= len(ticks) <= 12
    mantissa = step / 10 ** np.floor(np.log10(step) + 1e-9)
    assert min(abs(mantissa - m) for m in (1, 2, 5)) < 1e-6
    words = [number(tick, step) for tick in ticks]
    assert len(set(words)) == len(words)
    np.testing.assert_allclose([float(word) for word in words], ticks, atol=step * 1e-6)


def test_text_stays_inside_the_picture() -> None:
    """A line that reaches over the edge is cut there; one inside is drawn whole."""
    picture = np.full((40, 60, 3), 255, np.uint8)
    for place in ((-10, 2), (55, 39), (30, -30), (200, 20)):
        write_text(picture, "0.25 mm", place, size_px=16)
    picture = np.full((40, 120, 3), 255, np.uint8)
    write_text(picture, "0.25 mm", (60, 20), size_px=16, anchor="centre", colour=(0, 0, 0))
    assert abs((255.0 - picture).sum() / 3 / 255 - text_mask("0.25 mm", 16).sum()) < 5


# Maps


def test_a_depth_picture_shows_high_and_low_and_unknown() -> None:
    """Colours run with height; unknown pixels are a neutral ground; the scale stands beside the map."""
    picture = depth_picture(ramp(), "mm")
    assert picture.dtype == np.uint8
    assert picture.shape[0] == SIZE[0]
    assert picture.shape[1] > SIZE[1]
    assert set(np.unique(picture[:40, :40])) == set(UNKNOWN)
    row = cv2.cvtColor(picture[120:121, : SIZE[1]], cv2.COLOR_RGB2GRAY)[0].astype(int)
    assert (np.diff(row[5:-5]) >= -3).all()
    assert row[-5] > row[5] + 100
    assert (picture[:, -3:] == 255).all()


def test_a_depth_picture_does_not_depend_on_the_unit() -> None:
    """The same surface in mm, µm or frames looks the same; only the scale beside it reads otherwise."""
    millimetres, micrometres = depth_picture(ramp(), "mm"), depth_picture(ramp() * 1000, "mm")
    difference = millimetres[:, : SIZE[1]].astype(int) - micrometres[:, : SIZE[1]]
    assert np.abs(difference).max() <= 1


def test_the_bar_of_length_is_as_long_as_it_says() -> None:
    """A pixel of 0.01 mm in a map of 320 px: the bar stands for 0.5 mm, the round length below a quarter, 50 px."""
    picture = depth_picture(np.zeros(SIZE, np.float32), "mm", pixel=0.01)
    white = (picture[SIZE[0] // 2 :, : SIZE[1]] == 255).all(axis=-1)
    assert white.sum(axis=1).max() == 50
    assert [round_below(limit) for limit in (0.8, 1.0, 4.99, 260, 0.0021)] == [0.5, 1, 2, 200, 0.002]


def test_maps_without_anything_known_are_drawn() -> None:
    """An empty map gives a picture and no warning."""
    empty = np.full(SIZE, np.nan, np.float32)
    assert depth_picture(empty, "frames", pixel=1.0, xy_unit="px").shape[0] == SIZE[0]
    assert (relief_picture(empty) == 255).all()


def test_shrinking_takes_means_of_known_values() -> None:
    """Blocks are averaged over what is known; a block that is mostly unknown is unknown."""
    values = np.arange(64, dtype=np.float32).reshape(8, 8)
    values[0, 0] = np.nan
    values[4:8, 4:7] = np.nan
    small = shrunk(values, 2)
    assert small.shape == (2, 2)
    assert small[0, 0] == pytest.approx(np.nanmean(values[:4, :4]))
    assert np.isnan(small[1, 1])


def test_light_falls_from_the_upper_left() -> None:
    """Slopes that face up or left are bright, the others dark, level ground is one; unknown stays unknown."""
    rows, columns = np.mgrid[:100, :100].astype(np.float32)
    cone = np.maximum(40 - np.hypot(rows - 50, columns - 50), 0)
    cone[90:, 90:] = np.nan
    shade = hillshade(cone)
    assert shade[50, 25] > 1.1
    assert shade[25, 50] > 1.1
    assert shade[50, 75] < 0.8
    assert shade[75, 50] < 0.8
    assert shade[3, 3] == pytest.approx(1, abs=1e-5)
    assert np.isnan(shade[95, 95])
    np.testing.assert_allclose(hillshade(cone * 1e-3), shade, atol=1e-4)


def test_confidence_runs_from_dark_to_bright() -> None:
    """No confidence is black, full confidence nearly white."""
    confidence = np.tile(np.linspace(0, 1, SIZE[1], dtype=np.float32), (SIZE[0], 1))
    picture = confidence_picture(confidence)
    assert picture[100, 0].max() < 10
    assert picture[100, SIZE[1] - 1].min() > 150


def test_large_maps_become_pictures_of_bounded_size() -> None:
    """A map larger than the picture is shrunk to it."""
    assert max(relief_picture(np.zeros((900, 2500), np.float32), max_px=600).shape) <= 600


# Contact sheet


class Frames:
    """Frames of one colour each, that count how often each is decoded."""

    def __init__(self, count: int, dtype: str, channels: int) -> None:
        self.count, self.dtype, self.channels = count, np.dtype(dtype), channels
        self.decoded: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int, /) -> np.ndarray:
        self.decoded.append(k)
        white = np.iinfo(self.dtype).max if self.dtype.kind == "u" else 1
        return np.full((30, 48, self.channels), white * (k + 1) / (self.count + 1), self.dtype)


@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 3), ("uint16", 3), ("float32", 1), ("uint16", 1)])
def test_a_contact_sheet_shows_every_frame_in_order(dtype: str, channels: int) -> None:
    """The middle of each cell has its frame's brightness, row by row; no frame is decoded more than twice."""
    frames = Frames(11, dtype, channels)
    sheet = contact_sheet(frames, width_px=800)
    assert sheet.shape[1] == 800
    assert max(frames.decoded.count(k) for k in range(11)) <= 2
    middles = []
    for level in 255 * (np.arange(11) + 1) / 12:
        cell = np.abs(sheet.astype(float) - level).max(axis=-1) <= 1
        cell = cv2.erode(cell.astype(np.uint8), np.ones((9, 9)))
        assert cell.sum() > 2000
        middles.append(tuple(np.rint(np.median(np.argwhere(cell), axis=0) / 20)))
    assert middles == sorted(middles)


def test_two_frames_stand_side_by_side() -> None:
    """A short stack gives a sheet, with words instead of numbers when they are given."""
    plain = contact_sheet(Frames(2, "uint8", 3), width_px=400)
    named = contact_sheet(Frames(2, "uint8", 3), width_px=400, labels=["near", "far"])
    assert plain.shape == named.shape
    assert (plain != named).any()


# Still


def square(height: float, colour: tuple[int, int, int], side: float, first: int) -> tuple[np.ndarray, ...]:
    """Vertices, triangles and colours of a level square."""
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32) * side / 2
    corners[:, 2] = height
    return corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32) + first, np.tile(np.uint8(colour), (4, 1))


def two_squares(unit: str = "mm") -> Mesh:
    """A small red square above a large blue one."""
    low, high = square(0, (0, 0, 200), 10, 0), square(2, (200, 0, 0), 4, 4)
    vertices, triangles, colours = (np.concatenate(pair) for pair in zip(low, high))
    normals = np.tile(np.float32([0, 0, 1]), (8, 1))
    return Mesh(vertices, triangles, normals, colours, np.zeros((8, 2), np.float32), unit)


def test_the_nearer_surface_hides_the_farther() -> None:
    """Straight from above the red square lies whole in the blue one, larger by perspective, whatever comes first."""
    mesh = two_squares()
    turned = Mesh(mesh.vertices, mesh.triangles[::-1], mesh.normals, mesh.colours, mesh.uv)
    for shown in (mesh, turned):
        picture = render_still(shown, size_px=(200, 300), turn_deg=0, tilt_deg=0).astype(int)
        red = (picture[..., 0] > 100) & (picture[..., 2] < 50)
        blue = (picture[..., 2] > 100) & (picture[..., 0] < 50)
        assert red[100, 150]
        assert 0.16 < red.sum() / (red.sum() + blue.sum()) < 0.25
        rows, columns = np.nonzero(red | blue)
        assert abs(np.ptp(rows) - np.ptp(columns)) <= 2
        assert (red | blue)[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].mean() > 0.97


def test_right_is_right_and_up_is_up() -> None:
    """The picture is not mirrored, and from below the lower edge comes nearer."""
    mesh = two_squares()
    moved = mesh.vertices.copy()
    moved[4:] += (2.5, 2.5, 0)
    mesh = Mesh(moved, mesh.triangles, mesh.normals, mesh.colours, mesh.uv)
    picture = render_still(mesh, size_px=(200, 300), turn_deg=0, tilt_deg=0).astype(int)
    rows, columns = np.nonzero((picture[..., 0] > 100) & (picture[..., 2] < 50))
    assert rows.mean() < 100
    assert columns.mean() > 150
    tilted = render_still(two_squares(), size_px=(200, 300), turn_deg=0, tilt_deg=40).astype(int)
    blue = (tilted[..., 2] > 100) & (tilted[..., 0] < 50)
    filled = np.nonzero(blue.any(axis=1))[0]
    assert np.ptp(np.nonzero(blue[filled[-3]])[0]) > np.ptp(np.nonzero(blue[filled[3]])[0])


def test_fine_and_coarse_triangles_make_the_same_picture() -> None:
    """A level square of two triangles and of ten thousand look alike: every pixel is filled, once."""
    size = (71, 71)
    geometry = optics.stepped_geometry(np.arange(5) * 0.1, size, pixel_size_mm=0.1)
    level = DepthMap(np.full(size, 2, np.float32), np.ones(size, np.float32), np.zeros(size, np.float32))
    fine = grid_mesh(level, geometry, Alignment.identity(5, size), np.full((*size, 3), (90, 160, 40), np.uint8))
    corners = np.int32([[0, 71 * 70, 71 * 71 - 1], [0, 71 * 71 - 1, 70]])
    coarse = Mesh(fine.vertices, corners, fine.normals, fine.colours, fine.uv)
    pictures = [
        render_still(mesh, size_px=(150, 200), turn_deg=20, tilt_deg=30, relief=1).astype(int)
        for mesh in (fine, coarse)
    ]
    differs = np.abs(pictures[0] - pictures[1]).max(axis=-1) > 2
    assert differs.mean() < 0.002
    assert (pictures[1][..., 1] - pictures[1][..., 0] > 40).sum() > 4000


def test_the_view_is_chosen_from_the_side_that_the_surface_faces() -> None:
    """A slope that faces right and up is seen from there: it takes more of the picture than from the other side."""
    mesh = two_squares()
    slope = mesh.vertices[:4].copy()
    slope[:, 2] = -0.8 * slope[:, 0] - 0.8 * slope[:, 1]
    normals = np.tile(np.float32([0.8, 0.8, 1]) / np.sqrt(2.28).astype(np.float32), (4, 1))
    mesh = Mesh(slope, mesh.triangles[:2], normals, mesh.colours[:4], mesh.uv[:4])
    chosen = render_still(mesh, size_px=(150, 200))
    away = render_still(mesh, size_px=(150, 200), turn_deg=24, tilt_deg=38)
    covered = [(p[..., 2].astype(int) - p[..., 0] > 40).sum() for p in (chosen, away)]
    assert covered[0] > 1.5 * covered[1]


def test_flat_and_unscaled_surfaces_are_raised_and_say_so() -> None:
    """Heights are true to scale where they can be; otherwise a line in the corner tells the factor."""
    assert still.fitting_relief(two_squares()) == 1
    flat = two_squares()
    flat = Mesh(flat.vertices * np.float32([1, 1, 0.05]), flat.triangles, flat.normals, flat.colours, flat.uv)
    assert still.fitting_relief(flat) == pytest.approx(10, rel=0.05)
    assert still.fitting_relief(two_squares("x, y in px, z in frames")) == pytest.approx(1.1, rel=0.05)
    for mesh, says in ((two_squares(), False), (flat, True), (two_squares("x, y in px, z in frames"), True)):
        corner = render_still(mesh, size_px=(450, 600))[-40:, :200].astype(int)
        assert (np.abs(corner - INK).max(axis=-1) < 12).any() == says
