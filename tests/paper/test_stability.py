"""Scales with other seeds, whether verdicts repeat, and earlier ones: from made-up verdicts."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from made_up import interval, unit, verdict

from lintrans.paper import figures, scales
from lintrans.paper.claims import Keys, State, Unit, Verdict, editions, record, scorecard, stability, wording
from lintrans.paper.claims.records import PACKAGED, verdict_records, verdicts_digest
from lintrans.paper.figures import cases
from lintrans.paper.pages import scorecard as tables
from lintrans.paper.pages import template
from lintrans.paper.scale_names import based_on
from lintrans.publish import listing
from lintrans.store.store import Store

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State
SHIFTED = {
    "SCALES", "CURVATURE", "NOISE", "SIZE_BUDGETS", "DEPTH_BUDGETS", "LARGER_BUDGETS", "NONLINEAR_BUDGETS", "ATTENTION",
}  # fmt: skip
BESIDE = {"CONTROLS", "TAILS", "DOUBLE_CHECKS", "CHECKS", "OWN_MODEL"}


@pytest.fixture(autouse=True)
def no_package_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is kept with the package is not there, and a store of one's own is."""
    for module in (stability, editions):
        monkeypatch.setattr(module, "PATH", tmp_path / f"{module.__name__}.json")
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path / "store"))
    stability.read.cache_clear()


def firsts(budget: Any) -> list[tuple[str, int]]:
    """First seeds and batches of a budget and of those in it."""
    found = []
    for field in fields(budget):
        value = getattr(budget, field.name)
        if is_dataclass(value):
            found += firsts(value)
        elif field.name.startswith("first_"):
            found.append((field.name, value))
    return found


def unshifted(budget: Any) -> Any:
    changes: dict[str, Any] = {name: 0 for name, _ in firsts(budget) if hasattr(budget, name)}
    inner = {field.name: getattr(budget, field.name) for field in fields(budget)}
    return replace(budget, **changes | {name: unshifted(value) for name, value in inner.items() if is_dataclass(value)})


def test_a_scale_with_other_seeds_is_the_same_otherwise() -> None:
    tables = {name: table for name, table in vars(scales).items() if isinstance(table, scales.Table)}
    assert set(tables) == SHIFTED | BESIDE
    for name, table in tables.items():
        for base in scales.SCALE_NAMES:
            own, other = table(base), table(f"{base}+100")
            if name in BESIDE:
                assert other is own
                continue
            assert firsts(other)
            assert [value for _, value in firsts(other)] == [100] * len(firsts(other))
            assert unshifted(other) == own
    shifted = scales.SCALES("paper+100")
    assert shifted.judging == range(100, 124)
    assert not set(shifted.judging) & {*scales.SCALES("paper").judging, *shifted.tuning_seeds}
    assert scales.CURVATURE("paper+100").evaluation == range(100, 116)


def test_names_of_scales() -> None:
    assert based_on("paper") == ("paper", 0)
    assert based_on("quick+24") == ("quick", 24)
    for bad in ("paper+", "paper+7", "paper+1000", "paper+-50", "paper+x", "paper+0100", "paper+100+100"):
        with pytest.raises(ValueError, match="whole number from 24 to 900"):
            based_on(bad)
    for unknown in ("papre", "papre+100", ""):
        with pytest.raises(ValueError, match=r"is not one of 'paper', 'quick'.* as quick\+100"):
            based_on(unknown)


def numbered(state: State, case: str, estimate: float, **more: Any) -> Unit:
    number = replace(interval(estimate, 0.9 * estimate, 1.1 * estimate, n=12), kind=more.pop("kind", "ratio"))
    return unit(state, case, interval=number, **more)


def kept(*verdicts: Verdict, scale: str = "paper") -> dict[tuple[str, str], dict[str, Any]]:
    for each in verdicts:
        record(replace(each, scale=scale, rules=each.rules or "r"))
    return verdict_records(scale)


def two_runs() -> stability.Comparison:
    """Of eight cases, four are decided: one of these is another, one is not there, and two are the same."""
    beside = unit(YES, "b", decides=False)
    first = kept(
        verdict(numbered(YES, "a", 2), numbered(WEAK, "b", 1.1), numbered(UNDECIDED, "c", 1), beside, claim="C1"),
        verdict(numbered(REV, "a", 0.5), unit(MISSING, "b"), numbered(NULL, "c", 1), claim="C2"),
        verdict(numbered(YES, "a", 2), claim="C3"),
        verdict(numbered(YES, "a", 2), claim="C4"),
        verdict(numbered(YES, "a", 2), numbered(NULL, "b", 1), claim="C5"),
        verdict(numbered(YES, "a", 2), claim="C17"),
    )
    second = kept(
        verdict(numbered(YES, "a", 3), numbered(NULL, "b", 1.0), numbered(YES, "c", 1), beside, claim="C1"),
        verdict(numbered(REV, "a", 0.6), numbered(YES, "b", 2), claim="C2"),
        verdict(numbered(YES, "a", 2), claim="C3", rules="other"),
        verdict(numbered(YES, "a", 2), numbered(NULL, "b", 1), claim="C5"),
        verdict(numbered(YES, "a", 2), claim="C17"),
        scale="paper+100",
    )
    return stability.comparison(first, second, "paper", 100, "0.1.0")


