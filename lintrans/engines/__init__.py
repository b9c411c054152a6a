"""How the losses and gradients of all runs of a step are computed.

An engine is one class with ``gradient``, ``loss`` and ``advance`` (:class:`Engine`); a :class:`Plan` says what is
trained, a :class:`State` holds all that changes. :func:`choose` picks the engine: compiled loops where they can do the
plan on its device (:mod:`~lintrans.engines.cpu.engine`, :mod:`~lintrans.engines.cuda.engine`), torch everywhere else
(:mod:`~lintrans.engines.reference`); :func:`device_for` picks the device where a user leaves that open.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ..errors import choice
from ..models.module_model import ModuleModel
from ..models.transformer import LinearTransformer
from ..progress import say_once
from ..tasks.regression import LinearRegression
from .base import Engine, Plan, State
from .cpu import compiling
from .front_ends import LARGEST, unsupported_model
from .laws import moments_of
from .reference import ReferenceEngine
from .rules import ON_GPU, unsupported_optimizers

NAMES = ("auto", "cpu", "cuda", "reference")

LARGEST_CUDA = 8
"""Largest matrix that one thread of a GPU works on; beyond it registers and local memory spill too far."""

__all__ = [
    "LARGEST",
    "LARGEST_CUDA",
    "NAMES",
    "Engine",
    "Plan",
    "ReferenceEngine",
    "State",
    "choose",
    "device_for",
    "status",
    "unsupported_model",
    "unsupported_plan",
]


def unsupported_plan(name: str, plan: Plan) -> str | None:
    """Why an engine cannot do a plan, in words; None where it can."""
    device = plan.device.type
    if name == "reference":
        return None
    if (why := unsupported_model(plan.model, plan.task)) is not None:
        return why
    if name == "cuda" and (why := unsupported_kernels(plan)) is not None:
        return why
    if device != name:
        return f"the {name} engine does not run on device {device!r}"
    return compiling.unsupported_cpu() if name == "cpu" else compiling.unsupported_cuda()


def unsupported_kernels(plan: Plan) -> str | None:
    """Why there are no CUDA kernels for a plan, wherever it runs; None where there are."""
    if not (isinstance(plan.model, LinearTransformer) and isinstance(plan.task, LinearRegression)):
        return f"{type(plan.model).__name__} is no lintrans.LinearTransformer"
    if plan.model.attention != "linear":
        return f"{plan.model.attention} attention has no moment form"
    if plan.model.block > LARGEST_CUDA:
        return f"a thread of a GPU works on matrices up to {LARGEST_CUDA} x {LARGEST_CUDA}, not {plan.model.block}"
    if moments_of(plan.task) is None:
        return f"CUDA kernels do not draw {plan.task.covariates!r}"
    why = unsupported_optimizers([run.optimizer for run in plan.runs], ON_GPU)
    return None if why is None else f"CUDA kernels {why}"


def device_for(plan: Plan) -> torch.device:
    """The device on which a plan runs fastest, when the user chose none.

    That is CUDA where there is a device, unless only the CPU has compiled loops for the plan: torch on a GPU starts
    hundreds of small operations a step, which takes longer.
    """
    here = torch.device("cpu")
    if plan.device.type != "cuda" or unsupported_plan("cuda", plan) is None:
        return plan.device
    return here if unsupported_plan("cpu", replace(plan, device=here)) is None else plan.device


def _make(name: str, plan: Plan) -> Engine:
    if name == "reference":
        return ReferenceEngine(plan)
    if name == "cuda":
        from .cuda.engine import CudaEngine  # needs numba-cuda

        on_gpu = CudaEngine(plan)
        on_gpu.prepare()
        return on_gpu
    from .cpu.engine import CpuEngine  # needs numba

    engine = CpuEngine(plan)
    engine.prepare()
    return engine


def choose(name: str, plan: Plan) -> Engine:
    """The engine for a plan.

    ``"auto"`` takes compiled loops where the plan's device has some that can do it, and says why where a CPU or a CUDA
    device goes without.

    Raises:
        ValueError: an unknown engine, or one that cannot do the plan.
    """
    kind = choice("engine", name, NAMES)
    if kind != "auto":
        if (why := unsupported_plan(kind, plan)) is not None:
            raise ValueError(f"engine = {kind!r} cannot do this ({why}): use engine='auto' or 'reference'")
        return _make(kind, plan)
    compiled = plan.device.type
    if compiled not in ("cpu", "cuda") or isinstance(plan.model, ModuleModel):  # nothing is faster for a module
        return _make("reference", plan)
    why = unsupported_plan(compiled, plan)
    if why is None:
        try:
            return _make(compiled, plan)
        except Exception as error:  # an odd processor, a broken compiler: whatever it is, the reference engine works
            why = compiling.brief(error)
    say_once(f"using the reference engine, which is slower: {why}")
    return _make("reference", plan)


def status() -> str:
    """Which engines work here, and why not the others; for ``lintrans doctor``."""
    lines = ["reference: torch, always available"]
    why = compiling.unsupported_cpu()
    if why is not None:
        lines.append(f"cpu: not available: {why}")
    else:
        lines.append(f"cpu: {compiling.describe()}")
    why = compiling.unsupported_cuda()
    lines.append(f"cuda: not available: {why}" if why is not None else f"cuda: {compiling.describe_cuda()}")
    return "\n".join(lines)
