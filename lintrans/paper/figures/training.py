"""Figures of training: losses against steps and against learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ...statistics import band
from ...training.history import History
from ..problems import PROBLEMS
from ..protocol import Tuning
from ..scales import PAPER_SEEDS
from .parts import by_seed, dot_key, key, legend_below, panels
from .style import COLOURS, DASHED, GREY, LABELS, line_of

MEDIAN: dict[str, Any] = {"linewidth": 1.2, "dashes": (1.0, 1.6)}


def loss_curves(histories: Mapping[str, History], metric: str = "test_loss") -> Figure:
    """Loss against step, a panel a setting: mean and median over seeds, 95% band, the paper's seeds as thin lines.

    The band is Student's t interval of the mean logarithm over seeds, that is of the geometric mean.
    """
    figure, shown = panels(len(histories), 3.4)
    handles: list[Any] = []
    for axes, (name, history) in zip(shown, histories.items(), strict=True):
        rows, problem = history.metric(metric), PROBLEMS[name]
        for optimizer in history.frame["optimizer"].unique():
            table = by_seed(rows[rows["step"] <= history.steps], optimizer)
            colour, steps, values = COLOURS[optimizer], table.index.to_numpy(), table.to_numpy(np.float64)
            axes.plot(steps, values[:, table.columns.to_numpy() < PAPER_SEEDS], color=colour, linewidth=0.5, alpha=0.45)
            with np.errstate(divide="ignore", over="ignore"):
                low, high = (np.exp(edge) for edge in band(np.log(values)))
            axes.fill_between(steps, low, high, color=colour, alpha=0.22, linewidth=0)
            axes.plot(steps, values.mean(-1), linewidth=1.8, **line_of(optimizer))
            axes.plot(steps, np.median(values, -1), color=colour, **MEDIAN)
            if axes is shown[0]:
                handles.append(key(LABELS[optimizer], linewidth=1.8, **line_of(optimizer)))
        axes.set(title=f"{problem.title}\nn = {problem.task.n}, {problem.law}", xlabel="step", yscale="log")
        axes.set_xlim(0, history.steps)
    shown[0].set_ylabel("test loss (mean squared error)")
    handles += [
        key("median", **MEDIAN),
        Patch(color=GREY, alpha=0.22, linewidth=0, label="95% interval of the geometric mean"),
        key(f"single seeds, the first {PAPER_SEEDS} at most", linewidth=0.5, alpha=0.6),
    ]
    return legend_below(figure, handles)


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

    Each clip has its own marker; runs worse than the zero predictor, or diverged, stand at a triangle on the top edge;
    the published rate is a dashed vertical line in the optimizer's colour.
    """
    columns = 2 if len(tunings) > 3 else 0
    figure, shown = panels(len(tunings), 3.0 if columns else 3.6, columns=columns)
    markers = {1.0: "o", np.inf: "s"}
    handles: list[Any] = []
    for axes, (name, tuning) in zip(shown, tunings.items(), strict=True):
        setting, top = PROBLEMS[name], PROBLEMS[name].task.zero_loss
        losses = tuning.losses[tuning.losses["steps"] == tuning.losses["steps"].min()]  # the whole grid, at one horizon
        for (optimizer, clip), group in losses.groupby(["optimizer", "clip"], sort=False):
            line, marker = line_of(optimizer), markers.get(float(clip), "D")
            dots: dict[str, Any] = {"color": line["color"], "linestyle": "none"}
            good, bad = group[group["loss"] < top], group[~(group["loss"] < top)]
            axes.plot(good["lr"], good["loss"], marker, markersize=4, alpha=0.5, **dots)
            axes.plot(bad["lr"], np.full(len(bad), top), "^", markersize=6, alpha=0.7, **dots)
            median = group.groupby("lr")["loss"].median().clip(upper=top)
            axes.plot(median.index, median, linewidth=0.8 if np.isinf(clip) else 1.6, **line)
            if axes is shown[0]:
                text = "no clip" if np.isinf(clip) else f"clip {clip:g}"
                handles.append(key(f"{LABELS[str(optimizer)]}, {text}", marker=marker, markersize=4, **line))
        for optimizer, best in tuning.best.items():
            there = (losses["optimizer"] == optimizer) & (losses["clip"] == best.clip) & (losses["lr"] == best.lr)
            height = float(losses[there]["loss"].median()) if there.any() else best.loss  # a rate that widened the grid
            style: dict[str, Any] = {"markersize": 14, "markeredgecolor": "white", "zorder": 5}
            axes.plot(best.lr, min(height, top), "*", color=COLOURS[optimizer], **style)
        for index, (optimizer, lr) in enumerate(setting.lr.items()):
            # the two published rates may coincide: the dashes alternate
            axes.axvline(lr, color=COLOURS[optimizer], linewidth=1.2, linestyle=(4 * index, (4, 4)), zorder=0)
        title = f"{setting.title}: {int(losses['steps'].iloc[0]):,} steps"
        axes.set(title=title, xlabel="learning rate", xscale="log", yscale="log")
    for axes in shown[:: columns or len(shown)]:
        axes.set_ylabel("typical loss at the end")
    handles += [
        dot_key("best rate", "*", 11),
        key("published rate", linestyle=DASHED, linewidth=1.2),
        key("no better than the zero predictor", marker="^", linestyle="none"),
    ]
    return legend_below(figure, handles)
