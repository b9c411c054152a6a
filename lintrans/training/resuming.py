"""An unfinished training as tensors and plain values, and back: bit for bit what it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..engines import State
from ..interrupts import deferred
from ..unfinished import Kept

COUNTS = ("count", "skipped", "clipped", "diverged")
Rows = list[tuple[int, str, npt.NDArray[np.int64], npt.NDArray[np.float64]]]
"""(step, metric, runs, values)."""


@dataclass
class Progress:
    """What a training has so far.

    Attributes:
        state: of the engine; it changes in place.
        rows: what was measured.
        taken: snapshots by step.
        before: the parameters at the step before, where a probe looks at both.
        done: the last step at which all was measured; -1 before the first.
        seconds: spent by earlier calls.
        torn: whether the rest changes, so that it cannot be kept.
    """

    state: State
    rows: Rows = field(default_factory=list)
    taken: dict[int, Tensor] = field(default_factory=dict)
    before: Tensor | None = None
    done: int = -1
    seconds: float = 0.0
    torn: bool = False

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Ctrl-C waits for the end of what changes this; after a second one, it stays torn."""
        with deferred():
            self.torn = True
            yield
            self.torn = False

    def kept(self, total: int, seconds: float) -> Kept:
        """All of it, after so many seconds of `total` steps."""
        state, empty = self.state, np.empty(0)
        tensors = {
            "parameters": state.parameters,
            **{name: getattr(state, name) for name in COUNTS},
            **{f"slot.{i}.{j}": part for i, j, part in self._slots()},
            **{f"taken.{step}": value for step, value in self.taken.items()},
            "runs": torch.from_numpy(np.concatenate([empty.astype(np.int64), *(row[2] for row in self.rows)])),
            "values": torch.from_numpy(np.concatenate([empty, *(row[3] for row in self.rows)])),
        }
        if self.before is not None:
            tensors["before"] = self.before
        about = {
            "where": f"step {state.step:,} of {total:,}", "step": state.step, "done": self.done,
            "seconds": self.seconds + seconds, "slots": [[name, *parts] for name, parts in state.slots.items()],
            "taken": [*self.taken], "rows": [(step, metric, len(runs)) for step, metric, runs, _ in self.rows],
        }  # fmt: skip
        return Kept(tensors, about)

    def _slots(self) -> list[tuple[int, int, Tensor]]:
        every = enumerate(self.state.slots.values())
        return [(i, j, part) for i, parts in every for j, part in enumerate(parts.values())]

    def restore(self, kept: Kept) -> None:
        """Become what :meth:`kept` gave.

        Raises:
            ValueError, KeyError: it is that of another training or engine; nothing has changed.
        """
        state, tensors, about = self.state, kept.tensors, kept.about
        if about["slots"] != [[name, *parts] for name, parts in state.slots.items()]:
            raise ValueError("its optimizers remember other things")
        pairs = [
            (state.parameters, tensors["parameters"]),
            *((getattr(state, name), tensors[name]) for name in COUNTS),
            *((part, tensors[f"slot.{i}.{j}"]) for i, j, part in self._slots()),
        ]
        if any(ours.shape != theirs.shape or ours.dtype != theirs.dtype for ours, theirs in pairs):
            raise ValueError("its tensors have other shapes")
        edges = np.cumsum([count for *_, count in about["rows"]])[:-1]
        parts = [np.split(tensors[name].numpy(), edges) for name in ("runs", "values")]
        for ours, theirs in pairs:
            ours.copy_(theirs)
        state.step, self.done, self.seconds = about["step"], about["done"], about["seconds"]
        self.rows = [
            (step, metric, runs, values) for (step, metric, _), runs, values in zip(about["rows"], *parts, strict=False)
        ]
        self.taken = {step: tensors[f"taken.{step}"] for step in about["taken"]}
        before = tensors.get("before")
        self.before = None if before is None else before.to(state.parameters.device)
