"""C17 from made-up verdicts of other claims, and the pages that show all claims."""

from __future__ import annotations

import ast
import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import made_up
import pytest
from conftest import ROOT
from made_up import unit

from lintrans.paper import claims
from lintrans.paper.claims import Keys, Ruling, State, Unit, Verdict, Word, c8, c17, contradictions, rule, scorecard
from lintrans.paper.claims.c17 import INPUTS
from lintrans.paper.claims.records import keys_of, verdict_records
from lintrans.paper.claims.rules import word_of
from lintrans.paper.figures import cases
from lintrans.paper.pages.scorecard import cards
from lintrans.publish.chapters import pages
from lintrans.store.store import Store

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State
INIT = ("C6", "C11")


def judged(claim: str, state: State, reading: str = "tuned", scale: str = "paper", short: bool = False) -> Verdict:
    deviations = ("fewer seeds",) if short else ()
    return made_up.verdict(unit(state), claim=claim, reading=reading, scale=scale, deviations=deviations, rules="r")


def gap(state: State, reading: str = "tuned", scale: str = "paper", bound: str = "") -> Verdict:
    """C8 with D in that state, which does not decide."""
    number = replace(made_up.interval(2, 1, 3), bound=bound)
    own = {} if state is MISSING else {"interval": number}
    units = unit(YES, "SGD"), unit(state, c8.GROWTH, c8.GAP, decides=False, **own)
    return made_up.verdict(*units, claim="C8", reading=reading, scale=scale, rules="r")


def kept(tmp_path: Path, *verdicts: Verdict) -> Store:
    store = Store(tmp_path)
    for verdict in verdicts:
        claims.record(verdict, store)
    return store


def all_of(state: State, reading: str = "tuned", **other: State) -> list[Verdict]:
    return [judged(claim, other.get(claim, state), "init" if claim in INIT else reading) for claim in INPUTS]


@pytest.mark.parametrize(
    ("inputs", "d", "words"),
    [
        (all_of(YES), YES, "reproduced"),
        (all_of(YES), NULL, "partly reproduced (C6, C7, C9, C11, C12)"),
        (all_of(YES), WEAK, "partly reproduced (C6, C7, C9, C11, C12)"),
        (all_of(NULL), NULL, "not reproduced"),
        (all_of(REV), REV, "not reproduced"),
        (all_of(NULL), YES, "partly reproduced (D of C8)"),
        (all_of(NULL), UNDECIDED, "not measurable here (undecided)"),
        (all_of(NULL), WEAK, "not measurable here (undecided)"),
        (all_of(NULL, C9=UNDECIDED), NULL, "not measurable here (undecided)"),
        (all_of(NULL, C9=WEAK), NULL, "partly reproduced (C9)"),
        (all_of(NULL, C7=WEAK, C9=UNDECIDED), YES, "partly reproduced (C7, D of C8)"),
        (all_of(NULL, C9=YES, C7=UNDECIDED), YES, "partly reproduced (C9, D of C8)"),
        (all_of(YES, C12=MISSING), YES, "not measurable here"),
        (all_of(YES), MISSING, "not measurable here"),
    ],
)
def test_rule(tmp_path: Path, inputs: list[Verdict], d: State, words: str) -> None:
    store = kept(tmp_path, *inputs, gap(d))
    assert str(c17.judge("tuned", "paper", verdict_records("paper", store)).ruling) == words


def test_any_input_may_be_missing(tmp_path: Path) -> None:
    """Each of the six left out in turn, and all of them."""
    whole = [*all_of(YES), gap(YES)]
    for number, left_out in enumerate(whole):
        store = kept(tmp_path / str(number), *(verdict for verdict in whole if verdict is not left_out))
        verdict = c17.judge("tuned", "paper", verdict_records("paper", store))
        assert str(verdict.ruling) == "not measurable here"
        assert [unit.state for unit in verdict.units].count(MISSING) == 1
    nothing = c17.judge("tuned", "paper", {})
    assert {unit.state for unit in nothing.units} == {MISSING}
    without_d = kept(tmp_path / "no d", *all_of(YES), judged("C8", YES))
    assert c17.judge("tuned", "paper", verdict_records("paper", without_d)).units[-1].state is MISSING


def test_readings_are_apart_and_init_counts_for_both(tmp_path: Path) -> None:
    store = kept(tmp_path, *all_of(YES), gap(YES), judged("C7", YES, "published"), gap(NULL, "published"))
    found = c17.derive("paper", store)
    assert str(found["tuned"].ruling) == "reproduced"
    published = {unit.case: unit.state for unit in found["published"].units}
    assert published == {"C6": YES, "C7": YES, "C9": MISSING, "C11": YES, "C12": MISSING, "D of C8": NULL}
    assert str(found["published"].ruling) == "not measurable here"
    assert {unit.case for unit in found["published"].units} == {*INPUTS, c17.GAP}
    assert str(c17.derive("quick", store)["tuned"].ruling) == "not measurable here"  # another scale


