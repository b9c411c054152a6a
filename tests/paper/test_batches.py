"""Noise that is made Gaussian has the mean and the covariance of minibatch noise."""

from __future__ import annotations

import pytest
import torch

import lintrans as lt
from lintrans.diagnostics.derivatives import batch_gradients
from lintrans.diagnostics.noise import measure_noise
from lintrans.paper.measure import batches
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


def test_its_gaussian_part_has_the_rest_of_the_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    """With unit vectors in place of normals: columns whose outer products add up to (1 - B / N) of C / B on average."""

    class Units:
        def __init__(self, *args: object, **options: object) -> None: ...

        def normals(self, count: int) -> torch.Tensor:
            return torch.eye(count)

    monkeypatch.setattr(batches, "Source", Units)
    model, task = lt.LinearTransformer(layers=2, d=1), lt.LinearRegression(d=1, n=20)
    batch, prompts, group, steps = 50, 100, 10, 1500
    parts = prompts // group
    runs = lt.grid(optimizer="sgd", lr=0.1, seed=7)
    engine = GaussianNoise(plan_training(model, task, runs, steps=steps, batch=batch, device="cpu"), prompts, group)
    point = model.init([7]) - 0.3
    every = point.expand(parts, *point.shape[1:]).contiguous()
    total = 0.0
    for step in range(steps):
        found = engine.fresh_gradient(every, torch.zeros(parts, dtype=torch.int64), step, batch).flatten(1).double()
        columns = found - found.mean(0)  # what is left sums to zero over groups
        total += float(columns.square().sum()) / steps
    plain = batch_gradients(model, task, point, batch=batch, count=40_000, seed=[3])[1].flatten(2)[0].double()
    expected = (1 - batch / prompts) * (plain - plain.mean(0)).square().sum(1).mean()
    assert total / float(expected) == pytest.approx(1.0, abs=0.12)
