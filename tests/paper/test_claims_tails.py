"""C6 to C8 on made-up numbers that should pass, fail and stay open, and where runs never get there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up
import numpy as np
import pandas as pd
import pytest
from made_up import interval
from scipy import stats

import lintrans as lt
from lintrans.paper.claims import State, Verdict, Word, c6, c7, c8, tails
from lintrans.paper.claims.c3 import CONVENTIONS, MATCHED
from lintrans.paper.claims.common import CURVATURE_ASKED
from lintrans.paper.claims.records import record, verdict_records
from lintrans.paper.claims.tails import Levels, Trend
from lintrans.paper.judged import COARSE_LOSS, Judged, end_steps
from lintrans.paper.pages import heavy_tails as shown
from lintrans.paper.scales import CURVATURE_PROTOCOL, NOISE_PROTOCOL, PROTOCOL
from lintrans.statistics import Interval
from lintrans.store.store import Store

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State
NAN = math.nan
SPREAD = (1.0, 1.03, 0.98, 1.01)
"""Factors of four seeds about 1."""
TWO_KINDS = (2.0, 2.2, 1.9, 2.0, 2.1, 0.99)
"""Ratios of six seeds that t says differ from 1, and the sign-flip test does not."""
STEPS = 1000
FLOOR = 0.01
TARGET = 1.01 * FLOOR + 0.01
"""Of a run whose typical loss ends at FLOOR, where f0 = 1."""


# C6


def noise_of(excess: list[float], seeds: list[int] | None = None) -> pd.DataFrame:
    return pd.DataFrame({"seed": seeds or range(len(excess)), "excess": excess, "excess_999": excess})


@pytest.mark.parametrize(
    ("factor", "state", "word"),
    [(2.0, YES, Word.REPRODUCED), (1.2, WEAK, Word.PARTLY), (1.05, NULL, Word.NOT), (0.7, REV, Word.NOT)],
)
def test_c6(factor: float, state: State, word: Word) -> None:
    tables = {"3": noise_of([1.2 * factor * x for x in SPREAD]), "sphere": noise_of([1.2] * 4)}
    verdict = c6.judge("paper", tables, NOISE_PROTOCOL)
    assert [unit.decides for unit in verdict.units] == [True, False]
    assert {unit.state for unit in verdict.units} == {state}
    assert verdict.ruling.word is word
    assert (verdict.claim, verdict.reading, verdict.chapter, verdict.deviations) == ("C6", "init", "heavy_tails", ())
    found = made_up.number(verdict.units[0])
    assert found.estimate == pytest.approx(factor * math.exp(np.log(SPREAD).mean()))


def test_c6_pairs_initializations_and_needs_both_settings() -> None:
    tables = {"3": noise_of([2.0, 4.0, 8.0]), "sphere": noise_of([4.0, 2.0], [1, 0])}
    found = made_up.number(c6.judge("paper", tables, NOISE_PROTOCOL).units[0])
    assert (found.n, found.estimate) == pytest.approx((2, 1.0))
    alone = c6.judge("paper", {"3": tables["3"]}, NOISE_PROTOCOL)
    assert alone.ruling.word is Word.UNMEASURABLE
    assert alone.deviations == ("settings not measured: sphere",)
    lost = c6.judge("paper", {**tables, "3": noise_of([2.0, NAN])}, NOISE_PROTOCOL)
    assert lost.units[0].state is MISSING


def test_c6_shows_the_trend_beside() -> None:
    tables = {name: noise_of([1.0, 1.1]) for name in tails.PAIR}
    rising = Trend("moment", "noise", 1.0, 0.003, interval(0.9, 0.7, 1.0), 6)
    verdict = c6.judge("paper", tables, NOISE_PROTOCOL, rising)
    assert (verdict.units[-1].case, verdict.units[-1].state) == ("along 6 levels", YES)
    assert not verdict.units[-1].decides
    assert verdict.checks == {"q99.9": True, "all levels": False}  # the levels grow, the pair does not
    unknown = c6.judge("paper", tables, NOISE_PROTOCOL, replace(rising, seeds=None))
    assert unknown.units[-1].state is MISSING
    short = c6.judge("quick", tables, replace(NOISE_PROTOCOL, seeds=4, samples=100))
    assert short.deviations == ("4 initializations instead of 16", "100 minibatches instead of 10,000")


# C7

PROBES = (0, 250, 500, 1000)


def conditions(
    ratios: float | Sequence[float], metrics: dict[str, float] | None = None, fixed: float = 1.0
) -> pd.DataFrame:
    """R_med of every convention on the fixed and two evaluation batches.

    SGD's is `ratios` (one a seed; if one alone, times SPREAD) times Adam's from step 250 on, by `metrics` more in some
    of the conventions, by `fixed` more on the fixed batch.
    """
    each = [ratios * factor for factor in SPREAD] if isinstance(ratios, float) else ratios
    more = {**dict.fromkeys(CONVENTIONS, 1.0), **(metrics or {})}
    rows = [
        (
            o,
            seed,
            step,
            metric,
            batch,
            5.0 * (x * factor * (fixed if batch < 0 else 1.0) if o == "sgd" and step else 1.0),
        )
        for o in ("sgd", "adam")
        for seed, x in enumerate(each)
        for step in PROBES
        for metric, factor in more.items()
        for batch in (-1, 0, 1)
    ]
    return pd.DataFrame(rows, columns=["optimizer", "seed", "step", "metric", "batch", "value"])


def history_of(
    sgd: Callable[[int], float], adam: Callable[[int], float], seeds: int = 4, floor: float = FLOOR, end: float = 0.0
) -> lt.History:
    """Runs that reach the target at the given step (a function of the seed; never, if infinite); SGD's end is `end`."""

    def loss(seed: int, optimizer: str, step: int, lr: float) -> float:
        return floor if step >= {"sgd": sgd, "adam": adam}[optimizer](seed) else 0.5

    made = made_up.history(loss, seeds, STEPS, every=50, ends=end_steps(STEPS))
    ends = made.frame["metric"] != COARSE_LOSS
    high = (made.frame["optimizer"] == "sgd") & (made.frame["step"] <= STEPS)
    made.frame.loc[ends, "value"] = floor
    made.frame.loc[ends & high, "value"] = end or floor
    return made


