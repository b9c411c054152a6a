"""The page on adaptivity, its figures, and how its arms are made: tiny, for real and made up."""

from __future__ import annotations

import numpy as np
import pytest
from test_claims_adaptivity import LOSSES, SIX, cell, history, measured

from lintrans.paper import figures
from lintrans.paper.claims import f1, f3, f11
from lintrans.paper.measure.adaptivity import _rates
from lintrans.paper.pages import which_adaptivity as page
from lintrans.paper.practice.arms import ASKED, BUDGETS, Trained
from lintrans.paper.scales_adaptivity import WHY, WHY_PROTOCOL
from lintrans.training.arms import ARMS


def test_rates_have_geometric_mean_one() -> None:
    assert _rates(np.log([1.0, 4.0, 0.0 + 1e-300, 16.0])[[0, 1, 3]]) == (0.25, 1.0, 4.0)
    assert _rates(np.array([0.0, np.inf, np.log(4.0)])) == (0.5, 1.0, 2.0)


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
        assert budget.trains("oracle", training)
        assert budget.trains("rotated", training), "F4 is judged in every cell"
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
