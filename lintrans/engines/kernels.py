"""The compiled loops of the CPU engine: whole training steps, gradients of given prompts, losses.

**Work items.** Prompts are taken in *blocks* of as many as a SIMD value has lanes, blocks in *chunks*. An item is one
chunk of the prompts of one seed: a thread draws it into memory of its own, where it stays in the cache, and takes all
runs of the seed over it. Partial sums per (run, chunk, lane) are then added in the order of chunks. So results do not
depend on the number of threads nor on which runs go together, bit for bit, and one run alone keeps all cores busy.
Prompts beyond the batch are zero, and add exactly nothing.

Each function here makes a kernel for one shape (a closure over plain whole numbers, so that numba's cache on disk can
tell kernels apart); :mod:`lintrans.engines.compiling` compiles and caches them. Depth, context length and batch are
arguments: as constants they would save nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import get_thread_id, njit, prange, uint32

from . import algebra, draw
from .products import offset
from .vector import INLINE, OPTIONS, scratch, view

CHUNK = 120
"""Prompts in a chunk: nine chunks in a batch of 1000, so that two threads share one run's work evenly."""

TILE = 40
"""Prompts drawn at a time; divides CHUNK."""

VALUE_BYTES = 32
"""A SIMD value: one AVX2 register. Part of the arithmetic (it fixes the order of sums), so the same everywhere."""

SGD, ADAM = 0, 1

inline = njit(**INLINE)
_algebra = algebra.specialise(inline, offset=offset)
gradient, forward, carve = _algebra.gradient, _algebra.forward, _algebra.carve
draw_prompts, moments = draw.prompts, draw.moments


def lanes_of(dtype: np.dtype[Any]) -> int:
    """Prompts in a SIMD value."""
    return VALUE_BYTES // dtype.itemsize


def tile_of(size: int) -> tuple[int, int]:
    """Rows and columns of the register tile of a matrix product, which divide its size.

    Found by measurement: a row of a small matrix, 2 x 4 or 2 x 5 of a large one.
    """
    if size <= 8:
        return 1, size
    columns = next((j for j in (5, 4, 3, 2) if size % j == 0), 1)
    return (2 if size % 2 == 0 else 1), columns


@njit(**OPTIONS)
def norm_of(g):
    """(largest magnitude, norm divided by it) in float64, without overflow; (NaN, NaN) if an entry is not finite."""
    largest = 0.0
    for i in range(g.shape[0]):
        if not np.isfinite(g[i]):
            return np.nan, np.nan
        largest = max(largest, abs(float(g[i])))
    if largest == 0.0:
        return 0.0, 0.0
    total = 0.0
    for i in range(g.shape[0]):
        ratio = float(g[i]) / largest
        total += ratio * ratio
    return largest, math.sqrt(total)


@njit(**OPTIONS)
def clip_of(largest, relative, clip):
    """min(1, clip / (norm + 1e-6)), torch's rule, where norm = largest * relative may exceed float64."""
    if np.isinf(clip):
        return 1.0
    norm = largest * relative
    if np.isfinite(norm):
        return min(1.0, clip / (norm + 1e-6))
    return min(1.0, clip / largest / relative)


@njit(**OPTIONS)
def update(theta, first, second, g, factor, lr, rule, hyper, count):
    """One optimizer step with the gradient g * factor; count is 1 at a run's first. See ``lintrans.optimizers``."""
    kind = theta.dtype.type
    rate, scale = kind(lr), kind(factor)
    if rule == ADAM:
        beta1, beta2, eps = hyper[0], hyper[1], kind(hyper[2])
        grow1, keep2, grow2 = kind(1.0 - beta1), kind(beta2), kind(1.0 - beta2)
        correction1 = kind(1.0 - beta1**count)
        correction2 = kind(math.sqrt(1.0 - beta2**count))
        for i in range(theta.shape[0]):
            q = g[i] * scale
            first[i] = first[i] + grow1 * (q - first[i])
            second[i] = keep2 * second[i] + grow2 * q * q
            theta[i] -= rate * (first[i] / correction1 / (math.sqrt(second[i]) / correction2 + eps))
    else:
        momentum, grow = kind(hyper[0]), kind(1.0 - hyper[1])
        for i in range(theta.shape[0]):
            q = g[i] * scale
            first[i] = q if count == 1 else momentum * first[i] + grow * q
            theta[i] -= rate * first[i]


@njit(**OPTIONS)
def reduce(partial, result):
    """Sum partial [chunks, values, lanes] to result [values], chunks in order, then lanes in order."""
    total = partial[0]
    for c in range(1, partial.shape[0]):
        other = partial[c]
        for i in range(total.shape[0]):
            for lane in range(total.shape[1]):
                total[i, lane] += other[i, lane]
    for i in range(total.shape[0]):
        value = total[i, 0]
        for lane in range(1, total.shape[1]):
            value += total[i, lane]
        result[i] = value


