"""The compiled loops of the CPU engine: whole training steps, gradients of given prompts, losses.

**Work items.** Prompts are taken in *blocks* of as many as a SIMD value has lanes, blocks in *chunks*. A thread draws
a chunk of the prompts of one seed into memory of its own, where it stays in the cache, and takes all runs of the seed
over it. Partial sums per (run, chunk, lane) are then added in the order of chunks. So results do not depend on who
computes which chunk, on the number of threads nor on which runs go together, bit for bit, and one run alone keeps all
cores busy. Prompts beyond the batch are zero, and add exactly nothing.

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

CHUNK = 128
"""Prompts in a chunk, drawn at a time: eight chunks in a batch of 1000, which two threads share evenly."""

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


@njit(**OPTIONS)
def settle(
    r, gradient, theta, first, second, count, skipped, clipped, diverged, rate, clip, rule, hyper, limit, step
):  # fmt: skip
    """Finish step number `step` of run r, whose gradient is known: finite check, clip, optimizer, divergence."""
    wide = theta.shape[1]
    g = gradient[:wide]
    largest, relative = norm_of(g)
    if not np.isfinite(largest):
        skipped[r] += 1
    else:
        factor = clip_of(largest, relative, clip[r])
        if factor < 1.0:
            clipped[r] += 1
        count[r] += 1
        update(theta[r], first[r], second[r], g, factor, rate, rule[r], hyper[r], count[r])
    broken = skipped[r] > limit
    for i in range(wide):
        broken = broken or not np.isfinite(theta[r, i])
    if broken:
        diverged[r] = step


def training(jit: Callable[[Any], Any], size: int, heads: int, sparse: bool, lanes: int, tangents: int) -> Any:
    """Whole steps: draw, gradient, finite check, clip, optimizer; or gradients of many batches, recorded.

    Threads take whole seeds through all steps as far as seeds can be dealt out evenly: seeds have nothing to do with
    one another, so no thread waits. The chunks of the seeds that are left over are shared step by step. Recorded
    batches do not depend on one another either, and are dealt out one by one.

    Arguments of the kernel (R runs, G parameters a run, T threads):
        theta, first, second: [R, G], changed in place.
        count, skipped, clipped, diverged: [R] int64, as in ``State``.
        order, starts, seeds: runs of seed number s are order[starts[s]:starts[s + 1]]; seeds uint32.
        lr, clip: [R] float64; rule: [R] int64; hyper: [R, 3] float64.
        rates: [steps], factors on lr; limit: skipped steps beyond which a run is diverged.
        record: [steps, R, G + 1] to receive gradients and squared errors instead of updating, or [0, R, G + 1].
        law, number1, number2, n, d, stream, step, batch: what is drawn; layers: the model's depth.
        partial [R * chunks, G + 1, lanes] (T times as many rows to record), result [R, G + 1], work, data, tokens,
        norms, lengths [T, ...]: memory.
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
        steps = rates.shape[0]
        chunks = (batch + CHUNK - 1) // CHUNK
        scale = theta.dtype.type(2.0 / batch)
        inverse = theta.dtype.type(1.0 / n)
        recording = record.shape[0] > 0
        dealt = 0 if recording else seeds.shape[0] - seeds.shape[0] % tokens.shape[0]
        left = seeds.shape[0] - dealt
        for phase in range(2):
            if recording:
                spans, items = 1 - phase, steps
            elif phase == 0:
                spans, items = min(dealt, 1), dealt
            else:
                spans, items = (steps if left > 0 else 0), left * chunks
            for span in range(spans):
                for item in prange(items):
                    k0, k1, s0, s1, c0, c1 = 0, steps, item, item + 1, 0, chunks
                    if recording:
                        k0, k1, s0, s1 = item, item + 1, 0, seeds.shape[0]
                    elif phase == 1:
                        k0, k1, s0 = span, span + 1, dealt + item // chunks
                        s1, c0 = s0 + 1, item % chunks
                        c1 = c0 + 1
                    thread = get_thread_id()
                    above = thread * runs * chunks if recording else 0
                    data0 = offset(view(data, lanes, 0), thread * (CHUNK // lanes) * numbers)
                    token = offset(view(tokens, lanes, 0), thread * tokens.shape[1] * (CHUNK // lanes))
                    space = offset(view(work, lanes, 0), thread * (work.shape[1] // lanes))
                    tile, shape = (scratch(space, held), rows, columns), (layers, size, heads, sparse)
                    for k in range(k0, k1):
                        for s in range(s0, s1):
                            alive = False
                            for place in range(starts[s], starts[s + 1]):
                                alive = alive or diverged[order[place]] < 0
                            if alive:
                                for chunk in range(c0, c1):
                                    begin = chunk * CHUNK
                                    blocks = (min(batch - begin, CHUNK) + lanes - 1) // lanes
                                    draw_prompts(
                                        tokens[thread], norms[thread], lengths[thread], blocks * lanes, begin, batch,
                                        seeds[s], uint32(step + k), stream, n, d, law, number1, number2,
                                    )  # fmt: skip
                                    for b in range(blocks):
                                        block = offset(data0, b * numbers)
                                        moments(block, offset(token, b), CHUNK // lanes, n, d, size, inverse)
                                    for place in range(starts[s], starts[s + 1]):
                                        r = order[place]
                                        if diverged[r] < 0:
                                            row = (above + r * chunks + chunk) * (wide + 1)
                                            sums = offset(view(partial, lanes, 0), row)
                                            for i in range(wide + 1):
                                                sums[i] = 0.0
                                            parameters = offset(view(theta, 0, 0), r * wide)
                                            for b in range(blocks):
                                                block = offset(data0, b * numbers)
                                                gradient(block, parameters, sums, scale, space, tile, shape)
                            if phase == 0:
                                for place in range(starts[s], starts[s + 1]):
                                    r = order[place]
                                    own = partial[above + r * chunks : above + (r + 1) * chunks]
                                    if recording:
                                        reduce(own, record[k, r])
                                    elif diverged[r] < 0:
                                        reduce(own, result[r])
                                        settle(
                                            r, result[r], theta, first, second, count, skipped, clipped, diverged,
                                            rates[k] * lr[r], clip, rule, hyper, limit, step + k + 1,
                                        )  # fmt: skip
                if phase == 1:
                    for place in range(starts[dealt], starts[seeds.shape[0]]):
                        r = order[place]
                        if diverged[r] < 0:
                            reduce(partial[r * chunks : (r + 1) * chunks], result[r])
                            settle(
                                r, result[r], theta, first, second, count, skipped, clipped, diverged,
                                rates[span] * lr[r], clip, rule, hyper, limit, step + span + 1,
                            )  # fmt: skip

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
                token = offset(view(tokens, lanes, 0), thread * tokens.shape[1] * (CHUNK // lanes))
                draw_prompts(
                    tokens[thread], norms[thread], lengths[thread], blocks * lanes, begin, batch, seed,
                    uint32(step + s), stream, n, d, law, number1, number2,
                )  # fmt: skip
                for b in range(blocks):
                    moments(offset(own, b * numbers), offset(token, b), CHUNK // lanes, n, d, size, inverse)
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
