"""Geometry tables: every column and unit, and every mistake with its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dff.io import read_focus_table, read_geometry, write_geometry
from dff.optics import magnification, ring_geometry, table_geometry, unknown_geometry

SIZE = (100, 200)


def table(folder: Path, text: str, name: str = "z.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "z_mm\n0.3\n0.1\n0\n",
        "z_um\n300\n100\n0\n",
        "z_µm\n300\n100\n0\n",
        "z_m\n0.0003\n0.0001\n0\n",
        "z_nm\n300000\n100000\n0\n",
        "# z_mm\n0.3\n0.1\n0",
        "# measured on Monday\nz_mm\n\n0.3\n# the second\n0.1\n0\n",
        "\ufeffZ (mm)\r\n0.3\r\n0.1\r\n0\r\n",
        "Height [mm];note\n0,3;a\n0,1;b\n0;c\n",
        "index\tz_mm\n7\t0.3\n8\t0.1\n9\t0\n",
        "z_mm, comment\n0.3, first\n0.1,\n0,last\n",
        "z_mm\n10.3\n10.1\n10.0\n",
    ],
)
def test_heights_in_every_spelling(tmp_path: Path, text: str) -> None:
    """Units, separators, decimal commas, comments, byte-order marks; zero is the lowest."""
    geometry = read_geometry(table(tmp_path, text), 3, SIZE)
    np.testing.assert_allclose(geometry.z, [0.3, 0.1, 0], atol=1e-12)
    np.testing.assert_array_equal(geometry.centre_px, [[99.5, 49.5]] * 3)
    assert (geometry.z_unit, geometry.xy_unit, geometry.capture) == ("mm", "px", "table")


@pytest.mark.parametrize(
    "text", ["z_mm,pixel_mm\n0,0.004\n1,0.005", "z_mm;pixel_um\n0;4\n1;5", "z_mm,pixel_size_um\n0,4\n1,5"]
)
def test_pixel_sizes(tmp_path: Path, text: str) -> None:
    """One pixel size a frame makes the geometry metric."""
    geometry = read_geometry(table(tmp_path, text), 2, SIZE)
    np.testing.assert_allclose(geometry.pixel, [0.004, 0.005])
    assert geometry.metric


def test_magnification_needs_the_pixel_pitch(tmp_path: Path) -> None:
    """Pixel size is pitch over magnification."""
    path = table(tmp_path, "z_mm,magnification\n0,2\n1,4\n")
    np.testing.assert_allclose(read_geometry(path, 2, SIZE, pixel_pitch_mm=0.004).pixel, [0.002, 0.001])
    with pytest.raises(ValueError, match="magnification needs the pixel pitch; got none; give --pixel-pitch in mm"):
        read_geometry(path, 2, SIZE)


def test_what_the_table_leaves_open_comes_from_the_options(tmp_path: Path) -> None:
    """A pixel size for all frames; a medium that stretches the sweep; a table's own values stand first."""
    path = table(tmp_path, "z_mm\n0\n1\n")
    geometry = read_geometry(path, 2, SIZE, pixel_size_mm=0.01, medium_index=1.33)
    np.testing.assert_allclose(geometry.pixel, 0.01)
    np.testing.assert_allclose(geometry.z, [0, 1.33])
    path = table(tmp_path, "z_mm,pixel_mm\n0,0.004\n1,0.004\n")
    np.testing.assert_allclose(read_geometry(path, 2, SIZE, pixel_size_mm=0.01).pixel, 0.004)


def test_principal_points(tmp_path: Path) -> None:
    """Each frame's own centre, in either spelling."""
    path = table(tmp_path, "z_mm,center_x_px,centre_y_px\n0,99,50\n1,101,48\n")
    np.testing.assert_array_equal(read_geometry(path, 2, SIZE).centre_px, [[99, 50], [101, 48]])


@pytest.mark.parametrize("first", ["near", "far"])
def test_positions_are_way_travelled(tmp_path: Path, first: str) -> None:
    """A rail's scale may count either way: what is near is said by the option."""
    for text in ("position_mm\n10\n12\n15\n", "position_mm\n15\n13\n10\n"):
        z = read_geometry(table(tmp_path, text), 3, SIZE, first=first).z
        np.testing.assert_allclose(z, [5, 3, 0] if first == "near" else [0, 2, 5])


