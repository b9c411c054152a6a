"""What the page on C16 says: sentences and tables, made from the numbers of :mod:`.c16`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd
import torch

from ..diagnostics.along import fixed_batch
from ..diagnostics.curvature import hessian
from ..problems import PROBLEMS, SIZES
from ..protocol import Choice
from ..settings import LABELS
from .c16 import FEATURES, LARGEST, Behaviour, Measured, Size, Table, constant_hessian, lacking, title, unsettled
from .common import floor, judged_losses
from .records import Verdict, interval_text
from .rules import State, Word

NAMES = {
    Word.REPRODUCED: "reproduced",
    Word.PARTLY: "partly",
    Word.NOT: "not reproduced",
    Word.UNMEASURABLE: "undecided",
}
UNDEFINED, MISSING = "undefined", "not measured"
ROUNDING = 1e-9


def word(behaviour: Behaviour) -> str:
    """A behaviour at a size in a word or two."""
    if behaviour.undefined:
        return UNDEFINED
    return MISSING if behaviour.missing else NAMES[behaviour.ruling.word]


def words(table: Table) -> pd.DataFrame:
    """One row a size, one column a behaviour: :func:`word`."""
    return word_table({title(size): own for size, own in table.items()}).rename_axis("size")


def word_table(table: Mapping[str, Mapping[str, Behaviour]]) -> pd.DataFrame:
    """One row a model, by its name, one column a behaviour: :func:`word`."""
    rows = {name: {claim: word(behaviour) for claim, behaviour in own.items()} for name, own in table.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(FEATURES))


def details(table: Table) -> pd.DataFrame:
    """Every statistic that decides, with its interval, a row a size, behaviour and step."""
    return detail_table({title(size): own for size, own in table.items()}, "size")


def detail_table(table: Mapping[str, Mapping[str, Behaviour]], what: str) -> pd.DataFrame:
    """Every statistic that decides, with its interval, a row a model, behaviour and step; `what` tells models apart."""
    rows = []
    for name, own in table.items():
        for claim, behaviour in own.items():
            for unit in (unit for unit in behaviour.units if unit.decides):
                number = interval_text(unit.interval) if unit.interval else word(behaviour)
                state = str(unit.state) if unit.interval else word(behaviour)
                step = unit.keys.step
                statistic = unit.statistic if step is None else f"{unit.statistic}, step {step:,}"
                rows.append(
                    {
                        what: name,
                        "claim": claim,
                        "statistic": statistic,
                        "estimate [95% interval]": number,
                        "state": state,
                    }
                )
    return pd.DataFrame(rows)


def _having(own: dict[str, Behaviour], strengths: Iterable[int | None]) -> list[str]:
    return [claim for claim, behaviour in own.items() if behaviour.strength in set(strengths)]


def describe(verdict: Verdict, table: Table) -> str:
    """What the largest size has, and what each smaller one lacks of it, a sentence each, in Markdown."""
    states = {unit.keys.problem: unit.state for unit in verdict.units if unit.decides}
    whole = dict(table[LARGEST])
    parts = [
        f"{words}: {', '.join(claims)}"
        for words, claims in (
            ("reproduced", _having(whole, [2])),
            ("in part", _having(whole, [1])),
            ("not reproduced", _having(whole, [0])),
            ("open", _having(whole, [None])),
        )
        if claims
    ]
    lines = [f"- {title(LARGEST)}, the largest size: {'; '.join(parts)}."]
    for size in (size for size in SIZES if size != LARGEST):
        own, state = table[size], states[SIZES[size]]
        lacks = [f"{claim} ({word(own[claim])})" for claim in lacking(size, table)]
        if state is State.MISSING:
            text = "not everything was measured"
        elif state is State.REV:
            text = "**has all that the largest size has**"
        elif lacks:
            text = f"lacks {', '.join(lacks)}"
        else:
            text = f"open: the seeds do not decide on {', '.join(unsettled(size, table))}"
        lines.append(f"- {title(size)}: {text}.")
    return "\n".join(lines)


def best_rates(measured: Measured) -> pd.DataFrame:
    """The rates, the end losses and the floor of every size, medians over seeds, beside the best that one layer can."""
    rows = []
    for size, name in SIZES.items():
        if name not in measured.tunings:
            continue
        zero = PROBLEMS[name].task.zero_loss
        line = {"size": title(size), "loss of the zero predictor": f"{zero:g}"}
        for optimizer, label in LABELS.items():
            line[f"{label}: best rate"] = _rate(measured.tunings[name].best[optimizer])
            if name in measured.histories:
                losses = judged_losses(measured.histories[name], zero)
                line[f"{label}: end loss"] = f"{losses[losses['optimizer'] == optimizer]['loss'].median():.3g}"
        line["least loss met"] = f"{floor(measured.histories[name]):.3g}" if name in measured.histories else MISSING
        line["least of one layer"] = f"{least_of_one_layer(size):.3g}"
        rows.append(line)
    return pd.DataFrame(rows).fillna(MISSING)


def _rate(best: Choice) -> str:
    clip = "no clip" if best.clip == float("inf") else f"clip {best.clip:g}"
    return f"{best.lr:g}, {clip}" + ("" if best.interior else ", at the edge of the rates tried")


def least_of_one_layer(size: Size) -> float:
    """The least loss of any one-layer model on these prompts, d (d + 1) / (n + d + 1) (Ahn et al. 2023)."""
    d, n = size[1], PROBLEMS[SIZES[size]].task.n
    return d * (d + 1) / (n + d + 1)


def describe_least(measured: Measured) -> str:
    """How far the one-layer runs end from the least loss that one layer can have, in a sentence."""
    ratios = [
        floor(measured.histories[SIZES[size]]) / least_of_one_layer(size)
        for size in SIZES
        if size[0] == 1 and SIZES[size] in measured.histories
    ]
    if not ratios:
        return "No run of one layer was judged."
    return (
        "For one layer the least possible loss is known, $d(d+1)/(n+d+1)$; the least loss that our one-layer runs met "
        f"is {min(ratios):.3f} to {max(ratios):.3f} times that."
    )


def describe_constant(seeds: int = 3) -> str:
    """Whether the Hessian of one layer is the same everywhere, from Hessians at unlike parameters, in a sentence."""
    worst, others = 0.0, float("inf")
    for name in SIZES.values():
        setting = PROBLEMS[name]
        points = 10 * setting.model.init(range(seeds), dtype=torch.float64)
        found = hessian(setting.model, points, fixed_batch(setting.model, setting.task))
        spread = float((found - found[:1]).abs().max() / found.abs().max())
        if constant_hessian(name):
            worst = max(worst, spread)
        else:
            others = min(others, spread)
    answer = "is the same everywhere" if worst < ROUNDING else "**differs**, against what the formula says"
    return (
        f"Between {seeds} points far apart, the Hessian of one layer {answer}: relative differences are at most "
        f"{worst:.1e}; with more layers they are at least {others:.1g}."
    )
