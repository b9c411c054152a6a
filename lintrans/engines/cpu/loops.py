"""The compiled loops of one model, called with torch tensors: gradients, losses, Hessian-vector products, draws.

:class:`Loops` needs no training plan; :class:`~.engine.CpuEngine` and the instruments both stand on it.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from ...models.fitting import check_parameters, check_prompts, check_seeds, check_task, owners
from ...models.transformer import LinearTransformer
from ...random import Stream
from ...tasks.regression import LinearRegression, Moments, Prompts
from ..laws import GAUSSIAN, Drawn, moments_of, rows_of
from ..rules import HYPER
from . import algebra
from . import shape_kernels as pieces
from .arguments import Array, Memory, Pieces, Rules, Seeds, Trained, Wanted
from .compiling import drawing, kernel, piece

MEMORY = 2**26
"""Bound in bytes on the partial sums of one call, beyond what a single run or set of prompts needs."""

PROMPTS = 2**22
"""Prompts that one call of the recording kernel goes through, times runs: well under a second."""


def known(drawn: Drawn | None, task: LinearRegression) -> Drawn:
    """What kernels draw for a task.

    Raises:
        ValueError: its law is not one that they know.
    """
    if drawn is None:
        raise ValueError(
            f"covariates = {task.covariates!r} cannot be drawn by compiled loops: sample prompts from the task"
        )
    return drawn


def seeds_of(seeds: Sequence[int]) -> Seeds:
    """Which runs have which seed."""
    distinct, place = np.unique(np.array(seeds, np.uint32), return_inverse=True)
    starts = np.concatenate([[0], np.cumsum(np.bincount(place))])
    return Seeds(np.argsort(place, kind="stable").astype(np.int64), starts.astype(np.int64), distinct)


def wanted(drawn: Drawn, d: int, stream: int, step: int, batch: int) -> Wanted:
    """What kernels draw."""
    return Wanted(*drawn, d=d, stream=np.uint32(stream), step=step, batch=batch)


def aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Zeros whose memory starts at a multiple of 64 bytes: faster, never required."""
    count = int(np.prod(shape)) * dtype.itemsize
    raw = np.zeros(count + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + count].view(dtype).reshape(shape)


def part_of(parts: Sequence[int], parameter: int) -> int:
    """Which part of a model a parameter belongs to, given the first parameter of each."""
    return bisect.bisect_right(parts, parameter) - 1


