r"""Random numbers inside a kernel: the laws and the counters of :mod:`lintrans.random`, a row of prompts at a time.

    key = (seed, step),   counter = (prompt, word, stream, attempt)

Every loop over prompts is free of branches, so that LLVM turns it into SIMD: logarithm, sine and cosine are
polynomials. A 32-bit word w means u = (w + 1/2) / 2^32 to the last bit, in float32 too: where u > 1/2 the logarithm is
taken of 1 - h with h = 1 - u, which float32 holds to full relative precision. Gamma variates are in float64
whatever the dtype, and only their square roots are formed: a first attempt for all prompts at once, accepted by a rule
that takes no logarithm, then the full rule and later attempts for those that it leaves open.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32, float64, int32, int64, njit, types, uint32, uint64
from numba.extending import overload

from ..random import MULTIPLIERS, SMALL_SHAPE, WEYL
from .vector import INLINE, OPTIONS

inline = njit(**INLINE)

M0, M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
W0, W1 = np.uint32(WEYL[0]), np.uint32(WEYL[1])
HALF_WORD = np.uint64(32)
TINY = 1e-300
MOST_POWER = 30  # of a uniform, 2^-33 and more, that float64 holds
LOWEST_EXPONENT = -700.0  # exp of less is 0: lengths below 1e-304 are no different from none


@inline
def philox(c0, c1, c2, c3, k0, k1):
    """Philox4x32-10 of a counter and a key, all uint32."""
    for _ in range(10):
        p0 = uint64(c0) * M0
        p1 = uint64(c2) * M1
        n0 = uint32(p1 >> HALF_WORD) ^ c1 ^ k0
        n2 = uint32(p0 >> HALF_WORD) ^ c3 ^ k1
        c1 = uint32(p1)
        c3 = uint32(p0)
        c0 = n0
        c2 = n2
        k0 = uint32(k0 + W0)
        k1 = uint32(k1 + W1)
    return c0, c1, c2, c3


# log: u = 2^e m with m in [1/sqrt 2, sqrt 2), log m = 2 artanh t with t = (m - 1) / (m + 1), |t| < 0.172.
# Angle: the nearest quarter turn is split off; sine and cosine of the rest, |z| <= 1/2 quarter turns, are Taylor sums.

# In float64 the polynomials are those of Sun's fdlibm (1993), within 2^-58, and summed as trees: a chain of dependent
# multiply-adds would take twice as long.

QUARTER = math.pi / 2
SINE = tuple((-1) ** k * QUARTER ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(5))
COSINE = tuple((-1) ** k * QUARTER ** (2 * k) / math.factorial(2 * k) for k in range(5))
ARTANH = tuple(1 / (2 * k + 1) for k in range(5))


def log_uniform(word: Any, like: Any) -> Any:
    """log((word + 1/2) / 2^32) in the dtype of `like`, for kernels."""
    raise NotImplementedError


def uniform(word: Any, like: Any) -> Any:
    """(word + 1/2) / 2^32 in the dtype of `like`, for kernels."""
    raise NotImplementedError


def split(u: Any) -> Any:
    """(m, e) with u = 2^e m and m in [1/sqrt 2, sqrt 2), for kernels."""
    raise NotImplementedError


def log_mantissa(m: Any) -> Any:
    """Log m for m in [1/sqrt 2, sqrt 2), for kernels."""
    raise NotImplementedError


def sine_cosine(word: Any, like: Any) -> Any:
    """Sine and cosine of 2 pi (word + 1/2) / 2^32 in the dtype of `like`, for kernels."""
    raise NotImplementedError


@inline
def split32(u):
    """(m, e) of a positive normal float32."""
    bits = np.float32(u).view(np.int32)
    e = float32(int32((bits >> int32(23)) - int32(127)))
    m = np.int32((bits & int32(0x7FFFFF)) | int32(0x3F800000)).view(np.float32)
    big = m > float32(math.sqrt(2))
    return (m * float32(0.5) if big else m), (e + float32(1) if big else e)


@inline
def split64(u):
    """(m, e) of a positive normal float64."""
    bits = np.float64(u).view(np.int64)
    e = float64(int32((int32(bits >> int64(32)) >> int32(20)) - int32(1023)))
    m = np.int64((bits & int64(0xFFFFFFFFFFFFF)) | int64(0x3FF0000000000000)).view(np.float64)
    big = m > math.sqrt(2)
    return (m * 0.5 if big else m), (e + 1.0 if big else e)


@inline
def artanh32(t):
    """Artanh of |t| < 0.172."""
    s = t * t
    a1, a2, a3, a4 = float32(ARTANH[1]), float32(ARTANH[2]), float32(ARTANH[3]), float32(ARTANH[4])
    return t + t * (s * (a1 + s * (a2 + s * (a3 + s * a4))))


@inline
def tree6(x, a0, a1, a2, a3, a4, a5):
    """a0 + a1 x + ... + a5 x^5."""
    square = x * x
    return (a0 + a1 * x) + square * ((a2 + a3 * x) + square * (a4 + a5 * x))


@inline
def artanh64(t):
    """Artanh of |t| < 0.172; fdlibm's log."""
    s = t * t
    low = tree6(
        s, 0.6666666666666735130, 0.3999999999940941908, 0.2857142874366239149,
        0.2222219843214978396, 0.1818357216161805012, 0.1531383769920937332,
    )  # fmt: skip
    cube = s * s * s
    return t + (0.5 * t) * (s * (low + cube * (cube * 0.1479819860511658591)))


