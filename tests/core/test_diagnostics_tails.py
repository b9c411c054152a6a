"""Tail statistics on samples of known tails."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lintrans.diagnostics.tails import (
    Array,
    Tail,
    excess,
    excess_kurtosis,
    hill,
    moment_estimator,
    normal_points,
    quantile_ratio,
    thresholds,
    word,
)
from lintrans.statistics import Interval

RNG = np.random.default_rng(0)
COUNT = 20_000
HALF_NORMAL = np.abs(RNG.normal(size=COUNT))
STUDENT = np.abs(RNG.standard_t(3, size=COUNT))
UNIFORM = RNG.uniform(size=COUNT)


def pareto(alpha: float, count: int = COUNT, seed: int = 1) -> Array:
    sample: Array = np.random.default_rng(seed).pareto(alpha, size=count) + 1.0
    return sample


@pytest.mark.parametrize("alpha", [0.5, 1.5, 4.0])
def test_hill_and_moment_recover_a_pareto_index(alpha: float) -> None:
    for estimator, spread in ((hill, 1 / alpha), (moment_estimator, math.sqrt(1 + alpha**-2))):
        found = estimator(pareto(alpha), [200, 1000, 4000])
        assert (np.abs(found.estimate - 1 / alpha) < 4 * spread / np.sqrt(found.k)).all()
        assert (found.low < found.estimate).all()
        assert (found.estimate < found.high).all()


@pytest.mark.parametrize("estimator", [hill, moment_estimator])
def test_intervals_cover_as_often_as_they_say(estimator: type) -> None:
    truth, covered = 1 / 1.5, 0
    for seed in range(400):
        found = estimator(pareto(1.5, 1000, seed), 200)
        covered += int(found.low[0] <= truth <= found.high[0])
    assert abs(covered / 400 - 0.95) < 0.035  # three standard errors


def test_moment_estimator_has_the_sign_of_the_tail() -> None:
    k = [500, 1000]
    assert np.abs(moment_estimator(HALF_NORMAL, k).estimate).max() < 0.25
    assert (moment_estimator(UNIFORM, k).high < -0.5).all()  # -1 in truth
    assert moment_estimator(STUDENT, k).estimate == pytest.approx(1 / 3, abs=0.15)


def test_hill_falls_without_a_plateau_where_there_is_no_power_law() -> None:
    found = hill(HALF_NORMAL, [100, 1000, 4000])
    assert (np.diff(found.estimate) > 0).all()
    assert found.high[0] < 0.2


def test_estimators_by_hand_and_free_of_scale() -> None:
    sample = np.array([8.0, 1.0, 4.0, 2.0])
    assert hill(sample, 2).estimate[0] == pytest.approx(1.5 * math.log(2))
    first, second = 1.5 * math.log(2), 2.5 * math.log(2) ** 2
    by_hand = first + 1 - 0.5 / (1 - first**2 / second)
    assert moment_estimator(sample, 2).estimate[0] == pytest.approx(by_hand)
    for estimator in (hill, moment_estimator):
        there, here = (estimator(c * STUDENT, [50, 500]).estimate for c in (1e-6, 1.0))
        assert there == pytest.approx(here, rel=1e-7)


@pytest.mark.parametrize(
    ("sample", "k", "words"),
    [([1.0, 2.0], 2, "k from 2 to 2 does not fit a sample of 2"), ([0.0, 1.0, 2.0], 2, "not all positive")],
)
def test_thresholds_that_do_not_fit_are_named(sample: list[float], k: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        hill(sample, k)


@given(st.integers(10, 100_000))
def test_thresholds_fit_every_sample(count: int) -> None:
    k = thresholds(count)
    assert (np.diff(k) > 0).all()
    assert k[0] >= 1
    assert k[-1] < count


def test_quantile_ratio_and_kurtosis() -> None:
    expected = stats.halfnorm.ppf(0.99) / stats.halfnorm.ppf(0.5)
    assert quantile_ratio(HALF_NORMAL) == pytest.approx(expected, rel=0.03)
    assert quantile_ratio(5 * HALF_NORMAL) == pytest.approx(quantile_ratio(HALF_NORMAL))
    assert excess_kurtosis(UNIFORM) == pytest.approx(-1.2, abs=0.05)
    assert excess_kurtosis(RNG.normal(size=COUNT)) == pytest.approx(0.0, abs=0.15)


def test_normal_points_lie_on_a_line_for_a_gaussian() -> None:
    sample = 2.0 + 3.0 * RNG.normal(size=COUNT)
    theoretical, ordered = normal_points(sample, 200)
    assert len(theoretical) <= 200
    assert (ordered[0], ordered[-1]) == (sample.min(), sample.max())
    assert (np.diff(ordered) >= 0).all()
    inner = np.abs(theoretical) < 2
    assert np.abs(ordered[inner] - 2.0 - 3.0 * theoretical[inner]).max() < 0.2
    assert len(normal_points(sample[:50])[0]) == 50


def test_words_are_said_against_the_null() -> None:
    null = np.abs(np.random.default_rng(2).normal(size=200_000))
    assert word(excess(STUDENT, null)) is Tail.HEAVY
    assert word(excess(pareto(1.5), null)) is Tail.HEAVY
    assert word(excess(7.0 * HALF_NORMAL, null)) is Tail.ALIKE  # wide, not heavy
    assert word(excess(UNIFORM, null)) is Tail.LIGHTER
    assert word(excess(pareto(3.0), pareto(3.0, 200_000, 3))) is Tail.ALIKE  # heavy, but so is its null
    assert word(Interval(1.1, 1.05, 1.15, math.nan, 10)) is Tail.HEAVIER


def test_a_thin_tail_is_never_called_heavy() -> None:
    generator = np.random.default_rng(4)
    null = np.abs(generator.normal(size=50_000))
    for draw in (generator.uniform, generator.normal):
        for _ in range(40):
            found = word(excess(np.abs(draw(size=1000)), null))
            assert found in (Tail.ALIKE, Tail.LIGHTER)


def test_excess_of_a_small_sample_has_no_upper_end() -> None:
    found = excess(HALF_NORMAL[:50], HALF_NORMAL)
    assert found.high == math.inf
    assert word(found) is not Tail.HEAVY
