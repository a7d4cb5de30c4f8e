"""TIFF files of many pages: plain, ImageJ, OME; their axes and their scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from dff.io import read_image, read_metadata, read_stack
from dff.io.metadata import unit_mm

PAGES = np.random.default_rng(0).integers(0, 65535, (6, 20, 30), dtype=np.uint16)
COLOUR = np.random.default_rng(1).integers(0, 255, (6, 20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("plain", {"metadata": None}),
        ("described", {}),
        ("deflated", {"metadata": None, "compression": "adobe_deflate"}),
        ("big", {"metadata": None, "bigtiff": True}),
        ("big_endian", {"metadata": None, "byteorder": ">"}),
        ("one_directory", {"truncate": True}),
        ("imagej", {"imagej": True, "metadata": {"axes": "ZYX"}}),
        ("imagej_one_directory", {"imagej": True, "metadata": {"axes": "ZYX"}, "truncate": True}),
        ("imagej_deflated", {"imagej": True, "metadata": {"axes": "ZYX"}, "compression": "adobe_deflate"}),
        ("ome", {"ome": True, "metadata": {"axes": "ZYX"}}),
    ],
)
def test_pages_are_frames(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    """Every page is a frame, bit for bit, in any order of asking."""
    path = tmp_path / f"{name}.tif"
    tifffile.imwrite(path, PAGES, photometric="minisblack", **options)
    stack = read_stack(path)
    assert (len(stack), stack.shape, stack.dtype) == (6, (20, 30, 1), np.uint16)
    for k in (5, 0, 3):
        np.testing.assert_array_equal(stack.frames[k][..., 0], PAGES[k])
        assert stack.frames[k].dtype.isnative
    assert stack.names[3] == f"{name}.tif[3]"


@pytest.mark.parametrize(
    "options",
    [{"metadata": None}, {"ome": True, "metadata": {"axes": "ZYXS"}}, {"imagej": True, "metadata": {"axes": "ZYXS"}}],
)
def test_colour_samples_are_rgb_frames(tmp_path: Path, options: dict[str, Any]) -> None:
    """Three samples a pixel are colour, not three frames."""
    tifffile.imwrite(tmp_path / "c.tif", COLOUR, photometric="rgb", **options)
    stack = read_stack(tmp_path / "c.tif")
    assert stack.shape == (20, 30, 3)
    np.testing.assert_array_equal(stack.frames[4], COLOUR[4])


def test_a_folder_of_one_stack_file_is_that_stack(tmp_path: Path) -> None:
    """The file need not be named."""
    tifffile.imwrite(tmp_path / "stack.tif", PAGES, metadata=None)
    (tmp_path / "notes.txt").write_text("x")
    assert len(read_stack(tmp_path, every=2)) == 3


def test_channels_and_times_must_be_chosen(tmp_path: Path) -> None:
    """More axes than a focal stack has are refused, with the way to choose; chosen ones are read."""
    values = np.random.default_rng(2).integers(0, 255, (2, 4, 3, 20, 30), dtype=np.uint8)
    path = tmp_path / "tzc.ome.tif"
    tifffile.imwrite(path, values, photometric="minisblack", metadata={"axes": "TZCYX"})
    with pytest.raises(ValueError, match=r"got 2 along T too; choose one with time=0 to 1, or save it alone"):
        read_stack(path)
    with pytest.raises(ValueError, match=r"got 3 along C too; choose one with channel=0 to 2, or save it alone"):
        read_stack(path, time=1)
    stack = read_stack(path, time=1, channel=2)
    assert len(stack) == 4
    for k in range(4):
        np.testing.assert_array_equal(stack.frames[k][..., 0], values[1, k, 2])
    with pytest.raises(ValueError, match="channel must be from 0 to 2; got 3"):
        read_stack(path, time=1, channel=3)


def test_a_time_axis_alone_is_the_sweep(tmp_path: Path) -> None:
    """A stack that was saved as a movie is read, with a warning."""
    path = tmp_path / "t.ome.tif"
    tifffile.imwrite(path, PAGES, photometric="minisblack", metadata={"axes": "TYX"})
    with pytest.warns(UserWarning, match="has no Z axis; its time axis is taken as the sweep"):
        assert len(read_stack(path)) == 6


@pytest.mark.parametrize(
    ("spelled", "mm"),
    [
        ("µm", 1e-3),
        ("μm", 1e-3),
        ("um", 1e-3),
        ("micron", 1e-3),
        ("Microns", 1e-3),
        ("\\u00B5m", 1e-3),
        ("micrometre", 1e-3),
        ("nm", 1e-6),
        ("mm", 1.0),
        ("millimeters", 1.0),
        ("cm", 10.0),
        ("inch", 25.4),
        ("inches", 25.4),
        ("m", 1000.0),
        ("pixel", None),
        ("", None),
    ],
)
def test_units_in_all_spellings(spelled: str, mm: float | None) -> None:
    """A length unit is its size in mm however a microscope spells it."""
    assert unit_mm(spelled) == mm


@pytest.mark.parametrize(("unit", "factor"), [("µm", 1e-3), ("nm", 1e-6), ("mm", 1.0)])
def test_ome_scale(tmp_path: Path, unit: str, factor: float) -> None:
    """PhysicalSizeX and PhysicalSizeZ with their units; none given means unknown."""
    sizes = {f"PhysicalSize{axis}": size for axis, size in (("X", 0.5), ("Y", 0.5), ("Z", 3.0))}
    units = {f"{name}Unit": unit for name in sizes}
    tifffile.imwrite(tmp_path / "a.ome.tif", PAGES, photometric="minisblack", metadata={"axes": "ZYX"} | sizes | units)
    metadata = read_stack(tmp_path / "a.ome.tif").metadata
    assert metadata.pixel_size_mm == pytest.approx(0.5 * factor)
    assert metadata.step_mm == pytest.approx(3.0 * factor)
    tifffile.imwrite(tmp_path / "b.ome.tif", PAGES, photometric="minisblack", metadata={"axes": "ZYX"})
    assert read_metadata(tmp_path / "b.ome.tif").step_mm is None


@pytest.mark.parametrize(("unit", "factor"), [("um", 1e-3), ("micron", 1e-3), ("\\u00B5m", 1e-3), ("mm", 1.0)])
def test_imagej_scale(tmp_path: Path, unit: str, factor: float) -> None:
    """ImageJ's resolution is pixels a unit; a negative spacing is a direction, not a size."""
    path = tmp_path / "a.tif"
    details = {"axes": "ZYX", "spacing": -2.5, "unit": unit}
    tifffile.imwrite(path, PAGES, imagej=True, resolution=(4.0, 4.0), metadata=details)
    metadata = read_metadata(path)
    assert metadata.pixel_size_mm == pytest.approx(0.25 * factor, rel=1e-6)
    assert metadata.step_mm == pytest.approx(2.5 * factor)


