"""Levels of tail: how they differ, what is measured at them, their trends, and how the page says them."""

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
from scipy import stats

import lintrans as lt
from lintrans.diagnostics import along
from lintrans.paper import protocol
from lintrans.paper.budgets import TailBudget
from lintrans.paper.claims import State, tails
from lintrans.paper.claims.tails import Trend
from lintrans.paper.judged import Choice, Tuning
from lintrans.paper.measure import tails as measured
from lintrans.paper.pages import heavy_tails as shown
from lintrans.paper.problems import PROBLEMS, TAIL_FAMILIES
from lintrans.paper.scales import RATES, SCALES, TAILS
from lintrans.statistics import mean_of

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State
NAN = math.nan


# Levels of tail


def law_of(name: str) -> Any:
    """Covariates of a problem."""
    task = PROBLEMS[name].task
    assert isinstance(task, lt.LinearRegression)
    return task.covariates


def test_families_differ_in_nothing_but_what_they_say() -> None:
    moment, variance = TAIL_FAMILIES["moment"], TAIL_FAMILIES["variance"]
    assert list(moment) == list(variance) == [math.inf, 10.0, 2.5, 0.5, 0.1, 0.05]
    assert moment[0.1] == variance[0.1] == "3"
    for shape, name in moment.items():
        problem = PROBLEMS[name]
        assert (problem.task.zero_loss, problem.clip) == pytest.approx((1.0, 1.0))
        law = law_of(name)
        assert isinstance(law, lt.Sphere) if math.isinf(shape) else law.shape == shape
    for shape, name in variance.items():
        law = law_of(name)
        if name not in ("sphere", "1"):
            assert law.shape * law.scale**2 == pytest.approx(10.0)
            assert law.shape == shape
    assert PROBLEMS[variance[math.inf]].clip == 0.1
    assert PROBLEMS[variance[2.5]].task == lt.LinearRegression(5, 20, lt.Gaussian())
    for name in tails.problems_of():
        assert PROBLEMS[name].model == lt.LinearTransformer(3, 5)
        assert PROBLEMS[name].task.n == 20


def test_budgets_of_levels_fit_their_probes() -> None:
    for budget in TAILS.values():
        kept = range(0, budget.training.steps + 1, budget.training.every)
        assert set(budget.probes) <= set(kept)
        assert budget.training.screening == budget.training.steps
        assert not budget.training.settings
        assert lt.settings.tails("paper").training.steps == 1000
    with pytest.raises(ValueError, match="scale = 'huge'"):
        lt.settings.tails("huge")


def table_of(values: dict[float, list[float]], statistic: str = "noise", family: str = "moment") -> pd.DataFrame:
    rows = [
        (family, shape, statistic, seed, 0, value, 0.0)
        for shape, own in values.items()
        for seed, value in enumerate(own)
    ]
    return pd.DataFrame(rows, columns=["family", "shape", "statistic", "seed", "batch", "value", "width"])


def test_trend_is_kendalls() -> None:
    """From light to heavy tails, whatever the order of the rows; over the seeds that all levels have."""
    values = {0.05: [3.0, 3.1], math.inf: [0.0, 0.1], 10.0: [1.0, 0.05, 7.0], 0.5: [2.0, 2.5]}
    found = tails.trend(table_of(values), "moment", "noise")
    assert found.levels == 4
    assert found.tau == pytest.approx(stats.kendalltau([0, 1, 2, 3], [0.05, 8.05 / 3, 2.25, 3.05]).statistic)
    both = tails.tau_interval(np.array([1.0, 2 / 3]), 4)
    assert made_up.number(found.seeds).estimate == pytest.approx(both.estimate)
    up = tails.trend(table_of({math.inf: [0.0], 10.0: [1.0], 2.5: [2.0], 0.5: [3.0], 0.1: [4.0]}), "moment", "noise")
    assert (up.tau, up.p) == pytest.approx((1.0, 2 / math.factorial(5)))
    flat = tails.trend(table_of({math.inf: [0.0], 10.0: [0.0], 0.5: [0.0]}), "moment", "noise")
    assert math.isnan(flat.tau)
    none = tails.trend(table_of(values), "variance", "noise")
    assert (math.isnan(none.tau), none.seeds) == (True, None)
    assert [shown.trend_state(own) for own in (up, flat, none)] == [YES, NULL, MISSING]
    assert len(tails.trends(table_of(values))) == len(tails.FAMILIES) * len(tails.STATISTICS)


