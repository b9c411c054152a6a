r"""Compiled gradients of a linear Transformer behind a trained ReLU network, with tangents for Hessian-vector products.

The network turns the covariates x_i of all n + 1 tokens into e_i = W2 relu(W1 x_i + b1) + b2; the full form of
:mod:`.algebra` then acts on the second moments of z_i = (e_i, y_i). That module's kernels differentiate
in P and Q alone, with the moments given. Here the derivative goes on through the moments and the network. Per layer,
with ``Z_bar`` the derivative of the loss in Z and ``S_bar`` the adjoint of S plus its transpose::

    T = S Q      A = P T      x' = x + A x      W = S + A S      S' = W + W A^T
    last layer: m = Q x      v = S m      minus the prediction: the last entry of x + P v

    A_bar = S'_bar W + x'_bar x^T      T_bar = P^T A_bar      P_bar += A_bar T^T      Q_bar += S T_bar
    S_bar = (I + A)^T S'_bar (I + A) + T_bar Q^T + Q T_bar^T      x_bar = (I + A)^T x'_bar

and S = (1/n) sum z_i z_i^T gives z_i_bar = (1/n) S_bar z_i. Prompts are taken as in :mod:`.kernels`: as
many side by side as a SIMD value has lanes, in chunks whose sums are added in a fixed order, so that results depend
neither on the number of threads nor on which runs go together. Prompts beyond the batch count with weight zero.

Parameters of a run lie as W1 [hidden, d], b1, W2 [d, hidden], b2, then P and Q of each layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import from_dtype, get_thread_id, prange, types
from numba.extending import intrinsic

from . import algebra
from .draw import normal
from .products import offset
from .shape_kernels import Piece, elements, tile_of
from .vector import Value, component_type, components, inline, pack, registers, scratch, view

TILE = 40
"""Prompts drawn at a time."""


_compiled = algebra.specialise(inline, offset=offset, registers=registers)
matrix, transpose, outer, dot = _compiled.matrix, _compiled.transpose, _compiled.outer, _compiled.dot
apply, apply_plus, multiply = _compiled.apply, _compiled.apply_plus, _compiled.multiply
multiply_plus, multiply_symmetric = _compiled.multiply_plus, _compiled.multiply_symmetric
normals = normal.normals


def rows_of(n: int, d: int) -> int:
    """Numbers a prompt is given by: covariates of n + 1 tokens, n + 1 responses, its weight."""
    return (n + 1) * (d + 1) + 1


def work_size(layers: int, n: int, d: int, hidden: int) -> int:
    """Numbers of working memory that a prompt needs."""
    size = d + 1
    return (n + 1) * (hidden + size) + layers * (4 * size * size + size) + 6 * size * size + 6 * size


@intrinsic
def where_positive(typing, test, value):
    """Keep `value` in the lanes where `test` is positive, zero elsewhere: relu(a) is that of (a, a)."""
    if not (isinstance(test, Value) and isinstance(value, Value)):
        return None

    def generate(context, builder, sig, args):
        kind = sig.args[1]
        zero = ir.Constant(component_type(kind), None)
        positive = builder.fcmp_unordered(">", components(context, builder, args[0], sig.args[0], kind)[0], zero)
        parts = components(context, builder, args[1], kind, kind)
        return pack(builder, [builder.select(positive, part, zero) for part in parts], kind)

    return value(test, value), generate


@inline
def embed(z, h, x, y, theta, sums, n, d, hidden):
    """z_i = (W2 relu(W1 x_i + b1) + b2, y_i) of all tokens, the query's y hidden; h keeps the relus."""
    tokens = n + 1
    even = tokens - tokens % 2
    for token in range(0, even, 2):  # two at a time: the network's weights are loaded once for both
        embed_few(z, h, x, theta, sums, token, 2, d, hidden)
    if even < tokens:
        embed_few(z, h, x, theta, sums, even, 1, d, hidden)
    for token in range(n):
        z[token * (d + 1) + d] = y[token]
    z[n * (d + 1) + d] = 0.0


