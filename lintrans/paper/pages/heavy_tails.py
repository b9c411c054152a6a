"""Tables and numbers of the page on heavy tails."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from ...statistics import Interval
from ...training.history import History
from ..claims.c8 import all_steps
from ..claims.records import Verdict, interval_text
from ..claims.rules import LEVEL, State
from ..claims.tails import FAMILIES, FEWEST, PAIR, STATISTICS, Trend, level_name, trained_target
from ..claims.wording import cases, record_of
from ..judged import Judged, Tuning
from ..problems import PROBLEMS, TAIL_FAMILIES
from ..scales import LABELS
from .template import Lamp
from .words import phrases, said, sized

SHOWN = ("loss", "noise", "r_lower")
"""Statistics of the figure: gap in loss, tail of the noise, gap in R_med."""
SAID = {
    "loss": "the gap in end loss",
    "above": "the gap in what is left above $f^\\star$",
    "noise": "the tail of the noise, $E$,",
    "r_lower": r"the gap in $R_\mathrm{med}$",
}
"""Statistics whose order along the levels is told."""
GAUSSIAN = 2.5
"""The shape at which the covariates are Gaussian, for d = 5, whatever their scale."""


def _levels() -> Iterator[tuple[str, float, str, dict[str, str]]]:
    """Family, shape, problem and first cells of a row, of each level."""
    for family, problems in TAIL_FAMILIES.items():
        for shape, name in problems.items():
            yield family, shape, name, {"family": FAMILIES[family], "level": level_name(shape)}


def levels(summary: pd.DataFrame, statistics: Sequence[str], shapes: Sequence[float] = ()) -> pd.DataFrame:
    """Statistics with their intervals, a row a family and level; only of the shapes named, if any."""
    intervals = {
        (row["family"], row["shape"], row["statistic"]): Interval(
            row["estimate"], row["low"], row["high"], math.nan, row["n"]
        )
        for row in summary.to_dict("records")
    }
    return pd.DataFrame(
        cells
        | {
            r"$\mathbb{E}\lVert x \rVert^2$": f"{PROBLEMS[name].task.zero_loss:.3g}",
            "clip": f"{PROBLEMS[name].clip:g}",
        }
        | {STATISTICS[key]: interval_text(intervals.get((family, shape, key))) for key in statistics}
        for family, shape, name, cells in _levels()
        if not shapes or shape in shapes
    )


def scale_alone(summary: pd.DataFrame) -> list[str]:
    """Statistics whose intervals lie apart between the two families at Gaussian covariates, which differ in scale."""
    at = summary[(summary["shape"] == GAUSSIAN) & summary["statistic"].isin(SHOWN)].groupby("statistic", sort=False)
    return [STATISTICS[str(name)] for name, both in at if both["low"].max() > both["high"].min()]


def trends(found: Sequence[Trend]) -> pd.DataFrame:
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


def trend_state(trend: Trend) -> State:
    """What a trend says: YES it grows, REV it shrinks, both at 5%; NULL where all levels are alike."""
    if math.isnan(trend.tau):
        return State.NULL if trend.levels >= FEWEST else State.MISSING
    if trend.p >= LEVEL:
        return State.UNDECIDED
    return State.YES if trend.tau > 0 else State.REV


ORDER = phrases(
    yes="**grows** with the tails",
    weak="grows with the tails",
    null="is the same at every level",
    rev="**shrinks** with heavier tails",
    undecided="shows **no clear order**",
)


def order_text(found: Sequence[Trend], summary: pd.DataFrame, family: str, statistic: str) -> str:
    """One statistic along one family: words by Kendall's tau and its p, then the means from light tails on."""
    [trend] = [own for own in found if (own.family, own.statistic) == (family, statistic)]
    rows = summary[(summary["family"] == family) & (summary["statistic"] == statistic)]
    means = rows.sort_values("shape", ascending=False)["estimate"]
    numbers = ", ".join(f"{value:.3g}" for value in means)
    test = "" if math.isnan(trend.tau) else f"; τ = {trend.tau:.2f}, p = {trend.p:.2g}"
    return f"{SAID[statistic]} {ORDER[trend_state(trend)]}" + (f" ({numbers}{test})" if numbers else "")


