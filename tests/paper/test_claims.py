"""States and verdicts on made-up data that should and should not pass; verdicts on disk."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import interval, unit

from lintrans import History
from lintrans.paper import claims
from lintrans.paper.claims import Keys, State, Unit, Verdict, Word, c1, common, ratio_state, rule, wording
from lintrans.paper.claims.records import COLUMNS, interval_text, verdict_records
from lintrans.paper.claims.rules import agree, correlation_state, ratio_unit, share_state
from lintrans.paper.pages import common as tables
from lintrans.paper.pages.adam_vs_sgd import agreements
from lintrans.paper.pages.scorecard import cards
from lintrans.paper.problems import SETTINGS
from lintrans.paper.protocol import end_steps
from lintrans.paper.scales import PROTOCOL, SCALES
from lintrans.statistics import Interval, geometric_ratio
from lintrans.store.sources import code
from lintrans.store.store import Store

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State


@pytest.mark.parametrize(
    ("ratio", "state"),
    [
        (interval(1.3, 1.1, 1.5), State.YES),
        (interval(1.25, 1.01, 1.5), State.YES),
        (interval(1.2, 1.1, 1.3), State.WEAK),
        (interval(1.1, 1.05, 1.2), State.WEAK),  # inside 0.8 to 1.25 too: WEAK goes first
        (interval(1.05, 1.02, 1.1), State.NULL),  # small is no difference, whatever the seeds say
        (interval(0.95, 0.91, 0.99), State.NULL),
        (interval(1.0, 0.9, 1.1), State.NULL),
        (interval(1.0, 0.8, 1.25, p=0.5), State.NULL),
        (interval(0.9, 0.85, 0.95), State.REV),  # inside 0.8 to 1.25 too: REV goes first
        (interval(3.0, 1.1, 8.0, p=0.04, flip=0.06), State.UNDECIDED),  # two kinds of runs
        (interval(0.5, 0.3, 0.9, p=0.04, flip=0.06), State.UNDECIDED),
        (interval(1.05, 1.02, 1.1, p=0.04, flip=0.06), State.NULL),  # small all the same
        (interval(1.0, 0.85, 1.2, p=0.5, flip=0.03), State.NULL),
        (interval(3.0, 1.1, 8.0, n=5, flip=math.nan), State.YES),  # too few to flip
        (interval(0.5, 0.3, 0.9), State.REV),
        (interval(1.0, 0.7, 1.4), State.UNDECIDED),
        (interval(3.0, math.nan, math.nan), State.UNDECIDED),
        (interval(math.nan, math.nan, math.nan), State.MISSING),
        (None, State.MISSING),
    ],
)
def test_states(ratio: Interval | None, state: State) -> None:
    assert ratio_state(ratio) is state


@pytest.mark.parametrize(
    ("ratio", "bound", "state"),
    [
        (interval(3, 2, 4), ">=", State.YES),
        (interval(3, 2, 4), "<=", State.UNDECIDED),
        (interval(3, 2, 4), "?", State.UNDECIDED),
        (interval(1.2, 1.1, 1.3), ">=", State.UNDECIDED),
        (interval(1.0, 0.95, 1.05), ">=", State.UNDECIDED),  # at least alike is not alike
        (interval(0.5, 0.3, 0.8), "<=", State.REV),
        (interval(0.5, 0.3, 0.8), ">=", State.UNDECIDED),
        (interval(0.5, 0.3, 0.8), "?", State.UNDECIDED),
        (interval(0.93, 0.91, 0.95), "<=", State.UNDECIDED),
        (interval(math.nan, math.nan, math.nan), ">=", State.MISSING),
    ],
)
def test_a_bound_says_what_it_decides_alone(ratio: Interval, bound: str, state: State) -> None:
    assert ratio_state(replace(ratio, bound=bound)) is state


@pytest.mark.parametrize(
    ("judge", "low", "estimate", "high", "state"),
    [
        (share_state, 0.7, 0.8, 0.9, State.YES),
        (share_state, 0.55, 0.7, 0.8, State.WEAK),
        (share_state, 0.45, 0.5, 0.55, State.NULL),
        (share_state, 0.1, 0.2, 0.4, State.REV),
        (share_state, 0.3, 0.5, 0.7, State.UNDECIDED),
        (correlation_state, 0.1, 0.3, 0.5, State.YES),
        (correlation_state, 0.01, 0.015, 0.02, State.WEAK),  # beyond doubt, and little
        (correlation_state, -0.1, 0.0, 0.15, State.NULL),
        (correlation_state, -0.5, -0.3, -0.1, State.REV),
        (correlation_state, -0.3, 0.3, 0.8, State.UNDECIDED),
    ],
)
def test_states_of_shares_and_correlations(
    judge: Callable[[Interval | None], State], low: float, estimate: float, high: float, state: State
) -> None:
    assert judge(interval(estimate, low, high, p=0.001 if state in (YES, WEAK, REV) else 0.5)) is state
    assert judge(None) is State.MISSING
    if state in (YES, WEAK, REV):
        assert judge(interval(estimate, low, high, p=0.04, flip=0.06)) is State.UNDECIDED


def test_eighteen_runs_of_one_kind_and_six_of_another_decide_nothing() -> None:
    """Losses four fold apart in most seeds and the other way in some: t rejects, flips of sign do not."""
    ratio = geometric_ratio([4.0] * 18 + [4.0**-1.27] * 6, [1.0] * 24)
    assert ratio.low > 1
    own = ratio_unit("setting 1", "ratio", ratio)
    assert own.state is State.UNDECIDED
    assert own.flags == ("two kinds of runs (18 of 24 above)",)
    assert made_up.verdict(own).flags == ("two kinds of runs (18 of 24 above): setting 1",)
    assert ratio_unit("setting 1", "ratio", geometric_ratio([4.0] * 18 + [0.5] * 6, [1.0] * 24)).state is YES
    assert ratio_unit("setting 1", "ratio", geometric_ratio([4.0] * 18 + [4.0**-3] * 6, [1.0] * 24)).flags == ()


def test_every_state_has_words() -> None:
    assert set(claims.RULES) == set(State)


@pytest.mark.parametrize(
    ("judged", "otherwise", "same"),
    [
        ((YES, WEAK), (WEAK, YES), True),
        ((YES, NULL), (YES, REV), False),
        ((YES, NULL), (UNDECIDED, NULL), False),
        ((UNDECIDED, YES), (REV, YES), True),  # nothing was decided
        ((YES, REV), (MISSING, REV), True),
        ((), (), True),
    ],
)
def test_judged_otherwise(judged: tuple[State, ...], otherwise: tuple[State, ...], same: bool) -> None:
    assert agree(map(unit, judged), map(unit, otherwise)) is same


@given(st.floats(-3, 3), st.floats(0, 3))
def test_turning_a_ratio_round_turns_its_state(log_ratio: float, half: float) -> None:
    p = 0.01 if abs(log_ratio) > half else 0.5
    there = Interval(log_ratio, log_ratio - half, log_ratio + half, p, 6).exp()
    back = Interval(-log_ratio, -log_ratio - half, -log_ratio + half, p, 6).exp()
    if ratio_state(there) in (State.YES, State.WEAK):
        assert ratio_state(back) is State.REV
    if ratio_state(there) is State.NULL:
        assert ratio_state(back) is State.NULL


def units(*states: State, p: float = 0.001, **more: Any) -> list[Unit]:
    number = interval(1, 1, 1, p=p)
    return [unit(state, f"setting {k}", interval=number, **more) for k, state in enumerate(states, 1)]


@pytest.mark.parametrize(
    ("states", "word"),
    [
        ((YES, YES, YES), Word.REPRODUCED),
        ((YES, YES, MISSING), Word.UNMEASURABLE),
        ((NULL, REV, NULL), Word.NOT),
        ((YES, WEAK, REV), Word.PARTLY),
        ((WEAK, WEAK, WEAK), Word.PARTLY),
        ((YES, UNDECIDED, NULL), Word.PARTLY),
        ((UNDECIDED, NULL, REV), Word.UNMEASURABLE),
        ((), Word.UNMEASURABLE),
    ],
)
def test_verdicts(states: tuple[State, ...], word: Word) -> None:
    assert rule(units(*states)).word is word


def test_partly_needs_holm_and_names_where() -> None:
    mixed = [*units(YES, p=0.01), *units(NULL, NULL, p=0.5)]
    assert rule(mixed).where == ("setting 1",)
    assert str(rule(mixed)) == "partly reproduced (setting 1)"
    weak = [*units(YES, p=0.04), *units(NULL, NULL, p=0.5)]
    assert str(rule(weak)) == "not measurable here (undecided)"  # 3 x 0.04 > 0.05


def test_what_stands_beside_does_not_decide() -> None:
    assert rule([*units(YES, YES), *units(REV, MISSING, decides=False)]).word is Word.REPRODUCED


def ending(sgd: list[float], adam: list[float], diverged: tuple[int, ...] = ()) -> History:
    """A training whose run k has the zero predictor's loss until step 50 (k + 1), then the given one."""
    values = {"sgd": sgd, "adam": adam}

    def loss(seed: int, optimizer: str, step: int, lr: float) -> float:
        run = seed + (len(sgd) if optimizer == "adam" else 0)
        return values[optimizer][seed] if step >= (run + 1) * 50 else 5.0

    return made_up.history(loss, len(sgd), steps=1000, every=50, ends=end_steps(1000), diverged=diverged)


