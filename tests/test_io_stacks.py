"""Stacks are read from every kind of source, in the right order, lazily, and as they were stored."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from dff.io import read_image, read_metadata, read_stack
from dff.io.listing import natural_key
from dff.optics import unknown_geometry

Array = NDArray[Any]


def picture(k: int = 0, channels: int = 3, dtype: str = "uint8", size: tuple[int, int] = (24, 32)) -> Array:
    """A frame of noise that differs from every other k."""
    values = np.random.default_rng(k).random((*size, channels))
    return values.astype(dtype) if dtype == "float32" else (values * np.iinfo(dtype).max).astype(dtype)


def write(path: Path, frame: Array, **options: Any) -> None:
    """Write a frame by a library other than the one under test where there is one."""
    frame = frame[..., 0] if frame.shape[-1] == 1 else frame
    if path.suffix == ".tif":
        tifffile.imwrite(path, frame, photometric="rgb" if frame.ndim == 3 else "minisblack", metadata=None, **options)
    else:
        stored = frame[..., [2, 1, 0, *range(3, frame.shape[-1])]] if frame.ndim == 3 else frame
        assert cv2.imwrite(str(path), stored, **options)


def fill(folder: Path, names: list[str], **options: Any) -> list[Array]:
    """Write one frame for each name."""
    folder.mkdir(exist_ok=True)
    frames = [picture(k, **options) for k in range(len(names))]
    for name, frame in zip(names, frames):
        write(folder / name, frame)
    return frames


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        (".png", "uint8"),
        (".png", "uint16"),
        (".tif", "uint8"),
        (".tif", "uint16"),
        (".tif", "float32"),
        (".bmp", "uint8"),
    ],
)
def test_frames_come_back_bit_for_bit(tmp_path: Path, suffix: str, dtype: str, channels: int) -> None:
    """Lossless formats keep every bit and the type; colour is RGB; grey has one channel."""
    frames = fill(tmp_path, [f"f{k}{suffix}" for k in range(3)], channels=channels, dtype=dtype)
    stack = read_stack(tmp_path)
    assert stack.shape == (24, 32, channels)
    assert stack.dtype == np.dtype(dtype)
    assert stack.suffix == suffix
    for k, frame in enumerate(frames):
        np.testing.assert_array_equal(stack.frames[k], frame)


@pytest.mark.parametrize("compression", ["lzw", "adobe_deflate", "packbits"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_compressed_tiff_frames_are_decoded(tmp_path: Path, compression: str, dtype: str) -> None:
    """LZW, deflate and PackBits, with and without a predictor, planes together or apart."""
    frame = picture(1, 3, dtype)
    write(tmp_path / "a.tif", frame, compression=compression)
    predictor = compression != "packbits"
    write(tmp_path / "b.tif", frame, compression=compression, predictor=predictor)
    tifffile.imwrite(
        tmp_path / "c.tif",
        np.moveaxis(frame, -1, 0),
        photometric="rgb",
        planarconfig="separate",
        compression=compression,
    )
    for name in "abc":
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}.tif"), frame)


def test_lossy_frames_are_close_and_rgb(tmp_path: Path) -> None:
    """JPEG and WebP keep red red."""
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = np.linspace(150, 250, 32)
    for name in ("a.jpg", "b.webp"):
        write(tmp_path / name, red)
        np.testing.assert_allclose(read_image(tmp_path / name).mean((0, 1)), red.mean((0, 1)), atol=4)


def test_other_kinds_of_pixels_become_grey_or_rgb(tmp_path: Path) -> None:
    """Palettes are looked up, white-is-zero is turned round, single bits become black and white."""
    base = Image.fromarray(picture(3))
    base.convert("P").save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), np.array(base.convert("P").convert("RGB")))
    indices, colours = picture(4, 1)[..., 0], picture(5, 1, "uint16", (3, 256))[..., 0]
    tifffile.imwrite(tmp_path / "palette.tif", indices, photometric="palette", colormap=colours)
    expected = np.moveaxis(colours[:, indices] >> 8, 0, -1)
    np.testing.assert_array_equal(read_image(tmp_path / "palette.tif"), expected)
    tifffile.imwrite(tmp_path / "white.tif", indices, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "white.tif")[..., 0], 255 - indices)
    tifffile.imwrite(tmp_path / "bits.tif", indices > 99, photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "bits.tif")[..., 0], (indices > 99) * np.uint8(255))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_alpha_is_left_out_with_a_warning(tmp_path: Path, suffix: str) -> None:
    """RGBA frames are read as RGB, and said so once."""
    for k in range(2):
        values = picture(k, 4)
        values[..., 3] |= 1
        path = tmp_path / f"f{k}{suffix}"
        if suffix == ".webp":
            Image.fromarray(values).save(path, lossless=True)
        else:
            write(path, values, **({"extrasamples": ["unassalpha"]} if suffix == ".tif" else {}))
    with pytest.warns(UserWarning, match="alpha channel, which is left out"):
        stack = read_stack(tmp_path)
    np.testing.assert_array_equal(stack.frames[1], values[..., :3])


def test_natural_order_ignores_case_and_padding() -> None:
    """2 comes before 10, whatever the case and the zeros."""
    names = ["IMG_10.png", "img_2.png", "Img_1.png", "img_010b.png", "a.png", "img_2a.png"]
    ordered = [path.name for path in sorted(map(Path, names), key=natural_key)]
    assert ordered == ["a.png", "Img_1.png", "img_2.png", "img_2a.png", "IMG_10.png", "img_010b.png"]


def test_folder_pattern_and_list_name_the_same_frames(tmp_path: Path) -> None:
    """A folder and a pattern are sorted naturally; a list keeps its order."""
    fill(tmp_path, ["f10.png", "f9.png", "f2.png"])
    assert read_stack(tmp_path).names == ("f2.png", "f9.png", "f10.png")
    assert read_stack(str(tmp_path / "f*.png")).names == ("f2.png", "f9.png", "f10.png")
    listed = [tmp_path / "f10.png", str(tmp_path / "f2.png")]
    assert read_stack(listed).names == ("f10.png", "f2.png")


def test_a_folder_whose_name_holds_brackets_is_a_folder(tmp_path: Path) -> None:
    """Brackets are a pattern only where no such path exists."""
    fill(tmp_path / "beetle [2]", ["a.png", "b.png"])
    assert len(read_stack(str(tmp_path / "beetle [2]"))) == 2


def test_what_is_no_frame_is_passed_over(tmp_path: Path) -> None:
    """Hidden files, thumbnails, sidecars, truth files and folders beside the frames do not matter."""
    fill(tmp_path, ["a.png", "b.png", "._a.png", ".hidden.png", "a_thumb.png", "thumb_b.png", "Thumbnail-c.png"])
    for name in ("a.xmp", "notes.txt", "Thumbs.db", "gt_depth.npy"):
        (tmp_path / name).write_text("x")
    (tmp_path / "reference").mkdir()
    assert read_stack(tmp_path).names == ("a.png", "b.png")


def test_every_nth_frame_keeps_its_place_in_the_sweep(tmp_path: Path) -> None:
    """The positions tell which frames of the sweep are used, and a geometry of all frames is cut alike."""
    fill(tmp_path, [f"f{k}.png" for k in range(7)])
    geometry = unknown_geometry(np.arange(7.0), (24, 32))
    stack = read_stack(tmp_path, every=3, geometry=geometry)
    assert stack.names == ("f0.png", "f3.png", "f6.png")
    assert stack.positions == (0, 3, 6)
    assert stack.geometry is not None
    np.testing.assert_array_equal(stack.geometry.z, [6, 3, 0])


def test_raw_and_jpeg_of_the_same_shots_are_one_stack(tmp_path: Path) -> None:
    """The better kind is taken, with a warning; kinds that are no pairs are refused."""
    for suffix in (".tif", ".jpg"):
        for k in range(3):
            write(tmp_path / f"DSC_{k}{suffix}", picture(k))
    with pytest.warns(UserWarning, match="holds 3 tiff, 3 jpeg; the tiff files are used"):
        stack = read_stack(tmp_path)
    assert stack.names == ("DSC_0.tif", "DSC_1.tif", "DSC_2.tif")
    write(tmp_path / "other.jpg", picture(9))
    with pytest.raises(ValueError, match=r"frames must be of one kind; got 3 tiff, 4 jpeg; name them by a pattern"):
        read_stack(tmp_path)


def test_nothing_is_decoded_before_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a stack reads headers only; a frame is decoded each time it is asked for."""
    fill(tmp_path, ["a.png", "b.png", "c.png"])
    decoded: list[int] = []
    decode = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda data, flags: decoded.append(len(data)) or decode(data, flags))
    stack = read_stack(tmp_path)
    assert decoded == []
    stack.frames[1]
    stack.frames[-1]
    assert len(decoded) == 2


