"""Lengths of covariates inside a kernel: square roots of Gamma variates, as ``lintrans.random.Source.log_gamma``.

A first attempt for all prompts at once, in the dtype of the kernel, is accepted by a rule that takes no logarithm and
keeps a distance from its boundary that is larger than float32's rounding; then, in float64, come the full rule and
later attempts for those that it leaves open. So both dtypes decide as the reference does. The quick rule is for shapes
from 1 on and for those whose exponent 1 / (2 shape) is a whole number, so that multiplications raise to it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import float64, int32, int64, njit, uint32

from ....random import SMALL_SHAPE
from ..vector import OPTIONS
from .normal import inline, log_positive, log_uniform, philox, sine_cosine, tree6, uniform

SERVES = ("Sphere", "GammaScaled")
TINY = 1e-300
MOST_POWER = 30  # of a uniform, 2^-33 and more, that float64 holds
LOWEST_EXPONENT = -700.0  # exp of less is 0: lengths below 1e-304 are no different from none
SLACK = 1e-4
"""Distance of the quick rules from their boundaries; float32 errs by some 1e-6."""
SQUEEZE = 0.0331
"""U < 1 - SQUEEZE x^4 implies the full rule of Marsaglia & Tsang."""


@inline
def exponential(x):
    """Exp x in float64, 0 below LOWEST_EXPONENT; for x < 700."""
    y = max(x, LOWEST_EXPONENT)
    k = int32(math.floor(y * (1 / math.log(2)) + 0.5))
    r = (y - float64(k) * 0.6931471803691238) - float64(k) * 1.9082149292705877e-10  # ln 2 in two parts
    low = tree6(r, 1.0, 1.0, 1 / 2, 1 / 6, 1 / 24, 1 / 120)
    high = tree6(r, 1 / 720, 1 / 5040, 1 / 40320, 1 / 362880, 1 / 3628800, 1 / 39916800)
    cube = r * r * r
    total = low + (cube * cube) * high
    power = np.int64((int64(k) + int64(1023)) << int64(52)).view(np.float64)
    return total * power if x > LOWEST_EXPONENT else 0.0


@inline
def _power(u, power, one):
    """U^power for 0 <= power < 2^5, in the dtype of u and one."""
    found, factor = one, u
    for bit in range(5):
        found *= factor if (power >> bit) & 1 else one
        factor *= factor
    return found


@inline
def _raise(u, shape, power):
    """U^(1 / (2 shape)) in float64; see `power_of`."""
    return exponential((0.5 / shape) * log_positive(u)) if power == 0 else _power(u, power, 1.0)


@inline
def _large(w0, w1, w3, shape, power, size):
    """(x, root, length) of one attempt of Marsaglia & Tsang, on shape + 1 where shape < 1.

    The variate is d root^3 U^(1 / shape), without the last factor where shape >= 1; its square root takes one more
    square root and one exponential or power, and nothing on the way leaves the range of float64.
    """
    d, c = constants(shape)
    sine, _ = sine_cosine(w1, 0.0)
    x = math.sqrt(-2.0 * log_uniform(w0, 0.0)) * sine
    root = max(1.0 + c * x, 0.0)
    length = size * math.sqrt(d) * (root * math.sqrt(root))
    return x, root, length * _raise(uniform(w3, 0.0), shape, power) if shape < 1.0 else length


@inline
def constants(shape):
    """(d, c) of Marsaglia & Tsang, on shape + 1 where shape < 1."""
    d = (shape + 1.0 if shape < 1.0 else shape) - 1.0 / 3.0
    return d, 1.0 / math.sqrt(9.0 * d)


@inline
def _exact_large(w0, w1, w2, w3, shape, power, size):
    """The length by the full rule; NaN where rejected."""
    d, _ = constants(shape)
    x, root, length = _large(w0, w1, w3, shape, power, size)
    limit = 0.5 * x * x + d - d * (root * root * root) + 3.0 * d * log_positive(max(root, TINY))
    return length if (root > 0.0) & (log_uniform(w2, 0.0) < limit) else math.nan


@inline
def power_of(shape):
    """1 / (2 shape) where that is a whole number up to MOST_POWER, else 0."""
    nearest = math.floor(0.5 / shape + 0.5)
    return int64(nearest) if nearest <= MOST_POWER and nearest * 2.0 * shape == 1.0 else int64(0)


@inline
def _exact_small(w0, w1, shape, size):
    """The length by the full rule, of a variate of any size; NaN where rejected."""
    r = below_one(shape)
    u = (float64(w0) + 0.5) * 2.0**-32
    inside = u <= r
    log_u = log_positive(u / r if inside else (u - r) / (1.0 - r))
    log_x = log_u / shape if inside else -log_u / (1.0 - shape)
    root = exponential(0.5 * log_x)
    limit = -(root * root) if inside else 1.0 + log_x - root * root
    return size * root if log_uniform(w1, 0.0) < limit else math.nan


@inline
def below_one(shape):
    """r, the share of attempts at a variate below 1."""
    return 1.0 / (1.0 + shape / (math.e * (1.0 - shape)))


@inline
def _quick_small(u, w1, root, r, top, one, half, sixth, size, missing):
    """The length of a variate below 1 where 1 - X + X^2 / 2 - X^3 / 6 < exp(-X) accepts it; else `missing`.

    The rule of Liu, Martin & Syring, see ``random.Source``: X = (U / r)^(1 / shape) with probability r. root is that of
    X; r and top = 1 are less by SLACK.
    """
    square = root * root
    most = top - square * (one - square * (half - square * sixth))
    return size * root if (u < r) & (uniform(w1, one) < most) else missing


@inline
def _quick_large(w0, w1, w2, boost, c, top, squeeze, one, size, missing):
    """The length where the squeeze accepts it, nine times in ten; else `missing`.

    boost: U^(1 / (2 shape)) for shapes below 1, else 1; top = 1 is less by SLACK. For all normals x that are accepted
    1 + c x is above 0.
    """
    sine, _ = sine_cosine(w1, size)
    logarithm = log_uniform(w0, size)
    x = math.sqrt(-(logarithm + logarithm)) * sine
    root = max(one + c * x, one - one)
    square = x * x
    inside = uniform(w2, size) < top - squeeze * (square * square)
    return size * (root * math.sqrt(root)) * boost if inside else missing


@njit(**OPTIONS)
def _first_small(lengths, lanes, first, tokens, stream, seed, step, shape, scale, power):
    """First attempts of all tokens for shapes to SMALL_SHAPE, NaN where the quick rule does not accept."""
    kind = lengths.dtype.type
    r = below_one(shape)
    inverse, most, top, one = kind(1.0 / r), kind(r - SLACK), kind(1.0 - SLACK), kind(1.0)
    half, sixth, size, missing = kind(1 / 2), kind(1 / 6), kind(math.sqrt(scale)), kind(math.nan)
    for pair in range((tokens + 1) // 2):  # two words each; an odd number of tokens leaves a row to spare
        row0 = lengths[2 * pair * lanes : (2 * pair + 1) * lanes]
        row1 = lengths[(2 * pair + 1) * lanes : (2 * pair + 2) * lanes]
        for lane in range(lanes):
            w0, w1, w2, w3 = philox(uint32(first + lane), uint32(pair), stream, uint32(1), seed, step)
            u, v = uniform(w0, one), uniform(w2, one)
            row0[lane] = _quick_small(
                u, w1, _power(u * inverse, power, one), most, top, one, half, sixth, size, missing
            )
            row1[lane] = _quick_small(
                v, w3, _power(v * inverse, power, one), most, top, one, half, sixth, size, missing
            )


@njit(**OPTIONS)
def _first_large(lengths, lanes, first, tokens, stream, seed, step, shape, scale, power):
    """The same for larger shapes."""
    kind = lengths.dtype.type
    d, c = constants(shape)
    one, few, top, squeeze = kind(1.0), kind(c), kind(1.0 - SLACK), kind(SQUEEZE)
    size, missing = kind(math.sqrt(scale * d)), kind(math.nan)
    for token in range(tokens):
        row = lengths[token * lanes : (token + 1) * lanes]
        for lane in range(lanes):
            w0, w1, w2, w3 = philox(uint32(first + lane), uint32(token), stream, uint32(1), seed, step)
            boost = _power(uniform(w3, one), power, one) if shape < 1.0 else one
            row[lane] = _quick_large(w0, w1, w2, boost, few, top, squeeze, one, size, missing)


@njit(**OPTIONS)
def gamma_lengths(lengths, scratch, lanes, first, tokens, stream, seed, step, shape, scale):
    """sqrt(scale Gamma(shape, 1)) of all tokens of the prompts `first`, ..., `first` + `lanes` - 1.

    lengths [(tokens + 1) * lanes] receives them, [tokens, lanes] in its first places. scratch [2, at least tokens *
    lanes + 7] float64: there those wait, side by side, that the quick rule did not accept, so that they too are worked
    on several at a time.
    """
    waiting, values = scratch[0].view(np.int64), scratch[1]
    size = math.sqrt(scale)
    one = uint32(1)
    power = power_of(shape)
    if shape < 1.0 and power == 0:  # the full rule for all
        for i in range(tokens * lanes):
            lengths[i] = math.nan
    elif shape <= SMALL_SHAPE:
        _first_small(lengths, lanes, first, tokens, stream, seed, step, shape, scale, power)
    else:
        _first_large(lengths, lanes, first, tokens, stream, seed, step, shape, scale, power)
    count = 0
    for token in range(tokens):
        row = lengths[token * lanes : (token + 1) * lanes]
        for lane in range(lanes):  # without a branch, which would be guessed wrong one time in ten
            waiting[count] = (token << 32) | lane
            count += math.isnan(row[lane])
    attempt = 1
    while count > 0:
        whole = (count + 7) // 8 * 8  # full vectors; the rest of the last one is computed in vain
        for i in range(count, whole):
            waiting[i] = 0
        if shape <= SMALL_SHAPE:
            for i in range(whole):
                token = uint32(waiting[i] >> 32)
                w0, w1, w2, w3 = philox(
                    uint32(first + uint32(waiting[i])), token >> one, stream, uint32(attempt), seed, step
                )
                odd = (token & one) != uint32(0)
                values[i] = _exact_small(w2 if odd else w0, w3 if odd else w1, shape, size)
        else:
            for i in range(whole):
                w0, w1, w2, w3 = philox(
                    uint32(first + uint32(waiting[i])), uint32(waiting[i] >> 32), stream, uint32(attempt), seed, step
                )
                values[i] = _exact_large(w0, w1, w2, w3, shape, power, size)
        left = 0
        for i in range(count):
            place = waiting[i]
            if math.isnan(values[i]):
                waiting[left] = place
                left += 1
            else:
                lengths[(place >> 32) * lanes + (place & 0xFFFFFFFF)] = values[i]
        count = left
        attempt += 1
