"""Live checks of the model's two forms against each other and against a known answer, for the book's model page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .devices import resolve_device
from .models import FORMS, LinearTransformer
from .tasks import Gaussian, LinearRegression

TOLERANCE = 1e-10
"""Relative difference below which two float64 computations of one thing are said to agree."""
INIT_STD = 0.3
"""Large enough that every layer matters to the prediction."""


def token_against_moment(
    task: LinearRegression,
    depths: Iterable[int],
    heads: int = 1,
    batch: int = 100,
    seeds: Iterable[int] = range(4),
    device: str = "auto",
) -> pd.DataFrame:
    """Largest relative differences between the token form and the moment form, in float64.

    Returns:
        One row per form, depth and seed: form, layers, seed, prediction, gradient (differences over the largest value).
    """
    place = resolve_device(device, torch.float64)
    rows = []
    for form in FORMS:
        for depth in depths:
            model = LinearTransformer(layers=depth, d=task.d, heads=heads, form=form, init_std=INIT_STD)
            for seed in seeds:
                prompts = task.sample(batch, seed, dtype=torch.float64, device=place)
                moments = task.sample_moments(batch, seed, dtype=torch.float64, device=place)
                leaf = model.init(seed, dtype=torch.float64, device=place).requires_grad_()
                token, moment = model.predict(leaf, prompts), model.predict(leaf, moments)
                (by_token,) = torch.autograd.grad(model.loss(leaf, prompts), leaf)
                (by_moment,) = torch.autograd.grad(model.loss(leaf, moments), leaf)
                rows.append(
                    {
                        "form": form,
                        "layers": depth,
                        "seed": seed,
                        "prediction": _difference(token, moment),
                        "gradient": _difference(by_token, by_moment),
                    }
                )
    return pd.DataFrame(rows)


def _difference(a: Tensor, b: Tensor) -> float:
    return float(((a - b).abs().max() / a.abs().max()).detach())


def agreement_table(agreement: pd.DataFrame) -> pd.DataFrame:
    """The largest difference over seeds, a row per form and depth."""
    worst = agreement.groupby(["form", "layers"], as_index=False, sort=False)[["prediction", "gradient"]].max()
    return worst.assign(**{column: worst[column].map("{:.1e}".format) for column in ("prediction", "gradient")})


def describe_agreement(agreement: pd.DataFrame) -> str:
    """Whether both forms agree, in a sentence."""
    worst = float(agreement[["prediction", "gradient"]].max().max())
    answer = "agree to rounding" if worst < TOLERANCE else f"differ by more than {TOLERANCE:g}"
    count = len(agreement)
    return f"The two forms **{answer}**: the largest relative difference is {worst:.1e}, over {count} comparisons."


@dataclass(frozen=True)
class OneLayer:
    """Losses of one layer with Q = q I.

    Attributes:
        scales: values of q.
        exact: population loss, [scales].
        measured: mean losses over sampled prompts, [seeds, scales].
        least: the least population loss of any one-layer model, d (d + 1) / (n + d + 1).
    """

    scales: np.ndarray
    exact: np.ndarray
    measured: np.ndarray
    least: float


def one_layer_loss(q: Tensor, n: int) -> Tensor:
    """Population loss of one layer in the sparse form, Gaussian covariates: d + 2 tr Q + (n + d + 1) / n ||Q||_F^2."""
    d = q.shape[-1]
    return d + 2 * q.diagonal(dim1=-2, dim2=-1).sum(-1) + (n + d + 1) / n * (q * q).sum((-2, -1))


def one_layer(
    task: LinearRegression, batch: int = 1000, seeds: Iterable[int] = range(4), device: str = "auto"
) -> OneLayer:
    """Compare the exact loss of one layer with sampled prompts, along Q = q I.

    Raises:
        ValueError: covariates that are not standard normal, for which the formula does not hold.
    """
    if task.covariates != Gaussian():
        raise ValueError(
            f"covariates = {task.covariates} are not standard normal: the exact loss is known for lintrans.Gaussian()"
        )
    model = LinearTransformer(layers=1, d=task.d)
    place = resolve_device(device, torch.float64)
    scales = torch.linspace(-1.5, 0.5, 21, dtype=torch.float64, device=place)
    eye = torch.eye(task.d, dtype=torch.float64, device=place)
    q = scales.reshape(-1, 1, 1) * eye
    parameters = torch.zeros(len(scales), *model.parameter_shape, dtype=torch.float64, device=place)
    parameters[:, 0, 0, 1] = q
    measured = [
        model.loss(parameters, task.sample_moments(batch, seed, dtype=torch.float64, device=place)) for seed in seeds
    ]
    return OneLayer(
        scales.cpu().numpy(),
        one_layer_loss(q, task.n).cpu().numpy(),
        torch.stack(measured).cpu().numpy(),
        task.d * (task.d + 1) / (task.n + task.d + 1),
    )


def describe_one_layer(curve: OneLayer) -> str:
    """Where the sampled losses are least, and how far they are from the exact ones."""
    means = curve.measured.mean(0)
    best = int(means.argmin())
    off = float(np.abs(means / curve.exact - 1).max())
    return (
        f"Of the values tried the sampled loss is least at q = {curve.scales[best]:.2f}, where it is {means[best]:.3f} "
        f"and the exact loss {curve.exact[best]:.3f}; the least possible is {curve.least:.3f}. Averaged over "
        f"{len(curve.measured)} seeds, the sampled losses are within {off:.1%} of the exact ones everywhere."
    )