def test_the_orientation_tag_turns_no_frame(tmp_path: Path) -> None:
    """Frames of a camera that was held upright in some shots only are read alike; the tag is carried."""
    for k, orientation in enumerate((1, 6)):
        tags = Image.Exif()
        tags[0x0112] = orientation
        Image.fromarray(picture(k)).save(tmp_path / f"{k}.jpg", exif=tags, quality=95)
    stack = read_stack(tmp_path)
    assert [stack.frames[k].shape for k in range(2)] == [(24, 32, 3)] * 2
    carried = read_metadata(tmp_path / "1.jpg").exif
    assert carried is not None
    again = Image.Exif()
    again.load(b"Exif\0\0" + carried)
    assert again[0x0112] == 6


def test_a_png_named_jpg_is_read(tmp_path: Path) -> None:
    """The content decides, not the name."""
    for k in range(2):
        buffer = io.BytesIO()
        Image.fromarray(picture(k)).save(buffer, "PNG")
        (tmp_path / f"{k}.jpg").write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(read_stack(tmp_path).frames[1], picture(1))


def test_float_frames_of_another_scale_are_divided_alike(tmp_path: Path) -> None:
    """Counts up to 4000 in floating point are read as shares of 4095, all frames by the same number."""
    values = [picture(k, 1, "float32") * top for k, top in enumerate((4000, 2000))]
    for k, frame in enumerate(values):
        write(tmp_path / f"{k}.tif", frame.astype(np.float32))
    with pytest.warns(UserWarning, match="should run from 0 to 1.* divided by 4095"):
        stack = read_stack(tmp_path)
    for k in range(2):
        np.testing.assert_allclose(stack.frames[k], values[k] / 4095, rtol=1e-6)


