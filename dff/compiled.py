"""Loops compiled at their first use by Numba, and kept on the disk where that can be written.

Modules of such loops are imported where they are used only: Numba takes a while to load. What compiled functions call
is `inner` to them.
"""

from __future__ import annotations

import gc
import hashlib
import os
import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

# Read when Numba is loaded: the last level takes a third longer to compile, for loops that are no faster.
os.environ.setdefault("NUMBA_OPT", "2")

from numba import _dynfunc, config, njit, types  # type: ignore[attr-defined]
from numba.core.caching import FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.typed_passes import NativeLowering
from numba.np.numpy_support import from_dtype

_PACKAGE = Path(__file__).parent
_FOLDER = "loops-"
_IMPORT = re.compile(rb"^(?:from (dff[\w.]*) import (\([^)]*\)|.*)|import (dff[\w.]*))", re.MULTILINE)
_ORDERED, _REORDERED = {"contract"}, {"contract", "reassoc"}
_ONE, _HALF = np.float32(1), np.float32(0.5)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays and numbers as machine code, which lets other threads run; products may be fused with sums.

    Every answer depends on its own inputs only, so that it is the same in every strip and on every thread.
    """
    return _compiled(function, _ORDERED)


def compiled_sums(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same, where sums may be added up in any order, so that wide registers add them."""
    return _compiled(function, _REORDERED)


def inner(function: Callable[..., Any]) -> Any:
    """A function that compiled ones call and Python never does: it becomes machine code as a part of those only."""
    return _Inner(function, _ORDERED)


def inner_sums(function: Callable[..., Any]) -> Any:
    """The same, where sums may be added up in any order."""
    return _Inner(function, _REORDERED)


