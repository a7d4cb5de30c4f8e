"""The process of a command: how its libraries are to behave, told before they are loaded, and a quick end."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn

_YOUNG = 20_000
"""Objects that are made before cycles among them are looked for: libraries make hundreds of thousands that stay."""


def tell_libraries() -> None:
    """Set what libraries read from the environment when they are loaded, where the user has not."""
    # Idle threads must sleep, not spin: on a busy machine spinning costs more than the work. Read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Matrices of NumPy's are small here, and stages share out their work themselves. Read when NumPy loads.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Large pages for large tensors: the system spends half as long giving out memory.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def begin() -> None:
    """Begin a process that is all ours: the libraries are told, and garbage is looked for less often."""
    tell_libraries()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])


def end(code: int) -> NoReturn:
    """End the process once threads and exit functions are through, without taking every library apart.

    Args:
        code: Exit code.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        # Whoever reads may have left.
        with suppress(OSError):
            stream.flush()
    os._exit(code)
