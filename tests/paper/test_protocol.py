"""How settings are trained to be judged: the published reading, and the search for best rates at a tiny scale."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
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
SEARCH = made_up.tuning(steps=8, batch=10, every=4, clips=(1.0, INF), screening=4, minima=2, tuning_seeds=(1000, 1001))


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


Loss = Callable[[str, float, float, int], float]
"""Of an optimizer, a rate, a clip and a horizon."""


class Fake:
    """An experiment whose end losses are known; `asked` is what it was asked for."""

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self.asked: list[tuple[str, int, set[tuple[str, float, float]], set[int]]] = []

    def __call__(self, model: Any, task: Any, runs: Any, *, steps: int, title: str, **_: Any) -> lt.History:
        table = runs.frame.assign(skipped=0, clipped=0, diverged=-1)
        arms = list(zip(table["optimizer"], table["lr"], table["clip"], strict=True))
        rows = [(run, s, LOSS, self.loss(*arm, steps)) for run, arm in enumerate(arms) for s in end_steps(steps)]
        self.asked.append((title, steps, set(arms), set(table["seed"])))
        return lt.History(pd.DataFrame(rows, columns=["run", "step", "metric", "value"]), table, {}, steps)

    def run_to(self, steps: int, optimizer: str) -> set[tuple[float, float]]:
        """Rates and clips of an optimizer that ran to a horizon."""
        return {
            (lr, clip) for _, end, arms, _ in self.asked if end == steps for name, lr, clip in arms if name == optimizer
        }


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[[Loss], Fake]:
    def make(loss: Loss) -> Fake:
        fake = Fake(loss)
        monkeypatch.setattr(protocol, "experiment", fake)
        return fake

    return make


def near(best: dict[str, float]) -> Loss:
    """Losses that grow with the distance of the rate from the optimizer's best one, and are larger without a clip."""
    return lambda optimizer, lr, clip, steps: max(lr / best[optimizer], best[optimizer] / lr) * (1 + math.isinf(clip))


Pretend = Callable[[Loss], Fake]


def test_tuning_widens_until_the_best_rate_is_inside_those_run_to_the_horizon(pretend: Pretend) -> None:
    """The grid is 0.01 and 0.1; SGD's best, 0.5, lies above it."""
    fake = pretend(near({"sgd": 0.5, "adam": 0.005}))
    tuning = protocol.tune("1", SEARCH)
    assert tuning.complete
    for name, best in (("sgd", 0.5), ("adam", 0.005)):
        choice = tuning.best[name]
        assert (choice.lr, choice.clip, choice.interior, choice.steps) == (best, 1.0, True, 8)
        around = {(rate, 1.0) for rate in (next_rate(best, up=False), best, next_rate(best, up=True))}
        assert around <= fake.run_to(8, name), "both neighbours ran to the horizon"
    titles = [title for title, *_ in fake.asked]
    assert titles[:2] == ["Setting 1, grid of rates", "Setting 1, best of the grid"]
    assert set(titles[2:]) == {"Setting 1, wider grid"}
    assert [seeds for *_, seeds in fake.asked] == [{1000}] + [{1000, 1001}] * (len(titles) - 1)
    screened = tuning.losses[tuning.losses["screened"]]
    assert (set(screened["steps"]), set(screened["lr"]), len(screened)) == ({4}, {0.01, 0.1}, 8)


WIDE = replace(SEARCH, rates=RATES, clips=(1.0,), minima=2)


def valleys(optimizer: str, lr: float, clip: float, steps: int) -> float:
    """At the screening 0.01 is better than 0.2; at the horizon it is the other way round."""
    depths = {0.01: 1.0, 0.2: 1.5} if steps == 4 else {0.01: 1.0, 0.2: 0.3}
    return min(depth * max(lr / best, best / lr) for best, depth in depths.items())


def test_a_second_minimum_of_the_grid_is_followed_to_the_horizon(pretend: Pretend) -> None:
    fake = pretend(valleys)
    both, one = (protocol.tune("1", replace(WIDE, minima=count)) for count in (2, 1))
    assert {name: choice.lr for name, choice in both.best.items()} == {"sgd": 0.2, "adam": 0.2}
    assert {name: choice.lr for name, choice in one.best.items()} == {"sgd": 0.01, "adam": 0.01}
    assert both.complete
    assert one.complete
    assert fake.run_to(8, "sgd") == {(lr, 1.0) for lr in (0.005, 0.01, 0.02, 0.1, 0.2, 0.5)}


def test_a_minimum_far_above_the_best_is_not_followed(pretend: Pretend) -> None:
    fake = pretend(lambda *arm: min(max(arm[1] / 0.01, 0.01 / arm[1]), 4.0 * max(arm[1] / 0.5, 0.5 / arm[1])))
    assert protocol.tune("1", WIDE).best["sgd"].lr == 0.01
    assert fake.run_to(8, "sgd") == {(lr, 1.0) for lr in (0.005, 0.01, 0.02)}


def test_a_best_rate_that_moves_with_the_horizon_is_found_step_by_step(pretend: Pretend) -> None:
    """Screened, 0.1 is best; at the horizon 0.01: each better neighbour is run with its own next neighbour."""
    fake = pretend(lambda o, lr, clip, steps: max(lr / at, at / lr) if (at := 0.1 if steps == 4 else 0.01) else 0)
    tuning = protocol.tune("1", WIDE)
    assert tuning.complete
    assert tuning.best["adam"].lr == 0.01
    assert fake.run_to(8, "adam") == {(lr, 1.0) for lr in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)}


