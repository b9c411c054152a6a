"""C2: gradient noise at initialization is heavy-tailed in Settings 1 to 3 (Ahn et al. 2024, section 3).

The paper shows histograms. Here a tail is heavy if it is so against Gaussian noise of the same covariance: the 99%
quantile of the norm over its median, divided by the same ratio of N(0, C), is called E.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor

from ...diagnostics.noise import measure_noise, noise_table
from ...statistics import Interval, paired_t
from ...store.results import experiment, measurement
from ..budgets import NoiseBudget
from ..problems import PROBLEMS, Setting
from ..protocol import published_runs
from ..scales import NOISE_PROTOCOL, PAPER_SEEDS
from .common import CASES, Basis, rules_digest
from .records import Verdict
from .rules import Keys, State, Unit, ratio_state, rule

CLAIM = "C2"
SENTENCE = "Gradient noise at initialization is heavy-tailed in Settings 1 to 3."
CHAPTER = "gradient_noise"
FIGURE = "fig-gradient-noise"
READINGS = ("init",)
GROUP = "behaviours"
BASIS = Basis(CASES, ("noise",))
STATISTIC = "E: q99 / median of the noise norm, over that of N(0, C)"
STATISTIC_999 = "the same of q99.9"
MOST_ERROR = 0.5
"""Standard error of the reference gradient, in median norms of the noise, beyond which E is not read."""
KEPT = 3
"""Initializations whose norms are kept, for figures."""


def changed(budget: NoiseBudget, seeds: int = 0, samples: int = 0, batch: int = 0) -> NoiseBudget:
    """A budget with other initializations, minibatches or batch; 0 keeps the scale's own."""
    return replace(budget, seeds=seeds or budget.seeds, samples=samples or budget.samples, batch=batch or budget.batch)


def _table(
    title: str,
    setting: Setting,
    parameters: Tensor,
    seeds: Sequence[int],
    of: Mapping[str, object],
    *,
    batch: int,
    samples: int,
    reference: int,
    keep: int = 0,
) -> pd.DataFrame:
    """:func:`noise_table` of some runs, in the store; `of` says what the parameters are."""

    def compute() -> pd.DataFrame:
        noise = measure_noise(
            setting.model, setting.task, parameters, batch=batch, samples=samples, reference=reference, seed=seeds
        )
        return noise_table(noise, seeds, keep=keep)

    defined = {
        "what": "gradient noise",
        "model": setting.model,
        "task": setting.task,
        "seeds": list(seeds),
        "batch": batch,
        "samples": samples,
        "reference": reference,
        "keep": keep,
        "dtype": parameters.dtype,
        **of,
    }
    return readable(measurement(title, defined, compute))


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table with E missing where single prompts rule the reference, so that the norms do not measure the noise."""
    good = ~(table["reference_error"] > MOST_ERROR)
    return table.assign(excess=table["excess"].where(good), excess_999=table["excess_999"].where(good))


def _at_init(setting: Setting, seeds: int, batch: int, budget: NoiseBudget, keep: int = 0) -> pd.DataFrame:
    numbers = range(seeds)
    title = f"{setting.title}, gradient noise at initialization, batches of {batch:,}"
    return _table(
        title,
        setting,
        setting.model.init(numbers),
        numbers,
        {"parameters": "init"},
        batch=batch,
        samples=budget.samples,
        reference=budget.reference,
        keep=keep,
    ).assign(batch=batch)


def at_initialization(budget: NoiseBudget) -> dict[str, pd.DataFrame]:
    """What the claim is judged on, a table a setting: see :func:`~lintrans.diagnostics.noise.noise_table`.

    Every initialization has prompts of its own: the seed of the parameters is that of the minibatches.
    """
    return {name: _at_init(PROBLEMS[name], budget.seeds, budget.batch, budget, KEPT) for name in budget.settings}


def by_batch(tables: Mapping[str, pd.DataFrame], budget: NoiseBudget) -> dict[str, pd.DataFrame]:
    """The same on the paper's own seeds for each batch size, with the judged one from `tables`; column batch."""
    few = min(PAPER_SEEDS, budget.seeds)
    found = {}
    for name, judged in tables.items():
        others = [size for size in budget.batches if size != budget.batch]
        parts = [_at_init(PROBLEMS[name], few, size, budget) for size in others]
        parts.append(judged[judged["seed"] < few])
        found[name] = _joined(parts).sort_values(["batch", "seed"], ignore_index=True)
    return found


