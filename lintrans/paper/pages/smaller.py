"""Tables and numbers of the page on smaller models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd
import torch

from ...diagnostics.along import fixed_batch
from ...diagnostics.curvature import hessian
from ..claims.c16 import (
    LARGEST,
    Measured,
    Size,
    Table,
    constant_hessian,
    few_directions,
    lacking,
    title,
    unsettled,
)
from ..claims.common import floor, judged_losses, on_batches
from ..claims.records import Verdict
from ..claims.rules import State, Unit, Word, agree
from ..problems import PROBLEMS, SIZES
from ..scales import LABELS
from .behaviours import MISSING, word
from .common import HALF, at_edge, clip_words
from .template import Lamp


def power(measured: Measured) -> pd.DataFrame:
    """E by size beside what it can show: effective directions of the noise, q99 / median of N(0, C) (medians)."""
    rows = []
    for size, name in SIZES.items():
        if name not in measured.noise:
            continue
        noise = measured.noise[name]
        middle = noise[["excess", "directions", "null_q99"]].median()
        rows.append(
            {
                "size": title(size),
                "E": f"{middle['excess']:.2f}",
                "directions": f"{middle['directions']:.1f}",
                "q99 / median of N(0, C)": f"{middle['null_q99']:.2f}",
                "E can tell": "hardly" if few_directions(noise) else "yes",
            }
        )
    return pd.DataFrame(rows)


def powerless(measured: Measured) -> list[str]:
    """Sizes whose noise has too few directions for E."""
    return [
        title(size) for size, name in SIZES.items() if name in measured.noise and few_directions(measured.noise[name])
    ]


def sizes(verdict: Verdict, table: Table) -> list[Unit]:
    """The units of C16 on the smaller sizes, their statistic what a size lacks, or what is open of it."""
    smaller = [(size, unit) for size, unit in zip(SIZES, verdict.units, strict=False) if size != LARGEST]
    claims = {size: lacking(size, table) or unsettled(size, table) for size, _ in smaller}
    words = {size: [f"{claim} ({word(table[size][claim])})" for claim in own] for size, own in claims.items()}
    return [replace(unit, statistic=", ".join(words[size])) for size, unit in smaller]


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
            line[f"{label}: best rate"] = f"{best.lr:g}, {clip_words(best.clip)}{at_edge(best)}"
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
    spread: dict[bool, list[float]] = {True: [], False: []}
    for name in SIZES.values():
        model = PROBLEMS[name].model
        points = 10 * model.init(range(seeds), dtype=torch.float64)
        hessians = hessian(model, points, fixed_batch(model, PROBLEMS[name].task))
        change = (hessians - hessians[:1]).abs().max() / hessians.abs().max()
        spread[constant_hessian(name)].append(float(change))
    return max(spread[True]), min(spread[False])


def counted(verdict: Verdict) -> str:
    """How many smaller sizes lack something, have all, or are open, and what that says of "minimal", in words."""
    states = {unit.keys.problem: unit.state for unit in verdict.units if unit.decides}
    whole = states.pop(SIZES[LARGEST])
    number = Counter(states.values())
    parts = {
        State.YES: "lack something that it has",
        State.REV: "have all of it",
        State.UNDECIDED: "are open",
        State.MISSING: "were not measured",
    }
    text = ", ".join(f"{number[state]} {words}" for state, words in parts.items() if number[state])
    named = title(LARGEST)
    start = {
        Word.REPRODUCED: f"{named} is **minimal**",
        Word.PARTLY: f"{named} is **minimal** for the behaviours that it shows",
        Word.NOT: f"{named} shows **nothing**" if whole is State.NULL else f"{named} is **not minimal**",
    }.get(verdict.ruling.word, f"whether {named} is minimal is **open**")
    return f"{start}: of {len(states)} smaller sizes {text}"


def without_zeros(table: Table) -> Lamp:
    """Whose R_med is lower: in how many cases that is the same without the structural zeros of the Hessian."""
    pairs = []
    for row in table.values():
        judged, beside = ([unit for unit in row["C3"].units if unit.decides == decides] for decides in (True, False))
        pairs += [(one, other) for one, other in zip(judged, beside, strict=False) if one.interval]
    return Lamp(
        sum(agree([one], [other]) for one, other in pairs), len(pairs), "cases of C3 say the same without zeros"
    )


def on_fixed_batch(worst: Mapping[str, pd.DataFrame]) -> Lamp:
    """In how many sizes no single prompt rules the loss of the fixed batch, in the median over runs and steps."""
    shares = []
    for frame in worst.values():
        rows = on_batches(frame[frame["metric"] == "worst_loss_share"], fixed=True)["value"]
        shares += [rows.median()] if len(rows) else []
    return Lamp(
        sum(share < HALF for share in shares), len(shares), "sizes: one fixed batch is not ruled by its worst prompt"
    )


def gap_after_cooldown(tables: Mapping[str, Table]) -> Lamp:
    """In how many sizes Adam against SGD says the same at a constant rate and after the cooldown."""
    pairs = []
    for size in SIZES:
        one, other = ([unit for unit in tables[reading][size]["C1"].units if unit.decides] for reading in tables)
        pairs += [agree(one, other)] if one and one[0].interval else []
    return Lamp(sum(pairs), len(pairs), "sizes say the same of C1 after the cooldown")
