"""The algebra in plain Python, where a number is a NumPy row of prompts: against autograd on tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lintrans as lt
from lintrans.engines.cpu import algebra, products


def rows_of(moments: lt.Moments, sparse: bool) -> np.ndarray[Any, Any]:
    """The numbers each prompt is given by, [numbers, batch]: the layout that algebra.read expects, written again."""
    d, batch = moments.d, moments.batch
    s = np.zeros((d + 1, d + 1, batch))
    s[:d, :d], s[:d, d], s[d, d] = moments.xx.numpy(), moments.xy.numpy(), moments.yy.numpy()
    query, target = moments.query.numpy(), moments.target.numpy()
    size = d if sparse else d + 1
    triangle = [s[i, j] for i in range(size) for j in range(i, size)]
    state = [*moments.xy.numpy(), *query] if sparse else [*query, np.zeros(batch)]
    return np.array([*triangle, *state, target])


def plain_gradient(model: lt.LinearTransformer, parameters: torch.Tensor, moments: lt.Moments) -> tuple[float, Any]:
    """Loss and gradient by the algebra's own source, run by Python."""
    sparse, size = model.form == "sparse", model.block
    result = np.zeros((parameters.numel() + 1, moments.batch))
    work = np.zeros((algebra.work_size(model.layers, size, model.heads), moments.batch))
    data = rows_of(moments, sparse)
    assert len(data) == algebra.data_size(size, sparse)
    flat = parameters.detach().numpy().reshape(-1)
    tile = ([None] * size, 1, size)
    algebra.gradient(data, flat, result, 2 / moments.batch, work, tile, (model.layers, size, model.heads, sparse))
    sums = np.add.reduce(result, axis=1)
    return float(sums[-1]) / moments.batch, sums[:-1].reshape(parameters.shape)


@settings(max_examples=40, deadline=None)
@given(
    layers=st.integers(1, 6), d=st.integers(1, 7), heads=st.integers(1, 3), n=st.integers(1, 6),
    form=st.sampled_from(["sparse", "full"]), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_gradients_are_those_of_autograd_on_tokens(
    layers: int, d: int, heads: int, n: int, form: str, seed: int
) -> None:
    model = lt.LinearTransformer(layers=layers, d=d, heads=heads, form=form, init_std=0.1)
    task = lt.LinearRegression(d=d, n=n)
    parameters = model.init(seed, dtype=torch.float64).requires_grad_()
    tokens = task.sample(6, seed=seed, dtype=torch.float64)
    loss = model.loss(parameters, tokens)
    (expected,) = torch.autograd.grad(loss, parameters)
    value, gradient = plain_gradient(model, parameters, tokens.moments())
    assert value == pytest.approx(loss.item(), rel=1e-12)
    scale = float(expected.abs().max()) + 1e-300
    np.testing.assert_allclose(gradient / scale, expected.numpy() / scale, atol=1e-12)


@pytest.mark.parametrize(("rows", "columns"), [(1, 10), (2, 5), (1, 2), (2, 2), (3, 5), (4, 10), (3, 1), (1, 1)])
def test_register_tiles_change_nothing(rows: int, columns: int) -> None:
    """Also where rows are left over."""
    rng = np.random.default_rng(0)
    a, b, base = rng.normal(size=(3, 10, 10))
    tile = ([0.0] * (rows * columns), rows, columns)

    def by_rows(array: Any) -> Any:
        return array.reshape(-1), 10, 1

    c = np.zeros(100)
    products.multiply_plus((c, 10, 1), by_rows(base), products.transpose(by_rows(a)), by_rows(b), tile, 10)
    np.testing.assert_allclose(c.reshape(10, 10), base + a.T @ b, atol=1e-14)
    right, base = (b + b.T) @ a.T, base + base.T
    c = np.zeros(100)
    products.multiply_symmetric((c, 10, 1), by_rows(base), by_rows(a), by_rows(right), tile, 10)
    np.testing.assert_allclose(c.reshape(10, 10), base + a @ right, atol=1e-13)
    np.testing.assert_array_equal(c.reshape(10, 10), c.reshape(10, 10).T)
