"""F9: Adam speeds up the escape from zero; fixed before it was run on the seeds that judge."""

from __future__ import annotations

from collections.abc import Mapping

from .common import Basis, Bounded
from .f8 import STEPS
from .predictions import GROUP, under_unit, verdict_of
from .records import Verdict
from .rules import MARGIN, Keys, State, Unit

CLAIM = "F9"
SENTENCE = "From an initial scale of 0.3 on, SGD needs less than 1.25 times Adam's steps."
CHAPTER, FIGURE = "least_model", "fig-least-map"
READINGS = ("published", "tuned")
BASIS = Basis(("1",), ("loss_ratio",))
LARGE = 0.3


def judge(reading: str, scale: str, gaps: Mapping[float, Bounded], short: tuple[str, ...] = ()) -> Verdict:
    """The verdict from gaps in steps by initial scale; those below 0.3 decide nothing."""
    units = [
        under_unit(f"initial scale {size:g}", STEPS, gap, MARGIN, Keys(part=f"{size:g}"))
        for size, gap in sorted(gaps.items())
        if size >= LARGE
    ]
    found = units or [Unit(f"initial scale {LARGE:g}", STEPS, None, State.MISSING)]
    return verdict_of(__name__, CLAIM, reading, scale, CHAPTER, found, short)


__all__ = ["BASIS", "CHAPTER", "CLAIM", "FIGURE", "GROUP", "READINGS", "SENTENCE", "judge"]