def test_intervals_of_tau_stay_inside_the_possible() -> None:
    swap, rng = 4 / (6 * 5), np.random.default_rng(0)
    for sign in (1.0, -1.0):
        same = tails.tau_interval(np.full(4, sign), 6)
        assert sign * same.estimate == pytest.approx(1 - swap / 2)
        assert same.high - same.low == pytest.approx(swap)
    for _ in range(50):
        found = tails.tau_interval(np.clip(rng.normal(0.8, 0.3, 6), -1, 1), 6)
        assert -1 <= found.low < found.estimate < found.high <= 1
    assert math.isnan(tails.tau_interval(np.ones(1), 6).low)
    none = tails.tau_interval(np.array([0.6, -0.6, 0.2, -0.2]), 6)
    assert none.estimate == pytest.approx(0)


def test_summary_is_geometric_over_seeds_and_batches() -> None:
    row = tails.summary(table_of({0.5: list(np.log([1.0, 4.0]))})).iloc[0]
    half = stats.t.ppf(0.975, 1) * math.log(2)
    assert tuple(row[["estimate", "low", "high"]]) == pytest.approx((2.0, 2 * math.exp(-half), 2 * math.exp(half)))
    logs = np.random.default_rng(0).normal(size=(4, 3))
    parts = [table_of({0.5: list(column)}).assign(batch=batch) for batch, column in enumerate(logs.T)]
    row = tails.summary(pd.concat(parts)).iloc[0]
    both = mean_of(logs).exp()
    assert tuple(row[["estimate", "low", "high"]]) == pytest.approx((both.estimate, both.low, both.high))
    known = tails.summary(table_of({0.5: [0.0] * 3}).assign(width=0.1)).iloc[0]
    assert (known["low"], known["high"]) == pytest.approx((math.exp(-0.1), math.exp(0.1)))


def test_contrasts_use_what_both_have() -> None:
    heavy = pd.DataFrame({0: [1.0, 2.0, 9.0], 1: [1.0, 2.0, NAN]}, index=[0, 1, 2])
    light = pd.DataFrame({0: [0.5, 1.5, 1.0], 1: [0.5, 1.0, 1.0], 2: [0.0, 0.0, 0.0]}, index=[0, 1, 2])
    found = tails.contrast(heavy, light)
    assert found.to_numpy().tolist() == [[0.5, 0.5], [0.5, 1.0]]
    assert tails.contrast(heavy, None).empty
    assert tails.contrast(heavy, light.set_axis([7, 8, 9])).empty


# The page


def test_tables_of_levels_hold_no_broken_cells() -> None:
    table = pd.concat([table_of({0.5: [0.1, 0.2], 2.5: [0.0, 0.1]}), table_of({2.5: [5.0, 5.1]}, family="variance")])
    summary = tails.summary(table)
    levels, trends = shown.levels(summary, ("noise", "loss")), tails.trends(table)
    assert len(levels) == 12
    assert (levels[tails.STATISTICS["loss"]] == "not measured").all()
    assert shown.scale_alone(summary) == [tails.STATISTICS["noise"]]
    for frame in (levels, shown.trends(trends)):
        assert not any("|" in str(cell) for cell in frame.to_numpy().ravel())
    assert {shown.trend_state(trend) for trend in trends} == {MISSING}


@pytest.mark.parametrize(
    ("tau", "p", "state", "words"),
    [
        (0.87, 0.02, YES, "**grows**"),
        (-0.87, 0.02, REV, "**shrinks**"),
        (-0.6, 0.14, UNDECIDED, "**no clear order**"),
        (NAN, NAN, NULL, "the same at every level"),
    ],
)
def test_words_of_trends_go_by_sign_and_p(tau: float, p: float, state: State, words: str) -> None:
    trends = [Trend("moment", statistic, tau, p, None, 6) for statistic in tails.STATISTICS]
    summary = tails.summary(table_of({math.inf: [0.0, 0.1], 0.5: [1.0, 1.1]}, "loss"))
    assert shown.trend_state(trends[0]) is state
    text = shown.order_text(trends, summary, "moment", "loss")
    assert words in text
    assert "1.05, 2.86" in text
    assert (f"τ = {tau:.2f}, p = {p:.2g}" in text) == math.isfinite(tau)
    plain = words.strip("*").removeprefix("the same at every level")
    assert plain in shown.headline(trends)


def test_rates_of_levels() -> None:
    best = {name: Choice(0.1, 1.0, 0.1, True, 60) for name in ("sgd", "adam")}
    rates = shown.rates({name: Tuning(name, pd.DataFrame(), best, True) for name in ("3", "tail 10")})
    assert len(rates) == 12
    assert set(rates["SGD rate"]) == {"0.1", "none"}


# Measured


