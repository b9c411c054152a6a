r"""The Hessian's diagonal in the moment form, by jets a + b e + c e^2 that start at the layer of an entry.

An entry of a layer moves that layer's A = sum P_h S Q_h by a matrix of rank one, e p t^T: p is a unit vector and t a
row of S Q_h for an entry of P_h, p a column of P_h S and t a unit vector for one of Q_h, which in the sparse form also
moves g by e s_i t. With M = I + A and r = M S t the next state is, to second order and exactly::

    x' = ... + e p (t.x)      S' = ... + e (p r^T + r p^T) + e^2 p p^T (t.S t)
    y' = ... + e s_i (t.x)    s' = ... + e (p (t.u) + s_i r) + e^2 s_i p (t.S t)

From there the algebra runs on jets; parameters of later layers are plain numbers. The error a + b e + c e^2 of a prompt
contributes b^2 + 2 a c to half of the entry of the sum of squares. It is linear in the entries of the last layer.
"""

from __future__ import annotations

from . import algebra
from .products import offset
from .vector import flat, inline, registers

_algebra = algebra.specialise(inline, offset=offset, registers=registers)
carve, work_size, forward, onward, weight = (
    _algebra.carve, _algebra.work_size, _algebra.forward, _algebra.onward, _algebra.weight,
)  # fmt: skip
apply, dot, matrix, multiply, multiply_to, multiply_plus, transpose = (
    _algebra.apply, _algebra.dot, _algebra.matrix, _algebra.multiply, _algebra.multiply_to, _algebra.multiply_plus,
    _algebra.transpose,
)  # fmt: skip
_reverse_last_sparse, _reverse_last_full = _algebra._reverse_last_sparse, _algebra._reverse_last_full
WORK = 4
"""Working memory in units of the algebra's: jets, and plain values."""


@inline
def diagonal(data, parameters, sums, single, scale, work, tile, jet_tile, shape):
    """Add the diagonal of a prompt's Hessian of (scale / 2) e^2 to `sums` [G + 1], then e^2.

    With `single`, add its trace to the first element of `sums`, and e^2 to element number `single`.

    Arguments as in ``algebra.gradient``, but `work` points to jets, for which `jet_tile` is.
    """
    layers, size, heads, sparse = shape
    room = flat(work)
    kept = carve(offset(room, 3 * work_size(layers, size, heads)), layers, size, heads)
    error = forward(data, parameters, kept, tile, shape)
    square = size * size
    count = 2 * layers * heads * square
    last = single if single > 0 else count
    sums[last] = sums[last] + error * error
    spare = kept[8]
    vectors = offset(spare, 6 * square)

    first = count - 2 * heads * square
    for i in range(first, count):
        room[i] = 0.0
    if sparse:
        h = vectors, offset(vectors, size), offset(vectors, 2 * size)
        _reverse_last_sparse(parameters, room, kept, 1.0, h, shape)
    else:
        two = vectors, offset(vectors, size)
        _reverse_last_full(parameters, room, kept, 1.0, two, matrix(spare, 2, size), matrix(spare, 1, size), shape)
    for i in range(first, count):
        place = 0 if single > 0 else i
        sums[place] = sums[place] + room[i] * room[i] * scale

    jets = carve(work, layers, size, heads)
    out = offset(jets[8], 6 * square)
    eye, t_all, ps = matrix(spare, 1, size), matrix(spare, 2, size), matrix(spare, 3, size)
    a, ms = matrix(spare, 4, size), matrix(spare, 5, size)
    p, t, r, st = vectors, offset(vectors, size), offset(vectors, 2 * size), offset(vectors, 3 * size)
    for i in range(square):
        eye[0][i] = 0.0
    for i in range(size):
        eye[0][i * size + i] = 1.0
    for layer in range(layers - 1):
        s_matrix, x = matrix(kept[0], layer, size), offset(kept[3], layer * size)
        s, u = offset(kept[4], layer * size), offset(kept[6], layer * size)
        inner = layer < layers - 2
        next_s, next_x = flat(offset(jets[0], (layer + 1) * square)), flat(offset(jets[3], (layer + 1) * size))
        next_sv, now_a = flat(offset(jets[4], (layer + 1) * size)), flat(offset(jets[2], layer * square))
        y = flat(jets[7])
        for head in range(heads):  # A, which the layer before the last one does not keep
            multiply(t_all, s_matrix, weight(parameters, layer, head, 1, heads, size), tile, size)
            multiply_to(a, weight(parameters, layer, head, 0, heads, size), t_all, a, head > 0, tile, size)
        multiply_plus(ms, s_matrix, a, s_matrix, tile, size)  # M S
        for i in range(size):
            next_x[3 * i] = kept[3][(layer + 1) * size + i]
            next_x[3 * i + 2] = 0.0
            if sparse:
                next_sv[3 * i] = kept[4][(layer + 1) * size + i]
        for i in range(square):
            if inner:
                next_s[3 * i] = kept[0][(layer + 1) * square + i]
            elif not sparse:  # the last layer takes S and A apart
                now_s = flat(offset(jets[0], layer * square))
                now_s[3 * i] = s_matrix[0][i]
                now_s[3 * i + 1] = 0.0
                now_s[3 * i + 2] = 0.0
                now_a[3 * i] = a[0][i]
                now_a[3 * i + 2] = 0.0
        for head in range(heads):
            multiply(t_all, s_matrix, weight(parameters, layer, head, 1, heads, size), tile, size)
            multiply(ps, weight(parameters, layer, head, 0, heads, size), s_matrix, tile, size)
            for which in range(2):
                p_rows, t_rows = eye, t_all
                if which == 1:
                    p_rows, t_rows = transpose(ps), eye
                for j in range(size):
                    for k in range(size):
                        t[k] = t_rows[0][j * t_rows[1] + k * t_rows[2]]
                    apply(r, ms, t, size)
                    apply(st, s_matrix, t, size)
                    tst, tx, tu = dot(t, st, size), dot(t, x, size), dot(t, u, size)
                    for i in range(size):
                        for k in range(size):
                            p[k] = p_rows[0][i * p_rows[1] + k * p_rows[2]]
                        y[0] = 0.0  # errors are known: of jets only b and c are used
                        y[1] = 0.0
                        y[2] = 0.0
                        for k in range(size):
                            next_x[3 * k + 1] = p[k] * tx
                        if sparse:
                            for k in range(size):
                                next_sv[3 * k + 1] = p[k] * tu
                                next_sv[3 * k + 2] = 0.0
                            if which == 1:
                                y[1] = s[i] * tx
                                for k in range(size):
                                    next_sv[3 * k + 1] = next_sv[3 * k + 1] + s[i] * r[k]
                                    next_sv[3 * k + 2] = s[i] * tst * p[k]
                        for k in range(size):
                            scaled = p[k] * tst
                            for m in range(size):
                                if inner:
                                    next_s[3 * (k * size + m) + 1] = p[k] * r[m] + r[k] * p[m]
                                    next_s[3 * (k * size + m) + 2] = scaled * p[m]
                                elif not sparse:
                                    now_a[3 * (k * size + m) + 1] = p[k] * t[m]
                        out[0] = onward(layer + 1, parameters, jets, jet_tile, shape)
                        b, c = flat(out)[1], flat(out)[2]
                        place = 0 if single > 0 else ((layer * heads + head) * 2 + which) * square + i * size + j
                        sums[place] = sums[place] + (b * b + error * c + error * c) * scale
