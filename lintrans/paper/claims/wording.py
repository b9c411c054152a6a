"""A verdict in words: how many cases say what, how large the effects are, and what qualifies it.

The rules' states and verdicts are turned into people's words here and nowhere else; the files keep the states.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ...statistics import Interval
from . import stability, twice
from .records import Verdict, interval_text
from .rules import LEVEL, Ruling, State, Word, word_of

Record = Mapping[str, Any]
"""Of :func:`.records.verdict_records`: a row a case, then that of the verdict."""
NAMES = {
    State.YES: "holds",
    State.WEAK: "holds (small)",
    State.NULL: "no difference",
    State.REV: "reversed",
    State.UNDECIDED: "open",
    State.MISSING: "not measured",
}
"""States in words."""
AGREEING, DECIDED = (State.YES, State.WEAK), (State.YES, State.WEAK, State.NULL, State.REV)
"""States that agree with the paper, and those that decide anything."""
_MOST_SIZES = 8
_SIGNS = {">=": "≥ ", "<=": "≤ ", "?": "≈ "}


def record_of(verdict: Verdict) -> dict[str, Any]:
    """A verdict that was just judged, as the others are kept."""
    return {"decides": [unit.decides for unit in verdict.units], "rows": verdict.rows()}


def plain(text: str) -> str:
    """A text with the rules' states in people's words: "YES or WEAK" becomes "holds or holds (small)"."""
    return re.sub(rf"\b({'|'.join(State)})\b", lambda found: NAMES[State(found[0])], text)


def cases(record: Record, decides: bool = True) -> list[Mapping[str, Any]]:
    """The rows of a kept verdict's cases, those that decide or those beside them."""
    rows = record["rows"][:-1]
    marks = record.get("decides") or [True] * len(rows)
    return [row for row, counts in zip(rows, marks, strict=True) if counts == decides]


def word(record: Record) -> str:
    """The rules' word for the verdict; "open" where cases were measured and do not decide."""
    text = str(record["rows"][-1]["verdict"])
    return "open" if text == str(Ruling(Word.UNMEASURABLE, undecided=True)) else str(word_of(text))


def flags(record: Record) -> list[str]:
    """What a reader has to know beside the verdict: from itself, from other seeds, from the second implementation."""
    whole = record["rows"][-1]
    place = whole["scale"], whole["claim"], whole["reading"]
    found = {
        stability.MOVED: stability.moved(*place, cases(record)),
        twice.OTHER_SIDE: twice.doubted(*place, cases(record)),
    }
    return [
        *map(plain, whole.get("flags") or ()),
        *(f"{words}: {'; '.join(own)}" for words, own in found.items() if own),
    ]


def flags_of_all(record: Record) -> list[str]:
    """Those flags of a verdict that are about it as a whole, and not about one of its cases."""
    own = {plain(text) for row in cases(record) for text in row.get("flags") or ()}
    return [text for text in map(plain, record["rows"][-1].get("flags") or ()) if text.rpartition(": ")[0] not in own]


def interval_of(row: Mapping[str, Any]) -> Interval | None:
    """The numbers of a kept case; None where there is none."""
    if row.get("estimate") is None:
        return None
    low, high = (math.nan if row[edge] is None else float(row[edge]) for edge in ("low", "high"))
    bound = row.get("bound") or ""
    return Interval(float(row["estimate"]), low, high, math.nan, int(row.get("n") or 0), bound=bound)


def numbers(row: Mapping[str, Any]) -> str:
    """The estimate of a kept case with its interval."""
    found = interval_of(row)
    return "no number" if found is None else interval_text(found)


def size(row: Mapping[str, Any]) -> str:
    """The estimate of a kept case in short, a ratio as "7.0x"."""
    value = float(row["estimate"])
    digits = 3 if abs(value - 1) < 0.1 else 2
    text = f"{value:.0f}" if 100 <= abs(value) < 1e5 else f"{value:#.{digits}g}".rstrip(".")
    return f"{_SIGNS.get(row.get('bound') or '', '')}{text}{'x' * (row.get('kind') == 'ratio')}"


def sizes(rows: Sequence[Mapping[str, Any]]) -> str:
    """Estimates of cases in their order, ratios as "7.0x"; of many the least and the greatest.

    Nothing where a case was judged without a number, from other verdicts.
    """
    own = [row for row in rows if row["estimate"] is not None]
    if any(row["estimate"] is None and row["state"] != State.MISSING for row in rows):
        return ""
    return span(own) if len(own) > _MOST_SIZES else ", ".join(map(size, own))


