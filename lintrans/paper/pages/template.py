"""What every chapter is made of: its result in a line, its cases in a plot, how fragile they are, all numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

import pandas as pd

from ..claims import stability
from ..claims.common import FIXED_BATCH
from ..claims.practice import ANOTHER_SET
from ..claims.records import Verdict
from ..claims.rules import State, Unit, agree
from ..claims.scorecard import CLAIMS, cases_of
from ..claims.wording import DECIDED, Record, cases, counts, flags_of_all, in_words, record_of
from ..figures.cases import Html, case_forest
from .words import sized

Records = Mapping[tuple[str, str], Record]
CHECKED_BY = {"test batch": (FIXED_BATCH, "other batches", ANOTHER_SET), "horizon": ("cooled",)}
"""By lamp, the checks of a verdict that are about it; all others are about a convention."""
LAMPS = ("convention", "test batch", "horizon", "seeds")
STYLE = """<style>
html[data-theme=dark] .bd-content .cell_output .text_html:has(.lamps){background:none!important;
color:var(--pst-color-text-base)!important;padding:0}
.lamps{display:grid;grid-template-columns:repeat(auto-fit,minmax(10.5rem,1fr));gap:.6rem;margin:1em 0}
.lamps div{border:1px solid color-mix(in srgb,currentColor 25%,transparent);border-left:.4rem solid var(--lamp);
padding:.5rem .7rem}
.lamps b{display:block}.lamps small{display:block;opacity:.9;line-height:1.35}
</style>"""
STEPS = ("Data", "Model", "Training", "Measured", "Judged")
STEPS_STYLE = """<style>
html[data-theme=dark] .bd-content .cell_output .text_html:has(.steps){background:none!important;
color:var(--pst-color-text-base)!important;padding:0}
.steps{display:grid;grid-template-columns:repeat(5,1fr);gap:1.3rem;list-style:none;margin:1em 0;padding:0;
font-size:.84em;line-height:1.35}
.steps li{border:1px solid color-mix(in srgb,currentColor 35%,transparent);margin:0;padding:.4rem .55rem;
position:relative}
.steps b{display:block}
.steps li+li::before{content:"→";position:absolute;left:-1.2rem;top:calc(50% - .7em)}
@media(max-width:576px){.steps{grid-template-columns:1fr;gap:.4rem}.steps li{display:flex;gap:.6rem}
.steps b{flex:0 0 5rem}.steps li+li::before{content:none}}
</style>"""


class Lamp(NamedTuple):
    """Of how many cases, or ways, so many say the same, and what was compared, in words."""

    kept: int
    of: int
    words: str

    @property
    def light(self) -> tuple[str, str]:
        """A colour and a word."""
        if not self.of:
            return "#7a7a7a", "not checked"
        if self.kept == self.of:
            return "#2a8f5b", "steady"
        return ("#d55e00", "fragile") if self.kept == 0 else ("#c98a00", "depends")


def headline(verdicts: Mapping[str, Verdict], **words: str) -> str:
    """The chapter's result in one line, as a quotation in Markdown: what its verdicts say under each of these headings.

    Args:
        verdicts: by how a sentence begins, "At the published rates".
        **words: of :func:`.words.sized`.
    """
    return "> " + " ".join(f"**{start}** {sized(cases(record_of(each)), **words)}." for start, each in verdicts.items())


def mini_forest(verdicts: Iterable[Verdict]) -> Html:
    """All cases of some verdicts that decide, in one plot with the verdicts in words above them."""
    own = list(verdicts)
    records = {(each.claim, each.reading): record_of(each) for each in own}
    heads: dict[str, list[str]] = {}
    for (claim, reading), record in records.items():
        more = "".join(f"<small>⚑ {escape(flag)}</small>" for flag in flags_of_all(record))
        link = f'<a href="scorecard.html#{claim.lower()}">{claim}</a>'
        heads.setdefault(claim, []).append(f"<div><b>{link}, {reading}:</b> {escape(in_words(record))}{more}</div>")
    return case_forest(cases_of(records), {claim: "".join(lines) for claim, lines in heads.items()})


def heads(records: Records) -> dict[str, str]:
    """What stands above a claim's cases in the plot, in HTML: the claim and the flags of its verdicts."""
    found = {}
    for claim, module in CLAIMS.items():
        marks = [
            f"<small>⚑ {reading}: {escape('; '.join(own))}</small>"
            for reading in module.READINGS
            if (claim, reading) in records and (own := flags_of_all(records[claim, reading]))
        ]
        found[claim] = f'<b><a href="scorecard.html#{claim.lower()}">{claim}</a></b> {module.SENTENCE}{"".join(marks)}'
    return found


