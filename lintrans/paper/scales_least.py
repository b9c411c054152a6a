"""What each scale computes of the least model (F8 to F10)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .scales import RATES, TUNING_SEEDS, Table


@dataclass(frozen=True, kw_only=True)
class LeastBudget:
    """How the least model is trained.

    Attributes:
        steps, seeds: of the trainings at the published rates; probes: steps of curvature, the first decides.
        map_steps, map_seeds: of the cells of the map; tuning_seeds choose the rates there.
        init_scales, moments, forms: the map's axes; rates: its grid.
        early: as in :class:`.budgets.Budget`, every: points of the curves beyond.
        first_seed: judging seeds begin there.
    """

    steps: int
    seeds: int
    probes: tuple[int, ...]
    map_steps: int
    map_seeds: int
    tuning_seeds: tuple[int, ...]
    init_scales: tuple[float, ...]
    moments: tuple[float, ...]
    forms: tuple[str, ...]
    rates: tuple[float, ...]
    every: int
    early: tuple[int, int] = (5, 500)
    first_seed: int = 100


LEAST_PROTOCOL = LeastBudget(
    steps=2000, seeds=24, probes=(250, 750, 1250), map_steps=1000, map_seeds=12, tuning_seeds=TUNING_SEEDS[:4],
    init_scales=(0.005, 0.05, 0.3, 0.5), moments=(0.2, 1.0, 5.0), forms=("sparse", "full", "merged"),
    rates=RATES, every=50,
)  # fmt: skip
"""What the rules ask of F8 to F10."""

LEAST = Table(
    paper=replace(LEAST_PROTOCOL, seeds=12, map_seeds=6, tuning_seeds=TUNING_SEEDS[:1]),
    quick=replace(
        LEAST_PROTOCOL, steps=300, seeds=6, probes=(100, 200), map_steps=150, map_seeds=6,
        tuning_seeds=TUNING_SEEDS[:1], init_scales=(0.05, 0.3), moments=(1.0,), forms=("sparse", "full", "merged"),
        rates=RATES[2:9:2], every=10, early=(5, 100),
    ),
)  # fmt: skip
