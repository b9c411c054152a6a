"""Derivatives for instruments: gradients, exact Hessian-vector products, gradients of many fresh batches in one pass.

They take the compiled loops where they can, for tensors of a CUDA device by way of the CPU, since autograd on a GPU
spends its time on starting small operations; and torch's autograd everywhere else: for a model whose parameters are a
mapping (:class:`~lintrans.TorchModel`, or any :class:`~lintrans.models.flatten.MappingModel`) one run after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import torch
from torch import Tensor

from ..engines.cpu import compiling
from ..engines.front_ends import draws, loops_of, unsupported_model
from ..errors import UINT32, choice, room, whole
from ..models.embedded import EmbeddedTransformer
from ..models.fitting import check_inputs, check_seeds, check_task
from ..models.flatten import Layout, Model, P, pack
from ..models.transformer import LinearTransformer, has_tensor
from ..random import Stream, role
from ..tasks.regression import Prompts, Task

if TYPE_CHECKING:
    from ..engines.cpu.loops import Loops
    from ..engines.cpu.moment_loops import MomentLoops

ENGINES = ("auto", "cpu", "reference")

Loss: TypeAlias = Callable[[Tensor, Any], Tensor]
"""Losses ``[...]`` of vectors ``[..., G]`` on prompts."""


class PromptSource(Protocol):
    """Where prompts come from, all that a model with named parameters asks of a task."""

    def sample(
        self, batch: int, seed: int, step: int, *, stream: Stream, dtype: torch.dtype, device: torch.device
    ) -> Any:
        """Prompts that depend on nothing but the arguments."""


def gradients(model: Model, parameters: P, prompts: Any, *, engine: str = "auto") -> tuple[Tensor, P]:
    """Losses ``[...]`` and gradients of all runs on the same prompts, in the parameters' shape and dtype.

    Models with linear attention take the compiled loops; any other goes through autograd. `engine` is "auto", "cpu"
    (compiled) or "reference" (autograd). Parameters are ``[..., *model.parameter_shape]``, or a mapping name ->
    ``[..., *shape]``; leading axes are runs.

    Raises:
        ValueError: shapes that do not fit, or a loss that does not depend on the parameters.

    Example:
        >>> import lintrans as lt
        >>> from lintrans.diagnostics.derivatives import gradients
        >>> model, task = lt.LinearTransformer(layers=1, d=2), lt.LinearRegression(d=2, n=4)
        >>> losses, slopes = gradients(model, model.init([0, 1]), task.sample(10), engine="reference")
        >>> losses.shape, slopes.shape
        (torch.Size([2]), torch.Size([2, 1, 1, 2, 2, 2]))
    """
    flat, layout = pack(model, parameters)
    prompts = _prepared(model, parameters, prompts)
    if (loops := _loops(engine, model, flat)) is not None:
        losses, slopes = (found.to(flat.device) for found in loops.gradient(flat.cpu(), prompts.to("cpu")))
    else:
        groups = _groups(model, flat)
        losses, slopes = _slopes(_loss_of(model, layout, parameters), groups, [prompts] * len(groups))
    return losses.reshape(layout.lead), _restored(layout, slopes.reshape(*layout.lead, layout.size), parameters)


def hessian_products(
    model: Model, parameters: P, directions: P, prompts: Any, *, engine: str = "auto", start: int = 0
) -> P:
    """Products of the loss's Hessian with any number of directions, exact to rounding, for all runs at once.

    H v is shaped like the directions ``[..., count, *model.parameter_shape]`` (or a mapping of such, with the leading
    axes of the parameters), in the parameters' dtype; zero where the loss is linear or does not depend on a parameter.
    All products of a run come from one evaluation of the loss, so that they belong to one Hessian even where the loss
    is stochastic. `engine` is "auto", "cpu" (gradients of dual numbers) or "reference" (autograd twice). Entries before
    parameter number `start` of a run are not asked for, and are zero where that spares work.

    Raises:
        ValueError: shapes that do not fit, a `start` beyond the parameters, or a loss that does not depend on them.

    Example:
        >>> import lintrans as lt
        >>> from lintrans.diagnostics.derivatives import hessian_products
        >>> model, task = lt.LinearTransformer(layers=1, d=2), lt.LinearRegression(d=2, n=4)
        >>> parameters = model.init(0)
        >>> hessian_products(model, parameters, parameters[None], task.sample(10), engine="reference").shape
        torch.Size([1, 1, 1, 2, 2, 2])
    """
    return slopes_and_products(model, parameters, directions, prompts, engine=engine, start=start)[1]


def slopes_and_products(
    model: Model, parameters: P, directions: P, prompts: Any, *, engine: str = "auto", start: int = 0
) -> tuple[P, P]:
    """The gradient, in the parameters' shape, and :func:`hessian_products`, all of one evaluation of the loss."""
    flat, layout = pack(model, parameters)
    rows, kind = pack(model, directions)
    if not kind.lead or kind.lead[:-1] != layout.lead:
        needed = "..., count" + "".join(map(", {}".format, layout.shapes[0]))
        raise ValueError(
            f"directions have leading axes {list(kind.lead)}, parameters {list(layout.lead)}: give directions "
            f"[{needed}]{'' if layout.names is None else f' for {layout.names[0]!r}, and so on,'} with the leading "
            f"axes of the parameters"
        )
    start = whole("start", start, 0, layout.size)
    along = rows.reshape(len(flat), kind.lead[-1], layout.size)
    prompts = _prepared(model, parameters, prompts)
    if (loops := _loops(engine, model, flat)) is not None:
        both = loops.hessian_products(flat.cpu(), along.cpu(), prompts.to("cpu"), start)
        slopes, products = (found.to(flat.device) for found in both)
    else:
        loss = _loss_of(model, layout, parameters)
        each = [_products(loss, *run, prompts) for run in zip(flat, along, strict=True)]
        slopes, products = (torch.stack(parts) for parts in zip(*each, strict=True))
    slopes, products = slopes.reshape(*layout.lead, layout.size), products.reshape(*kind.lead, layout.size)
    return _restored(layout, slopes, parameters), _restored(layout, products, parameters)


