"""C11: gradient noise is heavier-tailed at L = 6, 8 than at 2, 4; L = 2 much lighter than L = 8 (Ahn et al. 2024).

The tail is E of C2, free of scale: at a small initialization the noise of a deep model is wider for a reason that has
nothing to do with tails, so widths are shown apart. A ratio within 0.9 and its inverse is no difference, however narrow
its interval.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..budgets import DepthBudget
from ..problems import DEPTHS
from .common import Basis, rules_digest
from .depth import CHAPTER, NAMES, contrast, init_deviations
from .records import Verdict
from .rules import Keys, Unit, agree, ratio_unit, rule

CLAIM = "C11"
SENTENCE = "Gradient noise at initialization is heavier-tailed in deep models than in shallow ones."
FIGURE = "fig-depth-noise"
READINGS = ("init",)
GROUP = "causes"
BASIS = Basis(tuple(NAMES.values()), ("noise",))
SHALLOW, DEEP = DEPTHS[:2], DEPTHS[2:]
ALL, ENDS = "L = 6, 8 against 2, 4", "L = 8 against 2"
STATISTICS = {ALL: "min(E6, E8) / max(E2, E4)", ENDS: "E8 / E2"}
EXTREME = "excess_999"
"""E of the 99.9% quantile."""


def log_tails(tables: Mapping[str, pd.DataFrame], column: str = "excess") -> pd.DataFrame:
    """Logs of E, or of another column, by seed (rows) and number of layers (columns), where it could be read."""
    columns = {
        layers: np.log(tables[name].set_index("seed")[column].astype(float))
        for layers, name in NAMES.items()
        if name in tables
    }
    return pd.DataFrame(columns)


def units_of(tables: Mapping[str, pd.DataFrame], column: str = "excess") -> list[Unit]:
    """The two cases by one statistic of the tail."""
    logs, units = log_tails(tables, column), []
    for case, statistic in STATISTICS.items():
        deep, shallow = (DEEP, SHALLOW) if case == ALL else (DEEP[-1:], SHALLOW[:1])
        keys = Keys(tuple(NAMES[layers] for layers in (*shallow, *deep)))
        if not {*deep, *shallow} <= set(logs.columns):
            units.append(ratio_unit(case, statistic, None, keys=keys))
            continue
        least = logs[list(deep)].min(axis=1, skipna=False)
        most = logs[list(shallow)].max(axis=1, skipna=False)
        units.append(ratio_unit(case, statistic, contrast(least, most), keys=keys))
    return units


def width(tables: Mapping[str, pd.DataFrame]) -> list[Unit]:
    """Beside the tail, how much wider the noise of the deepest model is than that of the shallowest."""
    wide = log_tails(tables, "median")
    first, last = DEPTHS[0], DEPTHS[-1]
    if not {first, last} <= set(wide.columns):
        return []
    keys = Keys((NAMES[first], NAMES[last]), part="width")
    what = f"median norm of the noise at L = {last} over L = {first}"
    return [ratio_unit(f"{ENDS}, width", what, contrast(wide[last], wide[first]), False, keys)]


def judge(scale: str, tables: Mapping[str, pd.DataFrame], budget: DepthBudget) -> Verdict:
    """The verdict, reading "init"; robust where the 99.9% quantile says the same."""
    deciding, short = units_of(tables), init_deviations(budget)
    checks = {"q99.9": agree(deciding, units_of(tables, EXTREME))}
    units = (*deciding, *width(tables))
    return Verdict(CLAIM, "init", scale, CHAPTER, units, rule(units), short, rules_digest(__name__), checks)
