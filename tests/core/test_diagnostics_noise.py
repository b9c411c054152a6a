"""Gradient noise against dense computations, and its null against what is known of Gaussians."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import Tensor

import lintrans as lt
from lintrans.diagnostics import derivatives, noise
from lintrans.diagnostics.noise import STATISTICS, Noise, gaussian_norms, gradient_noise, measure_noise, noise_table
from lintrans.diagnostics.tails import quantile_ratio

TASK = lt.LinearRegression(d=2, n=3)
MODEL = lt.LinearTransformer(layers=2, d=2, init_std=0.3)
SMALL: dict[str, Any] = {"batch": 6, "samples": 9, "reference": 2500, "engine": "reference"}
COMPILED = lt.LinearTransformer(layers=3, d=5, init_std=0.1)
COMPILED_TASK = lt.LinearRegression(d=5, n=7)


def dense(parameters: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise vectors [samples, G], the reference's gradient [G] and its error, by autograd on tokens, batch by batch."""

    def gradient(batch: int, step: int, stream: lt.Stream) -> Tensor:
        leaf = parameters.clone().requires_grad_()
        prompts = TASK.sample(batch, seed, step, stream=stream, dtype=torch.float64)
        (found,) = torch.autograd.grad(MODEL.loss(leaf, prompts), leaf)
        return found.flatten()

    parts = [(1000, 0), (1000, 1), (500, 2)]
    centre = sum((size * gradient(size, k, lt.Stream.REFERENCE) for size, k in parts), torch.zeros(())) / 2500
    rows = torch.stack([gradient(6, step, lt.Stream.NOISE) for step in range(9)])
    first, second = (gradient(1000, k, lt.Stream.REFERENCE) for k in (0, 1))
    return rows - centre, centre, torch.linalg.vector_norm(first - second) / 2


def test_noise_is_the_dense_noise() -> None:
    parameters = MODEL.init([0, 1], dtype=torch.float64)
    found = measure_noise(MODEL, TASK, parameters, seed=[4, 5], **SMALL)
    assert found.norms.dtype == found.covariance.dtype == torch.float64
    for run, seed in enumerate((4, 5)):
        vectors, centre, error = dense(parameters[run], seed)
        np.testing.assert_allclose(found.norms[run], torch.linalg.vector_norm(vectors, dim=-1), rtol=1e-9)
        np.testing.assert_allclose(found.gradient[run], centre, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.covariance[run], vectors.T @ vectors / 9, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.error[run], error, rtol=1e-6)
    assert torch.equal(found.norms, gradient_noise(MODEL, TASK, parameters, seed=[4, 5], **SMALL))


@pytest.mark.parametrize("prompts", [1, 13, 2**22])
def test_groups_change_nothing(monkeypatch: pytest.MonkeyPatch, prompts: int) -> None:
    parameters = MODEL.init([0, 1])
    whole = measure_noise(MODEL, TASK, parameters, **SMALL)
    monkeypatch.setattr(noise, "GROUP_PROMPTS", prompts)
    monkeypatch.setattr(noise, "GROUP_BYTES", 100 * prompts)
    again = measure_noise(MODEL, TASK, parameters, **SMALL)
    assert torch.equal(whole.norms, again.norms)
    assert torch.equal(whole.gradient, again.gradient)
    np.testing.assert_allclose(again.covariance, whole.covariance, rtol=1e-12, atol=1e-15)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    real = derivatives.batch_gradients

    def watched(*args: Any, **options: Any) -> Any:
        losses, slopes = real(*args, **options)
        sizes.append(slopes.numel() * 8)
        return losses, slopes

    monkeypatch.setattr(noise, "batch_gradients", watched)
    monkeypatch.setattr(noise, "GROUP_BYTES", 500)
    gradient_noise(MODEL, TASK, MODEL.init([0, 1]), **SMALL)
    assert max(sizes) <= 512  # at least one minibatch: 2 runs of 16 parameters
    assert len(sizes) > 4


def test_compiled_runs_are_single_runs_bit_for_bit() -> None:
    options: dict[str, Any] = {"batch": 130, "samples": 20, "reference": 2100}
    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 1e-4)):
        parameters = COMPILED.init([0, 1, 2], dtype=dtype)
        together = gradient_noise(COMPILED, COMPILED_TASK, parameters, seed=[3, 8, 3], **options)
        for run, seed in enumerate((3, 8, 3)):
            alone = gradient_noise(COMPILED, COMPILED_TASK, parameters[run], seed=seed, **options)
            assert alone.shape == (20,)
            assert torch.equal(together[run], alone)
        wide = gradient_noise(
            COMPILED, COMPILED_TASK, parameters.double(), seed=[3, 8, 3], engine="reference", **options
        )
        np.testing.assert_allclose(together, wide, rtol=tolerance)


def test_leading_axes_and_one_seed_for_all() -> None:
    parameters = MODEL.init([0, 1, 2, 3]).reshape(2, 2, *MODEL.parameter_shape)
    norms = gradient_noise(MODEL, TASK, parameters, seed=7, **SMALL)
    assert norms.shape == (2, 2, 9)
    np.testing.assert_allclose(norms[1, 0], gradient_noise(MODEL, TASK, parameters[1, 0], seed=7, **SMALL), rtol=1e-5)


class Linear:
    """Loss <theta, z> averaged over vectors z, so that a minibatch gradient is their mean."""

    parameter_shapes: Mapping[str, tuple[int, ...]] = {"theta": (4,)}

    def loss(self, parameters: Mapping[str, Tensor], prompts: Tensor) -> Tensor:
        return (parameters["theta"] @ prompts.T).mean(-1)


