r"""A second implementation of everything that is judged, written for plainness: what the fast one is checked against.

It shares with the rest of the library the description of a problem, its initial parameters and its prompts as tokens,
and nothing else: no second moments, no compiled loops, no single precision. The model is the paper's formula, token by
token (Ahn et al. 2024, section 2), with the sum over keys taken before a query meets it where attention is linear;
training is ``torch.optim`` with ``clip_grad_norm_``, an optimizer for every run; curvature is a dense Hessian
by autograd twice; gradient noise is a matrix with a row for each minibatch.
Everything is in float64 on the CPU, tens to hundreds of times slower than the engines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from ...models.embedded import EmbeddedTransformer
from ...models.transformer import LinearTransformer, TensorModel
from ...random import Stream
from ...tasks.regression import Prompts, Task
from ...training.optimizers import SGD, Adam
from ...training.runs import Run

KINDS = ("linear", "softmax", "softmax-visible", "relu")
BLOCK = 1000
"""Prompts of an evaluation block, and of a batch behind the reference of gradient noise."""
NUMBERS = 2**22
"""Bound on the scores of one evaluation, a number for each run, prompt, key and query."""
COLUMNS = 64
"""Hessian-vector products of one call."""

Known: TypeAlias = LinearTransformer | EmbeddedTransformer


def known(model: TensorModel) -> Known:
    """The model, if this module has it too.

    Raises:
        TypeError: it has not.
    """
    if not isinstance(model, LinearTransformer | EmbeddedTransformer):
        raise TypeError(
            f"{type(model).__name__} has no second implementation here: give a lintrans.LinearTransformer or a "
            f"lintrans.models.embedded.EmbeddedTransformer"
        )
    return model


def predict(model: TensorModel, parameters: Tensor, prompts: Prompts) -> Tensor:
    """TF_L of every prompt, by the paper's formula.

    Returns:
        ``[runs, batch]`` in the dtype of both; differentiable.
    """
    model, x, y = known(model), prompts.covariates, prompts.responses
    if x.ndim == 3:
        x, y = x.unsqueeze(0), y.unsqueeze(0)
    if isinstance(model, EmbeddedTransformer):
        x, parameters = _embedded(model, parameters, x)
        model = model.transformer
    p, q = _whole(model, parameters)
    shown = torch.cat([y[..., :-1], torch.zeros_like(y[..., :1])], -1)  # the query's own response is hidden
    z = torch.cat([x, shown.expand(x.shape[:-1]).unsqueeze(-1)], -1)  # [runs, batch, n + 1, d + 1]
    for layer in range(model.layers):
        asking = z if layer < model.layers - 1 else z[:, :, -1:]  # only the query's token is read in the end
        moved = asking
        for head in range(model.heads):
            values = torch.einsum("rbic,rec->rbie", z[:, :, :-1], p[:, layer, head])
            asked = torch.einsum("rce,rbje->rbjc", q[:, layer, head], asking)
            if model.attention == "linear":  # the same sum over keys i, in half the time
                seen = torch.einsum("rbic,rbie->rbce", z[:, :, :-1], values) / values.shape[2]
                moved = moved + torch.einsum("rbjc,rbce->rbje", asked, seen)
            else:
                scores = torch.einsum("rbic,rbjc->rbij", z, asked)  # of key i for token j
                moved = moved + torch.einsum("rbij,rbie->rbje", _weights(model.attention, scores), values)
        z = moved
    return -z[:, :, -1, -1]


def _weights(kind: str, scores: Tensor) -> Tensor:
    """What each visible key adds to each token that asks, ``[..., n, asking]``; scores ``[..., n + 1, asking]``."""
    n = scores.shape[-2] - 1
    visible = scores[..., :n, :]
    if kind == "relu":
        return visible.clamp_min(0.0) / n
    if kind == "softmax-visible":
        return torch.softmax(visible, dim=-2)
    return torch.softmax(scores, dim=-2)[..., :n, :] / n


def _whole(model: LinearTransformer, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """P and Q as (d + 1) x (d + 1) matrices, ``[runs, layers, heads, d + 1, d + 1]``."""
    p, q = parameters[:, :, :, 0], parameters[:, :, :, 1]
    if model.form == "full":
        return p, q
    p, q = (torch.nn.functional.pad(each, (0, 1, 0, 1)) for each in (p, q))
    corner = torch.zeros(model.d + 1, model.d + 1, dtype=p.dtype)
    corner[-1, -1] = 1.0
    return p + corner, q


def _embedded(model: EmbeddedTransformer, parameters: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Embedded covariates of all tokens, and the Transformer's parameters."""
    d, hidden, runs = model.d, model.hidden, len(parameters)
    first, first_bias, second, second_bias, rest = torch.split(
        parameters, [hidden * d, hidden, d * hidden, d, parameters.shape[-1] - 2 * hidden * d - hidden - d], dim=-1
    )
    inside = torch.einsum("rbic,rhc->rbih", x, first.reshape(runs, hidden, d)) + first_bias[:, None, None]
    outside = torch.einsum("rbih,rch->rbic", inside.relu(), second.reshape(runs, d, hidden))
    matrices = rest.reshape(runs, *model.transformer.parameter_shape)
    return outside + second_bias[:, None, None], matrices


