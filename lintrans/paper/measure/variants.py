"""What claims C13 to C16 are judged on: other attention, a larger model, a nonlinear task, smaller sizes."""

from __future__ import annotations

from dataclasses import replace

import torch

from ...models.attention import reach
from ...random import Stream
from ...training.history import History
from ..budgets import AttentionBudget, LargerBudget, SizeBudget
from ..claims import c13, c14, c15, c16
from ..problems import LARGER, NONLINEAR, PROBLEMS
from ..protocol import judge_all, published_runs, train_to_judge, with_seeds_and_steps
from . import noise
from .curvature import condition_numbers, step_curvatures

REACH_PROMPTS = 20_000
"""Prompts behind the loss that the public code's softmax cannot get below."""


def sizes(budget: SizeBudget, device: str = "auto") -> c16.Measured:
    """Tune, train and measure every problem of a budget; what other chapters have is found in the store."""
    judged = judge_all(budget.training, device, readings=("tuned",))
    curved = {name: own for name, own in judged.tuned.items() if not c16.constant_hessian(name)}
    return c16.Measured(
        judged.tuned,
        judged.tunings,
        noise.at_initialization(budget.noise),
        condition_numbers(curved, budget.curvature, "best"),
        step_curvatures(judged.tuned, budget.curvature, "best"),
        step_curvatures({name: _adam(own) for name, own in curved.items()}, budget.curvature, "best", spectral=True),
    )


def _adam(history: History) -> History:
    return history.select([int(run) for run in history.runs[history.runs["optimizer"] == "adam"]["run"]])


def attention(budget: AttentionBudget, device: str = "auto") -> c13.Measured:
    """Tune, train and measure every kind of attention."""
    full = judge_all(budget.full, device, readings=("tuned",), tuned_at=budget.tuning_steps)
    return c13.Measured(sizes(budget.sparse, device), full, reachable())


def reachable(prompts: int = REACH_PROMPTS) -> c13.Reach:
    """How far the public code's sparse softmax can answer, and the least loss that leaves."""
    model, task = PROBLEMS[c13.BOUNDED].model, PROBLEMS[c13.BOUNDED].task
    factor = reach(model.parameter_shape[0], task.n)
    sample = task.sample(prompts, stream=Stream.EVALUATION, dtype=torch.float64)
    largest = sample.responses[:, :-1].abs().amax(-1)
    return c13.Reach(factor, float(((sample.target.abs() - factor * largest).clamp_min(0) ** 2).mean()))


def changed_attention(budget: AttentionBudget, seeds: int = 0, steps: int = 0) -> AttentionBudget:
    """A budget with other judging seeds and initializations, or another horizon; 0 keeps the scale's own."""
    own = budget.sparse
    training, full = (with_seeds_and_steps(each, seeds, steps) for each in (own.training, budget.full))
    return replace(budget, sparse=replace(own, training=training, noise=noise.changed(own.noise, seeds)), full=full)


def larger(budget: LargerBudget, device: str = "auto") -> c14.Larger:
    """Tune, train, and measure the noise."""
    judged = judge_all(budget.training, device, tuned_at=budget.tuning_steps)
    return c14.Larger(judged, noise.at_initialization(budget.noise)[LARGER.name])


def nonlinear(budget: SizeBudget, device: str = "auto") -> c15.Measured:
    """Train at the published rates and measure all five behaviours, everything on the task that is trained."""
    name, runs = NONLINEAR.name, published_runs(NONLINEAR, budget.training.judging)
    history = train_to_judge(NONLINEAR, runs, budget.training, f"{NONLINEAR.title}, published rates", device)
    return c15.Measured(
        history,
        noise.at_initialization(budget.noise)[name],
        condition_numbers({name: history}, budget.curvature, "published")[name],
        step_curvatures({name: history}, budget.curvature, "published")[name],
        step_curvatures({name: _adam(history)}, budget.curvature, "published", spectral=True)[name],
    )
