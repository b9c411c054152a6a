"""Odd values at the public surface: an answer or words of ours; and the right values behind faults that were found."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import lintrans as lt
from benchmarks import fuzz
from lintrans import errors
from lintrans.engines.cpu import compiling
from lintrans.random import Source, Stream
from lintrans.training.train import check_probes, plan_training

MODEL, TASK = lt.LinearTransformer(layers=1, d=2), lt.LinearRegression(d=2, n=4)
RUNS = lt.grid(optimizer="sgd", lr=0.1)
QUICK: dict[str, Any] = {"steps": 2, "batch": 2, "engine": "reference", "progress": False}


@pytest.mark.parametrize(
    ("count", "seed"), [(400, 0), *(pytest.param(1500, seed, marks=pytest.mark.slow) for seed in (1, 2, 3))]
)
def test_no_odd_value_ends_inside(count: int, seed: int) -> None:
    tried, failures = fuzz.fuzz(count, seed, compiled=count > 400)
    assert sum(tried.values()) >= count
    assert not failures, fuzz.report(tried, failures)


@pytest.mark.parametrize("hidden", [10**9, 10**400])  # the second is larger than any float
def test_what_no_machine_holds_is_refused(hidden: int) -> None:
    with pytest.raises(ValueError, match=r"GiB"):
        lt.EmbeddedTransformer(1, 2, hidden)


def broken(value: Any = None) -> None:
    if isinstance(value, str):
        raise ValueError
    if value is None:
        torch.zeros(2) @ torch.zeros(3)


@pytest.mark.parametrize(
    ("value", "kind"), [(None, "RuntimeError"), ("x", "ValueError: no message"), (math.nan, "NaN")]
)
def test_the_fuzzer_sees_what_fails(monkeypatch: pytest.MonkeyPatch, value: Any, kind: str) -> None:
    monkeypatch.setitem(fuzz.TARGETS, "broken", fuzz.Target(broken, {}))
    with fuzz.own_store():
        found = fuzz.attempt("broken", {"value": value})
    assert found is not None
    assert found.kind.startswith(kind)


def test_what_computes_for_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fuzz.TARGETS, "long", fuzz.Target(lambda: threading.Event().wait(60), {}))
    monkeypatch.setattr(fuzz, "PATIENCE", 0.05)
    with fuzz.own_store():
        assert fuzz.attempt("long", {}) is None
        monkeypatch.setattr(fuzz, "HANG", 0.0)
        found = fuzz.attempt("long", {})
    assert found is not None
    assert found.kind == "not to be interrupted"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: lt.TestLoss(at=5), "at = 5 .int. is no sequence"),  # type: ignore[arg-type]
        (lambda: lt.GammaScaled(6e307, 1.0), "shape = 6e.307 is not allowed"),
        (lambda: lt.Gaussian(1e200), "std = 1e.200 is not allowed"),
        (lambda: lt.TestLoss(every=1).times(2**40, 2**40), "would take about"),
        (lambda: lt.train(MODEL, TASK, RUNS, **{**QUICK, "steps": 2**32}), "steps = 4294967296 is not allowed"),
        (lambda: lt.train(MODEL, TASK, RUNS, **QUICK, cooldown=2**32 - 2), "steps . cooldown = 4294967296"),
        (lambda: lt.train(MODEL, TASK, RUNS, **QUICK, snapshots=5), "snapshots = 5"),  # type: ignore[arg-type]
        (lambda: lt.train(MODEL, TASK, RUNS, **QUICK, probes=lt.TestLoss()), "probes = TestLoss"),  # type: ignore[arg-type]
        (lambda: lt.train(MODEL, TASK, RUNS, **QUICK, probes=[lt.TestLoss]), r"with its parentheses: TestLoss\("),  # type: ignore[list-item]
        (lambda: lt.train(MODEL, TASK, RUNS, **QUICK, probes=None), "probes = None"),  # type: ignore[arg-type]
        (lambda: lt.Prompts([[1.0]], [1.0]), "covariates of prompts is a list"),  # type: ignore[arg-type]
        (lambda: TASK.sample(2, device="meta"), "device = 'meta' holds no numbers"),
        (lambda: MODEL.init(0, device="nowhere"), "device = 'nowhere' is not one of"),
        (lambda: TASK.sample(2, seed=[]), "holds no seed"),
        (lambda: TASK.sample(2**31 + 2**31 - 1), "GiB"),
        (lambda: lt.LinearTransformer(layers=10**12), "GiB"),
        (lambda: lt.gradient_noise(MODEL, TASK, MODEL.init(0)[:0], samples=2), "parameters have shape"),
        (lambda: lt.spectral_norm(MODEL, torch.zeros(0, 1, 1, 2, 2, 2), TASK.sample(2)), "holds no run"),
        (lambda: lt.book.table([1]), "frame is a list"),
        (lambda: lt.book.say(5), "text = 5"),  # type: ignore[arg-type]
        (lambda: lt.grid(optimizer="sgd", lr=0.1, seed=range(10**12)), "more than 1,000,000"),
        (lambda: lt.Run("sgd", math.nan, 0), "lr = nan"),  # type: ignore[arg-type]
    ],
)
def test_refused_in_words(make: Callable[[], Any], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "memory", lambda: 2**34)
    with pytest.raises((TypeError, ValueError), match=words):
        make()


def test_equal_arguments_are_written_alike() -> None:
    laws = [lt.Gaussian(std) for std in (1, 1.0, np.float64(1), np.int64(1))]  # type: ignore[arg-type]
    assert {repr(law) for law in laws} == {"Gaussian(std=1.0)"}
    task = lt.LinearRegression(np.int64(2), np.int32(4))  # type: ignore[arg-type]
    assert repr(task) == repr(TASK)
    assert repr(lt.LinearTransformer(np.int64(1), 2, init_std=0)) == repr(lt.LinearTransformer(1, 2, init_std=0.0))  # type: ignore[arg-type]
    assert repr(lt.SGD(momentum=0)) == repr(lt.SGD(momentum=0.0))
    assert {type(probe.at[0]) for probe in (lt.TestLoss(at=np.array([1])), lt.TestLoss(at=[1]))} == {int}  # type: ignore[arg-type]


def test_two_probes_do_not_share_a_name() -> None:
    for probes in (
        [lt.TestLoss(batch=2), lt.TestLoss(batch=3)],
        [lt.TestLoss(), lt.TypicalLoss(every=1, metric="test_loss")],
        [lt.TypicalLoss(every=1, metric="skipped_steps")],
        [lt.Conditions(every=1), lt.Conditions(every=2)],
    ):
        with pytest.raises(ValueError, match="would stand under one name"):
            check_probes(probes)
    assert len(check_probes([lt.TestLoss(), lt.TypicalLoss(every=1), lt.TypicalLoss(every=1, metric="m")])) == 3


def test_no_clip_is_infinite_everywhere() -> None:
    plans = [plan_training(MODEL, TASK, RUNS, steps=1, clip=clip) for clip in (None, math.inf)]
    assert {run.clip for plan in plans for run in plan.runs} == {math.inf}


def test_the_last_steps_of_the_generator() -> None:
    assert Source(0, 2**32 - 1, Stream.TEST, 1).normals(1).isfinite().all()
    with pytest.raises(ValueError, match="step = 4294967296"):
        Source(0, 2**32, Stream.TEST, 1)


def test_large_shapes_of_the_gamma_law_are_drawn() -> None:
    x = lt.GammaScaled(1e12, 1e-12).draw(Source(0, 0, Stream.TEST, 100), 3, 2)
    torch.testing.assert_close(x.square().sum(-2), torch.ones(3, 100, dtype=torch.float64), atol=1e-4, rtol=0)


class Attention(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 4).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.layer(x)
        return torch.nn.functional.scaled_dot_product_attention(q, q, q)


def test_fused_attention_names_the_remedy() -> None:
    model = lt.TorchModel(Attention(), lambda module, batch: module(batch).square().mean())
    x = torch.randn(1, 1, 3, 4, dtype=torch.float64)
    fused = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.FLASH_ATTENTION)
    with fused, pytest.raises(NotImplementedError, match=r"SDPBackend\.MATH"):
        lt.hessian_diagonal(model, model.parameters(), x)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert lt.hessian_diagonal(model, model.parameters(), x)["layer.weight"].isfinite().all()


def test_threads_of_others_are_seen() -> None:
    """Beside those that other tests have left in this process."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="mine")
    assert "mine" not in compiling.strangers()
    thread.start()
    try:
        assert "mine" in compiling.strangers()
    finally:
        end.set()
        thread.join()
    assert "mine" not in compiling.strangers()
