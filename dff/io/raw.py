"""Camera RAW files: every frame developed alike, 16 bit, not turned, not brightened."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff.io import jpeg
from dff.io.formats import Header, unreadable

SRGB_GAMMA = (2.4, 12.92)
"""Exponent and slope at black of the sRGB tone curve."""


@contextmanager
def open_raw(path: Path) -> Iterator[Any]:
    """A rawpy.RawPy.

    Raises:
        ValueError: rawpy is not installed.
        FrameError: the file cannot be decoded.
    """
    try:
        import rawpy
    except ImportError as error:
        raise ValueError(f"{path}: RAW frames need rawpy; got no such package; pip install rawpy") from error
    try:
        with rawpy.imread(str(path)) as raw:
            yield raw
    except (OSError, rawpy.LibRawError) as error:
        raise unreadable(path, error) from error


def is_available() -> bool:
    """Whether RAW files can be decoded here."""
    try:
        import rawpy  # noqa: F401
    except ImportError:
        return False
    return True


def read_header(path: Path) -> Header:
    """Size and type of a RAW frame once developed."""
    with open_raw(path) as raw:
        return Header((raw.sizes.height, raw.sizes.width, 3), np.dtype(np.uint16))


class RawFrames:
    """RAW frames, developed one at a time, all with the white balance of one of them."""

    def __init__(self, paths: tuple[Path, ...], reference: int = 0) -> None:
        self.paths = paths
        self.reference = reference

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def white_balance(self) -> tuple[float, ...]:
        """Gains of red, green, blue and second green, as the camera set them for the reference."""
        with open_raw(self.paths[self.reference]) as raw:
            camera = tuple(float(gain) for gain in raw.camera_whitebalance)
            daylight = tuple(float(gain) for gain in raw.daylight_whitebalance)
        return camera if camera[0] > 0 else daylight

    def __getitem__(self, k: int, /) -> NDArray[Any]:
        with open_raw(self.paths[k]) as raw:
            return raw.postprocess(
                user_wb=list(self.white_balance),
                no_auto_bright=True,
                # The default stretches each frame by its own brightest pixel.
                adjust_maximum_thr=0.0,
                output_bps=16,
                gamma=SRGB_GAMMA,
                user_flip=0,
            )


def preview_exif(path: Path) -> bytes | None:
    """The EXIF block of the JPEG preview inside a RAW file."""
    import rawpy

    with open_raw(path) as raw:
        try:
            preview = raw.extract_thumb()
        except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
            return None
    if preview.format != rawpy.ThumbFormat.JPEG:
        return None
    return jpeg.metadata_blocks(io.BytesIO(preview.data))[0]
