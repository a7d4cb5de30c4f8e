"""Memory of this process and of the machine, in GB (10^9 bytes)."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATUS = Path("/proc/self/status")
_MACHINE = Path("/proc/meminfo")
_LIBRARY = ctypes.CDLL(None) if os.name == "posix" else None
_TRIM_THRESHOLD, _MAP_THRESHOLD, _ARENAS = -1, -3, -8
_KEPT, _LARGEST, _SMALL = 1 << 30, 1 << 26, 1 << 20
"""Bytes that are kept for new blocks; of the largest block that is; and of both where blocks have many sizes."""
_FRAMES = 4
"""Whole frames that are kept where they are large."""
_GROUP = Path("/sys/fs/cgroup/memory.max")


def peak_memory_gb() -> float:
    """Largest resident memory of this process so far; NaN where the system does not tell it."""
    return _kilobytes(_STATUS, "VmHWM:") / 1e6


def forget_peak() -> None:
    """Let the largest resident memory start from now, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def reuse_freed_memory(reuse: bool = True, *, largest_bytes: int = _LARGEST) -> None:
    """Let memory that is freed be used again instead of going back to the system, which clears it anew each time.

    That pays where tile follows on tile; blocks of many sizes would leave gaps between them, and so would the largest,
    which go back always. What one thread frees is there for all: blocks of a thread's own arena cannot be large.

    Args:
        reuse: Whether it is used again.
        largest_bytes: Blocks that are larger go back.
    """
    _allocator("mallopt", _ARENAS, 1)
    _allocator("mallopt", _TRIM_THRESHOLD, max(_KEPT, _FRAMES * largest_bytes) if reuse else _SMALL)
    _allocator("mallopt", _MAP_THRESHOLD, largest_bytes if reuse else _SMALL)


@contextmanager
def reused_frames(frame_bytes: int) -> Iterator[None]:
    """Let whole frames that are freed be used again, too, by a block in which few other blocks are as large."""
    reuse_freed_memory(largest_bytes=max(_LARGEST, frame_bytes + _SMALL))
    try:
        yield
    finally:
        reuse_freed_memory()


def give_back_freed_memory() -> None:
    """Let the system have what is free."""
    _allocator("malloc_trim", 0)


def _allocator(name: str, *numbers: int) -> None:
    """Call a function of the GNU C library; of others that have none, nothing is asked."""
    if function := getattr(_LIBRARY, name, None):
        function(*numbers)


def available_memory_gb() -> float:
    """Memory that new work can take: what the machine has free, within the limit of the container."""
    free = _kilobytes(_MACHINE, "MemAvailable:") / 1e6
    if free != free:
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    limit = _GROUP.read_text().strip() if _GROUP.is_file() else ""
    return min(free, int(limit) / 1e9) if limit.isdecimal() else free


def _kilobytes(path: Path, name: str) -> float:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return float("nan")
    return next((int(line.split()[1]) * 1.024 for line in lines if line.startswith(name)), float("nan"))
