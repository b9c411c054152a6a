"""C13 on made-up losses that should pass, should fail, and lack something; its page's tables; a tiny one for real."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import made_up
import numpy as np
import pytest

import lintrans as lt
from lintrans.paper import figures
from lintrans.paper.budgets import AttentionBudget
from lintrans.paper.claims import State, Verdict, Word, c13
from lintrans.paper.claims.c16 import Behaviour
from lintrans.paper.measure import variants
from lintrans.paper.pages import attention as tables
from lintrans.paper.problems import ATTENTION_TITLES, FULL_LINEAR, HEADS, PROBLEMS
from lintrans.paper.protocol import end_steps
from lintrans.paper.scales import ATTENTION, ATTENTION_PROTOCOL, PROTOCOL

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State
STEPS = 1000


LEAST = 2.8
"""Loss that the public code's softmax cannot get below in the sparse form."""


def falling(end: float, reached: int = 200, cooled: float = 1.0) -> lt.History:
    """Runs that fall to a loss, slightly different for each seed, at one step, and to a share of it in the cooldown."""

    def loss(seed: int, optimizer: str, step: int, lr: float) -> float:
        last = end * (cooled if step > STEPS else 1.0)
        return last * (1 + 0.01 * seed) if step >= reached else 4.9

    return made_up.history(loss, 4, STEPS, every=50, ends=end_steps(STEPS))


def histories(linear: float = 0.01, public: float = 4.0, ordinary: float = 1.5) -> dict[str, lt.History]:
    losses = {"linear": linear, "softmax": public, "softmax-visible": ordinary, "relu": 2.0, FULL_LINEAR: 0.5}
    losses |= dict(zip(HEADS.values(), (1.0, 0.5, 0.4), strict=True))
    return {name: falling(loss) for name, loss in losses.items()}


def judge(
    found: dict[str, lt.History], reading: str = "tuned", budget: AttentionBudget = ATTENTION_PROTOCOL
) -> Verdict:
    return c13.judge(reading, "paper", found, LEAST, budget)


def test_verdicts() -> None:
    verdict = judge(histories())
    deciding = [unit for unit in verdict.units if unit.decides]
    assert [unit.case for unit in deciding] == [
        "softmax, SGD",
        "softmax, Adam",
        "softmax, visible keys, SGD",
        "softmax, visible keys, Adam",
    ]
    assert {unit.state for unit in deciding} == {YES}
    assert made_up.number(deciding[0]).estimate == pytest.approx(400)
    assert verdict.ruling.word is Word.REPRODUCED
    assert verdict.deviations == ()
    assert verdict.checks == {"cooled": True, "full form": True}
    beside = {unit.case: unit for unit in verdict.units if not unit.decides}
    faster = made_up.number(beside["softmax, SGD, speed"])
    assert faster.estimate == pytest.approx(STEPS / 200)
    assert faster.low < STEPS / 200 < faster.high, "no narrower than the grid of measured steps"
    assert beside["softmax, SGD, speed"].state is YES
    only = judge(histories(ordinary=0.005))
    assert str(only.ruling).startswith("partly reproduced (softmax, SGD, softmax, Adam")
    none = judge(histories(linear=6.0))  # lost: it counts as the zero predictor
    assert none.ruling.word is Word.NOT
    missing = histories()
    del missing["softmax-visible"]
    assert judge(missing).ruling.word is Word.UNMEASURABLE
    assert judge({}).ruling.word is Word.UNMEASURABLE
    assert "full form" not in judge({}).checks


def test_the_cooled_reading() -> None:
    """Softmax that gains everything in the cooldown: the end losses say one thing, the cooled ones another."""
    found = histories() | {name: falling(1.5, cooled=0.001) for name in c13.DEFINITIONS}
    assert judge(found).ruling.word is Word.REPRODUCED
    cooled = judge(found, "cooled")
    assert cooled.ruling.word is Word.NOT
    assert {unit.state for unit in cooled.units if unit.decides} == {REV}
    assert {unit.statistic for unit in cooled.units} == {c13.COOLED_LOSSES}
    assert judge(found).checks["cooled"] is False
    assert "cooled" not in cooled.checks
    assert any("not robust: cooled" in flag for flag in judge(found).flags)


