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

from ...statistics import Interval, mean_of
from ..claims.common import by_seed_and_batch, on_batches, typical
from ..problems import PROBLEMS
from ..scales import PAPER_SEEDS
from .parts import by_seed, key, legend_below, log_axis, nothing, optimizer_keys, panels, signed_axis, subplots
from .style import COLOURS, DASHED, DOTTED, GREY, LABELS, LINES, MARKERS, OTHERS, line_of

Frames = Mapping[str, pd.DataFrame]
FIXED: dict[str, Any] = {"linewidth": 0.7, "alpha": 0.8}
"""The look of the paper's fixed batch beside the typical value of evaluation batches."""
FIXED_KEY = "the paper's fixed batch"
PARTS = {
    "public": "R_med, public convention",
    "within": "within blocks",
    "between": "between blocks",
    "convention": "convention",
}


def _tables(frame: pd.DataFrame, metric: str, optimizer: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One optimizer's values by step and seed: medians over evaluation batches, and on the fixed batch."""
    rows = frame[(frame["metric"] == metric) & (frame["optimizer"] == optimizer)]
    several, fixed = typical(rows), on_batches(rows, fixed=True)
    return by_seed(several, optimizer).dropna(how="all"), by_seed(fixed, optimizer).dropna(how="all")


def _geometric(logs: pd.DataFrame) -> Interval:
    """Geometric mean of a table [seeds, batches] of logarithms, both random."""
    return mean_of(logs.to_numpy(np.float64)).exp()


def condition_curves(
    frames: Frames, judged: Sequence[int], metric: str = "r_lower", dense: Frames | None = None
) -> Figure:
    """R_med against step, a panel a setting: over seeds and evaluation batches with 95% intervals, and on the fixed.

    The geometric mean of the first seeds, as many as the paper has, on the fixed batch is a thin line; `dense` holds it
    at more steps.
    """
    figure, shown = panels(len(frames), 3.6)
    mark: dict[str, Any] = {"color": GREY, "linewidth": 0.9, "linestyle": DOTTED}
    for axes, (name, frame) in zip(shown, frames.items(), strict=True):
        for step in judged:
            axes.axvline(step, zorder=0, **mark)
        for optimizer in LABELS:
            colour = COLOURS[optimizer]
            rows = on_batches((dense or frames)[name], fixed=True)
            fixed = by_seed(rows[rows["metric"] == metric], optimizer).iloc[:, :PAPER_SEEDS].dropna()
            if len(fixed):
                line = np.exp(np.log(fixed.to_numpy(np.float64)).mean(-1))
                axes.plot(fixed.index, line, color=colour, **FIXED)
            rows = on_batches(frame)
            rows = rows[(rows["metric"] == metric) & (rows["optimizer"] == optimizer)]
            logs = np.log(rows.set_index(["step", "seed", "batch"])["value"].where(lambda v: (v > 0) & np.isfinite(v)))
            steps = {step: by_seed_and_batch(own.dropna()) for step, own in logs.groupby("step")}
            found = {step: _geometric(own) for step, own in steps.items() if own.size}
            middle = np.array([own.estimate for own in found.values()])
            axes.plot(list(found), middle, linewidth=1.4, marker=MARKERS[optimizer], markersize=4, **line_of(optimizer))
            low, high = (np.array([getattr(own, edge) for own in found.values()]) for edge in ("low", "high"))
            if len(found) and np.isfinite(low).any():
                bars = np.abs(np.stack([middle - low, high - middle]))
                axes.errorbar(list(found), middle, bars, fmt="none", color=colour, capsize=2, linewidth=1)
        axes.set(title=PROBLEMS[name].title, xlabel="step")
    for axes in shown:
        log_axis(axes, "y")
    shown[0].set_ylabel("robust condition number R_med")
    marks = [
        key("seeds and batches, 95% interval", marker="o", markersize=4, linewidth=1.4),
        key(f"{FIXED_KEY}, {PAPER_SEEDS} seeds at most", **FIXED),
        *([key("judged steps", **mark)] if judged else []),
    ]
    return legend_below(figure, [*optimizer_keys(), *marks])


def split_curves(table: pd.DataFrame, judged: Sequence[int]) -> Figure:
    """The ratio of R_med, SGD over Adam, and the factors it is the product of, against step; a panel a setting.

    `table` has columns setting, step, part (of PARTS), ratio, low, high.
    """
    names = list(dict.fromkeys(table["setting"]))
    if not names:
        return nothing("no setting was measured")
    figure, shown = panels(len(names), 3.6)
    mark: dict[str, Any] = {"color": GREY, "linewidth": 0.9, "linestyle": DOTTED}
    looks = dict(zip(PARTS, (GREY, *OTHERS), strict=False))
    width = {part: 2.2 if part == "public" else 1.4 for part in PARTS}
    for axes, name in zip(shown, names, strict=True):
        axes.axhline(1.0, color=GREY, linewidth=0.8)
        for step in judged:
            axes.axvline(step, zorder=0, **mark)
        for part, dashes in zip(PARTS, LINES, strict=True):
            own = table[(table["setting"] == name) & (table["part"] == part)].sort_values("step")
            steps, colour = own["step"].to_numpy(np.float64), looks[part]
            style: dict[str, Any] = {"color": colour, "linewidth": width[part], "dashes": dashes}
            axes.plot(steps, own["ratio"].to_numpy(np.float64), marker="o", markersize=3, **style)
            if part != "public":
                edges = (own[edge].to_numpy(np.float64) for edge in ("low", "high"))
                axes.fill_between(steps, *edges, color=colour, alpha=0.15, linewidth=0)
        axes.set(title=PROBLEMS[name].title, xlabel="step")
    for axes in shown:
        log_axis(axes, "y")
    shown[0].set_ylabel("ratio, SGD over Adam")
    keys = [
        key(words, looks[part], linewidth=width[part], dashes=dashes)
        for (part, words), dashes in zip(PARTS.items(), LINES, strict=True)
    ]
    return legend_below(figure, [*keys, key("judged steps", **mark)])


def forest(table: pd.DataFrame, label: str, reference: float = 1.0, log: bool = True) -> Figure:
    """Estimates with 95% intervals, a row each; those of one case stand together, told apart by colour and marker.

    `table` has columns case, statistic, estimate, low, high; NaN where there is no number or no interval. Optimizers
    as statistics have their own colours.
    """
    statistics, cases = (list(dict.fromkeys(table[column])) for column in ("statistic", "case"))
    looks = dict(zip(statistics, zip(itertools.cycle(OTHERS), itertools.cycle("osD^vP*X"), strict=False), strict=False))
    looks |= {label: (COLOURS[name], MARKERS[name]) for name, label in LABELS.items() if label in looks}
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
        log_axis(axes, "x", 7)
    handles = [key(name, colour, marker=mark, markersize=5, linewidth=1.4) for name, (colour, mark) in looks.items()]
    return legend_below(figure, handles)


def smoothness_curves(frames: Frames, metric: str = "directional_smoothness") -> Figure:
    """V'Hv along realised steps, signed, a panel a setting: median over seeds, and where the middle half of them lies.

    Of each seed the median over evaluation batches; a thin line is the median seed on the fixed batch. The axis is
    logarithmic on both sides of zero and linear close to it, so that negative curvature shows.
    """
    if not frames:
        return nothing()
    figure, shown = panels(len(frames), 3.6, sharey=False)
    for axes, (name, frame) in zip(shown, frames.items(), strict=True):
        everything = [np.zeros(0)]
        for optimizer in LABELS:
            table, fixed = _tables(frame, metric, optimizer)
            if len(fixed):
                line = np.nanmedian(fixed.to_numpy(np.float64), axis=1)
                axes.plot(fixed.index, line, color=COLOURS[optimizer], **FIXED)
                everything.append(line)
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
    return legend_below(figure, [*optimizer_keys(), middle_half, key(FIXED_KEY, **FIXED)])


def gain_curves(frames: Frames, momentum: float) -> Figure:
    """What curvature means for the step: lr v'Hv above, the local gain (g.v)^2 / (2 v'Hv) below, medians over seeds.

    Of each seed the median over evaluation batches. Momentum SGD is unstable where lr v'Hv exceeds 2 (1 + momentum),
    drawn as a line.
    """
    figure, axes_of = subplots(2, len(frames), 5.2, sharex="col", sharey="row", squeeze=False)
    bound: dict[str, Any] = {"color": GREY, "linewidth": 1.0, "linestyle": DASHED}
    for column, (name, frame) in enumerate(frames.items()):
        for row, metric in enumerate(("lr_smoothness", "local_gain")):
            axes = axes_of[row][column]
            for optimizer in LABELS:
                table, _ = _tables(frame, metric, optimizer)
                middle = np.nanmedian(table.to_numpy(np.float64), axis=1) if len(table) else np.array([])
                axes.plot(table.index, middle, linewidth=1.4, **line_of(optimizer))
        axes_of[0][column].axhline(2 * (1 + momentum), **bound)
        axes_of[0][column].set_title(PROBLEMS[name].title)
        axes_of[1][column].set_xlabel("step")
    for axes in axes_of.flat:
        log_axis(axes, "y")
    axes_of[0][0].set_ylabel("lr v'Hv")
    axes_of[1][0].set_ylabel("local gain (loss)")
    return legend_below(figure, [*optimizer_keys(), key("stability bound of momentum SGD", **bound)])


def speed_against_smoothness(table: pd.DataFrame) -> Figure:
    """Ratio of steps against ratio of curvatures, both SGD over Adam: a dot a rate and seed, a panel a setting.

    Of each rate and seed the median over evaluation batches.
    """
    names = list(dict.fromkeys(table["setting"]))
    if not names:
        return nothing("no setting was measured")
    figure, shown = panels(len(names), 3.2, sharey=False)
    cells = on_batches(table).dropna().groupby(["setting", "lr", "seed"])[["curvature", "speed"]].median()
    cells = cells.apply(np.exp).reset_index()
    for axes, name in zip(shown, names, strict=True):
        axes.axhline(1.0, color=GREY, linewidth=0.8)
        axes.axvline(1.0, color=GREY, linewidth=0.8)
        own = cells[cells["setting"] == name]
        axes.plot(own["curvature"], own["speed"], "o", color=OTHERS[0], markersize=4, alpha=0.6, linestyle="none")
        log_axis(axes, "x", 4)
        log_axis(axes, "y")
        axes.set(title=PROBLEMS[str(name)].title, xlabel="median v'Hv, SGD / Adam")
    shown[0].set_ylabel("steps to target, SGD / Adam")
    return figure


def norms_scatter(
    frames: Frames, bounds: pd.DataFrame, optimizer: str = "adam", metric: str = "spectral_norm"
) -> Figure:
    """Norm of the Hessian against norm of the gradient, both logarithmic, coloured by step, a panel a setting.

    A dot is a seed and step, medians over evaluation batches; a thin line is the median seed on the fixed batch. The
    dashed line is the fitted L0 + L1 ||g|| (`bounds`: columns setting, optimizer, l0, l1), above 95% of the dots.
    """
    figure, shown = panels(len(frames), 3.4)
    last = max((int(frame["step"].max()) for frame in frames.values() if len(frame)), default=1)
    colours = Normalize(0, last)
    fitted: dict[str, Any] = {"color": COLOURS["sgd"], "linewidth": 1.2, "dashes": (4.0, 2.0)}
    for axes, (name, frame) in zip(shown, frames.items(), strict=True):
        own = frame[frame["optimizer"] == optimizer]
        norms = _pairs(typical(own), metric)
        x, y = norms["gradient_norm"], norms[metric]
        axes.scatter(x, y, c=norms["step"], cmap="viridis", norm=colours, s=7, linewidths=0, alpha=0.8)
        path = _pairs(on_batches(own, fixed=True), metric).groupby("step")[["gradient_norm", metric]].median()
        axes.plot(path["gradient_norm"], path[metric], color=GREY, **FIXED)
        chosen = bounds[(bounds["setting"] == name) & (bounds["optimizer"] == optimizer)]
        for bound in chosen.to_dict("records") if len(norms) else []:
            line = np.geomspace(x.min(), x.max(), 100)
            axes.plot(line, bound["l0"] + bound["l1"] * line, **fitted)
        log_axis(axes, "x", 4)
        axes.set(title=PROBLEMS[name].title, xlabel="gradient norm")
    for axes in shown:
        log_axis(axes, "y")
    words = {"spectral_norm": "spectral norm of the Hessian", "directional_smoothness": "directional smoothness v'Hv"}
    shown[0].set_ylabel(words.get(metric, metric.replace("_", " ")))
    figure.colorbar(ScalarMappable(colours, "viridis"), ax=shown, label="step", shrink=0.9)
    keys = [] if bounds.empty else [key("L0 + L1 · gradient norm (95% quantile)", **fitted)]
    return legend_below(figure, [*keys, key(FIXED_KEY, **FIXED)])


def _pairs(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Columns seed, step, metric, gradient_norm where both are positive."""
    wide = rows.pivot(index=["seed", "step"], columns="metric", values="value")
    wide = wide.reindex(columns=list(dict.fromkeys([metric, "gradient_norm"]))).astype(float)
    return wide[(wide > 0).all(axis=1)].reset_index()
