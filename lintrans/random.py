r"""The counter-based generator, and who may draw what from it.

Every number the project draws comes from Philox4x32-7 (Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3": seven rounds are the fewest that pass all tests of BigCrush), a function of a key and a counter and nothing
else:

    key     = (seed, step)
    counter = (prompt, word, stream, attempt)

so the prompts of (seed, step) do not depend on the ensemble's make-up, on the order of draws, on the batch's split
or on the device; the first k prompts of a larger batch are the batch of k; and two roles (:class:`Stream`) never
share a number. Each call gives four 32-bit words, each word one uniform, (w + 1/2) / 2^32: fewer bits would cut the
normals where the outliers of deep models live.

Everything is computed in float64, on any torch device, with *prompts last*: ``[..., count, prompts]``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .devices import resolve_device
from .errors import UINT32, choice, each, room, seed_number, whole

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 7
SMALL_SHAPE = 0.2
"""Shapes of the Gamma law up to which the sampler for small shapes is the faster."""
MASK = UINT32 - 1
FRAME_ATTEMPT = 2
"""The counter's last word for normals behind a random frame: 0 is for other normals and for directions, 1 for
chi-squared variates. From 1 on there are attempts at Gamma variates too, but no law of covariates takes both kinds."""
TEACHER_ATTEMPT = MASK - 1
"""The counter's last word for teachers, whose numbers no law of covariates takes."""

Words: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]


class Stream(IntEnum):
    """Roles of random numbers; nothing is shared between two of them."""

    TRAINING = 0  # the minibatches of training
    TEST = 1  # the fixed test batch of the loss curves
    INIT = 2  # initial parameters
    EVALUATION = 3  # the fresh blocks behind typical losses
    NOISE = 4  # the minibatches of gradient noise
    REFERENCE = 5  # the large batch that gradient noise is measured against
    FEATURES = 6  # fixed random networks of tasks
    BATCHES = 7  # evaluation batches of curvature


def philox(c0: Tensor, c1: Tensor, c2: Tensor, c3: Tensor, k0: Tensor | int, k1: Tensor | int) -> Words:
    """Philox4x32-7 of a counter (c0, c1, c2, c3) and a key (k0, k1): four tensors of 32-bit words.

    Counter words are int64 tensors that hold 32-bit words; key words are too, or ints. All broadcast together.
    """
    for _ in range(ROUNDS):
        # int64 products wrap modulo 2^64; the arithmetic shift is masked, so both halves come out exact
        p0 = c0 * MULTIPLIERS[0]
        p1 = c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = ((p1 >> 32) & MASK) ^ c1 ^ k0, p1 & MASK, ((p0 >> 32) & MASK) ^ c3 ^ k1, p0 & MASK
        k0 = (k0 + WEYL[0]) & MASK
        k1 = (k1 + WEYL[1]) & MASK
    return c0, c1, c2, c3


def uniform(words: Tensor) -> Tensor:
    """(w + 1/2) / 2^32, float64, strictly between 0 and 1."""
    return (words.to(torch.float64) + 0.5) * 2.0**-32


