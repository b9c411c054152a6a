"""Gradient noise: tail indices and E by batch size and along training, as tables and as units for its sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...diagnostics.tails import Array, hill, moment_estimator
from ..claims.c2 import geometric_mean
from ..claims.records import Verdict, interval_text
from ..claims.rules import Keys, State, Unit, ratio_state, ratio_unit
from ..problems import PROBLEMS
from ..scales import LABELS
from .template import Lamp
from .words import said, tally

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
        """Whether E is heavy by the rule at later steps: at all of them, at none, or both answers."""
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
        (True,): heavy, (False,): "at no later step heavy", (False, True): "heavy at some later steps",
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


def title(verdict: Verdict) -> str:
    """What the noise at initialization shows, in a line for a figure."""
    return "Against Gaussian noise of the same covariance: " + tally(
        verdict, yes="a heavier tail", weak="a slightly heavier one", null="no difference", rev="a lighter one",
        undecided="open",
    )  # fmt: skip


def batch_title(units: Sequence[Unit]) -> str:
    """What smaller batches do, in a line for a figure; from :func:`small_over_large`."""
    return "The smaller the batch, the heavier the tail: " + tally(
        units, yes="by a quarter or more", weak="by less", null="no difference", rev="the reverse", undecided="open"
    )


def index_title(samples: Mapping[str, Array], control: str) -> str:
    """What the tail indices say, in a line for a figure."""
    answers = [variance_infinite(sample) for label, sample in samples.items() if label != control]
    return (
        f"The tail index is above 1/2 (infinite variance) in {answers.count(True)}, below in {answers.count(False)} of "
        f"{len(answers)} settings"
    )


def by_batch(tables: Mapping[str, pd.DataFrame], judged: int) -> list[Unit]:
    """E at each batch size but the judged one, a unit a setting and size, with the keys of the setting's case in C2."""
    units = []
    for name, table in tables.items():
        for size, own in table[table["batch"] != judged].groupby("batch"):
            mean = geometric_mean(own["excess"].to_numpy())
            units.append(ratio_unit(PROBLEMS[name].title, f"E at B = {size:,}", mean, keys=Keys((name,))))
    return units


def steady(found: Mapping[str, Later]) -> Lamp:
    """In how many settings every later step that can be read says what initialization says."""
    read = [own for own in found.values() if own.steps]
    kept = sum(all(state is own.first.state for at in own.steps.values() for state, _ in at.values()) for own in read)
    return Lamp(kept, len(read), "settings say the same at every later step that can be read, at the published rates")


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
        lines.append(f"- The batch decides: {small[0].statistic} is above 1 in {names}.")
    return "\n".join(lines)


def null_answer(batches: Mapping[str, pd.DataFrame]) -> str:
    """What the smallest batch does to C and to E, a line a setting, in Markdown."""
    lines = []
    for name, table in batches.items():
        middle = table.groupby("batch")[["excess", "directions", "null_q99"]].median()
        small, large = middle.iloc[0], middle.iloc[-1]
        lines.append(
            f"- {PROBLEMS[name].title}: from batches of {middle.index[-1]:,} to {middle.index[0]:,} the effective "
            f"number of directions goes from {large['directions']:.0f} to {small['directions']:.0f} and the Gaussian's "
            f"99% quantile over its median from {large['null_q99']:.2f} to {small['null_q99']:.2f}; E from "
            f"{large['excess']:.2f} to {small['excess']:.2f}."
        )
    return "\n".join(lines)


def views_answer(found: pd.DataFrame, column: str, words: str) -> str:
    """E of the noise by its norm beside another view of it, a line a setting, in Markdown."""
    return "\n".join(
        f"- {PROBLEMS[row['setting']].title}: E = {row['norm']:.2f} by the norm, {row[column]:.2f} {words}."
        for row in found.to_dict("records")
    )


def depth_answer(found: pd.DataFrame) -> str:
    """Width and tail at zero parameters by depth, against the law that the exercise derives."""
    first = found.iloc[0]
    return (
        "; ".join(
            f"L = {row.layers}: median length {row.median / first['median']:.3f} of that at "
            f"L = {first['layers']:.0f} (the law says {(row.layers / first['layers']) ** 0.5:.3f}), "
            f"E = {row.excess:.2f}"
            for row in found.iloc[1:].itertuples()
        )
        + "."
    )
