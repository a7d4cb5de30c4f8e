"""A focal stack from a folder, a pattern, a list of files, a TIFF file of many pages, or a video."""

from __future__ import annotations

import math
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff.io import tiffs
from dff.io.checkpoints import files_digest
from dff.io.checks import CheckedFrames, FrameError, check_alike, repeated_files, usable_frames
from dff.io.formats import Header, kind_of, read_header
from dff.io.images import FileFrames
from dff.io.listing import list_files, natural_key
from dff.io.metadata import read_metadata
from dff.stack import FocalStack, FocusGeometry, Frames, ImageMetadata

_FLOAT_WHITE = 2.0
"""Highlights of floating-point frames may exceed 1, but not by more."""


@dataclass(frozen=True)
class _Source:
    """Frames found, before they are looked at."""

    frames: Frames
    """All of them."""
    index: tuple[int, ...]
    """Which of them are used."""
    names: tuple[str, ...]
    """One for each frame used."""
    files: tuple[Path, ...]
    """Likewise."""
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    metadata: ImageMetadata
    suffix: str


def read_stack(
    source: str | Path | Sequence[str | Path],
    *,
    order: str = "name",
    every: int = 1,
    skip_bad: bool = False,
    geometry: FocusGeometry | None = None,
    channel: int | None = None,
    time: int | None = None,
) -> FocalStack:
    """A focal stack whose frames are decoded when they are asked for, and looked at as they are decoded.

    Args:
        source: A folder, a pattern such as "shots/*.tif", a list of image files (its order is kept), a TIFF file of
            many pages (plain, ImageJ or OME), or a video.
        order: "name" and "auto" both read files in natural order; "auto" leaves finding the order to the caller.
        every: Use every n-th frame only.
        skip_bad: Leave out frames that cannot be used, with a warning each, instead of stopping. All frames are
            decoded once to find them.
        geometry: One row for each frame of the source, or for each frame used.
        channel: Which channel to read from a TIFF file of several.
        time: Which point in time to read from a TIFF file of several.

    Raises:
        OSError: there is no such path.
        ValueError: no frames, one frame, frames that differ in size, channels or bit depth, or that are damaged.
    """
    if order not in ("name", "auto"):
        raise ValueError(f"order: must be name or auto; got {order!r}; choose one of them")
    if every < 1:
        raise ValueError(f"every: must be at least 1; got {every}; give a larger value")
    found = _in_unit_range(_open(source, every, skip_bad, channel, time))
    checked = CheckedFrames(found.frames, found.names, found.shape, found.dtype, found.index)
    usable = usable_frames(checked) if skip_bad else list(range(len(checked)))
    if len(usable) < 2:
        raise _too_few(source, len(usable))
    stack = FocalStack(
        frames=checked,
        names=found.names,
        files=tuple(os.path.abspath(path) for path in found.files),
        shape=found.shape,
        dtype=found.dtype,
        metadata=found.metadata,
        suffix=found.suffix,
        geometry=_chosen_rows(geometry, found),
        positions=() if len(found.index) == len(found.frames) else found.index,
        digest=files_digest(tuple(dict.fromkeys(found.files))),
    )
    return stack if len(usable) == len(stack) else stack.subset(usable)


@dataclass(frozen=True)
class _Divided:
    """Frames divided by their value of full white."""

    frames: Frames
    white: float

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, k: int, /) -> NDArray[Any]:
        return self.frames[k] / np.float32(self.white)


def _in_unit_range(found: _Source) -> _Source:
    """Frames of floating point whose white is 1, judged by the brightest pixel of the first frame that has one."""
    if found.dtype != np.float32:
        return found
    brightest = next(filter(np.isfinite, (_brightest(found.frames, k) for k in found.index)), 0.0)
    if brightest <= _FLOAT_WHITE:
        return found
    white = float(2 ** math.ceil(math.log2(brightest + 1)) - 1)
    warnings.warn(
        f"{found.names[0]}: floating-point frames should run from 0 to 1; got values up to {brightest:g}; "
        f"all frames are divided by {white:g}",
        stacklevel=3,
    )
    return replace(found, frames=_Divided(found.frames, white))


def _brightest(frames: Frames, k: int) -> float:
    """Largest finite value of a frame; NaN where there is none or the frame is damaged."""
    try:
        frame = frames[k]
    except FrameError:
        return math.nan
    return float(np.max(frame, where=np.isfinite(frame), initial=-np.inf))


def _too_few(source: str | Path | Sequence[str | Path], count: int) -> ValueError:
    label = source if isinstance(source, (str, Path)) else "list of frames"
    return ValueError(f"{label}: a focal stack needs at least 2 frames; got {count}; give more frames")


def _open(
    source: str | Path | Sequence[str | Path], every: int, skip_bad: bool, channel: int | None, time: int | None
) -> _Source:
    files = list_files(source, skip_bad=skip_bad)
    if not files:
        raise _too_few(source, 0)
    if len(files) > 1:
        return _open_files(files, every, skip_bad)
    kind = kind_of(files[0])
    if kind == "video":
        return _open_video(files[0], every)
    if kind == "tiff" and read_header(files[0]).pages > 1:
        return _open_pages(files[0], every, channel, time)
    raise _too_few(source, 1)


def _open_video(path: Path, every: int) -> _Source:
    from dff.io.video import VideoFrames

    video = VideoFrames(path)
    index = tuple(range(0, len(video), every))
    return _Source(
        frames=video,
        index=index,
        names=tuple(f"{path.name}[{k}]" for k in index),
        files=(path,) * len(index),
        shape=video.shape,
        dtype=video.dtype,
        metadata=ImageMetadata(),
        suffix=path.suffix.lower(),
    )


