"""How heavy the tail of a sample of norms is: quantile ratios, tail indices over a range of thresholds, a word.

No single number says "heavy". Quantile ratios are read against those of a null; the tail index is estimated at many
thresholds, because an estimate at one threshold can be anything: a tail that is no power law has no plateau.
The *tail index* here is gamma = 1 / alpha: positive for a power law P(X > x) ~ x^(-alpha), with infinite variance for
gamma > 1/2; zero for lighter tails such as exponentials, Gaussians and stretched exponentials, all of whose moments
are finite; negative for a bounded tail.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from ..statistics import CONFIDENCE, Interval

MATTERS = 1.25
"""A ratio of quantile ratios that matters, as for every ratio in this book."""

Array = npt.NDArray[np.float64]


def quantile_ratio(sample: npt.ArrayLike, level: float = 0.99) -> float:
    """Upper quantile over median: free of scale, hence of how wide the sample is."""
    upper, middle = np.quantile(np.asarray(sample, dtype=np.float64), [level, 0.5])
    return float(upper / middle)


def excess_kurtosis(sample: npt.ArrayLike) -> float:
    """Kurtosis less that of a Gaussian, 3. In heavy tails the largest few values rule it: show, never judge."""
    return float(scipy.stats.kurtosis(np.asarray(sample, dtype=np.float64)))


def thresholds(count: int, points: int = 60, least: int = 20, share: float = 0.2) -> npt.NDArray[np.int64]:
    """Numbers k of upper order statistics to estimate a tail index from: logarithmic from `least` to a share of all."""
    most = max(1, int(share * count))
    ladder = np.geomspace(min(least, most), most, points)
    kept: npt.NDArray[np.int64] = np.unique(np.rint(ladder).astype(np.int64))
    return kept


@dataclass(frozen=True)
class TailIndex:
    """Estimates of gamma = 1 / alpha from k upper order statistics each, with pointwise 95% intervals.

    The intervals hold at one threshold each, not all together.
    """

    k: npt.NDArray[np.int64]
    estimate: Array
    low: Array
    high: Array


def _excesses(sample: npt.ArrayLike, k: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], Array, Array]:
    """k, and the means of log X_(i) - log X_(k+1) and of its square over the k largest values, for each k."""
    values = np.sort(np.asarray(sample, dtype=np.float64))[::-1]
    numbers = np.atleast_1d(np.asarray(k, dtype=np.int64))
    if numbers.min() < 1 or numbers.max() >= len(values):
        raise ValueError(
            f"k from {numbers.min()} to {numbers.max()} does not fit a sample of {len(values)}: give 1 <= k < "
            f"{len(values)}"
        )
    if not (values[: numbers.max() + 1] > 0).all():
        raise ValueError("the values above the lowest threshold are not all positive: give norms, or a smaller k")
    logs = np.log(values[: numbers.max() + 1])
    base = logs[numbers]
    first = np.cumsum(logs)[numbers - 1] / numbers - base
    logs -= logs[-1]  # the same sums from a nearer origin: less is lost when squares are subtracted
    base = logs[numbers]
    second = np.cumsum(logs**2)[numbers - 1] / numbers - 2.0 * base * (first + base) + base**2
    return numbers, first, second


def hill(sample: npt.ArrayLike, k: npt.ArrayLike) -> TailIndex:
    """Hill's estimator of gamma: mean of log X_(i) - log X_(k+1) over the k largest values (Hill 1975).

    It is always positive: on a tail that is no power law it falls towards 0 as k does, without a plateau. The intervals
    are exact for a Pareto sample, where 2 k estimate / gamma is chi-squared with 2 k degrees of freedom. A sample has
    at least max(k) + 1 values, those that count positive.
    """
    numbers, gamma, _ = _excesses(sample, k)
    tail = (1 - CONFIDENCE) / 2
    low, high = (2 * numbers * gamma / scipy.stats.chi2.ppf(p, 2 * numbers) for p in (1 - tail, tail))
    return TailIndex(numbers, gamma, low, high)


def moment_estimator(sample: npt.ArrayLike, k: npt.ArrayLike) -> TailIndex:
    """The moment estimator of gamma, of any sign (Dekkers, Einmahl and de Haan 1989), for k of at least 2.

    M_1 + 1 - (1/2) / (1 - M_1^2 / M_2) with M_j the mean of (log X_(i) - log X_(k+1))^j over the k largest values:
    about zero for a Gaussian, negative for a bounded tail. The intervals use their asymptotic variance.
    """
    numbers, first, second = _excesses(sample, k)
    with np.errstate(divide="ignore", invalid="ignore"):
        gamma = first + 1.0 - 0.5 / (1.0 - first**2 / second)
        half = scipy.stats.norm.ppf(0.5 + CONFIDENCE / 2) * np.sqrt(_moment_variance(gamma) / numbers)
    return TailIndex(numbers, gamma, gamma - half, gamma + half)


def _moment_variance(gamma: Array) -> Array:
    """Asymptotic variance of sqrt(k) times the moment estimator's error (Dekkers, Einmahl and de Haan 1989)."""
    g = np.minimum(gamma, 0.0)
    bracket = 4 - 8 * (1 - 2 * g) / (1 - 3 * g) + (5 - 11 * g) * (1 - 2 * g) / ((1 - 3 * g) * (1 - 4 * g))
    variance: Array = np.where(gamma >= 0, 1 + gamma**2, (1 - g) ** 2 * (1 - 2 * g) * bracket)
    return variance


