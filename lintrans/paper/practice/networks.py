"""The networks of practice by name and scale: a model, its task, and where its layers lie among the parameters."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from ...errors import choice, nearest, whole
from ...models.module_model import ModuleModel
from ...tasks.examples import Examples
from . import data
from .architectures import LeNet, Perceptron, Transformer

NAMES = ("lm_softmax", "lm_linear", "lm_bare", "cnn", "cnn_zipf", "mlp")
LANGUAGE = ("lm_softmax", "lm_linear", "lm_bare")
IMAGES = ("cnn", "cnn_zipf", "mlp")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of the networks of one scale.

    Attributes:
        words: vocabulary of the text, with ``<unk>``.
        length: words of a sequence.
        sequences: training sequences.
        width, layers, heads: of the language models.
        hidden: units of the perceptron on digits.
        images: training images of a class for ``cnn``, as far as there are so many; ``cnn_zipf`` has as many in all.
    """

    words: int
    length: int
    sequences: int
    width: int
    layers: int = 2
    heads: int = 4
    hidden: int = 16
    images: int = 117


SIZES: Mapping[str, Sizes] = MappingProxyType(
    {
        "quick": Sizes(words=1000, length=8, sequences=288, width=16, images=29),
        "paper": Sizes(words=2000, length=8, sequences=768, width=32),
        "large": Sizes(words=10_000, length=32, sequences=26_000, width=256, layers=4, images=400),
    }
)
"""The table of scales; what a training costs stands at the budgets, in :mod:`.protocol`.

A vocabulary of 10,000 words does not fit the paper scale's minutes: its output alone would make a step about four times
dearer. "large" is for a GPU, and untried.
"""


@dataclass(frozen=True, eq=False)
class PracticeNetwork:
    """One network with its data.

    Attributes:
        name: one of :data:`NAMES`.
        model: what is trained.
        task: its examples.
        layers: places of each layer's parameters in the vector, by name.
        unknown: share of ``<unk>`` among the words to predict; nan for images.
        source: where the data comes from, for a page.
    """

    name: str
    model: ModuleModel
    task: Examples
    layers: Mapping[str, Tensor]
    unknown: float
    source: str


def network(name: str, scale: str, **own: int | str | Path) -> PracticeNetwork:
    """A network of practice at a scale.

    Args:
        name: one of :data:`NAMES`.
        scale: "quick", "paper" or "large".
        **own: a field of :class:`Sizes` to change; ``text=PATH`` or ``images=PATH`` for a reader's own data, which
            the networks of that kind take instead.

    Raises:
        TypeError, ValueError: an unknown name, scale or size; :class:`~.data.DataError` for data.
    """
    choice("network", name, NAMES)
    sizes = SIZES[choice("scale", scale, SIZES)]
    text, images = own.pop("text", ""), own.pop("images", "")
    for key, value in own.items():
        if key not in Sizes.__dataclass_fields__:
            raise TypeError(f"{key!r} is no size of a network{nearest(key, Sizes.__dataclass_fields__)}")
        whole(key, value, 1)
    return _network(name, replace(sizes, **own), str(text), str(images))  # type: ignore[arg-type]  # checked above


@functools.lru_cache(maxsize=16)
def _network(name: str, sizes: Sizes, text: str, images: str) -> PracticeNetwork:
    unknown, source = math.nan, images
    if name in LANGUAGE:
        words, task = _text(sizes.words, sizes.length, sizes.sequences, text)
        unknown, source = words.unknown, text or "the King James text"
        shape = Transformer(
            words=len(words.vocabulary), length=sizes.length, width=sizes.width, layers=sizes.layers,
            heads=sizes.heads, attention="softmax" if name == "lm_softmax" else "linear", bare=name == "lm_bare",
        )  # fmt: skip
        model = ModuleModel(shape)
    else:
        task = _images(name, sizes.images, images)
        classes = len(set(task.targets.tolist()))
        if name == "mlp":
            source = images or "scikit-learn's digits"
            model = ModuleModel(
                Perceptron(inputs=task.inputs.shape[-1], hidden=sizes.hidden, classes=classes), batched=True
            )
        else:
            source = images or "MNIST-5k"
            model = ModuleModel(LeNet(classes=classes, side=task.inputs.shape[-1]))
    return PracticeNetwork(name, model, task, _layers(model), unknown, source)


@functools.lru_cache(maxsize=4)
def _text(words: int, length: int, count: int, path: str) -> tuple[data.Text, Examples]:
    """The sequences that the language models of one scale share."""
    text = data.own_text(path) if path else data.king_james()
    found = data.sequences(text, words=words, length=length, count=count, name=path or "the text")
    return found, found.task


@functools.lru_cache(maxsize=8)
def _images(name: str, most: int, path: str) -> Examples:
    images, classes = data.own_images(path) if path else data.digits() if name == "mlp" else data.mnist()
    if name == "mlp":
        if path:  # 24 x 24 in the middle, as 8 x 8
            images = torch.nn.functional.avg_pool2d(images[..., 2:-2, 2:-2], 3).flatten(1)
        return data.split(images, classes, most=len(classes))
    if name == "cnn":
        return data.split(images, classes, most=most)
    kinds = len(set(classes.tolist()))
    largest = round(most * kinds / sum(1 / k for k in range(1, kinds + 1)))
    return data.split(images, classes, most=largest, zipf=True)


def _layers(model: ModuleModel) -> Mapping[str, Tensor]:
    """Weights and biases of each layer together; vectors alone, as of a normalization, belong to no layer."""
    found: dict[str, list[Tensor]] = {}
    for name, places in zip(model.block_names, model.blocks, strict=True):
        found.setdefault(name.rpartition(".")[0], []).append(places)
    matrix = {name.rpartition(".")[0] for name, shape in model.shapes.items() if len(shape) > 1}
    return MappingProxyType({name: torch.cat(places) for name, places in found.items() if name in matrix})
