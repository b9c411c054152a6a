r"""Compiled gradients of a Transformer with softmax or ReLU attention, with tangents for Hessian-vector products.

Prompts are tokens here, z_i = (x_i, y_i), the query's y hidden. With scores s_ij = z_i . m_j, m_j = Q z_j, and weights
a_ij of the keys (:mod:`lintrans.models.attention`; c is 1/n, or 1 where they are a mean by themselves) a layer is

    u_j = c sum_i a_ij z_i      z'_j = z_j + sum_h P u_j          last layer: the last entry of the query's z' alone

and backwards, bars being derivatives of the loss,

    P_bar += z'_bar_j u_j^T      u_bar = c P^T z'_bar_j      a_bar_i = u_bar . z_i
    softmax: s_bar_i = a_i (a_bar_i - sum_k a_k a_bar_k), a_bar of the hidden key being 0;    relu: a_bar_i if a_i > 0
    m_bar = sum_i s_bar_i z_i    Q_bar += m_bar z_j^T    z_bar_j += Q^T m_bar    z_bar_i += a_ij u_bar + s_bar_i m_j

Queries are taken two at a time, and so are the keys that get z_bar, the last sum, once s_bar and u_bar of all queries
are known: most of the time goes into loading what these loops share.

Prompts lie as in :mod:`lintrans.engines.cpu.mlp`, as many side by side as a SIMD value has lanes, in chunks whose sums
are added in a fixed order: results depend neither on the number of threads nor on which runs go together. One
long file, because forward and backward share their memory's layout line by line.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from .mlp import token_signature, where_positive
from .products import offset
from .shape_kernels import Piece
from .vector import FLAGS, Value, component_type, components, inline, pack, scratch

SOFTMAX, VISIBLE, RELU = 0, 1, 2
KINDS = {"softmax": SOFTMAX, "softmax-visible": VISIBLE, "relu": RELU}

EXPONENTIAL = {  # terms of the series, lowest argument, digits of the mantissa, bias of the exponent
    32: (8, -87.0, 23, 127),
    64: (14, -708.0, 52, 1023),
}


def work_size(layers: int, n: int, d: int, size: int, heads: int) -> int:
    """Numbers of working memory that a prompt needs."""
    tokens = n + 1
    return tokens * ((layers + 3) * (d + 1) + tokens) + layers * heads * tokens * (size + d + 1 + tokens)


def constant(kind, value):
    """A number in every lane."""
    return ir.Constant(kind, [value] * kind.count) if isinstance(kind, ir.VectorType) else ir.Constant(kind, value)


def polynomial(builder, coefficients, x):
    """The sum of c_k x^k in Estrin's order: neighbours are joined, then pairs, so that no step waits for all before."""
    while len(coefficients) > 1:
        pairs = [coefficients[k : k + 2] for k in range(0, len(coefficients), 2)]
        coefficients = [
            builder.fadd(builder.fmul(pair[1], x, flags=FLAGS), pair[0], flags=FLAGS) if len(pair) > 1 else pair[0]
            for pair in pairs
        ]
        if len(coefficients) > 1:
            x = builder.fmul(x, x, flags=FLAGS)
    return coefficients[0]


@intrinsic
def larger(typing, a, b):
    """The larger of two values, without tangents; `a` where it is not a number."""
    if not (isinstance(a, Value) and isinstance(b, Value)):
        return None
    plain = Value(a.dtype, a.lanes, 0)

    def generate(context, builder, sig, args):
        first, second = (components(context, builder, args[k], sig.args[k], sig.args[k])[0] for k in range(2))
        return builder.select(builder.fcmp_ordered("<", first, second), second, first)

    return plain(a, b), generate


