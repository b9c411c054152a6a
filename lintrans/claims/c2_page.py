"""What the page on C2 says: sentences and tables, made from the numbers of :mod:`.c2`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..diagnostics.noise import gaussian_norms
from ..diagnostics.tails import Array, excess, hill, moment_estimator, word
from ..problems import PROBLEMS
from ..settings import LABELS
from .c2 import MOST_ERROR, geometric_mean
from .records import Verdict, interval_text
from .rules import State, ratio_state

PHRASES = {
    State.YES: "**heavier-tailed** than Gaussian noise of the same covariance, clearly",
    State.WEAK: "heavier-tailed than Gaussian noise of the same covariance, **by little**",
    State.NULL: "as heavy-tailed as Gaussian noise of the same covariance",
    State.REV: "**lighter-tailed** than Gaussian noise of the same covariance",
    State.UNDECIDED: "the initializations do not decide",
    State.MISSING: "not measured at this scale",
}
WORDS = {
    State.YES: "heavier",
    State.WEAK: "slightly heavier",
    State.NULL: "alike",
    State.REV: "lighter",
    State.UNDECIDED: "undecided",
    State.MISSING: "not measured",
}
INFINITE_VARIANCE = 0.5
"""Tail index gamma = 1 / alpha above which the variance is infinite."""
SHARES = (0.01, 0.05, 0.1)
"""Shares of the sample that tail indices in the table are estimated from."""
KEPT_SEED = 0


def kept_norms(table: pd.DataFrame) -> Array:
    """Norms of the noise of the first initialization."""
    norms: Array = np.asarray(table.set_index("seed").loc[KEPT_SEED, "norms"], dtype=np.float64)
    return norms


def kept_null(table: pd.DataFrame) -> Array:
    """Norms of Gaussian noise with the covariance of the first initialization's."""
    spectrum = np.asarray(table.set_index("seed").loc[KEPT_SEED, "spectrum"], dtype=np.float64)
    return gaussian_norms(spectrum, seed=KEPT_SEED)


def pareto(count: int, alpha: float) -> Array:
    """A sample of infinite variance (alpha < 2) to compare with: P(X > x) = x^(-alpha) for x >= 1."""
    uniforms = np.random.Generator(np.random.Philox(key=0)).uniform(size=count)
    sample: Array = (1.0 - uniforms) ** (-1.0 / alpha)
    return sample


def describe(verdict: Verdict) -> str:
    """What the units that decide say, a sentence a setting, in Markdown."""
    lines = []
    for unit in verdict.units:
        if unit.decides:
            number = "" if unit.interval is None else f"; E = {interval_text(unit.interval)}"
            lines.append(f"- {unit.case.capitalize()}: {PHRASES[unit.state]}{number}.")
    return "\n".join(lines)