class Loops:
    """Compiled loops for a model with linear attention, in one dtype, on the CPU.

    Args:
        model: any depth; one compile for each d, number of heads and form.
        dtype: torch.float32 or torch.float64.
    """

    def __init__(self, model: LinearTransformer, dtype: torch.dtype) -> None:
        self.model, self.dtype = model, dtype
        self.kind: np.dtype[Any] = np.dtype(str(dtype).removeprefix("torch."))
        self.lanes = pieces.lanes_of(self.kind)
        self.sparse = model.form == "sparse"
        self.numbers = algebra.data_size(model.block, self.sparse)
        self.wide = torch.Size(model.parameter_shape).numel()

    def piece(self, kind: str, tangents: int = 0) -> int:
        """Address of one of :data:`~lintrans.engines.cpu.shape_kernels.PIECES` for this model."""
        return piece(kind, self.model.block, self.model.heads, self.sparse, self.kind, tangents).address

    @property
    def pieces(self) -> Pieces:
        """Those of kernels that draw prompts of their own."""
        return Pieces(drawing(self.kind).address, self.piece("moments"), self.piece("gradient"))

    def work(self, tangents: int = 0) -> Array:
        """The algebra's memory, ``[threads, values]``; a page apart, so that threads do not share cache lines."""
        size = algebra.work_size(self.model.layers, self.model.block, self.model.heads)
        padded = (size + 15) // 16 * 16
        return aligned((numba.config.NUMBA_NUM_THREADS, padded * self.lanes * (1 + tangents)), self.kind)

    def memory(self, drawn: Drawn) -> Memory:
        """Memory for a kernel that draws prompts."""
        threads = numba.config.NUMBA_NUM_THREADS
        return Memory(
            work=self.work(),
            data=aligned((threads, pieces.CHUNK // self.lanes, self.numbers, self.lanes), self.kind),
            tokens=aligned((threads, rows_of(drawn, self.model.d), pieces.PITCH), self.kind),
            norms=aligned((threads, pieces.CHUNK), self.kind),
            lengths=aligned((threads, 3, (drawn.n + 2) * pieces.CHUNK + 8), np.dtype(np.float64)),
        )

    def chunks(self, batch: int) -> int:
        """Chunks in a batch."""
        return -(-batch // pieces.CHUNK)

    def flat(self, parameters: Tensor) -> Array:
        """Parameters ``[runs, *model.parameter_shape]``, or vectors of them, as an array ``[runs, parameters]``."""
        if parameters.ndim > 3 or parameters.shape[-1] != self.wide:
            check_parameters(self.model, parameters)
        array: Array = parameters.detach().to("cpu", self.dtype).reshape(-1, self.wide).contiguous().numpy()
        return array

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

    def differentiate(
        self, points: Array, data: Array, chosen: Array, batch: int, tangents: int = 0, back: int = algebra.EVERY
    ) -> Array:
        """Points [runs, wide, 1 + tangents] on the sets `chosen`: [runs, wide + 1, 1 + tangents].

        That is the mean loss's gradient in the last `back` layers, then the sum of squared errors.
        """
        chunks = self.chunks(data.shape[1] * self.lanes)
        each = (self.wide + 1) * (1 + tangents)
        group = max(1, MEMORY // (chunks * each * self.lanes * self.kind.itemsize))
        work = self.work(tangents)
        result = np.zeros((len(points), each), self.kind)
        partial = aligned((min(group, len(points)) * chunks, each, self.lanes), self.kind)
        for start in range(0, len(points), group):
            part = slice(start, start + group)
            kernel("gradients", self.kind)(
                gradient=self.piece("gradient", tangents),
                data=data,
                chosen=chosen[part],
                theta=points[part],
                batch=batch,
                layers=self.model.layers,
                back=back,
                partial=partial,
                work=work,
                result=result[part],
            )
        return result.reshape(len(points), self.wide + 1, 1 + tangents)

    def gradient(self, parameters: Tensor, prompts: Prompts | Moments) -> tuple[Tensor, Tensor]:
        """Losses ``[runs]`` and gradients ``[runs, ...]``; prompts shared by all runs, or one batch a run."""
        points = self.flat(parameters)[..., None]
        check_prompts(self.model, prompts)
        chosen, batch = owners(prompts, len(points)), prompts.target.shape[-1]
        result = torch.from_numpy(self.differentiate(points, self.pack(prompts), chosen, batch)[..., 0])
        return result[:, -1] / batch, result[:, :-1].reshape(parameters.shape)

    def hessian_products(
        self, parameters: Tensor, directions: Tensor, prompts: Prompts | Moments, start: int = 0
    ) -> Tensor:
        """Exact Hessian-vector products, by dual numbers: the derivative of each gradient entry along a direction.

        Args:
            parameters: ``[runs, *model.parameter_shape]``.
            directions: ``[runs, count, *model.parameter_shape]``.
            prompts: shared by all runs, or with a leading axis of runs.
            start: entries before this parameter are not asked for, and are zero where that spares work.

        Returns:
            ``[runs, count, *model.parameter_shape]``.
        """
        runs, count = directions.shape[:2]
        tangents = 2 if count > 1 else 1
        groups = -(-count // tangents)
        along = np.zeros((runs, groups * tangents, self.wide), self.kind)
        along[:, :count] = self.flat(directions).reshape(runs, count, self.wide)
        points = aligned((runs, groups, self.wide, 1 + tangents), self.kind)
        points[..., 0] = self.flat(parameters)[:, None]
        points[..., 1:] = along.reshape(runs, groups, tangents, self.wide).transpose(0, 1, 3, 2)
        check_prompts(self.model, prompts)
        owner, data = owners(prompts, runs), self.pack(prompts)
        flat = points.reshape(runs * groups, self.wide, 1 + tangents)
        back = self.model.layers - part_of(self.model.parts, start)
        result = self.differentiate(flat, data, np.repeat(owner, groups), prompts.target.shape[-1], tangents, back)
        products = result[:, :-1, 1:].transpose(0, 2, 1).reshape(runs, groups * tangents, self.wide)[:, :count]
        return torch.from_numpy(np.ascontiguousarray(products)).reshape(directions.shape)

    def drawn_gradients(
        self,
        parameters: Tensor,
        task: LinearRegression,
        steps: int,
        stream: Stream,
        batch: int,
        seed: int | Sequence[int] = 0,
        first: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Losses ``[runs, steps]`` and gradients ``[runs, steps, ...]`` on the batches of a stream from `first` on.

        The prompts are drawn in the kernel: of one seed, shared by all runs, or of one seed a run. Runs of equal seeds
        share what is drawn; a run's bits do not depend on the others.
        """
        check_task(self.model, task)
        drawn = known(moments_of(task), task)
        theta = np.ascontiguousarray(self.flat(parameters))
        runs, kind, memory = len(theta), self.kind, self.memory(drawn)
        rows = numba.config.NUMBA_NUM_THREADS * runs * self.chunks(batch)
        partial = aligned((rows, self.wide + 1, self.lanes), kind)
        record = np.zeros((steps, runs, self.wide + 1), kind)
        nothing, none = np.zeros((runs, self.wide), kind), np.zeros(runs, np.int64)
        trained = Trained(
            theta, first=nothing, second=nothing, count=none, skipped=none, clipped=none,
            diverged=none - 1, new=np.zeros((0, 3, self.wide), kind),
        )  # fmt: skip
        group = np.zeros((0, self.wide), np.int64)
        rules = Rules(np.ones(runs), np.ones(runs), none, np.zeros((0, HYPER)), group, np.ones(group.shape))
        given = check_seeds(seed, runs)
        seeds = seeds_of([given] * runs if isinstance(given, int) else given)
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
        check_prompts(self.model, prompts)
        owners(prompts, 1)  # refuses more than one set
        data, theta = self.pack(prompts), self.flat(parameters)
        nothing = Drawn(GAUSSIAN, 1.0, 0.0, 1)
        memory = self.memory(nothing)
        return self._losses(data, theta, 1, nothing, 0, 0, 0, prompts.target.shape[-1], memory)[:, 0]

    def drawn_losses(
        self,
        parameters: Tensor,
        task: LinearRegression,
        blocks: int,
        stream: Stream,
        batch: int,
        seed: int = 0,
        first: int = 0,
    ) -> Tensor:
        """Losses ``[runs, blocks]`` on the batches of steps `first`, `first` + 1, ... of a seed and stream."""
        check_task(self.model, task)
        drawn = known(moments_of(task), task)
        data, theta = np.zeros((0, 0, self.numbers, self.lanes), self.kind), self.flat(parameters)
        group = max(1, MEMORY // (self.chunks(batch) * len(theta) * self.lanes * self.kind.itemsize))
        memory = self.memory(drawn)
        parts = []
        for start in range(0, blocks, group):
            size = min(group, blocks - start)
            parts.append(self._losses(data, theta, size, drawn, int(stream), seed, first + start, batch, memory))
        return torch.cat(parts, dim=1)

    def _losses(
        self, data: Array, theta: Array, sets: int, drawn: Drawn, stream: int, seed: int, step: int, batch: int,
        memory: Memory,
    ) -> Tensor:  # fmt: skip
        result = np.zeros((sets, len(theta)), self.kind)
        partial = aligned((sets * self.chunks(batch), len(theta), self.lanes), self.kind)
        kernel("losses", self.kind)(
            pieces=self.pieces,
            wanted=wanted(drawn, self.model.d, stream, step, batch),
            memory=memory,
            data=data,
            theta=theta,
            seed=np.uint32(seed),
            layers=self.model.layers,
            partial=partial,
            result=result,
        )
        return torch.from_numpy(result.T.copy())
