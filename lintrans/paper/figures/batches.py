"""Figures of batches: gaps and tails against the batch, ends three ways, rates under clipping and normalization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...statistics import geometric_ratio
from ..claims.common import Bounded
from ..problems import PROBLEMS
from .parts import dot_key, key, legend_below, panels
from .style import COLOURS, DASHED, GREY, LABELS, LINES, MARKERS, OTHERS

SHAPES = ("o", "s", "^", "D")


def batch_panels(
    gaps: Mapping[str, Mapping[int, Bounded]], tails: Mapping[str, pd.DataFrame], margin: float, title: str
) -> Figure:
    """The gap in steps and the noise's E against the batch, a line a setting; bounds are hollow."""
    figure, (left, right) = panels(2, 3.4, sharey=False)
    for row, name in enumerate(dict.fromkeys((*gaps, *tails))):
        style: dict[str, Any] = {"color": OTHERS[row], "dashes": LINES[row], "linewidth": 1.6}
        points = [(batch, found, found.ratio()) for batch, found in gaps.get(name, {}).items()]
        own = [(batch, found, ratio) for batch, found, ratio in points if ratio is not None]
        left.plot([batch for batch, _, _ in own], [ratio.estimate for _, _, ratio in own], **style)
        for batch, _, ratio in own:
            face = "none" if ratio.bound else OTHERS[row]
            left.plot([batch] * 2, [ratio.low, ratio.high], color=OTHERS[row], linewidth=1.2)
            left.plot(batch, ratio.estimate, SHAPES[row], color=OTHERS[row], markerfacecolor=face)
        if name in tails:
            means = np.exp(np.log(tails[name]).mean())
            right.plot(means.index, means, marker=SHAPES[row], **style)
    for axes in (left, right):
        axes.axhline(1.0, color=GREY, linewidth=1.0, linestyle=DASHED)
        axes.set(xscale="log", yscale="log", xlabel="batch, prompts a step")
    left.axhspan(1 / margin, margin, color=GREY, alpha=0.12, linewidth=0)
    left.set_ylabel("steps to target, SGD / Adam")
    right.set_ylabel("E, tail of the noise")
    figure.suptitle(title)
    names = list(dict.fromkeys((*gaps, *tails)))
    handles = [
        key(PROBLEMS[name].title, color=OTHERS[row], marker=SHAPES[row], dashes=LINES[row])
        for row, name in enumerate(names)
    ]
    return legend_below(figure, [*handles, dot_key("only a bound", "o", 6, markerfacecolor="none")])


def end_dots(table: pd.DataFrame, ways: Mapping[str, str], title: str) -> Figure:
    """End losses of both optimizers three ways, single seeds pale, geometric means dark."""
    figure, (axes,) = panels(1, 3.2)
    for place, way in enumerate(ways):
        for shift, name in ((-0.12, "sgd"), (0.12, "adam")):
            losses = table[table["optimizer"] == name][way].to_numpy(np.float64)
            at = np.full(len(losses), place + shift)
            axes.plot(at, losses, MARKERS[name], color=COLOURS[name], alpha=0.35, markersize=4)
            axes.plot(place + shift, np.exp(np.log(losses).mean()), MARKERS[name], color=COLOURS[name], markersize=9)
    axes.set_xticks(range(len(ways)), list(ways.values()))
    axes.set(yscale="log", ylabel="typical loss at the end", title=title, xlim=(-0.5, len(ways) - 0.5))
    return legend_below(figure, [dot_key(LABELS[n], MARKERS[n], 8, color=COLOURS[n]) for n in ("sgd", "adam")])


def rate_curves(table: pd.DataFrame) -> Figure:
    """End loss against the rate, a panel a setting, a line an arm: medians over seeds."""
    names = list(dict.fromkeys(table["setting"]))
    arms = list(dict.fromkeys(table["arm"]))
    figure, shown = panels(len(names), 3.2)
    for axes, name in zip(shown, names, strict=True):
        for row, arm in enumerate(arms):
            own = table[(table["setting"] == name) & (table["arm"] == arm)].groupby("lr")["loss"].median()
            axes.plot(own.index, own, marker=SHAPES[row], color=OTHERS[row], dashes=LINES[row])
        axes.set(title=PROBLEMS[name].title, xscale="log", yscale="log", xlabel="learning rate")
    shown[0].set_ylabel("typical loss at the end")
    handles = [key(arm, color=OTHERS[r], marker=SHAPES[r], dashes=LINES[r]) for r, arm in enumerate(arms)]
    return legend_below(figure, handles)


def robust_widths(table: pd.DataFrame, within: float = 2.0) -> pd.DataFrame:
    """How many rates of the grid end within a factor of the arm's own best: columns setting, arm, rates, best."""
    medians = table.groupby(["setting", "arm", "lr"], sort=False)["loss"].median().reset_index()
    rows = []
    for (name, arm), own in medians.groupby(["setting", "arm"], sort=False):
        good = int((own["loss"] <= within * own["loss"].min()).sum())
        rows.append((PROBLEMS[str(name)].title, arm, good, own["loss"].min()))
    return pd.DataFrame(rows, columns=["setting", "arm", "rates", "best"])


def equal_table(table: pd.DataFrame) -> pd.DataFrame:
    """SGD's end loss over Adam's at equal prompts, a row a setting, a column a batch, geometric means."""
    rows: dict[str, dict[str, str]] = {}
    for (name, batch), own in table.groupby(["setting", "batch"], sort=False):
        wide = own.pivot(index="seed", columns="optimizer", values="loss")
        wide = pd.DataFrame(wide[np.isfinite(wide).all(axis=1)])
        ratio = geometric_ratio(wide["sgd"].to_numpy(), wide["adam"].to_numpy()) if len(wide) else None
        text = f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]" if ratio else "diverged"
        title = PROBLEMS[str(name)].title
        rows.setdefault(title, {"setting": title})[f"batches of {batch:,}"] = text
    return pd.DataFrame(rows.values())
