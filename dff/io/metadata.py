"""What a file says of the camera, the lens and the scale: EXIF, ICC, OME and ImageJ tags."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dff.io import exif, jpeg, png
from dff.io.formats import kind_by_content, read_head
from dff.io.tiffs import open_tiff
from dff.stack import ImageMetadata

MM_PER = {
    "nm": 1e-6,
    "nanometer": 1e-6,
    "um": 1e-3,
    "micron": 1e-3,
    "micrometer": 1e-3,
    "mm": 1.0,
    "millimeter": 1.0,
    "cm": 10.0,
    "centimeter": 10.0,
    "m": 1e3,
    "meter": 1e3,
    "in": 25.4,
    "inch": 25.4,
}
"""Millimetres in a unit, by its name in lower case and the singular."""

_PLANE_UNITS_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 1e-3}


def unit_mm(name: str) -> float | None:
    """Millimetres in a unit of length, however it is spelled; None where it is none."""
    word = name.replace("\\u00B5", "u").replace("\\u00b5", "u").strip().strip("()[]").lower()
    word = word.replace("µ", "u").replace("μ", "u").replace("metre", "meter")
    if word in MM_PER:
        return MM_PER[word]
    return MM_PER.get({"inches": "inch"}.get(word, word.removesuffix("s")))


def read_metadata(path: str | Path) -> ImageMetadata:
    """Metadata of an image or stack file; what it does not say is None.

    Raises:
        FrameError: the file cannot be opened or is no image.
    """
    source = Path(path)
    kind = kind_by_content(source, read_head(source))
    if kind == "tiff":
        return _tiff_metadata(source)
    if kind == "raw":
        from dff.io import raw

        return from_exif(_raw_exif(source) or raw.preview_exif(source), None, None)
    with source.open("rb") as file:
        if kind == "jpeg":
            block, icc = jpeg.metadata_blocks(file)
            _, width, _, _ = jpeg.image_size(file)
        elif kind == "png":
            block, icc = png.metadata_blocks(file)
            _, width, _, _, _ = png.image_size(file)
        elif kind == "webp":
            (block, icc), width = _webp_blocks(file.read()), 0
        else:
            return ImageMetadata()
    return from_exif(block, icc, width or None)


def from_exif(block: bytes | None, icc: bytes | None, width_px: int | None) -> ImageMetadata:
    """Metadata from an EXIF block and an ICC profile.

    Args:
        width_px: Width of the picture; the sensor's pixel pitch is scaled where EXIF tells another one.
    """
    if block is None:
        return ImageMetadata(icc=icc)
    try:
        tags = exif.read_exif(io.BytesIO(block))
    except ValueError as error:
        warnings.warn(f"EXIF: must be a TIFF structure; got {error}; the frames are read without it", stacklevel=2)
        return ImageMetadata(icc=icc)
    return ImageMetadata(
        exif=block,
        icc=icc,
        camera=_camera(tags.main),
        lens=_text(tags.photo, exif.LENS_MODEL),
        focal_length_mm=exif.number(tags.photo, exif.FOCAL_LENGTH),
        f_number=exif.number(tags.photo, exif.F_NUMBER),
        pixel_pitch_mm=_pixel_pitch_mm(tags.photo, width_px),
    )


def _text(entries: Mapping[int, exif.Entry], tag: int) -> str | None:
    return entries[tag].text() or None if tag in entries else None


def _camera(main: Mapping[int, exif.Entry]) -> str | None:
    make, model = _text(main, exif.MAKE) or "", _text(main, exif.MODEL) or ""
    if make.split(" ")[0].lower() == model.split(" ")[0].lower():
        make = ""
    return f"{make} {model}".strip() or None


def _pixel_pitch_mm(photo: Mapping[int, exif.Entry], width_px: int | None) -> float | None:
    per_unit = exif.number(photo, exif.PLANE_X_RESOLUTION)
    unit = _PLANE_UNITS_MM.get(int(exif.number(photo, exif.PLANE_RESOLUTION_UNIT) or 2))
    if per_unit is None or unit is None:
        return None
    before = exif.number(photo, exif.PIXEL_WIDTH)
    return unit / per_unit * (before / width_px if before and width_px else 1.0)


def _webp_blocks(data: bytes) -> tuple[bytes | None, bytes | None]:
    found: dict[bytes, bytes] = {}
    position = 12
    while position + 8 <= len(data):
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        found[data[position : position + 4]] = data[position + 8 : position + 8 + size]
        position += 8 + size + size % 2
    block = found.get(b"EXIF")
    return block.removeprefix(jpeg.EXIF) if block else None, found.get(b"ICCP")


def _raw_exif(path: Path) -> bytes | None:
    """The EXIF tags of a RAW file that is built like a TIFF file."""
    try:
        with path.open("rb") as file:
            tags = exif.read_exif(file, exif.DESCRIPTIVE)
    except ValueError:
        return None
    photo = {tag: entry for tag, entry in tags.photo.items() if tag != exif.MAKER_NOTE}
    return exif.encode_exif(replace(tags, photo=photo))


def _tiff_metadata(path: Path) -> ImageMetadata:
    with open_tiff(path) as tif:
        page = tif.pages.first
        icc = page.tags.valueof(34675)
        width = page.imagewidth
        scale = _ome_scale(tif.ome_metadata) if tif.is_ome else _imagej_scale(tif.imagej_metadata, page)
    with path.open("rb") as file:
        try:
            tags = exif.read_exif(file, exif.DESCRIPTIVE)
        except ValueError:
            tags = exif.Exif()
    main = {tag: entry for tag, entry in tags.main.items() if not _is_for_machines(tag, entry)}
    known = exif.MAKE in main or exif.MODEL in main or tags.photo
    block = exif.encode_exif(replace(tags, main=main)) if known else None
    metadata = from_exif(block, None if icc is None else bytes(icc), width)
    return replace(metadata, pixel_size_mm=scale[0], step_mm=scale[1])


def _is_for_machines(tag: int, entry: exif.Entry) -> bool:
    """Whether a description holds the layout of a stack, which is not that of the picture made from it."""
    return tag == exif.DESCRIPTION and entry.text().startswith(("<?xml", "<OME", "ImageJ=", "{"))


def _ome_scale(xml: str) -> tuple[float | None, float | None]:
    """(pixel size, step) in mm from OME-XML."""
    tag = re.search(r"<(?:\w+:)?Pixels\s[^>]*>", xml)
    attributes = dict(re.findall(r"(\w+)\s*=\s*[\"']([^\"']*)[\"']", tag[0])) if tag else {}

    def length_mm(name: str) -> float | None:
        unit = unit_mm(attributes.get(f"{name}Unit", "µm").replace("&#181;", "µ"))
        return _positive(attributes.get(name), unit)

    across, down = length_mm("PhysicalSizeX"), length_mm("PhysicalSizeY")
    _warn_of_oblong(across, down)
    return across, length_mm("PhysicalSizeZ")


def _imagej_scale(tags: Mapping[str, Any] | None, page: Any) -> tuple[float | None, float | None]:
    """(pixel size, step) in mm from ImageJ's description and the resolution tags."""
    if not tags:
        return None, None
    unit = unit_mm(str(tags.get("unit", ""))) or {2: 25.4, 3: 10.0}.get(page.tags.valueof(296, default=1))
    across, down = (_pixels_per_unit(page.tags.valueof(tag)) for tag in (282, 283))
    sizes = [None if not unit or not value else unit / value for value in (across, down)]
    _warn_of_oblong(*sizes)
    return sizes[0], _positive(tags.get("spacing"), unit)


def _pixels_per_unit(value: tuple[int, int] | None) -> float | None:
    return value[0] / value[1] if value and value[0] and value[1] else None


def _positive(value: Any, unit: float | None) -> float | None:
    """A length in mm whatever its sign; None where it is unknown or zero."""
    try:
        length = abs(float(value)) * (unit or 0.0)
    except (TypeError, ValueError):
        return None
    return length if 0 < length < float("inf") else None


def _warn_of_oblong(across: float | None, down: float | None) -> None:
    if across and down and abs(across - down) > 1e-3 * across:
        warnings.warn(f"pixels: must be square; got {across:g} x {down:g} mm; the width is used for both", stacklevel=2)
