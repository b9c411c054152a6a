"""What is trained to be judged: names of its losses, its end values, its searches. Nothing here trains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..training.history import History

LOSS = "typical_loss"
COARSE_LOSS = "typical_loss_20"


def end_steps(steps: int) -> tuple[int, ...]:
    """The five snapshots in the last 5% of the horizon whose mean log loss is a run's end value."""
    return tuple(sorted({round(steps * share) for share in (0.96, 0.97, 0.98, 0.99, 1.0)}))


def end_values(history: History) -> pd.DataFrame:
    """The runs' table with ``loss``: exp of the mean log typical loss over the last snapshots; infinite if diverged."""
    rows = history.metric(LOSS)
    rows = rows[rows["step"].isin(end_steps(history.steps))]
    logs = np.log(rows["value"]).groupby(rows["run"]).mean()
    return history.runs.assign(loss=np.exp(history.runs["run"].map(logs)))


def cooled_values(history: History) -> pd.DataFrame:
    """The runs' table with ``loss``: the typical loss at the end of the cooldown; infinite if diverged."""
    rows = history.metric(LOSS)
    last = rows[rows["step"] == rows["step"].max()].set_index("run")["value"]
    return history.runs.assign(loss=history.runs["run"].map(last))


@dataclass(frozen=True)
class Choice:
    """An optimizer's best rate and clip.

    Attributes:
        loss: median over the tuning seeds of its end value.
        interior: both its neighbours of the ladder 1, 2, 5, 10, ... ran to the same horizon at its clip.
        steps: the horizon it was chosen at.
    """

    lr: float
    clip: float
    loss: float
    interior: bool
    steps: int


@dataclass(frozen=True)
class Tuning:
    """One setting's search for the best rates.

    Attributes:
        losses: one row per run: optimizer, lr, clip, seed, steps, loss (infinite where diverged), screened (whether it
            is one of the grid's, or one of those that decide).
        best: the choice per optimizer.
        complete: whether the search ran to the horizon and ended inside the rates run to it, so that the tuned reading
            may be judged.
    """

    setting: str
    losses: pd.DataFrame
    best: dict[str, Choice]
    complete: bool


@dataclass(frozen=True)
class Judged:
    """All that is trained to be judged: histories by reading, then by setting, and the search for the best rates.

    A setting is missing from the published reading where no rate is published, and from the tuned one where no interior
    best rate was found.
    """

    histories: dict[str, dict[str, History]]
    tunings: dict[str, Tuning]

    def all_of(self, name: str) -> list[History]:
        """Every training of a setting, whatever its reading; f* is one number over all of them."""
        return [histories[name] for histories in self.histories.values() if name in histories]

    @property
    def published(self) -> dict[str, History]:
        """Histories at the published rates, by setting."""
        return self.histories["published"]

    @property
    def tuned(self) -> dict[str, History]:
        """Histories at the best rates, by setting."""
        return self.histories["tuned"]
