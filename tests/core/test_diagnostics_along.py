"""Curvature along a training: probes and kept parameters say the same, and only of steps that were made."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import lintrans as lt
from lintrans.diagnostics.along import (
    FIXED,
    Conditions,
    StepCurvature,
    conditions_along,
    evaluation_batch,
    fixed_batch,
    steps_along,
    worst_along,
)
from lintrans.diagnostics.curvature import conditions, step_measures, worst_shares
from lintrans.engines.cpu import compiling
from lintrans.engines.reference import ReferenceEngine
from lintrans.training.probes import StepProbe

MODEL = lt.LinearTransformer(layers=2, d=2)
TASK = lt.LinearRegression(d=2, n=4)
RUNS = lt.grid(optimizer=["sgd", "adam"], lr=0.02, seed=range(2))
train = functools.partial(lt.train, MODEL, TASK, batch=10, clip=1.0, engine="reference")
STEP_METRICS = ["directional_smoothness", "hessian_step_norm", "gradient_norm", "slope", "step_length"]


@pytest.fixture(autouse=True, scope="module")
def small() -> Iterator[None]:
    """Shapes that nothing else compiles go through autograd, on one thread: tiny products on a busy machine."""
    patch, threads = pytest.MonkeyPatch(), torch.get_num_threads()
    patch.setattr(compiling, "unsupported_cpu", lambda: "this test compiles nothing")
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    patch.undo()


def rows(frame: pd.DataFrame, *metrics: str) -> pd.DataFrame:
    """Rows of some metrics, in one order."""
    chosen = frame[frame["metric"].isin(metrics)]
    return chosen.sort_values(["metric", "step", "run"], ignore_index=True)


@functools.cache
def trained() -> lt.History:
    return train(
        RUNS,
        steps=6,
        cooldown=2,
        probes=[
            StepCurvature(every=3, at=(4,), spectral=True),
            Conditions(every=6, at=(7,)),
            lt.TestLoss(every=3, batch=20),
        ],
        snapshots=range(8),
    )


def test_probes_and_kept_parameters_give_the_same_numbers() -> None:
    """Bit for bit; at consecutive steps, in the cooldown, and beside other probes."""
    history = trained()
    assert isinstance(StepCurvature(every=1), StepProbe)
    assert not isinstance(Conditions(every=1), StepProbe)
    found = steps_along(history, MODEL, TASK, [6, 3, 0, 4, 4], spectral=True)
    for metrics in (STEP_METRICS, ["spectral_norm"]):
        live = rows(history.frame, *metrics)
        assert sorted(live["step"].unique()) == [0, 3, 4, 6]  # 6 leads into the cooldown
        assert live.groupby("metric").size().to_dict() == dict.fromkeys(metrics, 16)
        pd.testing.assert_frame_equal(live, rows(found, *metrics).drop(columns="batch"), check_exact=True)
    names = list(conditions(MODEL, MODEL.init(0), TASK.sample(3)))
    live = rows(history.frame, *names)
    assert sorted(live["step"].unique()) == [0, 6, 7]
    after = rows(conditions_along(history, MODEL, TASK, [0, 6, 7]), *names)
    assert set(after.pop("batch")) == {FIXED}
    pd.testing.assert_frame_equal(live, after, check_exact=True)


def test_probes_leave_a_training_as_it_is() -> None:
    plain = train(RUNS, steps=6, cooldown=2, probes=[], snapshots=range(8))
    for step, parameters in plain.snapshots.items():
        assert torch.equal(parameters, trained().parameters(step))


def test_values_are_those_of_the_step_that_was_made() -> None:
    """On the fixed test batch in float64, as a user would compute them from the snapshots."""
    history = trained()
    prompts = TASK.sample(1000, stream=lt.Stream.TEST, dtype=torch.float64)
    for step in (0, 3, 4, 6):
        before, after = (history.parameters(k).double() for k in (step, step + 1))
        expected = lt.directional_smoothness(MODEL, before, after - before, prompts)
        found = history.metric("directional_smoothness").query("step == @step").set_index("run")["value"].sort_index()
        assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-9)
        length = history.metric("step_length").query("step == @step").set_index("run")["value"].sort_index()
        assert length.tolist() == pytest.approx((after - before).flatten(1).norm(dim=-1).tolist(), rel=1e-12)
    moments = TASK.sample_moments(1000, stream=lt.Stream.TEST, dtype=torch.float64)
    assert torch.equal(fixed_batch(MODEL, TASK).xx, moments.xx)


@pytest.mark.parametrize("along", [conditions_along, worst_along, functools.partial(steps_along, spectral=True)])
def test_batches_are_what_each_is_alone(along: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit; each drawn once, and each step's rows in the order of the batches."""
    drawn, draw = [], lt.LinearTransformer.draw

    def watched(self: Any, task: Any, batch: int, seed: int, **options: Any) -> Any:
        drawn.append(seed)
        return draw(self, task, batch, seed, **options)

    monkeypatch.setattr(lt.LinearTransformer, "draw", watched)
    together = along(trained(), MODEL, TASK, [0, 3, 6], batch=30, batches=[4, FIXED, 0, 4])
    assert drawn == [0, 0, 4]
    assert together["batch"].dtype == np.int64
    for number in (FIXED, 0, 4):
        alone = along(trained(), MODEL, TASK, [0, 3, 6], batch=30, batches=[number])
        own = together[together["batch"] == number].reset_index(drop=True)
        pd.testing.assert_frame_equal(own, alone, check_exact=True)
    shown = {conditions_along: ["r_lower", "block_P1"], worst_along: ["loss", "worst_loss_share", "worst_trace_share"]}
    for metric in shown.get(along, STEP_METRICS[:2]):
        own = together[together["metric"] == metric].groupby("run")["value"]
        assert own.nunique().tolist() == own.size().tolist() == [9] * 4
    if along is conditions_along:  # of the dense Hessian
        assert set(together[together["metric"] == "eigenvalue_max"]["batch"]) == {FIXED}