def orders(found: Sequence[Trend], summary: pd.DataFrame) -> str:
    """What grows and what shrinks along the levels of tail, a line a family, in Markdown."""
    lines = []
    for family, words in FAMILIES.items():
        texts = "; ".join(order_text(found, summary, family, statistic) for statistic in SAID)
        lines.append(f"- {words[:1].upper()}{words[1:]}, each optimizer at its best rate: {texts}.")
    return "\n".join(lines)


def headline(found: Sequence[Trend], family: str = "moment") -> str:
    """The finding of the figure of levels, as its title."""
    own = {trend.statistic: trend for trend in found if trend.family == family}
    words = {State.YES: "grows", State.REV: "shrinks", State.NULL: "stays", State.UNDECIDED: "has no clear order"}
    texts = [
        f"{what} {words.get(trend_state(own[key]), 'was not measured')}"
        for key, what in (("loss", "the loss gap"), ("noise", "the noise's tail"), ("r_lower", "the R_med gap"))
    ]
    return f"Heavier tails, {FAMILIES[family]}:\n{', '.join(texts)}"


NOISE = {
    "yes": "give noise with a heavier tail: {sizes} the $E$ of the sphere",
    "weak": "give noise with a slightly heavier tail: {sizes} the $E$ of the sphere",
    "null": "do not change the tail of the noise ({sizes})",
    "rev": "give noise with a **lighter** tail ({sizes})",
    "undecided": "may or may not give noise with a heavier tail ({sizes})",
}
"""What C6 says, by state."""


def result(by_noise: Verdict, found: Sequence[Trend], summary: pd.DataFrame) -> str:
    """The page's result in a line, as a quotation in Markdown: noise, then the gap at one scale, then scale alone."""
    noise = sized(cases(record_of(by_noise)), where="", **NOISE)
    [trend] = [own for own in found if (own.family, own.statistic) == ("moment", "loss")]
    rows = summary[summary["statistic"] == "loss"]
    ends = rows[rows["family"] == "moment"].sort_values("shape", ascending=False)
    places = [(row["estimate"], level_name(row["shape"])) for row in ends.iloc[[0, -1]].to_dict("records")]
    numbers = [f"{value:.3g}x at {level.replace('sphere', 'the sphere')}" for value, level in places]
    span = f", from {' to '.join(numbers)}" if len(ends) > 1 else ""
    return (
        f"> **Heavier tails of the data** {noise}. **The loss gap**, at {FAMILIES['moment']} and best rates, "
        f"{ORDER[trend_state(trend)]}{span}. **Scale alone** {_scale_effect(rows)}."
    )


def _scale_effect(rows: pd.DataFrame) -> str:
    both = rows[rows["shape"] == GAUSSIAN].set_index("family")
    if len(both) < len(FAMILIES):
        return "was not measured"
    one, other = (both.loc[family] for family in FAMILIES)
    squares = [PROBLEMS[TAIL_FAMILIES[family][GAUSSIAN]].task.zero_loss for family in FAMILIES]
    verb = "moves it" if max(one["low"], other["low"]) > min(one["high"], other["high"]) else "is not seen to move it"
    return (
        f"{verb}: at Gaussian covariates {one['estimate']:.3g}x with $\\E\\norm{{x}}^2 = {squares[0]:g}$ and "
        f"{other['estimate']:.3g}x with ${squares[1]:g}$"
    )


def title_scale(rescaled: pd.DataFrame) -> str:
    """What the least scale does to each optimizer's balance, as the title of a figure."""
    own = rescaled[rescaled["factor"] == rescaled["factor"].min()]
    folds = {key: float(own[key].mean()) for key in LABELS}
    texts = [f"{max(fold, 1 / fold):.3g}-fold for {LABELS[key]}" for key, fold in folds.items()]
    return f"At c² = {float(own['factor'].iloc[0]) ** 2:.3g} the balance of steps changes {' and '.join(texts)}"


def title_noise(verdict: Verdict) -> str:
    """What C6 says, as the title of a figure."""
    return said(
        verdict,
        yes="Heavier-tailed covariates give heavier-tailed noise (E is {interval} times the sphere's)",
        weak="Heavier-tailed covariates give slightly heavier-tailed noise (E is {interval} times the sphere's)",
        null="The tail of the noise is the same in both (E is {interval} times the sphere's)",
        rev="Heavier-tailed covariates give lighter-tailed noise (E is {interval} times the sphere's)",
        undecided="The seeds do not decide which noise is the heavier-tailed (E is {interval} times the sphere's)",
        line="{words}",
        unmeasured="",
    )


