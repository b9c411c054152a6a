"""C6 to C8 on made-up numbers that should pass, should fail, and lack something; levels of tail; the page's tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up
import numpy as np
import pandas as pd
import pytest
import torch
from made_up import interval
from scipy import stats

import lintrans as lt
from lintrans.diagnostics import along
from lintrans.paper import protocol
from lintrans.paper.budgets import TailBudget
from lintrans.paper.claims import State, Verdict, Word, c6, c7, c8, scorecard, tails
from lintrans.paper.claims.c3 import CONVENTIONS
from lintrans.paper.claims.common import CURVATURE_ASKED
from lintrans.paper.claims.records import record, verdict_records
from lintrans.paper.claims.tails import Levels, Trend
from lintrans.paper.measure import tails as measured
from lintrans.paper.pages import heavy_tails as shown
from lintrans.paper.problems import PROBLEMS, TAIL_FAMILIES
from lintrans.paper.protocol import COARSE_LOSS, Choice, Tuning, end_steps
from lintrans.paper.scales import CURVATURE_PROTOCOL, NOISE_PROTOCOL, PROTOCOL, RATES, SCALES, TAILS
from lintrans.statistics import Interval
from lintrans.store.store import Store

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State
NAN = math.nan
SPREAD = (1.0, 1.03, 0.98, 1.01)
"""Factors of four seeds about 1."""
STEPS = 1000
FLOOR = 0.01
TARGET = 1.01 * FLOOR + 0.01
"""Of a run whose typical loss ends at FLOOR, where f0 = 1."""


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
    rows = [(family, shape, statistic, seed, value) for shape, own in values.items() for seed, value in enumerate(own)]
    return pd.DataFrame(rows, columns=["family", "shape", "statistic", "seed", "value"])


def test_trend_is_kendalls() -> None:
    """From light to heavy tails, whatever the order of the rows; over the seeds that all levels have."""
    values = {0.05: [3.0, 3.1], math.inf: [0.0, 0.1], 10.0: [1.0, 0.05, 7.0], 0.5: [2.0, 2.5]}
    found = tails.trend(table_of(values), "moment", "noise")
    assert found.levels == 4
    assert found.tau == pytest.approx(stats.kendalltau([0, 1, 2, 3], [0.05, 8.05 / 3, 2.25, 3.05]).statistic)
    assert found.seeds is not None
    assert found.seeds.n == 2
    assert found.seeds.estimate == pytest.approx((1.0 + 2 / 3) / 2)
    up = tails.trend(table_of({math.inf: [0.0], 10.0: [1.0], 2.5: [2.0], 0.5: [3.0], 0.1: [4.0]}), "moment", "noise")
    assert (up.tau, up.p) == pytest.approx((1.0, 2 / math.factorial(5)))
    tied = tails.trend(table_of({math.inf: [0.0, 0.1], 10.0: [0.0, 0.1], 0.5: [1.0, 1.1]}), "moment", "noise")
    assert tied.tau == pytest.approx(2 / math.sqrt(6))
    flat = tails.trend(table_of({math.inf: [0.0], 10.0: [0.0], 0.5: [0.0]}), "moment", "noise")
    assert math.isnan(flat.tau)
    [unit] = shown.trend_units([flat])
    assert unit.state is NULL
    none = tails.trend(table_of(values), "variance", "noise")
    assert math.isnan(none.tau)
    assert none.seeds is None
    assert len(tails.trends(table_of(values))) == len(tails.FAMILIES) * len(tails.STATISTICS)


def test_summary_is_geometric() -> None:
    row = tails.summary(table_of({0.5: list(np.log([1.0, 4.0]))})).iloc[0]
    assert row["estimate"] == pytest.approx(2.0)
    half = stats.t.ppf(0.975, 1) * math.log(2)
    assert (row["low"], row["high"]) == pytest.approx((2 * math.exp(-half), 2 * math.exp(half)))


def test_contrasts_use_the_seeds_that_both_have() -> None:
    heavy, light = pd.Series([1.0, 2.0, 9.0], index=[0, 1, 2]), pd.Series([0.5, 1.5, math.inf], index=[0, 1, 2])
    found = made_up.number(tails.contrast(heavy, light.drop(2)))
    assert (found.n, found.estimate) == pytest.approx((2, math.exp(0.5)))
    infinite = made_up.number(tails.contrast(heavy, light))
    assert infinite.n == 2
    assert tails.contrast(heavy, None) is None
    assert tails.contrast(heavy, pd.Series([1.0], index=[7])) is None


# C6


def noise_of(excess: list[float], seeds: list[int] | None = None) -> pd.DataFrame:
    return pd.DataFrame({"seed": seeds or range(len(excess)), "excess": excess, "excess_999": excess})


@pytest.mark.parametrize(
    ("factor", "state", "word"),
    [(2.0, YES, Word.REPRODUCED), (1.1, WEAK, Word.PARTLY), (1.0, NULL, Word.NOT), (0.7, REV, Word.NOT)],
)
def test_c6(factor: float, state: State, word: Word) -> None:
    tables = {"3": noise_of([1.2 * factor * x for x in SPREAD]), "sphere": noise_of([1.2] * 4)}
    verdict = c6.judge("paper", tables, NOISE_PROTOCOL)
    assert [unit.decides for unit in verdict.units] == [True, False]
    assert {unit.state for unit in verdict.units} == {state}
    assert verdict.ruling.word is word
    assert (verdict.claim, verdict.reading, verdict.chapter, verdict.deviations) == ("C6", "init", "heavy_tails", ())
    found = made_up.number(verdict.units[0])
    assert found.estimate == pytest.approx(factor * math.exp(np.log(SPREAD).mean()))


def test_c6_pairs_initializations_and_needs_both_settings() -> None:
    tables = {"3": noise_of([2.0, 4.0, 8.0]), "sphere": noise_of([4.0, 2.0], [1, 0])}
    found = made_up.number(c6.judge("paper", tables, NOISE_PROTOCOL).units[0])
    assert (found.n, found.estimate) == pytest.approx((2, 1.0))
    alone = c6.judge("paper", {"3": tables["3"]}, NOISE_PROTOCOL)
    assert alone.ruling.word is Word.UNMEASURABLE
    assert alone.deviations == ("settings not measured: sphere",)
    lost = c6.judge("paper", {**tables, "3": noise_of([2.0, NAN])}, NOISE_PROTOCOL)
    assert lost.units[0].state is MISSING


def test_c6_shows_the_trend_beside() -> None:
    tables = {name: noise_of([1.0, 1.1]) for name in tails.PAIR}
    rising = Trend("moment", "noise", 1.0, 0.003, interval(0.9, 0.7, 1.0), 6)
    verdict = c6.judge("paper", tables, NOISE_PROTOCOL, rising)
    assert (verdict.units[-1].case, verdict.units[-1].state) == ("along 6 levels", YES)
    assert not verdict.units[-1].decides
    unknown = c6.judge("paper", tables, NOISE_PROTOCOL, replace(rising, seeds=None))
    assert unknown.units[-1].state is MISSING
    short = c6.judge("quick", tables, replace(NOISE_PROTOCOL, seeds=4, samples=100))
    assert short.deviations == ("4 initializations instead of 16", "100 minibatches instead of 10,000")


# C7

PROBES = (0, 250, 500, 1000)
Value = Callable[[int, str, int], float]


def conditions(ratio: float, metrics: dict[str, float] | None = None, seeds: int = 4) -> pd.DataFrame:
    """R_med of every convention; SGD's is `ratio` times Adam's from step 250 on, or what `metrics` says."""
    rows = [
        (optimizer, seed, step, metric, 5.0 * (factor * SPREAD[seed] if optimizer == "sgd" and step >= 250 else 1.0))
        for optimizer in ("sgd", "adam")
        for seed in range(seeds)
        for step in PROBES
        for metric, factor in {**dict.fromkeys(CONVENTIONS, ratio), **(metrics or {})}.items()
    ]
    return pd.DataFrame(rows, columns=["optimizer", "seed", "step", "metric", "value"])


def history_of(
    sgd: Callable[[int], float], adam: Callable[[int], float], seeds: int = 4, floor: float = FLOOR, end: float = 0.0
) -> lt.History:
    """Runs that reach the target at the given step (a function of the seed; never, if infinite); SGD's end is `end`."""

    def loss(seed: int, optimizer: str, step: int, lr: float) -> float:
        return floor if step >= {"sgd": sgd, "adam": adam}[optimizer](seed) else 0.5

    made = made_up.history(loss, seeds, STEPS, every=50, ends=end_steps(STEPS))
    ends = made.frame["metric"] != COARSE_LOSS
    high = (made.frame["optimizer"] == "sgd") & (made.frame["step"] <= STEPS)
    made.frame.loc[ends, "value"] = floor
    made.frame.loc[ends & high, "value"] = end or floor
    return made


