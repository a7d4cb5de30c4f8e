"""EXIF directories, in a block of their own or in a TIFF file: read, revised in place, put together anew.

Revising appends: the values that stay keep their offsets, which maker notes depend on.
Source: TIFF 6.0 section 2, Exif 2.32 section 4.6.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import BinaryIO, NamedTuple

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7

IMAGE_WIDTH, IMAGE_LENGTH, DESCRIPTION, MAKE, MODEL = 0x0100, 0x0101, 0x010E, 0x010F, 0x0110
SOFTWARE, PHOTO_POINTER, GPS_POINTER, INTEROP_POINTER = 0x0131, 0x8769, 0x8825, 0xA005
F_NUMBER, FOCAL_LENGTH, MAKER_NOTE = 0x829D, 0x920A, 0x927C
PIXEL_WIDTH, PIXEL_HEIGHT = 0xA002, 0xA003
PLANE_X_RESOLUTION, PLANE_Y_RESOLUTION, PLANE_RESOLUTION_UNIT = 0xA20E, 0xA20F, 0xA210
LENS_MODEL = 0xA434

DESCRIPTIVE = frozenset(
    (
        *(DESCRIPTION, MAKE, MODEL, 0x0112, 0x011A, 0x011B, 0x0128, SOFTWARE, 0x0132, 0x013B, 0x013C, 0x4746, 0x8298),
        *range(0x9C9B, 0x9CA0),
    )
)
"""Tags of a picture's first directory that say nothing of how its pixels are stored."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_CODES = {1: "B", 3: "H", 4: "I", 5: "I", 6: "b", 8: "h", 9: "i", 10: "i", 11: "f", 12: "d", 13: "I"}
_ORDERS = {b"II": "<", b"MM": ">"}


class Entry(NamedTuple):
    """One tag: its type, its length as the number of values, and their bytes, least significant first."""

    kind: int
    length: int
    data: bytes

    def values(self) -> tuple[float, ...]:
        """The values as numbers; a rational is the quotient, NaN where it is undefined."""
        if self.kind not in _CODES:
            return ()
        code = _CODES[self.kind]
        count = len(self.data) // struct.calcsize(code)
        numbers = struct.unpack(f"<{count}{code}", self.data[: count * struct.calcsize(code)])
        if self.kind in (5, 10):
            return tuple(a / b if b else float("nan") for a, b in zip(numbers[::2], numbers[1::2]))
        return numbers

    def text(self) -> str:
        """The value as text without padding."""
        return self.data.split(b"\0", 1)[0].decode("utf-8", "replace").strip()


def ascii_entry(text: str) -> Entry:
    """A tag of text."""
    data = text.encode("ascii", "replace") + b"\0"
    return Entry(ASCII, len(data), data)


def long_entry(value: int) -> Entry:
    """A tag of one whole number."""
    return Entry(LONG, 1, struct.pack("<I", value))


def rational_entry(value: float) -> Entry:
    """A tag of one positive number, to nine digits where its size allows."""
    exact = Fraction(min(max(value, 1e-9), 2.0**32 - 1)).limit_denominator(10**9)
    scale = min(1.0, (2**32 - 1) / max(exact.numerator, exact.denominator))
    pair = (max(1, int(exact.numerator * scale)), max(1, int(exact.denominator * scale)))
    return Entry(RATIONAL, 1, struct.pack("<II", *pair))


@dataclass(frozen=True)
class Exif:
    """The directories of a photograph: the picture's, the camera's, the place's."""

    main: Mapping[int, Entry] = field(default_factory=dict)
    photo: Mapping[int, Entry] = field(default_factory=dict)
    gps: Mapping[int, Entry] = field(default_factory=dict)


def read_exif(stream: BinaryIO, only: Collection[int] | None = None) -> Exif:
    """The tags of an EXIF block or of a TIFF file's first page.

    Args:
        only: Tags to read of the first directory; the default reads all.

    Raises:
        ValueError: the bytes are not a TIFF structure.
    """
    order, first = _header(stream)
    records = _records(stream, first, order)
    pointers = {tag: records.pop(tag) for tag in (PHOTO_POINTER, GPS_POINTER) if tag in records}
    main = {tag: _entry(stream, record, order) for tag, record in records.items() if only is None or tag in only}
    parts = []
    for tag in (PHOTO_POINTER, GPS_POINTER):
        inner = _records(stream, _offset(pointers[tag], order), order) if tag in pointers else {}
        inner.pop(INTEROP_POINTER, None)
        parts.append({tag: _entry(stream, record, order) for tag, record in inner.items()})
    return Exif(main, *parts)


def write_exif(stream: BinaryIO, changes: Exif) -> None:
    """Add or replace tags of an EXIF block or of a one-page TIFF file; the old values stay where they are."""
    order, first = _header(stream)
    records = _records(stream, first, order) if first else {}
    added = dict(changes.main)
    for pointer, entries in ((PHOTO_POINTER, changes.photo), (GPS_POINTER, changes.gps)):
        if entries:
            inner = _records(stream, _offset(records[pointer], order), order) if pointer in records else {}
            added[pointer] = long_entry(_append(stream, inner, entries, order))
    offset = _append(stream, records, added, order)
    stream.seek(4)
    stream.write(struct.pack(order + "I", offset))


