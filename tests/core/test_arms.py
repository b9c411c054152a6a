"""The arms between SGD and Adam against plain float64 recursions in NumPy, and a symmetry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import lintrans as lt
from lintrans.engines import choose
from lintrans.training.arms import (
    ARMS,
    BlockNormalizedSGD,
    BlockSGD,
    FactoredAdam,
    Lion,
    PartitionedAdam,
    RotatedAdam,
    partition_of,
)
from lintrans.training.train import plan_training

MODEL, TASK, STEPS, RATE = lt.LinearTransformer(2, 3), lt.LinearRegression(3, 7), 5, 0.03
RATES = (0.5, 2.0, 1.0, 3.0)
OPTIMIZERS: list[Any] = [
    PartitionedAdam(),
    PartitionedAdam(partition=("column", "coordinate"), name="columns"),
    FactoredAdam(),
    RotatedAdam(),
    RotatedAdam(basis="layer", name="mixed"),
    BlockSGD(rates=RATES),
    BlockNormalizedSGD(),
    Lion(),
]


def adam(m: Any, v: Any, step: int) -> Any:
    return m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.9**step)) + 1e-8)


def plain(name: str, theta: np.ndarray, gradient: Any, turn: np.ndarray) -> np.ndarray:
    """Parameters [2 layers, P and Q, 3, 3] after some steps."""
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    row, column = np.zeros((2, 2, 3, 1)), np.zeros((2, 2, 1, 3))
    for step in range(1, STEPS + 1):
        g = gradient(theta, step - 1)
        if name == "lion":
            theta = theta - RATE * np.sign(0.9 * m + 0.1 * g)
            m = 0.99 * m + 0.01 * g
            continue
        if name in ("oracle", "normalized_blocks"):
            m = 0.9 * m + g
            scale = np.array(RATES).reshape(2, 2, 1, 1)
            if name == "normalized_blocks":  # the last P' has no gradient
                scale = 1 / np.maximum(np.linalg.norm(m.reshape(2, 2, 9), axis=-1)[..., None, None], 1e-300)
            theta = theta - RATE * scale * m
            continue
        if name == "rotated":
            g = np.einsum("ij,lkjm,nm->lkin", turn, g, turn)
        if name == "mixed":
            g = (g.reshape(2, 18) @ turn.T).reshape(g.shape)
        s = g**2
        if name == "adam_mini":  # P by rows, Q as one
            s[:, 0] = s[:, 0].mean(-1, keepdims=True)
            s[:, 1] = s[:, 1].mean((-1, -2), keepdims=True)
        if name == "columns":
            s[:, 0] = s[:, 0].mean(-2, keepdims=True)
        m, v = 0.9 * m + 0.1 * g, 0.9 * v + 0.1 * s
        used = v
        if name == "adafactor":
            row = 0.9 * row + 0.1 * s.mean(-1, keepdims=True)
            column = 0.9 * column + 0.1 * s.mean(-2, keepdims=True)
            used = row * column / np.maximum(row.mean(-2, keepdims=True), 1e-300)
        direction = adam(m, used, step)
        if name == "rotated":
            direction = np.einsum("ji,lkjm,mn->lkin", turn, direction, turn)
        if name == "mixed":
            direction = (direction.reshape(2, 18) @ turn).reshape(direction.shape)
        theta = theta - RATE * direction
    return theta


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: each.name)
def test_the_recursions(optimizer: Any) -> None:
    runs = lt.grid(optimizer=optimizer, lr=RATE, clip=0.05, seed=3)
    plan = plan_training(MODEL, TASK, runs, steps=STEPS, batch=40, dtype="float64")
    reference = choose("reference", plan)

    def gradient(theta: np.ndarray, step: int) -> np.ndarray:
        prompts = MODEL.draw(TASK, 40, 3, step, dtype=torch.float64)
        point = torch.from_numpy(theta).reshape(1, *MODEL.parameter_shape)
        own = reference.gradient(point, prompts)[1].reshape(2, 2, 3, 3).numpy()
        return np.asarray(own * min(1.0, 0.05 / (np.linalg.norm(own) + 1e-6)))

    start = MODEL.init(3, dtype=torch.float64).reshape(2, 2, 3, 3).numpy()
    turn = np.eye(3)
    if isinstance(optimizer, RotatedAdam):
        turn = optimizer._orthogonal(
            18 if optimizer.basis == "layer" else 3, torch.zeros(1, dtype=torch.float64)
        ).numpy()
        np.testing.assert_allclose(turn @ turn.T, np.eye(len(turn)), atol=1e-12)
    expected = plain(optimizer.name, start, gradient, turn)
    history = lt.train(MODEL, TASK, runs, steps=STEPS, batch=40, dtype="float64", snapshots=[STEPS], engine="reference")
    found = history.parameters(STEPS).reshape(2, 2, 3, 3).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert abs(found - start).max() > 0.01


def test_rotating_the_covariates_is_a_symmetry() -> None:
    """Adam in the rotated basis is Adam on rotated prompts from rotated parameters, step by step."""
    optimizer, model = RotatedAdam(), MODEL
    u = optimizer._orthogonal(3, torch.zeros(1, dtype=torch.float64))
    theta = model.init([0], dtype=torch.float64)
    other = (u @ theta @ u.T).contiguous()
    slots, plain_slots = optimizer.init(theta.flatten(1), model), lt.Adam().init(other.flatten(1), model)
    for step in range(4):
        prompts = TASK.sample(50, 0, step, dtype=torch.float64)
        turned = type(prompts)(prompts.covariates @ u.T, prompts.responses)
        count = torch.full((1, 1), step + 1)
        gradients = []
        for point, data in ((theta, prompts), (other, turned)):
            leaf = point.clone().requires_grad_()
            gradients.append(torch.autograd.grad(model.loss(leaf, data).sum(), leaf)[0].flatten(1))
        direction, slots = optimizer.update(gradients[0], slots, count, model)
        theta = theta - RATE * direction.reshape(theta.shape)
        direction, plain_slots = lt.Adam().update(gradients[1], plain_slots, count, model)
        other = other - RATE * direction.reshape(other.shape)
    torch.testing.assert_close(u @ theta @ u.T, other, rtol=1e-8, atol=1e-10)


def test_partitions_and_what_is_refused() -> None:
    assert partition_of(MODEL, ("row", "block")).reshape(4, 3, 3)[0].tolist() == [[0] * 3, [1] * 3, [2] * 3]
    assert len(set(partition_of(MODEL, ("row", "block")).tolist())) == 2 * (3 + 1)
    assert len({arm.name for arm in ARMS}) == len(ARMS)
    with pytest.raises(ValueError, match="partition = 'rows'"):
        PartitionedAdam(partition=("rows", "block"))
    with pytest.raises(ValueError, match="give 4"):
        lt.train(MODEL, TASK, lt.grid(optimizer=BlockSGD(rates=(1.0,)), lr=0.1), steps=1, batch=5, engine="reference")
    with pytest.raises(ValueError, match="take a LinearTransformer"):
        PartitionedAdam().init(torch.zeros(1, 10), lt.EmbeddedTransformer(2, 3, hidden=6))
