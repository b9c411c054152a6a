"""Prompts drawn by compiled code: the generator's known answers, the reference's prompts, and the laws themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

import lintrans as lt

draw = pytest.importorskip("lintrans.engines.cpu.draw.draw")
laws = pytest.importorskip("lintrans.engines.laws")
variates = pytest.importorskip("lintrans.engines.cpu.draw.normal")

LAWS = [
    (lt.Gaussian(1.5), 0, 1.5, 0.0),
    (lt.Sphere(2.0), 1, 2.0, 0.0),
    (lt.GammaScaled(0.1, 10.0), 2, 0.1, 10.0),
    (lt.GammaScaled(0.5, 3.0), 2, 0.5, 3.0),
    (lt.GammaScaled(2.5, 2.0), 2, 2.5, 2.0),
    (lt.GammaScaled(0.15, 10.0), 2, 0.15, 10.0),
    (lt.GammaScaled(0.4, 3.0), 2, 0.4, 3.0),
]


FACTORED = [(1, 2), (1, 5), (2, 4), (3, 8), (4, 9)]
"""(d, n) of contexts drawn by their triangular factor."""


def tile(
    dtype: Any, *, first: int = 0, lanes: int = 40, count: int = 10**9, d: int = 3, n: int = 4,
    law: tuple[int, float, float] = (0, 1.0, 0.0),
) -> np.ndarray[Any, Any]:  # fmt: skip
    """Prompts of seed 3, step 7 as rows [tokens and teacher, prompts]."""
    seed, step = 3, 7
    rows = laws.rows_of(laws.Drawn(*law, n), d)
    out, norms, scratch = np.zeros((rows, lanes), dtype), np.zeros(lanes, dtype), np.zeros((3, (n + 2) * lanes + 8))
    draw.prompts(out, norms, scratch, lanes, first, count, np.uint32(seed), np.uint32(step), np.uint32(0), n, d, *law)
    return out[: (n + 2) * d]


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48)),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x5207DDC2, 0x45165E59, 0x4D8EE751, 0x8C52F662)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0x4DFCCABA, 0x190A87F0, 0xC47362BA, 0xB6B5242A),
        ),
    ],
)
def test_philox_known_answers(counter: tuple[int, ...], key: tuple[int, ...], words: tuple[int, ...]) -> None:
    """The three vectors published with Random123."""
    import numba

    call = numba.njit(lambda c0, c1, c2, c3, k0, k1: variates.philox(c0, c1, c2, c3, k0, k1))
    assert tuple(int(word) for word in call(*(np.uint32(value) for value in (*counter, *key)))) == words


@pytest.mark.parametrize(("law", "code", "first", "second"), LAWS, ids=lambda value: str(value))
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 4e-6)])
def test_prompts_are_the_reference_ones(
    dtype: Any, tolerance: float, law: Any, code: int, first: float, second: float
) -> None:
    """To rounding, the rejections of the Gamma law included."""
    n, d, batch = 4, 3, 40_000
    task = lt.LinearRegression(d=d, n=n, covariates=law)
    expected = task.sample(batch, seed=3, step=7, dtype=torch.float64)
    rows = tile(dtype, lanes=batch, law=(code, first, second))
    x = rows[: (n + 1) * d].reshape(n + 1, d, batch).transpose(2, 0, 1).astype(np.float64)
    w = rows[(n + 1) * d :].T.astype(np.float64)
    size = np.linalg.norm(expected.covariates.numpy(), axis=-1, keepdims=True) + 1e-30
    np.testing.assert_array_less(np.abs(x - expected.covariates.numpy()) / size, tolerance)
    y = (x * w[:, None]).sum(-1)
    scale = np.linalg.norm(x, axis=-1) * np.linalg.norm(w, axis=-1)[:, None] + 1e-30
    np.testing.assert_array_less(np.abs(y - expected.responses.numpy()) / scale, 2 * tolerance)


@pytest.mark.parametrize("d", [1, 2, 4, 5, 6, 7, 9])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 4e-6)])
def test_points_of_spheres_are_the_reference_ones(dtype: Any, tolerance: float, d: int) -> None:
    """To rounding of every coordinate, small ones too."""
    n, batch = 2, 20_000
    expected = lt.LinearRegression(d, n, lt.Sphere()).sample(batch, 3, 7, dtype=torch.float64)
    rows = tile(dtype, lanes=batch, d=d, n=n, law=(1, 1.0, 0.0)).astype(np.float64)
    x = rows[: (n + 1) * d].reshape(n + 1, d, batch).transpose(2, 0, 1)
    np.testing.assert_allclose(x, expected.covariates, rtol=10 * tolerance, atol=tolerance / 10)
    y = (x * rows[(n + 1) * d :].T[:, None]).sum(-1)
    np.testing.assert_allclose(y, expected.responses, rtol=0, atol=20 * tolerance)


@pytest.mark.parametrize(("d", "n"), FACTORED)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_factors_and_frames_are_the_reference_ones(dtype: Any, tolerance: float, d: int, n: int) -> None:
    batch = 2000
    task = lt.LinearRegression(d, n, lt.Gaussian(1.5))
    prompts = task.sample(batch, 3, 7, dtype=torch.float64)
    moments = task.sample_moments(batch, 3, 7, dtype=torch.float64)
    law, first, second, rows = laws.tokens_of(task)
    assert (law, rows) == (laws.FRAME, n)
    found = tile(dtype, lanes=batch, d=d, n=n, law=(law, first, second)).astype(np.float64)
    x = found[: (n + 1) * d].reshape(n + 1, d, batch).transpose(2, 0, 1)
    np.testing.assert_allclose(x, prompts.covariates, rtol=0, atol=10 * tolerance)
    y = (x * found[(n + 1) * d :].T[:, None]).sum(-1)
    np.testing.assert_allclose(y, prompts.responses, rtol=0, atol=100 * tolerance)

    law, first, second, rows = laws.moments_of(task)
    assert (law, rows) == (laws.FACTOR, d)
    found = tile(dtype, lanes=batch, d=d, n=d, law=(law, first, second)).astype(np.float64)
    factor = found[: d * d].reshape(d, d, batch)
    factor[np.tril_indices(d, -1)] = 0
    np.testing.assert_allclose(np.einsum("kib,kjb->ijb", factor, factor) / d, moments.xx, rtol=0, atol=100 * tolerance)
    np.testing.assert_allclose(found[d * d : d * d + d], moments.query, rtol=0, atol=10 * tolerance)


def test_a_prompt_depends_on_its_own_index_only() -> None:
    cases: list[dict[str, Any]] = [{"law": law[1:]} for law in LAWS]
    cases += [{"law": (laws.FACTOR, 1.0, 8.0), "n": 3}, {"law": (laws.FRAME, 1.0, 8.0), "n": 8}]
    for case in cases:
        whole = tile(np.float32, lanes=80, **case)
        np.testing.assert_array_equal(tile(np.float32, first=40, lanes=40, **case), whole[:, 40:])
        np.testing.assert_array_equal(tile(np.float32, lanes=80, count=33, **case)[:, :33], whole[:, :33])
        assert not tile(np.float32, lanes=80, count=33, **case)[:, 33:].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normals_have_their_law(dtype: Any) -> None:
    values = np.sort(tile(dtype, lanes=20_000).reshape(-1).astype(np.float64))
    assert scipy.stats.kstest(values, "norm").pvalue > 0.01
    assert abs(values.mean()) < 4 / np.sqrt(values.size)
    for power, moment in ((2, 1), (4, 3), (6, 15)):
        error = np.sqrt((values ** (2 * power)).mean() / values.size)
        assert abs((values**power).mean() - moment) < 4 * error


@pytest.mark.parametrize(
    ("shape", "scale"), [(0.02, 1.0), (0.1, 10.0), (0.2, 3.0), (0.21, 3.0), (1.0, 2.0), (2.5, 2.0), (30.0, 0.1)]
)
def test_squared_lengths_are_gamma(shape: float, scale: float) -> None:
    rows = tile(np.float64, lanes=40_000, law=(2, shape, scale))
    squares = (rows[:3] ** 2).sum(0)
    assert scipy.stats.kstest(squares, "gamma", args=(shape, 0, scale)).pvalue > 0.01


def test_uniforms_use_all_bits() -> None:
    """Words at both ends of the range give the logarithm to full relative precision in float32."""
    import numba

    call = numba.njit(lambda word, like: variates.log_uniform(word, like))
    for word in (0, 1, 2, 2**31 - 1, 2**31, 2**32 - 2**20, 2**32 - 2, 2**32 - 1, 3037000499, 3037000500):
        exact = float(np.log1p(-(2**32 - word - 0.5) / 2**32)) if word >= 2**31 else float(np.log((word + 0.5) / 2**32))
        assert call(np.uint32(word), np.float64(0)) == pytest.approx(exact, rel=1e-13)
        assert float(call(np.uint32(word), np.float32(0))) == pytest.approx(exact, rel=3e-7)
