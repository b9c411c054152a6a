"""Figures of depth: losses, gaps and noise against the number of layers, and where a deep model's mean loss lies."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ...statistics import band
from ...training.history import History
from ..problems import DEPTHS, PROBLEMS
from ..protocol import COARSE_LOSS
from .logarithmic import Decades
from .noise import ratio_axis
from .parts import by_seed, key, legend_below, log_axis, log_limits, nothing, optimizer_keys, panels, subplots
from .style import COLOURS, DOTTED, GREY, LABELS, LARGEST, LINES, MARKERS, OTHERS, line_of

Array = npt.NDArray[np.float64]
LARGEST_FLOAT32 = 3.4e38
DASHED = (0, (4, 3))


def _finite(values: Any) -> Array:
    return np.where(np.isfinite(values), values, np.nan)


FLAT = 3.0
"""Losses within this factor of each other are drawn on a linear axis, where each panel has its own."""


def typical_curves(histories: Mapping[str, History], own_axes: bool = False, title: str = "") -> Figure:
    """Typical loss against step, a panel a problem: single seeds as thin lines, their median as a thick one.

    `title` stands above all panels, which share a logarithmic axis. With `own_axes` each has its own, a linear one
    where its losses hardly fall.
    """
    if not histories:
        return nothing()
    figure, shown = panels(len(histories), 3.4, sharey=not own_axes)
    zero_line: dict[str, Any] = {"color": GREY, "linewidth": 0.9, "linestyle": DOTTED}
    lowest, highest = np.inf, 0.0
    for axes, (name, history) in zip(shown, histories.items(), strict=True):
        rows = history.metric(COARSE_LOSS)
        rows = rows[rows["step"] <= history.steps]
        for optimizer in LABELS:
            table = by_seed(rows, optimizer)
            values = table.to_numpy(np.float64)
            axes.plot(table.index, _finite(values), color=COLOURS[optimizer], linewidth=0.5, alpha=0.4)
            axes.plot(table.index, _finite(np.median(values, axis=1)), linewidth=1.8, **line_of(optimizer))
        panel = textwrap.fill(PROBLEMS[name].title, 64 // len(histories))
        axes.set(title=panel, xlabel="step", yscale="log", xlim=(0, history.steps))
        axes.locator_params(axis="x", nbins=3)
        zero = PROBLEMS[name].task.zero_loss
        axes.axhline(zero, **zero_line)
        good = rows["value"][np.isfinite(rows["value"]) & (rows["value"] > 0)]
        least = float(good.min()) if len(good) else zero
        lowest, highest = min(lowest, least), max(highest, zero)
        if own_axes and zero < FLAT * least:
            margin = 0.1 * (zero - least) or 0.1 * zero
            axes.set(yscale="linear", ylim=(least - margin, zero + margin))
        elif own_axes:
            axes.set_ylim(least / 2, 2 * zero)
    if not own_axes:
        shown[0].set_ylim(lowest / 2, 10 * highest)
    shown[0].set_ylabel("typical loss, 20 blocks")
    figure.suptitle(title)
    seeds = key("single seeds", linewidth=0.5, alpha=0.7)
    return legend_below(figure, [*optimizer_keys(), seeds, key("zero predictor", **zero_line)])


def _by_depth(axes: Any, table: pd.DataFrame, shift: float, **style: Any) -> None:
    """Geometric means over seeds with 95% intervals at each depth, and the seeds; `value` holds logarithms."""
    wide = table.pivot(index="layers", columns="seed", values="value").sort_index()
    x = wide.index.to_numpy(np.float64) + shift
    logs = wide.to_numpy(np.float64)
    dots = {name: value for name, value in style.items() if name != "dashes"}
    axes.plot(x, np.exp(logs), **dots, alpha=0.4, markersize=3, linestyle="none")
    edges = [np.exp(np.ravel(band(row[np.isfinite(row)][None]))) for row in logs]
    axes.vlines(x, *np.transpose(edges), color=style["color"], linewidth=1.4)
    axes.plot(x, np.exp(np.nanmean(logs, axis=1)), markersize=5, linewidth=1.6, **style)


def losses_and_gaps(losses: pd.DataFrame, gaps: pd.DataFrame) -> Figure:
    """Losses of both optimizers, at the constant rate and cooled, and the gap in three units, against the layers.

    Columns: layers, seed, value (a logarithm), and optimizer and reading ("tuned", "cooled") of losses, metric ("loss",
    "cooled", "steps") and bound (whether the value is only a bound) of gaps.
    """
    if losses.empty:
        return nothing()
    figure, axes = subplots(1, 2, 3.8)
    handles = optimizer_keys("{}, end", marked=True, markersize=5)
    for optimizer, shift in zip(LABELS, (-0.08, 0.08), strict=True):
        own = losses[losses["optimizer"] == optimizer]
        line = {"marker": MARKERS[optimizer], **line_of(optimizer)}
        _by_depth(axes[0], own[own["reading"] == "tuned"], shift, **line)
        cooled = {**line, "dashes": LINES[2], "markerfacecolor": "none"}
        _by_depth(axes[0], own[own["reading"] == "cooled"], shift, **cooled)
        handles.append(key(f"{LABELS[optimizer]}, cooled", markersize=5, **cooled))
    words = {"loss": "gap in end loss", "cooled": "gap after the cooldown", "steps": "gap in steps to the target"}
    for (metric, label), shift, *look in zip(words.items(), (-0.1, 0.0, 0.1), OTHERS, "DoP", LINES, strict=False):
        style: dict[str, Any] = dict(zip(("color", "marker", "dashes"), look, strict=True))
        own = gaps[gaps["metric"] == metric]
        _by_depth(axes[1], own, shift, **style)
        means = own.groupby("layers").agg(value=("value", "mean"), bound=("bound", "any"))
        bounds = np.exp(means[means["bound"]]["value"])
        axes[1].plot(bounds.index + shift, bounds, "^", color=style["color"], markersize=9, fillstyle="none")
        handles.append(key(label, markersize=5, **style))
    if gaps["bound"].any():
        handles.append(key("a bound: some runs never get there", marker="^", linestyle="none", fillstyle="none"))
    axes[1].axhline(1.0, color=GREY, linewidth=1.0)
    axes[0].set(ylabel="typical loss", xlabel="layers L", yscale="log", xticks=DEPTHS)
    axes[1].set(ylabel="ratio, SGD over Adam", xlabel="layers L", xticks=DEPTHS)
    ratio_axis(axes[1])
    return legend_below(figure, handles)


def gap_along(table: pd.DataFrame) -> Figure:
    """The ratio of losses, SGD over Adam, against the step, a panel a depth, a colour a horizon.

    Columns: model, horizon, kind ("along", "tuned", "cooled"), step, estimate, low, high.
    """
    if table.empty:
        return nothing()
    titles = list(dict.fromkeys(table["model"]))
    horizons = sorted(table["horizon"].unique())
    figure, shown = panels(len(titles), 3.4)
    marks: dict[str, dict[str, Any]] = {
        "tuned": {"marker": "D", "markersize": 5},
        "cooled": {"marker": "o", "markersize": 6, "markerfacecolor": "none"},
    }
    for axes, title in zip(shown, titles, strict=True):
        for horizon, colour, dashes in zip(horizons, OTHERS, LINES, strict=False):
            own = table[(table["model"] == title) & (table["horizon"] == horizon)]
            line = own[own["kind"] == "along"].sort_values("step")
            axes.plot(line["step"], line["estimate"], color=colour, dashes=dashes, linewidth=1.2)
            for kind, mark in marks.items():
                end = own[own["kind"] == kind]
                axes.vlines(end["step"], end["low"], end["high"], color=colour, linewidth=1.4)
                axes.plot(end["step"], end["estimate"], color=colour, linestyle="none", **mark)
        axes.axhline(1.0, color=GREY, linewidth=1.0)
        axes.set(title=title, xlabel="step", xlim=(0, None))
        axes.locator_params(axis="x", nbins=3)
    middle = table["estimate"].dropna()
    ends = table[["low", "high"]].to_numpy(np.float64).ravel()
    ends = np.clip(ends[np.isfinite(ends)], middle.min() / 5, 5 * middle.max())  # few seeds give endless intervals
    shown[0].set_yscale("log")
    log_limits(shown[0], np.concatenate([middle, ends, [1.0]]))
    ratio_axis(shown[0])
    shown[0].set_ylabel("loss, SGD over Adam")
    handles = [
        key(f"rates for {horizon:,} steps", colour, dashes=dashes)
        for horizon, colour, dashes in zip(horizons, OTHERS, LINES, strict=False)
    ]
    words = {"tuned": "end value", "cooled": "after the cooldown"}
    return legend_below(
        figure, [*handles, *(key(words[kind], linestyle="none", **mark) for kind, mark in marks.items())]
    )


def noise_by_depth(tails: pd.DataFrame, widths: pd.DataFrame, margin: float) -> Figure:
    """E and the median norm of the noise at initialization, against the number of layers.

    Both as logarithms by seed (rows) and layers (columns); from `margin` on, dotted, E counts as heavier.
    """
    figure, axes = subplots(1, 2, 3.4)
    for panel, table, colour, marker in zip(axes, (tails, widths), OTHERS, "oD", strict=False):
        long = table.rename_axis(columns="layers").reset_index().melt(id_vars="seed", value_name="value")
        _by_depth(panel, long.astype({"layers": int}), 0.0, color=colour, marker=marker)
        panel.set(xlabel="layers L", xticks=list(table.columns))
    lines: list[dict[str, Any]] = [
        {"color": GREY, "linewidth": 1.0, "linestyle": style} for style in ("-", DOTTED, DASHED)
    ]
    axes[0].axhline(1.0, **lines[0])
    axes[0].axhline(margin, **lines[1])
    axes[0].set_ylabel("tail: E")
    axes[1].set_ylabel("width: median norm")
    depths = np.array([int(layers) for layers in widths.columns])
    layers = np.linspace(depths.min(), depths.max(), 50)
    first = float(np.exp(widths.to_numpy(np.float64)[:, 0].mean()))
    axes[1].plot(layers, first * np.sqrt(layers / depths[0]), **lines[2])
    for panel in axes:  # with all that is drawn inside
        ratio_axis(panel)
    words = ("Gaussian", f"counts as heavier ({margin:g})", "root of L")
    return legend_below(figure, [key(label, **line) for label, line in zip(words, lines, strict=True)])


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
        return nothing()
    figure, axes = subplots(1, 2, 3.8, sharey=True)
    handles: list[Any] = []
    for index, (label, values) in enumerate(curves.items()):
        style: dict[str, Any] = {"color": OTHERS[index % len(OTHERS)], "dashes": LINES[index % len(LINES)]}
        axes[0].plot(eigenvalues, values, linewidth=1.6, **style)
        for quantile, width in zip(measured[label], (1.6, 0.7), strict=True):
            axes[1].plot(factors, _finite(quantile), linewidth=width, **style)
        handles.append(key(label, linewidth=1.6, **style))
    for index, (label, eigenvalue) in enumerate(marks.items()):
        line: dict[str, Any] = {"color": GREY, "linewidth": 1.0, "linestyle": (0, (1 + 2 * index, 2))}
        axes[0].axvline(eigenvalue, **line)
        handles.append(key(label, **line))
    for panel, across in zip(axes, (eigenvalues, factors), strict=True):
        panel.axhline(0.0, color=GREY, linewidth=0.6)
        panel.set_xlim(float(across.min()), float(across.max()))
    axes[0].set(xlabel="eigenvalue", ylabel="log10 of the squared share left", title="by formula")
    axes[1].set(xlabel="factor on the length of all covariates", title="measured")
    axes[0].set_ylim(-15, 45)
    return legend_below(figure, handles)


def batches_met(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Losses of training batches met against step, a panel a depth: every one up to LARGEST as a dot, logarithmic."""
    if not frames:
        return nothing()
    figure, shown = panels(len(frames), 3.4)
    losses = {name: frame[frame["metric"] == "batch_loss"] for name, frame in frames.items()}
    values = np.concatenate([frame["value"].to_numpy(np.float64) for frame in losses.values()])
    for axes in shown:
        log_limits(axes, values)
    for axes, (name, frame) in zip(shown, losses.items(), strict=True):
        for optimizer in LABELS:
            rows = frame[(frame["optimizer"] == optimizer) & (frame["value"] <= LARGEST)]
            style = {"color": COLOURS[optimizer], "markersize": 2.2, "alpha": 0.55, "markeredgewidth": 0}
            axes.plot(rows["step"], rows["value"], MARKERS[optimizer], linestyle="none", **style)
        axes.set(title=PROBLEMS[name].title, xlabel="step", yscale="log")
        axes.locator_params(axis="x", nbins=3)
    dot: dict[str, Any] = {"markersize": 5, "linestyle": "none"}
    handles = [key(label, COLOURS[name], marker=MARKERS[name], **dot) for name, label in LABELS.items()]
    if values[np.isfinite(values)].max(initial=1.0) > LARGEST_FLOAT32 / 1e3:
        line: dict[str, Any] = {"color": GREY, "linewidth": 1.0, "linestyle": DASHED}
        for axes in shown:
            axes.axhline(LARGEST_FLOAT32, **line)
        handles.append(key("largest number of float32", **line))
    shown[0].set_ylabel("loss of the training batch met")
    shown[0].yaxis.set_major_locator(Decades(numticks=8))
    shown[0].yaxis.set_minor_locator(NullLocator())
    return legend_below(figure, handles)