def fast(step: float) -> Callable[[int], float]:
    return lambda seed: step


def judged_of(heavy: lt.History | None, light: lt.History | None, **others: dict[str, lt.History]) -> Judged:
    """Trainings of one reading, named published, and of others."""
    own = {name: history for name, history in zip(tails.PAIR, (heavy, light), strict=True) if history is not None}
    return Judged({"published": own, **others}, {})


SAME = history_of(fast(200), fast(100), seeds=6)
PLAIN = judged_of(SAME, SAME)


def judge7(heavy: pd.DataFrame | None, light: pd.DataFrame | None, **options: Any) -> Verdict:
    frames = {name: frame for name, frame in zip(tails.PAIR, (heavy, light), strict=True) if frame is not None}
    curvature = options.pop("curvature", replace(CURVATURE_PROTOCOL, probes=PROBES))
    return c7.judge("published", "paper", frames, PLAIN, CURVATURE_ASKED, curvature, **options)


EVEN = conditions([2.0] * 6)


@pytest.mark.parametrize(
    ("heavy", "state", "word"),
    [
        (6.0, YES, Word.REPRODUCED), (2.4, WEAK, Word.PARTLY), (2.1, NULL, Word.NOT), (1.0, REV, Word.NOT),
        ([2.0, 9.0, 1.5, 0.7], UNDECIDED, Word.UNMEASURABLE),
        ([2.0 * ratio for ratio in TWO_KINDS], UNDECIDED, Word.UNMEASURABLE),
    ],
)  # fmt: skip
def test_c7(heavy: float | list[float], state: State, word: Word) -> None:
    """Step 0 does not count; the spread is Setting 3's alone here."""
    verdict = judge7(conditions(heavy), EVEN)
    [decides] = [unit for unit in verdict.units if unit.decides]
    assert (decides.case, decides.state, verdict.ruling.word) == (c7.CASE, state, word)
    each = [heavy * factor for factor in SPREAD] if isinstance(heavy, float) else heavy
    assert made_up.number(decides).estimate == pytest.approx(math.exp(np.log(each).mean()) / 2.0)
    assert len(verdict.units) == len(CONVENTIONS) + 2
    assert any("two kinds" in flag for flag in verdict.flags) == (len(each) == 6)