def normal_points(sample: npt.ArrayLike, most: int = 200) -> tuple[Array, Array]:
    """Points of a normal-probability plot: quantiles of N(0, 1) (scipy's plotting positions), values in order.

    Of a large sample at most `most` points, as evenly spaced in the quantiles as the sample allows.
    """
    theoretical, ordered = scipy.stats.probplot(np.asarray(sample, dtype=np.float64), fit=False)
    chosen = np.arange(len(ordered))
    if len(ordered) > most:
        chosen = np.unique(np.searchsorted(theoretical, np.linspace(theoretical[0], theoretical[-1], most)))
    return theoretical[chosen], ordered[chosen]


def excess(sample: npt.ArrayLike, null: npt.ArrayLike, level: float = 0.99) -> Interval:
    """Ratio of a sample's :func:`quantile_ratio` to that of a sample from its null, with a 95% interval.

    The four quantiles have order-statistic intervals at a joint level (Bonferroni), so that the interval is
    conservative and assumes nothing about the tails. p is not computed (NaN).
    """
    joint = 1 - (1 - CONFIDENCE) / 4
    edges = []
    for values in (sample, null):
        array = np.asarray(values, dtype=np.float64)
        bounds = [_quantile_interval(array, p, joint) for p in (level, 0.5)]
        edges.append((bounds[0][0] / bounds[1][1], bounds[0][1] / bounds[1][0]))
    (low, high), (null_low, null_high) = edges
    estimate = quantile_ratio(sample, level) / quantile_ratio(null, level)
    return Interval(estimate, low / null_high, high / null_low, math.nan, len(np.asarray(sample)))


def _quantile_interval(values: Array, p: float, confidence: float) -> tuple[float, float]:
    """Order-statistic interval of a quantile; infinite where the sample is too small for an upper edge."""
    interval: Any = scipy.stats.quantile_test(values, q=0.0, p=p).confidence_interval(confidence)
    low, high = float(interval.low), float(interval.high)
    return (0.0 if math.isnan(low) else low), (math.inf if math.isnan(high) else high)


class Tail(StrEnum):
    """What a sample's tail is called, against its null."""

    HEAVY = "heavy-tailed"
    HEAVIER = "slightly heavier-tailed than Gaussian noise"
    ALIKE = "not told apart from Gaussian noise"
    LIGHTER = "lighter-tailed than Gaussian noise"


def word(ratio: Interval) -> Tail:
    """The word for a sample with this :func:`excess`: heavy only if it is so against the null, by what matters."""
    if ratio.low > 1:
        return Tail.HEAVY if ratio.estimate >= MATTERS else Tail.HEAVIER
    return Tail.LIGHTER if ratio.high < 1 else Tail.ALIKE
