"""The page on adaptivity, its figures, and how its arms are made: tiny, for real and made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_claims_adaptivity import LOSSES, SIX, cell, history, measured

import lintrans as lt
from lintrans.diagnostics.along import draw
from lintrans.paper import figures
from lintrans.paper.claims import f1, f3, f11
from lintrans.paper.judged import Choice
from lintrans.paper.measure import adaptivity
from lintrans.paper.measure.adaptivity import _rates, layer_rates, oracle_rates, slim_partition
from lintrans.paper.pages import which_adaptivity as page
from lintrans.paper.practice.arms import ASKED, BUDGETS, Trained
from lintrans.paper.problems import PROBLEMS
from lintrans.paper.scales_adaptivity import WHY, WHY_PROTOCOL
from lintrans.training.arms import ARMS, BlockSGD


def test_rates_have_geometric_mean_one() -> None:
    assert _rates(np.log([1.0, 4.0, 0.0 + 1e-300, 16.0])[[0, 1, 3]]) == (0.25, 1.0, 4.0)
    assert _rates(np.array([0.0, np.inf, np.log(4.0)])) == (0.5, 1.0, 2.0)


def test_the_oracle_looks_at_the_hessians_diagonal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One over the median |H_ii| of a block, by autograd, at the parameters where Adam is after the early steps."""
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    setting, budget = PROBLEMS["depth 2"], replace(WHY("quick"), early=4)
    training, best = budget.trainings[0], Choice(0.01, 1.0, 1.0, True, 60)
    rates = oracle_rates(setting, best, [1000], training, budget, "cpu")
    runs = lt.grid(optimizer="adam", lr=0.01, clip=1.0, seed=1000)
    history = lt.train(setting.model, setting.task, runs, steps=4, batch=training.batch, snapshots=[4], probes=[])
    theta = history.parameters(4)[0].double()
    prompts = draw(setting.model, setting.task, [0], training.batch)[0]
    hessian: Any = torch.autograd.functional.hessian
    dense = hessian(lambda point: setting.model.loss(point, prompts), theta)
    diagonal = dense.reshape(theta.numel(), -1).diagonal().abs().reshape(4, -1)  # P1, Q1, P2, Q2
    inverse = 1 / diagonal[[0, 1, 3]].quantile(0.5, dim=1)
    expected = inverse / inverse.log().mean().exp()
    assert rates[2] == 1, "the last P' has no effect, and so no curvature"
    assert [rates[0], rates[1], rates[3]] == pytest.approx(expected.tolist(), rel=0.01)


def test_slim_adams_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """The partition of the largest mean ratio that is at least 1; else every entry by itself."""
    of_p, of_q = {"row": 0.5, "column": 3.0, "block": 2.0}, {"row": 0.9, "column": 0.2, "block": 0.5}
    rows = [
        (name, kind, value * factor)
        for kind, own in enumerate((of_p, of_q))
        for name, value in own.items()
        for factor in (0.8, 1.2)
    ]
    table = pd.DataFrame(rows, columns=["partition", "kind", "ratio"])
    monkeypatch.setattr(adaptivity, "measurement", lambda *_: table)
    best = Choice(0.01, 1.0, 1.0, True, 60)
    assert slim_partition(PROBLEMS["1"], best, [1000], WHY("quick").trainings[0]) == ("column", "coordinate")


def test_rates_a_layer_are_found_by_steps_that_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """From equal rates to those three times and a third as large, one layer at a time, and no further."""
    target = np.log([3.0, 1 / 3])

    def ends(_: object, arms: Sequence[BlockSGD], *__: object) -> pd.Series:
        logs = {arm.name: np.log([float(each) for each in arm.name.split()[1:]]) for arm in arms}
        return pd.Series({name: float(np.abs(own - target).sum()) for name, own in logs.items()})

    monkeypatch.setattr(adaptivity, "_ends", ends)
    start = Choice(0.1, 1.0, float(np.abs(target).sum()), True, 60)
    found = layer_rates(PROBLEMS["depth 2"], start, [1000], WHY("quick").trainings[0], "cpu")
    assert found == pytest.approx((3.0, 3.0, 1 / 3, 1 / 3), rel=0.01)


def test_every_arm_has_words() -> None:
    made = {"oracle", "layer_rates", "slim_adam"}
    assert set(page.ARMS) == {arm.name for arm in ARMS} - {"sgd"} | made


def test_tables_and_figures() -> None:
    table = measured(between={arm: 1 / loss for arm, loss in LOSSES.items()}, r_lower=LOSSES)
    found = page.units([cell(table=table)])
    assert page.shares(found, 10_000).empty
    shares = page.shares(found, 1000)
    assert set(shares["arm"]) == set(LOSSES) - {"sgd", "adam"}
    assert len(page.share_table(found)) == len(shares)
    assert figures.shares_closed(shares, page.ARMS, "title").axes
    assert figures.shares_closed(shares.head(0), page.ARMS).axes
    assert figures.predictors(page.predictor_tables([cell(table=table)])).axes
    assert figures.predictors({}).axes
    assert "in 1 of 1 cases" in page.title(f1.judge("tuned", "quick", [cell()], WHY_PROTOCOL), "x", 1000)
    verdicts = {("F1", reading): f1.judge(reading, "quick", [cell()], WHY_PROTOCOL) for reading in f1.READINGS}
    assert page.kept_after_cooldown(verdicts) == (1, 1)
    assert "(F1): holds" in page.headline(verdicts, {"F1": "x"})
    assert "one moment a layer" in page.enough(found).partition("In none")[0]
    assert page.enough([]) == "No cell has a gap."
    assert page.correlations(f3.judge("tuned", "quick", [cell(table=table)], WHY_PROTOCOL)).count("between") == 1


def test_deep_and_long_trainings_have_few_arms() -> None:
    budget = WHY("paper")
    first, *others = budget.trainings
    assert budget.trains("lion", first)
    for training in others:
        assert not budget.trains("lion", training)
        assert budget.trains("rotated", training), "F4 is judged in every cell"
        assert budget.trains("oracle", training) != (training.settings == ("softmax",)), (
            "no gap there: nothing to close"
        )
    assert {name for few in budget.few_arms for name in few} <= {"sgd", *page.ARMS}
    with pytest.raises(ValueError, match="give one for each"):
        replace(budget, few_arms=budget.few_arms[:2])
    assert (budget.curvature_seeds_of("1"), budget.curvature_seeds_of("depth 8")) == (12, 6)


def test_real_networks() -> None:
    assert page.networks_short(ASKED) == []
    assert "networks: 8 judging seeds instead of 12" in page.networks_short(BUDGETS("paper"))
    names = ("lm_softmax", "cnn")
    found = Trained({name: history(SIX) for name in names}, {}, dict.fromkeys(names, 5.0))
    tables = page.ends_on_networks(found)
    assert list(tables) == [*names]
    for own in tables.values():
        assert list(own) == list(f11.RANKING)
        assert (own["sgd"] == 1).all()
        assert own["layer"].median() == pytest.approx(1e-2, rel=0.1)
    axes = figures.ranked(tables, page.ARMS, "title").axes
    assert [each.get_title() for each in axes] == [*names]
    assert figures.ranked({}, page.ARMS).axes
    assert page.rankings([cell(SIX)], 1000).startswith("- setting 1: one moment a layer, Adam, ")
    assert page.rankings([cell(LOSSES)], 1000) == ""
