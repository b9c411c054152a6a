"""The compiled loops of the CPU engine: whole training steps, gradients of given prompts, losses.

**Work items.** Prompts are taken in *blocks* of as many as a SIMD value has lanes, blocks in *chunks*. A thread draws
a chunk of the prompts of one seed into memory of its own, where it stays in the cache, and takes all runs of the seed
over it. Partial sums per (run, chunk, lane) are then added in the order of chunks. So results do not depend on who
computes which chunk, on the number of threads nor on which runs go together, bit for bit, and one run alone keeps all
cores busy. Prompts beyond the batch are zero, and add exactly nothing.

Kernels are compiled once for each dtype: what depends on the shape of a model, they call by address (the arguments
named after :mod:`lintrans.engines.pieces`). :mod:`lintrans.engines.compiling` compiles and caches both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import get_thread_id, njit, prange

from .laws import FACTOR
from .pieces import CHUNK, PITCH, call
from .products import offset
from .vector import OPTIONS, view

SGD, ADAM = 0, 1


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
def propose(new, theta, first, second, g, factor, lr, rule, hyper, count):
    """Write to new [3, G] what one optimizer step with the gradient g * factor makes of parameters and moments.

    Count is 1 at a run's first step. See ``lintrans.optimizers``.
    """
    kind = theta.dtype.type
    rate, scale = kind(lr), kind(factor)
    if rule == ADAM:
        beta1, beta2, eps = hyper[0], hyper[1], kind(hyper[2])
        grow1, keep2, grow2 = kind(1.0 - beta1), kind(beta2), kind(1.0 - beta2)
        correction1 = kind(1.0 - beta1**count)
        correction2 = kind(math.sqrt(1.0 - beta2**count))
        for i in range(theta.shape[0]):
            q = g[i] * scale
            new[1, i] = first[i] + grow1 * (q - first[i])
            new[2, i] = keep2 * second[i] + grow2 * q * q
            ratio = new[1, i] / correction1 / (math.sqrt(new[2, i]) / correction2 + eps)
            new[0, i] = theta[i] - rate * (ratio if new[1, i] != 0 else kind(0))  # 0/0 is 0
    else:
        momentum, grow = kind(hyper[0]), kind(1.0 - hyper[1])
        for i in range(theta.shape[0]):
            q = g[i] * scale
            new[1, i] = q if count == 1 else momentum * first[i] + grow * q
            new[2, i] = second[i]
            new[0, i] = theta[i] - rate * new[1, i]


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
    r, gradient, theta, first, second, count, skipped, clipped, diverged, rate, clip, rule, hyper, limit, step, new
):  # fmt: skip
    """Finish step number `step` of run r, whose gradient is known: finite checks, clip, optimizer, divergence."""
    wide = theta.shape[1]
    g = gradient[:wide]
    largest, relative = norm_of(g)
    moves = np.isfinite(largest)
    if moves:
        factor = clip_of(largest, relative, clip[r])
        propose(new[r], theta[r], first[r], second[r], g, factor, rate, rule[r], hyper[r], count[r] + 1)
        finite, moments = True, True
        for i in range(wide):
            finite = finite and np.isfinite(new[r, 0, i])
            moments = moments and np.isfinite(new[r, 1, i]) and np.isfinite(new[r, 2, i])
        moves = moments or not finite  # infinite moments would stop finite parameters for ever, unseen
    if moves:
        clipped[r] += factor < 1.0
        count[r] += 1
        for i in range(wide):
            theta[r, i], first[r, i], second[r, i] = new[r, 0, i], new[r, 1, i], new[r, 2, i]
    else:
        skipped[r] += 1
    broken = skipped[r] > limit
    for i in range(wide):
        broken = broken or not np.isfinite(theta[r, i])
    if broken:
        diverged[r] = step


def training(jit: Callable[[Any], Any]) -> Any:
    """Whole steps: draw, gradient, finite check, clip, optimizer; or gradients of many batches, recorded.

    Threads take whole seeds through all steps as far as seeds can be dealt out evenly: seeds have nothing to do with
    one another, so no thread waits. The chunks of the seeds that are left over are shared step by step. Recorded
    batches do not depend on one another either, and are dealt out one by one.

    Arguments of the kernel (R runs, G parameters a run, T threads):
        prompts, moments, gradient: pieces.
        theta, first, second: [R, G], changed in place.
        count, skipped, clipped, diverged: [R] int64, as in ``State``.
        order, starts, seeds: runs of seed number s are order[starts[s]:starts[s + 1]]; seeds uint32.
        lr, clip: [R] float64; rule: [R] int64; hyper: [R, 3] float64.
        rates: [steps], factors on lr; limit: skipped steps beyond which a run is diverged.
        record: [steps, R, G + 1] to receive gradients and squared errors instead of updating, or [0, R, G + 1].
        law, number1, number2, n, d, stream, step, batch: what is drawn; layers: the model's depth.
        partial [R * chunks, G + 1, lanes] (T times as many rows to record), result [R, G + 1], work [T, ...],
        data [T, blocks, numbers, lanes], tokens [T, rows, PITCH], norms [T, CHUNK], lengths [T, 3, ...], new [R, 3, G]: memory.
    """

    @jit
    def kernel(
        prompts, moments, gradient, theta, first, second, count, skipped, clipped, diverged, order, starts, seeds, lr,
        clip, rule, hyper, rates, limit, record, law, number1, number2, n, d, stream, step, batch, layers, partial,
        result, work, data, tokens, norms, lengths, new,
    ):  # fmt: skip
        runs, wide = theta.shape
        steps = rates.shape[0]
        lanes = data.shape[3]
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
                    own = offset(view(data, 0, 0), thread * data.shape[1] * data.shape[2] * lanes)
                    drawn = offset(view(tokens, 0, 0), thread * tokens.shape[1] * PITCH)
                    norm = offset(view(norms, 0, 0), thread * CHUNK)
                    length = offset(view(lengths, 0, 0), thread * 3 * lengths.shape[2])
                    space = offset(view(work, 0, 0), thread * work.shape[1])
                    for k in range(k0, k1):
                        for s in range(s0, s1):
                            alive = False
                            for place in range(starts[s], starts[s + 1]):
                                alive = alive or diverged[order[place]] < 0
                            if alive:
                                for chunk in range(c0, c1):
                                    begin = chunk * CHUNK
                                    blocks = (min(batch - begin, CHUNK) + lanes - 1) // lanes
                                    call(
                                        prompts,
                                        (drawn, norm, length, tokens.shape[1], lengths.shape[2], blocks * lanes, begin,
                                         batch, seeds[s], step + k, stream, n, d, law, number1, number2),
                                    )  # fmt: skip
                                    call(moments, (own, drawn, blocks, n, inverse, law == FACTOR))
                                    for place in range(starts[s], starts[s + 1]):
                                        r = order[place]
                                        if diverged[r] < 0:
                                            row = (above + r * chunks + chunk) * (wide + 1) * lanes
                                            parameters = offset(view(theta, 0, 0), r * wide)
                                            sums = offset(view(partial, 0, 0), row)
                                            call(
                                                gradient, (own, parameters, sums, space, blocks, layers, scale, layers)
                                            )
                            if phase == 0:
                                for place in range(starts[s], starts[s + 1]):
                                    r = order[place]
                                    parts = partial[above + r * chunks : above + (r + 1) * chunks]
                                    if recording:
                                        reduce(parts, record[k, r])
                                    elif diverged[r] < 0:
                                        reduce(parts, result[r])
                                        settle(
                                            r, result[r], theta, first, second, count, skipped, clipped, diverged,
                                            rates[k] * lr[r], clip, rule, hyper, limit, step + k + 1, new,
                                        )  # fmt: skip
                if phase == 1:
                    for place in range(starts[dealt], starts[seeds.shape[0]]):
                        r = order[place]
                        if diverged[r] < 0:
                            reduce(partial[r * chunks : (r + 1) * chunks], result[r])
                            settle(
                                r, result[r], theta, first, second, count, skipped, clipped, diverged,
                                rates[span] * lr[r], clip, rule, hyper, limit, step + span + 1, new,
                            )  # fmt: skip

    return kernel


def gradients(jit: Callable[[Any], Any]) -> Any:
    """Gradients of runs on given prompts, with tangents: exact derivatives of gradients along directions.

    Arguments of the kernel:
        gradient: a piece, for as many tangents.
        data: [sets, blocks, numbers, lanes]; chosen: [R] int64, the set of each run.
        theta: [R, G, 1 + tangents], parameters and directions.
        batch, layers, back: prompts in a set, depth, how many of the last layers get gradients.
        partial: [R * chunks, (G + 1) * (1 + tangents), lanes]; work: [T, ...]: memory.
        result: [R, (G + 1) * (1 + tangents)]: gradient then sum of squared errors, each with its tangents.
    """

    @jit
    def kernel(gradient, data, chosen, theta, batch, layers, back, partial, work, result):
        runs, wide, components = theta.shape
        _, all_blocks, numbers, lanes = data.shape
        per = CHUNK // lanes
        chunks = (all_blocks + per - 1) // per
        scale = theta.dtype.type(2.0 / batch)
        for item in prange(runs * chunks):
            r = item // chunks
            begin = (item - r * chunks) * per
            own = offset(view(data, 0, 0), (chosen[r] * all_blocks + begin) * numbers * lanes)
            parameters = offset(view(theta, 0, 0), r * wide * components)
            sums = offset(view(partial, 0, 0), item * partial.shape[1] * lanes)
            space = offset(view(work, 0, 0), get_thread_id() * work.shape[1])
            blocks = min(all_blocks - begin, per)
            call(gradient, (own, parameters, sums, space, blocks, layers, scale, back))
        for r in prange(runs):
            reduce(partial[r * chunks : (r + 1) * chunks], result[r])

    return kernel


def losses(jit: Callable[[Any], Any]) -> Any:
    """Mean squared errors of all runs on sets of prompts, given or drawn here.

    Arguments of the kernel:
        prompts, moments, gradient: pieces.
        data: [sets, blocks, numbers, lanes], or [0, ...] to draw the sets of steps `step`, `step` + 1, ... of `seed`.
        theta: [R, G]; result: [sets, R]; partial: [sets * chunks, R, lanes]; own_data as `data` in :func:`training`.
        The rest as there.
    """

    @jit
    def kernel(
        prompts, moments, gradient, data, theta, result, law, number1, number2, n, d, stream, seed, step, batch, layers,
        partial, work, own_data, tokens, norms, lengths,
    ):  # fmt: skip
        runs, wide = theta.shape
        sets = result.shape[0]
        numbers, lanes = own_data.shape[2], own_data.shape[3]
        chunks = (batch + CHUNK - 1) // CHUNK
        inverse, nothing = theta.dtype.type(1.0 / n), theta.dtype.type(0.0)
        given = data.shape[0] > 0
        for item in prange(sets * chunks):
            s = item // chunks
            begin = (item - s * chunks) * CHUNK
            thread = get_thread_id()
            blocks = (min(batch - begin, CHUNK) + lanes - 1) // lanes
            own = offset(view(own_data, 0, 0), thread * own_data.shape[1] * numbers * lanes)
            if given:
                own = offset(view(data, 0, 0), (s * data.shape[1] * lanes + begin) * numbers)
            else:
                drawn = offset(view(tokens, 0, 0), thread * tokens.shape[1] * PITCH)
                norm = offset(view(norms, 0, 0), thread * CHUNK)
                length = offset(view(lengths, 0, 0), thread * 3 * lengths.shape[2])
                call(
                    prompts,
                    (drawn, norm, length, tokens.shape[1], lengths.shape[2], blocks * lanes, begin, batch, seed,
                     step + s, stream, n, d, law, number1, number2),
                )  # fmt: skip
                call(moments, (own, drawn, blocks, n, inverse, law == FACTOR))
            space = offset(view(work, 0, 0), thread * work.shape[1])
            for r in range(runs):
                sums = offset(view(partial, 0, 0), (item * runs + r) * lanes)
                parameters = offset(view(theta, 0, 0), r * wide)
                call(gradient, (own, parameters, sums, space, blocks, layers, nothing, 0))
        for s in prange(sets):
            reduce(partial[s * chunks : (s + 1) * chunks], result[s])
            for r in range(runs):
                result[s, r] /= batch

    return kernel


def tokens(jit: Callable[[Any], Any]) -> Any:
    """Draw prompts of :class:`~lintrans.LinearRegression` as covariates and responses.

    Arguments of the kernel (T threads):
        prompts: a piece.
        out: [sets, rows, prompts in whole SIMD values] to receive the prompts of (seeds[s], steps[s]), uint32.
        stream, batch, law, number1, number2, n, d: what is drawn.
        drawn [T, rows, PITCH], norms [T, CHUNK], lengths [T, 3, ...] float64: memory.
    """

    @jit
    def kernel(prompts, out, seeds, steps, stream, batch, law, number1, number2, n, d, drawn, norms, lengths):
        sets, rows, padded = out.shape
        chunks = (padded + CHUNK - 1) // CHUNK
        for item in prange(sets * chunks):
            s = item // chunks
            begin = (item - s * chunks) * CHUNK
            end = min(padded - begin, CHUNK)
            thread = get_thread_id()
            own = drawn[thread]
            call(
                prompts,
                (offset(view(drawn, 0, 0), thread * drawn.shape[1] * PITCH), offset(view(norms, 0, 0), thread * CHUNK),
                 offset(view(lengths, 0, 0), thread * 3 * lengths.shape[2]), drawn.shape[1], lengths.shape[2], end,
                 begin, batch, seeds[s], steps[s], stream, n, d, law, number1, number2),
            )  # fmt: skip
            for i in range((n + 1) * d):
                for lane in range(end):
                    out[s, i, begin + lane] = own[i, lane]
            for token in range(n + 1):
                row = out[s, (n + 1) * d + token]
                for lane in range(end):
                    row[begin + lane] = own[token * d, lane] * own[(n + 1) * d, lane]
                for k in range(1, d):
                    for lane in range(end):
                        row[begin + lane] += own[token * d + k, lane] * own[(n + 1) * d + k, lane]
            for lane in range(end):
                out[s, rows - 1, begin + lane] = 1.0 if begin + lane < batch else 0.0

    return kernel


def token_gradients(jit: Callable[[Any], Any]) -> Any:
    """Gradients of runs on given prompts as tokens, with tangents; or squared errors alone.

    Arguments of the kernel (R runs, G parameters a run, T threads):
        gradient: a piece of ``attending`` or ``embedded``, for as many tangents.
        prompts: [sets, rows, blocks * lanes], as ``token_loops`` packs them; chosen: [R] int64, the set of each run.
        theta: [R, G, 1 + tangents], parameters and directions.
        batch, layers, n, heads, kind: prompts in a set, depth, context length, and what else the piece asks for.
        back: how many of the last parts get gradients, 0 for squared errors alone, in the last place of `result`;
        per: blocks in a chunk.
        partial: [R * chunks, (G + 1) * (1 + tangents), lanes]; work [T, ...], own [T, rows * lanes]: memory.
        result: [R, (G + 1) * (1 + tangents)]: gradient then sum of squared errors, each with its tangents.
    """

    @jit
    def kernel(gradient, prompts, chosen, theta, batch, layers, n, heads, kind, back, per, partial, work, own, result):
        runs, wide, components = theta.shape
        _, rows, padded = prompts.shape
        lanes = partial.shape[2]
        blocks = padded // lanes
        chunks = (blocks + per - 1) // per
        scale = theta.dtype.type(2.0 / batch)
        inverse = theta.dtype.type(1.0 / n)
        for item in prange(runs * chunks):
            r = item // chunks
            begin = (item - r * chunks) * per
            thread = get_thread_id()
            given = offset(view(prompts, 0, 0), (chosen[r] * rows * blocks + begin) * lanes)
            parameters = offset(view(theta, 0, 0), r * wide * components)
            sums = offset(view(partial, 0, 0), item * partial.shape[1] * lanes)
            space, local = (
                offset(view(work, 0, 0), thread * work.shape[1]),
                offset(view(own, 0, 0), thread * own.shape[1]),
            )
            call(
                gradient,
                (given, parameters, sums, space, local, min(blocks - begin, per), blocks, rows, wide + 1, layers, n,
                 heads, kind, back, scale, inverse),
            )  # fmt: skip
        for r in prange(runs):
            reduce(partial[r * chunks : (r + 1) * chunks], result[r])

    return kernel


KERNELS = {
    "training": training, "gradients": gradients, "losses": losses, "tokens": tokens,
    "token_gradients": token_gradients,
}  # fmt: skip
