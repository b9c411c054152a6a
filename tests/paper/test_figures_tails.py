"""Figures of heavy tails show what they say, byte for byte the same for the same numbers."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from drawn import svg, texts
from scipy import stats

from lintrans.paper import figures
from lintrans.paper.claims.tails import FAMILIES
from lintrans.paper.figures.tails import FAMILY_STYLES
from lintrans.paper.problems import TAIL_FAMILIES

SHAPES = tuple(TAIL_FAMILIES["moment"])
LABELS = {"loss": "end loss", "noise": "E"}
SUMMARY = pd.DataFrame(
    [
        (family, shape, statistic, value, 0.9 * value, 1.2 * value)
        for family in FAMILIES
        for statistic in LABELS
        for shape, value in zip(SHAPES, (1.0, 1.5, 2.0, 4.0, 8.0, 9.0), strict=True)
        if (family, shape) != ("variance", 0.5)
    ],
    columns=["family", "shape", "statistic", "estimate", "low", "high"],
).sample(frac=1.0, random_state=0)


@pytest.fixture(autouse=True)
def style() -> None:
    figures.use()


def test_levels_stand_from_light_tails_to_heavy_ones() -> None:
    figure = figures.level_panels(SUMMARY, LABELS, SHAPES, FAMILIES, "a finding")
    assert {*LABELS.values(), *FAMILIES.values(), "ratio", "shape k", "sphere", "0.05"} <= texts(figure)
    for axes in figure.axes:
        lines = [line for line in axes.lines if len(np.asarray(line.get_xdata())) > 2]
        heights = [np.asarray(line.get_ydata(), dtype=float) for line in lines]
        np.testing.assert_allclose(heights[0], [1.0, 1.5, 2.0, 4.0, 8.0, 9.0])
        np.testing.assert_allclose(heights[1], [1.0, 1.5, 2.0, 8.0, 9.0])
        assert np.round(np.asarray(lines[1].get_xdata(), dtype=float)).tolist() == [0, 1, 2, 4, 5]
        bars = axes.collections[0].get_segments()  # type: ignore[attr-defined]
        np.testing.assert_allclose(bars[0][:, 1], [0.9, 1.2])
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["sphere", "10", "2.5", "0.5", "0.1", "0.05"]
    assert figure.get_suptitle() == "a finding"
    markers = {line.get_marker() for line in figure.axes[0].lines[1:]}
    assert markers == {style["marker"] for style in FAMILY_STYLES.values()}
    assert svg(figure) == svg(figures.level_panels(SUMMARY, LABELS, SHAPES, FAMILIES, "a finding"))


def test_levels_without_numbers() -> None:
    one = SUMMARY.assign(low=math.nan, high=math.nan)
    svg(figures.level_panels(one, LABELS, SHAPES, FAMILIES))
    assert "no level of tail was measured" in texts(figures.level_panels(SUMMARY[:0], LABELS, SHAPES, FAMILIES))


def test_laws_are_exact() -> None:
    figure = figures.survival_curves(TAIL_FAMILIES, FAMILIES)
    assert {*FAMILIES.values(), "sphere", "k = 0.1", "P(||x||² > t)", "t"} <= texts(figure)
    moment, variance = figure.axes
    for axes, shape, scale in ((moment, 0.5, 2.0), (variance, 0.5, math.sqrt(20.0)), (variance, 2.5, 2.0)):
        line = axes.lines[SHAPES.index(shape)]
        t, share = (np.asarray(values, dtype=float) for values in (line.get_xdata(), line.get_ydata()))
        np.testing.assert_allclose(share, stats.gamma.sf(t, shape, scale=scale), rtol=1e-9)
    assert svg(figure) == svg(figures.survival_curves(TAIL_FAMILIES, FAMILIES))


def test_condition_curves_without_judged_steps_name_none() -> None:
    one = pd.DataFrame(
        [(o, seed, step, "r_lower", 2.0 + seed) for o in ("sgd", "adam") for seed in range(2) for step in (0, 5)],
        columns=["optimizer", "seed", "step", "metric", "value"],
    )
    frame = pd.concat([one.assign(batch=batch) for batch in (-1, 0, 1)])
    assert "judged steps" not in texts(figures.condition_curves({"3": frame}, ()))
    assert "judged steps" in texts(figures.condition_curves({"3": frame}, (5,)))
