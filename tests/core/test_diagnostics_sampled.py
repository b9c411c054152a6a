"""Instruments for many parameters against the fast ones, and against a Hessian that is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

import lintrans as lt
from lintrans.diagnostics.curvature import conditions
from lintrans.diagnostics.noise import measure_noise, noise_table
from lintrans.diagnostics.sampled import (
    WHOLE,
    layer_noise,
    layers_of,
    met_entries,
    sample_entries,
    sampled_conditions,
    sampled_diagonal,
    weighted_middle,
)

MODEL, TASK = lt.LinearTransformer(layers=2, d=3), lt.LinearRegression(d=3, n=6)


@dataclass(frozen=True)
class Bowl:
    """Loss sum_i c_i x_i^2 / 2 of four parameters, two blocks: its Hessian is diagonal and known."""

    curvatures: tuple[float, ...] = (8.0, 2.0, 0.0, 3.0, 1.0, 0.5)
    parameter_shape: tuple[int, ...] = (6,)
    default_dtype: torch.dtype = torch.float64

    @property
    def structural_zeros(self) -> Tensor:
        return torch.zeros(self.parameter_shape, dtype=torch.bool)

    @property
    def blocks(self) -> tuple[Tensor, ...]:
        return torch.arange(3), torch.arange(3, 6)

    def init(self, seed: Any = 0, **options: Any) -> Tensor:
        return torch.ones(self.parameter_shape, dtype=torch.float64)

    def draw(self, task: Any, batch: int, seed: Any = 0, step: int = 0, **options: Any) -> Any:
        return task.sample(batch, 0, step)

    def numbers(self, prompts: Any) -> int:
        return math.prod(self.parameter_shape)

    def loss(self, parameters: Tensor, prompts: Any) -> Tensor:
        return 0.5 * (torch.tensor(self.curvatures, dtype=parameters.dtype) * parameters**2).sum(-1)


@pytest.fixture
def batch() -> Any:
    return TASK.sample(40, seed=1, dtype=torch.float64)


def test_with_all_entries_r_med_is_that_of_the_fast_instruments(batch: Any) -> None:
    parameters = MODEL.init(3, dtype=torch.float64) * 4
    fast = conditions(MODEL, parameters, batch, eigenvalues=False)
    found = sampled_conditions(MODEL, parameters, batch, sample_entries(MODEL, 0))
    for name, value in fast.items():
        assert found[name] == pytest.approx(float(value), rel=1e-9), name
    assert found["r_lower"] == pytest.approx(float(lt.robust_condition_number(MODEL, parameters, batch)), rel=1e-9)
    factors = found["r_blocks"], found["r_used"] / found["r_blocks"], found["r_lower"] / found["r_used"]
    assert math.prod(factors) == pytest.approx(found["r_lower"])


def test_entries_of_a_known_hessian() -> None:
    bowl: Any = Bowl()
    prompts: Any = lt.LinearRegression(d=2, n=3).sample(2)
    places = torch.tensor([0, 3, 5])
    diagonal = sampled_diagonal(bowl, torch.ones(6, dtype=torch.float64), prompts, places)
    assert diagonal.tolist() == [8.0, 3.0, 0.5]
    found = sampled_conditions(bowl, torch.ones(6, dtype=torch.float64), prompts, sample_entries(bowl, 0))
    assert found["r_lower"] == 8.0 / 1.0
    assert found["r_midpoint"] == pytest.approx(8.0 / 1.5)
    assert found["r_used"] == 8.0 / 2.0  # without the entry that is zero
    assert (found["within_0"], found["within_1"]) == (8.0 / 5.0, 3.0)
    assert found["r_blocks"] == pytest.approx(math.sqrt(8.0 / 5.0 * 3.0))
    assert (found["block_0"], found["block_1"]) == (5.0, 1.0)
    one = sample_entries(bowl, 0, layers={"first": torch.tensor([0, 1])})
    assert (one.names, one.layers.tolist()) == (("first",), [0, 0, -1, -1, -1, -1])


def test_a_sample_stands_for_its_blocks() -> None:
    model = lt.LinearTransformer(layers=3, d=5)
    few = sample_entries(model, 10, seed=2)
    assert [int((few.layers == number).sum()) for number in range(len(model.blocks))] == [10] * len(model.blocks)
    assert float(few.weights.sum()) + few.zeros == 150
    assert len(set(few.places.tolist())) == len(few.places)
    for number, block in enumerate(model.blocks):
        assert set(few.places[few.layers == number].tolist()) <= set(block.tolist())
    assert few.names == model.block_names
    other = sample_entries(model, 10, seed=3)
    assert few.places.tolist() != other.places.tolist()
    assert sample_entries(model, 10, seed=2).places.tolist() == few.places.tolist()


def test_entries_that_are_not_met_are_left_out_and_count_as_zero() -> None:
    bowl: Any = Bowl()
    prompts: Any = lt.LinearRegression(d=2, n=3).sample(2)
    point = torch.ones(6, dtype=torch.float64)
    met = met_entries(bowl, point, prompts)
    assert met.tolist() == [True, True, False, True, True, True]
    sample = sample_entries(bowl, 2, met=met)
    assert (sample.zeros, set(sample.places[:2].tolist())) == (1, {0, 1})
    assert sample.weights.tolist() == [1.0, 1.0, 1.5, 1.5]
    found = sampled_conditions(bowl, point, prompts, sample_entries(bowl, 0, met=met))
    every = sampled_conditions(bowl, point, prompts, sample_entries(bowl, 0))
    assert found == every
    few = sample_entries(bowl, 1, met=torch.arange(6) != 3).places
    more = sample_entries(bowl, 2, met=torch.arange(6) != 3).places
    assert set(few.tolist()) < set(more.tolist())  # one order


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0, 4.0], [5.0, 1.0, 3.0], [2.0]])
def test_a_weighted_median_is_that_of_repeated_values(values: list[float]) -> None:
    some = torch.tensor(values, dtype=torch.float64)
    assert weighted_middle(some, torch.ones_like(some)) == np.median(values)
    assert weighted_middle(some, torch.ones_like(some), "lower") == float(some.median())
    repeated = [value for value, times in zip(values, (3, 1, 2, 4), strict=False) for _ in range(times)]
    weights = torch.tensor([3.0, 1.0, 2.0, 4.0], dtype=torch.float64)[: len(values)]
    assert weighted_middle(some, weights) == np.median(repeated)


def test_noise_is_that_of_the_fast_instruments() -> None:
    parameters = MODEL.init([5], dtype=torch.float64)
    measured = measure_noise(MODEL, TASK, parameters, seed=[5], batch=20, samples=200, reference=4000)
    fast = noise_table(measured, [5]).iloc[0]
    layers = layers_of(MODEL)
    table = layer_noise(MODEL, TASK, parameters[0], layers, seed=5, batch=20, samples=200, reference=4000).set_index(
        "layer"
    )
    own: dict[str, Any] = dict(zip(table.columns, table.loc[WHOLE], strict=True))
    for name in ("median", "relative", "q99", "reference_error"):
        assert own[name] == pytest.approx(fast[name], rel=1e-6), name
    assert own["null_q99"] == pytest.approx(fast["null_q99"] * math.exp(-own["null_error"]), rel=1e-3)
    assert abs(own["null_error"]) < 0.05
    assert list(table.index) == [WHOLE, *layers]
    assert (table.loc[list(layers), "median"] < own["median"]).all()


@dataclass(frozen=True)
class Cloud(Bowl):
    """A model whose gradient is the mean of its batch: noise of a known covariance, here the identity."""

    size: int = 400
    parameter_shape: tuple[int, ...] = (400,)

    @property
    def blocks(self) -> tuple[Tensor, ...]:
        return (torch.arange(self.size),)

    def draw(self, task: Any, batch: int, seed: Any = 0, step: int = 0, **options: Any) -> Any:
        own = seed[0] if isinstance(seed, list) else seed
        key = (own * 7919 + step) * 16 + int(options["stream"].value)
        values = np.random.Generator(np.random.Philox(key=key)).standard_normal((batch, self.size))
        return torch.from_numpy(values)

    def loss(self, parameters: Tensor, prompts: Any) -> Tensor:
        return cast(Tensor, parameters @ prompts.mean(0))


def test_the_null_of_a_low_rank_estimate_is_unbiased() -> None:
    """60 samples of noise in 400 equal directions: the raw estimate sees about 52 of them."""
    cloud: Any = Cloud()
    table = layer_noise(cloud, TASK, torch.zeros(400, dtype=torch.float64), batch=4, samples=60, reference=2000, seed=1)
    own = table.iloc[0]
    assert own["directions"] == pytest.approx(400, rel=0.15)
    expected = np.sqrt(np.quantile(np.random.default_rng(0).chisquare(400, 100_000), 0.99) / 400)
    assert own["null_q99"] == pytest.approx(expected, rel=0.01)
    assert own["null_error"] > 0.05  # what the raw estimate would be wrong by
    few = [
        layer_noise(cloud, TASK, torch.zeros(400, dtype=torch.float64), batch=4, samples=60, reference=2000, seed=s)
        for s in range(2, 12)
    ]
    assert np.log([each["excess"].iloc[0] for each in few]).mean() == pytest.approx(0.0, abs=0.012)