def fast(step: float) -> Callable[[int], float]:
    return lambda seed: step


PLAIN = {name: history_of(fast(200), fast(100)) for name in tails.PAIR}


def judge7(heavy: pd.DataFrame | None, light: pd.DataFrame | None, **options: Any) -> Verdict:
    frames = {name: frame for name, frame in zip(tails.PAIR, (heavy, light), strict=True) if frame is not None}
    curvature = replace(CURVATURE_PROTOCOL, probes=PROBES)
    return c7.judge(
        "published", "paper", frames, PLAIN, CURVATURE_ASKED, options.pop("curvature", curvature), **options
    )


@pytest.mark.parametrize(
    ("heavy", "state", "word"),
    [(6.0, YES, Word.REPRODUCED), (2.3, WEAK, Word.PARTLY), (2.0, NULL, Word.NOT), (1.0, REV, Word.NOT)],
)
def test_c7(heavy: float, state: State, word: Word) -> None:
    """Step 0 does not count; the spread is Setting 3's alone here."""
    verdict = judge7(conditions(heavy), conditions(2.0).assign(value=lambda t: t["value"].round(0)))
    decides = [unit for unit in verdict.units if unit.decides]
    assert [unit.case for unit in decides] == [c7.CASE]
    assert decides[0].state is state
    assert verdict.ruling.word is word
    assert made_up.number(decides[0]).estimate == pytest.approx(heavy / 2.0 * math.exp(np.log(SPREAD).mean()))
    assert len(verdict.units) == len(CONVENTIONS) + 1


