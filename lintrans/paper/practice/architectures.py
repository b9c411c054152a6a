"""The networks in plain torch: three language models, LeNet-5, a small multilayer perceptron.

Attention is written out, not fused, so that second derivatives exist. Initial parameters are torch's own for each kind
of layer; the text's embedding and output matrices are two (untied).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import choice, whole


def cross_entropy(module: Any, examples: Any) -> Tensor:
    """Mean cross-entropy of logits ``[batch, ..., classes]`` against classes ``[batch, ...]``."""
    logits: Tensor = module(examples.inputs)
    return functional.cross_entropy(logits.flatten(0, -2), examples.targets.flatten())


class Attention(nn.Module):
    """Causal attention of several heads, ``[batch, tokens, width]`` to the same.

    Scores are q . k / sqrt(head width). ``"softmax"`` takes their softmax over the visible keys; ``"linear"`` the
    scores themselves over the number of visible keys, as the linear Transformer does.
    """

    def __init__(self, width: int, heads: int, kind: str) -> None:
        super().__init__()
        self.heads, self.kind = heads, kind
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        q, k, v = self.project(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / math.sqrt(width // self.heads)
        visible = torch.ones(tokens, tokens, dtype=torch.bool, device=x.device).tril()
        if self.kind == "softmax":
            weights = torch.softmax(scores.masked_fill(~visible, -math.inf), -1)
        else:
            weights = scores * (visible / visible.sum(-1, keepdim=True)).to(scores.dtype)
        mixed = (weights @ v).transpose(1, 2).reshape(batch, tokens, width)
        return cast(Tensor, self.out(mixed))


class Layer(nn.Module):
    """One pre-norm layer: attention, then a perceptron of four times the width; or bare attention."""

    def __init__(self, width: int, heads: int, kind: str, bare: bool) -> None:
        super().__init__()
        self.attention_norm = nn.Identity() if bare else nn.LayerNorm(width)
        self.attention = Attention(width, heads, kind)
        self.mlp_norm = nn.Identity() if bare else nn.LayerNorm(width)
        self.mlp = None if bare else nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x if self.mlp is None else x + self.mlp(self.mlp_norm(x))


class LanguageModel(nn.Module):
    """Words ``[batch, tokens]`` to logits ``[batch, tokens, words]`` of the next word at every place."""

    def __init__(self, shape: Transformer) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.words, shape.width)
        self.position = nn.Embedding(shape.length, shape.width)
        self.layers = nn.ModuleList(
            Layer(shape.width, shape.heads, shape.attention, shape.bare) for _ in range(shape.layers)
        )
        self.norm = nn.Identity() if shape.bare else nn.LayerNorm(shape.width)
        self.output = nn.Linear(shape.width, shape.words, bias=False)

    def forward(self, words: Tensor) -> Tensor:
        x: Tensor = self.embedding(words) + self.position.weight[: words.shape[-1]]
        for layer in self.layers:
            x = layer(x)
        return cast(Tensor, self.output(self.norm(x)))


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """A causal language model on words.

    Args:
        words: size of the vocabulary.
        length: words of a sequence.
        width: of a token's vector, a multiple of `heads`.
        layers, heads: of attention.
        attention: "softmax" or "linear".
        bare: attention only, without perceptrons and without normalization.
    """

    words: int
    length: int
    width: int
    layers: int = 2
    heads: int = 4
    attention: str = "softmax"
    bare: bool = False

    def __post_init__(self) -> None:
        for name in ("words", "length", "width", "layers", "heads"):
            whole(name, getattr(self, name), 1)
        choice("attention", self.attention, ("softmax", "linear"))
        if self.width % self.heads:
            raise ValueError(f"width = {self.width} is no multiple of heads = {self.heads}: make it one")

    def build(self) -> nn.Module:
        return LanguageModel(self)

    def loss(self, module: Any, examples: Any) -> Tensor:
        return cross_entropy(module, examples)


@dataclass(frozen=True, kw_only=True)
class LeNet:
    """LeNet-5 (LeCun et al. 1998) as it is written today, with ReLU and the largest of each 2 x 2.

    Images are ``[batch, channels, side, side]``; the first convolution keeps their size.
    """

    classes: int = 10
    channels: int = 1
    side: int = 28

    def __post_init__(self) -> None:
        whole("classes", self.classes, 2)
        whole("channels", self.channels, 1)
        whole("side", self.side, 12)

    def build(self) -> nn.Module:
        rest = (self.side // 2 - 4) // 2
        return nn.Sequential(
            nn.Conv2d(self.channels, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(16 * rest * rest, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, self.classes),
        )  # fmt: skip

    def loss(self, module: Any, examples: Any) -> Tensor:
        return cross_entropy(module, examples)


@dataclass(frozen=True, kw_only=True)
class Perceptron:
    """One hidden layer of tanh units on flat inputs."""

    inputs: int = 64
    hidden: int = 16
    classes: int = 10

    def __post_init__(self) -> None:
        whole("inputs", self.inputs, 1)
        whole("hidden", self.hidden, 1)
        whole("classes", self.classes, 2)

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Linear(self.inputs, self.hidden), nn.Tanh(), nn.Linear(self.hidden, self.classes))

    def loss(self, module: Any, examples: Any) -> Tensor:
        return cross_entropy(module, examples)