@intrinsic
def exponential(typing, x):
    """Exp x for x up to about 80; below the lowest argument, about the smallest number of its type.

    It is 2^(x / ln 2), a whole power times that of a rest between -1/2 and 1/2. Rounding x / ln 2 costs as much
    accuracy as rounding x did.
    """
    if not isinstance(x, Value):
        return None

    def generate(context, builder, sig, args):
        parts = components(context, builder, args[0], x, x)
        kind, width = component_type(x), x.dtype.bitwidth
        terms, lowest, digits, bias = EXPONENTIAL[width]
        bits = ir.IntType(width)
        whole = ir.VectorType(bits, kind.count) if isinstance(kind, ir.VectorType) else bits
        floor = constant(kind, lowest)
        y = builder.select(builder.fcmp_ordered("<", parts[0], floor), floor, parts[0])
        y = builder.fmul(y, constant(kind, 1.0 / math.log(2.0)), flags=FLAGS)
        magic = constant(kind, 1.5 * 2.0**digits)  # adding it rounds to a whole number, which ends up in the last bits
        shifted = builder.fadd(y, magic, flags=FLAGS)
        rest = builder.fsub(y, builder.fsub(shifted, magic), flags=FLAGS)
        series = [constant(kind, math.log(2.0) ** k / math.factorial(k)) for k in range(terms)]
        total = polynomial(builder, series, rest)
        exponent = builder.add(builder.bitcast(shifted, whole), constant(whole, bias))
        power = builder.bitcast(builder.shl(exponent, constant(whole, digits)), kind)
        value = builder.fmul(total, power, flags=FLAGS)
        return pack(builder, [value, *(builder.fmul(value, part, flags=FLAGS) for part in parts[1:])], x)

    return x(x), generate


@intrinsic
def reciprocal(typing, x):
    """1 / x."""
    if not isinstance(x, Value):
        return None

    def generate(context, builder, sig, args):
        parts = components(context, builder, args[0], x, x)
        value = builder.fdiv(constant(component_type(x), 1.0), parts[0])
        slope = builder.fneg(builder.fmul(value, value, flags=FLAGS), flags=FLAGS)
        return pack(builder, [value, *(builder.fmul(slope, part, flags=FLAGS) for part in parts[1:])], x)

    return x(x), generate


@inline
def attend(u, a, m, z, q, first, together, kind, share, n, d, size, vectors):
    """Sums u = c sum_i a_i z_i of `together` queries, from `first` on; keeps m = Q z_query and the weights a."""
    own_m, sums, held, found = vectors
    wide, tokens = d + 1, n + 1
    for w in range(together):
        own = offset(z, (first + w) * wide)
        for k in range(size):
            total = q[k * size] * own[0]
            for r in range(1, size):
                total = total + q[k * size + r] * own[r]
            own_m[w * size + k] = total
            m[w * size + k] = total
        for c in range(wide):
            sums[w * wide + c] = 0.0
    keys = n + 1 if kind == SOFTMAX else n
    for i in range(keys):
        for w in range(together):
            held[w] = z[i * wide] * own_m[w * size]
        for k in range(1, size):
            for w in range(together):
                held[w] = held[w] + z[i * wide + k] * own_m[w * size + k]
        for w in range(together):
            a[w * tokens + i] = where_positive(held[w], held[w]) if kind == RELU else held[w]
    if kind == RELU:
        for i in range(n):
            for w in range(together):
                held[w] = a[w * tokens + i]
            weigh(sums, held, z, i, together, wide)
    else:
        for w in range(together):
            largest = larger(a[w * tokens], a[w * tokens])
            for i in range(1, keys):
                largest = larger(largest, a[w * tokens + i])
            found[w] = largest
            held[w] = a[w * tokens] * 0.0
        for i in range(keys):
            for w in range(together):
                weight = exponential(a[w * tokens + i] - found[w])
                a[w * tokens + i] = weight
                held[w] = held[w] + weight
        for w in range(together):
            found[w] = reciprocal(held[w])
            if kind == SOFTMAX:
                a[w * tokens + n] = a[w * tokens + n] * found[w]
        for i in range(n):
            for w in range(together):
                held[w] = a[w * tokens + i] * found[w]
            for w in range(together):
                a[w * tokens + i] = held[w]
            weigh(sums, held, z, i, together, wide)
    for c in range(together * wide):
        u[c] = sums[c] * share


