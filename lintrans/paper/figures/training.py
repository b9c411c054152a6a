"""Figures of training: losses against steps and against learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ...statistics import band
from ...training.history import History
from ..problems import PROBLEMS
from ..protocol import COARSE_LOSS, LOSS, Tuning
from ..scales import PAPER_SEEDS
from .parts import by_seed, dot_key, key, legend_below, log_axis, log_limits, panels
from .style import COLOURS, DASHED, GREY, LABELS, line_of

MEDIAN: dict[str, Any] = {"linewidth": 1.2, "dashes": (1.0, 1.6)}
BATCH: dict[str, Any] = {"linewidth": 0.8, "dashes": (6.0, 1.0, 1.0, 1.0)}
PALE = 0.3
READINGS: dict[str, dict[str, Any]] = {"published": {"color": GREY, "linestyle": "--"}, "tuned": {"color": "#009E73"}}
"""Readings whose gap is drawn along the training."""


def loss_curves(
    histories: Mapping[str, History], metric: str = "test_loss", batch: str = "", title: str = ""
) -> Figure:
    """Loss against step, a panel a setting: mean and median over seeds, 95% band, the paper's seeds as thin lines.

    The band is Student's t interval of the mean logarithm over seeds, that is of the geometric mean. `batch` is the
    metric of one batch to be drawn beside, a median over seeds; the panel is that of the other curves, and a batch that
    leaves it is cut off. `title` stands above all panels.
    """
    figure, shown = panels(len(histories), 3.4, sharey=False)
    for axes, (name, history) in zip(shown, histories.items(), strict=True):
        _losses(axes, history, metric, batch)
        problem = PROBLEMS[name]
        axes.set(title=f"{problem.title}\nn = {problem.task.n}, {problem.law}", yscale="log")
    shown[0].set_ylabel("typical loss" if metric in (LOSS, COARSE_LOSS) else "test loss (mean squared error)")
    figure.suptitle(title)
    beside = [key("one fixed batch, median", **BATCH)] if batch else []
    first, *_ = histories.values()
    return legend_below(figure, [*_optimizers(first), *beside, *_curve_keys()])


def side_by_side(histories: Mapping[str, History]) -> Figure:
    """Typical loss against step, a panel a training, under its title and on one axis that ends where they start."""
    figure, shown = panels(len(histories), 3.2)
    for axes, (title, history) in zip(shown, histories.items(), strict=True):
        _losses(axes, history, COARSE_LOSS)
        axes.set(title=title, yscale="log")
    rows = pd.concat([history.metric(COARSE_LOSS) for history in histories.values()])
    start = rows.loc[rows["step"] == rows["step"].min(), "value"].max()
    log_limits(shown[0], rows.loc[rows["value"] <= start, "value"].to_numpy(np.float64))
    shown[0].set_ylabel("typical loss")
    first, *_ = histories.values()
    return legend_below(figure, [*_optimizers(first), *_curve_keys()])


def _losses(axes: Axes, history: History, metric: str, batch: str = "") -> None:
    """Both optimizers' curves of one training."""
    rows = history.metric(metric)
    for optimizer in history.frame["optimizer"].unique():
        table = by_seed(rows[rows["step"] <= history.steps], optimizer)
        colour, steps, values = COLOURS[optimizer], table.index.to_numpy(), table.to_numpy(np.float64)
        axes.plot(steps, values[:, table.columns.to_numpy() < PAPER_SEEDS], color=colour, linewidth=0.5, alpha=0.45)
        with np.errstate(divide="ignore", over="ignore"):
            low, high = (np.exp(edge) for edge in band(np.log(values)))
        axes.fill_between(steps, low, high, color=colour, alpha=0.22, linewidth=0)
        axes.plot(steps, values.mean(-1), linewidth=1.8, **line_of(optimizer))
        axes.plot(steps, np.median(values, -1), color=colour, **MEDIAN)
        if batch:
            table = by_seed(history.metric(batch).query("step <= @history.steps"), optimizer)
            axes.plot(table.index, table.median(axis=1), color=colour, **BATCH)
    if batch:
        log_limits(axes, rows["value"].to_numpy(np.float64))
    axes.set(xlabel="step", xlim=(0, history.steps))


def _optimizers(history: History) -> list[Any]:
    return [key(LABELS[name], linewidth=1.8, **line_of(name)) for name in history.frame["optimizer"].unique()]


def _curve_keys() -> list[Any]:
    return [
        key("median", **MEDIAN),
        Patch(color=GREY, alpha=0.22, linewidth=0, label="95% interval of the geometric mean"),
        key(f"single seeds, the first {PAPER_SEEDS} at most", linewidth=0.5, alpha=0.6),
    ]


def one_layer_loss(scales: np.ndarray, exact: np.ndarray, measured: np.ndarray, least: float) -> Figure:
    """Loss of one layer with Q = q I: the exact population loss, what sampled prompts give, and the least value.

    `scales` are values of q; `measured` is [seeds, scales].
    """
    figure, (axes,) = panels(1, 3.4)
    axes.axhline(least, color=GREY, linewidth=1.0, linestyle=DASHED, label="least possible loss")
    axes.plot(scales, exact, color=COLOURS["adam"], linewidth=1.8, label="exact")
    dots: dict[str, Any] = {"color": COLOURS["sgd"], "markersize": 4, "alpha": 0.7}
    axes.plot(scales, measured[0], "o", label="sampled, one dot a seed", **dots)
    axes.plot(scales, measured[1:].T, "o", **dots)
    axes.set(xlabel="q, with Q = q I", ylabel="loss (mean squared error)")
    axes.legend(fontsize="small")
    return figure