def test_c1_on_made_up_losses() -> None:
    history = ending([0.2, 0.22, 0.18, 0.21], [0.1, 0.1, 0.1, 0.1])
    budget = PROTOCOL
    verdict = c1.judge("published", "quick", made_up.judged(dict.fromkeys("123", history)), budget)
    first = verdict.units[0]
    assert made_up.number(first).estimate == pytest.approx(math.exp(np.log([2, 2.2, 1.8, 2.1]).mean()))
    assert (first.state, verdict.ruling.word) == (State.YES, Word.REPRODUCED)
    assert verdict.deviations == ()
    assert (verdict.checks, verdict.robust) == ({}, None)
    worse = {name: ending([0.1] * 4, [0.2, 0.3, 0.25, 0.2]) for name in "123"}
    turned = c1.judge("published", "quick", made_up.judged(worse), budget)
    assert turned.ruling.word is Word.NOT
    missing = c1.judge("published", "quick", made_up.judged({"1": history}), budget)
    assert [unit.state for unit in missing.units[:3]] == [YES, MISSING, MISSING]
    assert missing.ruling.word is Word.UNMEASURABLE


def test_runs_that_diverge_or_do_worse_count_as_the_zero_predictor() -> None:
    history = ending([0.2, math.inf, 50.0], [0.1, 0.1, 0.1], diverged=(1, 3))
    judged = common.judged_losses(history, 5.0)
    assert judged["loss"].tolist() == pytest.approx([0.2, 5.0, 5.0, 5.0, 0.1, 0.1])
    assert judged["counted_as_zero"].tolist() == [False, True, True, True, False, False]


