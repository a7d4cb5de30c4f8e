"""Frames that cannot be used are each refused in one line that names them, or left out with a warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from dff.io import FrameError, check_frame, read_image, read_stack
from dff.stack import FocalStack

SIZE = (40, 56)


def save(path: Path, k: int, mode: str = "RGB", size: tuple[int, int] = SIZE) -> None:
    """A smooth picture that differs from every other k."""
    rng = np.random.default_rng(k)
    small = Image.fromarray(rng.integers(30, 220, (6, 8, 3), dtype=np.uint8))
    small.resize(size[::-1], Image.Resampling.BICUBIC).convert(mode).save(path, quality=92)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def progressive(path: Path) -> None:
    Image.open(path).convert("RGB").save(path, progressive=True)
    truncate(path)


def zero_tail(path: Path) -> None:
    """What a card or a download that failed leaves: the size is right, the end is zeros."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


def header_only(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("not a picture"), r"f2.jpg: must be an image; got text"),
    "empty": (lambda path: path.write_bytes(b""), r"f2.jpg: must be an image; got 0 bytes"),
    "unknown bytes": (lambda path: path.write_bytes(bytes(range(200, 240))), r"f2.jpg: must be an image; got bytes"),
    "truncated": (truncate, r"f2.jpg: must be whole; got a JPEG cut short"),
    "truncated progressive": (progressive, r"f2.jpg: must be whole; got a JPEG cut short"),
    "zeros at the end": (zero_tail, r"f2.jpg: must be whole; got a JPEG cut short"),
    "header cut": (header_only, r"f2.jpg: must be whole; got 'the file ends within its header'"),
    "another size": (lambda path: save(path, 2, size=(40, 50)), r"f2.jpg: size must be that of f0.jpg; got 50 x 40"),
    "grey": (lambda path: save(path, 2, "L"), r"f2.jpg: number of channels must be that of f0.jpg; got 1 and 3"),
    "black": (
        lambda path: Image.new("RGB", SIZE[::-1]).save(path),
        r"f2.jpg: must show something; got black in every pixel",
    ),
    "one colour": (
        lambda path: Image.new("RGB", SIZE[::-1], (255, 255, 255)).save(path),
        r"f2.jpg: must show something; got the value 255, 255, 255",
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k in range(5):
        save(tmp_path / f"f{k}.jpg", k)
    return tmp_path


def decode_all(stack: FocalStack) -> None:
    for k in range(len(stack)):
        stack.frames[k]


@pytest.mark.parametrize("case", BAD)
def test_a_bad_frame_is_named_in_one_line(folder: Path, case: str) -> None:
    """Opening the stack or decoding the frame raises: what, rule, what was found, cure."""
    spoil, message = BAD[case]
    spoil(folder / "f2.jpg")
    with pytest.raises(FrameError, match=message) as caught:
        decode_all(read_stack(folder))
    line = str(caught.value)
    assert "\n" not in line
    assert line.count(";") >= 2


@pytest.mark.parametrize("case", BAD)
def test_a_bad_frame_is_left_out_when_asked(folder: Path, case: str) -> None:
    """The other frames make a stack that decodes without a word, and keep their places in the sweep."""
    spoil, message = BAD[case]
    spoil(folder / "f2.jpg")
    with pytest.warns(UserWarning, match=f"left out: .*{message}") as caught:
        stack = read_stack(folder, skip_bad=True)
    assert len(caught) == 1
    assert stack.names == ("f0.jpg", "f1.jpg", "f3.jpg", "f4.jpg")
    assert stack.positions == (0, 1, 3, 4)
    decode_all(stack)


def test_a_whole_jpeg_with_bytes_behind_its_end_is_fine(folder: Path) -> None:
    """Cameras append previews; an end-of-image marker inside a thumbnail is not the end."""
    path = folder / "f1.jpg"
    path.write_bytes(path.read_bytes() + b"\xff\xd8 some trailer")
    decode_all(read_stack(folder))
    picture = Image.open(folder / "f2.jpg").convert("RGB")
    thumbnail = (folder / "f3.jpg").read_bytes()
    tags = Image.Exif()
    tags[0x010E] = "x"
    picture.save(folder / "f2.jpg", exif=tags.tobytes() + thumbnail)
    truncate(folder / "f2.jpg")
    with pytest.raises(FrameError, match="cut short"):
        read_image(folder / "f2.jpg")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".bmp"])
def test_other_formats_cut_short_are_refused(tmp_path: Path, suffix: str) -> None:
    """No decoder's grey or black filling passes for a frame."""
    for k in range(3):
        save(tmp_path / f"f{k}{suffix}", k)
    truncate(tmp_path / f"f1{suffix}")
    with pytest.raises(FrameError, match=f"f1{suffix}: must be .*whole"):
        decode_all(read_stack(tmp_path))


def test_bit_depths_must_agree(tmp_path: Path) -> None:
    """A 16-bit frame among 8-bit ones is named."""
    for k in range(3):
        values = np.random.default_rng(k).integers(0, 255, SIZE).astype("uint16" if k == 1 else "uint8")
        tifffile.imwrite(tmp_path / f"f{k}.tif", values, metadata=None)
    with pytest.raises(FrameError, match=r"f1.tif: bit depth must be that of f0.tif; got uint16 and uint8"):
        read_stack(tmp_path)