def along_training(
    tables: Mapping[str, pd.DataFrame], budget: NoiseBudget, device: str = "auto"
) -> dict[str, pd.DataFrame]:
    """The same at some steps of trainings at the published rates; columns optimizer, step.

    Step 0 is the initialization, from `tables`; it is the same for both optimizers.
    """
    seeds = range(min(budget.trained_seeds, budget.seeds))
    found = {}
    for name, judged in tables.items():
        setting = PROBLEMS[name]
        history = experiment(
            setting.model,
            setting.task,
            published_runs(setting, seeds),
            steps=max(budget.steps),
            probes=[],
            snapshots=budget.steps,
            device=device,
            title=f"{setting.title}, short training at the published rates",
        )
        start = judged[judged["seed"] < len(seeds)]
        parts = [start.assign(optimizer=optimizer, step=0) for optimizer in history.runs["optimizer"].unique()]
        for step in budget.steps:
            part = _table(
                f"{setting.title}, gradient noise at step {step:,}",
                setting,
                history.parameters(step),
                [int(seed) for seed in history.runs["seed"]],
                {"parameters": history.key, "step": step},
                batch=budget.batch,
                samples=budget.trained_samples,
                reference=budget.reference,
            )
            optimizers = history.runs["optimizer"].to_numpy()
            parts.append(part.assign(batch=budget.batch, optimizer=optimizers, step=step))
        found[name] = _joined(parts).sort_values(["optimizer", "step", "seed"], ignore_index=True)
    return found


def _joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables one below the other, without the arrays that some of them keep."""
    return pd.concat([part.drop(columns=["norms", "spectrum"]) for part in parts], ignore_index=True)


def geometric_mean(values: npt.ArrayLike) -> Interval | None:
    """Geometric mean with the t interval of its logarithm; None where a value is missing."""
    ratios = np.asarray(values, dtype=np.float64)
    if not len(ratios) or not np.isfinite(ratios).all():
        return None
    return paired_t(np.log(ratios)).exp()


def noise_units(case: str, table: pd.DataFrame, keys: Keys) -> tuple[Unit, Unit]:
    """E of the 99% quantile, which decides, and that of the 99.9% quantile, beside it."""
    ratio, further = (geometric_mean(table[column]) for column in ("excess", "excess_999"))
    return (
        Unit(case, STATISTIC, ratio, ratio_state(ratio), keys=keys),
        Unit(f"{case}, q99.9", STATISTIC_999, further, ratio_state(further), False, keys._replace(part="q99.9")),
    )


def judge(scale: str, tables: Mapping[str, pd.DataFrame], budget: NoiseBudget) -> Verdict:
    """The verdict, reading "init".

    Args:
        scale: the scale's name.
        tables: from :func:`at_initialization`; a setting left out was not measured.
        budget: what they were measured with.
    """
    units: list[Unit] = []
    beside: list[Unit] = []
    for name in CASES:
        case, keys = f"setting {name}", Keys((name,))
        if name not in tables:
            units.append(Unit(case, STATISTIC, None, State.MISSING, keys=keys))
            continue
        excess, further = noise_units(case, tables[name], keys)
        units.append(excess)
        beside.append(further)
    short = deviations(budget, NOISE_PROTOCOL)
    return Verdict(CLAIM, "init", scale, CHAPTER, (*units, *beside), rule(units), short, rules_digest(__name__))


def deviations(budget: NoiseBudget, asked: NoiseBudget) -> tuple[str, ...]:
    """Where a budget differs from what the rules ask for, in words."""
    texts = []
    if missing := [name for name in asked.settings if name not in budget.settings]:
        texts.append(f"settings not measured: {', '.join(missing)}")
    for what, have, want in (
        ("{} initializations instead of {}", budget.seeds, asked.seeds),
        ("{} minibatches instead of {}", budget.samples, asked.samples),
        ("the gradient estimated on {} prompts instead of {}", budget.reference, asked.reference),
    ):
        if have < want:
            texts.append(what.format(f"{have:,}", f"{want:,}"))
    if budget.batch != asked.batch:  # a larger batch is no better: it makes the noise more Gaussian
        texts.append(f"minibatches of {budget.batch:,} prompts instead of {asked.batch:,}")
    return tuple(texts)
