"""What training leaves behind: a tidy frame, a table of runs, parameters at the steps asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
from torch import Tensor

from ..errors import each, text, whole

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
        key: its hash in the store; empty where it never was asked of it.
    """

    frame: pd.DataFrame
    runs: pd.DataFrame
    snapshots: dict[int, Tensor]
    steps: int
    info: dict[str, Any] = field(default_factory=dict)
    key: str = ""

    def parameters(self, step: int | None = None) -> Tensor:
        """Parameters ``[runs, layers, heads, 2, ...]`` after `step` updates (None: the last snapshot)."""
        chosen = max(self.snapshots) if step is None else whole("step", step)
        if chosen not in self.snapshots:
            kept = ", ".join(map(str, sorted(self.snapshots)))
            raise KeyError(
                f"no parameters were kept at step {chosen}; there are those of {kept}: train with snapshots=[{chosen}]"
            )
        return self.snapshots[chosen]

    def select(self, chosen: Sequence[int]) -> History:
        """Some of the runs, in the order given and numbered anew; they share the device and the seconds of all."""
        last = len(self.runs) - 1
        chosen = each("chosen", chosen, lambda run: whole("a run of chosen", run, 0, last))
        if len(set(chosen)) != len(chosen) or not chosen:
            raise ValueError(f"chosen = {chosen} is not allowed: give each run once, and at least one")
        runs = self.runs.set_index("run").loc[list(chosen)].reset_index(drop=True)
        runs.insert(0, "run", range(len(runs)))
        row_of = {old: new for new, old in enumerate(chosen)}
        frame = self.frame[self.frame["run"].isin(row_of)]
        frame = frame.assign(run=frame["run"].map(row_of)).sort_values(
            ["step", "run"], kind="stable", ignore_index=True
        )
        snapshots = {step: tensor[list(chosen)] for step, tensor in self.snapshots.items()}
        key = self.key and f"{self.key}: runs {', '.join(map(str, chosen))}"
        return replace(self, frame=frame, runs=runs, snapshots=snapshots, key=key)

    def metric(self, name: str) -> pd.DataFrame:
        """Rows of one metric; a KeyError where it was not measured."""
        rows = self.frame[self.frame["metric"] == text("metric", name)]
        if rows.empty:
            raise KeyError(
                f"metric {name!r} was not measured; there are {', '.join(sorted(self.frame['metric'].unique()))}"
            )
        return rows