def test_focus_distances_are_a_focus_ring(tmp_path: Path) -> None:
    """Lens-to-subject distances with the focal length give the ring's geometry; other columns may refine it."""
    distances_mm = np.array([300.0, 320.0, 350.0])
    expected = ring_geometry(distances_mm, SIZE, focal_length_mm=60, pixel_pitch_mm=0.004)
    options = {"focal_length_mm": 60.0, "pixel_pitch_mm": 0.004}
    for text in ("focus_distance_mm\n300\n320\n350", "Focus distance (m)\n.3\n.32\n.35"):
        geometry = read_geometry(table(tmp_path, text), 3, SIZE, **options)
        np.testing.assert_allclose(geometry.z, expected.z, atol=1e-9)
        np.testing.assert_allclose(geometry.pixel, 0.004 / magnification(60, distances_mm))
        assert geometry.capture == "ring"
    path = table(tmp_path, "focus_distance_mm,pixel_um,centre_x_px,centre_y_px\n300,20,1,2\n350,24,3,4\n")
    geometry = read_geometry(path, 2, SIZE, focal_length_mm=60)
    np.testing.assert_allclose(geometry.pixel, [0.020, 0.024])
    np.testing.assert_array_equal(geometry.centre_px, [[1, 2], [3, 4]])
    assert geometry.metric
    with pytest.raises(ValueError, match="focus distances need the focal length; got none; give --focal-length"):
        read_geometry(path, 2, SIZE)
    with pytest.raises(ValueError, match="--medium-index: must be 1 with focus distances"):
        read_geometry(path, 2, SIZE, focal_length_mm=60, medium_index=1.33)


def test_rows_are_matched_by_file_name(tmp_path: Path) -> None:
    """In any order, with or without the ending, in any case; rows of frames that are not used do not matter."""
    path = table(tmp_path, "z_mm,file\n3,C.jpg\n1,a\n2,b.JPG\n9,unused.jpg\n")
    geometry = read_geometry(path, 3, SIZE, names=("a.jpg", "b.jpg", "c.jpg"))
    np.testing.assert_array_equal(geometry.z, [0, 1, 2])
    with pytest.raises(ValueError, match=r"must have a row for each frame; got none for 'd.jpg'; add it"):
        read_geometry(path, 2, SIZE, names=("a.jpg", "d.jpg"))


@pytest.mark.parametrize("start", [0, 1])
def test_rows_are_matched_by_number(tmp_path: Path, start: int) -> None:
    """Counted from 0, or from 1 where that is plain."""
    text = f"frame,z_mm\n{start + 2},3\n{start},1\n{start + 1},2\n"
    geometry = read_geometry(table(tmp_path, text), 3, SIZE, names=("x.jpg", "y.jpg", "z.jpg"))
    np.testing.assert_array_equal(geometry.z, [0, 1, 2])


