"""Basins, published against best rates, steps to targets: on made-up losses, and what the page says of them."""

from __future__ import annotations

import math
from dataclasses import replace

import made_up
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt

import lintrans as lt
from lintrans.paper import figures, protocol
from lintrans.paper.budgets import TuningBudget
from lintrans.paper.claims import rates
from lintrans.paper.claims.rates import FACTOR, SHARES, Searches, basin, basins, choices, speeds
from lintrans.paper.claims.rules import State, table_of
from lintrans.paper.measure import rates as measured
from lintrans.paper.pages import learning_rates as page
from lintrans.paper.problems import SETTINGS
from lintrans.paper.protocol import Choice, Judged, Tuning, end_steps

INF = math.inf
RATES = (0.01, 0.1, 1.0)


def test_basin_of_a_parabola() -> None:
    """Log loss (log10 rate)^2: the basin ends where that is log 2; three points a decade are close to it."""
    logs = np.linspace(-2, 2, 401)
    found = basin(10**logs, np.exp(logs**2))
    edge = 10 ** math.sqrt(math.log(FACTOR))
    assert (found.best, found.loss) == pytest.approx((1.0, 1.0))
    assert (found.low, found.high) == pytest.approx((1 / edge, edge), rel=1e-4)
    assert found.decades == pytest.approx(2 * math.sqrt(math.log(FACTOR)), rel=1e-4)
    assert (found.open_low, found.open_high) == (False, False)


def test_basin_is_interpolated_and_connected() -> None:
    x = np.array([0.01, 0.1, 1.0, 10.0, 100.0])
    found = basin(x, np.array([1.0, 4.0, 1.0, 4.0, 1.0]))  # ties: the lowest rate
    assert (found.best, found.low, found.open_low) == (0.01, 0.01, True)
    assert found.high == pytest.approx(10**-1.5)  # half way to 4 on a log scale
    assert not found.open_high
    flat = basin(x, np.full(5, 3.0))
    assert (flat.low, flat.high, flat.open_low, flat.open_high) == (0.01, 100.0, True, True)
    assert flat.decades == pytest.approx(4.0)


def test_a_basin_ends_half_way_to_the_zero_predictor() -> None:
    """Twice the best would be worse than no prediction at all; where nothing is learned there is no basin."""
    x = np.array([0.01, 0.1, 1.0])
    found = basin(x, np.array([1.0, 0.62, 1.0]), 1.0)
    assert (found.open_low, found.open_high) == (False, False)
    assert found.low == pytest.approx(10**-1.5)  # half way, in both logarithms
    assert basin(x, np.array([1.0, 0.01, 1.0]), 1.0).decades == pytest.approx(2 * math.log(2) / math.log(100))
    nothing = basin(x, np.ones(3), 1.0)
    assert (nothing.decades, nothing.open_low, nothing.open_high) == (0.0, False, False)
    assert basin(x, np.array([0.9, 0.8, 0.9]), 1.0).high < 1.0, "no better than 0.894"


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=12), st.floats(0.1, 10))
def test_basin_holds_the_best_rate_and_no_scale(logs: list[float], scale: float) -> None:
    grid = np.geomspace(0.001, 1.0, len(logs))
    losses = np.exp(logs)
    found, scaled = basin(grid, losses), basin(grid, scale * losses)
    assert found.low <= found.best <= found.high
    assert found.loss == losses.min()
    if np.diff(np.sort(losses))[0] > 1e-6:  # no ties that rounding could break
        assert (scaled.low, scaled.high) == pytest.approx((found.low, found.high))


def tuning(name: str, best: dict[str, Choice], sgd: list[float], adam: list[float], free: float = 2.0) -> Tuning:
    """Losses at RATES for two seeds, the second 10% higher; without clipping `free` times as high."""
    rows = [
        (optimizer, lr, clip, seed, 40, loss * (1.1 if seed else 1.0) * (free if clip == INF else 1.0), True)
        for optimizer, losses in (("sgd", sgd), ("adam", adam))
        for clip in (1.0, INF)
        for lr, loss in zip(RATES, losses, strict=True)
        for seed in (0, 1)
    ]
    ladder = (0.5, 1, 2) if all(choice.interior for choice in best.values()) else (1, 2)
    rows += [
        (optimizer, round(k * choice.lr, 9), choice.clip, seed, choice.steps, loss, False)
        for optimizer, choice in best.items()
        for k in ladder
        for seed, loss in enumerate(choice.loss * (1 if k == 1 else 1.5) * np.array([1.0, 1.1, 0.9]))
    ]
    frame = pd.DataFrame(rows, columns=["optimizer", "lr", "clip", "seed", "steps", "loss", "screened"])
    return Tuning(name, frame, best, complete=True)