def test_decided_cases_are_compared() -> None:
    made = two_runs()
    assert [(row.claim, row.case, row.state, row.state_again) for row in made.rows] == [
        ("C1", "a", "YES", "YES"), ("C1", "b", "WEAK", "NULL"), ("C2", "a", "REV", "REV"), ("C2", "c", "NULL", None)
    ]  # fmt: skip
    assert made.share == 0.5
    assert made.lost == (
        "C3 published (judged by other code)",
        "C4 published (not judged again)",
        "C5 published (the same numbers: its seeds did not change)",
    )
    assert (made.rows[0].estimate, made.rows[0].estimate_again) == (2, 3)
    table = made.table().set_index("state")
    assert table["cases"].to_dict() == {"YES": 1, "WEAK": 1, "NULL": 1, "REV": 1}
    assert table["the same"].to_dict() == {"YES": 1, "WEAK": 0, "NULL": 0, "REV": 1}
    lines = listing.repeat_lines(made, 120)
    assert sum("NULL 1 [0.9, 1.1]" in line for line in lines) == 2
    assert any("2 of 4 decided cases" in line and "50.0%" in line for line in lines)
    assert stability.comparison({}, {}, "paper", 100, "0.1.0").share is None


def test_a_case_is_known_by_what_it_is_about_too() -> None:
    """Two cases of one name are not taken for each other."""
    pair = [numbered(YES, "a", 2, keys=Keys(("1",))), numbered(REV, "a", 0.5, keys=Keys(("2",)))]
    other = [numbered(REV, "a", 0.6, keys=Keys(("2",))), numbered(YES, "a", 3, keys=Keys(("1",)))]
    first, second = kept(verdict(*pair)), kept(verdict(*other), scale="paper+100")
    assert stability.comparison(first, second, "paper", 100, "").share == 1


def test_a_comparison_is_kept_and_flags_what_changed(tmp_path: Path) -> None:
    record_of = kept(verdict(numbered(YES, "a", 2), numbered(WEAK, "b", 1.1)))["C1", "published"]
    assert stability.read(stability.PATH) is None
    assert wording.flags(record_of) == []
    made = two_runs()
    stability.keep(made, stability.PATH)
    assert stability.read(stability.PATH) == made
    record_of = verdict_records("paper")["C1", "published"]
    assert wording.flags(record_of) == [f"{stability.MOVED}: b"]
    assert stability.MOVED in tables.cards({("C1", "published"): record_of}, "paper")["C1"]
    assert any(stability.MOVED in line for line in listing.verdict_lines({("C1", "published"): record_of}, 120))
    assert scorecard.cases_of({("C1", "published"): record_of})["flags"].tolist() == [[], [stability.MOVED], []]
    judged_anew = kept(verdict(numbered(YES, "b", 2)))["C1", "published"]
    assert wording.flags(judged_anew) == [], "it has another state than the one that changed"
    assert wording.flags({**record_of, "rows": [{**row, "scale": "quick"} for row in record_of["rows"]]}) == []


def test_what_is_kept_of_other_claims_stays() -> None:
    made = two_runs()
    other = replace(made.rows[0], claim="C12", state_again="NULL")
    earlier = replace(made, date="2026-01-01", rows=(made.rows[0], other), lost=("C9 cooled (why)", "C1 tuned (why)"))
    stability.keep(earlier, stability.PATH)
    stability.keep(made, stability.PATH)
    found = stability.read(stability.PATH)
    assert found is not None
    assert found.rows == (*made.rows, other)
    assert found.lost == tuple(sorted({*made.lost, "C9 cooled (why)"}))
    assert found.date == made.date
    stability.keep(replace(made, offset=200), stability.PATH)
    assert (found := stability.read(stability.PATH)) is not None
    assert found.rows == made.rows, "seeds of another offset are not mixed with these"
    stability.PATH.write_text("{}")
    stability.keep(made, stability.PATH)
    assert stability.read(stability.PATH) == made


