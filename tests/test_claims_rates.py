"""Basins, published against best rates, steps to targets: on made-up losses, and what the page says of them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt

import lintrans as lt
from lintrans import figures, protocol
from lintrans.budgets import TuningBudget
from lintrans.claims import rates, rates_page
from lintrans.claims.rates import FACTOR, SHARES, Searches, basin, basins, choices, speeds
from lintrans.problems import SETTINGS
from lintrans.protocol import COARSE_LOSS, LOSS, Choice, Judged, Tuning, end_steps

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
        (optimizer, lr, clip, seed, 40, loss * (1.1 if seed else 1.0) * (free if clip == INF else 1.0))
        for optimizer, losses in (("sgd", sgd), ("adam", adam))
        for clip in (1.0, INF)
        for lr, loss in zip(RATES, losses, strict=True)
        for seed in (0, 1)
    ]
    frame = pd.DataFrame(rows, columns=["optimizer", "lr", "clip", "seed", "steps", "loss"])
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


def history(losses: dict[str, list[float]], rate: float, reached: int = 20) -> lt.History:
    """Runs that sit at the zero predictor's loss until a step, then at their end value."""
    runs = sum(
        (lt.grid(optimizer=name, lr=rate, clip=1.0, seed=range(len(own))) for name, own in losses.items()),
        start=lt.Runs(()),
    )
    table = runs.frame.assign(skipped=0, clipped=0, diverged=-1)
    values = [loss for own in losses.values() for loss in own]
    rows = [
        (run, step, metric, value if step >= reached else 5.0)
        for run, value in enumerate(values)
        for metric, steps in ((COARSE_LOSS, range(0, 101, 10)), (LOSS, (*end_steps(100), 120)))
        for step in steps
    ]
    frame = pd.DataFrame(rows, columns=["run", "step", "metric", "value"]).merge(table, on="run")
    return lt.History(frame, table, {}, 100)


ADAM = [0.1, 0.12, 0.1, 0.11, 0.1, 0.1]


def judged(factor: float = 2.0) -> Judged:
    """Published SGD ends `factor` times as high as the best, on each seed by a little more or less; Adam alike."""
    spread = [factor * x for x in (1.0, 1.1, 0.9, 1.05, 0.95, 1.0)]
    published = history({"sgd": [0.2 * x for x in spread], "adam": ADAM}, 0.02)
    tuned = history({"sgd": [0.2] * 6, "adam": ADAM}, 0.02)
    other = tuned.runs.assign(lr=tuned.runs["lr"].where(tuned.runs["optimizer"] == "adam", 0.1))
    tuned = lt.History(tuned.frame, other, {}, 100)
    return Judged({"published": {"1": published, "2": published}, "tuned": {"1": tuned}}, {"1": SHORT["1"]})


def test_published_against_best() -> None:
    found = choices(judged())
    assert [(c.setting, c.optimizer) for c in found] == [("1", "sgd"), ("1", "adam")]
    sgd, adam = found
    assert (sgd.published, sgd.best, sgd.same, adam.same) == ((0.02, 1.0), (0.1, 1.0), False, True)
    assert sgd.ratio.estimate == pytest.approx(2.0, rel=0.01)
    assert sgd.p == pytest.approx(2 / 2**6)  # all six on one side
    assert (sgd.worse, adam.worse, adam.ratio.estimate) == (6, 0, 1.0)
    text = rates_page.describe_choices(found)
    assert "- Setting 1, SGD: the published choice ends higher, clearly, 2" in text
    assert "- Setting 1, Adam: the published rate and clip are the best." in text
    assert "ends **lower**" in rates_page.describe_choices(choices(judged(0.5)))
    table = rates_page.choice_table(found)
    assert table["published ends higher"].tolist() == ["6 of 6 seeds", "0 of 6 seeds"]
    assert table["p, sign flips"].tolist() == ["0.031", "none"]
    assert table["end loss, published over best"].tolist()[1] == "the same"


def test_tests_agree_or_not() -> None:
    assert "the two agree in every case (1 comparisons). With 6 seeds" in rates_page.describe_tests(choices(judged()))
    few = [c for c in choices(judged()) if c.optimizer == "sgd"]
    apart = [rates.Choice("1", "sgd", (0.02, 1.0), (0.1, 1.0), few[0].ratio, 0.12, 6)]
    assert "the two disagree for Setting 1 SGD" in rates_page.describe_tests(apart)
    assert rates_page.describe_tests([]) == "There is nothing to test."


