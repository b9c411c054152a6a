"""Every optimizer against torch.optim, step by step in float64, each run taken alone."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lintrans as lt
from lintrans.training.optimizers import clip_factor, gradient_norm, resolve

CASES = [
    (lt.SGD(momentum=0.9), lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9)),
    (lt.SGD(momentum=0.0), lambda p, lr: torch.optim.SGD(p, lr)),
    (lt.SGD(momentum=0.8, dampening=0.3), lambda p, lr: torch.optim.SGD(p, lr, momentum=0.8, dampening=0.3)),
    (lt.Adam(), lambda p, lr: torch.optim.Adam(p, lr, betas=(0.9, 0.9))),
    (lt.Adam(betas=(0.9, 0.999)), lambda p, lr: torch.optim.Adam(p, lr, betas=(0.9, 0.999))),
    (lt.Adam(betas=(0.0, 0.5), eps=1e-3), lambda p, lr: torch.optim.Adam(p, lr, betas=(0.0, 0.5), eps=1e-3)),
]


@pytest.mark.parametrize(("ours", "theirs"), CASES, ids=lambda case: str(case) if not callable(case) else "")
def test_same_as_torch_for_every_run(ours: Any, theirs: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    rates = [0.3, 0.01]
    start = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    gradients = torch.randn(30, 2, 6, generator=generator, dtype=torch.float64)
    model: Any = SimpleNamespace(parameter_shape=(6,))
    parameters, slots = start.clone(), ours.init(start, model)
    leaves = [start[run].clone().requires_grad_() for run in range(2)]
    others = [theirs([leaf], rate) for leaf, rate in zip(leaves, rates, strict=True)]
    for step, gradient in enumerate(gradients, 1):
        count = torch.full((2, 1), step)
        direction, slots = ours.update(gradient, slots, count, model)
        parameters -= torch.tensor(rates, dtype=torch.float64).unsqueeze(-1) * direction
        for run, (leaf, other) in enumerate(zip(leaves, others, strict=True)):
            leaf.grad = gradient[run].clone()
            other.step()
            torch.testing.assert_close(parameters[run], leaf.detach(), rtol=1e-13, atol=1e-15)


@given(exponents=st.lists(st.integers(-300, 300), min_size=1, max_size=5), clip=st.floats(1e-3, 1e3))
def test_clipping_is_torchs_at_any_size(exponents: list[int], clip: float) -> None:
    gradient = torch.tensor([[10.0**exponent for exponent in exponents]], dtype=torch.float64)
    largest, relative = gradient_norm(gradient)
    factor = clip_factor(largest, relative, torch.tensor([[clip]], dtype=torch.float64))
    norm = math.hypot(*gradient[0].tolist())  # does not overflow
    assert float(largest * relative) == pytest.approx(norm, rel=1e-12)
    assert float(factor) == pytest.approx(min(1.0, clip / (norm + 1e-6)), rel=1e-12)


def test_norm_beyond_the_range_of_float64() -> None:
    gradient = torch.full((1, 150), 1e308, dtype=torch.float64)
    factor = clip_factor(*gradient_norm(gradient), torch.tensor([[1.0]], dtype=torch.float64))
    clipped = gradient * factor
    assert float(torch.linalg.vector_norm(clipped)) == pytest.approx(1.0, rel=1e-12)


def test_zero_gradient_and_no_clip() -> None:
    none = torch.tensor([[math.inf], [1.0]], dtype=torch.float64)
    gradient = torch.tensor([[1e300, 1e300], [0.0, 0.0]], dtype=torch.float64)
    assert clip_factor(*gradient_norm(gradient), none).tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_gradients_that_are_not_finite_are_seen(bad: float) -> None:
    largest, _ = gradient_norm(torch.tensor([[1.0, bad]]))
    assert not torch.isfinite(largest).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lt.SGD(momentum=1.0), "momentum = 1 is not allowed"),
        (lambda: lt.SGD(dampening=-0.1), "dampening = -0.1 is not allowed"),
        (lambda: lt.Adam(betas=(0.9, 1.0)), "betas = 1 is not allowed"),
        (lambda: lt.Adam(betas=0.9), "betas = 0.9 is not allowed"),  # type: ignore[arg-type]
        (lambda: lt.Adam(eps=math.nan), "eps = nan is not allowed"),
        (lambda: lt.SGD(name=""), "name = ''"),
        (lambda: lt.Adam(second_moment="row"), "second_moment = 'row' .*'block'"),
        (lambda: lt.Signum(momentum=1.0), "momentum = 1 is not allowed"),
        (lambda: lt.NormalizedSGD(momentum=-1.0), "momentum = -1 is not allowed"),
        (lambda: resolve(SimpleNamespace(name="old", update=None)), "lacks init"),
        (lambda: resolve("adm"), "optimizer = 'adm' .*did you mean 'adam'"),
        (lambda: resolve(lt.Adam), "is no optimizer"),  # type: ignore[arg-type]
    ],
)
def test_bad_optimizers_are_named(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()
