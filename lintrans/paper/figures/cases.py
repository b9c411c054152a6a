"""Cases with their intervals as a forest plot, in HTML: text to search and copy, links, and a shape that fits a phone.

Readings share a row: published (or at initialization) filled, tuned hollow, cooled hollow and small. Colour and shape
say the state, and so do the words that a pointer shows and the page's own text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, NamedTuple

import pandas as pd

from ..claims.rules import MARGIN, State
from ..claims.wording import NAMES, numbers, size

Row = Mapping[str, Any]


class Axis(NamedTuple):
    """What one kind of number is drawn on: label, ends, ticks, no difference and the band around it."""

    label: str
    least: float
    most: float
    ticks: tuple[float, ...]
    null: float
    band: tuple[float, float] | None = None
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value stands, in per cent of the width; at an end, if it lies beyond it."""
        low, high, own = self.least, self.most, min(max(value, self.least), self.most)
        if self.log:
            low, high, own = math.log(low), math.log(high), math.log(own)
        return round(2 + 96 * (own - low) / (high - low), 2)


AXES = {
    "ratio": Axis("Ratios: more than 1 agrees", 0.1, 100, (0.1, 1, 10, 100), 1, (1 / MARGIN, MARGIN), True),
    "share": Axis("Shares of steps: more than 0.5 agrees", 0, 1, (0, 0.25, 0.5, 0.75, 1), 0.5, (0.4, 0.6)),
    "closed": Axis(
        "Shares of a gap that are closed; the band lies between the two predictions, 0.6 and 0.8",
        -0.5,
        1.5,
        (-0.5, 0, 0.5, 1, 1.5),
        1,
        (0.6, 0.8),
    ),
    "correlation": Axis("Rank correlations: more than 0 agrees", -1, 1, (-1, -0.5, 0, 0.5, 1), 0, (-0.2, 0.2)),
}
"""By kind of number."""
SHAPES = {
    State.YES: ("#0b74b0", "M-5 0A5 5 0 1 1 5 0A5 5 0 1 1-5 0Z"),
    State.WEAK: ("#2f8fd0", "M-4 -4H4V4H-4Z"),
    State.NULL: ("#7a7a7a", "M0 -5.5L5 0L0 5.5L-5 0Z"),
    State.REV: ("#d55e00", "M-5.5 -4.5H5.5L0 5.5Z"),
    State.UNDECIDED: ("#b07a00", "M-1.6 -5.5H1.6V-1.6H5.5V1.6H1.6V5.5H-1.6V1.6H-5.5V-1.6H-1.6Z"),
}
"""By state: colour, and a path around the origin."""
COLUMNS = {"published": "published", "default": "published", "init": "published", "tuned": "tuned", "cooled": "cooled"}
"""The column that a reading stands in."""
WORDS = {
    "published": "published rates", "default": "default rates of libraries", "init": "at initialization",
    "tuned": "best rates", "cooled": "after a cooldown",
}  # fmt: skip
"""What a reading is."""
LOOKS = {"published": (1.0, 1.0), "tuned": (0.0, 1.0), "cooled": (0.0, 0.7)}
"""By column: opacity of a marker's inside, and its size."""
TRACK = 10
"""Height of a reading's own line in a row, in pixels."""
STYLE = """<style>
html[data-theme=dark] .bd-content .cell_output .text_html:has(.forest){background:none!important;
color:var(--pst-color-text-base)!important;padding:0}
.cell_output:has(.forest),.cell_output .text_html:has(.forest){overflow:visible!important}
.forest{font-size:.84em;line-height:1.35;margin:1em 0;--plot:minmax(9rem,1fr)}
.forest [role=row]{display:grid;grid-template-columns:11.5rem var(--plot) repeat(3,4.1rem);column-gap:.6rem;
align-items:center;padding-block:1px}
.forest .axis{position:sticky;top:var(--pst-header-height,0);z-index:1;font-size:.92em;
background:var(--pst-color-background,Canvas)}
.forest .claim{grid-template-columns:1fr;margin-top:.35rem;padding-top:.3rem;
border-top:1px solid color-mix(in srgb,currentColor 22%,transparent)}
.forest .claim small{display:block;opacity:.85}
.forest .number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.forest .note{grid-column:1/-1;font-size:.88em;opacity:.85;padding-left:.8rem}
.forest svg{width:100%;display:block;overflow:visible;color:inherit}
.forest svg text{fill:currentColor;font-size:12px}
.forest .key{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;margin-bottom:.5rem}
.forest .key svg{display:inline-block;width:14px;height:12px;vertical-align:-1px;margin-right:.3rem}
.forest .kind{margin:1rem 0 .2rem;font-weight:600}
@media(max-width:576px){.forest [role=row]{grid-template-columns:1fr repeat(3,3.9rem);column-gap:.35rem}
.forest .claim{grid-template-columns:1fr!important}.forest .plot{grid-column:1/-1;grid-row:2}}
</style>"""


