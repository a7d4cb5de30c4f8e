"""TIFF files: single frames, and stacks of pages (plain, ImageJ, OME)."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff.io.checks import FRAME_TYPES, FrameError
from dff.io.formats import Header, unreadable

_BROKEN = (OSError, ValueError, RuntimeError, LookupError, TypeError, struct.error, zlib.error)
"""What reading a damaged TIFF file raises."""

_DECODED = {"bool": "uint8", "float16": "float32", "float64": "float32"}


@contextmanager
def open_tiff(path: Path) -> Iterator[Any]:
    """A tifffile.TiffFile, whose complaints become one line.

    Raises:
        FrameError: the file is not a whole TIFF file.
    """
    import tifffile

    log = logging.getLogger("tifffile")
    complaints = _Complaints(logging.ERROR)
    log.addHandler(complaints)
    propagate, log.propagate = log.propagate, False
    try:
        with tifffile.TiffFile(path) as tif:
            yield tif
        if complaints.lines:
            raise ValueError(complaints.lines[0])
    except FrameError:
        raise
    except _BROKEN as error:
        raise unreadable(path, error) from error
    finally:
        log.propagate = propagate
        log.removeHandler(complaints)


class _Complaints(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def read_header(path: Path) -> Header:
    """Size and type of the first page of a TIFF file.

    Raises:
        FrameError: the page cannot be used as a frame.
    """
    with open_tiff(path) as tif:
        pages = sum(not page.is_reduced for page in tif.pages)
        if pages == 1 and (tif.is_imagej or tif.is_shaped):
            # Large stacks have one directory for all their pages.
            pages = prod(size for _, size in _leading(tif.series[0]))
        return _page_header(path, tif.pages.first, pages)


def read_page(path: Path) -> NDArray[Any]:
    """The first page of a TIFF file, (H, W, C).

    Raises:
        FrameError: it is damaged.
    """
    with open_tiff(path) as tif:
        return _frame(tif.pages.first, tif.pages.first.asarray())


def _page_header(path: Path, page: Any, pages: int) -> Header:
    photometric = getattr(page.photometric, "name", str(page.photometric))
    axes = page.axes
    if axes not in ("YX", "YXS", "SYX"):
        raise FrameError(f"{path}: a page must have the axes YX or YXS; got {axes}; save one plane a page")
    if photometric not in ("MINISBLACK", "MINISWHITE", "RGB", "PALETTE", "YCBCR"):
        raise FrameError(f"{path}: colours must be grey or RGB; got {photometric}; convert the frames to RGB")
    dtype = _DECODED.get(str(page.dtype), str(page.dtype))
    if dtype not in FRAME_TYPES:
        raise FrameError(
            f"{path}: samples must be 8 or 16 bit unsigned or floating point; got {page.dtype}; convert the frames"
        )
    size = dict(zip(axes, page.shape))
    samples = 3 if photometric == "PALETTE" else size.get("S", 1)
    depth = "uint8" if photometric == "PALETTE" else dtype
    channels = 3 if samples >= 3 else 1
    return Header((size["Y"], size["X"], channels), np.dtype(depth), samples != channels, pages)


def _frame(page: Any, array: NDArray[Any]) -> NDArray[Any]:
    """(H, W, C) grey or RGB from the samples of a page."""
    photometric = getattr(page.photometric, "name", "")
    if photometric == "PALETTE":
        return np.ascontiguousarray(np.moveaxis(page.colormap[:, array] >> 8, 0, -1).astype(np.uint8))
    if page.axes == "SYX":
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 2:
        array = array[..., None]
    array = array[..., : 3 if array.shape[-1] >= 3 else 1]
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if photometric == "MINISWHITE" and np.issubdtype(array.dtype, np.integer):
        array = np.iinfo(array.dtype).max - array
    dtype = _DECODED.get(array.dtype.name, array.dtype.name)
    return np.ascontiguousarray(array.astype(dtype, copy=False))


@dataclass(frozen=True)
class TiffStack:
    """The frames of one TIFF file of many pages, decoded one at a time."""

    path: Path
    header: Header
    pages: tuple[int, ...]
    """Page of each frame within the file's first series."""

    def __len__(self) -> int:
        return len(self.pages)

    def __getitem__(self, k: int, /) -> NDArray[Any]:
        with open_tiff(self.path) as tif:
            series = tif.series[0]
            return _frame(series.keyframe, _samples(tif, series, self.pages[k]))


