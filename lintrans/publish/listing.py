"""Lists for a terminal: what was judged, computed, and can be set, in lines that fit it."""

from __future__ import annotations

import math
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line starts without them
    from ..paper.claims.stability import Comparison, Repeat
    from ..paper.claims.twice import Twice

WIDEST = 120
NARROWEST = 60
GAP = 2
SIGNS = {">=": "≥ ", "<=": "≤ ", "?": "about "}
Record = Mapping[str, Any]


def width() -> int:
    """Columns to fill: those of the terminal, within reason; as many as are of use where there is none."""
    return min(max(shutil.get_terminal_size((WIDEST, 24)).columns, NARROWEST), WIDEST)


def wrapped(line: str, indent: int) -> str:
    """A line in as many as the terminal needs, all but the first indented; whole where it goes to a file or a pipe.

    What a stored text would tell the terminal to do is shown as letters.
    """
    line = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in line)
    if not sys.stdout.isatty():
        return line
    return textwrap.fill(
        line, width(), subsequent_indent=" " * indent, drop_whitespace=True, break_on_hyphens=False,
        break_long_words=False, replace_whitespace=False,
    )  # fmt: skip


def size(count: int) -> str:
    """A number of bytes in words."""
    number = float(count)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def fit(text: str, room: int) -> str:
    """A text in so many columns; where it is longer its middle is left out, as cases differ at both ends."""
    head = (room - 1) // 2
    return text if len(text) <= room else f"{text[:head]}…{text[len(text) - (room - 1 - head) :]}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], shrink: int, columns: int) -> list[str]:
    """Rows under a header in so many columns; the column `shrink` gives way where they are too wide."""
    every = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[k]) for row in every) for k in range(len(head))]
    others = sum(widths) - widths[shrink] + GAP * (len(head) - 1)
    widths[shrink] = min(widths[shrink], max(columns - others, len(head[shrink])))
    every.insert(1, ["-" * each for each in widths])
    lines = ((" " * GAP).join(fit(cell, w).ljust(w) for cell, w in zip(row, widths, strict=True)) for row in every)
    return [fit(line.rstrip(), columns) for line in lines]


def _number(row: Record) -> str:
    """``"1.51 [1.49, 1.53]"``, "≥ " before a bound; a dash where there is no number."""
    if row["estimate"] is None:
        return "-"
    edges = "" if row["low"] is None or row["high"] is None else f" [{row['low']:.3g}, {row['high']:.3g}]"
    return f"{SIGNS.get(row.get('bound') or '', '')}{row['estimate']:.3g}{edges}"


def effects(rows: Sequence[Record], room: int) -> str:
    """Estimates with their intervals, else estimates, else from the least to the greatest: what there is room for."""
    own = [row for row in rows if row["estimate"] is not None]
    if not own:
        return "no number"
    estimates = sorted(float(row["estimate"]) for row in own)
    short = [_number({**row, "low": None}) for row in own]
    between = f"{estimates[0]:.3g} to {estimates[-1]:.3g}" if len(own) > 1 else short[0]
    forms = ("; ".join(map(_number, own)), "; ".join(short), between)
    return next((form for form in forms if len(form) <= room), between)


def _seeds(rows: Sequence[Record]) -> str:
    """How many seeds stand behind cases: "12", or "6-24"."""
    counts = sorted({int(row["n"]) for row in rows if row.get("n")})
    return "-".join(map(str, dict.fromkeys((counts[0], counts[-1])))) if counts else "-"


def verdict_lines(records: Mapping[tuple[str, str], Record], columns: int) -> list[str]:
    """A row a claim and reading: the numbers of the cases that decide, their seeds, how many say what, the verdict.

    Under it, what has to be known beside the verdict.
    """
    from ..paper.claims.wording import cases, counts, flags

    found = []
    for (claim, reading), record in records.items():
        rows = cases(record)
        found.append((claim, reading, rows, _seeds(rows), counts(rows)))
    head = ("claim", "reading", "estimates [95% intervals]", "n", "verdict")
    fixed = [max(len(head[k]), *(len(row[k]) for row in found)) for k in (0, 1, 3, 4)]
    room = columns - sum(fixed) - GAP * (len(head) - 1)
    if room < len(head[2]):
        head = (*head[:2], "estimates", *head[3:])
    top, rule, *lines = table(head, [(*row[:2], effects(row[2], room), *row[3:]) for row in found], 2, columns)
    notes = [_indented(flags(record), columns) for record in records.values()]
    return [top, rule, *(line for row, note in zip(lines, notes, strict=True) for line in (row, *note))]


