"""Figures of practice: the five behaviours by network, and the matrix of proxies and networks."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ...statistics import band
from ...training.history import History
from ..claims.common import on_batches
from ..claims.rules import State
from ..claims.wording import NAMES
from ..judged import LOSS
from .noise import GAUSSIAN, MARGIN, ratio_axis
from .parts import by_seed, dot_key, key, legend_below, log_axis, nothing, optimizer_keys, panels, signed_axis, subplots
from .style import COLOURS, DOTTED, GREY, LABELS, OTHERS, line_of

ACROSS = 3
"""Panels in a row: three language models, three image networks."""
NONE = "not measured: no best rate inside the grid"
LOOK_OF = {True: (OTHERS[0], "o"), False: (OTHERS[2], "s")}
"""Colour and marker of the whole gradient, and of one layer."""

LOOKS = {
    State.YES: (OTHERS[0], "o"),
    State.WEAK: (OTHERS[2], "s"),
    State.NULL: (GREY, "D"),
    State.REV: (COLOURS["sgd"], "v"),
    State.UNDECIDED: (OTHERS[1], "P"),
}
"""Colour and marker of a state."""

Frames = Mapping[str, pd.DataFrame]


def gap_panels(histories: Mapping[str, History], metric: str = LOSS) -> Figure:
    """Loss against step, a panel a network: geometric mean over seeds with its 95% interval, SGD and Adam."""
    if not histories:
        return nothing(NONE)
    figure, shown = panels(len(histories), 2.5, sharey=False, columns=ACROSS)
    for axes, (name, history) in zip(shown, histories.items(), strict=True):
        rows = history.metric(metric)
        rows = rows[rows["step"] <= history.steps]
        for optimizer in LABELS:
            values = by_seed(rows, optimizer)
            with np.errstate(divide="ignore"):
                logs = np.log(values.to_numpy(np.float64))
            low, high = (np.exp(edge) for edge in band(logs))
            axes.fill_between(values.index, low, high, color=COLOURS[optimizer], alpha=0.22, linewidth=0)
            axes.plot(values.index, np.exp(logs.mean(-1)), linewidth=1.6, **line_of(optimizer))
        log_axis(axes, "y")
        axes.set(title=name, xlabel="step")
    shown[0].set_ylabel("training loss")
    interval = Patch(color=GREY, alpha=0.22, linewidth=0, label="95% interval of the geometric mean")
    return legend_below(figure, [*optimizer_keys(), interval])


def noise_dots(tables: Frames, margin: float, whole: str) -> Figure:
    """E of the noise, a column a network: every initialization's, of the whole gradient and of each layer."""
    if not tables:
        return nothing("no network was measured")
    figure, (axes,) = panels(1, 3.4)
    axes.axhline(1.0, **GAUSSIAN)
    axes.axhline(margin, **MARGIN)
    for column, table in enumerate(tables.values()):
        for is_whole, own in table.groupby(table["layer"] == whole):
            colour, marker = LOOK_OF[bool(is_whole)]
            x = column + np.linspace(-0.16, 0.16, len(own)) if len(own) > 1 else np.array([float(column)])
            size, alpha = (6, 0.9) if is_whole else (3, 0.45)
            axes.plot(x, own["excess"], marker, color=colour, markersize=size, alpha=alpha, linestyle="none")
    axes.set_xticks(range(len(tables)), list(tables))
    axes.set_xlim(-0.5, len(tables) - 0.5)
    axes.grid(axis="x", visible=False)
    axes.set_ylabel("E")
    ratio_axis(axes)
    names = {True: "an initialization, whole gradient", False: "the same, one layer"}
    dots = [dot_key(names[each], mark, 5, colour) for each, (colour, mark) in LOOK_OF.items()]
    return legend_below(figure, [*dots, key("Gaussian", **GAUSSIAN), key(f"counts as heavier ({margin:g})", **MARGIN)])


def layer_ratios(ratios: pd.DataFrame) -> Figure:
    """R_med of SGD over that of Adam inside each layer, a panel a network; a row a layer, geometric mean and interval.

    Args:
        ratios: columns network, layer, estimate, low, high.
    """
    if ratios.empty:
        return nothing(NONE)
    names = list(dict.fromkeys(ratios["network"]))
    tallest = int(ratios.groupby("network").size().max())
    figure, shown = panels(len(names), 0.9 + 0.17 * tallest, sharey=False, columns=ACROSS)
    for axes, name in zip(shown, names, strict=True):
        own = ratios[ratios["network"] == name].reset_index(drop=True)
        axes.axvline(1.0, color=GREY, linewidth=1.0)
        axes.hlines(own.index, own["low"], own["high"], color=OTHERS[0], linewidth=1.3)
        axes.plot(own["estimate"], own.index, "o", color=OTHERS[0], markersize=4, linestyle="none")
        axes.set_yticks(own.index, own["layer"], fontsize="x-small")
        axes.invert_yaxis()
        axes.set(title=name, xlabel="R_med, SGD over Adam")
        log_axis(axes, "x", 3)
    return figure