def test_oblong_pixels_are_warned_of(tmp_path: Path) -> None:
    """The geometry has square pixels; another shape is said."""
    details = {"axes": "ZYX", "unit": "um"}
    tifffile.imwrite(tmp_path / "a.tif", PAGES, imagej=True, resolution=(4.0, 2.0), metadata=details)
    with pytest.warns(UserWarning, match=r"pixels: must be square; got 0.00025 x 0.0005 mm"):
        read_metadata(tmp_path / "a.tif")


def test_print_resolution_is_no_scale(tmp_path: Path) -> None:
    """300 dots an inch on a photograph say nothing of the subject."""
    tifffile.imwrite(tmp_path / "a.tif", PAGES[0], metadata=None, resolution=(300, 300), resolutionunit="inch")
    assert read_metadata(tmp_path / "a.tif").pixel_size_mm is None


def test_a_thumbnail_page_is_no_frame(tmp_path: Path) -> None:
    """Cameras and editors keep a reduced picture behind the picture."""
    for k in range(3):
        with tifffile.TiffWriter(tmp_path / f"{k}.tif") as tif:
            tif.write(PAGES[k], metadata=None)
            tif.write(PAGES[k, ::4, ::4], metadata=None, subfiletype=1)
    stack = read_stack(tmp_path)
    assert stack.shape == (20, 30, 1)
    np.testing.assert_array_equal(stack.frames[2][..., 0], PAGES[2])


def test_jpeg_compressed_pages_are_rgb(tmp_path: Path) -> None:
    """Slide scanners store colour as YCbCr."""
    values = np.zeros((2, 32, 48, 3), np.uint8)
    values[..., 0], values[..., 1] = 200, np.linspace(20, 90, 48)
    values[1] += 10
    options = {"photometric": "rgb", "compression": "jpeg", "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    frame = read_stack(tmp_path / "a.tif").frames[1]
    np.testing.assert_allclose(frame.mean((0, 1)), values[1].mean((0, 1)), atol=3)


def test_pages_of_several_sizes_are_refused(tmp_path: Path) -> None:
    """A file of unlike pages is no stack."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for size in (20, 20, 24):
            tif.write(np.ones((size, 30), np.uint8), metadata=None, contiguous=False)
    with pytest.raises(ValueError, match="all pages must be alike"):
        read_stack(tmp_path / "a.tif")


def test_a_stack_file_cut_short_is_named(tmp_path: Path) -> None:
    """Missing pages are not passed over in silence."""
    whole = tmp_path / "whole.tif"
    tifffile.imwrite(whole, PAGES, metadata=None, compression="adobe_deflate")
    (tmp_path / "cut.tif").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"cut.tif: must be whole"):
        read_stack(tmp_path / "cut.tif")


@pytest.mark.parametrize(
    ("values", "options", "reason"),
    [
        (np.ones((4, 5), np.int16), {}, "samples must be 8 or 16 bit unsigned or floating point; got int16"),
        (np.ones((4, 5), np.uint32), {}, "got uint32"),
        (np.ones((4, 5, 4), np.uint8), {"photometric": "separated"}, "colours must be grey or RGB; got SEPARATED"),
    ],
)
def test_pixels_that_are_no_light_are_refused(tmp_path: Path, values: Any, options: Any, reason: str) -> None:
    """Signed, wide and ink samples are not guessed at."""
    for k in range(2):
        tifffile.imwrite(tmp_path / f"{k}.tif", values, metadata=None, **options)
    with pytest.raises(ValueError, match=reason):
        read_stack(tmp_path)


def test_float64_is_read_as_float32(tmp_path: Path) -> None:
    """More digits than a measurement has are left out."""
    values = np.random.default_rng(0).random((8, 9))
    tifffile.imwrite(tmp_path / "a.tif", values, metadata=None)
    frame = read_image(tmp_path / "a.tif")
    assert frame.dtype == np.float32
    np.testing.assert_allclose(frame[..., 0], values, rtol=1e-6)
