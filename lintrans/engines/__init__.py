"""How the losses and gradients of all runs of a step are computed.

An engine is one class with ``gradient`` and ``advance`` (:class:`Engine`); a :class:`Plan` says what is trained, a
:class:`State` holds all that changes. :func:`choose` picks the engine.
"""

from __future__ import annotations

from ..errors import choice
from .base import Engine, Plan, State
from .reference import ReferenceEngine

ENGINES: dict[str, type[ReferenceEngine]] = {"reference": ReferenceEngine}
NAMES = ("auto", *ENGINES)

__all__ = ["ENGINES", "NAMES", "Engine", "Plan", "ReferenceEngine", "State", "choose"]


def choose(name: str, plan: Plan) -> Engine:
    """The engine for a plan; ``"auto"`` takes the fastest that can do it.

    Raises:
        ValueError: an unknown engine.
    """
    kind = choice("engine", name, NAMES)
    return ENGINES["reference" if kind == "auto" else kind](plan)
