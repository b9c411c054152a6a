"""Adam against SGD: the gap along training and at several horizons, speed beside end losses, the worst prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from ...statistics import Interval, band, geometric_ratio
from ...training.history import History
from ..claims.common import arms, judged_losses
from ..claims.records import Verdict
from ..claims.rules import Keys, State, Unit, ratio_unit
from ..judged import COARSE_LOSS, LOSS, Judged, Tuning
from ..problems import PROBLEMS
from .words import listed

FAVOURS = {State.YES: "Adam", State.WEAK: "Adam", State.REV: "SGD"}
HORIZONS = (10, 5, 1)
"""The gap is told after the horizon divided by these."""
MUCH = 0.5
"""A share from which on one prompt rules a batch's loss."""


def agreements(verdict: Verdict) -> list[Unit]:
    """Ratios of steps whose state says whether they agree with those of losses; statistic: whom the steps favour.

    YES: both favour the same optimizer; REV: different ones; WEAK: only one of them decides; NULL: neither does.
    """
    ends = {unit.keys: unit for unit in verdict.units if unit.decides}
    found = []
    for unit in (unit for unit in verdict.units if not unit.decides):
        end = ends[unit.keys._replace(part=None)]
        first, last = FAVOURS.get(unit.state), FAVOURS.get(end.state)
        state = (State.YES if first else State.NULL) if first == last else State.REV if first and last else State.WEAK
        found.append(replace(unit, case=end.case, statistic=first or "neither", state=state))
    return found


def _logs(history: History, zero_loss: float, optimizer: str) -> pd.DataFrame:
    """Log typical losses along the run, by step and seed, none above the zero predictor's."""
    rows = history.metric(COARSE_LOSS)
    rows = rows[(rows["step"] <= history.steps) & (rows["optimizer"] == optimizer)]
    wide = rows.pivot(index="step", columns="seed", values="value")
    return pd.DataFrame(np.log(wide.where(wide < zero_loss, zero_loss)))


