"""Curvature of judged trainings: of which runs, at which steps, and computed once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up
import numpy as np
import pandas as pd
import pytest
import torch

import lintrans as lt
from lintrans.diagnostics import along
from lintrans.diagnostics.curvature import conditions
from lintrans.paper import protocol
from lintrans.paper.budgets import Budget
from lintrans.paper.measure.curvature import (
    condition_numbers,
    dense_condition_numbers,
    first_seeds,
    rate_grids,
    step_curvatures,
    worst_prompts,
)
from lintrans.paper.problems import SETTINGS

TINY = Budget(settings=("1",), steps=20, seeds=3, batch=20, blocks=1, every=5)
PROBES = made_up.curvature(
    probes=(0, 10, 20, 999),
    judged=(10,),
    spectral=(5, 15, 5),
    rates=(0.01, 0.02),
    grid_steps=10,
    grid_seeds=1,
    batches=2,
)
STEP_METRICS = {"directional_smoothness", "hessian_step_norm", "gradient_norm", "slope", "step_length"}


@pytest.fixture(autouse=True)
def few_prompts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A store of its own; a test batch of 20 prompts instead of 1000, on one thread."""
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    monkeypatch.setattr(along, "TEST_BATCH", 20)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trained(budget: Budget = TINY) -> dict[str, lt.History]:
    setting = SETTINGS["1"]
    runs = protocol.published_runs(setting, range(budget.seeds))
    return {"1": protocol.train_to_judge(setting, runs, budget, "tiny")}


def test_first_seeds_are_runs_of_both_optimizers() -> None:
    history = trained()["1"]
    few = first_seeds(history, 2)
    assert few.runs["seed"].tolist() == [0, 1, 0, 1]
    assert few.runs["run"].tolist() == [0, 1, 2, 3]
    assert few.runs["optimizer"].tolist() == ["sgd", "sgd", "adam", "adam"]
    assert torch.equal(few.parameters(10), history.parameters(10)[[0, 1, 3, 4]])
    assert history.key
    assert few.key.startswith(history.key)
    assert few.key != history.key
    assert first_seeds(history, 99).runs.equals(history.runs)
    later = history.select([int(run) for run in history.runs[history.runs["seed"] > 0]["run"]])
    assert set(first_seeds(later, 1).runs["seed"]) == {1}  # the first judging seed need not be 0


def refuse(*_: Any, **__: Any) -> pd.DataFrame:
    raise AssertionError("it was computed again")


