"""Why deep models overflow: the batches they meet, mean against typical loss, both precisions, and basins.

With P_l = p_l I and Q_l = q_l I an eigenvalue s of the context's second moments leaves of the answer the share
prod_l (1 + q_l s_l), with s_0 = s and s_{l+1} = s_l (1 + p_l q_l s_l)^2: a polynomial of degree (3^L - 1) / 2, which
training makes small where most prompts lie. Beyond, nothing holds it down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from torch import Tensor

from ...diagnostics.batches import BatchLoss, batches_along, block_losses, worst_prompts
from ...models.transformer import LinearTransformer
from ...random import Stream
from ...store.results import experiment, measurement
from ...tasks.regression import LinearRegression, Moments
from ...training.history import History
from ...training.probes import BLOCK, Probe, TypicalLoss
from ...training.runs import Run, Runs
from ..budgets import DepthBudget
from ..problems import PROBLEMS, Setting
from ..protocol import LOSS, OPTIMIZERS

CLOSE = 1.5
"""Factor within which the scales of two runs agree in every layer, if they are to be in one basin."""

Array = npt.NDArray[np.float64]


def linear(setting: Setting) -> tuple[LinearTransformer, LinearRegression]:
    """Model and task of a problem of linear attention on linear regression."""
    model, task = setting.model, setting.task
    assert isinstance(model, LinearTransformer)
    assert isinstance(task, LinearRegression)
    return model, task


def batches_met(histories: Mapping[str, History], batch: int, every: int, stride: int) -> dict[str, pd.DataFrame]:
    """Losses of the training batches met at points of the curves, by problem; see :class:`BatchLoss`."""
    found = {}
    for name, history in histories.items():
        setting = PROBLEMS[name]
        model, task = linear(setting)
        steps = [step for step in range(0, history.steps, every * stride) if step in history.snapshots]
        title = f"{setting.title}, losses of the batches met"
        of = {"what": "batches met", "history": history.key, "steps": steps, "batch": batch}
        found[name] = measurement(title, of, partial(batches_along, history, model, task, batch, steps, title))
    return found


def means(histories: Mapping[str, History], blocks: int) -> dict[str, pd.DataFrame]:
    """Mean against typical loss at the end of the trainings, by problem.

    Returns:
        A row per run and number of blocks (1, 2, 5, 10, ...): optimizer, seed, prompts, mean, and for all of them the
        typical loss (median over blocks) and the share of the ten worst prompts in the mean.
    """
    found = {}
    for name, history in histories.items():
        setting = PROBLEMS[name]
        of = {"what": "mean and typical loss", "history": history.key, "blocks": blocks}
        title = f"{setting.title}, mean against typical loss"
        found[name] = measurement(title, of, partial(_means, history, setting, blocks))
    return found


def _means(history: History, setting: Setting, blocks: int) -> pd.DataFrame:
    model, task = linear(setting)
    parameters = history.parameters()
    losses = block_losses(model, task, parameters, blocks)
    worst = worst_prompts(model, task, parameters, losses)
    scale = losses.nan_to_num(torch.inf, torch.inf).amax(-1, keepdim=True)  # first, so that no sum overflows
    relative = losses / scale
    shares = (worst / scale).sum(-1) / (relative.sum(-1) * BLOCK)
    sizes = [size for size in ladder(blocks) if size <= blocks]
    rows = []
    for size in sizes:
        mean = relative[:, :size].mean(-1) * scale[:, 0]
        for run, (_, row) in enumerate(history.runs.iterrows()):
            typical = float(losses[run].quantile(0.5)) if losses[run].isfinite().any() else np.inf
            numbers = size * BLOCK, float(mean[run]), typical, float(shares[run])
            rows.append((row["optimizer"], int(row["seed"]), *numbers))
    return pd.DataFrame(rows, columns=["optimizer", "seed", "prompts", "mean", "typical", "share"])


def ladder(most: int) -> list[int]:
    """1, 2, 5, 10, 20, ... to `most`, which is in it."""
    steps = [digit * 10**power for power in range(len(str(most))) for digit in (1, 2, 5)]
    return sorted({*(step for step in steps if step < most), most})


@dataclass(frozen=True)
class Precision:
    """The same short trainings in both precisions, with what they met at every step."""

    single: History
    double: History


def precision(name: str, history: History, budget: DepthBudget, device: str = "auto") -> Precision:
    """Train a problem at the rates of `history`, in single and in double precision, with every batch looked at."""
    setting = PROBLEMS[name]
    few = history.runs[history.runs["seed"].isin(budget.short.judging[: budget.precision_seeds])]
    rules = {rule.name: rule for rule in OPTIMIZERS}
    runs = Runs(
        Run(rules[row["optimizer"]], float(row["lr"]), int(row["seed"]), float(row["clip"]))
        for _, row in few.iterrows()
    )
    probes: list[Probe] = [BatchLoss(every=1), TypicalLoss(blocks=20, at=(budget.precision_steps,), metric=LOSS)]

    def trained(dtype: str) -> History:
        return experiment(
            setting.model, setting.task, runs, steps=budget.precision_steps, batch=budget.short.batch, probes=probes,
            dtype=dtype, device=device, title=f"{setting.title}, {dtype}, every batch looked at",
        )  # fmt: skip

    return Precision(trained("float32"), trained("float64"))


def scales(parameters: Tensor) -> tuple[Array, Array]:
    """Mean diagonals of every layer's P and Q, ``[runs, layers]`` each, of one-headed sparse models."""
    diagonal = parameters[:, :, 0].diagonal(dim1=-2, dim2=-1).double().mean(-1).numpy()  # [runs, layers, (P, Q)]
    return diagonal[..., 0], diagonal[..., 1]


