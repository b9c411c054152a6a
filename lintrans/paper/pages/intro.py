"""The front page: three sentences that answer its title, three cards, practice against proxy; from the kept verdicts.

Every word that states a result is chosen by the states of cases, so a sentence is right whatever was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from ...store.results import NotStoredError, stored_only
from ...training.history import History
from .. import protocol
from ..budgets import TuningBudget
from ..claims.records import DERIVED
from ..claims.rules import State, Word
from ..claims.scorecard import CLAIMS, members
from ..claims.wording import AGREEING, DECIDED, Record, cases, in_words, sizes, span, word
from .words import GAP, listed, sized

Records = Mapping[tuple[str, str], Record]
AT_RATES = ("published", "init")
"""The readings of the paper's own runs."""
BEST = ("cooled", "tuned", "init", "published")
"""Readings, the one that is freest of a choice of rates first."""
CAUSES = {
    "C6": "heavy-tailed data make the noise heavier-tailed",
    "C7": "heavy-tailed data widen the gap in condition number",
    "C8": "heavy-tailed data leave the gap in speed as it is",
    "C9": "depth widens the gap in loss",
    "C11": "depth makes the noise heavier-tailed",
    "C12": "depth widens the gap in condition number",
}
"""What is said to be the cause of what."""
SHORT = {
    "C1": "Adam ends lower than SGD",
    "C3": "Adam has the lower condition number",
    "C4": "Adam has the lower curvature, with its speed",
    "C2": "Noise is heavy-tailed at the start",
    "C5": "Curvature follows the gradient",
    "C6": "Heavy-tailed data, heavier noise",
    "C7": "Heavy-tailed data, wider gap in condition number",
    "C8": "Heavy-tailed data, slower, and the same gap",
    "C9": "The gap grows with depth",
    "C10": "The loss falls with depth",
    "C13": "Linear beats softmax attention",
    "C11": "Deeper models, heavier noise",
    "C12": "Deeper models, wider gap in condition number",
    "C14": "A larger model: Adam lower, noise heavy",
    "C15": "Nonlinear regression: the same behaviours",
    "C16": "Nothing smaller shows all five",
    "F1": "One second moment a layer is enough of Adam",
    "F2": "One second moment for everything is too little",
    "F3": "Fixed rates a block, from the curvature, are enough",
    "F4": "Adam's axes do not matter",
    "F5": "The gap in steps does not depend on the batch",
    "F6": "Gaussian noise of the same covariance, the same gap",
    "F7": "Averaging or a cooldown closes half of the gap",
    "F8": "Five numbers without noise show the gap",
    "F9": "A larger initial scale, no gap",
    "F10": "Curvature between blocks predicts the gap",
    "F11": "On language models and LeNet, the same",
}
"""The paper's claims, then this book's predictions, in a few words, for cards, the best known first."""
LINES = 5
"""Most lines of a card of the paper's claims."""
PREDICTED = "What this book predicted"
"""The card of its predictions, all of them, whatever came."""
PRACTICE = {f"P{k}": f"C{k}" for k in range(1, 6)}
"""A behaviour measured on a Transformer that reads text, and its counterpart on the proxy."""


def _kept(records: Records, claims: Sequence[str], readings: Sequence[str]) -> list[tuple[str, Record]]:
    """The verdict of each of these claims in the first of these readings that is kept."""
    found = []
    for claim in claims:
        own = [records[claim, reading] for reading in readings if (claim, reading) in records]
        found += [(claim, record) for record in own[:1]]
    return found


def _how_often(share: float) -> str:
    """An answer to "does it?"."""
    bounds = {1.0: "yes", 2 / 3: "mostly", 1 / 3: "in part", 1e-9: "hardly"}
    return next((answer for least, answer in bounds.items() if share >= least), "no")


def _agreeing(rows: Sequence[Mapping[str, Any]]) -> int:
    return sum(row["state"] in AGREEING for row in rows)


