r"""Compiled gradients of a Transformer with softmax or ReLU attention, with tangents for Hessian-vector products.

Prompts are tokens here, z_i = (x_i, y_i), the query's y hidden. With scores s_ij = z_i . m_j, m_j = Q z_j, and weights
a_ij of the keys (see :mod:`lintrans.attention`; c is 1/n, or 1 where the weights are a mean by themselves) a layer is

    u_j = c sum_i a_ij z_i      z'_j = z_j + sum_h P u_j          last layer: the last entry of the query's z' alone

and backwards, bars being derivatives of the loss,

    P_bar += z'_bar_j u_j^T      u_bar = c P^T z'_bar_j      a_bar_i = u_bar . z_i
    softmax: s_bar_i = a_i (a_bar_i - sum_k a_k a_bar_k), a_bar of the hidden key being 0;    relu: a_bar_i if a_i > 0
    m_bar = sum_i s_bar_i z_i    Q_bar += m_bar z_j^T    z_bar_j += Q^T m_bar    z_bar_i += a_ij u_bar + s_bar_i m_j

Prompts lie as in :mod:`lintrans.engines.embedded`, as many side by side as a SIMD value has lanes, in chunks whose sums
are added in a fixed order: results depend neither on the number of threads nor on which runs go together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from .embedded import token_signature, where_positive
from .pieces import Piece
from .products import offset
from .vector import FLAGS, Value, component_type, components, inline, pack, scratch

SOFTMAX, VISIBLE, RELU = 0, 1, 2
KINDS = {"softmax": SOFTMAX, "softmax-visible": VISIBLE, "relu": RELU}

EXPONENTIAL = {  # terms of the series, lowest argument, ln 2 in two parts, digits of the mantissa, bias of the exponent
    32: (8, -87.0, 0.693145751953125, 1.428606765330187e-06, 23, 127),
    64: (14, -708.0, 0.6931471803691238, 1.9082149292705877e-10, 52, 1023),
}


def work_size(layers: int, n: int, d: int, size: int, heads: int) -> int:
    """Numbers of working memory that a prompt needs."""
    tokens = n + 1
    return tokens * ((layers + 2) * (d + 1) + 1) + layers * heads * tokens * (size + d + 2 + tokens)


def constant(kind, value):
    """A number in every lane."""
    return ir.Constant(kind, [value] * kind.count) if isinstance(kind, ir.VectorType) else ir.Constant(kind, value)


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
    """Exp x for x up to about 80; below the lowest argument, about the smallest number of its type."""
    if not isinstance(x, Value):
        return None

    def generate(context, builder, sig, args):
        parts = components(context, builder, args[0], x, x)
        kind, width = component_type(x), x.dtype.bitwidth
        terms, lowest, high, low, digits, bias = EXPONENTIAL[width]
        bits = ir.IntType(width)
        whole = ir.VectorType(bits, kind.count) if isinstance(kind, ir.VectorType) else bits
        floor = constant(kind, lowest)
        y = builder.select(builder.fcmp_ordered("<", parts[0], floor), floor, parts[0])
        magic = constant(kind, 1.5 * 2.0**digits)  # adding it rounds to a whole number, which ends up in the last bits
        shifted = builder.fadd(builder.fmul(y, constant(kind, 1.4426950408889634), flags=FLAGS), magic, flags=FLAGS)
        turns = builder.fsub(shifted, magic)
        rest = builder.fsub(y, builder.fmul(turns, constant(kind, high), flags=FLAGS), flags=FLAGS)
        rest = builder.fsub(rest, builder.fmul(turns, constant(kind, low), flags=FLAGS), flags=FLAGS)
        factorial = 1.0
        coefficients = [1.0]
        for k in range(1, terms):
            factorial *= k
            coefficients.append(1.0 / factorial)
        total = constant(kind, coefficients[-1])
        for coefficient in coefficients[-2::-1]:
            total = builder.fadd(builder.fmul(total, rest, flags=FLAGS), constant(kind, coefficient), flags=FLAGS)
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
def attend(u, a, m, z, q, query, kind, share, n, d, size, sums, own_m):
    """One query's sum u = c sum_i a_i z_i; keeps m = Q z_query and the weights a, of the hidden key too."""
    own = offset(z, query * (d + 1))
    for k in range(size):
        total = q[k * size] * own[0]
        for r in range(1, size):
            total = total + q[k * size + r] * own[r]
        own_m[k] = total
        m[k] = total
    for c in range(d + 1):
        sums[c] = 0.0
    keys = n if kind == VISIBLE else n + 1
    for i in range(keys):
        score = z[i * (d + 1)] * own_m[0]
        for k in range(1, size):
            score = score + z[i * (d + 1) + k] * own_m[k]
        a[i] = score
    if kind == RELU:
        for i in range(n):
            weight = where_positive(a[i], a[i])
            a[i] = weight
            for c in range(d + 1):
                sums[c] = sums[c] + weight * z[i * (d + 1) + c]
        for c in range(d + 1):
            u[c] = sums[c] * share
    else:
        largest = larger(a[0], a[0])
        for i in range(1, keys):
            largest = larger(largest, a[i])
        total = a[0] * 0.0
        for i in range(n):
            weight = exponential(a[i] - largest)
            a[i] = weight
            total = total + weight
            for c in range(d + 1):
                sums[c] = sums[c] + weight * z[i * (d + 1) + c]
        if kind == SOFTMAX:
            a[n] = exponential(a[n] - largest)
            total = total + a[n]
        inverse = reciprocal(total)
        for i in range(keys):
            a[i] = a[i] * inverse
        for c in range(d + 1):
            u[c] = sums[c] * inverse * share


