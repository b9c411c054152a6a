"""Curvature against torch's dense Hessian of the token form, against numpy, and on quadratics that are known."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import lintrans as lt
from lintrans.diagnostics.curvature import (
    conditions,
    directional_smoothness,
    hessian,
    hessian_diagonal,
    robust_condition_number,
    spectral_norm,
    spectrum,
    step_measures,
    worst_shares,
)
from lintrans.diagnostics.derivatives import hessian_products
from lintrans.engines.cpu import compiling

NOTHING: Any = None  # prompts of a loss that has none
SHAPES: list[dict[str, Any]] = [
    {"layers": 1, "d": 2},
    {"layers": 2, "d": 2, "heads": 2},
    {"layers": 2, "d": 2, "form": "full"},
]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny products on a busy machine: threads that wait for each other take most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes that nothing else compiles go through autograd."""
    monkeypatch.setattr(compiling, "unsupported_cpu", lambda: "this test compiles nothing")


def by_autograd(model: lt.LinearTransformer, parameters: Tensor, prompts: lt.Prompts) -> Tensor:
    """The dense Hessian of the token form, by torch, in float64."""

    def loss(flat: Tensor) -> Tensor:
        return model.loss(flat.reshape(model.parameter_shape), prompts)

    dense: Tensor = torch.autograd.functional.hessian(loss, parameters.double().reshape(-1))  # type: ignore[no-untyped-call]
    return dense


def tokens(model: lt.LinearTransformer, batch: int = 6) -> lt.Prompts:
    return lt.LinearRegression(model.d, 3).sample(batch, seed=4, dtype=torch.float64)


def assert_near(ours: Tensor, theirs: Any) -> None:
    expected = np.asarray(theirs)
    assert tuple(ours.shape) == expected.shape
    assert ours.dtype == torch.float64
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-9 * float(np.abs(expected).max()))