def symptoms(records: Records) -> str:
    """Whether the proxy shows the five behaviours at the paper's own rates."""
    found = _kept(records, list(members("behaviours")), AT_RATES)
    rows = [row for _, record in found for row in cases(record) if row["state"] != State.MISSING]
    if not rows:
        return "**To see the symptoms?** Not measured yet."
    agree = _agreeing(rows)
    shown = [claim for claim, record in found if cases(record) and _agreeing(cases(record)) == len(cases(record))]
    text = (
        f"**To see the symptoms: {_how_often(agree / len(rows))}.** At the paper's learning rates {agree} of "
        f"{len(rows)} cases of its five behaviours hold ({listed(shown) or 'none'} in full)"
    )
    first = dict(found).get("C1")
    return text + (f": {sized(cases(first), **GAP)}." if first else ".")


def choices(records: Records) -> str:
    """What is left of the behaviours at each optimizer's best rate."""
    pairs = _both(records)
    if not pairs:
        return "**Does it depend on the learning rates?** Not measured yet."
    moved = [(claim, before) for claim, before, now in pairs if (before in AGREEING) != (now in AGREEING)]
    names = listed(list(dict.fromkeys(claim for claim, _ in moved)))
    how = f"in {len(moved)} of {len(pairs)} cases" if moved else "in no case"
    lost = sum(before in AGREEING for _, before in moved)
    what = f" ({names}: {lost} lost, {len(moved) - lost} won)" if moved else ""
    text = f"**The learning rates decide {how}**{what}"
    tuned, cooled = records.get(("C1", "tuned")), records.get(("C1", "cooled"))
    if tuned:
        text += f": with each optimizer at its best rate {sized(cases(tuned), **GAP)}"
    if tuned and cooled:
        text += f", and once the rates have fallen to zero {sized(cases(cooled), **GAP)}"
    return text + "."


def _both(records: Records) -> list[tuple[str, State, State]]:
    """Claim and states of each case of the behaviours that is measured at the published and at the best rates."""
    found = []
    for claim in members("behaviours"):
        both = [records.get((claim, reading)) for reading in ("published", "tuned")]
        before, now = ({row["case"]: State(row["state"]) for row in cases(each)} if each else {} for each in both)
        found += [(claim, state, now[case]) for case, state in before.items() if case in now]
    return [each for each in found if State.MISSING not in each]


def causes(records: Records) -> str:
    """Whether tails and depth explain the behaviours."""
    found = _kept(records, list(CAUSES), BEST)
    rows = [row for _, record in found for row in cases(record) if row["state"] != State.MISSING]
    if not rows:
        return "**To explain them?** Not measured yet."
    groups: dict[str, list[str]] = {}
    for claim, record in found:
        own = [State(row["state"]) for row in cases(record)]
        if all(state in AGREEING for state in own):
            group = "holds"
        elif any(state in AGREEING for state in own):
            group = "holds in part"
        else:
            group = "does not hold" if any(state in DECIDED for state in own) else "is open"
        shown = f", {sizes(cases(record))}" if sizes(cases(record)) else ""
        groups.setdefault(group, []).append(f"{CAUSES[claim]} ({claim}{shown})")
    held = len(groups.get("holds", ()))
    answer = {len(found): "yes", 0: "not yet"}.get(held, "in part")
    order = [name for name in ("holds", "holds in part", "does not hold", "is open") if name in groups]
    told = "; ".join(f"*{name}*: {', '.join(groups[name])}" for name in order)
    return (
        f"**To explain them: {answer}.** Of {len(found)} links that the paper draws {held} "
        f"hold{'s' * (held == 1)} in full; {told}."
    )


def answer(records: Records) -> str:
    """Three sentences in Markdown: is linear attention all you need."""
    return "\n\n".join((symptoms(records), choices(records), causes(records)))


def curves(budget: TuningBudget, records: Records) -> dict[str, History]:
    """Setting 1's trainings at the published and at the best rates, by what they show; empty where none is stored."""
    one = "1"
    try:
        with stored_only():
            judged = protocol.judge_all(replace(budget, settings=(one,)))
    except NotStoredError:
        return {}
    words = {"published": "Paper's rates", "tuned": "Best rates"}
    found = {}
    for reading, start in words.items():
        if one not in judged.histories[reading]:
            continue
        record = records.get(("C1", reading))
        first = cases(record)[:1] if record else []
        found[f"{start}:\n{sized(first, where='', **GAP)}" if first else start] = judged.histories[reading][one]
    return found


