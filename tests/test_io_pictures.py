"""Pictures keep their bits, their colour profile and their camera data in every format."""

from __future__ import annotations

import contextlib
import io
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from dff.io import exif, read_description, read_image, read_map, read_metadata, write_image, write_map
from dff.io.pictures import picture_suffix
from dff.stack import ImageMetadata

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LONG_ICC = ICC + np.random.default_rng(0).bytes(150_000)
"""Three JPEG segments long."""


def block(order: str = "<", thumbnail: bytes = b"", orientation: int = 6) -> bytes:
    """An EXIF block as a camera writes it: maker note at an offset of its own, thumbnail at the end."""
    note = b"MAKER\0" + bytes(range(60))
    entries = {
        "main": [
            (0x010F, 2, b"Canon\0"),
            (0x0110, 2, b"Canon EOS R5\0"),
            (0x0112, 3, orientation),
            (0x0131, 2, b"Firmware 1.2\0"),
        ],
        "photo": [
            (0x829D, 5, (28, 10)),
            (0x920A, 5, (100, 1)),
            (0x927C, 7, note),
            (0xA002, 4, 6000),
            (0xA003, 4, 4000),
            (0xA20E, 5, (6000, 36)),
            (0xA20F, 5, (4000, 24)),
            (0xA210, 3, 4),
            (0xA434, 2, b"MP-E65mm f/2.8 1-5x Macro Photo\0"),
        ],
    }
    mark = b"II*\0" if order == "<" else b"MM\0*"
    table_sizes = {name: 2 + 12 * (len(rows) + (name == "main")) + 4 for name, rows in entries.items()}
    starts = {"main": 8, "photo": 8 + table_sizes["main"]}
    values, at = b"", 8 + sum(table_sizes.values())
    tables = {}
    for name, rows in entries.items():
        rows = [*rows, (0x8769, 4, starts["photo"])] if name == "main" else rows
        table = struct.pack(order + "H", len(rows))
        for tag, kind, value in sorted(rows):
            if isinstance(value, int):
                count, field = (
                    1,
                    struct.pack(order + ("HH" if kind == 3 else "I"), *((value, 0) if kind == 3 else (value,))),
                )
            else:
                data = struct.pack(order + "II", *value) if kind == 5 else value
                count = 1 if kind == 5 else len(data)
                field = struct.pack(order + "I", at + len(values)) if len(data) > 4 else data.ljust(4, b"\0")
                values += data if len(data) > 4 else b""
            table += struct.pack(order + "HHI", tag, kind, count) + field
        tables[name] = table + bytes(4)
    return mark + struct.pack(order + "I", 8) + tables["main"] + tables["photo"] + values + thumbnail


def pillow_tags(path: Path) -> tuple[dict[int, Any], dict[int, Any]]:
    """(picture tags, camera tags) as an independent reader sees them."""
    with Image.open(path) as picture:
        tags = picture.getexif()
        return dict(tags), dict(tags.get_ifd(0x8769))


def picture(channels: int = 3, dtype: str = "uint8") -> Any:
    values = np.random.default_rng(channels).random((40, 60, channels))
    return values.astype(np.float32) if dtype == "float32" else (values * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("a.png", "uint8"), ("a.png", "uint16"), ("a.tif", "uint8"), ("a.tiff", "uint16"), ("a.tif", "float32")],
)
def test_lossless_pictures_come_back(tmp_path: Path, name: str, dtype: str, channels: int) -> None:
    """Bit for bit, here and in an independent reader."""
    values = picture(channels, dtype)
    # OpenCV 5 opens no TIFF file whose orientation tag says that it lies on its side.
    write_image(tmp_path / name, values, ImageMetadata(icc=ICC, exif=block(orientation=1)))
    back = read_image(tmp_path / name)
    assert back.dtype == values.dtype
    np.testing.assert_array_equal(back, values)
    other = cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(other.reshape(values.shape)[..., ::-1], values)
    assert not list(tmp_path.glob("*.part"))


