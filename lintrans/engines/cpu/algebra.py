r"""The moment form, forward and backward, written once for any kind of number.

Everything here is loops over ``+ - *``, so the same source runs on a SIMD vector of prompts (CPU), on one prompt a
thread (CUDA), on NumPy rows in plain Python (``elements[i]`` is then a row of prompts: the oracle of the tests) and
on dual numbers, whose tangents are exact Hessian-vector products. :func:`specialise` compiles it for one of these.
Forward and backward stand in one long file so that each line of one can be checked against the other.

**State.** S (D x D, the context's second moments) and x (the query) in both forms. The *full* form has D = d + 1, S the
moments of (x, y) and x the query's token (x, 0). The *sparse* form has D = d and carries the row of y apart: s = S_xy
and y, the query's running response. Per layer, with sums over heads h::

    T_h = S Q_h      A = sum P_h T_h      x' = x + A x      W = S + A S      S' = W + W A^T
    sparse form too: g = sum Q_h^T s      y' = y + g.x      u = s + S g      s' = u + A u

The prediction is -y (sparse) or minus the last entry of x (full), and the datum t holds the target, so the error is
e = y + t. The **last layer** is cut down to what the prediction needs: in the sparse form g.x; in the full form, with p
the last row of P_h, the sum over h of p.(S' Q_h x'), where S' = (I + A) S (I + A)^T is applied factor by factor.
In the sparse form the **layer before it** has no use for S' either, so that A only acts on x and u, as P_h (S (Q_h .)):
two vectors instead of matrix products, and A_bar = x'_bar x^T + s'_bar u^T, of rank two, is never formed.

**Reverse.** ``Z_bar`` is the derivative of the loss with respect to Z. S is symmetric, and only the symmetric part of
its adjoint matters: ``S_bar`` here is the adjoint plus its transpose, which spares factors 1/2 and half the products.

**Memory.** Parameters and gradients lie as in ``[layers, heads, (P, Q), D, D]``; ``size`` is D. Matrices and vectors
are those of :mod:`~lintrans.engines.cpu.products`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, SimpleNamespace
from typing import Any, TypeAlias

from . import products
from .products import (
    Elements,
    Matrix,
    Tile,
    apply,
    apply_pair,
    apply_plus,
    dot,
    matrix,
    multiply,
    multiply_plus,
    multiply_symmetric,
    multiply_to,
    offset,
    outer,
    outer_pair,
    outer_three,
    transpose,
)

EVERY = 2**20
"""More layers than any model has."""

Kept: TypeAlias = tuple[Elements, ...]
Shape: TypeAlias = tuple[int, int, int, bool]
"""(layers, size, heads, sparse); all but layers should be constants where this is compiled."""


def weight(parameters: Elements, layer: int, head: int, which: int, heads: int, size: int) -> Matrix:
    """P (`which` = 0) or Q (1) of a layer and head."""
    return matrix(parameters, (layer * heads + head) * 2 + which, size)


def data_size(size: int, sparse: bool) -> int:
    """Numbers a prompt is given by: upper triangle of S, s (sparse form), x, t."""
    return size * (size + 1) // 2 + (2 if sparse else 1) * size + 1


def work_size(layers: int, size: int, heads: int) -> int:
    """Numbers of working memory that a prompt needs."""
    return layers * (2 + heads) * size * size + 4 * layers * size + 6 * size * size + (7 + 4 * heads) * size + 1


def carve(work: Elements, layers: int, size: int, heads: int) -> Kept:
    """Cut the working memory into what the forward pass keeps for the reverse pass, and the rest."""
    square = size * size
    kept_s = work  # S, T_h, A, x, s, g, u of every layer
    kept_t = offset(kept_s, layers * square)
    kept_a = offset(kept_t, layers * heads * square)
    kept_x = offset(kept_a, layers * square)
    kept_sv = offset(kept_x, layers * size)
    kept_g = offset(kept_sv, layers * size)
    kept_u = offset(kept_g, layers * size)
    last = offset(kept_u, layers * size)  # y, then four vectors of every head: see _vectors_of
    spare = offset(last, 4 * heads * size + 1)  # matrices and vectors that live within one layer
    return kept_s, kept_t, kept_a, kept_x, kept_sv, kept_g, kept_u, last, spare


# One layer after the other


def read(data: Elements, kept: Kept, size: int, sparse: bool) -> None:
    """Unpack a prompt's numbers into the state of the first layer."""
    s_matrix, x, s, last = kept[0], kept[3], kept[4], kept[7]
    place = 0
    for i in range(size):
        for j in range(i, size):
            s_matrix[i * size + j] = data[place]
            s_matrix[j * size + i] = data[place]
            place += 1
    if sparse:
        for i in range(size):
            s[i] = data[place + i]
        place += size
    for i in range(size):
        x[i] = data[place + i]
    last[0] = data[place + size]  # y = 0, so e starts at t


