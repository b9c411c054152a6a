"""Arms beside the published ones: which there are, what they are compared with, and where diverged runs are counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import lintrans as lt
from lintrans.paper.budgets import ControlBudget
from lintrans.paper.claims import State
from lintrans.paper.measure import ablations
from lintrans.paper.measure.ablations import Controls
from lintrans.paper.problems import SETTINGS
from lintrans.paper.protocol import LOSS, Choice, Tuning, end_steps, end_values

TINY = ControlBudget(steps=10, seeds=2, batch=20, blocks=1)
ARMS = [
    "adam",
    "adam, beta2 = 0.99",
    "adam, beta2 = 0.999",
    "adam, no clip",
    "sgd",
    "sgd, dampening 0.9",
    "sgd, no clip",
]
BESIDE = {arm for arm in ARMS if arm not in ("sgd", "adam")} | {"sgd, float64", "adam, float64"}

Loss = Callable[[str, int, str], float]
"""Of an arm, a seed and a dtype."""


def fake(loss: Loss) -> Any:
    """An experiment whose end losses are known; infinite ones stand for runs that diverged."""

    def experiment(model: Any, task: Any, runs: lt.Runs, *, steps: int, dtype: str | None, **_: Any) -> lt.History:
        table = runs.frame.assign(skipped=0, clipped=0)
        arms = [arm if math.isfinite(clip) else f"{arm}, no clip" for arm, clip in zip(
            table["optimizer"], table["clip"], strict=True
        )]  # fmt: skip
        ends = [loss(arm, seed, dtype or "float32") for arm, seed in zip(arms, table["seed"], strict=True)]
        table["diverged"] = [-1 if math.isfinite(end) else 5 for end in ends]
        rows = [(run, step, LOSS, end) for run, end in enumerate(ends) for step in end_steps(steps)]
        return lt.History(pd.DataFrame(rows, columns=["run", "step", "metric", "value"]), table, {}, steps)

    return experiment


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[[Loss], dict[str, Controls]]:
    """Controls of Settings 1 and 3 with made-up end losses."""

    def make(loss: Loss) -> dict[str, Controls]:
        monkeypatch.setattr(ablations, "experiment", fake(loss))
        return ablations.controls(("1", "3"), ControlBudget(steps=100, seeds=4, batch=10, blocks=1))

    return make


def test_arms_are_trained_at_the_published_rates() -> None:
    """In one training, on the same seeds; and the published ones again in float64."""
    own = ablations.controls(("1",), TINY)["1"]
    runs = own.history.runs
    setting = SETTINGS["1"]
    assert len(runs) == 7 * 2
    assert set(runs["seed"]) == {0, 1}
    assert (runs["lr"] == runs["optimizer"].str.partition(",")[0].map(dict(setting.lr))).all()
    free = runs[~np.isfinite(runs["clip"])]
    assert free["optimizer"].tolist() == ["sgd", "sgd", "adam", "adam"]
    assert set(runs[np.isfinite(runs["clip"])]["clip"]) == {setting.clip}
    assert own.history.info["dtype"] == "float32"
    assert own.double.info["dtype"] == "float64"
    assert own.double.runs["optimizer"].tolist() == ["sgd", "sgd", "adam", "adam"]
    assert set(own.history.metric(LOSS)["step"]) == set(end_steps(10))
    table = rows(ablations.ratios({"1": own}))
    assert set(table) == BESIDE
    ends = end_values(own.history)
    ends = ends[ends["clip"] == setting.clip].pivot(index="seed", columns="optimizer", values="loss")
    plain, damped = (ends[name].to_numpy() for name in ("sgd", "sgd, dampening 0.9"))
    ratio = table["sgd, dampening 0.9"]
    assert ratio["estimate"] == pytest.approx(stats.gmean(damped / plain))
    assert ratio["estimate"] != pytest.approx(1.0, abs=1e-6)
    assert table["adam, float64"]["estimate"] == pytest.approx(1.0, rel=1e-3)


def rows(table: pd.DataFrame) -> dict[Any, Any]:
    """The rows of a table by arm."""
    return dict(table.set_index("arm").to_dict("index"))


def factor(arm: str) -> float:
    return {"sgd": 8.0, "adam": 2.0, "sgd, no clip": 24.0, "adam, no clip": 1.0}.get(arm, 4.0)


def test_ratios_are_those_to_the_published_arm_of_the_same_optimizer(found: Any) -> None:
    def loss(arm: str, seed: int, dtype: str) -> float:
        return factor(arm) * (1 + 0.1 * seed) * (1.01**seed if arm not in ("sgd", "adam") else 1.0)

    table = ablations.ratios(found(loss))
    assert list(table.columns) == ["setting", "arm", "label", "estimate", "low", "high", "lost", "lost_base", "seeds"]
    assert table.groupby("setting")["arm"].apply(set).to_dict() == {"1": BESIDE, "3": BESIDE}
    own = rows(table[table["setting"] == "1"])
    logs = math.log(3.0) + math.log(1.01) * np.arange(4)
    low, high = stats.t.interval(0.95, 3, loc=logs.mean(), scale=stats.sem(logs))
    numbers = [own["sgd, no clip"][name] for name in ("estimate", "low", "high")]
    assert numbers == pytest.approx(np.exp([logs.mean(), low, high]).tolist())
    assert own["adam, no clip"]["estimate"] == pytest.approx(0.5 * 1.01**1.5)
    assert own["adam, beta2 = 0.99"]["estimate"] == pytest.approx(2.0 * 1.01**1.5)
    assert own["sgd, float64"]["estimate"] == pytest.approx(1.0)
    assert {(row["lost"], row["seeds"]) for row in own.values()} == {(0, 4)}


def test_words_say_which_arms_differ(found: Any) -> None:
    def loss(arm: str, seed: int, dtype: str) -> float:
        if arm == "sgd, dampening 0.9":
            return 8.0 * (3.0 if seed % 2 else 1 / 3)  # the seeds do not agree
        return factor(arm) * (1.01**seed if "no clip" in arm else 1.005 if dtype == "float64" else 1.0)

    text = ablations.describe(found(loss))
    assert "more than 1% lower or higher" in text
    assert text.splitlines()[-2] == (
        "- Setting 1: lower: Adam, no clip. higher: Adam, beta2 = 0.99; Adam, beta2 = 0.999; SGD, no clip."
    )
    equal = ablations.describe(found(lambda arm, seed, dtype: 1.0))
    assert equal.splitlines()[-1] == "- Setting 3: no arm."


def test_diverged_runs_are_counted_and_not_dropped_silently(found: Any) -> None:
    """Some seeds of one arm, all of another; the ratio is that of the seeds that are left, and says so."""

    def loss(arm: str, seed: int, dtype: str) -> float:
        if (arm == "sgd, no clip" and seed == 3) or arm == "sgd, dampening 0.9":
            return math.inf
        return factor(arm) * (1.1**seed if "no clip" in arm else 1.0)

    results = found(loss)
    own = rows(ablations.ratios(results).query("setting == '3'"))
    clipless, damped = own["sgd, no clip"], own["sgd, dampening 0.9"]
    assert (clipless["lost"], clipless["seeds"], clipless["estimate"]) == (1, 4, pytest.approx(3.0 * 1.1))
    assert (damped["lost"], damped["seeds"]) == (4, 4)
    assert math.isnan(damped["estimate"])
    assert sum(row["lost"] for row in own.values()) == 5
    table = rows(ablations.table(results))
    assert table["SGD, no clip"]["Setting 3"].startswith("3.3 [")
    assert table["SGD, no clip"]["Setting 3"].endswith(", 1 of 4 diverged")
    assert table["SGD, dampening 0.9"]["Setting 1"] == "no number, 4 of 4 diverged"
    assert table["Adam, beta2 = 0.99"] == {"Setting 1": "2 [2, 2]", "Setting 3": "2 [2, 2]"}
    assert len(table) == len(BESIDE)
    assert "dampening" not in ablations.describe(results)


def test_diverged_published_runs_are_counted_too(found: Any) -> None:
    def loss(arm: str, seed: int, dtype: str) -> float:
        return math.inf if arm == "sgd" and (seed == 0 or dtype == "float32") else factor(arm)

    text = rows(ablations.table(found(loss)))["SGD, no clip"]["Setting 1"]
    assert "nan" not in text
    assert "diverged" in text


def searched(best: float = 0.02, steps: int = 100, complete: bool = True) -> Tuning:
    return Tuning("1", pd.DataFrame(), {"adam": Choice(best, 1.0, 0.1, complete, steps)}, complete)


def test_every_beta2_gets_its_own_rate_at_each_horizon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Early, 0.999 wants the higher rate and ends thrice as high; late it wants the best one and ends alike."""
    asked: list[tuple[int, set[int], set[float]]] = []

    def experiment(model: Any, task: Any, runs: lt.Runs, *, steps: int, **_: Any) -> lt.History:
        table = runs.frame.assign(skipped=0, clipped=0, diverged=-1)
        rows = []
        for run, name, lr, seed in zip(table["run"], table["optimizer"], table["lr"], table["seed"], strict=True):
            wanted = 0.05 if steps == 100 and "0.999" in name else 0.02
            factor = 3.0 if steps == 100 and "0.999" in name else 1.0
            end = 0.1 * factor * max(lr / wanted, wanted / lr) * (1 + 0.01 * seed % 0.05)
            rows += [(run, step, LOSS, end) for step in end_steps(steps)]
        asked.append((steps, set(table["seed"]), set(table["lr"])))
        return lt.History(pd.DataFrame(rows, columns=["run", "step", "metric", "value"]), table, {}, steps)

    monkeypatch.setattr(ablations, "experiment", experiment)
    budget = ControlBudget(steps=100, seeds=4, batch=10, blocks=1, tuning_seeds=2)
    found = ablations.retuned([searched(), searched(steps=1000), searched(complete=False)], budget)
    assert asked[0] == (100, {1000, 1001}, {0.01, 0.02, 0.05}), "never on judging seeds"
    assert asked[1] == (100, {0, 1, 2, 3}, {0.02, 0.05})
    last = {(own.steps, own.optimizer): own for own in found if "0.999" in own.optimizer}
    early, late = last[(100, "adam, beta2 = 0.999")], last[(1000, "adam, beta2 = 0.999")]
    assert (early.lr, early.edge, late.lr, late.edge) == (0.05, True, 0.02, False)
    assert (early.ratio.estimate, late.ratio.estimate) == pytest.approx((3.0, 1.0))
    units = ablations.retuned_units(found)
    assert [unit.state for unit in units] == [State.NULL, State.YES, State.NULL, State.NULL]
    assert {unit.case for unit in units} == {"Setting 1, beta2 = 0.99", "Setting 1, beta2 = 0.999"}
    table = ablations.retuned_table(found).set_index("steps")
    assert str(table.loc["100", "beta2 = 0.999"]).endswith("at rate 0.05, at the edge of those tried")
    assert ablations.retuned_table([]).empty
