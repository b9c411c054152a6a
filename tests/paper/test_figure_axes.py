"""Numbers on logarithmic axes, and the data that a figure carries."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lintrans.paper.figures import style
from lintrans.paper.figures.data import COLUMNS, csv, drawn


def labels_between(low: float, high: float) -> list[str]:
    style.use()
    figure = Figure()
    axes = figure.subplots()
    axes.set(yscale="log", ylim=(low, high))
    figure.draw_without_rendering()
    ticks = zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    return [label.get_text() for tick, label in ticks if low <= tick <= high]


@pytest.mark.parametrize("low", [1e-9, 0.3, 0.97, 1.0, 7.0, 3e5])
@pytest.mark.parametrize("span", [1.01, 1.2, 2.0, 4.0, 9.0, 31.0, 32.0, 99.0, 1e4, 1e40])
def test_every_logarithmic_axis_has_two_numbers(low: float, span: float) -> None:
    assert len(set(labels_between(low, low * span))) >= 2


def test_a_short_axis_is_labelled_at_one_two_and_five() -> None:
    assert labels_between(0.3, 8.0) == ["0.5", "1", "2", "5"]
    assert [label.count("10^") for label in labels_between(0.3, 3e4)] == [1] * 5


def test_a_figure_gives_its_numbers() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.set_title("Setting 1")
    axes.plot([1, 2], [3, np.nan], label="Adam")
    axes.scatter([5.0], [6.0], label="best")
    axes.bar([1.0], [7.0])
    frame = pd.read_csv(io.StringIO(csv(figure)))
    assert list(frame) == COLUMNS
    assert set(frame["panel"]) == {"Setting 1"}
    points = set(zip(frame["series"], frame["kind"], frame["x"], frame["y"], strict=True))
    assert {("Adam", "line", 1, 3), ("best", "dot", 5, 6)} <= points
    assert any(kind == "bar" and y == 7 for _, kind, _, y in points)


def test_a_cloud_is_thinned() -> None:
    figure = Figure()
    figure.subplots().plot(np.arange(50_000))
    assert 10_000 < len(drawn(figure)) <= 20_000
