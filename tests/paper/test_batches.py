"""Noise that is made Gaussian has the mean and the covariance of minibatch noise."""

from __future__ import annotations

import pytest
import torch

import lintrans as lt
from lintrans.diagnostics.noise import measure_noise
from lintrans.paper.measure.batches import GaussianNoise
from lintrans.training.train import plan_training


def test_swapped_noise_has_the_covariance_that_it_claims() -> None:
    model, task = lt.LinearTransformer(layers=2, d=1), lt.LinearRegression(d=1, n=20)
    runs, batch, draws = lt.grid(optimizer="sgd", lr=0.1, seed=7), 50, 600
    plan = plan_training(model, task, runs, steps=draws, batch=batch, device="cpu")
    engine = GaussianNoise(plan, 500, 10)
    point = model.init([7]) - 0.3  # nearly trained, where no single prompt rules the covariance
    found = torch.cat([engine.fresh_gradient(point, torch.tensor([0]), step, batch) for step in range(draws)])
    noise = measure_noise(model, task, point, batch=batch, samples=3000, reference=200_000, seed=3)
    centred = found.reshape(draws, -1).double() - noise.gradient
    scale = noise.covariance[0].diagonal().sqrt()
    used = scale > 0
    mean = centred.mean(0)[used] / scale[used] * draws**0.5
    assert mean.abs().max() < 4
    ratio = (centred.T @ centred / draws)[used][:, used] / scale[used] / scale[used][:, None]
    expected = noise.covariance[0][used][:, used] / scale[used] / scale[used][:, None]
    torch.testing.assert_close(ratio, expected, atol=0.3, rtol=0)
    with pytest.raises(ValueError, match="give more than 50"):
        GaussianNoise(plan, 40, 10)
