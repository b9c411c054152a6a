"""Six optimizers between SGD and Adam on networks of practice, tuned alike, on the same batches.

Groups of parameters go by the names that a module gives them: a *layer* ends at the first number of a name, else at the
module that holds the parameter (``layers.0``, ``embedding``; ``3`` of LeNet); a *kind* is a name without its numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pandas as pd
import torch
from torch import Tensor

from ...models.module_model import ModuleModel
from ...store.results import experiment
from ...training.history import History
from ...training.optimizers import SGD, Adam, Optimizer, Signum
from ...training.probes import TypicalLoss
from ..judged import LOSS, Tuning, end_steps, end_values
from ..protocol import Arm, arm_runs, followed, settle
from ..scale_names import based_on
from ..scales import TUNING_SEEDS, Table
from .data import DataError
from .networks import PracticeNetwork, network

ADAM = Adam(betas=(0.9, 0.999))
"""As torch has it."""
ARMS: tuple[Optimizer, ...] = (
    SGD(),
    ADAM,
    *(replace(ADAM, second_moment=by, name=by) for by in ("layer", "kind", "all")),
    Signum(),
)
GRID = {"sgd": (0.01, 0.05, 0.2, 1.0), "signum": (0.0001, 0.0005, 0.002, 0.01)}
ADAMS = (0.0005, 0.002, 0.01, 0.05)
"""The grid of Adam and its groups."""


@dataclass(frozen=True, kw_only=True)
class ArmsBudget:
    """What the six arms compute on one network.

    Attributes:
        steps, batch, seeds: of the judged trainings; judging seeds are `first_seed` and those after it.
        screening: steps of the grid of rates, on one tuning seed.
        every: steps between two points of a curve.
        evaluation: examples behind a training loss.
    """

    steps: int
    seeds: int
    screening: int
    every: int
    evaluation: int
    tuning_seeds: tuple[int, ...]
    batch: int = 64
    first_seed: int = 100


BUDGETS = Table(
    paper=ArmsBudget(steps=100, seeds=8, screening=30, every=10, evaluation=256, tuning_seeds=TUNING_SEEDS[:2]),
    quick=ArmsBudget(steps=12, seeds=3, screening=6, every=4, evaluation=64, tuning_seeds=TUNING_SEEDS[:1]),
)
"""About 10,000 steps of one run a network at the paper scale, of some 10 ms on one idle core."""
ASKED = replace(BUDGETS["paper"], seeds=12, tuning_seeds=TUNING_SEEDS)
"""What the rules of judgement ask for."""


class GroupedModel(ModuleModel):
    """A module whose parameters are also grouped by layer and by kind."""

    @property
    def groups(self) -> dict[str, Tensor]:
        """The number of each parameter's tensor, layer and kind."""
        return super().groups | {
            by: torch.repeat_interleave(torch.tensor(numbered(map(rule, self.block_names))), torch.tensor(self.sizes))
            for by, rule in (("layer", layer_of), ("kind", kind_of))
        }


def layer_of(name: str) -> str:
    """A parameter's layer: its name to the first number, else the module that holds it."""
    parts = name.split(".")
    last = next((place for place, part in enumerate(parts) if part.isdecimal()), len(parts) - 2)
    return ".".join(parts[: last + 1])


def kind_of(name: str) -> str:
    """A parameter's kind: its name without numbers."""
    return ".".join(part for part in name.split(".") if not part.isdecimal())


def numbered(names: Iterable[str]) -> list[int]:
    """The number of each among those that differ, in the order in which they first stand."""
    found: dict[str, int] = {}
    return [found.setdefault(name, len(found)) for name in names]


def train_arms(net: PracticeNetwork, own: ArmsBudget, device: str = "auto") -> tuple[History, Tuning]:
    """Find each arm's best rate, then train the arms whose best lies inside the rates run, on the judging seeds."""
    model = GroupedModel(net.model.architecture, net.model.batched)

    def trained(arms: list[Arm], steps: int, seeds: Iterable[int], what: str, every: int | None = None) -> History:
        probe = TypicalLoss(blocks=1, batch=own.evaluation, metric=LOSS, every=every, at=end_steps(steps))
        return experiment(
            model, net.task, arm_runs(arms, seeds), steps=steps, batch=own.batch, device=device, engine="reference",
            probes=[probe], title=f"{net.name}, six arms, {what}",
        )  # fmt: skip

    def ends(arms: list[Arm], steps: int, seeds: tuple[int, ...], what: str) -> pd.DataFrame:
        table = end_values(trained(arms, steps, seeds, what)).assign(steps=steps, screened=False)
        return table[["optimizer", "lr", "clip", "seed", "steps", "loss", "screened"]]

    grid = [(arm, lr, math.inf) for arm in ARMS for lr in GRID.get(arm.name, ADAMS)]
    screened = ends(grid, own.screening, own.tuning_seeds[:1], "grid of rates").assign(screened=True)
    losses, best = settle(
        lambda arms, what: ends(arms, own.steps, own.tuning_seeds, what), followed(screened, ARMS, 1), own.steps
    )
    tuning = Tuning(
        net.name, pd.concat([screened, losses], ignore_index=True), best, all(each.interior for each in best.values())
    )
    judging = range(own.first_seed, own.first_seed + own.seeds)
    inside = [(arm, best[arm.name].lr, math.inf) for arm in ARMS if best[arm.name].interior]
    return trained(inside, own.steps, judging, "at their best rates", own.every), tuning


@dataclass(frozen=True)
class Trained:
    """The six arms by network: judged trainings, searches, losses of the zero predictor, why networks are missing."""

    histories: dict[str, History] = field(default_factory=dict)
    tunings: dict[str, Tuning] = field(default_factory=dict)
    zero_losses: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def train_all(names: Iterable[str], scale: str, device: str = "auto") -> Trained:
    """:func:`train_arms` on each of these networks; one whose data is not there is missing."""
    found = Trained()
    for name in names:
        try:
            net = network(name, based_on(scale)[0])
        except DataError as error:
            found.missing[name] = str(error)
            continue
        found.histories[name], found.tunings[name] = train_arms(net, BUDGETS(scale), device)
        found.zero_losses[name] = float(net.task.zero_loss)
    return found
