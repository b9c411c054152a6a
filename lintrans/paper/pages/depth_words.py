"""What the page on depth says in a line: its result, titles of figures, where float32 ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..claims.records import Verdict
from ..claims.rules import State, Unit
from ..claims.wording import cases, record_of
from .depth import FLOAT32_MOST
from .words import sized

ENDS = {
    "yes": "SGD ends {sizes} higher than Adam",
    "weak": "SGD ends a little higher ({sizes})",
    "null": "both end alike ({sizes})",
    "rev": "SGD ends {inverse} **lower**",
    "undecided": "it is open who ends lower ({sizes})",
}
"""The gap at a depth, by state."""
HEAVIER = {
    "yes": "is heavier-tailed ({sizes})",
    "weak": "is slightly heavier-tailed ({sizes})",
    "null": "is no heavier-tailed ({sizes})",
    "rev": "is **lighter**-tailed ({sizes})",
    "undecided": "may or may not be heavier-tailed ({sizes})",
}
"""What C11 says, by state."""
LARGER = {
    "yes": "is {sizes} as large",
    "weak": "is a little larger ({sizes})",
    "null": "is the same ({sizes})",
    "rev": "is **smaller** ({sizes})",
    "undecided": "may be larger or smaller ({sizes})",
}
"""What C12 says, by state."""


def result(gaps: Sequence[Unit], noise: Verdict, conditions: Verdict) -> str:
    """The page's result in a line, as a quotation in Markdown.

    Args:
        gaps: from :func:`lintrans.paper.claims.c9.gap_units`.
        noise: verdict of C11.
        conditions: verdict of C12.
    """
    ratio = sized(cases(record_of(conditions)), where=" for {cases}", **LARGER)
    start = f"> **After a cooldown** {title(gaps)}. {title_noise(noise)}."
    return f"{start} **The gap in $R_\\mathrm{{med}}$** {ratio}."


def title(gaps: Sequence[Unit]) -> str:
    """Who ends lower after the cooldown at which depth, in a line."""
    return sized(gaps, where=" at {cases}", **ENDS)


def title_noise(noise: Verdict) -> str:
    """What C11 says, in a line."""
    return f"Deep models' noise {sized(cases(record_of(noise)), **HEAVIER)}"


def steepest(curves: Mapping[str, np.ndarray], eigenvalues: np.ndarray, tops: np.ndarray) -> str:
    """Where the formula of the deepest model leaves float32, and how many prompts reach so far, in words.

    Args:
        curves: log10 of the squared share left at each of the eigenvalues, by model; the last is the deepest.
        eigenvalues: ascending.
        tops: largest eigenvalues of prompts.
    """
    if not curves:
        return "Not measured at this scale."
    name, own = list(curves.items())[-1]
    beyond = eigenvalues[own > math.log10(FLOAT32_MOST)]
    if not len(beyond):
        return f"At {name} the formula stays inside float32 up to an eigenvalue of {eigenvalues[-1]:g}."
    return (
        f"At {name} the squared share left is beyond float32 from an eigenvalue of {beyond[0]:.2g} on. Of "
        f"{len(tops):,} prompts {int((tops > beyond[0]).sum())} have so large a one; their median is "
        f"{np.median(tops):.2g}, their largest {tops[-1]:.2g}."
    )


def ways(verdict: Verdict) -> str:
    """In how many of all ways to judge, and depths, the gap in R_med is larger, as the title of a figure."""
    states = [unit.state for unit in verdict.units if unit.state is not State.MISSING]
    more, less = (sum(state in own for state in states) for own in ((State.YES, State.WEAK), (State.REV,)))
    return (
        f"Over all depths and ways to judge the gap in R_med is larger in {more} and smaller in {less} of {len(states)}"
    )
