"""The token form against the paper's formula in plain loops, the moment form against the token form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import lintrans as lt
from lintrans.models.transformer import FORMS
from lintrans.paper.measure.checks import one_layer_loss

SHAPES = {
    "layers": st.integers(1, 4), "d": st.integers(1, 5), "n": st.integers(1, 7), "heads": st.integers(1, 3),
    "form": st.sampled_from(FORMS), "seed": st.integers(0, 10**6),
}  # fmt: skip


def make(layers: int, d: int, n: int, heads: int, form: str, seed: int, runs: int = 2) -> tuple[Any, Any, Tensor]:
    model = lt.LinearTransformer(layers, d, heads, form, init_std=0.4)
    return model, lt.LinearRegression(d, n), model.init([seed + run for run in range(runs)], dtype=torch.float64)


def by_hand(model: Any, parameters: np.ndarray, covariates: np.ndarray, responses: np.ndarray) -> float:
    """TF_L of one prompt, entry by entry as the paper defines it."""
    d, n = covariates.shape[1], covariates.shape[0] - 1
    z = np.zeros((d + 1, n + 1))
    z[:d] = covariates.T
    z[d, :n] = responses[:n]
    for layer in range(model.layers):
        update = np.zeros_like(z)
        for head in range(model.heads):
            p, q = np.zeros((d + 1, d + 1)), np.zeros((d + 1, d + 1))
            size = model.block
            p[:size, :size], q[:size, :size] = parameters[layer, head]
            if model.form == "sparse":
                p[d, d] = 1.0
            for query in range(n + 1):
                for key in range(n):  # M hides the query as a key
                    score = z[:, key] @ q @ z[:, query]
                    update[:, query] += p @ z[:, key] * score
        z = z + update / n
    return float(-z[d, n])


@settings(max_examples=30)
@given(**SHAPES)
def test_token_form_is_the_papers_formula(layers: int, d: int, n: int, heads: int, form: str, seed: int) -> None:
    model, task, parameters = make(layers, d, n, heads, form, seed, runs=1)
    prompts = task.sample(3, seed, dtype=torch.float64)
    expected = [
        by_hand(model, parameters[0].numpy(), x.numpy(), y.numpy())
        for x, y in zip(prompts.covariates, prompts.responses, strict=True)
    ]
    np.testing.assert_allclose(model.predict(parameters[0], prompts).numpy(), expected, rtol=1e-9, atol=1e-12)


@settings(max_examples=40)
@given(**SHAPES)
def test_moment_form_and_its_gradient_are_the_token_form(
    layers: int, d: int, n: int, heads: int, form: str, seed: int
) -> None:
    model, task, parameters = make(layers, d, n, heads, form, seed)
    leaf = parameters.requires_grad_()
    by_token = model.loss(leaf, task.sample(5, seed, dtype=torch.float64))
    by_moment = model.loss(leaf, task.sample_moments(5, seed, dtype=torch.float64))
    torch.testing.assert_close(by_moment, by_token, rtol=1e-10, atol=1e-12)
    (token_gradient,) = torch.autograd.grad(by_token.sum(), leaf)
    (moment_gradient,) = torch.autograd.grad(by_moment.sum(), leaf)
    scale = float(token_gradient.abs().max())
    torch.testing.assert_close(moment_gradient, token_gradient, rtol=1e-9, atol=1e-10 * scale + 1e-300)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_finite_differences(form: str) -> None:
    model, task, parameters = make(3, 2, 4, 2, form, 0, runs=1)
    moments = task.sample_moments(4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: model.loss(p, moments), (parameters.requires_grad_(),))


def test_sparse_is_a_corner_of_full() -> None:
    model, task, parameters = make(3, 4, 6, 2, "sparse", 1)
    full = lt.LinearTransformer(3, 4, 2, "full")
    prompts = task.sample(5, dtype=torch.float64)
    torch.testing.assert_close(
        model.predict(parameters, prompts), full.predict(model.full_parameters(parameters), prompts), rtol=1e-12, atol=0
    )


def test_last_layers_p_has_no_effect_in_the_sparse_form() -> None:
    model, task, parameters = make(3, 4, 6, 1, "sparse", 1)
    leaf = parameters.requires_grad_()
    for prompts in (task.sample(5, dtype=torch.float64), task.sample_moments(5, dtype=torch.float64)):
        (gradient,) = torch.autograd.grad(model.loss(leaf, prompts).sum(), leaf)
        assert (gradient[:, -1, :, 0] == 0).all()
        assert (gradient[:, :-1] != 0).all()


@pytest.mark.parametrize(("d", "n"), [(1, 1), (3, 7), (5, 20)])
@pytest.mark.parametrize("form", FORMS)
def test_one_layer_population_loss(d: int, n: int, form: str) -> None:
    """f(Q) = d + 2 tr Q + (n + d + 1)/n ||Q||_F^2, here against a quarter of a million prompts."""
    sparse = lt.LinearTransformer(1, d)
    parameters = sparse.init(range(3), dtype=torch.float64) * 6
    exact = one_layer_loss(parameters[:, 0, 0, 1], n)
    model = lt.LinearTransformer(1, d, form=form)
    if form == "full":
        parameters = sparse.full_parameters(parameters)
    task = lt.LinearRegression(d, n)
    losses = torch.stack(
        [model.loss(parameters, task.sample_moments(5000, 5, k, dtype=torch.float64)) for k in range(50)]
    )
    error = losses.std(0) / 50**0.5
    assert ((losses.mean(0) - exact).abs() < 5 * error).all()


def test_one_layer_minimum_is_the_known_one() -> None:
    d, n = 5, 20
    q = (-n / (n + d + 1)) * torch.eye(d, dtype=torch.float64)
    assert float(one_layer_loss(q, n)) == pytest.approx(d * (d + 1) / (n + d + 1), rel=1e-12)
    leaf = q.requires_grad_()
    (gradient,) = torch.autograd.grad(one_layer_loss(leaf, n), leaf)
    assert gradient.abs().max() < 1e-12


def test_init_depends_on_the_seed_alone() -> None:
    deep, shallow = lt.LinearTransformer(4, 3), lt.LinearTransformer(2, 3)
    together = deep.init([7, 8], dtype=torch.float64)
    assert torch.equal(together[1], deep.init(8, dtype=torch.float64))
    assert torch.equal(together[0, :2], shallow.init(7, dtype=torch.float64))
    entries = lt.LinearTransformer(8, 20).init(range(4), dtype=torch.float64)
    assert float(entries.std()) == pytest.approx(0.05, rel=0.05)
    assert lt.LinearTransformer(4).init(0).dtype == torch.float32
    assert lt.LinearTransformer(5).init(0).dtype == torch.float64


def test_runs_and_seeds_broadcast() -> None:
    model, task, parameters = make(2, 3, 4, 1, "sparse", 0)
    prompts = task.sample(6, seed=[1, 2], dtype=torch.float64)  # one batch a run
    together = model.predict(parameters, prompts)
    assert together.shape == (2, 6)
    torch.testing.assert_close(together[1], model.predict(parameters[1], task.sample(6, 2, dtype=torch.float64)))


def test_mixed_dtypes_are_computed_in_the_wider() -> None:
    model, task, parameters = make(2, 3, 4, 1, "sparse", 0)
    assert model.predict(parameters, task.sample(6, dtype=torch.float32)).dtype == torch.float64
    assert model.predict(parameters.float(), task.sample_moments(6, dtype=torch.float32)).dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 0}, "layers = 0 is not allowed"),
        ({"d": 0}, "d = 0 is not allowed"),
        ({"heads": 1.5}, "heads = 1.5 .*no whole number"),
        ({"form": "sprase"}, "did you mean 'sparse'"),
        ({"attention": "softmaxx"}, "attention = 'softmaxx' is not one of"),
        ({"init_std": -1.0}, "init_std = -1 is not allowed"),
    ],
)
def test_bad_models_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        lt.LinearTransformer(**arguments)


def test_bad_parameters_and_prompts_are_named() -> None:
    model, task = lt.LinearTransformer(2, 3), lt.LinearRegression(3, 4)
    prompts = task.sample(2)
    with pytest.raises(ValueError, match=r"shape \[2, 1, 2, 4, 4\].*needs \[..., 2, 1, 2, 3, 3\]"):
        model.predict(torch.zeros(2, 1, 2, 4, 4), prompts)
    with pytest.raises(TypeError, match="floating-point tensor"):
        model.predict(torch.zeros(2, 1, 2, 3, 3, dtype=torch.int64), prompts)
    with pytest.raises(ValueError, match="prompts have d = 5 and the model d = 3"):
        model.predict(model.init(), lt.LinearRegression(5, 4).sample(2))
    with pytest.raises(ValueError, match="parameters lie on meta and prompts on cpu"):
        model.predict(model.init().to("meta"), prompts)
    with pytest.raises(TypeError, match="prompts are a str"):
        model.loss(model.init(), "prompts")  # type: ignore[arg-type]
