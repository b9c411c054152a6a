"""Tables and numbers of the page on attention."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

import pandas as pd
import torch
from scipy import stats

from ...models.attention import weights
from ...training.history import History
from ..claims import c13
from ..claims.c13 import COMPARED, LOSSES, end_losses, loss_ratio
from ..claims.common import judged_losses
from ..claims.records import Verdict, interval_text
from ..claims.rules import State, Unit, ratio_state
from ..claims.wording import NAMES
from ..problems import ATTENTION_TITLES, HEADS, PROBLEMS
from ..protocol import Tuning
from ..scales import LABELS
from .behaviours import Behaviours
from .common import at_edge
from .words import said, sized

Histories = Mapping[str, History]
GAP = {
    "yes": "Adam ends {sizes} lower",
    "weak": "Adam ends a little lower ({sizes})",
    "null": "no gap ({sizes})",
    "rev": "SGD ends {inverse} lower",
    "undecided": "the gap is open ({sizes})",
    "missing": "not compared",
}
"""Adam against SGD for some kinds of attention, by state."""
LOSS = {
    "yes": "the loss ends {sizes} above linear attention's",
    "weak": "it ends a little above linear attention's ({sizes})",
    "null": "it ends alike ({sizes})",
    "rev": "it ends {inverse} **below** linear attention's",
    "undecided": "it is open ({sizes})",
}
"""Softmax against linear attention, by state."""
HEADS_WORDS = {
    "yes": "Softmax ends {sizes} above linear attention",
    "weak": "Softmax ends a little above linear attention ({sizes})",
    "null": "Softmax matches linear attention ({sizes})",
    "rev": "Softmax ends {inverse} below linear attention",
    "undecided": "Softmax cannot be told from linear attention ({sizes})",
}
"""The same for some number of heads."""
SHOWN_KEYS = 1000
"""Prompts whose keys are looked at."""


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
                row |= {"over linear attention": interval_text(ratio), "state": NAMES[ratio_state(ratio)]}
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


def clear(case: str) -> str:
    """A case with fewer commas, so that it stands in a list: "softmax over visible keys"."""
    return case.replace(", visible", " over visible")


def result(of: Verdict | Collection[Unit], words: Mapping[str, str], beside: Collection[Unit] = ()) -> str:
    """What cases say, with their sizes, less those `beside`."""
    left = {unit.case for unit in beside}
    units = [unit for unit in of.units if unit.decides] if isinstance(of, Verdict) else of
    own = [replace(unit, case=clear(unit.case)) for unit in units if unit.case not in left]
    return sized(own, where=" with {cases}", **words)


def title(table: Behaviours) -> str:
    """Adam against SGD for every kind of attention, as the title of a figure."""
    units = gaps(table, ATTENTION_TITLES)
    own = [replace(unit, case=clear(unit.case)) for unit in units]
    return sized(own, where=" with {cases}", **GAP)


def gap_finding(table: Behaviours, histories: Histories) -> str:
    """What becomes of the gap between the optimizers where attention is softmax, in Markdown."""
    linear_units = gaps(table, [c13.LINEAR])
    linear = said(
        linear_units,
        yes="With linear attention Adam ends lower than SGD",
        weak="With linear attention Adam ends a little lower than SGD",
        null="With linear attention the two optimizers end alike",
        rev="With linear attention SGD ends lower than Adam",
        undecided="With linear attention the seeds do not say which optimizer ends lower",
        line="{words} (SGD's loss over Adam's: {interval}).",
        unmeasured="With linear attention the optimizers were not compared at this scale.",
    )
    there = any(unit.state in (State.YES, State.WEAK) for unit in linear_units)
    lost = [name for name in c13.DEFINITIONS if idle(name, histories)]
    softmax = said(
        gaps(table, [name for name in c13.DEFINITIONS if name not in lost]),
        yes="with *{case}* Adam ends lower",
        weak="with *{case}* Adam ends a little lower",
        null=f"**with *{{case}}* {'the gap is gone' if there else 'there is no gap'}**",
        rev="with *{case}* it is SGD that ends lower",
        undecided="with *{case}* the seeds do not say which ends lower",
        line="{words} ({interval})",
        unmeasured="with *{case}* they were not compared at this scale",
    ).splitlines()
    softmax += [f"with *{ATTENTION_TITLES[name]}* no run gets below the zero predictor" for name in lost]
    return f"{linear} Of the two softmaxes, {'; '.join(softmax)}."


def factor_share(histories: Histories) -> str:
    """How much of the way from the public code's softmax to linear attention the ordinary softmax goes, in words."""
    lines = []
    public, ordinary = c13.DEFINITIONS
    for optimizer, label in LABELS.items():
        whole, left = (loss_ratio(name, c13.LINEAR, histories, optimizer) for name in (public, ordinary))
        if whole is None or left is None:
            continue
        text = f"- {label}: {interval_text(whole)} times linear attention's loss with the public code's softmax, "
        text += f"{interval_text(left)} times with weights that sum to one"
        if whole.estimate > 1:
            text += f"; on a log scale {math.log(left.estimate) / math.log(whole.estimate):.0%} of the distance is left"
        lines.append(f"{text}.")
    return "\n".join(lines) or "Not measured at this scale."


def opposite_keys(histories: Histories) -> str:
    """Which keys get the weight in the first layer of an ordinary softmax trained by Adam, in words."""
    name = c13.DEFINITIONS[1]
    if name not in histories:
        return "Not measured at this scale."
    history = histories[name]
    run = int(history.runs[history.runs["optimizer"] == "adam"]["run"].iloc[0])
    matrix = history.parameters()[run, 0, 0, 1].double()
    x = PROBLEMS[name].task.sample(SHOWN_KEYS, dtype=torch.float64).covariates
    given = weights(name, (x @ matrix.T) @ x.transpose(-1, -2))[:, -1]
    alike = (x[:, :-1] @ x[:, -1:].transpose(-1, -2)).squeeze(-1)
    orders = [stats.spearmanr(*pair).statistic for pair in zip(given.numpy(), alike.numpy(), strict=True)]
    middle = float(pd.Series(orders).median())
    side = "**opposite** to the query" if middle < 0 else "on the query's side"
    return (
        f"In the first layer the weight goes to keys {side}: its rank correlation with their scalar product with the "
        f"query is {middle:.2f}, the median over {SHOWN_KEYS:,} prompts (Adam, first judging seed)."
    )


def full_units(verdict: Verdict) -> list[Unit]:
    """The end losses of the full form, softmax over linear, with one head."""
    name = HEADS[1]
    return [unit for unit in verdict.units if unit.keys.part is None and unit.keys.problems[0] == name]


def beforehand(verdict: Verdict) -> list[Unit]:
    """The cases whose outcome no training could have changed."""
    return [unit for unit in verdict.units if unit.decides and c13.CONSTRUCTION in unit.remarks]
