"""States and verdicts on made-up data that should and should not pass; verdicts on disk."""

from __future__ import annotations

import ast
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import interval, unit

from lintrans import History
from lintrans.paper import claims
from lintrans.paper.claims import Keys, State, Unit, Verdict, Word, c1, common, ratio_state, rule, scorecard
from lintrans.paper.claims.records import COLUMNS, interval_text
from lintrans.paper.pages import common as tables
from lintrans.paper.pages.adam_vs_sgd import agreements
from lintrans.paper.problems import SETTINGS
from lintrans.paper.protocol import end_steps
from lintrans.paper.scales import PROTOCOL, SCALES
from lintrans.statistics import Interval
from lintrans.store.sources import code
from lintrans.store.store import Store


@pytest.mark.parametrize(
    ("ratio", "state"),
    [
        (interval(1.3, 1.1, 1.5), State.YES),
        (interval(1.25, 1.01, 1.5), State.YES),
        (interval(1.2, 1.1, 1.3), State.WEAK),
        (interval(1.1, 1.05, 1.2), State.WEAK),  # inside 0.8 to 1.25 too: WEAK goes first
        (interval(1.0, 0.9, 1.1), State.NULL),
        (interval(1.0, 0.8, 1.25), State.NULL),
        (interval(0.9, 0.85, 0.95), State.REV),  # inside 0.8 to 1.25 too: REV goes first
        (interval(0.5, 0.3, 0.9), State.REV),
        (interval(1.0, 0.7, 1.4), State.UNDECIDED),
        (interval(3.0, math.nan, math.nan), State.UNDECIDED),
        (interval(math.nan, math.nan, math.nan), State.MISSING),
        (None, State.MISSING),
    ],
)
def test_states(ratio: Interval | None, state: State) -> None:
    assert ratio_state(ratio) is state


def test_censoring_leaves_a_unit_undecided() -> None:
    assert ratio_state(interval(3, 2, 4), censored=True) is State.UNDECIDED
    assert set(claims.RULES) == set(State)


@given(st.floats(-3, 3), st.floats(0, 3))
def test_turning_a_ratio_round_turns_its_state(log_ratio: float, half: float) -> None:
    there = Interval(log_ratio, log_ratio - half, log_ratio + half, 0.01, 6).exp()
    back = Interval(-log_ratio, -log_ratio - half, -log_ratio + half, 0.01, 6).exp()
    if ratio_state(there) in (State.YES, State.WEAK):
        assert ratio_state(back) is State.REV
    if ratio_state(there) is State.NULL:
        assert ratio_state(back) is State.NULL


def units(*states: State, p: float = 0.001, **more: Any) -> list[Unit]:
    number = interval(1, 1, 1, p=p)
    return [unit(state, f"setting {k}", interval=number, **more) for k, state in enumerate(states, 1)]


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
    verdict = c1.judge("published", "quick", dict.fromkeys("123", history), budget)
    first = verdict.units[0]
    assert made_up.number(first).estimate == pytest.approx(math.exp(np.log([2, 2.2, 1.8, 2.1]).mean()))
    assert (first.state, verdict.ruling.word) == (State.YES, Word.REPRODUCED)
    assert verdict.deviations == ()
    turned = c1.judge("published", "quick", {name: ending([0.1] * 4, [0.2, 0.3, 0.25, 0.2]) for name in "123"}, budget)
    assert turned.ruling.word is Word.NOT
    missing = c1.judge("published", "quick", {"1": history}, budget)
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
    found = c1.compare("1", ending([0.2, 0.3], [0.1, 0.05]))
    assert found.floor == 0.05
    assert found.target == pytest.approx(math.sqrt(5 * 0.05))
    assert not found.censored
    assert c1.compare("1", ending([4.0, 4.0], [4.9, 4.9])).floor == 4.0


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


def test_overview_and_box(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    verdicts = scorecard.overview("quick")["verdict"]
    assert all(set(re.findall(r": ([^<]*)", text)) == {"not judged yet"} for text in verdicts)
    claims.record(verdict(rules="a"))
    claims.record(verdict(rules="b", state=REV))
    text = scorecard.overview("quick").set_index("claim").loc["C1", "verdict"]
    published, *others = text.split("<br>")
    assert (
        published == "*published*: **not reproduced**; reversed in 2 of 2: 1.00, 1.00 (under earlier rules: reproduced)"
    )
    assert others == ["*tuned*: not judged yet", "*cooled*: not judged yet"]
    box = verdict().markdown()
    assert box.startswith("> **C1, published reading, scale *quick*: reproduced.**")
    assert "> - less" in box


def test_interval_texts() -> None:
    assert interval_text(None) == "not measured"
    assert interval_text(interval(2, 1, 3)) == "2 [1, 3]"
    assert "no interval" in interval_text(Interval(2.0, math.nan, math.nan, math.nan, 1))


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
