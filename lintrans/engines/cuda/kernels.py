"""CUDA kernels of whole training steps: the same algebra as everywhere, one prompt a thread, through numba-cuda.

*Draw* (a thread per set of prompts and prompt) writes moments; *add* (a thread per run and prompt) runs
:mod:`~lintrans.engines.cpu.algebra` on plain numbers and adds up its block's gradients; *update* (a block per run) adds
blocks in order, checks, clips and moves; *lose* adds up squared errors alone. Sums have a fixed order, so that a run
alone equals itself in an ensemble.
"""

from __future__ import annotations

import math
from functools import cache
from types import SimpleNamespace

import numpy as np
from numba import cuda

from ...random import MULTIPLIERS, ROUNDS, SMALL_SHAPE, TEACHER_ATTEMPT, WEYL
from ..cpu import algebra
from ..cpu.arguments import ADAM, FACTOR, GAMMA, SPHERE
from .device import device, inline, offset, pointer

THREADS = 64
ENTRIES = 32  # of a gradient that a block adds up at a time
PADDED = THREADS + 1  # so that threads beside each other use different banks

M0, M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
W0, W1 = np.uint64(WEYL[0]), np.uint64(WEYL[1])
MASK, SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)

_algebra = algebra.specialise(inline, offset=offset)
gradient = _algebra.gradient
EVERY = algebra.EVERY


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
    """The kernels for a model and dtype."""
    kind = np.dtype(dtype).type
    size = d if sparse else d + 1
    numbers, wide = algebra.data_size(size, sparse), 2 * layers * heads * size * size
    counted = wide + 1  # the loss after the gradient
    space, triangle = algebra.work_size(layers, size, heads), size * (size + 1) // 2
    calls_wide = max(d, 4)

    @cuda.jit
    def draw(data, seeds, steps, step, batch, law, number1, number2, n, stream):
        """Write data [sets, numbers, batch]: set i holds the prompts of seeds[i] and step `step` + steps[i].

        `law`, its numbers and n as in ``laws.Drawn``.
        """
        place = cuda.grid(1)
        if place >= seeds.shape[0] * batch:
            return
        s, prompt = place // batch, place % batch
        seed, key, role = np.uint64(seeds[s]), np.uint64(step + steps[s]), np.uint64(stream)
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
    def lose(data, theta, partial):
        """Write partial [runs, sets, blocks]: sums of squared errors of a block of THREADS prompts each."""
        run, lane, chosen = cuda.blockIdx.y, cuda.threadIdx.x, cuda.blockIdx.z
        prompt = cuda.blockIdx.x * THREADS + lane
        squares = cuda.shared.array(THREADS, kind)
        own, work = cuda.local.array(numbers, kind), cuda.local.array(space, kind)
        tile, square = cuda.local.array(size, kind), cuda.local.array(1, kind)
        square[0] = 0.0
        if prompt < data.shape[2]:
            for i in range(numbers):
                own[i] = data[chosen, i, prompt]
            gradient(
                pointer(own), pointer(theta[run]), pointer(square), kind(0.0), pointer(work), (pointer(tile), 1, size),
                (layers, size, heads, sparse), 0,
            )  # fmt: skip
        squares[lane] = square[0]
        cuda.syncthreads()
        if lane == 0:
            total = squares[0]
            for other in range(1, THREADS):
                total += squares[other]
            partial[run, chosen, cuda.blockIdx.x] = total

    @cuda.jit
    def add(data, owner, theta, diverged, partial):
        """Write partial [runs, blocks, wide + 1], a block of THREADS prompts each."""
        run, lane = cuda.blockIdx.y, cuda.threadIdx.x
        prompt, batch = cuda.blockIdx.x * THREADS + lane, data.shape[2]
        shared = cuda.shared.array((ENTRIES, PADDED), kind)
        own, sums = cuda.local.array(numbers, kind), cuda.local.array(counted, kind)
        work, tile = cuda.local.array(space, kind), cuda.local.array(size, kind)
        if diverged[run] >= 0:
            return
        for i in range(counted):
            sums[i] = 0.0
        if prompt < batch:
            for i in range(numbers):
                own[i] = data[owner[run], i, prompt]
            scale = kind(2.0 / batch)
            gradient(
                pointer(own), pointer(theta[run]), pointer(sums), scale, pointer(work), (pointer(tile), 1, size),
                (layers, size, heads, sparse), EVERY,
            )  # fmt: skip
        for start in range(0, counted, ENTRIES):
            for i in range(min(ENTRIES, counted - start)):
                shared[i, lane] = sums[start + i]
            cuda.syncthreads()
            if lane < min(ENTRIES, counted - start):
                total = shared[lane, 0]
                for other in range(1, THREADS):
                    total += shared[lane, other]
                partial[run, cuda.blockIdx.x, start + lane] = total
            cuda.syncthreads()

    @device
    def propose(theta, first, second, q, lr, rule, hyper, t):
        """An entry of parameters and moments after a step with gradient q; see ``kernels.propose``."""
        if rule == ADAM:
            beta1, beta2 = hyper[0], hyper[1]
            m = first + kind(1.0 - beta1) * (q - first)
            v = kind(beta2) * second + kind(1.0 - beta2) * q * q
            corrected = kind(math.sqrt(v)) / kind(math.sqrt(1.0 - beta2**t)) + kind(hyper[2])
            ratio = m / kind(1.0 - beta1**t) / corrected if m != 0 else kind(0.0)  # 0/0 is 0
            return theta - lr * ratio, m, v
        m = q if t == 1 else kind(hyper[0]) * first + kind(1.0 - hyper[1]) * q
        return theta - lr * m, m, second

    @cuda.jit
    def update(
        partial, theta, first, second, count, skipped, clipped, diverged, clip, lr, rate, rule, hyper, limit, step
    ):  # fmt: skip
        """A block a run: add up, check, clip, move. `rate` is the step's factor on lr [runs]."""
        run, lane = cuda.blockIdx.x, cuda.threadIdx.x
        g = cuda.shared.array(wide, kind)
        each = cuda.shared.array(THREADS, np.float64)
        more = cuda.shared.array(THREADS, np.float64)
        about = cuda.shared.array(2, np.float64)  # a line of its own: the simulator knows shared arrays by their line
        if diverged[run] >= 0:
            return
        largest = 0.0
        for i in range(lane, wide, THREADS):
            total = partial[run, 0, i]
            for block in range(1, partial.shape[1]):
                total += partial[run, block, i]
            g[i] = total
            value = abs(float(total))
            largest = max(largest, value if math.isfinite(value) else math.inf)
        each[lane] = largest
        cuda.syncthreads()
        if lane == 0:
            for other in range(1, THREADS):
                largest = max(largest, each[other])
            about[0] = largest  # of the absolute entries; infinite where one is not finite
        cuda.syncthreads()
        largest, square = about[0], 0.0
        moves = not math.isinf(largest)
        if moves and largest > 0.0:
            for i in range(lane, wide, THREADS):
                square += (float(g[i]) / largest) ** 2
        each[lane] = square
        cuda.syncthreads()
        if lane == 0:
            for other in range(1, THREADS):
                square += each[other]
            relative = math.sqrt(square)
            norm, factor = largest * relative, 1.0
            if moves and not math.isinf(clip[run]):
                if math.isfinite(norm):
                    factor = min(1.0, clip[run] / (norm + 1e-6))
                else:
                    factor = min(1.0, clip[run] / largest / relative)
            about[1] = factor
        cuda.syncthreads()
        lost, broken = 0.0, 0.0  # whether moments, and parameters, would not be finite
        own, scale, t = kind(rate * lr[run]), kind(about[1]), count[run] + 1
        for i in range(lane, wide, THREADS):
            after, m, v = theta[run, i], kind(0.0), kind(0.0)
            if moves:
                after, m, v = propose(after, first[run, i], second[run, i], g[i] * scale, own, rule[run], hyper[run], t)
            lost = max(lost, 0.0 if math.isfinite(m) and math.isfinite(v) else 1.0)
            broken = max(broken, 0.0 if math.isfinite(after) else 1.0)
        each[lane], more[lane] = lost, broken
        cuda.syncthreads()
        for other in range(THREADS):
            lost, broken = max(lost, each[other]), max(broken, more[other])
        moves = moves and (lost == 0.0 or broken > 0.0)  # see kernels.settle
        if moves:
            for i in range(lane, wide, THREADS):
                theta[run, i], first[run, i], second[run, i] = propose(
                    theta[run, i], first[run, i], second[run, i], g[i] * scale, own, rule[run], hyper[run], t
                )
        if lane == 0:
            if moves:
                clipped[run] += factor < 1.0
            else:
                skipped[run] += 1
            if broken > 0.0 or skipped[run] > limit:
                diverged[run] = step + 1
        cuda.syncthreads()
        if lane == 0 and moves:
            count[run] += 1

    return SimpleNamespace(draw=draw, add=add, lose=lose, update=update, numbers=numbers, wide=wide)