def forward(data: Elements, parameters: Elements, kept: Kept, tile: Tile, shape: Shape) -> Any:
    """Return the error e = t - prediction; what the reverse pass needs stays in `kept`."""
    read(data, kept, shape[1], shape[3])
    return onward(0, parameters, kept, tile, shape)


def onward(first: int, parameters: Elements, kept: Kept, tile: Tile, shape: Shape) -> Any:
    """Return the error, from the state of layer `first` on."""
    layers, size, heads, sparse = shape
    all_s, all_t, all_a, all_x, all_sv, all_g, all_u, last, spare = kept
    w = matrix(spare, 0, size)
    for layer in range(first, layers - 2 if sparse else layers - 1):
        s_matrix, a = matrix(all_s, layer, size), matrix(all_a, layer, size)
        x = offset(all_x, layer * size)
        for head in range(heads):
            t = matrix(all_t, layer * heads + head, size)
            p = weight(parameters, layer, head, 0, heads, size)
            q = weight(parameters, layer, head, 1, heads, size)
            multiply(t, s_matrix, q, tile, size)  # T_h = S Q_h
            multiply_to(a, p, t, a, head > 0, tile, size)  # A = sum P_h T_h
        apply_plus(offset(x, size), x, a, x, size)  # x' = x + A x
        if sparse:
            s, g, u = offset(all_sv, layer * size), offset(all_g, layer * size), offset(all_u, layer * size)
            gather(g, parameters, layer, s, size, heads)  # g = sum Q_h^T s
            last[0] = last[0] + dot(g, x, size)  # y' = y + g.x
            apply_plus(u, s, s_matrix, g, size)  # u = s + S g
            apply_plus(offset(s, size), u, a, u, size)  # s' = u + A u
        if layer < layers - 2:
            multiply_plus(w, s_matrix, a, s_matrix, tile, size)  # W = S + A S
            multiply_symmetric(matrix(all_s, layer + 1, size), w, w, transpose(a), tile, size)  # S' = W + W A^T
    if sparse:
        if first < layers - 1:
            _before_last_sparse(parameters, kept, shape)
        return last[0] + _last_sparse(parameters, kept, shape)
    if layers == 1:  # the last layer follows no other: as if A before it were zero
        for i in range(size * size):
            all_a[i] = 0.0
    return last[0] + _last_full(parameters, kept, shape)


def gather(g: Elements, parameters: Elements, layer: int, s: Elements, size: int, heads: int) -> None:
    """Sum over heads: g = sum Q_h^T s."""
    apply(g, transpose(weight(parameters, layer, 0, 1, heads, size)), s, size)
    for head in range(1, heads):
        apply_plus(g, g, transpose(weight(parameters, layer, head, 1, heads, size)), s, size)