def test_c7_is_robust_only_if_every_other_way_agrees() -> None:
    light = EVEN
    agree = judge7(conditions(6.0), light)
    assert agree.robust
    other = judge7(conditions(6.0, {"r_used": 0.1}), light)
    sample = judge7(conditions(6.0, fixed=0.1), light)
    levels = Levels({}, {"3": conditions(1.0), "tail sphere": conditions([3.0] * 4)}, {}, {})
    clip = judge7(conditions(6.0), light, levels=levels, first=250)
    for verdict, name in ((other, "other conventions"), (sample, "fixed batch"), (clip, "equal clip")):
        assert [check for check, holds in verdict.checks.items() if not holds] == [name]
        assert verdict.ruling.word is Word.REPRODUCED
        assert [unit.state for unit in verdict.units].count(REV) == 1
        assert name in shown.gap_in_r(verdict)


def test_c7_at_matched_loss() -> None:
    """Adam is below the target at step 250 already, SGD at 500 in Setting 3, where the gap is reversed from then on."""
    late = conditions(6.0)
    late.loc[(late["step"] >= 500) & (late["optimizer"] == "sgd"), "value"] /= 30
    judged = judged_of(history_of(fast(500), fast(100)), SAME)
    curvature = replace(CURVATURE_PROTOCOL, probes=PROBES)
    verdict = c7.judge("published", "paper", {"3": late, "sphere": EVEN}, judged, CURVATURE_ASKED, curvature)
    [matched] = [unit for unit in verdict.units if unit.case.endswith(MATCHED)]
    assert matched.state is REV
    assert made_up.number(matched).estimate == pytest.approx(0.1 * math.exp(np.log(SPREAD).mean()))


def test_c7_needs_both_settings_and_names_what_is_short() -> None:
    verdict = judge7(conditions(6.0), None)
    assert {unit.state for unit in verdict.units} == {MISSING}
    assert verdict.ruling.word is Word.UNMEASURABLE
    assert "settings not run: sphere" in verdict.deviations
    small = replace(CURVATURE_PROTOCOL, probes=(0, 250), seeds=3, batches=2)
    assert judge7(conditions(6.0), EVEN, curvature=small).deviations == (
        "condition numbers averaged over steps 250 instead of 250, 750, 1,250, 2,500, 5,000, 7,500, 10,000",
        "curvature of 3 seeds instead of 12",
        "curvature on 2 evaluation batches instead of 16",
    )
    assert judge7(conditions(6.0), EVEN, curvature=CURVATURE_PROTOCOL).deviations == ()


# C8


def judge8(sgd3: float, adam3: float, sgd: float, adam: float, **options: Any) -> Verdict:
    """Steps of each optimizer in Setting 3, then on the sphere; all seeds alike."""
    judged = judged_of(history_of(fast(sgd3), fast(adam3)), history_of(fast(sgd), fast(adam)))
    return c8.judge("published", "paper", judged, PROTOCOL, **options)


def states(verdict: Verdict) -> list[State]:
    return [unit.state for unit in verdict.units if unit.decides]


def growth_of(verdict: Verdict) -> State:
    return {unit.case: unit.state for unit in verdict.units}[c8.GROWTH]


@pytest.mark.parametrize(
    ("steps", "decide", "growth", "word"),
    [
        ((1000, 1000, 500, 500), [YES, YES, YES], NULL, "reproduced"),
        ((900, 200, 200, 100), [YES, YES, REV], YES, "partly reproduced (SGD, Adam)"),
        ((200, 800, 400, 200), [REV, YES, REV], REV, "partly reproduced (Adam)"),
        ((100, 100, 100, 100), [UNDECIDED, UNDECIDED, UNDECIDED], UNDECIDED, "not measurable here (undecided)"),
    ],
)
def test_c8(steps: tuple[int, int, int, int], decide: list[State], growth: State, word: str) -> None:
    """Where all is faster and the gap stays; where it grows; where it shrinks; where the grid is too coarse to say."""
    verdict = judge8(*steps)
    assert [unit.case for unit in verdict.units if unit.decides] == ["SGD", "Adam", c8.GAP_CASE]
    assert (states(verdict), growth_of(verdict), str(verdict.ruling)) == (decide, growth, word)
    assert verdict.deviations == ()
    assert all(found.low < found.high for found in map(made_up.number, verdict.units[:4]))
    words = {YES: "**stays**", REV: "**changes**", UNDECIDED: "may stay or change"}
    assert words[decide[2]] in shown.speeds(verdict)
    assert ("contradicts this claim" in shown.summary_and_claim(verdict)) == (growth is YES)


