"""Numbers on logarithmic axes, and the data that a figure carries."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lintrans.paper.figures import narrow, parts, style
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


def test_on_a_phone_panels_stand_below_one_another_with_their_own_numbers() -> None:
    style.use()
    figure, axes = parts.panels(3, 3.0)
    for panel in axes:
        panel.plot([0, 1], [1, 2], label="a curve")
        panel.set_xlabel("step")
    axes[0].set_ylabel("loss")
    parts.legend_below(parts.titled(figure, "a finding in words " * 4), [*axes[0].lines])
    size = tuple(figure.get_size_inches())
    copy = narrow.stacked(pickle.loads(pickle.dumps(figure)))
    copy.draw_without_rendering()
    places = [panel.get_position() for panel in copy.axes]
    assert [box.x0 for box in places] == [places[0].x0] * 3
    assert places[0].y0 > places[1].y1 > places[1].y0 > places[2].y1
    assert [panel.get_ylabel() for panel in copy.axes] == ["loss"] * 3
    assert all(panel.yaxis.get_ticklabels()[0].get_visible() for panel in copy.axes)
    assert copy.get_figwidth() == narrow.WIDTH
    assert copy.get_suptitle().count("\n") > figure.get_suptitle().count("\n")
    assert [text.get_text() for text in copy.legends[0].get_texts()] == ["a curve"]
    assert narrow.svg(figure) == narrow.svg(figure)
    assert tuple(figure.get_size_inches()) == size, "the figure itself stays as it is"
    assert figure.axes == axes
