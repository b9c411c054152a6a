"""What the judged trainings are measured for, setting by setting, each computed once and found again in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import pandas as pd

from ...diagnostics.along import conditions_along, steps_along
from ...store.results import measurement
from ...training.history import History
from ...training.runs import grid
from ..budgets import CurvatureBudget, TuningBudget
from ..problems import PROBLEMS, Setting
from ..protocol import OPTIMIZERS, train_to_judge
from ..scales import PAPER_SEEDS


def first_seeds(history: History, count: int) -> History:
    """The runs of the judging seeds 0, ..., count - 1."""
    return history.select([int(run) for run in history.runs[history.runs["seed"] < count]["run"]])


def key_of_history(history: History) -> str:
    """The history's hash in the store.

    Raises:
        ValueError: it has none, so that nothing measured on it could be told from what was measured on another.
    """
    if not history.key:
        raise ValueError("the history is not from the store: train it with lintrans.experiment(...)")
    return history.key


def _conditions(title: str, setting: Setting, history: History, steps: list[int], batch: int) -> pd.DataFrame:
    of = {"what": "conditions", "history": key_of_history(history), "steps": steps, "batch": batch}
    model, task = setting.model, setting.task
    return measurement(title, of, partial(conditions_along, history, model, task, steps, batch=batch, title=title))


def _steps(
    title: str, setting: Setting, history: History, steps: list[int], batch: int, spectral: bool = False
) -> pd.DataFrame:
    of = {"what": "steps", "history": key_of_history(history), "steps": steps, "spectral": spectral, "batch": batch}
    model, task = setting.model, setting.task
    return measurement(
        title, of, partial(steps_along, history, model, task, steps, spectral=spectral, batch=batch, title=title)
    )


def condition_numbers(
    histories: Mapping[str, History], budget: CurvatureBudget, reading: str, dense: bool = False
) -> dict[str, pd.DataFrame]:
    """R_med under every convention at the budget's probes; with `dense`, at every `budget.every` for the paper's seeds.

    Returns:
        A tidy frame a setting; metrics as in :func:`lintrans.diagnostics.curvature.conditions`.
    """
    frames = {}
    for name, history in histories.items():
        setting = PROBLEMS[name]
        title = f"{setting.title}, condition numbers, {reading} rates"
        probes = [step for step in budget.probes if step in history.snapshots]
        parts = [_conditions(title, setting, first_seeds(history, budget.seeds), probes, budget.batch)]
        between = [step for step in range(0, history.steps, budget.every) if step in history.snapshots]
        between = [step for step in between if step not in probes]
        if dense and between:
            few = first_seeds(history, min(PAPER_SEEDS, budget.seeds))
            parts.append(_conditions(f"{title}, between", setting, few, between, budget.batch))
        frame = pd.concat(parts, ignore_index=True)
        frame["run"] = frame.groupby(["optimizer", "lr", "clip", "seed"], sort=False).ngroup()  # the same in all parts
        frames[name] = frame.sort_values(["step", "run"], ignore_index=True, kind="stable")
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
        setting = PROBLEMS[name]
        kept = sorted(step for step in history.snapshots if step + 1 in history.snapshots and step < history.steps)
        if spectral:
            first, last, every = budget.spectral
            kept = [step for step in range(first, last + 1, every) if step in kept]
        what = "norms of the Hessian" if spectral else "curvature along steps"
        title = f"{setting.title}, {what}, {reading} rates"
        few = first_seeds(history, budget.seeds)
        frames[name] = _steps(title, setting, few, kept, budget.batch, spectral)
    return frames


def rate_grids(
    budget: TuningBudget, curvature: CurvatureBudget, device: str = "auto"
) -> dict[str, tuple[History, pd.DataFrame]]:
    """Both optimizers at every rate of the grid and the published clip, with the curvature along their steps."""
    short = replace(budget, steps=curvature.grid_steps, blocks=budget.tuning_blocks)
    found = {}
    for name in budget.settings:
        setting = PROBLEMS[name]
        runs = grid(optimizer=OPTIMIZERS, lr=curvature.rates, clip=setting.clip, seed=range(curvature.grid_seeds))
        history = train_to_judge(setting, runs, short, f"{setting.title}, grid of rates with curvature", device)
        steps = list(range(0, short.steps, short.every))
        title = f"{setting.title}, curvature along steps, grid of rates"
        found[name] = history, _steps(title, setting, history, steps, curvature.batch)
    return found
