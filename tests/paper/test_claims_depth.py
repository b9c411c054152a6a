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
from lintrans.paper.claims import State, Unit, Word, c9, c10, c11, c12, depth
from lintrans.paper.claims.c3 import CONVENTIONS, MATCHED, PUBLIC
from lintrans.paper.figures import depth as figures
from lintrans.paper.measure import depth as measured
from lintrans.paper.pages import depth as tables
from lintrans.paper.protocol import Judged, end_steps
from lintrans.paper.scales import DEPTH_BUDGETS, DEPTH_PROTOCOL
from lintrans.statistics import Interval

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State
OPTIMIZERS = ("sgd", "adam")
SPREAD = (1.0, 1.1, 0.95, 1.05, 0.9, 1.02)
LONG, SHORT = 1000, 500
PROBES = (0, 250, 500)

Loss = Callable[[int, str, int, float], float]
"""Of a seed, an optimizer, a step and a rate."""


def history_of(loss: Loss, seeds: int, steps: int, layers: int = 2) -> lt.History:
    """A training whose typical loss is a function; its cooldown ends where the horizon does."""
    made = made_up.history(loss, seeds, steps, every=50, ends=end_steps(steps))
    scale = torch.tensor([1.0 if optimizer == "adam" else 3.0 for optimizer in made.runs["optimizer"]])
    end = torch.eye(5).expand(len(scale), layers, 1, 2, 5, 5) * scale[:, None, None, None, None, None]
    return replace(made, snapshots={steps + steps // 5: end})


def falling(end: Mapping[str, float], fast: Mapping[str, int]) -> Loss:
    """From 5 to `end`, with a spread over seeds, at the step `fast`."""

    def loss(seed: int, optimizer: str, step: int, lr: float) -> float:
        return end[optimizer] * SPREAD[seed] ** (1 if optimizer == "sgd" else 0.5) if step >= fast[optimizer] else 5.0

    return loss


def conditions_of(ratio: float, seeds: int, **other: float) -> pd.DataFrame:
    """R_med of every convention; SGD's is `ratio` times Adam's, with a spread over seeds."""
    rows = [
        (optimizer, seed, step, metric, 10 * (other.get(metric, ratio) * SPREAD[seed] if optimizer == "sgd" else 1.0))
        for optimizer in OPTIMIZERS
        for seed in range(seeds)
        for step in PROBES
        for metric in CONVENTIONS
    ]
    return pd.DataFrame(rows, columns=["optimizer", "seed", "step", "metric", "value"])


def depths_of(
    gaps: Mapping[int, float],
    speeds: Mapping[int, int] | None = None,
    floors: Mapping[int, float] | None = None,
    conditions: Mapping[int, float] | None = None,
) -> depth.Depths:
    """Trainings of the depths named: SGD's end loss over Adam's, SGD's steps to the target, Adam's end loss, R_med."""

    def trained(names: tuple[str, ...], seeds: int, steps: int, budget: Any, curvature: Any) -> depth.Trained:
        histories, frames = {}, {}
        for layers, ratio in gaps.items():
            if (name := depth.NAMES[layers]) in names:
                low = (floors or {}).get(layers, 10.0 ** (-layers))
                fast = {"sgd": (speeds or {}).get(layers, 50 * layers), "adam": 50}
                histories[name] = history_of(falling({"sgd": low * ratio, "adam": low}, fast), seeds, steps, layers)
                frames[name] = conditions_of((conditions or gaps)[layers], seeds)
        judged = Judged({"published": {}, "tuned": histories}, {})
        return depth.Trained(judged, frames, budget, curvature)

    asked = DEPTH_PROTOCOL
    return depth.Depths(
        trained(asked.long.settings, 6, LONG, asked.long, replace(asked.long_curvature, settled=250)),
        trained(asked.short.settings, 4, SHORT, asked.short, replace(asked.short_curvature, settled=250)),
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


def test_c9_passes_where_both_gaps_grow() -> None:
    verdict = c9.judge("paper", depths_of(GROWING), DEPTH_PROTOCOL)
    decide = [unit for unit in verdict.units if unit.decides]
    assert [unit.case for unit in decide] == ["L = 2 to 4", "L = 4 to 6", "L = 6 to 8"]
    assert len(verdict.units) == 9
    cases = by_case(verdict.units)
    loss, steps = made_up.number(cases["L = 2 to 4, end loss"]), made_up.number(cases["L = 4 to 6, steps to target"])
    assert loss.estimate == pytest.approx(2.0)
    assert loss.n == 6
    assert steps.estimate == pytest.approx(300 / 200)
    assert steps.n == 4
    assert verdict.ruling.word is Word.REPRODUCED
    assert (verdict.deviations, verdict.reading, verdict.chapter) == ((), "tuned", "depth")
    shown = tables.gaps(verdict)
    assert [unit.state for unit in shown] == [YES] * 3
    assert shown[0].statistic.startswith("by end loss 2 [2, 2] YES; by steps to target ")


def test_c9_fails_where_the_gap_in_steps_shrinks() -> None:
    depths = depths_of(GROWING, speeds={2: 400, 4: 300, 6: 200, 8: 100})
    verdict = c9.judge("paper", depths, DEPTH_PROTOCOL)
    assert {unit.state for unit in verdict.units if unit.decides} == {REV}
    assert verdict.ruling.word is Word.NOT


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
    unit = by_case(c9.judge("paper", depths, DEPTH_PROTOCOL).units)["L = 2 to 4"]
    assert (unit.statistic, unit.state) == (c9.SPEED, NULL)


def test_c9_and_c10_without_a_depth_are_not_measurable() -> None:
    depths = depths_of({layers: gap for layers, gap in GROWING.items() if layers != 8})
    for verdict in (c9.judge("paper", depths, DEPTH_PROTOCOL), c10.judge("paper", depths, DEPTH_PROTOCOL)):
        assert verdict.ruling.word is Word.UNMEASURABLE
        assert {unit.state for unit in verdict.units if "8" in unit.case} == {MISSING}
    assert list(c9.gaps(depths)) == [2, 4, 6]


def test_c10_passes_where_both_losses_fall_and_fails_where_they_do_not() -> None:
    verdict = c10.judge("paper", depths_of(GROWING), DEPTH_PROTOCOL)
    assert verdict.ruling.word is Word.REPRODUCED
    assert [unit.case for unit in verdict.units][:2] == ["SGD from L = 2 to 4", "Adam from L = 2 to 4"]
    found = by_case(verdict.units)
    adam, sgd = made_up.number(found["Adam from L = 4 to 6"]), made_up.number(found["SGD from L = 4 to 6"])
    assert (adam.estimate, sgd.estimate) == pytest.approx((100.0, 50.0))
    floors = {2: 1e-3, 4: 1e-3, 6: 1e-3, 8: 1e-2}
    flat = c10.judge("paper", depths_of(dict.fromkeys(GROWING, 1.0), floors=floors), DEPTH_PROTOCOL)
    assert [unit.state for unit in flat.units] == [NULL] * 4 + [REV] * 2
    assert flat.ruling.word is Word.NOT


def noise_of(tails: Mapping[int, float], seeds: Mapping[int, int] | None = None) -> dict[str, pd.DataFrame]:
    """Tables of noise with a spread over initializations that all depths share."""
    tables = {}
    for layers, tail in tails.items():
        count = (seeds or {}).get(layers, 6)
        tables[depth.NAMES[layers]] = pd.DataFrame(
            {
                "seed": range(count),
                "excess": [tail * SPREAD[seed] ** (layers / 4) for seed in range(count)],
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
    lost = noise_of(GROWING)
    lost["depth 8"]["excess"] = math.nan
    assert c11.judge("paper", lost, DEPTH_PROTOCOL).ruling.word is Word.UNMEASURABLE
    few = {name: table for name, table in noise_of(GROWING).items() if name != "depth 4"}
    states = [unit.state for unit in c11.judge("paper", few, DEPTH_PROTOCOL).units if unit.decides]
    assert states == [MISSING, YES]


def test_c12_compares_every_depth_with_two_layers_under_every_convention() -> None:
    verdict = c12.judge("paper", depths_of(GROWING), DEPTH_PROTOCOL)
    assert [unit.case for unit in verdict.units if unit.decides] == [f"L = {layers} against 2" for layers in (4, 6, 8)]
    assert len(verdict.units) == 3 * 5
    found = by_case(verdict.units)
    for case, ratio, seeds in (("L = 4 against 2", 2.0, 6), ("L = 8 against 2, per block", 8.0, 4)):
        own = made_up.number(found[case])
        assert own.estimate == pytest.approx(ratio)
        assert own.n == seeds
    assert verdict.ruling.word is Word.REPRODUCED
    assert c12.robust(verdict)
    table = tables.conditions(verdict)
    assert set(table["statistic"]) == {*CONVENTIONS.values(), MATCHED}
    assert list(dict.fromkeys(table["case"])) == [f"L = {layers} against 2" for layers in (4, 6, 8)]


def test_c12_fails_and_is_missing() -> None:
    shrinking = depths_of(GROWING, conditions={2: 8.0, 4: 4.0, 6: 2.0, 8: 1.0})
    verdict = c12.judge("paper", shrinking, DEPTH_PROTOCOL)
    assert verdict.ruling.word is Word.NOT
    assert not c12.robust(verdict)
    depths = depths_of(GROWING)
    del depths.short.conditions["depth 2"]
    states = {unit.case: unit.state for unit in c12.judge("paper", depths, DEPTH_PROTOCOL).units if unit.decides}
    assert states == {"L = 4 against 2": YES, "L = 6 against 2": MISSING, "L = 8 against 2": MISSING}
    one = depths_of(GROWING)
    for frame in one.short.conditions.values():
        frame.loc[frame["metric"] == PUBLIC, "value"] = 1.0
    assert by_case(c12.judge("paper", one, DEPTH_PROTOCOL).units)["L = 8 against 2"].state is NULL


def test_what_falls_short_of_the_rules_is_said() -> None:
    assert depth.training_deviations(DEPTH_PROTOCOL) == ()
    assert depth.curvature_deviations(DEPTH_PROTOCOL) == ()
    assert depth.init_deviations(DEPTH_PROTOCOL) == ()
    paper = DEPTH_BUDGETS["paper"]
    texts = depth.training_deviations(paper)
    short = "L = 2, 4, 6, 8 with T = 5,000: "
    assert short + "grid of rates run for 500 steps instead of 1,000" in texts
    assert short + "2 pairs of rate and clip taken to the horizon instead of 3" in texts
    assert short + "7 learning rates instead of 10" in texts
    assert not any("horizon T" in text for text in texts)
    assert [text for text in texts if "judging seeds" in text] == [
        "L = 2, 4 with T = 10,000: 6 judging seeds instead of 12"
    ]
    assert depth.curvature_deviations(paper) == (
        "L = 2, 4 with T = 10,000: condition numbers of 6 seeds instead of 12",
    )
    assert depth.init_deviations(paper) == (
        "L = 2, L = 4: 8 initializations instead of 16",
        "L = 6, L = 8: 3,000 minibatches instead of 10,000",
    )
    quick = DEPTH_BUDGETS["quick"]
    assert any("condition numbers averaged over steps 60" in text for text in depth.curvature_deviations(quick))


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
    assert tables.basin_table(histories)["basin"].tolist() == ["A", "B"] * 4
    assert all((counts.sum(axis=1) == 4).all() for counts in tables.basin_counts(histories).values())
    assert (tables.isotropy(histories)["L = 2"] == 1.0).all()
    assert list(tables.noise(noise_of(GROWING)).columns[1:]) == ["L = 2", "L = 4", "L = 6", "L = 8"]


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
    assert len(figures.noise_by_depth(c11.log_tails(noise), c11.log_tails(noise, "median"), 1.25).axes) == 2
    line, values = np.linspace(0.1, 2.0, 20), np.linspace(-3.0, 50.0, 20)
    shown = figures.overflow_curves({"a": values}, line, {"mark": 1.0}, {"a": (values, values + 1)}, line)
    assert [axes.get_title() for axes in shown.axes] == ["by formula", "measured"]
    nobody = depths_of({})
    empty = [
        figures.typical_curves({}),
        figures.batches_met({}),
        figures.running_means({}),
        figures.losses_and_gaps(c10.log_losses(nobody), c9.log_gaps(c9.gaps(nobody))),
        figures.overflow_curves({}, line, {}, {}, line),
    ]
    assert all("not measured" in figure.axes[0].texts[0].get_text() for figure in empty)
