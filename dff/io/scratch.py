"""Frames kept in one file on disk, read by frame or by rows of all frames.

Written at offsets, read as copies from a memory map. Mapped pages count as memory of the process, so they are given
back at once.
"""

from __future__ import annotations

import mmap
import os
import re
import socket
import tempfile
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dff.io.atomic import check_space, is_running, writing_error

_CHUNK = 1 << 24
_AROUND = 1 << 20
"""Systems map some pages before and after those that are asked for."""
_NAME = re.compile(r"dff-scratch-(?P<host>.+)-(?P<pid>\d+)-\w+\.part")


class ScratchStack:
    """N frames of one shape and type in one file that is deleted on close.

    Usable as `Frames`, and as a context manager. Threads may read and write different frames at the same time.
    """

    def __init__(self, path: Path, descriptor: int, count: int, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.path = path
        self.count = count
        self.shape = tuple(int(size) for size in shape)
        self.dtype = np.dtype(dtype)
        self._file: int | None = descriptor
        self._row_bytes = prod(self.shape[1:]) * self.dtype.itemsize
        self._frame_bytes = self.shape[0] * self._row_bytes
        self._map: mmap.mmap | None = None

    @classmethod
    def create(cls, folder: str | Path, count: int, shape: tuple[int, ...], dtype: DTypeLike) -> ScratchStack:
        """An empty scratch stack; what dead processes left in the folder is deleted first.

        Args:
            shape: (H, W, C) of a frame.

        Raises:
            OSError: the folder cannot be written, or too little of its disk is free.
        """
        target = Path(folder)
        needed = count * prod(shape) * np.dtype(dtype).itemsize
        try:
            target.mkdir(parents=True, exist_ok=True)
            clear_scratch(target)
            check_space(target, needed, "the scratch file", "free some, or choose another folder with --scratch")
            descriptor, name = tempfile.mkstemp(prefix=_name(), suffix=".part", dir=target)
        except OSError as error:
            raise writing_error(target, error) from error
        os.ftruncate(descriptor, needed)
        return cls(Path(name), descriptor, count, shape, dtype)._opened()

    @classmethod
    def reopen(cls, path: str | Path, count: int, shape: tuple[int, ...], dtype: DTypeLike) -> ScratchStack | None:
        """The scratch stack that a dead process left; None where it is not there or holds something else."""
        old = Path(path)
        mine = old.with_name(_name() + old.name[-13:])
        try:
            os.replace(old, mine)
            descriptor = os.open(mine, os.O_RDWR)
        except OSError:
            return None
        stack = cls(mine, descriptor, count, shape, dtype)
        if os.fstat(descriptor).st_size == count * stack._frame_bytes:
            return stack._opened()
        stack.close()
        return None

    def _opened(self) -> ScratchStack:
        self._map = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        return self

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int, /) -> NDArray[Any]:
        return self.read_frame(range(self.count)[k])

    def write_frame(self, k: int, frame: NDArray[Any]) -> None:
        """Keep frame k.

        Raises:
            ValueError: the frame has another shape or type, or there is no frame k.
            OSError: the disk is full.
        """
        self._check_frame(k)
        if frame.shape != self.shape or frame.dtype != self.dtype:
            raise ValueError(
                f"scratch frame {k}: must be {self.dtype} {self.shape}; got {frame.dtype} {frame.shape}; convert it"
            )
        self._write(frame, k * self._frame_bytes)

    def write_frame_rows(self, k: int, start: int, rows: NDArray[Any]) -> None:
        """Keep some rows of frame k, (rows, W, C), from a row on.

        Raises:
            ValueError: rows that the frame does not have, of another width or type.
            OSError: the disk is full.
        """
        self._check_frame(k)
        self._check_rows(start, start + len(rows))
        if rows.shape[1:] != self.shape[1:] or rows.dtype != self.dtype:
            raise ValueError(
                f"scratch rows: must be {self.dtype} (rows, {self.shape[1]}, {self.shape[2]}); "
                f"got {rows.dtype} {rows.shape}; convert them"
            )
        self._write(rows, k * self._frame_bytes + start * self._row_bytes)

    def read_frame(self, k: int) -> NDArray[Any]:
        """Frame k, (H, W, C)."""
        return self.read_frame_rows(k, 0, self.shape[0])

    def read_rows(self, start: int, stop: int) -> NDArray[Any]:
        """Rows from start up to stop of all frames, (N, stop - start, W, C)."""
        return np.stack([self.read_frame_rows(k, start, stop) for k in range(self.count)])

    def read_frame_rows(self, k: int, start: int, stop: int) -> NDArray[Any]:
        """Rows from start up to stop of frame k, (stop - start, W, C)."""
        return self.read_part(k, slice(start, stop), slice(0, self.shape[1]))

    def read_part(self, k: int, rows: slice, columns: slice) -> NDArray[Any]:
        """Some rows and columns of frame k, given by start and stop, (h, w, C)."""
        self._check_frame(k)
        self._check_rows(rows.start, rows.stop)
        part = np.empty((rows.stop - rows.start, columns.stop - columns.start, *self.shape[2:]), self.dtype)
        step = max(1, _CHUNK // self._row_bytes)
        for top in range(rows.start, rows.stop, step):
            stop = min(top + step, rows.stop)
            part[top - rows.start : stop - rows.start] = self._mapped_rows(k, top, stop)[:, columns]
            self._give_back(k, top, stop)
        return part

    def _mapped_rows(self, k: int, start: int, stop: int) -> NDArray[Any]:
        """Rows of frame k as they lie in the file."""
        offset = k * self._frame_bytes + start * self._row_bytes
        rows = np.frombuffer(self._pages, self.dtype, (stop - start) * prod(self.shape[1:]), offset)
        return rows.reshape(stop - start, *self.shape[1:])

    def _give_back(self, k: int, start: int, stop: int) -> None:
        """The pages of mapped rows no longer count as memory of the process."""
        if hasattr(mmap, "MADV_DONTNEED"):
            frame = k * self._frame_bytes
            first = max(0, frame + start * self._row_bytes - _AROUND) // mmap.PAGESIZE * mmap.PAGESIZE
            last = min(len(self._pages), frame + stop * self._row_bytes + _AROUND)
            self._pages.madvise(mmap.MADV_DONTNEED, first, last - first)

    def close(self) -> None:
        """Delete the file; closing twice does nothing."""
        if self._file is not None:
            self.release()
            self.path.unlink(missing_ok=True)

    def release(self) -> None:
        """Close the file and leave it to whoever reopens it."""
        if self._map is not None:
            self._map.close()
            self._map = None
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> ScratchStack:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self.close()

    @property
    def _pages(self) -> mmap.mmap:
        if self._map is None or self._file is None:
            raise ValueError(f"{self.path}: must be open; got a closed scratch file; read before closing it")
        return self._map

    @property
    def _descriptor(self) -> int:
        if self._file is None:
            raise ValueError(f"{self.path}: must be open; got a closed scratch file; read before closing it")
        return self._file

    def _check_frame(self, k: int) -> None:
        if not 0 <= k < self.count:
            raise IndexError(f"scratch frame: must be from 0 to {self.count - 1}; got {k}; choose one of them")

    def _check_rows(self, start: int, stop: int) -> None:
        if not 0 <= start < stop <= self.shape[0]:
            raise ValueError(f"rows: must lie in 0 to {self.shape[0]}; got {start} to {stop}; choose other rows")

    def _write(self, source: NDArray[Any], offset: int) -> None:
        data, done = np.ascontiguousarray(source).data.cast("B"), 0
        try:
            while done < len(data):
                done += os.pwrite(self._descriptor, data[done : done + _CHUNK], offset + done)
        except OSError as error:
            raise writing_error(self.path, error) from error


def _name() -> str:
    return f"dff-scratch-{socket.gethostname()}-{os.getpid()}-"


def temporary_folder() -> Path:
    """Where scratch files go when nobody says where."""
    return Path(tempfile.gettempdir())


def clear_scratch(folder: str | Path) -> list[Path]:
    """Delete the scratch files of processes of this machine that no longer run; returns what was deleted."""
    cleared = []
    for path in Path(folder).glob("dff-scratch-*.part"):
        match = _NAME.fullmatch(path.name)
        if match and match["host"] == socket.gethostname() and not is_running(int(match["pid"])):
            path.unlink(missing_ok=True)
            cleared.append(path)
    return cleared