@inline
def _fold(word):
    """(min(w, ~w), whether that is ~w): so that a signed conversion is exact in range."""
    high = int32(word) < int32(0)
    return (int32(~word) if high else int32(word)), high


@overload(uniform, jit_options=INLINE)
def _uniform(word, like):
    if like == types.float32:

        def uniform32(word, like):
            folded, high = _fold(word)
            h = (float32(folded) + float32(0.5)) * float32(2.0**-32)
            return float32(1) - h if high else h

        return uniform32

    def uniform64(word, like):
        folded, high = _fold(word)
        h = (float64(folded) + 0.5) * 2.0**-32
        return 1.0 - h if high else h

    return uniform64


@overload(split, jit_options=INLINE)
def _split(u):
    return (lambda u: split32(u)) if u == types.float32 else (lambda u: split64(u))


@overload(log_mantissa, jit_options=INLINE)
def _log_mantissa(m):
    if m == types.float32:
        return lambda m: float32(2) * artanh32((m - float32(1)) / (m + float32(1)))
    return lambda m: 2.0 * artanh64((m - 1.0) / (m + 1.0))


@overload(log_uniform, jit_options=INLINE)
def _log_uniform(word, like):
    if like == types.float32:

        def log32(word, like):
            folded, high = _fold(word)
            h = (float32(folded) + float32(0.5)) * float32(2.0**-32)
            m, e = split32(float32(1) - h if high else h)
            top = -h if (high and e == float32(0)) else m - float32(1)
            return e * float32(math.log(2)) + float32(2) * artanh32(top / (m + float32(1)))

        return log32

    return lambda word, like: log_positive(uniform(word, like))


@inline
def log_positive(u):
    """Log u of a positive normal float64."""
    m, e = split64(u)
    return e * math.log(2) + log_mantissa(m)


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
def _quarter(word):
    """Nearest quarter turn (uint32; its last two bits count) and the rest (int32, in 2^-30 quarter turns)."""
    shifted = uint32(word + uint32(1 << 29))
    return shifted >> uint32(30), int32(shifted & uint32((1 << 30) - 1)) - int32(1 << 29)


@overload(sine_cosine, jit_options=INLINE)
def _sine_cosine(word, like):
    if like == types.float32:
        s0, s1, s2, s3, s4 = (np.float32(c) for c in SINE[:5])
        c0, c1, c2, c3, c4 = (np.float32(c) for c in COSINE[:5])

        def rest32(word, like):
            quarter, rest = _quarter(word)
            z = (float32(rest) + float32(0.5)) * float32(2.0**-30)
            q = z * z
            sine = z * (s0 + q * (s1 + q * (s2 + q * (s3 + q * s4))))
            cosine = c0 + q * (c1 + q * (c2 + q * (c3 + q * c4)))
            return _turn(quarter, sine, cosine)

        return rest32

    def rest64(word, like):
        quarter, rest = _quarter(word)
        z = (float64(rest) + 0.5) * (QUARTER * 2.0**-30)
        q = z * z
        s = tree6(
            q, -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04,
            2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10,
        )  # fmt: skip
        c = tree6(
            q, 4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05,
            -2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11,
        )  # fmt: skip
        return _turn(quarter, z + z * (q * s), (1.0 - 0.5 * q) + (q * q) * c)

    return rest64


@inline
def _turn(quarter, sine, cosine):
    """Sine and cosine after so many quarter turns."""
    odd = (quarter & uint32(1)) != uint32(0)
    a = cosine if odd else sine
    b = sine if odd else cosine
    first = -a if (quarter & uint32(2)) != uint32(0) else a
    second = -b if ((quarter + uint32(1)) & uint32(2)) != uint32(0) else b
    return first, second


