"""Figures of gradient noise show what they say, byte for byte the same for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lintrans import figures
from lintrans.figures import noise

RNG = np.random.default_rng(0)
NORMS = {name: np.abs(RNG.standard_t(3, size=2000)) + 1 for name in "123"}
NULLS = {name: np.abs(RNG.normal(size=5000)) + 1 for name in "123"}


def svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


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
def style() -> None:
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


def test_means_are_geometric() -> None:
    figure = noise.excess_along({"1": along()})
    thick = [line for line in figure.axes[0].lines if line.get_marker() in ("s", "o")]
    values = table()["excess"]
    for line in thick:
        expected = np.exp(np.log(values).mean()) * np.array([1.0, 10.0, 46.0])
        assert np.asarray(line.get_ydata()) == pytest.approx(expected)
    assert len(thick) == 2