def span(rows: Sequence[Mapping[str, Any]]) -> str:
    """The least and the greatest estimate of some cases: "1.2x to 7.0x"; one, where they read the same."""
    ends = [size(select(rows, key=lambda row: float(row["estimate"]))) for select in (min, max)] if rows else []
    return " to ".join(dict.fromkeys(ends))


def _plural(words: str, count: int) -> str:
    return words.replace("holds", "hold") if count > 1 else words


def counts(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many of some kept cases say what: "holds in 3 of 3, large in 2", "1 holds, 1 open"."""
    found = Counter(State(row["state"]) for row in rows)
    total, large, small = len(rows), found[State.YES], found[State.WEAK]
    if not rows:
        return "nothing was judged"
    if large + small == total:
        text = "holds" if total == 1 else f"holds in {total} of {total}"
        return text + (f", large in {large or 'none'}" if total > 1 else " (small)") * bool(small)
    if len(found) == 1:
        [state] = found
        return NAMES[state] if total == 1 else f"{NAMES[state]} in {total} of {total}"
    text = ", ".join(f"{found[state]} {_plural(words, found[state])}" for state, words in NAMES.items() if found[state])
    decided = sum(found[state] for state in DECIDED)
    mostly = 2 * found[State.REV] >= total and 2 * found[State.REV] > decided
    return f"mostly reversed: {text}" if mostly else text


def in_words(record: Record) -> str:
    """A kept verdict as counts and sizes: "holds in 3 of 3, large in 2: 7.0x, 1.2x, 1.5x"."""
    rows = cases(record)
    return ": ".join(filter(None, (counts(rows), sizes(rows))))


def sentence(record: Record) -> str:
    """Counts and sizes with what qualifies them, in Markdown: no verdict goes without its flags."""
    rows, own = cases(record), flags(record)
    text = ": ".join(filter(None, (f"**{counts(rows)}**", sizes(rows))))
    return text + (f" (*{'; '.join(own)}*)" if own else "")


def box(verdict: Verdict, deviations: bool = True) -> str:
    """The verdict and what qualifies it, as a quotation in Markdown; a page with several leaves out the deviations."""
    record = record_of(verdict)
    lines = [f"**{verdict.claim}, {verdict.reading} reading, scale *{verdict.scale}*: {in_words(record)}.**"]
    if verdict.robust:
        lines[0] += f" Robust: the same under {', '.join(verdict.checks)}."
    lines += [text for flag in flags(record) for text in ("", f"*{flag[:1].upper()}{flag[1:]}.*")]
    if deviations and verdict.deviations:
        lines += ["", "Less than this book's own rules ask for:", "", *(f"- {text}" for text in verdict.deviations)]
    return "\n".join(f"> {line}".rstrip() for line in lines)


def table(record: Record, decides: bool = False) -> pd.DataFrame:
    """The cases of a verdict for a page, states first; with `decides`, only those that decide."""
    rows = [(row, counts) for counts in ((True,) if decides else (True, False)) for row in cases(record, counts)]
    return pd.DataFrame(
        [
            {
                "state": NAMES[State(row["state"])] if counts else f"({NAMES[State(row['state'])]})",
                "case": row["case"],
                "statistic": row["statistic"],
                "estimate [95% interval]": numbers(row) if row["estimate"] is not None else "",
                "seeds": str(row.get("n") or ""),
            }
            for row, counts in rows
        ],
        columns=["state", "case", "statistic", "estimate [95% interval]", "seeds"],
    )


def chance(records: Sequence[Record], level: float = LEVEL) -> dict[str, float]:
    """What would be seen if no claim held in any case: how many cases decide, agree, and would agree by chance at most.

    A case agrees by chance with half the level; a verdict is *partly* with at most the level, after Holm's correction.
    """
    rows = [row for record in records for row in cases(record) if row["estimate"] is not None]
    agree = sum(row["state"] in (State.YES, State.WEAK) for row in rows)
    judged = sum(any(row["estimate"] is not None for row in cases(record)) for record in records)
    return {
        "cases": len(rows), "agree": agree, "by_chance": len(rows) * level / 2,
        "verdicts": judged, "verdicts_by_chance": judged * level,
    }  # fmt: skip
