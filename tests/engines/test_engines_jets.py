"""Jets in the moment form against torch's Hessians, entry by entry and prompt by prompt."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import lintrans as lt
from lintrans.engines.cpu import compiling

pytestmark = pytest.mark.skipif(compiling.unsupported_cpu() is not None, reason="no compiler here")
D = 2
SHAPES = [
    ("sparse", 1),
    pytest.param("full", 1, marks=pytest.mark.slow),
    pytest.param("sparse", 2, marks=pytest.mark.slow),
    pytest.param("full", 2, marks=pytest.mark.slow),
]


def hessian_of(model: lt.LinearTransformer, parameters: Tensor, prompts: lt.Prompts) -> Tensor:
    def loss(flat: Tensor) -> Tensor:
        return model.loss(flat.reshape(model.parameter_shape), prompts)

    dense: Tensor = torch.autograd.functional.hessian(loss, parameters.reshape(-1))  # type: ignore[no-untyped-call]
    return dense


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize(("form", "heads"), SHAPES)
def test_diagonals_and_single_prompts_are_autograds(form: str, heads: int, layers: int) -> None:
    """To 1e-10 of the largest; on more prompts than a chunk holds, and no whole number of SIMD values."""
    from lintrans.engines.cpu.moment_loops import MomentLoops

    model = lt.LinearTransformer(layers, D, heads=heads, form=form, init_std=0.3)
    parameters = model.init([0, 1], dtype=torch.float64)
    prompts = lt.LinearRegression(D, 5).sample(131, seed=3, dtype=torch.float64)
    loops = MomentLoops(model, torch.float64)
    found = loops.diagonals(parameters, prompts)
    squares, traces = loops.single_prompts(parameters, prompts)
    assert found.shape == (2, model.init(0).numel())
    assert squares.shape == traces.shape == (2, 131)
    for run, own in enumerate(parameters):
        expected = hessian_of(model, own, prompts).diagonal()
        torch.testing.assert_close(found[run], expected, rtol=0, atol=1e-10 * float(expected.abs().max()))
        assert torch.equal(found[run] == 0, model.structural_zeros.reshape(-1))
        errors = (model.predict(own, prompts) - prompts.target) ** 2
        torch.testing.assert_close(squares[run], errors, rtol=1e-9, atol=1e-10)
        for b in (0, 127, 128, 130):
            one = lt.Prompts(prompts.covariates[b : b + 1], prompts.responses[b : b + 1])
            expected = hessian_of(model, own, one).diagonal()
            assert float(traces[run, b]) == pytest.approx(float(expected.sum()), abs=1e-9 * float(expected.abs().sum()))


def test_a_run_has_the_bits_that_it_has_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs share its call, and in however many parts that is done."""
    from lintrans.engines.cpu import moment_loops

    model = lt.LinearTransformer(3, D, init_std=0.3)
    parameters = model.init(range(5), dtype=torch.float64)
    prompts = lt.LinearRegression(D, 5).sample_moments(300, dtype=torch.float64)
    loops = moment_loops.MomentLoops(model, torch.float64)
    together = loops.diagonals(parameters, prompts), *loops.single_prompts(parameters, prompts)
    monkeypatch.setattr(moment_loops, "MEMORY", 1)
    for run in range(5):
        alone = loops.diagonals(parameters[run], prompts), *loops.single_prompts(parameters[run], prompts)
        assert all(torch.equal(a[run], b[0]) for a, b in zip(together, alone, strict=True))