def test_16_bit_frames_that_hold_few_bits_stay_as_they_are(tmp_path: Path) -> None:
    """8 or 12 bits in 16 are neither scaled nor warned of."""
    for k in range(2):
        write(tmp_path / f"{k}.tif", picture(k, 1, "uint16") >> 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stack = read_stack(tmp_path)
        assert stack.frames[0].max() == 255
    assert stack.dtype == np.uint16


REAL = {
    "algae_transmitted": (5, (1824, 2720, 3)),
    "crab_claw_dslr": (28, (500, 750, 3)),
    "heatsink_microscope": (49, (810, 1440, 3)),
    "leaf_macro": (6, (480, 637, 3)),
    "pcb_board": (7, (1536, 2048, 3)),
    "pcb_button_breathing": (10, (1536, 2048, 3)),
    "pseudoscorpion_unordered": (14, (1200, 1600, 3)),
    "ring_jewel": (6, (1141, 1521, 3)),
    "synthetic_cone_bsd": (30, (256, 256, 1)),
    "translucent_dome": (12, (1232, 1640, 3)),
}


@pytest.mark.parametrize("name", REAL)
def test_real_stacks_are_read(shared: Path, name: str) -> None:
    """Number, size and order of the frames of every real stack; its first and last frame decode."""
    stack = read_stack(shared / "data" / "stacks" / name)
    count, shape = REAL[name]
    assert (len(stack), stack.shape, stack.dtype) == (count, shape, np.uint8)
    assert list(stack.names) == sorted(stack.names, key=lambda text: natural_key(Path(text)))
    assert stack.frames[0].shape == stack.frames[count - 1].shape == shape


@pytest.mark.parametrize(
    ("name", "camera", "focal_length_mm", "f_number"),
    [
        ("crab_claw_dslr", "NIKON D3300", None, None),
        ("pcb_board", "MAKER NAME 96650", 2.5, 1.8),
        ("translucent_dome", "RaspberryPi RP_imx219", 3.039, 2.0),
        ("ring_jewel", None, None, None),
    ],
)
def test_real_exif_is_read(
    shared: Path, name: str, camera: str | None, focal_length_mm: float | None, f_number: float | None
) -> None:
    """Camera, focal length and f-number where the frames tell them; a manual lens's zeros are unknown."""
    metadata = read_stack(shared / "data" / "stacks" / name).metadata
    assert metadata.camera == camera
    assert metadata.focal_length_mm == pytest.approx(focal_length_mm)
    assert metadata.f_number == pytest.approx(f_number)
    assert (metadata.exif is None) == (camera is None)