def test_setting_3_is_trained_once_for_both_chapters(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of the store for Setting 3 does not depend on the other settings of the budget."""
    asked: list[list[Any]] = [[], []]
    quick = SCALES["quick"]
    best = {name: Choice(0.1, 1.0, 0.1, True, 60) for name in ("sgd", "adam")}
    monkeypatch.setattr(protocol, "tune", lambda name, budget, device: Tuning(name, pd.DataFrame(), best, True))
    for kept, settings in zip(asked, (quick.settings, tails.PAIR), strict=True):

        def watched(model: Any, task: Any, runs: Any, kept: list[Any] = kept, **options: Any) -> lt.History:
            kept.append((task, model, list(runs), {k: v for k, v in options.items() if k != "title"}))
            return lt.History(pd.DataFrame({"run": [], "step": []}), pd.DataFrame({"run": range(len(runs))}), {}, 1)

        monkeypatch.setattr(protocol, "experiment", watched)
        judged = protocol.judge_all(replace(quick, settings=settings))
        assert {"3"} <= set(judged.published) & set(judged.tuned) & set(judged.tunings)
    [first], [second] = ([each for each in kept if each[0] == PROBLEMS["3"].task] for kept in asked)
    assert first == second


def test_only_the_spheres_grid_is_wider() -> None:
    quick = SCALES["quick"]
    assert protocol.rates_tried("3", quick, "sgd") == RATES
    own = replace(quick, rates=(1.0, 2.0), own_rates=(("adam", (0.1,)),))
    for name in ("sphere", "tail sphere"):
        assert protocol.rates_tried(name, quick, "sgd") == (*RATES, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
        assert protocol.rates_tried(name, own, "sgd") == (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
        assert protocol.rates_tried(name, own, "adam") == (0.1, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Two levels of a small model, one thread, a store of its own, and no search for the best rates."""
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    model = lt.LinearTransformer(layers=1, d=2)
    problems = {
        name: replace(PROBLEMS[name], model=model, task=lt.LinearRegression(2, 3, law))
        for name, law in (("3", lt.GammaScaled(0.1, 10.0)), ("tail 10", lt.GammaScaled(10.0, 0.1)))
    }
    family = {10.0: "tail 10", 0.1: "3"}
    for place in ("claims.tails", "measure.tails", "measure.noise", "protocol", "measure.curvature"):
        monkeypatch.setattr(f"lintrans.paper.{place}.PROBLEMS", problems)
    monkeypatch.setattr(measured, "SETTINGS", {"3": problems["3"]})
    monkeypatch.setattr(tails, "TAIL_FAMILIES", {"moment": family})
    for module in (tails, measured):
        monkeypatch.setattr(module, "problems_of", lambda: tuple(family.values()))
    monkeypatch.setattr("lintrans.engines.cpu.compiling.unsupported_cpu", lambda: "not in this test")
    monkeypatch.setattr(along, "TEST_BATCH", 20)
    best = {name: Choice(0.1, 1.0, 0.1, True, 20) for name in ("sgd", "adam")}
    monkeypatch.setattr(protocol, "tune", lambda name, budget, device: Tuning(name, pd.DataFrame(), best, True))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_levels_are_measured(small: None) -> None:
    """Every level by every statistic; a level that a claim judges keeps that claim's noise, others have less."""
    training = made_up.tuning(settings=(), batch=10, every=10, rates=RATES)
    budget = TailBudget(training=training, probes=(10, 20), noise_seeds=2, noise_samples=8)
    curvature = made_up.curvature(seeds=3, probes=(0,), judged=(), settled=10, every=10, spectral=(0, 0, 1))
    noise = made_up.noise(settings=(), seeds=3)
    levels = measured.levels(budget, curvature, noise)
    assert {name: len(table) for name, table in levels.noise.items()} == {"tail 10": 2, "3": 3}
    assert set(levels.tunings) == set(levels.histories) == {"tail 10", "3"}
    for name, history in levels.histories.items():
        assert history.steps == 20
        assert set(history.runs["seed"]) == {0, 1}
        assert set(history.runs["clip"]) == {1.0}
        assert sorted(levels.conditions[name]["step"].unique()) == [10, 20]
    values = tails.values(levels, 10)
    assert set(values["family"]) == {"moment"}
    assert values[values["statistic"] == "noise"].groupby("shape").size().to_dict() == {10.0: 2, 0.1: 3}
    for shape, name in ((10.0, "tail 10"), (0.1, "3")):
        own = values[(values["shape"] == shape) & (values["statistic"] == "loss")]
        ends = protocol.end_values(levels.histories[name])
        ends = ends.assign(loss=ends["loss"].clip(upper=PROBLEMS[name].task.zero_loss))
        wide = ends.pivot(index="seed", columns="optimizer", values="loss")
        np.testing.assert_allclose(own["value"], np.log(wide["sgd"] / wide["adam"]))
    lost = replace(levels, histories={})
    assert set(tails.values(lost, 10)["statistic"]) == {"noise"}
