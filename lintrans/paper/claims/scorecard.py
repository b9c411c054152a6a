"""All claims on one page, from the stored verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import Any

import pandas as pd

from ...errors import choice
from .. import claims
from . import stability, twice
from .records import DERIVED, earlier_verdicts, verdict_records
from .rules import State
from .wording import cases, flags, in_words, numbers, sentence

NOT_YET = "not judged yet"


def find_claims() -> MappingProxyType[str, ModuleType]:
    """The modules c1, c2, ... of this package by claim, in the order of their numbers."""
    modules = [import_module(f"{claims.__name__}.{name.lower()}") for name in claims.claim_names()]
    return MappingProxyType({claim.CLAIM: claim for claim in modules})


CLAIMS = find_claims()
"""Each has CLAIM, SENTENCE, CHAPTER, FIGURE (of all readings, or by reading), READINGS, GROUP, BASIS and judges."""
GROUPS = tuple(dict.fromkeys(str(claim.GROUP) for claim in CLAIMS.values()))
"""Claims that stand together on a page."""


def members(group: str) -> dict[str, ModuleType]:
    """The claims of a group; of all, where it is empty."""
    wanted = (choice("group", group, GROUPS),) if group else GROUPS
    return {name: claim for name, claim in CLAIMS.items() if claim.GROUP in wanted}


def figure_of(claim: ModuleType, reading: str) -> str:
    """Label of the figure that shows a reading of a claim; empty where there is none."""
    figure: str | Mapping[str, str] = claim.FIGURE
    return figure if isinstance(figure, str) else figure.get(reading, "")


def _before(scale: str) -> dict[tuple[str, str], str]:
    """Verdicts under the rules before the present ones, where they are kept."""
    frame = earlier_verdicts(scale)
    final = frame[frame["case"] == "all"]
    return {(row["claim"], row["reading"]): str(row["verdict"]) for row in final.to_dict("records")}


def overview(scale: str, group: str = "") -> pd.DataFrame:
    """The verdicts of a scale in short, a row a claim: claim in a sentence, verdict of each reading, chapter."""
    now, before = verdict_records(scale), _before(scale)
    rows = []
    for name, claim in members(group).items():
        texts = []
        for reading in claim.READINGS:
            found = now.get((name, reading))
            text = f"*{reading}*: {NOT_YET if found is None else sentence(found)}"
            earlier = before.get((name, reading))
            if found is not None and earlier not in (None, found["rows"][-1]["verdict"]):
                text += f" (under earlier rules: {earlier})"
            texts.append(text)
        chapter = f"[{claim.CHAPTER.replace('_', ' ')}]({claim.CHAPTER})"
        rows.append({"claim": name, "in a sentence": claim.SENTENCE, "verdict": "<br>".join(texts), "chapter": chapter})
    return pd.DataFrame(rows, columns=["claim", "in a sentence", "verdict", "chapter"])


@dataclass(frozen=True)
class Card:
    """One claim and reading: text in Markdown, and the cases that decide as a table; None where it was not judged."""

    text: str
    table: pd.DataFrame | None


def cards(scale: str, group: str = "") -> list[Card]:
    """Every claim and reading of a group with its cases; a claim's first card is a target, ``c7`` of C7."""
    kept = verdict_records(scale)
    told: dict[tuple[str, ...], str] = {}
    made = []
    for name, claim in members(group).items():
        for number, reading in enumerate(claim.READINGS):
            target = "" if number else f"({name.lower()})=\n"
            head = f"{target}**{name}, {reading} reading.** {claim.SENTENCE}"
            record = kept.get((name, reading))
            if record is None:
                made.append(Card(f"{head} Not judged yet: execute {{doc}}`{claim.CHAPTER}`.", None))
                continue
            figure = figure_of(claim, reading)
            shown = f"Shown in {{numref}}`{figure}` of {{doc}}`{claim.CHAPTER}`; judged" if figure else "Judged"
            text = (
                f"{head} Verdict: **{record['rows'][-1]['verdict']}**. {_capital(in_words(record))}. "
                + "".join(f"*{_capital(flag)}.* " for flag in flags(record))
                + f"{shown} {record['created'][:10]} by rules {record['rules']}."
            )
            if short := tuple(record["deviations"]):
                first = told.setdefault(short, f"{name}, {reading}")
                same = f"in the same ways as for {first}" if first != f"{name}, {reading}" else "; ".join(short)
                text += f" This scale falls short of the rules{':' * (same == '; '.join(short))} {same}."
            if beside := len(cases(record, decides=False)):
                text += f" {beside} further case{'s stand' if beside > 1 else ' stands'} beside these in the chapter."
            made.append(Card(text, _table(cases(record))))
    return made


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "case": [row["case"] for row in rows],
            "statistic": [row["statistic"] for row in rows],
            "estimate [95% interval]": [numbers(row) for row in rows],
            "seeds": [str(row.get("n") or "") for row in rows],
            "state": [row["state"] for row in rows],
        }
    )
    measured = any(row["estimate"] is not None or row["state"] == State.MISSING for row in rows)
    if not any(table["seeds"]):
        table = table.drop(columns="seeds")
    return table if measured else table.drop(columns="estimate [95% interval]")  # from other verdicts


def cases_of(records: Mapping[tuple[str, str], Record]) -> pd.DataFrame:
    """Every deciding case with a number of some verdicts, for a figure; not those judged from other verdicts.

    Returns:
        Columns claim, reading, case, statistic, kind ("ratio", "share", "correlation" or nothing), estimate, low, high,
        bound, n, state, flags (what a reader has to know beside it).
    """
    rows = []
    names = ("case", "statistic", "kind", "estimate", "low", "high", "bound", "n", "state")
    for (claim, reading), record in sorted(records.items(), key=lambda item: _place(*item[0])):
        own = str(record["rows"][-1]["scale"]), claim, reading, cases(record)
        doubts = {stability.MOVED: stability.moved(*own), twice.OTHER_SIDE: twice.doubted(*own)}
        for row in cases(record):
            if row["estimate"] is not None and claim not in DERIVED:
                flags_of = [*(row.get("flags") or ()), *(words for words, of in doubts.items() if row["case"] in of)]
                numbers_of = {name: row.get(name) for name in names}
                rows.append({"claim": claim, "reading": reading, **numbers_of, "flags": flags_of})
    frame = pd.DataFrame(rows, columns=["claim", "reading", *names, "flags"]).astype(object)
    return frame.where(frame.notna(), None)


def _place(claim: str, reading: str) -> tuple[int, int]:
    """Where a verdict stands among the others."""
    readings = CLAIMS[claim].READINGS if claim in CLAIMS else ()
    return (list(CLAIMS).index(claim) if claim in CLAIMS else len(CLAIMS)), (*readings, reading).index(reading)
