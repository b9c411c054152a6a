"""C3 to C5 on made-up measurements that should pass, should fail, and lack something; what their pages then say."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up
import numpy as np
import pandas as pd
import pytest
from made_up import LR, interval
from scipy import stats

from lintrans.paper import claims
from lintrans.paper.claims import State, Unit, Verdict, Word, c3, c4, c5, scorecard
from lintrans.paper.claims.c3 import CONVENTIONS, PUBLIC
from lintrans.paper.claims.common import CURVATURE_ASKED, curvature_deviations, paired, rules_digest
from lintrans.paper.claims.rules import correlation_state, share_state, table_of
from lintrans.paper.pages import condition_number, directional_smoothness, generalized_smoothness
from lintrans.paper.scales import CURVATURE, CURVATURE_PROTOCOL, SCALES
from lintrans.statistics import Interval

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State
NAN = math.nan
Value = Callable[[int, str, int], float]
"""Of a seed, an optimizer and a step."""


@pytest.mark.parametrize(
    ("share", "state"),
    [
        (interval(0.75, 0.6, 0.9), YES),
        (interval(1.0, 1.0, 1.0), YES),
        (interval(0.74, 0.6, 0.9), WEAK),
        (interval(0.55, 0.51, 0.59), WEAK),  # inside 0.4 to 0.6 too: WEAK goes first
        (interval(0.55, 0.5, 0.6), NULL),
        (interval(0.5, 0.4, 0.6), NULL),
        (interval(0.5, 0.5, 0.5), NULL),
        (interval(0.5, 0.39, 0.6), UNDECIDED),
        (interval(0.6, 0.45, 0.75), UNDECIDED),
        (interval(0.8, 0.5, 1.1), UNDECIDED),  # touches a half
        (interval(0.45, 0.41, 0.49), REV),  # inside 0.4 to 0.6 too: REV goes first
        (interval(0.1, 0.0, 0.2), REV),
        (interval(0.9, NAN, NAN), UNDECIDED),
        (interval(NAN, NAN, NAN), MISSING),
        (None, MISSING),
    ],
)
def test_states_of_shares(share: Interval | None, state: State) -> None:
    assert share_state(share) is state


@pytest.mark.parametrize(
    ("correlation", "margin", "state"),
    [
        (interval(0.3, 0.1, 0.5), 0.3, YES),
        (interval(0.29, 0.1, 0.5), 0.3, WEAK),
        (interval(0.02, 0.01, 0.03), 0.0, YES),
        (interval(0.1, 0.01, 0.19), 0.3, WEAK),  # inside -0.2 to 0.2 too: WEAK goes first
        (interval(0.1, 0.0, 0.2), 0.0, NULL),
        (interval(0.0, -0.2, 0.2), 0.3, NULL),
        (interval(0.05, -0.2, 0.21), 0.0, UNDECIDED),
        (interval(0.3, -0.3, 0.9), 0.3, UNDECIDED),
        (interval(-0.1, -0.2, -0.01), 0.0, REV),  # inside -0.2 to 0.2 too: REV goes first
        (interval(-0.5, -0.9, -0.1), 0.3, REV),
        (interval(0.9, NAN, NAN), 0.0, UNDECIDED),
        (interval(NAN, NAN, NAN), 0.0, MISSING),
        (None, 0.0, MISSING),
    ],
)
def test_states_of_correlations(correlation: Interval | None, margin: float, state: State) -> None:
    assert correlation_state(correlation, margin) is state


def measured(steps: Any, seeds: int, **metrics: Value) -> pd.DataFrame:
    """A tidy frame of measurements; NaN leaves a row out, as a training does."""
    rows = [
        (run, optimizer, LR[optimizer], seed, step, metric, value(seed, optimizer, step), 1.0)
        for run, (optimizer, seed) in enumerate((optimizer, seed) for optimizer in LR for seed in range(seeds))
        for step in steps
        for metric, value in metrics.items()
    ]
    frame = pd.DataFrame(rows, columns=["run", "optimizer", "lr", "seed", "step", "metric", "value", "clip"])
    return frame[frame["value"].notna()].reset_index(drop=True)


PROBES = (0, 250, 750, 1250)
SPREAD = (1.0, 1.2, 0.9, 1.1)


def conditions(ratio: float, seeds: int = 4, **other: float) -> pd.DataFrame:
    """R_med of every convention; SGD's is `ratio` times Adam's, or `other` times, with a spread over seeds."""

    def value(metric: str) -> Value:
        factor = other.get(metric, ratio)
        return lambda seed, optimizer, step: 10.0 * (factor * SPREAD[seed % 4] if optimizer == "sgd" else 1.0)

    return measured(PROBES, seeds, **{metric: value(metric) for metric in (*CONVENTIONS, "r_eigenvalues")})


def falling(seed: int, optimizer: str, step: int, lr: float) -> float:
    """Adam is below the target (sqrt(5 x 0.05) = 0.5 in Setting 1) from step 250 on, SGD from 750 on."""
    if step >= 1250:
        return 0.05
    return 0.45 if step >= (250 if optimizer == "adam" else 750) else 0.55


def judge3(frames: dict[str, pd.DataFrame], reading: str = "published", **options: Any) -> Verdict:
    histories = {name: made_up.history(falling, 4) for name in frames}
    return c3.judge(reading, "paper", frames, histories, CURVATURE_ASKED, options.get("budget", CURVATURE_PROTOCOL))


def by_case(units: Any) -> dict[str, Unit]:
    return {unit.case: unit for unit in units}


def test_c3_passes_where_sgds_is_larger_under_every_convention() -> None:
    verdict = judge3({name: conditions(2.0) for name in "123"})
    assert (verdict.claim, verdict.chapter, verdict.deviations) == ("C3", c3.CHAPTER, ())
    decides = [unit for unit in verdict.units if unit.decides]
    assert [unit.case for unit in decides] == [f"setting {n}, step {k}" for n in "123" for k in ("750", "1,250")]
    logs = np.log(2.0 * np.array(SPREAD))
    low, high = stats.t.interval(0.95, 3, loc=logs.mean(), scale=stats.sem(logs))
    for unit in decides:
        assert (made_up.number(unit).estimate, made_up.number(unit).low, made_up.number(unit).high) == pytest.approx(
            tuple(np.exp([logs.mean(), low, high]))
        )
    assert len(verdict.units) == 6 + 6 * 3 + 3
    assert verdict.ruling.word is Word.REPRODUCED
    assert c3.robust(verdict)
    assert verdict.rules == judge3({}).rules == rules_digest(c3.__name__) != rules_digest(c4.__name__)


@pytest.mark.parametrize(("ratio", "state"), [(0.5, REV), (1.0, NULL)])
def test_c3_fails_where_they_are_alike_or_turned_round(ratio: float, state: State) -> None:
    def value(seed: int, optimizer: str, step: int) -> float:
        return ratio * (1 + 0.01 * seed) if optimizer == "sgd" else 1.0

    frames = {name: measured(PROBES, 4, **dict.fromkeys(CONVENTIONS, value)) for name in "123"}
    verdict = judge3(frames)
    assert {unit.state for unit in verdict.units} == {state}
    assert verdict.ruling.word is Word.NOT
    assert not c3.robust(verdict)


def test_one_convention_takes_robust_away_and_not_the_verdict() -> None:
    verdict = judge3({name: conditions(2.0, r_used=0.5) for name in "123"})
    assert verdict.ruling.word is Word.REPRODUCED
    assert not c3.robust(verdict)
    assert by_case(verdict.units)["setting 2, step 750, no structural zeros"].state is REV
    public = judge3({name: conditions(2.0, r_lower=0.5) for name in "123"})
    assert public.ruling.word is Word.NOT


def test_c3_needs_every_setting_and_step() -> None:
    frames = {name: conditions(2.0) for name in "12"}
    verdict = judge3(frames)
    assert verdict.ruling.word is Word.UNMEASURABLE
    cases = by_case(verdict.units)
    assert {cases[case].state for case in cases if case.startswith("setting 3")} == {MISSING}
    assert cases["setting 3, at matched loss"].interval is None
    early = {name: frame[frame["step"] < 1250] for name, frame in frames.items()}
    assert by_case(judge3(early).units)["setting 1, step 1,250"].state is MISSING


def test_seeds_that_diverged_are_dropped_in_pairs() -> None:
    """Without a row, infinite or zero: the pair is left out, and the others are as they were."""
    frame = conditions(2.0, seeds=6)
    at = (frame["step"] == 750) & (frame["metric"] == PUBLIC)
    frame.loc[at & (frame["seed"] == 1) & (frame["optimizer"] == "sgd"), "value"] = math.inf
    frame.loc[at & (frame["seed"] == 2) & (frame["optimizer"] == "adam"), "value"] = 0.0
    frame = frame[~(at & (frame["seed"] == 3) & (frame["optimizer"] == "sgd"))]
    sgd, adam = paired(frame[at.reindex(frame.index)])
    assert sgd.tolist() == pytest.approx([20.0 * SPREAD[seed % 4] for seed in (0, 4, 5)])
    assert adam.tolist() == [10.0] * 3
    cases = by_case(judge3(dict.fromkeys("123", frame)).units)
    unit, other = made_up.number(cases["setting 1, step 750"]), made_up.number(cases["setting 1, step 1,250"])
    assert (unit.n, other.n) == (3, 6)
    assert unit.estimate == pytest.approx(2 * stats.gmean([1.0, 1.0, 1.2]))


def test_matched_loss_takes_each_optimizers_first_probe_below_the_target() -> None:
    """Adam's at step 250 beside SGD's at 750; at equal steps the ratio would be another."""

    def value(seed: int, optimizer: str, step: int) -> float:
        return (1 + 0.01 * seed) * {("adam", 250): 6.0, ("sgd", 750): 3.0 * SPREAD[seed]}.get((optimizer, step), 100.0)

    frame = measured(PROBES, 4, r_lower=value)
    matched = c3.at_matched_loss(frame, made_up.history(falling, 4), 5.0)
    assert matched.groupby("optimizer")["step"].unique().apply(list).to_dict() == {"adam": [250], "sgd": [750]}
    unit = c3.ratio_unit(matched, PUBLIC, "case", "statistic")
    assert made_up.number(unit).estimate == pytest.approx(0.5 * stats.gmean(SPREAD))
    assert (unit.state, unit.decides) == (REV, False)


def test_matched_loss_of_runs_that_never_get_there() -> None:
    def slow(seed: int, optimizer: str, step: int, lr: float) -> float:
        return math.inf if (optimizer, seed) == ("sgd", 0) else falling(seed, optimizer, step, lr)

    frame = conditions(2.0)
    matched = c3.at_matched_loss(frame, made_up.history(slow, 4), 5.0)
    assert set(matched[matched["optimizer"] == "sgd"]["seed"]) == {1, 2, 3}
    assert set(matched[matched["optimizer"] == "adam"]["seed"]) == {0, 1, 2, 3}
    nobody = c3.at_matched_loss(
        frame, made_up.history(lambda s, o, k, r: 5.0 if o == "sgd" else falling(s, o, k, r), 4), 5.0
    )
    assert c3.ratio_unit(nobody, PUBLIC, "case", "statistic").state is MISSING


def test_the_papers_statistic_and_when_it_agrees() -> None:
    """Setting 1, step 750: 1.76 (0.40) over six seeds; agreement is within two standard errors of the difference."""
    ratios = np.array([1.0, 1.5, 2.0, 3.0])
    frames = {"1": measured((750, 800), 4, r_lower=lambda s, o, k: float(ratios[s]) if o == "sgd" else 1.0)}
    rows = c3.ratios(frames, (750, 800))
    assert [(row.step, row.metric, row.seeds) for row in rows] == [(750, PUBLIC, 4), (800, PUBLIC, 4)]
    assert rows[0].mean == pytest.approx(1.875)
    assert rows[0].deviation == pytest.approx(np.std(ratios, ddof=1))
    assert (rows[0].agrees, rows[1].agrees) == (True, None)  # the paper has no step 800
    few = c3.ratios(frames, (750,), seeds=2)[0]
    assert (few.seeds, few.mean) == (2, 1.25)
    one = c3.ratios(frames, (750,), seeds=1)[0]
    assert math.isnan(one.deviation)
    assert one.agrees is None


@pytest.mark.parametrize(("beyond", "agrees"), [(0.999, True), (1.001, False)])
@pytest.mark.parametrize("side", [-1, 1])
def test_agreement_ends_at_two_standard_errors(beyond: float, agrees: bool, side: int) -> None:
    deviation = 0.1 * math.sqrt(4 / 3)
    limit = 2 * math.sqrt(deviation**2 / 4 + 0.40**2 / 6)
    mean = 1.76 + side * beyond * limit
    values = mean + np.array([-0.1, -0.1, 0.1, 0.1])
    [row] = c3.ratios(
        {"1": measured((750,), 4, r_lower=lambda s, o, k: float(values[s]) if o == "sgd" else 1.0)}, (750,)
    )
    assert row.deviation == pytest.approx(deviation)
    assert row.agrees is agrees


def test_along_the_run_averages_logarithms_over_probes() -> None:
    """From `settled` on; a seed that diverged counts with the probes it has, an infinite number not at all."""
    factor = {0: 100.0, 250: 4.0, 750: 1.0, 1250: 2.0}

    def value(seed: int, optimizer: str, step: int) -> float:
        if (seed, optimizer, step) == (2, "sgd", 1250):
            return NAN
        if (seed, optimizer, step) == (3, "sgd", 1250):
            return math.inf
        return factor[step] if optimizer == "sgd" else 1.0

    units = c3.along_the_run({"1": measured(PROBES, 4, r_lower=value, r_used=value)}, 250)
    assert [unit.statistic for unit in units] == ["lower median", "no structural zeros"]
    assert not any(unit.decides for unit in units)
    found = made_up.number(units[0])
    logs = np.log([2.0, 2.0, 2.0, 2.0])  # seeds 0, 1: (4 x 1 x 2)^(1/3); seeds 2, 3: (4 x 1)^(1/2)
    assert found.n == 4
    assert found.estimate == pytest.approx(math.exp(logs.mean()))
    assert units[0].state is YES
    assert c3.along_the_run({"1": measured((0,), 4, r_lower=value)}, 250) == []


def test_deviations_of_curvature_are_named() -> None:
    assert curvature_deviations(CURVATURE_PROTOCOL, "judged", "spectral", "grid") == ()
    quick = CURVATURE["quick"]
    assert curvature_deviations(quick, "judged", "spectral", "grid") == (
        "condition numbers judged at steps 30, 50 instead of 750, 1,250",
        "norms at steps 10 to 100 every 10 instead of steps 50 to 2000 every 50",
        "grid of rates: 60 steps and 3 seeds instead of 1,000 and 6",
        "curvature of 3 seeds instead of 12",
    )
    assert curvature_deviations(replace(CURVATURE_PROTOCOL, seeds=5)) == ("curvature of 5 seeds instead of 12",)
    short = judge3({name: conditions(2.0) for name in "123"}, budget=quick)
    assert short.deviations == curvature_deviations(quick, "judged")
    published = c3.judge("published", "quick", {}, {}, SCALES["quick"], quick).deviations
    tuned = c3.judge("tuned", "quick", {}, {}, SCALES["quick"], quick).deviations
    assert set(tuned) - set(published) == {"1 tuning seeds instead of 3"}


STEPS = tuple(range(0, 501, 50))


def smoothness(share: float, seeds: int = 4) -> pd.DataFrame:
    """SGD's v'Hv is the larger at a share of the ten steps from 50 on, in every seed, and smaller at step 0."""

    def value(seed: int, optimizer: str, step: int) -> float:
        return 1.0 if optimizer == "adam" else (2.0 if 0 < step <= 500 * share else -3.0)

    return measured(STEPS, seeds, directional_smoothness=value)


def cells(curvature: Any, speed: Any, seeds: int = 6) -> pd.DataFrame:
    """Cells whose two log ratios are the same in every seed, a rate each."""
    own = pd.DataFrame({"setting": "1", "lr": np.arange(len(speed)), "curvature": curvature, "speed": speed})
    return pd.concat([own.assign(seed=seed) for seed in range(seeds)])


RISING = np.arange(10.0)


SETTLED = replace(CURVATURE_PROTOCOL, settled=50)


def judge4(share: float, correlation: float, names: str = "123") -> Verdict:
    frames = {name: smoothness(share) for name in names}
    return c4.judge("published", "paper", frames, cells(RISING, correlation * RISING), CURVATURE_ASKED, SETTLED)


@pytest.mark.parametrize(
    ("share", "correlation", "states", "word"),
    [
        (1.0, 1.0, [YES, YES], Word.REPRODUCED),
        (0.8, 1.0, [YES, YES], Word.REPRODUCED),
        (0.7, 1.0, [WEAK, YES], Word.PARTLY),
        (0.5, 1.0, [NULL, YES], Word.PARTLY),
        (0.2, -1.0, [REV, REV], Word.NOT),
        (0.5, -1.0, [NULL, REV], Word.NOT),
    ],
)
def test_c4_on_made_up_smoothness(share: float, correlation: float, states: list[State], word: Word) -> None:
    verdict = judge4(share, correlation)
    assert [unit.state for unit in verdict.units] == [states[0]] * 3 + [states[1]]
    assert [unit.case for unit in verdict.units] == ["setting 1", "setting 2", "setting 3", c4.SECOND_HALF]
    first, last = made_up.number(verdict.units[0]), made_up.number(verdict.units[-1])
    assert (first.estimate, last.estimate) == pytest.approx((share, correlation))
    assert verdict.ruling.word is word
    assert verdict.deviations == ()


def test_shares_are_tested_against_a_half() -> None:
    values = (0.6, 0.8, 0.9, 0.7)
    frame = pd.concat([smoothness(share).query("seed == @seed") for seed, share in enumerate(values)])
    verdict = c4.judge("published", "paper", {"2": frame}, cells(RISING, RISING), CURVATURE_ASKED, SETTLED)
    found = made_up.number(verdict.units[1])
    expected = stats.ttest_1samp(values, 0.5)
    assert (found.p, found.low) == pytest.approx((expected.pvalue, expected.confidence_interval().low))


def test_c4_needs_all_settings_and_the_grid() -> None:
    verdict = judge4(1.0, 1.0, names="13")
    assert [unit.state for unit in verdict.units] == [YES, MISSING, YES, YES]
    assert verdict.ruling.word is Word.UNMEASURABLE
    nothing = cells(RISING, RISING * NAN)
    frames = {name: smoothness(1.0) for name in "123"}
    assert c4.judge("tuned", "paper", frames, nothing, CURVATURE_ASKED, SETTLED).units[-1].state is MISSING
    few = c4.judge("tuned", "quick", frames, nothing, CURVATURE_ASKED, CURVATURE["quick"]).deviations
    assert few == curvature_deviations(CURVATURE["quick"], "grid")


def test_correlations_are_those_of_ranks_in_each_seed() -> None:
    table = cells(np.exp(RISING), np.abs(RISING - 3))
    expected = stats.spearmanr(RISING, np.abs(RISING - 3)).statistic
    assert 0 < expected < 0.9
    assert c4.correlations(table).to_dict() == pytest.approx(dict.fromkeys(range(6), expected))


def test_shares_are_signed_and_of_steps_that_both_made() -> None:
    """Negative curvature of SGD counts as smaller; ties count half, a step one of them skipped does not."""
    values = {"sgd": [9.0, -5.0, 1.0, 3.0, 3.0], "adam": [1.0, -6.0, 2.0, -4.0, NAN]}
    frame = measured(range(5), 2, directional_smoothness=lambda s, o, k: values[o][k] if s == 0 else values["adam"][k])
    assert c4.shares(frame, 0).to_dict() == {0: 0.75, 1: 0.5}
    assert c4.shares(frame, 1).to_dict() == {0: pytest.approx(2 / 3), 1: 0.5}
    assert c4.shares(frame, 9).empty
    negative = c4.negative_shares(frame)
    assert negative.to_dict() == {"adam": 0.5, "sgd": pytest.approx(3 / 9)}


def test_cells_hold_log_ratios_and_leave_out_what_is_undefined() -> None:
    """Rates 0.1: plain; 0.2: SGD never gets there; 0.3: neither does; 0.4: SGD's median curvature is negative."""
    reached = {
        ("sgd", 0.1): 400, ("adam", 0.1): 100, ("adam", 0.2): 50, ("sgd", 0.4): 0, ("adam", 0.4): 500,
    }  # fmt: skip

    def loss(seed: int, optimizer: str, step: int, lr: float) -> float:
        return 0.05 if step >= reached.get((optimizer, lr), 10_000) else 1.0  # the target of Setting 1 is 0.5

    history = made_up.history(loss, 2, steps=500, every=50, rates=(0.1, 0.2, 0.3, 0.4))

    def curvature(lr: float) -> Value:
        sign = -1 if lr == 0.4 else 1
        values = {"sgd": [sign * 1.0, sign * 8.0, sign * 900.0], "adam": [2.0, 2.0, -5.0]}
        return lambda seed, optimizer, step: values[optimizer][step]

    parts = [
        measured(range(3), 2, directional_smoothness=curvature(lr), slope=lambda s, o, k: 77.0).assign(lr=lr)
        for lr in (0.1, 0.2, 0.3, 0.4)
    ]
    frame = pd.concat(parts)
    table = c4.cells({"1": (history, frame)})
    assert list(table.columns) == ["setting", "lr", "seed", "curvature", "speed"]
    assert len(table) == 8
    own = table[table["seed"] == 1].set_index("lr")
    log4 = math.log(4)
    np.testing.assert_allclose(own["curvature"], [log4, log4, log4, NAN])
    np.testing.assert_allclose(own["speed"], [log4, math.log(500 / 50), NAN, math.log(1 / 500)])
    assert c4.correlations(table).empty  # two cells a seed are none