def test_steps_to_a_target() -> None:
    history = ending([0.2, 3.0], [0.1, 0.1], diverged=(2,))
    taken = common.steps_to(history, 1.0)
    assert taken["steps"].tolist() == [50, 1000, 1000, 200]
    assert taken["censored"].tolist() == [False, True, True, False]


def test_target_lies_between_zero_predictor_and_floor() -> None:
    """f* is that of all trainings of a setting, whatever their reading."""
    history, other = ending([0.2, 0.4], [0.1, 0.05]), ending([0.2, 0.4], [0.1, 0.02])
    assert common.floor(history) == 0.05
    assert common.floor(history, other) == 0.02
    found = c1.compare("1", history, 0.05)
    assert found.target == pytest.approx(math.sqrt(5 * 0.05))
    assert made_up.number(found.steps.ratio()).bound == ""
    own, both = (c1.units_of("published", made_up.judged({"1": history}, tuned)) for tuned in ({}, {"1": other}))
    assert own[0] == both[0]
    assert [made_up.number(units[3]).bound for units in (own, both)] == ["", ">="], "the target has moved below 0.4"


def cooling(end: float, cooled: float) -> History:
    """Adam ends at 0.1 and cools to 0.01; SGD ends and cools at the given losses, with some spread over seeds."""

    def loss(seed: int, optimizer: str, step: int, lr: float) -> float:
        late = step > 1000
        value = (0.01 if late else 0.1) if optimizer == "adam" else (cooled if late else end)
        return 5.0 if step < 100 else value * (1 + 0.01 * seed)

    return made_up.history(loss, 6, steps=1000, every=50, ends=end_steps(1000))


