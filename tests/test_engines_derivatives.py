"""Hessian-vector products and gradients of many batches: both engines agree, and bad input is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lintrans as lt
from lintrans.engines.derivatives import batch_gradients, hessian_products

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
    with pytest.raises(ValueError, match=r"directions have shape .* give directions \[..., count, 3, 1, 2, 5, 5\]"):
        hessian_products(MODEL, parameters, parameters, TASK.sample(5))
    with pytest.raises(ValueError, match="batch = 0 is not allowed"):
        batch_gradients(MODEL, TASK, parameters, batch=0, count=1)
    large = lt.LinearTransformer(layers=1, d=33)
    with pytest.raises(ValueError, match="engine = 'cpu' cannot do this"):
        batch_gradients(large, lt.LinearRegression(d=33), large.init(0), batch=1, count=1, engine="cpu")
