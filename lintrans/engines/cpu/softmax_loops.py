"""Compiled loops for softmax and ReLU attention, called with torch tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
import torch

from ...models.transformer import LinearTransformer
from ...random import Stream
from ...tasks.regression import LinearRegression
from ..laws import rows_of, tokens_of
from . import softmax
from .arguments import Array, Memory, Pieces
from .compiling import attending_piece, drawing, kernel
from .loops import aligned, known, wanted
from .shape_kernels import CHUNK, PITCH
from .token_loops import TokenLoops


class AttendingLoops(TokenLoops):
    """Compiled loops for attention that is not linear; one compile for each d and form."""

    def __init__(self, model: LinearTransformer, dtype: torch.dtype) -> None:
        super().__init__(model, dtype)
        self.shape = (model.heads, softmax.KINDS[model.attention])

    def piece(self, tangents: int = 0) -> int:
        """Address of the piece that differentiates."""
        return attending_piece(self.model.d, self.model.block, self.kind, tangents).address

    def space(self, n: int) -> int:
        """Numbers of working memory that a prompt of n examples needs."""
        model = self.model
        return softmax.work_size(model.layers, n, model.d, model.block, model.heads)

    def draw(
        self, task: LinearRegression, seeds: Sequence[int], steps: Sequence[int], stream: Stream, batch: int
    ) -> Array:
        """The prompts of (seeds[s], steps[s]) as kernels read them; overwritten by the next call."""
        drawn, n, threads = known(tokens_of(task), task), task.n, numba.config.NUMBA_NUM_THREADS
        data = self.data(len(seeds), n, batch)
        tokens = self.memory("tokens", threads, rows_of(drawn, task.d), PITCH)
        norms = self.memory("norms", threads, CHUNK)
        lengths = aligned((threads, 3, (n + 2) * CHUNK + 8), np.dtype(np.float64))
        kernel("tokens", self.kind)(
            pieces=Pieces(drawing(self.kind).address, 0, 0),
            wanted=wanted(drawn, task.d, stream, 0, batch),
            memory=Memory(tokens, tokens, tokens, norms, lengths),
            out=data,
            seeds=np.array(seeds, np.uint32),
            steps=np.array(steps, np.uint32),
        )
        return data
