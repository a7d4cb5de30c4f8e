"""What a run has finished, in files that stay readable when the process is killed at any moment."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dff.io.atomic import plain, writing_error

_BLOCK_ROWS = 64


def append_line(path: str | Path, value: Mapping[str, Any]) -> None:
    """Add a JSON object as one line at the end of a file.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    line = json.dumps(plain(value), ensure_ascii=False, allow_nan=False) + "\n"
    try:
        with Path(path).open("ab", buffering=0) as file:
            file.write(line.encode())
    except OSError as error:
        raise writing_error(Path(path), error) from error


def read_lines(path: str | Path) -> list[dict[str, Any]]:
    """The JSON objects of a file, a line each; a last line that was cut short and a missing file are passed over."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return []
    found = []
    for line in lines[:-1]:
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def write_rows(path: str | Path, rows: NDArray[Any], start: int) -> None:
    """Put rows (n, ...) where they belong in a file of rows of one shape and type.

    Args:
        start: Number of the first row.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    view = np.ascontiguousarray(rows).data.cast("B")
    offset = start * (view.nbytes // max(1, len(rows)))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            done = 0
            while done < len(view):
                done += os.pwrite(descriptor, view[done:], offset + done)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise writing_error(Path(path), error) from error


def read_rows(path: str | Path, target: NDArray[Any], stop: int) -> None:
    """Fill the first rows of an array (n, ...) from a file that `write_rows` made.

    Raises:
        OSError: the file is missing or too short.
    """
    shape = target.shape[1:]
    with Path(path).open("rb") as file:
        for start in range(0, stop, _BLOCK_ROWS):
            rows = min(stop, start + _BLOCK_ROWS) - start
            block = np.fromfile(file, target.dtype, rows * int(np.prod(shape)))
            if block.size < rows * int(np.prod(shape)):
                raise OSError(f"{path}: must hold {stop} rows; got a file cut short; start anew without --resume")
            target[start : start + rows] = block.reshape(rows, *shape)


def files_digest(files: Sequence[Path]) -> str:
    """Short digest of the names, sizes and dates of files, by which a changed file is known without reading it."""
    digest = hashlib.blake2b(digest_size=16)
    for path in files:
        status = path.stat()
        digest.update(f"{path.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()