def test_a_jpeg_is_close_and_its_colour_is_not_subsampled(tmp_path: Path) -> None:
    """Red and green columns of one pixel stay apart; quality makes the file larger."""
    values = np.zeros((32, 64, 3), np.uint8)
    values[:, ::2, 0], values[:, 1::2, 1] = 200, 200
    sizes = []
    for quality in (70, 95):
        write_image(tmp_path / "a.jpg", values, quality=quality)
        sizes.append((tmp_path / "a.jpg").stat().st_size)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - values).max() < 20
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_profile_and_camera_data_are_kept(tmp_path: Path, name: str, order: str) -> None:
    """ICC byte for byte, camera tags in all three formats, also as an independent reader sees them."""
    path = tmp_path / name
    write_image(path, picture(), ImageMetadata(icc=LONG_ICC, exif=block(order)))
    back = read_metadata(path)
    assert back.icc == LONG_ICC
    assert (back.camera, back.lens) == ("Canon EOS R5", "MP-E65mm f/2.8 1-5x Macro Photo")
    assert (back.focal_length_mm, back.f_number) == (100, 2.8)
    with Image.open(path) as shown:
        assert shown.info["icc_profile"] == LONG_ICC
    main, photo = pillow_tags(path)
    assert (main[0x010F], main[0x0110], main[0x0112]) == ("Canon", "Canon EOS R5", 6)
    assert (photo[0x829D], photo[0x920A]) == (2.8, 100)
    assert photo[0xA434] == "MP-E65mm f/2.8 1-5x Macro Photo"
    assert photo[0x927C] == b"MAKER\0" + bytes(range(60))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_exif_tells_the_pictures_own_size_and_program(tmp_path: Path, name: str) -> None:
    """Pixel dimensions, sensor resolution and software are those of the new picture; the pixel pitch scales."""
    path = tmp_path / name
    write_image(path, picture(), ImageMetadata(exif=block()))
    main, photo = pillow_tags(path)
    assert main[0x0131].startswith("dff ")
    assert (photo[0xA002], photo[0xA003]) == (60, 40)
    assert photo[0xA20E] == pytest.approx(60 / 36, rel=1e-3)
    assert read_metadata(path).pixel_pitch_mm == pytest.approx(36 / 60, rel=1e-3)


def test_writing_again_changes_no_tag(tmp_path: Path) -> None:
    """JPEG to TIFF to PNG to JPEG: the tags are those of the first picture."""
    metadata = ImageMetadata(exif=block(), icc=ICC)
    seen = []
    for name in ("a.jpg", "b.tif", "c.png", "d.jpg"):
        write_image(tmp_path / name, picture(), metadata)
        metadata = read_metadata(tmp_path / name)
        assert metadata.exif is not None
        tags = exif.read_exif(io.BytesIO(metadata.exif))
        seen.append(({tag: entry for tag, entry in tags.main.items() if tag in exif.DESCRIPTIVE}, tags.photo))
    kept = {tag: seen[0][0][tag] for tag in (0x010F, 0x0110, 0x0112, 0x0131)}
    for main, photo in seen:
        assert {tag: main[tag] for tag in kept} == kept
        assert photo == seen[0][1]


def test_revised_exif_leaves_old_values_where_they_are() -> None:
    """A maker note keeps its offset, which its own pointers depend on; the thumbnail goes."""
    old = block(thumbnail=b"\xff\xd8 a thumbnail" * 100)
    new = exif.revised(old, (40, 60), "dff")
    note = b"MAKER\0" + bytes(range(60))
    assert new.index(note) == old.index(note)
    assert b"thumbnail" not in new
    assert exif.read_exif(io.BytesIO(new)).photo[0x927C].data == note


def test_exif_of_another_byte_order_goes_into_a_tiff_file(tmp_path: Path) -> None:
    """Big-endian camera tags in a little-endian file."""
    write_image(tmp_path / "a.tif", picture(), ImageMetadata(exif=block(">")))
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.byteorder == "<"
        assert tif.pages.first.tags["ExifTag"].value["FocalLength"] == (100, 1)


def test_exif_too_long_for_a_jpeg_loses_its_maker_note_first(tmp_path: Path) -> None:
    """A RAW file's maker note does not cost the other tags."""
    tags = exif.read_exif(io.BytesIO(block()))
    photo = {**tags.photo, exif.MAKER_NOTE: exif.Entry(7, 70_000, bytes(70_000))}
    write_image(tmp_path / "a.jpg", picture(), ImageMetadata(exif=exif.encode_exif(replace(tags, photo=photo))))
    main, seen = pillow_tags(tmp_path / "a.jpg")
    assert main[0x0110] == "Canon EOS R5"
    assert 0x927C not in seen
    text = exif.Entry(2, 70_000, b"x" * 70_000)
    with pytest.warns(UserWarning, match="EXIF: must be at most 65527 bytes in a JPEG; got 70"):
        write_image(tmp_path / "b.jpg", picture(), ImageMetadata(exif=exif.encode_exif(exif.Exif({0x013B: text}))))