def test_evaluation_batches_are_of_a_stream_of_their_own() -> None:
    expected = TASK.sample_moments(8, seed=3, stream=lt.Stream.BATCHES, dtype=torch.float64)
    assert torch.equal(evaluation_batch(MODEL, TASK, 3, 8).xx, expected.xx)
    with pytest.raises(ValueError, match="-2 is not allowed"):
        evaluation_batch(MODEL, TASK, -2)


def test_worst_prompts_along_a_training() -> None:
    frame = worst_along(trained(), MODEL, TASK, [3, 0], batch=30, batches=[2])
    assert frame["step"].tolist() == [0] * 12 + [3] * 12
    found = worst_shares(MODEL, trained().parameters(3), evaluation_batch(MODEL, TASK, 2, 30))
    for metric, values in found.items():
        own = frame[(frame["metric"] == metric) & (frame["step"] == 3)]
        assert own["value"].tolist() == values.tolist()


def test_batches_of_another_size() -> None:
    history = train(
        RUNS, steps=2, probes=[StepCurvature(at=(1,), batch=7), Conditions(at=(1,), batch=7)], snapshots=[1]
    )
    before, after = history.parameters(1), history.parameters(2)
    few = fixed_batch(MODEL, TASK, 7)
    expected = step_measures(MODEL, before, after, few) | conditions(MODEL, before, few)
    for name, values in expected.items():
        assert history.metric(name)["value"].tolist() == pytest.approx(values.tolist(), rel=1e-12), name


def test_there_is_no_row_of_a_step_that_was_skipped_nor_of_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run 1 skips step 2; the parameters of run 2 overflow in step 3; the others go on."""
    original = ReferenceEngine.fresh_gradient

    def sometimes(self: Any, parameters: Any, runs: Any, step: int, batch: int) -> Any:
        slopes = original(self, parameters, runs, step, batch)
        if step == 2:
            slopes[1] = math.nan
        if step <= 3:
            slopes[2] = 3e38 if step == 3 else 1e-5
        return slopes

    monkeypatch.setattr(ReferenceEngine, "fresh_gradient", sometimes)
    calm = functools.partial(lt.grid, lr=1e-3)
    runs = calm(optimizer="sgd", seed=range(2)) + lt.grid(optimizer="sgd", lr=10.0) + calm(optimizer="adam", seed=3)
    steps = (0, 1, 2, 3, 4, 5)
    probes: Any = [StepCurvature(at=(*steps, 120), batch=20), Conditions(at=(4, 120), batch=20)]
    history = lt.train(
        MODEL, TASK, runs, steps=120, batch=4, engine="reference", probes=probes, snapshots=range(7), dtype="float32"
    )
    assert history.runs["skipped"].tolist() == [0, 1, 0, 0]
    assert history.runs["diverged"].tolist() == [-1, -1, 4, -1]
    expected = {0: list(steps), 1: [0, 1, 3, 4, 5], 2: [0, 1, 2], 3: list(steps)}
    afterwards = steps_along(history, MODEL, TASK, steps)
    for metric in STEP_METRICS:
        assert history.metric(metric).groupby("run")["step"].apply(list).to_dict() == expected, metric
        kept = afterwards[afterwards["metric"] == metric]
        assert kept.groupby("run")["step"].apply(list).to_dict() == expected, metric
    seen = history.metric("r_lower").groupby("run")["step"].apply(list).to_dict()
    assert seen == {0: [4, 120], 1: [4, 120], 3: [4, 120]}


def test_frames_are_tidy() -> None:
    """The columns of a history, its runs named in every row, steps in order, nothing undefined."""
    history = trained()
    for frame in (steps_along(history, MODEL, TASK, [3, 0]), conditions_along(history, MODEL, TASK, [4, 0])):
        assert list(frame.columns) == [*history.frame.columns, "batch"]
        assert np.isfinite(frame["value"]).all()
        assert all(own["step"].is_monotonic_increasing for _, own in frame.groupby("metric"))
        table = frame.drop_duplicates("run").set_index("run").sort_index()
        assert table["optimizer"].tolist() == ["sgd", "sgd", "adam", "adam"]
        assert table["seed"].tolist() == [0, 1, 0, 1]
        assert set(table["clip"]) == {1.0}
    with pytest.raises(KeyError, match="no parameters were kept at step 9"):
        conditions_along(history, MODEL, TASK, [9])


@pytest.mark.parametrize("probe", [StepCurvature, Conditions])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every = 0 is not allowed"),
        ({"every": 1, "batch": 0}, "batch = 0 is not allowed"),
        ({"at": (-1,)}, "a step of at = -1 is not allowed"),
        ({}, r"a probe needs every=... or at=\[...\]"),
    ],
)
def test_bad_options_are_named(probe: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        probe(**options)


def test_a_step_beyond_the_end_is_named() -> None:
    with pytest.raises(ValueError, match="a probe asks for step 9, but training ends at step 8"):
        StepCurvature(at=(9,)).times(8, 8)
    assert StepCurvature(every=3, at=(8,)).times(8, 8) == {0, 3, 6}
    assert Conditions(every=3).times(8, 10) == {0, 3, 6, 8}
