"""What the judged trainings are measured for, setting by setting, each computed once and found again in the store.

Frames have a column ``batch``: 0, 1, ... are evaluation batches, which claims are judged on; FIXED, below zero, is the
one test batch that the paper measures on, kept beside them, in the same entry of the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

import pandas as pd

from ...diagnostics.along import FIXED, conditions_along, steps_along, worst_along
from ...store.results import measurement
from ...training.history import History
from ...training.runs import grid
from ..budgets import CurvatureBudget, TuningBudget
from ..problems import PROBLEMS, Setting
from ..protocol import OPTIMIZERS, train_to_judge
from ..scales import PAPER_SEEDS

ONLY_FIXED = (FIXED,)


def first_seeds(history: History, count: int) -> History:
    """The runs of the first so many of its seeds."""
    seeds = sorted(history.runs["seed"].unique())[:count]
    return history.select([int(run) for run in history.runs[history.runs["seed"].isin(seeds)]["run"]])


def key_of_history(history: History) -> str:
    """The history's hash in the store.

    Raises:
        ValueError: it has none, so that nothing measured on it could be told from what was measured on another.
    """
    if not history.key:
        raise ValueError("the history is not from the store: train it with lintrans.experiment(...)")
    return history.key


def _kept(
    what: str, along: Callable[..., pd.DataFrame], setting: Setting, title: str, history: History, steps: list[int],
    prompts: int, batches: Iterable[int], **options: bool,
) -> pd.DataFrame:  # fmt: skip
    """A measure along a history on batches of so many prompts, from the store where it is there."""
    numbers = sorted(batches)
    of = {
        "what": what, "history": key_of_history(history), "steps": steps, "prompts": prompts, "batches": numbers,
        **options,
    }  # fmt: skip
    compute = partial(
        along, history, setting.model, setting.task, steps, batch=prompts, batches=numbers, title=title, **options
    )
    return measurement(title, of, compute)


def all_batches(budget: CurvatureBudget) -> list[int]:
    """The fixed batch and the evaluation batches of a budget."""
    return [FIXED, *budget.evaluation]


def condition_numbers(
    histories: Mapping[str, History], budget: CurvatureBudget, reading: str
) -> dict[str, pd.DataFrame]:
    """R_med under every convention at the budget's probes, of its seeds, on the fixed and on the evaluation batches.

    Returns:
        A tidy frame a setting; metrics as in :func:`lintrans.diagnostics.curvature.conditions`.
    """
    frames = {}
    for name, history in histories.items():
        title = f"{PROBLEMS[name].title}, condition numbers, {reading} rates"
        probes = [step for step in budget.probes if step in history.snapshots]
        few = first_seeds(history, budget.seeds)
        frames[name] = _kept(
            "conditions", conditions_along, PROBLEMS[name], title, few, probes, budget.batch, all_batches(budget)
        )
    return frames


def dense_condition_numbers(histories: Mapping[str, History], budget: CurvatureBudget) -> dict[str, pd.DataFrame]:
    """The paper's own curves: its seeds on the fixed batch alone, at every `budget.every` and at the probes."""
    frames = {}
    for name, history in histories.items():
        few = first_seeds(history, min(PAPER_SEEDS, budget.seeds))
        wanted = {*range(0, history.steps, budget.every), *budget.probes}
        steps = sorted(step for step in wanted if step in history.snapshots)
        title = f"{PROBLEMS[name].title}, condition numbers of the paper's sample"
        frames[name] = _kept(
            "conditions", conditions_along, PROBLEMS[name], title, few, steps, budget.batch, ONLY_FIXED
        )
    return frames


def step_curvatures(
    histories: Mapping[str, History], budget: CurvatureBudget, reading: str, spectral: bool = False
) -> dict[str, pd.DataFrame]:
    """Curvature along realised steps, at every point of the curves; with `spectral`, in the window of claim C5 only.

    Returns:
        A tidy frame a setting; metrics as in :func:`lintrans.diagnostics.curvature.step_measures`.
    """
    frames = {}
    for name, history in histories.items():
        kept = sorted(step for step in history.snapshots if step + 1 in history.snapshots and step < history.steps)
        if spectral:
            first, last, every = budget.spectral
            kept = [step for step in range(first, last + 1, every) if step in kept]
        what = "norms of the Hessian" if spectral else "curvature along steps"
        title = f"{PROBLEMS[name].title}, {what}, {reading} rates"
        few, batches = first_seeds(history, budget.seeds), all_batches(budget)
        frames[name] = _kept(
            "steps", steps_along, PROBLEMS[name], title, few, kept, budget.batch, batches, spectral=spectral
        )
    return frames


def worst_prompts(histories: Mapping[str, History], budget: CurvatureBudget, reading: str) -> dict[str, pd.DataFrame]:
    """What the worst prompt of each batch has of its loss and of its Hessian's trace, at the probes along the run.

    Returns:
        A tidy frame a setting; metrics as in :func:`lintrans.diagnostics.curvature.worst_shares`.
    """
    frames = {}
    for name, history in histories.items():
        title = f"{PROBLEMS[name].title}, worst prompts, {reading} rates"
        probes = [step for step in budget.probes if step >= budget.settled and step in history.snapshots]
        few = first_seeds(history, budget.seeds)
        frames[name] = _kept(
            "worst prompts", worst_along, PROBLEMS[name], title, few, probes, budget.batch, all_batches(budget)
        )
    return frames


def rate_grids(
    budget: TuningBudget, curvature: CurvatureBudget, device: str = "auto"
) -> dict[str, tuple[History, pd.DataFrame]]:
    """Both optimizers at every rate of the grid and the published clip, with the curvature along their steps."""
    short = replace(budget, steps=curvature.grid_steps, blocks=budget.tuning_blocks)
    found = {}
    for name in budget.settings:
        setting = PROBLEMS[name]
        seeds = range(curvature.first_seed, curvature.first_seed + curvature.grid_seeds)
        runs = grid(optimizer=OPTIMIZERS, lr=curvature.rates, clip=setting.clip, seed=seeds)
        history = train_to_judge(setting, runs, short, f"{setting.title}, grid of rates with curvature", device)
        steps = list(range(0, short.steps, short.every))
        title = f"{setting.title}, curvature along steps, grid of rates"
        batches = all_batches(curvature)
        frame = _kept("steps", steps_along, setting, title, history, steps, curvature.batch, batches, spectral=False)
        found[name] = history, frame
    return found
