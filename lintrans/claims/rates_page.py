"""What the page on learning rates says: sentences and tables, made from the numbers of :mod:`.rates`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from ..problems import PROBLEMS
from ..protocol import Tuning
from ..settings import LABELS
from .rates import SHARES, Choice, Searches
from .records import interval_text
from .rules import LEVEL, State, Unit, ratio_state, table_of

ALIKE = 0.05
"""A difference of widths, in decades, that is not worth a word."""


def clip_words(clip: float) -> str:
    """A clip in words: "clip 1", or "no clip"."""
    return "no clip" if math.isinf(clip) else f"clip {clip:g}"


def _pair(rate: tuple[float, float]) -> str:
    return f"{rate[0]:g}, {clip_words(rate[1])}"


def optima(searches: Searches) -> pd.DataFrame:
    """The best rate and clip of every setting and optimizer at both horizons, and whether it lies inside the rates."""
    rows = []
    for name, tuning in searches.short.items():
        for optimizer in tuning.best:
            line = {"setting": PROBLEMS[name].title, "optimizer": LABELS[optimizer]}
            for found in (tuning, searches.judged.tunings[name]):
                best = found.best[optimizer]
                edge = "" if best.interior else ", at the edge"
                line[f"best at {best.steps:,} steps"] = f"{_pair((best.lr, best.clip))}{edge}"
            rows.append(line)
    return pd.DataFrame(rows)


def describe_optima(searches: Searches) -> str:
    """How many of the optima are interior, and how many move between the horizons, in Markdown."""
    parts, moved, total = [], 0, 0
    for which in (searches.short, searches.judged.tunings):
        best = [choice for tuning in which.values() for choice in tuning.best.values()]
        inside = sum(choice.interior for choice in best)
        parts.append(f"{inside} of {len(best)} at {best[0].steps:,} steps")
    for name, tuning in searches.short.items():
        for optimizer, choice in tuning.best.items():
            later = searches.judged.tunings[name].best[optimizer]
            total += 1
            moved += (choice.lr, choice.clip) != (later.lr, later.clip)
    return (
        f"The best rate lies strictly inside the rates that were tried in {', and in '.join(parts)}. Between the two "
        f"horizons the best pair of rate and clip changes in {moved} of {total} cases."
    )


def _edge(value: float, opened: bool, sign: str) -> str:
    return f"{sign} {value:.2g}" if opened else f"{value:.2g}"


def basin_table(basins: pd.DataFrame) -> pd.DataFrame:
    """Every basin: best rate and loss, edges, width in decades with its range over tuning seeds."""
    rows = []
    for (name, optimizer, clip), own in basins.groupby(["setting", "optimizer", "clip"], sort=False):
        middle = own[own["seed"].isna()].iloc[0]
        each = own[own["seed"].notna()]["decades"]
        rows.append(
            {
                "setting": PROBLEMS[str(name)].title,
                "optimizer": LABELS[str(optimizer)],
                "clip": "none" if clip == math.inf else f"{clip:g}",
                "best rate": f"{middle['best']:g}",
                "loss there": f"{middle['loss']:.2e}",
                "rates within 2x": f"{_edge(middle['low'], middle['open_low'], '≤')} to "
                f"{_edge(middle['high'], middle['open_high'], '≥')}",
                "decades": f"{'≥ ' if _opened(middle) else ''}{middle['decades']:.2f}",
                "range over seeds": f"{each.min():.2f} to {each.max():.2f}",
            }
        )
    return pd.DataFrame(rows)


def describe_basins(basins: pd.DataFrame) -> str:
    """Whose basin is wider in each setting, at the clip that each optimizer does best with, in Markdown."""
    middle = basins[basins["seed"].isna()]
    lines = []
    for name, own in middle.groupby("setting", sort=False):
        best = {str(optimizer): rows.sort_values("loss").iloc[0] for optimizer, rows in own.groupby("optimizer")}
        widths = {optimizer: (float(row["decades"]), _opened(row)) for optimizer, row in best.items()}
        parts = [
            f"{'at least ' if opened else ''}{width:.2f} decades for {LABELS[optimizer]} "
            f"({clip_words(float(best[optimizer]['clip']))})"
            for optimizer, (width, opened) in widths.items()
        ]
        lines.append(f"- {PROBLEMS[str(name)].title}: {_wider(widths)}, {' and '.join(parts)}.")
    return "\n".join(lines)


def _opened(row: pd.Series) -> bool:
    return bool(row["open_low"] or row["open_high"])


def _wider(widths: Mapping[str, tuple[float, bool]]) -> str:
    """Whose basin is the wider, where that can be said; a width is a lower bound where its basin is open."""
    (narrow, (less, opened)), (wide, (more, _)) = sorted(widths.items(), key=lambda item: item[1])
    if opened:
        return f"whether {LABELS[narrow]}'s basin is as wide is open, since it reaches the edge of the rates tried"
    if more - less < ALIKE:
        return "the basins are about equally wide"
    return f"{LABELS[wide]}'s basin is the wider"


def describe_clip(basins: pd.DataFrame) -> str:
    """What the clip does at each optimizer's best rate with and without it, in Markdown."""
    middle = basins[basins["seed"].isna()]
    lines = []
    for (name, optimizer), own in middle.groupby(["setting", "optimizer"], sort=False):
        loss = own.set_index("clip")["loss"]
        if len(loss) < 2:
            continue
        free, kept = loss[math.inf], loss[loss.index != math.inf].min()
        lines.append(
            f"- {PROBLEMS[str(name)].title}, {LABELS[str(optimizer)]}: without clipping the best loss is "
            f"{free / kept:.3g} times that with it."
        )
    return "\n".join(lines) or "Only one clip was tried at this scale."


