"""The reference engine: torch on any device, any model, batched over runs and prompts, gradients by autograd.

On the moment form, autograd on long elementwise operations with prompts last needs about 1.4 ms per run and step in
Setting 1 on two cores, a third of what a hand-written backward pass on small matrices (prompts first) needs; so the
forward pass stays the only formula. Runs are taken in groups whose intermediate results fit in the cache of a CPU as
well as possible.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..models.fitting import check_task
from ..models.transformer import TensorModel
from ..random import Stream
from ..training.optimizers import Optimizer, Slots, clip_factor, gradient_norm
from .base import SKIPPED_SHARE, Plan, State

GROUP_BYTES = 2**28
"""Bound on the intermediate results of one group of runs."""
GROUP_RUNS = 16
"""Runs of one seed that a CPU takes together at most.

The last bit of what torch computes there can depend on where in memory a run lies and on how many lie beside it. Groups
that are the same whoever else trains make a run's bits those of any ensemble of whole groups
(:mod:`lintrans.store.shards`).
"""

PART_BYTES = 2**24
"""Bound on the intermediate results of one run, where its batch can be split: a larger part leaves a CPU's cache."""


class ReferenceEngine:
    """See :class:`~lintrans.engines.Engine`."""

    name = "reference"

    def __init__(self, plan: Plan) -> None:
        check_task(plan.model, plan.task)
        self.plan = plan
        runs, device = plan.runs, plan.device
        self.seeds = sorted({run.seed for run in runs})
        place = {seed: index for index, seed in enumerate(self.seeds)}
        self.seed_of_run = torch.tensor([place[run.seed] for run in runs], device=device)
        self.lr = torch.tensor([[run.lr] for run in runs], dtype=torch.float64, device=device)
        self.clip = torch.tensor([[run.clip] for run in runs], dtype=torch.float64, device=device)
        self.groups = [
            torch.split((self.seed_of_run == seed).nonzero().squeeze(-1), GROUP_RUNS) for seed in range(len(self.seeds))
        ]
        members: dict[str, list[int]] = {}
        for index, run in enumerate(runs):
            members.setdefault(run.optimizer.name, []).append(index)
        self.members = [(runs[own[0]].optimizer, torch.tensor(own, device=device)) for own in members.values()]

    def start(self) -> State:
        """Initial parameters by seed; counts zero."""
        plan = self.plan
        seeds = [run.seed for run in plan.runs]
        parameters = plan.model.init(seeds, dtype=plan.dtype, device=plan.device)
        zero = torch.zeros(len(seeds), dtype=torch.int64, device=plan.device)
        return State(
            step=0,
            parameters=parameters,
            slots=self.slots(parameters.reshape(len(seeds), -1)),
            count=zero,
            skipped=zero.clone(),
            clipped=zero.clone(),
            diverged=torch.full_like(zero, -1),
        )

    def slots(self, parameters: Tensor) -> dict[str, Slots]:
        """What optimizers remember before the first step; parameters are ``[runs, G]``."""
        slots = {}
        for optimizer, own in self.members:
            slots[optimizer.name] = found = optimizer.init(parameters[own], self.plan.model)
            if not isinstance(found, dict) or any(
                not isinstance(part, Tensor) or part.shape[:1] != own.shape for part in found.values()
            ):
                raise TypeError(
                    f"init of {optimizer!r} gave {found!r}: give a dictionary of tensors whose first axis is the "
                    f"{len(own)} runs of the parameters"
                )
            found.update({name: part.clone() for name, part in found.items()})  # memory of its own, to be changed
        return slots

    def group(self, prompts: Any) -> int:
        """How many runs are taken at once; one where the model would only take one after the other."""
        if not getattr(self.plan.model, "batched", True):
            return 1
        return max(1, GROUP_BYTES // (self.plan.model.numbers(prompts) * self.plan.dtype.itemsize))

    def parts(self, prompts: Any) -> list[tuple[float, Any]]:
        """Parts of a batch with the share that each has in its mean; those that cannot be split are one part."""
        if not hasattr(prompts, "split"):
            return [(1.0, prompts)]
        needed = self.plan.model.numbers(prompts) * self.plan.dtype.itemsize
        parts = prompts.split(max(1, prompts.batch * PART_BYTES // max(needed, PART_BYTES)))
        return [(part.batch / prompts.batch, part) for part in parts]

    def loss(self, parameters: Tensor, prompts: Any) -> Tensor:
        """Losses ``[runs]`` on prompts that all runs share."""
        with torch.no_grad():
            parts = self.parts(prompts)
            groups = torch.split(parameters, self.group(parts[0][1]))
            return torch.cat([_mean(self.plan.model, group, parts) for group in groups])

    def block_losses(self, parameters: Tensor, blocks: int, stream: Stream, batch: int) -> Tensor:
        """Losses ``[runs, blocks]``; memory does not grow with the number of blocks but for these numbers."""
        plan = self.plan
        together = plan.device.type != "cpu" or len(parameters) != len(plan.runs)
        groups = [torch.arange(len(parameters))] if together else [part for parts in self.groups for part in parts]
        losses = torch.empty(len(parameters), blocks, dtype=plan.dtype, device=plan.device)
        for block in range(blocks):
            prompts = plan.model.draw(plan.task, batch, step=block, stream=stream, dtype=plan.dtype, device=plan.device)
            for own in groups:
                losses[own, block] = self.loss(parameters[own], prompts)
        return losses

    def gradient(self, parameters: Tensor, prompts: Any) -> tuple[Tensor, Tensor]:
        """Losses ``[runs]`` and gradients by autograd; prompts shared by all runs, or with a leading axis of runs."""
        parts = self.parts(prompts)
        size = self.group(parts[0][1])
        shared = prompts.target.ndim == 1
        losses, gradients = list[Tensor](), list[Tensor]()
        for start in range(0, len(parameters), size):
            own = slice(start, start + size)
            leaf = parameters[own].detach().requires_grad_()
            each = list[tuple[Tensor, Tensor]]()
            for share, part in parts:
                loss = share * self.plan.model.loss(leaf, part if shared else part[own])
                (gradient,) = torch.autograd.grad(loss.sum(), leaf)  # runs do not mix: the sum's is each one's own
                each.append((loss.detach(), gradient))
            losses.append(functools.reduce(torch.add, [loss for loss, _ in each]))
            gradients.append(functools.reduce(torch.add, [gradient for _, gradient in each]))
        return torch.cat(losses), torch.cat(gradients)

    def fresh_gradient(self, parameters: Tensor, runs: Tensor, step: int, batch: int) -> Tensor:
        """Gradients on the training prompts of a step; `runs` are the numbers of those whose parameters are given."""
        plan = self.plan
        options: Any = {"dtype": plan.dtype, "device": plan.device}
        if plan.device.type != "cpu":
            prompts = plan.model.draw(plan.task, batch, self.seeds, step, **options)
            return self.gradient(parameters, prompts[self.seed_of_run[runs]])[1]
        if getattr(plan.task, "fixed", False):
            return self.gradient(parameters, plan.model.draw(plan.task, batch, **options))[1]
        row = torch.full((len(plan.runs),), -1)  # of each run among those given
        row[runs] = torch.arange(len(runs))
        gradients = torch.empty_like(parameters)
        for seed, groups in zip(self.seeds, self.groups, strict=True):
            chosen = [rows[rows >= 0] for rows in (row[group] for group in groups)]
            if any(map(len, chosen)):
                prompts = plan.model.draw(plan.task, batch, seed, step, **options)
            for rows in filter(len, chosen):
                gradients[rows] = self.gradient(parameters[rows], prompts)[1]
        return gradients

    def advance(self, state: State, steps: int) -> None:
        """Make `steps` updates in place."""
        for _ in range(steps):
            self._step(state)

    def _step(self, state: State) -> None:
        plan = self.plan
        alive = (state.diverged < 0).nonzero().squeeze(-1)
        step, state.step = state.step, state.step + 1
        if not len(alive):
            return
        gradient = self.fresh_gradient(state.parameters[alive], alive, step, plan.batch)
        gradient = gradient.reshape(len(alive), -1)
        largest, relative = gradient_norm(gradient)
        finite = torch.isfinite(largest).squeeze(-1)
        state.skipped[alive[~finite]] += 1
        moving, gradient = alive[finite], gradient[finite]
        factor = clip_factor(largest[finite], relative[finite], self.clip[moving])
        self._update(state, moving, gradient * factor.to(gradient.dtype), (factor < 1).squeeze(-1), plan.rate(step))
        broken = ~_finite(state.parameters)
        broken |= state.skipped > SKIPPED_SHARE * plan.total
        state.diverged[broken & (state.diverged < 0)] = state.step

    def _update(self, state: State, moving: Tensor, gradient: Tensor, clipped: Tensor, rate: float) -> None:
        """Apply each optimizer to those of its runs that move in this step.

        What optimizers remember may overflow where gradients and parameters do not, and would stop these for ever:
        such steps are skipped.
        """
        flat = state.parameters.view(len(self.plan.runs), -1)
        row = torch.full_like(state.count, -1)  # of each run among those that move
        row[moving] = torch.arange(len(moving), device=moving.device)
        for optimizer, index in self.members:
            chosen = (row[index] >= 0).nonzero().squeeze(-1)
            if not len(chosen):
                continue
            own, slots = index[chosen], state.slots[optimizer.name]
            before = flat[own]
            direction, after = optimizer.update(
                gradient[row[own]],
                {name: part[chosen] for name, part in slots.items()},
                state.count[own].unsqueeze(-1) + 1,
                self.plan.model,
            )
            _check_update(
                optimizer, direction, after, before, {n: (len(own), *part.shape[1:]) for n, part in slots.items()}
            )
            moved = before - (rate * self.lr[own]).to(flat.dtype) * direction
            finite = [_finite(part) for part in (moved, *after.values())]
            kept = ~finite[0] | torch.stack(finite).all(0)
            state.skipped[own[~kept]] += 1
            for name, part in slots.items():
                part[chosen[kept]] = after[name][kept]
            own, places = own[kept], row[own[kept]]
            state.count[own] += 1
            state.clipped[own] += clipped[places]
            flat[own] = moved[kept]


def _finite(values: Tensor) -> Tensor:
    """Of which runs all numbers are finite, ``[runs]``: by the largest magnitude, an eighth of what isfinite takes."""
    flat = values.reshape(len(values), -1)
    if flat.is_floating_point() and flat.numel():
        return torch.isfinite(flat.abs().amax(-1))
    return torch.isfinite(flat).all(-1)


def _mean(model: TensorModel, parameters: Tensor, parts: Sequence[tuple[float, Any]]) -> Tensor:
    """Losses ``[runs]`` on a batch in parts."""
    return functools.reduce(torch.add, [share * model.loss(parameters, part) for share, part in parts])


def _check_update(optimizer: Optimizer, direction: Tensor, after: Slots, flat: Tensor, shapes: dict[str, Any]) -> None:
    """Refuse what a user's own optimizer gives in another shape than it got."""
    found = {name: tuple(part.shape) for name, part in after.items()}
    if direction.shape != flat.shape or found != shapes:
        raise ValueError(
            f"update of {optimizer!r} gave a direction {list(direction.shape)} and slots {found}: give a direction "
            f"{list(flat.shape)} and slots {shapes}"
        )
