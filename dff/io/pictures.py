"""Pictures written with their colour profile and camera data, at their own bit depth."""

from __future__ import annotations

import warnings
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dff.io import exif, jpeg, png
from dff.io.atomic import atomic_path, write_bytes
from dff.settings import VERSION
from dff.stack import ImageMetadata

SOFTWARE = f"dff {VERSION}"
_LONGEST_JPEG_SIDE = 65535
_LARGEST_TIFF = 2**32 - 2**27
"""Bytes of pixels that surely fit into a TIFF file with 32-bit offsets."""
_DEPTHS = {
    ".jpg": ("uint8",),
    ".jpeg": ("uint8",),
    ".png": ("uint8", "uint16"),
    ".tif": ("uint8", "uint16", "float32"),
    ".tiff": ("uint8", "uint16", "float32"),
}


def picture_suffix(suffix: str, dtype: Any) -> str:
    """Ending of a picture file that keeps the frames' format where that holds their bit depth, else PNG or TIFF."""
    name = np.dtype(dtype).name
    if name in _DEPTHS.get(suffix.lower(), ()):
        return suffix.lower()
    return ".png" if name == "uint8" else ".tif"


def write_image(
    path: str | Path, array: NDArray[Any], metadata: ImageMetadata | None = None, *, quality: int = 95
) -> None:
    """Write a picture as JPEG, PNG or TIFF, whole or not at all, with its ICC profile and EXIF.

    EXIF gets the picture's dimensions and this program's name, and loses its thumbnail.

    Args:
        path: Its ending chooses the format.
        array: (H, W), (H, W, 1) or (H, W, 3) RGB; uint8 or, in PNG and TIFF, uint16 or, in TIFF, float32.
        metadata: What to keep of the photographs the picture was made from.
        quality: Of a JPEG, 1 to 100; colour is never subsampled.

    Raises:
        ValueError: the format cannot hold such an array.
        OSError: the file cannot be written.
    """
    target, picture = Path(path), np.ascontiguousarray(array)
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[..., 0]
    _check(target, picture)
    kept = metadata or ImageMetadata()
    block = _revised_exif(kept.exif, picture.shape[:2])
    suffix = target.suffix.lower()
    if suffix in (".tif", ".tiff"):
        _write_tiff(target, picture, block, kept.icc)
    elif suffix == ".png":
        write_bytes(target, png.with_metadata(_encoded(".png", picture, []), block, kept.icc))
    else:
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        write_bytes(target, jpeg.with_metadata(_encoded(".jpg", picture, options), _fitting(block), kept.icc))


def _check(path: Path, picture: NDArray[Any]) -> None:
    depths = _DEPTHS.get(path.suffix.lower())
    if depths is None:
        raise ValueError(f"{path}: must end in .jpg, .png or .tif; got {path.suffix or 'no ending'!r}; choose one")
    if picture.ndim not in (2, 3) or (picture.ndim == 3 and picture.shape[2] != 3) or 0 in picture.shape:
        raise ValueError(f"{path}: must be (H, W), (H, W, 1) or (H, W, 3); got {picture.shape}; convert the picture")
    if picture.dtype.name not in depths:
        raise ValueError(
            f"{path}: a {path.suffix} file holds {' or '.join(depths)}; got {picture.dtype}; write a .tif file"
        )
    if depths == _DEPTHS[".jpg"] and max(picture.shape) > _LONGEST_JPEG_SIDE:
        raise ValueError(
            f"{path}: a JPEG side has at most {_LONGEST_JPEG_SIDE} px; got {max(picture.shape)}; write a .tif file"
        )


def _encoded(suffix: str, picture: NDArray[Any], options: list[int]) -> bytes:
    stored = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    return cv2.imencode(suffix, stored, options)[1].tobytes()


def _revised_exif(block: bytes | None, size_px: tuple[int, ...]) -> bytes | None:
    """The EXIF block for the new picture; None with a warning where it cannot be understood."""
    if block is None:
        return None
    try:
        return exif.revised(block, (size_px[0], size_px[1]), SOFTWARE)
    except ValueError as error:
        warnings.warn(f"EXIF: must be a TIFF structure; got {error}; the picture is written without it", stacklevel=3)
        return None


def _fitting(block: bytes | None) -> bytes | None:
    """The EXIF block if a JPEG segment can hold it, else without the maker's notes, else none with a warning."""
    limit = jpeg.LARGEST_SEGMENT - len(jpeg.EXIF)
    if block is None or len(block) <= limit:
        return block
    tags = exif.read_exif(BytesIO(block))
    smaller = exif.encode_exif(replace(tags, photo=_without_maker_note(tags)))
    if len(smaller) <= limit:
        return smaller
    warnings.warn(f"EXIF: must be at most {limit} bytes in a JPEG; got {len(smaller)}; it is left out", stacklevel=3)
    return None


def _without_maker_note(tags: exif.Exif) -> dict[int, exif.Entry]:
    return {tag: entry for tag, entry in tags.photo.items() if tag != exif.MAKER_NOTE}


def _write_tiff(path: Path, picture: NDArray[Any], block: bytes | None, icc: bytes | None) -> None:
    with atomic_path(path) as temporary:
        write_tiff_page(temporary, picture, iccprofile=icc, predictor=picture.dtype.kind == "u")
        if block is None:
            return
        tags = exif.read_exif(BytesIO(block))
        main = {tag: entry for tag, entry in tags.main.items() if tag in exif.DESCRIPTIVE}
        if picture.nbytes > _LARGEST_TIFF:
            warnings.warn(f"{path}: EXIF is left out of a picture of more than 4 GB", stacklevel=3)
            return
        with temporary.open("r+b") as file:
            exif.write_exif(file, replace(tags, main=main))


def write_tiff_page(path: Path, array: NDArray[Any], **options: Any) -> None:
    """Write one page, deflated by the compression that every TIFF reader knows."""
    import tifffile

    tifffile.imwrite(
        path,
        array,
        photometric="rgb" if array.ndim == 3 else "minisblack",
        compression="adobe_deflate",
        software=SOFTWARE,
        metadata=None,
        **options,
    )
