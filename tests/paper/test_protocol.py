"""How settings are trained to be judged: the published reading, and the search for best rates at a tiny scale."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import made_up
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lintrans as lt
from lintrans.paper import protocol
from lintrans.paper.budgets import Budget
from lintrans.paper.problems import SETTINGS
from lintrans.paper.protocol import LOSS, Choice, Tuning, end_steps, end_values, next_rate
from lintrans.paper.scales import RATES

TINY = Budget(settings=("1", "3"), steps=20, seeds=2, batch=20, blocks=1, every=5)
INF = math.inf
SEARCH = made_up.tuning(steps=8, batch=10, every=4, clips=(1.0, INF), screening=4, finalists=2)


def test_judged_trainings_have_pairs_of_seeds_at_published_rates_and_keep_steps() -> None:
    for name in TINY.settings:
        setting = SETTINGS[name]
        history = protocol.train_to_judge(setting, protocol.published_runs(setting, range(2)), TINY, "tiny")
        runs = history.runs
        assert runs.groupby("optimizer")["seed"].apply(list).to_dict() == {"adam": [0, 1], "sgd": [0, 1]}
        assert runs.groupby("optimizer")["lr"].first().to_dict() == dict(setting.lr)
        assert set(runs["clip"]) == {1.0}
        assert set(history.metric(LOSS)["step"]) == {*end_steps(20), 24}
        assert set(history.snapshots) == {0, 1, 5, 6, 10, 11, 15, 16, 20, 24}


@given(st.integers(0, 10**6))
def test_end_steps_lie_in_the_last_twentieth(steps: int) -> None:
    assert end_steps(steps)[-1] == steps
    assert all(0.95 * steps <= step + 0.5 for step in end_steps(steps))
    if steps >= 100:
        assert len(end_steps(steps)) == 5


def test_end_value_is_the_mean_of_logs_and_infinite_where_diverged() -> None:
    runs = lt.grid(optimizer="sgd", lr=0.1, seed=range(2)).frame.assign(skipped=0, clipped=0, diverged=[-1, 5])
    values = {0: [1.0, 2.0, 4.0, 8.0, 16.0], 1: [1.0, 1.0, INF, INF, INF]}
    rows = [(run, step, LOSS, value) for run in values for step, value in zip(end_steps(100), values[run], strict=True)]
    history = lt.History(pd.DataFrame(rows, columns=["run", "step", "metric", "value"]), runs, {}, 100)
    assert end_values(history)["loss"].tolist() == [pytest.approx(4.0), INF]


@pytest.mark.parametrize(
    ("rate", "up", "expected"),
    [(1.0, True, 2.0), (2.0, True, 5.0), (5.0, True, 10.0), (0.001, False, 0.0005), (0.05, False, 0.02)],
)
def test_neighbours_in_the_grid(rate: float, up: bool, expected: float) -> None:
    assert next_rate(rate, up) == expected


def test_the_grid_follows_its_own_pattern() -> None:
    for low, high in itertools.pairwise(RATES):
        assert next_rate(low, up=True) == high
        assert next_rate(high, up=False) == low
    with pytest.raises(ValueError, match=r"rate = 0.03 is not in the grid's pattern"):
        next_rate(0.03, up=True)


def fake_losses(best: dict[str, float]) -> Any:
    """An experiment whose end loss grows with the distance of the rate from the optimizer's best one."""

    def experiment(model: Any, task: Any, runs: Any, *, steps: int, title: str, **_: Any) -> lt.History:
        table = runs.frame.assign(skipped=0, clipped=0, diverged=-1)
        rows = [
            (run, step, LOSS, math.exp(abs(math.log(lr / best[optimizer]))) * (2.0 if math.isinf(clip) else 1.0))
            for run, optimizer, lr, clip in zip(
                table["run"], table["optimizer"], table["lr"], table["clip"], strict=True
            )
            for step in end_steps(steps)
        ]
        asked.append((title, len(runs), steps))
        return lt.History(pd.DataFrame(rows, columns=["run", "step", "metric", "value"]), table, {}, steps)

    asked: list[tuple[str, int, int]] = []
    experiment.asked = asked  # type: ignore[attr-defined]
    return experiment


