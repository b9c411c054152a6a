"""Proxy or not: five behaviours of proxies and of networks of practice on one scale, and which are near each other.

Nothing is computed here but from kept verdicts, and for softmax attention from what its own chapter measured. An
effect is brought to a scale on which differences count (logarithm of a ratio, logit of a share, Fisher's z of a
correlation) and divided by the least effect that the rules call clear: 1 is a ratio of 1.25, a share of 0.75, a rank
correlation of 0.3; 0 is no effect.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logit

from ...statistics import Interval
from ...store.results import NotStoredError, stored_only
from ..claims import c3, c4, c16, practice
from ..claims.p3 import PER_LAYER
from ..claims.practice import OWN, TRANSFORMER
from ..claims.records import interval_text, keys_of, number_text, verdict_records
from ..claims.rules import LEAST_CORRELATION, MARGIN, State, Unit
from ..claims.wording import NAMES
from ..measure import variants
from ..problems import LARGER
from ..scales import ATTENTION
from .words import listed

BEHAVIOURS = {
    "C1": "Adam ends lower",
    "C2": "heavy-tailed noise",
    "C3": "lower R_med",
    "C4": "lower v'Hv",
    "C5": "curvature with gradient",
}
"""The five behaviours by the claim that each is named after."""
PROXIES = {"1": "Setting 1", "2": "Setting 2", "3": "Setting 3", LARGER.name: "L = 8", "softmax": "softmax"}
NETWORKS = {name: name for name in ("lm_bare", "lm_linear", TRANSFORMER, "cnn", "cnn_zipf")}
COLUMNS = {**PROXIES, **NETWORKS}
"""Columns of the matrix in their order, with their titles."""
SCALES = {"ratio": np.log, "share": logit, "correlation": np.arctanh}
"""By kind of number, the scale on which differences of effects count."""
CLEAR = {"ratio": math.log(MARGIN), "share": math.log(3.0), "correlation": math.atanh(LEAST_CORRELATION)}
"""By kind of number, the effect on its scale that the rules call clear; the logit of 0.75 is log 3."""
NORMAL = 1.96
"""Half a 95% interval of a Gaussian, in standard errors."""
DRAWS = 10_000
SURE = 0.95
"""Share of the draws from which on a proxy is called the nearest."""
FEWEST = 3
"""Behaviours that two columns must share for a distance."""
SHOWS, LACKS = (State.YES, State.WEAK), (State.NULL, State.REV)


@dataclass(frozen=True)
class Cell:
    """One behaviour of one column: its number as its claim has it, its state, and its standardized effect."""

    interval: Interval
    state: State

    @property
    def effect(self) -> float:
        """Its size, in least clear effects."""
        return self._standard(self.interval.estimate)

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of its interval."""
        return self._standard(self.interval.low), self._standard(self.interval.high)

    @property
    def error(self) -> float:
        """Standard error of the effect, from the ends of the interval; infinite where there is none."""
        width = self.ends[1] - self.ends[0]
        return width / (2 * NORMAL) if math.isfinite(width) else math.inf

    def _standard(self, value: float) -> float:
        kind = self.interval.kind or "ratio"
        with np.errstate(all="ignore"):
            return float(SCALES[kind](np.float64(value))) / CLEAR[kind]


Matrix = Mapping[str, Mapping[str, Cell]]
"""Cells by column and behaviour; what was not measured is left out."""


def _joined(found: Iterable[tuple[Interval, State]]) -> Cell | None:
    """One cell of the units of a behaviour: of several ratios the geometric mean, with the state that they share.

    They are of the same runs at several steps, so the ends of the interval are means of theirs.
    """
    cells = [(interval, state) for interval, state in found if state is not State.MISSING]
    if not cells:
        return None
    intervals, states = zip(*cells, strict=True)
    whole = intervals[0]
    if len(cells) > 1:
        edges = {
            edge: float(np.exp(np.mean([math.log(getattr(each, edge)) for each in intervals])))
            for edge in ("estimate", "low", "high")
        }
        whole = replace(whole, **edges)
    return Cell(whole, states[0] if len(set(states)) == 1 else State.UNDECIDED)


