"""What is compiled for each shape of model: plain functions on memory, which the loops of kernels call by address.

A compile takes ten seconds and more, nearly all of it for a few hundred lines of algebra on SIMD values, for which the
size of the matrices is a constant. So these functions, and nothing else, are compiled for each shape; the loops around
them (:mod:`lintrans.engines.cpu.kernels`) are compiled once for each dtype. A call costs nothing beside a chunk's work.

Each function here returns a piece's signature and body, a closure over plain whole numbers, so that numba's cache on
disk can tell pieces apart; :mod:`lintrans.engines.cpu.compiling` compiles and caches them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir
from numba import carray, from_dtype, types, uint32
from numba.core import cgutils
from numba.extending import intrinsic

from . import algebra, jets
from .draw import draw
from .products import offset
from .vector import SHORT, Pointer, Value, inline, registers, scratch

CHUNK = 128
"""Prompts in a chunk, drawn at a time: eight chunks in a batch of 1000, which two threads share evenly."""

PITCH = CHUNK + 16
"""Numbers from one row of a chunk's tokens to the next. A power of two would send all rows to the same few lines of the
cache, which then holds a fraction of them."""

VALUE_BYTES = 32
"""A SIMD value: one AVX2 register. Part of the arithmetic (it fixes the order of sums), so the same everywhere."""

Piece: TypeAlias = tuple[Any, Callable[..., None]]
"""Numba's signature of a function, and the function."""

_algebra = algebra.specialise(inline, offset=offset, registers=registers)
gradient_of, diagonal_of = _algebra.gradient, jets.diagonal
draw_prompts, moments_of = draw.prompts, draw.moments
INTEGER = types.int64


def lanes_of(dtype: np.dtype[Any]) -> int:
    """Prompts in a SIMD value."""
    return VALUE_BYTES // dtype.itemsize


def tile_of(size: int, tangents: int = 0) -> tuple[int, int]:
    """Rows and columns of the register tile of a matrix product; columns divide the size.

    Found by measurement: two rows of a small matrix, as long as there are registers for them, which halves how often
    the second factor is loaded; 2 x 4 or 2 x 5 of a large one; single entries where numbers have tangents.
    """
    if tangents:
        return 1, 1
    if size <= 8:
        return (2 if 1 < size <= 6 else 1), size
    return (2 if size % 2 == 0 else 1), next((j for j in (5, 4, 3, 2) if size % j == 0), 1)


@intrinsic
def call(typing, address, arguments):
    """Call the piece at an address with a tuple of pointers, floats and whole numbers (which it gets as int64)."""
    if not isinstance(arguments, types.BaseTuple):
        return None

    def generate(context, builder, sig, args):
        values = []
        for value, kind in zip(cgutils.unpack_tuple(builder, args[1]), sig.args[1].types, strict=True):
            whole = isinstance(kind, types.Integer | types.Boolean)
            values.append(context.cast(builder, value, kind, INTEGER) if whole else value)
        function = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(builder.inttoptr(args[0], function.as_pointer()), values)
        return context.get_dummy_value()

    return types.void(types.intp, arguments), generate


def elements(dtype: np.dtype[Any], tangents: int = 0, lanes: int | None = None) -> Pointer:
    """Numba's type of a pointer to SIMD values; to plain floats, or plain dual numbers, with `lanes` = 0."""
    kind = from_dtype(dtype)
    wide = lanes_of(dtype) if lanes is None else lanes
    return Pointer(Value(kind, wide, tangents) if wide or tangents else kind)


def prompts(dtype: np.dtype[Any]) -> Piece:
    """Draw up to a chunk of prompts as tokens.

    Arguments of the piece:
        out [rows, PITCH], norms [CHUNK], lengths [3, room] float64: see ``draw.prompts``, as the arguments after them.
    """
    real = from_dtype(dtype)
    floats, doubles = types.CPointer(real), types.CPointer(types.float64)
    signature = types.void(floats, floats, doubles, *[INTEGER] * 11, types.float64, types.float64)

    def piece(out, norms, lengths, rows, room, lanes, first, count, seed, step, stream, n, d, law, number1, number2):
        draw_prompts(
            carray(out, (rows, PITCH)), carray(norms, (CHUNK,)), carray(lengths, (3, room)), lanes, first, count,
            uint32(seed), uint32(step), uint32(stream), n, d, law, number1, number2,
        )  # fmt: skip

    return signature, piece