NEVER = math.inf


@pytest.mark.parametrize(
    ("steps", "bounds", "decide", "growth"),
    [
        ((NEVER, 100, 100, 100), (">=", "", ">="), [YES, UNDECIDED, REV], YES),  # large already: it decides
        ((NEVER, 900, 900, 900), (">=", "", ">="), [UNDECIDED, NULL, UNDECIDED], UNDECIDED),  # no bound says "alike"
        ((100, 900, NEVER, 900), ("<=", "", "<="), [REV, NULL, REV], REV),
        ((NEVER, 100, NEVER, 100), ("?", "", "?"), [UNDECIDED, UNDECIDED, UNDECIDED], UNDECIDED),
        ((NEVER, NEVER, 200, 100), (">=", ">=", "?"), [YES, YES, UNDECIDED], UNDECIDED),
    ],
)
def test_c8_where_runs_never_get_there(
    steps: tuple[float, ...], bounds: tuple[str, ...], decide: list[State], growth: State
) -> None:
    verdict = judge8(*steps)
    assert tuple(made_up.number(unit).bound for unit in verdict.units[:3]) == bounds
    assert (states(verdict), growth_of(verdict)) == (decide, growth)
    table = shown.steps("published", judged_of(history_of(fast(steps[0]), fast(steps[1])), SAME))
    count = 4 if math.isinf(steps[0]) else 0
    assert table.loc[0, "SGD: never reached"] == f"{count} of 4"
    assert table.loc[0, "SGD: median steps"] == ("not reached" if count else f"{steps[0]}")
    assert table.loc[0, "target 1.01 f* + 1 % f0"] == f"{TARGET:.3g}"


def test_one_floor_over_all_readings() -> None:
    """A lower floor of another reading makes the target lower, so that a run that stops at its own never gets there."""
    judged = judged_of(history_of(fast(800), fast(800), floor=0.03), SAME)
    assert not made_up.number(c8.judge("published", "paper", judged, PROTOCOL).units[0]).bound
    further = judged_of(history_of(fast(800), fast(800), floor=0.03), SAME, tuned={"3": SAME, "sphere": SAME})
    assert made_up.number(c8.judge("published", "paper", further, PROTOCOL).units[0]).bound == ">="


def test_c8_needs_both_settings() -> None:
    verdict = c8.judge("published", "quick", judged_of(SAME, None), replace(PROTOCOL, seeds=12))
    assert states(verdict) == [MISSING] * 3
    assert verdict.ruling.word is Word.UNMEASURABLE
    assert verdict.deviations == ("settings not run: sphere", "12 judging seeds instead of 24")
    assert growth_of(verdict) is MISSING


def test_c8_shows_clip_and_losses_beside() -> None:
    light = history_of(fast(200), fast(100))
    levels = Levels({"3": history_of(fast(800), fast(100), end=0.03), "tail sphere": light}, {}, {}, {})
    judged = judged_of(light, light, tuned=dict.fromkeys(tails.PAIR, light))
    verdict = c8.judge("tuned", "paper", judged, PROTOCOL, levels)
    beside = {unit.case: unit for unit in verdict.units if not unit.decides}
    assert beside[f"{c8.GAP_CASE}, end loss"].state is NULL
    assert beside[f"{c8.GAP_CASE}, cooled"].state is NULL
    gap, ends = (beside[f"{c8.GAP_CASE}{what}, {tails.AT_CLIP}"] for what in ("", ", end loss"))
    assert (made_up.number(gap).estimate, made_up.number(ends).estimate) == pytest.approx((4.0, 3.0))
    assert verdict.checks == {"equal clip": True}  # nothing decides that could be contradicted
    grown = c8.judge("published", "paper", judged_of(history_of(fast(800), fast(800)), light), PROTOCOL, levels)
    assert grown.checks == {"equal clip": False}


