"""The generator against its published known answers and its laws; who shares numbers with whom: nobody."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lintrans.random import Source, Stream, philox, uniform

SEEDS = st.integers(0, 2**32 - 1)


def words(counter: tuple[int, int, int, int], key: tuple[int, int]) -> list[int]:
    c0, c1, c2, c3 = (torch.tensor(word) for word in counter)
    return [int(word) for word in philox(c0, c1, c2, c3, *key)]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # Random123 1.14, kat_vectors, philox4x32 with 7 rounds
        ((0, 0, 0, 0), (0, 0), (0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x5207DDC2, 0x45165E59, 0x4D8EE751, 0x8C52F662)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0x4DFCCABA, 0x190A87F0, 0xC47362BA, 0xB6B5242A),
        ),
    ],
)
def test_philox_known_answers(
    counter: tuple[int, int, int, int], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    assert words(counter, key) == list(expected)


def test_uniforms_use_all_bits_and_stay_inside() -> None:
    extremes = uniform(torch.tensor([0, 2**32 - 1]))
    assert extremes[0] == 2.0**-33
    assert extremes[1] == 1 - 2.0**-33


def test_normals_are_standard() -> None:
    sample = Source(3, 1, Stream.TRAINING, 5000).normals(40).numpy().ravel()
    assert stats.kstest(sample, "norm").pvalue > 1e-3
    assert abs(sample.mean()) < 4 / np.sqrt(sample.size)
    assert abs(stats.kurtosis(sample)) < 4 * np.sqrt(24 / sample.size)


def test_chi_squared_variates_have_their_law_and_are_independent() -> None:
    degrees = [1, 2, 3, 4, 7, 8, 9, 20, 41]
    source = Source(2, 3, Stream.TEST, 20_000)
    found = source.chi_squared(degrees, source.normals(5)).numpy()
    for degree, values in zip(degrees, found, strict=True):
        assert stats.kstest(values, stats.chi2(degree).cdf).pvalue > 1e-3
    assert np.abs(np.corrcoef(found) - np.eye(len(degrees))).max() < 5 / np.sqrt(20_000)
    half = Source(2, 3, Stream.TEST, 10_000, first=10_000)
    assert torch.equal(half.chi_squared(degrees, half.normals(5)), torch.from_numpy(found[:, 10_000:]))


@pytest.mark.parametrize("d", range(1, 9))
def test_directions_are_uniform_on_the_sphere(d: int) -> None:
    """Squares of the first k coordinates have a Beta law for every k, signs are free, and projections are alike."""
    count = 3
    points = Source(5, d, Stream.TEST, 8000).directions(count, d).numpy()  # [count, d, batch]
    assert points.shape == (count, d, 8000)
    np.testing.assert_allclose((points**2).sum(1), 1.0, rtol=1e-12)
    flat = points.transpose(1, 0, 2).reshape(d, -1)
    for k in range(1, d):
        assert stats.kstest((flat[:k] ** 2).sum(0), stats.beta(k / 2, (d - k) / 2).cdf).pvalue > 1e-3
        assert stats.kstest((flat[k:] ** 2).sum(0), stats.beta((d - k) / 2, k / 2).cdf).pvalue > 1e-3
        assert stats.kstest(flat[k] ** 2, stats.beta(0.5, (d - 1) / 2).cdf).pvalue > 1e-3
    along = np.random.default_rng(0).standard_normal(d)
    projected = (along / np.linalg.norm(along)) @ flat
    assert d == 1 or stats.kstest(projected**2, stats.beta(0.5, (d - 1) / 2).cdf).pvalue > 1e-3
    for values in (*flat, projected):
        assert abs((values > 0).mean() - 0.5) < 5 / np.sqrt(4 * flat.shape[1])
    tied = np.corrcoef(points.reshape(count * d, -1))
    assert np.abs(tied - np.eye(count * d)).max() < 5 / np.sqrt(8000)


def test_normals_of_one_prompt_are_uncorrelated() -> None:
    correlation = np.corrcoef(Source(0, 0, Stream.TRAINING, 20_000).normals(12).numpy())
    assert np.abs(correlation - np.eye(12)).max() < 5 / np.sqrt(20_000)


@pytest.mark.parametrize("shape", [0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0])
def test_log_gamma_follows_its_law(shape: float) -> None:
    sample = Source(1, 2, Stream.TEST, 4000).log_gamma(shape, 5).numpy().ravel()
    assert np.isfinite(sample).all()
    assert stats.kstest(sample, stats.loggamma(shape).cdf).pvalue > 1e-3


@given(seed=SEEDS, step=SEEDS, first=st.integers(0, 30), batch=st.integers(1, 30))
def test_a_part_of_a_batch_is_that_part(seed: int, step: int, first: int, batch: int) -> None:
    whole = Source(seed, step, Stream.TRAINING, first + batch)
    part = Source(seed, step, Stream.TRAINING, batch, first=first)
    assert torch.equal(part.normals(7), whole.normals(7)[:, first:])
    assert torch.equal(part.directions(2, 5), whole.directions(2, 5)[..., first:])
    for shape in (0.1, 0.3):
        assert torch.equal(part.log_gamma(shape, 3), whole.log_gamma(shape, 3)[:, first:])


@given(seeds=st.lists(SEEDS, min_size=1, max_size=4), step=SEEDS)
def test_several_seeds_at_once_are_each_alone(seeds: list[int], step: int) -> None:
    together = Source(seeds, step, Stream.NOISE, 5)
    for index, seed in enumerate(seeds):
        alone = Source(seed, step, Stream.NOISE, 5)
        assert torch.equal(together.normals(6)[index], alone.normals(6))
        assert torch.equal(together.directions(2, 5)[index], alone.directions(2, 5))
        assert torch.equal(together.log_gamma(0.1, 3)[index], alone.log_gamma(0.1, 3))


def test_nothing_is_shared_between_seeds_steps_and_roles() -> None:
    seen: dict[float, tuple[int, int, Stream]] = {}
    for key in itertools.product((0, 1, 1000), (0, 1, 2), Stream):
        values = Source(key[0], key[1], key[2], 8).normals(8)
        for value in values.ravel().tolist():
            assert value not in seen, f"{key} and {seen[value]} share {value}"
            seen[value] = key


def test_gamma_variates_share_nothing_with_normals() -> None:
    source = Source(0, 0, Stream.TRAINING, 2000)
    tied = np.corrcoef(source.normals(4).numpy(), source.log_gamma(0.1, 4).numpy())[:4, 4:]
    assert np.abs(tied).max() < 5 / np.sqrt(2000)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, "0", None])
def test_bad_seeds_are_named(seed: object) -> None:
    with pytest.raises((TypeError, ValueError), match=r"seed = .*whole number"):
        Source(seed, 0, Stream.TRAINING, 1)  # type: ignore[arg-type]
