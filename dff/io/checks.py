"""What a frame must be to be used: whole, readable, like its neighbours, and not blank."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff.stack import Frames

_BLOCK_BYTES = 1 << 14
FRAME_TYPES = ("uint8", "uint16", "float32")


class FrameError(ValueError):
    """A frame that cannot be used; the line names it, and skip_bad leaves such frames out."""


def check_frame(name: str, frame: NDArray[Any]) -> None:
    """Refuse a decoded frame that cannot be used.

    Args:
        name: What the line calls it.
        frame: (H, W, C) uint8, uint16 or float32.

    Raises:
        FrameError: the frame holds NaN or infinity, or every pixel has the same value.
    """
    if np.issubdtype(frame.dtype, np.floating) and not np.isfinite(frame).all():
        bad = int(np.count_nonzero(~np.isfinite(frame)))
        raise FrameError(
            f"{name}: every value must be finite; got {bad} NaN or infinite; mend it or leave it out with --skip-bad"
        )
    corner = frame[0, 0]
    if (frame[::16, ::16] == corner).all() and (frame == corner).all():
        shade = "black" if not corner.any() else f"the value {', '.join(f'{v:g}' for v in corner)}"
        raise FrameError(f"{name}: must show something; got {shade} in every pixel; leave it out with --skip-bad")


def check_alike(name: str, got: tuple[Any, ...], expected: tuple[Any, ...], first: str) -> None:
    """Refuse a frame whose (shape, dtype) differs from the others'.

    Raises:
        FrameError: naming both frames and what differs.
    """
    if got == expected:
        return
    (h, w, c), (height, width, channels) = got[0], expected[0]
    if (h, w) != (height, width):
        rule, found, cure = "size", f"{w} x {h} px and {width} x {height} px", "crop or export all frames alike"
    elif c != channels:
        rule, found, cure = "number of channels", f"{c} and {channels}", "make all frames grey or all RGB"
    else:
        rule, found, cure = "bit depth", f"{got[1]} and {expected[1]}", "export all frames at one bit depth"
    raise FrameError(f"{name}: {rule} must be that of {first}; got {found}; {cure}")


class CheckedFrames:
    """Frames that are looked at as they are decoded: one that cannot be used raises by its name.

    Frames of the same pixels are warned of once.
    """

    def __init__(
        self,
        frames: Frames,
        names: Sequence[str],
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        index: Sequence[int],
    ) -> None:
        """Some of the frames, chosen by index, with a name each."""
        self.frames = frames
        self.names = tuple(names)
        self.index = tuple(index)
        self.shape = shape
        self.dtype = dtype
        self._seen: dict[bytes, int] = {}
        self._warned = False

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, k: int, /) -> NDArray[Any]:
        k = range(len(self))[k]
        frame = self.frames[self.index[k]]
        check_alike(self.names[k], (frame.shape, frame.dtype), (self.shape, self.dtype), "the stack")
        check_frame(self.names[k], frame)
        twin = self.twin(k, frame)
        if twin is not None and not self._warned:
            self._warned = True
            first, second = sorted((k, twin))
            warnings.warn(
                f"{self.names[second]}: has the same pixels as {self.names[first]}; leave out one of them", stacklevel=2
            )
        return frame

    def twin(self, k: int, frame: NDArray[Any]) -> int | None:
        """A frame of the same pixels that was decoded before."""
        other = self._seen.setdefault(_pixels_digest(frame), k)
        return None if other == k else other


def _pixels_digest(frame: NDArray[Any]) -> bytes:
    """Digest of the sums of blocks of a frame, which takes no longer than reading it."""
    data = np.ascontiguousarray(frame).reshape(-1).view(np.uint8)
    whole = len(data) // _BLOCK_BYTES * _BLOCK_BYTES
    sums = data[:whole].view(np.uint64).reshape(-1, _BLOCK_BYTES // 8).sum(axis=1)
    return hashlib.blake2b(sums.tobytes() + data[whole:].tobytes(), digest_size=16).digest()


def usable_frames(frames: CheckedFrames) -> list[int]:
    """Indices of the frames that can be used, all of them decoded one at a time; a warning names each other one."""
    usable: list[int] = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*has the same pixels as")
        decoded = [_reason(frames, k) for k in range(len(frames))]
    for k, reason in enumerate(decoded):
        if reason is None:
            usable.append(k)
        else:
            warnings.warn(f"left out: {reason}", stacklevel=2)
    return usable


def _reason(frames: CheckedFrames, k: int) -> str | None:
    try:
        twin = frames.twin(k, frames[k])
    except FrameError as error:
        return str(error)
    return None if twin is None else f"{frames.names[k]}: has the same pixels as {frames.names[twin]}"


def repeated_files(paths: Sequence[Path]) -> list[tuple[Path, Path]]:
    """(file, earlier file) of the same bytes; only files of equal size are opened."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in paths:
        by_size[path.stat().st_size].append(path)
    first: dict[tuple[int, bytes], Path] = {}
    found = []
    for size, group in by_size.items():
        for path in group if len(group) > 1 else ():
            other = first.setdefault((size, _sample_digest(path, size)), path)
            if other != path and path.read_bytes() == other.read_bytes():
                found.append((path, other))
    return found


def _sample_digest(path: Path, size: int, length: int = 1 << 16) -> bytes:
    """Digest of the beginning, middle and end of a file."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        for offset in (0, size // 2, max(size - length, 0)):
            file.seek(offset, os.SEEK_SET)
            digest.update(file.read(length))
    return digest.digest()
