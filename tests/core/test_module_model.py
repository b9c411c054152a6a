"""A torch module as a model to train, and a finite data set as its task."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import lintrans as lt
from lintrans.engines import reference
from lintrans.store.specs import canonical
from lintrans.store.store import Store
from lintrans.tasks.examples import ExampleBatch
from lintrans.training.train import plan_training


@dataclass(frozen=True)
class Net:
    """A small perceptron of classes."""

    hidden: int = 5

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Linear(3, self.hidden), nn.Tanh(), nn.Linear(self.hidden, 4))

    def loss(self, module: Any, examples: Any) -> Tensor:
        return nn.functional.cross_entropy(module(examples.inputs), examples.targets)


def data(count: int = 40) -> lt.Examples:
    own = torch.Generator().manual_seed(3)
    x, y = torch.randn(count + 10, 3, generator=own), torch.randint(4, (count + 10,), generator=own)
    return lt.Examples(x[:count], y[:count], x[count:], y[count:], zero_loss=math.log(4))


RUNS = lt.grid(optimizer=[lt.SGD(), lt.Adam(), lt.Signum(), lt.NormalizedSGD()], lr=0.05, seed=range(3))


# the task


@settings(deadline=None, max_examples=30)
@given(
    count=st.integers(1, 30), batch=st.integers(1, 70), seed=st.integers(0, 9), step=st.integers(0, 9), data_=st.data()
)
def test_a_batch_in_parts_is_the_batch_and_every_turn_holds_each_example_once(
    count: int, batch: int, seed: int, step: int, data_: st.DataObject
) -> None:
    task, cut = data(count), data_.draw(st.integers(0, batch))
    whole = task.sample(batch, seed, step).places
    parts = [
        task.sample(size, seed, step, first=first).places for first, size in ((0, cut), (cut, batch - cut)) if size
    ]
    assert torch.equal(torch.cat(parts), whole)
    for turn in torch.split(whole, count):
        assert len(set(turn.tolist())) == len(turn)
    assert torch.equal(task.sample(batch, [seed, seed + 1], step).places[0], whole)


def test_batches_are_uniform_and_streams_differ() -> None:
    task = data()
    counts = torch.bincount(torch.cat([task.sample(8, 0, step).places for step in range(2000)]), minlength=task.n)
    expected = 2000 * 8 / task.n
    assert float(((counts - expected) ** 2 / expected).sum()) < 39 + 4 * math.sqrt(2 * 39)  # chi-squared, variance less
    training, noise = (task.sample(40, 0, 0, stream=stream).places for stream in (lt.Stream.TRAINING, lt.Stream.NOISE))
    assert not torch.equal(training, noise)
    held_out = task.sample(10, stream=lt.Stream.TEST)
    assert {*map(tuple, held_out.inputs.tolist())} == {*map(tuple, task.held_out_inputs.tolist())}


def test_targets_keep_their_kind_and_inputs_take_the_dtype() -> None:
    batch = data().sample(4, [0, 1], dtype=torch.float64)
    assert (batch.inputs.dtype, batch.targets.dtype) == (torch.float64, torch.int64)
    assert (batch.inputs.shape, batch.target.shape, batch.batch) == ((2, 4, 3), (2, 4), 4)
    assert batch.to(torch.float32)[1].inputs.dtype == torch.float32
    assert [part.batch for part in batch[0].split(3)] == [3, 1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"inputs": torch.zeros(0, 3)}, "at least one example"),
        ({"targets": torch.zeros(3)}, "give as many"),
        ({"held_out_inputs": torch.full((10, 3), math.nan)}, "not finite"),
        ({"zero_loss": math.inf}, "zero_loss"),
        ({"inputs": "x"}, "give a tensor"),
    ],
)
def test_what_is_no_data_set_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        replace(data(), **change)


# the model


def test_runs_taken_at_once_are_those_taken_one_after_the_other() -> None:
    one, all_ = lt.ModuleModel(Net()), lt.ModuleModel(Net(), batched=True)
    parameters = one.init([0, 1, 2], dtype=torch.float64)
    for batch in (data().sample(7, dtype=torch.float64), data().sample(7, [5, 6, 7], dtype=torch.float64)):
        found = []
        for model in (one, all_):
            leaf = parameters.clone().requires_grad_()
            loss = model.loss(leaf, batch)
            found.append((loss.detach(), *torch.autograd.grad(loss.sum(), leaf)))
        torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-14)


def test_parameters_lie_as_the_module_names_them() -> None:
    model, batch = lt.ModuleModel(Net()), data().sample(9)
    module = Net().build()
    vector = nn.utils.parameters_to_vector(module.parameters()).detach()
    assert float(model.loss(vector, batch)) == float(Net().loss(module, batch).detach())
    assert model.block_names == ("0.weight", "0.bias", "2.weight", "2.bias")
    assert torch.equal(torch.cat(model.blocks), torch.arange(*model.parameter_shape))
    assert torch.equal(vector[model.blocks[1]], module[0].bias.detach())  # type: ignore[index]


def test_a_seed_names_the_initial_parameters_and_leaves_torchs_generator_alone() -> None:
    model = lt.ModuleModel(Net())
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first = model.init([4, 5, 4])
    model.numbers(data().sample(3))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first[0], first[1])
    assert torch.equal(model.init(5), first[1])


def test_memory_grows_with_the_batch() -> None:
    model = lt.ModuleModel(Net())
    few, many = (model.numbers(data().sample(size)) for size in (10, 30))
    assert 10 * (5 + 4) <= few < many < 4 * few


def test_instruments_take_it() -> None:
    model, batch = lt.ModuleModel(Net(2)), data().sample(20, dtype=torch.float64)
    parameters = model.init(0, dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(  # type: ignore[no-untyped-call]
        lambda vector: model.loss(vector, batch), parameters
    )
    torch.testing.assert_close(lt.hessian_diagonal(model, parameters, batch), hessian.diagonal())
    direction = torch.linspace(-1, 1, len(parameters), dtype=torch.float64)
    unit = direction / direction.norm()
    torch.testing.assert_close(lt.directional_smoothness(model, parameters, direction, batch), unit @ hessian @ unit)


@pytest.mark.parametrize("bad", [Net, object(), nn.Linear(2, 2)])
def test_what_is_no_architecture_is_refused(bad: Any) -> None:
    with pytest.raises(TypeError, match=r"build\(\)"):
        lt.ModuleModel(bad)


# training


@pytest.mark.parametrize("batched", [False, True])
def test_training_is_torchs_own_loop(batched: bool) -> None:
    """In float64, against torch.optim on a module, a batch at a time."""
    model, task = lt.ModuleModel(Net(), batched=batched), data()
    runs = lt.grid(optimizer=[lt.SGD(momentum=0.9), lt.Adam(betas=(0.9, 0.99))], lr=0.05, seed=[0, 3])
    history = lt.train(model, task, runs, steps=12, batch=16, dtype="float64", probes=[])
    for run, found in zip(runs, history.parameters(), strict=True):
        module = Net().build().double()
        nn.utils.vector_to_parameters(model.init(run.seed, dtype=torch.float64), module.parameters())
        made: torch.optim.Optimizer = torch.optim.Adam(module.parameters(), lr=run.lr, betas=(0.9, 0.99))
        if run.optimizer.name == "sgd":
            made = torch.optim.SGD(module.parameters(), lr=run.lr, momentum=0.9)
        for step in range(12):
            made.zero_grad()
            Net().loss(module, task.sample(16, run.seed, step, dtype=torch.float64)).backward()  # type: ignore[no-untyped-call]
            made.step()
        torch.testing.assert_close(found, nn.utils.parameters_to_vector(module.parameters()).detach())


def test_a_run_alone_is_the_run_in_an_ensemble() -> None:
    model, task = lt.ModuleModel(Net()), data()
    together = lt.train(model, task, RUNS, steps=5, batch=8, dtype="float64", probes=[lt.TestLoss(every=1, batch=10)])
    alone = lt.train(model, task, lt.Runs([RUNS[4]]), steps=5, batch=8, dtype="float64", probes=[])
    torch.testing.assert_close(alone.parameters()[0], together.parameters()[4], rtol=1e-13, atol=1e-15)
    losses = together.metric("test_loss")
    whole = ExampleBatch(task.held_out_inputs.double(), task.held_out_targets, torch.arange(10))
    last = losses[losses["step"] == 5]["value"].tolist()
    torch.testing.assert_close(torch.tensor(last, dtype=torch.float64), model.loss(together.parameters(), whole))


def test_a_batch_in_parts_gives_the_same_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    model, task = lt.ModuleModel(Net()), data()
    plan = plan_training(model, task, RUNS, steps=1, batch=37, dtype="float64")
    engine = reference.ReferenceEngine(plan)
    parameters = engine.start().parameters
    own = task.sample(37, [run.seed for run in RUNS], dtype=torch.float64)
    expected = engine.gradient(parameters, own), engine.loss(parameters, own[0])
    monkeypatch.setattr(reference, "PART_BYTES", 8 * model.numbers(own[0].split(5)[0]))
    assert [part.batch for _, part in engine.parts(own)] == [6, 6, 6, 6, 6, 6, 1]
    torch.testing.assert_close((engine.gradient(parameters, own), engine.loss(parameters, own[0])), expected)


def test_a_whole_set_is_one_gradient_whatever_the_seed() -> None:
    model, task = lt.ModuleModel(Net()), data()
    parameters = model.init(0, dtype=torch.float64)
    losses = [float(model.loss(parameters, task.sample(task.n, seed, 7, dtype=torch.float64))) for seed in range(3)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-14)


def test_any_torch_model_trains() -> None:
    module = nn.Linear(3, 4)
    before = module.weight.detach().clone()
    model = lt.TorchModel(module, Net().loss)
    history = lt.train(model, data(), lt.grid(optimizer="adam", lr=0.05, seed=[0, 1]), steps=30, batch=40, probes=[])
    last = history.parameters()
    assert last.shape == (2, 16)
    assert not torch.equal(last[0], last[1])
    assert torch.equal(module.weight, before)


def test_results_are_stored_by_data_sizes_and_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, task, runs = Store(tmp_path), data(), lt.grid(optimizer="sgd", lr=0.1, seed=0)

    def key(model: lt.ModuleModel, task: lt.Examples) -> str:
        return lt.experiment(model, task, runs, steps=1, batch=8, probes=[], store=store).key

    first = key(lt.ModuleModel(Net()), task)
    assert key(lt.ModuleModel(Net()), data()) == first
    assert "reused" in capsys.readouterr().out
    changed = task.inputs.clone()
    changed[0, 0] += 1e-3
    assert (
        len({first, key(lt.ModuleModel(Net(4)), task), key(lt.ModuleModel(Net()), replace(task, inputs=changed))}) == 3
    )
    assert canonical(task)["targets"]["shape"] == [40]


@pytest.mark.parametrize("bad", [float("nan"), 1, "no", None])
def test_batched_is_true_or_false(bad: Any) -> None:
    with pytest.raises(TypeError, match=r"batched = .* True or False"):
        lt.ModuleModel(Net(), batched=bad)
