"""What does not fit together is refused in words at every entry to compiled loops, which trust their shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

import lintrans as lt
from lintrans.diagnostics.along import fixed_batch
from lintrans.diagnostics.batches import block_losses
from lintrans.diagnostics.curvature import hessian, spectrum, step_measures
from lintrans.diagnostics.derivatives import batch_gradients, gradients, hessian_products
from lintrans.engines import Plan, ReferenceEngine, choose
from lintrans.engines.cpu.moment_loops import MomentLoops
from lintrans.training.train import plan_training

MODELS: dict[str, Any] = {
    "linear": lt.LinearTransformer(2, 2),
    "full": lt.LinearTransformer(2, 2, form="full"),
    "softmax": lt.LinearTransformer(2, 2, attention="softmax"),
    "embedded": lt.EmbeddedTransformer(2, 2),
}
MISFIT = r"d = (2|5) and the (task|model) d = (5|2): make them equal"
ENGINES = ("auto", "reference")


def task_of(model: Any, d: int) -> Any:
    return lt.FeatureRegression(d, 20) if isinstance(model, lt.EmbeddedTransformer) else lt.LinearRegression(d, 20)


def engine_of(model: Any, engine: str = "auto", runs: int = 2) -> Any:
    ensemble = lt.grid(optimizer="sgd", lr=0.1, seed=range(runs))
    return choose(engine, plan_training(model, task_of(model, 2), ensemble, steps=2, batch=8, device="cpu"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("d", [1, 5, 32])
@pytest.mark.parametrize("name", list(MODELS))
def test_a_task_of_another_dimension(name: str, d: int, engine: str) -> None:
    model, task = MODELS[name], task_of(MODELS[name], d)
    words = f"the model has d = 2 and the task d = {d}: make them equal"
    runs = lt.grid(optimizer="sgd", lr=0.1, seed=0)
    calls: list[Callable[[], Any]] = [
        lambda: lt.gradient_noise(model, task, model.init(0), batch=100, samples=4, reference=100, engine=engine),
        lambda: batch_gradients(model, task, model.init([0, 1]), batch=3, count=2, engine=engine),
        lambda: lt.train(model, task, runs, steps=1, engine=engine),
        lambda: choose(engine, Plan(model, task, runs, 1, 0, 8, torch.float32, torch.device("cpu"))),
        lambda: ReferenceEngine(Plan(model, task, runs, 1, 0, 8, torch.float32, torch.device("cpu"))),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=words):
            call()


@pytest.mark.parametrize("name", list(MODELS))
def test_prompts_of_another_dimension(name: str) -> None:
    model = MODELS[name]
    theta, prompts = model.init([0, 1]), fixed_batch(model, task_of(model, 5), batch=8)
    calls: list[Callable[[], Any]] = [
        lambda: gradients(model, theta, prompts), lambda: gradients(model, theta, prompts, engine="reference"),
        lambda: hessian_products(model, theta, theta[:, None], prompts),
        lambda: lt.robust_condition_number(model, theta, prompts), lambda: lt.hessian_diagonal(model, theta, prompts),
        lambda: lt.spectral_norm(model, theta, prompts),
        lambda: lt.directional_smoothness(model, theta, theta, prompts), lambda: hessian(model, theta, prompts),
        lambda: spectrum(model, theta, prompts), lambda: step_measures(model, theta, theta + 1, prompts),
        lambda: engine_of(model).loss(theta, prompts), lambda: engine_of(model).gradient(theta, prompts),
        lambda: engine_of(model, "reference").loss(theta, prompts),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ValueError, match="the prompts have d = 5 and the model d = 2: make them equal"):
            call()


@pytest.mark.parametrize("name", list(MODELS))
def test_parameters_of_another_shape(name: str) -> None:
    model, engine = MODELS[name], engine_of(MODELS[name])
    prompts = fixed_batch(model, task_of(model, 2), batch=8)
    wrong = replace(model, d=3).init([0, 1])
    calls: list[Callable[[], Any]] = [
        lambda: engine.loss(wrong, prompts),
        lambda: engine.gradient(wrong, prompts),
        lambda: engine.block_losses(wrong, 2, lt.Stream.TEST, 8),
        lambda: gradients(model, wrong, prompts),
        lambda: batch_gradients(model, task_of(model, 2), wrong, batch=3, count=2),
        lambda: lt.gradient_noise(model, task_of(model, 2), wrong, batch=3, samples=2, reference=3),
    ]
    if isinstance(model, lt.LinearTransformer):
        calls.append(lambda: block_losses(model, lt.LinearRegression(2, 20), wrong, 2))
    for call in calls:
        with pytest.raises(ValueError, match=r"parameters have shape .*; this model needs \[\.\.\., "):
            call()


@pytest.mark.parametrize("name", list(MODELS))
def test_other_sets_of_prompts_than_runs(name: str) -> None:
    """Compiled loops would read beyond the last set."""
    model, engine = MODELS[name], engine_of(MODELS[name], runs=3)
    prompts = model.draw(task_of(model, 2), 8, [0, 1])
    theta = model.init([0, 1, 2])
    for call in (engine.gradient, engine.loss):
        with pytest.raises(ValueError, match=r"prompts have leading axes \[2\]"):
            call(theta, prompts)
    with pytest.raises(ValueError, match="seed has 2 numbers"):
        engine.loops.drawn_gradients(theta, task_of(model, 2), 1, lt.Stream.NOISE, 8, [0, 1])


def test_a_state_of_another_plan() -> None:
    large = engine_of(MODELS["linear"], runs=3)
    for other in (engine_of(MODELS["linear"], runs=2), engine_of(MODELS["full"], runs=3)):
        with pytest.raises(ValueError, match=r"state\.parameters is torch\.float32 .*start\(\)"):
            large.advance(other.start(), 1)
    state = large.start()
    state.parameters = state.parameters.double()
    with pytest.raises(ValueError, match=r"needs torch\.float32"):
        large.advance(state, 1)


def test_prompts_that_do_not_hold_together() -> None:
    moments = lt.LinearRegression(2, 4).sample_moments(8)
    for change in ({"xx": moments.xx[:1]}, {"xy": moments.xy[..., :3]}, {"yy": moments.yy[:0]}, {"query": moments.yy}):
        with pytest.raises(ValueError, match=r"moments need xx \[\.\.\., d, d, batch\]"):
            replace(moments, **change)
    loops = MomentLoops(MODELS["linear"], torch.float32)
    with pytest.raises(ValueError, match="differ in their leading axes"):
        loops.losses(MODELS["linear"].init([0]), replace(moments, xx=moments.xx[None]))
    with pytest.raises(ValueError, match=r"not \[0, 5, 2\]"):
        lt.Prompts(torch.zeros(0, 5, 2), torch.zeros(0, 5))
    embedded = MODELS["embedded"]
    with pytest.raises(ValueError, match="EmbeddedTransformer has no moment form"):
        gradients(embedded, embedded.init(0), moments)


def test_steps_that_no_key_holds() -> None:
    model = MODELS["linear"]
    with pytest.raises(ValueError, match=r"first \+ count = 4294967297 is not allowed"):
        batch_gradients(model, lt.LinearRegression(2, 4), model.init(0), batch=2, count=2, first=2**32 - 1)


def test_what_draws_no_prompts_is_no_task() -> None:
    model: Any = MODELS["linear"]
    nothing: Any = 3
    with pytest.raises(TypeError, match="task is a int"):
        lt.gradient_noise(model, nothing, model.init(0))


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64, int, float, "float64"])
def test_numbers_are_never_rounded_to_integers(dtype: Any) -> None:
    linear, embedded = MODELS["linear"], MODELS["embedded"]
    task, features = lt.LinearRegression(2, 4), lt.FeatureRegression(2, 4)
    runs = lt.grid(optimizer="sgd", lr=0.1, seed=0)
    calls: list[Callable[..., Any]] = [
        lambda dtype: task.sample(3, dtype=dtype),
        lambda dtype: task.sample_moments(3, dtype=dtype),
        lambda dtype: features.sample(3, dtype=dtype),
        lambda dtype: linear.init(dtype=dtype),
        lambda dtype: embedded.init([0, 1], dtype=dtype),
        lambda dtype: linear.draw(task, 3, dtype=dtype),
        lambda dtype: MODELS["softmax"].draw(task, 3, dtype=dtype),
        lambda dtype: embedded.draw(features, 3, dtype=dtype),
    ]
    if dtype != "float64":  # which training takes, by its name
        calls.append(lambda dtype: lt.train(linear, task, runs, steps=0, dtype=dtype))
    if isinstance(dtype, torch.dtype):
        calls += [lambda dtype: task.sample(3).to(dtype), lambda dtype: task.sample_moments(3).to(dtype)]
    for call in calls:
        with pytest.raises(ValueError, match=r"dtype = .* is not allowed: give torch\.float32, torch\.float64 or None"):
            call(dtype)
    assert task.sample(3, dtype=torch.float16).dtype == torch.float16
