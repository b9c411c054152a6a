"""Compiled softmax and ReLU attention against torch: prompts, gradients, Hessian-vector products, whole trainings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import lintrans as lt
from lintrans import engines
from lintrans.diagnostics.derivatives import batch_gradients, gradients, hessian_products
from lintrans.models.attention import ON_TOKENS
from lintrans.random import Source
from lintrans.training.train import plan_training

pytest.importorskip("numba")

D, N = 5, 6  # the shape that the book's chapter compiles
TASK = lt.LinearRegression(D, N)
FORM = pytest.mark.parametrize("form", ["sparse", pytest.param("full", marks=pytest.mark.slow)])


def model_of(attention: str, form: str = "sparse", heads: int = 1, layers: int = 3) -> lt.LinearTransformer:
    return lt.LinearTransformer(layers, D, heads, form, attention, init_std=0.3 if form == "sparse" else 0.15)


@FORM
@pytest.mark.parametrize("attention", ON_TOKENS)
@pytest.mark.parametrize(("heads", "layers"), [(1, 1), (2, 2), (1, 3)])
def test_gradients_are_those_of_torch(attention: str, form: str, heads: int, layers: int) -> None:
    model = model_of(attention, form, heads, layers)
    parameters = model.init([0, 1], dtype=torch.float64)
    prompts = TASK.sample(130, dtype=torch.float64)  # two chunks, the last SIMD value half full
    losses, slopes = gradients(model, parameters, prompts, engine="cpu")
    expected, wanted = gradients(model, parameters, prompts, engine="reference")
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(slopes, wanted, rtol=1e-10, atol=1e-12 * float(wanted.abs().max()))


@pytest.mark.slow
@FORM
@pytest.mark.parametrize("attention", ON_TOKENS)
def test_hessian_products_are_those_of_torch(attention: str, form: str) -> None:
    model = model_of(attention, form)
    parameters = model.init([0, 1], dtype=torch.float64)
    directions = torch.stack([model.init([k, k + 10], dtype=torch.float64) for k in (2, 3, 4)], dim=1)
    prompts = TASK.sample(30, dtype=torch.float64)
    found = hessian_products(model, parameters, directions, prompts, engine="cpu")
    wanted = hessian_products(model, parameters, directions, prompts, engine="reference")
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11 * float(wanted.abs().max()))


@pytest.mark.parametrize("covariates", [lt.Gaussian(2.0), lt.Sphere(), lt.GammaScaled(0.1, 10.0)])
def test_drawn_prompts_are_the_tasks(covariates: Any) -> None:
    from lintrans.engines.cpu.softmax_loops import AttendingLoops

    task = lt.LinearRegression(D, N, covariates)
    loops = AttendingLoops(model_of("softmax"), torch.float32)
    drawn = loops.draw(task, [3, 4], [7, 8], lt.Stream.NOISE, 203).copy()
    for index, (seed, step) in enumerate(((3, 7), (4, 8))):
        wanted = loops.pack(task.sample(203, seed, step, stream=lt.Stream.NOISE, dtype=torch.float64))
        np.testing.assert_allclose(drawn[index], wanted[0], rtol=1e-4, atol=1e-5)
    assert drawn[0, -1].sum() == 203


@pytest.mark.slow
def test_gradients_of_drawn_prompts() -> None:
    model = model_of("softmax")
    parameters = model.init([0, 1, 2], dtype=torch.float64)
    options: dict[str, Any] = {"batch": 50, "count": 2, "seed": [3, 4, 3], "first": 7}
    found = batch_gradients(model, TASK, parameters, engine="cpu", **options)
    wanted = batch_gradients(model, TASK, parameters, engine="reference", **options)
    for mine, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-11 * float(other.abs().max()))


@pytest.mark.parametrize("attention", ON_TOKENS)
def test_large_scores_and_lost_parameters(attention: str) -> None:
    """Scores beyond the range of the exponential are no accident; parameters that are not numbers stay visible."""
    model = model_of(attention, layers=2)
    parameters = 300 * model.init([0, 1, 2], dtype=torch.float64)
    parameters[1, 0, 0, 1, 0, 0], parameters[2, 0, 0, 1, 1, 0] = math.nan, math.inf
    prompts = TASK.sample(20, dtype=torch.float64)
    losses, slopes = gradients(model, parameters, prompts, engine="cpu")
    expected, wanted = gradients(model, parameters, prompts, engine="reference")
    torch.testing.assert_close(losses[0], expected[0], rtol=1e-9, atol=0)
    torch.testing.assert_close(slopes[0], wanted[0], rtol=1e-7, atol=1e-9 * float(wanted[0].abs().max()))
    assert not slopes[1].isfinite().all()
    if attention != "relu":
        assert not slopes[2].isfinite().all()


@pytest.mark.slow
def test_training_is_that_of_the_reference_engine() -> None:
    for attention in ON_TOKENS:
        runs = lt.grid(optimizer=["sgd", "adam"], lr=0.02, seed=range(2))
        histories = []
        for engine in ("cpu", "reference"):
            probes = [lt.TestLoss(every=2, batch=100), lt.TypicalLoss(blocks=2, at=(4,))]
            options: dict[str, Any] = {"probes": probes, "engine": engine, "dtype": torch.float64, "device": "cpu"}
            histories.append(lt.train(model_of(attention), TASK, runs, steps=4, batch=50, clip=1.0, **options))
        assert [history.info["engine"] for history in histories] == ["cpu", "reference"]
        np.testing.assert_allclose(histories[0].frame["value"], histories[1].frame["value"], rtol=1e-8)


def test_a_run_alone_equals_itself_in_an_ensemble() -> None:
    model, prompts = model_of("softmax"), TASK.sample(300, dtype=torch.float64)
    parameters = model.init(range(3), dtype=torch.float64)
    together = gradients(model, parameters, prompts, engine="cpu")
    alone = gradients(model, parameters[1:2], prompts, engine="cpu")
    assert torch.equal(together[0][1], alone[0][0])
    assert torch.equal(together[1][1], alone[1][0])


def test_which_engine_is_taken() -> None:
    plan = plan_training(model_of("relu"), TASK, lt.grid(optimizer="sgd", lr=0.1), steps=1, device="cpu")
    assert engines.unsupported_plan("cpu", plan) is None
    assert engines.unsupported_plan("cuda", plan) == "relu attention has no moment form"


class Halved:
    """A law of the user's own."""

    def draw(self, source: Source, tokens: int, d: int) -> torch.Tensor:
        return 0.5 * source.normals(tokens * d).reshape(*source.lead, tokens, d, source.batch)

    def squared_norm(self, d: int) -> float:
        return d / 4


@pytest.mark.slow
def test_a_law_of_the_users_own_is_drawn_by_torch() -> None:
    task = lt.LinearRegression(D, N, Halved())
    runs = lt.grid(optimizer="adam", lr=0.02, seed=range(2))
    options: dict[str, Any] = {"steps": 3, "batch": 20, "probes": [lt.TestLoss(every=1, batch=20)], "device": "cpu"}
    options["dtype"] = torch.float64
    one, other = (
        lt.train(model_of("softmax"), task, runs, engine=engine, **options).frame["value"]
        for engine in ("cpu", "reference")
    )
    np.testing.assert_allclose(one, other, rtol=1e-9)