def test_the_published_clip_is_tried(pretend: Pretend) -> None:
    fake = pretend(lambda o, lr, clip, steps: max(lr, 1 / lr) * (clip if math.isfinite(clip) else 2.0))
    tuning = protocol.tune("sphere", SEARCH)
    assert protocol.clips_tried("sphere", SEARCH) == (1.0, INF, SETTINGS["sphere"].clip)
    assert protocol.clips_tried("1", SEARCH) == protocol.clips_tried("depth 2", SEARCH) == (1.0, INF)
    assert {clip for *_, clip in fake.asked[0][2]} == {1.0, INF, 0.1}
    assert tuning.best["sgd"].clip == 0.1
    assert tuning.complete


def test_tuning_gives_up_far_beyond_the_grid(pretend: Pretend) -> None:
    pretend(near({"sgd": 1e30, "adam": 0.005}))
    tuning = protocol.tune("1", SEARCH)
    assert not tuning.complete
    assert not tuning.best["sgd"].interior


def test_a_grid_alone_is_not_judged(pretend: Pretend) -> None:
    fake = pretend(near({"sgd": 0.1, "adam": 0.01}))
    tuning = protocol.tune("1", replace(SEARCH, minima=0))
    assert len(fake.asked) == 1
    assert not tuning.complete
    assert tuning.best["sgd"].lr == 0.1
    assert not tuning.best["sgd"].interior


def test_nothing_is_found_where_everything_diverges(pretend: Pretend) -> None:
    pretend(lambda *_: INF)
    assert protocol.tune("1", replace(SEARCH, minima=2)).best["sgd"].loss == INF


def test_minima_of_screened_losses() -> None:
    """Local minima at one clip, an edge that the loss falls towards, ties at the lower rate, infinite losses none."""

    def found(losses: list[float], count: int = 9, clip: float = 1.0) -> list[float]:
        table = pd.DataFrame({"lr": RATES[: len(losses)], "clip": clip, "loss": losses})
        return [lr for lr, _ in protocol.minima(table, count)]

    assert found([3, 2, 1, 2, 3]) == [0.005]
    assert found([1, 2, 3, 2.5, 2.6]) == [0.001, 0.01]
    assert found([2.5, 2.6, 3, 2, 1], 1) == [0.02]
    assert found([3, 1, 1, 3]) == [0.002]
    assert found([INF, INF, 1, INF]) == [0.005]
    assert found([1, 2, 4, 3.5, 4]) == [0.001], "too far above the best"
    clips = pd.DataFrame({"lr": [0.1, 0.2] * 2, "clip": [1.0, 1.0, INF, INF], "loss": [1.0, 2.0, 1.8, 1.5]})
    assert protocol.minima(clips, 2) == [(0.1, 1.0), (0.2, INF)]


def test_a_choice_needs_both_neighbours_at_its_clip_and_horizon() -> None:
    def choice(rates: list[float], clip: float = 1.0) -> Choice:
        rows = [
            (name, lr, clip if lr == 0.05 else 1.0, 0, abs(math.log(lr / 0.1)))
            for name in ("sgd", "adam")
            for lr in rates
        ]
        return protocol._choices(pd.DataFrame(rows, columns=["optimizer", "lr", "clip", "seed", "loss"]), 9)["sgd"]

    assert choice([0.05, 0.1, 0.2]).interior
    assert not choice([0.02, 0.1, 0.2]).interior, "0.05 is the neighbour"
    assert not choice([0.05, 0.1, 0.2], clip=INF).interior
    assert not choice([0.1, 0.2]).interior


def test_ties_and_divergence_do_not_win() -> None:
    rates = {"lr": [0.1, 0.1, 0.2, 0.2, 0.5, 0.5], "clip": 1.0, "seed": [0, 1] * 3, "steps": 4}
    tried = pd.DataFrame({**rates, "loss": [1.0, 1.0, 1.0, 1.0, 0.1, INF]})
    losses = pd.concat([tried.assign(optimizer=name) for name in ("sgd", "adam")])
    best = protocol._choices(losses, 4)["sgd"]
    assert (best.lr, best.loss) == (0.1, 1.0)


def test_both_readings_for_real() -> None:
    judged = protocol.judge_all(SEARCH)
    tuning = judged.tunings["1"]
    assert set(tuning.losses["seed"]) == {1000, 1001}
    assert set(tuning.losses[tuning.losses["screened"]]["seed"]) == {1000}
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


def test_judging_seeds_may_begin_later() -> None:
    judged = protocol.judge_all(replace(SEARCH, first_seed=100, minima=0), readings=("published",))
    assert sorted(judged.published["1"].runs["seed"]) == [100, 100, 101, 101]
    assert (SEARCH.judging, replace(SEARCH, first_seed=100).judging) == (range(2), range(100, 102))


def test_steps_to_targets_are_measured_more_often_at_the_start() -> None:
    assert replace(TINY, steps=60, every=20, early=(5, 15)).measured == (0, 5, 10, 15, 20, 40)
    assert replace(TINY, steps=10, every=20, early=(5, 500)).measured == (0, 5, 10)


def test_fewer_tuning_seeds_where_training_costs_much() -> None:
    few = replace(SEARCH, fewer_tuning_seeds=(("depth 8", 1),))
    assert (few.tuning_seeds_of("depth 8"), few.tuning_seeds_of("1")) == ((1000,), (1000, 1001))


def test_other_seeds_and_steps() -> None:
    assert protocol.with_seeds_and_steps(TINY) == TINY
    assert protocol.with_seeds_and_steps(SEARCH, seeds=5, steps=9) == replace(SEARCH, seeds=5, steps=9)
