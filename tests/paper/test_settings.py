"""The paper's settings as it states them, and a table of scales that holds together."""

from __future__ import annotations

import ast
import re
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from pathlib import Path

import pytest

import lintrans as lt
from lintrans.paper import budgets
from lintrans.paper.problems import SETTINGS
from lintrans.paper.scales import (
    CONTROLS,
    CURVATURE,
    CURVATURE_PROTOCOL,
    DEPTH_BUDGETS,
    LARGER_BUDGETS,
    NOISE,
    NOISE_PROTOCOL,
    PROTOCOL,
    RATES,
    SCALE_NAMES,
    SCALES,
    SIZE_BUDGETS,
    TUNING_SEEDS,
    frame,
)

CODE = re.compile(r"```\{code-cell\}[^\n]*\n(?:---\n.*?\n---\n|(?::[^\n]*\n)*)(.*?)```", re.S)


def test_the_papers_settings() -> None:
    assert set(SETTINGS) == {"1", "2", "3", "sphere"}
    assert {name: (s.task.n, s.lr["sgd"], s.lr["adam"], s.clip) for name, s in SETTINGS.items()} == {
        "1": (20, 0.02, 0.02, 1.0),
        "2": (5, 0.01, 0.005, 1.0),
        "3": (20, 0.02, 0.02, 1.0),
        "sphere": (20, 5.0, 0.1, 0.1),
    }
    assert all(s.model == lt.LinearTransformer(3, 5, form="sparse", init_std=0.05) for s in SETTINGS.values())
    assert all(isinstance(s.task, lt.LinearRegression) and s.task.d == 5 for s in SETTINGS.values())
    assert SETTINGS["3"].task == lt.LinearRegression(5, 20, lt.GammaScaled(shape=0.1, scale=10.0))
    assert {name: s.task.zero_loss for name, s in SETTINGS.items()} == {"1": 5.0, "2": 5.0, "3": 1.0, "sphere": 1.0}


def test_published_rates_are_in_the_grid() -> None:
    for name in ("1", "2", "3"):
        assert set(SETTINGS[name].lr.values()) <= set(RATES)
    assert len(RATES) == 10


def test_table_of_scales() -> None:
    assert tuple(SCALES) == tuple(CURVATURE) == tuple(CONTROLS) == SCALE_NAMES
    for name, budget in SCALES.items():
        assert set(budget.settings) <= set(SETTINGS)
        assert budget.steps <= PROTOCOL.steps
        assert not set(budget.tuning_seeds) & set(range(PROTOCOL.seeds)), "tuning seeds never judge"
        assert set(budget.tuning_seeds) <= set(TUNING_SEEDS)
        curvature = CURVATURE[name]
        assert set(curvature.judged) <= set(curvature.probes)
        kept = set(range(0, budget.steps + 1, budget.every))
        assert set(curvature.probes) <= kept, "parameters are kept only there"
        assert set(range(*curvature.spectral)) <= kept
    assert SCALES["paper"].steps == PROTOCOL.steps
    assert CURVATURE["paper"] == CURVATURE_PROTOCOL
    for lookup in (lt.settings.scale, lt.settings.curvature, lt.settings.controls):
        with pytest.raises(ValueError, match=r"scale = 'papre' is not one of 'paper', 'quick' .did you mean 'paper'"):
            lookup("papre")


def test_paper_scale_has_the_seeds_and_batches_of_the_rules() -> None:
    assert SCALES["paper"] == PROTOCOL
    assert CURVATURE["paper"] == CURVATURE_PROTOCOL
    assert NOISE["paper"] == NOISE_PROTOCOL
    assert (PROTOCOL.judging, PROTOCOL.tuning_seeds, PROTOCOL.minima) == (range(24), tuple(range(1000, 1008)), 2)
    assert (CURVATURE_PROTOCOL.judging, CURVATURE_PROTOCOL.evaluation) == (range(12), range(16))
    assert NOISE_PROTOCOL.judging == range(16)
    depths = DEPTH_BUDGETS["paper"]
    assert (depths.long.seeds, depths.short.seeds, depths.deep_noise.seeds) == (12, 6, 8)
    assert (len(depths.short.tuning_seeds_of("depth 8")), len(depths.long.tuning_seeds_of("depth 4"))) == (4, 8)
    assert (depths.long_curvature.batches, depths.short_curvature.batches) == (16, 4)
    assert (len(LARGER_BUDGETS["paper"].training.tuning_seeds), SIZE_BUDGETS["paper"].training.seeds) == (4, 12)


def test_table_for_a_page() -> None:
    table = frame(("1", "3"))
    assert list(table["setting"]) == ["Setting 1", "Setting 3"]
    assert list(table["SGD rate"]) == ["0.02", "0.02"]


def test_every_field_of_a_budget_is_read() -> None:
    """By the package, outside the tables themselves, or by a chapter."""
    root = Path(lt.__file__).parents[1]
    sources = [path.read_text() for path in (root / "lintrans").rglob("*.py") if path.stem != "scales"]
    sources += [cell for page in (root / "book").glob("*.md") for cell in CODE.findall(page.read_text())]
    reads = {
        node.attr
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    fields = {field.name for kind in vars(budgets).values() if is_dataclass(kind) for field in dataclass_fields(kind)}
    assert "own_rates" in fields
    assert not fields - reads