def _before_last_sparse(parameters: Elements, kept: Kept, shape: Shape) -> None:
    """The layer before the last one, on vectors."""
    layers, size, heads, _ = shape
    layer = layers - 2
    s_matrix, last = matrix(kept[0], layer, size), kept[7]
    x, s = offset(kept[3], layer * size), offset(kept[4], layer * size)
    g, u = offset(kept[5], layer * size), offset(kept[6], layer * size)
    x_next, s_next = offset(x, size), offset(s, size)
    gather(g, parameters, layer, s, size, heads)  # g = sum Q_h^T s
    last[0] = last[0] + dot(g, x, size)  # y' = y + g.x
    apply_plus(u, s, s_matrix, g, size)  # u = s + S g
    for head in range(heads):
        qx, tx, qu, tu = _vectors_of(last, head, size)
        p, q = weight(parameters, layer, head, 0, heads, size), weight(parameters, layer, head, 1, heads, size)
        apply_pair(qx, qu, qx, qu, False, q, x, u, size)
        apply_pair(tx, tu, tx, tu, False, s_matrix, qx, qu, size)  # T_h x = S (Q_h x), and T_h u
        if head == 0:  # x' = x + sum P_h T_h x, s' = u + sum P_h T_h u
            apply_pair(x_next, s_next, x, u, True, p, tx, tu, size)
        else:
            apply_pair(x_next, s_next, x_next, s_next, True, p, tx, tu, size)


def _last_sparse(parameters: Elements, kept: Kept, shape: Shape) -> Any:
    """g.x of the last layer."""
    layers, size, heads, _ = shape
    start = (layers - 1) * size
    x, s, g = offset(kept[3], start), offset(kept[4], start), offset(kept[5], start)
    gather(g, parameters, layers - 1, s, size, heads)
    return dot(g, x, size)


def _last_full(parameters: Elements, kept: Kept, shape: Shape) -> Any:
    """Last entry of x' = x + sum P_h S Q_h x, with S = (I + A) S_before (I + A)^T applied factor by factor."""
    layers, size, heads, _ = shape
    before = max(layers - 2, 0)
    s_matrix, a = matrix(kept[0], before, size), matrix(kept[2], before, size)
    x = offset(kept[3], (layers - 1) * size)
    total = x[size - 1]
    for head in range(heads):
        m, r, w, v = _vectors_of(kept[7], head, size)
        apply(m, weight(parameters, layers - 1, head, 1, heads, size), x, size)  # m = Q_h x
        apply_plus(r, m, transpose(a), m, size)  # r = (I + A)^T m
        apply(w, s_matrix, r, size)  # w = S_before r
        apply_plus(v, w, a, w, size)  # v = (I + A) w
        total = total + dot(v, _last_row(parameters, layers, head, heads, size), size)
    return total


def _vectors_of(last: Elements, head: int, size: int) -> tuple[Elements, Elements, Elements, Elements]:
    """What a head keeps: Q_h x, T_h x, Q_h u, T_h u before the last layer (sparse form), m, r, w, v in it (full)."""
    first = offset(last, 1 + 4 * head * size)
    return first, offset(first, size), offset(first, 2 * size), offset(first, 3 * size)


def _last_row(parameters: Elements, layers: int, head: int, heads: int, size: int) -> Elements:
    """Last row of P_h in the last layer."""
    return offset(weight(parameters, layers - 1, head, 0, heads, size)[0], size * size - size)


