"""Figures of gradient noise show what they say, byte for byte the same for the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import svg
from matplotlib.figure import Figure

from lintrans.paper import figures
from lintrans.paper.figures import noise, style

RNG = np.random.default_rng(0)
NORMS = {name: np.abs(RNG.standard_t(3, size=2000)) + 1 for name in "123"}
NULLS = {name: np.abs(RNG.normal(size=5000)) + 1 for name in "123"}


def table(seeds: int = 3, scale: float = 1.0) -> pd.DataFrame:
    return pd.DataFrame({"seed": range(seeds), "excess": scale * np.linspace(1.1, 1.3, seeds)})


def along(seeds: int = 3) -> pd.DataFrame:
    parts = [
        table(seeds, 1 + 9 * step).assign(optimizer=optimizer, step=step)
        for optimizer in ("sgd", "adam")
        for step in (0, 1, 5)
    ]
    return pd.concat(parts)


@pytest.fixture(autouse=True)
def own_style() -> None:
    figures.use()


@pytest.mark.parametrize(
    "draw",
    [
        lambda: noise.histograms(NORMS, NULLS),
        lambda: noise.excesses({"1": table(), "2": table(1)}, 1.25),
        lambda: noise.excess_by_batch({"1": pd.concat([table().assign(batch=b) for b in (10, 1000)])}),
        lambda: noise.excess_along({"1": along(), "3": along(1)}),
        lambda: noise.excess_along({"1": along().assign(excess=lambda t: t["excess"].where(t["step"] < 5))}),
        lambda: noise.tail_indices({"a": NORMS["1"], "b": NULLS["1"]}),
    ],
)
def test_figures_are_the_same_for_the_same_numbers(draw: Callable[[], Figure]) -> None:
    assert svg(draw()) == svg(draw())


def test_densities_are_shares_of_the_whole_sample() -> None:
    edges = np.linspace(0, 2, 11)
    density = noise._density(np.array([0.1, 0.3, 1.9, 50.0]), edges)
    assert (density * np.diff(edges)).sum() == pytest.approx(0.75)


def test_histograms_show_both_samples() -> None:
    figure = noise.histograms(NORMS, NULLS)
    for axes, name in zip(figure.axes, NORMS, strict=False):
        (stairs,) = axes.patches
        values, edges, _ = stairs.get_data()  # type: ignore[attr-defined]
        inside = (NORMS[name] <= edges[-1]).mean()
        assert (values * np.diff(edges)).sum() == pytest.approx(inside)
        assert inside >= noise.SHOWN
        null = np.asarray(axes.lines[0].get_ydata())
        assert (null * np.diff(edges)).sum() == pytest.approx((NULLS[name] <= edges[-1]).mean())
        assert axes.get_title() == f"Setting {name}"


def heights(line: Any) -> list[float]:
    return [float(value) for value in line.get_ydata()]


def test_excesses_are_dots_beside_their_mean() -> None:
    axes = noise.excesses({"1": table(), "2": table(1, 2.0)}, 1.25).axes[0]
    assert pytest.approx(table()["excess"].tolist()) in [heights(line) for line in axes.lines]
    means = [heights(line)[0] for line in axes.lines if line.get_color() == style.GREY and line.get_marker() == "o"]
    assert means == pytest.approx([float(np.exp(np.log(table()["excess"]).mean())), 2.2])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["Setting 1", "Setting 2"]
    assert [heights(line)[0] for line in axes.lines[:2]] == [1.0, 1.25]


def test_excess_by_batch_is_a_line_of_means() -> None:
    parts = [table(scale=scale).assign(batch=size) for size, scale in ((10, 4.0), (1000, 1.0))]
    axes = noise.excess_by_batch({"1": pd.concat(parts)}).axes[0]
    line = axes.lines[1]
    mean = float(np.exp(np.log(table()["excess"]).mean()))
    assert np.asarray(line.get_xdata()).tolist() == [10, 1000]
    assert np.asarray(line.get_ydata()) == pytest.approx([4 * mean, mean])
    assert axes.get_xscale() == "log"


def test_tail_indices_are_hills_and_the_moments() -> None:
    """Hill's by its definition; an exact Pareto sample of index 1/2 stays near the boundary in both panels."""
    pareto = (np.arange(1, 4001) / 4001) ** -0.5
    hill, moment = noise.tail_indices({"a": pareto}).axes
    k, found = (np.asarray(values) for values in hill.lines[0].get_data())
    ordered = np.log(np.sort(pareto)[::-1])
    assert found == pytest.approx([float((ordered[: int(n)] - ordered[int(n)]).mean()) for n in k])
    assert np.asarray(moment.lines[0].get_ydata())[k > 200] == pytest.approx(0.5, abs=0.05)
    assert [heights(line)[0] for line in hill.lines[1:]] == [0.5, 0.0]


def test_means_are_geometric() -> None:
    figure = noise.excess_along({"1": along()}, "a finding")
    assert figure.get_suptitle() == "A finding"
    thick = [line for line in figure.axes[0].lines if line.get_marker() in ("s", "o")]
    values = table()["excess"]
    for line in thick:
        expected = np.exp(np.log(values).mean()) * np.array([1.0, 10.0, 46.0])
        assert np.asarray(line.get_ydata()) == pytest.approx(expected)
    assert len(thick) == 2