@inline
def add_outer(c, a, a_step, b, b_step, together, size):
    """C += sum a b^T over the queries."""
    for k in range(size):
        for r in range(size):
            total = c[k * size + r]
            for w in range(together):
                total = total + a[w * a_step + k] * b[w * b_step + r]
            c[k * size + r] = total


@inline
def weigh(sums, weights, z, key, together, wide):
    """Add a key's token, times its weights, to the sums of the queries."""
    for c in range(wide):
        entry = z[key * wide + c]
        for w in range(together):
            sums[w * wide + c] = sums[w * wide + c] + weights[w] * entry


@inline
def unattend(z_bar, q_bar, s_bar, u_bar, a, z, q, first, together, kind, n, d, size, vectors):
    """Derivatives s_bar of the scores of `together` queries, and what they add to Q's and to the queries' tokens.

    u_bar holds c times those of the sums. What the keys' tokens get is left to :func:`spread`.
    """
    m_bar, own_u, held, dot = vectors
    wide, tokens = d + 1, n + 1
    for w in range(together):
        dot[w] = a[w * tokens] * 0.0
        for c in range(wide):
            own_u[w * wide + c] = u_bar[w * wide + c]
        for k in range(size):
            m_bar[w * size + k] = 0.0
    for i in range(n):
        for w in range(together):
            held[w] = z[i * wide] * own_u[w * wide]
        for c in range(1, wide):
            for w in range(together):
                held[w] = held[w] + z[i * wide + c] * own_u[w * wide + c]
        for w in range(together):
            if kind != RELU:
                dot[w] = dot[w] + a[w * tokens + i] * held[w]
        for w in range(together):
            s_bar[w * tokens + i] = held[w]
    keys = n + 1 if kind == SOFTMAX else n
    if kind == SOFTMAX:
        for w in range(together):
            s_bar[w * tokens + n] = dot[w] * 0.0
    for i in range(keys):
        for w in range(together):
            weight, slope = a[w * tokens + i], s_bar[w * tokens + i]
            held[w] = where_positive(weight, slope) if kind == RELU else weight * (slope - dot[w])
        for w in range(together):
            s_bar[w * tokens + i] = held[w]
        for k in range(size):
            entry = z[i * wide + k]
            for w in range(together):
                m_bar[w * size + k] = m_bar[w * size + k] + held[w] * entry
    add_outer(q_bar, m_bar, size, offset(z, first * wide), wide, together, size)
    for w in range(together):
        own_bar = offset(z_bar, (first + w) * wide)
        for r in range(size):
            total = q[r] * m_bar[w * size]
            for k in range(1, size):
                total = total + q[k * size + r] * m_bar[w * size + k]
            own_bar[r] = own_bar[r] + total


@inline
def spread(z_bar, s_bar, u_bar, a, m, queries, kind, n, d, size, sums):
    """Add what all queries pass back to their keys' tokens, two keys at a time: a u_bar + s_bar m."""
    for i in range(0, n - n % 2, 2):
        spread_to(z_bar, s_bar, u_bar, a, m, queries, i, 2, n, d, size, sums)
    if n % 2 > 0:
        spread_to(z_bar, s_bar, u_bar, a, m, queries, n - 1, 1, n, d, size, sums)
    if kind == SOFTMAX:  # the hidden key has a score and no value
        bar = offset(z_bar, n * (d + 1))
        for j in range(queries):
            for k in range(size):
                bar[k] = bar[k] + s_bar[j * (n + 1) + n] * m[j * size + k]


