"""F5: the size of the batch does not matter for the gap in steps; fixed before it was run on the seeds that judge."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ...statistics import geometric_ratio
from .c8 import gap_state
from .common import Basis, Bounded
from .predictions import GROUP, verdict_of
from .records import Verdict
from .rules import Keys, Unit, ratio_unit

CLAIM = "F5"
SENTENCE = (
    "From batches of 10 to batches of 100,000 the gap in steps moves by less than a quarter while the noise's tail "
    "ratio E falls."
)
CHAPTER, FIGURE = "noise_or_not", "fig-batches"
READINGS = ("tuned",)
SETTINGS = ("1", "3", "sphere")
BASIS = Basis(SETTINGS, ("loss_ratio", "noise"))
REFERENCE = 1000
"""The paper's batch, which the others are compared with."""
MOVED = "gap in steps (SGD over Adam) over that at batches of 1,000"
TAIL = "E of the noise, smallest batch over largest"


def units_of(
    gaps: Mapping[str, Mapping[int, Bounded]], tails: Mapping[str, pd.DataFrame], batches: tuple[int, ...]
) -> list[Unit]:
    """A case a setting and batch beside 1,000, inside 0.8 to 1.25 as predicted; and a case a setting for E.

    `tails` has rows of seeds and columns of batches.
    """
    units = []
    for name in SETTINGS:
        own = gaps.get(name, {})
        for batch in (size for size in batches if size != REFERENCE):
            case, keys = f"{title(name)}, batches of {batch:,}", Keys((name,), part=f"{batch}")
            both = batch in own and REFERENCE in own
            ratio = (own[batch] - own[REFERENCE]).ratio() if both else None
            units.append(Unit(case, MOVED, ratio, gap_state(ratio), keys=keys))
    for name in SETTINGS:
        frame = tails.get(name)
        ratio = None
        if frame is not None and frame.shape[1] > 1:
            ends = frame.sort_index(axis=1).iloc[:, [0, -1]].dropna().to_numpy(np.float64)
            ratio = geometric_ratio(ends[:, 0], ends[:, 1]) if len(ends) else None
        units.append(ratio_unit(f"{title(name)}, tail", TAIL, ratio, keys=Keys((name,), part="tail")))
    return units


def title(name: str) -> str:
    return name if name == "sphere" else f"setting {name}"


def judge(
    scale: str, gaps: Mapping[str, Mapping[int, Bounded]], tails: Mapping[str, pd.DataFrame],
    batches: tuple[int, ...], short: tuple[str, ...] = (),
) -> Verdict:  # fmt: skip
    """The verdict, at tuned rates."""
    return verdict_of(__name__, CLAIM, "tuned", scale, CHAPTER, units_of(gaps, tails, batches), short)


__all__ = ["BASIS", "CHAPTER", "CLAIM", "FIGURE", "GROUP", "READINGS", "SENTENCE", "judge"]
