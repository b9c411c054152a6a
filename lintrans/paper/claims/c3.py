"""C3: the robust condition number is lower for Adam than for SGD along the trajectory (Ahn et al. 2024, section 3).

Judged under the convention of the paper's public code: the diagonal of the Hessian, its *lower* median, structural
zeros included; over seeds and evaluation batches, both random. The same under every other convention, at matched loss
and on the paper's own sample stands beside.

The public ratio of SGD's R_med over Adam's is exactly the product of three: *within* blocks (the geometric mean over
blocks, each P_l and Q_l with a median of its own), *between* blocks (all entries that the loss uses over that mean),
and *convention* (structural zeros and the lower of two middle entries).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...statistics import mean_of
from ...training.history import History
from ..budgets import CurvatureBudget, TuningBudget
from ..judged import COARSE_LOSS, Judged
from ..scales import PAPER_SEEDS
from .common import (
    CASES,
    CURVATURE_ASKED,
    FIXED_BATCH,
    READINGS,
    Basis,
    by_seed_and_batch,
    curvature_deviations,
    deviations,
    on_batches,
    paired,
    papers_sample,
    rules_digest,
    target_of,
)
from .records import Verdict
from .rules import NO_KEYS, Keys, Unit, agree, rule
from .rules import ratio_unit as unit_of

CLAIM = "C3"
SENTENCE = "The robust condition number R_med of Adam is lower than SGD's along the trajectory."
CHAPTER = "condition_number"
FIGURE = {"published": "fig-condition-split", "tuned": "fig-condition-tuned"}
GROUP = "behaviours"
BASIS = Basis(CASES, ("condition",))
RATIO = "R_med, SGD over Adam"
PUBLIC = "r_lower"
CONVENTIONS = {
    PUBLIC: "lower median",
    "r_midpoint": "midpoint median",
    "r_used": "no structural zeros",
    "r_blocks": "per block",
}
FACTORS = {"within": ("r_blocks", None), "between": ("r_used", "r_blocks"), "convention": (PUBLIC, "r_used")}
"""Whose product is the public R_med: metrics above and below the line."""
BLOCK = "block_"
"""Metrics of this prefix are the median of |H_ii| in one block, such as P1."""
MATCHED = "at matched loss"
PAPER = {
    ("1", 750): (1.76, 0.40),
    ("1", 1250): (1.58, 0.41),
    ("2", 750): (3.14, 0.97),
    ("2", 1250): (5.98, 2.86),
    ("3", 750): (9.57, 13.3),
    ("3", 1250): (6.53, 3.55),
}
"""Mean and standard deviation over six seeds of the ratio of R_med, SGD over Adam, in the paper's table."""


