"""C5 on made-up norms of Hessian and gradient; what its page then says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import BATCHES, interval, measured, number
from scipy import stats

from lintrans.paper.claims import State, Verdict, Word, c5
from lintrans.paper.claims.common import CURVATURE_ASKED, FIXED_BATCH
from lintrans.paper.claims.records import interval_text
from lintrans.paper.claims.wording import NAMES
from lintrans.paper.pages import generalized_smoothness
from lintrans.paper.scales import CURVATURE_PROTOCOL
from lintrans.statistics import Interval, correlation_interval

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State
SEEDS, POINTS = 6, 40


def norms(kind: str, fixed: str = "", batches: Any = BATCHES, bad: int | None = None) -> pd.DataFrame:
    """Norms of H and g: "together", "apart" (turned round), "drift" (levels alone); `bad`: a batch that is apart."""
    noise = {
        (seed, batch): np.random.default_rng([seed, batch + 1]).normal(size=(2, POINTS))
        for seed in range(SEEDS)
        for batch in batches
    }

    def logs(seed: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
        own, kind_here = noise[seed, batch], fixed if fixed and batch < 0 else kind
        if kind_here == "drift":  # both rise, but go opposite ways from one measurement to the next
            steep, turns = np.arange(POINTS) + 0.0, 0.8 * (-1) ** np.arange(POINTS)
            return steep + turns + 0.2 * own[0], steep - turns + 0.2 * own[1]
        sign = -1 if kind_here == "apart" or batch == bad else 1
        return own[0], sign * own[0] + 0.3 * own[1]

    made = {place: logs(*place) for place in noise}
    return measured(
        range(POINTS), SEEDS, batches,
        gradient_norm=lambda s, o, k, b: math.exp(0.1 * made[s, b][0][k]),
        spectral_norm=lambda s, o, k, b: math.exp(0.1 * made[s, b][1][k]) if o == "adam" else 1.0 + k,
        hessian_step_norm=lambda s, o, k, b: 1.0 + k,
        directional_smoothness=lambda s, o, k, b: -1.0 if k % 4 else math.exp(0.1 * made[s, b][1][k]),
    )  # fmt: skip


def judge(frames: dict[str, pd.DataFrame]) -> Verdict:
    return c5.judge("published", "paper", frames, CURVATURE_ASKED, CURVATURE_PROTOCOL)


@pytest.mark.parametrize(
    ("kind", "state", "word"),
    [("together", YES, Word.REPRODUCED), ("apart", REV, Word.NOT), ("drift", WEAK, Word.PARTLY)],
)
def test_verdicts_on_made_up_norms(kind: str, state: State, word: Word) -> None:
    """Levels and differences, by Fisher's z over seeds and batches; intervals stay inside the possible."""
    frame = norms(kind)
    verdict = judge(dict.fromkeys("123", frame))
    assert [unit.state for unit in verdict.units if unit.decides] == [state] * 3
    assert (verdict.ruling.word, verdict.checks) == (word, {FIXED_BATCH: True})
    levels, differences = number(verdict.units[0]), number(verdict.units[3])
    assert verdict.units[3].keys.part == c5.PART
    rows = frame[(frame["optimizer"] == "adam") & (frame["batch"] >= 0)]
    wide = rows.pivot(index=["seed", "batch", "step"], columns="metric", values="value")
    for found, change in ((levels, False), (differences, True)):
        table = np.empty((SEEDS, 3))
        for seed in range(SEEDS):
            for batch in range(3):
                own = np.log(wide.xs((seed, batch))[["gradient_norm", "spectral_norm"]].to_numpy(np.float64))
                own = np.diff(own, axis=0) if change else own
                table[seed, batch] = stats.spearmanr(own[:, 0], own[:, 1]).statistic
        expected = correlation_interval(table, POINTS - change)
        assert (found.estimate, found.low, found.high) == pytest.approx(
            (expected.estimate, expected.low, expected.high)
        )
        assert -1 <= found.low <= found.high <= 1
    assert (differences.estimate < 0) == (kind in ("apart", "drift"))


def test_one_bad_prompt_decides_nothing() -> None:
    verdict = judge(dict.fromkeys("123", norms("together", fixed="apart")))
    assert (verdict.ruling.word, verdict.checks) == (Word.REPRODUCED, {FIXED_BATCH: False})
    units = judge(dict.fromkeys("123", norms("together", batches=range(-1, 16), bad=7))).units
    assert {unit.state for unit in units if unit.decides} <= {YES, WEAK, UNDECIDED}


