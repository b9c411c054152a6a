"""What the page on C6 to C8 says: sentences and tables, made from the numbers of :mod:`.tails` and the verdicts."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence

import pandas as pd

from ..budgets import TailBudget
from ..history import History
from ..problems import PROBLEMS, TAIL_FAMILIES
from ..protocol import Tuning
from ..settings import LABELS
from ..statistics import Interval
from .c6 import STATISTIC as NOISE_RATIO
from .c7 import robust
from .c8 import steps_of
from .records import Verdict, interval_text
from .rules import LEVEL, State, Unit
from .tails import FAMILIES, FEWEST, PAIR, STATISTICS, Trend, level_name, target_of

SHOWN = ("loss", "noise", "r_lower")
"""Statistics of the figure: gap in loss, tail of the noise, gap in R_med."""
GAUSSIAN = 2.5
"""The shape at which the covariates are Gaussian, for d = 5, whatever their scale."""


def _lines(units: Iterable[Unit], words: Mapping[State, str]) -> str:
    """A sentence a unit in Markdown: the case, what its state means, the number."""
    return "\n".join(
        f"- {unit.case[0].upper()}{unit.case[1:]}: {words[unit.state]}; {interval_text(unit.interval)}."
        for unit in units
    )


def describe_noise(verdict: Verdict) -> str:
    """What C6's units about the noise say, in Markdown."""
    words = {
        State.YES: "the noise of the heavy-tailed covariates is **heavier-tailed**, clearly",
        State.WEAK: "the noise of the heavy-tailed covariates is heavier-tailed, **by little**",
        State.NULL: "the tails of the noise are **alike**",
        State.REV: "the noise of the heavy-tailed covariates is **lighter-tailed**",
        State.UNDECIDED: "the initializations do not decide",
        State.MISSING: "not measured at this scale",
    }
    return f"{NOISE_RATIO}:\n\n" + _lines((unit for unit in verdict.units if unit.keys.problems), words)


def describe_condition(verdict: Verdict) -> str:
    """What C7's units say, and whether the verdict is robust, in Markdown."""
    words = {
        State.YES: "the gap is **larger** with heavy tails, clearly",
        State.WEAK: "the gap is larger with heavy tails, **by little**",
        State.NULL: "the gap is **the same**",
        State.REV: "the gap is **smaller** with heavy tails",
        State.UNDECIDED: "the seeds do not decide",
        State.MISSING: "not measured at this scale",
    }
    holds = "**robust**: every convention says YES" if robust(verdict) else "**not robust**"
    beside = [unit for unit in verdict.units if unit.keys.problems == PAIR and not unit.decides]
    yes, rev = (sum(unit.state is state for unit in beside) for state in (State.YES, State.REV))
    return (
        _lines(verdict.units, words)
        + f"\n\nThe {verdict.reading} reading is {holds}. Of the {len(beside)} other ways to compare the same runs, "
        f"{yes} say YES and {rev} REV."
    )


def describe_speed(verdict: Verdict) -> str:
    """What C8's units say, in Markdown."""
    faster = {
        State.YES: "training is **faster** on the sphere, clearly",
        State.WEAK: "training is faster on the sphere, **by little**",
        State.NULL: "training takes **as long** on the sphere",
        State.REV: "training is **slower** on the sphere",
    }
    stays = {State.YES: "it **stays**", State.REV: "it **changes**"}
    grows = {
        State.YES: "it **grows** with the tails, clearly",
        State.WEAK: "it grows with the tails, **by little**",
        State.NULL: "it is **the same**",
        State.REV: "it **shrinks** with the tails",
    }
    rest = {State.UNDECIDED: "the seeds do not decide", State.MISSING: "not measured at this scale"}
    lines = []
    for unit in verdict.units:
        words = faster if unit.keys.optimizer else stays if unit.keys.part == "gap" else grows
        lines.append(_lines([unit], {**words, **rest}))
    return "\n".join(lines)


def contradiction(verdict: Verdict) -> str:
    """Whether the gap in steps grows with the tails, against the claim, in a sentence."""
    growth = next(unit for unit in verdict.units if unit.keys.part == "growth")
    if growth.state in (State.YES, State.WEAK):
        return "That the gap grows with the tails **contradicts** this claim of the paper, and supports its summary."
    if growth.state is State.MISSING:
        return "Whether the gap grows with the tails was not measured in this reading."
    return "That the gap grows with the tails is not seen in this reading."


def steps_table(histories: Mapping[str, History]) -> pd.DataFrame:
    """Targets and median steps to them, with the runs that never get there, a row a setting."""
    rows = []
    for name in (name for name in PAIR if name in histories):
        history = histories[name]
        row = {"setting": PROBLEMS[name].title, "target 1.01 f* + 1 % f0": f"{target_of(name, history):.3g}"}
        for optimizer, label in LABELS.items():
            logs, lost = steps_of(history, name, optimizer)
            steps = math.exp(logs.median())
            text = f"{steps:,.0f}" if lost <= 0.5 else "not reached"
            row[f"{label}: median steps"] = text
            row[f"{label}: never reached"] = f"{round(lost * len(logs))} of {len(logs)}"
        rows.append(row)
    return pd.DataFrame(rows)