@inline
def embed_few(z, h, x, theta, sums, first, together, d, hidden):
    """Outputs for `together` tokens, one or two."""
    b1, w2 = offset(theta, hidden * d), offset(theta, hidden * (d + 1))
    b2 = offset(w2, hidden * d)
    own, kept, afters = offset(x, first * d), offset(h, first * hidden), offset(sums, together * d)
    for w in range(together):
        for k in range(d):
            sums[w * d + k] = b2[k]
    for j in range(hidden):
        for w in range(together):
            afters[w] = b1[j] + theta[j * d] * own[w * d]
        for m in range(1, d):
            for w in range(together):
                afters[w] = afters[w] + theta[j * d + m] * own[w * d + m]
        for w in range(together):
            afters[w] = where_positive(afters[w], afters[w])
        for w in range(together):
            kept[w * hidden + j] = afters[w]
        for k in range(d):
            for w in range(together):
                sums[w * d + k] = sums[w * d + k] + w2[k * hidden + j] * afters[w]
    for w in range(together):
        for k in range(d):
            z[(first + w) * (d + 1) + k] = sums[w * d + k]


@inline
def second_moments(s, z, n, size, inverse):
    """S = (1/n) sum over the context of z z^T."""
    for a in range(size):
        for b in range(a, size):
            total = z[a] * z[b]
            for i in range(1, n):
                total = total + z[i * size + a] * z[i * size + b]
            s[a * size + b] = total * inverse
            s[b * size + a] = total * inverse


@inline
def unembed(result, z_bar, h, x, theta, sums, n, d, hidden):
    """Add the network's gradients to `result`, from the derivatives [n + 1, d + 1] in its outputs."""
    size = d + 1
    w2 = offset(theta, hidden * size)
    b1_bar, w2_bar = offset(result, hidden * d), offset(result, hidden * size)
    b2_bar = offset(w2_bar, hidden * d)
    for j in range(hidden):
        for m in range(2 * d + 1):
            sums[m] = 0.0  # W1_bar, b1_bar, W2_bar of this unit
        for token in range(n + 1):
            bar, own, after = offset(z_bar, token * size), offset(x, token * d), h[token * hidden + j]
            before_bar = w2[j] * bar[0]
            for k in range(1, d):
                before_bar = before_bar + w2[k * hidden + j] * bar[k]
            before_bar = where_positive(after, before_bar)
            for m in range(d):
                sums[m] = sums[m] + before_bar * own[m]
            sums[d] = sums[d] + before_bar
            for k in range(d):
                sums[size + k] = sums[size + k] + bar[k] * after
        for m in range(d):
            result[j * d + m] = result[j * d + m] + sums[m]
        b1_bar[j] = b1_bar[j] + sums[d]
        for k in range(d):
            w2_bar[k * hidden + j] = w2_bar[k * hidden + j] + sums[size + k]
    for k in range(d):
        for token in range(n + 1):
            b2_bar[k] = b2_bar[k] + z_bar[token * size + k]


@inline
def layer_of(layers, layer, size):
    """Matrices S, T, A, W and vector x that one layer keeps."""
    own = offset(layers, layer * (4 * size * size + size))
    x = offset(own, 4 * size * size)
    return matrix(own, 0, size), matrix(own, 1, size), matrix(own, 2, size), matrix(own, 3, size), x


@inline
def forward(kept, weights, vectors, tile, layers, size):
    """Minus the prediction; layers keep their state, and `vectors` begins with m = Q x and v = S m of the last."""
    for layer in range(layers - 1):
        s, t, a, w, x = layer_of(kept, layer, size)
        s_next, _, _, _, x_next = layer_of(kept, layer + 1, size)
        multiply(t, s, matrix(weights, 2 * layer + 1, size), tile, size)
        multiply(a, matrix(weights, 2 * layer, size), t, tile, size)
        apply_plus(x_next, x, a, x, size)
        multiply_plus(w, s, a, s, tile, size)
        multiply_symmetric(s_next, w, w, transpose(a), tile, size)
    s, _, _, _, x = layer_of(kept, layers - 1, size)
    m, v = vectors, offset(vectors, size)
    apply(m, matrix(weights, 2 * layers - 1, size), x, size)
    apply(v, s, m, size)
    return x[size - 1] + dot(v, last_row(weights, layers, size), size)


@inline
def last_row(weights, layers, size):
    """Last row of the last layer's P."""
    return offset(weights, (2 * layers - 1) * size * size - size)


