"""Gradient noise: tail indices and E by batch size and along training, as tables and as units for its sentences."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ...diagnostics.tails import Array, hill, moment_estimator
from ..claims.c2 import geometric_mean
from ..claims.records import interval_text
from ..claims.rules import State, Unit, ratio_state
from ..problems import PROBLEMS
from ..scales import LABELS

WORDS = dict(zip(State, ("heavier", "slightly heavier", "alike", "lighter", "undecided", "not measured"), strict=True))
INFINITE_VARIANCE = 0.5
"""Tail index gamma = 1 / alpha above which the variance is infinite."""
ESTIMATORS = {"Hill": hill, "moment": moment_estimator}
SHARES = (0.01, 0.05, 0.1)
"""Shares of the sample that tail indices in the table are estimated from."""


def pareto(count: int, alpha: float) -> Array:
    """A sample of infinite variance (alpha < 2) to compare with: P(X > x) = x^(-alpha) for x >= 1."""
    uniforms = np.random.Generator(np.random.Philox(key=0)).uniform(size=count)
    sample: Array = (1.0 - uniforms) ** (-1.0 / alpha)
    return sample


def _excess_text(values: pd.Series) -> str:
    """E over the seeds for which it can be read, and how many those are where it is not all."""
    mean, count = geometric_mean(values.dropna()), int(values.notna().sum())
    if not count:
        return f"not measurable (0 of {len(values)} seeds)"
    text = f"{interval_text(mean)} {WORDS[ratio_state(mean)]}"
    return text if count == len(values) else f"{text} ({count} of {len(values)} seeds)"


def excess_table(tables: Mapping[str, pd.DataFrame], column: str, head: str) -> pd.DataFrame:
    """E by "batch" or "step", a row a setting and optimizer, if several; `head` is a format as "B = {:,}"."""
    rows = []
    for name, table in tables.items():
        parts = dict(list(table.groupby("optimizer"))) if "optimizer" in table else {}
        for key in [key for key in LABELS if key in parts] or [""]:
            groups = parts.get(key, table).groupby(column)
            cells = {head.format(value): _excess_text(at["excess"]) for value, at in groups}
            rows.append({"setting": PROBLEMS[name].title, **({"optimizer": LABELS[key]} if key else {}), **cells})
    return pd.DataFrame(rows)


def small_over_large(tables: Mapping[str, pd.DataFrame]) -> list[Unit]:
    """E in the smallest batches over E in the largest, a unit a setting."""
    units = []
    for name, table in tables.items():
        small, large = int(table["batch"].min()), int(table["batch"].max())
        wide = table.pivot(index="seed", columns="batch", values="excess")
        ratio = geometric_mean((wide[small] / wide[large]).to_numpy())
        what = f"E at B = {small:,} over E at B = {large:,}"
        units.append(Unit(PROBLEMS[name].title, what, ratio, ratio_state(ratio)))
    return units


def last_over_first(tables: Mapping[str, pd.DataFrame]) -> list[Unit]:
    """E at the last step over E at the first, a unit a setting and optimizer."""
    units = []
    for name, table in tables.items():
        last = int(table["step"].max())
        for optimizer, label in LABELS.items():
            wide = table[table["optimizer"] == optimizer].pivot(index="seed", columns="step", values="excess")
            ratio = geometric_mean((wide[last] / wide[0]).dropna())
            units.append(Unit(f"{PROBLEMS[name].title}, step {last:,}", label, ratio, ratio_state(ratio)))
    return units


def unreadable(tables: Mapping[str, pd.DataFrame]) -> str:
    """How many measurements after step 0 the reference gradient is too uncertain for: "2 of 6 in Setting 1"."""
    late = {name: table[table["step"] > 0]["excess"].isna() for name, table in tables.items()}
    return ", ".join(
        f"{lost.sum()} of {len(lost)} in {PROBLEMS[name].title}" for name, lost in late.items() if any(lost)
    )


def index_table(samples: Mapping[str, Array]) -> pd.DataFrame:
    """Tail indices at a few thresholds, a row a sample and estimator; gamma [95% interval at this threshold]."""
    rows = []
    for label, sample in samples.items():
        for estimator, function in ESTIMATORS.items():
            indices = {share: function(sample, max(2, round(share * len(sample)))) for share in SHARES}
            cells = {
                f"largest {share:.0%}": f"{index.estimate[0]:.2f} [{index.low[0]:.2f}, {index.high[0]:.2f}]"
                for share, index in indices.items()
            }
            rows.append({"sample": label, "estimator": estimator, **cells})
    return pd.DataFrame(rows)


def variance_infinite(sample: Array) -> bool | None:
    """Whether both estimators say so at the few largest values; None where their intervals leave it open."""
    k = max(2, round(SHARES[0] * len(sample)))
    indices = [function(sample, k) for function in ESTIMATORS.values()]
    if all(index.low[0] > INFINITE_VARIANCE for index in indices):
        return True
    return False if all(index.high[0] < INFINITE_VARIANCE for index in indices) else None