@inline
def unattend(z_bar, q_bar, a_bar, m_bar, u_bar, a, m, z, q, query, kind, n, d, size):
    """Add what one query passes back to the tokens' derivatives and to Q's; u_bar holds c times that of the sum."""
    own = offset(z, query * (d + 1))
    dot = a[0] * 0.0
    for i in range(n):
        total = u_bar[0] * z[i * (d + 1)]
        for c in range(1, d + 1):
            total = total + u_bar[c] * z[i * (d + 1) + c]
        a_bar[i] = total
        if kind != RELU:
            dot = dot + a[i] * total
    for k in range(size):
        m_bar[k] = 0.0
    for i in range(n):
        s_bar = where_positive(a[i], a_bar[i]) if kind == RELU else a[i] * (a_bar[i] - dot)
        bar = offset(z_bar, i * (d + 1))
        for k in range(size):
            m_bar[k] = m_bar[k] + s_bar * z[i * (d + 1) + k]
            bar[k] = bar[k] + a[i] * u_bar[k] + s_bar * m[k]
        if size == d:
            bar[d] = bar[d] + a[i] * u_bar[d]
    own_bar = offset(z_bar, query * (d + 1))
    if kind == SOFTMAX:
        s_bar = a[n] * (0.0 - dot)
        bar = offset(z_bar, n * (d + 1))
        for k in range(size):
            m_bar[k] = m_bar[k] + s_bar * z[n * (d + 1) + k]
            bar[k] = bar[k] + s_bar * m[k]
    for k in range(size):
        for r in range(size):
            q_bar[k * size + r] = q_bar[k * size + r] + m_bar[k] * own[r]
    for r in range(size):
        total = q[r] * m_bar[0]
        for k in range(1, size):
            total = total + q[k * size + r] * m_bar[k]
        own_bar[r] = own_bar[r] + total