def test_cooled_inputs(tmp_path: Path) -> None:
    """An input without a cooled reading counts by its tuned one; one that has it does not fall back."""
    store = kept(tmp_path, *all_of(YES), gap(YES))
    cooled = {claim: "cooled" in module.READINGS for claim, module in scorecard.CLAIMS.items() if claim in INPUTS}
    assert {claim for claim, has in cooled.items() if has} == {"C9"}
    assert str(c17.derive("paper", store)["cooled"].ruling) == "not measurable here"
    claims.record(judged("C9", NULL, "cooled"), store)
    found = c17.derive("paper", store)
    assert str(found["cooled"].ruling).startswith("partly reproduced (C6, C7, C11, C12, D of C8")
    assert str(found["tuned"].ruling) == "reproduced"


def test_a_bound_on_d_is_kept(tmp_path: Path) -> None:
    """Whether it decides is said by its state; that it is one, by its flag."""
    store = kept(tmp_path, *all_of(YES), gap(YES, bound=">="))
    verdict = c17.judge("tuned", "paper", verdict_records("paper", store))
    assert made_up.number(verdict.units[-1]).bound == ">="
    assert "lower bound" in verdict.units[-1].flags
    assert verdict.ruling.word is Word.REPRODUCED
    claims.record(gap(UNDECIDED, bound=">="), store)
    assert c17.judge("tuned", "paper", verdict_records("paper", store)).ruling.word is Word.PARTLY


def test_checks_of_inputs(tmp_path: Path) -> None:
    fragile = replace(judged("C7", YES), checks={"matched loss": False})
    store = kept(tmp_path, *all_of(YES), gap(YES), fragile, replace(judged("C12", YES), checks={"cooled": True}))
    verdict = c17.judge("tuned", "paper", verdict_records("paper", store))
    assert [*verdict.checks.values()] == [False, True]
    assert verdict.robust is False
    assert any("C7" in flag and "C12" not in flag for flag in verdict.flags)


def test_it_is_kept_and_shows_only_verdicts(tmp_path: Path) -> None:
    store = kept(tmp_path, *all_of(WEAK), gap(NULL))
    before = claims.verdicts_digest(store)
    c17.derive("paper", store)
    frame = claims.verdict_frame("paper", store)
    final = frame[(frame["claim"] == "C17") & (frame["case"] == "all")].set_index("reading")["verdict"]
    assert final["tuned"] == "partly reproduced (C6, C7, C9, C11, C12)"
    assert claims.verdicts_digest(store) == before, "else the pages that derive it would be out of date at once"
    claims.record(judged("C6", NULL, "init"), store)
    assert claims.verdicts_digest(store) != before


def test_deviations_of_inputs_are_named(tmp_path: Path) -> None:
    inputs = [judged(claim, YES, "init" if claim in INIT else "tuned", short=claim in ("C6", "C9")) for claim in INPUTS]
    verdict = c17.judge("tuned", "paper", verdict_records("paper", kept(tmp_path, *inputs, gap(YES))))
    assert verdict.deviations == ("so do its inputs: C6, C9",)


def test_claims_stand_in_order_and_have_what_pages_need() -> None:
    numbers = [(name[0], int(name[1:])) for name in scorecard.CLAIMS]
    assert numbers == sorted(numbers)
    assert scorecard.GROUPS == ("behaviours", "causes", "why", "practice")
    in_book = {Path(page).name for page in pages(ROOT)}
    for name, claim in scorecard.CLAIMS.items():
        assert name == claim.CLAIM
        assert claim.SENTENCE.endswith(".")
        assert set(claim.READINGS) <= set(cases.COLUMNS), "each has its mark in the forests"
        assert claim.CHAPTER in in_book, "a page links to it"
        text = (ROOT / "book" / f"{claim.CHAPTER}.md").read_text("utf-8")
        labels = {scorecard.figure_of(claim, reading) for reading in claim.READINGS} - {""}
        assert all(f"name: {label}\n" in text for label in labels)
        assert isinstance(claim.FIGURE, str) or set(claim.FIGURE) <= set(claim.READINGS)


