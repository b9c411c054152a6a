"""P3: R_med is lower for Adam than for SGD on language models, and not on image networks (C3 in practice).

Judged per layer, as Jiang et al. (2022) measure practice, on a sample of the Hessian's diagonal that every seed and
evaluation set draws anew, so that its error is in the interval; averaged over the probes along the run. Entries that an
evaluation set does not meet, such as the rows of absent words, are left out: the median over all of them would be zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from . import practice
from .c3 import RATIO, log_ratios_along, table_unit
from .practice import BASIS as BASIS
from .practice import CHAPTER as CHAPTER
from .practice import GROUP as GROUP
from .practice import READINGS as READINGS
from .practice import Shown, by_network, keys, verdict
from .records import Verdict
from .rules import agree

CLAIM = "P3"
SENTENCE = "In practice R_med is lower for Adam than for SGD on language models, and not on image networks."
FIGURE = {"tuned": "fig-practice-condition"}
PER_LAYER = "r_blocks"
TOGETHER = "r_used"
WORDS = {PER_LAYER: "per layer", TOGETHER: "all layers together"}


def shown(name: str, frame: pd.DataFrame, settled: int, metric: str = PER_LAYER) -> Shown:
    """The ratio of R_med, averaged along the run, with both conventions and what is between layers beside it."""
    logs = {each: log_ratios_along(frame, each, settled) for each in WORDS}
    statistic = f"{RATIO}, {WORDS[metric]}"
    unit = table_unit(name, statistic, logs[metric], True, keys(name))
    between = logs[TOGETHER] - logs[PER_LAYER]
    both = {WORDS[TOGETHER]: logs[TOGETHER], "between layers": between.dropna()}
    beside = (
        table_unit(f"{name}, {words}", f"{RATIO}, {words}", table, False, keys(name, words))
        for words, table in both.items()
    )
    return Shown(unit, logs[metric] if logs[metric].size else None, tuple(beside))


def judge(
    reading: str, scale: str, frames: Mapping[str, pd.DataFrame], settled: int, short: Sequence[str] = ()
) -> Verdict:
    """The verdict of one reading; robust where all layers together, and each evaluation set alone, say the same."""

    def all_shown(measured: Mapping[str, pd.DataFrame], metric: str = PER_LAYER) -> dict[str, Shown]:
        return by_network(measured, RATIO, lambda name: shown(name, measured[name], settled, metric))

    found = all_shown(frames)
    others = [each.unit for each in all_shown(frames, TOGETHER).values()]
    checks = {
        WORDS[TOGETHER]: agree([each.unit for each in found.values()], others),
        practice.ANOTHER_SET: practice.alone(frames, all_shown),
    }
    return verdict(CLAIM, __name__, reading, scale, found, short, checks)