def gaps(judged: Judged) -> pd.DataFrame:
    """SGD's typical loss over Adam's along the training, at published and at best rates.

    Returns:
        Columns setting, reading, step, estimate, low, high: the geometric mean over seeds and its 95% interval.
    """
    parts = []
    for reading, histories in judged.histories.items():
        for name, history in histories.items():
            sgd, adam = (_logs(history, PROBLEMS[name].task.zero_loss, optimizer) for optimizer in ("sgd", "adam"))
            logs = (sgd - adam).to_numpy(np.float64)
            low, high = band(logs)
            numbers = {"step": sgd.index, "estimate": np.exp(logs.mean(-1)), "low": np.exp(low), "high": np.exp(high)}
            parts.append(pd.DataFrame({"setting": name, "reading": reading, **numbers}))
    columns = ["setting", "reading", "step", "estimate", "low", "high"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def searched(tuning: Tuning) -> Interval:
    """The gap that a search ends with: SGD's loss over Adam's, each at its best, on the tuning seeds."""
    ends, zero = tuning.losses[~tuning.losses["screened"]], PROBLEMS[tuning.setting].task.zero_loss
    found = []
    for optimizer in ("sgd", "adam"):
        best = tuning.best[optimizer]
        rows = ends[(ends["optimizer"] == optimizer) & (ends["lr"] == best.lr) & (ends["clip"] == best.clip)]
        losses = rows.set_index("seed")["loss"].sort_index()
        found.append(losses.where(losses < zero, zero).to_numpy(np.float64))
    return geometric_ratio(*found)


def marks(judged: Judged, short: Mapping[str, Tuning]) -> pd.DataFrame:
    """Single points beside :func:`gaps`: rates searched at a shorter horizon, and the tuned runs cooled down."""
    rows = []
    for name, history in judged.tuned.items():
        cooled = geometric_ratio(*arms(judged_losses(history, PROBLEMS[name].task.zero_loss, cooled=True), "loss"))
        last = int(history.metric(LOSS)["step"].max())
        rows.append((name, "tuned rates, cooled down", last, cooled))
    for name, tuning in short.items():
        steps = tuning.best["sgd"].steps
        if tuning.complete and steps < judged.tunings[name].best["sgd"].steps:
            rows.append((name, "rates best at that step, tuning seeds", steps, searched(tuning)))
    columns = ["setting", "reading", "step", "estimate", "low", "high"]
    return pd.DataFrame([(*row[:3], row[3].estimate, row[3].low, row[3].high) for row in rows], columns=columns)


def horizons(judged: Judged, reading: str = "tuned") -> list[Unit]:
    """The gap at the rates of a reading after a tenth, a fifth and all of the steps; the statistic is the step."""
    units = []
    for name, history in judged.histories[reading].items():
        sgd, adam = (_logs(history, PROBLEMS[name].task.zero_loss, optimizer) for optimizer in ("sgd", "adam"))
        for part in HORIZONS:
            measured = sgd.index.to_numpy(np.int64)
            step = int(measured[np.abs(measured - history.steps / part).argmin()])
            ratio = geometric_ratio(np.exp(sgd.loc[step]), np.exp(adam.loc[step]))
            keys = Keys((name,), step)
            units.append(ratio_unit(PROBLEMS[name].title, f"{step:,}", ratio, decides=False, keys=keys))
    return units


def moved(units: list[Unit]) -> list[str]:
    """The cases whose state is not the same at all horizons."""
    states: dict[str, set[State]] = {}
    for unit in units:
        states.setdefault(unit.case, set()).add(unit.state)
    return [case for case, own in states.items() if len(own) > 1]


def gap_title(units: list[Unit]) -> str:
    """What the gap along the training shows, in a line for a figure."""
    changing = moved(units)
    if not units:
        return ""
    where = f"depends on the step in {listed(changing)}" if changing else "is the same at all three steps"
    return f"At the best rates who is ahead {where}"


def title(verdict: Verdict) -> str:
    """What a reading's curves show, in a line for a figure: who ends lower in how many settings."""
    states = [unit.state for unit in verdict.units if unit.decides]
    ahead = {name: sum(FAVOURS.get(state) == name for state in states) for name in ("Adam", "SGD")}
    parts = [f"{name} ends lower in {count}" for name, count in ahead.items() if count]
    return f"{' and '.join(parts) or 'Neither is seen to end lower'} of {len(states)} settings" if states else ""


def without_clip(ratios: pd.DataFrame) -> str:
    """What leaving out the clip does to each optimizer in each setting, a line a setting, in Markdown.

    Args:
        ratios: from :func:`lintrans.paper.measure.ablations.ratios`.
    """
    lines = []
    for name, own in ratios[ratios["arm"].isin(["sgd, no clip", "adam, no clip"])].groupby("setting", sort=False):
        parts = []
        for row in own.to_dict("records"):
            optimizer = str(row["label"]).partition(",")[0]
            lost = f"; {row['lost']} of {row['seeds']} runs diverge" if row["lost"] else ""
            if not np.isfinite(row["low"]):
                parts.append(f"{optimizer} has no interval{lost}")
                continue
            words = (
                "needs it"
                if row["low"] > 1
                else "is better off without"
                if row["high"] < 1
                else "is not seen to need it"
            )
            parts.append(f"{optimizer} {words} ({row['estimate']:.2g}x the loss without a clip{lost})")
        lines.append(f"- {PROBLEMS[str(name)].title}: {'; '.join(parts)}.")
    return "\n".join(lines) or "Not measured at this scale."


def ruled(worst: pd.DataFrame) -> pd.DataFrame:
    """Medians over runs of the fixed batch's loss and its worst prompt's share, by setting; greatest shares first."""
    middle = worst.groupby("setting", sort=False)[["loss", "share"]].median()
    return middle.assign(much=middle["share"] >= MUCH).sort_values("share", ascending=False, kind="stable")
