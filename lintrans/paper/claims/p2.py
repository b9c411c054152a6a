"""P2: gradient noise at initialization is heavy-tailed for language models, and not for image networks (C2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from .c2 import MOST_ERROR, STATISTIC, geometric_mean
from .practice import BASIS as BASIS
from .practice import CHAPTER as CHAPTER
from .practice import GROUP as GROUP
from .practice import Shown, by_network, keys, verdict
from .records import Verdict
from .rules import agree, ratio_unit

CLAIM = "P2"
SENTENCE = (
    "In practice gradient noise at initialization is heavy-tailed for language models, and not for image networks."
)
FIGURE = "fig-practice-noise"
READINGS = ("init",)
WHOLE = "all"
"""The layer that holds every parameter."""


def shown(name: str, table: pd.DataFrame, raw: bool = False) -> Shown:
    """E of the whole gradient, over initializations; `raw`: against the null without its correction for low rank."""
    own = table[table["layer"] == WHOLE].set_index("seed").sort_index()
    excess = own["excess"].where(~(own["reference_error"] > MOST_ERROR))
    if raw:
        excess = excess * np.exp(-own["null_error"])
    ratio = geometric_mean(excess)
    logs = None if ratio is None else pd.DataFrame({0: np.log(excess)})
    return Shown(ratio_unit(name, STATISTIC, ratio, keys=keys(name)), logs)


def judge(scale: str, tables: Mapping[str, pd.DataFrame], short: Sequence[str] = ()) -> Verdict:
    """The verdict, reading "init"; robust where the null as the samples alone give it says the same."""

    def all_shown(raw: bool) -> dict[str, Shown]:
        return by_network(tables, STATISTIC, lambda name: shown(name, tables[name], raw))

    found, raw = all_shown(False), all_shown(True)
    pair = [[each.unit for each in own.values()] for own in (found, raw)]
    return verdict(CLAIM, __name__, "init", scale, found, short, {"null without correction": agree(*pair)})
