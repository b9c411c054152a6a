"""Live checks for the book's pages: the two forms of the model against each other, a known answer, an identity."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ...devices import resolve_device
from ...models.transformer import FORMS, LinearTransformer
from ...tasks.regression import Gaussian, LinearRegression, Prompts
from ...training.optimizers import SGD, Adam

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
                rows.append((form, depth, seed, _difference(token, moment), _difference(by_token, by_moment)))
    return pd.DataFrame(rows, columns=["form", "layers", "seed", "prediction", "gradient"])


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


SCALES = (5**-0.5, 3.0)
"""Factors that covariates are scaled by; the first takes E||x||^2 of N(0, I_5) to 1."""


def covariate_scale(
    task: LinearRegression,
    factors: Iterable[float] = SCALES,
    batch: int = 100,
    seeds: Iterable[int] = range(4),
    device: str = "auto",
) -> pd.DataFrame:
    """What scaling the covariates does in the sparse form: x -> c x with every Q -> Q / c^2, on the same prompts.

    The loss must be c^2 times what it was, the gradient in P too, that in Q c^4 times. Both are compared in float64.
    The first unclipped step of each optimizer then moves Q, in units of the unscaled Q, and P; how far it moves Q over
    how far it moves P must change by c^4 for SGD and by c^2 for Adam.

    Returns:
        One row per factor and seed: factor, seed, loss, gradient_p, gradient_q (relative differences), sgd, adam (the
        change of that ratio of lengths).
    """
    place = resolve_device(device, torch.float64)
    model = LinearTransformer(layers=3, d=task.d, init_std=INIT_STD)
    rows = []
    for seed in seeds:
        prompts = task.sample(batch, seed, dtype=torch.float64, device=place)
        parameters = model.init(seed, dtype=torch.float64, device=place)
        loss, p, q = _slopes(model, parameters, prompts)
        for c in factors:
            scaled = Prompts(c * prompts.covariates, c * prompts.responses)
            changed = parameters.clone()
            changed[..., 1, :, :] /= c**2
            new_loss, new_p, new_q = _slopes(model, changed, scaled)
            balances = [
                c**2 * _balance(optimizer, new_p, new_q) / _balance(optimizer, p, q)
                for optimizer in (SGD(), Adam(eps=1e-30))  # eps has units: with it the ratio is not exact
            ]
            pairs = ((new_loss, c**2 * loss), (new_p, c**2 * p), (new_q, c**4 * q))
            rows.append((c, seed, *(_difference(*pair) for pair in pairs), *balances))
    return pd.DataFrame(rows, columns=["factor", "seed", "loss", "gradient_p", "gradient_q", "sgd", "adam"])


def _slopes(model: LinearTransformer, parameters: Tensor, prompts: Prompts) -> tuple[Tensor, Tensor, Tensor]:
    """The loss on some prompts, and its gradients in all P and in all Q."""
    leaf = parameters.clone().requires_grad_()
    loss = model.loss(leaf, prompts.moments())
    (gradient,) = torch.autograd.grad(loss, leaf)
    return loss, gradient[..., 0, :, :], gradient[..., 1, :, :]


def _balance(optimizer: SGD | Adam, p: Tensor, q: Tensor) -> float:
    """How far an optimizer's first step moves all Q over how far it moves all P."""
    lengths = []
    for gradient in (q, p):
        flat = gradient.reshape(1, -1)
        model = LinearTransformer(1, 1)  # of no importance to these two
        slots = optimizer.init(flat, model)
        direction, _ = optimizer.update(flat, slots, torch.ones_like(flat[:, :1]), model)
        lengths.append(float(torch.linalg.vector_norm(direction)))
    return lengths[0] / lengths[1]


def scale_table(found: pd.DataFrame) -> pd.DataFrame:
    """The largest differences over seeds and the measured changes of balance beside c^4 and c^2, a row a factor."""
    rows = []
    for _, own in found.groupby("factor"):
        factor = float(own["factor"].iloc[0])
        rows.append(
            {
                "c²": f"{factor**2:.3g}",
                "loss": f"{own['loss'].max():.1e}",
                "gradient in P": f"{own['gradient_p'].max():.1e}",
                "gradient in Q": f"{own['gradient_q'].max():.1e}",
                "SGD: Q over P": f"{own['sgd'].mean():.4g} (c⁴ = {factor**4:.4g})",
                "Adam: Q over P": f"{own['adam'].mean():.4g} (c² = {factor**2:.4g})",
            }
        )
    return pd.DataFrame(rows)


def describe_scale(found: pd.DataFrame) -> str:
    """Whether the identity holds to rounding, in a sentence."""
    exact = found.assign(
        sgd=(found["sgd"] / found["factor"] ** 4 - 1).abs(), adam=(found["adam"] / found["factor"] ** 2 - 1).abs()
    )
    worst = float(exact[["loss", "gradient_p", "gradient_q", "sgd", "adam"]].max().max())
    answer = "holds to rounding" if worst < TOLERANCE else f"fails by more than {TOLERANCE:g}"
    return f"The identity **{answer}**: the largest relative difference is {worst:.1e}, over {len(found)} comparisons."
