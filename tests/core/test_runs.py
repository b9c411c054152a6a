"""Grids: all combinations, joined, and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import pytest

import lintrans as lt


def test_grid_is_all_combinations_last_axis_fastest() -> None:
    runs = lt.grid(optimizer=[lt.SGD(), lt.Adam()], lr=[0.1, 0.2], seed=range(3))
    assert len(runs) == 12
    assert [(run.optimizer.name, run.lr, run.seed) for run in runs][:4] == [
        ("sgd", 0.1, 0),
        ("sgd", 0.1, 1),
        ("sgd", 0.1, 2),
        ("sgd", 0.2, 0),
    ]
    assert list(runs.frame.columns) == ["run", "optimizer", "lr", "seed", "clip"]


def test_grids_concatenate_and_compare() -> None:
    one, other = lt.grid(optimizer="sgd", lr=0.01, seed=range(2)), lt.grid(optimizer="adam", lr=0.005)
    assert [run.optimizer.name for run in one + other] == ["sgd", "sgd", "adam"]
    assert one + other == one + other
    assert one + other != other + one


def test_clip_is_an_axis_and_has_a_default() -> None:
    runs = lt.grid(optimizer="sgd", lr=0.1, clip=[1.0, None]) + lt.grid(optimizer="sgd", lr=0.1)
    assert [run.clip for run in runs.with_clip(0.5)] == [1.0, math.inf, 0.5]
    assert [run.clip for run in runs.with_clip(None)] == [1.0, math.inf, math.inf]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"optimizer": "adm", "lr": 0.1}, "optimizer = 'adm' .*did you mean 'adam'"),
        ({"optimizer": "sgd", "lr": -0.1}, "lr = -0.1 is not allowed"),
        ({"optimizer": "sgd", "lr": math.nan}, "lr = nan is not allowed"),
        ({"optimizer": "sgd", "lr": "fast"}, "lr = 'fast' .*is no number"),
        ({"optimizer": "sgd", "lr": []}, "lr is empty"),
        ({"optimizer": "sgd", "lr": 0.1, "seed": 0.5}, "seed = 0.5 .*no whole number"),
        ({"optimizer": "sgd", "lr": 0.1, "seed": -1}, "seed = -1 is not allowed"),
        ({"optimizer": "sgd", "lr": 0.1, "clip": 0.0}, "clip = 0 is not allowed"),
        ({"optimizer": "sgd", "lr": 0.1, "seeds": 3}, "'seeds' is no axis .*did you mean 'seed'"),
        ({"optimizer": "sgd"}, "needs lr="),
        ({"optimizer": [lt.Adam(), lt.Adam(betas=(0.9, 0.99))], "lr": 0.1}, "both named 'adam'.*name="),
    ],
)
def test_bad_grids_are_named(axes: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        lt.grid(**axes)
