"""Figures of curvature: condition numbers, smoothness along steps, smoothness against gradients."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ...statistics import band
from ..problems import PROBLEMS
from ..scales import PAPER_SEEDS
from .parts import by_seed, key, legend_below, log_axis, nothing, optimizer_keys, panels, signed_axis, subplots
from .style import COLOURS, DASHED, DOTTED, GREY, LABELS, MARKERS, OTHERS, line_of

Frames = Mapping[str, pd.DataFrame]


def _table(frame: pd.DataFrame, metric: str, optimizer: str) -> pd.DataFrame:
    return by_seed(frame[frame["metric"] == metric], optimizer)


def condition_curves(frames: Frames, judged: Sequence[int], metric: str = "r_lower") -> Figure:
    """R_med against step, a panel a setting: single seeds, their geometric mean, and 95% intervals over all seeds."""
    figure, shown = panels(len(frames), 3.6)
    mark: dict[str, Any] = {"color": GREY, "linewidth": 0.9, "linestyle": DOTTED}
    for axes, (name, frame) in zip(shown, frames.items(), strict=True):
        for step in judged:
            axes.axvline(step, zorder=0, **mark)
        for optimizer in LABELS:
            colour = COLOURS[optimizer]
            table = _table(frame, metric, optimizer)
            if table.empty:
                continue
            few = table.loc[:, table.columns.to_numpy(np.int64) < PAPER_SEEDS].dropna()  # steps that all of them reach
            values = few.to_numpy(np.float64)
            axes.plot(few.index, values, color=colour, linewidth=0.5, alpha=0.4)
            if len(few):
                axes.plot(few.index, np.exp(np.log(values).mean(-1)), linewidth=1.8, **line_of(optimizer))
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
        key(f"single seeds, the first {PAPER_SEEDS} at most", linewidth=0.5, alpha=0.7),
        key("all seeds, 95% interval", marker="o", markersize=4, linewidth=1),
        *([key("judged steps", **mark)] if judged else []),
    ]
    return legend_below(figure, [*optimizer_keys(), *marks])


def forest(table: pd.DataFrame, label: str, reference: float = 1.0, log: bool = True) -> Figure:
    """Estimates with 95% intervals, a row each; those of one case stand together, told apart by colour and marker.

    `table` has columns case, statistic, estimate, low, high; NaN where there is no number or no interval.
    """
    statistics, cases = (list(dict.fromkeys(table[column])) for column in ("statistic", "case"))
    looks = dict(zip(statistics, zip(itertools.cycle(OTHERS), itertools.cycle("osD^vP*X"), strict=False), strict=False))
    figure, axes = subplots(1, 1, 1.1 + 0.15 * len(table) + 0.1 * len(cases))
    axes.axvline(reference, color=GREY, linewidth=1.0)
    ticks, height = [], 0.0
    for case in cases:
        rows = table[table["case"] == case]
        ticks.append(height + 0.5 * (len(rows) - 1))
        for row in rows.to_dict("records"):
            colour, marker = looks[row["statistic"]]
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
    handles = [key(name, colour, marker=mark, markersize=5, linewidth=1.4) for name, (colour, mark) in looks.items()]
    return legend_below(figure, handles)


def smoothness_curves(frames: Frames, metric: str = "directional_smoothness") -> Figure:
    """V'Hv along realised steps, signed, a panel a setting: median over seeds, and where the middle half of them lies.

    The axis is logarithmic on both sides of zero and linear close to it, so that negative curvature shows.
    """
    if not frames:
        return nothing()
    figure, shown = panels(len(frames), 3.6, sharey=False)
    for axes, (name, frame) in zip(shown, frames.items(), strict=True):
        everything = [np.zeros(0)]
        for optimizer in LABELS:
            table = _table(frame, metric, optimizer).dropna(how="all")
            if table.empty:
                continue
            values = table.to_numpy(np.float64)
            everything.append(values.ravel())
            low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75], axis=1)
            axes.fill_between(table.index, low, high, color=COLOURS[optimizer], alpha=0.25, linewidth=0)
            axes.plot(table.index, middle, linewidth=1.4, **line_of(optimizer))
        signed_axis(axes, np.concatenate(everything))
        axes.set(title=PROBLEMS[name].title, xlabel="step")
        axes.tick_params(axis="y", labelsize="small")
    shown[0].set_ylabel("directional smoothness v'Hv")
    middle_half = Patch(color=GREY, alpha=0.3, linewidth=0, label="middle half of the seeds")
    return legend_below(figure, [*optimizer_keys(), middle_half])


def gain_curves(frames: Frames, momentum: float) -> Figure:
    """What curvature means for the step: lr v'Hv above, the local gain (g.v)^2 / (2 v'Hv) below, medians over seeds.

    Momentum SGD is unstable where lr v'Hv exceeds 2 (1 + momentum), drawn as a line.
    """
    figure, axes_of = subplots(2, len(frames), 5.2, sharex="col", sharey="row", squeeze=False)
    bound: dict[str, Any] = {"color": GREY, "linewidth": 1.0, "linestyle": DASHED}
    for column, (name, frame) in enumerate(frames.items()):
        for row, metric in enumerate(("lr_smoothness", "local_gain")):
            axes = axes_of[row][column]
            for optimizer in LABELS:
                table = _table(frame, metric, optimizer).dropna(how="all")
                middle = np.nanmedian(table.to_numpy(np.float64), axis=1) if len(table) else np.array([])
                axes.plot(table.index, middle, linewidth=1.4, **line_of(optimizer))
            axes.set_yscale("log")
        axes_of[0][column].axhline(2 * (1 + momentum), **bound)
        axes_of[0][column].set_title(PROBLEMS[name].title)
        axes_of[1][column].set_xlabel("step")
    axes_of[0][0].set_ylabel("lr v'Hv")
    axes_of[1][0].set_ylabel("local gain (loss)")
    return legend_below(figure, [*optimizer_keys(), key("stability bound of momentum SGD", **bound)])


def speed_against_smoothness(table: pd.DataFrame) -> Figure:
    """One dot a setting, rate and seed: ratio of steps against ratio of curvatures, both SGD over Adam."""
    figure, (axes,) = panels(1, 3.6)
    axes.axhline(1.0, color=GREY, linewidth=0.8)
    axes.axvline(1.0, color=GREY, linewidth=0.8)
    for colour, marker, (name, cells) in zip(OTHERS, "osD^", table.dropna().groupby("setting"), strict=False):
        style: dict[str, Any] = {"color": colour, "markersize": 4, "alpha": 0.6, "linestyle": "none"}
        axes.plot(np.exp(cells["curvature"]), np.exp(cells["speed"]), marker, label=PROBLEMS[str(name)].title, **style)
    log_axis(axes, "x")
    log_axis(axes, "y")
    axes.set(xlabel="median v'Hv, SGD over Adam", ylabel="steps to target, SGD over Adam")
    return legend_below(figure, axes.get_legend_handles_labels()[0])


def norms_scatter(
    frames: Frames, bounds: pd.DataFrame, optimizer: str = "adam", metric: str = "spectral_norm"
) -> Figure:
    """Norm of the Hessian against norm of the gradient, both logarithmic, coloured by step, a panel a setting.

    The dashed line is the fitted L0 + L1 ||g|| (`bounds`: columns setting, optimizer, l0, l1), above 95% of the points.
    """
    figure, shown = panels(len(frames), 3.4)
    last = max((int(frame["step"].max()) for frame in frames.values() if len(frame)), default=1)
    colours = Normalize(0, last)
    fitted: dict[str, Any] = {"color": COLOURS["sgd"], "linewidth": 1.2, "dashes": (4.0, 2.0)}
    for axes, (name, frame) in zip(shown, frames.items(), strict=True):
        norms = frame[frame["optimizer"] == optimizer].pivot(index=["seed", "step"], columns="metric", values="value")
        norms = norms.reindex(columns=list(dict.fromkeys([metric, "gradient_norm"]))).astype(float)
        norms = norms[(norms > 0).all(axis=1)].reset_index()
        x, y = norms["gradient_norm"], norms[metric]
        axes.scatter(x, y, c=norms["step"], cmap="viridis", norm=colours, s=7, linewidths=0, alpha=0.8)
        chosen = bounds[(bounds["setting"] == name) & (bounds["optimizer"] == optimizer)]
        for bound in chosen.to_dict("records") if len(norms) else []:
            line = np.geomspace(x.min(), x.max(), 100)
            axes.plot(line, bound["l0"] + bound["l1"] * line, **fitted)
        log_axis(axes, "x", 4)
        axes.set(title=PROBLEMS[name].title, xlabel="gradient norm", yscale="log")
    words = {"spectral_norm": "spectral norm of the Hessian", "directional_smoothness": "directional smoothness v'Hv"}
    shown[0].set_ylabel(words.get(metric, metric.replace("_", " ")))
    figure.colorbar(ScalarMappable(colours, "viridis"), ax=shown, label="step", shrink=0.9)
    return figure if bounds.empty else legend_below(figure, [key("L0 + L1 · gradient norm (95% quantile)", **fitted)])