@pytest.mark.parametrize(
    ("levels", "differences", "state"),
    [
        (interval(0.4, 0.2, 0.6), interval(0.4, 0.2, 0.6), YES),
        (interval(0.4, 0.2, 0.6), interval(0.2, 0.1, 0.3), WEAK),
        (interval(0.4, 0.2, 0.6), interval(-0.4, -0.5, -0.3), WEAK),
        (interval(0.4, 0.2, 0.6), interval(0.4, -0.1, 0.9), WEAK),
        (interval(0.2, 0.1, 0.3), interval(0.4, 0.2, 0.6), WEAK),
        (interval(0.0, -0.1, 0.1), interval(0.4, 0.2, 0.6), NULL),
        (interval(-0.4, -0.6, -0.2), interval(0.4, 0.2, 0.6), REV),
        (interval(0.4, -0.1, 0.9), interval(0.4, 0.2, 0.6), UNDECIDED),
        (interval(0.4, 0.2, 0.6), None, MISSING),
        (None, interval(0.4, 0.2, 0.6), MISSING),
    ],
)
def test_levels_and_differences_make_a_state(
    levels: Interval | None, differences: Interval | None, state: State
) -> None:
    assert c5.unit_state(levels, differences) is state


def test_lacks_a_setting_or_a_measure() -> None:
    frame = norms("together")
    verdict = judge({"1": frame, "3": frame})
    assert [unit.state for unit in verdict.units if unit.decides] == [YES, MISSING, YES]
    assert verdict.ruling.word is Word.UNMEASURABLE
    without = judge(dict.fromkeys("123", frame[frame["metric"] != "spectral_norm"]))
    assert {unit.state for unit in without.units} == {MISSING}
    one = frame[frame["seed"] == 0]
    assert {unit.state for unit in judge(dict.fromkeys("123", one)).units} == {UNDECIDED}


def test_differences_do_not_reach_over_what_is_undefined() -> None:
    """Curvature that is not positive has no logarithm, and neither have the differences on both sides of it."""
    frame = measured(
        range(6), 1, (0,),
        directional_smoothness=lambda s, o, k, b: -1.0 if k == 2 else 2.0**k,
        gradient_norm=lambda s, o, k, b: math.nan if k == 5 else 3.0**k,
    )  # fmt: skip
    curvature, gradient = (values.to_numpy(float)[:, 0] for values in c5.logs(frame, "adam", "directional_smoothness"))
    np.testing.assert_allclose(curvature / math.log(2), [0, 1, math.nan, 3, 4, math.nan], atol=1e-12)
    np.testing.assert_allclose(gradient / math.log(3), [0, 1, math.nan, 3, 4, math.nan], atol=1e-12)
    assert c5.correlation(frame, "adam", "directional_smoothness", differences=True) is None


def test_every_measure_of_both_optimizers_and_a_bound() -> None:
    frame = norms("together")
    units = c5.all_correlations({"1": frame, "2": frame})
    assert len(units) == 2 * 2 * 3 * 2
    assert not any(unit.decides for unit in units)
    verdict = judge(dict.fromkeys("123", frame))
    shown = next(unit for unit in units if unit.case == "Setting 1, adam")
    assert shown.interval == verdict.units[0].interval
    table = generalized_smoothness.correlation_table(units)
    assert table["optimizer"].tolist() == (["Adam"] * 3 + ["SGD"] * 3) * 2
    assert table.loc[0, "levels"] == f"{interval_text(shown.interval)} {NAMES[shown.state]}"
    bounds = c5.bounds({"1": frame, "2": frame[(frame["step"] < 2) & (frame["seed"] == 0)]})  # two points are too few
    assert bounds["optimizer"].tolist() == ["adam", "sgd"]
    rows = frame[(frame["optimizer"] == "adam") & (frame["batch"] >= 0)]
    adam = rows.pivot_table(index=["seed", "step"], columns="metric", values="value", aggfunc="median")
    [l0, l1] = bounds[["l0", "l1"]].to_numpy(float)[0]
    line = l0 + l1 * adam["gradient_norm"]
    assert np.mean(adam["spectral_norm"] <= line + 1e-9) == pytest.approx(0.95, abs=0.02)
    assert generalized_smoothness.bound_table(bounds)["points"].tolist() == ["240", "240"]


def test_words_of_the_page() -> None:
    frames = {name: norms("drift") for name in "12"}
    verdict = judge(frames)
    units = generalized_smoothness.with_differences(verdict)
    assert [unit.interval for unit in units] == [unit.interval for unit in verdict.units[:3]]
    assert [unit.statistic for unit in units] == [interval_text(unit.interval) for unit in verdict.units[3:5]] + [""]
    assert generalized_smoothness.title(verdict).endswith("in levels only in 2, not measured in 1 of 3 settings")
    assert generalized_smoothness.unshown({"1": frames["1"]}) == f"Setting 1: {SEEDS * 30} of {SEEDS * POINTS}"


def test_the_page_measures_it_otherwise() -> None:
    frames = {name: norms("together") for name in "123"}
    verdict = judge(frames)
    assert generalized_smoothness.title(verdict).endswith("yes in 3 of 3 settings")
    lamps = generalized_smoothness.lamps({"published": (verdict, frames)})
    assert (lamps["test_batch"].kept, lamps["test_batch"].of) == (3, 3)
    assert (lamps["horizon"].kept, lamps["horizon"].of) == (6, 6)
    assert (lamps["convention"].kept, lamps["convention"].of) == (3, 6)  # the length of Hv is unrelated, v'Hv agrees
    assert "L = 2: 0.900, and the law says 0.909" in generalized_smoothness.power_answer({2: 0.9}, {2: 12})
