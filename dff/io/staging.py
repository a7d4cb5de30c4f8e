"""Folders that appear whole or not at all, written by one process at a time, and what a killed one leaves of them."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dff.io.atomic import writing_error

_LOCK = "lock"
_RESULT = "result"
_OLD = "old"


@contextmanager
def staged_folder(output: str | Path, *, keep: bool = False) -> Iterator[Path]:
    """A new folder that takes the place of `output` once the block ends without an exception.

    It lies in the hidden folder `.NAME.part` beside the output, together with whatever else the run keeps there, and
    all of that is deleted at the end. What a killed run left there is deleted first. An existing output is replaced as
    a whole.

    Args:
        output: The folder to make.
        keep: What a killed run left is not deleted, nor what this one leaves when it ends by an exception.

    Raises:
        BlockingIOError: another process is writing the same output.
        OSError: the folder cannot be made or named; the line names it.
    """
    target = Path(os.path.abspath(output))
    work = target.with_name(f".{target.name}.part")
    with _named_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = _claim(work, target)
    ended = False
    try:
        with _named_errors(target):
            _bring_back(work, target)
            if not keep:
                clear_work(work)
            staging = work / _RESULT
            staging.mkdir(exist_ok=True)
        yield staging
        with _named_errors(target):
            _replace_folder(staging, target)
        ended = True
    finally:
        if ended or not keep:
            shutil.rmtree(work, ignore_errors=True)
        os.close(lock)


def link_tree(source: str | Path, target: str | Path, *, leave_out: Sequence[str] = ()) -> None:
    """Put the files of a folder into another one too, without copying their bytes where the disk allows it.

    Args:
        source: Folder to read.
        target: Folder to add to.
        leave_out: Patterns of names at the top of the folder that stay behind.

    Raises:
        OSError: a file cannot be written.
    """
    with _named_errors(Path(target)):
        Path(target).mkdir(parents=True, exist_ok=True)
        for path in sorted(Path(source).iterdir()):
            if any(path.match(pattern) for pattern in leave_out):
                continue
            place = Path(target) / path.name
            if path.is_dir() and not path.is_symlink():
                link_tree(path, place)
            else:
                link_file(path, place)


def link_file(path: Path, place: Path) -> None:
    """Give a file another name, or copy it where the disk cannot; what has that name goes."""
    place.unlink(missing_ok=True)
    try:
        os.link(path, place, follow_symlinks=False)
    except OSError:
        shutil.copy2(path, place, follow_symlinks=False)


def clear_work(work: Path) -> None:
    """Delete everything in the hidden folder of a run but its lock."""
    for path in work.iterdir():
        if path.name != _LOCK:
            clear_path(path)


def clear_path(path: Path) -> None:
    """Delete a file, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _claim(work: Path, target: Path) -> int:
    """Descriptor of the folder's lock, which the system lets go of when the process ends, however it ends."""
    while True:
        work.mkdir(exist_ok=True)
        try:
            lock = os.open(work / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            continue  # the run that held it has just deleted the folder
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise BlockingIOError(
                f"{target}: output must be written by one run at a time; got another that is at work on it; "
                "wait for it or choose another name"
            ) from error
        if _is_file(lock, work / _LOCK):
            return lock
        os.close(lock)


def _is_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _named_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise writing_error(target, error) from error


def _bring_back(work: Path, target: Path) -> None:
    """Put the earlier output back where a run was killed while it replaced it."""
    if (work / _OLD).exists() and not target.exists():
        os.replace(work / _OLD, target)


def _replace_folder(staging: Path, target: Path) -> None:
    old = staging.with_name(_OLD)
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.replace(target, old)
    os.replace(staging, target)
