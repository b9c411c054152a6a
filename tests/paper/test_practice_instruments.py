"""The instruments of practice: on the linear model they give what the fast ones give; on a tiny network they run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import lintrans as lt
from lintrans.diagnostics import along
from lintrans.diagnostics.sampled import WHOLE
from lintrans.diagnostics.tails import quantile_ratio
from lintrans.models.flatten import pack
from lintrans.paper.pages import practice as tables
from lintrans.paper.practice import instruments, measured
from lintrans.paper.practice.batch_noise import tails_by_batch
from lintrans.paper.practice.measured import BUDGETS
from lintrans.paper.practice.networks import NAMES, network
from lintrans.paper.practice.protocol import budget as training_budget

MODEL, TASK = lt.LinearTransformer(layers=2, d=2), lt.LinearRegression(d=2, n=4)
STEPS, SETS, EXAMPLES = [1, 3], [0, 1], 20
INDEX = ["run", "step", "batch", "metric"]


@pytest.fixture(scope="module")
def history() -> lt.History:
    runs = lt.grid(optimizer=["sgd", "adam"], lr=0.05, seed=range(2))
    return lt.train(
        MODEL, TASK, runs, steps=5, batch=10, snapshots=[1, 2, 3, 4], dtype="float64", engine="reference", probes=[]
    )


def values(frame: pd.DataFrame, *metrics: str) -> pd.Series:
    return frame[frame["metric"].isin(metrics)].set_index(INDEX)["value"].sort_index()


def test_r_med_is_that_of_the_fast_instruments(history: lt.History) -> None:
    fast = along.conditions_along(history, MODEL, TASK, STEPS, batch=EXAMPLES, batches=SETS)
    own = instruments.conditions_along(history, MODEL, TASK, None, STEPS, SETS, EXAMPLES, entries=0)
    names = ("r_lower", "r_midpoint", "r_used", "r_blocks")
    expected = values(fast, *names)
    assert len(expected) == 4 * 2 * 2 * 4
    pd.testing.assert_series_equal(values(own, *names), expected, rtol=1e-8)
    assert set(own.columns) == set(fast.columns)


def test_r_med_of_the_perceptron_is_that_of_its_whole_hessian() -> None:
    """A second program: the network written out in plain torch, its Hessian, and R_med by its definition."""
    pytest.importorskip("sklearn")
    net = network("mlp", "quick", hidden=3)
    runs = lt.grid(optimizer=["sgd", "adam"], lr=0.05, seed=[0])
    history = lt.train(net.model, net.task, runs, steps=20, batch=64, snapshots=[20], engine="reference", probes=[])
    batch = along.evaluation_batch(net.model, net.task, 1, EXAMPLES)
    shapes = net.model.shapes
    places = dict(zip(shapes, torch.split(torch.arange(sum(net.model.sizes)), net.model.sizes), strict=True))

    def loss(vector: torch.Tensor) -> torch.Tensor:
        w, b, v, c = (vector[own].reshape(shape) for own, shape in zip(places.values(), shapes.values(), strict=True))
        logits = torch.tanh(batch.inputs @ w.T + b) @ v.T + c
        chosen = logits[torch.arange(EXAMPLES), batch.targets]
        return (torch.logsumexp(logits, 1) - chosen).mean()

    def ratio(entries: torch.Tensor) -> float:
        used = sorted(abs(float(each)) for each in entries if each != 0)
        return used[-1] / (0.5 * (used[(len(used) - 1) // 2] + used[len(used) // 2]))

    assert list(places) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    layers = {"0": torch.cat([places["0.weight"], places["0.bias"]])}
    layers["2"] = torch.cat([places["2.weight"], places["2.bias"]])
    find = partial(instruments.conditions_along, history, net.model, net.task, net.layers, [20], [1], EXAMPLES)
    every, single = (values_of(find(entries=0, dtype=dtype)) for dtype in ("float64", "float32"))
    few = [values_of(find(entries=count)) for count in (8, 64)]
    for run in range(2):
        point = history.parameters(20)[run].double()
        diagonal = torch.autograd.functional.hessian(loss, point, vectorize=True).diagonal()  # type: ignore[no-untyped-call]
        assert int((diagonal == 0).sum()) > 0  # pixels that are dark in all of these scans
        inside = {f"within_{name}": ratio(diagonal[own]) for name, own in layers.items()}
        expected = {**inside, "r_used": ratio(diagonal), "r_blocks": math.sqrt(math.prod(inside.values()))}
        for name, value in expected.items():
            assert every[run, name] == pytest.approx(value, rel=1e-9), name
            assert single[run, name] == pytest.approx(value, rel=1e-3), name
        largest = float(diagonal[layers["0"]].abs().max())
        for sample in few:  # a sample's largest entry is one of the layer's
            assert sample[run, "within_0"] * sample[run, "block_0"] <= largest * (1 + 1e-9)


def values_of(frame: pd.DataFrame) -> dict[tuple[int, str], float]:
    return {(int(row["run"]), str(row["metric"])): float(row["value"]) for row in frame.to_dict("records")}


def test_curvature_along_steps_is_that_of_the_fast_instruments(history: lt.History) -> None:
    fast = along.steps_along(history, MODEL, TASK, STEPS, spectral=True, batch=EXAMPLES, batches=SETS)
    own = instruments.steps_along(
        history, MODEL, TASK, STEPS, SETS, EXAMPLES, spectral=("sgd", "adam"), residual=along.RESIDUAL
    )
    for name in ("directional_smoothness", "hessian_step_norm", "gradient_norm", "slope", "spectral_norm"):
        pd.testing.assert_series_equal(values(own, name), values(fast, name), rtol=1e-6)
    batch = along.evaluation_batch(MODEL, TASK, 1, EXAMPLES)
    before, after = history.parameters(3)[0], history.parameters(4)[0]
    one = lt.directional_smoothness(MODEL, before, after - before, batch)
    assert values(own, "directional_smoothness")[0, 3, 1].item() == pytest.approx(float(one))
    adam = instruments.steps_along(history, MODEL, TASK, STEPS, SETS, EXAMPLES)
    assert set(adam[adam["metric"] == "spectral_norm"]["optimizer"]) == {"adam"}


def test_noise_is_that_of_the_fast_instruments() -> None:
    points = MODEL.init([3, 4], dtype=torch.float64)
    table = instruments.noise_of(MODEL, TASK, points, [3, 4], None, batch=6, samples=30, reference=500)
    norms = lt.gradient_noise(MODEL, TASK, points, batch=6, samples=30, reference=500, seed=[3, 4])
    own = table[table["layer"] == WHOLE].set_index("seed")
    assert own["median"].tolist() == pytest.approx(norms.quantile(0.5, dim=1).tolist())
    ratios = norms.quantile(0.99, dim=1) / norms.quantile(0.5, dim=1)
    assert own["q99"].tolist() == pytest.approx(ratios.tolist())
    assert pack(MODEL, points)[0].shape == (2, own["parameters"].iloc[0])


def test_a_sample_differs_by_seed_and_set_and_is_the_same_for_both_optimizers(history: lt.History) -> None:
    """At step 0 both optimizers of a seed are at one place, so that every number is the same."""
    runs = lt.grid(optimizer=["sgd", "adam"], lr=0.05, seed=range(2))
    start = lt.train(MODEL, TASK, runs, steps=1, batch=4, snapshots=[0], engine="reference", probes=[])
    own = instruments.conditions_along(start, MODEL, TASK, None, [0], SETS, EXAMPLES, entries=2)
    wide = own.pivot(index=["seed", "batch", "metric"], columns="optimizer", values="value")
    assert (wide["sgd"] == wide["adam"]).all()
    assert wide.xs("r_lower", level="metric")["sgd"].nunique() == 4


def test_budgets_go_up_and_shift() -> None:
    for scale, own in BUDGETS.items():
        for name in NAMES:
            assert {*own.probes, own.later} <= {*training_budget(name, scale).points}
    assert BUDGETS["quick"].samples < BUDGETS["paper"].samples < BUDGETS["large"].samples
    shifted = measured.budget("quick+100")
    assert list(shifted.numbers) == [100, 101]
    assert shifted.first_seed == 100
    with pytest.raises(ValueError, match="did you mean 'paper'"):
        measured.budget("papr")


def test_a_tiny_network_end_to_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both readings of the perceptron on digits: trainings, noise, curvature, found again in the store."""
    pytest.importorskip("sklearn")
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    from lintrans.paper.claims import State, p1, p3, p4, p5

    monkeypatch.setattr(measured, "NAMES", ("mlp",))
    found = measured.everything("quick")
    assert set(found.trained) == {"mlp"}
    assert set(found.conditions["default"]) == set(found.steps["default"]) == {"mlp"}
    again = measured.everything("quick")
    pd.testing.assert_frame_equal(found.conditions["default"]["mlp"], again.conditions["default"]["mlp"])
    budget = found.budget
    rows = found.conditions["default"]["mlp"]
    assert set(rows["batch"]) == set(budget.numbers)
    assert set(rows["step"]) == set(budget.probes)
    assert {"within_0", "within_2"} <= set(rows["metric"])
    history = found.histories("default")["mlp"]
    shown = (
        p1.shown("mlp", history, found.zero_losses["mlp"], 1e-3),
        p3.shown("mlp", rows, budget.settled),
        p4.shown("mlp", found.steps["default"]["mlp"], budget.settled),
        p5.shown("mlp", found.steps["default"]["mlp"]),
    )
    assert all(each.unit.state is not State.MISSING for each in shown)
    assert set(found.noise["mlp"]["layer"]) == {"all", "0", "2"}
    assert set(found.by_batch["mlp"]["step"]) == {0, budget.later}
    ends = history.metric("test_loss").query(f"step == {history.steps}").groupby("optimizer")["value"].median()
    row = tables.rates(found).set_index("reading").loc["default"]
    assert row["held out, Adam"] == f"{ends['adam']:.3g}"
    assert ("in 1 of 1 networks (mlp)" in tables.held_out(found, "default")) == (ends["adam"] < ends["sgd"])


