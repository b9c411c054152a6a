"""Figures show what they say, byte for byte the same for the same numbers."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import lintrans as lt
from lintrans import figures, protocol
from lintrans.protocol import Choice, Tuning
from lintrans.settings import SETTINGS, Budget

BUDGET = Budget(("1", "3"), steps=20, seeds=2, batch=20, blocks=1, seconds=5, every=5)


def svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def trained(budget: Budget) -> dict[str, lt.History]:
    return {
        name: protocol.train_to_judge(
            SETTINGS[name], protocol.published_runs(SETTINGS[name], range(budget.seeds)), budget, name
        )
        for name in budget.settings
    }


@pytest.fixture(autouse=True)
def style() -> None:
    figures.use()


def test_loss_curves() -> None:
    histories = trained(BUDGET)
    figure = figures.loss_curves(histories)
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "log"]
    assert figure.axes[0].get_ylabel()
    for axes, history in zip(figure.axes, histories.values(), strict=True):
        losses = history.metric("test_loss")
        mean = losses[(losses["optimizer"] == "adam") & (losses["step"] <= 20)].groupby("step")["value"].mean()
        assert any(np.array_equal(np.asarray(line.get_ydata()), mean) for line in axes.lines)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "SGD",
        "Adam",
        "median",
        "95% interval of the geometric mean",
        "single seeds, the first 6 at most",
    ]
    assert svg(figure) == svg(figures.loss_curves(histories))


def test_loss_curves_of_one_seed() -> None:
    svg(figures.loss_curves(trained(replace(BUDGET, settings=("1",), seeds=1))))


def test_loss_against_rate_marks_the_best_and_the_lost() -> None:
    losses = pd.DataFrame(
        {
            "optimizer": ["sgd"] * 4 + ["adam"] * 4,
            "lr": [0.01, 0.1, 1.0, 10.0] * 2,
            "clip": 1.0,
            "seed": 1000,
            "steps": 40,
            "loss": [1.0, 0.1, 7.0, np.inf] * 2,
        }
    )
    best = {name: Choice(0.1, 1.0, 0.1, True, 40) for name in ("sgd", "adam")}
    figure = figures.loss_against_rate({"1": Tuning("1", losses, best, False)})
    [axes] = figure.axes
    stars = [line for line in axes.lines if line.get_marker() == "*"]
    assert [float(np.asarray(line.get_xdata())[0]) for line in stars] == [0.1, 0.1]
    lost = [line for line in axes.lines if line.get_marker() == "^"]
    assert [list(np.asarray(line.get_xdata())) for line in lost] == [[1.0, 10.0]] * 2
    assert svg(figure)


def test_one_layer_loss() -> None:
    x = np.linspace(-1, 1, 5)
    figure = figures.one_layer_loss(x, x**2, np.stack([x**2, x**2 + 0.1]), 0.0)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "least possible loss",
        "exact",
        "sampled, one dot a seed",
    ]
