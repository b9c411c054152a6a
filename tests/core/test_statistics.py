"""Intervals and tests against scipy, and what they refuse."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from lintrans.statistics import (
    Interval,
    band,
    correlation_interval,
    equal_means,
    equivalent,
    geometric_ratio,
    holm,
    mean_interval,
    mean_of,
    paired_t,
    rank_correlation,
    share_interval,
    sign_flip,
    two_way,
    upper_line,
)

FLOATS = st.floats(-50, 50)
KNIFE_EDGE = 1.27
"""Value of the second kind of runs for which the two tests disagree."""


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


@pytest.mark.parametrize("seeds", [6, 12])
@pytest.mark.parametrize(("of_seeds", "of_batches"), [(1.0, 1.0), (1.0, 0.3), (0.3, 1.0)])
def test_two_way_covers_as_often_as_it_says(seeds: int, of_seeds: float, of_batches: float) -> None:
    """Seeds and 16 batches have effects of their own; the interval of one alone would cover far less."""
    generator, draws, batches = np.random.default_rng(seeds), 800, 16
    size = (draws, seeds, batches)
    tables = 0.3 + generator.normal(size=size)
    tables += of_seeds * generator.normal(size=(draws, seeds, 1)) + of_batches * generator.normal(
        size=(draws, 1, batches)
    )
    both = [covers(two_way(table), 0.3) for table in tables]
    assert 0.93 <= np.mean(both) <= 0.97
    if of_batches > of_seeds:
        assert np.mean([covers(paired_t(table.mean(1)), 0.3) for table in tables]) < 0.9


def covers(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def test_two_way_by_hand() -> None:
    """Mean squares 8, 2 and 0 of rows, columns and the rest: their sum; of columns that do not differ, rows alone."""
    found = two_way(np.array([[0.0, 1.0], [2.0, 3.0]]))
    rows, columns = 2 * 2.0, 2 * 0.5
    error = math.sqrt((rows + columns) / 4)
    half = stats.t.ppf(0.975, (rows + columns) ** 2 / (rows**2 + columns**2)) * error
    assert (found.estimate, found.low, found.high) == pytest.approx((1.5, 1.5 - half, 1.5 + half))
    same = np.array([[1.0, 1.2], [2.1, 1.9], [3.0, 3.0]])
    alone = paired_t(same.mean(1))
    assert (two_way(same).low, two_way(same).p) == pytest.approx((alone.low, alone.p))
    assert two_way(np.full((6, 4), 2.0)).p == 0.0


def test_two_way_knows_seeds_and_batches_apart() -> None:
    """Six seeds that agree on batches which do not: the seeds alone would decide, and are no second kind of runs."""
    table = np.arange(6)[:, None] * 0.01 + np.array([[-1.5, 0.5, 2.0, 1.0]])
    found = two_way(table)
    assert found.low < 0 < found.high
    assert paired_t(table.mean(1)).low > 0
    assert (found.n, found.above, found.two_kinds) == (6, 6, False)
    assert mean_of(table) == found
    assert mean_of(table[:, :1]) == paired_t(table[:, 0])
    assert mean_of(table[:1]).n == 1


@pytest.mark.parametrize("bad", [np.ones(3), np.ones((1, 3)), np.ones((3, 1)), np.array([[1, math.nan], [1, 2]])])
def test_bad_tables_are_named(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"at least two of each|a difference is nan"):
        two_way(bad)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.integers(3, 40))
def test_correlations_stay_possible(values: list[float], points: int) -> None:
    found = correlation_interval(values, points)
    assert -1 <= found.low < found.estimate < found.high <= 1


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.integers(1, 200))
def test_shares_stay_possible(values: list[float], points: int) -> None:
    found = share_interval(values, points)
    assert 0 <= found.low < found.estimate < found.high <= 1


def test_shares_and_correlations_by_hand() -> None:
    shares = share_interval([0.6, 0.7, 0.9, 0.75], 20)
    logits = paired_t(special.logit([0.6, 0.7, 0.9, 0.75]))
    assert (shares.low, shares.high) == pytest.approx(tuple(special.expit([logits.low, logits.high])))
    all_of_them = share_interval([1.0] * 6, 20)
    assert (all_of_them.low, all_of_them.high) == pytest.approx((0.95, 1.0))
    turned = share_interval([0.0] * 6, 20)
    assert (turned.low, turned.high, turned.above) == pytest.approx((0.0, 0.05, 0))
    found = correlation_interval([0.9, 0.8, 0.95, 0.7], 10)
    z = paired_t(np.arctanh([0.9, 0.8, 0.95, 0.7]))
    assert (found.low, found.high) == pytest.approx(tuple(np.tanh([z.low, z.high])))
    assert math.isnan(correlation_interval([0.5], 10).low)


def two_kinds(many: int, few: int, value: float) -> Interval:
    return paired_t([1.0] * many + [-value] * few)


def test_two_kinds_of_runs() -> None:
    """Of 18 runs of one kind and 6 of another t may reject where flips of sign do not; clear cases agree."""
    clear, none = two_kinds(18, 6, 0.5), two_kinds(18, 6, 3.0)
    assert (clear.p < 0.01, clear.flip < 0.01, clear.two_kinds) == (True, True, False)
    assert (none.p, none.flip, none.two_kinds) == (1.0, 1.0, False)
    between = two_kinds(18, 6, KNIFE_EDGE)
    assert between.p < 0.05 <= between.flip
    assert (between.two_kinds, between.above, between.n) == (True, 18, 24)
    outlier = paired_t([1.0] * 5 + [30.0])
    assert outlier.flip < 0.05 < outlier.p
    assert outlier.two_kinds
    assert not paired_t([1.0] * 4 + [30.0]).two_kinds, "five seeds cannot reject by flips of sign"


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
    assert equal_means([list(group) for group in groups]) == pytest.approx(stats.alexandergovern(*groups).pvalue)
    for nothing in ([[1.0, 2.0]], [[1.0], [2.0, 3.0]], [[1.0, 1.0], [1.0, 1.0]]):
        assert math.isnan(equal_means(nothing))


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
    assert mean_interval([1.0, 1.0], null=0.5) == Interval(1.0, 1.0, 1.0, 0.0, 2, above=2)
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
