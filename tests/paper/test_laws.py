"""A law of covariates from outside: one class with a draw and its TeX works everywhere; kernels draw what they know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import lintrans as lt
from lintrans.engines.laws import NAMES, moments_of, tokens_of
from lintrans.paper import figures, scales
from lintrans.paper.problems import PROBLEMS, SETTINGS, Setting
from lintrans.random import Source
from lintrans.tasks.regression import tex


@dataclass(frozen=True)
class Shells:
    """Uniform on one of two spheres, each with probability one half."""

    inner: float = 0.5
    outer: float = 2.0

    def draw(self, source: Source, tokens: int, d: int) -> Tensor:
        inside = source.uniforms(tokens).unsqueeze(-2) < 0.5
        return torch.where(inside, self.inner, self.outer) * source.directions(tokens, d)

    def squared_norm(self, d: int) -> float:
        return (self.inner**2 + self.outer**2) / 2

    @property
    def tex(self) -> str:
        return rf"\mathrm{{Unif}}({self.inner:g} S^{{d-1}} \cup {self.outer:g} S^{{d-1}})"


@dataclass(frozen=True)
class Halved(lt.Gaussian):
    """A subclass that draws otherwise than what it inherits from."""

    def draw(self, source: Source, tokens: int, d: int) -> Tensor:
        return 0.5 * super().draw(source, tokens, d)


@dataclass(frozen=True)
class Ball:
    """A law that names a kernel of the library's: the sphere of radius 2."""

    def draw(self, source: Source, tokens: int, d: int) -> Tensor:
        return 2.0 * source.directions(tokens, d)

    def squared_norm(self, d: int) -> float:
        return 4.0

    @property
    def kernel(self) -> tuple[str, tuple[float, ...]]:
        return "sphere", (2.0,)


@dataclass(frozen=True)
class Noisy(lt.LinearRegression):
    """A task that draws otherwise: all responses are zero."""

    def sample(self, batch: int, seed: int | Sequence[int] = 0, step: int = 0, **options: Any) -> lt.Prompts:
        prompts = super().sample(batch, seed, step, **options)
        return lt.Prompts(prompts.covariates, torch.zeros_like(prompts.responses))


RUNS = lt.grid(optimizer=["sgd", "adam"], lr=0.05, seed=range(2))
MODELS: dict[str, Any] = {
    "linear": lt.LinearTransformer(2, 3, init_std=0.3),
    "softmax": lt.LinearTransformer(2, 3, attention="softmax", init_std=0.3),
}


@pytest.mark.parametrize(
    "task", [lt.LinearRegression(3, 8, law) for law in (Shells(), Halved(), Ball())] + [Noisy(3, 8)]
)
@pytest.mark.parametrize("name", list(MODELS))
def test_engines_train_on_the_same_prompts(name: str, task: lt.LinearRegression) -> None:
    model = MODELS[name]
    ours, theirs = (
        lt.train(model, task, RUNS, steps=4, batch=16, clip=1.0, device="cpu", dtype="float64", engine=engine)
        for engine in ("auto", "reference")
    )
    torch.testing.assert_close(ours.parameters(4), theirs.parameters(4), rtol=1e-9, atol=1e-11)
    theta = model.init([0, 1], dtype=torch.float64)
    noise = [
        lt.gradient_noise(model, task, theta, batch=8, samples=4, reference=64, engine=engine)
        for engine in ("auto", "reference")
    ]
    torch.testing.assert_close(*noise, rtol=1e-9, atol=1e-12)


def test_kernels_draw_what_a_class_itself_names() -> None:
    known = [law for law in (Shells(), Halved(), Ball()) if tokens_of(lt.LinearRegression(3, 4, law)) is not None]
    assert known == [Ball()]
    assert tokens_of(Noisy(3, 8)) is moments_of(Noisy(3, 8)) is None
    assert tokens_of(lt.LinearRegression(3, 4, lt.GammaScaled(0.1, 10.0))) == (NAMES["gamma"], 0.1, 10.0, 4)
    assert float(Noisy(3, 8).sample_moments(5).yy.abs().max()) == 0.0


def test_names_of_laws() -> None:
    assert tex(lt.Gaussian()) == r"$\mathcal{N}(0, I_d)$"
    assert tex(lt.Gaussian(2.0)) == r"$\mathcal{N}(0, 4 I_d)$"
    assert tex(lt.Sphere(3.0)) == r"$\mathrm{Unif}(3 S^{d-1})$"
    assert SETTINGS["3"].law == r"$\sqrt{\Gamma(0.1, 10)}\;\mathrm{Unif}(S^{d-1})$"
    assert tex(Ball()) == "Ball()"


def test_a_problem_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stored, in a table, in the title of a panel, and in a figure of laws."""
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    task = lt.LinearRegression(3, 8, Shells())
    own = Setting("own", "My own", task, MODELS["linear"], MappingProxyType({"sgd": 0.05}), 1.0)
    for module in ("scales", "figures.training", "figures.tails"):
        monkeypatch.setattr(f"lintrans.paper.{module}.PROBLEMS", {**PROBLEMS, "own": own})
    row = scales.frame(["own"]).iloc[0]
    assert row["covariates"] == own.law == r"$\mathrm{Unif}(0.5 S^{d-1} \cup 2 S^{d-1})$"
    assert row[r"$\mathbb{E}\lVert x \rVert^2$"] == "2.125"
    first, again = (
        lt.experiment(own.model, own.task, RUNS, steps=4, batch=16, device="cpu", progress=False) for _ in range(2)
    )
    assert torch.equal(first.parameters(4), again.parameters(4))
    title = figures.loss_curves({"own": first}).axes[0].get_title()
    assert title == f"My own\nn = 8, {own.law}"
    line = figures.survival_curves({"one": {1.0: "own"}}, {"one": "One"}).axes[0].lines[0]
    t, share = (np.asarray(values) for values in line.get_data())
    assert share[t < 0.24] == pytest.approx(1.0)
    assert share[(t > 0.26) & (t < 3.9)] == pytest.approx(0.5, abs=0.01)
    assert not (share[t > 4.1] > 0).any()
