"""Figures of curvature: condition numbers, smoothness along steps, smoothness against gradients."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ...statistics import band
from ..problems import PROBLEMS
from ..scales import LABELS, PAPER_SEEDS
from .style import COLOURS, DASHES, GREY, MARKERS, OTHERS, WIDTH, legend_below, log_axis, nothing, panels, signed_axis


def _table(frame: pd.DataFrame, metric: str, optimizer: str) -> pd.DataFrame:
    """Values by step (rows) and seed (columns)."""
    rows = frame[(frame["metric"] == metric) & (frame["optimizer"] == optimizer)]
    return rows.pivot(index="step", columns="seed", values="value")


def _handles() -> list[Any]:
    return [
        Line2D([], [], color=COLOURS[name], linewidth=1.8, dashes=DASHES[name], label=LABELS[name])
        for name in ("sgd", "adam")
    ]


def condition_curves(frames: Mapping[str, pd.DataFrame], judged: Sequence[int], metric: str = "r_lower") -> Figure:
    """R_med against step, a panel a setting: single seeds, their geometric mean, and 95% intervals over all seeds.

    Args:
        frames: from :func:`lintrans.paper.measure.curvature.condition_numbers`.
        judged: steps that the claim is judged at, marked.
        metric: the convention.
    """
    figure, shown = panels(len(frames), 3.6)
    for axes, (name, frame) in zip(shown, frames.items(), strict=True):
        for step in judged:
            axes.axvline(step, color=GREY, linewidth=0.9, linestyle=(0, (1, 2)), zorder=0)
        for optimizer in ("sgd", "adam"):
            colour = COLOURS[optimizer]
            table = _table(frame, metric, optimizer)
            if table.empty:
                continue
            few = table.loc[:, table.columns.to_numpy(np.int64) < PAPER_SEEDS].dropna()  # steps that all of them reach
            values = few.to_numpy(np.float64)
            axes.plot(few.index, values, color=colour, linewidth=0.5, alpha=0.4)
            if len(few):
                middle = np.exp(np.log(values).mean(-1))
                axes.plot(few.index, middle, color=colour, dashes=DASHES[optimizer], linewidth=1.8)
            whole = table.dropna()
            logs = np.log(whole.to_numpy(np.float64))
            if len(whole) and logs.shape[1] > 1:
                middle = np.exp(logs.mean(-1))
                low, high = (np.exp(edge) for edge in band(logs))
                bars = np.abs(np.stack([middle - low, high - middle]))
                marker = MARKERS[optimizer]
                axes.errorbar(whole.index, middle, bars, fmt=marker, color=colour, markersize=4, capsize=2, linewidth=1)
        axes.set(title=PROBLEMS[name].title, xlabel="step", yscale="log")
    shown[0].set_ylabel("robust condition number R_med")
    marks = [
        Line2D([], [], color=GREY, linewidth=0.5, alpha=0.7, label=f"single seeds, the first {PAPER_SEEDS} at most"),
        Line2D([], [], color=GREY, marker="o", markersize=4, linewidth=1, label="all seeds, 95% interval"),
    ]
    if judged:
        marks.append(Line2D([], [], color=GREY, linewidth=0.9, linestyle=(0, (1, 2)), label="judged steps"))
    legend_below(figure, [*_handles(), *marks])
    return figure


def forest(table: pd.DataFrame, label: str, reference: float = 1.0, log: bool = True) -> Figure:
    """Estimates with 95% intervals, a row each; those of one case stand together, told apart by colour and marker.

    Args:
        table: columns case, statistic, estimate, low, high; NaN where there is no number or no interval.
        label: of the horizontal axis.
        reference: the value of no difference, drawn as a line.
        log: whether the axis is logarithmic.
    """
    groups = list(dict.fromkeys(table["statistic"]))
    colours = dict(zip(groups, itertools.cycle(OTHERS), strict=False))
    markers = dict(zip(groups, itertools.cycle("osD^vP*X"), strict=False))
    cases = list(dict.fromkeys(table["case"]))
    figure, axes = plt.subplots(figsize=(WIDTH, 1.1 + 0.15 * len(table) + 0.1 * len(cases)), layout="constrained")
    plt.close(figure)
    axes.axvline(reference, color=GREY, linewidth=1.0)
    ticks, height = [], 0.0
    for case in cases:
        own = table[table["case"] == case]
        ticks.append(height + 0.5 * (len(own) - 1))
        for row in own.to_dict("records"):
            colour, marker = colours[row["statistic"]], markers[row["statistic"]]
            axes.plot([row["low"], row["high"]], [height, height], color=colour, linewidth=1.4)
            axes.plot(row["estimate"], height, marker, color=colour, markersize=5)
            height += 1
        height += 0.8
    axes.set_yticks(ticks, cases)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(label)
    if log:
        axes.set_xscale("log")
    handles = [
        Line2D([], [], color=colours[g], marker=markers[g], markersize=5, linewidth=1.4, label=g) for g in groups
    ]
    legend_below(figure, handles)
    return figure


def smoothness_curves(frames: Mapping[str, pd.DataFrame], metric: str = "directional_smoothness") -> Figure:
    """V'Hv along realised steps, signed, a panel a setting: median over seeds, and where the middle half of them lies.

    The axis is logarithmic on both sides of zero and linear close to it, so that negative curvature shows.
    """
    if not frames:
        return nothing("no best rate was found inside the grid: not measured")
    figure, shown = panels(len(frames), 3.6, sharey=False)
    for axes, (name, frame) in zip(shown, frames.items(), strict=True):
        everything = []
        for optimizer in ("sgd", "adam"):
            table = _table(frame, metric, optimizer).dropna(how="all")
            if table.empty:
                continue
            values = table.to_numpy(np.float64)
            everything.append(values.ravel())
            low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75], axis=1)
            axes.fill_between(table.index, low, high, color=COLOURS[optimizer], alpha=0.25, linewidth=0)
            axes.plot(table.index, middle, color=COLOURS[optimizer], linewidth=1.4, dashes=DASHES[optimizer])
        signed_axis(axes, np.concatenate([np.zeros(0), *everything]))
        axes.set(title=PROBLEMS[name].title, xlabel="step")
        axes.tick_params(axis="y", labelsize="small")
    shown[0].set_ylabel("directional smoothness v'Hv")
    legend_below(figure, [*_handles(), Patch(color=GREY, alpha=0.3, linewidth=0, label="middle half of the seeds")])
    return figure


def gain_curves(frames: Mapping[str, pd.DataFrame], momentum: float) -> Figure:
    """What curvature means for the step: lr v'Hv above, the local gain (g.v)^2 / (2 v'Hv) below, medians over seeds.

    Args:
        frames: from :func:`lintrans.paper.claims.c4.gains`, by setting; rows of positive curvature only.
        momentum: of SGD; momentum SGD is unstable where lr v'Hv exceeds 2 (1 + momentum), drawn as a line.
    """
    figure, grid = plt.subplots(
        2, len(frames), figsize=(WIDTH, 5.2), sharex="col", sharey="row", squeeze=False, layout="constrained"
    )
    plt.close(figure)
    for column, (name, frame) in enumerate(frames.items()):
        for row, metric in enumerate(("lr_smoothness", "local_gain")):
            axes = grid[row][column]
            for optimizer in ("sgd", "adam"):
                table = _table(frame, metric, optimizer).dropna(how="all")
                middle = np.nanmedian(table.to_numpy(np.float64), axis=1) if len(table) else np.array([])
                axes.plot(table.index, middle, color=COLOURS[optimizer], linewidth=1.4, dashes=DASHES[optimizer])
            axes.set_yscale("log")
        grid[0][column].axhline(2 * (1 + momentum), color=GREY, linewidth=1.0, linestyle=(0, (4, 4)))
        grid[0][column].set_title(PROBLEMS[name].title)
        grid[1][column].set_xlabel("step")
    grid[0][0].set_ylabel("lr v'Hv")
    grid[1][0].set_ylabel("local gain (loss)")
    line = Line2D([], [], color=GREY, linewidth=1.0, linestyle=(0, (4, 4)), label="stability bound of momentum SGD")
    legend_below(figure, [*_handles(), line])
    return figure


def speed_against_smoothness(table: pd.DataFrame) -> Figure:
    """One dot a setting, rate and seed: ratio of steps against ratio of curvatures, both SGD over Adam.

    Args:
        table: from :func:`lintrans.paper.claims.c4.cells`.
    """
    figure, (axes,) = panels(1, 3.6)
    axes.axhline(1.0, color=GREY, linewidth=0.8)
    axes.axvline(1.0, color=GREY, linewidth=0.8)
    good = table.dropna()
    for colour, marker, (name, own) in zip(OTHERS, "osD^", good.groupby("setting"), strict=False):
        axes.plot(
            np.exp(own["curvature"]), np.exp(own["speed"]), marker, color=colour, markersize=4, alpha=0.6,
            linestyle="none", label=PROBLEMS[str(name)].title,
        )  # fmt: skip
    log_axis(axes, "x")
    log_axis(axes, "y")
    axes.set(xlabel="median v'Hv, SGD over Adam", ylabel="steps to target, SGD over Adam")
    legend_below(figure, axes.get_legend_handles_labels()[0])
    return figure


def norms_scatter(
    frames: Mapping[str, pd.DataFrame],
    bounds: pd.DataFrame,
    optimizer: str = "adam",
    metric: str = "spectral_norm",
) -> Figure:
    """Norm of the Hessian against norm of the gradient, both logarithmic, coloured by step, a panel a setting.

    The dashed line is the fitted L0 + L1 ||g||, under which 95% of the points lie.

    Args:
        frames: from :func:`lintrans.paper.measure.curvature.step_curvatures` with spectral norms.
        bounds: columns setting, optimizer, l0, l1.
        optimizer: whose runs.
        metric: which norm.
    """
    figure, shown = panels(len(frames), 3.4)
    last = max((int(frame["step"].max()) for frame in frames.values() if len(frame)), default=1)
    colours = Normalize(0, last)
    for axes, (name, frame) in zip(shown, frames.items(), strict=True):
        own = frame[frame["optimizer"] == optimizer].pivot(index=["seed", "step"], columns="metric", values="value")
        own = own.reindex(columns=list(dict.fromkeys([metric, "gradient_norm"]))).astype(float)
        own = own[(own[metric] > 0) & (own["gradient_norm"] > 0)].reset_index()
        axes.scatter(
            own["gradient_norm"], own[metric], c=own["step"], cmap="viridis", norm=colours, s=7, linewidths=0, alpha=0.8
        )
        chosen = bounds[(bounds["setting"] == name) & (bounds["optimizer"] == optimizer)]
        for bound in chosen.to_dict("records") if len(own) else []:
            x = np.geomspace(own["gradient_norm"].min(), own["gradient_norm"].max(), 100)
            axes.plot(x, bound["l0"] + bound["l1"] * x, color=COLOURS["sgd"], linewidth=1.2, dashes=(4.0, 2.0))
        log_axis(axes, "x", 4)
        axes.set(title=PROBLEMS[name].title, xlabel="gradient norm", yscale="log")
    words = {"spectral_norm": "spectral norm of the Hessian", "directional_smoothness": "directional smoothness v'Hv"}
    shown[0].set_ylabel(words.get(metric, metric.replace("_", " ")))
    figure.colorbar(ScalarMappable(colours, "viridis"), ax=shown, label="step", shrink=0.9)
    if bounds.empty:
        return figure
    handle = Line2D(
        [], [], color=COLOURS["sgd"], linewidth=1.2, dashes=(4.0, 2.0), label="L0 + L1 · gradient norm (95% quantile)"
    )
    legend_below(figure, [handle])
    return figure