@dataclass(frozen=True)
class Line:
    """One output of `inputs` numbers, squared error: gradients at zero are -2 y x."""

    inputs: int

    def build(self) -> torch.nn.Module:
        return torch.nn.Linear(self.inputs, 1, bias=False)

    def loss(self, module: Any, examples: Any) -> torch.Tensor:
        error: torch.Tensor = module(examples.inputs).squeeze(-1) - examples.targets
        return error.square().mean()


def test_noise_by_batch_has_the_tail_of_its_examples() -> None:
    """Gradients that are Gaussian, or of spread lengths: E of one example is known, and averaging brings it to one."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 3, generator=generator)
    spread = torch.randn(400, generator=generator).exp()
    model, zero = lt.ModuleModel(Line(3)), torch.zeros(3)
    for scale, expected in ((torch.ones(400), (0.85, 1.2)), (spread, (1.5, math.inf))):
        task = lt.Examples(scale[:, None] * x, torch.ones(400), x[:5], torch.ones(5), zero_loss=1.0)
        found = tails_by_batch(model, task, zero, (1, 8, 100, 300), examples=400).set_index("batch")["excess"]
        assert list(found.index) == [1, 8, 100]
        assert expected[0] < found[1] < expected[1]
        assert abs(found[100] - 1) < 0.15
        assert found[1] >= found[8] - 0.05
        slopes = -2 * task.inputs  # of every example
        away = torch.linalg.vector_norm(slopes - slopes.mean(0), dim=1)
        tails = tails_by_batch(model, task, zero, (1,), examples=400)
        assert tails["q99"].item() == pytest.approx(quantile_ratio(away), rel=1e-3)
