"""Which kind of file a frame is, and its size and type from the header alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dff.io import jpeg, png
from dff.io.checks import FrameError

RAW_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq", ".kdc", ".mef", ".mos"),
    *(".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
)
VIDEO_SUFFIXES = (".avi", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".webm", ".wmv")
KINDS = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".jpe": "jpeg",
    ".png": "png",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".webp": "webp",
    ".bmp": "bmp",
    **dict.fromkeys(RAW_SUFFIXES, "raw"),
    **dict.fromkeys(VIDEO_SUFFIXES, "video"),
}
"""Kind of file by the ending of its name."""

_DECODING_BYTES = {"raw": 16.0, "video": math.inf}
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class Header:
    """Size and type of a frame."""

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    alpha: bool = False
    """Whether the file has an alpha channel, which is left out."""
    pages: int = 1


def kind_of(path: Path) -> str | None:
    """Kind of file by the ending of its name; None where it is not one that can be read."""
    return KINDS.get(path.suffix.lower())


def decoding_bytes(suffix: str) -> float:
    """Bytes a pixel that decoding a frame of a file takes beside the frame; infinite where it cannot be done twice.

    Args:
        suffix: Ending of the file's name.
    """
    return _DECODING_BYTES.get(KINDS.get(suffix.lower(), ""), 0.0)


def kind_by_content(path: Path, head: bytes) -> str:
    """Kind of file by its first bytes.

    Raises:
        FrameError: it is none that can be read, for example text or an empty file.
    """
    if kind_of(path) == "raw":
        return "raw"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(png.SIGNATURE):
        return "png"
    if head.startswith(TIFF_MAGIC):
        return "tiff"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith(b"BM"):
        return "bmp"
    if not head:
        found = "0 bytes"
    elif head.isascii() and all(byte >= 32 or byte in b"\t\r\n\f" for byte in head):
        found = "text"
    else:
        found = f"bytes {head[:4].hex(' ')}"
    raise FrameError(f"{path}: must be an image; got {found}; copy the file again or leave it out with --skip-bad")


def read_head(path: Path, size: int = 32) -> bytes:
    """The first bytes of a file.

    Raises:
        FrameError: the file cannot be opened.
    """
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> FrameError:
    """A file that cannot be opened or decoded, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return FrameError(
            f"{path}: must be readable; got {error.strerror!r}; change its permissions or leave it out with --skip-bad"
        )
    cause = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
    return FrameError(f"{path}: must be whole; got {cause!r}; copy the file again or leave it out with --skip-bad")


def read_header(path: Path) -> Header:
    """Size and type of the frame in an image file, without decoding it.

    Raises:
        FrameError: the file cannot be read as an image.
    """
    kind = kind_by_content(path, read_head(path))
    if kind == "tiff":
        from dff.io import tiffs

        return tiffs.read_header(path)
    if kind == "raw":
        from dff.io import raw

        return raw.read_header(path)
    try:
        with path.open("rb") as file:
            return _HEADERS[kind](file)
    except (OSError, ValueError, IndexError) as error:
        raise unreadable(path, error) from error


def _jpeg(file: BinaryIO) -> Header:
    height, width, components, bits = jpeg.image_size(file)
    if bits != 8:
        raise ValueError(f"{bits} bits a sample, where JPEG frames must have 8")
    return Header((height, width, 1 if components == 1 else 3), np.dtype(np.uint8))


def _png(file: BinaryIO) -> Header:
    height, width, channels, bits, alpha = png.image_size(file)
    return Header((height, width, channels), np.dtype(f"uint{bits}"), alpha)


def _bmp(file: BinaryIO) -> Header:
    file.seek(14)
    info = file.read(16)
    width = int.from_bytes(info[4:8], "little", signed=True)
    height = abs(int.from_bytes(info[8:12], "little", signed=True))
    bits = int.from_bytes(info[14:16], "little")
    return Header((height, width, 1 if bits == 8 and _bmp_is_grey(file) else 3), np.dtype(np.uint8))


def _bmp_is_grey(file: BinaryIO) -> bool:
    file.seek(14)
    info_size = int.from_bytes(file.read(4), "little")
    file.seek(46)
    colours = int.from_bytes(file.read(4), "little") or 256
    file.seek(14 + info_size)
    palette = np.frombuffer(file.read(4 * colours), np.uint8).reshape(-1, 4)
    return bool((palette[:, :1] == palette[:, 1:3]).all())


def _webp(file: BinaryIO) -> Header:
    file.seek(12)
    data = file.read(18)
    chunk, body = data[:4], data[8:]
    if chunk == b"VP8X":
        alpha = bool(body[0] & 0x10)
        width, height = (int.from_bytes(body[k : k + 3], "little") + 1 for k in (4, 7))
    elif chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        width, height, alpha = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    else:
        width, height, alpha = (*(int.from_bytes(body[k : k + 2], "little") & 0x3FFF for k in (6, 8)), False)
    return Header((height, width, 3), np.dtype(np.uint8), alpha)


_HEADERS = {"jpeg": _jpeg, "png": _png, "bmp": _bmp, "webp": _webp}