def test_a_claim_is_its_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing else names it: a module c99 in the package is on the scorecard, and what it rests on is known."""
    names = {"CLAIM": "C99", "SENTENCE": "It holds.", "CHAPTER": "x", "FIGURE": "", "READINGS": ("tuned",)}
    lines = [f"{name} = {value!r}" for name, value in {**names, "GROUP": "causes"}.items()]
    lines += ["from lintrans.paper.claims.common import Basis", 'BASIS = Basis(("1",), ("noise",))']
    (tmp_path / "c99.py").write_text("\n".join(lines))
    monkeypatch.setattr(claims, "__path__", [*claims.__path__, str(tmp_path)])
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    found = scorecard.find_claims()
    sys.modules.pop("lintrans.paper.claims.c99")
    del claims.c99  # type: ignore[attr-defined]
    assert sorted(found) == sorted([*scorecard.CLAIMS, "C99"])
    for module in (scorecard, contradictions):
        monkeypatch.setattr(module, "CLAIMS", found)
    assert [*scorecard.members("causes")][-1] == "C99"
    assert contradictions.basis("C99").problems == ("1",)


PARSING = {
    "partition", "rpartition", "split", "rsplit", "startswith", "endswith", "removeprefix", "removesuffix", "find",
    "index", "search", "match", "fullmatch", "findall", "sub",
}  # fmt: skip
TEXTS = {"case", "statistic"}


def texts_in(node: ast.AST) -> bool:
    """Whether code speaks of the text of a case or of a statistic: ``unit.case``, ``case``, ``row["case"]``."""
    return any(
        (isinstance(each, ast.Attribute) and each.attr in TEXTS)
        or (isinstance(each, ast.Name) and each.id in TEXTS)
        or (isinstance(each, ast.Constant) and each.value in TEXTS)
        for each in ast.walk(node)
    )


def parses(node: ast.AST) -> bool:
    """Whether code reads something out of such a text: it calls a method that takes texts apart, or asks for a part."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in PARSING:
        return any(texts_in(each) for each in (node.func.value, *node.args))
    if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.In | ast.NotIn):
        return False
    return isinstance(node.comparators[0], ast.Attribute | ast.Name) and texts_in(node.comparators[0])


def test_nothing_reads_the_text_of_a_case() -> None:
    """Keys of a unit are for code, its texts for people."""
    for text in ('case.partition(",")', 'unit.case.endswith("x")', '"along" not in unit.case', "re.search(x, case)"):
        assert any(parses(node) for node in ast.walk(ast.parse(text))), text
    sources = [
        path for folder in ("claims", "pages", "figures") for path in (ROOT / "lintrans/paper" / folder).glob("*.py")
    ]
    assert len(sources) > 30
    found = [
        f"{path.name}:{node.lineno}"
        for path in sources
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.expr) and parses(node)
    ]
    assert not found


def test_records_say_what_a_case_is_about(tmp_path: Path) -> None:
    """Also where they were kept before they did."""
    keys = Keys(("3", "sphere"), 750, "adam", "r_lower", "growth", "C3")
    units = (Unit("a", "ratio", None, REV, keys=keys), Unit("b", "ratio", None, NULL))
    store = kept(tmp_path, Verdict("C1", "tuned", "paper", "x", units, rule(units), (), "r"))
    [record] = verdict_records("paper", store).values()
    assert keys_of(record) == [keys, Keys()]
    assert [*contradictions.contradictions("paper", store)[0].keys] == [keys, Keys()]
    path = next(tmp_path.rglob("*.json"))
    content = json.loads(path.read_text())
    del content["now"]["keys"], content["sum"]
    path.write_text(json.dumps(content))
    assert contradictions.contradictions("paper", store)[0].keys == (Keys(), Keys())


def test_only_what_is_decided_against_the_paper_is_counted(tmp_path: Path) -> None:
    """Neither a small effect, nor an open case, nor a case that does not decide."""
    store = kept(
        tmp_path,
        made_up.verdict(
            unit(YES, "a"), unit(WEAK, "b"), unit(UNDECIDED, "c"), unit(REV, "d", decides=False), claim="C1"
        ),
        made_up.verdict(unit(YES, "a"), unit(REV, "b"), unit(NULL, "c"), unit(UNDECIDED, "d"), claim="C5"),
    )
    [found] = contradictions.contradictions("quick", store)
    assert (found.claim, found.decided) == ("C5", 4)
    assert found.cases == (("b", REV), ("c", NULL))
    assert found.words == "reversed: b. no difference: c"


@pytest.mark.parametrize("word", Word)
def test_a_verdict_is_known_by_its_text(word: Word) -> None:
    for ruling in (Ruling(word), Ruling(word, ("not reproduced", "b"), undecided=True)):
        assert word_of(str(ruling)) is word


def test_groups_hold_every_claim_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    parts = [[*cards({}, "quick", group)] for group in scorecard.GROUPS]
    assert [*itertools.chain(*parts)] == list(scorecard.CLAIMS) == [*cards({}, "quick")]
    with pytest.raises(ValueError, match="group = 'cause' is not one of"):
        scorecard.members("cause")


def test_a_card_of_a_claim_without_figure_or_numbers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    for verdict in [*all_of(YES), gap(YES)]:
        claims.record(verdict)
    c17.derive("paper")
    card = cards(verdict_records("paper"), "paper", "causes")["C17"]
    assert "- *tuned*: **holds in 6 of 6**\n" in card
    assert "numref" not in card
    rows = [line for line in card.split("Tuned. ")[1].split("Cooled. ")[0].splitlines() if line.startswith("| holds")]
    assert [row.split("|")[2].strip() for row in rows] == [*INPUTS, c17.GAP]
    assert "2 [1, 3]" in rows[-1]