def test_an_unsorted_table_gives_the_order_of_the_frames(tmp_path: Path) -> None:
    """Frames shot in any order can be sorted by their table, from the end that the first row is nearer to."""
    path = table(tmp_path, "z_mm\n2\n0\n1\n")
    assert read_focus_table(path, 3).order() == [0, 2, 1]
    np.testing.assert_array_equal(read_geometry(path, 3, SIZE).z, [2, 1, 0])
    assert read_focus_table(table(tmp_path, "z_mm\n0.5\n0\n2\n"), 3).order() == [1, 0, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.1\n0.2\n0.3\n", r"first line must name the columns; got '0.1'; put z_mm or the like above it"),
        ("", r"must hold a table; got an empty file"),
        ("# nothing\n", r"must hold a table; got an empty file"),
        ("z_mm\n0.1\n0.2\n", r"must have one row a frame; got 2 rows for 3 frames; add the missing rows"),
        ("z_mm\n1\n2\n3\n4\n", r"got 4 rows for 3 frames"),
        ("z_mm\n1\ntwo\n3\n", r"z.csv, line 3: z_mm must be a finite number; got 'two'; mend the row"),
        ("z_mm\n1\n\nnan\n3\n", r"line 4: z_mm must be a finite number; got 'nan'"),
        ("z_mm\n1\n2\ninf\n", r"line 4: z_mm must be a finite number; got 'inf'"),
        ("z_mm,pixel_mm\n1,1\n2\n3,1\n", r"line 3: must have 2 cells; got 1; complete the row"),
        ("z_mm\n1\n2\n2\n", r"line 4: z must differ from frame to frame; got 2 mm as in line 3"),
        ("z_mm\n2\n1\n2\n", r"line 4: z must differ from frame to frame; got 2 mm as in line 2"),
        ("z\n1\n2\n3\n", r"must have one column of z_mm, position_mm, focus_distance_mm .*; got z; name the column"),
        ("z_px\n1\n2\n3\n", r"got z_px; name the column with its unit"),
        ("z_mm,position_mm\n1,1\n2,2\n3,3\n", r"must have one column of z_mm"),
        ("z_mm,z_um\n1,1\n2,2\n3,3\n", r"columns must differ; got 'z_mm' and 'z_um'"),
        ("z_mm,pixel_mm,magnification\n1,1,1\n2,1,1\n3,1,1\n", r"must have pixel_mm or magnification; got both"),
        ("z_mm,centre_x_px\n1,1\n2,1\n3,1\n", r"centre_x_px and centre_y_px belong together"),
        ("z_mm,pixel_mm\n1,1\n2,0\n3,1\n", r"line 3: pixel must be more than 0; got 0"),
        ("frame,z_mm\n0,1\n0,2\n2,3\n", r"line 3: each frame must have one row; got '0' again"),
        ("frame,z_mm\n0,1\n1,2\n5,3\n", r"frames must be file names or numbers from 0; got '0' and none for frame 2"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    """One line: file, line, rule, what was found, cure."""
    with pytest.raises(ValueError, match=message) as caught:
        read_geometry(table(tmp_path, text), 3, SIZE)
    assert "\n" not in str(caught.value)
    assert "z.csv" in str(caught.value)


def test_a_table_that_is_not_there_or_is_no_text(tmp_path: Path) -> None:
    """A missing file, and a spreadsheet."""
    with pytest.raises(FileNotFoundError, match="must be a table; got no such file"):
        read_geometry(tmp_path / "gone.csv", 3, SIZE)
    (tmp_path / "z.xlsx").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(ValueError, match=r"must be text; .* save the table as CSV in UTF-8"):
        read_geometry(tmp_path / "z.xlsx", 3, SIZE)


def test_a_table_written_is_read_back_exactly(tmp_path: Path) -> None:
    """To the last digit, by file name, in any order of the frames."""
    z = np.cumsum(np.random.default_rng(0).random(5))
    geometry = table_geometry(z, SIZE, pixel_mm=np.linspace(0.004, 0.005, 5) / 3)
    names = [f"f{k}.png" for k in range(5)]
    write_geometry(geometry, tmp_path / "z.csv", names)
    back = read_geometry(tmp_path / "z.csv", 5, SIZE, names=names)
    for name in ("z", "pixel", "centre_px"):
        np.testing.assert_array_equal(getattr(back, name), getattr(geometry, name))
    flipped = read_geometry(tmp_path / "z.csv", 5, SIZE, names=names[::-1])
    np.testing.assert_array_equal(flipped.z, geometry.z[::-1])
    with pytest.raises(ValueError, match="heights must be in mm; got frames"):
        write_geometry(unknown_geometry([0, 1], SIZE), tmp_path / "z.csv", names[:2])


def test_the_real_distance_list_is_refused_with_its_cure(shared: Path, tmp_path: Path) -> None:
    """A list without a header has no unit; with a header line it is a focus ring."""
    source = shared / "data/stacks/synthetic_cone_bsd/focus_distances_m.txt"
    with pytest.raises(ValueError, match=r"first line must name the columns; got '0.05000000'"):
        read_geometry(source, 30, (256, 256))
    path = table(tmp_path, "focus_distance_m\n" + source.read_text())
    geometry = read_geometry(path, 30, (256, 256), focal_length_mm=10)
    assert geometry.z.max() == pytest.approx(450, rel=0.1)
    path = table(tmp_path, "position_m\n" + source.read_text())
    assert read_geometry(path, 30, (256, 256)).z.max() == pytest.approx(450)
