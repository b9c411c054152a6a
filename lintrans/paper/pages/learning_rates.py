"""Learning rates: optima, basins, published against best rates, and speeds, as tables and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ...statistics import geometric_ratio
from ..claims.rates import SHARES, Choice, Searches
from ..claims.records import interval_text
from ..claims.rules import State, Unit, ratio_state
from ..problems import PROBLEMS
from ..protocol import Choice as Best
from ..protocol import Tuning, next_rate
from ..scales import LABELS
from .common import clip_words
from .template import Lamp

ALIKE = 0.05
"""A difference of widths, in decades, that is not worth a word."""
CLOSE = 1.25
"""Two best losses within this factor are as good as each other."""
COST = {
    "yes": "ends {sizes} higher",
    "weak": "ends a little higher ({sizes})",
    "null": "is as good ({sizes})",
    "rev": "ends {inverse} lower",
    "undecided": "may be either ({sizes})",
}
"""What the published choice costs against the best one, by state."""


def _row(setting: Any, optimizer: Any, **cells: str) -> dict[str, str]:
    return {"setting": PROBLEMS[str(setting)].title, "optimizer": LABELS[str(optimizer)], **cells}


def _pair(rate: tuple[float, float]) -> str:
    return f"{rate[0]:g}, {clip_words(rate[1])}"


def horizons(searches: Searches) -> list[tuple[str, str, Best, Best]]:
    """Of every setting and optimizer, the best of the short grid and that of the judged horizon."""
    late = searches.judged.tunings
    return [
        (name, optimizer, best, late[name].best[optimizer])
        for name, tuning in searches.short.items()
        for optimizer, best in tuning.best.items()
    ]


def optima(searches: Searches) -> pd.DataFrame:
    """The best rate and clip of every setting and optimizer at both horizons, and what its neighbours cost.

    A neighbour's loss over the best's is a geometric mean over the tuning seeds that ran to the same horizon.
    """
    rows = []
    for tuning in (*searches.short.values(), *searches.judged.tunings.values()):
        ends = tuning.losses[~tuning.losses["screened"]]
        for optimizer, best in tuning.best.items():
            own = ends[(ends["optimizer"] == optimizer) & (ends["clip"] == best.clip)]
            losses = own.pivot(index="seed", columns="lr", values="loss").clip(
                upper=PROBLEMS[tuning.setting].task.zero_loss
            )
            cells = {
                "steps": f"{best.steps:,}",
                "best": _pair((best.lr, best.clip)) + ("" if best.interior else ", at the edge"),
                "seeds": str(len(losses)),
            }
            for words, up in (("next lower", False), ("next higher", True)):
                rate = next_rate(best.lr, up)
                ran = rate in losses and best.lr in losses
                cells[f"loss at the {words} rate, over the best"] = (
                    interval_text(geometric_ratio(losses[rate].to_numpy(), losses[best.lr].to_numpy()))
                    if ran
                    else "not run"
                )
            rows.append(_row(tuning.setting, optimizer, **cells))
    return pd.DataFrame(rows)


def inside(searches: Searches) -> list[tuple[int, int, int]]:
    """By horizon: its steps, how many best rates lie inside the rates run to it, and how many there are."""
    _, _, *both = zip(*horizons(searches), strict=True)
    return [(own[0].steps, sum(best.interior for best in own), len(own)) for own in both]


def better(choices: Sequence[Choice]) -> str:
    """Published choices that end lower than the best on judging seeds, and by how much; nothing if there is none."""
    lower = [choice for choice in choices if not choice.same and choice.ratio.estimate < 1]
    return "; ".join(f"{PROBLEMS[c.setting].title} {LABELS[c.optimizer]} {interval_text(c.ratio)}" for c in lower)


def lost(tunings: Mapping[str, Tuning]) -> str:
    """How many runs of the grid end no better than the zero predictor: "4 of 12 runs of SGD and ..."."""
    ends = pd.concat(
        tuning.losses[tuning.losses["screened"]].assign(zero=PROBLEMS[name].task.zero_loss)
        for name, tuning in tunings.items()
    )
    worse = {key: ~(own["loss"] < own["zero"]) for key, own in ends.groupby("optimizer")}
    return " and ".join(f"{worse[key].sum()} of {len(worse[key])} runs of {label}" for key, label in LABELS.items())


def _opened(row: pd.Series) -> bool:
    return bool(row["open_low"] or row["open_high"])


def basin_table(basins: pd.DataFrame) -> pd.DataFrame:
    """Every basin: best rate and loss, edges, width in decades with its range over tuning seeds."""
    rows = []
    for (name, optimizer, clip), own in basins.groupby(["setting", "optimizer", "clip"], sort=False):
        middle = own[own["seed"].isna()].iloc[0]
        each = own[own["seed"].notna()]["decades"]
        low, high = (f"{'≤≥'[k]} " if middle[f"open_{side}"] else "" for k, side in enumerate(("low", "high")))
        cells = {
            "clip": "none" if clip == math.inf else f"{clip:g}",
            "best rate": f"{middle['best']:g}",
            "loss there": f"{middle['loss']:.2e}",
            "rates within 2x": f"{low}{middle['low']:.2g} to {high}{middle['high']:.2g}",
            "decades": f"{'≥ ' if _opened(middle) else ''}{middle['decades']:.2f}",
            "range over seeds": f"{each.min():.2f} to {each.max():.2f}",
        }
        rows.append(_row(name, optimizer, **cells))
    return pd.DataFrame(rows)


def widest(basins: pd.DataFrame) -> str:
    """Whose basin is wider in each setting, at the clip that each optimizer does best with, in Markdown."""
    lines = []
    for name, own in basins[basins["seed"].isna()].groupby("setting", sort=False):
        best = {str(optimizer): rows.sort_values("loss").iloc[0] for optimizer, rows in own.groupby("optimizer")}
        widths = {key: (float(row["decades"]), _opened(row)) for key, row in best.items()}
        parts = [
            f"{'at least ' if opened else ''}{width:.2f} decades for {LABELS[key]} ({clip_words(best[key]['clip'])})"
            for key, (width, opened) in widths.items()
        ]
        lines.append(f"- {PROBLEMS[str(name)].title}: {_wider(widths)}, {' and '.join(parts)}.")
    return "\n".join(lines)


def _wider(widths: Mapping[str, tuple[float, bool]]) -> str:
    """Whose basin is the wider, where that can be said; a width is a lower bound where its basin is open."""
    (narrow, (less, opened)), (wide, (more, _)) = sorted(widths.items(), key=lambda item: item[1])
    if opened:
        return f"whether {LABELS[narrow]}'s basin is as wide is open, since it reaches the edge of the rates tried"
    return "the basins are about equally wide" if more - less < ALIKE else f"{LABELS[wide]}'s basin is the wider"


def free_over_clipped(basins: pd.DataFrame) -> pd.Series:
    """The best loss without clipping over that with it, by setting and optimizer that were tried with both."""
    wide = basins[basins["seed"].isna()].pivot_table("loss", ["setting", "optimizer"], "clip", sort=False)
    free = wide.reindex(columns=[math.inf])[math.inf]
    return (free / wide.drop(columns=math.inf, errors="ignore").min(axis=1)).dropna()


def choice_table(choices: Sequence[Choice]) -> pd.DataFrame:
    """Published against best rates, with both tests."""
    rows = []
    for choice in choices:
        cells = {
            "published": _pair(choice.published),
            "best": _pair(choice.best),
            "end loss, published over best": "the same" if choice.same else interval_text(choice.ratio),
            "published ends higher": f"{choice.worse} of {choice.ratio.n} seeds",
        }
        for test, p in (("t test", choice.ratio.p), ("sign flips", choice.ratio.flip)):
            cells[f"p, {test}"] = "none" if choice.same or math.isnan(p) else f"{p:.2g}"
        rows.append(_row(choice.setting, choice.optimizer, **cells))
    return pd.DataFrame(rows)


def choice_units(choices: Sequence[Choice]) -> list[Unit]:
    """The same ratios as units; the statistic is the optimizer."""
    return [
        Unit(PROBLEMS[c.setting].title, LABELS[c.optimizer], c.ratio, ratio_state(c.ratio), decides=False)
        for c in choices
    ]


def costs(choices: Sequence[Choice]) -> list[Unit]:
    """The same with setting and optimizer in the case, less those where the published choice is the best."""
    units = zip(choices, choice_units(choices), strict=True)
    return [replace(unit, case=f"{unit.case} ({unit.statistic})") for choice, unit in units if not choice.same]


def title(choices: Sequence[Choice]) -> str:
    """What published rates cost, in a line for a figure."""
    parts = []
    for optimizer, label in LABELS.items():
        own = [ratio_state(choice.ratio) for choice in choices if choice.optimizer == optimizer and not choice.same]
        of = sum(choice.optimizer == optimizer for choice in choices)
        parts.append(f"{label} in {sum(state in (State.YES, State.WEAK) for state in own)} of {of} settings")
    return f"The published rate costs {' and '.join(parts)}" if choices else ""


def lamps(searches: Searches, basins: pd.DataFrame, choices: Sequence[Choice]) -> dict[str, Lamp]:
    """How much the best rates hang on the clip, the horizon and the seeds."""
    free = free_over_clipped(basins)
    alike = int(((free < CLOSE) & (free > 1 / CLOSE)).sum())
    pairs = horizons(searches)
    stays = sum((early.lr, early.clip) == (late.lr, late.clip) for *_, early, late in pairs)
    both, _ = tested(choices)
    agree, seeds = sum(not choice.ratio.two_kinds for choice in both), both[0].ratio.n if both else 0
    steps = " and ".join(f"{own.steps:,}" for own in pairs[0][2:]) if pairs else "no"
    flips = f"comparisons say the same by t and by sign flips; {seeds} seeds" if both else "too few seeds for two tests"
    return {
        "convention": Lamp(alike, len(free), f"best losses with and without a clip lie within {CLOSE:g}x"),
        "test_batch": Lamp(0, 0, "no single batch enters: a run is judged by its typical loss"),
        "horizon": Lamp(stays, len(pairs), f"best pairs of rate and clip are the same after {steps} steps"),
        "seeds": Lamp(agree, len(both), flips),
    }


def moved(searches: Searches) -> str:
    """Best rates that another horizon moves, and to which side, a line each in Markdown."""
    lines = []
    for name, optimizer, early, late in horizons(searches):
        if early.lr != late.lr:
            side = "lower" if late.lr < early.lr else "higher"
            lines.append(
                f"- {PROBLEMS[name].title}, {LABELS[optimizer]}: from {early.lr:g} to {late.lr:g}, to the {side}."
            )
    return "\n".join(lines) or "None of them moves."


def _finer(tuning: Tuning, optimizer: str) -> Iterator[tuple[float, float, float]]:
    """The lowest point of a parabola through the best rate and its neighbours: rate, loss over the best's, spread."""
    best, ends = tuning.best[optimizer], tuning.losses[~tuning.losses["screened"]]
    own = ends[(ends["optimizer"] == optimizer) & (ends["clip"] == best.clip)]
    table = own.pivot(index="lr", columns="seed", values="loss").dropna()
    table = table.clip(upper=PROBLEMS[tuning.setting].task.zero_loss)
    rates = [next_rate(best.lr, False), best.lr, next_rate(best.lr, True)]
    if not set(rates) <= set(table.index):
        return
    x, y = np.log(rates), np.log(table.loc[rates].median(axis=1).to_numpy(np.float64))
    second, first, _ = np.polyfit(x - x[1], y - y[1], 2)
    if second > 0:
        at = table.loc[[best.lr]].to_numpy(np.float64)
        place = best.lr * np.exp(-first / (2 * second))
        yield float(place), float(np.exp(-(first**2) / (4 * second))), float(at.max() / at.min())