class Html(str):
    """Text that a notebook shows as HTML."""

    def _repr_html_(self) -> str:
        return str(self)


def _mark(state: State, column: str, x: str, y: float) -> str:
    colour, path = SHAPES[state]
    inside, scale = LOOKS[column]
    return (
        f'<svg x="{x}" y="{y:g}"><path transform="scale({scale})" d="{path}" fill="{colour}" fill-opacity="{inside:g}" '
        f'stroke="{colour}" stroke-width="1.8"/></svg>'
    )


def _words(row: Row) -> str:
    """What a pointer shows."""
    about = f"{row['claim']}, {row['reading']}, {row['case']}: {row['statistic']} {numbers(row)}"
    return f"{about}; {row['n'] or 0} seeds; {NAMES[State(row['state'])]}"


def _interval(row: Row, column: str, axis: Axis, y: float) -> str:
    state, estimate = State(row["state"]), float(row["estimate"])
    edges = [estimate if row[edge] is None else float(row[edge]) for edge in ("low", "high")]
    low, high = (axis.place(edge) for edge in edges)
    colour, x = SHAPES[state][0], axis.place(estimate)
    beyond = {True: ("101%", "»"), False: ("-1%", "«")}.get(estimate > axis.most) if x in (2.0, 98.0) else None
    arrow = ""
    if beyond and not axis.least <= estimate <= axis.most:
        arrow = f'<text x="{beyond[0]}" y="{y + 5:g}" text-anchor="middle">{beyond[1]}</text>'
    line = f'<line x1="{low}%" x2="{high}%" y1="{y:g}" y2="{y:g}" stroke="{colour}" stroke-width="1.6"/>'
    return f"<g><title>{escape(_words(row))}</title>{line}{_mark(state, column, f'{x}%', y)}{arrow}</g>"


def _plot(own: Mapping[str, Row], axis: Axis) -> str:
    height = max(2, len(own)) * TRACK
    lines = ""
    if axis.band:
        low, high = map(axis.place, axis.band)
        lines = f'<rect x="{low}%" width="{high - low:.2f}%" height="100%" fill="currentColor" opacity=".09"/>'
    null = axis.place(axis.null)
    lines += f'<line x1="{null}%" x2="{null}%" y2="100%" stroke="currentColor" stroke-opacity=".5"/>'
    top = (height - len(own) * TRACK) / 2 + TRACK / 2
    lines += "".join(_interval(row, column, axis, top + k * TRACK) for k, (column, row) in enumerate(own.items()))
    return (
        f'<svg height="{height}" role="img" aria-label="{escape("; ".join(map(_words, own.values())))}">{lines}</svg>'
    )


def _head(axis: Axis, titles: Mapping[str, str]) -> str:
    ticks = "".join(f'<text x="{axis.place(tick)}%" y="12" text-anchor="middle">{tick:g}</text>' for tick in axis.ticks)
    names = "".join(f'<span role="columnheader" class="number">{titles.get(name, "")}</span>' for name in LOOKS)
    return (
        f'<div role="row" class="axis"><span role="columnheader">case</span><span role="columnheader" class="plot">'
        f'<svg height="16" role="img" aria-label="axis from {axis.least:g} to {axis.most:g}">{ticks}</svg></span>'
        f"{names}</div>"
    )


