"""What the networks of practice are measured for, with the instruments and the statistics of the linear model.

Every function takes any :class:`~lintrans.models.transformer.TensorModel` and its task, so that one code path serves
both; on :class:`lintrans.LinearTransformer` it gives what the fast instruments give. Runs are measured one at a time,
on evaluation sets from a stream of their own. Results are kept in the store. All is in float64, but R_med and the
spectral norm of the networks of practice, whose products are made in float32: they are most of the time, and agree to
four digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ...devices import resolve_dtype
from ...diagnostics.along import draw
from ...diagnostics.curvature import spectral_norm, step_measures
from ...diagnostics.sampled import layer_noise, met_entries, sample_entries, sampled_conditions
from ...models.transformer import TensorModel
from ...progress import bar
from ...store.results import measurement
from ...tasks.regression import Task
from ...training.history import COLUMNS, History
from ..measure.curvature import first_seeds, key_of_history
from .batch_noise import tails_by_batch

RESIDUAL = 0.03
"""Relative residual of spectral norms, whose errors are of its square."""

Layers = Mapping[str, Tensor]
Measure = Callable[[int, int, int], Mapping[str, Any]]
"""Metrics of a run at a step on an evaluation set."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much is measured on each network.

    Attributes:
        seeds: judging seeds that curvature is measured on.
        sets: evaluation sets, each drawn anew from the training examples.
        text, images: examples of one, of sequences and of images.
        few_text, few_images: as many of them as R_med is taken on.
        entries: of the Hessian's diagonal, of each layer.
        probes: steps at which R_med is measured; steps and norms are at every step kept with the one after it.
        settled: the first step that counts as "along the run".
        noise_seeds, samples: initializations, and minibatches behind each tail.
        later: the step at which noise is measured again, of `later_seeds` of Adam's runs.
        text_batch, image_batch: examples of a minibatch.
        reference: examples behind the gradient that noise is measured from.
        batches: sizes of a batch at which its tail is looked at once more, from gradients of `singles` examples.
        first_seed, first_set: the seeds and sets are these and those after them.
    """

    seeds: int
    sets: int
    text: int
    images: int
    few_text: int
    few_images: int
    entries: int
    probes: tuple[int, ...]
    settled: int
    noise_seeds: int
    samples: int
    later: int
    later_seeds: int
    text_batch: int
    image_batch: int
    reference: int
    singles: int
    batches: tuple[int, ...] = (1, 8, 64)
    first_seed: int = 0
    first_set: int = 0

    @property
    def numbers(self) -> range:
        """Numbers of the evaluation sets."""
        return range(self.first_set, self.first_set + self.sets)


def along(
    history: History, model: TensorModel, task: Task, steps: Sequence[int], sets: Sequence[int], examples: int,
    measure: Callable[[int, int, int, Any], Mapping[str, Any]], title: str,
) -> pd.DataFrame:  # fmt: skip
    """Tidy rows of a measure of every run, step and set; undefined values have no row, lost runs none at all."""
    drawn = draw(model, task, sets, examples)
    rows = []
    with bar(len(history.runs) * len(steps) * len(drawn), title) as shown:
        for run in history.runs.to_dict("records"):
            for step in steps:
                for number, batch in drawn.items():
                    for metric, value in measure(int(run["run"]), step, number, batch).items():
                        rows.append({**run, "step": step, "metric": metric, "value": float(value), "batch": number})
                    shown.update(1)
    frame = pd.DataFrame(rows, columns=[*COLUMNS, "batch"])
    return frame[frame["value"].notna()].reset_index(drop=True)


def conditions_along(
    history: History, model: TensorModel, task: Task, layers: Layers | None, steps: Sequence[int],
    sets: Sequence[int], examples: int, entries: int, dtype: str = "float64", title: str = "condition numbers",
) -> pd.DataFrame:  # fmt: skip
    """R_med from a sample of the diagonal that every seed and set draws anew, the same for all optimizers of a seed.

    Columns as in :func:`lintrans.diagnostics.along.conditions_along`; metrics of
    :func:`lintrans.diagnostics.sampled.sampled_conditions`.
    """
    seeds, kind = [int(seed) for seed in history.runs["seed"]], resolve_dtype(dtype, torch.float64)

    def measure(run: int, step: int, number: int, batch: Any) -> Mapping[str, float]:
        point = history.parameters(step)[run].to(kind)
        if not point.isfinite().all():
            return {}
        examples = batch.to(kind)
        met = met_entries(model, point, examples) if entries else None
        sample = sample_entries(model, entries, 1000 * seeds[run] + number, layers, met)
        return sampled_conditions(model, point, examples, sample)

    return along(history, model, task, steps, sets, examples, measure, title)


def steps_along(
    history: History, model: TensorModel, task: Task, steps: Sequence[int], sets: Sequence[int], examples: int,
    spectral: Sequence[str] = ("adam",), residual: float = RESIDUAL, dtype: str = "float64",
    title: str = "curvature along steps",
) -> pd.DataFrame:  # fmt: skip
    """Curvature along realised steps, signed, and for some optimizers the Hessian's spectral norm.

    Metrics of :func:`lintrans.diagnostics.curvature.step_measures`, the norm from products in `dtype`.
    """
    optimizers = history.runs["optimizer"].tolist()

    def measure(run: int, step: int, _: int, batch: Any) -> Mapping[str, Tensor]:
        before, after = (history.parameters(place)[run].double() for place in (step, step + 1))
        found = step_measures(model, before, after, batch)
        if optimizers[run] in spectral and found["directional_smoothness"].isfinite():
            found["spectral_norm"] = spectral_norm(model, before, batch, residual=residual, dtype=dtype)
        return found

    return along(history, model, task, steps, sets, examples, measure, title)


def noise_of(
    model: TensorModel, task: Task, parameters: Tensor, seeds: Sequence[int], layers: Layers | None, *, batch: int,
    samples: int, reference: int, title: str = "gradient noise",
) -> pd.DataFrame:  # fmt: skip
    """Tails of the noise of several runs, each with batches of its own seed: :func:`layer_noise` with a column seed."""
    parts = []
    with bar(len(seeds), title) as shown:
        for point, seed in zip(parameters, seeds, strict=True):
            found = layer_noise(
                model, task, point, layers, batch=batch, samples=samples, reference=reference, seed=seed
            )
            parts.append(found.assign(seed=seed))
            shown.update(1)
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class Instruments:
    """The instruments on one network: its name, model, task, layers; examples of a set, for R_med, of a minibatch."""

    name: str
    model: TensorModel
    task: Any
    layers: Layers
    examples: int
    few: int
    batch: int
    budget: Budget

    @classmethod
    def of(cls, network: Any, budget: Budget, language: bool) -> Instruments:
        """Those of a :class:`~.networks.PracticeNetwork`, a language model or an image network."""
        text = (budget.text, budget.few_text, budget.text_batch)
        sizes = text if language else (budget.images, budget.few_images, budget.image_batch)
        return cls(network.name, network.model, network.task, network.layers, *sizes, budget)

    def _kept(
        self, what: str, history: History, steps: Sequence[int], examples: int, compute: Any, **options: Any
    ) -> pd.DataFrame:
        """A measure along a training, of the budget's seeds, from the store where it is there."""
        few = first_seeds(history, self.budget.seeds)
        title, sets = f"{self.name}, {what}", list(self.budget.numbers)
        of = {
            "what": what, "history": key_of_history(few), "steps": list(steps), "sets": sets,
            "examples": examples, **options,
        }  # fmt: skip
        return measurement(title, of, partial(compute, few, sets=sets, examples=examples, title=title, **options))

    def conditions(self, history: History) -> pd.DataFrame:
        """R_med at the probes."""
        steps = [step for step in self.budget.probes if step in history.snapshots]
        compute = partial(conditions_along, model=self.model, task=self.task, layers=self.layers, steps=steps)
        return self._kept(
            "condition numbers", history, steps, self.few, compute, entries=self.budget.entries, dtype="float32"
        )

    def steps(self, history: History) -> pd.DataFrame:
        """Curvature along the realised steps that the training kept."""
        steps = [step for step in sorted(history.snapshots) if step + 1 in history.snapshots and step < history.steps]
        compute = partial(steps_along, model=self.model, task=self.task, steps=steps)
        return self._kept(
            "curvature along steps", history, steps, self.examples, compute, residual=RESIDUAL, dtype="float32"
        )

    def noise(self) -> pd.DataFrame:
        """Gradient noise at initialization, of the whole vector and of every layer."""
        seeds = range(self.budget.first_seed, self.budget.first_seed + self.budget.noise_seeds)
        return self._noise("at initialization", self.model.init(seeds), seeds, {"parameters": "init"})

    def noise_later(self, history: History) -> pd.DataFrame:
        """The same at a later step of Adam's runs."""
        few = first_seeds(history, self.budget.later_seeds)
        few = few.select([int(run) for run in few.runs[few.runs["optimizer"] == "adam"]["run"]])
        seeds, step = [int(seed) for seed in few.runs["seed"]], self.budget.later
        of = {"parameters": key_of_history(few), "step": step}
        return self._noise(f"at step {step:,}", few.parameters(step), seeds, of)

    def noise_by_batch(self, history: History) -> pd.DataFrame:
        """Tails by batch size of Adam's first run, at initialization and at the later step: with a column step."""
        few = first_seeds(history, 1)
        few = few.select([int(run) for run in few.runs[few.runs["optimizer"] == "adam"]["run"]])
        own, steps, title = self.budget, (0, self.budget.later), f"{self.name}, gradient noise by batch"

        def compute() -> pd.DataFrame:
            tails = [
                tails_by_batch(
                    self.model, self.task, few.parameters(step)[0], own.batches, own.singles, own.first_seed
                ).assign(step=step)
                for step in steps
            ]
            return pd.concat(tails, ignore_index=True)

        of = {
            "what": "noise by batch", "history": key_of_history(few), "steps": list(steps),
            "batches": list(own.batches), "examples": own.singles, "seed": own.first_seed,
        }  # fmt: skip
        return measurement(title, of, compute)

    def _noise(self, when: str, parameters: Tensor, seeds: Sequence[int], of: Mapping[str, Any]) -> pd.DataFrame:
        budget, title = self.budget, f"{self.name}, gradient noise {when}"
        how = {"batch": self.batch, "samples": budget.samples, "reference": budget.reference}
        compute = partial(noise_of, self.model, self.task, parameters, list(seeds), self.layers, title=title, **how)
        key = {
            "what": "gradient noise by layer", "model": self.model, "task": self.task, "seeds": list(seeds), **of, **how
        }  # fmt: skip
        return measurement(title, key, compute)


__all__ = ["Budget", "Instruments", "conditions_along", "noise_of", "steps_along"]
