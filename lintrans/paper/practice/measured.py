"""All that the chapters on practice judge, network by network: each computed once and found again in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import pandas as pd

from ...training.history import History
from ..scale_names import based_on
from .data import DataError
from .instruments import Budget, Instruments
from .networks import LANGUAGE, NAMES, PracticeNetwork, network
from .protocol import PAIR, PracticeBudget, Trained, train_network
from .protocol import budget as training_budget

READINGS = ("default", "tuned")
LARGE = "large"
"""The scale that is trained where there is a GPU."""

BUDGETS: Mapping[str, Budget] = MappingProxyType(
    {
        "paper": Budget(
            seeds=4, sets=4, text=16, images=64, few_text=8, few_images=32, entries=8, probes=(20, 120), settled=5,
            noise_seeds=6, samples=150, later=120, later_seeds=2, text_batch=64, image_batch=64, reference=2000,
            singles=512,
        ),
        "quick": Budget(
            seeds=2, sets=2, text=4, images=8, few_text=2, few_images=4, entries=3, probes=(8,), settled=0,
            noise_seeds=2, samples=10, later=8, later_seeds=1, text_batch=8, image_batch=16, reference=100,
            singles=32, batches=(1, 8),
        ),
        LARGE: Budget(
            seeds=6, sets=4, text=64, images=256, few_text=64, few_images=256, entries=64, probes=(200, 1000),
            settled=200, noise_seeds=8, samples=1000, later=1000, later_seeds=4, text_batch=64, image_batch=64,
            reference=20_000, singles=2000,
        ),
    }
)  # fmt: skip
"""What is measured at each scale."""


def budget(scale: str) -> Budget:
    """The budget of a scale; "paper+100" has other evaluation sets and initializations of the noise."""
    if scale == LARGE:
        return BUDGETS[scale]
    base, offset = based_on(scale)
    return replace(BUDGETS[base], first_seed=offset, first_set=offset)


@dataclass(frozen=True)
class Measured:
    """Trainings and measurements by network, those of curvature by reading first.

    Attributes:
        budget, trainings: what was measured, and what was trained.
        missing: why a network was not measured, in words.
    """

    budget: Budget
    trainings: dict[str, PracticeBudget]
    networks: dict[str, PracticeNetwork] = field(default_factory=dict)
    trained: dict[str, dict[int, Trained]] = field(default_factory=dict)
    noise: dict[str, pd.DataFrame] = field(default_factory=dict)
    later: dict[str, pd.DataFrame] = field(default_factory=dict)
    by_batch: dict[str, pd.DataFrame] = field(default_factory=dict)
    conditions: dict[str, dict[str, pd.DataFrame]] = field(default_factory=lambda: {each: {} for each in READINGS})
    steps: dict[str, dict[str, pd.DataFrame]] = field(default_factory=lambda: {each: {} for each in READINGS})
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def zero_losses(self) -> dict[str, float]:
        """Loss of a model that always says zero."""
        return {name: float(net.task.zero_loss) for name, net in self.networks.items()}

    def histories(self, reading: str, batch: int | None = None) -> dict[str, History]:
        """Trainings of one reading by network, at the small batch or another one; only where the rates are inside."""
        found = {}
        for name, own in self.trained.items():
            trained = own.get(self.trainings[name].small if batch is None else batch)
            if trained is not None and reading in trained.histories and (reading != "tuned" or inside(trained)):
                found[name] = trained.histories[reading]
        return found

    def every(self) -> dict[str, list[History]]:
        """All judged trainings of a network at the small batch."""
        found: dict[str, list[History]] = {name: [] for name in self.trained}
        for reading in READINGS:
            for name, history in self.histories(reading).items():
                found[name].append(history)
        return found

    def larger(self) -> dict[str, dict[str, History]]:
        """Trainings at the best rates of other batch sizes, by network and words.

        They are shorter, so the small batch stands beside them at their horizon.
        """
        found: dict[str, dict[str, History]] = {}
        for name, own in self.trained.items():
            small, steps = self.trainings[name].small, self.trainings[name].larger_steps
            if name in (short := self.histories("tuned")):
                found[name] = {batch_words(small, steps): replace(short[name], steps=steps)}
            for batch in own:
                if batch != small and name in (at := self.histories("tuned", batch)):
                    found.setdefault(name, {})[batch_words(batch, steps)] = at[name]
        return found


def inside(trained: Trained) -> bool:
    """Whether the best rates of SGD and Adam lie inside those that ran."""
    return all(trained.tuning.best[optimizer.name].interior for optimizer in PAIR)


def batch_words(batch: int, steps: int) -> str:
    """A batch size and a horizon in words."""
    return f"{f'batch {batch}' if batch else 'the whole set'}, {steps} steps"


def everything(scale: str, device: str = "auto", data: Mapping[str, str] | None = None) -> Measured:
    """Train and measure every network of a scale.

    Args:
        scale: "quick", "paper", either with other evaluation sets ("paper+100"), or "large".
        device: of the trainings.
        data: ``text`` and ``images``, paths of a reader's own data.

    Raises:
        DataError: a reader's own data cannot be learned from. Networks that need data of the extra are missing
            without it.
    """
    own = {kind: path for kind, path in (data or {}).items() if path}
    base = scale if scale == LARGE else based_on(scale)[0]
    found = Measured(budget(scale), {name: training_budget(name, base) for name in NAMES})
    for name in NAMES:
        try:
            found.networks[name] = network(name, base, **own)
        except DataError as error:
            if ("text" if name in LANGUAGE else "images") in own:
                raise
            found.missing[name] = str(error)
    for name, net in found.networks.items():
        found.trained[name] = train_network(net, found.trainings[name], device)
        instruments = Instruments.of(net, found.budget, name in LANGUAGE)
        found.noise[name] = instruments.noise()
        for reading in READINGS:
            if name in (histories := found.histories(reading)):
                found.conditions[reading][name] = instruments.conditions(histories[name])
                found.steps[reading][name] = instruments.steps(histories[name])
        last = found.histories("tuned").get(name, found.histories("default")[name])
        found.later[name] = instruments.noise_later(last)
        found.by_batch[name] = instruments.noise_by_batch(last)
    return found
