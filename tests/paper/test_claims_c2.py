"""Claim C2 on made-up tables that should and should not pass, and what its page says of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up
import numpy as np
import pandas as pd
import pytest
import torch

import lintrans as lt
from lintrans.diagnostics import noise as measured
from lintrans.diagnostics.noise import STATISTICS
from lintrans.paper.claims import State, Word, c2
from lintrans.paper.measure import noise, projections
from lintrans.paper.pages import common, template
from lintrans.paper.pages import gradient_noise as page
from lintrans.paper.scales import NOISE, NOISE_PROTOCOL

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State
TINY = made_up.noise(batches=(2, 3), steps=(1, 2), trained_seeds=2, trained_samples=10)


def table_of(excess: list[float]) -> pd.DataFrame:
    """A table with these values of E, alike in all else."""
    table = pd.DataFrame({"seed": range(len(excess)), **dict.fromkeys(STATISTICS, 1.0)})
    norms = np.abs(np.random.default_rng(0).normal(size=500))
    arrays = pd.Series([norms if seed == 0 else None for seed in table["seed"]], dtype=object)
    spectra = pd.Series([np.ones(1) if seed == 0 else None for seed in table["seed"]], dtype=object)
    return table.assign(excess=excess, excess_999=excess, norms=arrays, spectrum=spectra, batch=1000)


def test_verdicts() -> None:
    heavy, little, small, light = ([x, x + 0.02, x - 0.01] for x in (1.6, 1.2, 1.06, 0.85))
    for values, state, word in (
        (heavy, YES, Word.REPRODUCED),
        (little, WEAK, Word.PARTLY),
        (small, NULL, Word.NOT),  # clearly above 1, and no difference
        (light, REV, Word.NOT),
        ([0.5, 3.0, 1.5], UNDECIDED, Word.UNMEASURABLE),
    ):
        verdict = c2.judge("paper", {name: table_of(values) for name in "123"}, NOISE_PROTOCOL)
        assert [unit.state for unit in verdict.units if unit.decides] == [state] * 3
        assert verdict.ruling.word is word
        assert (verdict.claim, verdict.reading, verdict.deviations) == ("C2", "init", ())
        assert verdict.robust is (None if state is UNDECIDED else True)
        estimate = made_up.number(verdict.units[0])
        assert estimate.estimate == pytest.approx(math.exp(np.log(values).mean()))
    mixed = c2.judge("paper", {"1": table_of(small), "2": table_of(little), "3": table_of(heavy)}, NOISE_PROTOCOL)
    assert str(mixed.ruling) == "partly reproduced (setting 3; weakly setting 2)"
    further = table_of(heavy).assign(excess_999=light)
    assert not c2.judge("paper", {**dict.fromkeys("12", table_of(heavy)), "3": further}, NOISE_PROTOCOL).robust


def test_a_missing_setting_or_value_is_not_measurable() -> None:
    whole = table_of([1.5, 1.6])
    for tables in ({"1": whole, "2": whole}, {"1": whole, "2": whole, "3": table_of([1.5, math.nan])}):
        verdict = c2.judge("paper", tables, NOISE_PROTOCOL)
        assert verdict.units[2].state is MISSING
        assert verdict.ruling.word is Word.UNMEASURABLE


def test_noise_is_not_read_from_an_uncertain_reference() -> None:
    table = c2.readable(table_of([1.5, 1.6, 0.3]).assign(reference_error=[0.1, math.nan, 0.9]))
    assert table["excess"].isna().tolist() == [False, False, True]
    assert c2.geometric_mean(table["excess"]) is None
    along = pd.concat([table.assign(optimizer=o, step=step) for o in ("sgd", "adam") for step in (0, 5)])
    assert page.unreadable({"1": along}) == "2 of 6 in Setting 1"
    few = page.excess_table({"1": along}, "step", "step {:,}").loc[0, "step 5"]
    assert few == "not measurable (2 of 3 seeds)"
    most = pd.Series([1.5, 1.6, 1.7, math.nan])
    assert [page.readable(values) for values in (most, most[1:], most.reindex(range(7)))] == [True, False, False]
    assert not page.unreadable({"1": along[along["excess"].notna()]})


def test_deviations_are_named() -> None:
    small = replace(NOISE_PROTOCOL, settings=("1", "2"), seeds=4, samples=100, batch=2000, reference=10)
    assert c2.deviations(small, NOISE_PROTOCOL) == (
        "settings not measured: 3",
        "4 initializations instead of 16",
        "100 minibatches instead of 10,000",
        "the gradient estimated on 10 prompts instead of 100,000",
        "minibatches of 2,000 prompts instead of 1,000",
    )
    assert c2.deviations(NOISE["paper"], NOISE_PROTOCOL) == ()
    assert c2.deviations(NOISE("quick"), NOISE_PROTOCOL)


def test_budgets_can_be_changed() -> None:
    assert noise.changed(TINY) == TINY
    assert noise.changed(TINY, 3, 4, 6) == replace(TINY, seeds=3, samples=4, batch=6)


def test_tables_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything the page needs, on a tiny model; the second time from the store."""
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    setting = replace(
        lt.settings.SETTINGS["1"], model=lt.LinearTransformer(layers=1, d=2), task=lt.LinearRegression(2, 3)
    )
    monkeypatch.setattr(noise, "PROBLEMS", {"1": setting})
    monkeypatch.setattr("lintrans.engines.cpu.compiling.unsupported_cpu", lambda: "not in this test")
    found = []
    for _ in range(2):
        tables = noise.at_initialization(TINY)
        found.append((tables["1"], noise.by_batch(tables, TINY)["1"], noise.along_training(tables, TINY)["1"]))
        monkeypatch.setattr(measured, "measure_noise", None)  # a second measurement would fail
    for first, second in zip(*found, strict=True):
        pd.testing.assert_frame_equal(first, second)
    judged, batches, along = found[0]
    assert judged["seed"].tolist() == [0, 1]
    norms, nulls = common.kept(tables)
    assert norms["1"].shape == (TINY.samples,)
    assert np.isfinite(nulls["1"]).all()
    assert batches.groupby("batch").size().to_dict() == {2: 2, 3: 2, 5: 2}
    assert along.groupby(["optimizer", "step"]).size().to_dict() == {
        (name, step): 2 for name in ("sgd", "adam") for step in (0, 1, 2)
    }
    start = along[along["step"] == 0]
    assert start["excess"].tolist() == judged["excess"].tolist() * 2
    assert np.isfinite(along["excess"]).all()
    later = along[along["step"] == 1].set_index("optimizer")["median"]
    assert later["sgd"].tolist() != later["adam"].tolist()