def test_what_is_decided_by_construction() -> None:
    """Where linear attention ends below the reach of softmax by more than the margin."""

    def remarked(linear: float) -> list[str]:
        verdict = judge(histories(linear=linear))
        assert tables.beforehand(verdict) == [unit for unit in verdict.units if unit.remarks]
        return [unit.case for unit in tables.beforehand(verdict)]

    assert remarked(0.01) == ["softmax, SGD", "softmax, Adam"]
    assert remarked(LEAST / 1.3) == ["softmax, SGD", "softmax, Adam"]
    assert remarked(LEAST / 1.26) == [], "of seed 3 it is too close"
    assert any(flag.startswith(c13.CONSTRUCTION) for flag in judge(histories()).flags)


def test_the_full_form_is_judged_beside() -> None:
    verdict = judge(histories())
    assert [(unit.case, unit.state) for unit in tables.full_units(verdict)] == [
        (f"{HEADS[1]}, SGD", YES), (f"{HEADS[1]}, Adam", YES),
    ]  # fmt: skip
    otherwise = judge(histories() | {HEADS[1]: falling(0.1)})
    assert otherwise.ruling == verdict.ruling
    assert otherwise.checks["full form"] is False


def test_a_loss_that_is_never_reached_gives_a_bound() -> None:
    found = histories(linear=4.5)
    table = c13.steps_to_end_loss("softmax", "linear", found, "adam")
    assert table["censored"].all()
    assert (table["steps"] == STEPS).all()
    unit = next(unit for unit in c13.units_of("softmax", found, LEAST, True) if unit.keys.part == "speed")
    assert unit.state is UNDECIDED
    assert made_up.number(unit).bound == "<="
    assert unit.flags[0] == "upper bound"


def test_deviations() -> None:
    short = judge(histories(), budget=ATTENTION("paper")).deviations
    assert "batches of 250 prompts instead of 1,000" in short
    assert c13.behaviour_deviations(ATTENTION_PROTOCOL) == (c13.FIRST_HALF,)
    assert len(c13.behaviour_deviations(ATTENTION("quick"))) > 5


def test_budgets() -> None:
    for scale, budget in ATTENTION.items():
        assert set(budget.sparse.training.settings) == set(ATTENTION_TITLES), scale
        assert budget.full.settings == (FULL_LINEAR, *HEADS.values())
        for training, horizon in (
            (budget.sparse.training, budget.sparse.training.steps), (budget.full, budget.tuning_steps),
        ):  # fmt: skip
            assert training.screening == horizon
            assert training.minima > 0
            assert set(training.rates) <= set(PROTOCOL.rates)
        steps = set(range(0, budget.sparse.training.steps + 1, budget.sparse.training.every))
        assert {*budget.sparse.curvature.probes, *budget.sparse.curvature.judged} <= steps
    longer = variants.changed_attention(ATTENTION("paper"), seeds=3, steps=500)
    assert {b.seeds for b in (longer.sparse.training, longer.full, longer.sparse.noise)} == {3}
    assert {b.steps for b in (longer.sparse.training, longer.full)} == {500}
    assert variants.changed_attention(ATTENTION("paper")) == ATTENTION("paper")


def test_problems_differ_in_attention_alone() -> None:
    first = PROBLEMS["1"]
    for kind in ATTENTION_TITLES:
        assert isinstance(first.model, lt.LinearTransformer)
        assert PROBLEMS[kind].model == replace(first.model, attention=kind)
        assert (PROBLEMS[kind].task, PROBLEMS[kind].clip) == (first.task, first.clip)
    full = PROBLEMS[FULL_LINEAR].model
    assert isinstance(full, lt.LinearTransformer)
    assert (full.form, full.attention, full.heads) == ("full", "linear", 1)
    for heads, name in HEADS.items():
        assert PROBLEMS[name].model == replace(full, attention="softmax", heads=heads)