@njit(**OPTIONS)
def normals(out, lanes, first, seed, step, stream, attempt):
    """Standard normals [4 calls, prompts] of the prompts `first`, ..., `first` + `lanes` - 1."""
    zero = out[0, 0]
    for call in range(out.shape[0] // 4):
        row0 = out[4 * call]
        row1 = out[4 * call + 1]
        row2 = out[4 * call + 2]
        row3 = out[4 * call + 3]
        for lane in range(lanes):
            a, b, c, d = philox(uint32(first + lane), uint32(call), stream, uint32(attempt), seed, step)
            radius = math.sqrt(-(log_uniform(a, zero) + log_uniform(a, zero)))
            sine, cosine = sine_cosine(b, zero)
            row0[lane] = radius * sine
            row1[lane] = radius * cosine
            radius = math.sqrt(-(log_uniform(c, zero) + log_uniform(c, zero)))
            sine, cosine = sine_cosine(d, zero)
            row2[lane] = radius * sine
            row3[lane] = radius * cosine


@inline
def _raise(u, shape, power):
    """U^(1 / (2 shape)), four times as fast where `power` (see `power_of`) is that exponent, below 2^5, and not 0."""
    if power == 0:
        return exponential((0.5 / shape) * log_positive(u))
    found, factor = 1.0, u
    for bit in range(5):
        found *= factor if (power >> bit) & 1 else 1.0
        factor *= factor
    return found


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
def _quick_large(w0, w1, w2, w3, shape, power, size):
    """The length where the squeeze accepts it, nine times in ten; else NaN."""
    x, root, length = _large(w0, w1, w3, shape, power, size)
    square = x * x
    inside = (float64(w2) + 0.5) * 2.0**-32 < 1.0 - 0.0331 * (square * square)
    return length if inside & (root > 0.0) else math.nan


@inline
def _exact_large(w0, w1, w2, w3, shape, power, size):
    """The length by the full rule; NaN where rejected."""
    d, _ = constants(shape)
    x, root, length = _large(w0, w1, w3, shape, power, size)
    limit = 0.5 * x * x + d - d * (root * root * root) + 3.0 * d * log_positive(max(root, TINY))
    return length if (root > 0.0) & (log_uniform(w2, 0.0) < limit) else math.nan


@inline
def _quick_small(w0, w1, shape, power, size):
    """The length of a variate below 1 where 1 - X < exp(-X) accepts it, nine times in ten; else NaN.

    The rule of Liu, Martin & Syring, see ``random.Source``: X = (U / r)^(1 / shape) with probability r.
    """
    r = below_one(shape)
    u = uniform(w0, 0.0)
    root = _raise(u * (1.0 / r), shape, power)
    inside = (u <= r) & (uniform(w1, 0.0) < 1.0 - root * root)
    return size * root if inside else math.nan


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


@njit(**OPTIONS)
def gamma_lengths(scratch, lanes, first, tokens, stream, seed, step, shape, scale):
    """sqrt(scale Gamma(shape, 1)) of all tokens of the prompts `first`, ..., `first` + `lanes` - 1, float64.

    scratch [3, (tokens + 1) * lanes + 8]: row 0 receives the lengths, [tokens, lanes]; in the others those wait, side
    by side, that the quick rule did not accept, so that they too are worked on several at a time.
    """
    lengths, waiting, values = scratch[0], scratch[1].view(np.int64), scratch[2]
    size = math.sqrt(scale)
    one = uint32(1)
    power = power_of(shape)
    if shape <= SMALL_SHAPE:
        for pair in range((tokens + 1) // 2):  # two words each; an odd number of tokens leaves a row to spare
            row0 = lengths[2 * pair * lanes : (2 * pair + 1) * lanes]
            row1 = lengths[(2 * pair + 1) * lanes : (2 * pair + 2) * lanes]
            for lane in range(lanes):
                w0, w1, w2, w3 = philox(uint32(first + lane), uint32(pair), stream, one, seed, step)
                row0[lane] = _quick_small(w0, w1, shape, power, size)
                row1[lane] = _quick_small(w2, w3, shape, power, size)
    else:
        for token in range(tokens):
            row = lengths[token * lanes : (token + 1) * lanes]
            for lane in range(lanes):
                w0, w1, w2, w3 = philox(uint32(first + lane), uint32(token), stream, one, seed, step)
                row[lane] = _quick_large(w0, w1, w2, w3, shape, power, size)
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


@njit(**OPTIONS)
def chi_squared(row, mantissas, lanes, first, seed, step, stream, call, pairs):
    """-2 log of a product of `pairs` uniforms, chi-squared with 2 pairs degrees of freedom; returns the next call.

    Mantissas and exponents of the product are kept apart, `mantissas` in memory of the caller's.
    """
    zero, one = row.dtype.type(0), row.dtype.type(1)
    for lane in range(lanes):
        row[lane], mantissas[lane] = 0, 1
    for start in range(0, pairs, 4):
        left = pairs - start  # of the last four words, those beyond are not used
        for lane in range(lanes):
            a, b, c, d = philox(uint32(first + lane), uint32(call), stream, uint32(1), seed, step)
            m, e = split(mantissas[lane] * (uniform(a, zero) * (uniform(b, zero) if left > 1 else one)))
            both = (uniform(c, zero) if left > 2 else one) * (uniform(d, zero) if left > 3 else one)
            mantissas[lane], more = split(m * both)  # after two factors, as four may be too little for float32
            row[lane] += e + more
        call += 1
    minus_two, log_two = row.dtype.type(-2), row.dtype.type(math.log(2))
    for lane in range(lanes):
        row[lane] = minus_two * (row[lane] * log_two + log_mantissa(mantissas[lane]))
    return call