def _indented(texts: Iterable[str], columns: int) -> list[str]:
    """Texts in lines under a row."""
    return [
        line
        for text in texts
        for line in textwrap.wrap(text, columns, initial_indent="    - ", subsequent_indent="      ")
    ]


def case_lines(records: Mapping[tuple[str, str], Record], columns: int) -> list[str]:
    """A row a case, after lines with the verdict; the state of a case that does not decide is in parentheses."""
    from ..paper.claims.wording import NAMES, cases, flags, in_words

    lines: list[str] = []
    head = ("case", "estimate [95% interval]", "n", "state", "statistic")
    shown = len(head) if columns >= WIDEST else 4
    for (claim, reading), record in records.items():
        both = [(row, decides) for decides in (True, False) for row in cases(record, decides)]
        rows = [
            (
                row["case"],
                _number(row),
                _seeds([row]),
                NAMES[row["state"]] if decides else f"({NAMES[row['state']]})",
                row["statistic"],
            )
            for row, decides in both
        ]
        lines += ["", wrapped(f"{claim}, {reading}: {in_words(record)}", 4)]
        lines += _indented(flags(record), columns)
        lines += table(head[:shown], [row[:shown] for row in rows], 0, columns)
    return lines


def repeat_lines(made: Comparison, columns: int) -> list[str]:
    """A row a case that did not keep its state, with both numbers; then how many of each state did."""
    from ..paper.claims.stability import GOAL

    lines = []
    if made.changed:
        head = ("claim", "reading", "case", "state and interval", "with other seeds and batches")
        rows = [
            (
                row.claim,
                row.reading,
                row.case,
                f"{row.state} {_number(vars(row))}",
                f"{row.state_again or 'MISSING'} {_again(row)}",
            )
            for row in made.changed
        ]
        lines += [*table(head, rows, 2, columns), ""]
    counts = made.table().astype(str)
    lines += [*table(tuple(counts.columns), counts.itertuples(index=False), 3, columns), ""]
    if made.share is not None:
        kept = len(made.rows) - len(made.changed)
        lines.append(f"{kept} of {len(made.rows)} decided cases keep their state: {made.share:.1%} (goal: {GOAL:.0%})")
    lines += [f"not compared: {text}" for text in made.lost]
    return lines


def _again(row: Repeat) -> str:
    return _number({name: getattr(row, f"{name}_again") for name in ("estimate", "low", "high")})


def twice_lines(made: Twice, columns: int) -> list[str]:
    """A row a case computed twice, with both numbers; then the cases that were not, and why."""
    lines = []
    if made.rows:
        head = ("claim", "reading", "case", "fast", "again", "difference", "seeds on one side", "steps", "apart from")
        rows = [
            (
                row.claim,
                row.reading,
                row.case,
                *(f"{mean:.4g}" for mean in row.means),
                f"{row.difference:.1e}",
                f"{row.sides} of {len(row.seeds)}",
                f"{row.steps:,}",
                "never" if row.apart is None else f"{row.apart:,}",
            )
            for row in made.rows
        ]
        lines += [*table(head, rows, 2, columns), ""]
        same = len(made.rows) - len(made.other_side)
        lines.append(f"{same} of {len(made.rows)} cases lie on the same side of no difference")
    elif not made.left:
        lines.append("no case is reversed, or has another state than under the first edition")
    for each in made.left:
        cost = "" if each.minutes is None else f", about {each.minutes:.0f} min"
        lines.append(f"not computed: {each.claim} {each.reading}, {each.case}{cost} ({each.why})")
    if sum(each.minutes is not None for each in made.left) > 1:
        lines.append("Cases on one problem share its training, and take less together.")
    return lines


def chosen(records: Mapping[tuple[str, str], Record], claims: Iterable[str]) -> dict[tuple[str, str], Record]:
    """The records of some claims, of all where none is named, by the letter and the number of the claim."""
    wanted = set(claims)
    keys = sorted(records, key=lambda key: (key[0][:1], len(key[0]), *key))
    return {key: records[key] for key in keys if not wanted or key[0] in wanted}


def plain(value: Any) -> Any:
    """A cell of a table for JSON: null for what is missing or not finite."""
    value = value.item() if hasattr(value, "item") else value
    missing = isinstance(value, float) and not math.isfinite(value)
    return None if missing or value is None or str(value) in ("nan", "<NA>", "NaT") else value