BEST = {"sgd": Choice(0.1, 1.0, 0.1, True, 40), "adam": Choice(0.1, 1.0, 0.05, True, 40)}
LATER = {"sgd": Choice(0.02, 1.0, 0.1, True, 100), "adam": Choice(0.1, INF, 0.05, False, 100)}
SHORT = {"1": tuning("1", BEST, [0.8, 0.1, INF], [0.07, 0.05, 0.07])}


def test_basins_of_seeds_and_of_their_median() -> None:
    table = basins(SHORT)
    assert len(table) == 2 * 2 * 3
    middle = table[table["seed"].isna()].set_index("optimizer")
    sgd = middle[middle["clip"] == 1.0].loc["sgd"]
    assert sgd["loss"] == pytest.approx(0.105)
    assert sgd["high"] == pytest.approx(10 ** (-1 + math.log(2) / math.log(5 / 0.105)))  # diverged: the zero predictor
    adam = middle[middle["clip"] == INF].loc["adam"]
    assert (adam["open_low"], adam["open_high"], adam["decades"]) == (True, True, pytest.approx(2.0))
    one = table[(table["seed"] == 1) & (table["optimizer"] == "adam") & (table["clip"] == 1.0)].iloc[0]
    assert one["loss"] == pytest.approx(0.055)


ADAM = [0.1, 0.12, 0.1, 0.11, 0.1, 0.1]


def judged(factor: float = 2.0) -> Judged:
    """Published SGD ends `factor` times as high as the best, on each seed by a little more or less; Adam alike."""
    spread = [factor * x for x in (1.0, 1.1, 0.9, 1.05, 0.95, 1.0)]
    published = ending([0.2 * x for x in spread])
    tuned = ending([0.2] * 6)
    other = tuned.runs.assign(lr=tuned.runs["lr"].where(tuned.runs["optimizer"] == "adam", 0.1))
    tuned = lt.History(tuned.frame, other, {}, 100)
    return Judged({"published": {"1": published, "2": published}, "tuned": {"1": tuned}}, {"1": SHORT["1"]})


def ending(sgd: list[float]) -> lt.History:
    """Runs that have the zero predictor's loss until step 20, then their end value."""
    ends = {"sgd": sgd, "adam": ADAM}
    return made_up.history(
        lambda s, o, k, r: ends[o][s] if k >= 20 else 5.0, 6, steps=100, every=10, rates=(0.02,), ends=end_steps(100)
    )


def test_published_against_best() -> None:
    found = choices(judged())
    assert [(c.setting, c.optimizer) for c in found] == [("1", "sgd"), ("1", "adam")]
    sgd, adam = found
    assert (sgd.published, sgd.best, sgd.same, adam.same) == ((0.02, 1.0), (0.1, 1.0), False, True)
    assert sgd.ratio.estimate == pytest.approx(2.0, rel=0.01)
    assert sgd.ratio.flip == pytest.approx(2 / 2**6)  # all six on one side
    assert page.better(found) == ""
    assert page.better(choices(judged(0.5))).startswith("Setting 1 SGD 0.49")
    assert (sgd.worse, adam.worse, adam.ratio.estimate) == (6, 0, 1.0)
    units = page.choice_units(found)
    assert [(unit.case, unit.statistic) for unit in units] == [("Setting 1", "SGD"), ("Setting 1", "Adam")]
    assert [unit.state for unit in units] == [State.YES, State.NULL]
    assert page.choice_units(choices(judged(0.5)))[0].state is State.REV
    table = page.choice_table(found)
    assert table["published ends higher"].tolist() == ["6 of 6 seeds", "0 of 6 seeds"]
    assert table["p, sign flips"].tolist() == ["0.031", "none"]
    assert table["end loss, published over best"].tolist()[1] == "the same"


def test_tests_agree_or_not() -> None:
    [sgd], apart = page.tested(choices(judged()))
    assert (sgd.optimizer, apart) == ("sgd", "")
    other = rates.Choice("1", "sgd", (0.02, 1.0), (0.1, 1.0), replace(sgd.ratio, flip=0.12), 6)
    assert page.tested([other]) == ([other], "Setting 1 SGD")
    assert page.tested([]) == ([], "")


def test_steps_to_targets() -> None:
    table = speeds(judged())
    assert set(table["setting"]) == {"1"}
    assert sorted(set(table["share"]), reverse=True) == list(SHARES)
    adam = table[table["optimizer"] == "adam"].groupby("share")
    assert adam["steps"].median()[0.1] == 20
    assert adam["censored"].mean().to_dict() == {0.001: 1, 0.003: 1, 0.01: 1, 0.03: 0, 0.1: 0, 0.3: 0}
    rows = page.speed_table(table).set_index("optimizer")
    assert rows.loc["Adam", "0.1 of f0"] == "20 [20, 20]"
    assert rows.loc["SGD", "0.03 of f0"] == "never"
    assert page.reached(table)[["share", "sgd", "adam"]].to_numpy().tolist() == [[0.1, 20, 20]]
    assert page.reached(table[table["share"] < 0.1])["share"].isna().tolist() == [True]
    nothing = speeds(Judged({"published": {}, "tuned": {}}, {}))
    assert page.reached(nothing).empty
    assert figures.target_steps(nothing).axes


