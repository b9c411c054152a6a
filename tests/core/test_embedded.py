"""Nonlinear regression: the task, the model against a literal torch module, and training on either engine."""

from __future__ import annotations

import math
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

import lintrans as lt
from lintrans.diagnostics.derivatives import batch_gradients, gradients, hessian_products
from lintrans.engines.cpu import compiling
from lintrans.models.embedded import Network, fixed_network
from lintrans.random import Source

TASK = lt.FeatureRegression()
MODEL = lt.EmbeddedTransformer()
DOUBLE = torch.float64
compiled = pytest.mark.skipif(compiling.unsupported_cpu() is not None, reason="kernels cannot be compiled here")


class Literal(nn.Module):
    """The model on tokens, prompt by prompt in batched matrices, as one would write it without any thought of speed."""

    def __init__(self, layers: int, d: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, d))
        self.attention = nn.Parameter(torch.zeros(layers, 2, d + 1, d + 1))
        self.double()

    def forward(self, prompts: lt.Prompts) -> Tensor:
        n = prompts.n
        hidden_response = prompts.responses.clone()
        hidden_response[:, -1] = 0
        z = torch.cat([self.embedding(prompts.covariates), hidden_response.unsqueeze(-1)], -1).transpose(-1, -2)
        mask = torch.ones(n + 1, dtype=z.dtype)
        mask[-1] = 0
        for p, q in self.attention:
            z = z + p @ (z * mask) @ (z.transpose(-1, -2) @ q @ z) / n
        return -z[:, -1, -1]


def literal_loss(module: nn.Module, prompts: lt.Prompts) -> Tensor:
    loss: Tensor = (module(prompts) - prompts.target).square().mean()
    return loss


def load(module: Literal, vector: Tensor) -> None:
    """Set the module's parameters from a vector, in the order that torch lists those of the embedding."""
    with torch.no_grad():
        rest = vector
        for own in [*module.embedding.parameters(), module.attention]:
            own.copy_(rest[: own.numel()].reshape(own.shape))
            rest = rest[own.numel() :]
    assert not rest.numel()


@pytest.mark.parametrize(("layers", "d", "hidden", "n"), [(3, 5, 30, 20), (1, 2, 3, 4), (2, 3, 4, 1)])
def test_loss_and_gradient_are_those_of_a_literal_module(layers: int, d: int, hidden: int, n: int) -> None:
    model, task = lt.EmbeddedTransformer(layers, d, hidden), lt.FeatureRegression(d, n, 4)
    prompts = task.sample(30, seed=1, dtype=DOUBLE)
    vector = 2 * model.init(3, dtype=DOUBLE).requires_grad_()
    module = Literal(layers, d, hidden)
    load(module, vector)
    loss, expected = model.loss(vector, prompts), literal_loss(module, prompts)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    (slope,) = torch.autograd.grad(loss, vector)
    own = torch.autograd.grad(expected, [*module.embedding.parameters(), module.attention])
    torch.testing.assert_close(slope, torch.cat([part.flatten() for part in own]), rtol=1e-10, atol=1e-14)


def test_parameters() -> None:
    """Sizes, order and law of the initial parameters; which of them have no effect."""
    assert MODEL.parameter_shape == (551,)
    assert sum(MODEL.network.sizes) == 335
    network, transformer = torch.split(MODEL.init(range(200), dtype=DOUBLE), [335, 216], dim=-1)
    for part, inputs in zip(torch.split(network, list(MODEL.network.sizes), dim=-1), (5, 5, 30, 30), strict=True):
        bound = 1 / math.sqrt(inputs)
        assert 0.98 * bound < part.abs().max() <= bound
        assert float(part.std()) == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert float(transformer.std()) == pytest.approx(0.1, rel=0.02)
    assert torch.equal(MODEL.init([4, 2], dtype=DOUBLE)[1], MODEL.init(2, dtype=DOUBLE))
    assert MODEL.init(0).dtype == torch.float32
    assert int(MODEL.structural_zeros.sum()) == 30
    assert not MODEL.structural_zeros[:335].any()
    used = torch.cat(list(MODEL.blocks))
    assert torch.equal(used.sort().values, (~MODEL.structural_zeros).nonzero().squeeze(-1))
    _, slope = gradients(MODEL, MODEL.init(0, dtype=DOUBLE), TASK.sample(20, dtype=DOUBLE), engine="reference")
    assert torch.equal(slope == 0, MODEL.structural_zeros)


