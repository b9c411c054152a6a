"""How the parameters of one model lie in a flat vector, for whatever works on vectors.

A model has parameters of one of two kinds: a tensor ``[..., *model.parameter_shape]``
(:class:`~lintrans.LinearTransformer`, or any :class:`~lintrans.models.transformer.TensorModel`), or a mapping name ->
``[..., *model.parameter_shapes[name]]`` (:class:`~lintrans.TorchModel`, or any :class:`MappingModel`). Leading axes are
runs in both. :func:`pack` makes a matrix ``[runs, G]`` of them, and the :class:`Layout` that comes with it makes
parameters of such vectors.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor

from ..errors import nearest
from .fitting import check_parameters
from .transformer import TensorModel, has_tensor

Shape: TypeAlias = tuple[int, ...]

P = TypeVar("P", Tensor, Mapping[str, Tensor])
"""The kind of a model's parameters."""


@runtime_checkable
class MappingModel(Protocol):
    """A model whose parameters have names."""

    @property
    def parameter_shapes(self) -> Mapping[str, Shape]:
        """Shape of each parameter of one run."""

    def loss(self, parameters: Mapping[str, Tensor], prompts: Any) -> Tensor:
        """Mean loss ``[...]``, differentiable in the parameters."""


Model: TypeAlias = TensorModel | MappingModel


@dataclass(frozen=True)
class Layout(Generic[P]):
    """Where each parameter lies in the vector.

    Attributes:
        lead: leading axes of the parameters that were packed.
        names: in the model's order; None for a model whose parameters are one tensor.
        shapes: of each.
    """

    lead: Shape
    names: tuple[str, ...] | None
    shapes: tuple[Shape, ...]

    @property
    def size(self) -> int:
        """G, the length of the vector."""
        return sum(map(math.prod, self.shapes))

    def unpack(self, flat: Tensor) -> P:
        """Parameters with the leading axes, dtype and device of vectors ``[..., G]``; differentiable.

        Raises:
            ValueError: another last axis than G.
        """
        if flat.ndim == 0 or flat.shape[-1] != self.size:
            raise ValueError(
                f"the vectors have shape {list(flat.shape)}; these parameters need [..., {self.size}]: give vectors "
                f"that lie as pack() lays them"
            )
        parts = torch.split(flat, [math.prod(shape) for shape in self.shapes], dim=-1)
        tensors = [part.reshape(flat.shape[:-1] + shape) for part, shape in zip(parts, self.shapes, strict=True)]
        return cast(P, tensors[0] if self.names is None else dict(zip(self.names, tensors, strict=True)))


def pack(model: Model, parameters: P) -> tuple[Tensor, Layout[P]]:
    """Parameters of all runs as vectors ``[runs, G]`` (one run where there are no leading axes), and their layout.

    Names lie in the order of ``model.parameter_shapes``. The dtype is that of the parameters; a mapping with several is
    promoted to the one that holds them all, and stays there when unpacked. A copy; differentiable.

    Raises:
        TypeError: a model of no known kind, or parameters of another kind than the model's.
        ValueError: names, shapes, leading axes or devices that do not fit.

    Example:
        >>> import lintrans as lt
        >>> from lintrans.models.flatten import pack
        >>> model = lt.LinearTransformer(layers=3, d=5)
        >>> flat, layout = pack(model, model.init([0, 1]))
        >>> flat.shape, layout.unpack(flat).shape
        (torch.Size([2, 150]), torch.Size([2, 3, 1, 2, 5, 5]))
    """
    given: Any = parameters
    names: tuple[str, ...] | None = None
    if has_tensor(model):
        check_parameters(model, given)
        tensors: list[Tensor] = [given]
        shapes: tuple[Shape, ...] = (model.parameter_shape,)
        lead = tuple(given.shape[: -len(model.parameter_shape)])
    elif isinstance(model, MappingModel) and not isinstance(model, type):
        lead = check_mapping(model.parameter_shapes, given)
        names, shapes = tuple(model.parameter_shapes), tuple(model.parameter_shapes.values())
        tensors = [given[name] for name in names]
    else:
        raise TypeError(
            f"model is a {type(model).__name__}: give lintrans.LinearTransformer(...), lintrans.TorchModel(module, "
            f"loss), or an object with parameter_shapes and loss"
        )
    kind = functools.reduce(torch.promote_types, [tensor.dtype for tensor in tensors])
    runs = math.prod(lead)
    rows = [tensor.to(kind).reshape(runs, math.prod(shape)) for tensor, shape in zip(tensors, shapes, strict=True)]
    return torch.cat(rows, dim=-1), Layout(lead, names, shapes)


def check_mapping(shapes: Mapping[str, Shape], parameters: Mapping[str, Tensor]) -> Shape:
    """The leading axes of parameters with names, ``[..., *shape]`` each.

    Raises:
        TypeError: no mapping of floating-point tensors.
        ValueError: names that are missing or unknown, shapes that do not fit, leading axes or devices that differ.
    """
    if not isinstance(parameters, Mapping):
        raise TypeError(
            f"parameters are a {type(parameters).__name__}: give a mapping of the names {listed(shapes)} to tensors"
        )
    if unknown := [name for name in parameters if name not in shapes]:
        raise ValueError(
            f"parameters have the unknown name {unknown[0]!r}{nearest(unknown[0], shapes)}: this model has "
            f"{listed(shapes)}"
        )
    if missing := [name for name in shapes if name not in parameters]:
        raise ValueError(f"parameters lack {listed(missing)}: give a tensor for every name of parameter_shapes")
    leads = {name: _lead(name, shape, parameters[name]) for name, shape in shapes.items()}
    _same("leading axes", {name: str(list(lead)) for name, lead in leads.items()}, "give all the same axes of runs")
    _same("devices", {name: str(parameters[name].device) for name in shapes}, "move all to one with .to(...)")
    lead = next(iter(leads.values()))
    if 0 in lead:
        raise ValueError(f"parameters have leading axes {list(lead)}, which hold no run: give at least one")
    return lead


def _lead(name: str, shape: Shape, value: Any) -> Shape:
    """Leading axes of one parameter."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"parameters[{name!r}] is {kind}: give a floating-point tensor")
    axes = value.ndim - len(shape)
    if axes < 0 or tuple(value.shape[axes:]) != shape:
        needed = ", ".join(["...", *map(str, shape)])
        raise ValueError(f"parameters[{name!r}] has shape {list(value.shape)}; this model needs [{needed}]")
    return tuple(value.shape[:axes])


def _same(what: str, values: Mapping[str, str], advice: str) -> None:
    """Refuse values that differ from that of the first name."""
    first, expected = next(iter(values.items()))
    for name, value in values.items():
        if value != expected:
            raise ValueError(
                f"parameters differ in their {what}: {expected} of {first!r}, {value} of {name!r}: {advice}"
            )


def listed(names: Iterable[str], most: int = 6) -> str:
    """Names in words, the first few of many."""
    quoted = [repr(name) for name in names]
    return ", ".join(quoted[:most]) + (f" and {len(quoted) - most} more" if len(quoted) > most else "")