def _class(own: Sequence[Record]) -> str:
    """The card that a claim belongs on, from its verdicts in all readings."""
    rows = [row for record in own for row in cases(record)]
    agree, decided = _agreeing(rows), sum(row["state"] in DECIDED for row in rows)
    if not decided:
        return ""
    against = decided - agree
    if all(word(record) == str(Word.NOT) for record in own) or not agree:
        return "What does not hold"
    reached = all(2 * _agreeing(cases(record)) > len(cases(record)) for record in own)
    return "What holds" if reached and not against else "What depends on a choice"


def cards(records: Records) -> dict[str, list[str]]:
    """Lines in Markdown by card, a claim each: a link, how many of its cases hold, and how large.

    At most LINES of the paper's claims, in three cards; this book's predictions have one of their own.
    """
    found: dict[str, list[str]] = {"What holds": [], "What depends on a choice": [], "What does not hold": []}
    found[PREDICTED] = []
    for claim in SHORT:
        own = {reading: records[claim, reading] for reading in CLAIMS[claim].READINGS if (claim, reading) in records}
        predicted = own and CLAIMS[claim].GROUP == "why"
        if name := PREDICTED if predicted else _class(list(own.values())):
            found[name].append(f"[{SHORT[claim]}](scorecard.md#{claim.lower()}): {_brief(own)}")
    for name, lines in found.items():
        if len(lines) > LINES and name != PREDICTED:
            found[name] = [*lines[: LINES - 1], f"and {len(lines) - LINES + 1} more on the [scorecard](scorecard.md)"]
    return found


def _brief(own: Mapping[str, Record]) -> str:
    """Of all readings how many cases hold, those that say the same once, with the least and the greatest size."""
    said: dict[str, list[str]] = {}
    for reading, record in own.items():
        rows = cases(record)
        names = dict.fromkeys(row.get("kind") for row in rows)
        kinds = [[row for row in rows if row.get("kind") == name] for name in names]
        sizes_of = " and ".join(filter(None, (span(each) for each in kinds if all(r["estimate"] for r in each))))
        text = f"**{_agreeing(rows)} of {len(rows)}**" + (f" ({sizes_of})" if sizes_of else "")
        said.setdefault(text, []).append(reading)
    return ", ".join(text if len(said) == 1 else f"{listed(names)} {text}" for text, names in said.items())


def grid(found: Mapping[str, Sequence[str]]) -> str:
    """Cards side by side, in MyST."""
    wide = {PREDICTED: ":columns: 12\n\n"}
    parts = [
        f":::{{grid-item-card}} {name}\n{wide.get(name, '')}Cases that hold, and their sizes:\n\n"
        + "\n".join(f"- {line}" for line in lines or ["Nothing so far."])
        + "\n:::"
        for name, lines in found.items()
    ]
    return "\n".join(["::::{grid} 1 1 3 3", ":gutter: 2", "", *parts, "::::"])


def missing(records: Records) -> str:
    """What the page lacks, and which chapters would give it."""
    lost: dict[str, list[str]] = {}
    for claim, module in CLAIMS.items():
        for reading in module.READINGS:
            if (claim, reading) not in records and claim not in DERIVED:
                lost.setdefault(module.CHAPTER, []).append(f"{claim} {reading}")
    lines = "; ".join(f"{', '.join(own)} ({{doc}}`{chapter}`)" for chapter, own in lost.items())
    return f"*Not judged yet at this scale, and missing above: {lines}.*" if lost else ""


def practice(records: Records) -> pd.DataFrame:
    """A Transformer that reads text against the proxy, a row a behaviour; empty where none was measured."""
    rows = []
    for ours, theirs in PRACTICE.items():
        own = [record for (claim, _), record in records.items() if claim == ours]
        if not own:
            continue
        row = {"behaviour": CLAIMS[theirs].SENTENCE, "in practice": "; ".join(map(in_words, own))}
        for reading in ("published", "tuned"):
            kept = _kept(records, [theirs], (reading, "init"))
            row[f"proxy, {reading}"] = in_words(kept[0][1]) if kept else "not judged yet"
        rows.append(row)
    return pd.DataFrame(rows)
