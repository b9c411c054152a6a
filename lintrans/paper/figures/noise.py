"""Figures of gradient noise: histograms beside the Gaussian null, E by setting, batch and step, tail indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from ...diagnostics.tails import hill, moment_estimator, normal_points, thresholds
from ...statistics import band
from ..problems import PROBLEMS
from .parts import by_seed, dot_key, key, legend_below, optimizer_keys, panels, subplots, titled
from .style import COLOURS, DOTTED, GREY, LABELS, LINES, MARKERS, OTHERS, line_of

NOISE_COLOUR = OTHERS[0]
NULL_DASHES = (3.0, 1.2)
BINS = 100
SHOWN = 0.995
"""Share of the norms that a histogram shows; the rest would press all others into a few bins."""
KINDS = dict(zip(("1", "2", "3", "sphere"), zip(OTHERS, "osD^", strict=False), strict=False))
GAUSSIAN: dict[str, Any] = {"color": GREY, "linewidth": 1.0}
MARGIN: dict[str, Any] = {**GAUSSIAN, "linestyle": DOTTED}
Array = npt.NDArray[np.float64]


def _edges(norms: Array, null: Array) -> Array:
    """Edges of BINS bins from the smallest of both samples to where SHOWN of the norms lie."""
    top = max(float(np.quantile(norms, SHOWN)), float(np.quantile(null, SHOWN)))
    return np.linspace(min(norms.min(), null.min()), top, BINS + 1)


def _density(sample: Array, edges: Array) -> Array:
    """Share of the whole sample in each bin over the bin's width, whatever lies outside the bins."""
    counts, _ = np.histogram(sample, edges)
    density: Array = counts / (len(sample) * np.diff(edges))
    return density


def _probability_inset(axes: Axes, norms: Array, null: Array) -> None:
    """Normal-probability plot of both samples in units of their standard deviations, in the panel's upper right."""
    inset = axes.inset_axes((0.58, 0.64, 0.42, 0.34))
    for sample, colour, marker in ((null, GREY, "x"), (norms, NOISE_COLOUR, ".")):
        theoretical, ordered = normal_points(sample[: len(norms)], 120)
        scaled = (ordered - sample.mean()) / sample.std()
        inset.plot(theoretical, scaled, marker, color=colour, markersize=2.5, linestyle="none", markeredgewidth=0.6)
    ends = np.array([-3.5, 3.5])
    inset.plot(ends, ends, color=GREY, linewidth=0.7)
    inset.tick_params(labelsize=6, length=2, pad=1)
    inset.grid(visible=False)


def histograms(norms: Mapping[str, Array], nulls: Mapping[str, Array], title: str = "") -> Figure:
    """Densities of the noise's norm, a panel a setting: filled, beside Gaussian noise of the same covariance, dashed.

    `title` stands above all panels.

    Each panel holds a normal-probability plot of both, standardized: points of a Gaussian would lie on the line.
    """
    figure, shown = panels(len(norms), 3.4, sharey=False)
    for axes, (name, sample) in zip(shown, norms.items(), strict=True):
        edges = _edges(sample, nulls[name])
        axes.stairs(_density(sample, edges), edges, fill=True, color=NOISE_COLOUR, alpha=0.45)
        null = _density(nulls[name], edges)
        axes.plot(0.5 * (edges[:-1] + edges[1:]), null, color=GREY, linewidth=1.2, dashes=NULL_DASHES)
        axes.set(title=PROBLEMS[name].title, xlabel="norm of the gradient noise")
        axes.set_ylim(0, 1.6 * axes.get_ylim()[1])  # room for the inset
        axes.grid(visible=False)
        _probability_inset(axes, sample, nulls[name])
    shown[0].set_ylabel("density")
    figure.suptitle(title)
    patch = Patch(color=NOISE_COLOUR, alpha=0.45, linewidth=0, label="gradient noise")
    return legend_below(
        figure, [patch, key("Gaussian noise of the same covariance", linewidth=1.2, dashes=NULL_DASHES)]
    )


def excesses(tables: Mapping[str, pd.DataFrame], margin: float) -> Figure:
    """E of every initialization as dots, its geometric mean with the 95% interval beside them, a column a setting.

    From `margin` on, drawn dotted, E counts as heavier; 1 is drawn solid.
    """
    figure, (axes,) = panels(1, 3.4)
    axes.axhline(1.0, **GAUSSIAN)
    axes.axhline(margin, **MARGIN)
    for column, (name, table) in enumerate(tables.items()):
        colour, marker = KINDS[name]
        x = column + (np.linspace(-0.12, 0.12, len(table)) if len(table) > 1 else np.zeros(1))
        axes.plot(x, table["excess"], marker, color=colour, markersize=4, alpha=0.6, linestyle="none")
        _interval(axes, column + 0.28, table["excess"].dropna().to_numpy(np.float64))
    axes.set_xticks(range(len(tables)), [PROBLEMS[name].title for name in tables])
    axes.set_xlim(-0.5, len(tables) - 0.4)
    axes.grid(axis="x", visible=False)
    axes.set_ylabel("E")
    ratio_axis(axes)
    handles = [
        dot_key("an initialization", "s", 4, alpha=0.6),
        key("geometric mean, 95% interval", marker="o", markersize=5, linewidth=1.2),
        key("Gaussian", **GAUSSIAN),
        key(f"counts as heavier ({margin:g})", **MARGIN),
    ]
    return legend_below(figure, handles)


def _interval(axes: Axes, x: float, values: Array) -> None:
    """Geometric mean of ratios with its 95% interval over seeds, where there are several."""
    if not len(values):
        return
    logs = np.log(values)
    low, high = (np.exp(edge) for edge in band(logs[None]))
    axes.plot([x, x], [float(low[0]), float(high[0])], color=GREY, linewidth=1.2)
    axes.plot([x], [float(np.exp(logs.mean()))], "o", color=GREY, markersize=5)


