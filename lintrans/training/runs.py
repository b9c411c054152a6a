"""Ensembles: which (optimizer, learning rate, clip, seed) runs train together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..errors import SQUARES, each, nearest, real, seed_number, settle, shown
from .optimizers import Optimizer, resolve

MOST = 10**6
"""Runs of a grid, and values of an axis: more are a slip of the hand."""
AXES = ("optimizer", "lr", "clip", "seed")


@dataclass(frozen=True)
class Run:
    """One run of an ensemble; its seed names its initial parameters and its stream of prompts.

    `clip` bounds the global norm of its gradients: infinite for none; None leaves it to :func:`lintrans.train`.
    """

    optimizer: Optimizer
    lr: float
    seed: int
    clip: float | None = None

    def __post_init__(self) -> None:
        settle(self, optimizer=resolve(self.optimizer), lr=_rate(self.lr), seed=seed_number(self.seed))
        if self.clip is not None:
            settle(self, clip=clip_number(self.clip))


class Runs:
    """A sequence of runs; ``+`` joins two."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs: tuple[Run, ...] = each("runs", runs, _run)
        named: dict[str, Optimizer] = {}
        for run in self._runs:
            if named.setdefault(run.optimizer.name, run.optimizer) != run.optimizer:
                raise ValueError(
                    f"two different optimizers are both named {run.optimizer.name!r}: {named[run.optimizer.name]} and "
                    f"{run.optimizer}; tell them apart with name=..."
                )

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def __getitem__(self, index: int) -> Run:
        return self._runs[index]

    def __add__(self, other: Runs) -> Runs:
        if not isinstance(other, Runs):
            return NotImplemented
        return Runs((*self._runs, *other))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Runs) and self._runs == other._runs

    def __hash__(self) -> int:
        return hash(self._runs)

    def __repr__(self) -> str:
        optimizers = sorted({run.optimizer.name for run in self})
        return f"<{len(self)} runs: {', '.join(optimizers)}; {len({run.seed for run in self})} seeds>"

    def with_clip(self, clip: float | None) -> Runs:
        """The same runs, with `clip` (None: no clipping) where a run names none of its own."""
        value = clip_number(clip)
        return Runs(run if run.clip is not None else Run(run.optimizer, run.lr, run.seed, value) for run in self)

    @property
    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "run": range(len(self)),
                "optimizer": [run.optimizer.name for run in self],
                "lr": [run.lr for run in self],
                "seed": [run.seed for run in self],
                "clip": [math.nan if run.clip is None else run.clip for run in self],
            }
        )


def _run(value: Any) -> Run:
    if not isinstance(value, Run):
        raise TypeError(f"runs hold {shown(value)}: give lintrans.Run(...) each, or lintrans.grid(...) for all")
    return value


def _rate(value: Any) -> float:
    return real("lr", value, least=0, most=SQUARES[1])


def clip_number(value: Any) -> float:
    """Return a bound on gradient norms: infinite for None or infinity, which both mean none."""
    infinite = value is None or (isinstance(value, float) and value == math.inf)
    return math.inf if infinite else real("clip", value, above=0)


def _values(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0:
        value = [value]
    return each(name, value, lambda one: one, most=MOST)


def grid(**axes: Any) -> Runs:
    """All combinations of optimizers, learning rates, clips and seeds; the last axis varies fastest.

    Args:
        **axes: ``optimizer`` and ``lr`` (required), ``seed`` (0 if left out), ``clip`` (the clip of
            :func:`lintrans.train` if left out; None for no clipping). Each a value or an iterable of values.
            Optimizers are :class:`~lintrans.SGD`, :class:`~lintrans.Adam`, :class:`~lintrans.Signum`,
            :class:`~lintrans.NormalizedSGD`, their names, or a :class:`~.optimizers.Optimizer` of your own.

    Raises:
        TypeError, ValueError: an unknown axis, a missing one, an empty one, or a bad value, which is named.

    Example:
        >>> import lintrans as lt
        >>> lt.grid(optimizer=[lt.SGD(), lt.Adam()], lr=[0.01, 0.02], seed=range(6))
        <24 runs: adam, sgd; 6 seeds>
    """
    for name in axes:
        if name not in AXES:
            raise TypeError(f"{name!r} is no axis of a grid; there are {', '.join(AXES)}{nearest(name, AXES)}")
    for name in ("optimizer", "lr"):
        if name not in axes:
            raise TypeError(f"a grid needs {name}=...")
    lists = {name: _values(name, value) for name, value in axes.items()}
    for name, values in lists.items():
        if not values:
            raise ValueError(f"{name} is empty: give at least one value")
    if (count := math.prod(map(len, lists.values()))) > MOST:
        raise ValueError(f"a grid of {count:,} runs is not allowed: give at most {MOST:,}")
    checks: dict[str, Any] = {
        "optimizer": resolve,
        "lr": _rate,
        "clip": clip_number,
        "seed": seed_number,
    }
    lists = {name: tuple(checks[name](value) for value in values) for name, values in lists.items()}
    lists.setdefault("seed", (0,))
    names = list(lists)
    return Runs(Run(**dict(zip(names, values, strict=True))) for values in itertools.product(*lists.values()))