def encode_exif(exif: Exif) -> bytes:
    """An EXIF block of these tags."""
    stream = io.BytesIO(b"II*\0" + bytes(4))
    write_exif(stream, exif)
    return stream.getvalue()


def without_thumbnail(block: bytes) -> bytes:
    """An EXIF block cut behind the last value that its picture, camera and place directories use."""
    stream = io.BytesIO(block)
    order, first = _header(stream)
    ends, queue, seen = [8], [first], set[int]()
    while queue:
        offset = queue.pop()
        if offset in seen:
            continue
        seen.add(offset)
        records = _records(stream, offset, order)
        ends.append(offset + 2 + 12 * len(records) + 4)
        for tag, record in records.items():
            if tag in (PHOTO_POINTER, GPS_POINTER, INTEROP_POINTER):
                queue.append(_offset(record, order))
            elif (size := _size(record, order)) > 4:
                ends.append(_offset(record, order) + size)
    return block[: max(ends)]


def revised(block: bytes, size_px: tuple[int, int], software: str) -> bytes:
    """An EXIF block for a picture of (H, W) pixels made from the photograph, its thumbnail left out."""
    old = read_exif(io.BytesIO(block))
    stream = io.BytesIO(without_thumbnail(block))
    write_exif(stream, changes_for(old, size_px, software))
    return stream.getvalue()


def changes_for(exif: Exif, size_px: tuple[int, int], software: str) -> Exif:
    """The tags that must change for a picture of (H, W) pixels: dimensions, sensor resolution, software."""
    height, width = size_px
    main = {SOFTWARE: ascii_entry(software)}
    main |= {tag: long_entry(n) for tag, n in ((IMAGE_WIDTH, width), (IMAGE_LENGTH, height)) if tag in exif.main}
    photo = {PIXEL_WIDTH: long_entry(width), PIXEL_HEIGHT: long_entry(height)}
    for size, resolution, now in (
        (PIXEL_WIDTH, PLANE_X_RESOLUTION, width),
        (PIXEL_HEIGHT, PLANE_Y_RESOLUTION, height),
    ):
        before = number(exif.photo, size)
        per_unit = number(exif.photo, resolution)
        if before and per_unit and before != now:
            photo[resolution] = rational_entry(per_unit * now / before)
    return Exif(main, photo)


def number(entries: Mapping[int, Entry], tag: int) -> float | None:
    """The first value of a tag, None where it is missing, undefined, infinite or not above zero."""
    values = entries[tag].values() if tag in entries else ()
    return float(values[0]) if values and 0 < values[0] < float("inf") else None


def _header(stream: BinaryIO) -> tuple[str, int]:
    """(byte order, offset of the first directory)."""
    stream.seek(0)
    head = stream.read(8)
    if len(head) < 8 or head[:2] not in _ORDERS or b"+" in head[2:4]:
        raise ValueError("no TIFF structure")
    order = _ORDERS[head[:2]]
    return order, struct.unpack(order + "I", head[4:])[0]


def _records(stream: BinaryIO, offset: int, order: str) -> dict[int, bytes]:
    """The 12 bytes of each tag of a directory."""
    stream.seek(offset)
    head = stream.read(2)
    if len(head) < 2:
        raise ValueError("a directory lies outside the file")
    count = struct.unpack(order + "H", head)[0]
    table = stream.read(12 * count)
    rows = [table[k : k + 12] for k in range(0, len(table) - 11, 12)]
    return {struct.unpack(order + "H", row[:2])[0]: row for row in rows}


def _size(record: bytes, order: str) -> int:
    kind, count = struct.unpack(order + "HI", record[2:8])
    return _SIZES.get(kind, 1) * count


def _offset(record: bytes, order: str) -> int:
    return struct.unpack(order + "I", record[8:])[0]


def _entry(stream: BinaryIO, record: bytes, order: str) -> Entry:
    kind, count = struct.unpack(order + "HI", record[2:8])
    size = _size(record, order)
    data = record[8 : 8 + size]
    if size > 4:
        stream.seek(_offset(record, order))
        data = stream.read(size)
    return Entry(kind, count, _swapped(kind, data) if order == ">" else data)


def _swapped(kind: int, data: bytes) -> bytes:
    """The same values in the other byte order."""
    word = struct.calcsize(_CODES.get(kind, "B"))
    return b"".join(data[k : k + word][::-1] for k in range(0, len(data), word)) if word > 1 else data


def _append(stream: BinaryIO, records: Mapping[int, bytes], added: Mapping[int, Entry], order: str) -> int:
    """Write a directory of old records and new tags behind everything else; returns its offset."""
    table = dict(records)
    for tag, entry in added.items():
        data = _swapped(entry.kind, entry.data) if order == ">" else entry.data
        value = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(order + "I", _write_even(stream, data))
        table[tag] = struct.pack(order + "HHI", tag, entry.kind, entry.length) + value
    rows = b"".join(table[tag] for tag in sorted(table))
    return _write_even(stream, struct.pack(order + "H", len(table)) + rows + bytes(4))


def _write_even(stream: BinaryIO, data: bytes) -> int:
    """Write at the next even offset behind the end; returns that offset."""
    end = stream.seek(0, io.SEEK_END)
    stream.write(bytes(end % 2) + data)
    return end + end % 2