def log_ratios(rows: pd.DataFrame, *metrics: str) -> pd.DataFrame:
    """Logs of the ratios of metrics, SGD over Adam: index (step, seed, batch), a column a metric; all finite."""
    wide = rows[rows["metric"].isin(metrics)].pivot(
        index=["step", "seed", "batch"], columns=["metric", "optimizer"], values="value"
    )
    columns = pd.MultiIndex.from_product([metrics, ("sgd", "adam")])
    values = wide.reindex(columns=columns).to_numpy(np.float64).reshape(len(wide), len(metrics), 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(values[..., 0] / values[..., 1])
    good = np.isfinite(logs).all(axis=1)
    return pd.DataFrame(logs[good], wide.index[good], list(metrics))


def log_ratios_along(frame: pd.DataFrame, metric: str, settled: int, fixed: bool = False) -> pd.DataFrame:
    """A table [seeds, batches] of the log ratio of a metric, SGD over Adam, averaged over the probes from `settled` on.

    On the evaluation batches or, with `fixed`, on the fixed one. Probes without a finite ratio are left out of their
    average, and seeds that lack a batch altogether are left out.
    """
    rows = on_batches(frame, fixed)
    return by_seed_and_batch(log_ratios(rows[rows["step"] >= settled], metric)[metric])


def at_matched_loss(
    frame: pd.DataFrame, history: History, *, target: float, metric: str = PUBLIC, fixed: bool = False
) -> pd.DataFrame:
    """A table [seeds, batches] of the log ratio of a metric, each optimizer at its first probe of R_med below `target`.

    What falls below is the typical loss; seeds of which a run never gets there are left out.
    """
    losses = history.metric(COARSE_LOSS)[["optimizer", "seed", "step", "value"]].rename(columns={"value": "loss"})
    below = on_batches(frame, fixed).merge(losses, on=["optimizer", "seed", "step"])
    below = below[below["loss"] < target]
    first = below.groupby(["optimizer", "seed"])["step"].transform("min")
    return by_seed_and_batch(log_ratios(below[below["step"] == first].assign(step=0), metric)[metric])


def table_unit(case: str, statistic: str, logs: pd.DataFrame, decides: bool = False, keys: Keys = NO_KEYS) -> Unit:
    """The geometric mean of a table [seeds, batches] of log ratios, both random; missing where it is empty."""
    return unit_of(case, statistic, mean_of(logs.to_numpy(np.float64)).exp() if logs.size else None, decides, keys)


def ratio_unit(
    rows: pd.DataFrame, metric: str, case: str, statistic: str, decides: bool = False, keys: Keys = NO_KEYS,
    fixed: bool = False,
) -> Unit:  # fmt: skip
    """The geometric mean ratio of one metric, SGD over Adam, over the rows of one step."""
    logs = log_ratios(on_batches(rows, fixed), metric)[metric]
    return table_unit(case, statistic, by_seed_and_batch(logs), decides, keys)


def cases(
    frames: Mapping[str, pd.DataFrame], judged: Sequence[int], metric: str = PUBLIC, fixed: bool = False
) -> list[Unit]:
    """One unit per setting and judged step; the public convention on evaluation batches decides."""
    units, decides = [], metric == PUBLIC and not fixed
    words = FIXED_BATCH if fixed else CONVENTIONS[metric]
    for name in CASES:
        for step in judged:
            case = f"setting {name}, step {step:,}" + ("" if decides else f", {words}")
            keys = Keys((name,), step, convention=metric, part=FIXED_BATCH if fixed else None)
            if name not in frames:
                units.append(unit_of(case, f"{RATIO}, {words}", None, decides, keys))
                continue
            rows = frames[name][frames[name]["step"] == step]
            units.append(ratio_unit(rows, metric, case, f"{RATIO}, {words}", decides, keys, fixed))
    return units


def matched_cases(reading: str, frames: Mapping[str, pd.DataFrame], judged: Judged) -> list[Unit]:
    """One unit per setting, at matched loss."""
    units = []
    for name in CASES:
        logs = pd.DataFrame()
        if name in frames:
            history = judged.histories[reading][name]
            logs = at_matched_loss(frames[name], history, target=target_of(name, *judged.all_of(name)))
        keys = Keys((name,), convention=MATCHED)
        units.append(table_unit(f"setting {name}, {MATCHED}", f"{RATIO}, {MATCHED}", logs, keys=keys))
    return units


def judge(
    reading: str,
    scale: str,
    frames: Mapping[str, pd.DataFrame],
    judged: Judged,
    budget: TuningBudget,
    curvature: CurvatureBudget,
) -> Verdict:
    """The verdict of one reading."""
    units = cases(frames, curvature.judged)
    others = {words: cases(frames, curvature.judged, metric) for metric, words in CONVENTIONS.items()}
    del others[CONVENTIONS[PUBLIC]]
    matched = matched_cases(reading, frames, judged)
    sample = {name: papers_sample(frame, curvature.judging) for name, frame in frames.items()}
    others[FIXED_BATCH] = cases(sample, curvature.judged, fixed=True)
    checks = {words: agree(units, own) for words, own in others.items()}
    checks["matched loss"] = agree(units, [unit for unit in matched for _ in curvature.judged])
    asked = deviations(budget, CURVATURE_ASKED, tuned=reading == "tuned")
    short = (*asked, *curvature_deviations(curvature, "judged"))
    every = (*units, *(unit for own in others.values() for unit in own), *matched)
    return Verdict(CLAIM, reading, scale, CHAPTER, every, rule(units), short, rules_digest(__name__), checks)


def split(rows: pd.DataFrame, fixed: bool = False) -> dict[str, pd.DataFrame]:
    """The public log ratio and its three parts, each averaged over steps: tables [seeds, batches] that add up to it."""
    logs = log_ratios(on_batches(rows, fixed), *{metric: 0 for pair in FACTORS.values() for metric in pair if metric})
    parts = {"public": logs[PUBLIC]}
    for name, (above, below) in FACTORS.items():
        parts[name] = logs[above] - logs[below] if below else logs[above]
    return {name: by_seed_and_batch(part) for name, part in parts.items()}


def factors(frames: Mapping[str, pd.DataFrame], curvature: CurvatureBudget) -> list[Unit]:
    """The public ratio and its factors in every setting, at each judged step and (no step) along the run."""
    units = []
    for name, frame in frames.items():
        places = [(f"step {step:,}", step, frame["step"] == step) for step in curvature.judged]
        for words, step, chosen in (*places, ("along the run", None, frame["step"] >= curvature.settled)):
            for part, logs in split(frame[chosen]).items():
                keys = Keys((name,), step, convention=PUBLIC if part == "public" else None, part=part)
                units.append(table_unit(f"setting {name}, {words}", part, logs, keys=keys))
    return units


def split_along(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The factors at every probe: columns setting, step, part, ratio, low, high."""
    rows = []
    for name, frame in frames.items():
        for step, own in frame.groupby("step"):
            for part, logs in split(own).items():
                if logs.size:
                    found = mean_of(logs.to_numpy(np.float64)).exp()
                    rows.append((name, step, part, found.estimate, found.low, found.high))
    return pd.DataFrame(rows, columns=["setting", "step", "part", "ratio", "low", "high"])


def blocks(frame: pd.DataFrame, step: int) -> pd.DataFrame:
    """Median |H_ii| of each block at one step, geometric mean over seeds and evaluation batches; a column an optimizer.

    Blocks that the loss does not depend on, whose entries are all zero, are left out.
    """
    rows = on_batches(frame)
    rows = rows[(rows["step"] == step) & rows["metric"].str.startswith(BLOCK) & (rows["value"] > 0)]
    logs = np.log(rows["value"]).groupby([rows["metric"].str.removeprefix(BLOCK), rows["optimizer"]]).mean()
    return pd.DataFrame(logs.unstack("optimizer")).apply(np.exp).rename_axis(index=None, columns=None)


@dataclass(frozen=True)
class Row:
    """One line of the table beside the paper's: arithmetic mean and unbiased standard deviation of per-seed ratios.

    Attributes:
        agrees: with the paper's number, on the fixed batch; None where it has none.
        batches, agreeing: how many evaluation batches there are, and on how many of them the same seeds agree.
    """

    setting: str
    step: int
    metric: str
    mean: float
    deviation: float
    seeds: int
    agrees: bool | None
    batches: int = 0
    agreeing: int = 0


def agrees_with_paper(values: np.ndarray, name: str, step: int) -> bool:
    """Whether the arithmetic mean m of per-seed ratios is within 2 sqrt(s^2 / N + s_p^2 / 6) of the paper's."""
    theirs, spread = PAPER[name, step]
    limit = 2 * math.sqrt(float(values.var(ddof=1)) / len(values) + spread**2 / PAPER_SEEDS)
    return abs(float(values.mean()) - theirs) < limit


def ratios(frames: Mapping[str, pd.DataFrame], steps: tuple[int, ...], seeds: Sequence[int] | None = None) -> list[Row]:
    """The paper's own statistic on the fixed batch under every convention, of some of the seeds.

    The mean of ratios exceeds 1 even where nothing differs, so it decides nothing here.
    """
    rows = []
    for name, frame in frames.items():
        chosen = frame if seeds is None else frame[frame["seed"].isin(seeds)]
        for step in steps:
            for metric in (*CONVENTIONS, "r_eigenvalues"):
                at = chosen[(chosen["step"] == step) & (chosen["metric"] == metric)]
                sgd, adam = paired(on_batches(at, fixed=True))
                values = sgd / adam
                if not (count := len(values)):
                    continue
                deviation, agrees, there = float(values.std(ddof=1)) if count > 1 else math.nan, None, []
                if metric == PUBLIC and (name, step) in PAPER and count > 1:
                    agrees = agrees_with_paper(values, name, step)
                    others = by_seed_and_batch(log_ratios(on_batches(at), metric)[metric])
                    there = [agrees_with_paper(np.exp(logs), name, step) for logs in others.to_numpy(np.float64).T]
                mean = float(values.mean())
                rows.append(Row(name, step, metric, mean, deviation, count, agrees, len(there), sum(there)))
    return rows


def along_the_run(frames: Mapping[str, pd.DataFrame], settled: int) -> list[Unit]:
    """Per setting and convention, the ratio averaged (in logarithms) over all probes from `settled` on."""
    units = []
    for name, frame in frames.items():
        for metric, words in CONVENTIONS.items():
            logs = log_ratios_along(frame, metric, settled)
            if logs.size:
                units.append(table_unit(f"setting {name}", words, logs, keys=Keys((name,), convention=metric)))
    return units


__all__ = [
    "CHAPTER", "CLAIM", "FIGURE", "READINGS", "SENTENCE", "along_the_run", "at_matched_loss", "blocks", "factors",
    "judge", "log_ratios_along", "ratios",
]  # fmt: skip
