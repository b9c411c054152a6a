"""Derivatives for instruments: exact Hessian-vector products, and gradients of many fresh batches in one pass.

Both take the compiled loops where they can, and torch's autograd everywhere else.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import choice, seed_number, whole
from ..models import LinearTransformer, check_parameters
from ..random import Stream
from ..tasks import LinearRegression, Moments, Prompts
from . import LARGEST, compiling

ENGINES = ("auto", "cpu", "reference")


def _compiled(engine: str, model: LinearTransformer, parameters: Tensor) -> str | None:
    """Why the compiled loops cannot, or shall not, do it; None where they can."""
    if choice("engine", engine, ENGINES) == "reference":
        return "asked for"
    why = compiling.problem()
    if model.attention != "linear":
        why = f"{model.attention} attention has no moment form"
    elif model.d > LARGEST:
        why = f"d = {model.d} is larger than {LARGEST}"
    elif parameters.device.type != "cpu":
        why = f"the CPU engine does not run on device {parameters.device.type!r}"
    if why is not None and engine == "cpu":
        raise ValueError(f"engine = 'cpu' cannot do this ({why}): use engine='auto' or 'reference'")
    return why


def hessian_products(
    model: LinearTransformer,
    parameters: Tensor,
    directions: Tensor,
    prompts: Prompts | Moments,
    *,
    engine: str = "auto",
) -> Tensor:
    """Products of the loss's Hessian with any number of directions, exact to rounding, for all runs at once.

    Args:
        model: a model with linear attention for the compiled loops; any other goes through autograd.
        parameters: ``[..., *model.parameter_shape]``; leading axes are runs.
        directions: ``[..., count, *model.parameter_shape]``, the same leading axes.
        prompts: shared by all runs.
        engine: "auto", "cpu" (gradients of dual numbers) or "reference" (autograd twice).

    Returns:
        H v, shaped like the directions, in the parameters' dtype.

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> import lintrans as lt
        >>> from lintrans.engines.derivatives import hessian_products
        >>> model, task = lt.LinearTransformer(layers=1, d=2), lt.LinearRegression(d=2, n=4)
        >>> parameters = model.init(0)
        >>> hessian_products(model, parameters, parameters[None], task.sample(10), engine="reference").shape
        torch.Size([1, 1, 1, 2, 2, 2])
    """
    check_parameters(model, parameters)
    check_parameters(model, directions)
    lead = parameters.shape[:-5]
    if directions.shape[:-6] != lead:
        raise ValueError(
            f"directions have shape {list(directions.shape)}, parameters {list(parameters.shape)}: give directions "
            f"[..., count, {', '.join(map(str, model.parameter_shape))}] with the leading axes of the parameters"
        )
    runs, count = parameters.reshape(-1, *model.parameter_shape), directions.shape[-6]
    along = directions.reshape(-1, count, *model.parameter_shape)
    if _compiled(engine, model, parameters) is None:
        from .loops import Loops

        products = Loops(model, parameters.dtype).hessian_products(runs, along, prompts)
    else:
        moments = prompts.moments() if isinstance(prompts, Prompts) and model.attention == "linear" else prompts
        products = torch.stack([_by_autograd(model, p, v, moments) for p, v in zip(runs, along, strict=True)])
    return products.reshape(directions.shape)


def _by_autograd(
    model: LinearTransformer, parameters: Tensor, directions: Tensor, prompts: Prompts | Moments
) -> Tensor:
    """Gradients of <gradient, v>, one direction after the other: ``[count, *model.parameter_shape]``."""
    leaf = parameters.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model.loss(leaf, prompts.to(parameters.dtype)), leaf, create_graph=True)
    return torch.stack(
        [torch.autograd.grad(gradient, leaf, v.to(leaf.dtype), retain_graph=True)[0] for v in directions]
    )


def batch_gradients(
    model: LinearTransformer,
    task: LinearRegression,
    parameters: Tensor,
    *,
    batch: int,
    count: int,
    seed: int = 0,
    first: int = 0,
    stream: Stream = Stream.NOISE,
    engine: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Losses and gradients on many fresh batches: batch i holds the prompts of (seed, step first + i) in a stream.

    Args:
        model: the model.
        task: where its prompts come from.
        parameters: ``[..., *model.parameter_shape]``; all runs see the same batches.
        batch: prompts in a batch.
        count: batches.
        seed: of the prompts; see :mod:`lintrans.random`.
        first: step of the first batch.
        stream: role of the prompts.
        engine: "auto", "cpu" or "reference".

    Returns:
        Losses ``[..., count]`` and gradients ``[..., count, *model.parameter_shape]`` in the parameters' dtype.
    """
    check_parameters(model, parameters)
    batch, count, seed, first = (
        whole("batch", batch, 1),
        whole("count", count, 1),
        seed_number(seed),
        whole("first", first),
    )
    lead = parameters.shape[:-5]
    runs = parameters.reshape(-1, *model.parameter_shape)
    if _compiled(engine, model, parameters) is None:
        from .laws import law_of
        from .loops import Loops

        if law_of(task) is not None:
            losses, gradients = Loops(model, parameters.dtype).drawn_gradients(
                runs, task, count, stream, batch, seed, first
            )
            return losses.reshape(*lead, count), gradients.reshape(*lead, count, *model.parameter_shape)
    both = []
    for step in range(first, first + count):
        prompts = task.sample_moments(
            batch, seed, step, stream=stream, dtype=parameters.dtype, device=parameters.device
        )
        leaf = runs.detach().requires_grad_()
        loss = model.loss(leaf, prompts)
        both.append((loss.detach(), torch.autograd.grad(loss.sum(), leaf)[0]))
    losses = torch.stack([loss for loss, _ in both], dim=1)
    gradients = torch.stack([gradient for _, gradient in both], dim=1)
    return losses.reshape(*lead, count), gradients.reshape(*lead, count, *model.parameter_shape)
