"""Softmax and ReLU attention against the formula in plain loops, and every instrument on them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import lintrans as lt
from lintrans.models.attention import ON_TOKENS, reach
from lintrans.models.transformer import ATTENTIONS, FORMS

SHAPES = {
    "layers": st.integers(1, 3), "d": st.integers(1, 4), "n": st.integers(1, 6), "heads": st.integers(1, 3),
    "form": st.sampled_from(FORMS), "attention": st.sampled_from(ON_TOKENS), "seed": st.integers(0, 10**6),
}  # fmt: skip


def make(
    layers: int, d: int, n: int, heads: int, form: str, attention: str, seed: int, runs: int = 1
) -> tuple[lt.LinearTransformer, lt.LinearRegression, Tensor]:
    model = lt.LinearTransformer(layers, d, heads, form, attention, init_std=0.5)
    return model, lt.LinearRegression(d, n), model.init([seed + run for run in range(runs)], dtype=torch.float64)


def by_hand(model: Any, parameters: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """TF_L of one prompt with every key, query and entry written out."""
    n, d = len(x) - 1, x.shape[1]
    z = [np.append(x[i], y[i] if i < n else 0.0) for i in range(n + 1)]
    size = model.block
    for layer in range(model.layers):
        new = [column.copy() for column in z]
        for head in range(model.heads):
            p, q = np.zeros((d + 1, d + 1)), np.zeros((d + 1, d + 1))
            p[:size, :size], q[:size, :size] = parameters[layer, head]
            if model.form == "sparse":
                p[d, d] = 1.0
            for j in range(n + 1):
                scores = [float(z[i] @ q @ z[j]) for i in range(n + 1)]
                if model.attention == "softmax":
                    total = sum(math.exp(score) for score in scores)
                    weights = [math.exp(scores[i]) / total / n for i in range(n)]
                elif model.attention == "softmax-visible":
                    total = sum(math.exp(scores[i]) for i in range(n))
                    weights = [math.exp(scores[i]) / total for i in range(n)]
                else:
                    weights = [max(scores[i], 0.0) / n for i in range(n)]
                for i in range(n):
                    new[j] += weights[i] * (p @ z[i])
        z = new
    return -float(z[n][d])


@settings(max_examples=60)
@given(**SHAPES)
def test_is_the_formula(layers: int, d: int, n: int, heads: int, form: str, attention: str, seed: int) -> None:
    model, task, parameters = make(layers, d, n, heads, form, attention, seed)
    prompts = task.sample(3, seed, dtype=torch.float64)
    expected = [
        by_hand(model, parameters[0].numpy(), x.numpy(), y.numpy())
        for x, y in zip(prompts.covariates, prompts.responses, strict=True)
    ]
    np.testing.assert_allclose(model.predict(parameters[0], prompts).numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("attention", ON_TOKENS)
@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_finite_differences(form: str, attention: str) -> None:
    model, task, parameters = make(2, 2, 3, 2, form, attention, 0)
    prompts = task.sample(3, dtype=torch.float64)
    leaf = (0.5 * parameters[0]).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: model.loss(p, prompts), (leaf,))
    if form == "sparse":
        assert torch.autograd.gradgradcheck(lambda p: model.loss(p, prompts), (leaf,))


@settings(max_examples=30)
@given(**SHAPES)
def test_the_order_of_the_examples_is_without_effect(
    layers: int, d: int, n: int, heads: int, form: str, attention: str, seed: int
) -> None:
    model, task, parameters = make(layers, d, n, heads, form, attention, seed)
    prompts = task.sample(5, seed, dtype=torch.float64)
    order = [*np.random.default_rng(seed).permutation(n).tolist(), n]
    shuffled = lt.Prompts(prompts.covariates[:, order], prompts.responses[:, order])
    torch.testing.assert_close(
        model.predict(parameters, shuffled), model.predict(parameters, prompts), rtol=1e-9, atol=1e-12
    )


@settings(max_examples=30)
@given(**SHAPES)
def test_runs_and_seeds_broadcast_and_the_target_is_unseen(
    layers: int, d: int, n: int, heads: int, form: str, attention: str, seed: int
) -> None:
    model, task, parameters = make(layers, d, n, heads, form, attention, seed, runs=2)
    shared, own = task.sample(4, seed, dtype=torch.float64), task.sample(4, [seed, seed + 1], dtype=torch.float64)
    together, apart = model.predict(parameters, shared), model.predict(parameters, own)
    assert together.shape == apart.shape == (2, 4)
    torch.testing.assert_close(together[1], model.predict(parameters[1], shared), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(apart[1], model.predict(parameters[1], own[1]), rtol=1e-12, atol=1e-14)
    other = lt.Prompts(shared.covariates, torch.cat([shared.responses[:, :-1], shared.responses[:, -1:] + 7], -1))
    assert torch.equal(model.predict(parameters, other), together)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize(("form", "layers"), [("sparse", 1), ("sparse", 3), ("full", 1), ("full", 2)])
def test_structural_zeros_and_blocks(form: str, layers: int, attention: str) -> None:
    """Entries without effect have no gradient, all others have one; blocks hold each of the others once."""
    model, task, parameters = make(layers, 3, 6, 2, form, attention, 1)
    leaf = parameters[0].requires_grad_()
    (gradient,) = torch.autograd.grad(model.loss(leaf, task.sample(20, dtype=torch.float64)), leaf)
    assert torch.equal(gradient == 0, model.structural_zeros)
    assert torch.equal(torch.cat(model.blocks), (gradient.flatten() != 0).nonzero().squeeze(-1))
    assert len(model.blocks) == 2 * layers * 2 - (2 if form == "sparse" else 0)


def test_sparse_is_a_corner_of_full() -> None:
    for attention in ON_TOKENS:
        model, task, parameters = make(3, 4, 6, 2, "sparse", attention, 1)
        full = lt.LinearTransformer(3, 4, 2, "full", attention)
        prompts = task.sample(5, dtype=torch.float64)
        torch.testing.assert_close(
            model.predict(parameters, prompts), full.predict(model.full_parameters(parameters), prompts)
        )


@settings(max_examples=30)
@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(1, 3), st.floats(0.1, 30), st.integers(0, 9)
)
def test_softmax_of_the_public_code_has_a_short_reach(
    layers: int, d: int, n: int, heads: int, std: float, seed: int
) -> None:
    model = lt.LinearTransformer(layers, d, heads, attention="softmax", init_std=std)
    prompts = lt.LinearRegression(d, n).sample(50, seed, dtype=torch.float64)
    shown = prompts.responses[:, :-1].abs().amax(-1)
    predictions = model.predict(model.init(seed, dtype=torch.float64), prompts).abs()
    assert (predictions <= reach(layers, n, heads) * shown * (1 + 1e-12)).all()


def test_softmax_at_tiny_scores_averages() -> None:
    """Where Q = 0, softmax weighs all keys alike: 1 / (n (n + 1)) in the public code's form, 1 / n in the ordinary."""
    task = lt.LinearRegression(2, 4)
    prompts = task.sample(6, dtype=torch.float64)
    mean = prompts.responses[:, :-1].mean(-1)
    for attention, factor in (("softmax", 1 / 5), ("softmax-visible", 1.0), ("relu", 0.0)):
        model = lt.LinearTransformer(1, 2, attention=attention, init_std=0.0)
        torch.testing.assert_close(model.predict(model.init(dtype=torch.float64), prompts), -factor * mean)


def test_large_scores_do_not_overflow() -> None:
    task = lt.LinearRegression(2, 4)
    for attention in ("softmax", "softmax-visible"):
        model = lt.LinearTransformer(2, 2, attention=attention, init_std=100.0)
        assert model.predict(model.init(0), task.sample(50)).isfinite().all()


def test_moments_are_refused_in_words() -> None:
    model, task = lt.LinearTransformer(2, 3, attention="relu"), lt.LinearRegression(3, 4)
    with pytest.raises(ValueError, match=r"relu attention has no moment form: give lintrans\.Prompts"):
        model.loss(model.init(), task.sample_moments(2))
    assert isinstance(model.draw(task, 2), lt.Prompts)
    assert isinstance(lt.LinearTransformer(2, 3).draw(task, 2), lt.Moments)