def test_cells_of_diverged_runs_are_censored() -> None:
    history = made_up.history(lambda s, o, k, r: 0.05, 1, steps=500, every=50, diverged=(0, 1))
    frame = measured((0,), 1, directional_smoothness=lambda s, o, k: 1.0)
    history.runs["lr"] = 0.5
    assert c4.cells({"1": (history, frame.assign(lr=0.5))})["speed"].isna().all()
    lost = made_up.history(lambda s, o, k, r: 0.05, 1, steps=500, every=50, diverged=(0,))
    lost.runs["lr"] = 0.5
    [speed] = c4.cells({"1": (lost, frame.assign(lr=0.5))})["speed"]
    assert speed == pytest.approx(math.log(500))


def test_gains_of_a_step() -> None:
    frame = measured(
        (0, 1), 1,
        directional_smoothness=lambda s, o, k: -1.0 if (o, k) == ("sgd", 1) else 4.0,
        slope=lambda s, o, k: -6.0,
    )  # fmt: skip
    found = c4.gains(frame).set_index(["optimizer", "step", "metric"])["value"]
    assert found["sgd", 0, "lr_smoothness"] == pytest.approx(0.08)
    assert found["adam", 0, "lr_smoothness"] == pytest.approx(0.04)
    assert found["sgd", 1, "lr_smoothness"] == pytest.approx(-0.02)
    assert found["sgd", 0, "local_gain"] == pytest.approx(36 / 8)
    assert ("sgd", 1, "local_gain") not in found.index


