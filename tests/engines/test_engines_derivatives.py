"""Hessian-vector products and gradients of many batches: both engines agree, and bad input is named."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lintrans as lt
from lintrans.diagnostics.derivatives import batch_gradients, gradients, hessian_products
from lintrans.engines.cpu import compiling

MODEL = lt.LinearTransformer(layers=3, d=5, init_std=0.1)
TASK = lt.LinearRegression(d=5, n=7)


@pytest.mark.slow  # compiles a kernel of its own; test_engines_cpu has the exact products
def test_hessian_products_of_both_engines_agree() -> None:
    """Any number of directions, odd ones too, and any leading axes."""
    parameters = MODEL.init([0, 1, 2, 3], dtype=torch.float64).reshape(2, 2, *MODEL.parameter_shape)
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(2, 2, 3, *MODEL.parameter_shape, generator=generator, dtype=torch.float64)
    prompts = TASK.sample(130, dtype=torch.float64)
    expected = hessian_products(MODEL, parameters, directions, prompts, engine="reference")
    products = hessian_products(MODEL, parameters, directions, prompts)
    assert products.shape == directions.shape
    np.testing.assert_allclose(products, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))
    alone = hessian_products(MODEL, parameters[0, 1], directions[0, 1, :1], prompts)
    np.testing.assert_allclose(alone, expected[0, 1, :1], rtol=0, atol=1e-12 * float(expected.abs().max()))


def test_batch_gradients_of_both_engines_agree() -> None:
    parameters = MODEL.init([0, 1], dtype=torch.float64)
    ours = batch_gradients(MODEL, TASK, parameters, batch=130, count=4, seed=3, first=2)
    theirs = batch_gradients(MODEL, TASK, parameters, batch=130, count=4, seed=3, first=2, engine="reference")
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.shape == other.shape
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-12 * float(other.abs().max()))
    prompts = TASK.sample_moments(130, 3, 5, stream=lt.Stream.NOISE, dtype=torch.float64)
    np.testing.assert_allclose(ours[0][:, 3], MODEL.loss(parameters, prompts), rtol=1e-12)


def test_bad_input_is_named() -> None:
    parameters = MODEL.init([0, 1])
    with pytest.raises(
        ValueError,
        match=r"directions have leading axes \[2\], parameters \[2\]: give directions \[..., count, 3, 1, 2, 5, 5\]",
    ):
        hessian_products(MODEL, parameters, parameters, TASK.sample(5))
    with pytest.raises(ValueError, match="batch = 0 is not allowed"):
        batch_gradients(MODEL, TASK, parameters, batch=0, count=1)
    large = lt.LinearTransformer(layers=1, d=33)
    with pytest.raises(ValueError, match="engine = 'cpu' cannot do this"):
        batch_gradients(large, lt.LinearRegression(d=33), large.init(0), batch=1, count=1, engine="cpu")


class Held(nn.Module):
    """A linear Transformer's parameters as a module's."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.weights = nn.Parameter(MODEL.init(0, dtype=dtype))

    def forward(self, prompts: Any) -> Tensor:
        return MODEL.loss(self.weights, prompts)


def call(module: Any, prompts: Any) -> Tensor:
    value: Tensor = module(prompts)
    return value


def assert_near(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11 * float(theirs.abs().max()))


def test_gradients_of_both_engines_agree() -> None:
    """Any leading axes, tokens or moments."""
    parameters = MODEL.init([0, 1, 2, 3], dtype=torch.float64).reshape(2, 2, *MODEL.parameter_shape)
    prompts = TASK.sample(40, dtype=torch.float64)
    expected = gradients(MODEL, parameters, prompts, engine="reference")
    for given in (prompts, prompts.moments()):
        for mine, other in zip(gradients(MODEL, parameters, given), expected, strict=True):
            assert_near(mine, other)
    losses, slopes = gradients(MODEL, parameters[0, 1], prompts)
    assert_near(losses, expected[0][0, 1])
    assert_near(slopes, expected[1][0, 1])
    with torch.no_grad():
        assert_near(gradients(MODEL, parameters, prompts, engine="reference")[1], expected[1])


def test_a_wrapped_transformer_is_the_native_one() -> None:
    model = lt.TorchModel(Held(), call)
    parameters = MODEL.init([4, 5], dtype=torch.float64)
    directions = torch.stack([parameters, parameters.flip(0)], dim=1)
    prompts = TASK.sample(6, dtype=torch.float64)
    mapping = {"weights": parameters}
    losses, slopes = gradients(model, mapping, prompts)
    expected = gradients(MODEL, parameters, prompts)
    assert_near(losses, expected[0])
    assert_near(slopes["weights"], expected[1])
    products = hessian_products(model, mapping, {"weights": directions}, prompts)
    assert_near(products["weights"], hessian_products(MODEL, parameters, directions, prompts, engine="reference"))
    for seed in (3, [3, 8]):
        losses, slopes = batch_gradients(model, TASK, mapping, batch=6, count=3, seed=seed, first=1)
        expected = batch_gradients(MODEL, TASK, parameters, batch=6, count=3, seed=seed, first=1)
        assert_near(losses, expected[0])
        assert_near(slopes["weights"], expected[1])