def single_prompts(
    model: LinearTransformer | EmbeddedTransformer, parameters: Tensor, prompts: Any
) -> tuple[Tensor, Tensor]:
    """Squared error of each prompt and the trace of its Hessian, both ``[runs, batch]``; runs are the leading axis.

    By jets in the moment form, else by autograd, one parameter after the other.
    """
    if (found := moment_loops(model, parameters, prompts)) is not None:
        loops, moments = found
        squares, traces = loops.single_prompts(parameters.cpu(), moments)
        return squares.to(parameters.device), traces.to(parameters.device)
    prompts = _prepared(model, parameters, prompts)

    def squares_of(point: Tensor) -> Tensor:
        error: Tensor = model.predict(point, prompts) - prompts.target
        return error * error

    units = torch.eye(model.structural_zeros.numel(), dtype=parameters.dtype, device=parameters.device)
    used = units[~model.structural_zeros.reshape(-1).to(units.device)].reshape(-1, *parameters.shape[1:])
    seconds = [sum(_second(squares_of, point, unit) for unit in used) for point in parameters]
    return squares_of(parameters).detach(), torch.stack(cast(list[Tensor], seconds))


@torch.enable_grad()
def _second(function: Callable[[Tensor], Tensor], point: Tensor, along: Tensor) -> Tensor:
    """Second derivative of a function of many values along a direction: twice, the slope of a slope by its weights."""
    step = torch.zeros((), dtype=point.dtype, device=point.device, requires_grad=True)
    values = function(point.detach() + step * along)
    for _ in range(2):
        weights = torch.ones_like(values, requires_grad=True)
        (total,) = torch.autograd.grad(values, step, weights, create_graph=True)
        (values,) = torch.autograd.grad(total, weights, create_graph=True)
    return values.detach()