@inline
def backward(bars, kept, weights, vectors, spare, error_bar, tile, layers, size, back):
    """Add gradients in P and Q of the last `back` layers to `bars`.

    Where `back` is larger than their number, leave S_bar in the first spare matrix and x_bar in the third vector.
    """
    m, v, x_bar = vectors, offset(vectors, size), offset(vectors, 2 * size)
    m_bar, v_bar = offset(vectors, 3 * size), offset(vectors, 4 * size)
    s, _, _, _, x = layer_of(kept, layers - 1, size)
    row, row_bar = last_row(weights, layers, size), last_row(bars, layers, size)
    for i in range(size):
        row_bar[i] = row_bar[i] + error_bar * v[i]
        v_bar[i] = error_bar * row[i]
    apply(m_bar, s, v_bar, size)
    outer(matrix(bars, 2 * layers - 1, size), m_bar, x, True, size)
    apply(x_bar, transpose(matrix(weights, 2 * layers - 1, size)), m_bar, size)
    x_bar[size - 1] = x_bar[size - 1] + error_bar
    s_bar, a_bar, w_bar = matrix(spare, 0, size), matrix(spare, 1, size), matrix(spare, 2, size)
    t_bar, sum_bar, both = matrix(spare, 3, size), matrix(spare, 4, size), matrix(spare, 5, size)
    outer(s_bar, v_bar, m, False, size)
    outer(s_bar, m, v_bar, True, size)
    for layer in range(layers - 2, max(0, layers - back) - 1, -1):
        s, t, a, w, x = layer_of(kept, layer, size)
        p, q = matrix(weights, 2 * layer, size), matrix(weights, 2 * layer + 1, size)
        p_bar, q_bar = matrix(bars, 2 * layer, size), matrix(bars, 2 * layer + 1, size)
        outer(a_bar, x_bar, x, False, size)
        multiply_plus(a_bar, a_bar, s_bar, w, tile, size)
        multiply_plus(p_bar, p_bar, a_bar, transpose(t), tile, size)
        multiply(t_bar, transpose(p), a_bar, tile, size)
        multiply_plus(q_bar, q_bar, s, t_bar, tile, size)
        if layer > layers - back:  # there is more to come
            multiply(sum_bar, t_bar, transpose(q), tile, size)
            multiply_plus(w_bar, s_bar, s_bar, a, tile, size)  # S'_bar (I + A)
            for i in range(size):
                for j in range(size):
                    total = sum_bar[0][i * size + j] + sum_bar[0][j * size + i]
                    both[0][i * size + j] = total + w_bar[0][i * size + j]
            multiply_symmetric(s_bar, both, transpose(a), w_bar, tile, size)
            apply_plus(v_bar, x_bar, transpose(a), x_bar, size)
            for i in range(size):
                x_bar[i] = v_bar[i]


@inline
def prompt_gradient(x, y, weight, theta, result, work, sums, tile, scale, inverse, back, layers, n, d, hidden):
    """Add a block's gradients of (scale / 2) e^2 to `result`, and e^2 itself to its last element; see `gradient`."""
    size = d + 1
    network = hidden * (2 * d + 1) + d
    h, z = work, offset(work, (n + 1) * hidden)
    kept = offset(z, (n + 1) * size)
    spare = offset(kept, layers * (4 * size * size + size))
    vectors = offset(spare, 6 * size * size)
    weights, bars = offset(theta, network), offset(result, network)
    embed(z, h, x, y, theta, sums, n, d, hidden)
    s, _, _, _, query = layer_of(kept, 0, size)
    second_moments(s[0], z, n, size, inverse)
    for k in range(size):
        query[k] = z[n * size + k]
    error = weight * (y[n] + forward(kept, weights, vectors, tile, layers, size))
    count = network + 2 * layers * size * size
    result[count] = result[count] + error * error
    if back > 0:
        backward(bars, kept, weights, vectors, spare, error * scale, tile, layers, size, back)
    if back > layers:
        x_bar, product = offset(vectors, 2 * size), offset(vectors, 3 * size)
        for token in range(n):  # z_bar = (1/n) S_bar z, in the place of z
            apply(product, matrix(spare, 0, size), offset(z, token * size), size)
            for k in range(size):
                z[token * size + k] = product[k] * inverse
        for k in range(size):
            z[n * size + k] = x_bar[k]
        unembed(result, z, h, x, theta, sums, n, d, hidden)


