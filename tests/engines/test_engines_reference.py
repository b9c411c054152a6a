"""The reference engine: groups of runs, shared prompts and prompts of each run's own."""

from __future__ import annotations

import pytest
import torch

import lintrans as lt
from lintrans.engines import choose
from lintrans.engines import reference as module
from lintrans.training.train import plan_training

TASK = lt.LinearRegression(3, 4)


@pytest.mark.parametrize("form", ["sparse", "full"])
def test_groups_change_nothing(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lt.LinearTransformer(3, 3, 2, form, init_std=0.3)
    runs = lt.grid(optimizer="sgd", lr=0.1, seed=range(5))
    worker = choose("reference", plan_training(model, TASK, runs, steps=1, batch=6, dtype=torch.float64))
    parameters = worker.start().parameters
    shared = TASK.sample_moments(6, dtype=torch.float64)
    own = TASK.sample_moments(6, seed=list(range(5)), dtype=torch.float64)
    tokens = TASK.sample(6, seed=list(range(5)), dtype=torch.float64)
    whole = [worker.gradient(parameters, shared), worker.gradient(parameters, own), worker.gradient(parameters, tokens)]
    losses = worker.loss(parameters, shared)
    monkeypatch.setattr(module, "GROUP_BYTES", 1)
    parts = [worker.gradient(parameters, shared), worker.gradient(parameters, own), worker.gradient(parameters, tokens)]
    for (loss, gradient), (other_loss, other_gradient) in zip(whole, parts, strict=True):
        torch.testing.assert_close(loss, other_loss, rtol=1e-12, atol=0)
        torch.testing.assert_close(gradient, other_gradient, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(losses, worker.loss(parameters, shared), rtol=1e-12, atol=0)
    torch.testing.assert_close(losses, whole[0][0], rtol=1e-12, atol=0)
    torch.testing.assert_close(whole[1][1], whole[2][1], rtol=1e-9, atol=1e-12)


def test_gradient_of_a_run_is_its_own() -> None:
    model = lt.LinearTransformer(2, 3, init_std=0.3)
    runs = lt.grid(optimizer="sgd", lr=0.1, seed=range(3))
    worker = choose("reference", plan_training(model, TASK, runs, steps=1, batch=6, dtype=torch.float64))
    parameters = worker.start().parameters
    moments = TASK.sample_moments(6, seed=[0, 1, 2], dtype=torch.float64)
    _, gradients = worker.gradient(parameters, moments)
    for run in range(3):
        leaf = parameters[run].clone().requires_grad_()
        (expected,) = torch.autograd.grad(model.loss(leaf, moments[run]), leaf)
        torch.testing.assert_close(gradients[run], expected, rtol=1e-12, atol=1e-14)