def test_steps_to_targets() -> None:
    table = speeds(judged())
    assert set(table["setting"]) == {"1"}
    assert sorted(set(table["share"]), reverse=True) == list(SHARES)
    adam = table[table["optimizer"] == "adam"].groupby("share")
    assert adam["steps"].median()[0.1] == 20
    assert adam["censored"].mean().to_dict() == {0.001: 1, 0.003: 1, 0.01: 1, 0.03: 0, 0.1: 0, 0.3: 0}
    rows = rates_page.speed_table(table).set_index("optimizer")
    assert rows.loc["Adam", "0.1 of f0"] == "20 [20, 20]"
    assert rows.loc["SGD", "0.03 of f0"] == "never"
    text = rates_page.describe_speeds(table)
    assert "is 0.1 of $f_0$, in 20 steps of Adam and 20 of SGD" in text
    nothing = speeds(Judged({"published": {}, "tuned": {}}, {}))
    assert "no speed was measured" in rates_page.describe_speeds(nothing)
    assert figures.target_steps(nothing).axes


def test_words_about_the_search() -> None:
    found = Searches(SHORT, Judged({"published": {}, "tuned": {}}, {"1": tuning("1", LATER, [1] * 3, [1] * 3)}))
    assert rates_page.describe_optima(found) == (
        "The best rate lies strictly inside the rates that were tried in 2 of 2 at 40 steps, and in 1 of 2 at 100 "
        "steps. Between the two horizons the best pair of rate and clip changes in 2 of 2 cases."
    )
    table = rates_page.optima(found).set_index("optimizer")
    assert table.loc["Adam", "best at 100 steps"] == "0.1, no clip, at the edge"
    assert rates_page.describe_lost(SHORT).startswith("Of the grid, 4 of 12 runs of SGD and 0 of 12 runs of Adam")


def test_words_about_basins() -> None:
    table = basins(SHORT)
    assert rates_page.describe_basins(table).startswith("- Setting 1: Adam's basin is the wider, at least 2.00 decades")
    assert "Setting 1, SGD: without clipping the best loss is 2 times" in rates_page.describe_clip(table)
    rows = rates_page.basin_table(table)
    assert rows["rates within 2x"].tolist()[2:] == ["≤ 0.01 to ≥ 1"] * 2
    assert rows["clip"].tolist() == ["1", "none"] * 2
    alike = basins({"1": tuning("1", BEST, [1.0, 0.1, 1.0], [1.0, 0.1, 1.0])})
    assert "equally wide" in rates_page.describe_basins(alike)
    unsure = basins({"1": tuning("1", BEST, [0.11, 0.1, 1.0], [4.0, 1.0, 1.5])})
    assert "reaches the edge of the rates tried" in rates_page.describe_basins(unsure)


def test_figures() -> None:
    table = basins(SHORT | {"sphere": tuning("sphere", BEST, [0.9, 0.1, 0.9], [0.7, 0.05, INF])})
    figure = figures.basin_bars(table)
    [axes] = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()][:2] == ["SGD, clip 1", "SGD, no clip"]
    assert sum(line.get_marker() == "*" for line in axes.lines) == 8
    steps = figures.target_steps(speeds(judged()))
    assert steps.axes[0].get_xlim()[0] > steps.axes[0].get_xlim()[1], "lower targets to the right"
    four = figures.loss_against_rate({name: tuning(name, BEST, [0.8, 0.1, INF], [0.5, 0.05, 0.3]) for name in SETTINGS})
    assert [axes.get_title().partition(":")[0] for axes in four.axes] == [s.title for s in SETTINGS.values()]
    assert [bool(axes.get_ylabel()) for axes in four.axes] == [True, False, True, False]
    assert figures.forest(rates_page.choice_units(choices(judged())), "ratio").axes
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

    monkeypatch.setattr(rates, "judge_all", judge)
    monkeypatch.setattr(rates, "tune_all", tune)
    budget = lt.settings.scale("quick")
    found = rates.searches(budget)
    assert asked == [
        ("judge", ("1", "2", "3"), budget.steps),
        ("judge", ("sphere",), budget.steps),
        ("tune", tuple(SETTINGS), budget.screening),
    ]
    assert list(found.judged.tunings) == list(found.short) == list(SETTINGS)
    assert protocol.tune_all is not tune
