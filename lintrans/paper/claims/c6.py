"""C6: heavier-tailed covariates give heavier-tailed gradient noise (Ahn et al. 2024, the section on causes).

The paper compares histograms of its Setting 3 with those of spherical covariates. Here E, the tail of the noise against
Gaussian noise of the same covariance (:mod:`.c2`), is compared between the two, initialization by initialization.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from ..budgets import NoiseBudget
from ..scales import NOISE_PROTOCOL
from .c2 import deviations, geometric_mean
from .common import Basis, rules_digest
from .records import Verdict
from .rules import Keys, State, Unit, agree, correlation_state, ratio_unit, rule
from .tails import PAIR, Trend

CLAIM = "C6"
SENTENCE = "Heavier-tailed covariates give heavier-tailed gradient noise."
CHAPTER = "heavy_tails"
FIGURE = "fig-tails-noise"
READINGS = ("init",)
GROUP = "causes"
BASIS = Basis(PAIR, ("noise",))
CASE = "setting 3 against sphere"
STATISTIC = "E, Setting 3 over sphere"
STATISTIC_999 = "the same of q99.9"
TREND = "rank correlation (Kendall) of E with the level of tail, at equal second moment"


def contrast(tables: Mapping[str, pd.DataFrame], column: str, statistic: str, case: str, decides: bool) -> Unit:
    """The geometric mean over initializations of a statistic, Setting 3 over sphere."""
    keys = Keys(PAIR, part=None if decides else column)
    heavy, light = (tables[name].set_index("seed")[column] if name in tables else None for name in PAIR)
    if heavy is None or light is None:
        return ratio_unit(case, statistic, None, decides, keys)
    seeds = heavy.index.intersection(light.index)
    ratio = geometric_mean((heavy[seeds] / light[seeds]).to_numpy(np.float64))
    return ratio_unit(case, statistic, ratio, decides, keys)


def judge(scale: str, tables: Mapping[str, pd.DataFrame], budget: NoiseBudget, trend: Trend | None = None) -> Verdict:
    """The verdict, reading "init"; robust where the 99.9% quantile, and the order of all levels, say the same."""
    units = [
        contrast(tables, "excess", STATISTIC, CASE, decides=True),
        contrast(tables, "excess_999", STATISTIC_999, f"{CASE}, q99.9", decides=False),
    ]
    checks = {"q99.9": agree(units[:1], units[1:])}
    if trend is not None:
        state = correlation_state(trend.seeds) if trend.seeds is not None else State.MISSING
        units.append(Unit(f"along {trend.levels} levels", TREND, trend.seeds, state, False, Keys(part="trend")))
        checks["all levels"] = agree(units[:1], units[-1:])
    measured = replace(budget, settings=tuple(name for name in PAIR if name in tables))
    short = deviations(measured, replace(NOISE_PROTOCOL, settings=PAIR))
    digest = rules_digest(__name__)
    return Verdict(CLAIM, "init", scale, CHAPTER, tuple(units), rule(units), short, digest, checks)
