"""Intervals and tests against scipy, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lintrans.statistics import band, equal_means, geometric_ratio, holm, paired_t

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