def _kept(row: Mapping[str, Any]) -> tuple[Interval, State]:
    """Number and state of a kept case."""
    estimate, low, high = (math.nan if row[edge] is None else float(row[edge]) for edge in ("estimate", "low", "high"))
    found = Interval(estimate, low, high, math.nan, int(row["n"] or 0), kind=str(row["kind"] or ""))
    return found, State(row["state"])


def _cases(record: Mapping[str, Any] | None) -> list[tuple[Any, Any, bool]]:
    """(keys, row, whether it decides) of each case of a kept verdict with a number."""
    if record is None:
        return []
    marks = record.get("decides") or [True] * (len(record["rows"]) - 1)
    rows = zip(keys_of(record), record["rows"][:-1], marks, strict=True)
    return [(keys, row, decides) for keys, row, decides in rows if row["estimate"] is not None]


def matrix(scale: str, reading: str = "tuned") -> dict[str, dict[str, Cell]]:
    """All that is kept at a scale, by column and behaviour; at the published rates some columns have less."""
    kept = verdict_records(scale)
    found: dict[str, dict[str, list[tuple[Interval, State]]]] = {name: {} for name in COLUMNS}

    def add(name: str | None, claim: str, number: tuple[Interval, State]) -> None:
        if name in found:
            found[name].setdefault(claim, []).append(number)

    for claim in BEHAVIOURS:
        own = "init" if claim == "C2" else reading
        for keys, row, decides in _cases(kept.get((claim, own))):
            per_block = keys.convention == PER_LAYER and keys.part is None
            if per_block if claim == "C3" else decides and keys.convention != c4.SPEED:
                add(keys.problem, claim, _kept(row))
        real = "default" if own == "published" else own
        for keys, row, decides in _cases(kept.get((claim.replace("C", "P"), real))):
            if (decides and keys.problem in practice.LANGUAGE) or keys.part == OWN:
                add(keys.problem, claim, _kept(row))
    for keys, row, decides in _cases(kept.get(("C14", reading))):
        if decides and keys.claim in BEHAVIOURS:
            add(LARGER.name, keys.claim, _kept(row))
    if reading == "tuned":
        for claim, unit in _softmax(scale):
            if unit.interval is not None:
                add("softmax", claim, (unit.interval, unit.state))
    cells = {name: {claim: _joined(own) for claim, own in row.items()} for name, row in found.items()}
    return {name: {claim: cell for claim, cell in row.items() if cell is not None} for name, row in cells.items()}


def _softmax(scale: str) -> list[tuple[str, Unit]]:
    """The units of softmax attention, from what its chapter keeps, by claim; none where it keeps nothing."""
    budget, name = ATTENTION(scale).sparse, "softmax"
    try:
        with stored_only(), contextlib.redirect_stdout(io.StringIO()):
            measured = variants.sizes(budget)
    except NotStoredError:
        return []
    found = c16.behaviours_of(PROXIES[name], name, measured, budget)
    units = [(claim, unit) for claim, own in found.items() for unit in own.units if unit.decides and claim != "C3"]
    if name in measured.conditions:
        rows = measured.conditions[name]
        for step in budget.curvature.judged:
            own = rows[rows["step"] == step]
            units.append(("C3", c3.ratio_unit(own, PER_LAYER, PROXIES[name], c3.RATIO)))
    return units


def shared(one: Mapping[str, Cell], other: Mapping[str, Cell]) -> list[str]:
    """Behaviours that two columns have numbers of, with intervals."""
    return [
        claim
        for claim in BEHAVIOURS
        if all(claim in each and math.isfinite(each[claim].error) for each in (one, other))
    ]


def _squared(one: Mapping[str, Cell], other: Mapping[str, Cell]) -> tuple[list[str], float]:
    """What two columns share, and what the errors of their effects add to the mean squared difference."""
    claims = shared(one, other)
    added = sum(one[claim].error ** 2 + other[claim].error ** 2 for claim in claims) / max(1, len(claims))
    return claims, added


