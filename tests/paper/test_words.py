"""Sentences of units: every state has words, and the numbers are those of the unit."""

from __future__ import annotations

import pytest
from made_up import interval, unit, verdict

from lintrans.paper.claims import State
from lintrans.paper.pages.words import NOT_MEASURED, UNDECIDED, said, sized, tally, together

WORDS = {"yes": "Y", "weak": "W", "null": "N", "rev": "R"}


@pytest.mark.parametrize(
    ("state", "words"), list(zip(State, ("Y", "W", "N", "R", UNDECIDED, NOT_MEASURED), strict=True))
)
def test_every_state_has_words_and_the_units_number(state: State, words: str) -> None:
    text = said([unit(state, "setting 2, A")], line="{Case}|{case}|{words}|{interval}|{statistic}|{state}", **WORDS)
    numbers = f"setting 2, A|{words}|2 [1, 3]|ratio|{state}"
    assert text == (f"- Setting 2, A: {words}." if state is State.MISSING else f"Setting 2, A|{numbers}")


@pytest.mark.parametrize("left_out", list(WORDS))
def test_words_for_a_state_cannot_be_forgotten(left_out: str) -> None:
    with pytest.raises(TypeError, match=left_out):
        said([], **{name: words for name, words in WORDS.items() if name != left_out})


def test_units_that_decide_speak_for_a_verdict() -> None:
    beside = unit(State.REV, "beside", decides=False)
    judged = verdict(unit(State.YES, "a"), unit(State.NULL, "b", interval=interval(1, 0.9, 1.1)), beside)
    assert said(judged, line="{words} {interval}", **{**WORDS, "yes": "{case}"}) == "a 2 [1, 3]\nN 1 [0.9, 1.1]"
    assert said([beside], line="{words}", **WORDS) == "R"


def test_titles_count_cases_by_words() -> None:
    units = [unit(state) for state in (State.YES, State.REV, State.WEAK, State.UNDECIDED)]
    text = tally(units, "cases", yes="lower", weak="lower", null="alike", rev="higher", undecided="open")
    assert text == "lower in 2, higher in 1, open in 1 of 4 cases"
    assert tally(verdict(*units), **WORDS) == f"Y in 1, W in 1, R in 1, {UNDECIDED} in 1 of 4 settings"
    assert tally([], **WORDS) == ""


def test_a_sentence_may_count() -> None:
    rows = [{"state": state, "case": "a", "estimate": None} for state in (State.YES, State.YES, State.REV)]
    words = {**WORDS, "yes": "{count} of {total} hold"}
    assert sized(rows, where="", **words) == "2 of 3 hold; R"


def test_units_have_the_sizes_of_the_rows_that_are_kept() -> None:
    units = [unit(State.YES, "setting 1"), unit(State.YES, "setting 3"), unit(State.MISSING, "setting 2")]
    words = {**WORDS, "yes": "{sizes}", "missing": "none"}
    rows = verdict(*units).rows()[:-1]
    assert sized(units, **words) == sized(rows, **words) == "2.0 and 2.0 in settings 1 and 3; none in setting 2"


@pytest.mark.parametrize(
    ("cases", "text"),
    [
        (["setting 1", "setting 3"], "settings 1 and 3"),
        (["softmax, SGD", "softmax, Adam", "linear, SGD"], "softmax (SGD, Adam) and linear (SGD)"),
        (["softmax over all keys", "softmax over visible keys"], "softmax over all keys and softmax over visible keys"),
        (["setting 2", "setting 3, 10,000 steps", "L = 4"], "setting 2, setting 3 (10,000 steps) and L = 4"),
        (["L = 6, 8 against 2, 4", "L = 8 against 2"], "L = 6, 8 against 2, 4 and L = 8 against 2"),
        (["setting 2, one a kind", "setting 2, 10,000 steps, one for all"],
         "setting 2 (one a kind; 10,000 steps, one for all)"),
        ([], ""),
    ],
)  # fmt: skip
def test_cases_that_begin_alike_are_named_together(cases: list[str], text: str) -> None:
    assert together(cases) == text