def norms(kind: str, seeds: int = 4, steps: int = 40) -> pd.DataFrame:
    """Norms of H and g: "together", "apart" (turned round), "drift" (levels alone) or "unrelated"."""
    generators = [np.random.default_rng(seed) for seed in range(seeds)]
    noise = np.stack([generator.normal(size=(2, steps)) for generator in generators])
    if kind == "drift":  # both rise, but go opposite ways from one measurement to the next
        steep = np.arange(steps) + 0.0
        g, h = steep + 0.8 * (-1) ** np.arange(steps), steep - 0.8 * (-1) ** np.arange(steps)
        tables = [(g + 0.2 * own[0], h + 0.2 * own[1]) for own in noise]
    elif kind == "unrelated":
        tables = [(own[0], own[1]) for own in noise]
    else:
        sign = -1 if kind == "apart" else 1
        tables = [(own[0], sign * own[0] + 0.3 * own[1]) for own in noise]
    return measured(
        range(steps), seeds,
        gradient_norm=lambda s, o, k: math.exp(0.1 * tables[s][0][k]),
        spectral_norm=lambda s, o, k: math.exp(0.1 * tables[s][1][k]) if o == "adam" else 1.0 + k,
        hessian_step_norm=lambda s, o, k: 1.0 + k,
        directional_smoothness=lambda s, o, k: -1.0 if k % 4 else math.exp(0.1 * tables[s][1][k]),
    )  # fmt: skip