def test_seed_of_an_initialization_is_that_of_its_prompts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    asked: dict[str, Any] = {}

    def watched(model: object, task: object, parameters: torch.Tensor, **options: object) -> object:
        asked.update(options, parameters=parameters)
        raise RuntimeError("seen")

    monkeypatch.setattr(measured, "measure_noise", watched)
    with pytest.raises(RuntimeError, match="seen"):
        noise.at_initialization(replace(TINY, seeds=3, first_seed=100))
    assert list(asked["seed"]) == [100, 101, 102]
    assert torch.equal(asked["parameters"], lt.settings.SETTINGS["1"].model.init([100, 101, 102]))
    assert (asked["batch"], asked["samples"], asked["reference"]) == (5, 12, 50)


def test_noise_by_batch_and_along_training() -> None:
    sizes = pd.concat([table_of([2.0, 2.1, 2.0]).assign(batch=10), table_of([1.0, 1.01, 1.02])])
    same = pd.concat([table_of([1.5, 1.51, 1.52]).assign(batch=size) for size in (10, 1000)])
    tables = {"1": sizes, "2": same}
    larger, alike = page.small_over_large(tables)
    assert (larger.case, larger.statistic, larger.state) == ("Setting 1", "E at B = 10 over E at B = 1,000", YES)
    assert made_up.number(larger).estimate == pytest.approx((2.0 * 2.1 * 2.0 / (1.0 * 1.01 * 1.02)) ** (1 / 3))
    assert alike.state is NULL
    shown = page.excess_table(tables, "batch", "B = {:,}")
    assert list(shown.columns) == ["setting", "B = 10", "B = 1,000"]
    assert [str(text).split("] ")[1] for text in shown["B = 10"]] == [page.WORDS[YES]] * 2