def test_nan_in_a_float_frame_is_named(tmp_path: Path) -> None:
    """NaN would spread over its neighbourhood."""
    for k in range(3):
        values = np.random.default_rng(k).random(SIZE, dtype=np.float32)
        values[3, 4] = np.nan if k == 1 else 0.5
        tifffile.imwrite(tmp_path / f"f{k}.tif", values, metadata=None)
    stack = read_stack(tmp_path)
    with pytest.raises(FrameError, match=r"f1.tif: every value must be finite; got 1 NaN or infinite"):
        decode_all(stack)
    with pytest.warns(UserWarning, match="left out: f1.tif"):
        assert len(read_stack(tmp_path, skip_bad=True)) == 2


def test_an_unreadable_file_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing permission is said of the file."""
    opened = Path.open

    def refuse(path: Path, *arguments: object, **options: object) -> object:
        if path.name == "f3.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FrameError, match=r"f3.jpg: must be readable; got 'Permission denied'; change its permissions"):
        read_stack(folder)


def test_copies_are_warned_of_once(folder: Path) -> None:
    """Equal files are found from their bytes, without decoding; asked to, they are left out."""
    for k in (1, 3):
        (folder / f"f{k}.jpg").write_bytes((folder / "f0.jpg").read_bytes())
    with pytest.warns(UserWarning, match=r"same bytes in f1.jpg = f0.jpg, f3.jpg = f0.jpg") as caught:
        stack = read_stack(folder)
    assert len(caught) == 1
    assert len(stack) == 5
    with pytest.warns(UserWarning, match="left out"):
        assert read_stack(folder, skip_bad=True).names == ("f0.jpg", "f2.jpg", "f4.jpg")


def test_equal_pixels_in_unequal_files_are_warned_of_once(tmp_path: Path) -> None:
    """The same picture saved twice is found when it is decoded."""
    for k in range(4):
        values = np.random.default_rng(k // 2).integers(0, 255, SIZE, dtype=np.uint8)
        tifffile.imwrite(tmp_path / f"f{k}.tif", values, metadata=None, description=f"shot {k}")
    stack = read_stack(tmp_path)
    with pytest.warns(UserWarning, match=r"f1.tif: has the same pixels as f0.tif") as caught:
        decode_all(stack)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decode_all(stack)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda base: base / "nowhere", FileNotFoundError, "nowhere: must exist; got no such file or folder"),
        (lambda base: base, ValueError, "must hold image files; got nothing"),
        (lambda base: str(base / "*.tif"), FileNotFoundError, "pattern must match image files; got 0 others"),
        (lambda base: [base / "gone.jpg"], FileNotFoundError, "gone.jpg: must exist"),
        (lambda base: [], ValueError, "needs at least 2 frames; got 0"),
    ],
)
def test_sources_that_are_not_there(tmp_path: Path, make: Callable[[Path], object], kind: type, message: str) -> None:
    """No path, no frame, no match: each said in one line."""
    with pytest.raises(kind, match=message) as caught:
        read_stack(make(tmp_path))  # type: ignore[arg-type]
    assert str(caught.value).count(";") == 2


def test_a_folder_without_frames_says_what_it_holds(tmp_path: Path) -> None:
    """Phone pictures of a kind that cannot be read are not called nothing."""
    for k in range(3):
        (tmp_path / f"{k}.heic").write_text("x")
    with pytest.raises(ValueError, match=r"must hold image files; got 3 .heic"):
        read_stack(tmp_path)


@pytest.mark.parametrize("name", ["only.jpg", ""])
def test_one_frame_is_no_stack(tmp_path: Path, name: str) -> None:
    """One image, named or alone in its folder."""
    save(tmp_path / "only.jpg", 1)
    with pytest.raises(ValueError, match="needs at least 2 frames; got 1; give more frames"):
        read_stack(tmp_path / name)


def test_when_all_frames_are_bad_nothing_is_left(tmp_path: Path) -> None:
    """Leaving out ends in one clear line."""
    for k in range(2):
        (tmp_path / f"{k}.jpg").write_text("x")
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ValueError, match="must hold usable frames; got none"),
    ):
        read_stack(tmp_path, skip_bad=True)


@pytest.mark.parametrize(("options", "message"), [({"every": 0}, "every: must be"), ({"order": "x"}, "order: must be")])
def test_options_out_of_range(folder: Path, options: dict[str, object], message: str) -> None:
    """Options are checked before files."""
    with pytest.raises(ValueError, match=message):
        read_stack(folder, **options)  # type: ignore[arg-type]


def test_the_check_for_decoded_frames_stands_alone() -> None:
    """Frames that come from no file can be checked by name too."""
    check_frame("ok", np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    with pytest.raises(FrameError, match="dark: must show something"):
        check_frame("dark", np.zeros((30, 30, 1), np.uint16))
    with pytest.raises(FrameError, match="odd: every value must be finite; got 2 NaN"):
        check_frame("odd", np.array([[[np.inf]], [[np.nan]], [[1.0]]], np.float32))
