"""Intervals and tests over seeds. scipy does the statistics; this module says what is allowed in and in which terms.

The unit of replication is the seed, paired across arms: every function takes one number per seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

CONFIDENCE = 0.95
ROUNDING = 1e-13
"""Relative spread below which values are equal."""


@dataclass(frozen=True)
class Interval:
    """An estimate of n observations with its 95% interval.

    NaN: the estimate of none, the interval of one alone. p is two-sided, against the value that means "no difference".
    """

    estimate: float
    low: float
    high: float
    p: float
    n: int

    def exp(self) -> Interval:
        """The interval of a ratio, from that of its logarithm; overflow becomes infinity."""
        with np.errstate(over="ignore"):
            estimate, low, high = (float(np.exp(value)) for value in (self.estimate, self.low, self.high))
        return Interval(estimate, low, high, self.p, self.n)


def paired_t(differences: Sequence[float] | npt.NDArray[np.float64]) -> Interval:
    """Student's t interval of a mean of paired differences, one finite number a seed, against zero.

    For ratios: differences of logarithms, then :meth:`Interval.exp`. One difference has no interval (NaN); equal ones
    have one of zero width, and p = 0 unless they are zero.

    Raises:
        ValueError: a difference is not finite; count diverged runs as the zero predictor before comparing.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"differences have shape {list(values.shape)}: give one number per seed, at least one")
    if not np.isfinite(values).all():
        bad = values[~np.isfinite(values)][0]
        raise ValueError(f"a difference is {bad}: count diverged runs as the zero predictor before comparing")
    mean = float(values.mean())
    if len(values) == 1:
        return Interval(mean, math.nan, math.nan, math.nan, 1)
    if np.ptp(values) <= ROUNDING * abs(mean):  # scipy warns of a variance that is all rounding
        return Interval(mean, mean, mean, 1.0 if mean == 0.0 else 0.0, len(values))
    result = scipy.stats.ttest_1samp(values, 0.0)
    interval = result.confidence_interval(CONFIDENCE)
    return Interval(mean, float(interval.low), float(interval.high), float(result.pvalue), len(values))


def mean_interval(values: Sequence[float] | npt.NDArray[np.float64], null: float = 0.0) -> Interval:
    """Mean of one finite value per seed with its 95% t interval; p is against `null`."""
    shifted = paired_t(np.asarray(values, dtype=np.float64) - null)
    edges = (shifted.estimate + null, shifted.low + null, shifted.high + null)
    return Interval(*edges, shifted.p, shifted.n)


def sign_flip(differences: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """Two-sided p-value of "differences are symmetric about zero": all sign flips for few seeds, a sample for many."""
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        return math.nan
    test = scipy.stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=2**14 - 1, rng=np.random.default_rng(0)
    )
    return float(test.pvalue)


def equivalent(interval: Interval, low: float, high: float) -> bool:
    """Whether the whole interval lies inside the margins: equivalence, at half the level on either side."""
    return bool(low <= interval.low and interval.high <= high)


def rank_correlation(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """Spearman's correlation over the places where both are finite; NaN for fewer than three or a constant."""
    good = np.isfinite(first) & np.isfinite(second)
    if good.sum() < 3 or np.ptp(first[good]) == 0 or np.ptp(second[good]) == 0:
        return math.nan
    return float(scipy.stats.spearmanr(first[good], second[good]).statistic)


def upper_line(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], quantile: float) -> tuple[float, float]:
    """(intercept, slope), both at least zero, of the line that minimizes the quantile loss of y on x.

    Koenker and Bassett (1978), "Regression quantiles", as a linear program: y = a + b x + u - v with u, v >= 0.
    """
    count, width, height = len(x), float(np.abs(x).max()) or 1.0, float(np.abs(y).max()) or 1.0
    cost = np.concatenate([[0.0, 0.0], np.full(count, quantile), np.full(count, 1.0 - quantile)])
    left = np.hstack([np.ones((count, 1)), np.reshape(x / width, (-1, 1)), np.eye(count), -np.eye(count)])
    result = scipy.optimize.linprog(cost, A_eq=left, b_eq=y / height, bounds=(0, None))
    if result.x is None:
        raise RuntimeError(f"the quantile line was not found: {result.message}")
    return height * float(result.x[0]), height / width * float(result.x[1])  # the solver's tolerances are absolute


def geometric_ratio(
    above: Sequence[float] | npt.NDArray[np.float64], below: Sequence[float] | npt.NDArray[np.float64]
) -> Interval:
    """Geometric mean of the paired ratios above / below, with the t interval of their logarithms."""
    first, second = (np.asarray(values, dtype=np.float64) for values in (above, below))
    if first.shape != second.shape:
        raise ValueError(f"{len(first)} values cannot be paired with {len(second)}: give one of each per seed")
    if not ((first > 0).all() and (second > 0).all()):
        raise ValueError("a ratio needs positive values: count diverged runs as the zero predictor before comparing")
    return paired_t(np.log(first) - np.log(second)).exp()


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given; NaN stays NaN and counts as a test made."""
    values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(len(values), math.nan)
    largest = 0.0
    for rank, index in enumerate(np.argsort(values)):  # NaN sorts last
        if not math.isnan(values[index]):
            largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
            adjusted[index] = largest
    return [float(value) for value in adjusted]


@dataclass(frozen=True)
class MeansTest:
    """One-way analysis of variance: F and the p-value of "all groups have one mean"."""

    f: float
    p: float


def equal_means(groups: Sequence[Sequence[float]]) -> MeansTest:
    """F test of equal means; NaN where a group has fewer than two values or nothing varies."""
    if len(groups) < 2 or any(len(group) < 2 for group in groups) or all(np.ptp(group) == 0 for group in groups):
        return MeansTest(math.nan, math.nan)
    result = scipy.stats.f_oneway(*groups)
    return MeansTest(float(result.statistic), float(result.pvalue))


def band(logs: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """95% t interval of the mean over the last axis (seeds) of logarithms; NaN with one seed or an infinite value."""
    count = logs.shape[-1]
    if count < 2:
        nothing = np.full(logs.shape[:-1], math.nan)
        return nothing, nothing
    with np.errstate(invalid="ignore"):
        mean = logs.mean(-1)
        half = scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1) * logs.std(-1, ddof=1) / math.sqrt(count)
    return mean - half, mean + half