def judge5(frames: dict[str, pd.DataFrame]) -> Verdict:
    return c5.judge("published", "paper", frames, CURVATURE_ASKED, CURVATURE_PROTOCOL)


@pytest.mark.parametrize(
    ("kind", "state", "word"),
    [("together", YES, Word.REPRODUCED), ("apart", REV, Word.NOT), ("drift", WEAK, Word.PARTLY)],
)
def test_c5_on_made_up_norms(kind: str, state: State, word: Word) -> None:
    frame = norms(kind)
    verdict = judge5(dict.fromkeys("123", frame))
    assert [unit.state for unit in verdict.units if unit.decides] == [state] * 3
    assert verdict.ruling.word is word
    levels, differences = made_up.number(verdict.units[0]), made_up.number(verdict.units[3])
    assert verdict.units[3].case == "setting 1, differences"
    adam = frame[frame["optimizer"] == "adam"].pivot(index=["seed", "step"], columns="metric", values="value")
    for found, change in ((levels, False), (differences, True)):
        per_seed = []
        for seed in range(4):
            own = np.log(adam.loc[seed][["gradient_norm", "spectral_norm"]].to_numpy())
            own = np.diff(own, axis=0) if change else own
            per_seed.append(stats.spearmanr(own[:, 0], own[:, 1]).statistic)
        assert found.estimate == pytest.approx(np.mean(per_seed))
        assert found.low == pytest.approx(
            stats.t.interval(0.95, 3, loc=np.mean(per_seed), scale=stats.sem(per_seed))[0]
        )
    assert (differences.estimate < 0) == (kind in ("apart", "drift"))


