"""C2: gradient noise at initialization is heavy-tailed in Settings 1 to 3 (Ahn et al. 2024, section 3).

The paper shows histograms. Here a tail is heavy if it is so against Gaussian noise of the same covariance: the 99%
quantile of the norm over its median, divided by the same ratio of N(0, C), is called E.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...statistics import Interval, paired_t
from ..budgets import NoiseBudget
from ..scales import NOISE_PROTOCOL
from .common import CASES, Basis, by_setting, fewer, rules_digest
from .records import Verdict
from .rules import Keys, Unit, agree, ratio_unit, rule

CLAIM = "C2"
SENTENCE = "Gradient noise at initialization is heavy-tailed in Settings 1 to 3."
CHAPTER = "gradient_noise"
FIGURE = "fig-gradient-noise"
READINGS = ("init",)
GROUP = "behaviours"
BASIS = Basis(CASES, ("noise",))
STATISTIC = "E: q99 / median of the noise norm, over that of N(0, C)"
STATISTIC_999 = "the same of q99.9"
MOST_ERROR = 0.5
"""Standard error of the reference gradient, in median norms of the noise, beyond which E is not read."""


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table with E missing where single prompts rule the reference, so that the norms do not measure the noise."""
    good = ~(table["reference_error"] > MOST_ERROR)
    return table.assign(excess=table["excess"].where(good), excess_999=table["excess_999"].where(good))


def geometric_mean(values: npt.ArrayLike) -> Interval | None:
    """Geometric mean with the t interval of its logarithm; None where a value is missing."""
    ratios = np.asarray(values, dtype=np.float64)
    if not len(ratios) or not np.isfinite(ratios).all():
        return None
    return paired_t(np.log(ratios)).exp()


def noise_units(case: str, table: pd.DataFrame, keys: Keys) -> tuple[Unit, Unit]:
    """E of the 99% quantile, which decides, and that of the 99.9% quantile, beside it."""
    ratio, further = (geometric_mean(table[column]) for column in ("excess", "excess_999"))
    return (
        ratio_unit(case, STATISTIC, ratio, keys=keys),
        ratio_unit(f"{case}, q99.9", STATISTIC_999, further, False, keys._replace(part="q99.9")),
    )


def judge(scale: str, tables: Mapping[str, pd.DataFrame], budget: NoiseBudget) -> Verdict:
    """The verdict, reading "init"; it is robust where the 99.9% quantile says the same."""
    units = by_setting(tables, STATISTIC, lambda case, name, keys: [*noise_units(case, tables[name], keys)])
    further = [unit for unit in units if not unit.decides]
    measured = [unit for unit in units if unit.decides and unit.keys.problem in tables]
    checks = {"q99.9": agree(measured, further)}
    short, digest = deviations(budget, NOISE_PROTOCOL), rules_digest(__name__)
    return Verdict(CLAIM, "init", scale, CHAPTER, tuple(units), rule(units), short, digest, checks)


def deviations(budget: NoiseBudget, asked: NoiseBudget) -> tuple[str, ...]:
    """Where a budget differs from what the rules ask for, in words."""
    texts = []
    if missing := [name for name in asked.settings if name not in budget.settings]:
        texts.append(f"settings not measured: {', '.join(missing)}")
    texts += fewer(
        ("{} initializations instead of {}", budget.seeds, asked.seeds),
        ("{} minibatches instead of {}", budget.samples, asked.samples),
        ("the gradient estimated on {} prompts instead of {}", budget.reference, asked.reference),
    )
    if budget.batch != asked.batch:  # a larger batch is no better: it makes the noise more Gaussian
        texts.append(f"minibatches of {budget.batch:,} prompts instead of {asked.batch:,}")
    return tuple(texts)