def test_tuning_widens_the_grid_until_the_best_rate_is_interior(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_losses({"sgd": 0.5, "adam": 0.005})
    monkeypatch.setattr(protocol, "experiment", fake)
    tuning = protocol.tune("1", SEARCH)
    assert tuning.complete
    assert (tuning.best["sgd"].lr, tuning.best["sgd"].clip) == (0.5, 1.0)
    assert (tuning.best["adam"].lr, tuning.best["adam"].clip) == (0.005, 1.0)
    assert all(choice.interior and choice.steps == 8 for choice in tuning.best.values())
    assert fake.asked[0] == ("Setting 1, grid of rates", 8, 4)
    assert fake.asked[1] == ("Setting 1, best of the grid", 4, 8)
    assert all(title == "Setting 1, wider grid" for title, _, _ in fake.asked[2:])


def test_tuning_gives_up_far_beyond_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "experiment", fake_losses({"sgd": 1e30, "adam": 0.005}))
    tuning = protocol.tune("1", SEARCH)
    assert not tuning.complete
    assert not tuning.best["sgd"].interior


def test_a_grid_alone_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_losses({"sgd": 0.1, "adam": 0.01})
    monkeypatch.setattr(protocol, "experiment", fake)
    tuning = protocol.tune("1", replace(SEARCH, finalists=0))
    assert len(fake.asked) == 1
    assert not tuning.complete
    assert tuning.best["sgd"].lr == 0.1
    assert not tuning.best["sgd"].interior


def test_ties_and_divergence_do_not_win(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"lr": [0.1, 0.1, 0.2, 0.2, 0.5, 0.5], "clip": 1.0, "seed": [0, 1] * 3, "steps": 4}
    tried = pd.DataFrame({**rates, "loss": [1.0, 1.0, 1.0, 1.0, 0.1, INF]})
    losses = pd.concat([tried.assign(optimizer=name) for name in ("sgd", "adam")])
    best = protocol._choices(losses, losses, 4)["sgd"]
    assert (best.lr, best.loss) == (0.1, 1.0)


def test_both_readings_for_real() -> None:
    judged = protocol.judge_all(SEARCH)
    tuning = judged.tunings["1"]
    assert set(tuning.losses["seed"]) == {1000}
    assert judged.published["1"].runs.groupby("optimizer")["lr"].first().to_dict() == dict(SETTINGS["1"].lr)
    assert bool(judged.tuned) == tuning.complete
    for reading in judged.histories.values():
        for history in reading.values():
            assert sorted(history.runs["seed"]) == [0, 0, 1, 1]


def test_a_best_rate_that_is_the_published_one_is_trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    best = {"sgd": Choice(0.02, 1.0, 0.1, True, 8), "adam": Choice(0.01, 1.0, 0.1, True, 8)}
    monkeypatch.setattr(protocol, "tune", lambda *_: Tuning("1", pd.DataFrame(), best, complete=True))
    judged = protocol.judge_all(SEARCH)
    both = {reading: judged.histories[reading]["1"] for reading in ("published", "tuned")}
    losses = {reading: history.metric("test_loss") for reading, history in both.items()}
    same = {
        reading: list(rows[rows["optimizer"] == "sgd"].sort_values(["seed", "step"])["value"])
        for reading, rows in losses.items()
    }
    assert same["published"] == same["tuned"]
    assert both["published"].key.partition(":")[0] == both["tuned"].key.partition(":")[0]
    alone = protocol.train_to_judge(SETTINGS["1"], protocol.best_runs(judged.tunings["1"], range(2)), SEARCH, "alone")
    assert list(alone.metric("test_loss")["value"]) == list(losses["tuned"]["value"])


def test_other_seeds_and_steps() -> None:
    assert protocol.with_seeds_and_steps(TINY) == TINY
    assert protocol.with_seeds_and_steps(SEARCH, seeds=5, steps=9) == replace(SEARCH, seeds=5, steps=9)