def isotropy(parameters: Tensor) -> Array:
    """Share of ||Q_l||_F^2 that a multiple of the identity carries, ``[runs, layers]``, of one-headed sparse models."""
    q = parameters[:, :, 0, 1].double()
    mean = q.diagonal(dim1=-2, dim2=-1).mean(-1)
    share: Array = (mean**2 * q.shape[-1] / (q**2).sum((-2, -1))).numpy()
    return share


def basins(history: History, finished: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """A basin, that is a group of solutions, for every run, 0 the largest; -1 for one that diverged or is unfinished.

    Two runs are in one basin where the mean diagonals of Q agree in sign and within a factor CLOSE in every layer, at
    the end of the cooldown; groups are such that this holds for all pairs in them (complete linkage).
    """
    _, q = scales(history.parameters())
    arrived = finished & (history.runs["diverged"] < 0).to_numpy()
    good = np.flatnonzero(np.isfinite(q).all(-1) & (q != 0).all(-1) & arrived)
    labels = np.full(len(q), -1, np.int64)
    if len(good) < 2:
        labels[good] = 0
        return labels
    logs, signs = np.log(np.abs(q[good])), np.sign(q[good])
    distance = np.abs(logs[:, None] - logs[None]).max(-1)
    distance = np.where((signs[:, None] != signs[None]).any(-1), 1e3 + distance, distance)
    tree = hierarchy.linkage(squareform(distance, checks=False), "complete")
    groups = hierarchy.fcluster(tree, np.log(CLOSE), "distance")
    order = pd.Series(groups).value_counts(sort=True).index.tolist()  # the largest first, ties in order of appearance
    labels[good] = [order.index(group) for group in groups]
    return labels


def log_share(p: Array, q: Array, eigenvalues: Array) -> Array:
    """Log10 of the squared share of the answer that layers with P_l = p_l I and Q_l = q_l I leave unexplained.

    Returns:
        Log10 of prod_l (1 + q_l s_l)^2; in logarithms throughout, since its degree is 3^L - 1.
    """
    logs = np.log(np.asarray(eigenvalues, np.float64))
    total = np.zeros_like(logs)
    for own_p, own_q in zip(p, q, strict=True):
        total += 2 * _log_abs_one_plus(own_q, logs)
        logs = logs + 2 * _log_abs_one_plus(own_p * own_q, logs)
    share: Array = total / np.log(10)
    return share


def _log_abs_one_plus(factor: float, logs: Array) -> Array:
    """Log |1 + factor exp(logs)| without overflow."""
    if factor == 0:
        return np.zeros_like(logs)
    exponent = logs + np.log(abs(factor))
    with np.errstate(divide="ignore"):
        small = np.log(np.abs(1 + np.sign(factor) * np.exp(np.minimum(exponent, 30.0))))
    value: Array = np.where(exponent > 30.0, exponent, small)
    return value


def lengthened(setting: Setting, parameters: Tensor, factors: Array, prompts: int = 1000) -> tuple[Array, Array]:
    """What happens to the loss of prompts whose covariates are all made longer by a factor.

    Returns:
        Log10 of the squared error over that of the zero predictor on the same prompts, at each factor: the median and
        the 99% quantile over prompts.
    """
    model, task = linear(setting)
    drawn = task.sample_moments(prompts, 0, 0, stream=Stream.EVALUATION, dtype=torch.float64)
    middle, high = [], []
    for factor in factors:
        xx, xy, yy = (part * factor**2 for part in (drawn.xx, drawn.xy, drawn.yy))
        longer = Moments(xx, xy, yy, drawn.query * factor, drawn.target * factor)
        errors = (model.predict(parameters.double(), longer) - longer.target) ** 2
        logs = (errors / (longer.target**2).mean()).nan_to_num(torch.inf, torch.inf).log10()
        middle.append(float(logs.quantile(0.5)))
        high.append(float(logs.quantile(0.99)))
    return np.array(middle), np.array(high)


def largest_eigenvalues(task: LinearRegression, prompts: int) -> Array:
    """Largest eigenvalue of the context's second moments, of so many prompts, ascending."""
    moments = task.sample_moments(prompts, dtype=torch.float64).xx.permute(2, 0, 1)
    values: Array = np.sort(np.linalg.eigvalsh(moments.numpy())[:, -1])
    return values
