"""Which cases are computed twice, at which horizon and rates, and whether both implementations then agree."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from made_up import curvature, interval, noise, tuning, unit, verdict

import lintrans as lt
from lintrans.engines.cpu import compiling
from lintrans.paper import figures, protocol
from lintrans.paper.claims import Keys, State, Unit, c9, c11, editions, record, scorecard, twice, wording
from lintrans.paper.claims.records import verdict_records
from lintrans.paper.claims.wording import NAMES
from lintrans.paper.measure import curvature as measured
from lintrans.paper.measure.noise import at_initialization
from lintrans.paper.pages import double_check as tables
from lintrans.paper.problems import LARGER, NONLINEAR
from lintrans.paper.second import cases, long, plain, terms
from lintrans.publish import listing
from lintrans.store.results import NotStoredError, experiment, measurement, stored_only

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State


@pytest.fixture(autouse=True)
def no_package_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is kept with the package is not there, and a store of one's own is."""
    for module in (twice, editions):
        monkeypatch.setattr(module, "PATH", tmp_path / f"{module.__name__}.json")
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path / "store"))
    twice.read.cache_clear()
    editions.read.cache_clear()


def numbered(state: State, case: str, estimate: float = 0.5, **more: Any) -> Unit:
    number = replace(interval(estimate, 0.9 * estimate, 1.1 * estimate, n=12), kind="ratio")
    return unit(state, case, interval=number, **more)


def kept(*units: Unit, claim: str = "C1", reading: str = "published") -> dict[tuple[str, str], dict[str, Any]]:
    record(replace(verdict(*units, claim=claim, reading=reading), scale="quick", rules="r"))
    return verdict_records("quick")


# --- which cases ---


def test_reversed_and_changed_cases_are_wanted() -> None:
    first = kept(numbered(YES, "a"), numbered(REV, "b"), numbered(YES, "c"), numbered(WEAK, "d"), numbered(YES, "e"))
    now = kept(
        numbered(YES, "a"), numbered(REV, "b"), numbered(NULL, "c"), unit(MISSING, "d"), numbered(UNDECIDED, "f"),
        numbered(REV, "g", decides=False), numbered(REV, "new"),
    )  # fmt: skip
    kept(numbered(REV, "a"), claim="C17")
    found = twice.wanted(verdict_records("quick"), first)
    assert [(each.case, each.state, each.before) for each in found] == [
        ("b", "REV", "REV"), ("c", "NULL", "YES"), ("new", "REV", None)
    ]  # fmt: skip
    assert [each.case for each in twice.wanted(now, {})] == ["b", "new"]


def test_a_case_may_have_its_numbers_from_one_beside_it() -> None:
    pair = Keys(("depth 4", "depth 2"))
    beside = [
        numbered(YES, "x, end loss", 3.0, decides=False, keys=pair._replace(part="loss"), statistic="gap in loss"),
        numbered(REV, "x, steps", 0.5, decides=False, keys=pair._replace(part="steps"), statistic="gap in steps"),
        numbered(REV, "x, cooled", 0.5, decides=False, keys=pair._replace(part="cooled")),
    ]
    for claim, part in (("C9", "steps"), ("C1", None)):
        records = kept(numbered(REV, "x", 0.5, keys=pair), *beside[::-1], claim=claim, reading="tuned")
        [found] = twice.wanted({(claim, "tuned"): records[claim, "tuned"]}, {})
        assert (found.keys.part, found.case) == (part, "x")
        assert found.statistic == ("gap in steps" if part else "ratio")