def moments(size: int, heads: int, sparse: bool, dtype: np.dtype[Any], tangents: int) -> Piece:
    """The numbers that blocks of prompts are given by, `data` [blocks, numbers], of their tokens [rows, PITCH].

    Arguments of the piece: data, tokens, blocks, n, inverse = 1 / n, and whether the n = d tokens are the rows of an
    upper triangle.
    """
    pointer, numbers, per = elements(dtype), algebra.data_size(size, sparse), PITCH // lanes_of(dtype)
    signature = types.void(pointer, pointer, *[INTEGER] * 2, from_dtype(dtype), INTEGER)
    d = size if sparse else size - 1

    def piece(data, tokens, blocks, n, inverse, triangular):
        held = scratch(tokens, SHORT)
        for b in range(blocks):
            moments_of(offset(data, b * numbers), offset(tokens, b), per, n, d, size, inverse, triangular, held)

    return signature, piece


def gradient(size: int, heads: int, sparse: bool, dtype: np.dtype[Any], tangents: int) -> Piece:
    """Gradient of (scale / 2) e^2, summed over blocks, then the sum of e^2: `sums` [G + 1], each with its tangents.

    Arguments of the piece: data [blocks, numbers], parameters [G] (plain, with tangents), sums, work, blocks, layers,
    scale, back. Only the last `back` layers get gradients, zero elsewhere; with 0 there is only the sum of e^2, and
    `sums` [1]: one compile serves all.
    """
    numbers, (rows, columns) = algebra.data_size(size, sparse), tile_of(size, tangents)
    held = rows * columns
    dual = elements(dtype, tangents)
    signature = types.void(
        elements(dtype), elements(dtype, tangents, 0), dual, dual, INTEGER, INTEGER, from_dtype(dtype), INTEGER
    )

    def piece(data, parameters, sums, work, blocks, layers, scale, back):
        tile, shape = (scratch(work, held), rows, columns), (layers, size, heads, sparse)
        count = 2 * layers * heads * size * size + 1 if back > 0 else 1
        for i in range(count):
            sums[i] = 0.0
        for b in range(blocks):
            gradient_of(offset(data, b * numbers), parameters, sums, scale, work, tile, shape, back)

    return signature, piece


def diagonal(size: int, heads: int, sparse: bool, dtype: np.dtype[Any], tangents: int) -> Piece:
    """Diagonal of the Hessian of (scale / 2) e^2, summed over blocks, then the sum of e^2: `sums` [G + 1].

    Arguments of the piece: as those of :func:`gradient`. With `back` = 0 `sums` [2, CHUNK / lanes] has the trace of
    each prompt's Hessian, then each e^2.
    """
    numbers, (rows, columns) = algebra.data_size(size, sparse), tile_of(size)
    held, per = rows * columns, CHUNK // lanes_of(dtype)
    plain, jet = elements(dtype), Pointer(Value(from_dtype(dtype), lanes_of(dtype), 2, jet=True))
    signature = types.void(plain, elements(dtype, 0, 0), plain, jet, INTEGER, INTEGER, from_dtype(dtype), INTEGER)

    def piece(data, parameters, sums, work, blocks, layers, scale, back):
        tile, jet_tile = (scratch(sums, held), rows, columns), (scratch(work, 1), 1, 1)
        shape = (layers, size, heads, sparse)
        for i in range(2 * layers * heads * size * size + 1 if back > 0 else 2 * per):
            sums[i] = 0.0
        for b in range(blocks):
            own, single = (sums, 0) if back > 0 else (offset(sums, b), per)
            diagonal_of(offset(data, b * numbers), parameters, own, single, scale, work, tile, jet_tile, shape)

    return signature, piece


PIECES = {"moments": moments, "gradient": gradient, "diagonal": diagonal}
"""Pieces of a model with linear attention."""
