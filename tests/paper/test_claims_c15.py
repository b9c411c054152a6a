"""C15 on made-up measurements that should pass, should fail, and lack something; its page's tables and numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import made_up
import pandas as pd
import pytest

import lintrans as lt
from lintrans.paper.claims import Keys, State, Unit, Verdict, Word, c15, scorecard
from lintrans.paper.claims.c16 import FEATURES, Behaviour
from lintrans.paper.claims.common import FIXED_BATCH
from lintrans.paper.measure import variants
from lintrans.paper.pages import nonlinear as tables
from lintrans.paper.problems import PROBLEMS
from lintrans.paper.protocol import end_steps
from lintrans.paper.scales import NONLINEAR_BUDGETS, NONLINEAR_PROTOCOL, frame

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State
AGREES = {State.YES: 2.0, State.WEAK: 1.1, State.NULL: 1.0, State.REV: 0.5, State.UNDECIDED: 1.2}


def unit(case: str, state: State, decides: bool = True, p: float = 0.001, step: int | None = None) -> Unit:
    estimate = AGREES.get(state)
    own = None if estimate is None else made_up.interval(estimate, 0.9 * estimate, 1.1 * estimate, p=p)
    return made_up.unit(state, case, "a statistic", interval=own, decides=decides, keys=Keys(step=step))


def found(**states: tuple[State, ...]) -> dict[str, Behaviour]:
    """Behaviours whose units say YES, or what is given."""
    made = {}
    for claim in FEATURES:
        given = states.get(claim, (YES, YES) if claim == "C3" else (YES,))
        steps = range(len(given)) if len(given) > 1 else [None]
        units = [
            unit(claim if step is None else f"{claim}, step {step}", state, step=step)
            for step, state in zip(steps, given, strict=True)
        ]
        made[claim] = Behaviour((*units, unit(f"{claim}, beside", NULL, decides=False)))
    return made


def judge(behaviours: dict[str, Behaviour]) -> Verdict:
    return c15.judge("paper", behaviours, NONLINEAR_PROTOCOL)


def test_reproduced_if_the_first_four_say_yes() -> None:
    verdict = judge(found(C5=(REV,)))
    assert (verdict.claim, verdict.reading, verdict.chapter) == ("C15", "published", "nonlinear")
    assert verdict.ruling.word is Word.REPRODUCED
    assert [unit.case for unit in verdict.units if unit.decides] == [f"{c}: {FEATURES[c]}" for c in c15.DECIDING]
    fifth = next(unit for unit in verdict.units if unit.case.startswith("C5: "))
    assert (fifth.state, fifth.decides) == (REV, False)
    assert verdict.deviations == (c15.FIRST_HALF,)
    assert len({unit.case for unit in verdict.units}) == len(verdict.units)


@pytest.mark.parametrize(
    ("states", "word"),
    [
        ({"C1": (WEAK,)}, Word.PARTLY),
        ({"C2": (NULL,)}, Word.PARTLY),
        ({"C3": (YES, NULL)}, Word.PARTLY),
        (dict.fromkeys(c15.DECIDING, (NULL,)), Word.NOT),
        (dict.fromkeys(c15.DECIDING, (REV,)), Word.NOT),
        (dict.fromkeys(c15.DECIDING, (UNDECIDED,)), Word.UNMEASURABLE),
        ({"C4": (MISSING,)}, Word.UNMEASURABLE),
        ({"C5": (MISSING,)}, Word.REPRODUCED),
    ],
)
def test_other_verdicts(states: dict[str, tuple[State, ...]], word: Word) -> None:
    verdict = judge(found(**states))
    assert verdict.ruling.word is word
    if word is Word.PARTLY:
        assert all(case.split(":")[0] in c15.DECIDING for case in verdict.ruling.where)


def test_the_weaker_of_two_steps_counts() -> None:
    """By state, then by the larger p-value; both stand beside it."""
    verdict = judge(found(C3=(WEAK, YES)))
    own = next(unit for unit in verdict.units if unit.case.startswith("C3: "))
    assert own.state is WEAK
    assert made_up.number(own).estimate == AGREES[WEAK]
    assert "weaker of 2" in own.statistic
    beside = [unit for unit in verdict.units if unit.case.startswith("C3, ")]
    assert [unit.state for unit in beside] == [WEAK, YES, NULL]
    assert not any(unit.decides for unit in beside)
    sure, doubted = unit("C3, a", YES, p=1e-6), unit("C3, b", YES, p=0.01)
    assert c15.unit_of("C3", Behaviour((sure, doubted))).interval is doubted.interval
    assert c15.unit_of("C3", Behaviour((unit("C3, a", YES), unit("C3, b", MISSING)))).state is MISSING


def test_a_behaviour_that_was_not_measured() -> None:
    whole = found()
    del whole["C2"]
    verdict = judge(whole)
    assert verdict.ruling.word is Word.UNMEASURABLE
    assert next(unit for unit in verdict.units if unit.case.startswith("C2: ")).state is MISSING


def test_scales_say_what_they_lack() -> None:
    paper = c15.judge("paper", found(), NONLINEAR_BUDGETS["paper"]).deviations
    assert paper == (
        "batches of 1,000 prompts instead of 2,000",
        "typical losses from 200 blocks instead of 1,000",
        "noise: 1,000 minibatches instead of 10,000",
        "noise: the gradient estimated on 100,000 prompts instead of 200,000",
        "noise: minibatches of 1,000 prompts instead of 2,000",
        c15.FIRST_HALF,
    )
    quick = c15.judge("quick", found(), NONLINEAR_BUDGETS["quick"]).deviations
    assert any("horizon" in text for text in quick)
    assert any("batches of 100 prompts" in text for text in quick)


def test_the_claim_is_registered() -> None:
    assert scorecard.CLAIMS["C15"] is c15
    setting = PROBLEMS[c15.NAME]
    assert (setting.lr["sgd"], setting.lr["adam"], setting.clip) == (0.05, 0.01, 1.0)


def conditions(sgd: float, adam: float, steps: tuple[int, ...] = (1, 750, 1250, 2000)) -> pd.DataFrame:
    rows = [
        (optimizer, seed, step, metric, value * (1 + 0.02 * seed) * (1 if batch < 0 else 3), batch)
        for optimizer, value in (("sgd", sgd), ("adam", adam))
        for seed in range(5)
        for step in steps
        for metric in ("r_lower", "r_midpoint")
        for batch in (-1, 0, 1)
    ]
    return pd.DataFrame(rows, columns=["optimizer", "seed", "step", "metric", "value", "batch"])


def test_ratio_table_beside_the_notebook() -> None:
    table = tables.ratios(conditions(55.0, 10.0)).set_index("step")
    assert list(table.index) == ["1", "750", "1,250", "2,000"]
    assert table.loc["750", "notebook"] == "5.41 (3.96)"
    assert table.loc["750", "ratio, lower median"] == "5.50 (0.00)"
    assert list(table["agrees"]) == ["no", "yes", "yes", "no number"]
    assert tables.late(conditions(55.0, 10.0)) == (2000, 0, 5)
    assert tables.late(conditions(5.0, 10.0)) == (2000, 5, 5)


def test_other_ways_to_judge() -> None:
    """C1 after a cooldown, C3 without structural zeros, C3 and C4 on the fixed batch."""

    def beside(state: State, convention: str | None = None, part: str | None = None) -> Unit:
        return made_up.unit(state, "beside", decides=False, keys=Keys(convention=convention, part=part))

    def behaviours(cooled: State, used: State, fixed: State) -> dict[str, Behaviour]:
        made = found()
        others = {
            "C1": (beside(cooled, part=c15.COOLED),),
            "C3": (*[beside(used, convention=c15.USED)] * 2, *[beside(fixed, part=FIXED_BATCH)] * 2),
            "C4": (beside(YES, part=FIXED_BATCH),),
        }
        return made | {claim: Behaviour((*made[claim].units, *units)) for claim, units in others.items()}

    assert judge(behaviours(YES, WEAK, UNDECIDED)).checks == {
        "cooled": True, "without structural zeros": True, FIXED_BATCH: False,
    }  # fmt: skip
    assert judge(behaviours(REV, NULL, YES)).checks == {
        "cooled": False, "without structural zeros": False, FIXED_BATCH: True,
    }  # fmt: skip
    assert judge(found()).checks == {}, "nothing was measured otherwise"


def test_the_second_moment_is_not_the_zero_predictors_loss() -> None:
    """E||x||^2 = 5 whatever the features; f0 has a column where it is another number, with two digits."""
    [row] = frame([c15.NAME]).to_dict("records")
    assert row[r"$\mathbb{E}\lVert x \rVert^2$"] == "5"
    assert float(row["$f_0$"]) == pytest.approx(PROBLEMS[c15.NAME].task.zero_loss, rel=0.02)
    assert len(row["$f_0$"]) <= len("0.30")
    assert "$f_0$" not in frame(["1", "2", "3"])


def test_when_sgd_catches_up() -> None:
    """Typical losses that fall linearly to an end value in 100 steps."""

    def falling(sgd: float) -> lt.History:
        ends = {"sgd": sgd, "adam": 0.001}

        def loss(seed: int, optimizer: str, step: int, lr: float) -> float:
            return 0.2 + (ends[optimizer] - 0.2) * min(1.0, step / 100)

        return made_up.history(loss, 3, 100, every=10, ends=end_steps(100))

    early, level, reached = tables.catch_up(falling(0.1))
    assert (early, reached) == (10, 20)
    assert level == pytest.approx(0.1801)
    assert tables.catch_up(falling(0.19))[2] is None
    assert tables.end_losses(falling(0.1))["sgd"] == pytest.approx(0.102, abs=1e-3)


def test_numbers_of_behaviours() -> None:
    behaviours = found(C3=(YES, NULL), C5=(MISSING,))
    assert tables.numbers(behaviours["C1"]) == "a statistic 2 [1.8, 2.2] holds"
    assert tables.numbers(behaviours["C3"]) == "step 0 2 [1.8, 2.2] holds; step 1 1 [0.9, 1.1] no difference"
    assert tables.numbers(behaviours["C5"]) == "a statistic not measured"


@pytest.mark.slow
def test_measured_as_a_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """The least budget there is, through training, noise and curvature to a verdict."""
    pytest.importorskip("numba")
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    quick = NONLINEAR_BUDGETS["quick"]
    tiny = replace(
        quick,
        training=replace(quick.training, steps=8, seeds=2, batch=10, blocks=1, every=1),
        curvature=replace(
            quick.curvature, seeds=2, probes=(1, 2, 4), judged=(2, 4), settled=2, spectral=(1, 7, 1), batch=5
        ),
        noise=replace(quick.noise, seeds=2, samples=12, batch=5, reference=2000),
    )
    measured = variants.nonlinear(tiny)
    assert set(measured.conditions["step"]) == {1, 2, 4}
    assert set(measured.norms["optimizer"]) == {"adam"}
    behaviours = c15.behaviours(measured, tiny)
    assert not any(behaviour.missing for behaviour in behaviours.values())
    verdict = c15.judge("quick", behaviours, tiny)
    assert all(unit.interval is not None and math.isfinite(unit.interval.estimate) for unit in verdict.units[:5])
    assert tables.ratios(measured.conditions)["agrees"].isin(["yes", "no", "no number"]).all()