def training(jit: Callable[[Any], Any], size: int, heads: int, sparse: bool, lanes: int, tangents: int) -> Any:
    """Whole steps: draw, gradient, finite check, clip, optimizer; or gradients of many batches, recorded.

    Arguments of the kernel (R runs, G parameters a run, T threads):
        theta, first, second: [R, G], changed in place.
        count, skipped, clipped, diverged: [R] int64, as in ``State``.
        order, starts, seeds: runs of seed number s are order[starts[s]:starts[s + 1]]; seeds uint32.
        lr, clip: [R] float64; rule: [R] int64; hyper: [R, 3] float64.
        rates: [steps], factors on lr; limit: skipped steps beyond which a run is diverged.
        record: [steps, R, G + 1] to receive gradients and squared errors instead of updating, or [0, R, G + 1].
        law, number1, number2, n, d, stream, step, batch: what is drawn; layers: the model's depth.
        partial [R * chunks, G + 1, lanes], result [R, G + 1], work, data, tokens, norms, lengths [T, ...]: memory.
    """
    numbers = algebra.data_size(size, sparse)
    rows, columns = tile_of(size)
    held = rows * columns

    @jit
    def kernel(
        theta, first, second, count, skipped, clipped, diverged, order, starts, seeds, lr, clip, rule, hyper, rates,
        limit, record, law, number1, number2, n, d, stream, step, batch, layers, partial, result, work, data, tokens,
        norms, lengths,
    ):  # fmt: skip
        runs, wide = theta.shape
        chunks = (batch + CHUNK - 1) // CHUNK
        scale = theta.dtype.type(2.0 / batch)
        inverse = theta.dtype.type(1.0 / n)
        recording = record.shape[0] > 0
        for k in range(rates.shape[0]):
            for item in prange(seeds.shape[0] * chunks):
                s = item // chunks
                chunk = item - s * chunks
                alive = False
                for place in range(starts[s], starts[s + 1]):
                    alive = alive or diverged[order[place]] < 0
                if alive:
                    thread = get_thread_id()
                    begin = chunk * CHUNK
                    blocks = (min(batch - begin, CHUNK) + lanes - 1) // lanes
                    own = offset(view(data, lanes, 0), thread * (CHUNK // lanes) * numbers)
                    token = offset(view(tokens, lanes, 0), thread * tokens.shape[1] * (TILE // lanes))
                    for b in range(0, blocks, TILE // lanes):
                        draw_prompts(
                            tokens[thread], norms[thread], lengths[thread], begin + b * lanes, batch, seeds[s],
                            uint32(step + k), stream, n, d, law, number1, number2,
                        )  # fmt: skip
                        for j in range(min(TILE // lanes, blocks - b)):
                            moments(
                                offset(own, (b + j) * numbers), offset(token, j), TILE // lanes, n, d, size, inverse
                            )
                    space = offset(view(work, lanes, 0), thread * (work.shape[1] // lanes))
                    tile, shape = (scratch(space, held), rows, columns), (layers, size, heads, sparse)
                    for place in range(starts[s], starts[s + 1]):
                        r = order[place]
                        if diverged[r] < 0:
                            sums = offset(view(partial, lanes, 0), (r * chunks + chunk) * (wide + 1))
                            for i in range(wide + 1):
                                sums[i] = 0.0
                            parameters = offset(view(theta, 0, 0), r * wide)
                            for b in range(blocks):
                                gradient(offset(own, b * numbers), parameters, sums, scale, space, tile, shape)
            for r in prange(runs):
                if diverged[r] < 0:
                    reduce(partial[r * chunks : (r + 1) * chunks], result[r])
                    if recording:
                        for i in range(wide + 1):
                            record[k, r, i] = result[r, i]
                    else:
                        g = result[r, :wide]
                        largest, relative = norm_of(g)
                        if not np.isfinite(largest):
                            skipped[r] += 1
                        else:
                            factor = clip_of(largest, relative, clip[r])
                            if factor < 1.0:
                                clipped[r] += 1
                            count[r] += 1
                            update(
                                theta[r], first[r], second[r], g, factor, rates[k] * lr[r], rule[r], hyper[r], count[r]
                            )
                        broken = skipped[r] > limit
                        for i in range(wide):
                            broken = broken or not np.isfinite(theta[r, i])
                        if broken:
                            diverged[r] = step + k + 1

    return kernel


def gradients(jit: Callable[[Any], Any], size: int, heads: int, sparse: bool, lanes: int, tangents: int) -> Any:
    """Gradients of runs on given prompts, with tangents: exact derivatives of gradients along directions.

    Arguments of the kernel:
        data: [sets, blocks, numbers, lanes]; chosen: [R] int64, the set of each run.
        theta: [R, G, 1 + tangents], parameters and directions.
        batch, layers: prompts in a set, depth.
        partial: [R * chunks, (G + 1) * (1 + tangents), lanes]; work: [T, ...]: memory.
        result: [R, (G + 1) * (1 + tangents)]: gradient then sum of squared errors, each with its tangents.
    """
    numbers = algebra.data_size(size, sparse)
    rows, columns = tile_of(size)
    held = rows * columns
    components = 1 + tangents

    @jit
    def kernel(data, chosen, theta, batch, layers, partial, work, result):
        runs, wide, _ = theta.shape
        all_blocks = data.shape[1]
        per = CHUNK // lanes
        chunks = (all_blocks + per - 1) // per
        scale = theta.dtype.type(2.0 / batch)
        for item in prange(runs * chunks):
            r = item // chunks
            chunk = item - r * chunks
            prompts = offset(view(data, lanes, 0), chosen[r] * all_blocks * numbers)
            parameters = offset(view(theta, 0, tangents), r * wide)
            sums = offset(view(partial, lanes, tangents), item * (wide + 1))
            space = offset(view(work, lanes, tangents), get_thread_id() * (work.shape[1] // (lanes * components)))
            tile, shape = (scratch(space, held), rows, columns), (layers, size, heads, sparse)
            for i in range(wide + 1):
                sums[i] = 0.0
            for b in range(chunk * per, min(all_blocks, (chunk + 1) * per)):
                gradient(offset(prompts, b * numbers), parameters, sums, scale, space, tile, shape)
        for r in prange(runs):
            reduce(partial[r * chunks : (r + 1) * chunks], result[r])

    return kernel


def losses(jit: Callable[[Any], Any], size: int, heads: int, sparse: bool, lanes: int, tangents: int) -> Any:
    """Mean squared errors of all runs on sets of prompts, given or drawn here.

    Arguments of the kernel:
        data: [sets, blocks, numbers, lanes], or [0, ...] to draw the sets of steps `step`, `step` + 1, ... of `seed`.
        theta: [R, G]; result: [sets, R]; partial: [sets * chunks, R, lanes].
        The rest as in :func:`training`.
    """
    numbers = algebra.data_size(size, sparse)
    rows, columns = tile_of(size)
    held = rows * columns

    @jit
    def kernel(
        data, theta, result, law, number1, number2, n, d, stream, seed, step, batch, layers, partial, work, own_data,
        tokens, norms, lengths,
    ):  # fmt: skip
        runs, wide = theta.shape
        sets = result.shape[0]
        chunks = (batch + CHUNK - 1) // CHUNK
        inverse = theta.dtype.type(1.0 / n)
        given = data.shape[0] > 0
        for item in prange(sets * chunks):
            s = item // chunks
            chunk = item - s * chunks
            thread = get_thread_id()
            begin = chunk * CHUNK
            blocks = (min(batch - begin, CHUNK) + lanes - 1) // lanes
            own = offset(view(own_data, lanes, 0), thread * (CHUNK // lanes) * numbers)
            if given:
                own = offset(view(data, lanes, 0), (s * data.shape[1] + begin // lanes) * numbers)
            else:
                token = offset(view(tokens, lanes, 0), thread * tokens.shape[1] * (TILE // lanes))
                for b in range(0, blocks, TILE // lanes):
                    draw_prompts(
                        tokens[thread], norms[thread], lengths[thread], begin + b * lanes, batch, seed,
                        uint32(step + s), stream, n, d, law, number1, number2,
                    )  # fmt: skip
                    for j in range(min(TILE // lanes, blocks - b)):
                        moments(offset(own, (b + j) * numbers), offset(token, j), TILE // lanes, n, d, size, inverse)
            space = offset(view(work, lanes, 0), thread * (work.shape[1] // lanes))
            tile, shape = (scratch(space, held), rows, columns), (layers, size, heads, sparse)
            kept = carve(space, layers, size, heads)
            sums = offset(view(partial, lanes, 0), item * runs)
            for r in range(runs):
                parameters = offset(view(theta, 0, 0), r * wide)
                sums[r] = 0.0
                for b in range(blocks):
                    error = forward(offset(own, b * numbers), parameters, kept, tile, shape)
                    sums[r] = sums[r] + error * error
        for s in prange(sets):
            reduce(partial[s * chunks : (s + 1) * chunks], result[s])
            for r in range(runs):
                result[s, r] /= batch

    return kernel


KERNELS = {"training": training, "gradients": gradients, "losses": losses}
