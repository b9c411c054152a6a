"""Intervals and tests over seeds. scipy does the statistics; this module says what is allowed in and in which terms.

The unit of replication is the seed, paired across arms: every function takes one number per seed, and those of
:func:`mean_of` one per seed and evaluation batch where both are random.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import scipy

CONFIDENCE = 0.95
ROUNDING = 1e-13
"""Relative spread below which values are equal."""
FEWEST_FLIPS = 6
"""Observations from which on a sign-flip test can reject at 5%: of five, the two most extreme of 32 flips are 6%."""
MOST_FLIPS = 2**13
"""Flips of sign that are made; those of up to 13 observations are all of them."""

Values: TypeAlias = Sequence[float] | npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate of n observations with its 95% interval.

    NaN: the estimate of none, the interval of one alone. p is two-sided, against the value that means "no difference".

    Attributes:
        flip: p-value of the sign-flip test of the same observations; NaN where they are too few for it to reject.
        above: how many observations lie above the value that means "no difference".
        bound: ">=" or "<=" where the estimate is only a bound, "?" where it bounds neither way.
        kind: "ratio", "share", "correlation", or nothing for a difference.
    """

    estimate: float
    low: float
    high: float
    p: float
    n: int
    flip: float = math.nan
    above: int = 0
    bound: str = ""
    kind: str = ""

    def map(self, function: Callable[[float], float]) -> Interval:
        """The interval of an increasing function of the quantity; overflow becomes infinity."""
        with np.errstate(over="ignore"):
            edges = [float(function(value)) for value in (self.estimate, self.low, self.high)]
        return replace(self, estimate=edges[0], low=edges[1], high=edges[2])

    def exp(self) -> Interval:
        """The interval of a ratio, from that of its logarithm."""
        return replace(self.map(np.exp), kind="ratio")

    @property
    def two_kinds(self) -> bool:
        """Student's t and the sign-flip test disagree at 5%: a mean of two kinds of runs says little."""
        return not math.isnan(self.flip) and (self.p < 1 - CONFIDENCE) != (self.flip < 1 - CONFIDENCE)


def paired_t(differences: Values) -> Interval:
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
    mean, above = float(values.mean()), int((values > 0).sum())
    if len(values) == 1:
        return Interval(mean, math.nan, math.nan, math.nan, 1, above=above)
    flip = sign_flip(values) if len(values) >= FEWEST_FLIPS else math.nan
    if np.ptp(values) <= ROUNDING * abs(mean):  # scipy warns of a variance that is all rounding
        return Interval(mean, mean, mean, 1.0 if mean == 0.0 else 0.0, len(values), flip, above)
    result = scipy.stats.ttest_1samp(values, 0.0)
    interval = result.confidence_interval(CONFIDENCE)
    return Interval(mean, float(interval.low), float(interval.high), float(result.pvalue), len(values), flip, above)