@pytest.mark.parametrize(
    ("end", "cooled", "states", "robust"),
    [(0.3, 0.03, (YES, YES), True), (0.3, 0.01, (YES, NULL), False), (0.05, 0.03, (REV, YES), False)],
)
def test_the_cooled_reading_is_that_of_the_tuned_runs(
    end: float, cooled: float, states: tuple[State, State], robust: bool
) -> None:
    judged = made_up.judged({}, dict.fromkeys("123", cooling(end, cooled)))
    tuned, after = (c1.judge(reading, "quick", judged, PROTOCOL) for reading in ("tuned", "cooled"))
    assert (tuned.units[0].state, after.units[0].state) == states
    assert (tuned.checks, tuned.robust, after.robust) == ({"cooled": robust}, robust, None)
    assert ("not robust: cooled" in tuned.flags) is not robust
    assert all(unit.decides for unit in after.units), "no steps of a rate that falls"
    assert c1.judge("cooled", "quick", made_up.judged({}), PROTOCOL).ruling.word is Word.UNMEASURABLE


def taken(sgd: list[float], adam: list[float], tick: float = 50.0, horizon: float = 1000.0) -> Interval:
    """The ratio of steps of runs, those at the horizon censored."""
    rows = [(name, seed, steps) for name, all_of in (("sgd", sgd), ("adam", adam)) for seed, steps in enumerate(all_of)]
    table = pd.DataFrame(rows, columns=["optimizer", "seed", "steps"])
    return made_up.number(common.step_ratio(table.assign(censored=table["steps"] >= horizon, tick=tick)).ratio())


def test_steps_that_were_not_taken_are_bounds() -> None:
    """SGD never there: at least; Adam never there: at most; each once: nothing either way."""
    above, below = taken([1000.0] * 6, [100.0] * 6), taken([100.0] * 6, [1000.0] * 6)
    assert (above.bound, below.bound) == (">=", "<=")
    assert above.estimate == pytest.approx(10.0)
    assert (ratio_state(above), ratio_state(below)) == (YES, REV)
    assert taken([1000.0] + [400.0] * 5, [200.0] * 6).bound == ">="
    both = taken([1000.0, 400.0, 400.0], [200.0, 1000.0, 200.0])
    assert both.bound == "?"
    assert ratio_state(both) is UNDECIDED
    assert taken([400.0] * 6, [200.0] * 6).bound == ""
    assert interval_text(above).startswith("≥ 10 [")
    assert interval_text(below).startswith("≤ 0.1 [")
    assert ratio_unit("1", "steps", above).flags == ("lower bound",)


