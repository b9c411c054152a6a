"""The one table of what each scale computes; the settings themselves are in :mod:`lintrans.problems`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType

import pandas as pd

from .errors import choice
from .problems import PROBLEMS
from .problems import SETTINGS as SETTINGS  # outside code knows it by this name

LABELS = {"sgd": "SGD", "adam": "Adam"}
SCALE_NAMES = ("paper", "quick")
JUDGING_SEEDS = 24
CURVATURE_SEEDS = 12
PAPER_SEEDS = 6
TUNING_SEEDS = (1000, 1001, 1002)
RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
TARGETS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)


@dataclass(frozen=True)
class Budget:
    """How much the judged trainings compute.

    Attributes:
        settings: names of the settings it covers.
        steps: horizon T.
        seeds: judging seeds 0, 1, ...
        batch: fresh prompts per step.
        blocks: blocks of 1000 prompts behind a typical loss.
        seconds: what it may take on two cores.
        every: steps between two points of a curve; steps to a target are multiples of it.
    """

    settings: tuple[str, ...]
    steps: int
    seeds: int
    batch: int
    blocks: int
    seconds: int
    every: int


@dataclass(frozen=True)
class TuningBudget(Budget):
    """How each optimizer's best rate is found, and whether it is then judged.

    Attributes:
        rates: the grid.
        clips: gradient-norm clips crossed with it; infinite for none.
        tuning_seeds: never used to judge.
        screening: steps of the whole grid.
        finalists: (rate, clip) pairs an optimizer takes on to the horizon; 0 ends after the screening, and the
            reading stays *not measurable here*.
        tuning_blocks: blocks behind the losses that tuning compares.
    """

    rates: tuple[float, ...]
    clips: tuple[float, ...]
    tuning_seeds: tuple[int, ...]
    screening: int
    finalists: int
    tuning_blocks: int


def frame(names: Iterable[str]) -> pd.DataFrame:
    """Problems as a table for a page: context length, covariates, E||x||^2, published rates and clip."""
    rows = []
    for name in names:
        setting = PROBLEMS[name]
        rows.append(
            {
                "setting": setting.title,
                "$n$": setting.task.n,
                "covariates": setting.law,
                r"$\mathbb{E}\lVert x \rVert^2$": f"{setting.task.zero_loss:g}",
                **{f"{LABELS[optimizer]} rate": f"{lr:g}" for optimizer, lr in setting.lr.items()},
                "clip": f"{setting.clip:g}",
            }
        )
    return pd.DataFrame(rows)


INF = float("inf")
_THREE = ("1", "2", "3")

PROTOCOL = TuningBudget(
    _THREE, 10_000, JUDGING_SEEDS, 1000, 1000, 900, 50, RATES, (1.0, INF), TUNING_SEEDS, 1000, 3, 100
)
"""What the rules of judgement ask of claim C1; a page prints where its scale falls short of it."""

SCALES: MappingProxyType[str, TuningBudget] = MappingProxyType(
    {
        # The paper's steps and batch; the seeds that all claims but C1 ask for. 24 would take nearly twice as long.
        "paper": replace(PROTOCOL, seeds=CURVATURE_SEEDS, seconds=540),
        "quick": TuningBudget(_THREE, 200, 4, 500, 20, 30, 10, RATES, (1.0, INF), TUNING_SEEDS[:1], 60, 2, 10),
    }
)
"""Steps, seeds, batch and grid of the judged trainings at each scale: the one place to change them."""


@dataclass(frozen=True)
class CurvatureBudget:
    """Where along the judged trainings curvature is measured, and what is trained beside them.

    Attributes:
        seeds: judging seeds 0, 1, ... that the rules of C3 to C5 ask for.
        probes: steps at which R_med is measured for all seeds.
        judged: those of them that claim C3 is judged at.
        settled: the first step that counts as "along the run".
        every: steps between two of the denser measurements of the paper's own seeds.
        spectral: first, last and distance of the steps at which the Hessian's norm is compared with the gradient's.
        rates: grid of rates behind the relation of smoothness and speed.
        grid_steps, grid_seeds: its horizon and its seeds 0, 1, ...
        seconds: what it may take on two cores.
    """

    seeds: int
    probes: tuple[int, ...]
    judged: tuple[int, ...]
    settled: int
    every: int
    spectral: tuple[int, int, int]
    rates: tuple[float, ...]
    grid_steps: int
    grid_seeds: int
    seconds: int


CURVATURE_PROTOCOL = CurvatureBudget(
    CURVATURE_SEEDS, (0, 250, 750, 1250, 2500, 5000, 7500, 10_000), (750, 1250), 250, 250, (50, 2000, 50), RATES, 1000,
    PAPER_SEEDS, 420,
)  # fmt: skip
"""What the rules of judgement ask of claims C3 to C5."""

CURVATURE: MappingProxyType[str, CurvatureBudget] = MappingProxyType(
    {
        "paper": CURVATURE_PROTOCOL,
        "quick": CurvatureBudget(3, (0, 30, 50, 100, 200), (30, 50), 30, 50, (10, 100, 10), RATES, 60, 3, 30),
    }
)


@dataclass(frozen=True)
class ControlBudget:
    """The arms beside the published ones: horizon, seeds, prompts a step, blocks behind an end value, seconds."""

    steps: int
    seeds: int
    batch: int
    blocks: int
    seconds: int


CONTROLS: MappingProxyType[str, ControlBudget] = MappingProxyType(
    {"paper": ControlBudget(2000, PAPER_SEEDS, 1000, 100, 90), "quick": ControlBudget(100, 3, 500, 10, 10)}
)


@dataclass(frozen=True)
class NoiseBudget:
    """How much gradient noise is measured.

    Attributes:
        settings: names of the settings it covers.
        seeds: initializations 0, 1, ... that claim C2 is judged on.
        samples: minibatches behind each tail.
        batch: fresh prompts of a minibatch.
        reference: prompts behind the gradient that noise is measured from.
        batches: further batch sizes, on the paper's own seeds.
        steps: steps of trainings at the published rates at which noise is measured again.
        trained_seeds, trained_samples: seeds 0, 1, ... of these trainings, and minibatches at each step.
        seconds: what it may take on two cores.
    """

    settings: tuple[str, ...]
    seeds: int
    samples: int
    batch: int
    reference: int
    batches: tuple[int, ...]
    steps: tuple[int, ...]
    trained_seeds: int
    trained_samples: int
    seconds: int


NOISE_PROTOCOL = NoiseBudget(_THREE, 16, 10_000, 1000, 100_000, (10, 100), (100, 300, 1000), 4, 1000, 330)
"""What the rules of judgement ask of claim C2: settings, initializations, minibatches and prompts."""

NOISE: MappingProxyType[str, NoiseBudget] = MappingProxyType(
    {
        "paper": NOISE_PROTOCOL,
        "quick": NoiseBudget(_THREE, 3, 300, 200, 10_000, (10, 50), (30, 100), 3, 200, 20),
    }
)


@dataclass(frozen=True)
class CheckBudget:
    """Seeds and prompts of the model page's live checks."""

    seeds: int
    batch: int


CHECKS: MappingProxyType[str, CheckBudget] = MappingProxyType(
    {"paper": CheckBudget(8, 1000), "quick": CheckBudget(3, 200)}
)


def scale(name: str) -> TuningBudget:
    """The budget of a scale's judged trainings.

    Raises:
        ValueError: no such scale.
    """
    return SCALES[choice("scale", name, SCALE_NAMES)]


def curvature(name: str) -> CurvatureBudget:
    """The budget of a scale's measurements of curvature.

    Raises:
        ValueError: no such scale.
    """
    return CURVATURE[choice("scale", name, SCALE_NAMES)]


def controls(name: str) -> ControlBudget:
    """The budget of a scale's arms beside the published ones.

    Raises:
        ValueError: no such scale.
    """
    return CONTROLS[choice("scale", name, SCALE_NAMES)]


def noise(name: str) -> NoiseBudget:
    """The budget of a scale's gradient noise.

    Raises:
        ValueError: no such scale.
    """
    return NOISE[choice("scale", name, SCALE_NAMES)]
