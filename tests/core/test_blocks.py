"""How blocks of parameters differ: exact spectra of made-up Hessians, and factors that multiply to R_med."""

from __future__ import annotations

import math

import pytest
import torch

import lintrans as lt
from lintrans.diagnostics.blocks import block_measures, spectra_distance
from lintrans.diagnostics.curvature import hessian


def test_distances_of_spectra() -> None:
    blocks = (torch.tensor([0, 1]), torch.tensor([2, 3]))
    alike = torch.diag(torch.tensor([1.0, 1e-3, 1e-3, 1.0], dtype=torch.float64))
    assert float(spectra_distance(alike, blocks)) == pytest.approx(0)
    apart = torch.diag(torch.tensor([1.0, 1.0, 1e-5, 1e-5], dtype=torch.float64))
    assert float(spectra_distance(apart, blocks)) == pytest.approx(1)
    half = torch.diag(torch.tensor([1.0, 1.0, 1.0, 1e-5], dtype=torch.float64))
    expected = math.sqrt(0.5 * (math.log2(1 / 0.75) + 0.5 * math.log2(0.5 / 0.75) + 0.5))
    assert float(spectra_distance(half, blocks)) == pytest.approx(expected)
    assert math.isnan(float(spectra_distance(alike * math.nan, blocks)))


def test_measures_of_a_model() -> None:
    model, task = lt.LinearTransformer(2, 5), lt.LinearRegression(5, 20)
    parameters, prompts = model.init([0, 1], dtype=torch.float64), task.sample(40, dtype=torch.float64)
    found = block_measures(model, parameters, prompts)
    torch.testing.assert_close(found["between"] * found["r_blocks"], found["r_used"])
    dense = hessian(model, parameters, prompts)
    torch.testing.assert_close(found["js"][1], spectra_distance(dense[1].reshape(100, 100), model.blocks))
    leaf = parameters.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model.loss(leaf, prompts).sum(), leaf)
    norms = slope.flatten(1)[:, torch.stack(model.blocks)].square().mean(-1).sqrt()
    torch.testing.assert_close(found["gradient_spread"], norms.amax(-1) / norms.amin(-1))
