"""F7: what the noise keeps SGD from is what averaging gives; fixed before it was run on the seeds that judge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from ...statistics import Interval, paired_t
from .common import Basis
from .predictions import GROUP, side_state, verdict_of
from .records import Verdict
from .rules import Keys, State, Unit

CLAIM = "F7"
SENTENCE = "Averaging, or a cooldown, of both optimizers closes at least half of Setting 1's published gap in end loss."
CHAPTER, FIGURE = "noise_or_not", "fig-averages"
READINGS = ("published",)
BASIS = Basis(("1",), ("loss_ratio",))
LEAST = 0.5
HALF = "square root of the gap in end loss, over what is left of it"
WAYS = {"averaged": "averaged", "cooled": "after a cooldown"}


def closed(logs: pd.DataFrame, way: str) -> Interval | None:
    """Half the logarithm of the constant rate's gap less what is left of it, as a ratio: above 1, half is closed."""
    if way not in logs or logs.empty:
        return None
    both = logs[["constant", way]].dropna().to_numpy(np.float64)
    return paired_t(LEAST * both[:, 0] - both[:, 1]).exp() if len(both) else None


def judge(scale: str, logs: pd.DataFrame, short: tuple[str, ...] = ()) -> Verdict:
    """The verdict from log gaps (SGD over Adam), a row a seed, columns constant, averaged, cooled.

    One case decides: the way that closes more. The prediction needs a gap at the constant rate.
    """
    found = {way: closed(logs, way) for way in WAYS}
    keys = Keys(("1",))
    units = [
        Unit(f"setting 1, {WAYS[way]}", HALF, own, side_state(own, 1.0, above=True), False, keys._replace(part=way))
        for way, own in found.items()
    ]
    known = [own for own in found.values() if own is not None]
    best = max(known, key=lambda own: own.estimate) if len(known) == len(WAYS) else None
    state = side_state(best, 1.0, above=True)
    if best is not None and side_state(paired_t(logs["constant"].to_numpy(np.float64)).exp(), 1.0, True) != State.YES:
        state = State.UNDECIDED
    own = None if best is None else replace(best, p=min(1.0, len(WAYS) * best.p))
    return verdict_of(
        __name__, CLAIM, "published", scale, CHAPTER, [Unit("setting 1", HALF, own, state, keys=keys), *units], short
    )


__all__ = ["BASIS", "CHAPTER", "CLAIM", "FIGURE", "GROUP", "READINGS", "SENTENCE", "judge"]