def case(claim: str, reading: str = "tuned", statistic: str = "", /, **keys: Any) -> twice.Case:
    return twice.Case(claim, reading, "a", statistic, Keys(**keys), "REV", None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (case("C1", problems=("2",)), [(1, "2", "gap", 10_000)]),
        (case("C1", "cooled", problems=("2",)), [(1, "2", "gap", 12_000)]),
        (case("C3", problems=("1",), step=750), [(1, "1", "condition", 750)]),
        (case("C4", problems=("1",)), [(1, "1", "share", 9951)]),
        (case("C7", problems=("3", "sphere")), [(1, "3", "condition", 10_000), (-1, "sphere", "condition", 10_000)]),
        (
            case("C9", "cooled", c9.COOLED, problems=("depth 6", "depth 4")),
            [(1, "depth 6", "gap", 6000), (-1, "depth 4", "gap", 6000)],
        ),
        (
            case("C9", problems=("depth 4", "depth 2"), part="loss"),
            [(1, "depth 4", "gap", 10_000), (-1, "depth 2", "gap", 10_000)],
        ),
        (
            case("C10", problems=("depth 2", "depth 4"), optimizer="sgd"),
            [(1, "depth 2", "loss", 10_000), (-1, "depth 4", "loss", 10_000)],
        ),
        (
            case("C12", problems=("depth 2", "depth 8")),
            [(1, "depth 8", "condition", 5000), (-1, "depth 2", "condition", 5000)],
        ),
        (
            case("C13", problems=("softmax", "linear"), optimizer="adam"),
            [(1, "softmax", "loss", 1000), (-1, "linear", "loss", 1000)],
        ),
        (case("C14", problems=(LARGER.name,), claim="C1"), [(1, LARGER.name, "gap", 2000)]),
        (case("C15", "published", problems=(NONLINEAR.name,), claim="C1"), [(1, NONLINEAR.name, "gap", 2000)]),
        (
            case("C15", "published", problems=(NONLINEAR.name,), claim="C3", step=750),
            [(1, NONLINEAR.name, "condition", 750)],
        ),
    ],
)
def test_what_a_case_is_the_sum_of(given: twice.Case, expected: list[tuple[int, str, str, int]]) -> None:
    parts = terms.terms_of(given, "paper")
    assert [(term.sign, term.source.name, term.quantity.kind, term.horizon) for term in parts] == expected
    assert {term.source.reading for term in parts} == {"published" if given.claim == "C15" else "tuned"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (case("C2", "init", problems=("2",)), [(1, "2", 10_000)]),
        (case("C6", "init", problems=("3", "sphere")), [(1, "3", 10_000), (-1, "sphere", 10_000)]),
        (
            replace(case("C11", "init", problems=("depth 2", "depth 8")), case=c11.ENDS),
            [(1, "depth 8", 3000), (-1, "depth 2", 10_000)],
        ),
        (case("C14", problems=(LARGER.name,), claim="C2"), [(1, LARGER.name, 2000)]),
        (case("C15", "published", problems=(NONLINEAR.name,), claim="C2"), [(1, NONLINEAR.name, 1000)]),
    ],
)
def test_noise_needs_no_training(given: twice.Case, expected: list[tuple[int, str, int]]) -> None:
    parts = terms.terms_of(given, "paper")
    budgets = [term.source.noise for term in parts]
    found = [(term.sign, term.source.name, own.samples if own else 0) for term, own in zip(parts, budgets, strict=True)]
    assert found == expected
    assert {(term.quantity.kind, term.horizon) for term in parts} == {("noise", 0)}


@pytest.mark.parametrize(
    "given",
    [
        case("C11", problems=("depth 2", "depth 4", "depth 6", "depth 8")),
        case("C4", problems=("1",), convention="speed"),
        case("C5", problems=("1",)),
        case("C8", problems=("3", "sphere"), part="gap"),
        case("C9", problems=("depth 6", "depth 4")),
        case("C9", problems=("depth 6", "depth 4"), part="steps"),
        case("C15", problems=(NONLINEAR.name,), claim="C3"),
        case("C16", problems=("depth 2",)),
    ],
)
def test_what_is_not_computed(given: twice.Case) -> None:
    with pytest.raises(terms.NotSupportedError):
        terms.terms_of(given, "paper")


# --- the second implementation, piece by piece ---


def ensemble(kept_at: tuple[int, ...] = (0, 4, 5)) -> long.Training:
    model, task = lt.LinearTransformer(2, 2, init_std=0.3), lt.LinearRegression(2, 4)
    runs = lt.grid(optimizer=[lt.SGD(), lt.Adam()], lr=0.02, clip=0.5, seed=[0, 1])
    return long.Training("tiny", model, task, tuple(runs), 9, 10, 2, kept_at)