def title_r(verdict: Verdict) -> str:
    """What C7 says, as the title of a figure."""
    return said(
        verdict,
        yes="The gap in R_med is larger with heavy tails ({interval} times)",
        weak="The gap in R_med is a little larger with heavy tails ({interval} times)",
        null="The gap in R_med is the same with heavy tails ({interval} times)",
        rev="The gap in R_med is smaller with heavy tails ({interval} times)",
        undecided="The gap in R_med: the seeds do not decide ({interval} times)",
        line="{words}",
        unmeasured="",
    )


def title_speed(verdict: Verdict) -> str:
    """What C8 says, as the title of a figure."""
    units = [unit for unit in verdict.units if unit.decides]
    faster = sum(unit.state in (State.YES, State.WEAK) for unit in units[:2])
    gap = said(
        units[2:],
        **dict.fromkeys(("yes", "weak", "null"), "the gap in steps stays"),
        rev="the gap in steps changes",
        undecided="whether the gap in steps stays is open",
        line="{words} (D = {interval})",
        unmeasured="the gap was not measured",
    )
    return f"{faster} of 2 optimizers are faster on the sphere; {gap}"


def horizon(verdict: Verdict) -> Lamp:
    """Whether the gap in loss says the same at the end and after the cooldown."""
    states = {unit.keys.part: unit.state for unit in verdict.units if unit.keys.problems == PAIR}
    both = [states[part] for part in ("loss", "cooled") if states.get(part, State.MISSING) is not State.MISSING]
    measured = len(both) > 1
    words = "gap in end loss at the best rates says the same after a cooldown"
    return Lamp(int(measured and both[0] is both[1]), int(measured), words if measured else "not measured")


def gap_in_r(verdict: Verdict) -> str:
    """What C7 says of one reading, and how many of the other ways to compare say otherwise."""
    beside = [unit.state for unit in verdict.units if not unit.decides]
    text = said(
        verdict,
        yes=r"the gap in $R_\mathrm{{med}}$ is **larger** with heavy tails",
        weak=r"the gap in $R_\mathrm{{med}}$ is larger with heavy tails, by little",
        null=r"the gap in $R_\mathrm{{med}}$ is **the same** with heavy tails",
        rev=r"the gap in $R_\mathrm{{med}}$ is **smaller** with heavy tails",
        undecided=r"whether the gap in $R_\mathrm{{med}}$ is larger with heavy tails stays **open**",
        line=f"At the {verdict.reading} rates {{words}}: {{interval}} times that on the sphere.",
        unmeasured=f"At the {verdict.reading} rates: {{words}}.",
    )
    against = "; ".join(name for name, holds in verdict.checks.items() if not holds)
    robust = f" (**not robust**: another answer under {against})" if against else ""
    return (
        f"{text} Of {len(beside)} other ways to compare, {beside.count(State.YES) + beside.count(State.WEAK)} say "
        f"larger and {beside.count(State.REV)} smaller{robust}."
    )


def speeds(verdict: Verdict) -> str:
    """What C8 says of one reading: the steps of each optimizer, then their ratio."""
    steps = said(
        verdict.units[:2],
        yes="**faster** on the sphere",
        weak="faster on the sphere, by little",
        null="as fast on the sphere",
        rev="**slower** on the sphere",
        undecided="perhaps faster on the sphere",
        line="{case} is {words} (Setting 3 takes {interval} times the steps)",
        unmeasured="{case} is {words}",
    )
    gap = said(
        verdict.units[2:3],
        **dict.fromkeys(("yes", "weak", "null"), "**stays**"),
        rev="**changes**",
        undecided="may stay or change",
        line="the gap between them {words} (D = {interval})",
        unmeasured="the gap between them is {words}",
    )
    return f"At the {verdict.reading} rates {'; '.join([*steps.splitlines(), gap])}."


def rates_apart(histories: Mapping[str, History]) -> dict[str, float]:
    """By optimizer, its rate on the sphere over that in Setting 3."""
    heavy, light = (histories[name].runs.groupby("optimizer")["lr"].first() for name in PAIR)
    return {key: float(light[key] / heavy[key]) for key in LABELS if key in light.index}


SIDES = {State.YES: "larger", State.WEAK: "larger", State.NULL: "the same", State.REV: "smaller"}


