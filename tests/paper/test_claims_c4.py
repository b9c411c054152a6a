"""C4 on made-up curvatures and grids of rates; what its page then says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import made_up
import numpy as np
import pandas as pd
import pytest
from made_up import BATCHES, interval, measured, number
from scipy import stats

import lintrans as lt
from lintrans.paper.claims import State, Verdict, Word, c4
from lintrans.paper.claims.common import CURVATURE_ASKED, FIXED_BATCH, curvature_deviations
from lintrans.paper.claims.rules import correlation_state, share_state
from lintrans.paper.judged import Judged
from lintrans.paper.pages import directional_smoothness
from lintrans.paper.scales import CURVATURE, CURVATURE_PROTOCOL
from lintrans.statistics import Interval, share_interval

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State
NAN = math.nan
STEPS, SEEDS = tuple(range(0, 501, 50)), 6
SETTLED = replace(CURVATURE_PROTOCOL, settled=50)
RISING = np.arange(10.0)


@pytest.mark.parametrize(
    ("share", "state"),
    [
        (interval(0.75, 0.6, 0.9), YES),
        (interval(0.74, 0.6, 0.9), WEAK),
        (interval(0.55, 0.51, 0.59), WEAK),  # inside 0.4 to 0.6 too: WEAK goes first
        (interval(0.55, 0.5, 0.6), NULL),
        (interval(0.5, 0.39, 0.6), UNDECIDED),
        (interval(0.45, 0.41, 0.49), REV),  # inside 0.4 to 0.6 too: REV goes first
        (interval(0.9, NAN, NAN), UNDECIDED),
        (None, MISSING),
    ],
)
def test_states_of_shares(share: Interval | None, state: State) -> None:
    assert share_state(share) is state


@pytest.mark.parametrize(
    ("correlation", "state"),
    [
        (interval(0.3, 0.1, 0.5), YES),
        (interval(0.29, 0.1, 0.5), WEAK),
        (interval(0.02, 0.01, 0.03), WEAK),  # however sure: too small to be the claim
        (interval(0.1, 0.0, 0.2), NULL),
        (interval(0.05, -0.2, 0.21), UNDECIDED),
        (interval(-0.1, -0.2, -0.01), REV),  # inside -0.2 to 0.2 too: REV goes first
        (interval(0.9, NAN, NAN), UNDECIDED),
        (None, MISSING),
    ],
)
def test_states_of_correlations(correlation: Interval | None, state: State) -> None:
    assert correlation_state(correlation) is state


def smoothness(share: float, fixed: float | None = None, batches: Any = BATCHES) -> pd.DataFrame:
    """SGD's v'Hv is the larger at a share of the ten steps from 50 on, of all but one in some; smaller at step 0."""

    def value(seed: int, optimizer: str, step: int, batch: int) -> float:
        own = fixed if fixed is not None and batch < 0 else share
        return 1.0 if optimizer == "adam" else (2.0 if 0 < step <= 500 * own else -3.0)

    return measured(STEPS, SEEDS, batches, directional_smoothness=value)


def cells(curvature: Any, speed: Any, fixed: Any = None, batches: Any = BATCHES) -> pd.DataFrame:
    """Cells whose two log ratios are the same in every setting and seed, a rate each."""
    parts = [
        pd.DataFrame(
            {
                "setting": name, "lr": np.arange(len(speed)), "seed": seed, "batch": batch,
                "curvature": fixed if fixed is not None and batch < 0 else curvature, "speed": speed,
            }
        )
        for name in "123"
        for seed in range(SEEDS)
        for batch in batches
    ]  # fmt: skip
    return pd.concat(parts)


def judge(frames: dict[str, pd.DataFrame], table: pd.DataFrame, budget: Any = SETTLED) -> Verdict:
    return c4.judge("published", "paper", frames, table, CURVATURE_ASKED, budget)


@pytest.mark.parametrize(
    ("share", "sign", "states", "word"),
    [
        (1.0, 1.0, [YES, YES], Word.REPRODUCED),
        (0.7, 1.0, [WEAK, YES], Word.PARTLY),
        (0.5, 1.0, [NULL, YES], Word.PARTLY),
        (0.2, -1.0, [REV, REV], Word.NOT),
    ],
)
def test_verdicts_have_one_case_a_setting_and_half(share: float, sign: float, states: list[State], word: Word) -> None:
    verdict = judge(dict.fromkeys("123", smoothness(share)), cells(RISING, sign * RISING))
    deciding = [unit for unit in verdict.units if unit.decides]
    assert [unit.state for unit in deciding] == [states[0]] * 3 + [states[1]] * 3
    assert [unit.keys.problem for unit in deciding] == [*"123123"]
    assert verdict.ruling.word is word
    assert (verdict.deviations, verdict.checks) == ((), {FIXED_BATCH: True})
    for unit in verdict.units:
        low, high = number(unit).low, number(unit).high
        assert (0 if unit.statistic == c4.SHARE else -1) <= low <= high <= 1


def test_settings_are_not_pooled() -> None:
    """Within each setting the two go together; over all of them they would go apart (Simpson)."""
    table = cells(RISING, RISING)
    shift = table["setting"].map({"1": 0.0, "2": 40.0, "3": 80.0})
    table = table.assign(curvature=table["curvature"] + shift, speed=table["speed"] - shift)
    assert stats.spearmanr(table["curvature"], table["speed"]).statistic < 0
    units = judge(dict.fromkeys("123", smoothness(1.0)), table).units
    assert [unit.state for unit in units if unit.decides] == [YES] * 6


def test_one_bad_prompt_decides_nothing() -> None:
    """The fixed batch turned round is a failed check; one of sixteen evaluation batches never turns a state."""
    verdict = judge(dict.fromkeys("123", smoothness(1.0, fixed=0.0)), cells(RISING, RISING, fixed=RISING[::-1]))
    assert (verdict.ruling.word, verdict.checks) == (Word.REPRODUCED, {FIXED_BATCH: False})
    frame, table = smoothness(0.9, batches=range(-1, 16)), cells(RISING, RISING, batches=range(-1, 16))
    bad = (frame["batch"] == 7) & (frame["optimizer"] == "adam")
    frame = frame.assign(value=frame["value"].where(~bad, 1e8))
    table = table.assign(curvature=table["curvature"].where(table["batch"] != 7, -table["curvature"]))
    units = judge(dict.fromkeys("123", frame), table).units
    assert {unit.state for unit in units if unit.decides} <= {YES, UNDECIDED}


def test_needs_all_settings_and_the_grid() -> None:
    frames = {name: smoothness(1.0) for name in "13"}
    verdict = judge(frames, cells(RISING, RISING))
    assert [unit.state for unit in verdict.units if unit.decides] == [YES, MISSING, YES, YES, YES, YES]
    assert verdict.ruling.word is Word.UNMEASURABLE
    nothing = judge(frames, cells(RISING, RISING * NAN)).units
    assert [unit.state for unit in nothing if unit.keys.convention == c4.SPEED] == [MISSING] * 6
    empty = judge({}, c4.cells({}, Judged({}, {})))
    assert {unit.state for unit in empty.units} == {MISSING}
    few = judge(frames, cells(RISING, RISING), CURVATURE["quick"]).deviations
    assert few == curvature_deviations(CURVATURE["quick"], "grid")


def test_correlations_are_those_of_ranks_in_each_seed_and_batch() -> None:
    table = cells(np.exp(RISING), np.abs(RISING - 3), fixed=RISING)
    expected = stats.spearmanr(RISING, np.abs(RISING - 3)).statistic
    found = c4.correlations(table[table["setting"] == "1"])
    assert found.shape == (SEEDS, 3)
    np.testing.assert_allclose(found, expected)
    assert set(c4.correlations(table[table["setting"] == "1"], fixed=True)) == {-1}


def test_shares_are_signed_and_of_steps_that_both_made() -> None:
    """Negative curvature of SGD counts as smaller; ties count half, a step one of them skipped does not."""
    values = {"sgd": [9.0, -5.0, 1.0, 3.0, 3.0], "adam": [1.0, -6.0, 2.0, -4.0, NAN]}
    frame = measured(
        range(5), 2, (-1, 0, 1), directional_smoothness=lambda s, o, k, b: values[o if s == 0 else "adam"][k]
    )
    np.testing.assert_allclose(c4.shares(frame, 0), [[0.75] * 2, [0.5] * 2])
    np.testing.assert_allclose(c4.shares(frame, 1), [[2 / 3] * 2, [0.5] * 2])
    assert c4.shares(frame, 9).empty
    assert number(c4.share_unit("case", frame, 0)) == share_interval(np.array([[0.75] * 2, [0.5] * 2]), 4)
    assert c4.share_unit("case", frame, 9).state is MISSING
    assert c4.negative_shares(frame).to_dict() == {"adam": 0.5, "sgd": pytest.approx(3 / 9)}


def test_cells_hold_log_ratios_and_leave_out_what_is_undefined() -> None:
    """Rates 0.1: plain; 0.2: SGD never gets there; 0.3: neither does; 0.4: SGD's median curvature is negative."""
    reached = {("sgd", 0.1): 400, ("adam", 0.1): 100, ("adam", 0.2): 50, ("sgd", 0.4): 0, ("adam", 0.4): 500}

    def loss(seed: int, optimizer: str, step: int, lr: float) -> float:
        return 0.05 if step >= reached.get((optimizer, lr), 10_000) else 1.0  # the target of Setting 1 is 0.5

    rates = (0.1, 0.2, 0.3, 0.4)
    history = made_up.history(loss, 2, steps=500, every=50, rates=rates)
    values = {"sgd": [1.0, 8.0, 900.0], "adam": [2.0, 2.0, -5.0]}
    plain = measured(range(3), 2, directional_smoothness=lambda s, o, k, b: values[o][k], slope=lambda *_: 77.0)
    turned = plain.assign(value=plain["value"].where(plain["optimizer"] == "adam", -plain["value"]))
    parts = [(turned if lr == 0.4 else plain).assign(lr=lr) for lr in rates]
    table = c4.cells({"1": (history, pd.concat(parts))}, Judged({}, {}))
    assert list(table.columns) == ["setting", "lr", "seed", "batch", "curvature", "speed"]
    assert len(table) == 4 * 2 * len(BATCHES)
    own = table[(table["seed"] == 1) & (table["batch"] == 0)].set_index("lr")
    log4 = math.log(4)
    np.testing.assert_allclose(own["curvature"], [log4, log4, log4, NAN])
    np.testing.assert_allclose(own["speed"], [log4, math.log(500 / 50), NAN, math.log(1 / 500)])
    assert c4.correlations(table).empty  # two cells a seed are none
    lower = made_up.history(lambda *_: 1e-9, 1)  # another reading gets far lower: so does the target
    deeper = c4.cells({"1": (history, pd.concat(parts))}, Judged({"tuned": {"1": lower}}, {}))
    assert deeper["speed"].isna().all()
    assert "0 of the 24 combinations" in directional_smoothness.counted(deeper)