@pytest.mark.parametrize(
    ("levels", "differences", "state"),
    [
        (interval(0.4, 0.2, 0.6), interval(0.4, 0.2, 0.6), YES),
        (interval(0.4, 0.2, 0.6), interval(0.2, 0.1, 0.3), WEAK),
        (interval(0.4, 0.2, 0.6), interval(-0.4, -0.5, -0.3), WEAK),
        (interval(0.4, 0.2, 0.6), interval(0.4, -0.1, 0.9), WEAK),
        (interval(0.2, 0.1, 0.3), interval(0.4, 0.2, 0.6), WEAK),
        (interval(0.0, -0.1, 0.1), interval(0.4, 0.2, 0.6), NULL),
        (interval(-0.4, -0.6, -0.2), interval(0.4, 0.2, 0.6), REV),
        (interval(0.4, -0.1, 0.9), interval(0.4, 0.2, 0.6), UNDECIDED),
        (interval(0.4, 0.2, 0.6), None, MISSING),
        (None, interval(0.4, 0.2, 0.6), MISSING),
    ],
)
def test_c5_reads_levels_and_differences(levels: Interval | None, differences: Interval | None, state: State) -> None:
    assert c5.unit_state(levels, differences) is state


def test_c5_lacks_a_setting_or_a_measure() -> None:
    frame = norms("together")
    verdict = judge5({"1": frame, "3": frame})
    assert [unit.state for unit in verdict.units if unit.decides] == [YES, MISSING, YES]
    assert verdict.ruling.word is Word.UNMEASURABLE
    without = judge5(dict.fromkeys("123", frame[frame["metric"] != "spectral_norm"]))
    assert {unit.state for unit in without.units} == {MISSING}
    one = frame[frame["seed"] == 0]
    assert {unit.state for unit in judge5(dict.fromkeys("123", one)).units} == {UNDECIDED}