def test_prompts_depend_on_nothing_else() -> None:
    """Standard normals, one network for all; parts, seeds and dtypes agree."""
    whole = TASK.sample(12, seed=3, step=7, dtype=DOUBLE)
    normals = Source(3, 7, lt.Stream.TRAINING, 12).normals(21 * 5)
    assert torch.equal(whole.covariates, normals.reshape(21, 5, 12).movedim(-1, 0))
    part = TASK.sample(5, seed=3, step=7, first=7, dtype=DOUBLE)
    assert torch.equal(part.covariates, whole.covariates[7:])
    torch.testing.assert_close(part.responses, whole.responses[7:], rtol=1e-14, atol=1e-15)
    both = TASK.sample(12, seed=[1, 3], step=7, dtype=DOUBLE)
    torch.testing.assert_close(both[1].responses, whole.responses, rtol=1e-14, atol=1e-15)
    torch.testing.assert_close(TASK.sample(12, seed=3, step=7).responses, whole.responses.float(), rtol=1e-4, atol=1e-5)
    w1, b1, w2, b2 = torch.split(fixed_network(TASK), [50, 10, 50, 5])
    x = whole.covariates
    features = torch.relu(x @ w1.reshape(10, 5).T + b1) @ w2.reshape(5, 10).T + b2
    teachers = torch.linalg.lstsq(features, whole.responses.unsqueeze(-1)).solution
    torch.testing.assert_close((features @ teachers).squeeze(-1), whole.responses, rtol=1e-9, atol=1e-11)
    assert not torch.equal(lt.FeatureRegression(network=1).sample(2).responses, TASK.sample(2).responses)


def test_loss_of_the_zero_predictor() -> None:
    """Against fresh teachers and covariates; and the network's uniforms are uniform."""
    targets = TASK.sample(5000, dtype=DOUBLE).target
    assert TASK.zero_loss == pytest.approx(float(targets.square().mean()), rel=0.15)
    network = Network(5, 10)
    uniforms = Source(0, 0, lt.Stream.FEATURES, 2000).uniforms(6)
    assert uniforms.shape == (6, 2000)
    assert 0 < uniforms.min() < 0.01
    assert 0.99 < uniforms.max() < 1
    assert float(uniforms.mean()) == pytest.approx(0.5, abs=0.02)
    assert network.init(Source(0, 0, lt.Stream.FEATURES, 1)).equal(fixed_network(TASK))