def _rows(table: pd.DataFrame, axis: Axis, page: str, said: list[str]) -> Iterator[str]:
    for case, found in table.groupby("case", sort=False):
        rows: list[Row] = found.to_dict("records")  # type: ignore[assignment]  # columns are texts
        own = {COLUMNS[row["reading"]]: row for row in rows}
        ordered = {column: own[column] for column in LOOKS if column in own}
        claim = str(found["claim"].iloc[0])
        cells = "".join(
            f'<span role="cell" class="number">{size(own[column]) if column in own else ""}</span>' for column in LOOKS
        )
        notes = _notes(ordered, said)
        beside = f'<span role="cell" class="note">⚑ {escape(notes)}</span>' if notes else ""
        yield (
            f'<div role="row"><span role="rowheader"><a href="{page}#{claim.lower()}">{escape(str(case))}</a></span>'
            f'<span role="cell" class="plot">{_plot(ordered, axis)}</span>{cells}{beside}</div>'
        )


def _of_all(table: pd.DataFrame) -> list[str]:
    """Flags that every case of several has, at all readings."""
    first, *others = table["flags"]
    return [flag for flag in first if all(flag in own for own in others)] if table["case"].nunique() > 1 else []


def _notes(own: Mapping[str, Row], said: list[str]) -> str:
    """Flags of a case, less those said above, with the readings where they are not the same in all."""
    readings: dict[str, list[str]] = {}
    for row in own.values():
        for flag in row["flags"]:
            if flag not in said:
                readings.setdefault(flag, []).append(row["reading"])
    return " · ".join(flag if len(of) == len(own) else f"{', '.join(of)}: {flag}" for flag, of in readings.items())


def _key(states: list[State], readings: list[str], columns: list[str]) -> str:
    shown = [(_mark(state, "published", "7", 6), NAMES[state]) for state in states]
    for column in columns:
        words = ", ".join(WORDS[reading] for reading in readings if COLUMNS[reading] == column)
        shown.append((_mark(State.NULL, column, "7", 6), words))
    return "".join(f'<span><svg aria-hidden="true">{mark}</svg>{text}</span>' for mark, text in shown)


def case_forest(table: pd.DataFrame, heads: Mapping[str, str], page: str = "scorecard.html") -> Html:
    """Every case with its 95% interval, a row a case, by kind of number and claim; a click goes to the claim.

    Args:
        table: from :func:`lintrans.paper.claims.scorecard.cases_of`.
        heads: HTML that stands above a claim's cases; claims without one have none.
        page: where the claims are.
    """
    if table.empty:
        return Html("<p><em>No case has been judged yet.</em></p>")
    readings = [reading for reading in COLUMNS if reading in set(table["reading"])]
    columns = [column for column in LOOKS if column in {COLUMNS[reading] for reading in readings}]
    first = [reading for reading in readings if COLUMNS[reading] == "published"]
    titles = {column: first[0] if column == "published" and len(first) == 1 else column for column in columns}
    parts = [STYLE, '<div class="forest">']
    parts.append(f'<div class="key">{_key([s for s in SHAPES if s in set(table["state"])], readings, columns)}</div>')
    for kind, axis in AXES.items():
        own = table[table["kind"] == kind]
        if own.empty:
            continue
        parts.append(f'<div class="kind">{axis.label}</div>' if table["kind"].nunique() > 1 else "")
        parts.append(f'<div role="table" aria-label="{axis.label}">{_head(axis, titles)}')
        for claim, rows in own.groupby("claim", sort=False):
            said = []
            if head := heads.get(str(claim)):
                said = _of_all(rows)
                more = f"<small>⚑ all cases: {escape(' · '.join(said))}</small>" if said else ""
                parts.append(f'<div role="row" class="claim"><span role="cell">{head}{more}</span></div>')
            parts += _rows(rows, axis, page, said)
        parts.append("</div>")
    return Html("".join([*parts, "</div>"]))