@pytest.mark.skipif(compiling.unsupported_cpu() is not None, reason="no compiler here")
@pytest.mark.parametrize(
    "model",
    [
        *(lt.LinearTransformer(layers, 5, init_std=0.3) for layers in (1, 2, 4)),
        lt.LinearTransformer(3, 5, attention="softmax", init_std=0.3),
        *(
            pytest.param(model, marks=pytest.mark.slow)
            for model in (
                lt.LinearTransformer(3, 2, heads=2, init_std=0.3),
                lt.LinearTransformer(3, 2, heads=2, form="full", init_std=0.3),
                lt.LinearTransformer(3, 2, heads=2, form="full", attention="relu", init_std=0.3),
            )
        ),
        lt.EmbeddedTransformer(),
    ],
    ids=str,
)
def test_compiled_hessians_part_by_part_are_torchs(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products that go back no further than their layer, and the rest by symmetry."""
    task = lt.FeatureRegression() if isinstance(model, lt.EmbeddedTransformer) else lt.LinearRegression(model.d)
    parameters, prompts = model.init([1, 2], dtype=torch.float64), model.draw(task, 9, dtype=torch.float64)
    ours = hessian(model, parameters, prompts)
    size = ours.shape[-1]
    units = (
        torch.eye(size, dtype=torch.float64)[-3:]
        .reshape(1, 3, *model.parameter_shape)
        .expand(2, *(-1 for _ in range(1 + len(model.parameter_shape))))
    )
    for start in model.parts:
        rows = hessian_products(model, parameters, units, prompts, start=start).reshape(2, 3, size)
        assert_near(rows[..., start:], ours[:, -3:, start:])
    for bad in (-1, size + 1, 1.5):
        with pytest.raises((TypeError, ValueError), match=f"start = {bad} "):
            hessian_products(model, parameters, units, prompts, start=bad)  # type: ignore[arg-type]
    monkeypatch.setattr(compiling, "unsupported_cpu", lambda: "now by torch")
    assert_near(ours, hessian(model, parameters, prompts))


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("shape", SHAPES)
def test_hessian_diagonal_and_spectrum_are_torchs(shape: dict[str, Any]) -> None:
    model = lt.LinearTransformer(**shape, init_std=0.3)
    parameters, prompts = model.init(1, dtype=torch.float64), tokens(model)
    expected = by_autograd(model, parameters, prompts)
    assert float(expected.abs().max()) > 0.1
    assert_near(hessian(model, parameters, prompts), expected)
    assert_near(hessian_diagonal(model, parameters, prompts), expected.diagonal().reshape(model.parameter_shape))
    assert_near(spectrum(model, parameters, prompts), np.linalg.eigvalsh(expected.numpy()))
    largest = np.abs(np.linalg.eigvalsh(expected.numpy())).max()
    assert float(spectral_norm(model, parameters, prompts)) == pytest.approx(largest, rel=1e-9)
    single = float(spectral_norm(model, parameters, prompts, dtype="float32"))
    assert single == pytest.approx(largest, rel=1e-4)
    assert single != float(spectral_norm(model, parameters, prompts))


def test_compiled_hessian_is_torchs() -> None:
    """Of float32 parameters as well: they are taken as float64 numbers."""
    model = lt.LinearTransformer(layers=2, d=5, init_std=0.2)
    parameters, prompts = model.init(0, dtype=torch.float32), tokens(model)
    expected = by_autograd(model, parameters, prompts)
    assert_near(hessian(model, parameters, prompts), expected)
    assert_near(spectral_norm(model, parameters, prompts), np.linalg.norm(expected.numpy(), 2))


def numpys_conditions(model: lt.LinearTransformer, dense: npt.NDArray[np.float64]) -> dict[str, float]:
    """Every convention from a dense Hessian; what is without effect is read off its zero rows."""
    magnitudes = np.abs(np.diag(dense))
    used = (dense != 0).any(0)
    ordered = np.sort(magnitudes)
    inside = [
        own[mask]
        for own, mask in zip(magnitudes.reshape(-1, model.block**2), used.reshape(-1, model.block**2), strict=True)
        if mask.any()
    ]
    blocks = [own.max() / np.median(own) for own in inside]
    eigenvalues = np.linalg.eigvalsh(dense[used][:, used])
    with np.errstate(divide="ignore"):
        lower = magnitudes.max() / ordered[(len(ordered) - 1) // 2]
    return {
        "r_lower": lower,
        "r_midpoint": magnitudes.max() / np.median(magnitudes),
        "r_used": magnitudes.max() / np.median(magnitudes[used]),
        "r_blocks": math.exp(np.log(blocks).mean()),
        "r_eigenvalues": np.abs(eigenvalues).max() / np.median(np.abs(eigenvalues)),
        "eigenvalue_max": eigenvalues.max(),
        "eigenvalue_min": eigenvalues.min(),
        **{f"block_{name}": np.median(own) for name, own in zip(model.block_names, inside, strict=True)},
    }


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("shape", SHAPES)
def test_conditions_are_numpys(shape: dict[str, Any]) -> None:
    model = lt.LinearTransformer(**shape, init_std=0.3)
    parameters, prompts = model.init([2, 3], dtype=torch.float64), tokens(model)
    found = conditions(model, parameters, prompts)
    for run, own in enumerate(parameters):
        expected = numpys_conditions(model, by_autograd(model, own, prompts).numpy())
        assert {name: float(value[run]) for name, value in found.items()} == pytest.approx(expected, rel=1e-8)


def test_conventions_of_a_compiled_model_agree_with_each_other_and_with_numpy() -> None:
    """The public functions give the numbers of `conditions`, in the leading axes of the parameters."""
    model = lt.LinearTransformer(layers=2, d=5)
    parameters = model.init([0, 1, 2, 3], dtype=torch.float64).reshape(2, 2, *model.parameter_shape)
    prompts = tokens(model, 20)
    found = conditions(model, parameters, prompts)
    dense = hessian(model, parameters, prompts)
    expected = numpys_conditions(model, dense[1, 0].numpy())
    assert {name: float(value[1, 0]) for name, value in found.items()} == pytest.approx(expected, rel=1e-9)
    assert expected["r_lower"] > 3 * expected["r_midpoint"] > 3 * expected["r_used"]  # why conventions matter
    for name, options in (
        ("r_lower", {}),
        ("r_midpoint", {"median": "midpoint"}),
        ("r_used", {"median": "midpoint", "unused": False}),
    ):
        value = robust_condition_number(model, parameters, prompts, **options)
        assert value.shape == (2, 2)
        torch.testing.assert_close(value, found[name], rtol=1e-12, atol=0)
    diagonal = dense[1, 0].diagonal()  # of P_1, Q_1 and Q_2
    blocks = torch.stack([float(own.max()) / own.quantile(0.5) for own in (diagonal[b].abs() for b in model.blocks)])
    assert len(blocks) == 3
    assert float(found["r_blocks"][1, 0]) == pytest.approx(float(blocks.log().mean().exp()), rel=1e-9)
    with pytest.raises(ValueError, match=r"median = 'middle' is not one of 'lower', 'midpoint'"):
        robust_condition_number(model, parameters, prompts, median="middle")


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("form", ["sparse", "full"])
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_structural_zeros_are_those_and_no_others(form: str, heads: int, layers: int) -> None:
    """Gradient and Hessian rows at random parameters, exactly zero where marked and nowhere else."""
    model = lt.LinearTransformer(layers=layers, d=2, heads=heads, form=form, init_std=0.4)
    parameters, prompts = model.init(layers, dtype=torch.float64), tokens(model, 4)
    leaf = parameters.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model.loss(leaf, prompts), leaf)
    zeros = model.structural_zeros
    assert torch.equal(gradient == 0, zeros)
    dense = by_autograd(model, parameters, prompts)
    assert torch.equal((dense == 0).all(-1).reshape(model.parameter_shape), zeros)
    assert bool(zeros.any())


@pytest.mark.usefixtures("no_compiler")
def test_half_of_a_one_layer_sparse_model_is_without_effect() -> None:
    """The lower median is then zero; the midpoint is half of the least, and leaving them out mends it."""
    model = lt.LinearTransformer(layers=1, d=2)
    parameters, prompts = model.init(0, dtype=torch.float64), tokens(model)
    diagonal = np.sort(by_autograd(model, parameters, prompts).diagonal().abs().numpy())
    with pytest.warns(UserWarning, match=r"median of the Hessian's diagonal is zero.*leave out.*unused=False"):
        assert math.isinf(robust_condition_number(model, parameters, prompts))
    assert math.isinf(conditions(model, parameters, prompts)["r_lower"])
    midpoint = robust_condition_number(model, parameters, prompts, median="midpoint")
    assert float(midpoint) == pytest.approx(diagonal[-1] / (0.5 * diagonal[4]), rel=1e-10)
    for median, middle in (("lower", diagonal[5]), ("midpoint", 0.5 * (diagonal[5] + diagonal[6]))):
        value = robust_condition_number(model, parameters, prompts, median=median, unused=False)
        assert float(value) == pytest.approx(diagonal[-1] / middle, rel=1e-10)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("attention", ["linear", "softmax"])
def test_one_bad_prompt_has_nearly_all(attention: str, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares against Hessians of single prompts; one of six is larger by far than the others."""
    if not compiled:
        monkeypatch.setattr(compiling, "unsupported_cpu", lambda: "by torch")
    model = lt.LinearTransformer(layers=2, d=2, attention=attention, init_std=0.3)
    parameters, prompts = model.init([0, 1], dtype=torch.float64), tokens(model)
    large = torch.tensor([1.0, 5.0, 1.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    prompts = lt.Prompts(prompts.covariates * large[:, None, None], prompts.responses * large[:, None])
    found = worst_shares(model, parameters, prompts)
    for run, own in enumerate(parameters):
        each = [lt.Prompts(prompts.covariates[b : b + 1], prompts.responses[b : b + 1]) for b in range(6)]
        losses = torch.stack([model.loss(own, one) for one in each])
        traces = torch.stack([by_autograd(model, own, one).trace().abs() for one in each])
        assert float(found["loss"][run]) == pytest.approx(float(losses.mean()))
        assert float(found["worst_loss_share"][run]) == pytest.approx(float(losses.max() / losses.sum()))
        assert float(found["worst_trace_share"][run]) == pytest.approx(float(traces.max() / traces.sum()))
        assert traces.argmax() == 1
        assert found["worst_trace_share"][run] > 0.9
    same = lt.Prompts(prompts.covariates[:1].repeat(8, 1, 1), prompts.responses[:1].repeat(8, 1))
    equal = worst_shares(model, parameters, same)
    for name in ("worst_loss_share", "worst_trace_share"):
        assert equal[name].tolist() == pytest.approx([1 / 8, 1 / 8])


def test_names_of_blocks() -> None:
    assert lt.LinearTransformer(layers=3, d=2).block_names == ("P1", "Q1", "P2", "Q2", "Q3")
    assert lt.LinearTransformer(layers=2, d=2, form="full").block_names == ("P1", "Q1", "P2", "Q2")
    two = lt.LinearTransformer(layers=2, d=2, heads=2)
    assert two.block_names == ("P1.1", "Q1.1", "P1.2", "Q1.2", "Q2.1", "Q2.2")
    assert len(two.block_names) == len(two.blocks)


class Vector(nn.Module):
    """Numbers to differentiate by."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(size, dtype=torch.float64))


def of_vector(size: int, loss: Callable[[Tensor], Tensor]) -> lt.TorchModel:
    return lt.TorchModel(Vector(size), lambda module, _: loss(module.x))


def quadratic(matrix: Tensor) -> lt.TorchModel:
    """0.5 x'Ax."""
    return of_vector(len(matrix), lambda x: 0.5 * x @ matrix @ x)


def turned(eigenvalues: Any, seed: int = 0) -> Tensor:
    """A symmetric matrix of known eigenvalues, along no axis."""
    values = torch.as_tensor(eigenvalues, dtype=torch.float64)
    normal = torch.randn(len(values), len(values), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    basis = torch.linalg.qr(normal).Q
    matrix: Tensor = (basis * values) @ basis.T
    return matrix


def at(*rows: Any) -> dict[str, Tensor]:
    """Parameters of one run, or of several."""
    table = torch.as_tensor(np.array(rows, dtype=np.float64))
    return {"x": table[0] if len(table) == 1 else table}


def test_a_known_quadratic() -> None:
    """Signed diagonals, magnitudes in the ratio, any leading axes, no warning."""
    matrix = turned([5.0, 1.0, -2.0, 0.5])
    model = quadratic(matrix)
    everywhere = {"x": torch.randn(2, 3, 4, dtype=torch.float64)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(hessian(model, everywhere, NOTHING), matrix.expand(2, 3, 4, 4))
        diagonal = hessian_diagonal(model, everywhere, NOTHING)
        torch.testing.assert_close(diagonal["x"], matrix.diagonal().expand(2, 3, 4))
        ordered = matrix.diagonal().abs().sort().values
        lower = robust_condition_number(model, everywhere, NOTHING)
        middle = robust_condition_number(model, everywhere, NOTHING, median="midpoint")
        torch.testing.assert_close(lower, (ordered[3] / ordered[1]).expand(2, 3))
        torch.testing.assert_close(middle, (ordered[3] / (0.5 * (ordered[1] + ordered[2]))).expand(2, 3))
        values = spectrum(model, everywhere, NOTHING)[1, 2]
        torch.testing.assert_close(values, torch.tensor([-2.0, 0.5, 1.0, 5.0], dtype=torch.float64))


def test_magnitudes_count_where_curvature_is_negative() -> None:
    model = quadratic(torch.diag(torch.tensor([-8.0, 2.0, -1.0], dtype=torch.float64)))
    assert float(robust_condition_number(model, at([0, 0, 0]), NOTHING)) == 4.0


class Halves(nn.Module):
    """0.25 a^2 + b^2 + 2.25 c^2: diagonal 0.5, 2, 4.5; what else it has may affect the loss or not."""

    def __init__(self, *extra: str) -> None:
        super().__init__()
        self.scalars = nn.ParameterList([torch.ones((), dtype=torch.float64) for _ in range(3)])
        self.extra, self.row = extra, nn.Parameter(torch.ones(2, dtype=torch.float64))
        self.never = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self) -> Tensor:
        a, b, c = self.scalars
        loss: Tensor = 0.25 * a**2 + b**2 + 2.25 * c**2
        if "linear" in self.extra:
            loss = loss + self.row[0]  # a row of zeros in the Hessian, yet it counts
        if "dead" in self.extra:
            loss = loss + torch.relu(-self.row[1])  # as does a unit that is off here
        return loss


@pytest.mark.parametrize(("extra", "expected"), [((), 2.25), (("linear",), 4.5 / 1.25), (("linear", "dead"), 9.0)])
def test_unused_parameters_of_a_module_are_left_out(extra: tuple[str, ...], expected: float) -> None:
    """Single entries too: the row of two has one that only its own term meets."""
    model = lt.TorchModel(Halves(*extra), lambda module, _: module())
    value = robust_condition_number(model, model.parameters(), NOTHING, median="midpoint", unused=False)
    assert float(value) == pytest.approx(expected, rel=1e-12)
    if not extra:
        assert float(robust_condition_number(model, model.parameters(), NOTHING, unused=False)) == 2.25
        lost = {name: value[None] * math.nan for name, value in model.parameters().items()}
        assert robust_condition_number(model, lost, NOTHING, unused=False).isnan().all()


def test_unused_parameters_pull_the_median_down() -> None:
    """Two of five still leave a median; three of five do not; a Hessian of zeros has no ratio."""

    def model(used: int) -> lt.TorchModel:
        return of_vector(5, lambda x: (x[:used] ** 2 * torch.arange(1.0, used + 1, dtype=torch.float64)).sum())

    start = at([1, 1, 1, 1, 1])
    assert float(robust_condition_number(model(3), start, NOTHING)) == 3.0  # of 0, 0, 2, 4, 6
    with pytest.warns(UserWarning, match="median of the Hessian's diagonal is zero"):
        assert math.isinf(robust_condition_number(model(2), start, NOTHING))
    flat = of_vector(5, lambda x: x.sum())
    assert math.isnan(robust_condition_number(flat, start, NOTHING))


SPECTRA = {
    "negative": np.concatenate([[-7.0], np.linspace(-1, 5, 30)]),
    "positive": np.concatenate([[7.0], np.linspace(-5, 1, 30)]),
    "clustered": np.concatenate([1 + 1e-6 * np.arange(20), np.linspace(0, 0.5, 20)]),
    "repeated": np.repeat([3.0, -1.0], 10),
    "dense at its end": np.linspace(0.9, 1.0, 60),
    "both ends alike": np.concatenate([[-2.0, 2.0], np.linspace(-1, 1, 20)]),
    "small": 1e-12 * np.arange(1, 9),
    "zero": np.zeros(4),
    "one": np.array([-3.0]),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_spectral_norm_of_known_spectra(name: str) -> None:
    values = SPECTRA[name]
    model = quadratic(turned(values))
    assert float(spectral_norm(model, at(np.ones(len(values))), NOTHING)) == pytest.approx(
        np.abs(values).max(), rel=1e-6
    )


def quartic(matrix: Tensor, signs: Tensor) -> lt.TorchModel:
    """A loss whose Hessian, at x = U z, is U diag(signs z^2) U': each run has eigenvalues of its own."""
    return of_vector(len(signs), lambda x: (signs * (matrix.T @ x) ** 4).sum() / 12)


def test_spectral_norms_of_an_ensemble_are_those_of_single_runs() -> None:
    """Some need many steps, some are done, or exhausted, at once."""
    size = 12
    basis = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).Q
    signs = torch.tensor([1.0, -1.0] * (size // 2), dtype=torch.float64)
    squares = torch.tensor(
        np.stack([np.linspace(1, 2, size), np.eye(size)[1] * 9, np.zeros(size), np.ones(size), np.eye(size)[4]]),
        dtype=torch.float64,
    )
    model, points = quartic(basis, signs), squares.sqrt() @ basis.T
    together = spectral_norm(model, {"x": points}, NOTHING)
    torch.testing.assert_close(together, squares.max(-1).values, rtol=1e-9, atol=1e-12)
    for run, point in enumerate(points):
        alone = spectral_norm(model, {"x": point}, NOTHING)
        assert alone.shape == ()
        torch.testing.assert_close(alone, together[run], rtol=1e-9, atol=1e-12)


def test_directional_smoothness_is_known_signed_and_of_unit_length() -> None:
    model = quadratic(torch.diag(torch.tensor([4.0, -3.0], dtype=torch.float64)))
    where = at(*[[1.0, 1.0]] * 5)
    along = at([1, 0], [0, -1e-9], [1e3, 1e3], [math.sqrt(3), 2], [0, 0])
    found = directional_smoothness(model, where, along, NOTHING)
    assert found[:4].tolist() == pytest.approx([4.0, -3.0, 0.5, 0.0], abs=1e-12)
    assert math.isnan(found[4])
    assert lt.directional_smoothness is directional_smoothness


def test_directional_smoothness_of_a_huge_direction() -> None:
    model = quadratic(torch.diag(torch.tensor([4.0, 4.0], dtype=torch.float64)))
    assert float(directional_smoothness(model, at([0, 0]), at([1e160, 1e160]), NOTHING)) == pytest.approx(4.0)


def test_step_measures_of_a_known_quadratic() -> None:
    matrix = torch.diag(torch.tensor([4.0, -6.0], dtype=torch.float64))
    before, after = at([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]), at([1.0, 2.5], [4.0, 6.0], [1.0, 2.0])
    found = step_measures(quadratic(matrix), before, after, NOTHING, spectral=True)
    gradient, unit = np.array([4.0, -12.0]), np.array([0.6, 0.8])
    expected = {
        "directional_smoothness": [-6.0, 4 * 0.36 - 6 * 0.64],
        "hessian_step_norm": [6.0, math.hypot(4 * 0.6, 6 * 0.8)],
        "gradient_norm": [math.hypot(4, 12)] * 2,
        "slope": [-12.0, float(gradient @ unit)],
        "step_length": [0.5, 5.0],
        "spectral_norm": [6.0, 6.0],
    }
    assert set(found) == set(expected)
    for name, values in found.items():
        assert values[:2].tolist() == pytest.approx(expected[name], rel=1e-9), name
        assert math.isnan(values[2]), name  # it did not move
    assert "spectral_norm" not in step_measures(quadratic(matrix), before, after, NOTHING)


def everything(model: lt.LinearTransformer, parameters: Tensor, prompts: lt.Prompts) -> dict[str, Tensor]:
    """All that is measured at given parameters, a number a run."""
    after = parameters + 0.01 * model.init([9], dtype=torch.float64)
    return {
        **conditions(model, parameters, prompts),
        **worst_shares(model, parameters, prompts),
        **step_measures(model, parameters, after, prompts, spectral=True),
        "robust": robust_condition_number(model, parameters, prompts),
        "trace": hessian_diagonal(model, parameters, prompts).flatten(1).sum(-1),
        "norm": spectral_norm(model, parameters, prompts),
        "top": spectrum(model, parameters, prompts)[:, -1],
    }


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_diverged_run_is_undefined_and_the_others_are_what_they_are_alone(bad: float) -> None:
    model = lt.LinearTransformer(layers=2, d=5)
    prompts = tokens(model)
    parameters = model.init([0, 1, 2], dtype=torch.float64)
    lost = parameters.clone()
    lost[1, 1, 0, 0, 2, 3] = bad
    together = everything(model, lost, prompts)
    for run in (0, 2):
        alone = everything(model, parameters[run : run + 1], prompts)
        for name, value in together.items():
            assert float(value[run]) == pytest.approx(float(alone[name][0]), rel=1e-8), name
    for name, value in together.items():
        assert math.isnan(value[1]), name


HUGE = 1e150  # finite, as parameters of a run are whose gradient was not; products with it overflow


def test_condition_numbers_of_a_run_whose_hessian_overflows() -> None:
    model = lt.LinearTransformer(layers=2, d=5)
    parameters, prompts = model.init([0, 1], dtype=torch.float64), tokens(model)
    parameters[1] *= HUGE
    found = conditions(model, parameters, prompts)
    assert all(math.isfinite(value[0]) and math.isnan(value[1]) for value in found.values())


def test_spectral_norm_of_a_run_whose_hessian_overflows() -> None:
    model = lt.LinearTransformer(layers=2, d=5)
    parameters, prompts = model.init([0, 1], dtype=torch.float64), tokens(model)
    parameters[1] *= HUGE
    found = spectral_norm(model, parameters, prompts)
    torch.testing.assert_close(found[0], spectral_norm(model, parameters[0], prompts))
    assert math.isnan(found[1])


@settings(max_examples=12)
@given(c=st.floats(0.2, 5.0), layers=st.integers(1, 3), seed=st.integers(0, 1000))
def test_covariate_scale_is_a_reparameterization(c: float, layers: int, seed: int) -> None:
    """Covariates c x with Q / c^2: the sparse loss is c^2 times what it was, on tokens."""
    model = lt.LinearTransformer(layers=layers, d=2, init_std=0.3)
    parameters = model.init(seed, dtype=torch.float64)
    plain, scaled = (
        lt.LinearRegression(2, 4, lt.Gaussian(std=std)).sample(5, seed=seed, dtype=torch.float64) for std in (1.0, c)
    )
    moved = parameters.clone()
    moved[..., 1, :, :] /= c**2
    before, after = float(model.loss(parameters, plain)), float(model.loss(moved, scaled))
    assert after == pytest.approx(c**2 * before, rel=1e-9)
    if abs(c - 1) > 0.1:
        assert float(model.loss(parameters, scaled)) != pytest.approx(c**2 * before, rel=1e-3)


@pytest.mark.parametrize("bad", [math.nan, 1, "no", None])
def test_flags_are_true_or_false(bad: Any) -> None:
    model, task = lt.LinearTransformer(1, 2), lt.LinearRegression(2, 3)
    parameters, prompts = model.init([0]), task.sample(batch=4, seed=0, step=0)
    calls: dict[str, Callable[[], object]] = {
        "eigenvalues": lambda: conditions(model, parameters, prompts, eigenvalues=bad),
        "spectral": lambda: step_measures(model, parameters, parameters + 1, prompts, spectral=bad),
        "unused": lambda: robust_condition_number(model, parameters, prompts, median="midpoint", unused=bad),
    }
    for name, call in calls.items():
        with pytest.raises(TypeError, match=f"{name} = .* True or False"):
            call()