def losses(model: TensorModel, parameters: Tensor, prompts: Prompts) -> Tensor:
    """Mean squared errors ``[runs]``; see :func:`predict`."""
    errors = predict(model, parameters, prompts) - prompts.target
    return (errors**2).mean(-1)


def _sample(task: Task, batch: int, seed: int | Sequence[int], step: int, stream: Stream) -> Prompts:
    prompts: Prompts = task.sample(batch, seed, step, stream=stream, dtype=torch.float64)
    return prompts


class Ensemble:
    """Runs in training with torch's own optimizers on the prompts that :func:`lintrans.train` would draw.

    Raises:
        TypeError: an optimizer that is neither SGD nor Adam, or a run without a clip.
    """

    def __init__(self, model: TensorModel, task: Task, runs: Sequence[Run], batch: int) -> None:
        self._model, self._task, self._runs, self._batch = model, task, runs, batch
        self._seeds = sorted({run.seed for run in runs})
        self._own = torch.tensor([self._seeds.index(run.seed) for run in runs])
        starts = model.init([run.seed for run in runs], dtype=torch.float64)
        self._leaves = [part.clone().requires_grad_() for part in starts]
        self._rules = [_torch_optimizer(run, leaf) for run, leaf in zip(runs, self._leaves, strict=True)]
        if any(run.clip is None for run in runs):
            raise TypeError("a run has no clip: give lintrans.grid(..., clip=...), math.inf for none")
        self.step = 0

    @property
    def parameters(self) -> Tensor:
        """``[runs, *model.parameter_shape]`` in float64, a copy."""
        return torch.stack(self._leaves).detach()

    def advance(self, rate: float = 1.0) -> None:
        """One step, with `rate` times every run's learning rate; a run whose gradient is not finite stays."""
        prompts = _sample(self._task, self._batch, self._seeds, self.step, Stream.TRAINING)
        gradients = torch.autograd.grad(
            losses(self._model, torch.stack(self._leaves), prompts[self._own]).sum(), self._leaves
        )
        for run, leaf, rule, gradient in zip(self._runs, self._leaves, self._rules, gradients, strict=True):
            leaf.grad = gradient
            norm = torch.nn.utils.clip_grad_norm_([leaf], math.inf if run.clip is None else run.clip)
            rule.param_groups[0]["lr"] = run.lr * rate
            if bool(norm.isfinite()):
                rule.step()
        self.step += 1

    @property
    def memory(self) -> list[dict[str, Tensor]]:
        """What every run's optimizer remembers, by torch's names; nothing before its first step."""
        return [
            {name: value.clone() for name, value in rule.state.get(leaf, {}).items() if value is not None}
            for leaf, rule in zip(self._leaves, self._rules, strict=True)
        ]

    def resume(self, step: int, parameters: Tensor, memory: Sequence[dict[str, Tensor]]) -> None:
        """Go on from `step` as if it had trained until there."""
        self.step = step
        for leaf, rule, value, kept in zip(self._leaves, self._rules, parameters, memory, strict=True):
            with torch.no_grad():
                leaf.copy_(value)
            if kept:
                rule.state[leaf] = {name: each.clone() for name, each in kept.items()}


@dataclass(frozen=True)
class Trained:
    """Parameters ``[runs, *model.parameter_shape]`` in float64, before the last step and after it."""

    before: Tensor
    after: Tensor


def train(model: TensorModel, task: Task, runs: Sequence[Run], steps: int, batch: int) -> Trained:
    """Train from the start; see :class:`Ensemble`."""
    ensemble = Ensemble(model, task, runs, batch)
    before = ensemble.parameters
    for _ in range(steps):
        before = ensemble.parameters
        ensemble.advance()
    return Trained(before, ensemble.parameters)


def _torch_optimizer(run: Run, leaf: Tensor) -> torch.optim.Optimizer:
    rule = run.optimizer
    if isinstance(rule, SGD):
        return torch.optim.SGD([leaf], lr=run.lr, momentum=rule.momentum, dampening=rule.dampening)
    if isinstance(rule, Adam):
        return torch.optim.Adam([leaf], lr=run.lr, betas=rule.betas, eps=rule.eps)
    raise TypeError(f"{rule} has no counterpart in torch.optim here: give lintrans.SGD() or lintrans.Adam()")


