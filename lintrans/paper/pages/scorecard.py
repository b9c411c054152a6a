"""Tables of the scorecard: verdicts against the paper, what checks them, earlier ones, and whether they repeat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from ..claims import editions, stability
from ..claims.contradictions import Contradiction
from ..claims.rules import LEVEL, State
from ..claims.scorecard import CLAIMS, before, figure_of, members
from ..claims.wording import NAMES, Record, cases, chance, counts, flags, numbers, plain, sentence, table
from ..problems import PROBLEMS
from ..second.compare import STATISTICS
from .common import TOLERANCE as TOLERANCE  # the chapter takes it from here
from .common import agrees
from .common import how_far as how_far
from .template import all_numbers

Records = Mapping[tuple[str, str], Record]
NOT_YET = "not judged yet"


def cards(records: Records, scale: str, group: str = "") -> dict[str, str]:
    """By claim, in Markdown: what it says with its verdicts in short; folded, what qualifies them and all cases.

    Each is a target, ``c7`` of C7.
    """
    earlier, found, told = before(scale), {}, dict[tuple[str, ...], str]()
    for name, claim in members(group).items():
        lines, short, tables = [f"Judged in {{doc}}`{claim.CHAPTER}`.", ""], [], {}
        for reading in claim.READINGS:
            record = records.get((name, reading))
            short.append(f"*{reading}:* {counts(cases(record)) + '†' * bool(flags(record)) if record else NOT_YET}")
            if record is None:
                lines.append(f"- *{reading}*: {NOT_YET}")
                continue
            old = earlier.get((name, reading))
            changed = f" (under earlier rules: {old})" if old not in (None, record["rows"][-1]["verdict"]) else ""
            lines.append(f"- *{reading}*: {sentence(record)}{changed}")
            tables[f"{reading.capitalize()}. {_made(name, reading, record, told)}"] = table(record, decides=True)
        title = f"**{name}.** {claim.SENTENCE} {'; '.join(short)}"
        found[name] = f"({name.lower()})=\n" + all_numbers(tables, title, before="\n".join(lines))
    return found


def _made(name: str, reading: str, record: Record, told: dict[tuple[str, ...], str]) -> str:
    """Where a verdict is shown, when and how it was judged, and what it is short of; `told` says it of earlier ones."""
    claim = CLAIMS[name]
    figure = figure_of(claim, reading)
    text = f"Shown in {{numref}}`{figure}`; judged" if figure else "Judged"
    text += f" {record['created'][:10]} by rules {record['rules']}."
    if short := tuple(record["deviations"]):
        first = told.setdefault(short, f"{name}, {reading}")
        same = f"as for {first}" if first != f"{name}, {reading}" else "; ".join(short)
        text += f" Less than the rules ask for: {same}."
    if beside := len(cases(record, decides=False)):
        text += f" {beside} further case{'s stand' if beside > 1 else ' stands'} beside these in the chapter."
    return text


def against(found: Sequence[Contradiction]) -> pd.DataFrame:
    """Each contradiction with its cases."""
    rows = [(each.claim, each.reading, f"{len(each.cases)} of {each.decided}", each.words) for each in found]
    return pd.DataFrame(rows, columns=["claim", "reading", "cases against", "against the paper"])


def checked(contradiction: Contradiction, found: pd.DataFrame) -> bool:
    """Whether a contradiction stands, in full, on numbers that both implementations give."""
    return agrees(contradiction.rows(found)) and not contradiction.unchecked(found)


def checks(contradicted: Sequence[Contradiction], found: pd.DataFrame) -> pd.DataFrame:
    """Each contradiction with the numbers, computed twice, that stand behind it."""
    rows = []
    for each in contradicted:
        own, lost = each.rows(found), each.unchecked(found)
        problems = list(dict.fromkeys(PROBLEMS[name].title for name in own["problem"]))
        statistics = dict.fromkeys(STATISTICS[name].words for name in own["statistic"])
        rows.append(
            {
                "claim": each.claim,
                "reading": each.reading,
                "checked on": "; ".join(problems) + (f"; *not computed twice: {'; '.join(lost)}*" if lost else ""),
                "by": "; ".join(statistics),
                "largest relative difference": f"{own['difference'].max():.0e}" if len(own) else "not checked",
                "sides changed": str(int(own["flips"].sum())) if len(own) else "not checked",
            }
        )
    return pd.DataFrame(rows)


def by_chance(judged: Sequence[Record]) -> str:
    """How many cases would agree, and how many verdicts be *partly*, if no claim held anywhere."""
    found = chance(judged)
    if not found["cases"]:
        return "No case has been judged yet."
    cases, agree, verdicts = (f"{found[name]:.0f}" for name in ("cases", "agree", "verdicts"))
    return (
        f"How much of this is chance? Of {cases} deciding cases with a number, {agree} agree with the paper. "
        f"If no claim held in any case, at most {found['by_chance']:.1f} of them would, half of {LEVEL:.0%} of each; "
        "fewer, since two tests have to agree. Holm's correction holds over the cases of one verdict: "
        f"by chance it is *partly reproduced* with at most {LEVEL:.0%}. Nothing corrects over the {verdicts} verdicts "
        f"together: at most {found['verdicts_by_chance']:.1f} of them would be *partly reproduced* then."
    )


def repeats_in_words(made: stability.Comparison | None) -> str:
    """What the last run on other seeds and batches found."""
    if made is None or made.share is None:
        return "No comparison is kept with this version: `lintrans stability` makes one."
    kept, goal = len(made.rows) - len(made.changed), stability.GOAL
    lost = f" Not compared: {', '.join(made.lost)}." if made.lost else ""
    return (
        f"Compared by {made.date} with lintrans {made.version}, scale *{made.scale}*, {made.offset} added to seeds and "
        f"batches: {kept} of {len(made.rows)} decided cases keep their state, {made.share:.0%}; the goal of {goal:.0%} "
        f"is {'reached' if made.share >= goal else 'missed'}. A case that changed is flagged where verdicts are "
        f"listed.{lost}"
    )


def by_state(made: stability.Comparison) -> pd.DataFrame:
    """How many cases of each state kept it, and what the others became, in words."""
    return made.table().astype(str).map(plain)


def changed(made: stability.Comparison) -> pd.DataFrame:
    """The cases that did not keep their state, with both intervals."""

    def text(state: str | None, estimate: float | None, low: float | None, high: float | None) -> str:
        shown = numbers({"estimate": estimate, "low": low, "high": high})
        words = NAMES[State(state)] if state else "not judged"
        return words if estimate is None else f"{shown} {words}"

    rows = [
        {
            "claim": row.claim,
            "reading": row.reading,
            "case": row.case,
            "as judged": text(row.state, row.estimate, row.low, row.high),
            "on other seeds and batches": text(row.state_again, row.estimate_again, row.low_again, row.high_again),
        }
        for row in made.changed
    ]
    return pd.DataFrame(rows, columns=["claim", "reading", "case", "as judged", "on other seeds and batches"])


def editions_in_words(judged: Records, first: editions.Edition | None, scale: str) -> str:
    """How many verdicts and cases are not what they were under the first edition."""
    if first is None or first.scale != scale:
        return "Verdicts under the first edition are kept for no such scale."
    found = editions.differences(judged, first)
    words, cases = sum(each.before != each.now for each in found), sum(len(each.table) for each in found)
    new = editions.not_judged_before(judged, first)
    return (
        f"What version {first.commit} computed on {first.date}, the last with the first edition's rules, at the same "
        f"scale. Of {len(first.records)} verdicts {words} have another word now, and {cases} cases another state or no "
        f"counterpart. Not judged then: {', '.join(new) or 'none'}. Each change, with what the data say of its reason, "
        "is folded below."
    )


def edition_cards(judged: Records, first: editions.Edition | None, scale: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """A text and a table for each claim and reading whose verdict or cases are not what they were."""
    if first is None or first.scale != scale:
        return
    for each in editions.differences(judged, first):
        word = f"**{each.before}**, now **{each.now}**" if each.before != each.now else f"**{each.now}**, as before"
        short = f" Then: {'; '.join(each.short)}." if each.short else ""
        yield f"**{each.claim}, {each.reading} reading**: {word}.{short}", each.table
