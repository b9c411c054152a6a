"""C9 to C12 on made-up trainings and tables that should pass, should fail, and lack something; their page's tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import made_up
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import lintrans as lt
from lintrans.paper.claims import State, Unit, Verdict, Word, c9, c10, c11, c12, depth
from lintrans.paper.claims.c3 import CONVENTIONS, PUBLIC
from lintrans.paper.claims.common import FIXED_BATCH
from lintrans.paper.claims.records import shortfalls
from lintrans.paper.claims.rules import Keys
from lintrans.paper.figures import depth as figures
from lintrans.paper.measure import depth as measured
from lintrans.paper.pages import depth as tables
from lintrans.paper.pages import depth_words
from lintrans.paper.protocol import Judged, end_steps
from lintrans.paper.scales import DEPTH_BUDGETS, DEPTH_PROTOCOL
from lintrans.statistics import Interval

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State
OPTIMIZERS = ("sgd", "adam")
SPREAD = (1.0, 1.1, 0.95, 1.05, 0.9, 1.02)
LONG, SHORT = 1000, 500
PROBES = (0, 250, 500)

ALL_LEFT = {"sgd": 1.0, "adam": 1.0}

Loss = Callable[[int, str, int, float], float]
"""Of a seed, an optimizer, a step and a rate."""


def history_of(loss: Loss, seeds: int, steps: int, layers: int = 2) -> lt.History:
    """A training whose typical loss is a function; its cooldown ends where the horizon does."""
    made = made_up.history(loss, seeds, steps, every=5, ends=end_steps(steps))
    scale = torch.tensor([1.0 if optimizer == "adam" else 3.0 for optimizer in made.runs["optimizer"]])
    end = torch.eye(5).expand(len(scale), layers, 1, 2, 5, 5) * scale[:, None, None, None, None, None]
    return replace(made, snapshots={steps + steps // 5: end})


def falling(end: Mapping[str, float], fast: Mapping[str, int], steps: int, cooled: Mapping[str, float]) -> Loss:
    """From 5 to `end`, with a spread over seeds, at the step `fast`; times `cooled` after the cooldown."""

    def loss(seed: int, optimizer: str, step: int, lr: float) -> float:
        low = end[optimizer] * SPREAD[seed] ** (1 if optimizer == "sgd" else 0.5)
        return (low * cooled[optimizer] if step > steps else low) if step >= fast[optimizer] else 5.0

    return loss


def conditions_of(ratio: float, seeds: int, fixed: float) -> pd.DataFrame:
    """R_med of every convention; SGD's is `ratio` times Adam's, with a spread over seeds and evaluation batches."""
    rows = [
        (optimizer, seed, step, metric, 10 * (own * SPREAD[seed] * SPREAD[batch] if optimizer == "sgd" else 1.0), batch)
        for optimizer in OPTIMIZERS
        for seed in range(seeds)
        for step in PROBES
        for metric in CONVENTIONS
        for batch, own in ((-1, fixed), (0, ratio), (1, ratio))
    ]
    return pd.DataFrame(rows, columns=["optimizer", "seed", "step", "metric", "value", "batch"])


def depths_of(
    gaps: Mapping[int, float],
    speeds: Mapping[int, int] | None = None,
    floors: Mapping[int, float] | None = None,
    conditions: Mapping[int, float] | None = None,
    cooled: Mapping[int, Mapping[str, float]] | None = None,
    fixed: Mapping[int, float] | None = None,
) -> depth.Depths:
    """Trainings of the depths named: SGD's end loss over Adam's, SGD's steps to the target, Adam's end loss, R_med.

    `cooled` is what remains of a loss after the cooldown, `fixed` the ratio of R_med on the fixed batch.
    """

    def trained(names: tuple[str, ...], seeds: int, steps: int, budget: Any, curvature: Any) -> depth.Trained:
        histories, frames = {}, {}
        for layers, ratio in gaps.items():
            if (name := depth.NAMES[layers]) in names:
                low = (floors or {}).get(layers, 10.0 ** (-layers))
                fast = {"sgd": (speeds or {}).get(layers, 50 * layers), "adam": 50}
                left = (cooled or {}).get(layers, ALL_LEFT)
                loss = falling({"sgd": low * ratio, "adam": low}, fast, steps, left)
                histories[name] = history_of(loss, seeds, steps, layers)
                r_med = (conditions or gaps)[layers]
                frames[name] = conditions_of(r_med, seeds, (fixed or {}).get(layers, r_med))
        judged = Judged({"published": {}, "tuned": histories}, {})
        return depth.Trained(judged, frames, budget, curvature)

    asked = DEPTH_PROTOCOL
    return depth.Depths(
        trained(asked.long.settings, 6, LONG, asked.long, asked.long_curvature),
        trained(asked.short.settings, 4, SHORT, asked.short, asked.short_curvature),
    )


GROWING = {2: 1.0, 4: 2.0, 6: 4.0, 8: 8.0}


def by_case(units: Any) -> dict[str, Unit]:
    return {unit.case: unit for unit in units}


def interval(estimate: float, p: float = 0.01) -> Interval:
    return made_up.interval(estimate, estimate / 1.1, estimate * 1.1, p=p)


@pytest.mark.parametrize(
    ("loss", "steps", "state"),
    [(YES, YES, YES), (YES, WEAK, WEAK), (WEAK, UNDECIDED, UNDECIDED), (UNDECIDED, NULL, NULL), (NULL, REV, REV),
     (YES, REV, REV), (MISSING, YES, MISSING), (REV, YES, REV)],
)  # fmt: skip
def test_a_contrast_says_the_lower_of_its_two_metrics(loss: State, steps: State, state: State) -> None:
    pair = Unit("a", "loss", interval(2.0), loss, False), Unit("b", "steps", interval(3.0), steps, False)
    found = c9.lower("case", *pair, saturated=False)
    assert (found.state, found.decides, found.case) == (state, True, "case")
    chosen = min(pair, key=lambda unit: c9.ORDER.index(unit.state))
    assert found.interval == chosen.interval
    assert c9.lower("case", *pair, saturated=True).state is steps


def test_of_two_equal_states_the_larger_p_counts() -> None:
    pair = Unit("a", "loss", interval(2.0, 0.001), YES, False), Unit("b", "steps", interval(3.0, 0.04), YES, False)
    for first, second in (pair, pair[::-1]):
        assert c9.lower("case", first, second, saturated=False).interval == interval(3.0, 0.04)
    lost = replace(pair[0], interval=replace(interval(2.0), p=math.nan))
    assert c9.lower("case", lost, pair[1], saturated=False).interval == lost.interval


def test_shallow_depths_are_compared_at_the_long_horizon_and_all_else_at_the_short_one() -> None:
    depths = depths_of(GROWING)
    assert depths.shared(2, 4) is depths.long
    assert all(depths.shared(*pair) is depths.short for pair in ((4, 6), (6, 8), (2, 6), (8,)))
    assert depths.shared(4) is depths.long


def states(verdict: Verdict) -> list[State]:
    return [unit.state for unit in verdict.units if unit.decides]


def test_c9_passes_where_both_gaps_grow() -> None:
    verdict = c9.judge("tuned", "paper", depths_of(GROWING), DEPTH_PROTOCOL)
    decide = [unit for unit in verdict.units if unit.decides]
    assert [unit.case for unit in decide] == ["L = 2 to 4", "L = 4 to 6", "L = 6 to 8"]
    assert len(verdict.units) == 9
    cases = by_case(verdict.units)
    loss, steps = made_up.number(cases["L = 2 to 4, end loss"]), made_up.number(cases["L = 4 to 6, steps to target"])
    assert loss.estimate == pytest.approx(2.0)
    assert loss.n == 6
    assert steps.estimate == pytest.approx(300 / 200)
    assert steps.low < steps.estimate < steps.high  # no narrower than the grid of steps, though all seeds agree
    assert steps.n == 4
    assert states(verdict) == [YES] * 3
    assert (verdict.ruling.word, verdict.reading, verdict.chapter) == (Word.REPRODUCED, "tuned", "depth")
    assert verdict.deviations == ()
    assert tables.tally(verdict, *tables.GAP) == "the gap grows in 3 of 3 cases."


def test_c9_cooled_contrasts_the_losses_after_the_cooldown() -> None:
    """At a constant rate the gap grows; after the cooldown it is the same at every depth, or the reverse."""
    alike = {layers: {"sgd": 1.0, "adam": gap} for layers, gap in GROWING.items()}
    depths = depths_of(GROWING, cooled=alike)
    found = {reading: c9.judge(reading, "paper", depths, DEPTH_PROTOCOL) for reading in c9.READINGS}
    assert (states(found["cooled"]), found["cooled"].ruling.word) == ([NULL] * 3, Word.NOT)
    assert not any(unit.keys.part for unit in found["cooled"].units)
    assert (found["tuned"].checks, found["cooled"].checks) == ({"cooled": False}, {})
    assert "not robust: cooled" in found["tuned"].flags
    same = c9.judge("tuned", "paper", depths_of(GROWING), DEPTH_PROTOCOL)
    assert same.robust
    turned = {layers: {"sgd": 1.0, "adam": gap**2} for layers, gap in GROWING.items()}
    assert states(c9.judge("cooled", "paper", depths_of(GROWING, cooled=turned), DEPTH_PROTOCOL)) == [REV] * 3
    assert states(c9.judge("cooled", "paper", depths_of(GROWING), DEPTH_PROTOCOL)) == [YES] * 3


def test_c9_fails_where_the_gap_in_steps_shrinks() -> None:
    depths = depths_of(GROWING, speeds={2: 400, 4: 300, 6: 200, 8: 100})
    verdict = c9.judge("tuned", "paper", depths, DEPTH_PROTOCOL)
    assert REV in states(verdict)
    assert not {YES, WEAK} & set(states(verdict))


def test_c9_is_undecided_where_seeds_differ() -> None:
    depths = depths_of(GROWING)
    history = depths.short.judged.tuned["depth 8"]
    wide = {0: 0.01, 1: 10.0, 2: 0.1, 3: 100.0}
    sgd = history.frame["optimizer"] == "sgd"
    history.frame.loc[sgd, "value"] *= history.frame.loc[sgd, "seed"].map(wide)
    for reading in c9.READINGS:
        assert states(c9.judge(reading, "paper", depths, DEPTH_PROTOCOL))[-1] is UNDECIDED


def test_c9_says_of_steps_that_never_reach_the_target_what_the_bound_says() -> None:
    """SGD at eight layers never gets there: its gap is a lower bound, that at six layers an upper bound below it."""
    late = depths_of(GROWING, speeds={2: 50, 4: 50, 6: 50, 8: 10 * LONG})
    cases = by_case(c9.judge("tuned", "paper", late, DEPTH_PROTOCOL).units)
    unit = cases["L = 6 to 8, steps to target"]
    assert (made_up.number(unit).bound, unit.state) == (">=", YES)
    assert "lower bound" in unit.flags
    assert c9.gaps(late)[8].finished["adam"].all()
    assert not c9.gaps(late)[8].finished["sgd"].any()
    lost = depths_of(GROWING, speeds={2: 50, 4: 50, 6: 10 * LONG, 8: 50})
    unit = by_case(c9.judge("tuned", "paper", lost, DEPTH_PROTOCOL).units)["L = 6 to 8, steps to target"]
    assert (made_up.number(unit).bound, unit.state) == ("<=", REV)
    both = depths_of(GROWING, speeds={2: 50, 4: 50, 6: 10 * LONG, 8: 10 * LONG})
    unit = by_case(c9.judge("tuned", "paper", both, DEPTH_PROTOCOL).units)["L = 6 to 8, steps to target"]
    assert (made_up.number(unit).bound, unit.state) == ("?", UNDECIDED)
    assert by_case(c9.judge("tuned", "paper", both, DEPTH_PROTOCOL).units)["L = 6 to 8"].state is UNDECIDED


def test_the_floor_of_a_depth_is_one_number_over_both_horizons_and_the_cooldown() -> None:
    depths = depths_of(GROWING, cooled={2: {"sgd": 1.0, "adam": 0.5}})
    low = depths.long.histories["depth 2"].metric("typical_loss")["value"].min()
    assert low < 0.5 * 0.01
    frame = depths.short.judged.tuned["depth 2"].frame
    assert depths.floor("depth 2") == low
    frame.loc[frame["step"] > SHORT, "value"] = low / 7
    assert depths.floor("depth 2") == low / 7
    assert {depths.floor("depth 2")} == {c9.gaps(depths)[2].floor}


def test_c9_leaves_saturated_depths_to_the_steps() -> None:
    """At two layers both end on the floor, so that the gap in loss grows by definition: it is not read there."""
    depths = depths_of({**GROWING, 2: 1.0}, speeds={2: 100, 4: 100, 6: 300, 8: 400})
    flat = {"sgd": 0.01, "adam": 0.01}
    for trained in (depths.long, depths.short):
        steps = trained.histories["depth 2"].steps
        made = history_of(lambda s, o, k, lr: flat[o] if k >= (100 if o == "sgd" else 50) else 5.0, 6, steps)
        trained.judged.histories["tuned"]["depth 2"] = made
    gaps = c9.gaps(depths)
    assert [gap.saturated for gap in gaps.values()] == [True, False, False, False]
    unit = by_case(c9.judge("tuned", "paper", depths, DEPTH_PROTOCOL).units)["L = 2 to 4"]
    assert unit.statistic == c9.SPEED
    assert made_up.number(unit).estimate == pytest.approx(1.0)


def test_c9_and_c10_without_a_depth_are_not_measurable() -> None:
    depths = depths_of({layers: gap for layers, gap in GROWING.items() if layers != 8})
    for verdict in (
        claim.judge(reading, "paper", depths, DEPTH_PROTOCOL) for claim in (c9, c10) for reading in c9.READINGS
    ):
        assert verdict.ruling.word is Word.UNMEASURABLE
        assert {unit.state for unit in verdict.units if "8" in unit.case} == {MISSING}
    assert list(c9.gaps(depths)) == [2, 4, 6]


def test_c10_passes_where_both_losses_fall_and_fails_where_they_do_not() -> None:
    verdict = c10.judge("tuned", "paper", depths_of(GROWING), DEPTH_PROTOCOL)
    assert verdict.ruling.word is Word.REPRODUCED
    assert verdict.robust
    assert [unit.case for unit in verdict.units][:2] == ["SGD from L = 2 to 4", "Adam from L = 2 to 4"]
    found = by_case(verdict.units)
    adam, sgd = made_up.number(found["Adam from L = 4 to 6"]), made_up.number(found["SGD from L = 4 to 6"])
    assert (adam.estimate, sgd.estimate) == pytest.approx((100.0, 50.0))
    floors = {2: 1e-3, 4: 1e-3, 6: 1e-3, 8: 1e-2}
    flat = c10.judge("tuned", "paper", depths_of(dict.fromkeys(GROWING, 1.0), floors=floors), DEPTH_PROTOCOL)
    assert states(flat) == [NULL] * 4 + [REV] * 2
    assert flat.ruling.word is Word.NOT


def test_c10_cooled_says_where_the_runs_can_get() -> None:
    """At the constant rate the deepest ends where the others do; its cooldown goes a hundred times lower."""
    floors, deep = dict.fromkeys(GROWING, 1e-3), {8: {"sgd": 1.0, "adam": 0.01}}
    depths = depths_of(dict.fromkeys(GROWING, 1.0), floors=floors, cooled=deep)
    found = {reading: c10.judge(reading, "paper", depths, DEPTH_PROTOCOL) for reading in c10.READINGS}
    assert states(found["tuned"]) == [NULL] * 6
    assert states(found["cooled"]) == [NULL] * 5 + [YES]
    assert made_up.number(found["cooled"].units[-1]).estimate == pytest.approx(100.0)
    assert found["tuned"].checks == {"cooled": False}


def noise_of(
    tails: Mapping[int, float], seeds: Mapping[int, int] | None = None, far: Mapping[int, float] | None = None
) -> dict[str, pd.DataFrame]:
    """Tables of noise with a spread over initializations that all depths share; E of q99.9 is `far`."""
    tables = {}
    for layers, tail in tails.items():
        count = (seeds or {}).get(layers, 6)
        tables[depth.NAMES[layers]] = pd.DataFrame(
            {
                "seed": range(count),
                "excess": [tail * SPREAD[seed] ** (layers / 4) for seed in range(count)],
                "excess_999": [(far or tails)[layers] * SPREAD[seed] ** (layers / 4) for seed in range(count)],
                "median": [math.sqrt(layers) * SPREAD[seed] for seed in range(count)],
                "relative": 0.5,
                "q99": 1.5,
                "null_q99": 1.4,
            }
        )
    return tables


def test_c11_compares_the_least_deep_with_the_most_shallow() -> None:
    tails = {2: 1.0, 4: 1.5, 6: 2.0, 8: 4.0}
    verdict = c11.judge("paper", noise_of(tails, {2: 6, 4: 6, 6: 4, 8: 4}), DEPTH_PROTOCOL)
    logs = [
        math.log(min(2.0 * s**1.5, 4.0 * s**2) / max(s**0.5, 1.5 * s)) for s in SPREAD[:4]
    ]  # the seeds that both sides have
    found, ends, width = verdict.units
    assert made_up.number(found).n == 4
    assert made_up.number(found).estimate == pytest.approx(math.exp(np.mean(logs)))
    assert made_up.number(ends).estimate == pytest.approx(4.0 * stats.gmean(np.array(SPREAD[:4]) ** 1.5))
    assert (found.state, ends.state, width.decides) == (YES, YES, False)
    assert made_up.number(width).estimate == pytest.approx(2.0)
    assert (verdict.ruling.word, verdict.reading) == (Word.REPRODUCED, "init")


def test_c11_fails_and_is_missing() -> None:
    alike = c11.judge("paper", noise_of(dict.fromkeys(GROWING, 1.2)), DEPTH_PROTOCOL)
    assert alike.ruling.word is Word.NOT
    lighter = c11.judge("paper", noise_of({2: 4.0, 4: 2.0, 6: 1.5, 8: 1.0}), DEPTH_PROTOCOL)
    assert (states(lighter), lighter.ruling.word) == ([REV, REV], Word.NOT)
    lost = noise_of(GROWING)
    lost["depth 8"]["excess"] = math.nan
    assert c11.judge("paper", lost, DEPTH_PROTOCOL).ruling.word is Word.UNMEASURABLE
    few = {name: table for name, table in noise_of(GROWING).items() if name != "depth 4"}
    assert states(c11.judge("paper", few, DEPTH_PROTOCOL)) == [MISSING, YES]


def test_c11_a_narrow_interval_of_a_per_cent_is_no_difference() -> None:
    """Two per cent heavier, beyond doubt: no difference by the rules, and robust unless the far tail says more."""
    tails = {2: 1.0, 4: 1.0, 6: 1.02, 8: 1.02}
    tables_ = noise_of(tails, far={2: 1.0, 4: 1.0, 6: 2.0, 8: 2.0})
    for layers, name in depth.NAMES.items():
        tables_[name]["excess"] = [tails[layers] * (1 + 1e-4 * seed) for seed in range(6)]
    verdict = c11.judge("paper", tables_, DEPTH_PROTOCOL)
    assert made_up.number(verdict.units[1]).low > 1
    assert (states(verdict), verdict.ruling.word) == ([NULL, NULL], Word.NOT)
    assert verdict.checks == {"q99.9": False}


def test_c12_compares_every_depth_with_two_layers_in_every_way() -> None:
    verdict = c12.judge("paper", depths_of(GROWING), DEPTH_PROTOCOL)
    assert [unit.case for unit in verdict.units if unit.decides] == [f"L = {layers} against 2" for layers in (4, 6, 8)]
    assert len(verdict.units) == 3 * len(c12.WAYS)
    found = by_case(verdict.units)
    for case, ratio, seeds in (("L = 4 against 2", 2.0, 6), ("L = 8 against 2, per block", 8.0, 4)):
        own = made_up.number(found[case])
        assert own.estimate == pytest.approx(ratio)
        assert own.n == seeds
    assert verdict.ruling.word is Word.REPRODUCED
    assert verdict.robust
    assert set(verdict.checks) == {words for way, words in c12.WAYS.items() if way != PUBLIC}
    table = tables.conditions(verdict)
    assert set(table["statistic"]) == set(c12.WAYS.values())
    assert list(dict.fromkeys(table["case"])) == [f"L = {layers} against 2" for layers in (4, 6, 8)]


def test_c12_is_judged_over_batches_and_the_fixed_one_stands_beside() -> None:
    """The fixed batch says the reverse: it decides nothing, and the verdict is not robust."""
    turned = {2: 8.0, 4: 4.0, 6: 2.0, 8: 1.0}
    verdict = c12.judge("paper", depths_of(GROWING, fixed=turned), DEPTH_PROTOCOL)
    assert states(verdict) == [YES] * 3
    assert {unit.state for unit in verdict.units if unit.keys.part == FIXED_BATCH} == {REV}
    assert [words for words, holds in verdict.checks.items() if not holds] == [FIXED_BATCH]
    noisy = depths_of(GROWING)
    for batch, factor in ((0, 0.05), (1, 20.0)):  # one batch says that it shrinks, the other that it grows
        frame = noisy.short.conditions["depth 8"]
        frame.loc[(frame["batch"] == batch) & (frame["optimizer"] == "sgd"), "value"] *= factor
    assert states(c12.judge("paper", noisy, DEPTH_PROTOCOL)) == [YES, YES, UNDECIDED]


def test_c12_fails_and_is_missing() -> None:
    shrinking = depths_of(GROWING, conditions={2: 8.0, 4: 4.0, 6: 2.0, 8: 1.0})
    verdict = c12.judge("paper", shrinking, DEPTH_PROTOCOL)
    assert verdict.ruling.word is Word.NOT
    assert verdict.robust
    depths = depths_of(GROWING)
    del depths.short.conditions["depth 2"]
    assert states(c12.judge("paper", depths, DEPTH_PROTOCOL)) == [YES, MISSING, MISSING]
    one = depths_of(GROWING)
    for frame in one.short.conditions.values():
        frame.loc[frame["metric"] == PUBLIC, "value"] = 1.0
    assert by_case(c12.judge("paper", one, DEPTH_PROTOCOL).units)["L = 8 against 2"].state is NULL


def test_contrasts_leave_out_what_has_no_number() -> None:
    table = pd.DataFrame({0: [1.0, math.nan, 2.0, 3.0], 1: [1.0, 2.0, 2.0, 3.0], 2: math.nan}, index=[3, 1, 2, 5])
    found = made_up.number(depth.contrast(table, 0.0 * table))
    assert found.n == 3
    assert found.estimate == pytest.approx(math.exp(2.0))
    assert depth.contrast(table, None) is None
    assert depth.contrast(table, table.iloc[:0]) is None


def test_what_falls_short_of_the_rules_is_said() -> None:
    assert depth.training_deviations(DEPTH_PROTOCOL) == ()
    assert depth.curvature_deviations(DEPTH_PROTOCOL) == ()
    assert depth.init_deviations(DEPTH_PROTOCOL) == ()
    paper = DEPTH_BUDGETS["paper"]
    texts = depth.training_deviations(paper)
    assert [text.split(":")[0] for text in texts] == ["L = 2, 4 with T = 10,000", "L = 2, 4, 6, 8 with T = 5,000"]
    for short in ("grid of rates run for 500 steps instead of 1,000", "7 learning rates instead of 10"):
        assert short not in texts[0]
        assert short in texts[1]
    assert not any("horizon T" in text or "judging seeds" in text or "tuning seeds" in text for text in texts)
    assert depth.curvature_deviations(paper) == ()
    assert depth.init_deviations(paper) == (
        "L = 2, L = 4: 8 initializations instead of 16",
        "L = 6, L = 8: 3,000 minibatches instead of 10,000",
    )
    quick = DEPTH_BUDGETS["quick"]
    assert any("condition numbers averaged over steps 60" in text for text in depth.curvature_deviations(quick))


def test_a_page_says_once_where_it_falls_short() -> None:
    depths, paper = depths_of(GROWING), DEPTH_BUDGETS["paper"]
    verdicts = [claim.judge("tuned", "paper", depths, paper) for claim in (c9, c10)]
    assert len(set(verdicts[0].deviations)) == len(verdicts[0].deviations) == 2
    text = shortfalls(*verdicts, c12.judge("paper", depths, paper))
    for deviation in verdicts[0].deviations:
        assert text.count(deviation) == 1
        assert f"{deviation} (C9, C10, C12)" in text
        assert deviation in verdicts[0].markdown()
        assert deviation not in verdicts[0].markdown(deviations=False)
    assert shortfalls(replace(verdicts[0], deviations=())) == ""


def test_a_changed_budget_changes_all_seeds_and_horizons() -> None:
    budget = measured.changed(DEPTH_BUDGETS["quick"], seeds=2, steps=30)
    assert {budget.long.steps, budget.short.steps} == {30}
    parts = (budget.long, budget.short, budget.long_curvature, budget.short_curvature, budget.shallow_noise)
    assert {part.seeds for part in (*parts, budget.deep_noise)} == {2}
    assert measured.changed(DEPTH_PROTOCOL) == DEPTH_PROTOCOL


def test_tables_of_the_page() -> None:
    histories = depths_of(GROWING).short.histories
    met = {
        name: history.runs.assign(step=0, metric="batch_loss", value=[1.0, 1e40, 2.0, math.inf] * 2)
        for name, history in histories.items()
    }
    table = tables.steps(histories, met)
    assert table["largest batch loss met"].unique().tolist() == ["1.0e+40"]
    assert table["beyond float32"].unique().tolist() == ["2 of 4 looked at"]
    assert tables.decades(met)["L = 2"] == pytest.approx(40 - math.log10(2))
    assert (tables.isotropy(histories)["L = 2"] == 1.0).all()
    assert list(tables.noise(noise_of(GROWING)).columns[1:]) == ["L = 2", "L = 4", "L = 6", "L = 8"]


def test_unfinished_runs_are_in_no_basin() -> None:
    """SGD at eight layers never reaches its target: unfinished, not another solution."""
    depths = depths_of(GROWING, speeds={2: 50, 4: 50, 6: 50, 8: 10 * LONG})
    histories = depths.short.histories
    found = tables.solutions(histories, c9.gaps(depths))
    assert [own.comparable for own in found.values()] == [True, True, True, False]
    assert [own.unfinished for own in found.values()] == [{"sgd": 0, "adam": 0}] * 3 + [{"sgd": 4, "adam": 0}]
    assert [own.shared for own in found.values()] == [0] * 4
    assert "4 of 4 runs of SGD are unfinished" in tables.described(found["depth 8"])
    assert "unfinished" not in tables.described(found["depth 6"])
    assert [int(own.counts.to_numpy().sum()) for own in found.values()] == [8, 8, 8, 4]
    table = tables.basin_table(histories, found)
    assert table["basin"].tolist() == ["A", "B"] * 3 + ["A", "none: unfinished"]
    assert table.iloc[-1][["SGD runs", "Adam runs"]].tolist() == ["4", "0"]


def test_where_the_deepest_formula_leaves_float32() -> None:
    eigenvalues, tops = np.linspace(1, 10, 10), np.array([1.0, 2.0, 8.5, 9.5])
    curves = {"L = 2": np.zeros(10), "L = 8": np.where(eigenvalues > 7, 50.0, -1.0)}
    text = depth_words.steepest(curves, eigenvalues, tops)
    assert "At L = 8" in text
    assert "an eigenvalue of 8 on. Of 4 prompts 2 have" in text
    assert "stays inside float32 up to an eigenvalue of 10" in depth_words.steepest(
        {"L = 2": np.zeros(10)}, eigenvalues, tops
    )


def test_how_many_ways_say_larger() -> None:
    units = [made_up.unit(state) for state in (YES, REV, REV, NULL, MISSING)]
    assert depth_words.ways(made_up.verdict(*units)).endswith("larger in 1 and smaller in 2 of 4")


def test_what_a_cooldown_gains_and_whether_longer_is_lower() -> None:
    depths = depths_of(GROWING, cooled={8: {"sgd": 1.0, "adam": 1e-3}, 2: {"sgd": 0.1, "adam": 0.1}})
    gains = {unit.case: unit for unit in tables.gains(depths.short)}
    assert gains["L = 8, Adam"].statistic.startswith("3 decades")
    assert (gains["L = 8, Adam"].state, gains["L = 8, SGD"].state) == (YES, NULL)
    assert gains["L = 8, SGD"].keys == Keys(("depth 8",), depths.short.budget.steps, "sgd")
    frame = depths.long.judged.tuned["depth 4"].frame
    frame.loc[frame["optimizer"] == "sgd", "value"] *= 2
    longer = {unit.case: unit for unit in tables.longer(depths)}
    assert [unit.state for unit in longer.values()] == [NULL, NULL, REV, NULL]
    assert longer["L = 2, SGD"].statistic.startswith("1 decades")
    table = tables.ends(depths.short, c9.gaps(depths))
    assert table["runs that reached the target"].tolist() == ["4 of 4"] * 8
    assert table["after the cooldown"].iloc[-1] == f"{1e-11 * np.prod(SPREAD[:4]) ** (0.5 / 4):.2e}"
    assert tables.decades_text(None) == "not measured"


def test_the_gap_along_the_run_and_after_it() -> None:
    depths = depths_of(GROWING, cooled={8: {"sgd": 1.0, "adam": 0.5}})
    table = tables.along(depths)
    assert set(table[table["model"] == "L = 2"]["horizon"]) == {SHORT, LONG}
    deep = table[table["model"] == "L = 8"]
    assert set(deep["horizon"]) == {SHORT}
    ends = deep[deep["kind"] != "along"].set_index("kind")
    assert ends["step"].to_dict() == {"tuned": SHORT, "cooled": SHORT + SHORT // 5}
    assert ends["estimate"]["cooled"] == pytest.approx(2 * ends["estimate"]["tuned"])
    along = deep[deep["kind"] == "along"].set_index("step")
    assert along.loc[0, "estimate"] == 1.0
    assert along.loc[SHORT, "estimate"] == pytest.approx(ends["estimate"]["tuned"])
    assert ((ends["low"] < ends["estimate"]) & (ends["estimate"] < ends["high"])).all()
    shown = figures.gap_along(table)
    assert [axes.get_title() for axes in shown.axes] == [f"L = {layers}" for layers in GROWING]


def test_mean_against_typical() -> None:
    rows = [
        (optimizer, seed, prompts, mean, 1.0, 0.25)
        for optimizer in OPTIMIZERS
        for seed in range(2)
        for prompts, mean in ((1000, 1.0), (2000, 1e30 if seed else 2.0))
    ]
    found = {"depth 8": pd.DataFrame(rows, columns=["optimizer", "seed", "prompts", "mean", "typical", "share"])}
    table = tables.means(found)
    assert table["mean over typical, least and most of the seeds"].unique().tolist() == ["2 to 1e+30"]
    assert table["share of the ten worst prompts"].unique().tolist() == ["25.00%"]
    growth = tables.mean_growth(found).iloc[0]
    assert growth.tolist() == ["L = 8", 1000, 2000, 5e29 + 1.0, 2.0, 1e30]


def test_figures_of_the_page() -> None:
    """What each shows; and a sentence where no rate was found, so that nothing was trained."""
    depths = depths_of(GROWING)
    curves = figures.typical_curves(depths.short.histories)
    assert [axes.get_title() for axes in curves.axes] == [f"L = {layers}" for layers in GROWING]
    low, high = curves.axes[0].get_ylim()
    assert low < 1e-8 < 5 < high
    losses, gaps = c10.log_losses(depths), c9.log_gaps(c9.gaps(depths))
    assert set(losses["layers"]) == set(gaps["layers"]) == set(GROWING)
    assert gaps[gaps["metric"] == "loss"].groupby("layers")["value"].mean()[8] == pytest.approx(
        math.log(8) + np.log(SPREAD[:4]).mean() / 2
    )
    assert len(figures.losses_and_gaps(losses, gaps).axes) == 2
    noise = noise_of(GROWING, {2: 6, 4: 6, 6: 4, 8: 4})
    flat = figures.noise_by_depth(c11.log_tails(noise_of(dict.fromkeys(GROWING, 1.03))), c11.log_tails(noise), 1.25)
    for axes in flat.axes:  # a narrow range has numbers too
        low, high = axes.get_ylim()
        assert sum(low <= tick <= high for tick in axes.get_yticks()) >= 2
    assert len(figures.noise_by_depth(c11.log_tails(noise), c11.log_tails(noise, "median"), 1.25).axes) == 2
    line, values = np.linspace(0.1, 2.0, 20), np.linspace(-3.0, 50.0, 20)
    shown = figures.overflow_curves({"a": values}, line, {"mark": 1.0}, {"a": (values, values + 1)}, line)
    assert [axes.get_title() for axes in shown.axes] == ["by formula", "measured"]
    nobody = depths_of({})
    empty = [
        figures.typical_curves({}),
        figures.batches_met({}),
        figures.running_means({}),
        figures.gap_along(tables.along(nobody)),
        figures.losses_and_gaps(c10.log_losses(nobody), c9.log_gaps(c9.gaps(nobody))),
        figures.overflow_curves({}, line, {}, {}, line),
    ]
    assert all("not measured" in figure.axes[0].texts[0].get_text() for figure in empty)
