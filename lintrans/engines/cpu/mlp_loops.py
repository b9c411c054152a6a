"""Compiled loops for a Transformer behind a trained network, called with torch tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np

from ...models.embedded import FeatureRegression, fixed_network
from ...random import Stream
from . import mlp
from .arguments import Array
from .compiling import embedded_piece, embedded_prompts
from .token_loops import TokenLoops


class EmbeddedLoops(TokenLoops):
    """Compiled loops behind a network; one compile for each d and number of hidden units."""

    def piece(self, tangents: int = 0) -> int:
        """Address of the piece that differentiates."""
        return embedded_piece(self.model.d, self.model.hidden, self.kind, tangents).address

    def space(self, n: int) -> int:
        """Numbers of working memory that a prompt of n examples needs."""
        return mlp.work_size(self.model.layers, n, self.model.d, self.model.hidden)

    def draw(
        self, task: FeatureRegression, seeds: Sequence[int], steps: Sequence[int], stream: Stream, batch: int
    ) -> Array:
        """The prompts of (seeds[s], steps[s]) as kernels read them; overwritten by the next call."""
        n, d, hidden = task.n, task.d, task.hidden
        data = self.data(len(seeds), n, batch)
        network = fixed_network(task).to(self.dtype).numpy()
        tokens = self.memory("tokens", numba.config.NUMBA_NUM_THREADS, -(-(n + 2) * d // 4) * 4, mlp.TILE)
        work = self.per_thread("drawing", (n + 1) * (2 * d + 1 + hidden))
        embedded_prompts(d, hidden, self.kind)(
            out=data,
            seeds=np.array(seeds, np.uint32),
            steps=np.array(steps, np.uint32),
            stream=np.uint32(stream),
            batch=batch,
            n=n,
            network=network,
            tokens=tokens,
            work=work,
        )
        return data