def choice_table(choices: Sequence[Choice]) -> pd.DataFrame:
    """Published against best rates, with both tests."""
    return pd.DataFrame(
        [
            {
                "setting": PROBLEMS[choice.setting].title,
                "optimizer": LABELS[choice.optimizer],
                "published": _pair(choice.published),
                "best": _pair(choice.best),
                "end loss, published over best": "the same" if choice.same else interval_text(choice.ratio),
                "published ends higher": f"{choice.worse} of {choice.ratio.n} seeds",
                "p, t test": _p(choice.ratio.p, choice.same),
                "p, sign flips": _p(choice.p, choice.same),
            }
            for choice in choices
        ]
    )


def _p(value: float, same: bool) -> str:
    return "none" if same or math.isnan(value) else f"{value:.2g}"


def choice_units(choices: Sequence[Choice]) -> pd.DataFrame:
    """The same ratios as rows of a forest plot."""
    return table_of(
        Unit(PROBLEMS[c.setting].title, LABELS[c.optimizer], c.ratio, ratio_state(c.ratio), decides=False)
        for c in choices
    )


def describe_choices(choices: Sequence[Choice]) -> str:
    """Where a published rate costs something, a sentence an optimizer and setting, in Markdown."""
    words = {
        State.YES: "the published choice ends higher, clearly",
        State.WEAK: "the published choice ends higher, by little",
        State.NULL: "the published choice is as good",
        State.REV: "the published choice ends **lower** than the one that tuning made on other seeds",
        State.UNDECIDED: "the seeds do not decide",
        State.MISSING: "not measured",
    }
    lines = []
    for choice in choices:
        head = f"- {PROBLEMS[choice.setting].title}, {LABELS[choice.optimizer]}: "
        if choice.same:
            lines.append(f"{head}the published rate and clip are the best.")
        else:
            state = ratio_state(choice.ratio)
            lines.append(f"{head}{words[state]}, {interval_text(choice.ratio)} times the loss at the best.")
    return "\n".join(lines)


def describe_tests(choices: Sequence[Choice]) -> str:
    """Whether the two tests ever disagree at the level of 5%, in a sentence."""
    both = [c for c in choices if not (c.same or math.isnan(c.p) or math.isnan(c.ratio.p))]
    if not both:
        return "There is nothing to test."
    apart = [c for c in both if (c.p < LEVEL) != (c.ratio.p < LEVEL)]
    names = ", ".join(f"{PROBLEMS[c.setting].title} {LABELS[c.optimizer]}" for c in apart)
    answer = f"disagree for {names}" if apart else "agree in every case"
    return (
        "The $t$ interval assumes that log ratios are about normal. The exact test over all flips of their signs does "
        f"not: at the level of {LEVEL:.0%} the two {answer} ({len(both)} comparisons). With {both[0].ratio.n} seeds "
        f"the exact p-value cannot be below {2.0 ** (1 - both[0].ratio.n):.1g}."
    )


def speed_table(speeds: pd.DataFrame) -> pd.DataFrame:
    """Median steps to each target over seeds at the best rates, with the range; how many seeds got there if not all."""
    rows = []
    for (name, optimizer), own in speeds.groupby(["setting", "optimizer"], sort=False):
        line = {"setting": PROBLEMS[str(name)].title, "optimizer": LABELS[str(optimizer)]}
        for share in SHARES:
            at = own[own["share"] == share]
            there = at[~at["censored"]]["steps"]
            if there.empty:
                text = "never"
            else:
                text = f"{there.median():,.0f} [{there.min():,.0f}, {there.max():,.0f}]"
                text += "" if len(there) == len(at) else f", {len(there)} of {len(at)} seeds"
            line[f"{share:g} of f0"] = text
        rows.append(line)
    return pd.DataFrame(rows)


def describe_speeds(speeds: pd.DataFrame) -> str:
    """The lowest target that most seeds of both optimizers reach, and who is faster to it, in Markdown."""
    lines = []
    for name, own in speeds.groupby("setting", sort=False):
        lost = own.groupby(["share", "optimizer"])["censored"].mean().unstack("optimizer")
        reached = [float(share) for share in lost.index if (lost.loc[share] < 0.5).all()]
        if not reached:
            lines.append(f"- {PROBLEMS[str(name)].title}: no target is reached by most seeds of both optimizers.")
            continue
        least = min(reached)
        steps = own[own["share"] == least].groupby("optimizer")["steps"].median()
        lines.append(
            f"- {PROBLEMS[str(name)].title}: the lowest target that most seeds of both reach is {least:g} of $f_0$, in "
            f"{steps['adam']:,.0f} steps of Adam and {steps['sgd']:,.0f} of SGD (medians)."
        )
    return "\n".join(lines) or "No best rate was found inside the grid, so no speed was measured."


def describe_lost(tunings: Mapping[str, Tuning]) -> str:
    """How many runs of the grid end no better than the zero predictor, in a sentence."""
    parts = []
    for optimizer, label in LABELS.items():
        lost = total = 0
        for name, tuning in tunings.items():
            losses = tuning.losses[tuning.losses["steps"] == tuning.losses["steps"].min()]
            own = losses[losses["optimizer"] == optimizer]["loss"]
            lost, total = lost + int((~(own < PROBLEMS[name].task.zero_loss)).sum()), total + len(own)
        parts.append(f"{lost} of {total} runs of {label}")
    return f"Of the grid, {' and '.join(parts)} diverged or ended no better than the zero predictor."