@pytest.mark.parametrize(
    ("gap", "state"),
    [
        (interval(1.0, 0.8, 1.25), YES),
        (interval(1.15, 1.1, 1.2), YES),  # apart from 1, yet inside
        (interval(1.0, 0.79, 1.2), UNDECIDED),
        (interval(1.5, 1.2, 1.9), UNDECIDED),
        (interval(1.5, 1.26, 1.9), REV),
        (interval(0.6, 0.5, 0.79), REV),
        (replace(interval(1.0, 0.9, 1.1), bound=">="), UNDECIDED),
        (replace(interval(1.5, 1.26, 1.9), bound=">="), REV),
        (replace(interval(1.5, 1.26, 1.9), bound="<="), UNDECIDED),
        (replace(interval(0.6, 0.5, 0.79), bound="<="), REV),
        (replace(interval(0.6, 0.5, 0.79), bound="?"), UNDECIDED),
        (replace(interval(1.5, 1.26, 1.9), flip=0.06), UNDECIDED),
        (interval(1.0, NAN, NAN), UNDECIDED),
        (interval(NAN, NAN, NAN), MISSING),
        (None, MISSING),
    ],
)
def test_states_of_the_gap(gap: Interval | None, state: State) -> None:
    assert c8.gap_state(gap) is state


def test_p_of_equivalence_goes_with_the_interval() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        logs = rng.normal(rng.uniform(-0.3, 0.3), 0.15, size=8)
        low, high = stats.t.interval(0.95, 7, loc=logs.mean(), scale=stats.sem(logs))
        inside = -math.log(1.25) < low and high < math.log(1.25)
        assert (c8.equivalence_p(logs) < 0.05) == inside
    assert [c8.equivalence_p(np.full(5, value)) for value in (0.0, 1.0)] == [0.0, 1.0]
    assert math.isnan(c8.equivalence_p(np.zeros(1)))


def test_the_gaps_p_is_that_of_equivalence() -> None:
    """So that a gap that stays survives Holm beside two units that fail."""
    judged = judged_of(
        history_of(lambda seed: 950 if seed % 2 else 1000, fast(1000), seeds=8),
        history_of(lambda seed: 1000 if seed % 2 else 950, fast(1000), seeds=8),
    )
    _, _, decides, growth, *_ = c8.judge("published", "paper", judged, PROTOCOL).units
    assert (decides.state, decides.keys.part, growth.keys.part) == (YES, "gap", "growth")
    assert made_up.number(growth).p == pytest.approx(1.0)
    assert made_up.number(decides).p < 0.001
    bounded = judge8(NEVER, 900, 900, 900).units[2]
    assert made_up.number(bounded).p == 1.0


def test_verdicts_are_kept_with_the_unit_that_c17_reads(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record(judge8(900, 200, 200, 100), store)
    rows = verdict_records("paper", store)["C8", "published"]["rows"]
    [row] = [row for row in rows if row["case"] == c8.GROWTH]
    assert row["state"] == "YES"
    assert row["estimate"] == pytest.approx(900 / 200 / 2)


SHOWN = (("C6", "init"), ("C7", "published"), ("C8", "published"))


def test_claims_are_on_the_scorecard() -> None:
    from lintrans.paper.claims import scorecard

    for name in ("C6", "C7", "C8"):
        claim = scorecard.CLAIMS[name]
        assert scorecard.CLAIMS[claim.CLAIM] is claim
        assert claim.CHAPTER.endswith("heavy_tails")
    chapter = (Path(__file__).parents[2] / "book" / "heavy_tails.md").read_text("utf-8")
    labels = [scorecard.figure_of(scorecard.CLAIMS[name], reading) for name, reading in SHOWN]
    assert all(label.startswith("fig-tails-") and f"name: {label}\n" in chapter for label in labels)


@pytest.mark.parametrize(
    ("end", "sgd", "words"),
    [
        (0.0, 900, "By steps the gap is larger"),
        (0.001, 900, "**contradict**"),
        (0.1, 900, "By steps and by end losses"),
    ],
)
def test_steps_against_loss(end: float, sgd: int, words: str) -> None:
    """SGD's steps in Setting 3 are 9 times the sphere's; its end loss is the sphere's, a tenth or ten times of it."""
    heavy, light = history_of(fast(sgd), fast(100), end=end, floor=FLOOR), history_of(fast(100), fast(100))
    light.runs.loc[light.runs["optimizer"] == "sgd", "lr"] *= 250
    judged = judged_of(heavy, light)
    verdict = c8.judge("published", "paper", judged, PROTOCOL)
    text = shown.steps_against_loss(verdict, judged.published)
    if end == 0.0:
        assert verdict.units[4].state is NULL
        assert "**contradict**" in text
    else:
        assert words in text
    assert "250 times apart for SGD" in text