def _open_pages(path: Path, every: int, channel: int | None, time: int | None) -> _Source:
    pages = tiffs.open_stack(path, channel=channel, time=time)
    index = tuple(range(0, len(pages), every))
    _warn_of_alpha(path.name, pages.header)
    return _Source(
        frames=pages,
        index=index,
        names=tuple(f"{path.name}[{k}]" for k in index),
        files=(path,) * len(index),
        shape=pages.header.shape,
        dtype=pages.header.dtype,
        metadata=read_metadata(path),
        suffix=path.suffix.lower(),
    )


def _open_files(files: Sequence[Path], every: int, skip_bad: bool) -> _Source:
    headers: dict[int, Header] = {}
    for k in range(0, len(files), every):
        try:
            headers[k] = _single_header(files[k])
        except FrameError as error:
            _leave_out(error, skip_bad)
    if not headers:
        raise ValueError(f"{files[0].parent}: must hold usable frames; got none of {len(files)}; copy the files again")
    index = _alike(files, headers, skip_bad)
    index = _distinct(files, index, skip_bad)
    first = headers[index[0]]
    _warn_of_alpha(files[index[0]].name, first)
    used = [files[k] for k in index]
    return _Source(
        frames=_frames_of(tuple(files), index[0]),
        index=tuple(index),
        names=tuple(path.name for path in used),
        files=tuple(used),
        shape=first.shape,
        dtype=first.dtype,
        metadata=read_metadata(used[0]),
        suffix=used[0].suffix.lower(),
    )


def _frames_of(paths: tuple[Path, ...], reference: int) -> Frames:
    if kind_of(paths[reference]) == "raw":
        from dff.io.raw import RawFrames

        return RawFrames(paths, reference)
    return FileFrames(paths)


def _single_header(path: Path) -> Header:
    if kind_of(path) == "video":
        raise FrameError(f"{path}: a list of frames must hold images; got a video; give the video on its own")
    header = read_header(path)
    if header.pages > 1:
        raise FrameError(f"{path}: a frame must be a file of one page; got {header.pages}; give the file on its own")
    return header


def _leave_out(error: FrameError, skip_bad: bool) -> None:
    if not skip_bad:
        raise error
    warnings.warn(f"left out: {error}", stacklevel=4)


def _alike(files: Sequence[Path], headers: dict[int, Header], skip_bad: bool) -> list[int]:
    """Indices of the frames of the commonest size and type."""
    looks = {k: (header.shape, header.dtype) for k, header in headers.items()}
    common = Counter(looks.values()).most_common(1)[0][0]
    model = next(k for k, look in looks.items() if look == common)
    usable = []
    for k, look in looks.items():
        try:
            check_alike(files[k].name, look, common, files[model].name)
            usable.append(k)
        except FrameError as error:
            _leave_out(error, skip_bad)
    return usable


def _distinct(files: Sequence[Path], index: list[int], skip_bad: bool) -> list[int]:
    """Indices of the frames that do not repeat another file; a repetition is warned of."""
    repeated = repeated_files([files[k] for k in index])
    if not repeated:
        return index
    pairs = ", ".join(f"{path.name} = {other.name}" for path, other in repeated)
    copies = {path for path, _ in repeated}
    outcome = "left out" if skip_bad else "leave out one of each pair or use --skip-bad"
    warnings.warn(f"frames: must differ; got the same bytes in {pairs}; {outcome}", stacklevel=4)
    return [k for k in index if files[k] not in copies] if skip_bad else index


def _warn_of_alpha(name: str, header: Header) -> None:
    if header.alpha:
        warnings.warn(f"{name}: has an alpha channel, which is left out of the frames", stacklevel=4)


def _chosen_rows(geometry: FocusGeometry | None, found: _Source) -> FocusGeometry | None:
    if geometry is None or len(geometry) == len(found.index):
        return geometry
    count = len(found.frames)
    if len(geometry) != count:
        raise ValueError(
            f"geometry: must have one row a frame; got {len(geometry)} rows for {count} frames; mend the table"
        )
    return geometry.rows(found.index)


def reopen_frames(
    files: Sequence[str | Path], names: Sequence[str], shape: tuple[int, int, int], dtype: np.dtype[Any]
) -> Frames:
    """The frames of a stack that was read before; only the files of those that are asked for need to be there.

    Args:
        files: The file of each frame, as `FocalStack.files` has them.
        names: The name of each frame.
        shape: (H, W, C) of the frames.
        dtype: Their type.

    Raises:
        OSError: a file that holds all frames is not there.
        ValueError: it does not hold frames of these names.
    """
    paths = tuple(Path(file) for file in files)
    if len(set(paths)) > 1:
        # RAW frames were developed with the white balance of the first file.
        first = min(range(len(paths)), key=lambda k: natural_key(paths[k]))
        frames, index = _frames_of(paths, first), tuple(range(len(paths)))
    else:
        found = _open(paths[0], 1, False, None, None)
        # Names end in "[page]"; the file may have another name by now.
        pages = {name[name.rfind("[") :]: k for k, name in enumerate(found.names)}
        wanted = [name[name.rfind("[") :] for name in names]
        missing = [name for name, page in zip(names, wanted) if page not in pages]
        if missing:
            raise ValueError(f"{paths[0]}: must hold the frames of the result; got no {missing[0]}; give its own file")
        frames, index = found.frames, tuple(pages[page] for page in wanted)
    source = _Source(
        frames=frames,
        index=index,
        names=tuple(names),
        files=paths,
        shape=shape,
        dtype=dtype,
        metadata=ImageMetadata(),
        suffix=paths[0].suffix.lower(),
    )
    return CheckedFrames(_in_unit_range(source).frames, source.names, shape, dtype, index)