def test_differences_do_not_reach_over_what_is_undefined() -> None:
    """Curvature that is not positive has no logarithm, and neither have the differences on both sides of it."""
    frame = measured(
        range(6), 1,
        directional_smoothness=lambda s, o, k: -1.0 if k == 2 else 2.0**k,
        gradient_norm=lambda s, o, k: NAN if k == 5 else 3.0**k,
    )  # fmt: skip
    own = c5.logs(frame, "adam", "directional_smoothness")[0]
    np.testing.assert_allclose(own["curvature"] / math.log(2), [0, 1, NAN, 3, 4, 5], atol=1e-12)
    np.testing.assert_allclose(own["gradient"] / math.log(3), [0, 1, 2, 3, 4, NAN], atol=1e-12)
    both = own.diff().dropna()
    assert both.index.tolist() == [1, 4]
    assert c5.correlation(frame, "adam", "directional_smoothness", differences=True) is None


def test_c5_shows_every_measure_of_both_optimizers_and_a_bound() -> None:
    frame = norms("together")
    units = c5.all_correlations({"1": frame, "2": frame})
    assert len(units) == 2 * 2 * 3 * 2
    assert not any(unit.decides for unit in units)
    verdict = judge5(dict.fromkeys("123", frame))
    shown = next(unit for unit in units if unit.case == "Setting 1, adam")
    assert shown.interval == verdict.units[0].interval
    table = generalized_smoothness.correlation_table(units)
    assert table["curvature"].tolist() == ["norm of H", "norm of Hv", "v'Hv where positive"] * 4
    assert table["optimizer"].tolist() == (["Adam"] * 3 + ["SGD"] * 3) * 2
    assert table.loc[0, "levels"] == f"{claims.records.interval_text(shown.interval)} {shown.state}"
    bounds = c5.bounds({"1": frame, "2": frame[(frame["step"] < 2) & (frame["seed"] == 0)]})  # two points are too few
    assert bounds["optimizer"].tolist() == ["adam", "sgd"]
    adam = frame[frame["optimizer"] == "adam"].pivot(index=["seed", "step"], columns="metric", values="value")
    [l0, l1] = bounds[["l0", "l1"]].to_numpy(float)[0]
    line = l0 + l1 * adam["gradient_norm"]
    assert np.mean(adam["spectral_norm"] <= line + 1e-9) == pytest.approx(0.95, abs=0.02)
    shown_bounds = generalized_smoothness.bound_table(bounds)
    assert shown_bounds["points"].tolist() == ["160", "160"]
    assert shown_bounds.loc[0, "$L_0$"] == f"{l0:.3g}"


