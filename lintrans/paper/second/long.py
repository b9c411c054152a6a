"""Whole trainings of the second implementation, and what is measured along them: kept in the store piece by piece.

A training is computed in pieces of SEGMENT steps, each stored with what the optimizers remember, so that an
interrupted one goes on where it was, and cases at different horizons share its beginning.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ...diagnostics.noise import gaussian_norms, null_draws
from ...models.transformer import TensorModel
from ...store.results import NotStoredError, measurement, stored_only
from ...tasks.regression import Prompts, Task
from ...training.runs import Run
from . import plain

SEGMENT = 250
"""Steps of a piece."""
VALUES = "parameters"


@dataclass(frozen=True)
class Training:
    """A training as the book makes it: both optimizers, SGD's seeds first.

    Attributes:
        steps, cooldown: at the constant rate, and with the rate falling linearly to zero.
        kept: steps at which parameters are kept.
    """

    title: str
    model: TensorModel
    task: Task
    runs: tuple[Run, ...]
    batch: int
    steps: int
    cooldown: int
    kept: tuple[int, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """In ascending order."""
        return tuple(sorted({run.seed for run in self.runs}))

    def rate(self, step: int) -> float:
        """Factor on the rates of the step that follows `step`."""
        return 1.0 if step < self.steps else 1.0 - (step - self.steps) / self.cooldown

    def pieces(self, until: int) -> list[tuple[int, int]]:
        """First and last step of the pieces that lead to `until`."""
        total = self.steps + self.cooldown
        ends = sorted({*range(SEGMENT, total, SEGMENT), self.steps, total})
        starts = [0, *ends]
        return [(start, end) for start, end in zip(starts, ends, strict=False) if start < until]

    @property
    def of(self) -> dict[str, object]:
        """All that defines its numbers."""
        return {
            "what": "trained by the second implementation", "model": self.model, "task": self.task,
            "runs": list(self.runs), "batch": self.batch, "steps": self.steps, "cooldown": self.cooldown,
            "kept": list(self.kept), "segment": SEGMENT,
        }  # fmt: skip


def _rows(step: int, part: str, values: Tensor, run: int | None = None) -> pd.DataFrame:
    """Numbers ``[runs, ...]``, or of one run, as rows: run, step, part, then a column a number."""
    flat = values.double().reshape(1, -1) if run is not None else values.double().flatten(1)
    frame = pd.DataFrame(flat.numpy()).rename(columns=str)
    frame.insert(0, "run", [run] if run is not None else range(len(flat)))
    frame.insert(1, "step", step)
    frame.insert(2, "part", part)
    return frame


def _numbers(frame: pd.DataFrame) -> Tensor:
    return torch.from_numpy(frame.drop(columns=["run", "step", "part"]).to_numpy(np.float64, copy=True))


def _piece(training: Training, start: int, end: int, before: pd.DataFrame | None) -> pd.DataFrame:
    """Train from `start` to `end`: parameters at what is kept there and at the end, and the optimizers' memory."""
    ensemble = plain.Ensemble(training.model, training.task, training.runs, training.batch)
    shape = ensemble.parameters.shape[1:]
    if before is not None:
        last = before[before["step"] == start]
        values = _numbers(last[last["part"] == VALUES].sort_values("run")).reshape(-1, *shape)
        memory: list[dict[str, Tensor]] = []
        for run in range(len(training.runs)):
            own = last[(last["run"] == run) & (last["part"] != VALUES)]
            parts = {str(part): _numbers(rows)[0] for part, rows in own.groupby("part")}
            memory.append({name: v[0].float() if name == "step" else v.reshape(shape) for name, v in parts.items()})
        ensemble.resume(start, values, memory)
    found = [_rows(0, VALUES, ensemble.parameters)] if not start else []
    for step in range(start, end):
        ensemble.advance(training.rate(step))
        if step + 1 in training.kept or step + 1 == end:
            found.append(_rows(step + 1, VALUES, ensemble.parameters))
    size = ensemble.parameters[0].numel()
    for run, memory_of in enumerate(ensemble.memory):
        for name, value in memory_of.items():
            found.append(_rows(end, name, value.expand(size) if not value.ndim else value, run))
    return pd.concat(found, ignore_index=True)


def _stored_piece(training: Training, start: int, end: int, before: pd.DataFrame | None) -> pd.DataFrame:
    title = f"{training.title}, second implementation, steps {start:,} to {end:,}"
    of = {**training.of, "from": start, "to": end}
    return measurement(title, of, partial(_piece, training, start, end, before))


def missing(training: Training, until: int) -> int:
    """How many of the steps to `until` are not in the store yet."""
    pieces = training.pieces(until)
    for start, end in pieces:
        try:
            with stored_only():
                _stored_piece(training, start, end, None)
        except NotStoredError:
            return pieces[-1][1] - start
    return 0


