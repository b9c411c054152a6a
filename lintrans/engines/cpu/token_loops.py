"""What compiled loops on tokens have in common; a subclass says which piece, its memory, and how prompts are drawn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...models.fitting import check_task
from ...random import Stream
from ...tasks.regression import Prompts
from .arguments import Array, TokenModel
from .compiling import kernel
from .loops import Loops, aligned
from .mlp import rows_of
from .shape_kernels import CHUNK


class TokenLoops(Loops):
    """See :class:`~lintrans.engines.cpu.loops.Loops`."""

    shape: tuple[int, int] = (1, 0)
    """Heads and kind of attention, for pieces that ask."""

    @abstractmethod
    def piece(self, tangents: int = 0) -> int:
        """Address of the piece that differentiates."""

    @abstractmethod
    def space(self, n: int) -> int:
        """Numbers of working memory that a prompt of n examples needs."""

    @abstractmethod
    def draw(self, task: Any, seeds: Sequence[int], steps: Sequence[int], stream: Stream, batch: int) -> Array:
        """The prompts of (seeds[s], steps[s]) as kernels read them; overwritten by the next call."""

    def data(self, sets: int, n: int, batch: int) -> Array:
        """Memory for drawn prompts, ``[sets, rows, prompts]``, the prompts in whole SIMD values."""
        return self.memory("data", sets, rows_of(n, self.model.d), -(-batch // self.lanes) * self.lanes)

    def pack(self, prompts: Prompts) -> Array:
        """Prompts as kernels read them, ``[sets, rows, prompts]``; sets are the prompts' leading axis, or one."""
        x, y = (part.detach().to("cpu", self.dtype) for part in (prompts.covariates, prompts.responses))
        x, y = x.movedim(-3, -1), y.movedim(-2, -1)  # [*sets, n + 1, d, batch], [*sets, n + 1, batch]
        batch = prompts.batch
        x, y = x.reshape(-1, x.shape[-3] * x.shape[-2], batch), y.reshape(-1, y.shape[-2], batch)
        data = aligned((len(x), rows_of(prompts.n, prompts.d), -(-batch // self.lanes) * self.lanes), self.kind)
        data[:, : x.shape[1], :batch], data[:, x.shape[1] : -1, :batch], data[:, -1, :batch] = x.numpy(), y.numpy(), 1
        return data

    def padded(self, data: Array) -> int:
        """Prompts in a set of packed ones, in whole SIMD values."""
        return int(data.shape[-1])

    def gradients(self, tangents: int, **named: Any) -> None:
        """Call the kernel that differentiates."""
        rows = named["data"].shape[1]
        n = (rows - 1) // (self.model.d + 1) - 1
        kernel("token_gradients", self.kind)(
            gradient=self.piece(tangents),
            model=TokenModel(self.model.layers, n, *self.shape),
            per=CHUNK // self.lanes,
            work=self.per_thread("work", self.space(n), tangents),
            own=self.per_thread("own", rows),
            **named,
        )

    def losses(self, parameters: Tensor, prompts: Prompts) -> Tensor:
        """Losses ``[runs]`` on prompts that all runs share."""
        return self._losses(parameters, self.packed(prompts, 1)[0], prompts.batch)

    def _losses(self, parameters: Tensor, data: Array, batch: int) -> Tensor:
        points = self.points(parameters)[..., None]
        result = self.differentiate(points, data, np.zeros(len(points), np.int64), batch, back=0)
        return torch.from_numpy(result[:, -1, 0] / batch)

    def drawn_losses(self, parameters: Tensor, task: Any, blocks: int, stream: Stream, batch: int) -> Tensor:
        """Losses ``[runs, blocks]`` on the first `blocks` batches of a stream, the same for all runs."""
        check_task(self.model, task)
        drawn = (self.draw(task, [0], [block], stream, batch) for block in range(blocks))
        return torch.stack([self._losses(parameters, data, batch) for data in drawn], dim=-1)

    def drawn_gradients(
        self, parameters: Tensor, task: Any, steps: int, stream: Stream, batch: int, seed: int | Sequence[int] = 0,
        first: int = 0,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """See :meth:`Loops.drawn_gradients`."""
        check_task(self.model, task)
        distinct, chosen = np.unique(np.array(self.seeds(seed, len(parameters)), np.int64), return_inverse=True)
        found = []
        for step in range(first, first + steps):
            data = self.draw(task, distinct.tolist(), [step] * len(distinct), stream, batch)
            found.append(self.on(parameters, data, chosen.astype(np.int64), batch))
        losses, slopes = zip(*found, strict=True)
        return torch.stack(losses, dim=1), torch.stack(slopes, dim=1)