def test_page_of_c3() -> None:
    """Tables and counts are those of the verdict."""
    frames = {name: conditions(2.0, r_used=0.5) for name in "123"}
    verdict = judge3(frames)
    assert condition_number.agreeing(verdict) == (
        "lower median: 6 of 6 YES, 0 REV; midpoint median: 6 of 6 YES, 0 REV; no structural zeros: 0 of 6 YES, 6 REV; "
        "per block: 6 of 6 YES, 0 REV; at matched loss: 3 of 3 YES, 0 REV"
    )
    table = condition_number.convention_table(verdict)
    assert len(table) == len(verdict.units)
    first = table.iloc[:4]
    assert first["case"].tolist() == ["setting 1, step 750"] * 4
    assert first["statistic"].tolist() == list(CONVENTIONS.values())
    assert first["state"].tolist() == ["YES", "YES", "REV", "YES"]
    assert table["case"].tolist()[-3:] == [f"setting {name}, at matched loss" for name in "123"]
    along = condition_number.along(c3.along_the_run(frames, 250), "published")
    assert along.count("\n") == 2
    assert "- Setting 2, published rates: lower median 2.09 [" in along
    assert "no structural zeros 0.522 [" in along


def text_of(unit: Unit) -> str:
    return claims.records.interval_text(unit.interval)


def test_table_beside_the_papers() -> None:
    rows = c3.ratios({"1": conditions(2.0), "sphere": conditions(1.0, seeds=1)}, (750, 250))
    table = condition_number.ratio_table(rows, conventions=(PUBLIC, "r_blocks")).set_index("convention")
    assert table.columns.tolist() == [
        "Setting 1, step 750", "Setting 1, step 250", "Spherical, step 750", "Spherical, step 250"
    ]  # fmt: skip
    values = 2.0 * np.array(SPREAD)
    ours = f"{values.mean():.2f} ({values.std(ddof=1):.2f})"
    agrees = abs(values.mean() - 1.76) < 2 * math.sqrt(values.var(ddof=1) / 4 + 0.4**2 / 6)
    column = table["Setting 1, step 750"]
    assert (column["lower median"], column["per block"], column["paper"]) == (ours, ours, "1.76 (0.4)")
    assert column["agrees"] == ("yes" if agrees else "no")
    assert column["full Transformers, three layers"].startswith("1.65 (0.65)")
    assert table["Spherical, step 750"]["lower median"] == "1.00 (one seed)"
    assert table["Setting 1, step 250"][["paper", "agrees"]].tolist() == ["no number", "no number"]


def test_eigenvalues_and_levels_are_medians() -> None:
    frame = measured(
        (750,), 3,
        eigenvalue_max=lambda s, o, k: (1.0, 40.0, 7.0)[s] * (2 if o == "sgd" else 1),
        eigenvalue_min=lambda s, o, k: -1.0 - s,
    )  # fmt: skip
    table = condition_number.eigenvalues({"1": frame, "2": frame[frame["optimizer"] == "adam"]}, (750, 1250))
    assert table["SGD: largest"].tolist() == ["14", "not measured", "not measured", "not measured"]
    assert table["Adam: largest"].tolist() == ["7", "not measured", "7", "not measured"]
    assert table["Adam: smallest"].tolist()[0] == "-2"
    steps = measured(
        (0, 50, 100), 1,
        directional_smoothness=lambda s, o, k: -1.0 if (o, k) == ("sgd", 50) else 1.0 + k,
        hessian_step_norm=lambda s, o, k: 2.0 + k,
        gradient_norm=lambda s, o, k: 3.0 + k,
        step_length=lambda s, o, k: 4.0 + k,
    )  # fmt: skip
    levels = directional_smoothness.levels({"1": steps}, 50)
    assert levels["optimizer"].tolist() == ["SGD", "Adam"]
    assert levels.iloc[1, 2:].tolist() == ["76", "77", "78", "79"]
    text = directional_smoothness.negative({"1": steps})
    assert text == "- Setting 1: curvature is negative along SGD 33.3%, Adam 0.0% of the measured steps."