@pytest.mark.parametrize(
    ("units", "words"),
    [
        ([(YES, 7.03), (WEAK, 1.21), (YES, 1.5)], "holds in 3 of 3, large in 2: 7.0x, 1.2x, 1.5x"),
        ([(YES, 7.03), (YES, 2)], "holds in 2 of 2: 7.0x, 2.0x"),
        ([(WEAK, 1.1), (WEAK, 1.07)], "holds in 2 of 2, large in none: 1.1x, 1.07x"),
        ([(YES, 2.3)], "holds: 2.3x"),
        ([(WEAK, 1.1)], "holds (small): 1.1x"),
        ([(REV, 0.833), (UNDECIDED, 1.2), (YES, 1.4)], "1 holds, 1 reversed, 1 open: 0.83x, 1.2x, 1.4x"),
        ([(REV, 0.5), (REV, 0.6), (YES, 2)], "mostly reversed: 1 holds, 2 reversed: 0.50x, 0.60x, 2.0x"),
        (
            [(REV, 0.5), (REV, 0.6), (YES, 2), (UNDECIDED, 1)],
            "mostly reversed: 1 holds, 2 reversed, 1 open: 0.50x, 0.60x, 2.0x, 1.00x",
        ),
        ([(REV, 0.5), (UNDECIDED, 1), (UNDECIDED, 1)], "1 reversed, 2 open: 0.50x, 1.00x, 1.00x"),
        (
            [(YES, 2), (YES, 3), (WEAK, 1.1), (NULL, 1)],
            "2 hold, 1 holds (small), 1 no difference: 2.0x, 3.0x, 1.1x, 1.00x",
        ),
        ([(NULL, 0.995)], "no difference: 0.995x"),
        ([(NULL, 1.0), (NULL, 1.02)], "no difference in 2 of 2: 1.00x, 1.02x"),
        ([(UNDECIDED, 1431.0), (UNDECIDED, 0.004)], "open in 2 of 2: 1431x, 0.0040x"),
        ([(YES, 2.0)] * 9 + [(YES, 4.0)], "holds in 10 of 10: 2.0x to 4.0x"),
    ],
)
def test_counts_and_sizes(units: list[tuple[State, float]], words: str) -> None:
    cases = [numbered(state, f"case {k}", estimate) for k, (state, estimate) in enumerate(units)]
    [found] = kept(verdict(*cases, numbered(YES, "beside", 9, decides=False))).values()
    assert wording.in_words(found) == words


def test_no_number_has_no_size_and_bounds_and_shares_say_so() -> None:
    bound = numbered(YES, "b", 100)
    assert bound.interval is not None
    bound = replace(bound, interval=replace(bound.interval, bound=">="))
    units = unit(MISSING, "a"), bound, numbered(REV, "c", 0.36, kind="share")
    [found] = kept(verdict(*units)).values()
    assert wording.in_words(found) == "1 holds, 1 reversed, 1 not measured: ≥ 100x, 0.36"
    assert wording.word(found) == "not measurable here"
    [open_one] = kept(verdict(numbered(UNDECIDED, "a", 1))).values()
    assert wording.word(open_one) == "open"


def test_no_verdict_goes_without_its_flags() -> None:
    [found] = kept(verdict(numbered(YES, "a", 2), checks={"matched loss": False, "cooled": True})).values()
    card = tables.cards({("C1", "published"): found}, "paper")["C1"]
    for text in (wording.sentence(found), card, template.heads({("C1", "published"): found})["C1"]):
        assert "not robust: matched loss" in text
    assert card.startswith("(c1)=\n")
    lines = listing.verdict_lines({("C1", "published"): found}, 80)
    assert any("not robust: matched loss" in line for line in lines)
    assert lines[2].split()[-1] == "holds"
    assert "12" in lines[2].split()


def test_what_chance_would_give() -> None:
    found = kept(
        verdict(numbered(YES, "a", 2), numbered(REV, "b", 0.5), numbered(WEAK, "c", 1.1), unit(MISSING, "d")),
        verdict(unit(MISSING, "a"), claim="C2"),
    )
    assert wording.chance([*found.values()]) == {
        "cases": 3, "agree": 2, "by_chance": pytest.approx(0.075), "verdicts": 1, "verdicts_by_chance": 0.05,
    }  # fmt: skip