def test_condition_numbers_are_computed_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the probes that the training reached, of the seeds that the budget asks for."""
    histories = trained()
    frame = condition_numbers(histories, PROBES, "published")["1"]
    assert set(frame["step"]) == {0, 10, 20}
    assert set(frame["seed"]) == {0, 1}
    assert set(frame["batch"]) == {along.FIXED, 0, 1}
    assert frame["step"].is_monotonic_increasing
    names = {"r_lower", "r_midpoint", "r_used", "r_blocks", *(f"block_{name}" for name in ("P1", "P2", "Q1", "Q3"))}
    assert names <= set(frame["metric"])
    assert frame.groupby(["batch", "metric"]).size().eq(3 * 4).all()
    setting = SETTINGS["1"]
    for number, optimizer, seed, run in ((along.FIXED, "adam", 1, 4), (1, "sgd", 0, 0)):
        prompts = along.evaluation_batch(setting.model, setting.task, number, 20)
        expected = conditions(setting.model, histories["1"].parameters(10), prompts)["r_lower"][run]
        own = frame[(frame["step"] == 10) & (frame["metric"] == "r_lower") & (frame["batch"] == number)]
        value = own.set_index(["optimizer", "seed"])["value"][optimizer, seed]
        assert value == pytest.approx(float(expected), rel=1e-9)
    monkeypatch.setattr(along, "conditions", refuse)
    capsys.readouterr()
    again = condition_numbers(trained(), PROBES, "another name")["1"]
    pd.testing.assert_frame_equal(frame, again)
    assert capsys.readouterr().out.count(": reused ") == 2  # the training, and the table
    with pytest.raises(AssertionError, match="computed again"):
        condition_numbers(histories, replace(PROBES, probes=(0,)), "published")
    for other in (replace(PROBES, seeds=1), replace(PROBES, first_batch=7), replace(PROBES, batches=1)):
        with pytest.raises(AssertionError, match="computed again"):
            condition_numbers(histories, other, "published")


@pytest.mark.parametrize("seeds", [2, 3])
def test_dense_condition_numbers_are_the_papers_sample(seeds: int) -> None:
    """Its seeds, as far as the budget goes, on the fixed batch alone; at the probes and between them."""
    histories, budget = trained(replace(TINY, seeds=seeds)), replace(PROBES, probes=(0, 10, 20))
    frame = dense_condition_numbers(histories, budget)["1"]
    assert sorted(frame["step"].unique()) == [0, 5, 10, 15, 20]
    assert set(frame["batch"]) == {along.FIXED}
    assert set(frame["seed"]) == {0, 1}
    keys = ["optimizer", "seed", "step", "metric", "batch"]
    assert not frame.duplicated(keys).any()
    both = frame.merge(condition_numbers(histories, budget, "published")["1"], on=keys)
    assert set(both["step"]) == {0, 10, 20}
    np.testing.assert_allclose(both["value_x"], both["value_y"], rtol=1e-12)


def test_worst_prompts_along_the_run() -> None:
    """Shares of one prompt of twenty, at the probes that count as along the run, on every batch."""
    frame = worst_prompts(trained(), PROBES, "published")["1"]
    assert set(frame["step"]) == {10, 20}
    assert set(frame["batch"]) == {along.FIXED, 0, 1}
    shares = frame[frame["metric"].isin(["worst_loss_share", "worst_trace_share"])]["value"]
    assert len(shares) == 2 * 2 * 4 * 3
    assert shares.between(1 / 20, 1).all()


def test_step_curvatures_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """At every point of the curves whose next step was kept; with spectral norms, in the window alone."""
    histories = trained()
    frame = step_curvatures(histories, PROBES, "published")["1"]
    assert sorted(frame["step"].unique()) == [0, 5, 10, 15]
    assert set(frame["metric"]) == STEP_METRICS
    assert set(frame["seed"]) == {0, 1}
    assert len(frame) == 4 * 4 * 3 * len(STEP_METRICS)
    model = SETTINGS["1"].model
    batch = along.fixed_batch(model, SETTINGS["1"].task, 20)
    before, after = (histories["1"].parameters(step).double() for step in (5, 6))
    expected = lt.directional_smoothness(model, before, after - before, batch)
    fixed = frame[frame["batch"] == along.FIXED]
    own = fixed.query("step == 5 and metric == 'directional_smoothness'").set_index(["optimizer", "seed"])["value"]
    assert own["adam", 0] == pytest.approx(float(expected[3]), rel=1e-9)
    norms = step_curvatures(histories, PROBES, "published", spectral=True)["1"]
    assert sorted(norms["step"].unique()) == [5, 10, 15]
    assert set(norms["metric"]) == STEP_METRICS | {"spectral_norm"}
    fixed = norms[norms["batch"] == along.FIXED]
    value = fixed.query("step == 10 and metric == 'spectral_norm'").set_index(["optimizer", "seed"])["value"]
    expected = lt.spectral_norm(model, histories["1"].parameters(10), batch)
    assert value["sgd", 1] == pytest.approx(float(expected[1]), rel=1e-5)
    monkeypatch.setattr(along, "step_measures", refuse)
    pd.testing.assert_frame_equal(frame, step_curvatures(histories, PROBES, "published")["1"])
    pd.testing.assert_frame_equal(norms, step_curvatures(histories, PROBES, "published", spectral=True)["1"])
    with pytest.raises(AssertionError, match="computed again"):
        step_curvatures(histories, replace(PROBES, spectral=(5, 10, 5)), "published", spectral=True)


def test_a_training_that_ends_before_the_window_has_no_norms() -> None:
    late = replace(PROBES, spectral=(50, 100, 50))
    assert step_curvatures(trained(), late, "published", spectral=True)["1"].empty


def test_grids_of_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both optimizers at every rate and the published clip, for the grid's own horizon and seeds."""
    budget = made_up.tuning(seeds=3, rates=(0.5,), clips=(math.inf,), screening=5)
    history, frame = rate_grids(budget, PROBES)["1"]
    assert history.steps == 10
    assert set(zip(history.runs["optimizer"], history.runs["lr"], strict=True)) == {
        (name, lr) for name in ("sgd", "adam") for lr in (0.01, 0.02)
    }
    assert set(history.runs["seed"]) == {0}
    assert set(history.runs["clip"]) == {SETTINGS["1"].clip}
    assert sorted(frame["step"].unique()) == [0, 5]
    assert len(frame) == 2 * 4 * 3 * len(STEP_METRICS)
    shifted = rate_grids(budget, replace(PROBES, first_seed=5))["1"][0]
    assert set(shifted.runs["seed"]) == {5}
    assert np.isfinite(frame["value"]).all()
    monkeypatch.setattr(along, "step_measures", refuse)
    pd.testing.assert_frame_equal(rate_grids(budget, PROBES)["1"][1], frame)
