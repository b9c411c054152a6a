"""The CUDA engine: the same algebra, one prompt a thread, through numba-cuda; nothing crosses to the host in a call.

Three kernels a step: *draw* (a thread per seed and prompt) writes moments; *add* (a thread per run and prompt) runs
:mod:`~lintrans.engines.algebra` on scalars and adds up its block's gradients; *update* (a block per run) adds blocks
in order, checks, clips and moves. Sums have a fixed order, so a run alone equals itself in an ensemble.

Losses, and gradients on given prompts, are those of the reference engine on the device. So is everything where a prompt
does not fit a thread (:data:`LARGEST`).

This engine is tested in numba-cuda's simulator. **It has not been run on a GPU**, and has no timings.
"""

from __future__ import annotations

import math
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numba import cuda
from torch import Tensor

from ..optimizers import SGD, Adam
from ..random import MULTIPLIERS, ROUNDS, SMALL_SHAPE, TEACHER_ATTEMPT, WEYL, Stream
from . import algebra
from .base import SKIPPED_SHARE, Plan, State
from .laws import FACTOR, GAMMA, SPHERE, moments_of
from .reference import ReferenceEngine

LARGEST = 8
"""Largest matrix that one thread works on; beyond it registers and local memory spill too far."""

THREADS = 64
ENTRIES = 32  # of a gradient that a block adds up at a time

M0, M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
W0, W1 = np.uint64(WEYL[0]), np.uint64(WEYL[1])
MASK, SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)

device = cuda.jit(device=True)
_algebra = algebra.specialise(device)
gradient = _algebra.gradient


@device
def philox(c0, c1, c2, c3, k0, k1):
    """Philox4x32-7 on uint64 that hold 32-bit words."""
    for _ in range(ROUNDS):
        p0 = c0 * M0
        p1 = c2 * M1
        c0, c1, c2, c3 = (p1 >> SHIFT) ^ c1 ^ k0, p1 & MASK, (p0 >> SHIFT) ^ c3 ^ k1, p0 & MASK
        k0 = (k0 + W0) & MASK
        k1 = (k1 + W1) & MASK
    return c0, c1, c2, c3


@device
def uniform(word):
    """(word + 1/2) / 2^32."""
    return (float(word) + 0.5) * 2.0**-32


@device
def normal_pair(first, second):
    """Two normals of two words, sine first."""
    radius = math.sqrt(-2.0 * math.log(uniform(first)))
    angle = 2.0 * math.pi * uniform(second)
    return radius * math.sin(angle), radius * math.cos(angle)


