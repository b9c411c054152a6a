"""The CUDA engine: whole training steps in :mod:`~lintrans.engines.cuda.kernels`, nothing crosses to the host.

Losses and gradients on given prompts are those of the reference engine on the device.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from numba import cuda
from numba.core.errors import NumbaPerformanceWarning
from torch import Tensor

from ...models.fitting import check_parameters, check_state
from ...progress import say
from ...random import Stream
from ...training.optimizers import Slots
from ..base import SKIPPED_SHARE, Plan, State
from ..laws import moments_of
from ..reference import ReferenceEngine
from ..rules import rules_of
from .kernels import THREADS, kernels

BLOCK_BYTES = 2**26
"""Bound on the prompts that losses are computed on at a time."""


def on_device(tensor: Tensor) -> Any:
    """A tensor's memory as numba-cuda takes it; in the simulator, which works on the CPU, as a NumPy array."""
    return tensor.numpy() if tensor.device.type == "cpu" else cuda.as_cuda_array(tensor)


def launched(kernel: Any, *blocks: int) -> Any:
    """A kernel on so many blocks of THREADS threads; few of them are no mistake of whoever has a small ensemble."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumbaPerformanceWarning)
        return kernel[blocks, THREADS]


class CudaEngine(ReferenceEngine):
    """See :class:`~lintrans.engines.Engine` and this module's text."""

    name = "cuda"

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        model, task = plan.linear
        drawn = moments_of(task)
        assert drawn is not None  # see lintrans.engines.unsupported_kernels
        self.drawn = drawn
        where = plan.device
        dtype = str(plan.dtype).removeprefix("torch.")
        self.kernels = kernels(model.layers, model.d, model.heads, model.form == "sparse", dtype)
        runs, blocks = len(plan.runs), -(-plan.batch // THREADS)
        self._data = torch.zeros(len(self.seeds), self.kernels.numbers, plan.batch, dtype=plan.dtype, device=where)
        self._zeros = torch.zeros(len(self.seeds), dtype=torch.int64, device=where)
        self._partial = torch.zeros(runs, blocks, self.kernels.wide + 1, dtype=plan.dtype, device=where)
        self._seeds = torch.tensor(self.seeds, dtype=torch.int64, device=where)
        rule, hyper, _, _ = rules_of([run.optimizer for run in plan.runs], model)
        self._rule, self._hyper = (torch.from_numpy(part).to(where) for part in (rule, hyper))

    def slots(self, parameters: Tensor) -> dict[str, Slots]:
        """Two moments of all runs."""
        return {"compiled": {name: torch.zeros_like(parameters) for name in ("first", "second")}}

    def prepare(self) -> None:
        """Compile what a training needs, so that a failure shows before anything is trained."""
        if self.kernels.draw.overloads:  # in this process, for this model and dtype
            return
        say("compiling the CUDA kernels of this model, once in a process (about 20 s)")
        state = self.start()
        self.advance(state, 1)
        self.block_losses(state.parameters, 1, Stream.TEST, 1)

    def advance(self, state: State, steps: int) -> None:
        """Make `steps` updates in place."""
        check_state(self.plan, state)
        plan, runs, blocks = self.plan, len(self.plan.runs), self._partial.shape[1]
        data, partial, owner = on_device(self._data), on_device(self._partial), on_device(self.seed_of_run)
        prompts = (data, on_device(self._seeds), on_device(self._zeros))
        theta = on_device(state.parameters.view(runs, -1))
        kept = state.slots["compiled"]
        moving = [on_device(x) for x in (kept["first"], kept["second"], state.count, state.skipped, state.clipped)]
        diverged, clip, lr = (on_device(part) for part in (state.diverged, self.clip.view(-1), self.lr.view(-1)))
        rule, hyper, limit = on_device(self._rule), on_device(self._hyper), SKIPPED_SHARE * plan.total
        draw = launched(self.kernels.draw, -(-len(self.seeds) * plan.batch // THREADS))
        add, update = launched(self.kernels.add, blocks, runs), launched(self.kernels.update, runs)
        for _ in range(steps):
            step, rate = state.step, plan.rate(state.step)
            draw(*prompts, step, plan.batch, *self.drawn, int(Stream.TRAINING))
            add(data, owner, theta, diverged, partial)
            update(partial, theta, *moving, diverged, clip, lr, rate, rule, hyper, limit, step)
            state.step += 1
        synchronise(plan.device)  # so that progress is what has been done

    def block_losses(self, parameters: Tensor, blocks: int, stream: Stream, batch: int) -> Tensor:
        """Losses ``[runs, blocks]`` on the first `blocks` batches of a stream, the same for all runs."""
        check_parameters(self.plan.model, parameters)
        where, kind, runs = self.plan.device, self.plan.dtype, len(parameters)
        sets = max(1, min(blocks, BLOCK_BYTES // (self.kernels.numbers * batch * kind.itemsize)))
        parts, each = -(-batch // THREADS), torch.arange(sets, dtype=torch.int64, device=where)
        data = torch.zeros(sets, self.kernels.numbers, batch, dtype=kind, device=where)
        partial = torch.zeros(runs, sets, parts, dtype=kind, device=where)
        theta = on_device(parameters.detach().to(where, kind).reshape(runs, -1).contiguous())
        losses = []
        for first in range(0, blocks, sets):
            launched(self.kernels.draw, -(-sets * batch // THREADS))(
                on_device(data), on_device(torch.zeros_like(each)), on_device(each), first, batch, *self.drawn,
                int(stream),
            )  # fmt: skip
            launched(self.kernels.lose, parts, runs, sets)(on_device(data), theta, on_device(partial))
            losses.append(partial.sum(-1) / batch)
        return torch.cat(losses, dim=-1)[:, :blocks]


def synchronise(device: torch.device) -> None:
    """Wait for what a device has been asked to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
