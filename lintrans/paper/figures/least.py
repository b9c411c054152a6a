"""Figures of the least model: the surface of two layers with both paths, plateaus and drops, the map."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..judged import COARSE_LOSS
from ..measure.least import Trained, surface
from .parts import by_seed, dot_key, key, legend_below, optimizer_keys, panels
from .style import COLOURS, DASHES, GREY, LABELS, MARKERS, OTHERS, line_of

SHAPES = ("o", "s", "^")


def surface_and_drops(two: Trained, three: Trained, title: str) -> Figure:
    """Left the log loss of two layers over q1 and q2 with a path of each optimizer; right three layers' losses."""
    figure, (left, right) = panels(2, 3.6, sharey=False)
    runs = two.history.runs
    seed = int(runs["seed"].min())
    order = sorted(two.history.snapshots)
    paths = {}
    for name in ("sgd", "adam"):
        run = int(runs[(runs["optimizer"] == name) & (runs["seed"] == seed)]["run"].iloc[0])
        paths[name] = np.stack([np.asarray(two.history.parameters(step)[run]) for step in order])
    every = np.concatenate(list(paths.values()))
    q = every[:, 1:]
    centre, extent = (q.max(0) + q.min(0)) / 2, float(np.ptp(q, axis=0).max()) / 2 + 0.4
    first, second, loss = surface((float(centre[0]), float(centre[1])), extent, 80, float(np.median(every[:, 0])))
    shades = left.contourf(first, second, np.log10(loss), levels=14, cmap="Greys", alpha=0.6)
    figure.colorbar(shades, ax=left)
    for name, path in paths.items():
        left.plot(path[:, 1], path[:, 2], marker=MARKERS[name], markersize=3, color=COLOURS[name], linewidth=1.2)
    left.set(xlabel="$q_1$", ylabel="$q_2$", title="two layers: log10 loss, paths")
    rows = three.history.metric(COARSE_LOSS)
    for name in ("sgd", "adam"):
        table = by_seed(rows, name)
        right.plot(table.index, table, linewidth=0.5, alpha=0.35, color=COLOURS[name])
        right.plot(table.index, table.median(axis=1), linewidth=2.0, **line_of(name))
    right.axhline(three.target, color=GREY, linewidth=1.0)
    right.set(yscale="log", xlabel="step", ylabel="loss of the population", title="three layers")
    figure.suptitle(title)
    return legend_below(figure, optimizer_keys("{}"))


def plateaus_and_drops(cells: Mapping[tuple[str, float, float], Trained], rates: Mapping[str, float]) -> Figure:
    """Losses of three layers by step at one rate for each optimizer, a panel a form, a colour an initial scale.

    Args:
        cells: of the map; those whose covariates have second moment 1 are drawn, medians over all seeds.
        rates: by optimizer.
    """
    shown = {(form, size): cell for (form, moment, size), cell in cells.items() if moment == 1.0}
    forms, sizes = (list(dict.fromkeys(each)) for each in zip(*shown, strict=True))
    figure, all_axes = panels(len(forms), 3.2)
    for axes, form in zip(all_axes, forms, strict=True):
        for place, size in enumerate(sizes):
            rows = shown[form, size].history.metric(COARSE_LOSS)
            for name, rate in rates.items():
                middle = by_seed(rows[rows["lr"] == rate], name).median(axis=1)
                axes.plot(middle.index, middle, **(line_of(name) | {"color": OTHERS[place]}), linewidth=1.6)
        axes.set(yscale="log", xlabel="step", title=form)
    all_axes[0].set_ylabel("loss of the population")
    scales = [key(f"initial scale {size:g}", OTHERS[place], linewidth=1.8) for place, size in enumerate(sizes)]
    dashes = [key(LABELS[name], GREY, linewidth=1.8, dashes=DASHES[name]) for name in rates]
    return legend_below(figure, [*scales, *dashes])


def map_panels(table: pd.DataFrame, title: str) -> Figure:
    """The gap in steps against the initial scale, and against the factor between blocks, a mark a cell."""
    figure, (left, right) = panels(2, 3.4)
    means = table.groupby(["form", "moment", "scale"])[["predictor", "gap"]].mean().reset_index()
    forms = list(dict.fromkeys(table["form"]))
    for row, form in enumerate(forms):
        own = means[means["form"] == form]
        for _, line in own.groupby("moment"):
            left.plot(line["scale"], np.exp(line["gap"]), marker=SHAPES[row], color=OTHERS[row], linewidth=1.0)
        right.plot(np.exp(own["predictor"]), np.exp(own["gap"]), SHAPES[row], color=OTHERS[row])
    for axes in (left, right):
        axes.axhline(1.0, color=GREY, linewidth=1.0)
        axes.set(xscale="log", yscale="log")
    left.set(xlabel="initial scale", ylabel="steps to target, SGD / Adam")
    right.set_xlabel("factor between blocks, SGD / Adam")
    figure.suptitle(title)
    return legend_below(figure, [dot_key(f, SHAPES[r], 7, color=OTHERS[r]) for r, f in enumerate(forms)])
