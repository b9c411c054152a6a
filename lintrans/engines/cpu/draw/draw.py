"""Drawing prompts inside a kernel, a row of prompts at a time: tokens, or rows with the same second moments.

Numbers of a prompt, as rows of a tile: n context tokens of d, the query token, the teacher w. For Gaussian covariates
the context may be d rows of a triangular factor instead (``LinearRegression.factored``).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ....random import FRAME_ATTEMPT, TEACHER_ATTEMPT
from ..arguments import FACTOR, FRAME, GAMMA, GAUSSIAN, SPHERE
from ..products import offset
from ..vector import OPTIONS, SHORT
from .gamma import gamma_lengths
from .normal import chi_squared, inline, normals
from .sphere import directions


@njit(**OPTIONS)
def factor(out, mantissas, lanes, first, seed, step, stream, d, length, size, std):
    """`size` times the factor R of a context of `length` standard normals, as d rows; then query and teacher.

    See ``LinearRegression._factor``. out [(d + 3) d, prompts] or more. What is below the diagonal of R means nothing:
    nobody looks there.
    """
    above, odd = d * (d - 1) // 2, (d + length % 2) // 2
    numbers = above + 2 * d + odd
    normals(out[: (numbers + 3) // 4 * 4], lanes, first, seed, step, stream, 0)
    kind = out.dtype.type
    one, size, std = kind(1), kind(size), kind(std)
    for source in range(numbers - 1, above - 1, -1):  # backwards, as every row moves on or stays
        scale = std if source < above + d else one
        row, target = out[source], out[source - above + d * d]
        for lane in range(lanes):
            target[lane] = scale * row[lane]
    source = above
    for k in range(d - 1, -1, -1):
        for j in range(d - 1, k, -1):
            source -= 1
            row, target = out[source], out[k * d + j]
            for lane in range(lanes):
                target[lane] = size * row[lane]
    call, normal = 0, (d + 2) * d
    for k in range(d):
        row = out[k * d + k]
        call = chi_squared(row, mantissas, lanes, first, seed, step, stream, call, (length - k) // 2)
        if (length - k) % 2 == 1:
            more = out[normal]
            normal += 1
            for lane in range(lanes):
                row[lane] += more[lane] * more[lane]
        for lane in range(lanes):
            row[lane] = size * math.sqrt(row[lane])


@njit(**OPTIONS)
def frame(x, norms, lanes, n, d):
    """Turn normals x [n d, prompts] into an orthonormal frame, as ``lintrans.tasks.regression.frame``."""
    for j in range(d):
        for i in range(j + 1):  # take out the earlier columns, then divide by the length
            for lane in range(lanes):
                norms[lane] = 0
            for token in range(n):
                one, other = x[token * d + i], x[token * d + j]
                for lane in range(lanes):
                    norms[lane] += one[lane] * other[lane]
            if i < j:
                for token in range(n):
                    one, other = x[token * d + i], x[token * d + j]
                    for lane in range(lanes):
                        other[lane] -= norms[lane] * one[lane]
            else:
                for lane in range(lanes):
                    norms[lane] = x.dtype.type(1) / math.sqrt(norms[lane])
                for token in range(n):
                    other = x[token * d + j]
                    for lane in range(lanes):
                        other[lane] *= norms[lane]


@njit(**OPTIONS)
def unfold(x, drawn, lanes, n, d):
    """The context Q R in the place of Q, x [n d, prompts], and after it query and teacher, from :func:`factor`."""
    for token in range(n):
        for j in range(d - 1, -1, -1):
            target, diagonal = x[token * d + j], drawn[j * d + j]
            for lane in range(lanes):
                target[lane] *= diagonal[lane]
            for i in range(j):
                one, other = x[token * d + i], drawn[i * d + j]
                for lane in range(lanes):
                    target[lane] += one[lane] * other[lane]
    for i in range(2 * d):
        row, target = drawn[d * d + i], x[n * d + i]
        for lane in range(lanes):
            target[lane] = row[lane]


@njit(**OPTIONS)
def scale_rows(out, base, count, lanes, factor):
    """Rows `base`, ..., `base` + `count` - 1 times a number."""
    for k in range(base, base + count):
        row = out[k]
        for lane in range(lanes):
            row[lane] *= factor


@njit(**OPTIONS)
def prompts(out, norms, scratch, lanes, first, count, seed, step, stream, n, d, law, number1, number2):
    """Draw prompts `first`, ..., `first` + `lanes` - 1 as tokens; those from `count` on are zero.

    out [rows, prompts]: rows (n + 1) d of covariates, d of the teacher, and others (``laws.rows_of``). Scratch: norms
    [prompts] of its dtype, and scratch [3, (n + 2) prompts + 8] float64.
    """
    kind = out.dtype.type
    if law == FACTOR:
        size = number1 * math.sqrt(n / number2)  # so that moments over n = d rows are those of the context
        factor(out, norms, lanes, first, seed, step, stream, d, int(number2), size, number1)
    elif law == FRAME:
        normals(out[: (n * d + 3) // 4 * 4], lanes, first, seed, step, stream, FRAME_ATTEMPT)
        frame(out, norms, lanes, n, d)
        spare = out[(n + 2) * d :]
        factor(spare, norms, lanes, first, seed, step, stream, d, n, number1, number1)
        unfold(out, spare, lanes, n, d)
    elif law == GAUSSIAN:
        normals(out[: ((n + 1) * d + 3) // 4 * 4], lanes, first, seed, step, stream, 0)
        if number1 != 1.0:
            scale_rows(out, 0, (n + 1) * d, lanes, kind(number1))
    else:
        words = scratch[0].view(np.uint32)
        directions(out, words, norms, lanes, first, n + 1, d, seed, step, stream)
        if law == GAMMA:
            lengths = scratch[0].view(out.dtype)
            gamma_lengths(lengths, scratch[1:], lanes, first, n + 1, stream, seed, step, number1, number2)
            for token in range(n + 1):
                own = lengths[token * lanes : (token + 1) * lanes]
                for i in range(d):
                    row = out[token * d + i]
                    for lane in range(lanes):
                        row[lane] *= own[lane]
        elif number1 != 1.0:
            scale_rows(out, 0, (n + 1) * d, lanes, kind(number1))
    if law in (GAUSSIAN, SPHERE, GAMMA):
        normals(out[(n + 1) * d : (n + 1) * d + (d + 3) // 4 * 4], lanes, first, seed, step, stream, TEACHER_ATTEMPT)
    if count < first + lanes:
        for row in range(out.shape[0]):
            for lane in range(max(0, count - first), lanes):
                out[row, lane] = 0


@inline
def upper(i, j, size):
    """Place of entry (i, j), i <= j, in an upper triangle stored by rows."""
    return i * size - i * (i - 1) // 2 + j - i


@inline
def moments(data, x, step, n, d, size, inverse, triangular, held):
    """The numbers a prompt is given by (see ``algebra.data_size``), from its tokens x[component * step].

    held [SHORT]: memory that is meant to end up in registers, as d is known to the compiler.
    triangular: token k has zeros in its first k places, which are not looked at (a third of the work remains).
    size is d (sparse form) or d + 1 (full form); noiseless labels give S_xy = S_xx w and S_yy = w.S_xy.
    """
    for i in range(d):
        rows = i + 1 if triangular else n
        if d <= SHORT:  # a row of the matrix in registers
            for j in range(i, d):
                held[j] = x[i * step] * x[j * step]
            for k in range(1, rows):
                one = x[(k * d + i) * step]
                for j in range(i, d):
                    held[j] = held[j] + one * x[(k * d + j) * step]
            for j in range(i, d):
                data[upper(i, j, size)] = held[j] * inverse
        else:
            for j in range(i, d):
                total = x[i * step] * x[j * step]
                for k in range(1, rows):
                    total = total + x[(k * d + i) * step] * x[(k * d + j) * step]
                data[upper(i, j, size)] = total * inverse
    query = offset(x, n * d * step)
    w = offset(query, d * step)
    triangle = size * (size + 1) // 2
    place = triangle + (d if size == d else 0)  # of the query
    for i in range(d):
        total = w[0] * data[upper(0, i, size)]
        for j in range(1, d):
            total = total + w[j * step] * data[upper(min(i, j), max(i, j), size)]
        data[triangle + i if size == d else upper(i, d, size)] = total  # S_xy
        data[place + i] = query[i * step]
    target = query[0] * w[0]
    for i in range(1, d):
        target = target + query[i * step] * w[i * step]
    data[place + size] = target
    if size > d:
        total = w[0] * data[upper(0, d, size)]
        for i in range(1, d):
            total = total + w[i * step] * data[upper(i, d, size)]
        data[upper(d, d, size)] = total  # S_yy
        data[place + d] = 0.0  # the query's response is not shown
