"""The seam: a model whose parameters are one tensor, and a task of one's own, through training and every instrument."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import lintrans as lt
from lintrans import engines
from lintrans.diagnostics.curvature import conditions
from lintrans.engines import reference
from lintrans.models.flatten import pack
from lintrans.models.transformer import TensorModel, has_tensor
from lintrans.random import Source, Stream
from lintrans.tasks.regression import Task
from lintrans.training.train import plan_training


@dataclass(frozen=True)
class Doubled:
    """Linear regression with responses twice as large."""

    n: int = 4
    zero_loss: float = 12.0

    def sample(self, batch: int, seed: int | Sequence[int] = 0, step: int = 0, **options: Any) -> lt.Prompts:
        own = lt.LinearRegression(3, self.n).sample(batch, seed, step, **options)
        return lt.Prompts(own.covariates, 2 * own.responses)


@dataclass(frozen=True)
class Ridge:
    """y = a <m, x> + b with m = mean of y_i x_i over the context; the third parameter has no effect."""

    parameter_shape: tuple[int, ...] = (3,)

    @property
    def default_dtype(self) -> torch.dtype:
        return torch.float64

    @property
    def structural_zeros(self) -> Tensor:
        return torch.tensor([False, False, True])

    @property
    def blocks(self) -> tuple[Tensor, ...]:
        return torch.tensor([0]), torch.tensor([1])

    def init(
        self, seed: int | Sequence[int] = 0, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
    ) -> Tensor:
        source = Source(seed, 0, Stream.INIT, batch=1, device=device)
        return source.normals(3).reshape(*source.lead, 3).to(dtype or self.default_dtype)

    def draw(self, task: Task, batch: int, seed: int | Sequence[int] = 0, step: int = 0, **options: Any) -> Any:
        return task.sample(batch, seed, step, **options)

    def loss(self, parameters: Tensor, prompts: lt.Prompts) -> Tensor:
        x, y = prompts.covariates, prompts.responses
        mean = (x[..., :-1, :] * y[..., :-1, None]).mean(-2)
        answer = parameters[..., 0:1] * (mean * x[..., -1, :]).sum(-1) + parameters[..., 1:2]
        return ((answer - prompts.target) ** 2).mean(-1)

    def numbers(self, prompts: lt.Prompts) -> int:
        return 4 * prompts.batch


MODEL, TASK = Ridge(), Doubled()


def test_it_is_one() -> None:
    assert has_tensor(MODEL)
    assert has_tensor(lt.LinearTransformer())
    assert not has_tensor(Ridge)
    assert not has_tensor(lt.TorchModel(torch.nn.Linear(1, 1), lambda module, prompts: module(prompts).sum()))
    assert isinstance(MODEL, TensorModel)
    assert isinstance(TASK, Task)


def test_trains_and_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    runs = lt.grid(optimizer=["sgd", "adam"], lr=[0.01, 0.02], seed=range(2))
    probes = [
        lt.TestLoss(every=10, batch=50), lt.TypicalLoss(blocks=2, at=(30,)), lt.Conditions(at=(30,), batch=50),
        lt.StepCurvature(at=(7,), batch=50, spectral=True),
    ]  # fmt: skip
    options: dict[str, Any] = {"steps": 30, "batch": 20, "clip": 1.0, "probes": probes, "device": "cpu"}
    history = lt.experiment(MODEL, TASK, runs, **options)
    assert history.info["engine"] == "reference"
    losses = history.metric("test_loss").groupby("step")["value"].mean()
    assert losses[30] < losses[0]
    assert history.parameters(30).shape == (8, 3)
    again = lt.experiment(MODEL, TASK, runs, **options)
    assert again.frame.equals(history.frame)
    monkeypatch.setattr(reference, "GROUP_BYTES", 1)  # one run at a time
    alone = lt.train(MODEL, TASK, runs, **options)
    torch.testing.assert_close(alone.parameters(30), history.parameters(30), rtol=1e-12, atol=1e-13)


def test_instruments() -> None:
    """The loss is quadratic: its Hessian is known."""
    prompts = MODEL.draw(TASK, 200, dtype=torch.float64)
    parameters = MODEL.init([0, 1])
    x, y = prompts.covariates, prompts.responses
    feature = ((x[:, :-1] * y[:, :-1, None]).mean(-2) * x[:, -1]).sum(-1)
    h = 2 * torch.tensor([[(feature**2).mean(), feature.mean()], [feature.mean(), 1.0]], dtype=torch.float64)
    diagonal = torch.cat([h.diagonal(), torch.zeros(1)])
    torch.testing.assert_close(lt.hessian_diagonal(MODEL, parameters, prompts), diagonal.expand(2, 3))
    norm = torch.linalg.matrix_norm(h, 2)
    torch.testing.assert_close(lt.spectral_norm(MODEL, parameters, prompts), norm.expand(2), rtol=1e-6, atol=0)
    torch.testing.assert_close(
        lt.directional_smoothness(MODEL, parameters, torch.eye(3)[:2].double(), prompts), h.diagonal()
    )
    expected = float(h.diagonal().max() / h.diagonal().mean())
    found = lt.robust_condition_number(MODEL, parameters, prompts, median="midpoint", unused=False)
    assert found.tolist() == pytest.approx([expected] * 2)
    found_all = conditions(MODEL, parameters, prompts)
    assert found_all["r_blocks"].tolist() == [1.0, 1.0]
    assert found_all["r_used"].tolist() == pytest.approx([expected] * 2)
    noise = lt.gradient_noise(MODEL, TASK, parameters, batch=10, samples=6, reference=200)
    assert noise.shape == (2, 6)
    assert bool((noise > 0).all())


def test_what_is_wrong_is_named() -> None:
    runs = lt.grid(optimizer="sgd", lr=0.1)
    with pytest.raises(TypeError, match=r"model is a Linear: give .* a lintrans\.ModuleModel, or another model"):
        plan_training(torch.nn.Linear(1, 1), TASK, runs, steps=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"task is a dict: give a lintrans\.LinearRegression"):
        plan_training(MODEL, {}, runs, steps=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"parameters have shape \[2\]; this model needs \[..., 3\]$"):
        pack(MODEL, torch.zeros(2))
    plan = plan_training(MODEL, TASK, runs, steps=1, device="cpu")
    assert engines.unsupported_plan("cpu", plan) == "Ridge is no lintrans.LinearTransformer"
    other = plan_training(lt.LinearTransformer(1, 3), TASK, runs, steps=1, device="cpu")
    assert engines.unsupported_plan("cpu", other) == "Doubled is no lintrans.LinearRegression"
    with pytest.raises(TypeError, match="LinearTransformer on Doubled: use engine='reference'"):
        _ = other.linear


def test_linear_attention_takes_tokens_of_another_task() -> None:
    runs = lt.grid(optimizer="adam", lr=0.05, seed=range(2))
    model = lt.LinearTransformer(1, 3)
    history = lt.train(model, TASK, runs, steps=60, batch=50, probes=[lt.TestLoss(every=60, batch=200)], device="cpu")
    losses = history.metric("test_loss").groupby("step")["value"].mean()
    assert losses[60] < 0.9 * losses[0]
    assert math.isclose(losses[0], TASK.zero_loss, rel_tol=0.4)
