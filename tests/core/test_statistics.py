"""Intervals and tests against scipy, and what they refuse."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lintrans.statistics import (
    Interval,
    band,
    equal_means,
    equivalent,
    geometric_ratio,
    holm,
    mean_interval,
    paired_t,
    rank_correlation,
    sign_flip,
    upper_line,
)

FLOATS = st.floats(-50, 50)


@given(st.lists(FLOATS, min_size=2, max_size=30).filter(lambda values: np.ptp(values) > 1e-6))
def test_paired_t_is_scipys(differences: list[float]) -> None:
    ours = paired_t(differences)
    sample = np.array(differences)
    low, high = stats.t.interval(0.95, len(sample) - 1, loc=sample.mean(), scale=stats.sem(sample))
    assert (ours.low, ours.high) == pytest.approx((low, high), rel=1e-9, abs=1e-9)
    assert ours.p == pytest.approx(stats.ttest_1samp(sample, 0).pvalue, rel=1e-9, abs=1e-12)
    assert (ours.p < 0.05) == (ours.low > 0 or ours.high < 0)


def test_interval_covers_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    intervals = [paired_t(sample) for sample in generator.normal(0.3, 2.0, size=(2000, 6))]
    covered = np.mean([interval.low <= 0.3 <= interval.high for interval in intervals])
    assert abs(covered - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 2000)


def test_one_seed_and_equal_values() -> None:
    one = paired_t([0.5])
    assert one.estimate == 0.5
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    same = paired_t([0.5, 0.5, 0.5])
    assert (same.low, same.high, same.p) == (0.5, 0.5, 0.0)
    assert paired_t([0.0, 0.0]).p == 1.0


@pytest.mark.parametrize("bad", [[], [[1.0]], [1.0, math.nan], [1.0, math.inf]])
def test_bad_differences_are_named(bad: list[float]) -> None:
    with pytest.raises(ValueError, match=r"differences have shape|count diverged runs as the zero predictor"):
        paired_t(bad)


@given(st.lists(st.tuples(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6)), min_size=2, max_size=10))
def test_geometric_ratio_turns_round(pairs: list[tuple[float, float]]) -> None:
    above, below = (list(values) for values in zip(*pairs, strict=True))
    one, other = geometric_ratio(above, below), geometric_ratio(below, above)
    assert one.estimate == pytest.approx(1 / other.estimate, rel=1e-9)
    expected = stats.gmean(above) / stats.gmean(below)
    assert one.estimate == pytest.approx(expected, rel=1e-9)
    if math.isfinite(one.high) and one.high > 0 and other.low > 0:
        assert one.high == pytest.approx(1 / other.low, rel=1e-6)


@pytest.mark.parametrize(("above", "below"), [([1.0], [1.0, 2.0]), ([0.0, 1.0], [1.0, 1.0]), ([1.0], [-1.0])])
def test_bad_ratios_are_named(above: list[float], below: list[float]) -> None:
    with pytest.raises(ValueError, match=r"cannot be paired|needs positive values"):
        geometric_ratio(above, below)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    adjusted = holm([0.02, math.nan])
    assert adjusted[0] == pytest.approx(0.04)
    assert math.isnan(adjusted[1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_no_smaller_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(new >= old for new, old in zip(adjusted, p_values, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert list(np.array(adjusted)[order]) == sorted(adjusted)


def test_equal_means_is_scipys() -> None:
    groups = np.random.default_rng(1).normal(size=(3, 5)) + np.array([[0.0], [0.5], [3.0]])
    expected = stats.f_oneway(*groups)
    ours = equal_means([list(group) for group in groups])
    assert (ours.f, ours.p) == pytest.approx((expected.statistic, expected.pvalue))
    for nothing in ([[1.0, 2.0]], [[1.0], [2.0, 3.0]], [[1.0, 1.0], [1.0, 1.0]]):
        assert math.isnan(equal_means(nothing).p)


def test_band_is_the_paired_t_interval() -> None:
    logs = np.random.default_rng(2).normal(size=(4, 6))
    low, high = band(logs)
    for index, row in enumerate(logs):
        interval = paired_t(row)
        assert (low[index], high[index]) == pytest.approx((interval.low, interval.high))
    assert np.isnan(band(logs[:, :1])[0]).all()


@given(st.lists(FLOATS, min_size=2, max_size=20).filter(lambda values: np.ptp(values) > 1e-3), st.floats(-5, 5))
def test_mean_interval_is_scipys(values: list[float], null: float) -> None:
    """Whatever it is tested against, the interval is that of the mean."""
    ours, sample = mean_interval(values, null), np.array(values)
    low, high = stats.t.interval(0.95, len(sample) - 1, loc=sample.mean(), scale=stats.sem(sample))
    assert (ours.estimate, ours.low, ours.high) == pytest.approx((sample.mean(), low, high), rel=1e-8, abs=1e-8)
    assert ours.p == pytest.approx(stats.ttest_1samp(sample, null).pvalue, rel=1e-6, abs=1e-9)
    assert ours.n == len(values)


def test_mean_interval_of_little() -> None:
    one = mean_interval([0.8], null=0.5)
    assert one.estimate == pytest.approx(0.8)
    assert math.isnan(one.low)
    assert math.isnan(one.p)
    assert mean_interval([1.0, 1.0], null=0.5) == Interval(1.0, 1.0, 1.0, 0.0, 2)
    assert mean_interval([0.5, 0.5], null=0.5).p == 1.0
    with pytest.raises(ValueError, match="a difference is nan"):
        mean_interval([0.5, math.nan])


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1.0, 2.0, 3.0, 4.0], 2 / 16),  # none of the 16 flips but these and their negatives is as far out
        ([-1.0, -2.0, -3.0, -4.0], 2 / 16),
        ([1.0, 2.0, 3.0, -0.5], 4 / 16),  # and the same with the 0.5 turned round
        ([1.0, -1.0], 1.0),
        ([0.0, 0.0, 0.0], 1.0),
        ([5.0, 5.0], 0.5),
    ],
)
def test_sign_flips_are_all_made_for_few_seeds(differences: list[float], p: float) -> None:
    assert sign_flip(differences) == pytest.approx(p, abs=1e-12)


def test_sign_flip_by_counting() -> None:
    sample = np.random.default_rng(0).normal(0.5, 1.0, 9)
    flips = np.array(list(itertools.product([1, -1], repeat=9)))
    means = np.abs(flips @ sample)
    assert sign_flip(sample) == pytest.approx(np.mean(means >= abs(sample.sum()) - 1e-12))
    assert math.isnan(sign_flip([1.0]))
    many = sign_flip(np.ones(20))  # a sample of the flips, none of which is as far out
    assert 0 < many < 0.001
    assert sign_flip(np.ones(20)) == many


@given(st.integers(3, 20), st.integers(0, 1000), st.booleans())
def test_rank_correlation_is_scipys(count: int, seed: int, ties: bool) -> None:
    generator = np.random.default_rng(seed)
    first, second = generator.normal(size=(2, count))
    second = first + second
    if ties:
        first, second = first.round(), second.round()
    with np.errstate(invalid="ignore"):
        expected = math.nan if np.ptp(first) == 0 or np.ptp(second) == 0 else stats.spearmanr(first, second).statistic
    assert rank_correlation(first, second) == pytest.approx(expected, nan_ok=True)
    longer = np.concatenate([[math.nan, 1.0, math.inf], first]), np.concatenate([[0.0, math.nan, 2.0], second])
    assert rank_correlation(*longer) == pytest.approx(expected, nan_ok=True)
    if not math.isnan(expected):
        assert rank_correlation(np.exp(first), -second) == pytest.approx(-expected)


def test_rank_correlation_of_nothing() -> None:
    nan = math.nan
    for first, second in (
        ([1.0, 2.0], [1.0, 2.0]),
        ([1.0, 2.0, nan, 4.0], [1.0, nan, 3.0, 4.0]),
        ([2.0, 2.0, 2.0, nan], [1.0, 2.0, 3.0, 4.0]),
        ([1.0, 2.0, 3.0], [5.0, 5.0, 5.0]),
    ):
        assert math.isnan(rank_correlation(np.array(first), np.array(second)))
    assert rank_correlation(np.array([1.0, 2.0, 9.0, nan]), np.array([0.0, 5.0, 6.0, 1.0])) == 1.0


@settings(max_examples=20)
@given(st.floats(0.1, 100), st.floats(0.1, 100))
def test_upper_line_through_points_of_a_line(intercept: float, slope: float) -> None:
    x = np.linspace(0.5, 3, 12)
    for quantile in (0.5, 0.95):
        found = upper_line(x, intercept + slope * x, quantile)
        assert found == pytest.approx((intercept, slope), rel=1e-5, abs=1e-5)


def test_upper_line_lies_above_its_share_of_the_points() -> None:
    generator = np.random.default_rng(4)
    x = generator.uniform(0, 10, 400)
    for quantile in (0.5, 0.95):
        y = 1 + 2 * x + x * generator.exponential(size=400)
        intercept, slope = upper_line(x, y, quantile)
        below = float(np.mean(y <= intercept + slope * x + 1e-9))
        assert abs(below - quantile) <= 2.5 / 400  # the line goes through two points
        loss = [_pinball(y - a - b * x, quantile) for a, b in ((intercept, slope), *_beside(intercept, slope))]
        assert loss[0] <= min(loss[1:]) + 1e-9


def _pinball(residuals: np.ndarray, quantile: float) -> float:
    return float(np.maximum(quantile * residuals, (quantile - 1) * residuals).sum())


def _beside(intercept: float, slope: float) -> list[tuple[float, float]]:
    moves = [(0.0, 0.1), (0.1, 0.0), (0.1, -0.02), (-0.1, 0.02), (0.0, -0.1), (-0.1, 0.0)]
    return [(max(0.0, intercept + a), max(0.0, slope + b)) for a, b in moves]


@settings(max_examples=20)
@given(st.integers(0, 100))
def test_upper_line_has_no_negative_coefficient(seed: int) -> None:
    """Where the data fall, the slope is zero and the intercept the quantile; where they start low, the intercept is."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(1, 2, 41)
    falling = 5 - 2 * x + 0.01 * generator.normal(size=41)
    intercept, slope = upper_line(x, falling, 0.5)
    assert slope == 0
    assert intercept == pytest.approx(np.median(falling), rel=1e-6)
    steep = np.maximum(5 * x - 5, 0.01)
    intercept, slope = upper_line(x, steep, 0.9)
    assert (intercept >= 0, slope >= 0) == (True, True)
    assert intercept == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("low", "high", "inside"),
    [(0.8, 1.25, True), (0.9, 1.1, True), (0.79, 1.0, False), (1.0, 1.26, False), (0.5, 2.0, False)],
)
def test_equivalence_is_the_whole_interval_inside_the_margins(low: float, high: float, inside: bool) -> None:
    assert equivalent(Interval(1.0, low, high, 0.5, 6), 0.8, 1.25) is inside
    assert equivalent(Interval(1.0, math.nan, math.nan, 0.5, 1), 0.8, 1.25) is False


def test_values_that_are_equal_to_rounding_make_no_noise() -> None:
    """Rank correlations of one order are 1 in one seed and 1 - 1e-16 in another."""
    assert mean_interval([1.0, 1.0 - 1e-16 * 2, 1.0]).low == pytest.approx(1.0)
