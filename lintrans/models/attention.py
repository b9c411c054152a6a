r"""Attention that is not linear, on tokens: softmax over all keys or over the visible ones, and ReLU.

The score of key i for query j is s_ij = z_i^T Q z_j, as in linear attention, and a layer adds sum_i a_ij P z_i over the
n visible keys to z_j. Only the weights a_ij differ:

- linear: s_ij / n;
- ``"softmax"``, that of the paper's public code: exp(s_ij) / (n sum_k exp(s_kj)) with k over *all* n + 1 keys. The
  query is hidden after the softmax, not before, and the result is divided by n once more: the weights of a query sum to
  less than 1/n;
- ``"softmax-visible"``: the ordinary one, exp(s_ij) / sum_k exp(s_kj) over the n visible keys. It is not divided by n:
  its weights sum to one, so that the sum over keys is a mean by itself, as s_ij / n makes it one in linear attention;
- ``"relu"``: max(s_ij, 0) / n.

Every query needs its own sum over keys, so there is no moment form. Tokens are rows here, [..., batch, n + 1, d + 1]:
products over tokens are then batched matrix products, the fastest form that torch has for these.
"""

from __future__ import annotations

import torch
from torch import Tensor

ON_TOKENS = ("softmax", "softmax-visible", "relu")
"""Kinds of attention that have no moment form."""


def reach(layers: int, n: int, heads: int = 1) -> float:
    """Largest magnitude of a prediction over that of the responses shown, for ``"softmax"`` in the sparse form.

    There responses pass on unscaled: each head adds a mean of them times at most 1/n, so that the largest of them grows
    by a factor of at most 1 + heads / n a layer, and the query's, from zero, by what is added to that. No parameters
    bring the prediction beyond (1 + heads / n)^L - 1 times the largest response.
    """
    return (1.0 + heads / n) ** layers - 1.0


def weights(attention: str, scores: Tensor) -> Tensor:
    """Weights ``[..., queries, n]`` of the visible keys, from scores ``[..., queries, n + 1]``, the hidden key last."""
    if attention == "softmax-visible":
        return torch.softmax(scores[..., :-1], -1)
    all_keys = torch.softmax(scores, -1) if attention == "softmax" else torch.relu(scores)
    return all_keys[..., :-1] / (scores.shape[-1] - 1)


def by_rows(z: Tensor, matrix: Tensor) -> Tensor:
    """Each token of ``[..., batch, tokens, D]`` times the transpose of a matrix ``[..., D', D]``."""
    rows = z.flatten(-3, -2) @ matrix.transpose(-1, -2)
    return rows.reshape(*rows.shape[:-2], z.shape[-3], z.shape[-2], rows.shape[-1])


def predict(attention: str, p: Tensor, q: Tensor, z: Tensor) -> Tensor:
    """The last layer's query response with the paper's sign, TF_L: ``[..., batch]``.

    Only what the prediction needs is computed: in the last layer that is one query and one entry of its token. Matrices
    are p ``[..., layers, heads, d + 1, d + 1]`` and q ``[..., layers, heads, D, D]``, D = d where only covariates meet
    in a score, else d + 1; tokens z ``[..., batch, n + 1, d + 1]``, the query last with response 0.
    """
    layers, heads, size = q.shape[-4], q.shape[-3], q.shape[-1]
    for layer in range(layers - 1):
        keys = z[..., :size]
        update: Tensor | None = None
        for head in range(heads):
            scores = by_rows(keys, q[..., layer, head, :, :]) @ keys.transpose(-1, -2)
            values = by_rows(z, p[..., layer, head, :, :])[..., :-1, :]
            added = weights(attention, scores) @ values
            update = added if update is None else update + added
        assert update is not None  # heads >= 1
        z = z + update
    answer = z[..., -1, -1]
    keys = z[..., :size]
    for head in range(heads):
        scores = by_rows(keys[..., -1:, :], q[..., -1, head, :, :]) @ keys.transpose(-1, -2)  # [..., batch, 1, n + 1]
        values = by_rows(z, p[..., -1, head, -1:, :])[..., :-1, 0]
        answer = answer + (weights(attention, scores).squeeze(-2) * values).sum(-1)
    return -answer