@pytest.mark.parametrize("seed", range(40))
def test_damaged_exif_raises_nothing_but_value_errors(seed: int) -> None:
    """Any bytes are either read or refused; they never loop, and never raise anything else."""
    rng = np.random.default_rng(seed)
    data = bytearray(block("<>"[seed % 2]) if seed % 4 < 2 else b"II*\0\x08\0\0\0" + rng.bytes(300))
    for k in rng.integers(8, len(data), 12):
        data[k] = rng.integers(256)
    for work in (lambda: exif.read_exif(io.BytesIO(data)), lambda: exif.revised(bytes(data), (4, 5), "dff")):
        with contextlib.suppress(ValueError):
            work()


def test_damaged_exif_costs_a_warning_not_the_picture(tmp_path: Path) -> None:
    """The picture is written without it."""
    with pytest.warns(UserWarning, match="EXIF: must be a TIFF structure"):
        write_image(tmp_path / "a.png", picture(), ImageMetadata(exif=b"nonsense"))
    assert read_metadata(tmp_path / "a.png").exif is None


def test_a_tiff_stacks_description_is_not_that_of_the_picture(tmp_path: Path) -> None:
    """ImageJ would take the picture for a stack."""
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros((3, 8, 9), np.uint8), imagej=True, metadata={"axes": "ZYX"})
    with path.open("r+b") as file:
        exif.write_exif(file, exif.Exif({exif.MODEL: exif.ascii_entry("Microscope")}))
    metadata = read_metadata(path)
    assert metadata.camera == "Microscope"
    assert metadata.exif is not None
    assert exif.DESCRIPTION not in exif.read_exif(io.BytesIO(metadata.exif)).main


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("a.jpg", picture(3, "uint16"), r"a .jpg file holds uint8; got uint16; write a .tif file"),
        ("a.png", picture(3, "float32"), r"a .png file holds uint8 or uint16; got float32"),
        ("a.tif", np.zeros((4, 5), np.int64), r"got int64"),
        ("a.gif", picture(), r"must end in .jpg, .png or .tif; got '.gif'"),
        ("a", picture(), r"got 'no ending'"),
        ("a.png", np.zeros((4, 5, 4), np.uint8), r"must be \(H, W\), \(H, W, 1\) or \(H, W, 3\); got \(4, 5, 4\)"),
        ("a.png", np.zeros((0, 5), np.uint8), r"got \(0, 5\)"),
        ("a.jpg", np.zeros((1, 70000), np.uint8), r"a JPEG side has at most 65535 px; got 70000"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path: Path, name: str, values: Any, message: str) -> None:
    """In one line, before anything is written."""
    with pytest.raises(ValueError, match=message):
        write_image(tmp_path / name, values)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("suffix", "dtype", "expected"),
    [
        (".JPG", "uint8", ".jpg"),
        (".jpg", "uint16", ".tif"),
        (".png", "uint16", ".png"),
        (".tiff", "uint16", ".tiff"),
        (".nef", "uint16", ".tif"),
        (".mp4", "uint8", ".png"),
        (".mkv", "uint16", ".tif"),
        (".webp", "uint8", ".png"),
        (".tif", "float32", ".tif"),
        (".png", "float32", ".tif"),
    ],
)
def test_the_picture_keeps_the_frames_format_where_it_can(suffix: str, dtype: str, expected: str) -> None:
    """No format that would lose bits."""
    assert picture_suffix(suffix, dtype) == expected


def test_maps_keep_nan_and_say_their_unit(tmp_path: Path) -> None:
    """float32 bit for bit, in three readers; no floating-point predictor, which ImageJ cannot undo."""
    values = np.random.default_rng(0).normal(size=(30, 50)).astype(np.float32)
    values[3:6, 7:9] = np.nan
    path = tmp_path / "depth.tif"
    write_map(path, values, "height in mm, µ")
    for back in (read_map(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED), np.array(Image.open(path))):
        assert back.dtype == np.float32
        np.testing.assert_array_equal(back, values)
    assert read_description(path) == "height in mm, ?"
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        assert (page.compression.name, page.predictor) == ("ADOBE_DEFLATE", 1)


def test_what_is_no_map_is_refused(tmp_path: Path) -> None:
    """A picture is no map, and a map is no picture."""
    with pytest.raises(ValueError, match="a map must be"):
        write_map(tmp_path / "a.tif", np.zeros((3, 4, 3)), "x")
    with pytest.raises(ValueError, match=r"a map must end in .tif; got '.png'"):
        write_map(tmp_path / "a.png", np.zeros((3, 4)), "x")
    write_image(tmp_path / "a.tif", picture())
    with pytest.raises(ValueError, match="a map must be"):
        read_map(tmp_path / "a.tif")
    with pytest.raises(FileNotFoundError, match="must be a file; got no such file"):
        read_map(tmp_path / "gone.tif")
