"""Figures of depth: losses, gaps and noise against the number of layers, and where a deep model's mean loss lies."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from ...statistics import band
from ...training.history import History
from ..problems import DEPTHS, PROBLEMS
from ..protocol import COARSE_LOSS
from ..scales import LABELS
from .noise import LINES, ratio_axis
from .style import (
    COLOURS,
    DASHES,
    GREY,
    LARGEST,
    MARKERS,
    OTHERS,
    WIDTH,
    Decades,
    legend_below,
    log_axis,
    log_limits,
    nothing,
    panels,
)

Array = npt.NDArray[np.float64]
BEYOND = {"float32": 3.4e38, "float64": 1.8e308}


def _optimizer_handles(marker: bool = False) -> list[Any]:
    return [
        Line2D(
            [], [], color=COLOURS[name], dashes=DASHES[name], linewidth=1.8, label=label,
            marker=MARKERS[name] if marker else None, markersize=5,
        )
        for name, label in LABELS.items()
    ]  # fmt: skip


def typical_curves(histories: Mapping[str, History]) -> Figure:
    """Typical loss against step, a panel a problem: single seeds as thin lines, their median as a thick one."""
    if not histories:
        return nothing("no best rate was found inside the grid: not measured")
    figure, shown = panels(len(histories), 3.4)
    lowest, highest = np.inf, 0.0
    for axes, (name, history) in zip(shown, histories.items(), strict=True):
        rows = history.metric(COARSE_LOSS)
        rows = rows[rows["step"] <= history.steps]
        for optimizer in LABELS:
            wide = rows[rows["optimizer"] == optimizer].pivot(index="step", columns="seed", values="value")
            values = wide.to_numpy(np.float64)
            colour = COLOURS[optimizer]
            axes.plot(wide.index, np.where(np.isfinite(values), values, np.nan), color=colour, linewidth=0.5, alpha=0.4)
            middle = np.median(values, axis=1)
            middle = np.where(np.isfinite(middle), middle, np.nan)
            axes.plot(wide.index, middle, color=colour, linewidth=1.8, dashes=DASHES[optimizer])
        title = textwrap.fill(PROBLEMS[name].title, 64 // len(histories))
        axes.set(title=title, xlabel="step", yscale="log", xlim=(0, history.steps))
        axes.locator_params(axis="x", nbins=3)
        zero = PROBLEMS[name].task.zero_loss
        axes.axhline(zero, color=GREY, linewidth=0.9, linestyle=(0, (1, 2)))
        good = rows["value"][np.isfinite(rows["value"]) & (rows["value"] > 0)]
        lowest = min(lowest, float(good.min()) if len(good) else zero)
        highest = max(highest, zero)
    shown[0].set_ylim(lowest / 2, 10 * highest)
    shown[0].set_ylabel("typical loss, 20 blocks")
    marks = [
        Line2D([], [], color=GREY, linewidth=0.5, alpha=0.7, label="single seeds"),
        Line2D([], [], color=GREY, linewidth=0.9, linestyle=(0, (1, 2)), label="zero predictor"),
    ]
    legend_below(figure, [*_optimizer_handles(), *marks])
    return figure


def _by_depth(axes: Any, table: pd.DataFrame, shift: float, **style: Any) -> None:
    """Geometric means over seeds with 95% intervals at each depth, and the seeds; `value` holds logarithms."""
    wide = table.pivot(index="layers", columns="seed", values="value").sort_index()
    x = wide.index.to_numpy(np.float64) + shift
    logs = wide.to_numpy(np.float64)
    dots = {**style, "alpha": 0.4, "markersize": 3, "linestyle": "none"}
    dots.pop("dashes", None)
    axes.plot(x, np.exp(logs), **dots)
    low, high = zip(*(_interval(row[np.isfinite(row)]) for row in logs), strict=True)
    axes.vlines(x, low, high, color=style["color"], linewidth=1.4)
    axes.plot(x, np.exp(np.nanmean(logs, axis=1)), markersize=5, linewidth=1.6, **style)


def _interval(logs: Array) -> tuple[float, float]:
    low, high = band(logs[None])
    return float(np.exp(low[0])), float(np.exp(high[0]))


def losses_and_gaps(losses: pd.DataFrame, gaps: pd.DataFrame) -> Figure:
    """End losses of both optimizers, and the gap between them in two units, against the number of layers.

    Args:
        losses: columns layers, optimizer, seed, value (log of the end loss).
        gaps: columns layers, metric ("loss", "steps"), seed, value (log ratio, SGD over Adam).
    """
    if losses.empty:
        return nothing("no best rate was found inside the grid: not measured")
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.6), layout="constrained")
    plt.close(figure)
    for optimizer, shift in (("sgd", -0.08), ("adam", 0.08)):
        own = losses[losses["optimizer"] == optimizer]
        _by_depth(axes[0], own, shift, color=COLOURS[optimizer], marker=MARKERS[optimizer], dashes=DASHES[optimizer])
    styles = {"loss": (OTHERS[0], "D", LINES[0], -0.08), "steps": (OTHERS[1], "^", LINES[1], 0.08)}
    words = {"loss": "gap in end loss", "steps": "gap in steps to sqrt(f0 f*)"}
    handles = _optimizer_handles(marker=True)
    for metric, (colour, marker, dashes, shift) in styles.items():
        _by_depth(axes[1], gaps[gaps["metric"] == metric], shift, color=colour, marker=marker, dashes=dashes)
        style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5, "dashes": dashes}
        handles.append(Line2D([], [], label=words[metric], **style))
    axes[1].axhline(1.0, color=GREY, linewidth=1.0)
    axes[0].set(ylabel="typical loss at the end", xlabel="layers L", yscale="log", xticks=DEPTHS)
    axes[1].set(ylabel="ratio, SGD over Adam", xlabel="layers L", xticks=DEPTHS)
    log_axis(axes[1], "y")
    legend_below(figure, handles)
    return figure


def noise_by_depth(tails: pd.DataFrame, widths: pd.DataFrame, margin: float) -> Figure:
    """E and the median norm of the noise at initialization, against the number of layers.

    Args:
        tails: log of E by seed (rows) and layers (columns).
        widths: log of the median norm, likewise.
        margin: ratio from which E counts as clearly heavier, drawn dotted; 1 is drawn solid.
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4), layout="constrained")
    plt.close(figure)
    for panel, table, colour, marker in zip(axes, (tails, widths), OTHERS, "oD", strict=False):
        long = table.rename_axis(columns="layers").reset_index().melt(id_vars="seed", value_name="value")
        _by_depth(panel, long.astype({"layers": int}), 0.0, color=colour, marker=marker)
        panel.set(xlabel="layers L", xticks=list(table.columns))
        ratio_axis(panel)
    axes[0].axhline(1.0, color=GREY, linewidth=1.0)
    axes[0].axhline(margin, color=GREY, linewidth=1.0, linestyle=(0, (1, 2)))
    axes[0].set_ylabel("tail: E")
    axes[1].set_ylabel("width: median norm of the noise")
    depths = np.array([int(layers) for layers in widths.columns])
    layers = np.linspace(depths.min(), depths.max(), 50)
    first = float(np.exp(widths.to_numpy(np.float64)[:, 0].mean()))
    axes[1].plot(layers, first * np.sqrt(layers / depths[0]), color=GREY, linewidth=1.0, linestyle=(0, (4, 3)))
    handles = [
        Line2D([], [], color=GREY, linewidth=1.0, label="Gaussian"),
        Line2D([], [], color=GREY, linewidth=1.0, linestyle=(0, (1, 2)), label=f"clearly heavier ({margin:g})"),
        Line2D([], [], color=GREY, linewidth=1.0, linestyle=(0, (4, 3)), label="root of L"),
    ]
    legend_below(figure, handles)
    return figure


