"""Any torch module as a model, for the instruments.

A module holds one set of parameters inside it; instruments evaluate a loss at many, and differentiate it twice.
:class:`TorchModel` calls the module with parameters from outside, and leaves the module as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from .flatten import Shape, check_mapping


class TorchModel:
    """A torch module and its loss, with the module's parameters given from outside.

    Parameters are a mapping name -> ``[..., *shape]``, named as in ``module.named_parameters()``, of those that
    require a gradient when this object is made; a parameter that is shared has the first of its names. Leading axes
    are runs. All else is the module's as it is when the loss is called: the other parameters, buffers, the train flag.

    The module stays as it is: a call works with copies of its buffers and of the parameters that are not given, and
    never writes ``.grad``. In train mode batch normalization thus uses the batch's own statistics and forgets them
    afterwards. Two things this cannot cover: what a module keeps elsewhere (plain attributes), and activation
    checkpointing, which computes again during the backward pass, with the module's own parameters.

    A stochastic module, with dropout in train mode say, draws anew in each evaluation, so that its Hessian is that
    of one draw, and noisy; ``module.eval()`` before gives the deterministic one.

    Args:
        module: any ``torch.nn.Module``.
        loss: ``loss(module, prompts)``: the mean loss of the module on prompts, whatever these are here, as a tensor
            without axes. It may call the module any number of times.

    Raises:
        TypeError: no module, or a loss that cannot be called.
        ValueError: a module without a parameter to train, or with one that is not initialized.

    Example:
        >>> import torch
        >>> import lintrans as lt
        >>> def loss(module, batch):
        ...     return torch.nn.functional.mse_loss(module(batch[0]), batch[1])
        >>> model = lt.TorchModel(torch.nn.Linear(3, 1), loss)
        >>> model.parameter_shapes["weight"]
        (1, 3)
        >>> model.loss(model.parameters(), (torch.ones(8, 3), torch.zeros(8, 1))).shape
        torch.Size([])
    """

    def __init__(self, module: nn.Module, loss: Callable[[Any, Any], Tensor]) -> None:
        if not isinstance(module, nn.Module):
            what = f"the class {module.__name__}" if isinstance(module, type) else f"a {type(module).__name__}"
            raise TypeError(f"module is {what}: give a torch.nn.Module, already made")
        if not callable(loss):
            raise TypeError(f"loss is a {type(loss).__name__}: give a function of (module, prompts)")
        trained = {name: value for name, value in module.named_parameters() if value.requires_grad}
        if not trained:
            raise ValueError(
                f"module {type(module).__name__} has no parameter with requires_grad: set it for those to differentiate"
            )
        if lazy := [name for name, value in trained.items() if is_lazy(value)]:
            raise ValueError(f"module's parameter {lazy[0]!r} is not initialized: call the module on a batch before")
        self.module = module
        self._evaluation = _Evaluation(module)
        self.loss_of = loss
        self._shapes: dict[str, Shape] = {name: tuple(value.shape) for name, value in trained.items()}

    def __repr__(self) -> str:
        return f"TorchModel({type(self.module).__name__}, {getattr(self.loss_of, '__name__', self.loss_of)})"

    @property
    def parameter_shapes(self) -> Mapping[str, Shape]:
        """Shape of each parameter of one run, read-only."""
        return MappingProxyType(self._shapes)

    def parameters(self) -> dict[str, Tensor]:
        """The module's own parameters as they are now: copies, without leading axes."""
        own = dict(self.module.named_parameters())
        return {name: own[name].detach().clone() for name in self._shapes}

    def loss(self, parameters: Mapping[str, Tensor], prompts: Any) -> Tensor:
        """The loss ``[...]`` of every run on the same prompts, in the loss's dtype; differentiable any number of times.

        Parameters are ``[..., *shape]`` by name, in any floating-point dtype that the module works with.

        Raises:
            TypeError: parameters that are no mapping of floating-point tensors, or a loss that is no tensor.
            ValueError: names, shapes or leading axes that do not fit, or a loss with axes.
        """
        lead = check_mapping(self._shapes, parameters)
        runs = {name: parameters[name].reshape(math.prod(lead), *shape) for name, shape in self._shapes.items()}
        losses = [
            self.single({name: value[run] for name, value in runs.items()}, prompts) for run in range(math.prod(lead))
        ]
        return torch.stack(losses).reshape(lead)

    def single(self, parameters: Mapping[str, Tensor], prompts: Any) -> Tensor:
        """The loss of one run, with parameters ``shape`` by name, which are not checked."""
        loss = functional_call(self._evaluation, self._state(parameters), (self.loss_of, prompts), tie_weights=False)
        if not isinstance(loss, Tensor):
            raise TypeError(f"loss returned a {type(loss).__name__}: return a tensor without axes, not its .item()")
        if loss.ndim > 0:
            raise ValueError(
                f"loss returned shape {list(loss.shape)}: return the mean over the batch, a tensor without axes"
            )
        return loss

    def _state(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What each place of a module gets: the parameter given for it, or a copy, which the module may write into.

        A place has one name here, however many the module has: torch would put what it took out of a place with two
        names back in the wrong order, and the module would lose its own tensors.
        """
        own = dict(self.module.named_parameters())
        values = {id(own[name]): value for name, value in parameters.items()}
        state = {}
        for name, part in self.module.named_modules(prefix="module"):  # a shared one once
            options = {"prefix": name, "recurse": False, "remove_duplicate": False}
            for place, value in (*part.named_parameters(**options), *part.named_buffers(**options)):
                if id(value) not in values:
                    values[id(value)] = value.detach().clone()
                state[place] = values[id(value)]
        return state


class _Evaluation(nn.Module):
    """Calls a loss on its module, so that the loss sees the module with the tensors that torch puts into it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, loss: Callable[[Any, Any], Tensor], prompts: Any) -> Tensor:
        return loss(self.module, prompts)