def gradient(
    data: Elements,
    parameters: Elements,
    result: Elements,
    scale: Any,
    work: Elements,
    tile: Tile,
    shape: Shape,
    back: int = EVERY,
) -> None:
    """Add a prompt's gradient of (scale / 2) e^2 to `result`, and e^2 itself to the element after it.

    `back` is how many of the last layers get their gradients; with 0, e^2 alone is added, to the first element.
    """
    layers, size, heads, sparse = shape
    kept = carve(work, layers, size, heads)
    all_s, all_t, all_a, all_x, all_sv, all_g, all_u, _, spare = kept
    error = forward(data, parameters, kept, tile, shape)
    if back == 0:
        result[0] = result[0] + error * error
        return
    count = 2 * layers * heads * size * size
    result[count] = result[count] + error * error
    y_bar = error * scale

    w, w_bar, a_bar = matrix(spare, 0, size), matrix(spare, 1, size), matrix(spare, 2, size)
    s_bar, t_bar, sum_bar = matrix(spare, 3, size), matrix(spare, 4, size), matrix(spare, 5, size)
    vectors = offset(spare, 6 * size * size)
    x_bar, sv_bar, u_bar = vectors, offset(vectors, size), offset(vectors, 2 * size)
    h, t = offset(vectors, 3 * size), offset(vectors, 4 * size)

    if sparse:
        _reverse_last_sparse(parameters, result, kept, y_bar, (x_bar, sv_bar, h), shape)
        if layers > 1 and back > 1:
            _reverse_before_last(parameters, result, kept, y_bar, vectors, (s_bar, sum_bar), shape)
    else:
        _reverse_last_full(parameters, result, kept, y_bar, (x_bar, u_bar), a_bar, w_bar, shape)
        outer(a_bar, x_bar, offset(all_x, max(layers - 2, 0) * size), True, size)  # A_bar += x'_bar x^T

    first = max(0, layers - back)
    for layer in range(layers - 3 if sparse else layers - 2, first - 1, -1):
        s_matrix, a = matrix(all_s, layer, size), matrix(all_a, layer, size)
        x, s = offset(all_x, layer * size), offset(all_sv, layer * size)
        g, u = offset(all_g, layer * size), offset(all_u, layer * size)
        if layer < layers - 2:  # in the full form, the layer before the last one has A_bar from there
            multiply_plus(w_bar, s_bar, s_bar, a, tile, size)  # W_bar = S'_bar + S'_bar A
            if sparse:
                outer_pair(a_bar, x_bar, x, sv_bar, u, False, size)  # A_bar = x'_bar x^T + s'_bar u^T
            else:
                outer(a_bar, x_bar, x, False, size)  # A_bar = x'_bar x^T
            multiply_plus(a_bar, a_bar, w_bar, s_matrix, tile, size)  # A_bar += W_bar S (twice a half)
        if sparse:
            apply_plus(u_bar, sv_bar, transpose(a), sv_bar, size)  # u_bar = s'_bar + A^T s'_bar
            apply(h, s_matrix, u_bar, size)
            for i in range(size):
                h[i] = h[i] + y_bar * x[i]  # h = g_bar = S u_bar + y_bar x
        for head in range(heads):
            p, q = weight(parameters, layer, head, 0, heads, size), weight(parameters, layer, head, 1, heads, size)
            p_bar, q_bar = weight(result, layer, head, 0, heads, size), weight(result, layer, head, 1, heads, size)
            t_kept = matrix(all_t, layer * heads + head, size)
            multiply_plus(p_bar, p_bar, a_bar, transpose(t_kept), tile, size)  # P_bar += A_bar T^T
            multiply(t_bar, transpose(p), a_bar, tile, size)  # T_bar = P^T A_bar
            multiply_plus(q_bar, q_bar, s_matrix, t_bar, tile, size)  # Q_bar += S T_bar
            if sparse:
                outer(q_bar, s, h, True, size)  # Q_bar += s h^T
            if layer > first:
                multiply_to(sum_bar, t_bar, transpose(q), sum_bar, head > 0, tile, size)  # sum over h of T_bar Q^T
        if layer > first:  # the state of the last layer to be visited has no use for adjoints
            if sparse:
                scatter(sv_bar, u_bar, parameters, layer, h, size, heads)  # s_bar = u_bar + sum Q_h h
            apply_plus(t, x_bar, transpose(a), x_bar, size)  # x_bar = x'_bar + A^T x'_bar
            for i in range(size):
                x_bar[i] = t[i]
                if sparse:
                    x_bar[i] = x_bar[i] + y_bar * g[i]  # ... + y_bar g
            inner = layer < layers - 2
            _symmetrise(w, sum_bar, u_bar, g, w_bar, sparse, True, size)
            if inner:  # S_bar += A^T W_bar
                multiply_symmetric(s_bar, w, transpose(a), w_bar, tile, size)
            else:
                for i in range(size * size):
                    s_bar[0][i] = w[0][i]


def scatter(
    out: Elements, base: Elements, parameters: Elements, layer: int, h: Elements, size: int, heads: int
) -> None:
    """Out = base + sum over heads of Q_h h."""
    apply_plus(out, base, weight(parameters, layer, 0, 1, heads, size), h, size)
    for head in range(1, heads):
        apply_plus(out, out, weight(parameters, layer, head, 1, heads, size), h, size)


