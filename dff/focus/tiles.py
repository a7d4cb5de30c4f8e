"""Tiles of ROWS rows of 2 LANES numbers for compiled loops: the sums of a product of matrices, held in registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from dff.focus.lanes import LANES, called, lanes, loaded, spread, stored

ROWS = 8
tile = types.UniTuple(lanes, 2 * ROWS)
"""The first LANES numbers of every row, then the others."""
pair = types.UniTuple(lanes, 2)
"""One row."""
_emitted: Any = intrinsic


def _whole(context: Any, builder: Any, kind: Any, vectors: list[Any]) -> Any:
    return context.make_tuple(builder, kind, vectors)


def _vectors(builder: Any, value: Any) -> list[Any]:
    return [builder.extract_value(value, i) for i in range(value.type.count)]


def _number(context: Any, builder: Any, kind: Any, array: Any, start: Any, row: int) -> Any:
    first = builder.gep(context.make_array(kind)(context, builder, array).data, [start])
    return builder.load(builder.gep(first, [ir.Constant(start.type, row)]))


def _places(builder: Any, start: Any, pitch: Any, beside: Any) -> list[Any]:
    rows = [start]
    for _ in range(ROWS - 1):
        rows.append(builder.add(rows[-1], pitch))
    return rows + [builder.add(row, beside) for row in rows]


@_emitted
def tile_at(typing: Any, array: Any, start: Any, pitch: Any) -> Any:
    """The rows of an array (n,) that begin at `start` and every `pitch` from there."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        places = _places(builder, args[1], args[2], ir.Constant(args[1].type, LANES))
        return _whole(
            context, builder, tile, [loaded(context, builder, signature.args[0], args[0], at) for at in places]
        )

    return tile(array, types.intp, types.intp), emit


@_emitted
def put_tile(typing: Any, array: Any, start: Any, pitch: Any, beside: Any, value: Any) -> Any:
    """Put rows into an array (n,) from `start` on, every `pitch`; the second half of each lies `beside` after."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        places = _places(builder, *args[1:4])
        for at, vector in zip(places, _vectors(builder, args[4])):
            stored(context, builder, signature.args[0], args[0], at, vector)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, types.intp, tile), emit


@_emitted
def tile_of(typing: Any, array: Any, start: Any) -> Any:
    """Rows each of one number, those of an array (n,) from `start` on."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows = [
            spread(builder, _number(context, builder, signature.args[0], args[0], args[1], row)) for row in range(ROWS)
        ]
        return _whole(context, builder, tile, rows + rows)

    return tile(array, types.intp), emit


@_emitted
def add_weighed(typing: Any, sums: Any, weights: Any, start: Any, u: Any, v: Any) -> Any:
    """Every row of the sums and (u, v), weighed by a number of an array (n,), from `start` on."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sums, halves = _vectors(builder, args[0]), (args[3], args[4])
        for row in range(ROWS):
            weight = spread(builder, _number(context, builder, signature.args[1], args[1], args[2], row))
            for half, seen in enumerate(halves):
                at = half * ROWS + row
                sums[at] = called(builder, "fma", weight, seen, sums[at])
        return _whole(context, builder, tile, sums)

    return tile(tile, weights, types.intp, lanes, lanes), emit


@_emitted
def add_dots(typing: Any, totals: Any, value: Any, weights: Any, start: Any) -> Any:
    """A row and the sum of a tile's, each weighed by a number of an array (n,), from `start` on."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        totals, vectors = _vectors(builder, args[0]), _vectors(builder, args[1])
        for row in range(ROWS):
            weight = spread(builder, _number(context, builder, signature.args[2], args[2], args[3], row))
            totals = [called(builder, "fma", weight, vectors[half * ROWS + row], totals[half]) for half in range(2)]
        return _whole(context, builder, pair, totals)

    return pair(pair, tile, weights, types.intp), emit


@_emitted
def add_squares(typing: Any, totals: Any, value: Any) -> Any:
    """A row and the sum of the squares of a tile's."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        totals, vectors = _vectors(builder, args[0]), _vectors(builder, args[1])
        for at, vector in enumerate(vectors):
            totals[at // ROWS] = called(builder, "fma", vector, vector, totals[at // ROWS])
        return _whole(context, builder, pair, totals)

    return pair(pair, tile), emit


def _each(build: Callable[..., Any], kinds: tuple[Any, ...]) -> Any:
    """What `build` makes of vectors that lie at the same place in tiles, and of the halves of a row."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = [_vectors(builder, value) for value in args]
        for at, vector in enumerate(parts[0]):
            others = [part[at if len(part) > 2 else at // ROWS] for part in parts[1:]]
            parts[0][at] = build(builder, vector, *others)
        return _whole(context, builder, tile, parts[0])

    return tile(*kinds), emit


@_emitted
def added(typing: Any, a: Any, b: Any) -> Any:
    """a + b."""
    return _each(lambda builder, a, b: builder.fadd(a, b), (tile, tile))


@_emitted
def subtracted(typing: Any, a: Any, b: Any) -> Any:
    """a - b."""
    return _each(lambda builder, a, b: builder.fsub(a, b), (tile, tile))


@_emitted
def squared(typing: Any, a: Any) -> Any:
    """a a."""
    return _each(lambda builder, a: builder.fmul(a, a), (tile,))


@_emitted
def scaled(typing: Any, a: Any, row: Any) -> Any:
    """Every row of a times a row."""
    return _each(lambda builder, a, b: builder.fmul(a, b), (tile, pair))


@_emitted
def rectified(typing: Any, a: Any) -> Any:
    """The larger of a and 0."""

    def build(builder: Any, value: Any) -> Any:
        zero = ir.Constant(value.type, [0.0] * LANES)
        return builder.select(builder.fcmp_ordered(">", value, zero), value, zero)

    return _each(build, (tile,))