def written_out(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is written out wherever a compiled one calls it: long lists of arrays take long to compile."""
    written: Callable[..., Any] = njit(inline="always", error_model="numpy")(function)
    return written


def _compiled(function: Callable[..., Any], fastmath: set[str]) -> Callable[..., Any]:
    options: dict[str, Any] = {"nogil": True, "no_cfunc_wrapper": True, "pipeline_class": _Compiler}
    options |= {"fastmath": fastmath, "error_model": "numpy"}
    loop: Any = njit(**options)(function)
    elsewhere = config.CACHE_DIR  # type: ignore[attr-defined]
    config.CACHE_DIR = str(_cache_folder(Path(function.__code__.co_filename)))  # type: ignore[attr-defined]
    try:
        loop._cache = _Cache(function)
    except RuntimeError:
        pass
    finally:
        config.CACHE_DIR = elsewhere  # type: ignore[attr-defined]
    return loop


class _Cache(FunctionCache):
    """Numba's own, made safe against processes that keep code for several types at the very same time."""

    def _load_overload(self, sig: Any, target_context: Any) -> Any:
        found = super()._load_overload(sig, target_context)
        return found if found is not None and found.signature.args == tuple(sig) else None


def compile_for(loop: Any, letters: str) -> None:
    """Compile a loop, or load what has been compiled, without calling it.

    Args:
        loop: A compiled function.
        letters: NumPy's, for the types of its arguments: with a number of axes those of arrays, and with an A, too,
            where rows may lie apart; several letters are a tuple. (q is a 64-bit integer.)
    """
    loop.compile(tuple(map(_type, letters.split())))


def _type(word: str) -> Any:
    kinds = [from_dtype(np.dtype(letter)) for letter in word.rstrip("A123456789")]
    axes = re.search(r"\d", word)
    if axes:
        return types.Array(kinds[0], int(axes[0]), "A" if word.endswith("A") else "C")
    return types.UniTuple(kinds[0], len(kinds)) if len(kinds) > 1 else kinds[0]


class _Compiler(CompilerBase):
    """Numba's own, which is never held up by a search for garbage in all that Python holds."""

    def compile_extra(self, function: Any) -> Any:
        collects = gc.isenabled()
        gc.disable()
        try:
            return super().compile_extra(function)
        finally:
            if collects:
                gc.enable()

    def define_pipelines(self) -> list[Any]:
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


class _Inner:
    """What compiled functions call: in their eyes it is as any other compiled function, for Python it cannot be called.

    Numba would optimise and emit every function on its own, and again within those that call it.
    """

    def __init__(self, function: Callable[..., Any], fastmath: set[str]) -> None:
        options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        options |= {"pipeline_class": _InnerCompiler, "fastmath": fastmath, "error_model": "numpy"}
        self._dispatcher = njit(**options)(function)

    @property
    def _numba_type_(self) -> Any:
        return types.Dispatcher(self._dispatcher)


class _InnerLibrary(JITCodeLibrary):
    """Code that is linked into that of callers, which is optimised as a whole."""

    def finalize(self) -> None:
        self._finalized = True


@register_pass(mutates_CFG=False, analysis_only=True)
class _HandOver(LoweringPass):
    """Lets callers find lowered code, and whatever it calls in turn."""

    _name = "hand_over"

    def __init__(self) -> None:
        LoweringPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        lowered, library = state["cr"], state.library
        described, name = lowered.fndesc, lowered.fndesc.qualname.split(".")[-1]
        key = _dynfunc.make_function(described.lookup_module(), name, "", 0, lowered.env, (library,))
        state.targetctx.insert_user_function(key, described, [library, *library._linking_libraries])
        state["cr"] = lowered._replace(cfunc=key)
        return True


class _InnerCompiler(CompilerBase):
    """Stops short of machine code."""

    def define_pipelines(self) -> list[Any]:
        state = self.state
        state.flags.no_compile = True
        state.library = _InnerLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        passes = DefaultPassBuilder.define_nopython_pipeline(state)
        passes.add_pass_after(_HandOver, NativeLowering)
        passes.finalize()
        return [passes]


def has_machine_code(module: str) -> bool:
    """Whether any loop of a module has been compiled as it is now, and kept."""
    path = _file(module)
    return path is not None and any(_cache_folder(path).rglob("*.nbc"))


def machine_code_folder() -> Path:
    """Where machine code is kept, if that can be written."""
    chosen = config.CACHE_DIR  # type: ignore[attr-defined]
    return Path(chosen) if chosen else _PACKAGE / "__pycache__"


def _cache_folder(path: Path) -> Path:
    """Where machine code of a file of loops lies: Numba looks at that file alone, not at what its loops call."""
    parent = machine_code_folder()
    name = ".".join(path.relative_to(_PACKAGE).with_suffix("").parts) if path.is_relative_to(_PACKAGE) else path.stem
    folder = parent / f"{_FOLDER}{name}-{_stamp(path)}"
    if not folder.exists():
        for former in parent.glob(f"{_FOLDER}{name}-*"):
            shutil.rmtree(former, ignore_errors=True)
    return folder


@cache
def _stamp(path: Path) -> str:
    """Names the sources of a module and of all that it imports, and they import, when they are loaded."""
    found, waiting = {path}, [path]
    while waiting:
        new = _imported(waiting.pop()) - found
        found |= new
        waiting += new
    digest = hashlib.sha256()
    for source in sorted(found):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


@cache
def _imported(path: Path) -> frozenset[Path]:
    """Files of this package that a file imports, outside of functions."""
    files: set[Path | None] = set()
    for start, names, whole in _IMPORT.findall(path.read_bytes()):
        module = (start or whole).decode()
        parts = [_file(f"{module}.{name}") for name in re.findall(r"(\w+)(?: as \w+)?", names.decode())]
        files |= {*parts, None if parts and all(parts) else _file(module)}
    return frozenset(file for file in files if file)


def forget_sources() -> None:
    """Look at the sources again."""
    _stamp.cache_clear()
    _imported.cache_clear()


def _file(module: str) -> Path | None:
    place = _PACKAGE.parent.joinpath(*module.split("."))
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


@inner
def copy_row(source, target):
    """Set as much of a row as there is of another. (`target[:] = source` takes seconds to compile, for its message.)"""
    for x in range(min(len(source), len(target))):
        target[x] = source[x]


@inner
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


@inner
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