def _samples(tif: Any, series: Any, page: int) -> NDArray[Any]:
    """The samples of a page, whether it has a directory or only follows the others in the file."""
    if page < len(series.pages):
        return series.pages[page].asarray()
    first = series.keyframe
    offset = series.dataoffset + page * first.nbytes
    stored = first.dtype.newbyteorder(tif.byteorder)
    return tif.filehandle.read_array(stored, count=first.size, offset=offset).reshape(first.shape)


def _leading(series: Any) -> list[tuple[str, int]]:
    """Axes of a series beside rows, columns and samples, with their sizes."""
    return [(axis, size) for axis, size in zip(series.axes, series.shape) if axis not in "YXS"]


def open_stack(path: Path, *, channel: int | None = None, time: int | None = None) -> TiffStack:
    """The focal stack in a TIFF file: its Z axis, or its only axis beside rows, columns and samples.

    Args:
        channel: Which channel to read from a file of several.
        time: Which point in time to read from a file of several.

    Raises:
        FrameError: pages differ, or the file has more axes than a focal stack.
    """
    with open_tiff(path) as tif:
        series = [part for part in tif.series if not part.keyframe.is_reduced]
        if len({part.shape[-2:] for part in series}) > 1 or len(series) > 1:
            sizes = ", ".join(str(part.shape) for part in series)
            raise FrameError(f"{path}: all pages must be alike in one series; got {sizes}; save the stack on its own")
        header = _page_header(path, tif.series[0].keyframe, len(tif.series[0].pages))
        leading = _leading(tif.series[0])
    return TiffStack(path, header, _frame_pages(path, leading, {"C": channel, "T": time}))


def _frame_pages(path: Path, leading: list[tuple[str, int]], chosen: dict[str, int | None]) -> tuple[int, ...]:
    """Page numbers along the focus axis."""
    focus = _focus_axis(path, leading, chosen)
    sizes = [size for _, size in leading]
    pages: NDArray[Any] = np.arange(prod(sizes)).reshape(sizes)
    for axis, (name, size) in reversed(list(enumerate(leading))):
        if name == focus:
            continue
        k = chosen.get(name) or 0
        if not 0 <= k < size:
            word = _AXES.get(name, name)
            raise ValueError(f"{path}: {word} must be from 0 to {size - 1}; got {k}; choose one of them")
        pages = np.asarray(pages.take(k, axis))
    return tuple(int(page) for page in np.atleast_1d(pages))


_AXES = {"C": "channel", "T": "time"}


def _focus_axis(path: Path, leading: list[tuple[str, int]], chosen: dict[str, int | None]) -> str:
    """Name of the axis along which the focus moves."""
    long = [name for name, size in leading if size > 1]
    if "Z" in long:
        focus = "Z"
    else:
        free = [name for name in long if chosen.get(name) is None]
        focus = next((name for name in free if name != "C"), "Z")
        if focus == "T":
            warnings.warn(f"{path}: has no Z axis; its time axis is taken as the sweep", stacklevel=6)
    for name, size in leading:
        if size > 1 and name != focus and chosen.get(name) is None:
            word = _AXES.get(name)
            cure = f"choose one with {word}=0 to {size - 1}, or save it" if word else "save one of them"
            raise ValueError(f"{path}: frames must lie along one axis; got {size} along {name} too; {cure} alone")
    return focus