@pytest.mark.parametrize(("engine", "batch"), [("auto", 130), ("reference", 11)])  # 130: more than one chunk
def test_several_seeds_are_single_calls(engine: str, batch: int) -> None:
    """In the order given, equal ones too; bit for bit where compiled."""
    parameters = MODEL.init([0, 1, 2, 3], dtype=torch.float64)
    runs = parameters.reshape(2, 2, *MODEL.parameter_shape)
    both = functools.partial(batch_gradients, MODEL, TASK, batch=batch, count=3, first=4, engine=engine)
    seeds = [9, 2, 9, 0]
    losses, slopes = both(runs, seed=seeds)
    assert losses.shape == (2, 2, 3)
    for run, seed in enumerate(seeds):
        for together, alone in zip((losses, slopes), both(parameters[run], seed=seed), strict=True):
            if engine == "auto" and compiling.unsupported_cpu() is None:
                assert torch.equal(together.flatten(0, 1)[run], alone)
            else:
                assert_near(together.flatten(0, 1)[run], alone)
    shared, same = both(runs, seed=5), both(runs, seed=[5] * 4)
    assert all(torch.equal(a, b) for a, b in zip(shared, same, strict=True))


class Points:
    """A task of one's own: numbers, with the seed and the step they are of."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, lt.Stream]] = []

    def sample(
        self, batch: int, seed: int, step: int, *, stream: lt.Stream, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        self.asked.append((seed, step, stream))
        return torch.full((batch,), 10.0 * seed + step, dtype=dtype, device=device)


def test_batch_gradients_of_any_model_and_task() -> None:
    """Each batch is drawn once, and every run sees that of its seed."""
    model = lt.TorchModel(nn.Linear(1, 1).double(), lambda m, x: (m.weight * x.mean()).sum())
    parameters = {name: value.expand(3, *value.shape) for name, value in model.parameters().items()}
    task = Points()
    losses, slopes = batch_gradients(
        model, task, parameters, batch=2, count=2, seed=[1, 4, 1], first=5, stream=lt.Stream.TEST
    )
    numbers = torch.tensor([[15.0, 16.0], [45.0, 46.0], [15.0, 16.0]], dtype=torch.float64)
    assert torch.equal(slopes["weight"], numbers.reshape(3, 2, 1, 1))
    assert torch.equal(slopes["bias"], torch.zeros(3, 2, 1, dtype=torch.float64))
    torch.testing.assert_close(losses, numbers * model.parameters()["weight"].reshape(()))
    assert sorted(task.asked) == [(seed, step, lt.Stream.TEST) for seed in (1, 4) for step in (5, 6)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_linear_losses_and_mixed_dtypes(dtype: torch.dtype) -> None:
    """A Hessian of zeros, where the gradient has no graph, or has one for some parameters only."""
    module = nn.Linear(2, 1)
    module.bias = nn.Parameter(module.bias.detach().to(dtype))

    def loss(power: int, m: Any, x: Tensor) -> Tensor:
        value: Tensor = (m.weight @ x).sum() + (m.bias**power).sum()
        return value

    for power in (1, 2):
        model = lt.TorchModel(module, functools.partial(loss, power))
        directions = {name: torch.ones(2, *shape) for name, shape in model.parameter_shapes.items()}
        slopes = gradients(model, model.parameters(), torch.ones(2))[1]
        assert (slopes["weight"].tolist(), slopes["weight"].dtype) == ([[1.0, 1.0]], torch.float32)
        products = hessian_products(model, model.parameters(), directions, torch.ones(2))
        assert torch.equal(products["weight"], torch.zeros(2, 1, 2))
        assert torch.equal(products["bias"], torch.full((2, 1), 2.0 * (power - 1), dtype=dtype))


def test_bad_input_of_mapping_models_is_named() -> None:
    model = lt.TorchModel(Held(), call)
    parameters, prompts = model.parameters(), TASK.sample(5, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"give directions \[..., count, 3, 1, 2, 5, 5\] for 'weights', and so on"):
        hessian_products(model, parameters, parameters, prompts)
    with pytest.raises(
        ValueError, match=r"engine = 'cpu' cannot do this \(TorchModel is no lintrans.LinearTransformer"
    ):
        gradients(model, parameters, prompts, engine="cpu")
    with pytest.raises(ValueError, match=r"seed has 2 numbers, and the parameters' leading axes \[\] hold 1 runs"):
        batch_gradients(model, TASK, parameters, batch=1, count=1, seed=[1, 2])
    detached = lt.TorchModel(Held(), lambda m, p: m(p).detach())
    with pytest.raises(ValueError, match="the loss does not depend on the parameters: compute it from the module"):
        hessian_products(detached, parameters, {"weights": parameters["weights"][None]}, prompts)
    own = TASK.sample(5, seed=[1, 2], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"prompts have leading axes \[2\]: give prompts for all runs"):
        gradients(MODEL, MODEL.init([0, 1]), own)
    with pytest.raises(ValueError, match="prompts have d = 3 and the model d = 5"):
        gradients(MODEL, MODEL.init(), lt.LinearRegression(d=3).sample(5))
