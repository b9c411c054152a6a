"""How the networks of practice are trained: at the rates that libraries have, and at each optimizer's best.

An optimizer's best rate is found as for the linear model: a coarse grid on one seed, its lowest minimum with both
neighbours to the horizon on all tuning seeds, and further neighbours until the best is inside. At a larger batch the
search begins at the best rate of the small one. Every training goes through the store.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import pandas as pd

from ...errors import choice
from ...store.results import experiment
from ...training.history import History
from ...training.optimizers import SGD, Adam, NormalizedSGD, Optimizer, Signum
from ...training.probes import Probe, TestLoss, TypicalLoss
from ...training.runs import Runs
from ..judged import LOSS, Tuning, end_steps, end_values
from ..protocol import Arm, arm_runs, followed, neighbours, settle
from .networks import PracticeNetwork

PAIR: tuple[Optimizer, ...] = (SGD(), Adam(betas=(0.9, 0.999)))
"""SGD with momentum 0.9, and Adam as torch has it; the paper's linear models have (0.9, 0.9)."""
SIGNS: tuple[Optimizer, ...] = (Signum(), NormalizedSGD())
"""Sign descent and normalized SGD, both with momentum 0.9."""
OPTIMIZERS = PAIR + SIGNS
DEFAULTS: Mapping[str, float] = MappingProxyType({"sgd": 0.01, "adam": 0.001})
"""Rates where none is set: SGD's in Keras, Adam's in Keras and torch. No paper publishes any for such networks."""
GRID: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "sgd": (0.01, 0.05, 0.2, 1.0),
        "adam": (0.0005, 0.002, 0.01, 0.05),
        "signum": (0.0001, 0.0005, 0.002, 0.01),
        "normalized_sgd": (0.01, 0.05, 0.2, 1.0),
    }
)
WHOLE = 0
"""Stands for a batch that is the whole training set."""


@dataclass(frozen=True, kw_only=True)
class PracticeBudget:
    """What the trainings of one network compute.

    Attributes:
        steps: horizon at the batch of `small`, with all four optimizers.
        small: the first batch size; the instruments look at these runs.
        seeds, tuning_seeds: judging seeds, and those of tuning, which never judge.
        sign_seeds: of sign descent and normalized SGD, which no claim judges; they are tuned on the first tuning seed.
        screening: steps of the coarse grid, on one seed.
        every: steps between two points of a curve.
        evaluation: examples behind a loss, of training or held out, as far as there are so many.
        points: steps at which parameters are kept, each with the next step, for SGD and Adam.
        larger: other batch sizes, :data:`WHOLE` for the whole set.
        larger_steps, larger_seeds, larger_tuning_seeds: the same there.
        signs: batch sizes among `larger` at which sign descent and normalized SGD run too.
    """

    steps: int
    small: int = 64
    seeds: int = 6
    sign_seeds: int = 3
    tuning_seeds: tuple[int, ...] = (1000, 1001, 1002)
    screening: int
    every: int = 20
    evaluation: int = 256
    points: tuple[int, ...]
    larger: tuple[int, ...] = (512, WHOLE)
    larger_steps: int
    larger_seeds: int = 3
    larger_tuning_seeds: int = 1
    signs: tuple[int, ...] = ()


_PAPER = PracticeBudget(
    steps=200, screening=30, points=(0, 5, 10, 20, 40, 60, 90, 120, 160, 199), larger_steps=20
)  # fmt: skip
_QUICK = PracticeBudget(
    steps=12, seeds=2, sign_seeds=2, tuning_seeds=(1000,), screening=6, every=4, evaluation=64, points=(0, 4, 8, 11),
    larger=(WHOLE,), larger_steps=4, larger_seeds=2,
)  # fmt: skip
_LARGE = replace(
    _PAPER, steps=2000, sign_seeds=6, screening=200, every=50, points=tuple(range(0, 2000, 200)), larger_steps=300
)
"""Budgets by scale.

A step of one run takes 11 to 30 ms for a language model at batch 64, by the core and by what else uses its memory, and
in proportion at larger batches. A network makes some 12,000 such steps at the small batch and 300 to 500 at larger
ones. At the paper scale all six took 50 minutes of one core for trainings and 34 for measurements, on a virtual machine
of 2.4 GHz whose two cores were busy. At the quick scale they take half a minute. "large" is untried.
"""


def budget(name: str, scale: str) -> PracticeBudget:
    """The budget of a network, by its name, at "quick", "paper" or "large" scale."""
    own = {"quick": _QUICK, "paper": _PAPER, "large": _LARGE}[choice("scale", scale, ("quick", "paper", "large"))]
    if scale == "paper" and name in ("lm_softmax", "cnn", "mlp"):
        return replace(own, signs=(WHOLE,))
    return own


@dataclass(frozen=True)
class Trained:
    """One network trained at one batch size.

    Attributes:
        batch: examples of a step.
        histories: by reading, "default" and "tuned", of SGD and Adam; metrics ``typical_loss`` (training loss on a
            fixed sample) and ``test_loss`` (on what is held out); with snapshots at the small batch.
        signs: at their best rates, sign descent and normalized SGD; None where they did not run.
        tuning: the search, of all optimizers that ran.
    """

    network: str
    batch: int
    histories: Mapping[str, History]
    signs: History | None
    tuning: Tuning


