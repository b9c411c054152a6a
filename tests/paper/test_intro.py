"""The front page and the chapters' template say what the states say, whatever they are."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from made_up import interval, unit, verdict

import lintrans as lt
from lintrans.paper.claims import State, Unit, Verdict, stability
from lintrans.paper.claims.scorecard import CLAIMS
from lintrans.paper.claims.wording import AGREEING, Record, cases, record_of
from lintrans.paper.pages import adam_vs_sgd, intro, template
from lintrans.paper.pages.words import GAP, sized

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State
NUMBERS = {YES: 2.0, WEAK: 1.1, NULL: 1.0, REV: 0.5, UNDECIDED: 1.3}


@pytest.fixture(autouse=True)
def no_comparison(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(stability, "PATH", tmp_path / "none.json")
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    stability.read.cache_clear()


def units(states: Iterable[State]) -> list[Unit]:
    found = []
    for number, state in enumerate(states, 1):
        own = None if state is MISSING else interval(NUMBERS[state], 0.4, 3, kind="ratio")
        found.append(unit(state, f"setting {number}", interval=own))
    return found


def judged(states: Sequence[State], claim: str = "C1", reading: str = "published") -> Record:
    return record_of(verdict(*units(states), claim=claim, reading=reading))


TRIPLES = list(itertools.product(State, repeat=3))


def test_every_case_is_told_once_under_its_own_words() -> None:
    words = {
        "yes": "Y {sizes}",
        "weak": "W {sizes}",
        "null": "N",
        "rev": "R {inverse}",
        "undecided": "U",
        "missing": "M",
    }
    letters = dict(zip(State, "YWNRUM", strict=True))
    for states in TRIPLES:
        text = sized(cases(judged(states)), **words)
        told: dict[str, str] = {}
        for part in text.split("; "):
            start, _, settings = part.partition(" in setting")
            told |= dict.fromkeys(re.findall(r"\d", settings), start[0])
            assert "{" not in part
            assert ("2.0x" in start) == (start[0] in "YR"), "reversed, SGD is twice as good"
        assert told == {str(k): letters[state] for k, state in enumerate(states, 1)}


def test_the_first_sentence_counts_what_holds() -> None:
    answers = set()
    for states in TRIPLES:
        text = intro.symptoms({("C1", "published"): judged(states)})
        measured = [state for state in states if state is not MISSING]
        agree = sum(state in AGREEING for state in measured)
        if not measured:
            assert "Not measured yet" in text
            continue
        assert f"{agree} of {len(measured)} cases" in text
        assert ("(C1 in full)" in text) == all(state in AGREEING for state in states)
        answers.add((agree / len(measured), text.split(": ")[1].split(".")[0]))
    found = dict(sorted(answers))
    assert len(found) == len(answers), "one answer for one share"
    assert (found[0.0], found[1 / 3], found[2 / 3], found[1.0]) == ("no", "in part", "mostly", "yes")


def test_the_second_sentence_compares_case_by_case() -> None:
    for before, now in itertools.product(TRIPLES[::5], repeat=2):
        records = {("C1", "published"): judged(before), ("C1", "tuned"): judged(now, reading="tuned")}
        text = intro.choices(records)
        pairs = [pair for pair in zip(before, now, strict=True) if MISSING not in pair]
        moved = [pair for pair in pairs if (pair[0] in AGREEING) != (pair[1] in AGREEING)]
        lost = sum(first in AGREEING for first, _ in moved)
        if not pairs:
            assert "Not measured yet" in text
        elif moved:
            assert f"in {len(moved)} of {len(pairs)} cases** (C1: {lost} lost, {len(moved) - lost} won)" in text
        else:
            assert "in no case" in text


def test_the_third_sentence_puts_every_cause_in_one_group() -> None:
    for states in itertools.product(State, repeat=3):
        records = {
            (claim, "tuned"): judged([state], claim, "tuned")
            for claim, state in zip(("C7", "C9", "C12"), states, strict=True)
        }
        text = intro.causes(records)
        if set(states) == {MISSING}:
            assert "Not measured yet" in text
            continue
        held = sum(state in AGREEING for state in states)
        assert text.startswith(f"**To explain them: {({3: 'yes', 0: 'not yet'}).get(held, 'in part')}.**")
        assert [text.count(f"({claim}") for claim in ("C7", "C9", "C12")] == [1, 1, 1]
        groups = {
            name: len(re.findall(r"\(C", part))
            for name, part in re.findall(r"\*(holds|does not hold|is open)\*: ([^;]*)", text)
        }
        assert groups.get("holds", 0) == held
        assert groups.get("does not hold", 0) == sum(state in (NULL, REV) for state in states)


@pytest.mark.parametrize(
    ("published", "tuned", "card"),
    [
        ([YES, WEAK], [YES, YES], "What holds"),
        ([YES, YES, UNDECIDED], [YES, YES, YES], "What holds"),
        ([YES, YES], [YES, REV], "What depends on a choice"),
        ([YES, YES], [UNDECIDED, UNDECIDED], "What depends on a choice"),
        ([NULL, NULL], [REV, REV], "What does not hold"),
        ([UNDECIDED, REV], [UNDECIDED, UNDECIDED], "What does not hold"),
        ([UNDECIDED, MISSING], [UNDECIDED, UNDECIDED], ""),
    ],
)
def test_a_claim_is_on_one_card(published: list[State], tuned: list[State], card: str) -> None:
    records = {("C1", "published"): judged(published), ("C1", "tuned"): judged(tuned, reading="tuned")}
    found = intro.cards(records)
    assert [name for name, lines in found.items() if lines] == [card] * bool(card)
    if card:
        [[line]] = filter(None, found.values())
        assert "(scorecard.md#c1)" in line
        assert f"{sum(state in AGREEING for state in published)} of {len(published)}" in line


def test_cards_are_short_and_nothing_missing_stops_the_page() -> None:
    assert set(intro.SHORT) == {name for name, claim in CLAIMS.items() if claim.GROUP != "practice"} - {"C17"}
    every = {(claim, CLAIMS[claim].READINGS[0]): judged([YES], claim) for claim in intro.SHORT}
    found = intro.cards(every)
    assert len(found["What holds"]) == intro.LINES
    predicted = [claim for claim in every if claim[0].startswith("F")]
    assert f"{len(every) - len(predicted) - intro.LINES + 1} more" in found["What holds"][-1]
    assert [re.findall(r"#(f\d+)", line) for line in found[intro.PREDICTED]] == [[c.lower()] for c, _ in predicted]
    assert intro.grid(found).count(":columns: 12") == 1
    assert intro.answer({}).count("Not measured yet") == 3
    for claim in intro.SHORT:
        assert claim in intro.missing({})
    assert "Nothing so far" in intro.grid(intro.cards({}))
    assert intro.curves(lt.settings.scale("quick"), {}) == {}
    assert intro.practice({}).empty


def test_practice_beside_the_proxy() -> None:
    table = intro.practice({("P1", "published"): judged([YES], "P1"), ("C1", "published"): judged([WEAK])})
    assert table.iloc[0].tolist()[1:] == ["holds: 2.0x", "holds (small): 1.1x", "not judged yet"]


def lamp(name: str, *verdicts: Verdict) -> tuple[int, int, str]:
    found = template.lamps(verdicts)[name]
    return found.kept, found.of, found.light[1]


def test_lamps_count_checks() -> None:
    one = verdict(
        *units([YES]), checks={"cooled": False, "fixed batch": True, "per block": True, "matched loss": False}
    )
    assert lamp("convention", one) == (1, 2, "depends")
    assert lamp("test batch", one) == (1, 1, "steady")
    assert lamp("horizon", one) == (0, 1, "fragile")
    assert lamp("seeds", one) == (0, 0, "not checked")
    assert lamp("horizon", one, verdict(*units([YES]), checks={"cooled": True})) == (1, 2, "depends")
    page = template.fragile([one], horizon=template.Lamp(2, 2, "settings"))
    assert "horizon: steady" in page
    assert "2 of 2 settings" in page
    ElementTree.fromstring(f"<div>{page}</div>")


def test_a_chapter_in_its_template() -> None:
    one = verdict(*units([YES, REV]))
    line = template.headline({"Here": one}, **GAP)
    assert line == "> **Here** Adam ends 2.0x lower than SGD in setting 1; SGD ends 2.0x lower than Adam in setting 2."
    page = template.mini_forest([one, verdict(*units([WEAK]), reading="tuned")])
    assert page.count('role="rowheader"') == 2
    assert "1 holds, 1 reversed" in page
    folded = template.all_numbers({"A": pd.DataFrame({"x": ["1"]})}, notes=["more"])
    assert re.fullmatch(r"::::\{dropdown\} All numbers\n\nA\n\n(\|.*\n)+\nmore\n\n::::", folded)
    assert adam_vs_sgd.title(one) == "Adam ends lower in 1 and SGD ends lower in 1 of 2 settings"
    assert adam_vs_sgd.title(verdict(*units([NULL]))) == "Neither is seen to end lower of 1 settings"


def test_who_needs_the_clip() -> None:
    row = {"setting": "1", "low": 2.0, "high": 4.0, "estimate": 3.0, "lost": 0, "seeds": 6}
    other = {**row, "arm": "adam, no clip", "label": "Adam, no clip", "low": 0.9, "high": 1.2, "lost": 1}
    text = adam_vs_sgd.without_clip(pd.DataFrame([{**row, "arm": "sgd, no clip", "label": "SGD, no clip"}, other]))
    assert "SGD needs it" in text
    assert "Adam is not seen to need it" in text
    assert "1 of 6 runs diverge" in text
    lost = pd.DataFrame([{**other, "low": math.nan}])
    assert "no interval" in adam_vs_sgd.without_clip(lost)
