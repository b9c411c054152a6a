"""What each scale computes of the question which adaptivity closes the gap (F1 to F4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .budgets import TuningBudget
from .scales import PROTOCOL, TUNING_SEEDS, Table

HORIZONS = (1000, 10_000)
EARLY = 250
"""The step at which curvature is measured, and from which the oracle has its rates."""
FIRST_SEED = 100
"""Judging seeds begin here: an exploratory pilot had used 0 to 5."""
SETTINGS = ("1", "2", "3")
CELLS = (*SETTINGS, "depth 2", "depth 4", "depth 8", "softmax")
"""Problems whose arms are compared; L = 3 is Setting 1."""


@dataclass(frozen=True, kw_only=True)
class WhyBudget:
    """How the arms are tuned, trained and measured.

    Attributes:
        trainings: problems by horizon.
        early: the step at which curvature is measured.
        curvature_seeds: how many judging seeds it is measured on.
        batches: evaluation batches behind it.
        oracle_seeds: tuning seeds behind the oracle's rates.
        few_arms: names of the arms of each training, all where empty; empty as a whole for all arms everywhere.
        fewer_curvature_seeds: (problem, how many judging seeds) where the Hessian costs much.
    """

    trainings: tuple[TuningBudget, ...]
    early: int
    curvature_seeds: int
    batches: int
    oracle_seeds: int
    few_arms: tuple[tuple[str, ...], ...] = ()
    fewer_curvature_seeds: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        if self.few_arms and len(self.few_arms) != len(self.trainings):
            raise ValueError(
                f"few_arms has {len(self.few_arms)} entries: give one for each of {len(self.trainings)} trainings"
            )

    def trains(self, arm: str, training: TuningBudget) -> bool:
        """Whether an arm, by its name, is trained there."""
        few = self.few_arms_of(training)
        return not few or arm in few

    def few_arms_of(self, training: TuningBudget) -> tuple[str, ...]:
        """Names of a training's arms; empty for all."""
        return self.few_arms[self.trainings.index(training)] if self.few_arms else ()

    def curvature_seeds_of(self, problem: str) -> int:
        """How many judging seeds curvature is measured on in a problem, by its name."""
        return dict(self.fewer_curvature_seeds).get(problem, self.curvature_seeds)

    @property
    def problems(self) -> tuple[str, ...]:
        """Names of all problems."""
        return tuple(dict.fromkeys(name for training in self.trainings for name in training.settings))


_ASKED = replace(PROTOCOL, settings=CELLS, seeds=12, first_seed=FIRST_SEED, steps=HORIZONS[0])
WHY_PROTOCOL = WhyBudget(
    trainings=(_ASKED, replace(_ASKED, steps=HORIZONS[1])), early=EARLY, curvature_seeds=12, batches=16, oracle_seeds=8
)
"""What the rules ask of F1 to F4."""

_PAPER = replace(
    _ASKED, settings=(*SETTINGS, "depth 2", "depth 4"), blocks=40, every=50, early=(25, 500),
    rates=(0.002, 0.01, 0.05, 0.2), clips=(1.0,),
    tuning_seeds=TUNING_SEEDS[:2], screening=300, screening_seeds=1, minima=1, tuning_blocks=40,
)  # fmt: skip
_JUDGED = ("sgd", "adam", "block", "layer", "kind", "all", "oracle", "rotated")
_QUICK = replace(
    _PAPER, settings=("1", "depth 2"), steps=60, seeds=3, batch=100, blocks=5, every=10, early=(5, 40),
    tuning_seeds=TUNING_SEEDS[:1], screening=20, tuning_blocks=2,
)  # fmt: skip

WHY = Table(
    paper=WhyBudget(
        trainings=(
            _PAPER,
            replace(_PAPER, settings=("depth 8",), tuning_seeds=TUNING_SEEDS[:4]),  # at one seed's best, SGD diverges
            replace(_PAPER, settings=("softmax",), tuning_seeds=TUNING_SEEDS[:1]),
            replace(
                _PAPER, settings=SETTINGS, steps=HORIZONS[1], seeds=6, tuning_seeds=TUNING_SEEDS[:1], screening=1000
            ),
        ),
        early=EARLY,
        curvature_seeds=12,
        batches=2,
        oracle_seeds=2,
        few_arms=((), _JUDGED, ("sgd", "adam", "rotated"), _JUDGED),  # SGD and Adam end alike with softmax: no gap
        fewer_curvature_seeds=(("depth 8", 6), ("softmax", 4)),
    ),
    quick=WhyBudget(trainings=(_QUICK,), early=20, curvature_seeds=3, batches=1, oracle_seeds=1),
)
