"""The least model: its quadrature against prompts, its groups, its place among models that train."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import lintrans as lt
from lintrans.paper.judged import COARSE_LOSS
from lintrans.paper.least import FORMS, LeastModel, MeanSquare
from lintrans.paper.measure.least import Trained, hessians, phases, surface


@pytest.mark.parametrize(("layers", "form"), [(2, "sparse"), (3, "sparse"), (3, "full"), (2, "merged")])
def test_the_quadrature_is_the_mean_over_a_million_prompts(layers: int, form: str) -> None:
    least, n = LeastModel(layers, form), 20
    numbers = torch.linspace(-0.4, 0.3, *least.parameter_shape, dtype=torch.float64)
    value = dict(zip(least.numbers_of, numbers.tolist(), strict=True))
    model = lt.LinearTransformer(layers, 1, form="full")
    full = torch.zeros(model.parameter_shape, dtype=torch.float64)
    for layer in range(layers):
        full[layer, 0, 0] = torch.diag(
            torch.tensor([value.get((layer, k), float(k != "p" or layer + 1 < layers)) for k in "pv"])
        )
        full[layer, 0, 1, 0, 0] = value[layer, "q"]
    task = lt.LinearRegression(1, n)
    losses = torch.stack(
        [model.loss(full, task.sample_moments(20_000, 5, step, dtype=torch.float64)) for step in range(50)]
    )
    error = losses.std() / len(losses) ** 0.5
    exact = least.loss(numbers, MeanSquare(n / 2).sample(0))
    assert abs(losses.mean() - exact) < 4 * error
    assert error < 0.01 * exact


def test_more_points_change_nothing() -> None:
    model = LeastModel(3)
    theta = model.init(range(5)) + 0.2
    torch.testing.assert_close(
        model.loss(theta, MeanSquare(points=14).sample(0)), model.loss(theta, MeanSquare(points=30).sample(0)),
        rtol=1e-10, atol=0,
    )  # fmt: skip


def test_the_scale_of_covariates_is_a_change_of_units() -> None:
    theta = LeastModel(3).init(0) + 0.1
    q = torch.tensor([kind == "q" for _, kind in LeastModel(3).numbers_of])
    scaled = torch.where(q, theta / 5, theta)
    ratio = LeastModel(3).loss(scaled, MeanSquare(mean=5.0).sample(0)) / LeastModel(3).loss(
        theta, MeanSquare().sample(0)
    )
    assert float(ratio) == pytest.approx(5.0)


@pytest.mark.parametrize("form", FORMS)
def test_it_trains_like_any_model(form: str) -> None:
    model, law = LeastModel(3, form), MeanSquare()
    runs = lt.grid(optimizer=["sgd", "adam"], lr=0.02, seed=range(2))
    history = lt.train(model, law, runs, steps=100, batch=1, clip=1.0, probes=[], engine="reference", progress=False)
    nodes = law.sample(0)
    assert (model.loss(history.parameters(100), nodes) < model.loss(model.init(0), nodes)).all()
    assert len(model.parameter_shape) == 1
    assert model.parameter_shape[0] == {"sparse": 5, "full": 8, "merged": 3}[form]
    both = hessians(model, law, history.parameters(100))
    torch.testing.assert_close(both, both.transpose(-1, -2))


@pytest.mark.parametrize("form", FORMS)
def test_a_run_alone_has_the_bits_that_it_has_among_others(form: str) -> None:
    model, law = LeastModel(3, form), MeanSquare()
    many = lt.grid(optimizer=["sgd", "adam"], lr=[0.005, 0.02, 0.1], seed=range(7))
    one = lt.grid(optimizer=["adam"], lr=[0.02], seed=[5])
    both = [
        lt.train(model, law, runs, steps=200, batch=1, clip=1.0, probes=[], engine="reference", progress=False)
        for runs in (many, one)
    ]
    same = many.frame.query("optimizer == 'adam' and lr == 0.02 and seed == 5").index[0]
    assert torch.equal(both[0].parameters(200)[same], both[1].parameters(200)[0])


def test_plateaus_and_drops() -> None:
    """Flat for 100 steps, a drop in 20, flat for 100, a drop to the end; another run starts below the plateau."""
    steps = range(0, 301, 5)
    one = np.interp(steps, [0, 100, 120, 220, 240, 300], np.log([1.0, 0.999, 0.1, 0.0999, 0.001, 0.0001]))
    two = np.linspace(np.log(0.5), np.log(1e-4), len(steps))
    rows = [
        (run, name, 0.02, 100, step, COARSE_LOSS, value, 1.0)
        for run, (name, logs) in enumerate((("sgd", one), ("adam", two)))
        for step, value in zip(steps, np.exp(logs), strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["run", "optimizer", "lr", "seed", "step", "metric", "value", "clip"])
    runs = frame[["run", "optimizer", "lr", "seed", "clip"]].drop_duplicates(ignore_index=True)
    runs = runs.assign(skipped=0, clipped=0, diverged=-1)
    cell = Trained(LeastModel(3), MeanSquare(), lt.History(frame, runs, {}, 300), 1e-4)  # target 0.01
    found = phases(cell, {"sgd": 0.02, "adam": 0.02}, [100])
    assert found["plateau"].tolist() == [105, 0]
    assert found["drop"].tolist()[0] == 125
    assert found["plateaus"].tolist() == [2, 0]
    assert cell.ends({"sgd": 0.02, "adam": 0.02}, [100]).estimate == pytest.approx(1.0)
    assert phases(cell, {"sgd": 0.5, "adam": 0.02}, [100])["optimizer"].tolist() == ["adam"]


def test_surface() -> None:
    first, second, loss = surface((-0.5, -0.5), 0.5, 3, 0.0)
    assert loss.shape == first.shape == second.shape == (3, 3)
    assert loss[2, 2] == pytest.approx(1.0)
