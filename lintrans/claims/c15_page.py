"""What the page on C15 says: sentences and tables, made from the numbers of :mod:`.c15`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..history import History
from ..pages.smaller import word
from ..problems import NONLINEAR
from ..protocol import COARSE_LOSS
from ..settings import LABELS
from . import c1_page, c3
from .c15 import DECIDING, NAME
from .c16 import FEATURES, Behaviour
from .common import arms, floor, judged_losses
from .records import interval_text

NOTEBOOK = {1: (1.07, 0.40), 750: (5.41, 3.96), 1250: (6.61, 2.54)}
"""Mean and standard deviation over five seeds of R_med, SGD over Adam, as the paper's public notebook prints them.

Its first is labelled step 0, but parameters are saved after the step; the other two are off by one step as well.
"""
NOTEBOOK_SEEDS = 5
NOTEBOOK_LOGS = {"adam": (-7.0, -7.0), "sgd": (-4.2, -4.6)}
"""About the logarithm of the training loss in the notebook's figure from step 1000 on, and at its end."""


def describe_sizes() -> str:
    """The networks and the numbers of parameters, in a sentence."""
    task, model = NONLINEAR.task, NONLINEAR.model
    sizes = [len(block) for block in model.blocks]
    network, (whole,) = sum(sizes[:4]), model.parameter_shape
    return (
        f"The trained network has {network} parameters and the Transformer {whole - network}, {whole} in all. The zero "
        f"predictor has the loss $f_0 = \\mathbb{{E}}\\norm{{g(x)}}^2 = {task.zero_loss:.3g}$ on this $g$."
    )


def describe(found: Mapping[str, Behaviour]) -> str:
    """Each behaviour with its verdict and its numbers, in Markdown."""
    lines = []
    for claim, behaviour in found.items():
        numbers = "; ".join(
            f"{unit.case.removeprefix(claim).removeprefix(', ') or unit.statistic} {interval_text(unit.interval)} "
            f"{unit.state}"
            for unit in behaviour.units
            if unit.decides
        )
        beside = "" if claim in DECIDING else " (beside the verdict)"
        lines.append(f"- {claim}, {FEATURES[claim]}{beside}: **{word(behaviour)}**. {numbers}.")
    return "\n".join(lines)


def describe_losses(history: History) -> str:
    """Where the two optimizers end, and what the notebook's figure shows, in a sentence or two."""
    losses = judged_losses(history, NONLINEAR.task.zero_loss)
    parts = [
        f"{LABELS[name]} {own['loss'].median():.2e} (logarithm {math.log(own['loss'].median()):.1f}; notebook: about "
        f"{NOTEBOOK_LOGS[name][0]:g} from step 1,000 on and {NOTEBOOK_LOGS[name][1]:g} at step 10,000)"
        for name, own in ((name, losses[losses["optimizer"] == name]) for name in LABELS)
    ]
    return (
        f"Typical loss at step {history.steps:,}, median over seeds: {'; '.join(parts)}. The notebook's $g$ is another "
        "draw, so that levels need not agree. The least typical loss of any run, the cooldown included, is "
        f"{floor(history):.2e}."
    )


def describe_clipping(history: History) -> str:
    """How often the clip acted, in Markdown."""
    return c1_page.describe_steps({NAME: history})


def ratio_table(frame: pd.DataFrame) -> pd.DataFrame:
    """R_med, SGD over Adam: mean (standard deviation) over seeds beside the notebook's, and both medians."""
    rows = []
    for step in sorted(frame["step"].unique()):
        found = {row.metric: row for row in c3.ratios({NAME: frame}, (int(step),))}
        if c3.PUBLIC not in found:
            continue
        own, theirs = found[c3.PUBLIC], NOTEBOOK.get(int(step))
        line = {"step": f"{step:,}"}
        for optimizer, label in LABELS.items():
            at = frame[(frame["step"] == step) & (frame["optimizer"] == optimizer) & (frame["metric"] == c3.PUBLIC)]
            line[f"{label}: median R_med"] = f"{at['value'].median():.3g}"
        for metric, words in c3.CONVENTIONS.items():
            if metric in found:
                line[f"ratio, {words}"] = f"{found[metric].mean:.2f} ({found[metric].deviation:.2f})"
        line["notebook"] = f"{theirs[0]:g} ({theirs[1]:g})" if theirs else "no number"
        agrees = "no number"
        if theirs and own.seeds > 1:
            limit = 2 * math.sqrt(own.deviation**2 / own.seeds + theirs[1] ** 2 / NOTEBOOK_SEEDS)
            agrees = "yes" if abs(own.mean - theirs[0]) < limit else "no"
        rows.append(line | {"agrees": agrees})
    return pd.DataFrame(rows)


def describe_late(frame: pd.DataFrame) -> str:
    """Whose R_med is the larger at the last probe, in a sentence."""
    last = int(frame["step"].max())
    sgd, adam = arms(frame[(frame["step"] == last) & (frame["metric"] == c3.PUBLIC)])
    larger = int((adam > sgd).sum())
    return (
        f"In the notebook Adam's $R_\\mathrm{{med}}$ is the larger one near step 10,000. Here, at step {last:,}, it is "
        f"the larger in {larger} of {int(np.isfinite(adam - sgd).sum())} seeds."
    )


def describe_speed(history: History) -> str:
    """When SGD's median curve reaches what Adam has at a tenth of the horizon, in a sentence."""
    rows = history.metric(COARSE_LOSS)
    rows = rows[rows["step"] <= history.steps]
    middle = rows.groupby(["optimizer", "step"])["value"].median().unstack("optimizer")
    early = middle.index[middle.index >= 0.1 * history.steps][0]
    level = float(middle.loc[early, "adam"])
    reached = middle.index[middle["sgd"] <= level]
    when = f"at step {reached[0]:,}" if len(reached) else f"not within {history.steps:,} steps"
    return (
        f"What Adam has after {early:,} steps, a typical loss of {level:.2e}, SGD reaches {when} (medians over seeds)."
    )