def overflow_curves(
    curves: Mapping[str, Array],
    eigenvalues: Array,
    marks: Mapping[str, float],
    measured: Mapping[str, tuple[Array, Array]],
    factors: Array,
) -> Figure:
    """Log10 of the squared share of the answer left: by formula against an eigenvalue; measured on longer prompts.

    Args:
        curves: log10 of the share at each of the eigenvalues, by label.
        eigenvalues: horizontal axis of the left panel.
        marks: eigenvalues to mark, by label.
        measured: median and 99% quantile over prompts at each of the factors, by label, as in `curves`.
        factors: horizontal axis of the right panel.
    """
    if not curves:
        return nothing("no best rate was found inside the grid: not measured")
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.8), sharey=True, layout="constrained")
    plt.close(figure)
    handles: list[Any] = []
    for index, (label, values) in enumerate(curves.items()):
        style: dict[str, Any] = {"color": OTHERS[index % len(OTHERS)], "dashes": LINES[index % len(LINES)]}
        axes[0].plot(eigenvalues, values, linewidth=1.6, **style)
        middle, high = (np.where(np.isfinite(each), each, np.nan) for each in measured[label])
        axes[1].plot(factors, middle, linewidth=1.6, **style)
        axes[1].plot(factors, high, linewidth=0.7, **style)
        handles.append(Line2D([], [], linewidth=1.6, label=label, **style))
    for index, (label, place) in enumerate(marks.items()):
        line: dict[str, Any] = {"color": GREY, "linewidth": 1.0, "linestyle": (0, (1 + 2 * index, 2))}
        axes[0].axvline(place, **line)
        handles.append(Line2D([], [], label=label, **line))
    for panel in axes:
        panel.axhline(0.0, color=GREY, linewidth=0.6)
    axes[0].set(xlabel="eigenvalue", ylabel="log10 of the squared share left", title="by formula")
    axes[1].set(xlabel="factor on the length of all covariates", title="measured")
    axes[0].set_xlim(float(eigenvalues.min()), float(eigenvalues.max()))
    axes[1].set_xlim(float(factors.min()), float(factors.max()))
    axes[0].set_ylim(-15, 45)
    legend_below(figure, handles)
    return figure


