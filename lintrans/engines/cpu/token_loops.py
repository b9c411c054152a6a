"""What compiled loops on tokens have in common: packing prompts, calling kernels with torch tensors, the engine.

A subclass says which kernels, how much memory a prompt needs, and how its task's prompts are drawn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from ...models.embedded import EmbeddedTransformer
from ...models.fitting import check_parameters, check_prompts, check_seeds, check_task, owners
from ...models.transformer import LinearTransformer
from ...random import Stream
from ...tasks.regression import Prompts
from ..base import Plan, State
from ..reference import ReferenceEngine
from .arguments import Array, TokenModel
from .compiling import kernel
from .loops import MEMORY, aligned, part_of
from .mlp import rows_of
from .shape_kernels import CHUNK, lanes_of


class TokenLoops(ABC):
    """Compiled loops for one model, in one dtype, on the CPU.

    Args:
        model: any depth; kernels may need a compile for each of its other sizes.
        d: dimension of the covariates.
        layers: the model's depth.
        dtype: torch.float32 or torch.float64.
    """

    def __init__(self, model: LinearTransformer | EmbeddedTransformer, d: int, layers: int, dtype: torch.dtype) -> None:
        self.owner, self.d, self.layers, self.dtype = model, d, layers, dtype
        self.kind: np.dtype[Any] = np.dtype(str(dtype).removeprefix("torch."))
        self.lanes = lanes_of(self.kind)
        self.wide = torch.Size(model.parameter_shape).numel()
        self.parts = model.parts
        self.shape = (1, 0)  # heads and kind of attention, for pieces that ask
        self._kept: dict[str, Array] = {}

    @abstractmethod
    def piece(self, tangents: int = 0) -> int:
        """Address of the piece that differentiates."""

    @abstractmethod
    def space(self, n: int) -> int:
        """Numbers of working memory that a prompt of n examples needs."""

    @abstractmethod
    def draw(self, task: Any, seeds: Sequence[int], steps: Sequence[int], stream: Stream, batch: int) -> Array:
        """The prompts of (seeds[s], steps[s]) as kernels read them; overwritten by the next call."""

    def memory(self, name: str, *shape: int) -> Array:
        """Memory for one purpose, with whatever it holds; fresh memory in every call would cost a tenth of its time."""
        if name not in self._kept or self._kept[name].shape != shape:
            self._kept[name] = aligned(shape, self.kind)
        return self._kept[name]

    def per_thread(self, name: str, size: int, tangents: int = 0) -> Array:
        """Memory of `size` values for each thread, in whole cache lines."""
        padded = (size + 15) // 16 * 16
        return self.memory(name, numba.config.NUMBA_NUM_THREADS, padded * self.lanes * (1 + tangents))

    def data(self, sets: int, n: int, batch: int) -> Array:
        """Memory for drawn prompts, ``[sets, rows, prompts]``, the prompts in whole SIMD values."""
        return self.memory("data", sets, rows_of(n, self.d), -(-batch // self.lanes) * self.lanes)

    def pack(self, prompts: Prompts) -> Array:
        """Prompts as kernels read them, ``[sets, rows, prompts]``; sets are the prompts' leading axis, or one."""
        check_prompts(self.owner, prompts)
        x, y = (part.detach().to("cpu", self.dtype) for part in (prompts.covariates, prompts.responses))
        x, y = x.movedim(-3, -1), y.movedim(-2, -1)  # [*sets, n + 1, d, batch], [*sets, n + 1, batch]
        batch = prompts.batch
        x, y = x.reshape(-1, x.shape[-3] * x.shape[-2], batch), y.reshape(-1, y.shape[-2], batch)
        data = aligned((len(x), rows_of(prompts.n, prompts.d), -(-batch // self.lanes) * self.lanes), self.kind)
        data[:, : x.shape[1], :batch], data[:, x.shape[1] : -1, :batch], data[:, -1, :batch] = x.numpy(), y.numpy(), 1
        return data

    def differentiate(
        self, points: Array, data: Array, chosen: Array, batch: int, tangents: int = 0, back: int | None = None
    ) -> Array:
        """Points [runs, wide, 1 + tangents] on the sets `chosen`: [runs, wide + 1, 1 + tangents].

        That is the mean loss's gradient, then the sum of squared errors. Only the last `back` of the model's parts get
        gradients (None: all); with 0 there is that sum alone.
        """
        chunks = -(-data.shape[-1] // CHUNK)
        n = (data.shape[1] - 1) // (self.d + 1) - 1
        each = (self.wide + 1) * (1 + tangents)
        group = max(1, MEMORY // (chunks * each * self.lanes * self.kind.itemsize))
        work = self.per_thread("work", self.space(n), tangents)
        own = self.per_thread("own", data.shape[1])
        result = np.zeros((len(points), each), self.kind)
        partial = self.memory("partial", min(group, len(points)) * chunks, each, self.lanes)
        for start in range(0, len(points), group):
            part = slice(start, start + group)
            kernel("token_gradients", self.kind)(
                gradient=self.piece(tangents),
                model=TokenModel(self.layers, n, *self.shape),
                data=data,
                chosen=chosen[part],
                theta=points[part],
                batch=batch,
                back=len(self.parts) if back is None else back,
                per=CHUNK // self.lanes,
                partial=partial,
                work=work,
                own=own,
                result=result[part],
            )
        return result.reshape(len(points), self.wide + 1, 1 + tangents)

    def points(self, parameters: Tensor) -> Array:
        """Parameters as kernels read them, without tangents: ``[runs, G, 1]``."""
        if parameters.ndim > 3 or parameters.shape[-1] != self.wide:
            check_parameters(self.owner, parameters)
        points: Array = parameters.detach().to("cpu", self.dtype).reshape(-1, self.wide, 1).contiguous().numpy()
        return points

    def on(self, parameters: Tensor, data: Array, chosen: Array, batch: int) -> tuple[Tensor, Tensor]:
        """Losses ``[runs]`` and gradients like the parameters on packed prompts, each run on the set chosen for it."""
        result = torch.from_numpy(self.differentiate(self.points(parameters), data, chosen, batch)[..., 0])
        return result[:, -1] / batch, result[:, :-1].reshape(parameters.shape)

    def gradient(self, parameters: Tensor, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Losses ``[runs]`` and gradients ``[runs, ...]``; prompts shared by all runs, or one batch a run."""
        data = self.pack(prompts)
        return self.on(parameters, data, owners(prompts, len(parameters)), prompts.batch)

    def hessian_products(self, parameters: Tensor, directions: Tensor, prompts: Prompts, start: int = 0) -> Tensor:
        """Exact Hessian-vector products ``[runs, count, G]`` by dual numbers, two directions at a time.

        Entries before number `start` are not asked for, and are zero where that spares work.

        Exact where the loss is smooth: on the kinks of relus the derivative is that of one side, as in torch.
        """
        runs, count, _ = directions.shape
        tangents = 2 if count > 1 else 1
        groups = -(-count // tangents)
        along = np.zeros((runs, groups * tangents, self.wide), self.kind)
        along[:, :count] = self.points(directions.flatten(0, 1)).reshape(runs, count, self.wide)
        points = aligned((runs, groups, self.wide, 1 + tangents), self.kind)
        points[..., 0] = self.points(parameters)[:, None, :, 0]
        points[..., 1:] = along.reshape(runs, groups, tangents, self.wide).transpose(0, 1, 3, 2)
        data = self.pack(prompts)
        owner = np.repeat(owners(prompts, runs), groups)
        flat = points.reshape(runs * groups, self.wide, 1 + tangents)
        back = len(self.parts) - part_of(self.parts, start)
        result = self.differentiate(flat, data, owner, prompts.batch, tangents, back)
        products = result[:, :-1, 1:].transpose(0, 2, 1).reshape(runs, groups * tangents, self.wide)[:, :count]
        return torch.from_numpy(np.ascontiguousarray(products)).to(directions)

    def drawn_gradients(
        self, parameters: Tensor, task: Any, steps: int, stream: Stream, batch: int, seed: int | Sequence[int] = 0,
        first: int = 0,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Losses ``[runs, steps]`` and gradients ``[runs, steps, ...]`` on the batches of a stream from `first` on.

        The prompts are those of one seed, shared by all runs, or of one seed a run.
        """
        check_task(self.owner, task)
        given = check_seeds(seed, len(parameters))
        seeds = [given] * len(parameters) if isinstance(given, int) else given
        distinct, chosen = np.unique(np.array(seeds, np.int64), return_inverse=True)
        found = []
        for step in range(first, first + steps):
            data = self.draw(task, distinct.tolist(), [step] * len(distinct), stream, batch)
            found.append(self.on(parameters, data, chosen.astype(np.int64), batch))
        losses, slopes = zip(*found, strict=True)
        return torch.stack(losses, dim=1), torch.stack(slopes, dim=1)

    def losses(self, parameters: Tensor, data: Array, batch: int) -> Tensor:
        """Losses ``[runs]`` on packed prompts that all runs share."""
        points = self.points(parameters)
        result = self.differentiate(points, data, np.zeros(len(points), np.int64), batch, back=0)
        return torch.from_numpy(result[:, -1, 0] / batch)


class TokenEngine(ReferenceEngine):
    """See :class:`~lintrans.engines.Engine`: compiled draws, gradients and losses; clip and optimizer in torch.

    Bit for bit the same for any number of threads, and gradients for a run alone or in an ensemble.

    Args:
        plan: what is trained.
        loops: the model's.
        drawn: whether they draw the task's prompts.
    """

    name = "cpu"

    def __init__(self, plan: Plan, loops: TokenLoops, drawn: bool = True) -> None:
        super().__init__(plan)
        self.loops, self.drawn = loops, drawn

    def advance(self, state: State, steps: int) -> None:
        """Make `steps` updates in place; torch on one thread, as waking a second for so few numbers costs more."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            super().advance(state, steps)
        finally:
            torch.set_num_threads(threads)

    def prepare(self) -> None:
        """Compile what training needs; at once where it is kept on disk."""
        self.fresh_gradient(self.plan.model.init([0], dtype=self.plan.dtype), torch.zeros(1, dtype=torch.int64), 0, 1)

    def loss(self, parameters: Tensor, prompts: Prompts) -> Tensor:
        """Losses ``[runs]`` on prompts that all runs share."""
        owners(prompts, 1)  # refuses more than one set
        return self.loops.losses(parameters, self.loops.pack(prompts), prompts.batch)

    def block_losses(self, parameters: Tensor, blocks: int, stream: Stream, batch: int) -> Tensor:
        """Losses ``[runs, blocks]`` on the first `blocks` batches of a stream, the same for all runs."""
        if not self.drawn:
            return super().block_losses(parameters, blocks, stream, batch)
        drawn = (self.loops.draw(self.plan.task, [0], [block], stream, batch) for block in range(blocks))
        return torch.stack([self.loops.losses(parameters, data, batch) for data in drawn], dim=-1)

    def gradient(self, parameters: Tensor, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Losses ``[runs]`` and gradients, shaped like the parameters; prompts shared or one batch a run."""
        return self.loops.gradient(parameters, prompts)

    def fresh_gradient(self, parameters: Tensor, seeds: Tensor, step: int, batch: int) -> Tensor:
        """Gradients on the prompts of a step; see :meth:`ReferenceEngine.fresh_gradient`."""
        if not self.drawn:
            return super().fresh_gradient(parameters, seeds, step, batch)
        data = self.loops.draw(self.plan.task, self.seeds, [step] * len(self.seeds), Stream.TRAINING, batch)
        return self.loops.on(parameters, data, seeds.numpy(), batch)[1]
