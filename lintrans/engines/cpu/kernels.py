"""The compiled loops of the CPU engine: whole training steps, gradients of given prompts, losses.

**Work items.** Prompts are taken in *blocks* of as many as a SIMD value has lanes, blocks in *chunks*. A thread draws
a chunk of the prompts of one seed into memory of its own, where it stays in the cache, and takes all runs of the seed
over it. Partial sums per (run, chunk, lane) are then added in the order of chunks. So results do not depend on who
computes which chunk, on the number of threads nor on which runs go together, bit for bit, and one run alone keeps all
cores busy. Prompts beyond the batch are zero, and add exactly nothing.

Kernels are compiled once for each dtype: what depends on the shape of a model, they call by address (the arguments
named after :mod:`lintrans.engines.cpu.shape_kernels`). :mod:`lintrans.engines.cpu.compiling` compiles and caches both.
Their arguments are the named tuples of :mod:`lintrans.engines.cpu.arguments`. They stand in one long file because numba
keeps machine code by the file of the outermost function, and all loops share the same steps over chunks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import get_thread_id, njit, prange

from .arguments import ADAM, FACTOR, GROUPED, NORMALIZED, SIGNUM, DrawArguments, TokenArguments
from .products import offset
from .shape_kernels import CHUNK, PITCH, call
from .vector import INLINE, OPTIONS, view


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
def propose_adam(new, theta, first, second, g, scale, rate, rules, r, count):
    """See :func:`propose`."""
    kind, hyper = theta.dtype.type, rules.hyper[r]
    beta1, beta2, eps = hyper[0], hyper[1], kind(hyper[2])
    grow1, keep2, grow2 = kind(1.0 - beta1), kind(beta2), kind(1.0 - beta2)
    correction1 = kind(1.0 - beta1**count)
    correction2 = kind(math.sqrt(1.0 - beta2**count))
    if rules.rule[r] == ADAM:
        for i in range(theta.shape[0]):
            q = g[i] * scale
            m = first[i] + grow1 * (q - first[i])
            new[1, i] = m
            new[2, i] = keep2 * second[i] + grow2 * q * q
            ratio = m / correction1 / (math.sqrt(new[2, i]) / correction2 + eps)
            new[0, i] = theta[i] - rate * (ratio if m != 0 else kind(0))  # 0/0 is 0
    else:
        group, share = rules.group[r], rules.share[r]
        new[2] = 0
        for i in range(theta.shape[0]):
            q = g[i] * scale
            new[2, group[i]] += q * q
        for k in range(theta.shape[0]):
            new[2, k] = keep2 * second[k] + grow2 * (new[2, k] * kind(share[k]))
        for i in range(theta.shape[0]):
            q = g[i] * scale
            m = first[i] + grow1 * (q - first[i])
            new[1, i] = m
            ratio = m / correction1 / (math.sqrt(new[2, group[i]]) / correction2 + eps)
            new[0, i] = theta[i] - rate * (ratio if m != 0 else kind(0))


@njit(**OPTIONS)
def propose(new, theta, first, second, g, factor, lr, rules, r, count):
    """Write to new [3, G] what a step of run r with the gradient g * factor makes of parameters and moments.

    Count is 1 at a run's first step. See ``lintrans.training.optimizers``.
    """
    kind, rule = theta.dtype.type, rules.rule[r]
    rate, scale = kind(lr), kind(factor)
    if rule in (ADAM, GROUPED):
        propose_adam(new, theta, first, second, g, scale, rate, rules, r, count)
        return
    momentum, grow = kind(rules.hyper[r, 0]), kind(1.0 - rules.hyper[r, 1])
    for i in range(theta.shape[0]):
        q = g[i] * scale
        new[1, i] = q if count == 1 else momentum * first[i] + grow * q
        new[2, i] = second[i]
        new[0, i] = theta[i] - rate * new[1, i]
    if rule == SIGNUM:
        for i in range(theta.shape[0]):
            new[0, i] = theta[i] - rate * kind(np.sign(new[1, i]))
    elif rule == NORMALIZED:
        largest, relative = norm_of(new[1])
        for i in range(theta.shape[0]):
            ratio = float(new[1, i]) / largest / relative if largest != 0.0 else 0.0
            new[0, i] = theta[i] - rate * kind(ratio)


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
def finish_step(r, gradient, runs, rules, factor, limit, step):
    """Finish step number `step` of run r, whose gradient is known: finite checks, clip, optimizer, divergence."""
    wide = runs.theta.shape[1]
    g, new, theta, first, second = gradient[:wide], runs.new[r], runs.theta[r], runs.first[r], runs.second[r]
    largest, relative = norm_of(g)
    moves = np.isfinite(largest)
    if moves:
        scale = clip_of(largest, relative, rules.clip[r])
        propose(new, theta, first, second, g, scale, factor * rules.lr[r], rules, r, runs.updates[r] + 1)
        finite, moments = True, True
        for i in range(wide):
            finite = finite and np.isfinite(new[0, i])
            moments = moments and np.isfinite(new[1, i]) and np.isfinite(new[2, i])
        moves = moments or not finite  # infinite moments would stop finite parameters for ever, unseen
    if moves:
        runs.clipped[r] += scale < 1.0
        runs.updates[r] += 1
        for i in range(wide):
            theta[i], first[i], second[i] = new[0, i], new[1, i], new[2, i]
    else:
        runs.skipped[r] += 1
    broken = runs.skipped[r] > limit
    for i in range(wide):
        broken = broken or not np.isfinite(theta[i])
    if broken:
        runs.diverged[r] = step


@njit(**INLINE)
def draw_chunk(pieces, wanted, memory, thread, begin, lanes, seed, step):
    """Draw a thread's chunk of prompts, from number `begin` on; the place of its tokens."""
    tokens, lengths = memory.tokens, memory.lengths
    drawn = offset(view(tokens, 0, 0), thread * tokens.shape[1] * PITCH)
    call(
        pieces.prompts,
        DrawArguments(
            out=drawn,
            norms=offset(view(memory.norms, 0, 0), thread * CHUNK),
            lengths=offset(view(lengths, 0, 0), thread * 3 * lengths.shape[2]),
            rows=tokens.shape[1],
            room=lengths.shape[2],
            lanes=lanes,
            first=begin,
            count=wanted.batch,
            seed=seed,
            step=step,
            stream=wanted.stream,
            n=wanted.n,
            d=wanted.d,
            law=wanted.law,
            number1=wanted.number1,
            number2=wanted.number2,
        ),
    )
    return drawn