def level_table(summary: pd.DataFrame, statistics: Sequence[str]) -> pd.DataFrame:
    """Statistics with their intervals, a row a family and level."""
    rows = []
    for family, problems in TAIL_FAMILIES.items():
        for shape, name in problems.items():
            row = {
                "family": FAMILIES[family],
                "level": level_name(shape),
                r"$\mathbb{E}\lVert x \rVert^2$": f"{PROBLEMS[name].task.zero_loss:.3g}",
                "clip": f"{PROBLEMS[name].clip:g}",
            }
            for statistic in statistics:
                own = summary[
                    (summary["family"] == family) & (summary["shape"] == shape) & (summary["statistic"] == statistic)
                ]
                row[STATISTICS[statistic]] = (
                    "not measured" if own.empty else interval_text(_interval(own.iloc[0].to_dict()))
                )
            rows.append(row)
    return pd.DataFrame(rows)


def _interval(row: Mapping[Hashable, float]) -> Interval:
    return Interval(row["estimate"], row["low"], row["high"], math.nan, int(row["n"]))


def trend_table(found: Sequence[Trend]) -> pd.DataFrame:
    """Kendall's tau of every statistic and family."""
    rows = []
    for trend in found:
        measured = not math.isnan(trend.tau)
        rows.append(
            {
                "family": FAMILIES[trend.family],
                "statistic": STATISTICS[trend.statistic],
                "levels": trend.levels,
                "τ of the means": f"{trend.tau:.2f}" if measured else "not measured",
                "p": f"{trend.p:.2g}" if measured else "no number",
                "mean τ over seeds [95% interval]": interval_text(trend.seeds),
            }
        )
    return pd.DataFrame(rows)


def describe_trends(found: Sequence[Trend], statistics: Sequence[str] = SHOWN) -> str:
    """Whether each statistic grows along the levels of each family, a sentence each, in Markdown."""
    lines = []
    for trend in found:
        if trend.statistic not in statistics:
            continue
        if math.isnan(trend.tau):
            words = "is the same at every level" if trend.levels >= FEWEST else "too few levels were measured"
        elif trend.p < LEVEL:
            strictly = ", at every step" if abs(trend.tau) > 1 - 1e-9 else ""
            words = f"**{'grows' if trend.tau > 0 else 'shrinks'}** with the tails{strictly}"
        else:
            words = "shows **no clear order**"
        number = "" if math.isnan(trend.tau) else f" (τ = {trend.tau:.2f}, p = {trend.p:.2g})"
        lines.append(f"- {STATISTICS[trend.statistic]}, {FAMILIES[trend.family]}: {words}{number}.")
    return "\n".join(lines)


def describe_confound(summary: pd.DataFrame) -> str:
    """What scale alone does: Gaussian covariates at both second moments, in Markdown."""
    lines = []
    moments = [PROBLEMS[TAIL_FAMILIES[family][GAUSSIAN]].task.zero_loss for family in FAMILIES]
    for statistic in SHOWN:
        own = summary[(summary["shape"] == GAUSSIAN) & (summary["statistic"] == statistic)].set_index("family")
        if set(own.index) != set(FAMILIES):
            lines.append(f"- {STATISTICS[statistic]}: not measured at both.")
            continue
        texts = [interval_text(_interval(own.loc[family].to_dict())) for family in FAMILIES]
        apart = own["low"].max() > own["high"].min()
        words = "the intervals lie apart" if apart else "the intervals overlap"
        lines.append(f"- {STATISTICS[statistic]}: {texts[0]} at {moments[0]:g}, {texts[1]} at {moments[1]:g}; {words}.")
    return "\n".join(lines)


def describe_levels(tunings: Mapping[str, Tuning], budget: TailBudget) -> str:
    """How the levels were trained, and which of them have no best rate inside the rates tried, in Markdown."""
    training = budget.training
    lost = [PROBLEMS[name].title for name, tuning in tunings.items() if not tuning.complete]
    text = (
        f"Each level is tuned for itself, on {len(training.rates)} rates and {len(training.tuning_seeds)} tuning seed, "
        f"and trained for {training.steps:,} steps with {training.seeds} seeds; its noise comes from "
        f"{budget.noise_seeds} initializations and {budget.noise_samples:,} minibatches, except where another page has "
        "measured more."
    )
    return f"{text} Left out, since no best rate was found inside the rates tried: {', '.join(lost)}." if lost else text


def rates_table(tunings: Mapping[str, Tuning]) -> pd.DataFrame:
    """The best rates of every level."""
    rows = []
    for family, problems in TAIL_FAMILIES.items():
        for shape, name in problems.items():
            best = tunings[name].best if name in tunings else {}
            rates = {f"{label} rate": f"{best[o].lr:g}" if o in best else "none" for o, label in LABELS.items()}
            rows.append({"family": FAMILIES[family], "level": level_name(shape), **rates})
    return pd.DataFrame(rows)


__all__ = [
    "contradiction",
    "describe_condition",
    "describe_confound",
    "describe_levels",
    "describe_noise",
    "describe_speed",
    "describe_trends",
    "level_table",
    "rates_table",
    "steps_table",
    "trend_table",
]
