"""Tables and numbers of the page on attention."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import torch

from ...models.attention import reach
from ...random import Stream
from ...training.history import History
from ..claims.c13 import COMPARED, DEFINITIONS, LINEAR, LOSSES, end_losses, loss_ratio, steps_to_end_loss
from ..claims.c16 import Behaviour
from ..claims.records import interval_text
from ..claims.rules import Unit, ratio_state
from ..problems import ATTENTION_TITLES, PROBLEMS
from ..protocol import Tuning
from ..scales import LABELS
from .behaviours import Behaviours, word
from .common import at_edge

Histories = Mapping[str, History]


def reachable(prompts: int = 20_000) -> tuple[float, float]:
    """The factor within which the public code's sparse softmax can answer, and the least loss that leaves."""
    model, task = PROBLEMS[DEFINITIONS[0]].model, PROBLEMS[DEFINITIONS[0]].task
    share = reach(model.parameter_shape[0], task.n)
    sample = task.sample(prompts, stream=Stream.EVALUATION, dtype=torch.float64)
    largest = sample.responses[:, :-1].abs().amax(-1)
    return share, float(((sample.target.abs() - share * largest).clamp_min(0) ** 2).mean())


def summary(histories: Histories, tunings: Mapping[str, Tuning], names: tuple[str, ...]) -> pd.DataFrame:
    """Best rate, end loss (median over seeds) and its ratio to linear attention's, a row a model and optimizer."""
    rows = []
    for name in names:
        for optimizer, label in LABELS.items():
            best, loss = tunings[name].best[optimizer], "not measured"
            if name in histories:
                loss = f"{end_losses(name, histories[name], optimizer).median():.3g}"
            row = {
                "attention": PROBLEMS[name].title,
                "optimizer": label,
                "best rate": f"{best.lr:g}{at_edge(best)}",
                "end loss": loss,
            }
            if name in COMPARED:
                ratio = loss_ratio(name, COMPARED[name], histories, optimizer)
                row |= {"over linear attention": interval_text(ratio), "state": str(ratio_state(ratio))}
            rows.append(row)
    return pd.DataFrame(rows).fillna("")


def overtaken(name: str, histories: Histories, optimizer: str) -> str:
    """When linear attention gets below the end loss of another kind."""
    steps = steps_to_end_loss(name, LINEAR, histories, optimizer)
    there, lost = steps[~steps["censored"]]["steps"], int(steps["censored"].sum())
    if there.empty:
        return "never, in any seed"
    return f"after {there.median():,.0f} steps (median)" + (f", {lost} of {len(steps)} seeds never" if lost else "")


def loss_units(cases: Mapping[str, tuple[str, str]], histories: Histories) -> list[Unit]:
    """Ratios of the end losses of two problems by case, for each optimizer."""
    arms = [(case, pair, *arm) for case, pair in cases.items() for arm in LABELS.items()]
    found = [(f"{case}, {label}", loss_ratio(*pair, histories, optimizer)) for case, pair, optimizer, label in arms]
    return [Unit(case, LOSSES, ratio, ratio_state(ratio)) for case, ratio in found]


def survival(table: Behaviours) -> dict[str, str]:
    """How the behaviours of each other kind of attention compare with those of linear attention."""
    linear = table[ATTENTION_TITLES[LINEAR]]
    lines = {}
    for name in (name for name, row in table.items() if row is not linear):
        groups: dict[str, list[str]] = {}
        for claim, behaviour in table[name].items():
            groups.setdefault(_compared(behaviour, linear[claim]), []).append(f"{claim} ({word(behaviour)})")
        lines[name] = "; ".join(f"{how} {', '.join(claims)}" for how, claims in groups.items())
    return lines


def _compared(behaviour: Behaviour, linear: Behaviour) -> str:
    if behaviour.missing or linear.missing:
        return "not compared:"
    if behaviour.strength is None:
        return "undecided:"
    if linear.strength is None:
        return "undecided for linear attention:"
    if behaviour.strength == linear.strength:
        return "keeps" if behaviour.strength else "lacks as well"
    return "**has less of**" if behaviour.strength < linear.strength else "**has more of**"
