"""C11: gradient noise is heavier-tailed at L = 6, 8 than at 2, 4; L = 2 much lighter than L = 8 (Ahn et al. 2024).

The tail is E of C2, free of scale: at a small initialization the noise of a deep model is wider for a reason that has
nothing to do with tails, so widths are shown apart.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..budgets import DepthBudget
from ..problems import DEPTHS
from .common import Basis, rules_digest
from .depth import CHAPTER, NAMES, init_deviations
from .records import Verdict
from .rules import Keys, ratio_unit, rule
from .tails import contrast

CLAIM = "C11"
SENTENCE = "Gradient noise at initialization is heavier-tailed in deep models than in shallow ones."
FIGURE = "fig-depth-noise"
READINGS = ("init",)
GROUP = "causes"
BASIS = Basis(tuple(NAMES.values()), ("noise",))
SHALLOW, DEEP = DEPTHS[:2], DEPTHS[2:]
ALL, ENDS = "L = 6, 8 against 2, 4", "L = 8 against 2"
STATISTICS = {ALL: "min(E6, E8) / max(E2, E4)", ENDS: "E8 / E2"}


def log_tails(tables: Mapping[str, pd.DataFrame], column: str = "excess") -> pd.DataFrame:
    """Logs of E, or of another column, by seed (rows) and number of layers (columns), where it could be read."""
    columns = {
        layers: np.log(tables[name].set_index("seed")[column].astype(float))
        for layers, name in NAMES.items()
        if name in tables
    }
    return pd.DataFrame(columns)


def judge(scale: str, tables: Mapping[str, pd.DataFrame], budget: DepthBudget) -> Verdict:
    """The verdict, reading "init"."""
    logs = log_tails(tables)
    units = []
    for case, statistic in STATISTICS.items():
        deep, shallow = (DEEP, SHALLOW) if case == ALL else (DEEP[-1:], SHALLOW[:1])
        keys = Keys(tuple(NAMES[layers] for layers in (*shallow, *deep)))
        if not {*deep, *shallow} <= set(logs.columns):
            units.append(ratio_unit(case, statistic, None, keys=keys))
            continue
        least = logs[list(deep)].min(axis=1, skipna=False)
        most = logs[list(shallow)].max(axis=1, skipna=False)
        units.append(ratio_unit(case, statistic, contrast(least, most), keys=keys))
    widths = log_tails(tables, "median")
    if {DEPTHS[0], DEPTHS[-1]} <= set(widths.columns):
        wide = contrast(widths[DEPTHS[-1]], widths[DEPTHS[0]])
        case, keys = f"{ENDS}, width", Keys((NAMES[DEPTHS[0]], NAMES[DEPTHS[-1]]), part="width")
        what = "median norm of the noise at L = 8 over L = 2"
        units.append(ratio_unit(case, what, wide, False, keys))
    short = init_deviations(budget)
    return Verdict(CLAIM, "init", scale, CHAPTER, tuple(units), rule(units), short, rules_digest(__name__))
