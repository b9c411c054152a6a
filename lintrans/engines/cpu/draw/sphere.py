"""Uniform points of the sphere inside a kernel, as ``lintrans.random.Source.directions`` draws them.

Two words give two coordinates: of the ball, by its radius, and of the circle that completes it to a sphere of two
dimensions more. With u = U the radius of a point of the ball in R^m is r = u^(1/m), and 1 - r^2, which becomes small as
often as u comes near 1, is taken from 1 - u, which float32 holds to full relative precision.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32, float64, int32, njit, types, uint32
from numba.extending import overload

from ..vector import INLINE, OPTIONS
from .gamma import exponential
from .normal import inline, log_positive, philox, sine_cosine, uniform

SERVES = ("Sphere", "GammaScaled")
THIRD = np.float32(1 / 3)
GUESS = 0x54A2FA8C  # bits of u^(-1/3) as a float32, plus a third of those of u, within 4 % for all u


def complement(word: Any, like: Any) -> Any:
    """1 - (word + 1/2) / 2^32 in the dtype of `like`, for kernels."""
    raise NotImplementedError


def centred(word: Any, like: Any) -> Any:
    """(word + 1/2) / 2^31 - 1 in the dtype of `like`, for kernels."""
    raise NotImplementedError


def inverse_cube_root(u: Any) -> Any:
    """u^(-1/3), for kernels."""
    raise NotImplementedError


@overload(complement, jit_options=INLINE)
def _complement(word, like):
    return lambda word, like: uniform(~word, like)


@overload(centred, jit_options=INLINE)
def _centred(word, like):
    if like == types.float32:
        return lambda word, like: (float32(int32(word ^ uint32(1 << 31))) + float32(0.5)) * float32(2.0**-31)
    return lambda word, like: (float64(int32(word ^ uint32(1 << 31))) + 0.5) * 2.0**-31


@inline
def _inverse_cube_root32(u):
    bits = np.float32(u).view(np.int32)
    y = np.int32(int32(GUESS) - int32(float32(bits) * THIRD)).view(np.float32)
    for _ in range(3):  # Newton's method for y^-3 = u
        y = y * (float32(4 / 3) - (THIRD * u) * (y * y * y))
    return y


@overload(inverse_cube_root, jit_options=INLINE)
def _inverse_cube_root(u):
    if u == types.float32:
        return lambda u: _inverse_cube_root32(u)

    def inverse_cube_root64(u):
        y = float64(_inverse_cube_root32(float32(u)))
        for _ in range(2):
            y = y * (4 / 3 - (u / 3) * (y * y * y))
        return y

    return inverse_cube_root64


@njit(**OPTIONS)
def _extend(out, base, held, radial, turn, radii, lanes):
    """Points of the sphere in R^held, rows from `base` on, become points of the sphere in R^(held + 2).

    radial, turn: two words a prompt; radii is scratch. With held = 0 there is no sphere yet, and with held = 1 the one
    coordinate of the ball in R is drawn here too.
    """
    row0, row1 = out[base + held], out[base + held + 1]
    zero, one, two = row0.dtype.type(0), row0.dtype.type(1), row0.dtype.type(2)
    for lane in range(lanes):
        row0[lane], row1[lane] = sine_cosine(turn[lane], zero)
    if held == 0:
        return
    if held == 1:
        ball = out[base]
        for lane in range(lanes):
            rest = two * math.sqrt(uniform(radial[lane], zero) * complement(radial[lane], zero))
            ball[lane] = centred(radial[lane], zero)
            row0[lane] *= rest
            row1[lane] *= rest
        return
    if held == 3:
        for lane in range(lanes):
            u = uniform(radial[lane], zero)
            inverse = inverse_cube_root(u)
            r = u * inverse * inverse
            # 1 - r^3 = (1 - r) (1 + r + r^2)
            rest = math.sqrt(complement(radial[lane], zero) * (one + r) / (one + r + r * r))
            row0[lane] *= rest
            row1[lane] *= rest
            radii[lane] = r
    else:
        for lane in range(lanes):  # in float64, which can take 1 - r^2 from r
            r = exponential(log_positive(uniform(radial[lane], 0.0)) / held)
            rest = zero + math.sqrt((1.0 - r) * (1.0 + r))
            row0[lane] *= rest
            row1[lane] *= rest
            radii[lane] = r
    for i in range(held):
        row = out[base + i]
        for lane in range(lanes):
            row[lane] *= radii[lane]


@njit(**OPTIONS)
def directions(out, words, radii, lanes, first, tokens, d, seed, step, stream):
    """Uniform points of the sphere in R^d, rows [tokens d, prompts].

    words: scratch for 4 `lanes` uint32; radii [lanes]: scratch of the dtype of `out`.
    """
    radial0, turn0 = words[:lanes], words[lanes : 2 * lanes]
    radial1, turn1 = words[2 * lanes : 3 * lanes], words[3 * lanes : 4 * lanes]
    calls = max(1, (d - d % 2 + 3) // 4)
    for token in range(tokens):
        held = d % 2
        for call in range(token * calls, (token + 1) * calls):
            for lane in range(lanes):
                a, b, c, e = philox(uint32(first + lane), uint32(call), stream, uint32(0), seed, step)
                radial0[lane] = a
                turn0[lane] = b
                radial1[lane] = c
                turn1[lane] = e
            if d == 1:
                row = out[token]
                for lane in range(lanes):
                    row[lane] = -1 if radial0[lane] < uint32(1 << 31) else 1
            if held < d - 1:
                _extend(out, token * d, held, radial0, turn0, radii, lanes)
                held += 2
            if held < d - 1:
                _extend(out, token * d, held, radial1, turn1, radii, lanes)
                held += 2