def distance(one: Mapping[str, Cell], other: Mapping[str, Cell]) -> float | None:
    """Root of the mean squared difference of effects, less what their errors add to it; None where few are shared."""
    claims, added = _squared(one, other)
    if len(claims) < FEWEST:
        return None
    squares = [(one[claim].effect - other[claim].effect) ** 2 for claim in claims]
    return math.sqrt(max(0.0, sum(squares) / len(claims) - added))


def _drawn(cells: Matrix, seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """Effects drawn from their intervals, a parametric bootstrap: Gaussian with each cell's standard error."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    return {
        name: {claim: cell.effect + cell.error * generator.standard_normal(DRAWS) for claim, cell in row.items()}
        for name, row in cells.items()
    }


def distances(cells: Matrix, to: str = TRANSFORMER) -> pd.DataFrame:
    """Distance of every column to one, nearest first, with a bootstrap interval.

    Returns:
        Columns column, title, proxy, distance, low, high, behaviours (how many are shared), nearest (share of the
        draws in which a proxy is the nearest of the proxies; NaN for networks).
    """
    drawn, rows, draws = _drawn(cells), [], {}
    for name in [name for name in COLUMNS if name != to and name in cells and to in cells]:
        (claims, added), found = _squared(cells[name], cells[to]), distance(cells[name], cells[to])
        if found is None:
            continue
        squares = [(drawn[name][claim] - drawn[to][claim]) ** 2 for claim in claims]
        draws[name] = np.mean(squares, axis=0) - 2 * added  # errors of the effects, and those drawn once more
        low, high = np.sqrt(np.quantile(draws[name], (0.025, 0.975)).clip(0.0))
        rows.append((name, COLUMNS[name], name in PROXIES, found, float(low), float(high), len(claims)))
    columns = ["column", "title", "proxy", "distance", "low", "high", "behaviours"]
    table = pd.DataFrame(rows, columns=columns).sort_values("distance", ignore_index=True)
    proxies = [name for name in table["column"] if name in PROXIES]
    if not proxies:
        return table.assign(nearest=math.nan)
    first = np.argmin([draws[name] for name in proxies], axis=0)
    share = {name: float((first == place).mean()) for place, name in enumerate(proxies)}
    return table.assign(nearest=table["column"].map(share))


def missed(cells: Matrix, name: str, to: str = TRANSFORMER) -> tuple[list[str], list[str], list[str]]:
    """Behaviours that `to` shows and a column does not, that the column shows and `to` does not, that are open."""
    lacks, adds, unsettled = [], [], []
    for claim, words in BEHAVIOURS.items():
        one, other = (cells.get(each, {}).get(claim) for each in (name, to))
        states = [None if cell is None else cell.state for cell in (one, other)]
        if any(state not in (*SHOWS, *LACKS) for state in states):
            unsettled.append(words)
        elif states[1] in SHOWS and states[0] in LACKS:
            lacks.append(words)
        elif states[1] in LACKS and states[0] in SHOWS:
            adds.append(words)
    return lacks, adds, unsettled


def apart(cells: Matrix, name: str, to: str = TRANSFORMER) -> list[tuple[str, float, float]]:
    """Behaviours that both have with the effects of both, that which differs most first."""
    both = [
        (BEHAVIOURS[claim], cells[name][claim].effect, cells[to][claim].effect)
        for claim in shared(cells[name], cells[to])
    ]
    return sorted(both, key=lambda row: -abs(row[1] - row[2]))


def effects(cells: Matrix) -> pd.DataFrame:
    """The matrix for a figure: columns column, behaviour, effect, low, high, state."""
    rows = [
        (name, words, cells[name][claim].effect, *cells[name][claim].ends, str(cells[name][claim].state))
        for claim, words in BEHAVIOURS.items()
        for name in cells
        if claim in cells[name]
    ]
    return pd.DataFrame(rows, columns=["column", "behaviour", "effect", "low", "high", "state"])


def table(cells: Matrix) -> pd.DataFrame:
    """The matrix as text: a row a behaviour, a column a model."""
    rows = []
    for claim, words in BEHAVIOURS.items():
        row = {"behaviour": words}
        for name, title in COLUMNS.items():
            cell = cells.get(name, {}).get(claim)
            row[title] = "" if cell is None else f"{interval_text(cell.interval)} {NAMES[cell.state]}"
        rows.append(row)
    return pd.DataFrame(rows)


def distance_table(found: pd.DataFrame) -> pd.DataFrame:
    """Distances as text, nearest first."""
    return pd.DataFrame(
        {
            "model": found["title"],
            "distance [95% interval]": [_distance_text(row) for _, row in found.iterrows()],
            "behaviours compared": found["behaviours"],
            "nearest proxy in": ["" if math.isnan(share) else f"{share:.0%} of draws" for share in found["nearest"]],
        }
    )


def misses(cells: Matrix, names: Iterable[str] = PROXIES) -> str:
    """What each column misses of a real Transformer, a line each, in Markdown."""
    lines = []
    for name in names:
        if not cells.get(name):
            lines.append(f"- {COLUMNS[name]}: not measured at this scale.")
            continue
        words = ("misses", "shows what it does not:", "open or not measured:")
        parts = [f"{what} {listed(own)}" for what, own in zip(words, missed(cells, name), strict=True) if own]
        lines.append(f"- {COLUMNS[name]}: {'; '.join(parts) or 'the same five'}.")
    return "\n".join(lines)


@dataclass(frozen=True)
class Answer:
    """Which proxy is nearest to a real Transformer.

    Attributes:
        nearest: its title; `share`: of the draws in which it is.
        distance, low, high: to the Transformer, in least clear effects.
        lacks, adds, unsettled: behaviours, from :func:`missed`.
        bridge: distance of the same Transformer with linear attention; None where it was not measured.
        text: all of it in a sentence or two, in Markdown.
    """

    nearest: str
    share: float
    distance: float
    low: float
    high: float
    lacks: tuple[str, ...]
    adds: tuple[str, ...]
    unsettled: tuple[str, ...]
    bridge: float | None
    text: str

    @property
    def finding(self) -> str:
        """In a line for a figure."""
        if self.share >= SURE:
            return f"{self.nearest} is the nearest of the proxies to {TRANSFORMER}"
        return f"Which proxy is nearest to {TRANSFORMER} is open; {self.nearest} is in {self.share:.0%} of the draws"


def answer(scale: str, reading: str = "tuned") -> Answer | None:
    """The one answer of the book's figure, for any page; None where the results of practice are not kept."""
    cells = matrix(scale, reading)
    found = distances(cells)
    own = found[found["proxy"]]
    if own.empty:
        return None
    row = own.sort_values(["distance", "nearest"], ascending=[True, False]).iloc[0]
    lacks, adds, unsettled = missed(cells, str(row["column"]))
    bridge = next((each for _, each in found.iterrows() if each["column"] == "lm_linear"), None)
    away = (
        f"{_distance_text(row)} least clear effects away on {row['behaviours']} behaviours, and nearest in "
        f"{row['nearest']:.0%} of bootstrap draws. "
    )
    nearest = f"Of the proxies **{row['title']}** is nearest to a real Transformer ({TRANSFORMER}): {away}"
    unclear = f"It is open which proxy is nearest to a real Transformer ({TRANSFORMER}). {row['title']} is {away}"
    text = nearest if row["nearest"] >= SURE else unclear
    decided = len(BEHAVIOURS) - len(unsettled)
    none = f"Of the {decided} behaviours that are decided in both it misses none. "
    text += f"It misses {listed(lacks)}. " if lacks else none if decided else "No behaviour is decided in both. "
    text += f"It shows {listed(adds)}, which the Transformer does not. " if adds else ""
    text += f"Open or not measured: {listed(unsettled)}. " if unsettled else ""
    if bridge is not None:
        text += f"The same Transformer with linear attention is {_distance_text(bridge)} away."
    return Answer(
        str(row["title"]), float(row["nearest"]), float(row["distance"]), float(row["low"]), float(row["high"]),
        tuple(lacks), tuple(adds), tuple(unsettled), None if bridge is None else float(bridge["distance"]),
        text.strip(),
    )  # fmt: skip


def _distance_text(row: pd.Series[Any]) -> str:
    """A distance with its interval, in least clear effects."""
    return f"{number_text(row['distance'])} [{number_text(row['low'])}, {number_text(row['high'])}]"