def smoothness_panels(frames: Frames) -> Figure:
    """V'Hv along realised steps, signed, a panel a network: median over seeds and evaluation sets, middle half."""
    if not frames:
        return nothing(NONE)
    figure, shown = panels(len(frames), 2.5, sharey=False, columns=ACROSS)
    for axes, (name, frame) in zip(shown, frames.items(), strict=True):
        rows = on_batches(frame[frame["metric"] == "directional_smoothness"])
        for optimizer in LABELS:
            quarters = (
                rows[rows["optimizer"] == optimizer].groupby("step")["value"].quantile(np.array([0.25, 0.5, 0.75]))
            )
            table = quarters.unstack()
            if table.empty:
                continue
            axes.fill_between(table.index, table[0.25], table[0.75], color=COLOURS[optimizer], alpha=0.25, linewidth=0)
            axes.plot(table.index, table[0.5], linewidth=1.4, **line_of(optimizer))
        signed_axis(axes, rows["value"].to_numpy(np.float64), 5)
        axes.autoscale(axis="y")
        axes.tick_params(axis="y", labelsize="small")
        axes.set(title=name, xlabel="step")
    shown[0].set_ylabel("v'Hv")
    middle = Patch(color=GREY, alpha=0.3, linewidth=0, label="middle half of seeds and sets")
    return legend_below(figure, [*optimizer_keys(), middle])


def norm_panels(frames: Frames, metric: str = "spectral_norm") -> Figure:
    """A measure of curvature against the gradient's norm along Adam's runs, coloured by step, a panel a network.

    v'Hv is signed: its axis is logarithmic on both sides of zero.
    """
    if not frames:
        return nothing(NONE)
    figure, shown = panels(len(frames), 2.5, sharey=False, columns=ACROSS)
    last = max((int(frame["step"].max()) for frame in frames.values() if len(frame)), default=1)
    colours = Normalize(0, last)
    for axes, (name, frame) in zip(shown, frames.items(), strict=True):
        own = on_batches(frame[frame["optimizer"] == "adam"])
        wide = own.pivot(index=["seed", "batch", "step"], columns="metric", values="value")
        wide = wide.reindex(columns=["gradient_norm", metric]).dropna().reset_index()
        places = wide["gradient_norm"], wide[metric]
        axes.scatter(*places, c=wide["step"], cmap="viridis", norm=colours, s=9, linewidths=0, alpha=0.8)
        log_axis(axes, "x", 4)
        if (wide[metric] <= 0).any():
            signed_axis(axes, wide[metric].to_numpy(np.float64), 5)
            axes.autoscale(axis="y")
        else:
            log_axis(axes, "y")
        axes.set(title=name, xlabel="gradient norm")
    shown[0].set_ylabel("spectral norm of H" if metric == "spectral_norm" else "v'Hv along Adam's steps")
    figure.colorbar(ScalarMappable(colours, "viridis"), ax=shown, label="step", shrink=0.9)
    return figure


def effect_matrix(cells: pd.DataFrame, columns: Mapping[str, str], networks: int) -> Figure:
    """Standardized effects with 95% intervals: a panel a behaviour, a column a model; one shared signed axis.

    Args:
        cells: columns column, behaviour, effect, low, high, state.
        columns: titles by column, in order.
        networks: how many of the last ones are networks of practice, shaded.
    """
    if cells.empty:
        return nothing("no verdict on proxies or networks is kept at this scale")
    behaviours = list(dict.fromkeys(cells["behaviour"]))
    figure, shown = subplots(len(behaviours), 1, 0.9 + 1.25 * len(behaviours), sharex=True, squeeze=False)
    places = {name: place for place, name in enumerate(columns)}
    for axes, behaviour in zip(shown[:, 0], behaviours, strict=True):
        axes.axvspan(len(columns) - networks - 0.5, len(columns) - 0.5, color=GREY, alpha=0.1, linewidth=0)
        axes.axhline(0.0, color=GREY, linewidth=1.0)
        axes.axhline(1.0, color=GREY, linewidth=1.0, linestyle=DOTTED)
        own = cells[cells["behaviour"] == behaviour]
        for row in own.to_dict("records"):
            colour, marker = LOOKS[State(row["state"])]
            x = places[row["column"]]
            axes.plot([x, x], [row["low"], row["high"]], color=colour, linewidth=1.5)
            axes.plot(x, row["effect"], marker, color=colour, markersize=6)
        for name, x in places.items():
            if name not in set(own["column"]):
                axes.text(x, 0.5, "–", ha="center", va="center", color=GREY)
        axes.set_yscale("symlog", linthresh=1.0)
        ticks = [-10, -3, -1, 0, 1, 3, 10]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks], fontsize="x-small")
        axes.minorticks_off()
        axes.set_ylabel(textwrap.fill(behaviour, 14), fontsize="small")
        axes.grid(axis="x", visible=False)
    shown[-1, 0].set_xticks(range(len(columns)), list(columns.values()), rotation=30, ha="right")
    shown[-1, 0].set_xlim(-0.5, len(columns) - 0.5)
    met = [state for state in LOOKS if state in set(cells["state"])]
    handles: list[Any] = [dot_key(NAMES[state], LOOKS[state][1], 6, LOOKS[state][0]) for state in met]
    handles += [key("least clear effect", linestyle=DOTTED, linewidth=1.0)]
    return legend_below(figure, [*handles, Patch(color=GREY, alpha=0.1, linewidth=0, label="networks of practice")])


def distance_bars(found: pd.DataFrame) -> Figure:
    """Distance of every model to a real Transformer with its bootstrap interval, nearest on top."""
    if found.empty:
        return nothing("no distance is known at this scale")
    figure, (axes,) = panels(1, 0.9 + 0.28 * len(found))
    for place, row in enumerate(found.to_dict("records")):
        colour, marker = LOOK_OF[bool(row["proxy"])]
        axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=1.5)
        axes.plot(row["distance"], place, marker, color=colour, markersize=6)
    axes.set_yticks(range(len(found)), found["title"])
    axes.invert_yaxis()
    axes.set_xlabel("distance to lm_softmax, in least clear effects")
    axes.set_xlim(left=0.0)
    names = {True: "proxy", False: "network of practice"}
    return legend_below(figure, [dot_key(names[each], mark, 6, colour) for each, (colour, mark) in LOOK_OF.items()])