def test_cells_of_diverged_runs_are_censored() -> None:
    frame = measured((0,), 1, directional_smoothness=lambda *_: 1.0).assign(lr=0.5)
    speeds = []
    for diverged in ((0, 1), (0,)):
        history = made_up.history(lambda *_: 0.05, 1, steps=500, every=50, diverged=diverged)
        history.runs["lr"] = 0.5
        speeds.append(c4.cells({"1": (history, frame)}, Judged({}, {}))["speed"])
    assert speeds[0].isna().all()
    np.testing.assert_allclose(speeds[1], math.log(500))


def test_gains_of_a_step() -> None:
    frame = measured(
        (0, 1), 1,
        directional_smoothness=lambda s, o, k, b: -1.0 if (o, k) == ("sgd", 1) else 4.0,
        slope=lambda *_: -6.0,
    )  # fmt: skip
    found = c4.gains(frame).set_index(["batch", "optimizer", "step", "metric"])["value"]
    assert found[0, "sgd", 0, "lr_smoothness"] == pytest.approx(0.08)
    assert found[-1, "adam", 0, "lr_smoothness"] == pytest.approx(0.04)
    assert found[0, "sgd", 1, "lr_smoothness"] == pytest.approx(-0.02)
    assert found[2, "sgd", 0, "local_gain"] == pytest.approx(36 / 8)
    assert (0, "sgd", 1, "local_gain") not in found.index