def test_words_about_the_search() -> None:
    found = Searches(SHORT, Judged({"published": {}, "tuned": {}}, {"1": tuning("1", LATER, [1] * 3, [1] * 3)}))
    [(_, first, early, late), (_, second, *_)] = page.horizons(found)
    assert (first, second, early, late) == ("sgd", "adam", BEST["sgd"], LATER["sgd"])
    table = page.optima(found).set_index(["optimizer", "steps"])
    assert table.loc[("Adam", "100"), "best"] == "0.1, no clip, at the edge"
    assert table.loc[("Adam", "40"), "best"] == "0.1, clip 1"
    below, above = (table[f"loss at the next {side} rate, over the best"] for side in ("lower", "higher"))
    assert below[("Adam", "100")] == "not run"
    assert above[("Adam", "100")].startswith("1.5 [")
    assert below[("Adam", "40")].startswith("1.5 [")
    assert set(table["seeds"]) == {"3"}
    assert page.inside(found) == [(40, 2, 2), (100, 1, 2)]
    assert page.lost(SHORT) == "4 of 12 runs of SGD and 0 of 12 runs of Adam"


def test_words_about_basins() -> None:
    table = basins(SHORT)
    assert page.widest(table).startswith("- Setting 1: Adam's basin is the wider, at least 2.00 decades")
    assert page.free_over_clipped(table).to_dict() == pytest.approx({("1", "sgd"): 2, ("1", "adam"): 2})
    for clips in (table[table["clip"] == INF], table[table["clip"] < INF]):
        assert page.free_over_clipped(clips).empty
    rows = page.basin_table(table)
    assert rows["rates within 2x"].tolist()[2:] == ["≤ 0.01 to ≥ 1"] * 2
    assert rows["clip"].tolist() == ["1", "none"] * 2
    alike = basins({"1": tuning("1", BEST, [1.0, 0.1, 1.0], [1.0, 0.1, 1.0])})
    assert "equally wide" in page.widest(alike)
    unsure = basins({"1": tuning("1", BEST, [0.11, 0.1, 1.0], [4.0, 1.0, 1.5])})
    assert "reaches the edge of the rates tried" in page.widest(unsure)


def test_figures() -> None:
    table = basins(SHORT | {"sphere": tuning("sphere", BEST, [0.9, 0.1, 0.9], [0.7, 0.05, INF])})
    figure = figures.basin_bars(table)
    [axes] = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()][:2] == ["SGD, clip 1", "SGD, no clip"]
    assert sum(line.get_marker() == "*" for line in axes.lines) == 8
    steps = figures.target_steps(speeds(judged()))
    assert steps.axes[0].get_xlim()[0] > steps.axes[0].get_xlim()[1], "lower targets to the right"
    four = figures.loss_against_rate({name: tuning(name, BEST, [0.8, 0.1, INF], [0.5, 0.05, 0.3]) for name in SETTINGS})
    assert [axes.get_title().splitlines()[0] for axes in four.axes] == [s.title for s in SETTINGS.values()]
    assert [bool(axes.get_ylabel()) for axes in four.axes] == [True, False, True, False]
    assert figures.forest(table_of(page.choice_units(choices(judged()))), "ratio").axes
    assert not plt.get_fignums()


def test_searches_share_what_the_claims_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """The three settings and the sphere are judged by the budgets that other chapters ask with."""
    asked: list[tuple[str, tuple[str, ...], int]] = []

    def judge(budget: TuningBudget, device: str) -> Judged:
        asked.append(("judge", budget.settings, budget.steps))
        return Judged({"published": {}, "tuned": {}}, dict.fromkeys(budget.settings, SHORT["1"]))

    def tune(budget: TuningBudget, device: str) -> dict[str, Tuning]:
        asked.append(("tune", budget.settings, budget.steps))
        return dict.fromkeys(budget.settings, SHORT["1"])

    monkeypatch.setattr(measured, "judge_all", judge)
    monkeypatch.setattr(measured, "tune_all", tune)
    budget = lt.settings.scale("quick")
    found = measured.searches(budget)
    assert asked == [
        ("judge", ("1", "2", "3"), budget.steps),
        ("judge", ("sphere",), budget.steps),
        ("tune", tuple(SETTINGS), budget.screening),
    ]
    assert list(found.judged.tunings) == list(found.short) == list(SETTINGS)
    assert protocol.tune_all is not tune
