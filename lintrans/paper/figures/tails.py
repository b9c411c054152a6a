"""Figures of covariates with heavy tails: their laws, and what changes with the level of tail."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from matplotlib.figure import Figure

from ...tasks.regression import LinearRegression
from ..problems import PROBLEMS
from .parts import key, legend_below, log_axis, nothing, panels
from .style import COLOURS, GREY, LABELS, LINES, MARKERS, OTHERS, line_of

Array = npt.NDArray[np.float64]

FAMILY_STYLES: dict[str, dict[str, Any]] = {
    family: {"color": colour, "marker": marker, "dashes": dashes, "markersize": 5, "linewidth": 1.0}
    for family, colour, marker, dashes in zip(("moment", "variance"), OTHERS, "oD", LINES, strict=False)
}
SAMPLE = 100_000
"""Covariates that stand for a law whose survival function is not known."""


def _survival(task: LinearRegression, t: Array) -> Array:
    """P(||x||^2 > t), exact where the law knows it, else the share in a sample."""
    exact = getattr(task.covariates, "survival", None)
    if exact is not None:
        return np.asarray(exact(t, task.d), dtype=np.float64)
    drawn = (task.sample(SAMPLE, dtype=torch.float64).covariates[:, -1] ** 2).sum(-1).sort().values.numpy()
    return 1.0 - np.searchsorted(drawn, t, side="right") / SAMPLE


def survival_curves(families: Mapping[str, Mapping[float, str]], titles: Mapping[str, str]) -> Figure:
    """P(||x||^2 > t) of every level, exact, a panel a family of problems by level; the sphere's is a step."""
    figure, shown = panels(len(families), 3.4)
    handles = []
    for axes, (family, problems) in zip(shown, families.items(), strict=True):
        for index, (shape, name) in enumerate(problems.items()):
            t, task = np.geomspace(1e-2, 1e3, 400), PROBLEMS[name].task
            assert isinstance(task, LinearRegression)
            share = _survival(task, t)
            style: dict[str, Any] = {"color": OTHERS[index % len(OTHERS)], "linewidth": 1.5}
            style["dashes"] = LINES[index % len(LINES)]
            axes.plot(t, np.where(share > 0, share, np.nan), **style)
            if math.isinf(shape):
                axes.vlines(task.zero_loss, 1e-9, 1.0, color=style["color"], linewidth=1.5)
            if axes is shown[0]:
                handles.append(key("sphere" if math.isinf(shape) else f"k = {shape:g}", **style))
        log_axis(axes, "x")
        log_axis(axes, "y")
        axes.set(title=titles[family], xlabel="t", ylim=(1e-6, 2.0))
    shown[0].set_ylabel("P(||x||² > t)")
    return legend_below(figure, handles)


def balance(found: pd.DataFrame) -> Figure:
    """How the balance of steps on Q and P changes with the scale c^2 of covariates: lines c^4 and c^2, dots measured.

    Args:
        found: from :func:`lintrans.paper.measure.checks.covariate_scale`.
    """
    figure, (axes,) = panels(1, 3.0)
    square = found["factor"].to_numpy(np.float64) ** 2
    line = np.geomspace(min(square.min(), 1 / square.max()), max(square.max(), 1 / square.min()), 2)
    for optimizer, power, words in (("sgd", 2, "c⁴"), ("adam", 1, "c²")):
        axes.plot(line, line**power, linewidth=1.6, label=f"{LABELS[optimizer]}: {words}", **line_of(optimizer))
        axes.plot(square, found[optimizer], MARKERS[optimizer], color=COLOURS[optimizer], markersize=6)
    axes.axhline(1.0, color=GREY, linewidth=0.8)
    log_axis(axes, "x")
    log_axis(axes, "y")
    axes.set(xlabel="scale c² of the covariates' second moment", ylabel="steps on Q' over those on P'")
    axes.legend(fontsize="small")
    return figure


def level_panels(
    summary: pd.DataFrame,
    statistics: Mapping[str, str],
    shapes: Sequence[float],
    titles: Mapping[str, str],
    finding: str = "",
) -> Figure:
    """Ratios against the level of tail, a panel a statistic, a line a family, with 95% intervals over seeds.

    Args:
        summary: columns family, shape, statistic, estimate, low, high.
        statistics: those to show, with the label of their axis.
        shapes: the levels from light tails to heavy ones; infinite for the sphere.
        titles: names of the families.
        finding: what the figure shows, its title.
    """
    if summary.empty:
        return nothing("no level of tail was measured")
    figure, shown = panels(len(statistics), 3.6, sharey=False)
    column = {shape: index for index, shape in enumerate(shapes)}
    for axes, (statistic, label) in zip(shown, statistics.items(), strict=True):
        axes.axhline(1.0, color=GREY, linewidth=1.0)
        for shift, (family, style) in zip((-0.1, 0.1), FAMILY_STYLES.items(), strict=True):
            rows = summary[(summary["family"] == family) & (summary["statistic"] == statistic)]
            rows = rows.assign(x=rows["shape"].map(column) + shift).sort_values("x")
            x = rows["x"].to_numpy(np.float64)
            axes.vlines(x, rows["low"], rows["high"], color=style["color"], linewidth=1.3)
            axes.plot(x, rows["estimate"], **style)
        log_axis(axes, "y")
        axes.set_xticks(range(len(shapes)), ["sphere" if math.isinf(shape) else f"{shape:g}" for shape in shapes])
        axes.tick_params(axis="x", labelrotation=60, labelsize="small")
        axes.set_xlim(-0.5, len(shapes) - 0.5)
        axes.grid(axis="x", visible=False)
        axes.set(title=label, xlabel="shape k")
    shown[0].set_ylabel("ratio")
    if finding:
        figure.suptitle(finding, fontsize="medium")
    return legend_below(figure, [key(titles[family], **style) for family, style in FAMILY_STYLES.items()])