def test_units_of_heads() -> None:
    cases = {f"{heads} heads": (name, FULL_LINEAR) for heads, name in HEADS.items()}
    units = tables.loss_units(cases, histories())
    assert [unit.state for unit in units] == [YES] * 2 + [NULL] * 2 + [REV] * 2
    assert units[0].case == "1 heads, SGD"
    assert made_up.number(units[0]).estimate == pytest.approx(2)
    assert {unit.state for unit in tables.loss_units(cases, {})} == {MISSING}


def test_sizes_of_cases_in_a_list() -> None:
    """A title with a comma is told from the optimizer behind it; what stands beside is left out."""
    units = tables.loss_units({"softmax, visible keys": ("softmax-visible", "linear")}, histories())
    assert [tables.clear(unit.case) for unit in units] == [f"softmax over visible keys, {o}" for o in ("SGD", "Adam")]
    words = dict.fromkeys(("yes", "weak", "null", "rev", "undecided"), "{cases}")
    assert tables.result(units, words, units[:1]).startswith("softmax over visible keys (Adam)")


def test_exercises_answer() -> None:
    found = histories()
    [first, second] = tables.factor_share(found).splitlines()
    assert first.startswith("- SGD")
    assert second.startswith("- Adam")
    assert tables.factor_share({}) == tables.opposite_keys({}) == "Not measured at this scale."


def test_the_reach_of_the_public_codes_softmax() -> None:
    reach = variants.reachable(prompts=2000)
    assert reach.factor == pytest.approx((1 + 1 / 20) ** 3 - 1)
    assert reach.least == pytest.approx(2.85, abs=0.5)


def test_gaps_by_kind() -> None:
    """The unit of C1 that decides, under the attention's title."""
    kinds = {
        title: {"C1": Behaviour((made_up.unit(state), made_up.unit(NULL, decides=False)))}
        for title, state in zip(ATTENTION_TITLES.values(), (YES, NULL, UNDECIDED, MISSING), strict=True)
    }
    units = tables.gaps(kinds, ATTENTION_TITLES)
    assert [unit.case for unit in units] == list(ATTENTION_TITLES.values())
    assert [unit.state for unit in units] == [YES, NULL, UNDECIDED, MISSING]


def test_panels_with_axes_of_their_own() -> None:
    """A loss that hardly falls has a linear axis that it fills; one that falls by decades a logarithmic one."""
    found = histories()
    figure = figures.typical_curves({name: found[name] for name in ("linear", "softmax")}, own_axes=True)
    falls, flat = figure.axes
    assert (falls.get_yscale(), flat.get_yscale()) == ("log", "linear")
    low, high = flat.get_ylim()
    assert low < 4.0 < 5.0 < high < 5.5, "from what softmax reaches to the zero predictor"
    assert falls.get_ylim()[0] < 0.01
    together = figures.typical_curves({name: found[name] for name in ("linear", "softmax")})
    assert {axes.get_yscale() for axes in together.axes} == {"log"}
    assert len({axes.get_ylim() for axes in together.axes}) == 1


def test_runs_that_learn_nothing() -> None:
    found = histories(public=5.5)
    assert [name for name in (*ATTENTION_TITLES, "other") if tables.idle(name, found)] == ["softmax"]


@pytest.mark.slow
def test_everything_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick scale, smaller: every kind of attention through every instrument."""
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    quick = variants.changed_attention(ATTENTION("quick"), seeds=2)
    budget = replace(quick, full=replace(quick.full, settings=(FULL_LINEAR, HEADS[1])))
    measured = variants.attention(budget)
    verdict = c13.judge("tuned", "quick", measured.histories, measured.reach.least, budget)
    assert len([unit for unit in verdict.units if unit.decides]) == 4
    table = c13.behaviours(measured, budget)
    assert set(table) == set(ATTENTION_TITLES.values())
    names = [name for name in ATTENTION_TITLES if name in measured.histories]
    assert not any(table[ATTENTION_TITLES[name]]["C2"].missing for name in ATTENTION_TITLES)
    for name in names:
        assert np.isfinite(measured.sparse.steps[name]["value"]).all()
        assert math.isfinite(c13.end_losses(name, measured.histories[name], "adam").sum())
    rows = tables.summary(measured.histories, measured.sparse.tunings, tuple(ATTENTION_TITLES))
    assert len(rows) == 8
    assert rows.loc[0, "state"] == ""
