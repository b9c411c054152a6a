"""What each scale computes of the question whether noise is the reason (F5 to F7)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .budgets import Budget, NoiseBudget, TuningBudget
from .scales import NOISE_PROTOCOL, PROTOCOL, RATES, TUNING_SEEDS, Table


@dataclass(frozen=True, kw_only=True)
class BatchBudget:
    """How batches are compared, noise is swapped, and iterates are averaged.

    Attributes:
        training: of every setting and batch; its own batch is the one that noise is swapped at.
        batches: each tuned for itself, but the largest, which has the rates of the one before.
        largest_steps: horizon of the largest.
        prompts: of a run where batches are compared at equal prompts; the largest takes no part.
        noise: gradient noise at initialization, for each batch.
        swap: (prompts, prompts of a group) behind a gradient with Gaussian noise.
        published: Setting 1 at the published rates, for averages and a cooldown.
        rates, rate_seeds: of clipping against normalization.
    """

    training: TuningBudget
    batches: tuple[int, ...]
    largest_steps: int
    prompts: int
    noise: NoiseBudget
    swap: tuple[int, int]
    published: Budget
    rates: tuple[float, ...]
    rate_seeds: tuple[int, ...]


_SETTINGS = ("1", "3", "sphere")
BATCH_PROTOCOL = BatchBudget(
    training=replace(PROTOCOL, settings=_SETTINGS, steps=1000, seeds=12, first_seed=100),
    batches=(10, 100, 1000, 10_000, 100_000), largest_steps=1000, prompts=1_000_000,
    noise=replace(NOISE_PROTOCOL, settings=_SETTINGS, first_seed=100, batches=(), steps=()),
    swap=(20_000, 100),
    published=Budget(settings=("1",), steps=10_000, seeds=12, batch=1000, blocks=1000, every=50, first_seed=100),
    rates=RATES, rate_seeds=TUNING_SEEDS[:3],
)  # fmt: skip
"""What the rules ask of F5 to F7."""

BATCHES = Table(
    paper=replace(
        BATCH_PROTOCOL,
        training=replace(
            BATCH_PROTOCOL.training, steps=500, seeds=6, blocks=50, clips=(1.0,), tuning_seeds=TUNING_SEEDS[:1],
            screening=150, screening_seeds=1, minima=1, tuning_blocks=20,
        ),
        largest_steps=200, prompts=200_000,
        noise=replace(BATCH_PROTOCOL.noise, seeds=4, samples=500),
        swap=(10_000, 50),
        published=replace(BATCH_PROTOCOL.published, seeds=6, blocks=50),
        rate_seeds=TUNING_SEEDS[:1],
    ),
    quick=replace(
        BATCH_PROTOCOL,
        training=replace(
            BATCH_PROTOCOL.training, settings=("1",), steps=60, seeds=6, blocks=5, every=10, early=(2, 60),
            rates=RATES[2:9:2], clips=(1.0,), tuning_seeds=TUNING_SEEDS[:1], screening=20, screening_seeds=1, minima=1,
            tuning_blocks=2,
        ),
        batches=(10, 100, 1000, 4000), largest_steps=60, prompts=6000,
        noise=replace(BATCH_PROTOCOL.noise, settings=("1",), seeds=6, samples=60, reference=4000),
        swap=(4000, 50),
        published=replace(BATCH_PROTOCOL.published, steps=200, seeds=6, batch=200, blocks=5, every=10, early=(5, 40)),
        rates=RATES[2:9:2], rate_seeds=TUNING_SEEDS[:1],
    ),
)  # fmt: skip
