"""Curvature along a training: as probes while it runs, and from the parameters it kept. One definition serves both.

Everything is taken in float64 on the fixed test batch of the loss curves, afterwards also on evaluation batches from a
stream of their own. A *step* probe looks at a realised step k -> k + 1 and has no row where a run did not move.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..engines import Engine, Plan
from ..errors import each, settle, whole, yes_or_no
from ..models.embedded import EmbeddedTransformer
from ..models.fitting import check_task
from ..models.transformer import LinearTransformer, TensorModel, has_tensor
from ..progress import bar
from ..random import Stream
from ..tasks.regression import Task
from ..training.history import COLUMNS, History
from ..training.probes import Scheduled
from ..unfinished import Kept, part
from .curvature import conditions, step_measures, worst_shares

TEST_BATCH = 1000
FIXED = -1
"""The number of the fixed test batch among batches; evaluation batches are 0, 1, 2, ..."""
RESIDUAL = 1e-3
"""Relative residual of spectral norms, whose errors are of its square. At ten times as much, Lanczos can stop before it
has told apart two eigenvalues of nearly one magnitude."""
GROUP = 16
"""Steps measured in one call: few enough for Ctrl-C and the bar, enough to keep all cores busy."""


def fixed_batch(model: TensorModel, task: Task, batch: int = TEST_BATCH) -> Any:
    """The fixed batch of the loss curves as the model takes it, in float64."""
    return evaluation_batch(model, task, FIXED, batch)


def evaluation_batch(model: TensorModel, task: Task, number: int, batch: int = TEST_BATCH) -> Any:
    """`batch` prompts in float64 as the model takes them: those of an evaluation batch, or of the fixed one (FIXED)."""
    number = whole("a number of batches", number, FIXED)
    stream = Stream.TEST if number == FIXED else Stream.BATCHES
    return model.draw(task, batch, seed=max(number, 0), stream=stream, dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class Conditions(Scheduled):
    """R_med of every convention and the ends of the spectrum; see :func:`~lintrans.diagnostics.curvature.conditions`.

    At 0, every, 2 every, ..., at the end, and at further steps, on `batch` prompts of the fixed test batch.
    """

    batch: int = TEST_BATCH

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, batch=whole("batch", self.batch, 1))

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("r_lower",)  # of many: two such probes would share them all

    def measure(self, engine: Engine, plan: Plan, parameters: Tensor, step: int) -> dict[str, Tensor]:
        return conditions(plan.model, parameters.cpu(), fixed_batch(plan.model, plan.task, self.batch))


@dataclass(frozen=True, kw_only=True)
class StepCurvature(Scheduled):
    """Curvature along the realised step k -> k + 1; see :func:`~lintrans.diagnostics.curvature.step_measures`.

    At 0, every, 2 every, ..., at the end of the constant rate where a cooldown follows, and at further steps before the
    training's end; with `spectral` the Hessian's spectral norm too. On `batch` prompts of the fixed test batch.
    """

    spectral: bool = False
    batch: int = TEST_BATCH

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, batch=whole("batch", self.batch, 1), spectral=yes_or_no("spectral", self.spectral))

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("directional_smoothness",)  # of several: two such probes would share them all

    def times(self, steps: int, total: int) -> set[int]:
        return {step for step in super().times(steps, total) if step < total}

    def measure_step(self, plan: Plan, before: Tensor, after: Tensor, step: int) -> dict[str, Tensor]:
        prompts = fixed_batch(plan.model, plan.task, self.batch)
        both = before.cpu(), after.cpu()
        return step_measures(plan.model, *both, prompts, spectral=self.spectral, residual=RESIDUAL)


def conditions_along(
    history: History, model: TensorModel, task: Task, steps: Iterable[int], *, batch: int = 0,
    batches: Iterable[int] = (FIXED,), title: str = "curvature",
) -> pd.DataFrame:  # fmt: skip
    """The rows of :class:`Conditions` from kept parameters: run, optimizer, lr, seed, step, metric, value, clip, batch.

    `batches` are the numbers of evaluation batches, FIXED the batch of the loss curves; `batch` is how many prompts
    each has, 0: as many as that one. Eigenvalues are those on the fixed batch alone.
    """
    drawn = draw(model, task, batches, batch)

    def measure(group: list[int], number: int) -> dict[str, Tensor]:
        parameters = torch.stack([history.parameters(step) for step in group])
        return conditions(model, parameters, drawn[number], eigenvalues=bool(number == FIXED))

    return collect(history, steps, drawn, measure, title, size=1)


def steps_along(
    history: History, model: TensorModel, task: Task, steps: Iterable[int], *, spectral: bool = False, batch: int = 0,
    batches: Iterable[int] = (FIXED,), title: str = "step curvature",
) -> pd.DataFrame:  # fmt: skip
    """The rows of :class:`StepCurvature` from parameters kept at every step and the one after it.

    Batches as in :func:`conditions_along`.
    """
    drawn = draw(model, task, batches, batch)

    def measure(group: list[int], number: int) -> dict[str, Tensor]:
        before = torch.stack([history.parameters(step) for step in group])
        after = torch.stack([history.parameters(step + 1) for step in group])
        return step_measures(model, before, after, drawn[number], spectral=spectral, residual=RESIDUAL)

    return collect(history, steps, drawn, measure, title, size=GROUP)


def worst_along(
    history: History, model: LinearTransformer | EmbeddedTransformer, task: Task, steps: Iterable[int], *,
    batch: int = 0, batches: Iterable[int] = (FIXED,), title: str = "worst prompts",
) -> pd.DataFrame:  # fmt: skip
    """What the worst prompt of each batch has of it: metrics of :func:`~lintrans.diagnostics.curvature.worst_shares`.

    Columns and batches as in :func:`conditions_along`.
    """
    drawn = draw(model, task, batches, batch)

    def measure(group: list[int], number: int) -> dict[str, Tensor]:
        return worst_shares(model, torch.stack([history.parameters(step) for step in group]), drawn[number])

    return collect(history, steps, drawn, measure, title, size=1)


def draw(model: TensorModel, task: Task, batches: Iterable[int], batch: int) -> dict[int, Any]:
    """Batches by their numbers, each drawn once."""
    if not has_tensor(model):
        raise TypeError(f"model is a {type(model).__name__}: give a lintrans.LinearTransformer")
    check_task(model, task)
    size = whole("batch", batch) or TEST_BATCH
    numbers = each("batches", batches, lambda number: whole("a number of batches", number, FIXED))
    return {number: evaluation_batch(model, task, number, size) for number in sorted(set(numbers))}


def collect(
    history: History, steps: Iterable[int], batches: Collection[int],
    measure: Callable[[list[int], int], dict[str, Tensor]], title: str, size: int,
) -> pd.DataFrame:  # fmt: skip
    """Tidy rows of measures ``[steps, runs]``, a group of steps and a batch at a time; undefined values have no row."""
    if not isinstance(history, History):
        raise TypeError(f"history is a {type(history).__name__}: give what lintrans.train returned")
    wanted = sorted(set(each("steps", steps, lambda step: whole("a step of steps", step))))
    numbers = [int(number) for number in batches]
    pieces = [(wanted[at : at + size], number) for at in range(0, len(wanted), size) for number in numbers]
    found: list[tuple[int, str, int]] = []
    measured: list[Tensor] = []
    done, own = 0, part("along")

    def kept() -> Kept:
        about = {"where": f"piece {done} of {len(pieces)}", "done": done, "pieces": pieces, "found": found}
        return Kept({"values": torch.stack(measured)}, about)

    def use(old: Kept) -> None:
        nonlocal done
        if old.about["pieces"] != [list(piece) for piece in pieces]:
            raise ValueError("it is of other steps")
        found[:] = [(step, metric, number) for step, metric, number in old.about["found"]]
        measured[:], done = old.tensors["values"], old.about["done"]

    own.load(use)
    with bar(len(wanted) * len(numbers), title) as shown:
        shown.update(sum(len(group) for group, _ in pieces[:done]))
        for group, number in pieces[done:]:
            for metric, values in measure(group, number).items():
                for step, row in zip(group, values.detach().cpu(), strict=True):
                    found.append((step, metric, number))
                    measured.append(row)
            done += 1
            shown.update(len(group))
            own.keep(kept)
    if not found:
        return pd.DataFrame(columns=[*COLUMNS, "batch"])
    at, metrics, at_batches = zip(*found, strict=True)
    runs = len(history.runs)
    frame = history.runs.iloc[list(range(runs)) * len(found)].assign(
        step=np.repeat(at, runs), metric=[metric for metric in metrics for _ in range(runs)],
        value=torch.cat(measured).numpy(), batch=np.repeat(at_batches, runs),
    )  # fmt: skip
    return frame[frame["value"].notna()][[*COLUMNS, "batch"]].reset_index(drop=True)
