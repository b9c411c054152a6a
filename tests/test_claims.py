"""States and verdicts on made-up data that should and should not pass; verdicts on disk."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lintrans as lt
from lintrans import claims
from lintrans.claims import Keys, State, Unit, Verdict, Word, c1, c1_page, common, ratio_state, rule, scorecard
from lintrans.claims.records import COLUMNS, interval_text
from lintrans.problems import SETTINGS
from lintrans.protocol import COARSE_LOSS, LOSS, end_steps
from lintrans.scales import PROTOCOL, SCALES
from lintrans.statistics import Interval
from lintrans.store import Store


def interval(low: float, estimate: float, high: float, p: float = 0.001) -> Interval:
    return Interval(estimate, low, high, p, 6)


@pytest.mark.parametrize(
    ("ratio", "state"),
    [
        (interval(1.1, 1.3, 1.5), State.YES),
        (interval(1.01, 1.25, 1.5), State.YES),
        (interval(1.1, 1.2, 1.3), State.WEAK),
        (interval(1.05, 1.1, 1.2), State.WEAK),  # inside 0.8 to 1.25 too: WEAK goes first
        (interval(0.9, 1.0, 1.1), State.NULL),
        (interval(0.8, 1.0, 1.25), State.NULL),
        (interval(0.85, 0.9, 0.95), State.REV),  # inside 0.8 to 1.25 too: REV goes first
        (interval(0.3, 0.5, 0.9), State.REV),
        (interval(0.7, 1.0, 1.4), State.UNDECIDED),
        (interval(math.nan, 3.0, math.nan), State.UNDECIDED),
        (interval(math.nan, math.nan, math.nan), State.MISSING),
        (None, State.MISSING),
    ],
)
def test_states(ratio: Interval | None, state: State) -> None:
    assert ratio_state(ratio) is state


def test_censoring_leaves_a_unit_undecided() -> None:
    assert ratio_state(interval(2, 3, 4), censored=True) is State.UNDECIDED


@given(st.floats(-3, 3), st.floats(0, 3))
def test_turning_a_ratio_round_turns_its_state(log_ratio: float, half: float) -> None:
    there = Interval(log_ratio, log_ratio - half, log_ratio + half, 0.01, 6).exp()
    back = Interval(-log_ratio, -log_ratio - half, -log_ratio + half, 0.01, 6).exp()
    if ratio_state(there) in (State.YES, State.WEAK):
        assert ratio_state(back) is State.REV
    if ratio_state(there) is State.NULL:
        assert ratio_state(back) is State.NULL


def units(*states: State, p: float = 0.001, **more: Any) -> list[Unit]:
    return [Unit(f"setting {k}", "ratio", interval(1, 1, 1, p), state, **more) for k, state in enumerate(states, 1)]


YES, WEAK, NULL, REV, UNDECIDED, MISSING = State


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


def made_up(sgd: list[float], adam: list[float], steps: int = 1000, diverged: tuple[int, ...] = ()) -> lt.History:
    """A history whose runs sit at the given typical losses from half way on."""
    runs = lt.grid(optimizer="sgd", lr=0.1, seed=range(len(sgd))) + lt.grid(
        optimizer="adam", lr=0.1, seed=range(len(adam))
    )
    table = runs.frame.assign(skipped=0, clipped=0, diverged=[7 if k in diverged else -1 for k in range(len(runs))])
    rows = []
    for run, loss in enumerate([*sgd, *adam]):
        for step in range(0, steps + 1, 50):
            rows.append((run, step, COARSE_LOSS, 5.0 if step < (run + 1) * 50 else loss))
        for step in (*end_steps(steps), steps + steps // 5):
            rows.append((run, step, LOSS, loss))
    frame = pd.DataFrame(rows, columns=["run", "step", "metric", "value"]).merge(table, on="run")
    return lt.History(frame, table, {}, steps)


def test_c1_on_made_up_losses() -> None:
    history = made_up([0.2, 0.22, 0.18, 0.21], [0.1, 0.1, 0.1, 0.1])
    budget = PROTOCOL
    verdict = c1.judge("published", "quick", dict.fromkeys("123", history), budget)
    first = verdict.units[0]
    assert first.interval is not None
    assert first.interval.estimate == pytest.approx(math.exp(np.log([2, 2.2, 1.8, 2.1]).mean()))
    assert (first.state, verdict.ruling.word) == (State.YES, Word.REPRODUCED)
    assert verdict.deviations == ()
    turned = c1.judge("published", "quick", {name: made_up([0.1] * 4, [0.2, 0.3, 0.25, 0.2]) for name in "123"}, budget)
    assert turned.ruling.word is Word.NOT
    missing = c1.judge("published", "quick", {"1": history}, budget)
    assert [unit.state for unit in missing.units[:3]] == [YES, MISSING, MISSING]
    assert missing.ruling.word is Word.UNMEASURABLE


def test_runs_that_diverge_or_do_worse_count_as_the_zero_predictor() -> None:
    history = made_up([0.2, math.inf, 50.0], [0.1, 0.1, 0.1], diverged=(1, 3))
    judged = common.judged_losses(history, 5.0)
    assert judged["loss"].tolist() == pytest.approx([0.2, 5.0, 5.0, 5.0, 0.1, 0.1])
    assert judged["counted_as_zero"].tolist() == [False, True, True, True, False, False]


def test_steps_to_a_target() -> None:
    history = made_up([0.2, 3.0], [0.1, 0.1], diverged=(2,))
    taken = common.steps_to(history, 1.0)
    assert taken["steps"].tolist() == [50, 1000, 1000, 200]
    assert taken["censored"].tolist() == [False, True, True, False]


def test_target_lies_between_zero_predictor_and_floor() -> None:
    found = c1.compare("1", made_up([0.2, 0.3], [0.1, 0.05]))
    assert found.floor == 0.05
    assert found.target == pytest.approx(math.sqrt(5 * 0.05))
    assert not found.censored
    assert c1.compare("1", made_up([4.0, 4.0], [4.9, 4.9])).floor == 4.0


def test_summary_says_not_reached() -> None:
    table = c1_page.summary({"1": made_up([0.2, 0.2], [0.02, 0.02])})
    column = table.set_index("median over seeds")["Setting 1, SGD"]
    assert column["steps to 1"] == "75"
    assert column["steps to 0.1"] == "not reached"
    assert column["typical loss at T = 1,000"] == "2.00e-01"
    assert column["runs diverged"] == "0 of 2"
    assert table.set_index("median over seeds")["Setting 1, Adam"]["steps to 0.03"] == "175"


def test_deviations_are_named() -> None:
    asked = PROTOCOL
    small = replace(asked, settings=("1",), steps=40, clips=(1.0,), finalists=0)
    assert common.deviations(small, asked) == (
        "settings not run: 2, 3",
        "horizon T of 40 steps instead of 10,000",
        "1 choice of clip instead of 2",
        "the grid alone: no rate is run to the horizon, and none is judged",
    )
    assert common.deviations(asked, asked) == ()
    assert common.deviations(SCALES["quick"], asked)
    assert not any("rates" in text for text in common.deviations(small, asked, tuned=False))


@pytest.mark.parametrize("state", State)
def test_every_state_has_words(state: State) -> None:
    unit = Unit("setting 1", c1.LOSS_RATIO, None if state is MISSING else interval(1, 2, 3), state)
    text = c1_page.describe(Verdict("C1", "published", "quick", "adam_vs_sgd", (unit,), rule([unit])))
    assert text.startswith("- Setting 1: ")
    assert state in claims.RULES
    assert ("2 [1, 3]" in text) == (state is not MISSING)


@pytest.mark.parametrize(
    ("loss", "steps", "words"),
    [
        (YES, WEAK, "speed and end loss agree"),
        (WEAK, REV, "speed and end loss **disagree**: SGD is faster to the target, Adam ends lower"),
        (REV, YES, "speed and end loss **disagree**: Adam is faster to the target, SGD ends lower"),
        (YES, UNDECIDED, "only one of speed and end loss decides"),
        (NULL, UNDECIDED, "neither speed nor end loss favours one of them"),
    ],
)
def test_speed_and_end_loss_may_disagree(loss: State, steps: State, words: str) -> None:
    both = (
        Unit("setting 1", c1.LOSS_RATIO, interval(1, 2, 3), loss),
        Unit("setting 1, steps to target", c1.STEP_RATIO, interval(2, 4, 6), steps, False, Keys(part="steps")),
    )
    text = c1_page.describe_speed(Verdict("C1", "published", "quick", "adam_vs_sgd", both, rule(both)))
    assert text == f"- Setting 1: {words}; SGD takes 4 [2, 6] times Adam's steps."


def verdict(scale: str = "quick", rules: str = "a", state: State = YES) -> Verdict:
    made = tuple(units(state, state))
    return Verdict("C1", "published", scale, "adam_vs_sgd", made, rule(made), ("less",), rules)


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


def test_infinite_numbers_become_null(tmp_path: Path) -> None:
    store = Store(tmp_path)
    wild = (Unit("setting 1", "ratio", Interval(math.inf, math.nan, math.inf, math.nan, 1), UNDECIDED),)
    claims.record(Verdict("C1", "tuned", "quick", "x", wild, rule(wild)), store)
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


def test_overview_and_box(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    verdicts = scorecard.overview("quick")["verdict"]
    assert all(set(re.findall(r": ([^;]*)", text)) == {"not judged yet"} for text in verdicts)
    claims.record(verdict(rules="a"))
    claims.record(verdict(rules="b", state=REV))
    text = scorecard.overview("quick").set_index("claim").loc["C1", "verdict"]
    assert text == "*published*: not reproduced (under earlier rules: reproduced); *tuned*: not judged yet"
    box = verdict().markdown()
    assert box.startswith("> **C1, published reading, scale *quick*: reproduced.**")
    assert "> - less" in box


def test_interval_texts() -> None:
    assert interval_text(None) == "not measured"
    assert interval_text(interval(1, 2, 3)) == "2 [1, 3]"
    assert "no interval" in interval_text(Interval(2.0, math.nan, math.nan, math.nan, 1))


def test_every_case_of_c1_is_a_setting() -> None:
    assert set(common.CASES) <= set(SETTINGS)