@compiled
def test_compiled_derivatives_are_those_of_autograd() -> None:
    """Gradients and Hessian-vector products of several runs, on a batch that fills neither a vector nor a chunk."""
    points = 1.5 * MODEL.init([0, 1], dtype=DOUBLE)
    prompts = TASK.sample(131, seed=2, dtype=DOUBLE)
    (loss, slope), (expected, other) = (
        gradients(MODEL, points, prompts, engine=engine) for engine in ("cpu", "reference")
    )
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(slope, other, rtol=1e-10, atol=1e-14)
    directions = torch.randn(2, 3, 551, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    products = [hessian_products(MODEL, points, directions, prompts, engine=engine) for engine in ("cpu", "reference")]
    torch.testing.assert_close(*products, rtol=1e-9, atol=1e-12)
    alone = gradients(MODEL, points[1:], prompts, engine="cpu")[1]
    assert torch.equal(alone, slope[1:])


@compiled
def test_compiled_draws_are_the_tasks() -> None:
    """Gradients on fresh batches, of one seed a run."""
    points = MODEL.init([0, 1], dtype=DOUBLE)
    options: dict[str, Any] = {"batch": 43, "count": 2, "seed": [5, 6], "first": 3}
    found, expected = (
        batch_gradients(MODEL, TASK, points, engine=engine, **options) for engine in ("cpu", "reference")
    )
    torch.testing.assert_close(found[0], expected[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-9, atol=1e-14)
    assert found[1].shape == (2, 2, 551)


@compiled
def test_training_by_either_engine_alone_and_together() -> None:
    runs = lt.grid(optimizer="sgd", lr=0.05, seed=range(2)) + lt.grid(optimizer="adam", lr=0.01, seed=range(2))
    options: dict[str, Any] = {"steps": 4, "batch": 30, "clip": 1.0, "dtype": DOUBLE, "device": "cpu", "probes": []}
    auto, reference = (lt.train(MODEL, TASK, runs, engine=engine, **options) for engine in ("auto", "reference"))
    assert (auto.info["engine"], reference.info["engine"]) == ("cpu", "reference")
    torch.testing.assert_close(auto.parameters(4), reference.parameters(4), rtol=1e-9, atol=1e-12)
    alone = lt.train(MODEL, TASK, lt.grid(optimizer="adam", lr=0.01, seed=1), **options)
    assert torch.equal(alone.parameters(4)[0], auto.parameters(4)[3])


@compiled
@pytest.mark.slow
def test_losses_of_either_engine() -> None:
    """In the dtype of training; fixed batches and fresh blocks."""
    runs = lt.grid(optimizer="adam", lr=0.01, seed=range(2))
    probes: list[Any] = [lt.TestLoss(every=2, batch=20), lt.TypicalLoss(blocks=2, at=(4,))]
    frames = [
        lt.train(MODEL, TASK, runs, steps=4, batch=30, probes=probes, device="cpu", engine=engine).frame
        for engine in ("cpu", "reference")
    ]
    np.testing.assert_allclose(frames[0]["value"], frames[1]["value"], rtol=1e-4)


def test_engines_refuse_what_they_cannot_do() -> None:
    options: dict[str, Any] = {"steps": 1, "batch": 5, "probes": [], "device": "cpu"}
    runs = lt.grid(optimizer="sgd", lr=0.1)
    with pytest.raises(ValueError, match="FeatureRegression"):
        lt.train(MODEL, lt.LinearRegression(), runs, engine="cpu", **options)
    with pytest.raises(ValueError, match="cuda"):
        lt.train(MODEL, TASK, runs, engine="cuda", **options)
    with pytest.raises(ValueError, match="d = 4"):
        lt.train(lt.EmbeddedTransformer(d=4), TASK, runs, **options)


@pytest.mark.parametrize("values", [{"layers": 0}, {"d": 0}, {"hidden": 0}, {"init_std": -1.0}])
def test_bad_models_are_named(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        lt.EmbeddedTransformer(**values)


@pytest.mark.parametrize("values", [{"d": 0}, {"n": 0}, {"hidden": 0}, {"network": -1}])
def test_bad_tasks_are_named(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        lt.FeatureRegression(**values)


@hypothesis.given(count=st.integers(1, 9), first=st.integers(0, 20), batch=st.integers(1, 20))
def test_uniforms_do_not_depend_on_how_they_are_drawn(count: int, first: int, batch: int) -> None:
    """Parts of a batch, fewer of them, and several seeds are what they are alone; normals share nothing with them."""
    whole = Source(3, 1, lt.Stream.FEATURES, first + batch).uniforms(9)
    part = Source(3, 1, lt.Stream.FEATURES, batch, first=first)
    assert torch.equal(part.uniforms(count), whole[:count, first:])
    both = Source([0, 3], 1, lt.Stream.FEATURES, batch, first=first)
    assert torch.equal(both.uniforms(count)[1], part.uniforms(count))