def batches_met(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Losses of training batches met against step, a panel a depth: every one up to LARGEST as a dot, logarithmic.

    Args:
        frames: from :func:`lintrans.paper.measure.overflow.batches_met`.
    """
    if not frames:
        return nothing("no best rate was found inside the grid: not measured")
    figure, shown = panels(len(frames), 3.4)
    losses = [frame.loc[frame["metric"] == "batch_loss", "value"].to_numpy(np.float64) for frame in frames.values()]
    values = np.concatenate(losses)
    top = values[np.isfinite(values)].max(initial=1.0)
    for axes in shown:
        log_limits(axes, values)
    for axes, (name, frame) in zip(shown, frames.items(), strict=True):
        own = frame[frame["metric"] == "batch_loss"]
        for optimizer in LABELS:
            rows = own[(own["optimizer"] == optimizer) & (own["value"] <= LARGEST)]
            axes.plot(
                rows["step"], rows["value"], MARKERS[optimizer], color=COLOURS[optimizer], markersize=2.2, alpha=0.55,
                linestyle="none", markeredgewidth=0,
            )  # fmt: skip
        axes.set(title=PROBLEMS[name].title, xlabel="step", yscale="log")
        axes.locator_params(axis="x", nbins=3)
    handles: list[Any] = [
        Line2D([], [], color=COLOURS[o], marker=MARKERS[o], markersize=5, linestyle="none", label=label)
        for o, label in LABELS.items()
    ]
    for axes in shown:
        if top > BEYOND["float32"] / 1e3:
            axes.axhline(BEYOND["float32"], color=GREY, linewidth=1.0, linestyle=(0, (4, 3)))
    if top > BEYOND["float32"] / 1e3:
        handles.append(
            Line2D([], [], color=GREY, linewidth=1.0, linestyle=(0, (4, 3)), label="largest number of float32")
        )
    shown[0].set_ylabel("loss of the training batch met")
    shown[0].yaxis.set_major_locator(Decades(numticks=8))
    shown[0].yaxis.set_minor_locator(NullLocator())
    legend_below(figure, handles)
    return figure


def running_means(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Mean loss of the first k prompts against k, a panel a depth, a line a run; dotted, the median of typical losses.

    Args:
        frames: from :func:`lintrans.paper.measure.overflow.means`.
    """
    if not frames:
        return nothing("no best rate was found inside the grid: not measured")
    figure, shown = panels(len(frames), 3.4, sharey=False)
    for axes, (name, frame) in zip(shown, frames.items(), strict=True):
        for optimizer in LABELS:
            own = frame[frame["optimizer"] == optimizer]
            wide = own.pivot(index="prompts", columns="seed", values="mean")
            values = wide.to_numpy(np.float64)
            axes.plot(
                wide.index, np.where(values <= LARGEST, values, np.nan), color=COLOURS[optimizer], linewidth=0.9,
                alpha=0.75, dashes=DASHES[optimizer],
            )  # fmt: skip
            axes.axhline(own["typical"].median(), color=COLOURS[optimizer], linewidth=1.6, linestyle=(0, (1, 1.5)))
        axes.set(title=PROBLEMS[name].title, xlabel="prompts", xscale="log")
        log_limits(axes, frame[["mean", "typical"]].to_numpy(np.float64).ravel())
        log_axis(axes, "y", 6)
        axes.tick_params(axis="y", labelsize="small")
    shown[0].set_ylabel("mean loss")
    dots = Line2D([], [], color=GREY, linewidth=1.6, linestyle=(0, (1, 1.5)), label="typical loss, median over runs")
    legend_below(figure, [*_optimizer_handles(), dots])
    return figure
