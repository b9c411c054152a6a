"""What the compiled loops of all models have in common: memory, gradients, Hessian-vector products, torch tensors.

Subclasses, one for each form of prompts, say how prompts are packed and drawn and which kernels run on them;
:mod:`~lintrans.engines.front_ends` says which class takes which model. None needs a training plan:
:class:`~lintrans.engines.cpu.engine.CpuEngine` and the instruments both stand on them.
"""

from __future__ import annotations

import bisect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from ...models.fitting import check_parameters, check_prompts, check_seeds, owners
from ...random import Stream
from ...tasks.regression import LinearRegression
from ..laws import Drawn
from .arguments import Array, Wanted
from .shape_kernels import CHUNK, lanes_of

MEMORY = 2**26
"""Bound in bytes on the partial sums of one call, beyond what a single run or set of prompts needs."""


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


def wanted(drawn: Drawn, d: int, stream: int, step: int, batch: int) -> Wanted:
    """What kernels draw."""
    return Wanted(*drawn, d=d, stream=np.uint32(stream), step=step, batch=batch)


def aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Zeros whose memory starts at a multiple of 64 bytes: faster, never required."""
    count = int(np.prod(shape)) * dtype.itemsize
    raw = np.zeros(count + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + count].view(dtype).reshape(shape)


class Loops(ABC):
    """Compiled loops for one model, in one dtype, on the CPU.

    Args:
        model: any depth; its other sizes may each need a compile.
        dtype: torch.float32 or torch.float64.
    """

    def __init__(self, model: Any, dtype: torch.dtype) -> None:
        self.model, self.dtype = model, dtype
        self.kind: np.dtype[Any] = np.dtype(str(dtype).removeprefix("torch."))
        self.lanes = lanes_of(self.kind)
        self.wide = torch.Size(model.parameter_shape).numel()
        self._kept: dict[str, Array] = {}

    @abstractmethod
    def pack(self, prompts: Any) -> Array:
        """Prompts as kernels read them; first axis sets, the prompts' leading axis, or one."""

    @abstractmethod
    def padded(self, data: Array) -> int:
        """Prompts in a set of packed ones, in whole SIMD values."""

    @abstractmethod
    def gradients(self, tangents: int, **named: Any) -> None:
        """Call the kernel of :meth:`differentiate`."""

    @abstractmethod
    def losses(self, parameters: Tensor, prompts: Any) -> Tensor:
        """Losses ``[runs]`` on prompts that all runs share."""

    @abstractmethod
    def drawn_losses(self, parameters: Tensor, task: Any, blocks: int, stream: Stream, batch: int) -> Tensor:
        """Losses ``[runs, blocks]`` on the batches of seed 0 and steps 0, 1, ... of a stream."""

    @abstractmethod
    def drawn_gradients(
        self, parameters: Tensor, task: Any, steps: int, stream: Stream, batch: int,
        seed: int | Sequence[int] = 0, first: int = 0,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Losses ``[runs, steps]`` and gradients ``[runs, steps, ...]`` on the batches of a stream from `first` on.

        The prompts are drawn by compiled code: of one seed, shared by all runs, or of one seed a run. Runs of equal
        seeds share what is drawn; a run's bits do not depend on the others.
        """

    def memory(self, name: str, *shape: int) -> Array:
        """Memory for one purpose, with whatever it holds; fresh memory in every call would cost a tenth of its time."""
        if name not in self._kept or self._kept[name].shape != shape:
            self._kept[name] = aligned(shape, self.kind)
        return self._kept[name]

    def per_thread(self, name: str, size: int, tangents: int = 0) -> Array:
        """Memory of `size` values for each thread, in whole cache lines."""
        padded = (size + 15) // 16 * 16
        return self.memory(name, numba.config.NUMBA_NUM_THREADS, padded * self.lanes * (1 + tangents))

    def chunks(self, batch: int) -> int:
        """Chunks in a batch."""
        return -(-batch // CHUNK)

    def points(self, parameters: Tensor) -> Array:
        """Parameters ``[runs, *model.parameter_shape]``, or vectors of them, as kernels read them: ``[runs, G]``."""
        if parameters.ndim > 3 or parameters.shape[-1] != self.wide:
            check_parameters(self.model, parameters)
        points: Array = parameters.detach().to("cpu", self.dtype).reshape(-1, self.wide).contiguous().numpy()
        return points

    def seeds(self, seed: int | Sequence[int], runs: int) -> list[int]:
        """The seed of each run."""
        given = check_seeds(seed, runs)
        return [given] * runs if isinstance(given, int) else given

    def packed(self, prompts: Any, runs: int) -> tuple[Array, Array]:
        """Prompts that fit the model, packed, and which set of them each run takes; kernels trust both."""
        check_prompts(self.model, prompts)
        chosen: Array = owners(prompts, runs)
        return self.pack(prompts), chosen

    def differentiate(
        self, points: Array, data: Array, chosen: Array, batch: int, tangents: int = 0, back: int | None = None
    ) -> Array:
        """Points [runs, wide, 1 + tangents] on the sets `chosen`: [runs, wide + 1, 1 + tangents].

        That is the mean loss's gradient, then the sum of squared errors. Only the last `back` of the model's parts get
        gradients (None: all).
        """
        chunks = self.chunks(self.padded(data))
        each = (self.wide + 1) * (1 + tangents)
        group = max(1, MEMORY // (chunks * each * self.lanes * self.kind.itemsize))
        result = np.zeros((len(points), each), self.kind)
        partial = self.memory("partial", min(group, len(points)) * chunks, each, self.lanes)
        for start in range(0, len(points), group):
            part = slice(start, start + group)
            self.gradients(
                tangents,
                data=data,
                chosen=chosen[part],
                theta=points[part],
                batch=batch,
                back=len(self.model.parts) if back is None else back,
                partial=partial,
                result=result[part],
            )
        return result.reshape(len(points), self.wide + 1, 1 + tangents)

    def on(self, parameters: Tensor, data: Array, chosen: Array, batch: int) -> tuple[Tensor, Tensor]:
        """Losses ``[runs]`` and gradients like the parameters on packed prompts, each run on the set chosen for it."""
        points = self.points(parameters)[..., None]
        result = torch.from_numpy(self.differentiate(points, data, chosen, batch)[..., 0])
        return result[:, -1] / batch, result[:, :-1].reshape(parameters.shape)

    def gradient(self, parameters: Tensor, prompts: Any) -> tuple[Tensor, Tensor]:
        """Losses ``[runs]`` and gradients ``[runs, ...]``; prompts shared by all runs, or one batch a run."""
        data, chosen = self.packed(prompts, len(parameters))
        return self.on(parameters, data, chosen, prompts.batch)

    def hessian_products(
        self, parameters: Tensor, directions: Tensor, prompts: Any, start: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Gradients, and exact Hessian-vector products by dual numbers, two directions at a time.

        Exact where the loss is smooth: on the kinks of relus the derivative is that of one side, as in torch.

        Args:
            parameters: ``[runs, *model.parameter_shape]``.
            directions: ``[runs, count, *model.parameter_shape]``, or flattened from the third axis on.
            prompts: shared by all runs, or with a leading axis of runs.
            start: entries before this parameter are not asked for, and are zero where that spares work.

        Returns:
            Gradients ``[runs, G]``, and products, shaped like the directions.
        """
        runs, count = directions.shape[:2]
        tangents = 2 if count > 1 else 1
        groups = -(-count // tangents)
        along = np.zeros((runs, groups * tangents, self.wide), self.kind)
        along[:, :count] = self.points(directions).reshape(runs, count, self.wide)
        points = aligned((runs, groups, self.wide, 1 + tangents), self.kind)
        points[..., 0] = self.points(parameters)[:, None]
        points[..., 1:] = along.reshape(runs, groups, tangents, self.wide).transpose(0, 1, 3, 2)
        data, chosen = self.packed(prompts, runs)
        flat = points.reshape(runs * groups, self.wide, 1 + tangents)
        parts = self.model.parts
        back = len(parts) - (bisect.bisect_right(parts, start) - 1)  # from the part that `start` lies in
        result = self.differentiate(flat, data, np.repeat(chosen, groups), prompts.batch, tangents, back)
        products = result[:, :-1, 1:].transpose(0, 2, 1).reshape(runs, groups * tangents, self.wide)[:, :count]
        slopes = torch.from_numpy(np.ascontiguousarray(result[::groups, :-1, 0]))
        return slopes, torch.from_numpy(np.ascontiguousarray(products)).reshape(directions.shape)
