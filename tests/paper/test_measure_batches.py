"""Curvature on other batches: batch 0 is the fixed one, others are what the dense Hessian of theirs says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import lintrans as lt
from lintrans import settings
from lintrans.paper import protocol
from lintrans.paper.claims import c3, c4
from lintrans.paper.claims.rules import State
from lintrans.paper.measure import batches, curvature
from lintrans.paper.pages import double_check as page
from lintrans.paper.problems import PROBLEMS
from lintrans.paper.scales import CURVATURE
from lintrans.paper.second import compare

BUDGET = CURVATURE("quick")


@pytest.fixture
def history(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> lt.History:
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    setting = PROBLEMS["3"]
    runs = lt.grid(optimizer=["sgd", "adam"], lr=0.02, clip=1.0, seed=range(2))
    return lt.experiment(
        setting.model, setting.task, runs, steps=60, batch=20, snapshots=[30, 31, 50, 51], device="cpu",
        engine="reference",
    )  # fmt: skip


def test_the_fixed_batch_is_number_0(history: lt.History) -> None:
    frame = batches.measure_all({"3": history}, BUDGET, 0, 10)["3"][0]
    fixed = curvature.condition_numbers({"3": history}, BUDGET, "test")["3"]
    fixed = fixed[fixed["metric"] == c3.PUBLIC].sort_values(["step", "optimizer", "seed"])
    own = frame[frame["metric"] == c3.PUBLIC].sort_values(["step", "optimizer", "seed"])
    assert own["step"].tolist() == fixed["step"].tolist() == [30] * 4 + [50] * 4
    np.testing.assert_allclose(own["value"], fixed["value"], rtol=1e-12)


def test_another_batch_against_its_dense_hessian(history: lt.History) -> None:
    """R_med and v'Hv of batch 2 from autograd's Hessian on its prompts as tokens."""
    setting = PROBLEMS["3"]
    frame = batches.measure(history, setting, [50], [50], 40, 2)
    prompts = setting.task.sample(40, seed=1, stream=lt.Stream.BATCHES, dtype=torch.float64)
    before, after = history.parameters(50).double(), history.parameters(51).double()
    for run, row in history.runs.iloc[[0, 3]].iterrows():
        point = before[run]  # type: ignore[index]
        hessian = torch.autograd.functional.hessian(lambda p: setting.model.loss(p, prompts), point)  # type: ignore[no-untyped-call]
        dense = hessian.reshape(point.numel(), -1).numpy()
        diagonal = np.sort(np.abs(np.diag(dense)))
        step = (after[run] - point).flatten().numpy()  # type: ignore[index]
        direction = step / np.linalg.norm(step)
        expected = {
            "r_lower": diagonal[-1] / diagonal[(len(diagonal) - 1) // 2],
            "directional_smoothness": direction @ dense @ direction,
        }
        own = frame[(frame["optimizer"] == row["optimizer"]) & (frame["seed"] == row["seed"])]
        for metric, value in expected.items():
            found = own[own["metric"] == metric]["value"].item()
            np.testing.assert_allclose(found, value, rtol=1e-6, err_msg=metric)


def test_a_history_that_is_not_from_the_store_is_refused() -> None:
    """Nothing kept could tell it from another."""
    setting = PROBLEMS["3"]
    runs = lt.grid(optimizer=["sgd", "adam"], lr=0.02, clip=1.0, seed=0)
    history = lt.train(
        setting.model, setting.task, runs, steps=1, batch=2, snapshots=[0], device="cpu", engine="reference"
    )
    with pytest.raises(ValueError, match=r"not from the store: train it with lintrans\.experiment"):
        batches.measure_all({"3": history}, BUDGET, 0, 10)


def made(ratios: list[float]) -> pd.DataFrame:
    """One batch on which SGD's values are those of Adam times a ratio, a seed each."""
    rows = [
        (optimizer, seed, step, metric, ratio if optimizer == "sgd" else 1.0)
        for seed, ratio in enumerate(ratios)
        for optimizer in ("sgd", "adam")
        for step in BUDGET.judged
        for metric in (c3.PUBLIC, c4.METRIC)
    ]
    return pd.DataFrame(rows, columns=["optimizer", "seed", "step", "metric", "value"])


def test_a_case_that_turns_with_the_batch_is_named() -> None:
    above, below = made([3.0, 3.1, 2.9]), made([0.3, 0.31, 0.29])
    found = page.batch_units({"1": [above, above], "2": [above, below]}, BUDGET)
    assert [unit.state for unit in found["C3", "Setting 2, step 50"]] == [State.YES, State.REV]
    table = page.batch_table(found)
    assert table["the same on all"].tolist() == ["yes"] * 3 + ["**no**"] * 3
    cases = [f"{claim} in {case}" for claim, case in found if "Setting 2" in case]
    assert page.decided_by_batch(found) == page.outside_interval(found) == cases
    assert cases[0] == "C3 in Setting 2, step 30"


def test_negative_numbers_of_a_page_are_named() -> None:
    budget = settings.double_check("quick")
    for arguments, name in (((-1, 0), "seeds = -1"), ((0, -3), "steps = -3")):
        with pytest.raises(ValueError, match=name):
            compare.changed(budget, *arguments)
        with pytest.raises(ValueError, match=name):
            protocol.with_seeds_and_steps(settings.scale("quick"), *arguments)
