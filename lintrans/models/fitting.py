"""Whether a model, a task, prompts and parameters fit together: asked in words before anything is computed.

Compiled loops trust the shapes that they are given, so every entry to them asks here first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import each, seed_number
from ..random import several
from ..tasks.regression import Moments, Prompts


def check_task(model: Any, task: Any) -> None:
    """Refuse an object that draws no prompts (TypeError), or a task of another dimension than the model's."""
    if isinstance(task, type) or not callable(getattr(task, "sample", None)):
        raise TypeError(f"task is a {type(task).__name__}: give a lintrans.LinearRegression")
    dimensions = [getattr(one, "d", None) for one in (model, task)]
    if None not in dimensions and dimensions[0] != dimensions[1]:
        raise ValueError(f"the model has d = {dimensions[0]} and the task d = {dimensions[1]}: make them equal")


def check_parameters(model: Any, parameters: Any) -> None:
    """Refuse what is no floating-point tensor (TypeError) ``[..., *model.parameter_shape]`` (ValueError)."""
    if not isinstance(parameters, Tensor) or not parameters.is_floating_point():
        raise TypeError(f"parameters are {type(parameters).__name__}: give a floating-point tensor")
    if parameters.numel() == 0:
        raise ValueError(f"parameters have shape {list(parameters.shape)}, which holds no run: give at least one")
    if tuple(parameters.shape[-len(model.parameter_shape) :]) != model.parameter_shape:
        expected = ", ".join(map(str, model.parameter_shape))
        axes = ""
        if len(model.parameter_shape) == 5 and hasattr(model, "block"):
            axes = f" = [..., layers, heads, (P, Q), {model.block}, {model.block}]"
        raise ValueError(f"parameters have shape {list(parameters.shape)}; this model needs [..., {expected}]{axes}")


def check_prompts(model: Any, prompts: Any) -> None:
    """Refuse no prompts (TypeError), moments for a model on tokens, another dimension or complex numbers."""
    linear = getattr(model, "attention", None) == "linear"
    if not isinstance(prompts, Prompts | Moments):
        other = " or lintrans.Moments" if linear else ""
        raise TypeError(f"prompts are a {type(prompts).__name__}: give lintrans.Prompts{other}")
    if isinstance(prompts, Moments) and not linear:
        what = f"{model.attention} attention" if hasattr(model, "attention") else type(model).__name__
        raise ValueError(f"{what} has no moment form: give lintrans.Prompts, as task.sample does")
    if prompts.d != model.d:
        raise ValueError(f"the prompts have d = {prompts.d} and the model d = {model.d}: make them equal")
    if not prompts.dtype.is_floating_point:
        raise ValueError(f"the prompts are {prompts.dtype}: give them in float32 or float64, with .to(...)")


def check_inputs(model: Any, parameters: Any, prompts: Any) -> None:
    """Refuse parameters or prompts that a model of this library cannot take, or that lie on two devices."""
    check_parameters(model, parameters)
    check_prompts(model, prompts)
    if parameters.device != prompts.target.device:
        raise ValueError(
            f"parameters lie on {parameters.device} and prompts on {prompts.target.device}: move one with .to(...)"
        )


def owners(prompts: Prompts | Moments, runs: int) -> NDArray[np.int64]:
    """Which set of prompts each run takes, ``[runs]``: the only one, or its own."""
    lead = tuple(prompts.target.shape[:-1])
    if isinstance(prompts, Moments) and any(
        part.shape[:-own] != lead for part, own in zip(prompts, (3, 2, 1, 2, 1), strict=True)
    ):
        raise ValueError("the moments differ in their leading axes: give all five the same")
    if lead not in ((), (1,), (runs,)):
        raise ValueError(f"prompts have leading axes {list(lead)}: give prompts for all runs, or for each of {runs}")
    return np.arange(runs, dtype=np.int64) if lead == (runs,) else np.zeros(runs, np.int64)


def check_seeds(seed: int | Sequence[int], runs: int, lead: Sequence[int] | None = None) -> int | list[int]:
    """One seed of all runs, or those of each; another number of them is refused."""
    if not several(seed):
        return seed_number(seed)
    seeds = each("seed", seed, seed_number)
    if len(seeds) != runs:
        axes = [runs] if lead is None else list(lead)
        raise ValueError(
            f"seed has {len(seeds)} numbers, and the parameters' leading axes {axes} hold {runs} runs: give one number "
            f"for all, or one for each run"
        )
    return list(seeds)


def check_state(plan: Any, state: Any) -> None:
    """Refuse a state that is of another plan: compiled loops write into its tensors."""
    runs, wide = len(plan.runs), torch.Size(plan.model.parameter_shape).numel()
    for name, tensor in _tensors("state", vars(state)):
        kind, shape = (plan.dtype, (runs, wide)) if tensor.is_floating_point() else (torch.int64, (runs,))
        shape = (runs, *plan.model.parameter_shape) if name == "state.parameters" else shape
        if tuple(tensor.shape) != shape or tensor.dtype != kind or not tensor.is_contiguous():
            raise ValueError(
                f"{name} is {tensor.dtype} {list(tensor.shape)}, and this plan needs {kind} {list(shape)}: take the "
                f"state from this engine's start()"
            )


def _tensors(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """All tensors of a value, which may be a mapping of mappings."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _tensors(f"{name}.{key}", part)