def train_network(net: PracticeNetwork, own: PracticeBudget, device: str = "auto") -> dict[int, Trained]:
    """Trainings of a network by batch size, 0 for the whole set."""
    tuning = _tune(net, own, device)
    found = {own.small: _judge(net, own, tuning, own.small, OPTIMIZERS, device)}
    for size in own.larger:
        batch = _size(net, size)
        optimizers = OPTIMIZERS if size in own.signs else PAIR
        best = {o: tuning.best[o.name].lr for o in optimizers}
        wanted = [(o, rate, math.inf) for o, lr in best.items() for rate in (lr, *neighbours(lr))]
        larger = replace(
            own, steps=own.larger_steps, seeds=own.larger_seeds, points=(),
            tuning_seeds=own.tuning_seeds[: own.larger_tuning_seeds],
        )  # fmt: skip
        there = _settled(net, larger, batch, wanted, pd.DataFrame(), device)
        found[size] = _judge(net, larger, there, batch, optimizers, device)
    return found


def _size(net: PracticeNetwork, batch: int) -> int:
    return min(batch or net.task.n, net.task.n)


def _run(
    net: PracticeNetwork, own: PracticeBudget, batch: int, arms: list[Arm], steps: int, seeds: tuple[int, ...],
    what: str, device: str,
) -> pd.DataFrame:  # fmt: skip
    history = experiment(
        net.model, net.task, arm_runs(arms, seeds), steps=steps, batch=batch, device=device, engine="reference",
        probes=[_training_loss(own, at=end_steps(steps))], title=f"{net.name}, batch {batch}, {what}",
    )  # fmt: skip
    columns = ["optimizer", "lr", "clip", "seed", "steps", "loss", "screened"]
    return end_values(history).assign(steps=steps, screened=False)[columns]


def _training_loss(own: PracticeBudget, **times: tuple[int, ...] | int) -> TypicalLoss:
    """Loss on a fixed sample of the training set, the same for all runs."""
    return TypicalLoss(blocks=1, batch=own.evaluation, metric=LOSS, **times)  # type: ignore[arg-type]  # at= or every=


def _tune(net: PracticeNetwork, own: PracticeBudget, device: str) -> Tuning:
    arms: list[Arm] = [(o, lr, math.inf) for o in OPTIMIZERS for lr in GRID[o.name]]
    seed = own.tuning_seeds[:1]
    screened = _run(net, own, own.small, arms, own.screening, seed, "grid of rates", device).assign(screened=True)
    return _settled(net, own, own.small, followed(screened, OPTIMIZERS, 1), screened, device)


def _settled(
    net: PracticeNetwork, own: PracticeBudget, batch: int, wanted: list[Arm], screened: pd.DataFrame, device: str
) -> Tuning:
    def run(arms: list[Arm], what: str) -> pd.DataFrame:
        kinds = ((PAIR, own.tuning_seeds), (SIGNS, own.tuning_seeds[:1]))
        parts = [
            _run(net, own, batch, some, own.steps, seeds, what, device)
            for optimizers, seeds in kinds
            if (some := [arm for arm in arms if arm[0] in optimizers])
        ]
        return pd.concat(parts, ignore_index=True)

    losses, best = settle(run, wanted, own.steps)
    tried = pd.concat([part for part in (screened, losses) if len(part)], ignore_index=True)
    return Tuning(net.name, tried, best, all(each.interior for each in best.values()))


def _judge(
    net: PracticeNetwork, own: PracticeBudget, tuning: Tuning, batch: int, optimizers: tuple[Optimizer, ...],
    device: str,
) -> Trained:  # fmt: skip
    tuned: list[Arm] = [(o, tuning.best[o.name].lr, math.inf) for o in optimizers]
    arms = {"tuned": tuned[: len(PAIR)], "signs": tuned[len(PAIR) :]}
    if batch == own.small:
        arms["default"] = [(o, DEFAULTS[o.name], math.inf) for o in PAIR]
    done = {reading: _curves(net, own, batch, each, reading, device) for reading, each in arms.items() if each}
    signs = done.pop("signs", None)
    return Trained(net.name, batch, MappingProxyType(done), signs, tuning)


def _curves(
    net: PracticeNetwork, own: PracticeBudget, batch: int, arms: list[Arm], reading: str, device: str
) -> History:
    """Train to the horizon with the loss along the way; SGD and Adam with parameters at the points and a step later."""
    probes: list[Probe] = [
        _training_loss(own, every=own.every, at=end_steps(own.steps)),
        TestLoss(every=None, at=(0, own.steps), batch=min(own.evaluation, len(net.task.held_out_inputs))),
    ]
    kept = () if reading == "signs" else own.points
    runs: Runs = arm_runs(arms, range(own.sign_seeds if reading == "signs" else own.seeds))
    return experiment(
        net.model, net.task, runs, steps=own.steps, batch=batch, device=device, engine="reference", probes=probes,
        snapshots=[*kept, *(step + 1 for step in kept)], title=f"{net.name}, batch {batch}, {reading}",
    )  # fmt: skip
