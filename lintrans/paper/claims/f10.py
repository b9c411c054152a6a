"""F10: curvature between blocks says where there is a gap; fixed before it was run on the seeds that judge."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from ...statistics import correlation_interval, paired_t, rank_correlation
from .common import Basis
from .predictions import GROUP, side_state, verdict_of
from .records import Verdict
from .rules import Keys, State, Unit

CLAIM = "F10"
SENTENCE = (
    "Over initial scales, covariate scales and parameterizations, the curvature between blocks at step 250 predicts "
    "the gap in steps."
)
CHAPTER, FIGURE = "least_model", "fig-least-map"
READINGS = ("published", "tuned")
BASIS = Basis(("1",), ("loss_ratio", "condition"))
LEAST = 0.7
CORRELATION = "rank correlation over cells, log ratio of the factor against log ratio of steps"
FEWEST = 4


def judge(reading: str, scale: str, cells: pd.DataFrame, short: tuple[str, ...] = ()) -> Verdict:
    """The verdict from columns cell, seed, predictor, gap (logarithms, SGD over Adam): Spearman's, one a seed.

    Cells without a number are left out; a seed needs at least four.
    """
    good = cells[np.isfinite(cells["predictor"]) & np.isfinite(cells["gap"])]
    each = [
        (rank_correlation(own["predictor"].to_numpy(np.float64), own["gap"].to_numpy(np.float64)), len(own))
        for _, own in good.groupby("seed")
        if len(own) >= FEWEST
    ]
    each = [(value, count) for value, count in each if not math.isnan(value)]
    unit = Unit("all cells", CORRELATION, None, State.MISSING, keys=Keys(part="cells"))
    if each:
        values, points = [value for value, _ in each], min(count for _, count in each)
        test = paired_t(np.arctanh(np.clip(values, -0.999, 0.999)) - math.atanh(LEAST))
        found = replace(correlation_interval(values, points), p=test.p, flip=test.flip, above=test.above)
        unit = replace(unit, interval=found, state=side_state(found, LEAST, above=True))
    return verdict_of(__name__, CLAIM, reading, scale, CHAPTER, [unit], short)


__all__ = ["BASIS", "CHAPTER", "CLAIM", "FIGURE", "GROUP", "READINGS", "SENTENCE", "judge"]
