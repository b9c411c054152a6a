"""How the losses and gradients of all runs of a step are computed.

An engine is one class with ``gradient``, ``loss`` and ``advance`` (:class:`Engine`); a :class:`Plan` says what is
trained, a :class:`State` holds all that changes. :func:`choose` picks the engine: compiled loops where they can do the
plan (:mod:`~lintrans.engines.cpu`; on request :mod:`~lintrans.engines.cuda`), torch everywhere else
(:mod:`~lintrans.engines.reference`).
"""

from __future__ import annotations

from typing import Any

from ..errors import choice
from ..models import LinearTransformer
from ..nonlinear import EmbeddedTransformer, FeatureRegression
from ..tasks import LinearRegression
from . import compiling
from .base import Engine, Plan, State
from .reference import ReferenceEngine

NAMES = ("auto", "cpu", "cuda", "reference")

LARGEST = 32
"""Largest d of the compiled loops."""

TASKS: dict[type, type] = {LinearTransformer: LinearRegression, EmbeddedTransformer: FeatureRegression}
"""Models that the compiled loops know, and the task whose prompts they draw for each."""

__all__ = [
    "LARGEST",
    "NAMES",
    "TASKS",
    "Engine",
    "Plan",
    "ReferenceEngine",
    "State",
    "choose",
    "status",
    "unable",
    "unfit",
]


def unfit(model: Any) -> str | None:
    """Why the compiled loops do not know a model, in words; None where they do."""
    if type(model) not in TASKS:
        return f"{type(model).__name__} is no lintrans.LinearTransformer"
    if model.d > LARGEST:
        return f"d = {model.d} is larger than {LARGEST}"
    return None


def unable(name: str, plan: Plan) -> str | None:
    """Why an engine cannot do a plan, in words; None where it can."""
    device = plan.device.type
    if name == "reference":
        return None
    if (why := unfit(plan.model)) is not None:
        return why
    task = TASKS[type(plan.model)]
    if not isinstance(plan.task, task):
        return f"{type(plan.task).__name__} is no {task.__module__.partition('.')[0]}.{task.__name__}"
    if name == "cuda" and not isinstance(plan.model, LinearTransformer):
        return f"{type(plan.model).__name__} is no lintrans.LinearTransformer"
    if name == "cuda" and isinstance(plan.model, LinearTransformer) and plan.model.attention != "linear":
        return f"{plan.model.attention} attention has no moment form"
    if device != name:
        return f"the {name} engine does not run on device {device!r}"
    return compiling.problem() if name == "cpu" else compiling.cuda_problem()


def _make(name: str, plan: Plan) -> Engine:
    if name == "reference":
        return ReferenceEngine(plan)
    if name == "cuda":
        from .cuda import CudaEngine  # needs numba-cuda

        return CudaEngine(plan)
    from .attending_loops import AttendingEngine  # needs numba, as these all
    from .cpu import CpuEngine
    from .embedded_loops import EmbeddedEngine

    engine: CpuEngine | EmbeddedEngine | AttendingEngine
    if isinstance(plan.model, EmbeddedTransformer):
        engine = EmbeddedEngine(plan)
    else:
        linear = plan.linear[0].attention == "linear"
        engine = CpuEngine(plan) if linear else AttendingEngine(plan)
    engine.prepare()
    return engine


def choose(name: str, plan: Plan) -> Engine:
    """The engine for a plan.

    ``"auto"`` takes the fastest that can do it on the plan's device, and says why where that is the reference engine on
    a CPU. The CUDA engine has to be asked for, until it has been run and timed on a GPU.

    Raises:
        ValueError: an unknown engine, or one that cannot do the plan.
    """
    kind = choice("engine", name, NAMES)
    if kind != "auto":
        if (why := unable(kind, plan)) is not None:
            raise ValueError(f"engine = {kind!r} cannot do this ({why}): use engine='auto' or 'reference'")
        return _make(kind, plan)
    why = unable("cpu", plan)
    if why is None:
        try:
            return _make("cpu", plan)
        except Exception as error:  # an odd processor, a broken compiler: whatever it is, the reference engine works
            why = compiling.brief(error)
    if plan.device.type == "cpu":
        compiling.say_once(f"using the reference engine, which is slower: {why}")
    return _make("reference", plan)


def status() -> str:
    """Which engines work here, and why not the others; for ``lintrans doctor``."""
    lines = ["reference: torch, always available"]
    why = compiling.problem()
    if why is not None:
        lines.append(f"cpu: not available: {why}")
    else:
        lines.append(f"cpu: {compiling.describe()}")
    why = compiling.cuda_problem()
    lines.append(f"cuda: not available: {why}" if why is not None else "cuda: numba-cuda, by engine='cuda' only")
    return "\n".join(lines)
