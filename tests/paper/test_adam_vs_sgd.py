"""The gap along training and at several horizons, the fixed batch's worst prompt, and the sentences on them."""

from __future__ import annotations

import math
from dataclasses import replace

import made_up
import numpy as np
import pandas as pd
import pytest
import torch
from drawn import svg

import lintrans as lt
from lintrans.diagnostics.along import fixed_batch
from lintrans.paper import figures
from lintrans.paper.claims.rules import State
from lintrans.paper.judged import Choice, Judged, Tuning, end_steps
from lintrans.paper.measure import worst
from lintrans.paper.pages import adam_vs_sgd as page
from lintrans.paper.pages.words import gathered, listed
from lintrans.paper.problems import SETTINGS

GAPS = {100: 4.0, 200: 2.0, 1000: 0.5}
"""SGD's loss over Adam's at a step; between them it is that of the step before."""
SPREAD = (1.0, 1.1, 0.9, 1.05, 0.95, 1.0)


def history(factor: float = 1.0, cooled: float = 3.0, lost: int | None = None) -> lt.History:
    """Losses with the gaps of GAPS times a factor, and another gap after the cooldown; one seed of SGD may diverge."""

    def loss(seed: int, optimizer: str, step: int, lr: float) -> float:
        if optimizer == "adam":
            return 0.1
        if seed == lost:
            return math.inf
        gap = cooled if step > 1000 else factor * GAPS[max((s for s in GAPS if s <= step), default=100)]
        return 0.1 * gap * SPREAD[seed]

    return made_up.history(loss, 6, steps=1000, every=50, ends=end_steps(1000))


def search(steps: int = 100, complete: bool = True) -> Tuning:
    """SGD ends twice as high as Adam, each at its best rate, on three seeds; other rates are worse."""
    best = {name: Choice(0.1, 1.0, 0.1, complete, steps) for name in ("sgd", "adam")}
    rows = [
        (name, lr, 1.0, seed, steps, worse * high * (2.0 * SPREAD[seed] if name == "sgd" else 1.0), screened)
        for name in best
        for lr, worse in ((0.1, 0.1), (0.2, 0.3))
        for seed in range(3)
        for screened, high in ((True, 7.0), (False, 1.0))
    ]
    columns = ["optimizer", "lr", "clip", "seed", "steps", "loss", "screened"]
    return Tuning("1", pd.DataFrame(rows, columns=columns), best, complete)


def judged() -> Judged:
    return made_up.judged({"1": history()}, {"1": history(0.5)}, **{"1": search(1000)})


def test_gap_along_the_training() -> None:
    table = page.gaps(judged())
    own = table[table["reading"] == "published"].set_index("step")
    mean = np.exp(np.log(SPREAD).mean())
    assert own["estimate"][[100, 150, 200, 1000]].tolist() == pytest.approx([4 * mean, 4 * mean, 2 * mean, 0.5 * mean])
    assert (own["low"] < own["estimate"]).all()
    tuned = table[table["reading"] == "tuned"].set_index("step")
    assert tuned["estimate"].tolist() == pytest.approx((0.5 * own["estimate"]).tolist())
    assert page.gaps(made_up.judged({})).empty


def test_a_run_that_is_lost_counts_as_the_zero_predictor() -> None:
    table = page.gaps(made_up.judged({"1": history(lost=0)}))
    logs = np.log([50.0, *(4.0 * x for x in SPREAD[1:])])  # f0 is 5, Adam's loss 0.1
    assert table["estimate"].iloc[0] == pytest.approx(np.exp(logs.mean()))


def test_the_horizon_decides_the_tuned_gap() -> None:
    units = page.horizons(judged())
    assert [(unit.statistic, unit.state) for unit in units] == [
        ("100", State.YES), ("200", State.NULL), ("1,000", State.REV),
    ]  # fmt: skip
    assert page.moved(units) == ["Setting 1"]
    assert page.moved(units[:1]) == []
    assert page.moved([units[0], replace(units[1], state=State.YES)]) == []


def test_marks_beside_the_curves() -> None:
    own = judged()
    table = page.marks(own, {"1": search(100)}).set_index("step")
    mean = np.exp(np.log(SPREAD).mean())
    assert table.loc[1200, "estimate"] == pytest.approx(3.0 * mean)
    assert table.loc[100, "estimate"] == pytest.approx(2.0 * np.exp(np.log(SPREAD[:3]).mean()))
    assert list(page.marks(own, {"1": search(100, complete=False)})["step"]) == [1200]
    assert list(page.marks(own, {"1": search(1000)})["step"]) == [1200], "the horizon itself has its curve"
    assert len(page.marks(made_up.judged({}), {})) == 0
    figure = figures.gap_curves(page.gaps(own), page.marks(own, {"1": search(100)}))
    [axes] = figure.axes
    assert (axes.get_xscale(), axes.get_yscale(), axes.get_title()) == ("log", "log", "Setting 1")
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:2] == ["published rates", "tuned rates"]
    assert len(legend) == 4
    assert svg(figure)


def test_the_worst_prompt_of_the_fixed_batch() -> None:
    """With one bad prompt that prompt is nearly all of the loss; its share is that of squared errors by hand."""
    setting, model = SETTINGS["2"], lt.LinearTransformer(3, 5)
    runs = pd.DataFrame({"run": [0, 1], "optimizer": ["sgd", "adam"], "seed": 0})
    torch.manual_seed(0)
    small = 0.05 * torch.randn(3, 1, 2, 5, 5)
    wild = 3.0 * torch.eye(5).expand(3, 1, 2, 5, 5)  # grows without bound where a prompt's moments are large
    parameters = torch.stack([small, wild]).reshape(2, *model.init(0).shape[-5:])
    made = lt.History(pd.DataFrame(), runs, {10: parameters}, 10)
    table = worst.shares_at_the_end({"2": made}).set_index("optimizer")
    prompts = fixed_batch(model, setting.task)
    squares = (model.predict(parameters[1].double(), prompts) - prompts.target).square()
    assert table.loc["adam", "share"] == pytest.approx(float(squares.max() / squares.sum()))
    assert table.loc["adam", "loss"] == pytest.approx(float(squares.mean()))
    shares = dict(zip(table.index, table["share"].to_numpy(np.float64), strict=True))
    assert shares["sgd"] < 0.1
    assert shares["adam"] > 0.5
    middle = page.ruled(table.reset_index().assign(setting=["1", "2"]))
    assert list(middle.index) == ["2", "1"]
    assert middle["much"].tolist() == [True, False]


def test_conclusions_gather_cases_by_what_they_say() -> None:
    units = [made_up.unit(state, case) for state, case in zip(
        (State.YES, State.NULL, State.YES, State.MISSING), "abcd", strict=True
    )]  # fmt: skip
    words = {"yes": "lower", "weak": "w", "null": "alike", "rev": "r", "missing": "nothing"}
    assert gathered(units, **words) == "lower in a and c; alike in b; nothing in d"
    beside = made_up.verdict(*units[:1], made_up.unit(State.REV, decides=False))
    assert gathered(beside, **words) == "lower in a"
    assert [listed(list(own)) for own in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]
