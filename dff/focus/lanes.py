"""Vectors of LANES numbers for compiled loops: what the compiler keeps in registers, by name instead of by luck.

Arrays of uint16 hold numbers in half precision, which the processor turns into float32 and back as they pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic, models, register_model

LANES = 16
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_HALVES = ir.VectorType(ir.HalfType(), LANES)
_emitted: Any = intrinsic


class LanesType(types.Type):
    """LANES float32 numbers."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


lanes = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def converts_halves() -> bool:
    """Whether this processor turns half precision into float32 by itself."""
    features = binding.get_host_cpu_features()
    return bool(features.get("f16c") or features.get("fp16") or features.get("fullfp16"))


def _place(context: Any, builder: Any, kind: Any, array: Any, start: Any) -> Any:
    first = builder.gep(context.make_array(kind)(context, builder, array).data, [start])
    vector = _VECTOR if kind.dtype is types.float32 else _HALVES
    return builder.bitcast(first, vector.as_pointer())


@_emitted
def load(typing: Any, array: Any, start: Any) -> Any:
    """The numbers of an array (n,) from `start` on, which is not checked."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.args[0]
        value = builder.load(_place(context, builder, kind, *args))
        value.align = kind.dtype.bitwidth // 8
        return value if kind.dtype is types.float32 else builder.fpext(value, _VECTOR)

    return lanes(array, types.intp), emit


@_emitted
def save(typing: Any, array: Any, start: Any, value: Any) -> Any:
    """Put numbers into an array (n,) from `start` on, which is not checked."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind, value = signature.args[0], args[2]
        if kind.dtype is not types.float32:
            value = builder.fptrunc(value, _HALVES)
        stored = builder.store(value, _place(context, builder, kind, *args[:2]))
        stored.align = kind.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), emit


@_emitted
def apart(typing: Any) -> Any:
    """Keep the function that this stands in apart from those that call it: it is then compiled once for all of them."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), emit


@_emitted
def every(typing: Any, value: Any) -> Any:
    """One number in all lanes."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        index = ir.IntType(32)
        first = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), args[0], ir.Constant(index, 0))
        order = ir.Constant(ir.VectorType(index, LANES), [0] * LANES)
        return builder.shuffle_vector(first, ir.Constant(_VECTOR, ir.Undefined), order)

    return lanes(types.float32), emit


def _operation(build: Callable[[Any, Any, Any], Any]) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return build(builder, *args)

    return emit


@_emitted
def add(typing: Any, a: Any, b: Any) -> Any:
    """a + b."""
    return lanes(lanes, lanes), _operation(lambda builder, a, b: builder.fadd(a, b))


@_emitted
def times(typing: Any, a: Any, b: Any) -> Any:
    """a b."""
    return lanes(lanes, lanes), _operation(lambda builder, a, b: builder.fmul(a, b))


@_emitted
def larger(typing: Any, a: Any, b: Any) -> Any:
    """The larger of a and b."""
    return lanes(lanes, lanes), _operation(lambda builder, a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))


@_emitted
def add_times(typing: Any, total: Any, a: Any, b: Any) -> Any:
    """total + a b, rounded once."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        name = f"llvm.fma.v{LANES}f32"
        fused = builder.module.globals.get(name)
        fused = fused or ir.Function(builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), name)
        return builder.call(fused, [args[1], args[2], args[0]])

    return lanes(lanes, lanes, lanes), emit
