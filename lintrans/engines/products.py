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
    """C = A B, plus `base` if `plus`, a tile of entries at a time; its rows and columns divide `size`."""
    sums, rows, columns = tile
    for i in range(0, size, rows):
        for j in range(0, size, columns):
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
                    c[0][(i + p) * c[1] + (j + q) * c[2]] = sums[p * columns + q]


def multiply_symmetric(c: Matrix, base: Matrix, a: Matrix, b: Matrix, size: int) -> None:
    """C = base + A B where the result is known to be symmetric: the upper triangle is computed, and copied."""
    for i in range(size):
        for j in range(i, size):
            total = base[0][i * base[1] + j * base[2]] + a[0][i * a[1]] * b[0][j * b[2]]
            for k in range(1, size):
                total = total + a[0][i * a[1] + k * a[2]] * b[0][k * b[1] + j * b[2]]
            c[0][i * c[1] + j * c[2]] = total
            c[0][j * c[1] + i * c[2]] = total


def apply(out: Elements, a: Matrix, x: Elements, size: int) -> None:
    """Out = A x."""
    for i in range(size):
        total = a[0][i * a[1]] * x[0]
        for k in range(1, size):
            total = total + a[0][i * a[1] + k * a[2]] * x[k]
        out[i] = total


def apply_plus(out: Elements, base: Elements, a: Matrix, x: Elements, size: int) -> None:
    """Out = base + A x; base may be out, x may not."""
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
    for i in range(size):
        for j in range(size):
            term = a[i] * b[j]
            if plus:
                term = term + c[0][i * c[1] + j * c[2]]
            c[0][i * c[1] + j * c[2]] = term


def outer_pair(c: Matrix, a1: Elements, b1: Elements, a2: Elements, b2: Elements, plus: bool, size: int) -> None:
    """C = a1 b1^T + a2 b2^T, plus C if `plus`."""
    for i in range(size):
        for j in range(size):
            term = a1[i] * b1[j]
            if plus:
                term = term + c[0][i * c[1] + j * c[2]]
            c[0][i * c[1] + j * c[2]] = term + a2[i] * b2[j]


def outer_three(
    c: Matrix, a1: Elements, b1: Elements, a2: Elements, b2: Elements, a3: Elements, b3: Elements, size: int
) -> None:
    """C += a1 b1^T + a2 b2^T + a3 b3^T."""
    for i in range(size):
        for j in range(size):
            term = c[0][i * c[1] + j * c[2]] + a1[i] * b1[j]
            c[0][i * c[1] + j * c[2]] = (term + a2[i] * b2[j]) + a3[i] * b3[j]