@inline
def spread_to(z_bar, s_bar, u_bar, a, m, queries, key, together, n, d, size, sums):
    """The share of `together` keys."""
    wide, tokens = d + 1, n + 1
    bar = offset(z_bar, key * wide)
    for c in range(together * wide):
        sums[c] = bar[c]
    for j in range(queries):
        weights, slopes = offset(a, j * tokens + key), offset(s_bar, j * tokens + key)
        for c in range(wide):
            entry = u_bar[j * wide + c]
            for w in range(together):
                sums[w * wide + c] = sums[w * wide + c] + weights[w] * entry
        for k in range(size):
            entry = m[j * size + k]
            for w in range(together):
                sums[w * wide + k] = sums[w * wide + k] + slopes[w] * entry
    for c in range(together * wide):
        bar[c] = sums[c]


@inline
def mix(after, u, a, m, z, p, q, first, together, kind, share, n, d, size, vectors):
    """Attention of `together` queries, added to their tokens: z' += P u."""
    u, wide = offset(u, first * (d + 1)), d + 1
    attend(
        u, offset(a, first * (n + 1)), offset(m, first * size), z, q, first, together, kind, share, n, d, size, vectors
    )
    for w in range(together):
        sums, new = offset(u, w * wide), offset(after, (first + w) * wide)
        for k in range(size):
            total = new[k] + p[k * size] * sums[0]
            for r in range(1, size):
                total = total + p[k * size + r] * sums[r]
            new[k] = total
        if size == d:
            new[d] = new[d] + sums[d]


@inline
def unmix(z_bar, bar, p_bar, q_bar, s_bar, u_bar, u, a, z, p, q, first, together, kind, share, n, d, size, vectors):
    """The reverse of :func:`mix`, but for what the keys get; `bar` are derivatives of the layer's result."""
    wide = d + 1
    add_outer(p_bar, offset(bar, first * wide), wide, offset(u, first * wide), wide, together, size)
    for w in range(together):
        own, own_u = offset(bar, (first + w) * wide), (first + w) * wide
        for r in range(size):
            total = p[r] * own[0]
            for k in range(1, size):
                total = total + p[k * size + r] * own[k]
            u_bar[own_u + r] = total * share
        if size == d:
            u_bar[own_u + d] = own[d] * share
    unattend(
        z_bar, q_bar, offset(s_bar, first * (n + 1)), offset(u_bar, first * wide), offset(a, first * (n + 1)), z, q,
        first, together, kind, n, d, size, vectors,
    )  # fmt: skip


