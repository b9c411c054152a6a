"""What training leaves behind: a tidy frame, a table of runs, parameters at the steps asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from torch import Tensor

COLUMNS = ("run", "optimizer", "lr", "seed", "step", "metric", "value", "clip")


@dataclass(frozen=True)
class History:
    """A finished training.

    Attributes:
        frame: one row per run, step and metric; columns run, optimizer, lr, seed, step, metric, value, clip (infinite
            for none). A loss is infinite from the step on at which its run diverged. Counts of steps stand
            at the last step, as metrics ``skipped_steps`` and ``clipped_steps``.
        runs: one row per run: run, optimizer, lr, seed, clip, skipped, clipped, diverged (step, -1 for none).
        snapshots: parameters ``[runs, ...]`` by step, on the CPU.
        steps: the last step at the constant rate.
        info: what made it: device, dtype, engine, seconds.
    """

    frame: pd.DataFrame
    runs: pd.DataFrame
    snapshots: dict[int, Tensor]
    steps: int
    info: dict[str, Any] = field(default_factory=dict)

    def parameters(self, step: int | None = None) -> Tensor:
        """Parameters ``[runs, layers, heads, 2, ...]`` after `step` updates (None: the last snapshot).

        Raises:
            KeyError: no snapshot was asked for at that step.
        """
        chosen = max(self.snapshots) if step is None else step
        if chosen not in self.snapshots:
            kept = ", ".join(map(str, sorted(self.snapshots)))
            raise KeyError(
                f"no parameters were kept at step {chosen}; there are those of {kept}: train with snapshots=[{chosen}]"
            )
        return self.snapshots[chosen]

    def metric(self, name: str) -> pd.DataFrame:
        """Rows of one metric.

        Raises:
            KeyError: it was not measured.
        """
        rows = self.frame[self.frame["metric"] == name]
        if rows.empty:
            raise KeyError(
                f"metric {name!r} was not measured; there are {', '.join(sorted(self.frame['metric'].unique()))}"
            )
        return rows
