"""The CPU engine against the reference, and its promises of equal bits."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

import lintrans as lt
from lintrans.engines import Plan, ReferenceEngine, State
from lintrans.models.transformer import TensorModel
from lintrans.random import Source
from lintrans.training.optimizers import Optimizer, Slots
from lintrans.training.train import plan_training

numba = pytest.importorskip("numba")
cpu = pytest.importorskip("lintrans.engines.cpu.engine")

LAWS = [lt.Gaussian(), lt.Gaussian(0.5), lt.Sphere(1.5), lt.GammaScaled(0.1, 10.0), lt.GammaScaled(2.5, 2.0)]
SPARSE: dict[str, Any] = {"d": 5, "heads": 1, "form": "sparse"}
FULL: dict[str, Any] = {"d": 2, "heads": 2, "form": "full"}
OTHERS: list[dict[str, Any]] = [
    {"d": 1, "heads": 1, "form": "sparse"},
    {"d": 1, "heads": 3, "form": "full"},
    {"d": 3, "heads": 2, "form": "sparse"},
    {"d": 11, "heads": 1, "form": "full"},
    {"d": 20, "heads": 1, "form": "sparse"},
    {"d": 31, "heads": 1, "form": "sparse"},
    {"d": 32, "heads": 1, "form": "full"},
]


def planned(
    model: lt.LinearTransformer,
    runs: lt.Runs,
    *,
    n: int = 6,
    law: Any = LAWS[0],
    dtype: str = "float64",
    **options: Any,
) -> Plan:
    """A plan on the CPU."""
    task = lt.LinearRegression(d=model.d, n=n, covariates=law)
    arguments = {"steps": 8, "batch": 50, "clip": 1.0, **options}
    return plan_training(model, task, runs, dtype=dtype, device="cpu", **arguments)


def advanced(engine: Any, steps: int, start: State | None = None) -> State:
    """The state after some steps."""
    state: State = engine.start() if start is None else start
    engine.advance(state, steps)
    return state


def moments_of(engine: ReferenceEngine, state: State, run: int) -> dict[str, Tensor]:
    """What the reference engine remembers of a run."""
    [(name, row)] = [(o.name, int((own == run).nonzero())) for o, own in engine.members if run in own]
    return {key: part[row] for key, part in state.slots[name].items()}


EXPLODED = 1e30


def assert_same(ours: Tensor, theirs: Tensor, tolerance: float = 1e-10) -> None:
    """Equal, relative to the largest entry."""
    assert ours.shape == theirs.shape
    scale = theirs.abs().max().item() + 1e-300
    np.testing.assert_allclose((ours / scale).numpy(), (theirs / scale).numpy(), rtol=0, atol=tolerance)


def assert_bits(a: State, b: State, runs: slice | list[int] = slice(None)) -> None:
    """Two states equal bit for bit; `runs` picks those of a that b holds."""
    for name in ("parameters", "count", "skipped", "clipped", "diverged"):
        assert torch.equal(getattr(a, name)[runs], getattr(b, name)), name
    for name, part in b.slots["compiled"].items():
        assert torch.equal(a.slots["compiled"][name][runs], part), name


@pytest.mark.parametrize(
    "shape", [SPARSE, *(pytest.param(other, marks=pytest.mark.slow) for other in [FULL, *OTHERS])], ids=str
)
def test_agrees_with_the_reference(shape: dict[str, Any]) -> None:
    """Losses, gradients and whole trainings in float64, over depths, batches and laws."""

    @settings(max_examples=12, deadline=None)
    @given(
        layers=st.integers(1, 5), n=st.integers(1, 7), batch=st.integers(1, 300), law=st.sampled_from(LAWS),
        seed=st.integers(0, 2**32 - 1), cooldown=st.integers(0, 3),
    )  # fmt: skip
    @example(layers=5, n=2, batch=294, law=lt.GammaScaled(0.1, 10.0), seed=0, cooldown=0)
    def check(layers: int, n: int, batch: int, law: Any, seed: int, cooldown: int) -> None:
        model = lt.LinearTransformer(layers=layers, init_std=0.1 / shape["d"] ** 0.5, **shape)
        runs = lt.grid(
            optimizer=[lt.SGD(0.8, 0.1), lt.Adam((0.8, 0.95), 1e-6), lt.Adam(name="other")], lr=1e-3, seed=[seed, 5]
        )
        runs = runs + lt.grid(optimizer=lt.SGD(name="unclipped"), lr=1e-3, clip=None, seed=1)
        plan = planned(model, runs, n=n, law=law, batch=batch, steps=5, cooldown=cooldown)
        ours, theirs = cpu.CpuEngine(plan), ReferenceEngine(plan)
        a, b = advanced(ours, plan.total), advanced(theirs, plan.total)
        exploded = b.parameters.flatten(1).abs().max(dim=1).values > EXPLODED
        for r in range(len(runs)):
            # the step that explodes multiplies what the steps before left by up to the loss's degree, 3^L
            tolerance = 1e-10 * (3**layers if exploded[r] else 1)
            assert_same(a.parameters[r], b.parameters[r], tolerance)
            for name, moments in moments_of(theirs, b, r).items():
                assert_same(a.slots["compiled"][name][r], moments, tolerance)
        for name in ("step", "count", "skipped", "clipped", "diverged"):
            assert np.array_equal(getattr(a, name), getattr(b, name)), name
        # beyond it, which entry overflows first is a matter of the order of factors: take such a run's start instead
        points = torch.where(exploded[:, None, None, None, None, None], ours.start().parameters, a.parameters)
        shared = plan.task.sample(batch, seed=9, dtype=torch.float64)
        own = plan.linear[1].sample_moments(batch, seed=list(range(len(runs))), dtype=torch.float64)
        for prompts in (shared, own):
            for mine, other in zip(ours.gradient(points, prompts), theirs.gradient(points, prompts), strict=True):
                assert_same(mine, other)
        assert_same(ours.loss(points, shared), theirs.loss(points, shared))
        fresh = [engine.block_losses(points, 3, lt.Stream.EVALUATION, batch) for engine in (ours, theirs)]
        assert_same(fresh[0], fresh[1])

    check()


def test_float32_agrees_to_its_own_rounding() -> None:
    model = lt.LinearTransformer(layers=3, **SPARSE)
    for law in LAWS:
        plan = planned(
            model, lt.grid(optimizer=["sgd", "adam"], lr=0.01, seed=range(2)), law=law, dtype="float32", batch=500
        )
        assert_same(advanced(cpu.CpuEngine(plan), 8).parameters, advanced(ReferenceEngine(plan), 8).parameters, 1e-5)


@pytest.fixture
def threads() -> Iterator[Any]:
    """Set numba's number of threads for one test."""
    before = numba.get_num_threads()
    yield numba.set_num_threads
    numba.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_bits_for_any_threads_ensemble_and_grain(dtype: str, threads: Any) -> None:
    model = lt.LinearTransformer(layers=3, **SPARSE)
    runs = lt.grid(optimizer=["sgd", "adam"], lr=[0.01, 0.02], seed=[4, 2])
    together = planned(model, runs, dtype=dtype, batch=1000)
    state = advanced(cpu.CpuEngine(together), 8)
    threads(1)
    assert_bits(state, advanced(cpu.CpuEngine(together), 8))
    engine = cpu.CpuEngine(together)
    assert_bits(state, advanced(engine, 5, advanced(engine, 3)))
    for index, run in enumerate(runs):
        alone = planned(model, lt.Runs([run]), dtype=dtype, batch=1000)
        assert_bits(state, advanced(cpu.CpuEngine(alone), 8), [index])
    blocks = cpu.CpuEngine(together).block_losses(state.parameters, 40, lt.Stream.EVALUATION, 1000)
    assert torch.equal(
        cpu.CpuEngine(together).block_losses(state.parameters, 3, lt.Stream.EVALUATION, 1000), blocks[:, :3]
    )
    assert torch.equal(
        cpu.CpuEngine(together).block_losses(state.parameters[3:4], 40, lt.Stream.EVALUATION, 1000), blocks[3:4]
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_overflow_is_seen_and_skipped_as_by_the_reference(dtype: str) -> None:
    """A gradient that is not finite changes nothing of its run, is counted, and ends it beyond 1 % of its steps."""
    model = lt.LinearTransformer(layers=3, **SPARSE)
    plan = planned(model, lt.grid(optimizer=["sgd", "adam"], lr=0.01, seed=range(3)), dtype=dtype, steps=250)
    huge = torch.finfo(plan.dtype).max ** 0.3
    states = []
    for engine in (cpu.CpuEngine(plan), ReferenceEngine(plan)):
        state = engine.start()
        state.parameters[1] = huge
        state.parameters[2] = torch.inf
        state.parameters[4, 0, 0, 1, 2, 2] = torch.nan
        before = state.parameters.clone()
        engine.advance(state, 5)
        for run in (1, 2, 4):
            assert torch.equal(state.parameters[run].nan_to_num(7.0), before[run].nan_to_num(7.0))
        states.append(state)
    for name in ("count", "skipped", "clipped", "diverged"):
        assert torch.equal(getattr(states[0], name), getattr(states[1], name)), name
    assert states[0].skipped.tolist() == [0, 3, 1, 0, 1, 0]
    assert states[0].diverged.tolist() == [-1, 3, 1, -1, 1, -1]
    assert all(state.step == 5 for state in states)


def test_clips_by_a_norm_that_overflows() -> None:
    """The gradient is finite, the sum of its squares is not."""
    model = lt.LinearTransformer(layers=1, init_std=1e145, **SPARSE)
    plan = planned(model, lt.grid(optimizer="sgd", lr=1.0, seed=0), steps=1, batch=4, law=lt.Gaussian(std=1e3))
    a, b = advanced(cpu.CpuEngine(plan), 1), advanced(ReferenceEngine(plan), 1)
    assert a.count.tolist() == [1]
    assert b.slots["sgd"]["first"].abs().max() > 0.1
    assert_same(a.slots["compiled"]["first"], b.slots["sgd"]["first"])


def test_zero_parameters() -> None:
    model = lt.LinearTransformer(layers=3, init_std=0.0, **SPARSE)
    plan = planned(model, lt.grid(optimizer=["sgd", "adam"], lr=0.01, seed=0))
    assert_same(advanced(cpu.CpuEngine(plan), 8).parameters, advanced(ReferenceEngine(plan), 8).parameters)


def test_what_the_kernel_does_not_know_goes_through_torch() -> None:
    """A user's own optimizer and law of covariates."""

    class Sign(lt.SGD):
        def update(self, gradient: Tensor, slots: Slots, count: Tensor, model: TensorModel) -> tuple[Tensor, Slots]:
            return gradient.sign(), slots

    class Shifted(lt.Gaussian):
        def draw(self, source: Source, tokens: int, d: int) -> Tensor:
            return super().draw(source, tokens, d) + 0.1

    optimizer: Optimizer = Sign(name="sign")
    model = lt.LinearTransformer(layers=2, **SPARSE)
    runs = lt.grid(optimizer=[optimizer, lt.Adam()], lr=0.01, seed=range(2))
    for plan in (planned(model, runs), planned(model, lt.grid(optimizer="adam", lr=0.01), law=Shifted())):
        engine = cpu.CpuEngine(plan)
        assert not engine.whole
        a, b = advanced(engine, 4), advanced(ReferenceEngine(plan), 4)
        assert_same(a.parameters, b.parameters)
        losses = [e.block_losses(a.parameters, 2, lt.Stream.TEST, 30) for e in (engine, ReferenceEngine(plan))]
        assert_same(losses[0], losses[1])


def test_hessian_products_are_exact() -> None:
    """Duals against second derivatives of the token form by autograd, every direction of two runs."""
    for layers in (1, 3):
        model = lt.LinearTransformer(layers=layers, init_std=0.1, **SPARSE)
        task = lt.LinearRegression(d=5, n=7)
        parameters = model.init([0, 1], dtype=torch.float64)
        prompts = task.sample(37, seed=2, dtype=torch.float64)
        size = parameters[0].numel()
        directions = torch.eye(size, dtype=torch.float64).reshape(1, size, *model.parameter_shape).expand(2, *[-1] * 6)
        loops = cpu.MomentLoops(model, torch.float64)
        slopes, products = loops.hessian_products(parameters, directions, prompts)
        assert_same(slopes.reshape(parameters.shape), loops.gradient(parameters, prompts)[1], 1e-12)
        loss = functools.partial(model.loss, prompts=prompts)
        for run in range(2):
            expected: Tensor = torch.autograd.functional.hessian(loss, parameters[run])  # type: ignore[no-untyped-call]
            assert_same(products[run].reshape(size, size), expected.reshape(size, size), 1e-12)