class Vectors:
    """Vectors z, Gaussian with unequal variances or with Student's t(3) radii."""

    def __init__(self, heavy: bool) -> None:
        self.heavy = heavy

    def sample(
        self, batch: int, seed: int, step: int, *, stream: lt.Stream, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        generator = np.random.default_rng([seed, step, int(stream)])
        draws = generator.normal(size=(batch, 4)) * np.array([1.0, 2.0, 0.5, 0.1])
        if self.heavy:
            draws /= np.sqrt(generator.chisquare(3, size=(batch, 1)) / 3)
        return torch.from_numpy(draws).to(dtype)


def linear_table(heavy: bool) -> pd.Series:
    parameters = {"theta": torch.zeros(1, 4, dtype=torch.float64)}
    found = measure_noise(Linear(), Vectors(heavy), parameters, batch=2, samples=2000, reference=50_000, seed=[1])
    return noise_table(found, [1], keep=1).iloc[0]


def test_gaussian_noise_has_no_excess() -> None:
    """Minibatch gradients are Gaussian here, with the covariance diag(1, 4, 1/4, 1/100) / 2."""
    row = linear_table(heavy=False)
    assert row["spectrum"] == pytest.approx([2.0, 0.5, 0.125, 0.005], rel=0.15)
    assert row["excess"] == pytest.approx(1.0, abs=0.07)
    assert row["excess_999"] == pytest.approx(1.0, abs=0.15)


def test_heavy_noise_has() -> None:
    assert linear_table(heavy=True)["excess"] > 1.25


def test_null_of_an_isotropic_covariance_is_chi() -> None:
    norms = gaussian_norms(np.full(10, 4.0), 200_000)
    for level in (0.1, 0.5, 0.99):
        assert np.quantile(norms, level) == pytest.approx(2 * stats.chi(10).ppf(level), rel=0.005)
    assert (gaussian_norms(np.full(10, 4.0), 50) == norms[:50]).all()
    assert not np.array_equal(gaussian_norms(np.full(10, 4.0), 50, seed=1), norms[:50])


def test_null_covariance_is_that_of_the_noise() -> None:
    found = measure_noise(MODEL, TASK, MODEL.init(0, dtype=torch.float64), **{**SMALL, "samples": 200})
    null = gaussian_norms(found.spectrum, 100_000)
    assert float(found.covariance.trace()) == pytest.approx(float((found.norms**2).mean()), rel=1e-9)
    squares = null**2
    variance = 2 * float((found.covariance**2).sum())
    assert squares.mean() == pytest.approx(float(found.covariance.trace()), abs=4 * math.sqrt(variance / 1e5))
    assert squares.var() == pytest.approx(variance, rel=0.1)


def test_merging_small_eigenvalues_moves_no_quantile(monkeypatch: pytest.MonkeyPatch) -> None:
    spectrum = np.geomspace(1.0, 1e-9, 60)
    merged = gaussian_norms(spectrum, 200_000)
    monkeypatch.setattr(noise, "MERGED", 0.0)
    full = gaussian_norms(spectrum, 200_000)
    for level in (0.99, 0.999):  # the two share no draws
        assert quantile_ratio(merged, level) == pytest.approx(quantile_ratio(full, level), rel=0.03)
    assert (gaussian_norms(np.zeros(3), 5) == 0).all()


def test_gradients_that_are_not_finite_are_said() -> None:
    lost = Noise(torch.tensor([[1.0, math.nan]]), torch.zeros(1, 2), torch.full((1, 2, 2), math.nan), torch.zeros(1))
    with pytest.raises(ValueError, match="not finite: give the parameters in float64"):
        _ = lost.spectrum
    row = noise_table(lost, [0], keep=1).iloc[0]
    assert row[list(STATISTICS)].isna().all()
    assert row["norms"] is None


def test_table_keeps_the_arrays_of_the_first_runs() -> None:
    found = measure_noise(MODEL, TASK, MODEL.init([0, 1]), seed=[0, 1], **SMALL)
    table = noise_table(found, [0, 1], null_samples=1000, keep=1)
    assert list(table.columns) == ["seed", *STATISTICS, "norms", "spectrum"]
    assert table.loc[0, "norms"] == pytest.approx(found.norms[0].numpy())
    assert table.loc[1, "norms"] is None
    assert table["excess"].to_numpy() == pytest.approx(table["q99"] / table["null_q99"])
    assert table["relative"].to_numpy() == pytest.approx(
        table["median"].to_numpy() / torch.linalg.vector_norm(found.gradient, dim=-1).numpy()
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [({"batch": 0}, "batch = 0"), ({"samples": 0}, "samples = 0"), ({"reference": 0}, "reference = 0")],
)
def test_bad_numbers_are_named(change: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        gradient_noise(MODEL, TASK, MODEL.init(0), **{**SMALL, **change})


def test_error_of_the_reference_falls_with_its_prompts() -> None:
    parameters = {"theta": torch.zeros(4, dtype=torch.float64)}
    options: dict[str, Any] = {"batch": 1, "samples": 1}
    trace = 1 + 4 + 0.25 + 0.01
    for prompts in (20_000, 80_000):
        found = measure_noise(Linear(), Vectors(heavy=False), parameters, reference=prompts, **options)
        assert float(found.error) == pytest.approx(math.sqrt(trace / prompts), rel=0.3)
    assert measure_noise(Linear(), Vectors(heavy=False), parameters, reference=1999, **options).error.isnan()