def test_no_interval_of_steps_is_narrower_than_their_grid() -> None:
    """50 against 100 steps in every seed, measured every 50, decides nothing; every 5 it does."""
    coarse, fine = taken([50.0] * 6, [100.0] * 6), taken([50.0] * 6, [100.0] * 6, tick=5.0)
    assert coarse.estimate == pytest.approx(0.5)
    assert math.log(coarse.high / coarse.low) == pytest.approx(2 * (0.5 + 0.25))
    assert ratio_state(coarse) is UNDECIDED
    assert math.log(fine.high / fine.low) == pytest.approx(2 * 0.075)
    assert ratio_state(fine) is REV
    same = taken([0.0] * 6, [0.0] * 6)
    assert same.low < 1 < same.high
    assert math.isnan(taken([50.0], [100.0]).low)


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 200)), min_size=2, max_size=12))
def test_ratios_of_steps_turn_round(pairs: list[tuple[int, int]]) -> None:
    sgd, adam = ([5.0 * value for value in values] for values in zip(*pairs, strict=True))
    there, back = taken(sgd, adam, 5.0), taken(adam, sgd, 5.0)
    assert there.low < there.estimate < there.high
    assert (there.low, there.high) == pytest.approx((1 / back.high, 1 / back.low))
    assert {">=": "<=", "<=": ">="}.get(there.bound, there.bound) == back.bound


def test_runs_that_end_above_the_zero_predictor_have_no_steps() -> None:
    history = ending([0.2, 6.0], [0.1, 0.1])
    falls = replace(history, frame=history.frame.assign(
        value=history.frame["value"].where((history.frame["step"] != 500) | (history.frame["run"] != 1), 0.5)
    ))  # fmt: skip
    assert common.steps_to(falls, 1.0)["steps"].tolist() == [50, 500, 150, 200]
    found = common.steps_to(falls, 1.0, zero_loss=5.0)
    assert found["steps"].tolist() == [50, 1000, 150, 200]
    assert found["censored"].tolist() == [False, True, False, False]
    assert found["tick"].tolist() == [50] * 4


def test_extents_differ_or_not() -> None:
    def gaps(*factors: float) -> dict[str, History]:
        spread = (1.0, 1.1, 0.9, 1.05, 0.95, 1.0)
        return {name: ending([0.1 * k * x for x in spread], [0.1] * 6) for name, k in zip("123", factors, strict=False)}

    assert c1.extents(gaps(1, 3, 8)) < 0.001
    assert c1.extents(gaps(3, 3.1, 2.9)) > 0.1
    assert math.isnan(c1.extents(gaps(1)))


def test_summary_says_not_reached() -> None:
    table = tables.losses({"1": ending([0.2, 0.2], [0.02, 0.02])})
    column = table.set_index("median over seeds")["Setting 1, SGD"]
    assert column["steps to 1"] == "75"
    assert column["steps to 0.1"] == "not reached"
    assert column["typical loss at T = 1,000"] == "2.00e-01"
    assert column["runs diverged"] == "0 of 2"
    assert table.set_index("median over seeds")["Setting 1, Adam"]["steps to 0.03"] == "175"


def test_deviations_are_named() -> None:
    asked = PROTOCOL
    small = replace(asked, settings=("1",), steps=40, clips=(1.0,), minima=0)
    assert common.deviations(small, asked) == (
        "settings not run: 2, 3",
        "horizon T of 40 steps instead of 10,000",
        "1 choice of clip instead of 2",
        "the grid alone: no rate is run to the horizon, and none is judged",
    )
    assert common.deviations(asked, asked) == ()
    assert common.deviations(SCALES["quick"], asked)
    assert not any("rates" in text for text in common.deviations(small, asked, tuned=False))


@pytest.mark.parametrize(
    ("loss", "steps", "state", "faster"),
    [
        (YES, WEAK, YES, "Adam"),
        (WEAK, REV, REV, "SGD"),
        (REV, YES, REV, "Adam"),
        (YES, UNDECIDED, WEAK, "neither"),
        (NULL, UNDECIDED, NULL, "neither"),
    ],
)
def test_speed_and_end_loss_may_disagree(loss: State, steps: State, state: State, faster: str) -> None:
    both = unit(loss), replace(unit(steps, "setting 1, steps to target", decides=False), keys=Keys(part="steps"))
    [found] = agreements(made_up.verdict(*both))
    assert (found.case, found.state, found.statistic, found.interval) == ("setting 1", state, faster, both[1].interval)


def verdict(scale: str = "quick", rules: str = "a", state: State = YES) -> Verdict:
    return made_up.verdict(*units(state, state), scale=scale, deviations=("less",), rules=rules)