@pytest.mark.parametrize(
    ("first", "end", "said", "turned"),
    [
        (1.0, 3.0, "**heavy** at every later step", True),
        (1.0, 1.05, "at no later step heavy", False),
        (3.0, 3.0, "**heavy** at every later step", False),
        (1.0, math.nan, "cannot be read later", False),
    ],
)
def test_what_becomes_of_noise(first: float, end: float, said: str, turned: bool) -> None:
    start, later = (table_of([x, x + 0.01, x + 0.02]) for x in (first, end))
    along = pd.concat(
        [start.assign(optimizer=o, step=0) for o in ("sgd", "adam")]
        + [later.assign(optimizer=o, step=5) for o in ("sgd", "adam")]
    )
    verdict = c2.judge("paper", dict.fromkeys("123", start), NOISE_PROTOCOL)
    judged = {str(unit.keys.problem): unit for unit in verdict.units if unit.decides}
    found = page.later(judged, {"1": along})
    assert said in page.later_text(found)
    assert ("Setting 1" in page.turned_heavy(found)) == ("Setting 1" in page.headline(found)) == turned
    if turned:
        assert "E from 1.01 to 3.01 (SGD), 3.01 (Adam) at step 5" in page.turned_heavy(found)
        batches = {"1": pd.concat([start.assign(batch=10), start.assign(batch=1000)])}
        assert page.turned_heavy(found) in page.conclusions(judged, batches, {"1": along})


def test_infinite_variance_is_seen_and_not_imagined() -> None:
    samples = {"wild": page.pareto(10_000, 1.0), "tame": np.abs(np.random.default_rng(0).normal(size=10_000))}
    samples["between"] = page.pareto(1000, 2.0)
    assert [page.variance_infinite(sample) for sample in samples.values()] == [True, False, None]
    assert len(page.index_table(samples)) == 6
    text = page.index_text(samples, "between")
    assert len(text.splitlines()) == 3
    assert "is** infinite" in text.splitlines()[-1]


def test_the_page_measures_it_otherwise() -> None:
    start = table_of([1.6, 1.62, 1.59])
    verdict = c2.judge("paper", dict.fromkeys("123", start), NOISE_PROTOCOL)
    assert page.title(verdict).endswith("a heavier tail in 3 of 3 settings")
    batches = {"1": pd.concat([start.assign(batch=1000), start.assign(batch=10, excess=[0.8, 0.82, 0.81])])}
    [unit] = page.by_batch(batches, 1000)
    assert (unit.keys.problem, unit.state) == ("1", REV)
    lamp = template.confirmed("batches", (verdict, [unit]))
    assert (lamp.kept, lamp.of) == (0, 1)
    assert page.batch_title(page.small_over_large(batches)).endswith("the reverse in 1 of 1 settings")
    first = next(unit for unit in verdict.units if unit.decides)
    steady, turned = ({1: {"SGD": (state, 1.0)}} for state in (YES, NULL))
    lamp = page.steady({name: page.Later(first, steps) for name, steps in (("1", steady), ("2", turned), ("3", {}))})
    assert (lamp.kept, lamp.of) == (1, 2)
    answer = page.null_answer({"1": batches["1"].drop(columns=["norms", "spectrum"])})
    assert "from batches of 1,000 to 10" in answer
    assert "E from 1.60 to 0.81" in answer


def test_noise_in_other_views() -> None:
    """Gaussian noise has E = 1 by all of them; a common factor of a vector is a heavy tail to all."""
    generator = np.random.default_rng(0)
    normal = generator.normal(size=(20_000, 3)) * [3.0, 1.0, 0.5]
    assert list(projections.views(normal + 5.0).values()) == pytest.approx([1.0] * 3, rel=0.05)
    heavy = normal * np.sqrt(generator.gamma(0.3, size=(20_000, 1)))
    found = projections.views(heavy + 5.0)
    assert all(value > 1.5 for value in found.values())
    assert found["pairs"] < found["norm"]
    text = page.views_answer(pd.DataFrame([{"setting": "1", **found}]), "pairs", "by pairs")
    assert f"E = {found['norm']:.2f} by the norm, {found['pairs']:.2f} by pairs" in text


def test_noise_at_zero_widens_with_the_root_of_depth() -> None:
    found = pd.DataFrame({"layers": [1, 4], "median": [2.0, 4.0], "excess": [1.3, 1.3]})
    assert page.depth_answer(found) == ("L = 4: median length 2.000 of that at L = 1 (the law says 2.000), E = 1.30.")
