"""The picture of a prompt and of one attention layer, softmax beside linear."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from .parts import subplots
from .style import COLOURS, GREY, OTHERS

Array = npt.NDArray[np.float64]


def prompt_and_layer(tokens: Array, linear: Array, softmax: Array, title: str = "") -> Figure:
    """Z_0 as a map of its entries, and below each example its weight in a linear and in a softmax layer.

    Args:
        tokens: [d + 1, n + 1]; the entry to be filled in is NaN.
        linear: weights of the n responses in the answer of a linear layer.
        softmax: the same of a softmax layer.
        title: stands above all.
    """
    rows, columns = tokens.shape
    figure, axes = subplots(3, 1, 4.8, sharex=True, height_ratios=[2.2, 1, 1])
    top, *below = axes
    most = float(np.nanmax(np.abs(tokens)))
    image = top.imshow(tokens, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
    figure.colorbar(image, ax=top, fraction=0.03, pad=0.01, label="entry of $Z_0$")
    top.axhline(rows - 1.5, color="black", linewidth=1.2)
    top.axvline(columns - 1.5, color="black", linewidth=1.2)
    top.text(columns - 1, rows - 1, "?", ha="center", va="center", fontsize="large", fontweight="bold")
    top.set_yticks([(rows - 2) / 2, rows - 1], ["covariates $x$", "response $y$"])
    top.set_xticks([*range(columns - 1), columns - 1], [*map(str, range(1, columns)), "new"], fontsize="small")
    top.tick_params(length=0, labelbottom=True)
    for panel, weights, colour, name in (
        (below[0], linear, COLOURS["adam"], "linear"),
        (below[1], softmax, OTHERS[0], "softmax"),
    ):
        panel.bar(range(len(weights)), weights, color=colour, width=0.7)
        panel.axhline(0, color=GREY, linewidth=0.8)
        panel.set_ylabel(f"{name}\nweight")
        panel.grid(axis="x", visible=False)
    below[1].set_xlabel("example")
    for panel in axes:
        panel.grid(visible=False, axis="x")
    top.grid(visible=False)
    figure.suptitle(title)
    return figure