@njit(**INLINE)
def place_of(memory, thread):
    """A thread's own moments and working memory."""
    _, blocks, numbers, lanes = memory.data.shape
    own = offset(view(memory.data, 0, 0), thread * blocks * numbers * lanes)
    return own, offset(view(memory.work, 0, 0), thread * memory.work.shape[1])


def training(jit: Callable[[Any], Any]) -> Any:
    """Whole steps: draw, gradient, finite check, clip, optimizer; or gradients of many batches, recorded.

    Threads take whole seeds through all steps as far as seeds can be dealt out evenly: seeds have nothing to do with
    one another, so no thread waits. The chunks of the seeds that are left over are shared step by step. Recorded
    batches do not depend on one another either, and are dealt out one by one.

    Arguments of the kernel beside named tuples (R runs, G parameters a run, T threads):
        rates: [steps], factors on lr; limit: skipped steps beyond which a run is diverged; layers: the model's depth.
        record: [steps, R, G + 1] to receive gradients and squared errors instead of updating, or [0, R, G + 1].
        partial [R * chunks, G + 1, lanes] (T times as many rows to record), result [R, G + 1]: memory.
    """

    @jit
    def kernel(pieces, runs, rules, seeds, wanted, memory, rates, limit, record, layers, partial, result):
        theta, diverged, batch = runs.theta, runs.diverged, wanted.batch
        order, starts, number = seeds.order, seeds.starts, seeds.seeds.shape[0]
        count, wide = theta.shape
        steps, lanes = rates.shape[0], partial.shape[2]
        chunks = (batch + CHUNK - 1) // CHUNK
        scale = theta.dtype.type(2.0 / batch)
        inverse = theta.dtype.type(1.0 / wanted.n)
        recording = record.shape[0] > 0
        dealt = 0 if recording else number - number % memory.tokens.shape[0]
        left = number - dealt
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
                        k0, k1, s0, s1 = item, item + 1, 0, number
                    elif phase == 1:
                        k0, k1, s0 = span, span + 1, dealt + item // chunks
                        s1, c0 = s0 + 1, item % chunks
                        c1 = c0 + 1
                    thread = get_thread_id()
                    above = thread * count * chunks if recording else 0
                    own, space = place_of(memory, thread)
                    for k in range(k0, k1):
                        for s in range(s0, s1):
                            alive = False
                            for place in range(starts[s], starts[s + 1]):
                                alive = alive or diverged[order[place]] < 0
                            if alive:
                                for chunk in range(c0, c1):
                                    begin = chunk * CHUNK
                                    blocks = (min(batch - begin, CHUNK) + lanes - 1) // lanes
                                    drawn = draw_chunk(
                                        pieces, wanted, memory, thread, begin, blocks * lanes, seeds.seeds[s],
                                        wanted.step + k,
                                    )  # fmt: skip
                                    call(pieces.moments, (own, drawn, blocks, wanted.n, inverse, wanted.law == FACTOR))
                                    for place in range(starts[s], starts[s + 1]):
                                        r = order[place]
                                        if diverged[r] < 0:
                                            row = (above + r * chunks + chunk) * (wide + 1) * lanes
                                            parameters = offset(view(theta, 0, 0), r * wide)
                                            sums = offset(view(partial, 0, 0), row)
                                            call(
                                                pieces.gradient,
                                                (own, parameters, sums, space, blocks, layers, scale, layers),
                                            )
                            if phase == 0:
                                for place in range(starts[s], starts[s + 1]):
                                    r = order[place]
                                    parts = partial[above + r * chunks : above + (r + 1) * chunks]
                                    if recording:
                                        reduce(parts, record[k, r])
                                    elif diverged[r] < 0:
                                        reduce(parts, result[r])
                                        finish_step(r, result[r], runs, rules, rates[k], limit, wanted.step + k + 1)
                if phase == 1:
                    for place in range(starts[dealt], starts[number]):
                        r = order[place]
                        if diverged[r] < 0:
                            reduce(partial[r * chunks : (r + 1) * chunks], result[r])
                            finish_step(r, result[r], runs, rules, rates[span], limit, wanted.step + span + 1)

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

    Arguments of the kernel beside named tuples:
        data: [sets, blocks, numbers, lanes], or [0, ...] to draw the sets of steps `step`, `step` + 1, ... of `seed`.
        theta: [R, G]; layers: depth; partial: [sets * chunks, R, lanes], memory; result: [sets, R].
    """

    @jit
    def kernel(pieces, wanted, memory, data, theta, seed, layers, partial, result):
        runs, wide = theta.shape
        sets, batch = result.shape[0], wanted.batch
        numbers, lanes = memory.data.shape[2], memory.data.shape[3]
        chunks = (batch + CHUNK - 1) // CHUNK
        inverse, nothing = theta.dtype.type(1.0 / wanted.n), theta.dtype.type(0.0)
        given = data.shape[0] > 0
        for item in prange(sets * chunks):
            s = item // chunks
            begin = (item - s * chunks) * CHUNK
            thread = get_thread_id()
            blocks = (min(batch - begin, CHUNK) + lanes - 1) // lanes
            own, space = place_of(memory, thread)
            if given:
                own = offset(view(data, 0, 0), (s * data.shape[1] * lanes + begin) * numbers)
            else:
                drawn = draw_chunk(pieces, wanted, memory, thread, begin, blocks * lanes, seed, wanted.step + s)
                call(pieces.moments, (own, drawn, blocks, wanted.n, inverse, wanted.law == FACTOR))
            for r in range(runs):
                sums = offset(view(partial, 0, 0), (item * runs + r) * lanes)
                parameters = offset(view(theta, 0, 0), r * wide)
                call(pieces.gradient, (own, parameters, sums, space, blocks, layers, nothing, 0))
        for s in prange(sets):
            reduce(partial[s * chunks : (s + 1) * chunks], result[s])
            for r in range(runs):
                result[s, r] /= batch

    return kernel


def tokens(jit: Callable[[Any], Any]) -> Any:
    """Draw prompts of :class:`~lintrans.LinearRegression` as covariates and responses.

    Arguments of the kernel beside named tuples, of which it needs no moments nor gradients:
        out: [sets, rows, prompts in whole SIMD values] to receive the prompts of (seeds[s], steps[s]), uint32.
    """

    @jit
    def kernel(pieces, wanted, memory, out, seeds, steps):
        sets, rows, padded = out.shape
        n, d = wanted.n, wanted.d
        chunks = (padded + CHUNK - 1) // CHUNK
        for item in prange(sets * chunks):
            s = item // chunks
            begin = (item - s * chunks) * CHUNK
            end = min(padded - begin, CHUNK)
            thread = get_thread_id()
            own = memory.tokens[thread]
            draw_chunk(pieces, wanted, memory, thread, begin, end, seeds[s], steps[s])
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
                out[s, rows - 1, begin + lane] = 1.0 if begin + lane < wanted.batch else 0.0

    return kernel


def token_gradients(jit: Callable[[Any], Any]) -> Any:
    """Gradients of runs on given prompts as tokens, with tangents; or squared errors alone.

    Arguments of the kernel (R runs, G parameters a run, T threads):
        gradient: a piece of ``attending`` or ``embedded``, for as many tangents; model: what it asks for.
        data: [sets, rows, blocks * lanes], as ``token_loops`` packs them; chosen: [R] int64, the set of each run.
        theta: [R, G, 1 + tangents], parameters and directions.
        batch: prompts in a set; per: blocks in a chunk.
        back: how many of the last parts get gradients, 0 for squared errors alone, in the last place of `result`.
        partial: [R * chunks, (G + 1) * (1 + tangents), lanes]; work [T, ...], own [T, rows * lanes]: memory.
        result: [R, (G + 1) * (1 + tangents)]: gradient then sum of squared errors, each with its tangents.
    """

    @jit
    def kernel(gradient, model, data, chosen, theta, batch, back, per, partial, work, own, result):
        runs, wide, components = theta.shape
        _, rows, padded = data.shape
        lanes = partial.shape[2]
        blocks = padded // lanes
        chunks = (blocks + per - 1) // per
        scale = theta.dtype.type(2.0 / batch)
        inverse = theta.dtype.type(1.0 / model.n)
        for item in prange(runs * chunks):
            r = item // chunks
            begin = (item - r * chunks) * per
            thread = get_thread_id()
            call(
                gradient,
                TokenArguments(
                    given=offset(view(data, 0, 0), (chosen[r] * rows * blocks + begin) * lanes),
                    theta=offset(view(theta, 0, 0), r * wide * components),
                    sums=offset(view(partial, 0, 0), item * partial.shape[1] * lanes),
                    work=offset(view(work, 0, 0), thread * work.shape[1]),
                    own=offset(view(own, 0, 0), thread * own.shape[1]),
                    take=min(blocks - begin, per),
                    blocks=blocks,
                    rows=rows,
                    count=wide + 1,
                    layers=model.layers,
                    n=model.n,
                    heads=model.heads,
                    kind=model.kind,
                    back=back,
                    scale=scale,
                    inverse=inverse,
                ),
            )
        for r in prange(runs):
            reduce(partial[r * chunks : (r + 1) * chunks], result[r])

    return kernel


KERNELS = {kernel.__name__: kernel for kernel in (training, gradients, losses, tokens, token_gradients)}