def box_muller(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Two independent standard normals of two words: radius from the first, angle from the second."""
    radius = torch.sqrt(-2.0 * torch.log(uniform(first)))
    angle = 2.0 * math.pi * uniform(second)
    return radius * torch.sin(angle), radius * torch.cos(angle)


def role(stream: Any) -> Stream:
    """A stream, from itself or its name."""
    return stream if isinstance(stream, Stream) else Stream[choice("stream", stream, Stream.__members__)]


def several(seed: Any) -> bool:
    """Whether it is a sequence of seeds, or an array of them, and not one."""
    return (isinstance(seed, Sequence) and not isinstance(seed, str)) or bool(getattr(seed, "ndim", 0))


class Source:
    """All numbers that one role may draw at one step, for one seed or for several at once.

    A sequence of seeds adds a leading axis [seeds] to every draw; `step` is that of training, or the index of a block;
    `first` is the index of the first of `batch` prompts, so that a batch can be drawn in parts.
    """

    def __init__(
        self, seed: int | Sequence[int], step: int, stream: Stream, batch: int, *, first: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:  # fmt: skip
        self.step = whole("step", step, 0, UINT32 - 1)
        self.stream = role(stream)
        self.batch = whole("batch", batch, 1)
        self.first = whole("first", first, 0)
        whole("first + batch", self.first + self.batch, 1, UINT32)
        self.device = resolve_device(device)
        if several(seed):
            seeds = each("seed", seed, seed_number)
            if not seeds:
                raise ValueError("seed = [] holds no seed: give at least one")
            self.lead: tuple[int, ...] = (len(seeds),)
            keys = torch.tensor(seeds, dtype=torch.int64, device=self.device)
            self.key: Tensor | int = keys.reshape(-1, 1, 1)
        else:
            self.lead = ()
            self.key = seed_number(seed)
        room(f"batch = {self.batch:,} prompts", 8 * self.batch)
        self.prompts = torch.arange(self.first, self.first + self.batch, dtype=torch.int64, device=self.device)

    def _words(self, count: int, attempt: int, start: int = 0) -> Words:
        """`count` calls a prompt: four tensors [*seeds, count, batch]."""
        seeds = math.prod(self.lead)
        room(
            f"{4 * count:,} numbers for each of {self.batch:,} prompts of {seeds} seeds",
            32 * count * self.batch * seeds,
        )
        word = torch.arange(start, start + count, dtype=torch.int64, device=self.device).reshape(-1, 1)
        stream = torch.full_like(word, int(self.stream))
        tries = torch.full_like(word, attempt)
        return philox(self.prompts.expand(count, -1), word, stream, tries, self.key, self.step)

    def normals(self, count: int, attempt: int = 0) -> Tensor:
        """Standard normals [*seeds, count, batch], float64; the first k of a larger count are those of k.

        Another `attempt` (0, FRAME_ATTEMPT or TEACHER_ATTEMPT) gives others.
        """
        calls = -(-count // 4)
        a, b, c, d = self._words(calls, attempt)
        four = torch.stack([*box_muller(a, b), *box_muller(c, d)], dim=-2)  # [*seeds, calls, 4, batch]
        return four.reshape(*self.lead, 4 * calls, self.batch)[..., :count, :]

    def directions(self, count: int, d: int) -> Tensor:
        """Uniform points of the unit sphere in R^d, [*seeds, count, d, batch], float64; they use the words of normals.

        A uniform point of the ball in R^m, with a point of the circle as long as completes it to length 1, is a uniform
        point of the sphere in R^(m + 2) (for m = 1 Archimedes, "On the sphere and cylinder"), which U^(1 / (m + 2))
        times its length makes a point of the next ball. So two words give two coordinates, without a logarithm.
        """
        calls = max(1, -(-(d - d % 2) // 4))
        words = torch.stack(self._words(count * calls, 0), dim=-2).reshape(*self.lead, count, 4 * calls, self.batch)
        u = uniform(words)
        if d == 1:
            return torch.where(u[..., :1, :] < 0.5, -1.0, 1.0)
        ball = 2.0 * u[..., :1, :] - 1.0 if d % 2 else u[..., :0, :]
        rest = 2.0 * torch.sqrt(u[..., :1, :] * (1.0 - u[..., :1, :])) if d % 2 else torch.ones_like(u[..., :1, :])
        for pair in range(d // 2):
            radial, turn = u[..., 2 * pair : 2 * pair + 1, :], 2.0 * math.pi * u[..., 2 * pair + 1 : 2 * pair + 2, :]
            if pair:
                log_square = 2.0 / ball.shape[-2] * torch.log(radial)
                ball = torch.exp(0.5 * log_square) * ball
                rest = torch.sqrt(-torch.expm1(log_square))
            ball = torch.cat([ball, rest * torch.sin(turn), rest * torch.cos(turn)], dim=-2)
        return ball

    def uniforms(self, count: int) -> Tensor:
        """Uniforms on (0, 1) [*seeds, count, batch], float64; the first k of a larger count are those of k.

        They share no words with :meth:`normals` nor, in practice, with :meth:`log_gamma`: their attempt is the last.
        """
        calls = -(-count // 4)
        four = torch.stack([uniform(words) for words in self._words(calls, attempt=MASK)], dim=-2)
        return four.reshape(*self.lead, 4 * calls, self.batch)[..., :count, :]

    def chi_squared(self, degrees: Sequence[int], normals: Tensor) -> Tensor:
        """Chi-squared variates [*seeds, len(degrees), batch], float64, with the given degrees of freedom.

        -2 log u has two degrees; an odd one is the square of one of the `normals` [*seeds, odd ones, batch].
        """
        found, call, odd = [], 0, 0
        for degree in degrees:
            pairs = degree // 2
            calls = -(-pairs // 4)
            four = torch.stack([uniform(words) for words in self._words(calls, 1, call)], dim=-2)
            uniforms = four.reshape(*self.lead, 4 * calls, self.batch)[..., :pairs, :]
            total = -2.0 * torch.log(uniforms).sum(-2)
            found.append(total + normals[..., odd, :] ** 2 if degree % 2 else total)
            call, odd = call + calls, odd + degree % 2
        return torch.stack(found, dim=-2)

    def log_gamma(self, shape: float, count: int) -> Tensor:
        """Logarithms of Gamma(shape, 1) variates [*seeds, count, batch], float64.

        By :func:`marsaglia_tsang`, or :func:`liu_martin_syring` for shapes to :data:`SMALL_SHAPE`, of which two
        variates share the four words of a call. In log space, because variates of small shapes leave even float64's
        range. Each attempt has counters of its own; a later one is computed only where all earlier were rejected.
        """
        small = shape <= SMALL_SHAPE
        result = torch.full((*self.lead, count, self.batch), math.nan, dtype=torch.float64, device=self.device)
        flat = result.reshape(-1)
        waiting = torch.arange(flat.numel(), device=self.device)
        keys = self.key if isinstance(self.key, int) else self.key.reshape(-1)
        attempt = 0
        while waiting.numel():
            attempt += 1
            prompt = self.prompts[waiting % self.batch]
            token = (waiting // self.batch) % count
            key = keys if isinstance(keys, int) else keys[waiting // (self.batch * count)]
            word = token // 2 if small else token
            stream, tries = torch.full_like(token, int(self.stream)), torch.full_like(token, attempt)
            words = philox(prompt, word, stream, tries, key, self.step)
            if small:
                odd = token % 2 == 1
                own = torch.where(odd, words[2], words[0]), torch.where(odd, words[3], words[1])
                value, accepted = liu_martin_syring(*own, shape)
            else:
                value, accepted = marsaglia_tsang(*words, shape)
            flat[waiting[accepted]] = value[accepted]
            waiting = waiting[~accepted]
        return result


def marsaglia_tsang(a: Tensor, b: Tensor, c: Tensor, e: Tensor, shape: float) -> tuple[Tensor, Tensor]:
    """One attempt at log Gamma(shape, 1) from four words, and whether it is accepted.

    Marsaglia & Tsang (2000), "A simple method for generating gamma variables", on shape + 1 where shape < 1, brought
    back by G_k = G_{k+1} U^(1/k).
    """
    d = (shape + 1.0 if shape < 1.0 else shape) - 1.0 / 3.0
    x, _ = box_muller(a, b)
    root = 1.0 + x / math.sqrt(9.0 * d)
    log_v = 3.0 * torch.log(root.clamp_min(1e-300))
    accepted = (root > 0) & (torch.log(uniform(c)) < 0.5 * x * x + d - d * torch.exp(log_v) + d * log_v)
    value = math.log(d) + log_v
    return (value + torch.log(uniform(e)) / shape if shape < 1.0 else value), accepted


def liu_martin_syring(a: Tensor, b: Tensor, shape: float) -> tuple[Tensor, Tensor]:
    """One attempt at log Gamma(shape, 1), shape < 1, from two words, and whether it is accepted.

    Liu, Martin & Syring (2017), "Efficient simulation from a gamma distribution with small shape parameter". With
    probability r the proposal is X = U^(1/shape) < 1, accepted with exp(-X); else log X is exponential with rate
    1 - shape, accepted with exp(1 + log X - X). Nine attempts in ten succeed for small shapes.
    """
    r = 1.0 / (1.0 + shape / (math.e * (1.0 - shape)))
    u = uniform(a)
    inside = u <= r
    log_u = torch.log(torch.where(inside, u / r, (u - r) / (1.0 - r)))
    log_x = torch.where(inside, log_u / shape, -log_u / (1.0 - shape))
    limit = torch.where(inside, 0.0, 1.0 + log_x) - torch.exp(log_x)
    return log_x, torch.log(uniform(b)) < limit