def _symmetrise(
    out: Matrix, a: Matrix, u: Elements, g: Elements, w_bar: Matrix, sparse: bool, inner: bool, size: int
) -> None:
    """S_bar = (A + u g^T) plus its transpose, plus W_bar's share: what reaches S other than through W."""
    for i in range(size):
        for j in range(i, size):
            total = a[0][i * size + j] + a[0][j * size + i]
            if sparse:
                total = total + u[i] * g[j] + u[j] * g[i]
            if inner:
                total = total + w_bar[0][i * size + j]
            out[0][i * size + j] = total
            out[0][j * size + i] = total


def _reverse_last_sparse(
    parameters: Elements, result: Elements, kept: Kept, y_bar: Any, vectors: Kept, shape: Shape
) -> None:
    """Reverse of y = ... + sum_h (Q_h^T s).x, to x_bar, s_bar and Q_bar."""
    layers, size, heads, _ = shape
    x_bar, sv_bar, h = vectors
    layer = layers - 1
    x, s, g = offset(kept[3], layer * size), offset(kept[4], layer * size), offset(kept[5], layer * size)
    for i in range(size):
        h[i] = y_bar * x[i]  # h = g_bar = y_bar x
        x_bar[i] = y_bar * g[i]  # x_bar = y_bar g
    apply(sv_bar, weight(parameters, layer, 0, 1, heads, size), h, size)  # s_bar = sum Q_h h
    outer(weight(result, layer, 0, 1, heads, size), s, h, True, size)  # Q_bar += s h^T
    for head in range(1, heads):
        apply_plus(sv_bar, sv_bar, weight(parameters, layer, head, 1, heads, size), h, size)
        outer(weight(result, layer, head, 1, heads, size), s, h, True, size)


def _reverse_before_last(
    parameters: Elements,
    result: Elements,
    kept: Kept,
    y_bar: Any,
    vectors: Elements,
    matrices: tuple[Matrix, Matrix],
    shape: Shape,
) -> None:
    """Reverse of :func:`_before_last_sparse`: x_bar and s_bar in place, P_bar, Q_bar, S_bar."""
    layers, size, heads, _ = shape
    layer = layers - 2
    s_bar, sum_bar = matrices
    s_matrix = matrix(kept[0], layer, size)
    x, s = offset(kept[3], layer * size), offset(kept[4], layer * size)
    g, u = offset(kept[5], layer * size), offset(kept[6], layer * size)
    x_bar, sv_bar, u_bar = vectors, offset(vectors, size), offset(vectors, 2 * size)
    h, x_new = offset(vectors, 3 * size), offset(vectors, 4 * size)
    px, ps = offset(vectors, 5 * size), offset(vectors, 6 * size)
    for head in range(heads):
        qx, tx, qu, tu = _vectors_of(kept[7], head, size)
        p, q = weight(parameters, layer, head, 0, heads, size), weight(parameters, layer, head, 1, heads, size)
        outer_pair(weight(result, layer, head, 0, heads, size), x_bar, tx, sv_bar, tu, True, size)  # P_bar += A_bar T^T
        apply_pair(px, ps, px, ps, False, transpose(p), x_bar, sv_bar, size)  # P_h^T x'_bar, P_h^T s'_bar
        apply_pair(tx, tu, tx, tu, False, s_matrix, px, ps, size)  # S P_h^T x'_bar, S P_h^T s'_bar: T_h has been used
        if layer > 0:
            outer_pair(sum_bar, px, qx, ps, qu, head > 0, size)  # sum over h of T_bar Q^T
        if head == 0:  # x'_bar + A^T x'_bar and u_bar = s'_bar + A^T s'_bar
            apply_pair(x_new, u_bar, x_bar, sv_bar, True, transpose(q), tx, tu, size)
        else:
            apply_pair(x_new, u_bar, x_new, u_bar, True, transpose(q), tx, tu, size)
    apply(h, s_matrix, u_bar, size)
    for i in range(size):
        h[i] = h[i] + y_bar * x[i]  # h = g_bar = S u_bar + y_bar x
    for head in range(heads):
        _, spx, _, sps = _vectors_of(kept[7], head, size)
        q_bar = weight(result, layer, head, 1, heads, size)
        outer_three(q_bar, spx, x, sps, u, s, h, size)  # Q_bar += S T_bar + s h^T
    if layer > 0:  # the first layer's own state has no use for adjoints
        for i in range(size):
            x_bar[i] = x_new[i] + y_bar * g[i]  # ... + y_bar g
        scatter(sv_bar, u_bar, parameters, layer, h, size, heads)  # s_bar = u_bar + sum Q_h h
        _symmetrise(s_bar, sum_bar, u_bar, g, s_bar, True, False, size)


