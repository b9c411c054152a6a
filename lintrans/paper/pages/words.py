"""Sentences whose words stand in a chapter and whose numbers come from a verdict."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..claims.records import Verdict, interval_text
from ..claims.rules import State, Unit
from ..claims.wording import size

NOT_MEASURED = "not measured at this scale"
UNDECIDED = "the seeds do not decide"
GAP = {
    "yes": "Adam ends {sizes} lower than SGD",
    "weak": "Adam ends a little lower ({sizes})",
    "null": "the two end alike ({sizes})",
    "rev": "SGD ends {inverse} lower than Adam",
    "undecided": "it is open who ends lower ({sizes})",
    "missing": "nothing was measured",
}
"""What C1 says, by state."""
BEHAVIOURS: Mapping[str, Mapping[str, str]] = {
    "C1": GAP,
    "C2": {
        "yes": "gradient noise has a heavier tail than a Gaussian ({sizes})",
        "weak": "gradient noise has a slightly heavier tail than a Gaussian ({sizes})",
        "null": "gradient noise has the tail of a Gaussian ({sizes})",
        "rev": "gradient noise has a lighter tail than a Gaussian ({sizes})",
        "undecided": "it is open whether gradient noise has a heavy tail ({sizes})",
        "missing": "gradient noise was not measured",
    },
    "C3": {
        "yes": "Adam's condition number is lower ({sizes})",
        "weak": "Adam's condition number is a little lower ({sizes})",
        "null": "both condition numbers are alike ({sizes})",
        "rev": "SGD's condition number is lower ({inverse})",
        "undecided": "it is open whose condition number is lower ({sizes})",
        "missing": "condition numbers were not measured",
    },
    "C4": {
        "yes": "SGD's steps meet the larger curvature (in a share of {sizes})",
        "weak": "SGD's steps meet the larger curvature a little more often (in a share of {sizes})",
        "null": "both meet the larger curvature as often (SGD in a share of {sizes})",
        "rev": "Adam's steps meet the larger curvature (SGD's only in a share of {sizes})",
        "undecided": "it is open whose steps meet the larger curvature ({sizes})",
        "missing": "curvature along steps was not measured",
    },
    "C5": {
        "yes": "curvature follows the length of the gradient (rank correlation {sizes})",
        "weak": "curvature follows the length of the gradient a little (rank correlation {sizes})",
        "null": "curvature does not follow the length of the gradient ({sizes})",
        "rev": "curvature falls where the gradient is long (rank correlation {sizes})",
        "undecided": "it is open whether curvature follows the length of the gradient ({sizes})",
        "missing": "norms were not measured",
    },
}
"""What C1 to C5 say of a model, by state."""


def phrases(
    *, yes: str, weak: str, null: str, rev: str, undecided: str = UNDECIDED, missing: str = NOT_MEASURED
) -> Mapping[State, str]:
    """Words for every state, written before any result is known; a state left out is a TypeError."""
    return dict(zip(State, (yes, weak, null, rev, undecided, missing), strict=True))


def said(
    of: Verdict | Iterable[Unit],
    *,
    line: str = "- {Case}: {words}.",
    unmeasured: str = "- {Case}: {words}.",
    **words: str,
) -> str:
    """What units say, a line each, in Markdown.

    Args:
        of: a verdict, of which those units speak that decide; or units, which all do.
        line: form of a line. ``{case}``, ``{Case}`` (its first letter large), ``{words}``, ``{interval}`` ("3.2 [2.8,
            3.7]"), ``{statistic}`` and ``{state}`` are replaced.
        unmeasured: form of the line of a unit without a number.
        **words: those of :func:`phrases`: yes, weak, null, rev, and where they differ from the usual ones undecided
            and missing. They may contain what `line` may.

    Raises:
        TypeError: words for a state are missing.
    """
    table = phrases(**words)
    units = [unit for unit in of.units if unit.decides] if isinstance(of, Verdict) else of
    return "\n".join(_line(unit, table, unmeasured if unit.state is State.MISSING else line) for unit in units)


def gathered(of: Verdict | Iterable[Unit], **words: str) -> str:
    """The same in one sentence without its full stop, cases by what they say: "Adam ends lower in setting 1; ..."."""
    table = phrases(**words)
    units = [unit for unit in of.units if unit.decides] if isinstance(of, Verdict) else list(of)
    found = {state: [unit.case for unit in units if unit.state is state] for state in State}
    return "; ".join(f"{table[state]} in {together(own)}" for state, own in found.items() if own)


def sized(rows: Iterable[Mapping[str, Any] | Unit], *, where: str = " in {cases}", **words: str) -> str:
    """What cases say, with their sizes, in one sentence without its full stop.

    Args:
        rows: of :func:`.wording.cases`, or units.
        where: follows the words of each state.
        **words: those of :func:`phrases`, in which ``{sizes}`` becomes "7.0x and 1.5x", ``{inverse}`` the same of the
            inverse ratios, ``{cases}`` the cases, ``{count}`` how many those are and ``{total}`` how many there are.
    """
    table, parts = phrases(**words), []
    kept = [_row(row) if isinstance(row, Unit) else row for row in rows]
    for state in State:
        own = [row for row in kept if row["state"] == state]
        if not own:
            continue
        numbers = [row for row in own if row["estimate"]]
        fields = {
            "sizes": listed([size(row) for row in numbers]),
            "inverse": listed([size({**row, "estimate": 1 / row["estimate"]}) for row in numbers]),
            "cases": together([row["case"] for row in own]),
            "count": len(own),
            "total": len(kept),
        }
        parts.append((table[state] + where).format(**fields))
    return "; ".join(parts) or "nothing was judged"


def tally(of: Verdict | Iterable[Unit], kind: str = "settings", **words: str) -> str:
    """How many cases say what, the title of a figure: "Adam's is lower in 4, open in 2 of 6 settings".

    Args:
        of: a verdict, of which those units count that decide; or units, which all do.
        kind: what the cases are.
        **words: those of :func:`phrases`; what states share is counted together.
    """
    table = phrases(**words)
    units = [unit for unit in of.units if unit.decides] if isinstance(of, Verdict) else list(of)
    found = Counter(table[state] for state in State for unit in units if unit.state is state)
    return f"{', '.join(f'{text} in {count}' for text, count in found.items())} of {len(units)} {kind}" if units else ""


def _row(unit: Unit) -> Mapping[str, Any]:
    """A unit as :func:`.wording.cases` has it."""
    own = unit.interval
    number = {"estimate": None} if own is None else {"estimate": own.estimate, "kind": own.kind, "bound": own.bound}
    return {"case": unit.case, "state": unit.state, **number}


def together(texts: Iterable[str]) -> str:
    """Names of cases in a sentence, in order: "settings 1 and 3", "softmax (SGD, Adam) and linear (SGD)"."""
    found = list[str]()
    for (head, more), own in itertools.groupby(map(_parts, texts), key=lambda parts: (parts[0], bool(parts[1]))):
        tails = [tail for _, tail in own]
        between = "; " if any("," in tail for tail in tails) else ", "
        found += [f"{head} ({between.join(tails)})"] if more else [head] * len(tails)
    first, rest = {text.split(" ")[0] for text in found}, [text.partition(" ")[2] for text in found]
    [kind] = first if len(first) == 1 else [""]
    numbered = len(found) > 1 and kind.isalpha() and len(kind) > 1 and all(text[:1].isdigit() for text in rest)
    return f"{kind}s {listed(rest)}" if numbered else listed(found)


def _parts(text: str) -> tuple[str, str]:
    """What stands before a comma, and words or steps after it; "L = 6, 8 against 2" stays whole."""
    head, _, tail = text.partition(", ")
    return (head, tail) if re.match(r"[A-Za-z]{2}|[\d,]+ steps", tail) else (text, "")


def listed(texts: Sequence[str]) -> str:
    """Texts in a sentence: "1", "1 and 2", "1, 2 and 3"."""
    return " and ".join(filter(None, (", ".join(texts[:-1]), *texts[-1:])))


def _line(unit: Unit, table: Mapping[State, str], form: str) -> str:
    fields: dict[str, Any] = {
        "case": unit.case,
        "Case": unit.case[:1].upper() + unit.case[1:],
        "interval": interval_text(unit.interval),
        "statistic": unit.statistic,
        "state": str(unit.state),
    }
    return form.format(words=table[unit.state].format(**fields), **fields)
