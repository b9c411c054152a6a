"""Tables and numbers of the page on attention."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import pandas as pd

from ...training.history import History
from ..claims import c13
from ..claims.c13 import COMPARED, LOSSES, end_losses, loss_ratio
from ..claims.common import judged_losses
from ..claims.records import Verdict, interval_text
from ..claims.rules import Unit, ratio_state
from ..problems import ATTENTION_TITLES, HEADS, PROBLEMS
from ..protocol import Tuning
from ..scales import LABELS
from .behaviours import Behaviours
from .common import at_edge

Histories = Mapping[str, History]


def summary(histories: Histories, tunings: Mapping[str, Tuning], names: tuple[str, ...]) -> pd.DataFrame:
    """Best rate, end and cooled loss (medians over seeds), ratio of the former to linear attention's.

    A row a model and optimizer.
    """
    rows = []
    for name in names:
        for optimizer, label in LABELS.items():
            best = tunings[name].best[optimizer]
            row = {"attention": PROBLEMS[name].title, "optimizer": label, "best rate": f"{best.lr:g}{at_edge(best)}"}
            for words, cooled in (("end loss", False), ("cooled", True)):
                row[words] = "not measured"
                if name in histories:
                    row[words] = f"{end_losses(name, histories[name], optimizer, cooled).median():.3g}"
            if name in COMPARED:
                ratio = loss_ratio(name, COMPARED[name], histories, optimizer)
                row |= {"over linear attention": interval_text(ratio), "state": str(ratio_state(ratio))}
            rows.append(row)
    return pd.DataFrame(rows).fillna("")


def idle(name: str, histories: Histories) -> bool:
    """Whether every run of a problem counts as the zero predictor."""
    return name in histories and bool(
        judged_losses(histories[name], PROBLEMS[name].task.zero_loss)["counted_as_zero"].all()
    )


def loss_units(cases: Mapping[str, tuple[str, str]], histories: Histories) -> list[Unit]:
    """Ratios of the end losses of two problems by case, for each optimizer."""
    arms = [(case, pair, *arm) for case, pair in cases.items() for arm in LABELS.items()]
    found = [(f"{case}, {label}", loss_ratio(*pair, histories, optimizer)) for case, pair, optimizer, label in arms]
    return [Unit(case, LOSSES, ratio, ratio_state(ratio)) for case, ratio in found]


def gaps(table: Behaviours, names: Collection[str]) -> list[Unit]:
    """Adam against SGD for some kinds of attention: the unit of C1 that decides, its case the attention's title."""
    titles = [ATTENTION_TITLES[name] for name in names]
    return [replace(unit, case=title) for title in titles for unit in table[title]["C1"].units if unit.decides]


def full_units(verdict: Verdict) -> list[Unit]:
    """The end losses of the full form, softmax over linear, with one head."""
    name = HEADS[1]
    return [unit for unit in verdict.units if unit.keys.part is None and unit.keys.problems[0] == name]


def beforehand(verdict: Verdict) -> list[Unit]:
    """The cases whose outcome no training could have changed."""
    return [unit for unit in verdict.units if unit.decides and c13.CONSTRUCTION in unit.remarks]