@inline
def prompt_gradient(x, y, weight, theta, result, work, vectors, scale, inverse, back, shape):
    """Add gradients of (scale / 2) e^2 in the last `back` layers to `result`, and e^2 to its last element."""
    layers, n, d, size, heads, kind = shape
    tokens, square, wide = n + 1, size * size, d + 1
    share = 1.0 if kind == VISIBLE else inverse  # c
    all_z, z_bar = work, offset(work, layers * tokens * wide)
    new_bar = offset(z_bar, tokens * wide)
    u_bar = offset(new_bar, tokens * wide)
    s_bar = offset(u_bar, tokens * wide)
    kept, stride = offset(s_bar, tokens * tokens), tokens * (size + wide + tokens)  # m, u and a of a layer's head
    even = tokens - tokens % 2
    for i in range(tokens):
        for k in range(d):
            all_z[i * wide + k] = x[i * d + k]
        all_z[i * wide + d] = y[i]
    all_z[n * wide + d] = 0.0
    for layer in range(layers - 1):
        z, after = offset(all_z, layer * tokens * wide), offset(all_z, (layer + 1) * tokens * wide)
        for i in range(tokens * wide):
            after[i] = z[i]
        for head in range(heads):
            p = offset(theta, 2 * (layer * heads + head) * square)
            q, m = offset(p, square), offset(kept, (layer * heads + head) * stride)
            u = offset(m, tokens * size)
            a = offset(u, tokens * wide)
            for j in range(0, even, 2):  # two queries at a time: their keys are loaded once
                mix(after, u, a, m, z, p, q, j, 2, kind, share, n, d, size, vectors)
            if even < tokens:
                mix(after, u, a, m, z, p, q, even, 1, kind, share, n, d, size, vectors)
    last = layers - 1
    z = offset(all_z, last * tokens * wide)
    answer = z[n * wide + d]
    for head in range(heads):
        p = offset(theta, 2 * (last * heads + head) * square)
        m = offset(kept, (last * heads + head) * stride)
        u = offset(m, tokens * size)
        attend(u, offset(u, tokens * wide), m, z, offset(p, square), n, 1, kind, share, n, d, size, vectors)
        if size == d:
            answer = answer + u[d]
        else:
            for r in range(size):
                answer = answer + p[d * size + r] * u[r]
    error = weight * (y[n] + answer)
    count = 2 * layers * heads * square
    result[count] = result[count] + error * error
    if back > 0:
        error_bar = error * scale
        for i in range(tokens * wide):
            z_bar[i] = 0.0
        z_bar[n * wide + d] = error_bar
        for head in range(heads):
            place = 2 * (last * heads + head) * square
            p, p_bar = offset(theta, place), offset(result, place)
            m = offset(kept, (last * heads + head) * stride)
            u = offset(m, tokens * size)
            a = offset(u, tokens * wide)
            if size == d:
                for c in range(d):
                    u_bar[c] = error_bar * 0.0
                u_bar[d] = error_bar * share
            else:
                for r in range(size):
                    p_bar[d * size + r] = p_bar[d * size + r] + error_bar * u[r]
                    u_bar[r] = error_bar * p[d * size + r] * share
            unattend(
                z_bar, offset(p_bar, square), s_bar, u_bar, a, z, offset(p, square), n, 1, kind, n, d, size, vectors
            )
            spread(z_bar, s_bar, u_bar, a, m, 1, kind, n, d, size, vectors[1])
        for layer in range(layers - 2, max(0, layers - back) - 1, -1):
            z = offset(all_z, layer * tokens * wide)
            for i in range(tokens * wide):
                new_bar[i] = z_bar[i]
            for head in range(heads):
                place = 2 * (layer * heads + head) * square
                p, p_bar = offset(theta, place), offset(result, place)
                q, q_bar = offset(p, square), offset(p_bar, square)
                m = offset(kept, (layer * heads + head) * stride)
                u = offset(m, tokens * size)
                a = offset(u, tokens * wide)
                for j in range(0, even, 2):
                    unmix(
                        new_bar, z_bar, p_bar, q_bar, s_bar, u_bar, u, a, z, p, q, j, 2, kind, share, n, d, size,
                        vectors,
                    )  # fmt: skip
                if even < tokens:
                    unmix(
                        new_bar, z_bar, p_bar, q_bar, s_bar, u_bar, u, a, z, p, q, even, 1, kind, share, n, d, size,
                        vectors,
                    )  # fmt: skip
                spread(new_bar, s_bar, u_bar, a, m, tokens, kind, n, d, size, vectors[1])
            for i in range(tokens * wide):
                z_bar[i] = new_bar[i]


def gradient(d: int, size: int, dtype: np.dtype[Any], tangents: int) -> Piece:
    """Gradients over blocks of prompts; arguments of the piece as in ``mlp.gradient``, kind: one of KINDS."""
    matrix_rows, token_rows = 2 * size, 2 * (d + 1)  # of two queries

    def piece(given, theta, sums, work, own, take, blocks, rows, count, layers, n, heads, kind, back, scale, inverse):
        vectors = (scratch(work, matrix_rows), scratch(work, token_rows), scratch(work, 2), scratch(work, 2))
        for i in range(count):
            sums[i] = 0.0
        for b in range(take):
            for i in range(rows):
                own[i] = given[i * blocks + b]
            y = offset(own, (n + 1) * d)
            prompt_gradient(
                own, y, own[rows - 1], theta, sums, work, vectors, scale, inverse, back,
                (layers, n, d, size, heads, kind),
            )  # fmt: skip

    return token_signature(dtype, tangents), piece
