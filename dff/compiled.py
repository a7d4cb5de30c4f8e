"""Loops compiled at their first use by Numba, and kept on the disk where that can be written.

Modules of such loops are imported where they are used only: Numba takes a while to load.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

# Read when Numba is loaded: the last level takes a third longer to compile, for loops that are no faster.
os.environ.setdefault("NUMBA_OPT", "2")

from numba import config, njit

_PACKAGE = Path(__file__).parent
_FOLDER = "loops-"
_ONE_AT_A_TIME = threading.Lock()
"""Modules of loops may be imported by several threads, and where Numba keeps machine code is one setting."""
_ONE, _HALF = np.float32(1), np.float32(0.5)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays and numbers as machine code, which lets other threads run; products may be fused with sums.

    Every answer depends on its own inputs only, so that it is the same in every strip and on every thread.
    """
    return _compiled(function, {"contract"})


def compiled_sums(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same, where sums may be added up in any order, so that wide registers add them."""
    return _compiled(function, {"contract", "reassoc"})


def written_out(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is written out wherever a compiled one calls it: long lists of arrays take long to compile."""
    written: Callable[..., Any] = njit(inline="always", error_model="numpy")(function)
    return written


def _compiled(function: Callable[..., Any], fastmath: set[str]) -> Callable[..., Any]:
    options: dict[str, Any] = {"nogil": True, "fastmath": fastmath, "error_model": "numpy"}
    with _ONE_AT_A_TIME:
        elsewhere = config.CACHE_DIR  # type: ignore[attr-defined]
        config.CACHE_DIR = _cache_folder(elsewhere)  # type: ignore[attr-defined]
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:
            return njit(**options)(function)
        finally:
            config.CACHE_DIR = elsewhere  # type: ignore[attr-defined]


def _cache_folder(base: str) -> str:
    """Where machine code of these very sources lies: Numba looks at a loop's own file, not at what it calls."""
    parent = Path(base) if base else _PACKAGE / "__pycache__"
    folder = parent / f"{_FOLDER}{_stamp()}"
    if not folder.exists():
        for former in parent.glob(f"{_FOLDER}*"):
            shutil.rmtree(former, ignore_errors=True)
    return str(folder)


@cache
def _stamp() -> str:
    """Names the sources of all loops."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        source = path.read_bytes()
        if b"dff.compiled" in source or b"numba" in source:
            digest.update(source)
    return digest.hexdigest()[:16]


@compiled
def log_of(x):
    """Natural logarithm of a positive float32, to 1e-7 (polynomial of the Cephes library)."""
    bits = np.float32(x).view(np.int32)
    power = (bits - np.int32(0x3F3504F3)) >> np.int32(23)
    m = np.int32(bits - (power << np.int32(23))).view(np.float32) - _ONE
    p = np.float32(7.0376836292e-2)
    p = p * m + np.float32(-1.1514610310e-1)
    p = p * m + np.float32(1.1676998740e-1)
    p = p * m + np.float32(-1.2420140846e-1)
    p = p * m + np.float32(1.4249322787e-1)
    p = p * m + np.float32(-1.6668057665e-1)
    p = p * m + np.float32(2.0000714765e-1)
    p = p * m + np.float32(-2.4999993993e-1)
    p = p * m + np.float32(3.3333331174e-1)
    square, exponent = m * m, np.float32(power)
    low = p * m * square + exponent * np.float32(-2.12194440e-4) - _HALF * square
    return m + low + exponent * np.float32(0.693359375)


@compiled
def exp_of(x):
    """Power of e with a float32 of at most 80, to 1e-7 of itself; 0 below -87 (polynomial of the Cephes library)."""
    x = max(np.float32(x), np.float32(-87))
    power = np.floor(x * np.float32(1.44269504088896341) + _HALF)
    x = x - power * np.float32(0.693359375) + power * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * x + np.float32(1.3981999507e-3)
    p = p * x + np.float32(8.3334519073e-3)
    p = p * x + np.float32(4.1665795894e-2)
    p = p * x + np.float32(1.6666665459e-1)
    p = p * x + np.float32(5.0000001201e-1)
    scale = np.int32((np.int32(power) + np.int32(127)) << np.int32(23)).view(np.float32)
    return (p * x * x + x + _ONE) * scale
