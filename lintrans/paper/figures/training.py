"""Figures of training: losses against steps and against learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ...statistics import band
from ...training.history import History
from ..problems import PROBLEMS
from ..protocol import Tuning
from ..scales import LABELS, PAPER_SEEDS
from .style import COLOURS, DASHES, legend_below, panels


def _values(history: History, metric: str, optimizer: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, seeds and values [steps, seeds] of one arm up to the horizon."""
    rows = history.metric(metric)
    rows = rows[(rows["optimizer"] == optimizer) & (rows["step"] <= history.steps)]
    wide = rows.pivot(index="step", columns="seed", values="value")
    return wide.index.to_numpy(), wide.columns.to_numpy(), wide.to_numpy(np.float64)


def loss_curves(histories: Mapping[str, History], metric: str = "test_loss") -> Figure:
    """Loss against step, a panel a setting: mean and median over seeds, 95% band, the paper's seeds as thin lines.

    The band is Student's t interval of the mean logarithm over seeds, that is of the geometric mean.
    """
    figure, shown = panels(len(histories), 3.4)
    handles: list[Any] = []
    for axes, (name, history) in zip(shown, histories.items(), strict=True):
        for optimizer in history.frame["optimizer"].unique():
            colour = COLOURS[optimizer]
            steps, seeds, values = _values(history, metric, optimizer)
            axes.plot(steps, values[:, seeds < PAPER_SEEDS], color=colour, linewidth=0.5, alpha=0.45)
            with np.errstate(divide="ignore", over="ignore"):
                low, high = (np.exp(edge) for edge in band(np.log(values)))
            axes.fill_between(steps, low, high, color=colour, alpha=0.22, linewidth=0)
            axes.plot(steps, values.mean(-1), color=colour, linewidth=1.8, dashes=DASHES[optimizer])
            axes.plot(steps, np.median(values, -1), color=colour, linewidth=1.2, dashes=(1.0, 1.6))
            if axes is shown[0]:
                handles.append(
                    Line2D([], [], color=colour, linewidth=1.8, dashes=DASHES[optimizer], label=LABELS[optimizer])
                )
        axes.set(
            title=f"{PROBLEMS[name].title}\nn = {PROBLEMS[name].task.n}, {PROBLEMS[name].law}",
            xlabel="step",
            yscale="log",
        )
        axes.set_xlim(0, history.steps)
    shown[0].set_ylabel("test loss (mean squared error)")
    grey = "#555555"
    handles += [
        Line2D([], [], color=grey, linewidth=1.2, dashes=(1.0, 1.6), label="median"),
        Patch(color=grey, alpha=0.22, linewidth=0, label="95% interval of the geometric mean"),
        Line2D([], [], color=grey, linewidth=0.5, alpha=0.6, label=f"single seeds, the first {PAPER_SEEDS} at most"),
    ]
    legend_below(figure, handles)
    return figure


def one_layer_loss(scales: np.ndarray, exact: np.ndarray, measured: np.ndarray, least: float) -> Figure:
    """Loss of one layer with Q = q I: the exact population loss, what sampled prompts give, and the least value.

    Args:
        scales: values of q.
        exact: population loss at each.
        measured: [seeds, scales], mean losses over sampled prompts.
        least: the least population loss.
    """
    figure, (axes,) = panels(1, 3.4)
    axes.axhline(least, color="#555555", linewidth=1.0, linestyle=(0, (4, 4)), label="least possible loss")
    axes.plot(scales, exact, color=COLOURS["adam"], linewidth=1.8, label="exact")
    axes.plot(scales, measured[0], "o", color=COLOURS["sgd"], markersize=4, alpha=0.7, label="sampled, one dot a seed")
    axes.plot(scales, measured[1:].T, "o", color=COLOURS["sgd"], markersize=4, alpha=0.7)
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
            colour, marker = COLOURS[str(optimizer)], markers.get(float(clip), "D")
            good = group[group["loss"] < top]
            bad = group[~(group["loss"] < top)]
            axes.plot(good["lr"], good["loss"], marker, color=colour, markersize=4, alpha=0.5, linestyle="none")
            axes.plot(bad["lr"], np.full(len(bad), top), "^", color=colour, markersize=6, alpha=0.7, linestyle="none")
            median = group.groupby("lr")["loss"].median().clip(upper=top)
            width = 0.8 if np.isinf(clip) else 1.6
            axes.plot(median.index, median, color=colour, linewidth=width, dashes=DASHES[str(optimizer)])
            if axes is shown[0]:
                text = "no clip" if np.isinf(clip) else f"clip {clip:g}"
                style: dict[str, Any] = {
                    "color": colour,
                    "marker": marker,
                    "markersize": 4,
                    "dashes": DASHES[str(optimizer)],
                }
                handles.append(Line2D([], [], label=f"{LABELS[str(optimizer)]}, {text}", **style))
        for optimizer, best in tuning.best.items():
            chosen = losses[
                (losses["optimizer"] == optimizer) & (losses["clip"] == best.clip) & (losses["lr"] == best.lr)
            ]
            height = best.loss if chosen.empty else float(chosen["loss"].median())  # a rate that widened the grid
            style = {"markersize": 14, "markeredgecolor": "white", "zorder": 5}
            axes.plot(best.lr, min(height, top), "*", color=COLOURS[optimizer], **style)
        for index, (optimizer, lr) in enumerate(setting.lr.items()):
            # the two published rates may coincide: the dashes alternate
            axes.axvline(lr, color=COLOURS[optimizer], linewidth=1.2, linestyle=(4 * index, (4, 4)), zorder=0)
        title = f"{setting.title}: {int(losses['steps'].iloc[0]):,} steps"
        axes.set(title=title, xlabel="learning rate", xscale="log", yscale="log")
    for axes in shown[:: columns or len(shown)]:
        axes.set_ylabel("typical loss at the end")
    grey = "#555555"
    handles += [
        Line2D([], [], color=grey, marker="*", markersize=11, linestyle="none", label="best rate"),
        Line2D([], [], color=grey, linestyle=(0, (4, 4)), linewidth=1.2, label="published rate"),
        Line2D([], [], color=grey, marker="^", linestyle="none", label="no better than the zero predictor"),
    ]
    legend_below(figure, handles)
    return figure