def token_signature(dtype: np.dtype[Any], tangents: int) -> Any:
    """Numba's signature of the pieces that differentiate on tokens; see :func:`gradient` for the arguments."""
    dual, values, real = elements(dtype, tangents), elements(dtype), from_dtype(dtype)
    return types.void(values, elements(dtype, tangents, 0), dual, dual, values, *[types.int64] * 9, real, real)


def gradient(d: int, hidden: int, dtype: np.dtype[Any], tangents: int) -> Piece:
    """Gradient of (scale / 2) e^2, summed over blocks, then the sum of e^2: `sums` [count], each with its tangents.

    Arguments of the piece:
        given: [rows, blocks], rows as in :func:`rows_of`, of which the first `take` blocks are meant.
        theta [count - 1] (plain, with tangents), sums, work, own [rows]: parameters, result, memory.
        take, blocks, rows, count, layers, n, heads, kind: as above; heads and kind are for another model.
        back: how many of the last parts get gradients, of which the network is the first and each layer another; 0 for
            squared errors alone, in the last of `sums`; scale; inverse: 1 / n.
    """
    size = d + 1
    rows_of_tile, columns = tile_of(size, tangents)
    held, accumulators = rows_of_tile * columns, 2 * d + 2

    def piece(given, theta, sums, work, own, take, blocks, rows, count, layers, n, heads, kind, back, scale, inverse):
        tile = (scratch(work, held), rows_of_tile, columns)
        unit = scratch(work, accumulators)
        for i in range(count):
            sums[i] = 0.0
        for b in range(take):
            for i in range(rows):
                own[i] = given[i * blocks + b]
            y = offset(own, (n + 1) * d)
            prompt_gradient(
                own, y, own[rows - 1], theta, sums, work, unit, tile, scale, inverse, back, layers, n, d, hidden
            )

    return token_signature(dtype, tangents), piece


def prompts(jit: Callable[[Any], Any], d: int, hidden: int, lanes: int) -> Any:
    """Draw prompts of :class:`~lintrans.models.embedded.FeatureRegression`, whose fixed network has `hidden` units.

    Arguments of the kernel (T threads):
        out: [sets, rows, blocks * lanes] to receive the prompts of (seeds[s], steps[s]), uint32.
        stream, batch, n: what is drawn; network: parameters of the fixed network.
        tokens [T, rows, TILE], work [T, ...]: memory.
    """
    accumulators = 2 * d + 2
    per = TILE // lanes

    @jit
    def kernel(out, seeds, steps, stream, batch, n, network, tokens, work):
        sets, rows, padded = out.shape
        blocks = padded // lanes
        tiles = (padded + TILE - 1) // TILE
        for item in prange(sets * tiles):
            s = item // tiles
            tile = item - s * tiles
            thread = get_thread_id()
            normals(tokens[thread], TILE, tile * TILE, seeds[s], steps[s], stream, 0)
            weights = view(network, 0, 0)
            x = offset(view(work, lanes, 0), thread * (work.shape[1] // lanes))
            h = offset(x, (n + 1) * d)
            z = offset(h, (n + 1) * hidden)
            unit = scratch(x, accumulators)
            for b in range(tile * per, min(blocks, (tile + 1) * per)):
                drawn = offset(view(tokens, lanes, 0), thread * tokens.shape[1] * per + b - tile * per)
                given = offset(view(out, lanes, 0), s * rows * blocks + b)
                for i in range((n + 1) * d):
                    x[i] = drawn[i * per]
                    given[i * blocks] = x[i]
                embed(z, h, x, x, weights, unit, n, d, hidden)  # the responses that it puts beside are not used
                teacher, y = offset(drawn, (n + 1) * d * per), offset(given, (n + 1) * d * blocks)
                for token in range(n + 1):
                    total = z[token * (d + 1)] * teacher[0]
                    for k in range(1, d):
                        total = total + z[token * (d + 1) + k] * teacher[k * per]
                    y[token * blocks] = total
            for p in range(tile * TILE, min(padded, (tile + 1) * TILE)):
                out[s, rows - 1, p] = 1.0 if p < batch else 0.0

    return kernel