def test_levels_are_typical_and_the_fixed_batch_stands_beside() -> None:
    """One batch of three is ruled by a prompt: the median over batches does not see it."""

    def value(seed: int, optimizer: str, step: int, batch: int) -> float:
        return -1.0 if (optimizer, step) == ("sgd", 50) else (1.0 + step) * (1e8 if batch in (-1, 2) else 1)

    steps = measured(
        (0, 50, 100), 1,
        directional_smoothness=value,
        hessian_step_norm=lambda s, o, k, b: 2.0 + k,
        gradient_norm=lambda s, o, k, b: 3.0 + k,
        step_length=lambda s, o, k, b: 4.0 + k,
    )  # fmt: skip
    levels = directional_smoothness.levels({"1": steps}, 50)
    assert levels[levels["optimizer"] == "Adam"].iloc[0].tolist()[2:] == ["76", "77", "78", "79", "7.6e+09"]
    text = directional_smoothness.negative({"1": steps})
    assert text == "- Setting 1: curvature is negative along SGD 33.3%, Adam 0.0% of the measured steps."


def test_the_page_measures_it_otherwise() -> None:
    """Halves of the verdict by setting, their titles, and what the lamps count."""
    frames = dict.fromkeys("123", smoothness(0.7))
    verdict = judge(frames, cells(RISING, -RISING))
    curved, fast = (directional_smoothness.only(verdict, half) for half in (0, 1))
    assert [unit.case for unit in (*curved.units, *fast.units)] == [f"setting {name}" for name in "123"] * 2
    assert directional_smoothness.title(verdict).endswith("SGD's in 3 of 3 settings")
    assert directional_smoothness.speed_title(verdict).endswith("the opposite in 3 of 3 settings")
    both = {
        name: pd.concat([frame, frame.assign(metric="hessian_step_norm", value=-frame["value"])])
        for name, frame in frames.items()
    }
    lamps = directional_smoothness.lamps({"published": (verdict, both)}, 0)
    assert (lamps["convention"].kept, lamps["convention"].of) == (0, 3)
    assert (lamps["test_batch"].kept, lamps["test_batch"].of) == (6, 6)
    assert lamps["horizon"].of == 6


def test_what_speed_goes_with() -> None:
    rows = [("1", 0.1, seed, 0, curved, fast) for seed, (curved, fast) in enumerate([(1, 1), (1, -1), (-1, 1)])]
    table = pd.DataFrame(rows, columns=["setting", "lr", "seed", "batch", "curvature", "speed"])
    text = directional_smoothness.within(table)
    assert "lower in 67% of the combinations; it is faster in 50% of those and in 100% of the others" in text
    assert "none of the others" in directional_smoothness.within(table[:2])


def test_curvature_by_clip() -> None:
    rows = [("sgd", clip, 0.1, seed, step, c4.METRIC, 100.0 * (step < 50) + 10 * clip + seed)
            for clip in (0.1, math.inf) for seed in (0, 1, 2) for step in (0, 50, 100)]  # fmt: skip
    columns = ["optimizer", "clip", "lr", "seed", "step", "metric", "value"]
    history = lt.History(pd.DataFrame(rows, columns=columns), pd.DataFrame(), {}, 100)
    [tight, free] = directional_smoothness.clip_answer(history).splitlines()
    assert "clip 0.1: 2 in the median seed, 1 to 3 over 3 seeds" in tight
    assert "no clip: inf" in free
