"""Adam against SGD: speed beside end losses."""

from __future__ import annotations

from dataclasses import replace

from ..claims.records import Verdict
from ..claims.rules import State, Unit

FAVOURS = {State.YES: "Adam", State.WEAK: "Adam", State.REV: "SGD"}


def agreements(verdict: Verdict) -> list[Unit]:
    """Ratios of steps whose state says whether they agree with those of losses; statistic: whom the steps favour.

    YES: both favour the same optimizer; REV: different ones; WEAK: only one of them decides; NULL: neither does.
    """
    ends = {unit.keys: unit for unit in verdict.units if unit.decides}
    found = []
    for unit in (unit for unit in verdict.units if not unit.decides):
        end = ends[unit.keys._replace(part=None)]
        first, last = FAVOURS.get(unit.state), FAVOURS.get(end.state)
        state = (State.YES if first else State.NULL) if first == last else State.REV if first and last else State.WEAK
        found.append(replace(unit, case=end.case, statistic=first or "neither", state=state))
    return found