def steps_against_loss(verdict: Verdict, histories: Mapping[str, History]) -> str:
    """Whether D and the gap in end loss go the same way with the tails, and what their comparison rests on."""
    units = {unit.keys.part: unit for unit in verdict.units if unit.keys.problems == PAIR}
    steps, ends = (SIDES.get(units[part].state) for part in ("growth", "loss"))
    if len([name for name in PAIR if name in histories]) < len(PAIR):
        return "Steps and end losses were not both measured."
    if steps is None and ends is None:
        text = "Neither steps nor end losses decide whether the gap is larger with heavy tails."
    elif steps is None or ends is None:
        which, other, side = ("end losses", "steps", ends) if steps is None else ("steps", "end losses", steps)
        text = f"By {which} the gap is {side} with heavy tails; {other} do not decide."
    elif steps == ends:
        text = f"By steps and by end losses alike the gap is {steps} with heavy tails."
    else:
        text = (
            f"By steps the gap is {steps} with heavy tails, by end losses it is {ends}: they **contradict** each other."
        )
    apart = ", ".join(f"{value:,.3g} times apart for {LABELS[key]}" for key, value in rates_apart(histories).items())
    return f"{text} Both are about one pair of laws, at rates {apart}."


def summary_and_claim(verdict: Verdict) -> str:
    """What D says of the claim, and of the paper's summary, by which the features grow with the tails."""
    [growth] = [unit for unit in verdict.units if unit.keys.problems == PAIR and unit.keys.part == "growth"]
    open_text = "whether the gap grows with the tails stays open"
    return said(
        [growth],
        **dict.fromkeys(("yes", "weak"), "the gap **grows** with the tails, which contradicts this claim of the paper"),
        null="the gap does not grow with the tails",
        rev="the gap **shrinks** with the tails, which contradicts the paper's summary",
        undecided=open_text,
        line="Read by the general rule, {words}: D = {interval}.",
        unmeasured="Read by the general rule: {words}.",
    )


def conclusions(
    by_noise: Verdict,
    by_condition: Mapping[str, Verdict],
    by_speed: Mapping[str, Verdict],
    found: Sequence[Trend],
    summary: pd.DataFrame,
) -> str:
    """What the page has found, in Markdown."""
    noise = said(
        by_noise,
        yes="Heavier-tailed covariates give **heavier-tailed noise**",
        weak="Heavier-tailed covariates give slightly heavier-tailed noise",
        null="Heavier-tailed covariates do not give heavier-tailed noise",
        rev="Heavier-tailed covariates give **lighter-tailed noise**",
        undecided="Whether heavier-tailed covariates give heavier-tailed noise stays open",
        line="- {words}: {interval} times the $E$ of the sphere.",
        unmeasured="- Noise: {words}.",
    )
    ends = " and ".join(order_text(found, summary, "moment", statistic) for statistic in ("loss", "above"))
    lines = [noise, f"- At {FAMILIES['moment']} and best rates, {ends}."]
    lines += [f"- {gap_in_r(verdict)}" for verdict in by_condition.values()]
    lines += [f"- {speeds(verdict)}" for verdict in by_speed.values()]
    return "\n".join(lines)


def rates(tunings: Mapping[str, Tuning]) -> pd.DataFrame:
    """The best rates of every level."""
    rows = []
    for _, _, name, cells in _levels():
        best = tunings[name].best if name in tunings else {}
        numbers = {f"{label} rate": f"{best[o].lr:g}" if o in best else "none" for o, label in LABELS.items()}
        rows.append(cells | numbers)
    return pd.DataFrame(rows)


def steps(reading: str, judged: Judged) -> pd.DataFrame:
    """Targets and median steps to them, with the runs that never get there, a row a setting."""
    rows = []
    for name, taken in all_steps(reading, judged).items():
        target = trained_target(name, *judged.all_of(name))
        row = {"setting": PROBLEMS[name].title, "target 1.01 f* + 1 % f0": f"{target:.3g}"}
        for optimizer, label in LABELS.items():
            own = taken[taken["optimizer"] == optimizer]
            lost = int(own["censored"].sum())
            row[f"{label}: median steps"] = f"{own['steps'].median():,.0f}" if 2 * lost <= len(own) else "not reached"
            row[f"{label}: never reached"] = f"{lost} of {len(own)}"
        rows.append(row)
    return pd.DataFrame(rows)