def test_c7_is_robust_only_if_every_convention_agrees() -> None:
    light = conditions(1.0)
    agree = judge7(conditions(6.0), light)
    assert c7.robust(agree)
    other = judge7(conditions(6.0, {"r_used": 0.5}), light)
    assert other.ruling.word is Word.REPRODUCED
    assert not c7.robust(other)
    assert [unit.state for unit in other.units].count(REV) == 1


def test_c7_at_equal_clip_stands_beside() -> None:
    levels = Levels({}, {"3": conditions(1.0), "tail sphere": conditions(3.0)}, {}, {})
    verdict = judge7(conditions(6.0), conditions(1.0), levels=levels, first=250)
    beside = [unit for unit in verdict.units if c7.AT_CLIP in unit.case]
    assert {unit.state for unit in beside} == {REV}
    assert len(beside) == len(CONVENTIONS)
    assert not any(unit.decides for unit in beside)
    assert c7.robust(verdict)  # the equal clip is another question
    assert verdict.ruling.word is Word.REPRODUCED


def test_c7_needs_both_settings_and_names_what_is_short() -> None:
    verdict = judge7(conditions(6.0), None)
    assert {unit.state for unit in verdict.units} == {MISSING}
    assert verdict.ruling.word is Word.UNMEASURABLE
    assert "settings not run: sphere" in verdict.deviations
    short = judge7(conditions(6.0), conditions(1.0), curvature=replace(CURVATURE_PROTOCOL, probes=(0, 250), seeds=3))
    assert short.deviations == (
        "condition numbers averaged over steps 250 instead of 250, 750, 1,250, 2,500, 5,000, 7,500, 10,000",
        "curvature of 3 seeds instead of 12",
    )
    assert judge7(conditions(6.0), conditions(1.0), curvature=CURVATURE_PROTOCOL).deviations == ()


# C8


def judge8(sgd3: float, adam3: float, sgd: float, adam: float, **options: Any) -> Verdict:
    """Steps of each optimizer in Setting 3, then on the sphere; all seeds alike."""
    histories = {"3": history_of(fast(sgd3), fast(adam3)), "sphere": history_of(fast(sgd), fast(adam))}
    return c8.judge("published", "paper", histories, PROTOCOL, **options)


