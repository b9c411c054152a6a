"""Any torch module as a model to train: the parameters of each run as one vector.

A module is made anew from its description, an :class:`Architecture`, so that a seed names its initial parameters and
the store can tell one network from another.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias, Unpack, runtime_checkable

import torch
from torch import Tensor, nn

from ..devices import real_dtype
from ..errors import seed_number, yes_or_no
from ..tasks.examples import ExampleBatch
from ..tasks.regression import DrawOptions, Task
from .fitting import check_parameters
from .torch_module import TorchModel

Kind: TypeAlias = tuple[torch.Size, torch.dtype]
"""Shape and dtype of one example."""


@runtime_checkable
class Architecture(Protocol):
    """What a network is: a frozen dataclass of its sizes, where results are to be stored."""

    def __hash__(self) -> int: ...

    def build(self) -> nn.Module:
        """A new module in float32, its initial parameters drawn from torch's own generator."""

    def loss(self, module: Any, examples: Any) -> Tensor:
        """Mean loss of a module on a batch, a tensor without axes."""


@dataclass(frozen=True)
class ModuleModel:
    """A torch module whose parameters are one vector ``[..., G]``, to be trained by :func:`lintrans.train`.

    Args:
        architecture: an object with ``build()``, which makes the module, and ``loss(module, examples)``.
        batched: take all runs at once by ``torch.vmap`` instead of one after the other. Where many small operations
            make a step this is faster, where a few large ones do it is slower; numbers agree to rounding. On a CPU, at
            batch 64, it was twice as fast for a perceptron of 1,210 parameters, took 1.4 times as long for LeNet-5, and
            made no difference of more than a third for language models.

    Parameters lie in the order of ``named_parameters()``. The module must be without buffers that it changes. Its
    initial parameters are what ``build()`` draws after ``torch.manual_seed(seed)``; the caller's generator stays as it
    is.

    Raises:
        TypeError: no architecture.

    Example:
        >>> from dataclasses import dataclass, replace
        >>> import torch
        >>> import lintrans as lt
        >>> @dataclass(frozen=True)
        ... class Logistic:
        ...     inputs: int
        ...     classes: int
        ...     def build(self):
        ...         return torch.nn.Linear(self.inputs, self.classes)
        ...     def loss(self, module, examples):
        ...         return torch.nn.functional.cross_entropy(module(examples.inputs), examples.targets)
        >>> lt.ModuleModel(Logistic(3, 2)).init([0, 1]).shape
        torch.Size([2, 8])
    """

    architecture: Architecture
    batched: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.architecture, Architecture) or isinstance(self.architecture, type):
            raise TypeError(
                f"architecture is {self.architecture!r}: give a frozen dataclass with build(), which returns a torch "
                "module, and loss(module, examples)"
            )
        yes_or_no("batched", self.batched)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each parameter by its name in the module."""
        return _blank(self.architecture).parameter_shapes

    @property
    def sizes(self) -> list[int]:
        return [math.prod(shape) for shape in self.shapes.values()]

    @property
    def parameter_shape(self) -> tuple[int]:
        return (sum(self.sizes),)

    @property
    def default_dtype(self) -> torch.dtype:
        """That of the module, which is torch's default as a rule."""
        return next(iter(_blank(self.architecture).parameters().values())).dtype

    @property
    def structural_zeros(self) -> Tensor:
        """None is known: all False."""
        return torch.zeros(self.parameter_shape, dtype=torch.bool)

    @property
    def blocks(self) -> tuple[Tensor, ...]:
        """Places of each parameter tensor of the module in the vector."""
        return torch.split(torch.arange(sum(self.sizes)), self.sizes)

    @property
    def block_names(self) -> tuple[str, ...]:
        """The names of the parameter tensors."""
        return tuple(self.shapes)

    @property
    def groups(self) -> dict[str, Tensor]:
        """Each parameter's number among the parameter tensors."""
        return {"block": torch.repeat_interleave(torch.arange(len(self.sizes)), torch.tensor(self.sizes))}

    def init(
        self, seed: int | Sequence[int] = 0, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Initial parameters ``[*seeds, G]``."""
        several = isinstance(seed, Sequence) and not isinstance(seed, str)
        seeds = [seed_number(each) for each in (seed if isinstance(seed, Sequence) else [seed])]
        found = {each: self._initial(each) for each in set(seeds)}
        vectors = torch.stack([found[each] for each in seeds]).to(device, real_dtype(dtype, self.default_dtype))
        return vectors if several else vectors[0]

    def _initial(self, seed: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = self.architecture.build()
        return nn.utils.parameters_to_vector(p for p in module.parameters() if p.requires_grad).detach()

    def draw(
        self, task: Task, batch: int, seed: int | Sequence[int] = 0, step: int = 0, **options: Unpack[DrawOptions]
    ) -> Any:
        return task.sample(batch, seed, step, **options)

    def loss(self, parameters: Tensor, prompts: Any) -> Tensor:
        """The mean loss ``[...]`` of each run on its own batch, or on one that all share; differentiable twice."""
        check_parameters(self, parameters)
        lead = parameters.shape[:-1]
        runs = parameters.reshape(-1, parameters.shape[-1])
        shared = prompts.target.ndim == 1
        if not shared and tuple(prompts.target.shape[:-1]) != tuple(lead):
            raise ValueError(
                f"the examples have leading axes {list(prompts.target.shape[:-1])} and the parameters {list(lead)}: "
                "give one batch for all runs, or one for each"
            )
        model = _blank(self.architecture)

        def single(vector: Tensor, batch: Any) -> Tensor:
            parts = torch.split(vector, self.sizes)
            named = {name: part.reshape(shape) for part, (name, shape) in zip(parts, self.shapes.items(), strict=True)}
            return model.single(named, batch)

        if self.batched and isinstance(prompts, ExampleBatch):
            losses = torch.vmap(
                lambda vector, places: single(vector, replace(prompts, places=places)), (0, None if shared else 0)
            )(runs, prompts.places)
        else:
            own = [prompts if shared else prompts[run] for run in range(len(runs))]
            losses = torch.stack([single(vector, batch) for vector, batch in zip(runs, own, strict=True)])
        return losses.reshape(lead)

    def numbers(self, prompts: Any) -> int:
        """Numbers that autograd keeps for the loss of one run, counted on one example and on two."""
        if not isinstance(prompts, ExampleBatch):
            return sum(self.sizes) * int(prompts.batch)
        kinds = ((each.shape[1:], each.dtype) for each in (prompts.of_inputs, prompts.of_targets))
        one, two = _kept(self.architecture, *kinds)
        batch: int = prompts.batch
        return one + (batch - 1) * max(two - one, 1)


class GivenModule:
    """The architecture of a module that is there: every seed starts from a copy whose layers are initialized anew.

    What has no ``reset_parameters`` of its own, as a bare ``nn.Parameter``, keeps the values that it has.
    """

    def __init__(self, model: TorchModel) -> None:
        self._model = model

    def __repr__(self) -> str:
        return repr(self._model)

    def build(self) -> nn.Module:
        module = copy.deepcopy(self._model.module)
        for part in module.modules():
            if callable(reset := getattr(part, "reset_parameters", None)):
                reset()
        return module

    def loss(self, module: Any, examples: Any) -> Tensor:
        return self._model.loss_of(module, examples)


@functools.lru_cache(maxsize=64)
def _blank(architecture: Architecture) -> TorchModel:
    """The module that takes parameters from outside."""
    with torch.random.fork_rng(devices=[]):
        return TorchModel(architecture.build(), architecture.loss)


@functools.lru_cache(maxsize=64)
def _kept(architecture: Architecture, inputs: Kind, targets: Kind) -> tuple[int, int]:
    """Numbers of the tensors that autograd keeps for a loss on one example and on two, all zero."""
    model, found = _blank(architecture), list[int]()
    for count in (1, 2):
        sizes: dict[int, int] = {}

        def seen(tensor: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
            sizes[tensor.data_ptr()] = max(sizes.get(tensor.data_ptr(), 0), tensor.numel())
            return tensor

        parameters = {name: value.requires_grad_() for name, value in model.parameters().items()}
        x, y = (_zeros(count, *kind) for kind in (inputs, targets))
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(seen, lambda tensor: tensor):
            model.single(parameters, ExampleBatch(x, y, torch.arange(count)))
        found.append(sum(sizes.values()))
    return found[0], found[1]


def _zeros(count: int, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Examples as the module itself takes them: real numbers in torch's default dtype."""
    return torch.zeros((count, *shape), dtype=torch.get_default_dtype() if dtype.is_floating_point else dtype)