def _reverse_last_full(
    parameters: Elements,
    result: Elements,
    kept: Kept,
    y_bar: Any,
    vectors: Kept,
    a_bar: Matrix,
    w_bar: Matrix,
    shape: Shape,
) -> None:
    """Reverse of :func:`_last_full`, to x_bar, P_bar, Q_bar, A_bar of the layer before and W_bar (share of S_bar)."""
    layers, size, heads, _ = shape
    x_bar, spare = vectors  # room for four vectors after `spare`
    before = max(layers - 2, 0)
    s_matrix, a = matrix(kept[0], before, size), matrix(kept[2], before, size)
    x = offset(kept[3], (layers - 1) * size)
    v_bar, ws_bar = spare, offset(spare, 3 * size)  # u_bar, h and t of the caller are free here
    r_bar, m_bar = offset(spare, size), offset(spare, 2 * size)
    for head in range(heads):
        m, r, w, v = _vectors_of(kept[7], head, size)
        row, row_bar = _last_row(parameters, layers, head, heads, size), _last_row(result, layers, head, heads, size)
        q = weight(parameters, layers - 1, head, 1, heads, size)
        for i in range(size):
            v_bar[i] = y_bar * row[i]  # v_bar = y_bar p
            row_bar[i] = row_bar[i] + y_bar * v[i]  # p_bar += y_bar v
        apply_plus(ws_bar, v_bar, transpose(a), v_bar, size)  # w_bar = (I + A)^T v_bar
        apply(r_bar, s_matrix, ws_bar, size)  # r_bar = S w_bar
        apply_plus(m_bar, r_bar, a, r_bar, size)  # m_bar = (I + A) r_bar
        outer(a_bar, v_bar, w, head > 0, size)  # A_bar += v_bar w^T
        outer(a_bar, m, r_bar, True, size)  # A_bar += m r_bar^T
        outer(w_bar, ws_bar, r, head > 0, size)  # S_bar += w_bar r^T, and its transpose
        outer(w_bar, r, ws_bar, True, size)
        outer(weight(result, layers - 1, head, 1, heads, size), m_bar, x, True, size)  # Q_bar += m_bar x^T
        if head == 0:
            apply(x_bar, transpose(q), m_bar, size)  # x_bar = sum Q_h^T m_bar
            x_bar[size - 1] = x_bar[size - 1] + y_bar  # ... + y_bar in the last entry
        else:
            apply_plus(x_bar, x_bar, transpose(q), m_bar, size)


def specialise(decorate: Callable[[FunctionType], Any], **replaced: Any) -> SimpleNamespace:
    """Compile the functions of this module and of ``products`` by `decorate`; they call one another's compiled form.

    Args:
        decorate: such as ``numba.njit(...)`` or ``numba.cuda.jit(device=True)``.
        **replaced: functions to use instead of some of them, by name.
    """
    namespace: dict[str, Any] = {"__name__": __name__, "__builtins__": __builtins__}
    skipped = {"specialise", *replaced}
    owners = {__name__, products.__name__}
    functions = {
        name: function
        for name, function in {**vars(products), **globals()}.items()
        if isinstance(function, FunctionType) and function.__module__ in owners
    }
    for name, function in functions.items():
        if name not in skipped:
            namespace[name] = decorate(FunctionType(function.__code__, namespace, name, function.__defaults__))
    namespace.update(replaced)
    return SimpleNamespace(**{name: namespace[name] for name in functions if name in namespace})