def test_levels_of_c5_stand_beside_their_differences() -> None:
    verdict = judge5({name: norms("drift") for name in "12"})
    units = generalized_smoothness.with_differences(verdict)
    assert [unit.interval for unit in units] == [unit.interval for unit in verdict.units[:3]]
    assert [unit.statistic for unit in units] == [text_of(unit) for unit in verdict.units[3:]] + [""]


def test_units_as_a_table() -> None:
    table = table_of([Unit("a", "s", interval(2, 1, 3), YES), Unit("b", "s", None, MISSING)])
    assert table.iloc[0].tolist() == ["a", "s", 2, 1, 3, "YES"]
    assert table.iloc[1][["estimate", "low", "high"]].isna().all()
    assert list(table_of([]).columns) == list(table.columns)


def test_cards_of_judged_and_unjudged_claims(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    expected = [(name, reading) for name, claim in scorecard.CLAIMS.items() for reading in claim.READINGS]
    empty = scorecard.cards("quick")
    assert len(empty) == len(expected)
    for card, (name, reading) in zip(empty, expected, strict=True):
        assert card.table is None
        assert card.text.startswith(f"**{name}, {reading} reading.** {scorecard.CLAIMS[name].SENTENCE} Not judged yet")
        assert f"{{doc}}`{scorecard.CLAIMS[name].CHAPTER}`" in card.text
    short = replace(CURVATURE_PROTOCOL, seeds=4)
    verdict = replace(judge3({name: conditions(2.0) for name in "12"}, budget=short), scale="quick")
    claims.record(verdict)
    claims.record(replace(judge5({name: norms("drift") for name in "123"}), scale="quick", reading="tuned"))
    claims.record(replace(judge4(1.0, 1.0), scale="paper"))
    made = dict(zip(expected, scorecard.cards("quick"), strict=True))
    card = made["C3", "published"]
    assert "Verdict: **not measurable here**." in card.text
    assert f"{{numref}}`{c3.FIGURE['published']}`" in card.text
    assert f"judged {verdict.created[:10]} by rules {verdict.rules}." in card.text
    assert "This scale falls short of the rules: curvature of 4 seeds instead of 12." in card.text
    assert card.text.endswith(f" {len(verdict.units) - 6} further cases stand beside these in the chapter.")
    table = card.table
    assert table is not None
    assert table["case"].tolist() == [f"setting {n}, step {k}" for n in "123" for k in ("750", "1,250")]
    assert table["estimate [95% interval]"].tolist()[:4] == [text_of(verdict.units[0])] * 4
    assert table["state"].tolist() == ["YES"] * 4 + ["MISSING"] * 2
    tuned = made["C5", "tuned"]
    assert "Verdict: **partly reproduced (setting 1, setting 2, setting 3)**." in tuned.text
    assert tuned.table is not None
    unit = judge5({name: norms("drift") for name in "123"}).units[0]
    assert tuned.table["estimate [95% interval]"].tolist() == [text_of(unit)] * 3
    assert tuned.table["state"].tolist() == ["WEAK"] * 3
    assert made["C3", "tuned"].table is None
    assert made["C4", "published"].table is None  # judged at another scale
    words = scorecard.overview("quick").set_index("claim")["verdict"]
    assert words["C3"] == "*published*: not measurable here; *tuned*: not judged yet"
    assert words["C4"] == "*published*: not judged yet; *tuned*: not judged yet"
    paper = scorecard.overview("paper").set_index("claim")["verdict"]
    assert paper["C4"] == "*published*: reproduced; *tuned*: not judged yet"


def test_cards_of_what_was_not_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    claims.record(replace(judge5({}), scale="quick"))
    [table] = [card.table for card in scorecard.cards("quick") if card.table is not None]
    assert table["estimate [95% interval]"].tolist() == ["no number"] * 3


def test_c3_says_how_far_the_medians_differ() -> None:
    rows = [
        (o, 0, k, m, v) for o in ("sgd", "adam") for k in (0, 5) for m, v in ((PUBLIC, 6.0 + k), ("r_midpoint", 2.0))
    ]
    frame = pd.DataFrame(rows, columns=["optimizer", "seed", "step", "metric", "value"])
    text = condition_number.lower_over_midpoint({"1": frame}, (0, 5, 9))
    assert text == "- Setting 1: 3 at step 0, 5.5 at step 5."
