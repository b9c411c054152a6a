"""F6: the shape of the noise does not matter for the gap; fixed before it was run on the seeds that judge."""

from __future__ import annotations

from collections.abc import Mapping

from ...statistics import Interval
from .common import Basis, Bounded
from .f5 import SETTINGS, title
from .predictions import GROUP, side_state, verdict_of
from .records import Verdict
from .rules import SMALL, Keys, State, Unit

CLAIM = "F6"
SENTENCE = (
    "Gaussian noise of the same covariance in place of the minibatch noise moves the gap in steps by less than 10%."
)
CHAPTER, FIGURE = "noise_or_not", ""
READINGS = ("tuned",)
BASIS = Basis(SETTINGS, ("loss_ratio",))
MOVED = "gap in steps (SGD over Adam), Gaussian noise over minibatch noise"


def swap_state(ratio: Interval | None) -> State:
    """YES inside 0.9 to 1/0.9, REV wholly outside, else undecided."""
    over, under = side_state(ratio, SMALL, above=True), side_state(ratio, 1 / SMALL)
    if State.MISSING in (over, under):
        return State.MISSING
    return State.YES if over is under is State.YES else State.REV if State.REV in (over, under) else State.UNDECIDED


def judge(scale: str, gaps: Mapping[str, tuple[Bounded, Bounded]], short: tuple[str, ...] = ()) -> Verdict:
    """The verdict from the gaps with Gaussian and with minibatch noise, by setting."""
    units = []
    for name in SETTINGS:
        ratio = (gaps[name][0] - gaps[name][1]).ratio() if name in gaps else None
        units.append(Unit(title(name), MOVED, ratio, swap_state(ratio), keys=Keys((name,))))
    return verdict_of(__name__, CLAIM, "tuned", scale, CHAPTER, units, short)


__all__ = ["BASIS", "CHAPTER", "CLAIM", "FIGURE", "GROUP", "READINGS", "SENTENCE", "judge"]