@device
def gamma_length(prompt, token, stream, seed, step, shape, scale):
    """sqrt(scale Gamma(shape, 1)); see ``lintrans.random.Source.log_gamma``."""
    small = shape <= SMALL_SHAPE
    word = np.uint64(token // 2 if small else token)
    attempt = 0
    while True:
        attempt += 1
        w0, w1, w2, w3 = philox(prompt, word, stream, np.uint64(attempt), seed, step)
        if small:
            odd = token % 2 == 1
            value, accepted = small_attempt(uniform(w2 if odd else w0), uniform(w3 if odd else w1), shape)
        else:
            x, _ = normal_pair(w0, w1)
            value, accepted = large_attempt(x, uniform(w2), uniform(w3), shape)
        if accepted:
            return math.exp(0.5 * (math.log(scale) + value))


@device
def chi_squared(prompt, call, degrees, normal, stream, seed, step):
    """A chi-squared variate, from the uniforms of so many calls on and a normal; see ``Source.chi_squared``."""
    total, pairs = 0.0, degrees // 2
    for start in range(0, pairs, 4):
        words = philox(prompt, np.uint64(call + start // 4), stream, np.uint64(1), seed, step)
        for i in range(min(4, pairs - start)):
            total -= 2.0 * math.log(uniform(words[i]))
    return total + normal * normal if degrees % 2 == 1 else total


@device
def normal_at(prompt, index, attempt, stream, seed, step):
    """Standard normal number `index` of a prompt."""
    words = philox(prompt, np.uint64(index // 4), stream, np.uint64(attempt), seed, step)
    pair = normal_pair(words[0], words[1]) if index % 4 < 2 else normal_pair(words[2], words[3])
    return pair[index % 2]


@device
def direction(x, d, prompt, token, stream, seed, step):
    """A uniform point of the sphere in x [d]; see ``lintrans.random.Source.directions``."""
    calls = max(1, (d - d % 2 + 3) // 4)
    held = d % 2
    for call in range(calls):
        words = philox(prompt, np.uint64(token * calls + call), stream, np.uint64(0), seed, step)
        if call == 0 and d % 2 == 1:
            x[0] = (2.0 * uniform(words[0]) - 1.0) if d > 1 else (-1.0 if uniform(words[0]) < 0.5 else 1.0)
        for half in range(2):
            if held >= d - 1:
                break
            u, turn = uniform(words[2 * half]), 2.0 * math.pi * uniform(words[2 * half + 1])
            rest = 1.0
            if held == 1:
                rest = 2.0 * math.sqrt(u * (1.0 - u))
            elif held > 1:
                log_radius = math.log(u) / held
                radius = math.exp(log_radius)
                rest = math.sqrt(-math.expm1(2.0 * log_radius))
                for i in range(held):
                    x[i] *= radius
            x[held] = rest * math.sin(turn)
            x[held + 1] = rest * math.cos(turn)
            held += 2


@device
def large_attempt(x, u, boost, shape):
    """See ``lintrans.random.marsaglia_tsang``."""
    d = (shape + 1.0 if shape < 1.0 else shape) - 1.0 / 3.0
    root = 1.0 + x / math.sqrt(9.0 * d)
    if root <= 0.0:
        return 0.0, False
    log_v = 3.0 * math.log(root)
    value = math.log(d) + log_v
    if shape < 1.0:
        value += math.log(boost) / shape
    return value, math.log(u) < 0.5 * x * x + d - d * root * root * root + d * log_v


@device
def small_attempt(u, v, shape):
    """See ``lintrans.random.liu_martin_syring``."""
    r = 1.0 / (1.0 + shape / (math.e * (1.0 - shape)))
    if u <= r:
        log_x = math.log(u / r) / shape
        return log_x, math.log(v) < -math.exp(log_x)
    log_x = -math.log((u - r) / (1.0 - r)) / (1.0 - shape)
    return log_x, math.log(v) < 1.0 + log_x - math.exp(log_x)


@cache
def kernels(layers: int, d: int, heads: int, sparse: bool, dtype: str) -> SimpleNamespace:
    """The three kernels for a model and dtype."""
    kind = np.dtype(dtype).type
    size = d if sparse else d + 1
    numbers, wide = algebra.data_size(size, sparse), 2 * layers * heads * size * size
    space, triangle = algebra.work_size(layers, size, heads), size * (size + 1) // 2
    calls_wide = max(d, 4)

    @cuda.jit
    def draw(data, seeds, step, batch, law, number1, number2, n, stream):
        """Write data [seeds, numbers, batch]; `law`, its numbers and n as in ``laws.Drawn``."""
        place = cuda.grid(1)
        if place >= seeds.shape[0] * batch:
            return
        s, prompt = place // batch, place % batch
        seed, key, role = np.uint64(seeds[s]), np.uint64(step), np.uint64(stream)
        x, four = cuda.local.array(calls_wide, np.float64), cuda.local.array(4, np.float64)
        moments = cuda.local.array((d, d), np.float64)
        query = cuda.local.array(calls_wide, np.float64)
        for i in range(d):
            for j in range(d):
                moments[i, j] = 0.0
        drawn, call = 0, 0
        context, scale = int(number2), number1 * math.sqrt(n / max(number2, 1.0))  # of a factor, see draw.prompts
        odd = d * (d - 1) // 2 + 2 * d  # where the normals of odd degrees of freedom are
        for token in range(n + 2):  # the context, the query, the teacher
            aimed = token <= n and law in (SPHERE, GAMMA)
            if aimed:
                direction(x, d, np.uint64(prompt), token, role, seed, key)
            for i in range(0 if aimed else d):
                if law != FACTOR and token == n + 1:
                    x[i] = normal_at(np.uint64(prompt), i, TEACHER_ATTEMPT, role, seed, key)
                    continue
                if law == FACTOR and token < n and i <= token:
                    x[i] = 0.0
                    if i == token:
                        degrees = context - token
                        normal = normal_at(np.uint64(prompt), odd, 0, role, seed, key)
                        x[i] = math.sqrt(chi_squared(np.uint64(prompt), call, degrees, normal, role, seed, key))
                        call += (degrees // 2 + 3) // 4
                        odd += degrees % 2
                    continue
                if drawn % 4 == 0:
                    words = philox(np.uint64(prompt), np.uint64(drawn // 4), role, np.uint64(0), seed, key)
                    four[0], four[1] = normal_pair(words[0], words[1])
                    four[2], four[3] = normal_pair(words[2], words[3])
                x[i] = four[drawn % 4]
                drawn += 1
            if token <= n:
                factor = scale if law == FACTOR and token < n else number1
                if law == GAMMA:
                    factor = gamma_length(np.uint64(prompt), token, role, seed, key, number1, number2)
                for i in range(d):
                    x[i] *= factor
            if token < n:
                for i in range(d):
                    for j in range(i, d):
                        moments[i, j] += x[i] * x[j] / n
            elif token == n:
                for i in range(d):
                    query[i] = x[i]
        target, square, count = 0.0, 0.0, 0
        for i in range(d):  # x is the teacher w now: S_xy = S_xx w, S_yy = w.S_xy
            cross = 0.0
            for j in range(d):
                cross += moments[min(i, j), max(i, j)] * x[j]
                if j >= i:
                    data[s, count, prompt] = moments[i, j]
                    count += 1
            if sparse:
                data[s, triangle + i, prompt] = cross
                data[s, triangle + d + i, prompt] = query[i]
            else:
                data[s, count, prompt] = cross
                data[s, triangle + i, prompt] = query[i]
                count += 1
            target += query[i] * x[i]
            square += x[i] * cross
        if not sparse:
            data[s, count, prompt] = square
            data[s, triangle + d, prompt] = 0.0
        data[s, numbers - 1, prompt] = target

    @cuda.jit
    def add(data, owner, theta, diverged, partial):
        """Write partial [runs, blocks, wide + 1], a block of THREADS prompts each."""
        run, lane = cuda.blockIdx.y, cuda.threadIdx.x
        prompt, batch = cuda.blockIdx.x * THREADS + lane, data.shape[2]
        shared = cuda.shared.array((ENTRIES, THREADS + 1), kind)
        own, sums = cuda.local.array(numbers, kind), cuda.local.array(wide + 1, kind)
        work, tile = cuda.local.array(space, kind), cuda.local.array(size, kind)
        if diverged[run] >= 0:
            return
        for i in range(wide + 1):
            sums[i] = 0.0
        if prompt < batch:
            for i in range(numbers):
                own[i] = data[owner[run], i, prompt]
            scale = kind(2.0 / batch)
            gradient(own, theta[run], sums, scale, work, (tile, 1, size), (layers, size, heads, sparse))
        for start in range(0, wide + 1, ENTRIES):
            for i in range(min(ENTRIES, wide + 1 - start)):
                shared[i, lane] = sums[start + i]
            cuda.syncthreads()
            if lane < min(ENTRIES, wide + 1 - start):
                total = shared[lane, 0]
                for other in range(1, THREADS):
                    total += shared[lane, other]
                partial[run, cuda.blockIdx.x, start + lane] = total
            cuda.syncthreads()

    @cuda.jit
    def update(partial, theta, first, second, count, skipped, clipped, diverged, clip, rates, rule, hyper, limit, step):
        """A block a run: add up, check, clip, move. rates: [runs], with the step's factor."""
        run, lane = cuda.blockIdx.x, cuda.threadIdx.x
        g = cuda.shared.array(wide, kind)
        about = cuda.shared.array(2, np.float64)  # a line of its own: the simulator knows shared arrays by their line
        if diverged[run] >= 0:
            return
        for i in range(lane, wide, THREADS):
            total = partial[run, 0, i]
            for block in range(1, partial.shape[1]):
                total += partial[run, block, i]
            g[i] = total
        cuda.syncthreads()
        if lane == 0:
            largest, ok = 0.0, 1.0
            for i in range(wide):
                value = abs(float(g[i]))
                if not math.isfinite(value):
                    ok = 0.0
                largest = max(largest, value)
            factor = 1.0
            if ok > 0.0:
                total = 0.0
                if largest > 0.0:
                    for i in range(wide):
                        total += (float(g[i]) / largest) ** 2
                relative = math.sqrt(total)
                norm = largest * relative
                if not math.isinf(clip[run]):
                    if math.isfinite(norm):
                        factor = min(1.0, clip[run] / (norm + 1e-6))
                    else:
                        factor = min(1.0, clip[run] / largest / relative)
                if factor < 1.0:
                    clipped[run] += 1
                count[run] += 1
            else:
                skipped[run] += 1
            about[0], about[1] = ok, factor
        cuda.syncthreads()
        if about[0] > 0.0:
            rate, scale, t = kind(rates[run]), kind(about[1]), count[run]
            for i in range(lane, wide, THREADS):
                q = g[i] * scale
                if rule[run] == 1:
                    beta1, beta2 = hyper[run, 0], hyper[run, 1]
                    m = first[run, i] + kind(1.0 - beta1) * (q - first[run, i])
                    v = kind(beta2) * second[run, i] + kind(1.0 - beta2) * q * q
                    corrected = kind(math.sqrt(v)) / kind(math.sqrt(1.0 - beta2**t)) + kind(hyper[run, 2])
                    theta[run, i] -= rate * (m / kind(1.0 - beta1**t) / corrected)
                    first[run, i], second[run, i] = m, v
                else:
                    m = q if t == 1 else kind(hyper[run, 0]) * first[run, i] + kind(1.0 - hyper[run, 1]) * q
                    theta[run, i] -= rate * m
                    first[run, i] = m
        cuda.syncthreads()
        if lane == 0:
            broken = skipped[run] > limit
            for i in range(wide):
                broken = broken or not math.isfinite(theta[run, i])
            if broken:
                diverged[run] = step + 1

    return SimpleNamespace(draw=draw, add=add, update=update, numbers=numbers, wide=wide)


def on_device(tensor: Tensor) -> Any:
    """A tensor's memory as numba-cuda takes it; in the simulator, which works on the CPU, as a NumPy array."""
    return tensor.numpy() if tensor.device.type == "cpu" else cuda.as_cuda_array(tensor)


class CudaEngine(ReferenceEngine):
    """See :class:`~lintrans.engines.Engine` and this module's text."""

    name = "cuda"

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        model, task = plan.linear
        self.drawn = moments_of(task)
        known = all(type(run.optimizer) in (SGD, Adam) for run in plan.runs)
        self.whole = known and self.drawn is not None and model.block <= LARGEST
        """Whether whole steps run in kernels."""
        if not self.whole:
            return
        where = plan.device
        dtype = str(plan.dtype).removeprefix("torch.")
        self.kernels = kernels(model.layers, model.d, model.heads, model.form == "sparse", dtype)
        runs, blocks = len(plan.runs), -(-plan.batch // THREADS)
        self._data = torch.zeros(len(self.seeds), self.kernels.numbers, plan.batch, dtype=plan.dtype, device=where)
        self._partial = torch.zeros(runs, blocks, self.kernels.wide + 1, dtype=plan.dtype, device=where)
        self._seeds = torch.tensor(self.seeds, dtype=torch.int64, device=where)
        hyper = [
            (o.betas[0], o.betas[1], o.eps) if isinstance(o, Adam) else (o.momentum, o.dampening, 0.0)
            for o in (run.optimizer for run in plan.runs)
            if isinstance(o, SGD | Adam)
        ]
        self._hyper = torch.tensor(hyper, dtype=torch.float64, device=where)
        rule = [int(isinstance(run.optimizer, Adam)) for run in plan.runs]
        self._rule = torch.tensor(rule, dtype=torch.int64, device=where)

    def advance(self, state: State, steps: int) -> None:
        """Make `steps` updates in place."""
        if not self.whole:
            super().advance(state, steps)
            return
        assert self.drawn is not None  # or whole steps would not run in kernels
        plan, runs, blocks = self.plan, len(self.plan.runs), self._partial.shape[1]
        lr, clip = self.lr.squeeze(-1), on_device(self.clip.squeeze(-1))
        data, partial, owner = on_device(self._data), on_device(self._partial), on_device(self.seed_of_run)
        seeds, rule, hyper = on_device(self._seeds), on_device(self._rule), on_device(self._hyper)
        theta = on_device(state.parameters.view(runs, -1))
        first, second = on_device(state.first), on_device(state.second)
        counts = [on_device(part) for part in (state.count, state.skipped, state.clipped, state.diverged)]
        limit, prompts = SKIPPED_SHARE * plan.total, len(self.seeds) * plan.batch
        for _ in range(steps):
            rates = on_device(plan.rate(state.step) * lr)
            self.kernels.draw[-(-prompts // THREADS), THREADS](
                data, seeds, state.step, plan.batch, *self.drawn, int(Stream.TRAINING)
            )
            self.kernels.add[(blocks, runs), THREADS](data, owner, theta, counts[3], partial)
            self.kernels.update[runs, THREADS](
                partial, theta, first, second, *counts, clip, rates, rule, hyper, limit, state.step
            )
            state.step += 1