def finer(tunings: Mapping[str, Tuning]) -> str:
    """What a grid without gaps could gain over the best rate tried, by a parabola, a line a case in Markdown."""
    return "\n".join(
        f"- {PROBLEMS[name].title}, {LABELS[optimizer]}: at {rate:.2g} the parabola is {loss:.2g} times the loss at "
        f"{best.lr:g}; {f'the seeds there are a factor {spread:.2g} apart' if spread > 1 else 'one seed was run'}."
        for name, tuning in tunings.items()
        for optimizer, best in tuning.best.items()
        for rate, loss, spread in _finer(tuning, optimizer)
    )


def tested(choices: Sequence[Choice]) -> tuple[list[Choice], str]:
    """The choices with two p-values, and those for which the two disagree, in words."""
    both = [c for c in choices if not (c.same or math.isnan(c.ratio.flip) or math.isnan(c.ratio.p))]
    apart = [c for c in both if c.ratio.two_kinds]
    return both, ", ".join(f"{PROBLEMS[c.setting].title} {LABELS[c.optimizer]}" for c in apart)


def speed_table(speeds: pd.DataFrame) -> pd.DataFrame:
    """Median steps to each target over seeds at the best rates, with the range; how many seeds got there if not all."""
    rows = []
    for (name, optimizer), own in speeds.groupby(["setting", "optimizer"], sort=False):
        cells = {}
        for share in SHARES:
            at = own[own["share"] == share]
            there = at[~at["censored"]]["steps"]
            text = f"{there.median():,.0f} [{there.min():,.0f}, {there.max():,.0f}]" if len(there) else "never"
            part = f", {len(there)} of {len(at)} seeds" if 0 < len(there) < len(at) else ""
            cells[f"{share:g} of f0"] = text + part
        rows.append(_row(name, optimizer, **cells))
    return pd.DataFrame(rows)


def reached(speeds: pd.DataFrame) -> pd.DataFrame:
    """By setting, the lowest share that most seeds of both optimizers reach, and their median steps; NaN if none is."""
    groups = speeds.groupby(["setting", "share", "optimizer"])
    missed, steps = (groups[column].agg(how).unstack() for column, how in (("censored", "mean"), ("steps", "median")))
    there = steps[(missed < 0.5).all(axis=1)].reset_index("share")
    return there.groupby("setting").first().reindex(speeds["setting"].unique())