def ratio_axis(axes: Axes) -> None:
    """A logarithmic axis of ratios with plain numbers: fine steps over a narrow range, decades over a wide one."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    steps = (1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 8.0) if high < 8 * low else (1.0, 2.0, 5.0) if high < 80 * low else (1.0,)
    ladder = np.sort(np.outer(decades, steps).ravel())
    _plain(axes.yaxis, ladder[(ladder >= low) & (ladder <= high)])


def _plain(axis: XAxis | YAxis, ticks: Array) -> None:
    """Ticks with numbers as one writes them, and no others."""
    axis.set_major_locator(FixedLocator([float(tick) for tick in ticks]))
    axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.set_minor_locator(NullLocator())


def _means(table: pd.DataFrame, along: str) -> tuple[Array, Array, Array, Array]:
    """Values of the column `along`, and of E at each the geometric mean and the 95% interval over seeds.

    A mean is over the seeds for which E could be read, where those are most of them; an interval asks for all.
    """
    logs = table.pivot(index=along, columns="seed", values="excess").transform(np.log)
    low, high = band(logs.to_numpy(np.float64))
    middle = np.exp(logs.mean(axis=1).where(logs.notna().mean(axis=1) > 0.5).to_numpy(np.float64))
    return logs.index.to_numpy(np.float64), middle, np.exp(low), np.exp(high)


def excess_by_batch(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """E against the batch size, both logarithmic, a line a setting with 95% intervals over initializations."""
    figure, (axes,) = panels(1, 3.2)
    axes.axhline(1.0, **GAUSSIAN)
    handles = []
    for dashes, (name, table) in zip(LINES, tables.items(), strict=False):
        colour, marker = KINDS[name]
        style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5, "dashes": dashes}
        sizes, middle, low, high = _means(table, "batch")
        axes.plot(sizes, middle, linewidth=1.4, **style)
        axes.vlines(sizes, low, high, color=colour, linewidth=1.4)
        handles.append(key(PROBLEMS[name].title, **style))
    axes.set(xscale="log", xlabel="prompts in a batch", ylabel="E")
    _plain(axes.xaxis, np.unique(np.concatenate([table["batch"].to_numpy(np.float64) for table in tables.values()])))
    ratio_axis(axes)
    return legend_below(figure, handles)


def excess_along(tables: Mapping[str, pd.DataFrame], finding: str = "") -> Figure:
    """E against training step, a panel a setting: single seeds as thin lines, their geometric mean as a thick one.

    `finding` is what the figure shows, its title.
    """
    figure, shown = panels(len(tables), 3.2)
    for axes, (name, table) in zip(shown, tables.items(), strict=True):
        axes.axhline(1.0, **GAUSSIAN)
        for optimizer in LABELS:
            wide = by_seed(table, optimizer, "excess")
            axes.plot(wide.index, wide, color=COLOURS[optimizer], linewidth=0.6, alpha=0.5)
            steps, middle, _, _ = _means(table[table["optimizer"] == optimizer], "step")
            axes.plot(steps, middle, marker=MARKERS[optimizer], markersize=5, linewidth=1.8, **line_of(optimizer))
        later = table[table["step"] > 0]["excess"]
        read = f"{int(later.notna().sum())} of {len(later)} read after step 0"
        axes.set(title=f"{PROBLEMS[name].title}\n{read}", xlabel="step", xlim=_margins(table["step"]))
    shown[0].set_ylabel("E")
    ratio_axis(shown[0])
    if finding:
        titled(figure, finding)
    handles = optimizer_keys(marked=True, markersize=5)
    return legend_below(figure, [*handles, key("single seeds", linewidth=0.6), key("Gaussian", **GAUSSIAN)])


def _margins(steps: pd.Series) -> tuple[float, float]:
    """Limits of an axis that shows all steps, also those without a value."""
    low, high = float(steps.min()), float(steps.max())
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def tail_indices(samples: Mapping[str, Array], boundary: float = 0.5) -> Figure:
    """Two estimators of the tail index gamma = 1 / alpha against the number of largest values they use.

    Above `boundary`, drawn dotted, the variance is infinite.
    """
    figure, axes = subplots(1, 2, 3.6, sharey=True)
    colours: Sequence[str] = (*OTHERS[:3], COLOURS["sgd"])
    handles: list[Any] = []
    for index, (label, sample) in enumerate(samples.items()):
        colour, dashes = colours[index % len(colours)], LINES[index % len(LINES)]
        k = thresholds(len(sample))
        for panel, function in zip(axes, (hill, moment_estimator), strict=True):
            index_at = function(sample, k)
            panel.fill_between(k, index_at.low, index_at.high, color=colour, alpha=0.18, linewidth=0)
            panel.plot(k, index_at.estimate, color=colour, linewidth=1.5, dashes=dashes)
        handles.append(key(label, colour, linewidth=1.5, dashes=dashes))
    for panel, title in zip(axes, ("Hill", "moment estimator"), strict=True):
        panel.axhline(boundary, **MARGIN)
        panel.axhline(0.0, color=GREY, linewidth=0.8)
        panel.set(title=title, xlabel="largest values used, k", xscale="log")
        low, high = panel.get_xlim()
        ladder = np.outer(10.0 ** np.arange(6), (1.0, 2.0, 3.0, 5.0) if high < 10 * low else (1.0, 3.0)).ravel()
        _plain(panel.xaxis, np.sort(ladder[(ladder >= low) & (ladder <= high)]))
    axes[0].set_ylabel("tail index γ = 1/α")
    return legend_below(figure, [*handles, key("infinite variance above", **MARGIN)])
