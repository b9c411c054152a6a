"""Any torch module as a model: its numbers are those of its own formula, and it stays as it was."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import lintrans as lt
from lintrans.diagnostics.derivatives import gradients, hessian_products
from lintrans.models.flatten import pack

Batch = tuple[Tensor, Tensor]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def data(seed: int = 7, size: int = 6) -> Batch:
    """Inputs [size, 3] and targets [size, 2]."""
    return normal(size, 3, seed=seed), normal(size, 2, seed=seed + 1)


def mean_square(module: Any, batch: Batch) -> Tensor:
    error: Tensor = module(batch[0]) - batch[1]
    return (error * error).mean()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def mlp_formula(parameters: list[Tensor], x: Tensor) -> Tensor:
    w, b, v, c = parameters
    return torch.tanh(x @ w.T + b) @ v.T + c


class Tied(nn.Module):
    """One matrix used twice, under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(torch.tanh(self.first(x)))
        return y[:, :2]


def tied_formula(parameters: list[Tensor], x: Tensor) -> Tensor:
    (w,) = parameters
    return (torch.tanh(x @ w.T) @ w.T)[:, :2]


class Counting(nn.Module):
    """Writes into its buffers, and into a parameter that is not trained, whenever it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(normal(2, 3))
        self.unused = nn.Parameter(normal(2))
        self.frozen = nn.Parameter(torch.ones((), dtype=torch.float64), requires_grad=False)
        self.calls: Tensor
        self.average: Tensor
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("average", torch.zeros(2, dtype=torch.float64), persistent=False)
        self.register_buffer("same_average", self.average)
        self.register_buffer("nothing", None)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(x @ self.weight.T) + self.frozen
        self.calls.add_(1)
        self.average.mul_(0.9).add_(y.mean(0))  # its graph hangs on the parameters
        with torch.no_grad():
            self.frozen.mul_(0.5)
        return y


def counting_formula(parameters: list[Tensor], x: Tensor) -> Tensor:
    return torch.tanh(x @ parameters[0].T) + 1.0


def normalized() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4, affine=False), nn.Linear(4, 2)).double()


def normalized_formula(parameters: list[Tensor], x: Tensor) -> Tensor:
    w, v, c = parameters
    h = x @ w.T
    return (h - h.mean(0)) / (h.var(0, correction=0) + 1e-5).sqrt() @ v.T + c


class Shared(nn.Module):
    """One encoder under three names, and one of its tensors under a fourth, as a parameter and as a buffer."""

    def __init__(self) -> None:
        super().__init__()
        encoder = nn.Linear(3, 3).double()
        self.left = self.right = encoder
        self.blocks = nn.ModuleList([encoder, nn.Sequential(encoder, nn.Tanh())])
        self.weight = encoder.weight
        self.norm = self.again = nn.BatchNorm1d(3, affine=False).double()
        self.register_buffer("scale", encoder.bias)
        self.scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks[1](self.right(torch.tanh(self.left(x)))) @ self.weight.T * self.scale
        y = self.again(self.norm(y))
        return torch.as_tensor(y[:, :2])


def shared_formula(parameters: list[Tensor], x: Tensor) -> Tensor:
    w, b = parameters
    y = torch.tanh(x @ w.T + b) @ w.T + b
    y = torch.tanh(y @ w.T + b) @ w.T * b
    for _ in range(2):
        y = (y - y.mean(0)) / (y.var(0, correction=0) + 1e-5).sqrt()
    return y[:, :2]


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[list[Tensor], Tensor], Tensor]]] = {
    "mlp": (mlp, mlp_formula),
    "tied": (Tied, tied_formula),
    "shared": (Shared, shared_formula),
    "counting": (Counting, counting_formula),
    "batch norm": (normalized, normalized_formula),
}
every = pytest.mark.parametrize("case", CASES)


def picture(module: nn.Module) -> list[Any]:
    """All of a module that must not change."""
    tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return [
        [(name, id(value), value.tolist(), value.requires_grad, value.grad) for name, value in tensors],
        [(name, part.training, len(part._forward_hooks)) for name, part in module.named_modules()],
    ]


def dense(loss: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    hessian: Tensor = torch.autograd.functional.hessian(loss, point)  # type: ignore[no-untyped-call]
    return hessian


@every
def test_derivatives_are_those_of_the_formula(case: str) -> None:
    """Loss, gradient and every row of the Hessian, for two runs; the module stays as it was."""
    make, formula = CASES[case]
    module, batch = make(), data()
    before = picture(module)
    model = lt.TorchModel(module, mean_square)
    parameters = {name: torch.stack([value, value + 0.3]) for name, value in model.parameters().items()}
    flat, layout = pack(model, parameters)

    def by_hand(vector: Tensor) -> Tensor:
        return ((formula(list(layout.unpack(vector).values()), batch[0]) - batch[1]) ** 2).mean()

    losses, slopes = gradients(model, parameters, batch)
    eye = layout.unpack(torch.eye(layout.size, dtype=torch.float64).expand(2, -1, -1))
    products = pack(model, hessian_products(model, parameters, eye, batch))[0].reshape(2, layout.size, layout.size)
    assert {value.dtype for value in slopes.values()} == {torch.float64}
    for run, vector in enumerate(flat):
        leaf = vector.clone().requires_grad_()
        expected = by_hand(leaf)
        (gradient,) = torch.autograd.grad(expected, leaf)
        torch.testing.assert_close(losses[run], expected.detach(), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(pack(model, slopes)[0][run], gradient, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(products[run], dense(by_hand, vector), rtol=1e-9, atol=1e-11)
    assert picture(module) == before


@every
def test_runs_are_independent(case: str) -> None:
    """Any leading axes; a run has the same bits alone."""
    model, batch = lt.TorchModel(CASES[case][0](), mean_square), data()
    own = model.parameters()
    parameters = {name: value + 0.1 * normal(2, 3, *value.shape, seed=5) for name, value in own.items()}
    losses = model.loss(parameters, batch)
    assert losses.shape == (2, 3)
    assert torch.equal(losses, gradients(model, parameters, batch)[0])
    directions = {name: normal(2, 3, 1, *value.shape, seed=6) for name, value in own.items()}
    products = hessian_products(model, parameters, directions, batch)
    for place in ((0, 0), (1, 2)):
        alone = {name: value[place] for name, value in parameters.items()}
        assert torch.equal(model.loss(alone, batch), losses[place])
        along = {name: value[place] for name, value in directions.items()}
        for name, value in hessian_products(model, alone, along, batch).items():
            assert torch.equal(value, products[name][place])


def test_loss_is_differentiable_in_the_given_parameters() -> None:
    model, batch = lt.TorchModel(mlp(), mean_square), data()
    leaves = {name: value.requires_grad_() for name, value in model.parameters().items()}

    def loss(*values: Tensor) -> Tensor:
        return model.loss(dict(zip(leaves, values, strict=True)), batch)

    assert torch.autograd.gradcheck(loss, tuple(leaves.values()))
    assert torch.autograd.gradgradcheck(loss, tuple(leaves.values()))


@functools.cache
def small() -> tuple[lt.TorchModel, dict[str, Tensor]]:
    model = lt.TorchModel(mlp(), mean_square)
    return model, model.parameters()


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), a=st.floats(-3, 3), b=st.floats(-3, 3))
def test_hessian_is_symmetric_and_linear(seed: int, a: float, b: float) -> None:
    model, parameters = small()
    size = pack(model, parameters)[1].size
    u, v = normal(2, size, seed=seed)
    directions = pack(model, parameters)[1].unpack(torch.stack([u, v, a * u + b * v]))
    hu, hv, hw = pack(model, hessian_products(model, parameters, directions, data()))[0]
    torch.testing.assert_close(u @ hv, v @ hu, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(hw, a * hu + b * hv, rtol=1e-9, atol=1e-10)


def test_train_flag_is_obeyed_and_kept() -> None:
    """Batch normalization by the batch in train mode, by its buffers otherwise; dropout likewise."""
    module = normalized()
    model, batch = lt.TorchModel(module, mean_square), data()
    training = model.loss(model.parameters(), batch)
    module.eval()
    assert not torch.equal(model.loss(model.parameters(), batch), training)
    assert not any(part.training for part in module.modules())
    module.get_buffer("1.running_mean").fill_(2.0)
    torch.testing.assert_close(model.loss(model.parameters(), batch), mean_square(module, batch).detach())
    dropout = nn.Sequential(mlp(), nn.Dropout(0.5))
    noisy = lt.TorchModel(dropout, mean_square)
    assert len({float(noisy.loss(noisy.parameters(), batch)) for _ in range(8)}) > 1
    dropout.eval()
    assert len({float(noisy.loss(noisy.parameters(), batch)) for _ in range(8)}) == 1


def test_products_of_a_stochastic_module_are_of_one_draw() -> None:
    """Twice the same direction in one call: twice the same product."""
    model = lt.TorchModel(
        nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 2)).double(), mean_square
    )
    directions = {name: normal(1, *shape).expand(2, *shape) for name, shape in model.parameter_shapes.items()}
    for value in hessian_products(model, model.parameters(), directions, data()).values():
        assert torch.equal(value[0], value[1])


def test_a_loss_may_call_the_module_many_times() -> None:
    """Each call sees what the one before left in the buffers, of this evaluation alone."""
    module, batch = Counting(), data()
    seen = []

    def twice(m: Any, b: Batch) -> Tensor:
        value: Tensor = m(b[0]).mean() + m(b[0]).mean() + m.average.sum()
        seen.append((int(m.calls), m.average is m.same_average))
        return value

    model = lt.TorchModel(module, twice)
    parameters = {name: torch.stack([value, value]) for name, value in model.parameters().items()}
    first, second = gradients(model, parameters, batch)[0]
    assert torch.equal(first, second)
    assert seen == [(2, True), (2, True)]
    assert int(module.calls) == 0


def test_recurrent_module_keeps_its_own_weights() -> None:
    """A module with a second list of its weights."""
    module, x = nn.LSTM(3, 2, batch_first=True).double(), normal(2, 4, 3)
    before = module(x)[0]
    model = lt.TorchModel(module, lambda m, batch: m(batch)[0].square().mean())
    other = {name: value + 1.0 for name, value in model.parameters().items()}
    hessian_products(model, other, {name: value[None] for name, value in other.items()}, x)
    assert torch.equal(module(x)[0], before)
    assert torch.equal(model.loss(model.parameters(), x), before.square().mean())
    assert not torch.equal(model.loss(other, x), before.square().mean())


def test_parameters_are_copies_and_shapes_are_read_only() -> None:
    module = Counting()
    model = lt.TorchModel(module, mean_square)
    assert dict(model.parameter_shapes) == {"weight": (2, 3), "unused": (2,)}
    with pytest.raises(TypeError):
        model.parameter_shapes["weight"] = (1,)  # type: ignore[index]
    taken = model.parameters()
    taken["weight"].fill_(0.0)
    assert not any(value.requires_grad for value in taken.values())
    assert (module.weight != 0).all()
    module.weight.data.fill_(3.0)
    assert (model.parameters()["weight"] == 3).all()
    assert "Counting" in repr(model)


@pytest.mark.parametrize(
    ("module", "loss", "message"),
    [
        ("mlp", mean_square, "module is a str: give a torch.nn.Module"),
        (nn.Linear, mean_square, "module is the class Linear: .*already made"),
        (nn.Linear(1, 1), 3.0, "loss is a float: give a function"),
        (nn.ReLU(), mean_square, "module ReLU has no parameter with requires_grad"),
    ],
)
def test_bad_models_are_named(module: Any, loss: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        lt.TorchModel(module, loss)


def test_module_that_is_not_initialized_is_named() -> None:
    with pytest.raises(ValueError, match="parameter 'weight' is not initialized: call the module"):
        lt.TorchModel(nn.LazyLinear(2), mean_square)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda m, b: m(b[0]), r"loss returned shape \[6, 2\]: return the mean"),
        (lambda m, b: 1.0, "loss returned a float: return a tensor"),
    ],
)
def test_bad_losses_are_named(loss: Any, message: str) -> None:
    model = lt.TorchModel(mlp(), loss)
    with pytest.raises((TypeError, ValueError), match=message):
        model.loss(model.parameters(), data())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"0.wieght": torch.zeros(4, 3)},
            r"unknown name '0.wieght' \(did you mean '0.weight'\?\): this model has '0.weight'",
        ),
        ({"0.bias": None, "2.bias": None}, "parameters lack '0.bias', '2.bias': give a tensor for every name"),
        ({"0.bias": torch.zeros(3)}, r"parameters\['0.bias'\] has shape \[3\]; this model needs \[..., 4\]"),
        ({"0.weight": torch.zeros(3)}, r"parameters\['0.weight'\] has shape \[3\]; this model needs \[..., 4, 3\]"),
        ({"0.bias": torch.zeros(2, 4)}, r"leading axes: \[\] of '0.weight', \[2\] of '0.bias': give all the same axes"),
        ({"0.bias": torch.zeros(4, device="meta")}, "devices: cpu of '0.weight', meta of '0.bias': move all to one"),
        ({"0.bias": torch.zeros(4, dtype=torch.int64)}, "is torch.int64: give a floating-point tensor"),
        ({"0.bias": [0.0] * 4}, "is list: give a floating-point tensor"),
    ],
)
def test_bad_parameters_are_named(change: dict[str, Any], message: str) -> None:
    model = lt.TorchModel(mlp(), mean_square)
    parameters = {name: value for name, value in {**model.parameters(), **change}.items() if value is not None}
    with pytest.raises((TypeError, ValueError), match=message):
        model.loss(parameters, data())


def test_parameters_of_another_kind_are_named() -> None:
    model = lt.TorchModel(mlp(), mean_square)
    with pytest.raises(TypeError, match=r"parameters are a Tensor: give a mapping of the names '0.weight', '0.bias'"):
        model.loss(torch.zeros(3), data())  # type: ignore[arg-type]
    empty = {name: value.expand(0, *value.shape) for name, value in model.parameters().items()}
    with pytest.raises(ValueError, match=r"leading axes \[0\], which hold no run"):
        model.loss(empty, data())
    with pytest.raises(ValueError, match=r"dtype = 'float32' .* leave it out"):
        lt.spectral_norm(model, model.parameters(), data(), dtype="float32")


def test_instruments_take_a_single_precision_module_as_it_is() -> None:
    """Module and batch in float32: no conversion gets in between, results are float64 to single precision."""
    single = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    x = torch.linspace(-1, 1, 30).reshape(10, 3)
    found = {}
    for kind in (torch.float32, torch.float64):
        model = lt.TorchModel(copy.deepcopy(single).to(kind), lambda module, batch: module(batch).square().mean())
        parameters, batch = model.parameters(), x.to(kind)
        direction = {name: torch.ones_like(value) for name, value in parameters.items()}
        found[kind] = (
            lt.spectral_norm(model, parameters, batch),
            lt.directional_smoothness(model, parameters, direction, batch),
            lt.robust_condition_number(model, parameters, batch),
            lt.hessian_diagonal(model, parameters, batch)["0.weight"],
        )
    for ours, exact in zip(found[torch.float32], found[torch.float64], strict=True):
        assert ours.dtype == torch.float64
        torch.testing.assert_close(ours, exact, rtol=1e-3, atol=1e-5)