def typical_losses(model: TensorModel, task: Task, parameters: Tensor, blocks: int) -> Tensor:
    """Median over blocks of 1000 fresh prompts of the mean loss, ``[runs]``; the blocks of ``lt.TypicalLoss``."""
    found = []
    with torch.no_grad():
        for block in range(blocks):
            prompts = _sample(task, BLOCK, 0, block, Stream.EVALUATION)
            size = max(1, NUMBERS // (BLOCK * (task.n + 1) ** 2))
            found.append(torch.cat([losses(model, part, prompts) for part in torch.split(parameters, size)]))
    return torch.from_numpy(np.median(torch.stack(found).numpy(), axis=0))


@dataclass(frozen=True)
class Curvature:
    """Gradient ``[G]`` and Hessian ``[G, G]`` of one run's loss on some prompts, float64."""

    gradient: Tensor
    hessian: Tensor

    @property
    def robust_condition(self) -> float:
        """Largest over lower median magnitude of the Hessian's diagonal, structural zeros included."""
        magnitudes = sorted(abs(value) for value in self.hessian.diagonal().tolist())
        middle = magnitudes[(len(magnitudes) - 1) // 2]
        return magnitudes[-1] / middle if middle else math.inf

    @property
    def norm(self) -> float:
        """The largest magnitude of an eigenvalue."""
        return float(torch.linalg.matrix_norm(self.hessian, 2))

    def along(self, step: Tensor) -> float:
        """V'Hv with v the step ``[...]`` at unit length."""
        v = step.double().flatten()
        return float(v @ self.hessian @ v / (v @ v))


def curvature(model: TensorModel, parameters: Tensor, prompts: Prompts) -> Curvature:
    """Gradient and dense Hessian by autograd twice, of one run's parameters ``[*model.parameter_shape]``."""
    total = len(prompts.responses)
    size = max(1, NUMBERS // (COLUMNS * prompts.responses.shape[-1] ** 2))
    shares = [(part, len(part) / total) for part in torch.split(torch.arange(total), size)]
    found = [(_curvature(model, parameters, prompts[part]), share) for part, share in shares]
    gradient = torch.stack([share * own.gradient for own, share in found]).sum(0)
    return Curvature(gradient, torch.stack([share * own.hessian for own, share in found]).sum(0))


def _curvature(model: TensorModel, parameters: Tensor, prompts: Prompts) -> Curvature:
    leaf = parameters.detach().double().flatten().requires_grad_()
    (loss,) = losses(model, leaf.reshape(1, *parameters.shape), prompts)
    (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
    rows = []
    for part in torch.split(torch.eye(len(leaf), dtype=torch.float64), COLUMNS):
        (found,) = torch.autograd.grad(gradient, leaf, part, retain_graph=True, is_grads_batched=True)
        rows.append(found)
    return Curvature(gradient.detach(), torch.cat(rows))


def curvature_along(model: TensorModel, before: Tensor, after: Tensor, prompts: Prompts) -> Tensor:
    """V'Hv of every run, ``[runs]``: H at the parameters before a step, v the step at unit length."""
    leaf = before.detach().double().requires_grad_()
    step = (after - before).double()
    (gradient,) = torch.autograd.grad(losses(model, leaf, prompts).sum(), leaf, create_graph=True)
    (product,) = torch.autograd.grad((gradient * step).sum(), leaf)
    own = (product * step).flatten(1).sum(1), step.flatten(1).square().sum(1)
    return own[0] / own[1]


def evaluation_prompts(task: Task, batch: int, number: int) -> Prompts:
    """An evaluation batch of curvature, by its number, as tokens in float64."""
    return _sample(task, batch, number, 0, Stream.BATCHES)


def test_prompts(task: Task, batch: int) -> Prompts:
    """The fixed test batch of the loss curves, as tokens in float64."""
    return _sample(task, batch, 0, 0, Stream.TEST)


def noise(
    model: TensorModel, task: Task, parameters: Tensor, seed: int, batch: int, samples: int, reference: int
) -> Tensor:
    """Gradient noise of one run, a row for each minibatch: ``[samples, G]`` in float64."""

    def gradients(stream: Stream, size: int, numbers: range) -> Tensor:
        group = max(1, NUMBERS // (size * (task.n + 1) ** 2))
        rows = [torch.zeros(0, parameters.numel(), dtype=torch.float64)]
        for start in range(0, len(numbers), group):
            steps = numbers[start : start + group]
            drawn = [_sample(task, size, seed, step, stream) for step in steps]
            prompts = Prompts(
                torch.stack([each.covariates for each in drawn]), torch.stack([each.responses for each in drawn])
            )
            leaf = parameters.detach().double().expand(len(drawn), *parameters.shape).clone().requires_grad_()
            (found,) = torch.autograd.grad(losses(model, leaf, prompts).sum(), leaf)
            rows.append(found.flatten(1))
        return torch.cat(rows)

    full, rest = divmod(reference, BLOCK)
    total = BLOCK * gradients(Stream.REFERENCE, BLOCK, range(full)).sum(0)
    if rest:
        total = total + rest * gradients(Stream.REFERENCE, rest, range(full, full + 1))[0]
    return gradients(Stream.NOISE, batch, range(samples)) - total / reference
