"""F1 to F4 on made-up losses: predictions that come true, that fail, that stay open, and no gap to close."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import made_up
import numpy as np
import pandas as pd
import pytest
import scipy

import lintrans as lt
from lintrans.paper.claims import State, Verdict, Word, f1, f2, f3, f4, f11
from lintrans.paper.claims.adaptivity import (
    BY_STEPS,
    LATE,
    NO_GAP,
    SEARCHED,
    Cell,
    closed_unit,
    points,
    share_closed,
    short,
    threshold_state,
)
from lintrans.paper.judged import COARSE_LOSS, LOSS, end_steps
from lintrans.paper.scales_adaptivity import WHY, WHY_PROTOCOL

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State
STEPS, SEEDS = 1000, range(100, 112)
LOSSES = {
    "sgd": 1e-1, "adam": 1e-3, "layer": 1.2e-3, "kind": 3e-2, "all": 5e-2, "oracle": 1.3e-3, "rotated": 1e-3,
    "mixed": 1e-2,
}  # fmt: skip


def history(losses: Mapping[str, float], spread: float = 0.02, reached: Mapping[str, int] | None = None) -> lt.History:
    """Runs of arms that fall to a loss at a step of their own, with a little noise that each seed has for itself."""
    noise = np.random.default_rng(0).normal(size=(len(losses), len(SEEDS)))
    order = [(arm, 0.1, seed) for arm in losses for seed in SEEDS]
    runs = pd.DataFrame(order, columns=["optimizer", "lr", "seed"]).assign(clip=1.0, skipped=0, clipped=0, diverged=-1)
    runs.insert(0, "run", range(len(runs)))
    rows = []
    for run, (arm, lr, seed) in enumerate(order):
        end = losses[arm] * math.exp(spread * noise[list(losses).index(arm), seed - 100])
        first = (reached or {}).get(arm, 200)
        for metric, at in ((COARSE_LOSS, range(0, STEPS + 1, 50)), (LOSS, (*end_steps(STEPS), 1200))):
            values = ((step, end if step >= first else 4.9) for step in at)
            rows += [(run, arm, lr, seed, step, metric, value, 1.0) for step, value in values]
    columns = ["run", "optimizer", "lr", "seed", "step", "metric", "value", "clip"]
    return lt.History(pd.DataFrame(rows, columns=columns), runs, {}, STEPS)


def measured(**metrics: Mapping[str, float]) -> pd.DataFrame:
    rows = [
        (arm, seed, metric, value * math.exp(0.01 * (seed % 3)))
        for metric, values in metrics.items()
        for arm, value in values.items()
        for seed in SEEDS
    ]
    return pd.DataFrame(rows, columns=["optimizer", "seed", "metric", "value"])


def cell(losses: Mapping[str, float] = LOSSES, table: pd.DataFrame | None = None, **more: float) -> Cell:
    return Cell("1", history({**losses, **more}), measured() if table is None else table)


def test_the_share_is_exact_and_its_interval_is_fiellers() -> None:
    rng = np.random.default_rng(1)
    adam = rng.normal(-6, 0.1, 12)
    sgd = adam + rng.normal(3, 0.4, 12)
    arm = 0.25 * sgd + 0.75 * adam
    found = made_up.number(share_closed(sgd, arm, adam, 0.6))
    assert found.estimate == pytest.approx(0.75)
    assert (found.low, found.high) == pytest.approx((0.75, 0.75), abs=1e-6)
    arm = arm + rng.normal(0, 0.5, 12)
    found = made_up.number(share_closed(sgd, arm, adam, 0.6))
    for edge in (found.low, found.high):  # a paired t test of either edge has p = 5%
        p = scipy.stats.ttest_1samp((sgd - arm) - edge * (sgd - adam), 0.0).pvalue
        assert p == pytest.approx(0.05)
    assert found.p == pytest.approx(scipy.stats.ttest_1samp((sgd - arm) - 0.6 * (sgd - adam), 0.0).pvalue)


def test_no_gap_is_said() -> None:
    values = np.random.default_rng(2).normal(0, 0.1, 12)
    assert share_closed(values, values + 0.1, values[::-1].copy(), 0.8) is None
    assert share_closed(values, values, values + 1.0, 0.8) is None, "SGD ends lower: nothing of Adam's to close"
    alike = cell({**LOSSES, "sgd": 1e-3})
    [unit] = f1.judge("tuned", "paper", [alike], WHY_PROTOCOL).units
    assert (unit.state, unit.decides, unit.remarks) == (UNDECIDED, False, (NO_GAP,))
    assert f1.judge("tuned", "paper", [alike], WHY_PROTOCOL).ruling.word is Word.UNMEASURABLE
    for losses, state in (({"sgd": 1e-3, "adam": 1e-3}, UNDECIDED), ({"sgd": 1.0, "adam": 1e-3}, MISSING)):
        without = Cell("1", history(losses), measured())
        assert closed_unit(without, "layer", 0.8, True, False).state is state, "an arm that was not run"
    late = Cell("1", history({"sgd": 1e-3, "adam": 1e-3, "layer": 4.0}), measured())
    assert closed_unit(late, "layer", 0.8, True, False).remarks == (LATE,), "an arm that never gets to the target"


def test_where_the_ends_are_alike_speed_is_judged() -> None:
    slow = history({"sgd": 1e-3, "adam": 1e-3, "layer": 1e-3}, reached={"sgd": 800, "adam": 100, "layer": 200})
    [unit] = f1.judge("tuned", "paper", [Cell("1", slow, measured())], WHY_PROTOCOL).units
    assert unit.statistic == BY_STEPS
    assert made_up.number(unit).estimate == pytest.approx(2 / 3)
    assert unit.state is REV


@pytest.mark.parametrize(
    ("above", "interval", "expected"),
    [
        (True, (0.9, 0.85, 0.95), YES), (True, (0.9, 0.7, 1.1), UNDECIDED), (True, (0.5, 0.4, 0.6), REV),
        (False, (0.5, 0.4, 0.6), YES), (False, (0.9, 0.85, 0.95), REV), (True, (0.9, math.nan, math.nan), UNDECIDED),
    ],
)  # fmt: skip
def test_thresholds(above: bool, interval: tuple[float, float, float], expected: State) -> None:
    assert threshold_state(made_up.interval(*interval), 0.8, above) is expected
    assert threshold_state(None, 0.8, above) is MISSING
    two = made_up.interval(0.9, 0.85, 0.95, p=0.001, flip=0.2)
    assert threshold_state(two, 0.8, above) is UNDECIDED


def states(verdict: Verdict) -> list[State]:
    return [unit.state for unit in verdict.units if unit.decides]


@pytest.mark.parametrize("reading", f1.READINGS)
def test_f1_and_f2(reading: str) -> None:
    good = [cell()]
    assert f1.judge(reading, "paper", good, WHY_PROTOCOL).ruling.word is Word.REPRODUCED
    assert states(f2.judge(reading, "paper", good, WHY_PROTOCOL)) == [YES, YES]
    bad = [cell(layer=3e-2, kind=1e-3)]
    assert states(f1.judge(reading, "paper", bad, WHY_PROTOCOL)) == [REV]
    assert states(f2.judge(reading, "paper", bad, WHY_PROTOCOL)) == [REV, YES]
    edge = [cell(layer=math.exp(0.2 * math.log(1e-1) + 0.8 * math.log(1e-3)))]
    assert states(f1.judge(reading, "paper", edge, WHY_PROTOCOL)) == [UNDECIDED]
    without = {name: loss for name, loss in LOSSES.items() if name != "layer"}
    [unit] = f1.judge(reading, "paper", [cell(without)], WHY_PROTOCOL).units
    assert (unit.state, unit.remarks) == (MISSING, (SEARCHED,))
    assert states(f1.judge(reading, "paper", [], WHY_PROTOCOL)) == [MISSING]


def test_f3_correlations() -> None:
    gaps = {arm: LOSSES["sgd"] / loss for arm, loss in LOSSES.items()}
    order = sorted(gaps, key=gaps.__getitem__)
    along = {arm: 1.0 / gap for arm, gap in gaps.items()}
    other = {arm: [5.0, 1.0, 7.0, 2.0, 6.0, 3.0, 8.0, 4.0][order.index(arm)] for arm in gaps}
    table = measured(between=along, r_lower=other)
    verdict = f3.judge("tuned", "paper", [cell(table=table)], WHY_PROTOCOL)
    assert states(verdict) == [YES, YES, YES]
    found = points([cell(table=table)], "between")
    assert set(found["arm"]) == set(LOSSES) - {"sgd"}
    assert len(found) == len(SEEDS) * 7
    swapped = measured(between=other, r_lower=along)
    assert states(f3.judge("tuned", "paper", [cell(table=swapped)], WHY_PROTOCOL)) == [YES, REV, REV]
    assert states(f3.judge("tuned", "paper", [cell(oracle=5e-2)], WHY_PROTOCOL)) == [REV, MISSING, MISSING]


def test_f4() -> None:
    assert states(f4.judge("tuned", "paper", [cell()], WHY_PROTOCOL)) == [YES]
    assert states(f4.judge("tuned", "paper", [cell(rotated=2e-3)], WHY_PROTOCOL)) == [REV]
    assert states(f4.judge("tuned", "paper", [cell(rotated=1.1e-3)], WHY_PROTOCOL)) == [UNDECIDED]
    beside = [unit for unit in f4.judge("tuned", "paper", [cell()], WHY_PROTOCOL).units if not unit.decides]
    assert [unit.state for unit in beside] == [REV]


def test_what_falls_short_is_said() -> None:
    assert short(WHY_PROTOCOL) == ()
    texts = short(WHY("paper"))
    assert "L = 8 at 1,000 steps: curvature of 6 seeds instead of 12" in texts
    assert not any("not run" in text for text in texts), "every problem that the rules name is run"
    assert any("no training to 1,000, 10,000 steps" in text for text in short(WHY("quick")))
    assert all(budget.trainings[0].first_seed == 100 for budget in (WHY_PROTOCOL, WHY("paper"), WHY("quick")))


SIX = dict(zip(f11.RANKING, (1e-3, 1.1e-3, 2e-2, 5e-2, 6e-2, 1e-1), strict=True))


def on_networks(losses: Mapping[str, float] = SIX, names: Sequence[str] = f11.NETWORKS) -> Verdict:
    zero = dict.fromkeys(names, 5.0)
    return f11.judge("paper", {name: history(losses) for name in names}, zero)


def test_f11() -> None:
    good = on_networks()
    assert states(good) == [YES] * 12
    assert good.ruling.word is Word.REPRODUCED
    assert all(unit.interval and unit.interval.estimate > 0.9 for unit in good.units if unit.keys.part == "ranking")
    backwards = dict(zip(SIX, reversed(SIX.values()), strict=True))
    assert states(on_networks(backwards, ["cnn"]))[-1:] == [REV], "and SGD ends lower, so that no share is judged"
    assert [unit.remarks for unit in on_networks(backwards).units[:3]] == [(NO_GAP,)] * 3
    other = {**SIX, "layer": 5e-2, "kind": 1e-3}
    assert states(on_networks(other))[:3] == [REV, REV, YES]
    assert states(on_networks(SIX, ["cnn"]))[:8] == [MISSING] * 8
    without = {arm: loss for arm, loss in SIX.items() if arm != "kind"}
    assert states(on_networks(without))[:4] == [YES, MISSING, YES, MISSING]