def states(verdict: Verdict) -> list[State]:
    return [unit.state for unit in verdict.units if unit.decides]


def test_c8_where_all_is_faster_and_the_gap_stays() -> None:
    verdict = judge8(800, 400, 200, 100)
    assert [unit.case for unit in verdict.units if unit.decides] == ["SGD", "Adam", c8.GAP_CASE]
    assert states(verdict) == [YES, YES, YES]
    assert verdict.ruling.word is Word.REPRODUCED
    assert verdict.deviations == ()
    growth = c8.gap_units({"3": history_of(fast(800), fast(400)), "sphere": history_of(fast(200), fast(100))})[1]
    assert (growth.case, growth.state, growth.decides) == (c8.GROWTH, NULL, False)


def test_c8_where_the_gap_grows_or_shrinks() -> None:
    grown = judge8(900, 200, 200, 100)
    assert states(grown) == [YES, YES, REV]
    assert {unit.case: unit.state for unit in grown.units}[c8.GROWTH] is YES
    assert str(grown.ruling) == "partly reproduced (SGD, Adam)"
    shrunk = judge8(200, 400, 200, 100)
    assert states(shrunk) == [NULL, YES, REV]
    assert {unit.case: unit.state for unit in shrunk.units}[c8.GROWTH] is REV


def test_c8_where_runs_never_get_there() -> None:
    """Both arms of a ratio mostly censored: undecided; one arm alone stands at the horizon."""
    never = math.inf
    assert states(judge8(never, 400, never, 100)) == [UNDECIDED, YES, REV]
    both = judge8(never, never, 200, 100)
    assert states(both) == [YES, YES, UNDECIDED]
    assert {unit.case: unit.state for unit in both.units}[c8.GROWTH] is UNDECIDED
    one = judge8(never, 400, 200, 100)
    found = made_up.number(one.units[0])
    assert found.estimate == pytest.approx(STEPS / 200)
    histories = {"3": history_of(fast(never), fast(400)), "sphere": PLAIN["sphere"]}
    table = shown.steps(histories)
    assert table.loc[0, "SGD: median steps"] == "not reached"
    assert table.loc[0, "SGD: never reached"] == "4 of 4"
    assert table.loc[1, "SGD: median steps"] == "200"
    assert table.loc[0, "target 1.01 f* + 1 % f0"] == f"{TARGET:.3g}"


def test_c8_needs_both_settings() -> None:
    verdict = c8.judge("tuned", "quick", {"3": PLAIN["3"]}, replace(PROTOCOL, seeds=12))
    assert states(verdict) == [MISSING] * 3
    assert verdict.ruling.word is Word.UNMEASURABLE
    assert verdict.deviations == ("settings not run: sphere", "12 judging seeds instead of 24")
    assert c8.gap_units({})[1].state is MISSING


def test_c8_shows_levels_and_end_losses_beside() -> None:
    levels = {"3": history_of(fast(800), fast(100), end=0.03), "tail sphere": PLAIN["sphere"]}
    verdict = c8.judge("published", "paper", PLAIN, PROTOCOL, levels)
    beside = {unit.case: unit for unit in verdict.units if not unit.decides}
    assert set(beside) == {
        c8.GROWTH,
        f"{c8.GAP_CASE}, end loss",
        f"{c8.GAP_CASE} at equal clip, steps",
        f"{c8.GAP_CASE} at equal clip, end loss",
    }
    assert beside[f"{c8.GAP_CASE}, end loss"].state is NULL
    steps, ends = (made_up.number(beside[f"{c8.GAP_CASE} at equal clip, {what}"]) for what in ("steps", "end loss"))
    assert (steps.estimate, ends.estimate) == pytest.approx((4.0, 3.0))


@pytest.mark.parametrize(
    ("gap", "state"),
    [
        (interval(1.0, 0.8, 1.25), YES),
        (interval(1.15, 1.1, 1.2), YES),  # apart from 1, yet inside
        (interval(1.0, 0.79, 1.2), UNDECIDED),
        (interval(1.5, 1.2, 1.9), UNDECIDED),
        (interval(1.5, 1.26, 1.9), REV),
        (interval(0.6, 0.5, 0.79), REV),
        (interval(1.0, NAN, NAN), UNDECIDED),
        (interval(NAN, NAN, NAN), MISSING),
        (None, MISSING),
    ],
)
def test_states_of_the_gap(gap: Interval | None, state: State) -> None:
    assert c8.gap_state(gap) is state
    if gap is not None and state is YES:
        assert c8.gap_state(gap, censored=True) is UNDECIDED