def test_the_first_edition_beside_the_second() -> None:
    before = kept(
        verdict(numbered(YES, "a", 2), numbered(WEAK, "b", 1.05), numbered(REV, "c", 0.5), deviations=("few",)),
        verdict(numbered(YES, "a", 2), claim="C2", reading="init"),
    )
    editions.PATH.write_text(editions.compact(before, "abc", "paper"))
    first = editions.read(editions.PATH)
    assert first is not None
    assert (first.commit, first.scale, sorted(first.records)) == ("abc", "paper", [("C1", "published"), ("C2", "init")])
    assert editions.differences(before, first) == [], "nothing differs from itself"
    small = replace(interval(1.05, 1.01, 1.09, n=24), kind="ratio")
    now = kept(
        verdict(numbered(YES, "a", 2), unit(NULL, "b", interval=small), numbered(UNDECIDED, "c", 0.9), unit(YES, "d")),
        verdict(numbered(YES, "a", 2.5), claim="C2", reading="init"),
        verdict(numbered(YES, "a", 2.5), claim="C3"),
    )
    [each] = editions.differences(now, first)
    assert (each.claim, each.short) == ("C1", ("few",))
    why = each.table.set_index("case")["why"]
    assert list(why.index) == ["b", "c", "d"]
    assert "small difference" in why["b"]
    assert why["c"] == "computed in full"
    assert why["d"] == "no such case before"
    assert editions.not_judged_before(now, first) == ["C3 published"]


def test_reasons_are_read_off_the_data() -> None:
    old = {"state": "YES", "estimate": 2.0, "low": 1.5, "high": 2.5}
    new = {"state": "REV", "estimate": 0.5, "low": 0.4, "high": 0.6, "flags": ["two kinds of runs (3 of 6 above)"]}
    assert "on many batches" in " ".join(editions.reasons("C3", "published", Keys(), old, new))
    assert "on many batches" not in " ".join(editions.reasons("C1", "published", Keys(), old, new))
    assert "rates chosen" in " ".join(editions.reasons("C1", "tuned", Keys(), old, new))
    assert "sign-flip" in " ".join(editions.reasons("C1", "published", Keys(), old, new))
    assert editions.reasons("C1", "published", Keys(), old, {**old, "state": "NULL", "bound": ">="}) == [
        "a bound is read as one"
    ]
    assert editions.reasons("C1", "published", Keys(), old, {**new, "flags": []}) == ["other numbers"]


def test_what_is_part_of_the_package_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    first = editions.read(PACKAGED / "first_edition.json")
    assert first is not None
    assert len(first.records) == 24
    linear = {name for name, claim in scorecard.CLAIMS.items() if claim.GROUP not in ("practice", "why")}
    assert {claim for claim, _ in first.records} == linear
    assert all(wording.cases(each) for each in first.records.values())


def test_pages_count_what_is_kept_of_their_own_scales(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    before = verdicts_digest(store)
    kept(verdict(numbered(YES, "a", 2)), scale="paper+100")
    assert verdicts_digest(store) == before, "these are on no page"
    kept(verdict(numbered(YES, "a", 2)))
    after = verdicts_digest(store)
    assert after != before
    monkeypatch.setattr("lintrans.paper.claims.records.PACKAGED", tmp_path)
    (tmp_path / "more.json").write_text(json.dumps({}))
    assert verdicts_digest(store) != after


def test_a_figure_of_every_case() -> None:
    kept(
        verdict(numbered(YES, "a", 2), numbered(REV, "b", 1e-4), unit(MISSING, "c"), checks={"cooled": False}),
        verdict(numbered(WEAK, "a", 1.1), reading="tuned"),
        verdict(numbered(WEAK, "a", 0.6, kind="share"), claim="C4", reading="tuned"),
        verdict(numbered(YES, "a", 0.6, kind="correlation"), claim="C5", reading="tuned"),
        verdict(numbered(YES, "D", 2), claim="C17"),
    )
    records = verdict_records("paper")
    table = scorecard.cases_of(records)
    assert table["claim"].tolist() == ["C1", "C1", "C1", "C4", "C5"]
    page = figures.case_forest(table, template.heads(records))
    assert page.count('href="scorecard.html#c1"') == 1 + 2, "the claim, and its two cases, whatever the reading"
    assert page.count('role="table"') == 3, "ratios, shares, correlations"
    assert page.count('fill-opacity="0"') == 3 + 1, "tuned cases are hollow, and so is the key"
    assert page.count("«") == 1, "one lies beyond the axis"
    assert "not robust: cooled" in page
    few = {**table.iloc[0].to_dict(), "flags": ["few seeds (4)"]}
    both = figures.case_forest(pd.DataFrame([few, {**few, "reading": "tuned"}]), {})
    assert "⚑ few seeds (4)<" in both
    one = figures.case_forest(pd.DataFrame([few, {**few, "reading": "tuned", "flags": []}]), {})
    assert "⚑ published: few seeds (4)<" in one
    places = {State(row["state"]): cases.AXES["ratio"].place(row["estimate"]) for row in table.to_dict("records")[:2]}
    assert places[REV] == 2 < cases.AXES["ratio"].place(1) < places[YES] < 98
    ElementTree.fromstring(f"<div>{page}</div>")
    assert "href" not in figures.case_forest(table[:0], {})
