r"""Random numbers inside a kernel: the laws and the counters of :mod:`lintrans.random`, a row of prompts at a time.

    key = (seed, step),   counter = (prompt, word, stream, attempt)

Every loop over prompts is free of branches, so that LLVM turns it into SIMD: logarithm, sine and cosine are
polynomials. A 32-bit word w means u = (w + 1/2) / 2^32 to the last bit, in float32 too: where u > 1/2 the logarithm is
taken of 1 - h with h = 1 - u, which float32 holds to full relative precision.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32, float64, int32, int64, njit, types, uint32, uint64
from numba.extending import overload

from ....random import MULTIPLIERS, ROUNDS, WEYL
from ..vector import INLINE, OPTIONS

inline = njit(**INLINE)

M0, M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
W0, W1 = np.uint32(WEYL[0]), np.uint32(WEYL[1])
HALF_WORD = np.uint64(32)


@inline
def philox(c0, c1, c2, c3, k0, k1):
    """Philox4x32-7 of a counter and a key, all uint32."""
    for _ in range(ROUNDS):
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
