"""Tables and numbers of the page on smaller models; what behaviours models show, for other pages too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd
import torch

from ...diagnostics.along import fixed_batch
from ...diagnostics.curvature import hessian
from ..claims.c16 import (
    FEATURES,
    LARGEST,
    Behaviour,
    Measured,
    Size,
    Table,
    constant_hessian,
    lacking,
    title,
    unsettled,
)
from ..claims.common import floor, judged_losses
from ..claims.records import Verdict, interval_text
from ..claims.rules import Unit, Word
from ..problems import PROBLEMS, SIZES
from ..scales import LABELS

NAMES = {
    Word.REPRODUCED: "reproduced",
    Word.PARTLY: "partly",
    Word.NOT: "not reproduced",
    Word.UNMEASURABLE: "undecided",
}
UNDEFINED, MISSING = "undefined", "not measured"
Behaviours = Mapping[str, Mapping[str, Behaviour]]
"""Of models by name, by claim."""


def word(behaviour: Behaviour) -> str:
    """A behaviour of a model in a word or two."""
    if behaviour.undefined:
        return UNDEFINED
    return MISSING if behaviour.missing else NAMES[behaviour.ruling.word]


def words(table: Behaviours) -> pd.DataFrame:
    """One row a model, by its name, one column a behaviour: :func:`word`."""
    rows = {name: {claim: word(behaviour) for claim, behaviour in own.items()} for name, own in table.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(FEATURES))


def details(table: Behaviours, what: str) -> pd.DataFrame:
    """Every statistic that decides, with its interval, a row a model, behaviour and step; `what` tells models apart."""
    rows = []
    for name, own in table.items():
        for claim, behaviour in own.items():
            for unit in (unit for unit in behaviour.units if unit.decides):
                step = unit.keys.step
                rows.append(
                    {
                        what: name,
                        "claim": claim,
                        "statistic": unit.statistic if step is None else f"{unit.statistic}, step {step:,}",
                        "estimate [95% interval]": interval_text(unit.interval) if unit.interval else word(behaviour),
                        "state": str(unit.state) if unit.interval else word(behaviour),
                    }
                )
    return pd.DataFrame(rows)


def sizes(verdict: Verdict, table: Table) -> list[Unit]:
    """The units of C16 on the smaller sizes, their statistic what a size lacks, or what is open of it."""
    units = []
    for size, unit in zip(SIZES, verdict.units, strict=False):
        lacks = [f"{claim} ({word(table[size][claim])})" for claim in lacking(size, table)]
        if size != LARGEST:
            units.append(replace(unit, statistic=", ".join(lacks or unsettled(size, table))))
    return units


def best_rates(measured: Measured) -> pd.DataFrame:
    """The rates, the end losses and the floor of every size, medians over seeds, beside the best that one layer can."""
    rows = []
    for size, name in SIZES.items():
        if name not in measured.tunings:
            continue
        zero, history = PROBLEMS[name].task.zero_loss, measured.histories.get(name)
        line = {"size": title(size), "loss of the zero predictor": f"{zero:g}"}
        for optimizer, label in LABELS.items():
            best = measured.tunings[name].best[optimizer]
            clip = "no clip" if math.isinf(best.clip) else f"clip {best.clip:g}"
            edge = "" if best.interior else ", at the edge of the rates tried"
            line[f"{label}: best rate"] = f"{best.lr:g}, {clip}{edge}"
            if history:
                losses = judged_losses(history, zero)
                line[f"{label}: end loss"] = f"{losses[losses['optimizer'] == optimizer]['loss'].median():.3g}"
        line["least loss met"] = f"{floor(history):.3g}" if history else MISSING
        line["least of one layer"] = f"{least_of_one_layer(size):.3g}"
        rows.append(line)
    return pd.DataFrame(rows).fillna(MISSING)


def least_of_one_layer(size: Size) -> float:
    """The least loss of any one-layer model on these prompts, d (d + 1) / (n + d + 1) (Ahn et al. 2023)."""
    d, n = size[1], PROBLEMS[SIZES[size]].task.n
    return d * (d + 1) / (n + d + 1)


def above_least(measured: Measured) -> list[float]:
    """The least losses that one-layer runs met, over the least possible."""
    judged = {size: measured.histories.get(name) for size, name in SIZES.items() if size[0] == 1}
    return [floor(history) / least_of_one_layer(size) for size, history in judged.items() if history]


def spreads(seeds: int = 3) -> tuple[float, float]:
    """Relative differences of Hessians at parameters far apart: the most of one layer, the least of more layers."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for name in SIZES.values():
        model = PROBLEMS[name].model
        points = 10 * model.init(range(seeds), dtype=torch.float64)
        own = hessian(model, points, fixed_batch(model, PROBLEMS[name].task))
        found[constant_hessian(name)].append(float((own - own[:1]).abs().max() / own.abs().max()))
    return max(found[True]), min(found[False])
