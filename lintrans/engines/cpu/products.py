"""Products of small matrices and vectors, in loops over ``+`` and ``*`` that any kind of number can run.

A matrix is (elements, row step, column step), so that a transpose is a swap; a vector is its elements. Elements are
pointer-like: index them, or move on by :func:`offset`. ``size`` is the number of rows and columns everywhere.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Elements: TypeAlias = Any
"""Something indexed by whole numbers that holds numbers of one kind."""

Matrix: TypeAlias = tuple[Elements, int, int]
Tile: TypeAlias = tuple[Elements, int, int]
"""Accumulators of a matrix product, held in registers: (elements, rows, columns)."""


def offset(elements: Elements, count: int) -> Elements:
    """Return the elements from `count` on."""
    return elements[count:]


def registers(x: Elements, size: int) -> Elements:
    """Room for a copy of x that the compiler can hold in registers, if x is short enough; else x itself."""
    return x


def copy(x: Elements, room: Elements, size: int) -> Elements:
    """Copy x to `room`, and return that. A store elsewhere cannot change it, so that it is loaded once."""
    for k in range(size):
        room[k] = x[k]
    return room


def matrix(elements: Elements, index: int, size: int) -> Matrix:
    """Return number `index` of consecutive size x size matrices, by rows."""
    return offset(elements, index * size * size), size, 1


def transpose(a: Matrix) -> Matrix:
    """A^T, the same memory."""
    return a[0], a[2], a[1]


def multiply(c: Matrix, a: Matrix, b: Matrix, tile: Tile, size: int) -> None:
    """C = A B."""
    multiply_to(c, a, b, c, False, tile, size)


def multiply_plus(c: Matrix, base: Matrix, a: Matrix, b: Matrix, tile: Tile, size: int) -> None:
    """C = base + A B; base may be C."""
    multiply_to(c, a, b, base, True, tile, size)


def multiply_to(c: Matrix, a: Matrix, b: Matrix, base: Matrix, plus: bool, tile: Tile, size: int) -> None:
    """C = A B, plus `base` if `plus`, a tile of entries at a time; its columns divide `size`."""
    sums, rows, columns = tile
    whole = size - size % rows
    for j in range(0, size, columns):
        for i in range(0, whole, rows):
            _multiply_tile(c, a, b, base, plus, False, sums, i, j, rows, columns, size)
        if whole < size:  # rows that are left over
            _multiply_tile(c, a, b, base, plus, False, sums, whole, j, size - whole, columns, size)


def multiply_symmetric(c: Matrix, base: Matrix, a: Matrix, b: Matrix, tile: Tile, size: int) -> None:
    """C = base + A B where the result is known to be symmetric: only tiles that touch the upper triangle are computed.

    C is neither `base` nor a factor.
    """
    sums, rows, columns = tile
    whole = size - size % rows
    for i in range(0, whole, rows):
        for j in range(0, size, columns):
            if j + columns > i:
                _multiply_tile(c, a, b, base, True, True, sums, i, j, rows, columns, size)
    if whole < size:  # rows that are left over
        _multiply_tile(c, a, b, base, True, True, sums, whole, whole, size - whole, size - whole, size)


def _multiply_tile(
    c: Matrix, a: Matrix, b: Matrix, base: Matrix, plus: bool, mirror: bool, sums: Elements, i: int, j: int,
    rows: int, columns: int, size: int,
) -> None:  # fmt: skip
    """Entries of C from (i, j) on; with `mirror` only those of the upper triangle, and their mirror images."""
    for p in range(rows):
        for q in range(columns):
            sums[p * columns + q] = a[0][(i + p) * a[1]] * b[0][(j + q) * b[2]]
            if plus:
                sums[p * columns + q] = sums[p * columns + q] + base[0][(i + p) * base[1] + (j + q) * base[2]]
    for k in range(1, size):
        for p in range(rows):
            for q in range(columns):
                term = a[0][(i + p) * a[1] + k * a[2]] * b[0][k * b[1] + (j + q) * b[2]]
                sums[p * columns + q] = sums[p * columns + q] + term
    for p in range(rows):
        for q in range(columns):
            if not mirror or j + q >= i + p:
                c[0][(i + p) * c[1] + (j + q) * c[2]] = sums[p * columns + q]
            if mirror and j + q >= i + p:
                c[0][(j + q) * c[1] + (i + p) * c[2]] = sums[p * columns + q]


def apply(out: Elements, a: Matrix, x: Elements, size: int) -> None:
    """Out = A x."""
    x = copy(x, registers(x, size), size)
    for i in range(size):
        total = a[0][i * a[1]] * x[0]
        for k in range(1, size):
            total = total + a[0][i * a[1] + k * a[2]] * x[k]
        out[i] = total


def apply_plus(out: Elements, base: Elements, a: Matrix, x: Elements, size: int) -> None:
    """Out = base + A x; base may be out, x may not."""
    x = copy(x, registers(x, size), size)
    for i in range(size):
        total = base[i] + a[0][i * a[1]] * x[0]
        for k in range(1, size):
            total = total + a[0][i * a[1] + k * a[2]] * x[k]
        out[i] = total


def apply_pair(
    out1: Elements, out2: Elements, base1: Elements, base2: Elements, plus: bool, a: Matrix,
    x1: Elements, x2: Elements, size: int,
) -> None:  # fmt: skip
    """Out = A x of two vectors at once, each plus its base if `plus`: every entry of A is loaded once."""
    x1, x2 = copy(x1, registers(x1, size), size), copy(x2, registers(x2, size), size)
    for i in range(size):
        entry = a[0][i * a[1]]
        total1, total2 = entry * x1[0], entry * x2[0]
        if plus:
            total1, total2 = total1 + base1[i], total2 + base2[i]
        for k in range(1, size):
            entry = a[0][i * a[1] + k * a[2]]
            total1, total2 = total1 + entry * x1[k], total2 + entry * x2[k]
        out1[i] = total1
        out2[i] = total2


def dot(a: Elements, b: Elements, size: int) -> Any:
    """a.b."""
    total = a[0] * b[0]
    for k in range(1, size):
        total = total + a[k] * b[k]
    return total


def outer(c: Matrix, a: Elements, b: Elements, plus: bool, size: int) -> None:
    """C = a b^T, or C += a b^T if `plus`."""
    b = copy(b, registers(b, size), size)
    for i in range(size):
        left = a[i]
        for j in range(size):
            term = left * b[j]
            if plus:
                term = term + c[0][i * c[1] + j * c[2]]
            c[0][i * c[1] + j * c[2]] = term


def outer_pair(c: Matrix, a1: Elements, b1: Elements, a2: Elements, b2: Elements, plus: bool, size: int) -> None:
    """C = a1 b1^T + a2 b2^T, plus C if `plus`."""
    b1, b2 = copy(b1, registers(b1, size), size), copy(b2, registers(b2, size), size)
    for i in range(size):
        left1, left2 = a1[i], a2[i]
        for j in range(size):
            term = left1 * b1[j]
            if plus:
                term = term + c[0][i * c[1] + j * c[2]]
            c[0][i * c[1] + j * c[2]] = term + left2 * b2[j]


def outer_three(
    c: Matrix, a1: Elements, b1: Elements, a2: Elements, b2: Elements, a3: Elements, b3: Elements, size: int
) -> None:
    """C += a1 b1^T + a2 b2^T + a3 b3^T."""
    b1, b2, b3 = (
        copy(b1, registers(b1, size), size),
        copy(b2, registers(b2, size), size),
        copy(b3, registers(b3, size), size),
    )
    for i in range(size):
        left1, left2, left3 = a1[i], a2[i], a3[i]
        for j in range(size):
            term = c[0][i * c[1] + j * c[2]] + left1 * b1[j]
            c[0][i * c[1] + j * c[2]] = (term + left2 * b2[j]) + left3 * b3[j]