@inline
def prompt_gradient(x, y, weight, theta, result, work, u_bar, m_bar, scale, inverse, back, shape):
    """Add gradients of (scale / 2) e^2 in the last `back` layers to `result`, and e^2 to its last element."""
    layers, n, d, size, heads, kind = shape
    tokens, square, wide = n + 1, size * size, d + 1
    share = 1.0 if kind == VISIBLE else inverse  # c
    all_z, z_bar = work, offset(work, layers * tokens * wide)
    new_bar = offset(z_bar, tokens * wide)
    a_bar = offset(new_bar, tokens * wide)
    kept, stride = offset(a_bar, tokens), tokens * (size + wide + 1 + tokens)  # m, u and a of every layer and head
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
            for j in range(tokens):
                sums = offset(u, j * wide)
                attend(sums, offset(a, j * tokens), offset(m, j * size), z, q, j, kind, share, n, d, size, u_bar, m_bar)
                new = offset(after, j * wide)
                for k in range(size):
                    total = new[k] + p[k * size] * sums[0]
                    for r in range(1, size):
                        total = total + p[k * size + r] * sums[r]
                    new[k] = total
                if size == d:
                    new[d] = new[d] + sums[d]
    last = layers - 1
    z = offset(all_z, last * tokens * wide)
    answer = z[n * wide + d]
    for head in range(heads):
        p = offset(theta, 2 * (last * heads + head) * square)
        m = offset(kept, (last * heads + head) * stride)
        u = offset(m, tokens * size)
        attend(u, offset(u, tokens * wide), m, z, offset(p, square), n, kind, share, n, d, size, u_bar, m_bar)
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
            if size == d:
                for c in range(d):
                    u_bar[c] = error_bar * 0.0
                u_bar[d] = error_bar * share
            else:
                for r in range(size):
                    p_bar[d * size + r] = p_bar[d * size + r] + error_bar * u[r]
                    u_bar[r] = error_bar * p[d * size + r] * share
            unattend(
                z_bar, offset(p_bar, square), a_bar, m_bar, u_bar, offset(u, tokens * wide), m, z, offset(p, square),
                n, kind, n, d, size,
            )  # fmt: skip
        for layer in range(layers - 2, max(0, layers - back) - 1, -1):
            z = offset(all_z, layer * tokens * wide)
            for i in range(tokens * wide):
                new_bar[i] = z_bar[i]
            for head in range(heads):
                place = 2 * (layer * heads + head) * square
                p, p_bar = offset(theta, place), offset(result, place)
                m = offset(kept, (layer * heads + head) * stride)
                u = offset(m, tokens * size)
                a = offset(u, tokens * wide)
                for j in range(tokens):
                    bar, sums = offset(z_bar, j * wide), offset(u, j * wide)
                    for k in range(size):
                        for r in range(size):
                            p_bar[k * size + r] = p_bar[k * size + r] + bar[k] * sums[r]
                    for r in range(size):
                        total = p[r] * bar[0]
                        for k in range(1, size):
                            total = total + p[k * size + r] * bar[k]
                        u_bar[r] = total * share
                    if size == d:
                        u_bar[d] = bar[d] * share
                    unattend(
                        new_bar, offset(p_bar, square), a_bar, m_bar, u_bar, offset(a, j * tokens),
                        offset(m, j * size), z, offset(p, square), j, kind, n, d, size,
                    )  # fmt: skip
            for i in range(tokens * wide):
                z_bar[i] = new_bar[i]


def gradient(d: int, size: int, dtype: np.dtype[Any], tangents: int) -> Piece:
    """Gradients over blocks of prompts; arguments of the piece as in ``embedded.gradient``, kind: one of KINDS."""
    wide_token = d + 1

    def piece(given, theta, sums, work, own, take, blocks, rows, count, layers, n, heads, kind, back, scale, inverse):
        u_bar, m_bar = scratch(work, wide_token), scratch(work, size)
        for i in range(count):
            sums[i] = 0.0
        for b in range(take):
            for i in range(rows):
                own[i] = given[i * blocks + b]
            y = offset(own, (n + 1) * d)
            prompt_gradient(
                own, y, own[rows - 1], theta, sums, work, u_bar, m_bar, scale, inverse, back,
                (layers, n, d, size, heads, kind),
            )  # fmt: skip

    return token_signature(dtype, tangents), piece
