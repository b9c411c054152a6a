"""Gradient noise: tail indices and E by batch size and along training, as tables and as units for its sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...diagnostics.tails import Array, hill, moment_estimator
from ..claims.c2 import geometric_mean
from ..claims.records import interval_text
from ..claims.rules import State, Unit, ratio_state
from ..problems import PROBLEMS
from ..scales import LABELS
from .words import said

WORDS = dict(zip(State, ("heavier", "slightly heavier", "alike", "lighter", "undecided", "not measured"), strict=True))
FEWEST = 3
"""Seeds below which E has no mean."""
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


def readable(values: pd.Series) -> bool:
    """Whether E can be read for FEWEST seeds and for most of them; a mean over the rest would say little."""
    return int(values.notna().sum()) >= FEWEST and bool(values.notna().mean() > 0.5)


def _excess_text(values: pd.Series) -> str:
    """E over the seeds for which it can be read, and how many those are where it is not all."""
    mean, count = geometric_mean(values.dropna()), int(values.notna().sum())
    if not readable(values):
        return f"not measurable ({count} of {len(values)} seeds)"
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


def _states(table: pd.DataFrame, step: int) -> dict[str, tuple[State, float]]:
    """By optimizer, what E says at one step, where it can be read, and its geometric mean."""
    found = {}
    for optimizer, label in LABELS.items():
        values = table[(table["step"] == step) & (table["optimizer"] == optimizer)]["excess"]
        if readable(values) and (mean := geometric_mean(values.dropna())):
            found[label] = ratio_state(mean), mean.estimate
    return found


@dataclass(frozen=True)
class Later:
    """What becomes of E of one setting along training.

    Attributes:
        first: the unit of C2 at initialization.
        steps: by step, then by optimizer, what E says there against Gaussian noise, and its geometric mean.
    """

    first: Unit
    steps: dict[int, dict[str, tuple[State, float]]]

    @property
    def gaussian_first(self) -> bool:
        """Whether E is near that of Gaussian noise at initialization."""
        return self.first.state in (State.NULL, State.WEAK)

    @property
    def heavy(self) -> set[bool]:
        """Whether E is clearly heavy at later steps: at all of them, at none, or both answers."""
        return {state is State.YES for own in self.steps.values() for state, _ in own.values()}

    def numbers(self, steps: Sequence[int]) -> str:
        """E by optimizer at some steps."""
        return "; ".join(
            f"{', '.join(f'{mean:.2f} ({label})' for label, (_, mean) in self.steps[step].items())} at step {step:,}"
            for step in steps
        )


def later(judged: Mapping[str, Unit], tables: Mapping[str, pd.DataFrame]) -> dict[str, Later]:
    """E at initialization, as C2 has judged it, and along training, by setting; without what cannot be read."""
    found = {}
    for name, table in tables.items():
        steps = {step: _states(table, step) for step in sorted(table["step"].unique()) if step > 0}
        if judged[name].interval is not None:
            found[name] = Later(judged[name], {int(step): own for step, own in steps.items() if own})
    return found


def later_text(found: Mapping[str, Later]) -> str:
    """What becomes of E along training, a line a setting, in Markdown."""
    heavy = "**heavy** at every later step that can be read"
    words = {
        (True,): heavy, (False,): "at no later step clearly heavy", (False, True): "heavy at some later steps",
        (): "which cannot be read later",
    }  # fmt: skip
    lines = []
    for name, own in found.items():
        first = "near Gaussian" if own.gaussian_first else WORDS[own.first.state]
        numbers = own.numbers(list(own.steps))
        lines.append(
            f"- {PROBLEMS[name].title}: {first} at initialization (E = {interval_text(own.first.interval)}), "
            f"{words[tuple(sorted(own.heavy))]}{': E = ' if numbers else ''}{numbers}."
        )
    return "\n".join(lines)


def _turned(found: Mapping[str, Later]) -> dict[str, int]:
    """The last step that can be read, of the settings that are near Gaussian at initialization and heavy there."""
    last = {name: max(own.steps, default=0) for name, own in found.items() if own.gaussian_first}
    return {
        name: step
        for name, step in last.items()
        if step and all(state is State.YES for state, _ in found[name].steps[step].values())
    }


def turned_heavy(found: Mapping[str, Later]) -> str:
    """Those settings in a sentence, with E at first and at last."""
    texts = []
    for name, step in _turned(found).items():
        first = found[name].first.interval
        assert first is not None
        texts.append(f"{PROBLEMS[name].title} (E from {first.estimate:.2f} to {found[name].numbers([step])})")
    if not texts:
        return "No setting's noise is near Gaussian at initialization and heavy later."
    return f"Noise that is near Gaussian at initialization is **heavy later** in {' and '.join(texts)}."


def headline(found: Mapping[str, Later]) -> str:
    """The finding of the figure along training, as its title."""
    names = " and ".join(PROBLEMS[name].title for name in _turned(found))
    return f"Near Gaussian at initialization, heavy later: {names or 'no setting'}"


def unreadable(tables: Mapping[str, pd.DataFrame]) -> str:
    """How many measurements after step 0 the reference gradient is too uncertain for: "2 of 6 in Setting 1"."""
    late = {name: table[table["step"] > 0]["excess"].isna() for name, table in tables.items()}
    return ", ".join(
        f"{lost.sum()} of {len(lost)} in {PROBLEMS[name].title}" for name, lost in late.items() if any(lost)
    )


def _index(estimate: float, low: float, high: float) -> str:
    """A tail index with its interval, where there is one."""
    if math.isnan(estimate):
        return "not measured"
    return f"{estimate:.2f}" + ("" if math.isnan(low) or math.isnan(high) else f" [{low:.2f}, {high:.2f}]")


def index_table(samples: Mapping[str, Array]) -> pd.DataFrame:
    """Tail indices at a few thresholds, a row a sample and estimator; gamma [95% interval at this threshold]."""
    rows = []
    for label, sample in samples.items():
        for estimator, function in ESTIMATORS.items():
            indices = {share: function(sample, max(2, round(share * len(sample)))) for share in SHARES}
            cells = {
                f"largest {share:.0%}": _index(*(float(each[0]) for each in (index.estimate, index.low, index.high)))
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


def index_text(samples: Mapping[str, Array], control: str) -> str:
    """What the few largest values say of the variance, in Markdown; that of `control` is infinite and is not asked."""
    words = {
        False: "both intervals lie below 1/2, no sign of infinite variance",
        True: "both intervals lie above 1/2, as infinite variance would look",
        None: "the two intervals do not decide",
    }
    answers = {label: variance_infinite(sample) for label, sample in samples.items()}
    lines = [f"- {label}: {words[answer]}." for label, answer in answers.items() if label != control]
    seen = {
        True: "the estimators see it at this size of sample, too",
        False: "yet both intervals lie below 1/2: at this size of sample they see nothing",
        None: "and at this size of sample the intervals do not settle even that: an answer left open says nothing",
    }
    return "\n".join([*lines, f"- {control}, the control: its variance **is** infinite, {seen[answers[control]]}."])


def conclusions(
    judged: Mapping[str, Unit], batches: Mapping[str, pd.DataFrame], along: Mapping[str, pd.DataFrame]
) -> str:
    """What the page has found, in Markdown."""
    first = said(
        judged.values(),
        yes="**heavier-tailed** than Gaussian noise of the same covariance",
        weak="a little heavier-tailed than Gaussian noise of the same covariance",
        null="as good as **Gaussian**",
        rev="**lighter-tailed** than Gaussian noise of the same covariance",
        undecided="perhaps Gaussian, perhaps not",
        line="- {Case}: at initialization the noise is {words}, E = {interval}.",
    )
    lines = [first, f"- {turned_heavy(later(judged, along))}"]
    small = [unit for unit in small_over_large(batches) if unit.state is State.YES]
    if small:
        names = ", ".join(f"{unit.case} ({interval_text(unit.interval)})" for unit in small)
        lines.append(f"- The batch decides: {small[0].statistic} is clearly above 1 in {names}.")
    return "\n".join(lines)
