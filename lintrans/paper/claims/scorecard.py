"""All claims on one page, from the stored verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType, ModuleType

import pandas as pd

from ...errors import choice
from .. import claims
from . import stability, twice
from .records import DERIVED, earlier_verdicts
from .wording import Record, cases


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


def before(scale: str) -> dict[tuple[str, str], str]:
    """Verdicts under the rules before the present ones, where they are kept."""
    frame = earlier_verdicts(scale)
    final = frame[frame["case"] == "all"]
    return {(row["claim"], row["reading"]): str(row["verdict"]) for row in final.to_dict("records")}


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
