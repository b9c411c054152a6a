"""The compiled loops of a model with linear attention, on second moments; whole training steps among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from ...models.fitting import check_task
from ...models.transformer import LinearTransformer
from ...random import Stream
from ...tasks.regression import LinearRegression, Moments, Prompts
from ..laws import Drawn, moments_of, rows_of
from ..rules import HYPER
from . import algebra, jets
from .arguments import GAUSSIAN, Array, Memory, Pieces, Rules, Seeds, Trained, Wanted
from .compiling import drawing, kernel, piece
from .loops import MEMORY, Loops, aligned, known, wanted
from .shape_kernels import CHUNK, PITCH

PROMPTS = 2**22
"""Prompts that one call of the recording kernel goes through, times runs: well under a second."""


def seeds_of(seeds: Sequence[int]) -> Seeds:
    """Which runs have which seed."""
    distinct, place = np.unique(np.array(seeds, np.uint32), return_inverse=True)
    starts = np.concatenate([[0], np.cumsum(np.bincount(place))])
    return Seeds(np.argsort(place, kind="stable").astype(np.int64), starts.astype(np.int64), distinct)


class MomentLoops(Loops):
    """See :class:`~lintrans.engines.cpu.loops.Loops`; one compile for each d, number of heads and form."""

    def __init__(self, model: LinearTransformer, dtype: torch.dtype) -> None:
        super().__init__(model, dtype)
        self.sparse = model.form == "sparse"
        self.numbers = algebra.data_size(model.block, self.sparse)

    def piece(self, kind: str, tangents: int = 0) -> int:
        """Address of one of :data:`~lintrans.engines.cpu.shape_kernels.PIECES` for this model."""
        return piece(kind, self.model.block, self.model.heads, self.sparse, self.kind, tangents).address

    @property
    def pieces(self) -> Pieces:
        """Those of kernels that draw prompts of their own."""
        return Pieces(drawing(self.kind).address, self.piece("moments"), self.piece("gradient"))

    def work(self, tangents: int = 0) -> Array:
        """The algebra's memory, a row a thread."""
        size = algebra.work_size(self.model.layers, self.model.block, self.model.heads)
        return self.per_thread("work", size, tangents)

    def drawing_memory(self, drawn: Drawn) -> Memory:
        """Memory for a kernel that draws prompts."""
        threads = numba.config.NUMBA_NUM_THREADS
        return Memory(
            work=self.work(),
            data=aligned((threads, CHUNK // self.lanes, self.numbers, self.lanes), self.kind),
            tokens=aligned((threads, rows_of(drawn, self.model.d), PITCH), self.kind),
            norms=aligned((threads, CHUNK), self.kind),
            lengths=aligned((threads, 3, (drawn.n + 2) * CHUNK + 8), np.dtype(np.float64)),
        )

    def pack(self, prompts: Prompts | Moments) -> Array:
        """Prompts as kernels read them, ``[sets, blocks, numbers, lanes]``; sets are the prompts' leading axis, or one.

        Prompts that fill up the last block are zero.
        """
        moments = prompts.moments() if isinstance(prompts, Prompts) else prompts
        xx, xy, yy, query, target = (part.detach().to("cpu", self.dtype) for part in moments)
        if not self.sparse:  # the moments of (x, y), and the query's token (x, 0)
            top = torch.cat([xx, xy.unsqueeze(-2)], dim=-2)
            bottom = torch.cat([xy, yy.unsqueeze(-2)], dim=-2)
            xx = torch.cat([top, bottom.unsqueeze(-3)], dim=-3)
            query = torch.cat([query, torch.zeros_like(yy).unsqueeze(-2)], dim=-2)
        i, j = torch.triu_indices(self.model.block, self.model.block)
        rows = [xx[..., i, j, :], *([xy] if self.sparse else []), query, target.unsqueeze(-2)]
        table = torch.cat(rows, dim=-2)
        batch = table.shape[-1]
        blocks = -(-batch // self.lanes)
        full = torch.nn.functional.pad(table, (0, blocks * self.lanes - batch)).reshape(
            -1, self.numbers, blocks, self.lanes
        )
        data = aligned((full.shape[0], blocks, self.numbers, self.lanes), self.kind)
        data[...] = full.transpose(1, 2).numpy()
        return data

    def padded(self, data: Array) -> int:
        """Prompts in a set of packed ones, in whole SIMD values."""
        return int(data.shape[1]) * self.lanes

    def gradients(self, tangents: int, **named: Any) -> None:
        """Call the kernel that differentiates."""
        kernel("gradients", self.kind)(
            gradient=self.piece("gradient", tangents), layers=self.model.layers, work=self.work(tangents), **named
        )

    def diagonals(self, parameters: Tensor, prompts: Prompts | Moments) -> Tensor:
        """Diagonals of the Hessian ``[runs, G]`` on prompts that all runs share, exact, by jets."""
        data, theta = self.packed(prompts, 1)[0], self.points(parameters)
        chosen, rows = np.zeros(len(theta), np.int64), self.wide + 1
        return torch.from_numpy(self._jets(theta, data, chosen, prompts.batch, rows, self.model.layers)[:, :-1])

    def single_prompts(self, parameters: Tensor, prompts: Prompts | Moments) -> tuple[Tensor, Tensor]:
        """Each prompt's squared error and the trace of its Hessian, both ``[runs, batch]``."""
        data, theta = self.packed(prompts, 1)[0], self.points(parameters)
        per = CHUNK // self.lanes
        chunks = -(-data.shape[1] // per)
        sets = aligned((chunks, per, *data.shape[2:]), self.kind)
        sets.reshape(-1, *data.shape[2:])[: data.shape[1]] = data[0]
        chosen = np.tile(np.arange(chunks), len(theta))
        lanes = self._jets(np.repeat(theta, chunks, axis=0), sets, chosen, 1, 2 * per, 0)
        found = lanes.reshape(len(theta), chunks, 2, CHUNK).transpose(2, 0, 1, 3).reshape(2, len(theta), -1)
        traces, squares = torch.from_numpy(found[..., : prompts.batch].copy())
        return squares, traces

    def _jets(self, theta: Array, data: Array, chosen: Array, batch: int, rows: int, back: int) -> Array:
        """What the piece ``diagonal`` sums for each of the points `theta` [runs, G]; single prompts with `back` = 0."""
        chunks = self.chunks(self.padded(data))
        group = max(1, MEMORY // (chunks * rows * self.lanes * self.kind.itemsize))
        found = []
        for start in range(0, len(theta), group):
            part = slice(start, start + group)
            points = theta[part, :, None]
            partial = aligned((len(points) * chunks, rows, self.lanes), self.kind)
            result = np.zeros((len(points), rows), self.kind)
            kernel("gradients", self.kind)(
                gradient=self.piece("diagonal"), layers=self.model.layers, work=self.work(jets.WORK - 1), data=data,
                chosen=chosen[part], theta=points, batch=batch, back=back, partial=partial, result=result,
            )  # fmt: skip
            found.append(result if back else partial)
        return np.concatenate(found)

    def drawn_gradients(
        self, parameters: Tensor, task: LinearRegression, steps: int, stream: Stream, batch: int,
        seed: int | Sequence[int] = 0, first: int = 0,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """See :meth:`Loops.drawn_gradients`."""
        check_task(self.model, task)
        drawn = known(moments_of(task), task)
        theta = np.ascontiguousarray(self.points(parameters))
        runs, kind, memory = len(theta), self.kind, self.drawing_memory(drawn)
        rows = numba.config.NUMBA_NUM_THREADS * runs * self.chunks(batch)
        partial = aligned((rows, self.wide + 1, self.lanes), kind)
        record = np.zeros((steps, runs, self.wide + 1), kind)
        nothing, none = np.zeros((runs, self.wide), kind), np.zeros(runs, np.int64)
        new = np.zeros((0, 3, self.wide), kind)
        trained = Trained(theta, nothing, nothing, updates=none, skipped=none, clipped=none, diverged=none - 1, new=new)
        group = np.zeros((0, self.wide), np.int64)
        rules = Rules(np.ones(runs), np.ones(runs), none, np.zeros((0, HYPER)), group, np.ones(group.shape))
        seeds = seeds_of(self.seeds(seed, runs))
        result = aligned((runs, self.wide + 1), kind)
        group_size = max(1, PROMPTS // (batch * runs))  # Ctrl-C gets its turn between two calls
        for start in range(0, steps, group_size):
            part = record[start : start + group_size]
            kernel("training", kind)(
                pieces=self.pieces,
                runs=trained,
                rules=rules,
                seeds=seeds,
                wanted=wanted(drawn, task.d, stream, first + start, batch),
                memory=memory,
                rates=np.ones(len(part)),
                limit=0.0,
                record=part,
                layers=self.model.layers,
                partial=partial,
                result=result,
            )
        whole = torch.from_numpy(record).transpose(0, 1)
        return whole[..., -1] / batch, whole[..., :-1].reshape(runs, steps, *self.model.parameter_shape)

    def losses(self, parameters: Tensor, prompts: Prompts | Moments) -> Tensor:
        """Losses ``[runs]`` on prompts that all runs share."""
        data, theta = self.packed(prompts, 1)[0], self.points(parameters)
        nothing = Drawn(GAUSSIAN, 1.0, 0.0, 1)
        batch = wanted(nothing, self.model.d, 0, 0, prompts.batch)
        return self._losses(theta, 1, batch, self.drawing_memory(nothing), data)[:, 0]

    def drawn_losses(
        self, parameters: Tensor, task: LinearRegression, blocks: int, stream: Stream, batch: int,
        seed: int = 0, first: int = 0,
    ) -> Tensor:  # fmt: skip
        """Losses ``[runs, blocks]`` on the batches of steps `first`, `first` + 1, ... of a seed and stream."""
        check_task(self.model, task)
        drawn = known(moments_of(task), task)
        data, theta = np.zeros((0, 0, self.numbers, self.lanes), self.kind), self.points(parameters)
        group = max(1, MEMORY // (self.chunks(batch) * len(theta) * self.lanes * self.kind.itemsize))
        memory = self.drawing_memory(drawn)
        parts = []
        for start in range(0, blocks, group):
            batches = wanted(drawn, task.d, stream, first + start, batch)
            parts.append(self._losses(theta, min(group, blocks - start), batches, memory, data, seed))
        return torch.cat(parts, dim=1)

    def _losses(self, theta: Array, sets: int, batches: Wanted, memory: Memory, data: Array, seed: int = 0) -> Tensor:
        """Losses ``[runs, sets]``; drawn where `data` has none."""
        result = np.zeros((sets, len(theta)), self.kind)
        kernel("losses", self.kind)(
            pieces=self.pieces, wanted=batches, memory=memory, data=data, theta=theta, seed=np.uint32(seed),
            layers=self.model.layers, result=result,
            partial=aligned((sets * self.chunks(batches.batch), len(theta), self.lanes), self.kind),
        )  # fmt: skip
        return torch.from_numpy(result.T.copy())