def summary(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Width and tail side by side, a column a setting: medians over the initializations."""
    columns = {}
    for name, table in tables.items():
        middle = table.drop(columns=["norms", "spectrum"]).median()
        columns[PROBLEMS[name].title] = {
            "median norm of the noise": f"{middle['median']:.3g}",
            "the same over the norm of the gradient": f"{middle['relative']:.2f}",
            "directions, (tr C)² / tr C²": f"{middle['directions']:.0f}",
            "q99 / median": f"{middle['q99']:.2f}",
            "the same of N(0, C)": f"{middle['null_q99']:.2f}",
            "q99.9 / median": f"{middle['q999']:.2f}",
            "of N(0, C)": f"{middle['null_q999']:.2f}",
            "excess kurtosis of the norm": f"{middle['kurtosis']:.2g}",
            "that of N(0, C)": f"{middle['null_kurtosis']:.2g}",
        }
    return pd.DataFrame(columns).rename_axis("median over initializations").reset_index()


def describe_widths(tables: Mapping[str, pd.DataFrame]) -> str:
    """Whether the order of the settings by width is their order by tail, in a sentence."""
    widths = {name: float(table["median"].median()) for name, table in tables.items()}
    tails = {name: float(table["excess"].median()) for name, table in tables.items()}
    widest, heaviest = max(widths, key=lambda k: widths[k]), max(tails, key=lambda k: tails[k])
    if widest == heaviest:
        return f"Here the widest noise is also the heaviest-tailed: {PROBLEMS[widest].title}."
    return (
        f"The widest noise is that of {PROBLEMS[widest].title} (median norm {widths[widest]:.3g}), the heaviest-tailed "
        f"that of {PROBLEMS[heaviest].title}, whose median norm is {widths[heaviest]:.3g}."
    )


def describe_seed(tables: Mapping[str, pd.DataFrame]) -> str:
    """What one would say with the first initialization alone, as a histogram does, in Markdown."""
    lines = []
    for name, table in tables.items():
        found = excess(kept_norms(table), kept_null(table))
        lines.append(f"- {PROBLEMS[name].title}, seed {KEPT_SEED} alone: {word(found)}, E = {interval_text(found)}.")
    return "\n".join(lines)


def _excess_text(values: pd.Series) -> str:
    """E over the seeds for which it can be read, and how many those are where it is not all."""
    found, count = geometric_mean(values.dropna()), int(values.notna().sum())
    if not count:
        return f"not measurable (0 of {len(values)} seeds)"
    text = f"{interval_text(found)} {WORDS[ratio_state(found)]}"
    return text if count == len(values) else f"{text} ({count} of {len(values)} seeds)"


def batch_table(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """E by batch size, a row a setting."""
    rows = []
    for name, table in tables.items():
        sizes = {f"B = {size:,}": _excess_text(own["excess"]) for size, own in table.groupby("batch")}
        rows.append({"setting": PROBLEMS[name].title, **sizes})
    return pd.DataFrame(rows)


def describe_batches(tables: Mapping[str, pd.DataFrame]) -> str:
    """Whether averaging over more prompts brings the noise nearer to a Gaussian, a sentence a setting."""
    lines = []
    for name, table in tables.items():
        small, large = int(table["batch"].min()), int(table["batch"].max())
        logs = table.pivot(index="seed", columns="batch", values="excess")
        found = geometric_mean((logs[small] / logs[large]).to_numpy())
        state = ratio_state(found)
        words = {
            State.YES: "the tail is heavier in small batches, clearly",
            State.WEAK: "the tail is heavier in small batches, by little",
            State.NULL: "the batch size changes the tail little",
            State.REV: "the tail is heavier in **large** batches",
        }.get(state, "the initializations do not decide whether the batch size matters")
        number = "" if found is None else f"; E at B = {small:,} over E at B = {large:,} is {interval_text(found)}"
        lines.append(f"- {PROBLEMS[name].title}: {words}{number}.")
    return "\n".join(lines)


def along_table(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """E by training step, a row a setting and optimizer."""
    rows = []
    for name, table in tables.items():
        for optimizer in LABELS:
            own = table[table["optimizer"] == optimizer]
            steps = {f"step {step:,}": _excess_text(part["excess"]) for step, part in own.groupby("step")}
            rows.append({"setting": PROBLEMS[name].title, "optimizer": LABELS[optimizer], **steps})
    return pd.DataFrame(rows)


def describe_along(tables: Mapping[str, pd.DataFrame]) -> str:
    """Whether the tail grows from the first to the last step, a sentence a setting, in Markdown."""
    words = {
        State.YES: "has grown much heavier",
        State.WEAK: "has grown a little heavier",
        State.NULL: "has hardly changed",
        State.REV: "has grown **lighter**",
        State.UNDECIDED: "cannot be told from that at initialization by these seeds",
        State.MISSING: "cannot be measured",
    }
    lines = []
    for name, table in tables.items():
        last = int(table["step"].max())
        parts = []
        for optimizer in LABELS:
            own = table[table["optimizer"] == optimizer].pivot(index="seed", columns="step", values="excess")
            found = geometric_mean((own[last] / own[0]).dropna())
            text = f"with {LABELS[optimizer]} the tail {words[ratio_state(found)]}"
            parts.append(text if found is None else f"{text} ({interval_text(found)} times E at step 0)")
        lines.append(f"- {PROBLEMS[name].title}, step {last:,}: {'; '.join(parts)}.")
    return "\n".join(lines)


def describe_unreadable(tables: Mapping[str, pd.DataFrame], reference: int) -> str:
    """Where the reference gradient is too uncertain to measure noise from, in a sentence."""
    parts = []
    for name, table in tables.items():
        values = table[table["step"] > 0]["excess"]
        if lost := int(values.isna().sum()):
            parts.append(f"{lost} of {len(values)} in {PROBLEMS[name].title}")
    if not parts:
        return "At every step the reference gradient is certain enough to measure noise from."
    return (
        f"Some of the measurements after step 0 cannot be read ({', '.join(parts)}): there the standard error of the "
        f"reference gradient exceeds {MOST_ERROR:g} "
        f"of the median norm of the noise. Single prompts among the {reference:,} of the reference then rule its mean, "
        "and what is called noise is the error of the reference. That is a sign of a heavier tail, not of a lighter "
        "one; the means below are over the other seeds."
    )


def index_table(samples: Mapping[str, Array]) -> pd.DataFrame:
    """Tail indices at a few thresholds, a row a sample and estimator; gamma [95% interval at this threshold]."""
    rows = []
    for label, sample in samples.items():
        for estimator, function in (("Hill", hill), ("moment", moment_estimator)):
            cells = {}
            for share in SHARES:
                k = max(2, round(share * len(sample)))
                found = function(sample, k)
                text = f"{found.estimate[0]:.2f} [{found.low[0]:.2f}, {found.high[0]:.2f}]"
                cells[f"largest {share:.0%}"] = text
            rows.append({"sample": label, "estimator": estimator, **cells})
    return pd.DataFrame(rows)


def describe_index(samples: Mapping[str, Array]) -> str:
    """Which samples the estimates at the few largest values allow to have infinite variance, in a sentence each."""
    lines = []
    for label, sample in samples.items():
        k = max(2, round(SHARES[0] * len(sample)))
        found = [function(sample, k) for function in (hill, moment_estimator)]
        below = all(each.high[0] < INFINITE_VARIANCE for each in found)
        above = all(each.low[0] > INFINITE_VARIANCE for each in found)
        verdict = (
            "both intervals lie below 1/2: no sign of infinite variance"
            if below
            else "both intervals lie above 1/2: as infinite variance would look"
            if above
            else "the largest values alone would not exclude infinite variance"
        )
        lines.append(f"- {label}, largest {SHARES[0]:.0%} of the values: {verdict}.")
    return "\n".join(lines)
