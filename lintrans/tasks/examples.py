"""A finite data set as a task: batches of its examples by seed and step.

Batch (seed, step) is the beginning of a permutation of the set that depends on seed, step and stream alone: the first k
examples of a larger batch are the batch of k, a batch as large as the set is the set, and every example is as likely as
any other. A batch that is larger goes on with another permutation.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..devices import real_dtype
from ..errors import real
from ..random import Source, Stream


@dataclass(frozen=True, eq=False)
class ExampleBatch:
    """Examples drawn from a set, by their places in it.

    Attributes:
        of_inputs, of_targets: the whole set, ``[N, ...]``.
        places: which examples, ``[..., batch]`` int64.
    """

    of_inputs: Tensor
    of_targets: Tensor
    places: Tensor

    @property
    def inputs(self) -> Tensor:
        """Inputs ``[..., batch, ...]``."""
        return self.of_inputs[self.places]

    @property
    def targets(self) -> Tensor:
        """Targets ``[..., batch, ...]``."""
        return self.of_targets[self.places]

    @property
    def target(self) -> Tensor:
        """One number for each example, ``[..., batch]``, as training asks of any batch: here its place in the set."""
        return self.places

    @property
    def batch(self) -> int:
        return self.places.shape[-1]

    def to(self, target: torch.dtype | torch.device | str) -> ExampleBatch:
        """The same examples on another device, or with real inputs and targets in another dtype."""
        if isinstance(target, torch.dtype):
            return ExampleBatch(_real(self.of_inputs, target), _real(self.of_targets, target), self.places)
        return ExampleBatch(self.of_inputs.to(target), self.of_targets.to(target), self.places.to(target))

    def __getitem__(self, index: Tensor | slice | int) -> ExampleBatch:
        """Select along the first axis, for batches of several seeds."""
        return ExampleBatch(self.of_inputs, self.of_targets, self.places[index])

    def split(self, size: int) -> tuple[ExampleBatch, ...]:
        """The batch in parts of at most `size` examples."""
        parts = torch.split(self.places, size, dim=-1)
        return tuple(ExampleBatch(self.of_inputs, self.of_targets, part) for part in parts)


@dataclass(frozen=True, eq=False)
class Examples:
    """A finite data set, with a part held out.

    Args:
        inputs, targets: the examples of training, ``[N, ...]`` each: real numbers, or whole ones such as classes.
        held_out_inputs, held_out_targets: those of stream TEST; all other streams draw from the examples of training.
        zero_loss: loss of a model that always says zero, such as log(classes) for classes from logits.

    Stored results know the set by a digest of its numbers.

    Raises:
        TypeError, ValueError: what is no such set, in words.

    Example:
        >>> import torch
        >>> import lintrans as lt
        >>> x, y = torch.randn(100, 3), torch.arange(100) % 2
        >>> lt.Examples(x[:80], y[:80], x[80:], y[80:], zero_loss=0.69).sample(batch=64).inputs.shape
        torch.Size([64, 3])
    """

    inputs: Tensor
    targets: Tensor
    held_out_inputs: Tensor
    held_out_targets: Tensor
    zero_loss: float

    def __post_init__(self) -> None:
        pairs = {"": (self.inputs, self.targets), "held_out_": (self.held_out_inputs, self.held_out_targets)}
        for prefix, (inputs, targets) in pairs.items():
            for name, value in (("inputs", inputs), ("targets", targets)):
                if not isinstance(value, Tensor) or not value.ndim or not len(value):
                    found = f"shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                    raise TypeError(f"{prefix}{name} are {found}: give a tensor of at least one example")
                if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                    raise ValueError(f"{prefix}{name} have entries that are not finite: leave those examples out")
            if len(inputs) != len(targets):
                raise ValueError(f"{len(inputs)} {prefix}inputs and {len(targets)} {prefix}targets: give as many")
        real("zero_loss", self.zero_loss)

    @property
    def n(self) -> int:
        """How many examples there are for training."""
        return len(self.inputs)

    def sample(
        self, batch: int, seed: int | Sequence[int] = 0, step: int = 0, *, stream: Stream = Stream.TRAINING,
        first: int = 0, dtype: torch.dtype | None = None, device: torch.device | str = "cpu",
    ) -> ExampleBatch:  # fmt: skip
        """Draw examples; arguments as of :meth:`lintrans.LinearRegression.sample`. Real numbers get the dtype."""
        inputs, targets = _placed(self, stream == Stream.TEST, real_dtype(dtype), torch.device(device))
        size = len(inputs)
        parts, begin, end = list[Tensor](), first, first + batch
        for turn in range(begin // size, (end - 1) // size + 1):  # each turn is a permutation of its own
            source = Source(seed, step, stream, size, first=turn * size, device=device)
            order = torch.argsort(source.uniforms(1).squeeze(-2), dim=-1, stable=True)
            parts.append(order[..., max(begin - turn * size, 0) : end - turn * size])
        return ExampleBatch(inputs, targets, torch.cat(parts, dim=-1))


def _real(values: Tensor, dtype: torch.dtype) -> Tensor:
    return values.to(dtype) if values.is_floating_point() else values


@functools.lru_cache(maxsize=8)
def _placed(task: Examples, held_out: bool, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """One part of a set, where and as it is worked on."""
    pair = (task.held_out_inputs, task.held_out_targets) if held_out else (task.inputs, task.targets)
    inputs, targets = (_real(values, dtype).to(device) for values in pair)
    return inputs, targets
