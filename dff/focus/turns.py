"""Tasks that threads take in turn inside of compiled loops: numbers that several threads count and look at."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_emitted: Any = intrinsic
_BYTES = 8


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


@_emitted
def claim(typing: Any, array: Any, index: Any) -> Any:
    """The number at `index` of an array (n,) of int64, which is one more from then on."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature.args[0], *args)
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(array, types.intp), emit


@_emitted
def publish(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Set a number of an array (n,) of int64, after all that was written before."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature.args[0], *args[:2])
        builder.store_atomic(args[2], place, "seq_cst", _BYTES)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), emit


@_emitted
def published(typing: Any, array: Any, index: Any) -> Any:
    """A number of an array (n,) of int64, and with it all that was written before it was set."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_place(context, builder, signature.args[0], *args), "seq_cst", _BYTES)

    return types.int64(array, types.intp), emit