def test_pieces_make_one_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the library trains it in float64, cooldown included; interrupted, it goes on where it was."""
    monkeypatch.setattr(long, "SEGMENT", 3)
    training = ensemble()
    assert training.pieces(10) == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert training.pieces(4) == [(0, 3), (3, 6)]
    assert long.missing(training, 12) == 12
    long.trained(training, 4)
    assert long.missing(training, 12) == 6
    told: list[int] = []
    states = long.trained(training, 12, told.append)
    assert sum(told) == 12
    assert long.missing(training, 12) == 0
    whole = lt.train(
        training.model, training.task, lt.grid(optimizer=["sgd", "adam"], lr=0.02, clip=0.5, seed=[0, 1]), steps=10,
        cooldown=2, batch=9, snapshots=[4, 5, 9, 10], probes=[], dtype="float64", engine="reference",
    )  # fmt: skip
    for step in (4, 5, 9, 10, 12):
        torch.testing.assert_close(states[step], whole.parameters(step), rtol=1e-11, atol=1e-13)


def test_curvature_along_steps_and_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    training = ensemble()
    states = long.trained(training, 5)
    drawn = plain.evaluation_prompts(training.task, 12, 3)
    along = plain.curvature_along(training.model, states[4], states[5], drawn)
    found = [plain.curvature(training.model, each, drawn) for each in states[4]]
    for run, own in enumerate(found):
        assert float(along[run]) == pytest.approx(own.along(states[5][run] - states[4][run]), rel=1e-10)
    monkeypatch.setattr(plain, "NUMBERS", 5 * plain.COLUMNS * 25)
    parted = plain.curvature(training.model, states[4][0], drawn)
    torch.testing.assert_close(parted.hessian, found[0].hessian, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(parted.gradient, found[0].gradient, rtol=1e-10, atol=1e-13)


def test_a_loss_above_that_of_the_zero_predictor_counts_as_that() -> None:
    training = ensemble()
    states = {0: 100 * torch.ones(4, *training.model.parameter_shape, dtype=torch.float64)}
    table = long.end_losses(training, (0,), 1, states)
    assert table["value"].tolist() == [training.task.zero_loss] * 4


# --- both together ---


def test_nothing_is_computed_within_stored_only() -> None:
    def table() -> pd.DataFrame:
        return pd.DataFrame({"x": [1]})

    with stored_only(), pytest.raises(NotStoredError, match="a table: not in the store"):
        measurement("a table", {"what": "x"}, table)
    measurement("a table", {"what": "x"}, table)
    with stored_only():
        assert len(measurement("a table", {"what": "x"}, table)) == 1
        with pytest.raises(NotStoredError):
            experiment(lt.LinearTransformer(1, 2), lt.LinearRegression(2, 4), lt.grid(optimizer="sgd", lr=0.1), steps=1)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting 1 trained for 20 steps at its published rates, in the store, and measured; no compiled loops."""
    monkeypatch.setattr(compiling, "unsupported_cpu", lambda: "made up")
    budget, probed = tuning(steps=20, batch=10, rates=(0.01,), minima=0), curvature(batches=2, batch=8)
    monkeypatch.setattr(terms, "SCALES", {"quick": budget}.__getitem__)
    monkeypatch.setattr(terms, "CURVATURE", {"quick": probed}.__getitem__)
    few = noise(samples=30, batch=5, reference=50)
    monkeypatch.setattr(terms, "NOISE", {"quick": few}.__getitem__)
    at_initialization(few)
    own = protocol.judge_all(replace(budget, settings=("1",)))
    measured.condition_numbers(own.published, probed, "published")
    measured.step_curvatures(own.published, probed, "published")


def judged_cases() -> None:
    """A case of each kind, and one that is not computed."""
    kept(numbered(REV, "setting 1", keys=Keys(("1",))), reading="published")
    kept(numbered(REV, "setting 1", keys=Keys(("1",))), numbered(REV, "setting 2", keys=Keys(("2",))), reading="cooled")
    step = Keys(("1",), 15, convention="r_lower")
    kept(numbered(REV, "setting 1, step 15", keys=step), claim="C3")
    kept(numbered(REV, "setting 1", keys=Keys(("1",))), claim="C4")
    kept(numbered(REV, "setting 1", keys=Keys(("1",))), claim="C2", reading="init")
    kept(numbered(REV, "setting 1", keys=Keys(("1",))), claim="C5")


@pytest.mark.usefixtures("tiny")
def test_both_agree_on_a_short_training() -> None:
    judged_cases()
    for waiting in (cases.compute("quick", only_list=True), cases.compute("quick", minutes=0)):
        assert waiting.rows == ()
        assert sum((each.minutes or 0) > 0 for each in waiting.left) == 4
    made = cases.compute("quick", minutes=5)
    found = {(row.claim, row.reading): row for row in made.rows}
    assert set(found) == {("C1", "published"), ("C2", "init"), ("C3", "published"), ("C4", "published")}
    for row in made.rows:
        assert row.seeds == (0, 1)
        assert row.fast == pytest.approx(row.again, rel=1e-3)
        assert row.same_side
        assert row.apart is None
    assert found["C4", "published"].kind == "share"
    assert (found["C3", "published"].steps, found["C3", "published"].batches) == (15, 2)
    why = {(each.claim, each.reading, each.case): each.why for each in made.left}
    assert "not computed here" in why["C5", "published", "setting 1"]
    assert "no tuned rates" in why["C1", "cooled", "setting 1"], "no interior best rate was found"
    assert "not in the store" in why["C1", "cooled", "setting 2"]
    again = cases.compute("quick", minutes=0)
    assert again.rows == tuple(sorted(made.rows, key=again.rows.index)), "what is stored costs nothing"


