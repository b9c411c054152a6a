"""Tables and numbers of the page on nonlinear regression."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from ...training.history import History
from ..claims import c3
from ..claims.c15 import NAME
from ..claims.c16 import Behaviour
from ..claims.common import arms, judged_losses, on_batches
from ..problems import NONLINEAR
from ..protocol import COARSE_LOSS
from ..scales import LABELS
from .common import unit_text

NOTEBOOK = {1: (1.07, 0.40), 750: (5.41, 3.96), 1250: (6.61, 2.54)}
"""Mean and standard deviation over five seeds of R_med, SGD over Adam, as the paper's public notebook prints them.

Its first is labelled step 0, but parameters are saved after the step; the other two are off by one step as well.
"""
NOTEBOOK_SEEDS = 5


def numbers(behaviour: Behaviour) -> str:
    """The cases that decide on a behaviour, with their intervals and states."""
    units = [unit for unit in behaviour.units if unit.decides]
    cases = [unit.statistic if unit.keys.step is None else f"step {unit.keys.step:,}" for unit in units]
    return "; ".join(f"{case} {unit_text(unit)}" for case, unit in zip(cases, units, strict=True))


def end_losses(history: History) -> dict[str, float]:
    """Median typical losses at the end, by optimizer."""
    losses = judged_losses(history, NONLINEAR.task.zero_loss).groupby("optimizer")["loss"].median()
    return {name: losses[name] for name in LABELS}


def catch_up(history: History) -> tuple[int, float, int | None]:
    """A tenth of the horizon, Adam's median loss there, and the first step at which SGD's is as low, if any."""
    rows = history.metric(COARSE_LOSS)
    middle = rows[rows["step"] <= history.steps].groupby(["optimizer", "step"])["value"].median().unstack("optimizer")
    early = int(middle.index[middle.index >= 0.1 * history.steps][0])
    level = float(middle["adam"][early])
    reached = middle.index[middle["sgd"] <= level]
    return early, level, int(reached[0]) if len(reached) else None


def ratios(frame: pd.DataFrame) -> pd.DataFrame:
    """R_med on the fixed batch, SGD over Adam: mean (deviation) over seeds beside the notebook's, and both medians."""
    rows, frame = [], on_batches(frame, fixed=True)
    for step in sorted(frame["step"].unique()):
        found = {row.metric: row for row in c3.ratios({NAME: frame}, (int(step),))}
        if c3.PUBLIC not in found:
            continue
        own, (mean, deviation) = found[c3.PUBLIC], NOTEBOOK.get(int(step), (math.nan, math.nan))
        line = {"step": f"{step:,}"}
        for optimizer, label in LABELS.items():
            at = frame[(frame["step"] == step) & (frame["optimizer"] == optimizer) & (frame["metric"] == c3.PUBLIC)]
            line[f"{label}: median R_med"] = f"{at['value'].median():.3g}"
        for metric, words in c3.CONVENTIONS.items():
            if metric in found:
                line[f"ratio, {words}"] = _spread(found[metric].mean, found[metric].deviation)
        known = not math.isnan(mean)
        limit = 2 * math.sqrt(own.deviation**2 / own.seeds + deviation**2 / NOTEBOOK_SEEDS)
        line["notebook"] = f"{mean:g} ({deviation:g})" if known else "no number"
        agrees = "yes" if abs(own.mean - mean) < limit else "no"
        rows.append(line | {"agrees": agrees if known and own.seeds > 1 else "no number"})
    return pd.DataFrame(rows)


def late(frame: pd.DataFrame) -> tuple[int, int, int]:
    """The last probe, the seeds in which Adam's R_med is the larger there (fixed batch), and all that have both."""
    frame = on_batches(frame, fixed=True)
    last = int(frame["step"].max())
    sgd, adam = arms(frame[(frame["step"] == last) & (frame["metric"] == c3.PUBLIC)])
    return last, int((adam > sgd).sum()), int(np.isfinite(adam - sgd).sum())


def _spread(mean: float, deviation: float) -> str:
    """A mean with its standard deviation, which one seed does not have."""
    if math.isnan(mean):
        return "not measured"
    return f"{mean:.2f}" if math.isnan(deviation) else f"{mean:.2f} ({deviation:.2f})"