def two_way(differences: npt.NDArray[np.float64]) -> Interval:
    """Interval of the mean of a table [seeds, batches], rows and columns both random, against zero.

    The variance of the mean is (A + B - E) / (rows columns), with A, B and E the mean squares of rows, columns and the
    rest; where that is below A or B alone, it is taken to be the larger of them. Degrees of freedom after
    Satterthwaite (1946). n counts seeds, and so does the sign-flip test, on the means of rows; since it takes the
    batches as given, its p is no smaller than that of the interval.

    Raises:
        ValueError: fewer than two rows or columns, or a value that is not finite.
    """
    table = np.asarray(differences, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(f"a table of seeds and batches has at least two of each, not shape {list(table.shape)}")
    if not np.isfinite(table).all():
        raise ValueError(f"a difference is {table[~np.isfinite(table)][0]}: leave out its seed before comparing")
    rows, columns = table.shape
    mean, row_means, column_means = float(table.mean()), table.mean(1), table.mean(0)
    of_rows = columns * float(row_means.var(ddof=1))
    of_columns = rows * float(column_means.var(ddof=1))
    left = table - row_means[:, None] - column_means + mean
    of_rest = float((left**2).sum()) / ((rows - 1) * (columns - 1))
    by_seed = paired_t(row_means)
    both = of_rows + of_columns - of_rest
    if both > max(of_rows, of_columns):
        freedom = both**2 / (
            of_rows**2 / (rows - 1) + of_columns**2 / (columns - 1) + of_rest**2 / ((rows - 1) * (columns - 1))
        )
    else:
        both, freedom = (of_rows, rows - 1) if of_rows >= of_columns else (of_columns, columns - 1)
    error = math.sqrt(both / (rows * columns))
    if error <= ROUNDING * abs(mean):
        return replace(by_seed, estimate=mean, low=mean, high=mean, p=1.0 if mean == 0.0 else 0.0)
    half = float(scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) * error
    p = 2 * float(scipy.stats.t.sf(abs(mean) / error, freedom))
    flip = max(by_seed.flip, p) if not math.isnan(by_seed.flip) else math.nan
    return replace(by_seed, estimate=mean, low=mean - half, high=mean + half, p=p, flip=flip)


def mean_of(differences: Values) -> Interval:
    """:func:`paired_t` of one number per seed, or :func:`two_way` of a table [seeds, batches] of several."""
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim == 2 and 1 in values.shape:
        values = values[:, 0] if values.shape[1] == 1 else values.mean(1)
    return two_way(values) if values.ndim == 2 else paired_t(values)


def mean_interval(values: Values, null: float = 0.0) -> Interval:
    """:func:`mean_of` values that are no differences; p is against `null`."""
    return mean_of(np.asarray(values, dtype=np.float64) - null).map(lambda value: value + null)


def correlation_interval(correlations: Values, points: int) -> Interval:
    """Mean of rank correlations of so many points each by Fisher's z, as a correlation, against zero.

    A correlation of +-1 counts as half a swap of neighbours away from it: the points can tell no more, and no interval
    is narrower than that.
    """
    swap = 6.0 / (points * (points**2 - 1.0))
    z = np.arctanh(np.clip(np.asarray(correlations, dtype=np.float64), swap - 1.0, 1.0 - swap))
    return replace(no_narrower(mean_of(z).map(np.tanh), swap, -1.0, 1.0), kind="correlation")


def share_interval(shares: Values, points: int) -> Interval:
    """Mean of shares of so many points each by the logit, as a share, against one half.

    None or all of the points count as half a point: they can tell no more, and no interval is narrower than that.
    """
    edge = 0.5 / points
    inside = np.clip(np.asarray(shares, dtype=np.float64), edge, 1.0 - edge)
    found = no_narrower(mean_of(scipy.special.logit(inside)).map(scipy.special.expit), edge, 0.0, 1.0)
    return replace(found, kind="share")


def no_narrower(found: Interval, half: float, least: float = -math.inf, most: float = math.inf) -> Interval:
    """The interval reaching at least so far to both sides of the estimate, inside the possible; none stays none."""
    edges = np.minimum(found.low, found.estimate - half), np.maximum(found.high, found.estimate + half)
    low, high = (float(edge) for edge in np.clip(edges, least, most))
    return replace(found, low=low, high=high)


def sign_flip(differences: Values) -> float:
    """Two-sided p-value of "differences are symmetric about zero": all sign flips for few seeds, a sample for many."""
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        return math.nan
    sums, rounding = np.abs(_flips(len(values)) @ values), 1e-12 * np.abs(values).sum()
    return float(np.mean(sums >= abs(values.sum()) - rounding))


@cache
def _flips(count: int) -> npt.NDArray[np.float64]:
    """Signs ``[flips, count]``: every choice of them where there are few, else a sample with no flip among them."""
    if 2**count <= MOST_FLIPS:
        ones = np.arange(2**count)[:, None] >> np.arange(count) & 1
    else:
        ones = np.random.default_rng(0).integers(2, size=(MOST_FLIPS, count))
        ones[0] = 0
    return 1.0 - 2.0 * ones.astype(np.float64)


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


def geometric_ratio(above: Values, below: Values) -> Interval:
    """Geometric mean of the paired ratios above / below, with the interval of their logarithms (:func:`mean_of`)."""
    first, second = (np.asarray(values, dtype=np.float64) for values in (above, below))
    if first.shape != second.shape:
        raise ValueError(f"{len(first)} values cannot be paired with {len(second)}: give one of each per seed")
    if not ((first > 0).all() and (second > 0).all()):
        raise ValueError("a ratio needs positive values: count diverged runs as the zero predictor before comparing")
    return mean_of(np.log(first) - np.log(second)).exp()


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


def equal_means(groups: Sequence[Sequence[float]]) -> float:
    """p-value of "all groups have one mean", their variances as they may be (Alexander and Govern 1994).

    NaN where a group has fewer than two values or nothing varies.
    """
    if len(groups) < 2 or any(len(group) < 2 or np.ptp(group) == 0 for group in groups):
        return math.nan
    return float(scipy.stats.alexandergovern(*groups).pvalue)


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