def moment_loops(model: Model, parameters: Tensor, prompts: Any) -> tuple[MomentLoops, Any] | None:
    """Compiled loops on moments, and prompts as they take them; None for a model or a place without."""
    if not (isinstance(model, LinearTransformer) and model.attention == "linear"):
        return None
    loops = _loops("auto", model, parameters)
    return None if loops is None else (cast("MomentLoops", loops), _prepared(model, parameters, prompts).to("cpu"))


def batch_gradients(
    model: Model, task: PromptSource, parameters: P, *, batch: int, count: int, seed: int | Sequence[int] = 0,
    first: int = 0, stream: Stream = Stream.NOISE, engine: str = "auto",
) -> tuple[Tensor, P]:  # fmt: skip
    """Losses ``[..., count]`` and gradients ``[..., count, *model.parameter_shape]`` on many fresh batches.

    Batch i holds the prompts of (seed, step first + i) in a stream. One seed: all runs see the same batches; a
    sequence: the seed of each run, equal ones allowed, in the order of the flattened leading axes. For a model with
    named parameters gradients are a mapping, and the task is any :class:`PromptSource`. All is in the parameters'
    dtype.

    Raises:
        ValueError: shapes that do not fit, or another number of seeds than of runs.
    """
    flat, layout = pack(model, parameters)
    check_task(model, task)
    batch, count, first = whole("batch", batch, 1), whole("count", count, 1), whole("first", first)
    whole("first + count", first + count, 1, UINT32)
    whole("batch", batch, 1, UINT32)
    stream = role(stream)
    room(f"gradients of count = {count:,} batches", 8 * count * len(flat) * layout.size)
    seeds = check_seeds(seed, len(flat), layout.lead)
    loops = _loops(engine, model, flat)
    if loops is not None and draws(model, task):
        found = loops.drawn_gradients(flat.cpu(), cast(Any, task), count, stream, batch, seeds, first)
        losses, slopes = (part.to(flat.device) for part in found)
    else:
        loss, groups = _loss_of(model, layout, parameters), _groups(model, flat)
        steps = range(first, first + count)
        each = [_slopes(loss, groups, _drawn(model, task, flat, batch, seeds, step, stream)) for step in steps]
        losses, slopes = (torch.stack(parts, dim=1) for parts in zip(*each, strict=True))
    slopes = slopes.reshape(*layout.lead, count, layout.size)
    return losses.reshape(*layout.lead, count), _restored(layout, slopes, parameters)


def unsupported_derivatives(model: Model, flat: Tensor) -> str | None:
    """Why the compiled loops cannot do it, in words; None where they can."""
    if (why := unsupported_model(model)) is not None:
        return why
    if flat.device.type not in ("cpu", "cuda"):
        return f"the CPU engine does not run on device {flat.device.type!r}"
    if flat.dtype not in (torch.float32, torch.float64):
        return f"the CPU engine computes in float32 or float64, not in {flat.dtype}"
    return compiling.unsupported_cpu()


def _loops(engine: str, model: Model, flat: Tensor) -> Loops | None:
    """The compiled loops of a model; None where autograd shall do it."""
    if choice("engine", engine, ENGINES) == "reference":
        return None
    why = unsupported_derivatives(model, flat)
    if why is None:
        return loops_of(model, flat.dtype)
    if engine == "cpu":
        raise ValueError(f"engine = 'cpu' cannot do this ({why}): use engine='auto' or 'reference'")
    return None


def _prepared(model: Model, parameters: Tensor | Mapping[str, Tensor], prompts: Any) -> Any:
    """Prompts as the model's loss takes them fastest; a mapping model's are its own affair."""
    if not has_tensor(model):
        return prompts
    if isinstance(model, LinearTransformer | EmbeddedTransformer):
        check_inputs(model, parameters, prompts)
        if isinstance(prompts, Prompts) and getattr(model, "attention", "") == "linear":
            prompts = prompts.moments()
    if prompts.target.ndim != 1:
        raise ValueError(f"prompts have leading axes {list(prompts.target.shape[:-1])}: give prompts for all runs")
    return prompts.to(cast(Tensor, parameters).dtype)


