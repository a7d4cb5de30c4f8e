"""The segments of a JPEG file: size, EXIF, ICC profile, and whether it is whole.

Source: ITU-T T.81 (markers), JFIF 1.02, Exif 2.32 (APP1), ICC.1:2022 annex B.4 (APP2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

SOI, EOI, SOS, APP0, APP1, APP2 = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xE2
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
EXIF = b"Exif\0\0"
ICC = b"ICC_PROFILE\0"
LARGEST_SEGMENT = 65533
"""Bytes that fit into one segment beside its length."""

_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
"""A marker that ends entropy-coded data: not a stuffed byte, a fill byte or a restart marker."""


def segments(stream: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """(marker, offset, length) of the contents of every segment before the first scan.

    Raises:
        ValueError: the bytes are not those of a JPEG file.
    """
    stream.seek(0)
    if stream.read(2) != bytes((0xFF, SOI)):
        raise ValueError("no start-of-image marker")
    while True:
        head = stream.read(2)
        while len(head) == 2 and head[1] == 0xFF:
            head = head[1:] + stream.read(1)
        size = int.from_bytes(stream.read(2), "big")
        if len(head) < 2 or head[0] != 0xFF or size < 2:
            raise ValueError("the file ends within its header")
        offset = stream.tell()
        if head[1] == SOS:
            return
        yield head[1], offset, size - 2
        stream.seek(offset + size - 2)


def image_size(stream: BinaryIO) -> tuple[int, int, int, int]:
    """(height, width, components, bits) of a JPEG file.

    Raises:
        ValueError: the bytes are not those of a JPEG file.
    """
    for marker, offset, _ in segments(stream):
        if marker in START_OF_FRAME:
            stream.seek(offset)
            frame = stream.read(6)
            return int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big"), frame[5], frame[0]
    raise ValueError("no frame header")


def decoded(data: bytes) -> NDArray[np.uint8] | None:
    """(H, W, C) grey or RGB as stored; None where that takes a library that converts colours or mends damage."""
    try:
        array = imagecodecs.jpeg8_decode(data)
    except RuntimeError:
        return None
    if array.ndim == 2:
        return array[..., None]
    return array if array.shape[2] == 3 else None


def metadata_blocks(stream: BinaryIO) -> tuple[bytes | None, bytes | None]:
    """(EXIF block, ICC profile) of a JPEG file."""
    exif: bytes | None = None
    parts: dict[int, bytes] = {}
    for marker, offset, length in segments(stream):
        if marker not in (APP1, APP2):
            continue
        stream.seek(offset)
        data = stream.read(length)
        if marker == APP1 and data.startswith(EXIF) and exif is None:
            exif = data[len(EXIF) :]
        elif marker == APP2 and data.startswith(ICC) and len(data) > len(ICC) + 2:
            parts[data[len(ICC)]] = data[len(ICC) + 2 :]
    return exif, b"".join(parts[k] for k in sorted(parts)) or None


def is_whole(data: bytes) -> bool:
    """Whether the scans of a JPEG file reach its end-of-image marker; what follows that does not matter."""
    position = 2
    while match := _MARKER.search(data, position):
        marker = data[match.end() - 1]
        if marker == EOI:
            return True
        position = match.end() + int.from_bytes(data[match.end() : match.end() + 2], "big")
    return False


def with_metadata(data: bytes, exif: bytes | None, icc: bytes | None) -> bytes:
    """A JPEG file with an EXIF block and an ICC profile put in behind its first segment."""
    added = b"" if exif is None else _segment(APP1, EXIF + exif)
    chunk = LARGEST_SEGMENT - len(ICC) - 2
    parts = [icc[k : k + chunk] for k in range(0, len(icc), chunk)] if icc else []
    for k, part in enumerate(parts):
        added += _segment(APP2, ICC + bytes((k + 1, len(parts))) + part)
    start = 2
    if data[2:4] == bytes((0xFF, APP0)):
        start = 4 + int.from_bytes(data[4:6], "big")
    return data[:start] + added + data[start:]


def _segment(marker: int, contents: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(contents) + 2).to_bytes(2, "big") + contents
