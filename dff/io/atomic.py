"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_NUMBERS = re.compile(r"\[\s*\n([^\[\]{}\"]*)\n\s*\]")
"""A JSON list without names or lists in it."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary name, ending in .part, for a file that replaces `path` once the block ends without an exception.

    Raises:
        OSError: the disk is full or the folder cannot be written; the line names the file.
    """
    target = Path(path)
    temporary = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        raise writing_error(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: str | Path) -> Iterator[Path]:
    """A temporary folder whose files move into `folder` once the block ends without an exception.

    For writers that choose the format by the name's ending, and for files that name each other.
    """
    target = Path(folder)
    temporary = target / f"files-{os.getpid()}.part"
    try:
        temporary.mkdir(parents=True, exist_ok=True)
        yield temporary
        for file in sorted(temporary.iterdir()):
            os.replace(file, target / file.name)
    except OSError as error:
        raise writing_error(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def writing_error(path: Path, error: OSError) -> OSError:
    """The same failure in one line that names the file and the cure."""
    if error.errno is None:
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(existing_folder(path)).free
        return OSError(
            f"{path}: the disk must have room; got {in_gb(free)} GB free; free some or choose another folder"
        )
    cause = error.strerror or type(error).__name__
    return type(error)(f"{path}: must be writable; got {cause!r}; choose another folder or change its permissions")


def existing_folder(path: Path) -> Path:
    """The nearest folder above `path`, or itself, that exists."""
    return next((parent for parent in (path, *path.absolute().parents) if parent.is_dir()), Path("/"))


def in_gb(size: float) -> str:
    """A number of bytes in GB (10^9 bytes), as text."""
    return f"{size / 1e9:.3g}"


def check_space(
    folder: str | Path, needed: int, purpose: str, cure: str = "free some or choose another folder"
) -> None:
    """Refuse to start what cannot fit on the disk.

    Args:
        needed: Bytes.
        purpose: What they are for, in words.

    Raises:
        OSError: too little is free; the line gives both sizes.
    """
    free = shutil.disk_usage(existing_folder(Path(folder))).free
    if needed > free:
        raise OSError(f"{folder}: {purpose} needs {in_gb(needed)} GB of disk; got {in_gb(free)} GB free; {cure}")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Write JSON, readable and strict: NaN and infinity become null, arrays become lists, a row a line."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    text = _NUMBERS.sub(lambda match: f"[{' '.join(match[1].split())}]", text)
    write_bytes(path, (text + "\n").encode())


def plain(value: Any) -> Any:
    """A value made of what JSON knows: floats keep every digit."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        OSError: there is no such file.
        ValueError: it is not a JSON object; the line names the file.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: must be a file; got no such file; check the name") from error
    except ValueError as error:
        raise ValueError(f"{path}: must be JSON; got {error}; write it again") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: must hold a JSON object; got {type(value).__name__}; write it again")
    return value


def is_running(pid: int) -> bool:
    """Whether a process of this number is alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
