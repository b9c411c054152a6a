"""C3 on made-up measurements that should pass, should fail, and lack something; what its page then says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import made_up
import numpy as np
import pandas as pd
import pytest
from made_up import measured, number
from scipy import stats

from lintrans.paper.claims import State, Unit, Verdict, Word, c3
from lintrans.paper.claims.c3 import CONVENTIONS, PUBLIC
from lintrans.paper.claims.common import CURVATURE_ASKED, FIXED_BATCH, curvature_deviations
from lintrans.paper.judged import Judged
from lintrans.paper.pages import condition_number
from lintrans.paper.scales import CURVATURE, CURVATURE_PROTOCOL
from lintrans.statistics import two_way

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State
NAN = math.nan
PROBES, SEEDS = (0, 250, 750, 1250), 6
SPREAD = np.array([1.0, 1.2, 0.9, 1.1, 1.05, 0.95])
OVER_BATCHES = np.array([1.0, 1.03, 0.98])


def conditions(ratio: float, seeds: int = SEEDS, fixed: float | None = None, **other: float) -> pd.DataFrame:
    """R_med of every convention: SGD's is `ratio` times Adam's, or `other` times, and `fixed` times on that batch."""

    def value(metric: str) -> Any:
        def of(seed: int, optimizer: str, step: int, batch: int) -> float:
            factor = fixed if fixed is not None and batch < 0 else other.get(metric, ratio)
            scatter = SPREAD[seed % 6] * (1.0 if batch < 0 else OVER_BATCHES[batch % 3])
            return 10.0 * (factor * scatter if optimizer == "sgd" else 1.0)

        return of

    return measured(PROBES, seeds, **{metric: value(metric) for metric in (*CONVENTIONS, "r_eigenvalues")})


def falling(seed: int, optimizer: str, step: int, lr: float) -> float:
    """Adam is below the target (sqrt(5 x 0.05) = 0.5 in Setting 1) from step 250 on, SGD from 750 on."""
    if step >= 1250:
        return 0.05
    return 0.45 if step >= (250 if optimizer == "adam" else 750) else 0.55


def judge(frames: dict[str, pd.DataFrame], reading: str = "published", **options: Any) -> Verdict:
    judged = Judged({reading: {name: made_up.history(falling, SEEDS) for name in frames}}, {})
    return c3.judge(reading, "paper", frames, judged, CURVATURE_ASKED, options.get("budget", CURVATURE_PROTOCOL))


def by_case(units: Any) -> dict[str, Unit]:
    return {unit.case: unit for unit in units}


def deciding(verdict: Verdict) -> list[Unit]:
    return [unit for unit in verdict.units if unit.decides]


def test_passes_where_sgds_is_larger_under_every_convention() -> None:
    """Seeds and evaluation batches are both random; the fixed batch is none of them."""
    verdict = judge({name: conditions(2.0, fixed=2.5) for name in "123"})
    assert [unit.case for unit in deciding(verdict)] == [
        f"setting {n}, step {k}" for n in "123" for k in ("750", "1,250")
    ]
    expected = two_way(np.log(2.0 * SPREAD[:, None] * OVER_BATCHES)).exp()
    for unit in deciding(verdict):
        assert (number(unit).estimate, number(unit).low, number(unit).high) == pytest.approx(
            (expected.estimate, expected.low, expected.high)
        )
    sample = by_case(verdict.units)["setting 1, step 750, fixed batch"]
    assert (sample.keys.part, sample.decides) == (FIXED_BATCH, False)
    assert number(sample).estimate == pytest.approx(2.5 * stats.gmean(SPREAD))
    assert (verdict.ruling.word, verdict.robust, verdict.deviations) == (Word.REPRODUCED, True, ())
    assert set(verdict.checks) == {*CONVENTIONS.values(), FIXED_BATCH, "matched loss"} - {CONVENTIONS[PUBLIC]}


@pytest.mark.parametrize(("ratio", "state"), [(0.5, REV), (1.0, NULL)])
def test_fails_where_they_are_alike_or_turned_round(ratio: float, state: State) -> None:
    def value(seed: int, optimizer: str, step: int, batch: int) -> float:
        return ratio * (1 + 0.01 * seed + 0.01 * batch) if optimizer == "sgd" else 1.0

    verdict = judge({name: measured(PROBES, SEEDS, **dict.fromkeys(CONVENTIONS, value)) for name in "123"})
    assert {unit.state for unit in verdict.units} == {state}
    assert verdict.ruling.word is Word.NOT


def test_one_convention_takes_robust_away_and_not_the_verdict() -> None:
    verdict = judge({name: conditions(2.0, r_used=0.5) for name in "123"})
    assert (verdict.ruling.word, verdict.robust) == (Word.REPRODUCED, False)
    assert [name for name, holds in verdict.checks.items() if not holds] == ["no structural zeros"]
    assert judge({name: conditions(2.0, r_lower=0.5) for name in "123"}).ruling.word is Word.NOT


def test_one_bad_prompt_decides_nothing() -> None:
    """In the fixed batch it is a failed check; in one of sixteen evaluation batches it leaves the state or opens it."""
    verdict = judge({name: conditions(2.0, fixed=0.001) for name in "123"})
    assert (verdict.ruling.word, verdict.checks[FIXED_BATCH]) == (Word.REPRODUCED, False)
    assert "not robust: fixed batch" in verdict.flags[0]

    def spoiled(ratio: float, bad: float) -> Any:
        def value(seed: int, optimizer: str, step: int, batch: int) -> float:
            return (bad if batch == 7 else ratio) * SPREAD[seed] if optimizer == "sgd" else 1.0

        return value

    for ratio, bad in ((2.0, 1e-3), (0.5, 1e3)):
        frame = measured(PROBES, SEEDS, range(-1, 16), **dict.fromkeys(CONVENTIONS, spoiled(ratio, bad)))
        allowed = {UNDECIDED, YES if ratio > 1 else REV}
        assert {unit.state for unit in deciding(judge(dict.fromkeys("123", frame)))} <= allowed


def test_needs_every_setting_and_step() -> None:
    frames = {name: conditions(2.0) for name in "12"}
    verdict = judge(frames)
    assert verdict.ruling.word is Word.UNMEASURABLE
    cases = by_case(verdict.units)
    assert {cases[case].state for case in cases if case.startswith("setting 3")} == {MISSING}
    early = {name: frame[frame["step"] < 1250] for name, frame in frames.items()}
    assert by_case(judge(early).units)["setting 1, step 1,250"].state is MISSING


def test_seeds_that_diverged_are_left_out() -> None:
    """Without a row, infinite or zero on one batch: the seed is left out, and the others are as they were."""
    frame = conditions(2.0)
    at = (frame["step"] == 750) & (frame["metric"] == PUBLIC) & (frame["batch"] == 1)
    frame.loc[at & (frame["seed"] == 1) & (frame["optimizer"] == "sgd"), "value"] = math.inf
    frame.loc[at & (frame["seed"] == 2) & (frame["optimizer"] == "adam"), "value"] = 0.0
    frame = frame[~(at & (frame["seed"] == 3) & (frame["optimizer"] == "sgd"))]
    cases = by_case(judge(dict.fromkeys("123", frame)).units)
    unit, other = number(cases["setting 1, step 750"]), number(cases["setting 1, step 1,250"])
    assert (unit.n, other.n) == (3, 6)
    assert unit.estimate == pytest.approx(2 * stats.gmean(SPREAD[[0, 4, 5]]) * stats.gmean(OVER_BATCHES))


def test_matched_loss_takes_each_optimizers_first_probe_below_the_target() -> None:
    """Adam's at step 250 beside SGD's at 750; at equal steps the ratio would be another."""

    def value(seed: int, optimizer: str, step: int, batch: int) -> float:
        return {("adam", 250): 6.0, ("sgd", 750): 3.0 * float(SPREAD[seed]) * (2 + batch)}.get((optimizer, step), 100.0)

    frame, history = measured(PROBES, SEEDS, r_lower=value), made_up.history(falling, SEEDS)
    table = c3.at_matched_loss(frame, history, target=0.5)
    np.testing.assert_allclose(np.exp(table), 0.5 * SPREAD[:, None] * np.array([2, 3, 4]))
    fixed = c3.at_matched_loss(frame, history, target=0.5, fixed=True)
    np.testing.assert_allclose(np.exp(fixed[-1]), 0.5 * SPREAD)
    slow = made_up.history(lambda s, o, k, r: math.inf if (o, s) == ("sgd", 0) else falling(s, o, k, r), SEEDS)
    assert c3.at_matched_loss(frame, slow, target=0.5).index.tolist() == [1, 2, 3, 4, 5]
    nobody = made_up.history(lambda s, o, k, r: 5.0 if o == "sgd" else falling(s, o, k, r), SEEDS)
    assert c3.table_unit("case", "ratio", c3.at_matched_loss(frame, nobody, target=0.5)).state is MISSING


def random_conditions(seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    return measured(PROBES, SEEDS, **dict.fromkeys(CONVENTIONS, lambda *_: float(generator.lognormal())))


def test_the_split_multiplies_to_the_public_ratio_exactly() -> None:
    """For every seed and batch, at a step and along the run, also where a probe is undefined under one convention."""
    frame = random_conditions()
    gone = (frame["step"] == 750) & (frame["metric"] == "r_blocks") & (frame["seed"] == 2)
    frame.loc[gone, "value"] = math.inf
    for rows in (frame[frame["step"] == 1250], frame[frame["step"] >= 250]):
        parts = c3.split(rows)
        whole = parts["within"] + parts["between"] + parts["convention"]
        assert parts["public"].shape == (SEEDS, 3)
        np.testing.assert_allclose(whole, parts["public"], rtol=0, atol=1e-12)
    units = c3.factors({"1": random_conditions()}, CURVATURE_PROTOCOL)
    for own in condition_number.by_place(units).values():
        product = np.prod([number(own[name]).estimate for name in c3.FACTORS])
        assert number(own["public"]).estimate == pytest.approx(product, rel=1e-12)
    table = c3.split_along({"1": random_conditions()})
    assert sorted(table["step"].unique()) == list(PROBES)


def test_the_page_says_which_factor_and_which_block_carry_the_gap() -> None:
    def block(seed: int, optimizer: str, step: int, batch: int) -> float:
        return 8.0 if optimizer == "sgd" else 0.2

    frame = conditions(4.0, r_blocks=0.9, r_used=5.0)
    levels = measured(PROBES, SEEDS, block_P1=block, block_Q1=lambda *_: 0.4, block_P3=lambda *_: 0.0)
    frames = dict.fromkeys("123", pd.concat([frame, levels]))
    units = c3.factors(frames, CURVATURE_PROTOCOL)
    assert {condition_number.carrier(parts) for parts in condition_number.by_place(units).values()} == {"between"}
    assert c3.blocks(frames["1"], 750).to_dict() == {
        "sgd": pytest.approx({"P1": 8.0, "Q1": 0.4}), "adam": pytest.approx({"P1": 0.2, "Q1": 0.4}),
    }  # fmt: skip
    text = condition_number.carried(units, frames)
    assert "6 of 6" in text
    assert "between blocks in 6" in text
    assert "P1 in 6 of 6, 20 times sharper" in text
    assert "40 times flatter" in text
    assert condition_number.split_table(units)["case"].nunique() == 9
    none = condition_number.carried(c3.factors({"1": conditions(0.5)}, CURVATURE_PROTOCOL), {"1": conditions(0.5)})
    assert "no gap to split" in none


def test_the_papers_statistic_and_when_it_agrees() -> None:
    """On the fixed batch; and on how many evaluation batches it would."""
    ratios = np.array([1.0, 1.5, 2.0, 3.0])

    def value(seed: int, optimizer: str, step: int, batch: int) -> float:
        return float(ratios[seed]) * (20.0 if batch == 2 else 1.0) if optimizer == "sgd" else 1.0

    frames = {"1": measured((750, 800), 4, r_lower=value)}
    rows = c3.ratios(frames, (750, 800))
    assert [(row.step, row.metric, row.seeds) for row in rows] == [(750, PUBLIC, 4), (800, PUBLIC, 4)]
    assert (rows[0].mean, rows[0].deviation) == pytest.approx((1.875, np.std(ratios, ddof=1)))
    assert (rows[0].agrees, rows[1].agrees) == (True, None)  # the paper has no step 800
    assert (rows[0].agreeing, rows[0].batches) == (2, 3)
    few = c3.ratios(frames, (750,), range(2))[0]
    assert (few.seeds, few.mean) == (2, 1.25)
    one = c3.ratios(frames, (750,), range(1))[0]
    assert (math.isnan(one.deviation), one.agrees) == (True, None)


@pytest.mark.parametrize(("beyond", "agrees"), [(0.999, True), (1.001, False)])
@pytest.mark.parametrize("side", [-1, 1])
def test_agreement_ends_at_two_standard_errors(beyond: float, agrees: bool, side: int) -> None:
    limit = 2 * math.sqrt((0.1**2 * 4 / 3) / 4 + 0.40**2 / 6)
    values = 1.76 + side * beyond * limit + np.array([-0.1, -0.1, 0.1, 0.1])
    frames = {"1": measured((750,), 4, r_lower=lambda s, o, k, b: float(values[s]) if o == "sgd" else 1.0)}
    [row] = c3.ratios(frames, (750,))
    assert row.agrees is agrees


@pytest.mark.parametrize(("others", "words"), [(5.0, "not the paper"), (1.0, "does not explain")])
def test_the_page_says_whether_batches_explain_a_difference(others: float, words: str) -> None:
    def value(seed: int, optimizer: str, step: int, batch: int) -> float:
        return (0.02 if batch < 0 else others) * SPREAD[seed] if optimizer == "sgd" else 1.0

    rows = c3.ratios({"2": measured((1250,), SEEDS, r_lower=value)}, (1250,))
    text = condition_number.other_batches(rows)
    assert f"{rows[0].agreeing} of 3 evaluation batches" in text
    assert words in text
    assert condition_number.ratio_table(rows, [PUBLIC]).iloc[-2, 1] == f"{rows[0].agreeing} of 3"
    unmeasured = condition_number.other_batches(c3.ratios({"1": conditions(2.0)}, (250,)))
    assert "No number" in unmeasured


def test_along_the_run_averages_logarithms_over_probes() -> None:
    """From `settled` on; a seed that diverged counts with the probes it has, an infinite number not at all."""
    factor = {0: 100.0, 250: 4.0, 750: 1.0, 1250: 2.0}

    def value(seed: int, optimizer: str, step: int, batch: int) -> float:
        if (optimizer, step) == ("sgd", 1250) and seed in (2, 3):
            return NAN if seed == 2 else math.inf
        return factor[step] * (1 if batch >= 0 else 7) if optimizer == "sgd" else 1.0

    frame = measured(PROBES, 4, r_lower=value, r_used=value)
    table = c3.log_ratios_along(frame, PUBLIC, 250)
    assert (list(table.index), list(table)) == ([0, 1, 2, 3], [0, 1, 2])
    np.testing.assert_allclose(table, math.log(2))  # seeds 0, 1: (4 x 1 x 2)^(1/3); seeds 2, 3: (4 x 1)^(1/2)
    np.testing.assert_allclose(c3.log_ratios_along(frame, PUBLIC, 250, fixed=True), math.log(14))
    units = c3.along_the_run({"1": frame}, 250)
    assert [unit.statistic for unit in units] == ["lower median", "no structural zeros"]
    assert c3.along_the_run({"1": frame[frame["step"] == 0]}, 250) == []


def test_deviations_of_curvature_are_named() -> None:
    assert curvature_deviations(CURVATURE_PROTOCOL, "judged", "spectral", "grid") == ()
    quick = CURVATURE["quick"]
    assert "curvature on 3 evaluation batches instead of 16" in curvature_deviations(quick)
    short = judge({name: conditions(2.0) for name in "123"}, budget=quick)
    assert short.deviations == curvature_deviations(quick, "judged")


def test_shifted_seeds_have_a_sample_of_their_own() -> None:
    frame = conditions(2.0).assign(seed=lambda table: table["seed"] + 100)
    other = replace(CURVATURE_PROTOCOL, first_seed=100)
    judged = Judged({"published": {name: made_up.history(falling, SEEDS) for name in "123"}}, {})
    frames = dict.fromkeys("123", frame)
    found = c3.judge("published", "paper", frames, judged, CURVATURE_ASKED, other)
    assert number(by_case(found.units)["setting 1, step 750, fixed batch"]).n == SEEDS
    found = c3.judge("published", "paper", frames, judged, CURVATURE_ASKED, CURVATURE_PROTOCOL)
    assert by_case(found.units)["setting 1, step 750, fixed batch"].state is MISSING


def test_tables_of_the_page() -> None:
    frames = {name: conditions(2.0, r_used=0.5) for name in "123"}
    verdict = judge(frames)
    table = condition_number.convention_table(verdict)
    assert len(table) == len(verdict.units)
    first = table[table["case"] == "setting 1, step 750"]
    assert first["statistic"].tolist() == [*CONVENTIONS.values(), FIXED_BATCH]
    assert first["state"].tolist() == ["YES", "YES", "REV", "YES", "YES"]
    assert table["case"].tolist()[-3:] == [f"setting {name}, at matched loss" for name in "123"]
    assert "no structural zeros: holds in 0 of 6, reversed in 6" in condition_number.agreeing(verdict)
    frame = measured(
        (750,), 3,
        eigenvalue_max=lambda s, o, k, b: (1.0, 40.0, 7.0)[s] * (2 if o == "sgd" else 1) if b < 0 else NAN,
        eigenvalue_min=lambda s, o, k, b: -1.0 - s if b < 0 else NAN,
    )  # fmt: skip
    table = condition_number.eigenvalues({"1": frame}, (750, 1250))
    assert table["SGD: largest"].tolist() == ["14", "not measured"]
    assert table["Adam: smallest"].tolist()[0] == "-2"
    rows = measured((0, 5), 1, r_lower=lambda s, o, k, b: 6.0 + k, r_midpoint=lambda *_: 2.0)
    text = condition_number.lower_over_midpoint({"1": rows}, (0, 5, 9))
    assert text == "- Setting 1: 3 at step 0, 5.5 at step 5."


def test_the_share_of_the_worst_prompt_is_said_for_both_kinds_of_batches() -> None:
    frame = measured(
        (750,), 2,
        worst_loss_share=lambda s, o, k, b: 0.97 if b < 0 else 0.02 + 0.01 * b,
        worst_trace_share=lambda s, o, k, b: 0.99 if b < 0 else 0.1,
    )  # fmt: skip
    text = condition_number.worst_prompts({"2": frame})
    for part in ("Setting 2", "97% of the loss on the fixed batch", "2% to 4% on the 3 evaluation", "100% of all runs"):
        assert part in text


def test_the_page_measures_it_otherwise() -> None:
    """Three other medians, one of which is reversed; the fixed batch; the whole run; the opposite at other steps."""
    frames = {name: conditions(2.0, r_used=0.5) for name in "123"}
    verdict = judge(frames)
    lamp = condition_number.by_convention(verdict)
    assert (lamp.kept, lamp.of) == (12, 18)
    assert condition_number.conventions_title(verdict).endswith("12 of 18 keep the answer")
    assert condition_number.title(verdict).endswith("lower in 6 of 6 cases")
    assert condition_number.on_the_fixed_batch(verdict).of == 6
    along = c3.along_the_run(frames, 250)
    lamp = condition_number.by_horizon((verdict, along))
    assert (lamp.kept, lamp.of) == (6, 6)
    factors = c3.factors(frames, CURVATURE_PROTOCOL)
    assert "convention in 6 of 6" in condition_number.split_title(factors)
    table = pd.DataFrame(
        [("1", 250, "public", 0.5, 0.4, 0.6), ("1", 750, "public", 2.0, 1.5, 3.0), ("1", 900, "public", 1.0, 0.5, 2.0)],
        columns=["setting", "step", "part", "ratio", "low", "high"],
    )
    deciding = [unit for unit in verdict.units if unit.decides]
    text = condition_number.window(deciding, table)
    assert text == "- Setting 1 (judged at 750, 1,250): Adam's is lower at 750; higher at 250."
    found = {("sparse", "lower"): 6.0, ("sparse", "midpoint"): 2.0}
    assert "a factor 3" in condition_number.median_answer(found)