def test_verdicts_on_disk(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert claims.verdict_frame(store=store).empty
    claims.record(verdict(), store)
    claims.record(verdict("paper", state=NULL), store)
    frame = claims.verdict_frame(store=store)
    assert list(frame.columns) == list(COLUMNS)
    final = frame[frame["case"] == "all"].set_index("scale")["verdict"]
    assert final.to_dict() == {"quick": "reproduced", "paper": "not reproduced"}
    assert list(claims.verdict_frame("quick", store)["case"]) == ["setting 1", "setting 2", "all"]
    records = json.loads(json.dumps(frame.to_dict("records"), allow_nan=False))  # finite or null
    assert records[-1]["estimate"] is None


def test_a_changed_rule_keeps_the_old_verdict_beside_the_new(tmp_path: Path) -> None:
    store = Store(tmp_path)
    claims.record(verdict(rules="a"), store)
    first = claims.verdicts_digest(store)
    claims.record(verdict(rules="a"), store)
    assert claims.verdicts_digest(store) == first
    assert claims.earlier_verdicts(store=store).empty
    claims.record(verdict(rules="b", state=REV), store)
    assert claims.verdicts_digest(store) != first
    old = claims.earlier_verdicts(store=store)
    assert old[old["case"] == "all"]["verdict"].tolist() == ["reproduced"]
    claims.record(verdict(rules="b", state=NULL), store)
    assert claims.earlier_verdicts(store=store)["verdict"].dropna().tolist() == ["reproduced"]


def test_kept_rows_say_what_a_program_asks(tmp_path: Path) -> None:
    """How many seeds, whether a case decides, bounds, flags, robustness, deviations, the rules' edition."""
    store = Store(tmp_path)
    steps = replace(unit(YES, "setting 1, steps"), interval=interval(3, 2, 4, n=5, bound=">="), decides=False)
    bimodal = unit(UNDECIDED, "setting 2", interval=interval(3, 1.1, 9, n=24, p=0.04, flip=0.06, above=18))
    checks = {"cooled": True, "matched loss": False}
    kept = made_up.verdict(unit(YES), bimodal, steps, deviations=("less",), checks=checks)
    claims.record(kept, store)
    rows = json.loads(json.dumps(claims.verdict_frame(store=store).to_dict("records"), allow_nan=False))
    assert [row["n"] for row in rows] == [6, 24, 5, None]
    assert [row["decides"] for row in rows] == [True, True, False, None]
    assert [row["bound"] for row in rows] == ["", "", ">=", None]
    assert [row["robust"] for row in rows] == [None, None, None, False]
    assert [row["edition"] for row in rows] == [2] * 4
    assert [row["deviations"] for row in rows] == [["less"]] * 4
    two = "two kinds of runs (18 of 24 above)"
    assert [row["flags"] for row in rows] == [
        [], [two], ["lower bound", "few seeds (5)"], ["not robust: matched loss", f"{two}: setting 2"],
    ]  # fmt: skip
    text = kept.markdown()
    assert f"> *Two kinds{two[9:]}: setting 2.*" in text
    assert "Not robust: matched loss" in text
    assert "Robust: the same under cooled" in replace(kept, checks={"cooled": True}).markdown()


def test_infinite_numbers_become_null(tmp_path: Path) -> None:
    store = Store(tmp_path)
    claims.record(made_up.verdict(unit(UNDECIDED, interval=interval(math.inf, math.nan, math.inf))), store)
    row = claims.verdict_frame(store=store).iloc[0]
    assert (row["estimate"], row["low"], row["high"]) == (None, None, None)


def test_damaged_verdicts_are_left_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    claims.record(verdict(), store)
    [file] = (tmp_path / "verdicts").rglob("*.json")
    file.write_text(file.read_text()[:-30])
    assert claims.verdict_frame(store=store).empty
    claims.record(verdict(), store)
    assert not claims.verdict_frame(store=store).empty


def test_files_that_are_no_verdicts_are_left_out_and_written_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    claims.record(verdict(), store)
    [file] = (tmp_path / "verdicts").rglob("*.json")
    text = file.read_text()
    whole = json.loads(text)
    now, rows = whole["now"], whole["now"]["rows"]
    others: list[Any] = [
        [], 3, None, {}, {"now": []}, {"now": {"rows": [], "rules": ""}, "before": None}, {**whole, "before": 3},
        {**whole, "now": {**now, "rules": None}},
    ]  # fmt: skip
    changed: list[Any] = [3, [3], [{}], rows[:1], [*rows[:-1], {**rows[0], "low": ""}]]
    others += [{**whole, "now": {**now, "rows": odd}} for odd in changed]
    damaged = ["", "[" * 100_000, "\0" * 50, text.replace('"estimate": ', '"estimate": NaN, "x": '), text + text]
    for content in (*damaged, *map(json.dumps, others)):
        file.write_text(content)
        assert claims.verdict_frame("quick", store).empty, content[:200]
        assert claims.verdict_records("quick", store) == {}
        claims.verdicts_digest(store)
        claims.record(verdict(), store)
        assert json.loads(file.read_text())["now"]["rows"] == rows


def test_overview_and_box(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    assert all(set(re.findall(r"\*: (.*)", text)) == {"not judged yet"} for text in cards({}, "quick").values())
    claims.record(verdict(rules="a"))
    claims.record(verdict(rules="b", state=REV))
    published, *others = re.findall(r"- (.*)", cards(verdict_records("quick"), "quick")["C1"])[:3]
    assert published == "*published*: **reversed in 2 of 2**: 1.00, 1.00 (under earlier rules: reproduced)"
    assert others == ["*tuned*: not judged yet", "*cooled*: not judged yet"]
    box = wording.box(verdict())
    assert box.startswith("> **C1, published reading, scale *quick*: holds in 2 of 2: 1.00, 1.00.**")
    assert "> - less" in box


def test_interval_texts() -> None:
    assert interval_text(None) == "not measured"
    assert interval_text(interval(2, 1, 3)) == "2 [1, 3]"
    assert "no interval" in interval_text(Interval(2.0, math.nan, math.nan, math.nan, 1))
    assert interval_text(interval(1.03, 1.0004, 1.2496)) == "1.03 [1.0004, 1.2496]", "not rounded onto a threshold"
    assert interval_text(interval(1.0, 1.0, 1.25)) == "1 [1, 1.25]"
    assert interval_text(interval(math.inf, 0.80002, math.inf)) == "inf [0.80002, inf]"


def test_every_case_of_c1_is_a_setting() -> None:
    assert set(common.CASES) <= set(SETTINGS)


@pytest.mark.parametrize("name", sorted(path.stem for path in Path(claims.__path__[0]).glob("*.py")))
def test_claims_judge_and_neither_train_nor_measure(name: str) -> None:
    """No module of the claims imports what trains, stores results or measures; its digest covers no kernel."""
    module = claims.__name__ + ("" if name == "__init__" else f".{name}")
    closure = {found.removeprefix("lintrans.") for found in code().closure(module)}
    assert not {"paper.protocol", "training.train", "diagnostics.noise", "diagnostics.along"} & closure
    assert not [found for found in closure if found.startswith(("paper.measure", "engines.c", "engines.reference"))]
    for node in ast.walk(ast.parse((Path(claims.__path__[0]) / f"{name}.py").read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            path = f"{node.module or ''}.{'.'.join(alias.name for alias in node.names)}."
            assert not any(f"{away}." in path for away in ("protocol", "store.results", "measure"))


@pytest.mark.parametrize("name", [f"c{number}" for number in range(1, 17)])
def test_a_verdicts_digest_covers_rules_budgets_and_settings(name: str) -> None:
    closure = {found.removeprefix("lintrans.") for found in code().closure(f"{claims.__name__}.{name}")}
    assert {"statistics", "paper.claims.rules", "paper.scales", "paper.budgets", "paper.problems"} <= closure