def trained(training: Training, until: int, tell: Callable[[int], object] = lambda steps: None) -> dict[int, Tensor]:
    """Parameters ``[runs, *model.parameter_shape]`` at what is kept up to `until`; `tell` hears of steps made."""
    found: dict[int, Tensor] = {}
    before: pd.DataFrame | None = None
    for start, end in training.pieces(until):
        before = _stored_piece(training, start, end, before)
        tell(end - start)
        own = before[before["part"] == VALUES]
        for step, rows in own.groupby("step"):
            values = _numbers(rows.sort_values("run"))
            found[int(str(step))] = values.reshape(len(training.runs), *training.model.parameter_shape)
    return found


def step_seconds(training: Training) -> float:
    """Seconds of a step of all its runs, by making two."""
    ensemble = plain.Ensemble(training.model, training.task, training.runs, training.batch)
    ensemble.advance()
    began = time.perf_counter()
    ensemble.advance()
    return time.perf_counter() - began


# what is measured


def _by_run(training: Training, values: Tensor, **more: int) -> pd.DataFrame:
    """One number a run: optimizer, seed, value, and what is the same for all."""
    rows = [(run.optimizer.name, run.seed, value) for run, value in zip(training.runs, values.tolist(), strict=True)]
    return pd.DataFrame(rows, columns=["optimizer", "seed", "value"]).assign(**more)


def end_losses(training: Training, at: tuple[int, ...], blocks: int, states: dict[int, Tensor]) -> pd.DataFrame:
    """Exp of the mean log typical loss at some steps; one that is not below the zero predictor's counts as that."""
    stacked = torch.cat([states[step] for step in at])
    losses = plain.typical_losses(training.model, training.task, stacked, blocks).reshape(len(at), -1)
    values = losses.log().mean(0).exp()
    zero = training.task.zero_loss
    return _by_run(training, torch.where(values <= zero, values, torch.full_like(values, zero)))


def _on_batches(
    training: Training, at: tuple[int, ...], batches: tuple[int, ...], prompts: int,
    measure: Callable[[int, Prompts], Tensor],
) -> pd.DataFrame:  # fmt: skip
    """One number a run at some steps, on evaluation batches; columns step and batch too."""
    found = []
    for number in batches:
        drawn = plain.evaluation_prompts(training.task, prompts, number)
        found += [_by_run(training, measure(step, drawn), step=step, batch=number) for step in at]
    return pd.concat(found, ignore_index=True)


def conditions(
    training: Training, at: tuple[int, ...], batches: tuple[int, ...], prompts: int, states: dict[int, Tensor]
) -> pd.DataFrame:
    """R_med by the public convention at some steps, on evaluation batches; columns step and batch too."""

    def robust(step: int, drawn: Prompts) -> Tensor:
        own = [plain.curvature(training.model, each, drawn).robust_condition for each in states[step]]
        return torch.tensor(own, dtype=torch.float64)

    return _on_batches(training, at, batches, prompts, robust)


def smoothness(
    training: Training, at: tuple[int, ...], batches: tuple[int, ...], prompts: int, states: dict[int, Tensor]
) -> pd.DataFrame:
    """V'Hv along the steps from some, on evaluation batches; columns step and batch too. No row where no run moved."""

    def along(step: int, drawn: Prompts) -> Tensor:
        return plain.curvature_along(training.model, states[step], states[step + 1], drawn)

    frame = _on_batches(training, at, batches, prompts, along)
    return frame[frame["value"].notna()].reset_index(drop=True)


def tail(noise: Tensor, seed: int) -> float:
    """E of noise ``[samples, G]``: 99% quantile of its norm over the median, over the same of N(0, C)."""
    spectrum = torch.linalg.svdvals(noise) ** 2 / len(noise)
    norms, null = noise.norm(dim=-1).numpy(), gaussian_norms(spectrum.numpy(), null_draws(len(noise)), seed)
    upper, middle = (np.quantile(norms, level) / np.quantile(null, level) for level in (0.99, 0.5))
    return float(upper / middle)


def noise_tail(model: TensorModel, task: Task, seed: int, batch: int, samples: int, reference: int) -> pd.DataFrame:
    """E at one initialization, a row: seed, value."""
    start = model.init(seed, dtype=torch.float64)
    rows = plain.noise(model, task, start, seed, batch, samples, reference)
    return pd.DataFrame({"seed": [seed], "value": [tail(rows, seed)]})


def noise_seconds(model: TensorModel, task: Task, batch: int) -> float:
    """Seconds of one minibatch of noise, by taking a few."""
    few = partial(plain.noise, model, task, model.init(0, dtype=torch.float64), 0, batch, 3, batch)
    few()
    began = time.perf_counter()
    few()
    return (time.perf_counter() - began) / 4


__all__ = [
    "SEGMENT", "Training", "conditions", "end_losses", "missing", "noise_seconds", "noise_tail", "smoothness",
    "step_seconds", "tail", "trained",
]  # fmt: skip