@pytest.mark.usefixtures("tiny")
def test_a_wrong_engine_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_cases()
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda leaves, clip: leaves[0].grad.norm())  # no clip
    [row] = [row for row in cases.compute("quick", minutes=5).rows if (row.claim, row.reading) == ("C1", "published")]
    assert row.difference > 1e-3
    assert row.apart in range(1, 20)


def test_the_numbers_of_the_fast_side_are_the_claims_own() -> None:
    """The share and the log ratio of this module are those that C1 and C4 are judged on."""
    rows = [
        (o, s, k, b, 1.0 + (o == "sgd") * (s - 0.5) * k)
        for o in ("sgd", "adam")
        for s in (0, 1)
        for k in (1, 2)
        for b in (0, 1)
    ]
    table = pd.DataFrame(rows, columns=["optimizer", "seed", "step", "batch", "value"])
    share = terms._by_seed(terms.Quantity("share"), table)
    assert share.tolist() == [0.0, 1.0]
    gap = terms._by_seed(terms.Quantity("gap"), table[(table["step"] == 1) & (table["batch"] == 0)])
    assert gap.tolist() == pytest.approx([math.log(0.5), math.log(1.5)])


def test_where_two_trainings_part() -> None:
    training = ensemble()
    states = {step: torch.ones(4, *training.model.parameter_shape, dtype=torch.float64) for step in (0, 4, 5, 9)}
    other = {step: each.float().clone() for step, each in states.items() if step != 9}
    runs = pd.DataFrame({"run": range(4), "seed": [0, 1, 0, 1]})
    history = lt.History(pd.DataFrame(), runs, other, 10)
    assert terms.parting(history, training, states, 10) is None
    other[5][3] *= 1.02
    assert terms.parting(history, training, states, 10) == 5
    assert terms.parting(history, training, states, 4) is None


# --- what is kept of it ---


def found(fast: tuple[float, ...], again: tuple[float, ...], name: str = "a", **more: Any) -> twice.Found:
    values = {"state": "REV", "before": None, "kind": "ratio", "steps": 10_000, "batches": 0, **more}
    return twice.Found("C1", "published", name, "end loss", seeds=(0, 1), fast=fast, again=again, **values)


def test_sides_and_differences() -> None:
    one = found((0.5, 0.8), (0.55, 1.1))
    assert one.means == pytest.approx((math.sqrt(0.4), math.sqrt(0.605)))
    assert (one.same_side, one.sides) == (True, 1)
    assert one.difference == pytest.approx(0.3 / 1.1)
    other = found((0.4, 0.4), (0.6, 0.5), kind="share")
    assert (other.same_side, other.sides) == (False, 0)
    assert other.means == pytest.approx((0.4, 0.55))


def test_it_is_kept_shown_and_flagged() -> None:
    assert twice.read(twice.PATH) is None
    assert "lintrans twice" in twice.in_words(None)
    left = twice.Left("C9", "tuned", "c", "not computed here"), twice.Left("C1", "tuned", "d", "too long", 12.0)
    rows = found((0.5, 0.8), (0.6, 0.9)), found((0.5, 0.8), (1.6, 0.9), "b", before="NULL", apart=250)
    made = twice.Twice("quick", "2026-01-01", "0.1.0", rows, left)
    twice.keep(made, twice.PATH)
    assert twice.read(twice.PATH) == made
    assert [row.case for row in made.other_side] == ["b"]
    own = kept(numbered(REV, "a"), numbered(REV, "b"))["C1", "published"]
    assert wording.flags(own) == [f"{twice.OTHER_SIDE}: b"]
    assert scorecard.cases_of({("C1", "published"): own})["flags"].tolist() == [[], [twice.OTHER_SIDE]]
    assert wording.flags(kept(numbered(YES, "b"))["C1", "published"]) == [], "another state than then"
    assert "2 of 4 cases" in twice.in_words(made)
    assert "1 of 2" in twice.in_words(made)
    assert tables.twice_table(made)["state"].tolist() == [NAMES[REV], f"{NAMES[REV]}, was {NAMES[State.NULL]}"]
    [axes] = figures.twice_means(made).axes
    hollow = [line.get_markerfacecolor() == "none" for line in axes.lines if line.get_marker() == "o"]
    assert hollow == [False, True]
    assert tables.twice_table(made)["apart from step"].tolist() == ["never", "250"]
    assert tables.not_computed(made)["minutes"].tolist() == ["", "12"]
    lines = listing.twice_lines(made, 120)
    assert any("1 of 2 cases" in line for line in lines)
    assert any("about 12 min" in line for line in lines)
    nothing = twice.Twice("quick", "2026-01-01", "0.1.0", ())
    assert tables.twice_table(nothing).empty
    assert "nothing was computed" in twice.in_words(nothing)
