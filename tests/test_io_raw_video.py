"""RAW files are developed alike; videos give any frame exactly."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from dff.io import FrameError, read_metadata, read_stack, write_image
from dff.io.video import VideoFrames

BLACK, WHITE = 256, 16383
XYZ_TO_LINEAR_SRGB = (3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.2040, 1.0570)
NEUTRAL = (0.5, 1.0, 0.8)
"""What the camera sees of a grey card."""


def rationals(values: tuple[float, ...]) -> list[int]:
    return [part for value in values for part in (round(value * 10_000), 10_000)]


def write_dng(path: Path, grey: Any, neutral: tuple[float, ...] = NEUTRAL) -> None:
    """A DNG file of an RGGB sensor whose colours are linear sRGB, of a grey scene.

    Args:
        grey: (H, W) light from 0 to 1 of white.
    """
    height, width = grey.shape
    filters = np.empty((2, 2))
    filters[0, 0], filters[0, 1], filters[1, 0], filters[1, 1] = neutral[0], neutral[1], neutral[1], neutral[2]
    mosaic = BLACK + grey * np.tile(filters, (height // 2, width // 2)) * (WHITE - BLACK)
    tags: list[tuple[Any, ...]] = [
        (271, 2, None, "Testmaker", True),
        (272, 2, None, "Testmaker One", True),
        (274, 3, 1, 6, True),
        (33421, 3, 2, (2, 2), True),
        (33422, 1, 4, bytes((0, 1, 1, 2)), True),
        (50706, 1, 4, bytes((1, 4, 0, 0)), True),
        (50708, 2, None, "Testmaker One", True),
        (50714, 3, 1, BLACK, True),
        (50717, 4, 1, WHITE, True),
        (50721, 10, 9, rationals(XYZ_TO_LINEAR_SRGB), True),
        (50728, 5, 3, rationals(neutral), True),
        (50778, 3, 1, 21, True),
    ]
    tifffile.imwrite(
        path, mosaic.round().astype(np.uint16), photometric=32803, extratags=tags, metadata=None, rowsperstrip=height
    )


def srgb(linear: float) -> float:
    """The sRGB tone curve (IEC 61966-2-1)."""
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


def ramp(top: float = 0.5) -> Any:
    return np.tile(np.linspace(0.05, top, 64), (48, 1))


def test_a_raw_frame_is_developed_by_the_srgb_curve(tmp_path: Path) -> None:
    """A grey scene comes out grey, as bright as the light was, unturned, in 16 bit."""
    steps = np.repeat(np.array([0.002, 0.1, 0.3, 0.8]), 16)
    for k in range(2):
        write_dng(tmp_path / f"{k}.dng", np.tile(steps, (48, 1)) * (1 - 0.1 * k))
    stack = read_stack(tmp_path)
    assert (stack.shape, stack.dtype, stack.suffix) == ((48, 64, 3), np.uint16, ".dng")
    developed = stack.frames[0][8:-8, 8::16] / 65535
    expected = [srgb(light) for light in (0.002, 0.1, 0.3, 0.8)]
    np.testing.assert_allclose(developed, np.broadcast_to(np.array(expected)[:, None], developed.shape), atol=0.002)


def test_what_else_is_in_a_raw_frame_does_not_change_its_exposure(tmp_path: Path) -> None:
    """A highlight in one frame leaves the other pixels as they are: nothing is brightened by content."""
    bright = ramp()
    bright[40:, 50:] = 1.0
    write_dng(tmp_path / "1.dng", ramp())
    write_dng(tmp_path / "2.dng", bright)
    stack = read_stack(tmp_path)
    np.testing.assert_array_equal(stack.frames[0][:32], stack.frames[1][:32])


def test_all_raw_frames_have_the_white_balance_of_the_first(tmp_path: Path) -> None:
    """A camera that measured another white for one frame does not colour it."""
    write_dng(tmp_path / "1.dng", ramp(0.4))
    write_dng(tmp_path / "2.dng", ramp(0.5))
    first = read_stack(tmp_path).frames[1]
    data = (tmp_path / "2.dng").read_bytes()
    other = b"".join(n.to_bytes(4, "little") for n in rationals((0.8, 1.0, 0.4)))
    own = b"".join(n.to_bytes(4, "little") for n in rationals(NEUTRAL))
    assert data.count(own) == 1
    (tmp_path / "2.dng").write_bytes(data.replace(own, other))
    np.testing.assert_array_equal(read_stack(tmp_path).frames[1], first)


def test_raw_tags_are_carried(tmp_path: Path) -> None:
    """Camera and orientation come along; how the sensor data are stored does not."""
    write_dng(tmp_path / "1.dng", ramp())
    metadata = read_metadata(tmp_path / "1.dng")
    assert metadata.camera == "Testmaker One"
    assert metadata.exif is not None
    assert len(metadata.exif) < 1000


def test_raw_and_jpeg_of_the_same_shots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RAW is taken, and JPEG where RAW cannot be decoded; either way it is said."""
    for k in range(2):
        write_dng(tmp_path / f"DSC_{k}.DNG", ramp(0.3 + 0.1 * k))
        write_image(tmp_path / f"DSC_{k}.jpg", np.random.default_rng(k).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    with pytest.warns(UserWarning, match="holds 2 raw, 2 jpeg; the raw files are used"):
        assert read_stack(tmp_path).suffix == ".dng"
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.warns(UserWarning, match="holds 2 raw, 2 jpeg; the jpeg files are used"):
        assert read_stack(tmp_path).suffix == ".jpg"


def test_a_damaged_raw_file_is_named(tmp_path: Path) -> None:
    """A RAW file cut short is refused when it is decoded, text at once."""
    for k in range(3):
        write_dng(tmp_path / f"{k}.dng", ramp(0.3 + 0.1 * k))
    path = tmp_path / "1.dng"
    path.write_bytes(path.read_bytes()[:2000])
    stack = read_stack(tmp_path)
    with pytest.raises(FrameError, match=r"1.dng: must be whole"):
        stack.frames[1]
    path.write_text("hello")
    with pytest.raises(FrameError, match=r"1.dng: must be whole"):
        read_stack(tmp_path)


@pytest.mark.parametrize(("package", "suffix", "cure"), [("rawpy", ".nef", "rawpy"), ("av", ".mp4", "av")])
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, suffix: str, cure: str
) -> None:
    """The line says what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    for k in range(2):
        (tmp_path / f"{k}{suffix}").write_bytes(b"x" * 100)
    source = tmp_path / f"0{suffix}" if suffix == ".mp4" else tmp_path
    with pytest.raises(ValueError, match=rf"got no such package; pip install {cure}"):
        read_stack(source)


COUNT = 40


def video_frame(k: int) -> Any:
    """A frame that tells its number by its brightness."""
    values = np.zeros((48, 64, 3), np.uint8)
    values[...] = 20 + 5 * k
    values[:, k] = (255, 0, 0)
    return values


def write_video(path: Path, codec: str, pixels: str, **options: str) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.options = 64, 48, pixels, options
        for k in range(COUNT):
            for packet in stream.encode(av.VideoFrame.from_ndarray(video_frame(k), format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def number(frame: Any) -> float:
    """Which frame this is, by its brightness."""
    green = frame[..., min(1, frame.shape[-1] - 1)].astype(float) / (257 if frame.dtype == np.uint16 else 1)
    return (np.median(green) - 20) / 5


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "options", "dtype", "channels"),
    [
        ("a.mp4", "libx264", "yuv420p", {"g": "10", "bf": "2", "crf": "10"}, "uint8", 3),
        ("a.avi", "mpeg4", "yuv420p", {"g": "12", "b": "2000000"}, "uint8", 3),
        ("a.mkv", "ffv1", "gray", {}, "uint8", 1),
        ("b.mkv", "ffv1", "gbrp16le", {}, "uint16", 3),
    ],
)
def test_any_frame_of_a_video_is_the_right_one(
    tmp_path: Path, name: str, codec: str, pixels: str, options: dict[str, str], dtype: str, channels: int
) -> None:
    """In order, backwards, in leaps: the same pixels whatever was asked for before."""
    write_video(tmp_path / name, codec, pixels, **options)
    stack = read_stack(tmp_path / name)
    assert (len(stack), stack.shape, stack.dtype) == (COUNT, (48, 64, channels), np.dtype(dtype))
    in_order = [stack.frames[k] for k in range(COUNT)]
    assert [round(number(frame)) for frame in in_order] == list(range(COUNT))
    for k in (39, 3, 3, 17, 18, 25, 0, 11):
        np.testing.assert_array_equal(stack.frames[k], in_order[k])


def test_frames_in_order_are_decoded_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a video through never jumps back to a key frame, also with frames left out between key frames."""
    write_video(tmp_path / "a.mp4", "libx264", "yuv420p", g="100")
    video = VideoFrames(tmp_path / "a.mp4")
    jumps: list[int] = []
    seek = video._seek
    monkeypatch.setattr(video, "_seek", lambda k: jumps.append(k) or seek(k))
    for k in range(0, COUNT, 3):
        assert round(number(video[k])) == k
    assert jumps == [0]
    video.close()


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    """Text, and a video cut short."""
    (tmp_path / "a.mp4").write_text("hello")
    with pytest.raises(FrameError, match=r"a.mp4: must be whole"):
        read_stack(tmp_path / "a.mp4")
    write_video(tmp_path / "b.mp4", "libx264", "yuv420p")
    path = tmp_path / "b.mp4"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FrameError, match=r"b.mp4: must be whole"):
        read_stack(path)
