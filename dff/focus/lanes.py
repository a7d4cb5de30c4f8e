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
_emitted_for_literals: Any = intrinsic(prefer_literal=True)


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


def loaded(context: Any, builder: Any, kind: Any, array: Any, start: Any) -> Any:
    """A vector of an array."""
    value = builder.load(_place(context, builder, kind, array, start))
    value.align = kind.dtype.bitwidth // 8
    return value if kind.dtype is types.float32 else builder.fpext(value, _VECTOR)


def stored(context: Any, builder: Any, kind: Any, array: Any, start: Any, value: Any) -> None:
    """Put a vector into an array."""
    if kind.dtype is not types.float32:
        value = builder.fptrunc(value, _HALVES)
    put = builder.store(value, _place(context, builder, kind, array, start))
    put.align = kind.dtype.bitwidth // 8


def spread(builder: Any, number: Any) -> Any:
    """A vector of one number."""
    index = ir.IntType(32)
    first = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), number, ir.Constant(index, 0))
    order = ir.Constant(ir.VectorType(index, LANES), [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(_VECTOR, ir.Undefined), order)


def _operation(build: Callable[..., Any]) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return build(builder, *args)

    return emit


@_emitted
def load(typing: Any, array: Any, start: Any) -> Any:
    """The numbers of an array (n,) from `start` on, which is not checked."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return loaded(context, builder, signature.args[0], *args)

    return lanes(array, types.intp), emit


@_emitted
def save(typing: Any, array: Any, start: Any, value: Any) -> Any:
    """Put numbers into an array (n,) from `start` on, which is not checked."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        stored(context, builder, signature.args[0], *args)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), emit


@_emitted
def fetch(typing: Any, array: Any, start: Any) -> Any:
    """Have the numbers of an array (n,) around `start` brought to the second cache, while other work goes on."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        name, kinds = "llvm.prefetch.p0i8", [byte, number, number, number]
        function = builder.module.globals.get(name)
        function = function or ir.Function(builder.module, ir.FunctionType(ir.VoidType(), kinds), name)
        place = builder.bitcast(_place(context, builder, signature.args[0], *args), byte)
        builder.call(function, [place, *(ir.Constant(number, option) for option in (0, 2, 1))])
        return context.get_dummy_value()

    return types.void(array, types.intp), emit


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

    return lanes(types.float32), _operation(spread)


@_emitted
def add(typing: Any, a: Any, b: Any) -> Any:
    """a + b."""
    return lanes(lanes, lanes), _operation(lambda builder, a, b: builder.fadd(a, b))


@_emitted
def less(typing: Any, a: Any, b: Any) -> Any:
    """a - b."""
    return lanes(lanes, lanes), _operation(lambda builder, a, b: builder.fsub(a, b))


@_emitted
def times(typing: Any, a: Any, b: Any) -> Any:
    """a b."""
    return lanes(lanes, lanes), _operation(lambda builder, a, b: builder.fmul(a, b))


@_emitted
def over(typing: Any, a: Any, b: Any) -> Any:
    """a / b."""
    return lanes(lanes, lanes), _operation(lambda builder, a, b: builder.fdiv(a, b))


@_emitted
def larger(typing: Any, a: Any, b: Any) -> Any:
    """The larger of a and b."""
    return lanes(lanes, lanes), _operation(lambda builder, a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))


def called(builder: Any, name: str, *args: Any) -> Any:
    """What an operation of the compiler's own gives, of vectors alike."""
    whole = f"llvm.{name}.v{LANES}f32"
    function = builder.module.globals.get(whole)
    function = function or ir.Function(builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * len(args)), whole)
    return builder.call(function, args)


@_emitted
def add_times(typing: Any, total: Any, a: Any, b: Any) -> Any:
    """total + a b, rounded once."""
    return lanes(lanes, lanes, lanes), _operation(lambda builder, total, a, b: called(builder, "fma", a, b, total))


@_emitted
def root(typing: Any, a: Any) -> Any:
    """Square root."""
    return lanes(lanes), _operation(lambda builder, a: called(builder, "sqrt", a))


@_emitted_for_literals
def from_both(typing: Any, a: Any, b: Any, first: Any) -> Any:
    """LANES of the numbers of a followed by those of b, from number `first` on, which is known to the compiler."""
    if not isinstance(first, types.IntegerLiteral):
        return None
    order = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [first.literal_value + i for i in range(LANES)])

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.shuffle_vector(args[0], args[1], order)

    return lanes(lanes, lanes, first), emit