def test_p_of_equivalence_goes_with_the_interval() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        logs = rng.normal(rng.uniform(-0.3, 0.3), 0.15, size=8)
        low, high = stats.t.interval(0.95, 7, loc=logs.mean(), scale=stats.sem(logs))
        inside = -math.log(1.25) < low and high < math.log(1.25)
        assert (c8.equivalence_p(logs) < 0.05) == inside
    assert c8.equivalence_p(np.zeros(5)) == 0.0
    assert c8.equivalence_p(np.ones(5)) == 1.0
    assert math.isnan(c8.equivalence_p(np.zeros(1)))


def test_the_gaps_p_is_that_of_equivalence() -> None:
    """So that a gap that stays survives Holm beside two units that fail."""
    histories = {
        "3": history_of(lambda seed: 950 if seed % 2 else 1000, fast(100), seeds=8),
        "sphere": history_of(lambda seed: 1000 if seed % 2 else 950, fast(100), seeds=8),
    }
    decides, growth = c8.gap_units(histories)
    assert made_up.number(growth).p == pytest.approx(1.0)
    assert made_up.number(decides).p < 0.001
    assert decides.state is YES
    assert made_up.number(decides).estimate == made_up.number(growth).estimate == pytest.approx(1.0)


def test_verdicts_are_kept_with_the_unit_that_c17_reads(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record(judge8(900, 200, 200, 100), store)
    rows = verdict_records("paper", store)["C8", "published"]["rows"]
    [row] = [row for row in rows if row["case"] == c8.GROWTH]
    assert row["state"] == "YES"
    assert row["estimate"] == pytest.approx(900 / 200 / 2)


SHOWN = (("C6", "init"), ("C7", "published"), ("C8", "published"))


def test_claims_are_on_the_scorecard() -> None:
    for name in ("C6", "C7", "C8"):
        claim = scorecard.CLAIMS[name]
        assert scorecard.CLAIMS[claim.CLAIM] is claim
        assert claim.CHAPTER.endswith("heavy_tails")
    chapter = (Path(__file__).parents[2] / "book" / "heavy_tails.md").read_text("utf-8")
    labels = [scorecard.figure_of(scorecard.CLAIMS[name], reading) for name, reading in SHOWN]
    assert all(label.startswith("fig-tails-") and f"name: {label}\n" in chapter for label in labels)


# The page


def test_tables_of_levels_hold_no_broken_cells() -> None:
    table = pd.concat([table_of({0.5: [0.1, 0.2], 2.5: [0.0, 0.1]}), table_of({2.5: [5.0, 5.1]}, family="variance")])
    summary = tails.summary(table)
    levels, trends = shown.levels(summary, ("noise", "loss")), tails.trends(table)
    assert len(levels) == 12
    assert (levels[tails.STATISTICS["loss"]] == "not measured").all()
    gaussian = shown.levels(summary, ("noise",), [shown.GAUSSIAN])
    assert gaussian["level"].tolist() == ["k = 2.5"] * 2
    assert gaussian[tails.STATISTICS["noise"]].str.split(" ").str[0].tolist() == ["1.05", "156"]
    assert shown.scale_alone(summary) == [tails.STATISTICS["noise"]]
    for frame in (levels, shown.trends(trends)):
        assert not any("|" in str(cell) for cell in frame.to_numpy().ravel())
    assert {unit.state for unit in shown.trend_units(trends)} == {MISSING}


@pytest.mark.parametrize(
    ("tau", "p", "state"), [(1.0, 0.003, YES), (0.87, 0.02, WEAK), (-0.87, 0.02, REV), (0.2, 0.7, UNDECIDED)]
)
def test_states_of_trends(tau: float, p: float, state: State) -> None:
    [unit] = shown.trend_units([Trend("moment", "loss", tau, p, None, 6)])
    assert (unit.state, unit.statistic) == (state, f"τ = {tau:.2f}, p = {p:g}")


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
