"""The chunks of a PNG file: size, EXIF, ICC profile, and whether it is whole.

Source: W3C Portable Network Graphics specification, third edition (IHDR, tRNS, iCCP, eXIf, IEND).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6


def chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """(type, offset, length) of the contents of every chunk that is there in full.

    Raises:
        ValueError: the bytes are not those of a PNG file.
    """
    end = stream.seek(0, 2)
    stream.seek(0)
    if stream.read(8) != SIGNATURE:
        raise ValueError("no PNG signature")
    while len(head := stream.read(8)) == 8:
        offset, length = stream.tell(), int.from_bytes(head[:4], "big")
        if offset + length + 4 > end:
            return
        yield head[4:], offset, length
        stream.seek(offset + length + 4)


def image_size(stream: BinaryIO) -> tuple[int, int, int, int, bool]:
    """(height, width, channels without alpha, bits, has alpha) of a PNG file once decoded.

    Raises:
        ValueError: the bytes are not those of a PNG file.
    """
    header, transparent = b"", False
    for kind, offset, length in chunks(stream):
        if kind == b"IHDR":
            stream.seek(offset)
            header = stream.read(length)
        elif kind == b"tRNS":
            transparent = True
        elif kind == b"IDAT":
            break
    if len(header) < 13:
        raise ValueError("no header chunk")
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits, colour = header[8], header[9]
    # OpenCV hands grey with alpha back as three channels.
    channels = 1 if colour == GREY and not transparent else 3
    return height, width, channels, max(bits, 8), transparent or colour in (GREY_ALPHA, RGB_ALPHA)


def metadata_blocks(stream: BinaryIO) -> tuple[bytes | None, bytes | None]:
    """(EXIF block, ICC profile) of a PNG file."""
    found: dict[bytes, bytes] = {}
    for kind, offset, length in chunks(stream):
        if kind in (b"eXIf", b"iCCP"):
            stream.seek(offset)
            found[kind] = stream.read(length)
    profile = found.get(b"iCCP")
    icc = zlib.decompress(profile.split(b"\0", 1)[1][1:]) if profile else None
    return found.get(b"eXIf"), icc


def is_whole(stream: BinaryIO) -> bool:
    """Whether a PNG file reaches its last chunk."""
    return any(kind == b"IEND" for kind, _, _ in chunks(stream))


def with_metadata(data: bytes, exif: bytes | None, icc: bytes | None) -> bytes:
    """A PNG file with an EXIF block and an ICC profile put in behind its header."""
    added = b"" if icc is None else _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
    added += b"" if exif is None else _chunk(b"eXIf", exif)
    start = len(SIGNATURE) + 8 + 13 + 4
    return data[:start] + added + data[start:]


def _chunk(kind: bytes, contents: bytes) -> bytes:
    return len(contents).to_bytes(4, "big") + kind + contents + zlib.crc32(kind + contents).to_bytes(4, "big")
