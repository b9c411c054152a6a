"""Covariate laws against their moments; prompts as tokens against prompts as second moments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import lintrans as lt
from lintrans.random import Source, Stream
from lintrans.tasks.regression import frame

LAWS = [
    lt.Gaussian(), lt.Gaussian(0.5), lt.Sphere(), lt.Sphere(2.0), lt.GammaScaled(0.1, 10.0), lt.GammaScaled(2.5, 2.0),
]  # fmt: skip


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_second_moment_and_isotropy(law: Any) -> None:
    task = lt.LinearRegression(d=5, n=9, covariates=law)
    x = task.sample(4000, seed=2, dtype=torch.float64).covariates.reshape(-1, 5).numpy()
    squares = (x**2).sum(-1)
    error = 5 * squares.std() / math.sqrt(len(squares)) + 1e-12
    assert abs(squares.mean() - task.zero_loss) < error
    second = x.T @ x / len(x)
    spread = 6 * np.sqrt((x[:, :, None] * x[:, None, :]).var(0) / len(x))
    assert (np.abs(second - task.zero_loss / 5 * np.eye(5)) < spread).all()


def test_squared_length_of_the_heavy_tailed_law_is_gamma() -> None:
    task = lt.LinearRegression(d=3, n=4, covariates=lt.GammaScaled(0.1, 10.0))
    squares = (task.sample(2000, dtype=torch.float64).covariates.reshape(-1, 3) ** 2).sum(-1).numpy()
    assert stats.kstest(squares, stats.gamma(0.1, scale=10.0).cdf).pvalue > 1e-3


def test_gamma_with_shape_half_d_and_scale_two_is_gaussian() -> None:
    task = lt.LinearRegression(d=5, n=4, covariates=lt.GammaScaled(2.5, 2.0))
    assert stats.kstest(task.sample(3000, dtype=torch.float64).covariates.ravel().numpy(), "norm").pvalue > 1e-3


def test_contexts_drawn_by_their_factor_are_gaussian() -> None:
    """Against covariates of the same law that are drawn one by one."""
    d, n, batch = 3, 8, 20_000
    tasks = lt.LinearRegression(d, n), lt.LinearRegression(d, n, lt.GammaScaled(d / 2, 2.0))
    assert [task.factored for task in tasks] == [True, False]
    drawn = [task.sample(batch, seed=4, dtype=torch.float64) for task in tasks]
    assert stats.kstest(drawn[0].covariates.ravel().numpy(), "norm").pvalue > 1e-3
    flat = drawn[0].covariates.reshape(batch, -1).numpy()
    assert np.abs(np.corrcoef(flat.T) - np.eye(flat.shape[1])).max() < 5 / math.sqrt(batch)
    for statistic in (
        lambda p: torch.linalg.eigvalsh(p.moments().xx.permute(2, 0, 1))[:, 0],
        lambda p: torch.linalg.eigvalsh(p.moments().xx.permute(2, 0, 1))[:, -1],
        lambda p: torch.logdet(p.moments().xx.permute(2, 0, 1)),
        lambda p: (p.covariates[:, 0] * p.covariates[:, 1]).sum(-1),  # two tokens
        lambda p: p.covariates[:, :-1].sum((1, 2)).abs(),
        lambda p: (p.covariates[:, 0] ** 2).sum(-1) * (p.covariates[:, n - 1] ** 2).sum(-1),
        lambda p: p.moments().yy,
        lambda p: (p.covariates[:, 0] * p.covariates[:, -1]).sum(-1),  # with the query
    ):
        one, other = (statistic(prompts).numpy() for prompts in drawn)
        assert stats.ks_2samp(one, other).pvalue > 1e-3


def test_frames_are_orthonormal_and_point_anywhere() -> None:
    made = frame(Source(1, 0, Stream.TRAINING, 5000).normals(15).reshape(5, 3, 5000))
    products = torch.einsum("nib,njb->bij", made, made)
    assert (products - torch.eye(3, dtype=torch.float64)).abs().max() < 1e-12
    for column in range(3):  # squares of a uniform unit vector's entries in five dimensions
        for token in range(5):
            entry = made[token, column].numpy()
            assert stats.kstest(entry**2, stats.beta(0.5, 2).cdf).pvalue > 1e-3
            assert abs((entry > 0).mean() - 0.5) < 5 / math.sqrt(4 * len(entry))


def test_teachers_are_standard_normal_and_answer_every_token() -> None:
    task = lt.LinearRegression(d=2, n=5)
    prompts = task.sample(3000, dtype=torch.float64)
    teachers = torch.linalg.lstsq(prompts.covariates, prompts.responses.unsqueeze(-1)).solution.squeeze(-1)
    residual = (prompts.covariates @ teachers.unsqueeze(-1)).squeeze(-1) - prompts.responses
    assert residual.abs().max() < 1e-9
    assert stats.kstest(teachers.ravel().numpy(), "norm").pvalue > 1e-3


@given(
    d=st.integers(1, 6),
    n=st.integers(1, 9),
    batch=st.integers(1, 7),
    seed=st.integers(0, 2**32 - 1),
    step=st.integers(0, 10**6),
    law=st.sampled_from(LAWS),
)
def test_tokens_and_moments_agree_for_one_key(d: int, n: int, batch: int, seed: int, step: int, law: Any) -> None:
    task = lt.LinearRegression(d, n, law)
    from_tokens = task.sample(batch, seed, step, dtype=torch.float64).moments()
    direct = task.sample_moments(batch, seed, step, dtype=torch.float64)
    for one, other in zip(from_tokens, direct, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12 * max(1.0, float(one.abs().max())))


@given(split=st.integers(1, 9), seed=st.integers(0, 2**32 - 1))
def test_the_first_prompts_of_a_larger_batch_are_the_smaller_one(split: int, seed: int) -> None:
    task = lt.LinearRegression(3, 4)
    whole = task.sample(10, seed)
    assert torch.equal(whole.covariates[:split], task.sample(split, seed).covariates)
    assert torch.equal(whole.responses[split:], task.sample(10 - split, seed, first=split).responses)


def test_dtypes_agree_to_rounding() -> None:
    task = lt.LinearRegression()
    wide = task.sample(10, dtype=torch.float64).covariates
    assert torch.equal(task.sample(10, dtype=torch.float32).covariates, wide.to(torch.float32))
    assert task.sample(10).covariates.dtype == torch.get_default_dtype()


def test_shapes_and_several_seeds() -> None:
    task = lt.LinearRegression(d=5, n=20)
    prompts = task.sample(batch=7, seed=[4, 9], step=3)
    assert prompts.covariates.shape == (2, 7, 21, 5)
    assert prompts.responses.shape == (2, 7, 21)
    assert torch.equal(prompts.covariates[1], task.sample(7, 9, 3).covariates)
    assert (prompts.n, prompts.d, prompts.batch) == (20, 5, 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"d": 0}, "d = 0 is not allowed"),
        ({"n": 0}, "n = 0 is not allowed"),
        ({"n": 2.0}, "n = 2.0 .* no whole number"),
        ({"d": True}, "d = True .* no whole number"),
        ({"covariates": "gaussian"}, "covariates = 'gaussian' is no law"),
        ({"covariates": lt.Gaussian}, "is no law"),
    ],
)
def test_bad_tasks_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        lt.LinearRegression(**arguments)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_bad_laws_are_named(bad: float) -> None:
    for make in (
        lt.Gaussian,
        lt.Sphere,
        lambda value: lt.GammaScaled(value, 1.0),
        lambda value: lt.GammaScaled(1.0, value),
    ):
        with pytest.raises(ValueError, match="is not allowed: give a finite number >"):
            make(bad)


def test_a_law_that_draws_another_shape_is_named() -> None:
    class Flat(lt.Gaussian):
        def draw(self, source: Source, tokens: int, d: int) -> torch.Tensor:
            return source.normals(tokens * d)

    with pytest.raises(
        ValueError, match=r"Flat.draw\(source, tokens=5, d=3\) gave \[2, 15, 6\], not .* = \[2, 5, 3, 6\]"
    ):
        lt.LinearRegression(3, 4, Flat()).sample(6, seed=[0, 1])

    class Nothing(lt.Gaussian):
        def draw(self, source: Source, tokens: int, d: int) -> Any:
            return None

    with pytest.raises(ValueError, match="gave NoneType, not a tensor"):
        lt.LinearRegression(3, 4, Nothing()).sample(6)


def test_prompts_of_wrong_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"covariates \[..., batch, n \+ 1, d\]"):
        lt.Prompts(torch.zeros(4, 3, 2), torch.zeros(4, 2))