def loss_against_rate(tunings: Mapping[str, Tuning]) -> Figure:
    """End loss against learning rate, a panel a setting: a dot a tuning seed, the median as a line, the best starred.

    What the whole grid shows after its own steps is pale; what decides, the rates run to the horizon, is dark, and the
    star stands there. Each clip has its own marker; runs worse than the zero predictor, or diverged, stand at a
    triangle on the top edge; the published rate is a dashed vertical line in the optimizer's colour.
    """
    columns = 2 if len(tunings) > 3 else 0
    figure, shown = panels(len(tunings), 3.0 if columns else 3.6, sharey=False, columns=columns)
    handles: dict[str, Any] = {}
    for axes, (name, tuning) in zip(shown, tunings.items(), strict=True):
        setting, top = PROBLEMS[name], PROBLEMS[name].task.zero_loss
        for keys, group in tuning.losses.groupby(["screened", "optimizer", "clip"], sort=False):
            screened, optimizer, clip = bool(keys[0]), str(keys[1]), float(str(keys[2]))
            line, alpha = line_of(optimizer), PALE if screened else 1.0
            marker = {1.0: "o", np.inf: "s"}.get(clip, "D")
            dots: dict[str, Any] = {"color": line["color"], "linestyle": "none"}
            good, bad = group[group["loss"] < top], group[~(group["loss"] < top)]
            axes.plot(good["lr"], good["loss"], marker, markersize=3.5, alpha=0.5 * alpha, **dots)
            axes.plot(bad["lr"], np.full(len(bad), top), "^", markersize=6, alpha=0.7 * alpha, **dots)
            median = _neighbours_joined(group.groupby("lr")["loss"].median().clip(upper=top))
            width = (0.7 if np.isinf(clip) else 1.3) + (not screened)
            axes.plot(median.index, median, linewidth=width, alpha=alpha, **line)
            text = f"{LABELS[optimizer]}, {'no clip' if np.isinf(clip) else f'clip {clip:g}'}"
            handles.setdefault(text, key(text, marker=marker, markersize=4, linewidth=width, **line))
        for optimizer, best in tuning.best.items():
            style: dict[str, Any] = {"markersize": 14, "markeredgecolor": "white", "zorder": 5}
            axes.plot(best.lr, min(best.loss, top), "*", color=COLOURS[optimizer], **style)
        for index, (optimizer, lr) in enumerate(setting.lr.items()):
            # the two published rates may coincide: the dashes alternate
            axes.axvline(lr, color=COLOURS[optimizer], linewidth=1.2, linestyle=(4 * index, (4, 4)), zorder=0)
        steps = sorted(set(tuning.losses["steps"]))
        title = f"{setting.title}\n{steps[-1]:,} steps" + (f" (pale: {steps[0]:,})" if len(steps) > 1 else "")
        axes.set(title=title, xlabel="learning rate")
        log_axis(axes, "x")
        log_axis(axes, "y")
    for axes in shown[:: columns or len(shown)]:
        axes.set_ylabel("typical loss at the end")
    beside = [
        key("the whole grid, on fewer seeds", linewidth=1.3, alpha=PALE),
        dot_key("best rate", "*", 11),
        key("published rate", linestyle=DASHED, linewidth=1.2),
        key("no better than the zero predictor", marker="^", linestyle="none"),
    ]
    return legend_below(figure, [*handles.values(), *beside])


def _neighbours_joined(medians: pd.Series) -> pd.Series:
    """With a gap wherever two rates are no neighbours of the ladder 1, 2, 5, 10, ..."""
    rates = medians.index.to_numpy(np.float64)
    gaps = np.flatnonzero(rates[1:] > 2.6 * rates[:-1])
    holes = pd.Series(np.nan, index=np.sqrt(rates[gaps] * rates[gaps + 1]))
    return pd.concat([medians, holes]).sort_index() if len(gaps) else medians


def gap_curves(gaps: pd.DataFrame, marks: pd.DataFrame) -> Figure:
    """SGD's loss over Adam's against the step, a panel a setting: geometric mean over seeds with its 95% band.

    Args:
        gaps: columns setting, reading ("published", "tuned"), step, estimate, low, high.
        marks: the same columns, reading being the words of a legend: single points with their intervals.
    """
    names = list(dict.fromkeys(gaps["setting"]))
    figure, shown = panels(len(names), 3.4, sharey=False)
    drawn = {reading: look for reading, look in READINGS.items() if (gaps["reading"] == reading).any()}
    handles = [key(f"{reading} rates", linewidth=1.8, **look) for reading, look in drawn.items()]
    markers = dict(zip(dict.fromkeys(marks["reading"]), "DsoPX", strict=False))
    for axes, name in zip(shown, names, strict=True):
        for reading, look in drawn.items():
            rows = gaps[(gaps["setting"] == name) & (gaps["reading"] == reading) & (gaps["step"] > 0)]
            axes.fill_between(rows["step"], rows["low"], rows["high"], color=look["color"], alpha=0.2, linewidth=0)
            axes.plot(rows["step"], rows["estimate"], linewidth=1.8, **look)
        for row in marks[marks["setting"] == name].to_dict("records"):
            style: dict[str, Any] = {"color": GREY, "markersize": 6, "zorder": 5}
            axes.plot([row["step"]] * 2, [row["low"], row["high"]], color=GREY, linewidth=1.2, zorder=5)
            axes.plot(row["step"], row["estimate"], markers[row["reading"]], **style)
        axes.axhline(1.0, color=GREY, linewidth=1.0, linestyle=DASHED)
        axes.set(title=PROBLEMS[name].title, xlabel="step")
        log_axis(axes, "x")
        log_axis(axes, "y")
    shown[0].set_ylabel("SGD's typical loss over Adam's")
    return legend_below(figure, [*handles, *(dot_key(text, marker, 6) for text, marker in markers.items())])