def running_means(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Mean loss of the first k prompts against k, a panel a depth, a line a run; dotted, the median typical loss."""
    if not frames:
        return nothing()
    figure, shown = panels(len(frames), 3.4, sharey=False)
    dots: dict[str, Any] = {"linewidth": 1.6, "linestyle": (0, (1, 1.5))}
    for axes, (name, frame) in zip(shown, frames.items(), strict=True):
        for optimizer in LABELS:
            table = by_seed(frame, optimizer, "mean", "prompts")
            values = table.to_numpy(np.float64)
            drawn = np.where(values <= LARGEST, values, np.nan)
            axes.plot(table.index, drawn, linewidth=0.9, alpha=0.75, **line_of(optimizer))
            typical = frame[frame["optimizer"] == optimizer]["typical"].median()
            axes.axhline(typical, color=COLOURS[optimizer], **dots)
        axes.set(title=PROBLEMS[name].title, xlabel="prompts", xscale="log")
        log_limits(axes, frame[["mean", "typical"]].to_numpy(np.float64).ravel())
        log_axis(axes, "y", 6)
        axes.tick_params(axis="y", labelsize="small")
    shown[0].set_ylabel("mean loss")
    return legend_below(figure, [*optimizer_keys(), key("typical loss, median over runs", **dots)])
