"""F5 to F10 on made-up numbers: predictions that come true, that fail, that stay open, that were not measured."""

from __future__ import annotations

import math

import made_up
import numpy as np
import pandas as pd
import pytest

from lintrans.paper.claims import State, Verdict, Word, f5, f6, f7, f8, f9, f10
from lintrans.paper.claims.common import Bounded
from lintrans.paper.claims.predictions import side_state

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State
SEEDS = pd.RangeIndex(100, 108)
NOISE = np.array([0.4, -1.0, 0.3, 0.9, -0.6, 1.2, -0.9, -0.3])


def gap(ratio: float, spread: float = 0.01, least: bool = False) -> Bounded:
    logs = pd.Series(math.log(ratio) + spread * NOISE, SEEDS)
    return Bounded(logs, pd.Series(least, SEEDS), pd.Series(False, SEEDS), pd.Series(0.0, SEEDS))


def states(verdict: Verdict) -> list[State]:
    return [unit.state for unit in verdict.units if unit.decides]


@pytest.mark.parametrize(
    ("interval", "above", "expected"),
    [
        ((0.9, 0.8, 1.0), False, YES), ((0.9, 0.8, 1.0), True, REV), ((2.0, 1.5, 3.0), False, REV),
        ((2.0, 1.5, 3.0), True, YES), ((1.2, 0.9, 1.5), False, UNDECIDED), ((1.0, math.nan, math.nan), True, UNDECIDED),
    ],
)  # fmt: skip
def test_sides(interval: tuple[float, float, float], above: bool, expected: State) -> None:
    assert side_state(made_up.interval(*interval), 1.25, above) is expected
    assert side_state(None, 1.25, above) is MISSING


def test_a_bound_decides_only_what_it_decides_alone() -> None:
    assert side_state(made_up.interval(0.9, 0.8, 1.0, bound=">="), 1.25) is UNDECIDED
    assert side_state(made_up.interval(2.0, 1.5, 3.0, bound=">="), 1.25) is REV
    assert side_state(made_up.interval(0.9, 0.8, 1.0, bound="?"), 1.25) is UNDECIDED


BATCHES = (10, 1000, 100_000)


def tails(smallest: float) -> pd.DataFrame:
    return pd.DataFrame({10: smallest + 0.01 * NOISE, 1000: 1.1, 100_000: 1.0 + 0.01 * NOISE[::-1]}, SEEDS)


def test_f5() -> None:
    def judged(ratio: float, smallest: float = 3.0, spread: float = 0.01) -> Verdict:
        gaps = {name: {10: gap(ratio, spread), 1000: gap(2.0), 100_000: gap(2.1)} for name in f5.SETTINGS}
        return f5.judge("paper", gaps, dict.fromkeys(f5.SETTINGS, tails(smallest)), BATCHES)

    assert judged(2.0).ruling.word is Word.REPRODUCED
    assert states(judged(4.0)) == [REV, YES] * 3 + [YES] * 3
    assert states(judged(2.4, spread=0.2)) == [UNDECIDED, YES] * 3 + [YES] * 3
    assert states(judged(2.0, smallest=0.8))[-3:] == [REV] * 3
    assert states(f5.judge("paper", {}, {}, BATCHES)) == [MISSING] * 9
    gaps = {"1": {10: gap(2.0, least=True), 1000: gap(2.0), 100_000: gap(2.0)}}
    assert f5.judge("paper", gaps, {}, BATCHES).units[0].state is UNDECIDED, "a bound"


def test_f6() -> None:
    def judged(ratio: float, spread: float = 0.01) -> list[State]:
        return states(f6.judge("paper", dict.fromkeys(f5.SETTINGS, (gap(ratio, spread), gap(2.0)))))

    assert judged(2.05) == [YES] * 3
    assert judged(2.5) == judged(1.5) == [REV] * 3
    assert judged(2.1, 0.2) == [UNDECIDED] * 3
    assert states(f6.judge("paper", {})) == [MISSING] * 3


def test_f7() -> None:
    def judged(averaged: float, cooled: float, constant: float = 9.0, spread: float = 0.02) -> Verdict:
        ends = {"constant": constant, "averaged": averaged, "cooled": cooled}
        logs = {name: math.log(end) + spread * np.roll(NOISE, k) for k, (name, end) in enumerate(ends.items())}
        return f7.judge("paper", pd.DataFrame(logs, SEEDS))

    assert [unit.state for unit in judged(2.0, 5.0).units] == [YES, YES, REV]
    assert [unit.state for unit in judged(5.0, 2.0).units] == [YES, REV, YES]
    assert made_up.number(judged(2.0, 5.0).units[0]).estimate == pytest.approx(1.5, rel=0.05)
    assert states(judged(5.0, 5.0)) == [REV]
    assert states(judged(3.0, 3.0)) == [UNDECIDED]
    assert states(judged(0.5, 0.5, constant=1.0, spread=0.1)) == [UNDECIDED], "there is no gap to close"
    assert states(f7.judge("paper", pd.DataFrame(index=SEEDS))) == [MISSING]


def test_f8() -> None:
    def judged(deep: float, shallow: float, factor: float = 3.0, other: float = 1.0, spread: float = 0.02) -> Verdict:
        between = {3: gap(factor, spread).logs, 2: gap(other, spread).logs}
        return f8.judge("paper", {3: gap(deep, spread), 2: gap(shallow, spread)}, between)

    assert judged(2.0, 1.0).ruling.word is Word.REPRODUCED
    assert states(judged(1.0, 1.0)) == [NULL, YES, YES, YES]
    assert states(judged(0.5, 2.0, 0.5, 2.0)) == [REV, REV, REV, REV]
    assert states(judged(1.2, 1.2, 1.2, 1.2, 0.5)) == [UNDECIDED] * 4
    assert states(f8.judge("paper", {}, {})) == [MISSING] * 4


@pytest.mark.parametrize("reading", f9.READINGS)
def test_f9(reading: str) -> None:
    def judged(ratio: float, spread: float = 0.02) -> list[State]:
        return states(f9.judge(reading, "paper", {0.05: gap(9.0), 0.3: gap(ratio, spread), 0.5: gap(1.0)}))

    assert judged(1.0) == [YES, YES]
    assert judged(2.0) == [REV, YES]
    assert judged(1.25, 0.3) == [UNDECIDED, YES]
    assert states(f9.judge(reading, "paper", {0.05: gap(9.0)})) == [MISSING]


@pytest.mark.parametrize("reading", f10.READINGS)
def test_f10(reading: str) -> None:
    def judged(order: list[float]) -> list[State]:
        rows = [
            (cell, seed, float(cell), value + 0.001 * (seed % 3)) for cell, value in enumerate(order) for seed in SEEDS
        ]
        return states(f10.judge(reading, "paper", pd.DataFrame(rows, columns=["cell", "seed", "predictor", "gap"])))

    assert judged([1, 2, 3, 4, 5, 6, 7, 8]) == [YES]
    assert judged([8, 7, 6, 5, 4, 3, 2, 1]) == judged([5, 1, 7, 2, 6, 3, 8, 4]) == [REV]
    assert judged([1, 1, 1, 1, 1]) == judged([1, 2]) == [MISSING]
    values = [[1, 2, 3, 4, 5, 6], [1, 2, 6, 5, 4, 3]]
    rows = [(c, s, float(c), v) for s in range(8) for c, v in enumerate(values[s % 2])]
    table = pd.DataFrame(rows, columns=["cell", "seed", "predictor", "gap"])
    assert states(f10.judge(reading, "paper", table)) == [UNDECIDED]