def _drawn(
    model: Model, task: PromptSource, flat: Tensor, batch: int, seeds: int | list[int], step: int, stream: Stream
) -> list[Any]:
    """The prompts of one step for each of the groups."""
    options: dict[str, Any] = {"stream": stream, "dtype": flat.dtype, "device": flat.device}
    if has_tensor(model):
        return [model.draw(cast(Task, task), batch, seeds, step, **options)]
    each = [seeds] * len(flat) if isinstance(seeds, int) else seeds
    own = {seed: task.sample(batch, seed, step, **options) for seed in set(each)}
    return [own[seed] for seed in each]


def _groups(model: Model, flat: Tensor) -> tuple[Tensor, ...]:
    """The runs that autograd does together: all where parameters are one tensor, else one at a time."""
    return torch.split(flat, len(flat) if has_tensor(model) else 1)


def _restored(layout: Layout[P], flat: Tensor, like: P) -> P:
    """Parameters of vectors, each in its own dtype."""
    values = layout.unpack(flat)
    if isinstance(values, Tensor) or isinstance(like, Tensor):
        return values
    return {name: value.to(like[name].dtype) for name, value in values.items()}


def _loss_of(model: Model, layout: Layout[P], parameters: P) -> Loss:
    """The loss as a function of vectors; through one leaf, so that parameters without effect have zero derivatives."""

    def loss(vectors: Tensor, prompts: Any) -> Tensor:
        value: Tensor = cast(Any, model).loss(_restored(layout, vectors, parameters), prompts)
        return value

    return loss


def _gradient(loss: Tensor, leaf: Tensor, create_graph: bool = False) -> Tensor:
    """The gradient of a loss, which has to depend on the parameters: where it does not, its author has erred."""
    if loss.requires_grad:
        (gradient,) = torch.autograd.grad(loss, leaf, create_graph=create_graph, allow_unused=True)
        if gradient is not None:
            return gradient
    raise ValueError(
        "the loss does not depend on the parameters: compute it from the module or the parameters that it is given, "
        "without .detach(), .item() or torch.no_grad()"
    )


@torch.enable_grad()
def _slopes(loss: Loss, groups: Sequence[Tensor], prompts: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Losses ``[runs]`` and gradients ``[runs, G]`` by autograd."""
    losses, slopes = [], []
    for vectors, own in zip(groups, prompts, strict=True):
        leaf = vectors.detach().requires_grad_()
        values = loss(leaf, own)
        slopes.append(_gradient(values.sum(), leaf))
        losses.append(values.detach())
    return torch.cat(losses), torch.cat(slopes)


@torch.enable_grad()
def _products(loss: Loss, point: Tensor, directions: Tensor, prompts: Any) -> tuple[Tensor, Tensor]:
    """The gradient, and gradients of <gradient, v>, one direction after the other: ``[count, G]``."""
    leaf = point.detach().requires_grad_()
    gradient = _gradient(loss(leaf, prompts), leaf, create_graph=True)
    products = torch.zeros(directions.shape, dtype=leaf.dtype, device=leaf.device)
    if gradient.requires_grad:  # else the loss is linear
        for product, v in zip(products, directions.to(leaf.dtype), strict=True):
            (found,) = _twice(gradient, leaf, v)
            product.copy_(found)
    return gradient.detach(), products


def _twice(gradient: Tensor, leaf: Tensor, along: Tensor) -> tuple[Tensor, ...]:
    """The gradient of <gradient, along>; in words where a fused operation has no second derivative."""
    try:
        return torch.autograd.grad(gradient, leaf, along, retain_graph=True, allow_unused=True, materialize_grads=True)
    except RuntimeError as error:
        if "is not implemented" not in str(error):
            raise
        raise NotImplementedError(
            f"an operation of the model has no second derivative in PyTorch ({str(error).splitlines()[0]}): of fused "
            "attention, evaluate it inside `with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)`"
        ) from error
