"""Tables and numbers of the page on smaller models."""

from __future__ import annotations

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
from ..claims.common import floor, judged_losses
from ..claims.records import Verdict
from ..claims.rules import Unit
from ..problems import PROBLEMS, SIZES
from ..scales import LABELS
from .behaviours import MISSING, word
from .common import at_edge, clip_words


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
