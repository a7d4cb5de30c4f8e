"""Image files, one frame each: decoded as stored, without turning them by their orientation tag."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dff.io import jpeg, png, tiffs
from dff.io.checks import FrameError
from dff.io.formats import kind_by_content, unreadable

_AS_STORED = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION


def read_image(path: str | Path) -> NDArray[Any]:
    """An image as (H, W, C) uint8, uint16 or float32; C is 1 or 3 (RGB).

    Raises:
        FrameError: the file is not a whole image.
    """
    source = Path(path)
    try:
        with source.open("rb") as file:
            kind = kind_by_content(source, file.read(32))
            file.seek(0)
            data = b"" if kind in ("tiff", "raw") else file.read()
    except OSError as error:
        raise unreadable(source, error) from error
    if kind == "tiff":
        return tiffs.read_page(source)
    if kind == "raw":
        from dff.io import raw

        return raw.RawFrames((source,))[0]
    whole = {"jpeg": jpeg.is_whole, "png": lambda data: png.is_whole(io.BytesIO(data))}
    if kind in whole and not whole[kind](data):
        raise FrameError(
            f"{source}: must be whole; got a {kind.upper()} cut short; copy it again or leave it out with --skip-bad"
        )
    if kind == "jpeg" and (array := jpeg.decoded(data)) is not None:
        return array
    return _decode(source, data)


def _decode(path: Path, data: bytes) -> NDArray[Any]:
    try:
        array = cv2.imdecode(np.frombuffer(data, np.uint8), _AS_STORED)
    except cv2.error as error:
        raise unreadable(path, error) from error
    if array is None:
        raise FrameError(
            f"{path}: must be a whole image; got a damaged one; copy the file again or leave it out with --skip-bad"
        )
    if array.ndim == 2:
        return array[..., None]
    return cv2.cvtColor(array, cv2.COLOR_BGR2RGB, dst=array)


@dataclass(frozen=True)
class FileFrames:
    """Frames in one file each, decoded one at a time."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, k: int, /) -> NDArray[Any]:
        return read_image(self.paths[k])