def not_drawn(records: Records) -> Iterator[str]:
    """Claims whose cases have no number of their own, with their verdicts, a line each in Markdown."""
    for claim, module in CLAIMS.items():
        own = {reading: records[claim, reading] for reading in module.READINGS if (claim, reading) in records}
        if own and not any(row["estimate"] is not None for record in own.values() for row in cases(record)):
            texts = "; ".join(f"{reading}: {counts(cases(record))}" for reading, record in own.items())
            yield f"- [{claim}](scorecard.md#{claim.lower()}) {module.SENTENCE} {texts}."


def lamps(verdicts: Sequence[Verdict]) -> dict[str, Lamp]:
    """What the checks of some verdicts, and the last comparison on other seeds and batches, say of each lamp."""
    found = {}
    for name in LAMPS[:3]:
        about = [
            (check, holds)
            for verdict in verdicts
            for check, holds in verdict.checks.items()
            if check in CHECKED_BY.get(name, ()) or (name == LAMPS[0] and check not in sum(CHECKED_BY.values(), ()))
        ]
        failing = ", ".join(dict.fromkeys(check for check, holds in about if not holds))
        kept = sum(holds for _, holds in about)
        text = f"of the other ways to judge agree{f'; not: {failing}' if failing else ''}" if about else "no check"
        found[name] = Lamp(kept, len(about), text)
    return found | {LAMPS[3]: _seeds(verdicts)}


def _seeds(verdicts: Sequence[Verdict]) -> Lamp:
    made, places = stability.read(), {(each.claim, each.reading) for each in verdicts}
    counted = sorted({unit.interval.n for each in verdicts for unit in each.units if unit.decides and unit.interval})
    on = (
        f"{counted[0]} to {counted[-1]} seeds" if len(counted) > 1 else f"{counted[0]} seeds" if counted else "no seeds"
    )
    same = made is not None and made.scale in {each.scale for each in verdicts}
    rows = [row for row in made.rows if (row.claim, row.reading) in places] if made and same else []
    kept = sum(row.same for row in rows)
    text = (
        f"of the decided cases keep their state with other seeds and batches; {on}" if rows else f"not repeated; {on}"
    )
    return Lamp(kept, len(rows), text)


def confirmed(words: str, *judged: tuple[Verdict, Iterable[Unit]]) -> Lamp:
    """A lamp for cases judged otherwise: how many of those that are decided say the same.

    Args:
        words: what was compared.
        judged: a verdict, and cases whose keys are those of its deciding ones, but for their part. Those that were not
            measured are left out.
    """
    same = []
    for verdict, others in judged:
        found = {unit.keys: unit for unit in verdict.units if unit.decides and unit.state in DECIDED}
        pairs = [(found.get(other.keys._replace(part=None)), other) for other in others]
        same += [agree([one], [other]) for one, other in pairs if one and other.state is not State.MISSING]
    return Lamp(sum(same), len(same), words)


def part(verdict: Verdict, name: str) -> list[Unit]:
    """The cases of a verdict of that part, which stand beside those that decide."""
    return [unit for unit in verdict.units if unit.keys.part == name]


def fragile(verdicts: Sequence[Verdict], **own: Lamp) -> Html:
    """Four lamps that say whether the result changes with the convention, the test batch, the horizon, the seeds.

    Args:
        verdicts: of the page.
        **own: lamps that the page knows better, by name with an underscore for a space.
    """
    return lights(lamps(verdicts) | {name.replace("_", " "): lamp for name, lamp in own.items()})


def lights(found: Mapping[str, Lamp]) -> Html:
    """Lamps side by side, by name, each with its number and what was compared."""
    parts = []
    for name, lamp in found.items():
        colour, light = lamp.light
        number = f"{lamp.kept} of {lamp.of} " if lamp.of else ""
        parts.append(
            f'<div style="--lamp:{colour}"><b>{name}: {light}</b><small>{number}{escape(lamp.words)}</small></div>'
        )
    return Html(f'{STYLE}<div class="lamps">{"".join(parts)}</div>')


def steps(*words: str) -> Html:
    """A chapter's experiment as a strip of five boxes: data, model, training, what is measured, what is judged."""
    boxes = "".join(f"<li><b>{name}</b>{escape(text)}</li>" for name, text in zip(STEPS, words, strict=True))
    return Html(f'{STEPS_STYLE}<ol class="steps">{boxes}</ol>')


def all_numbers(
    tables: Mapping[str, pd.DataFrame], title: str = "All numbers", notes: Iterable[str] = (), before: str = ""
) -> str:
    """Tables under their titles, folded, in Markdown; on a page each has a button that copies it as CSV."""
    parts = [f"{name}\n\n{table.to_markdown(index=False, disable_numparse=True)}" for name, table in tables.items()]
    return "\n\n".join([f"::::{{dropdown}} {title}", *filter(None, [before]), *parts, *notes, "::::"])


def answer(text: str) -> str:
    """The answer to an exercise, folded, in Markdown."""
    return f"::::{{dropdown}} The answer\n{text}\n::::"
