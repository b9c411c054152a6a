"""Trainings of the least model at published rates, and over a map of initial scales, covariates and forms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ...statistics import Interval, mean_of
from ...store.results import experiment
from ...training.history import History
from ...training.optimizers import Adam, Optimizer
from ...training.probes import TypicalLoss
from ...training.runs import Runs, grid
from ..claims.common import Bounded, step_ratio, steps_to
from ..judged import COARSE_LOSS
from ..least import LeastModel, MeanSquare
from ..problems import SETTINGS
from ..protocol import OPTIMIZERS
from ..scales_least import LeastBudget

CLIP = 1.0
ESCAPED = 0.9
"""A run has left the first plateau once its loss is below this share of the zero predictor's."""
FLAT = 0.1
"""A plateau is where the logarithm of the loss falls at less than this share of its mean rate on the way."""
LAYERS = (2, 3)
GROUPED = tuple(Adam(name=name, second_moment=name) for name in ("layer", "kind", "all"))


def hessians(model: LeastModel, law: MeanSquare, parameters: Tensor) -> Tensor:
    """Hessians of runs ``[runs, G]``, as ``[runs, G, G]`` in float64."""
    leaf = parameters.detach().double().requires_grad_()
    (slopes,) = torch.autograd.grad(model.loss(leaf, law.sample(0)).sum(), leaf, create_graph=True)
    rows = [torch.autograd.grad(slope.sum(), leaf, retain_graph=True)[0] for slope in slopes.unbind(-1)]
    return torch.stack(rows, dim=1)  # runs do not mix


def log_between(model: LeastModel, law: MeanSquare, parameters: Tensor) -> np.ndarray:
    """Log of the largest over the (lower) median magnitude of the Hessian's diagonal; here every number is a block."""
    diagonal = hessians(model, law, parameters).diagonal(dim1=-2, dim2=-1).abs()
    return np.asarray((diagonal.amax(-1) / diagonal.median(-1).values).log())


@dataclass(frozen=True)
class Trained:
    """A least model with its law and its training; `floor` is the least loss of any run of this model and law."""

    model: LeastModel
    law: MeanSquare
    history: History
    floor: float

    @property
    def target(self) -> float:
        """sqrt(f0 f*)."""
        return float(np.sqrt(self.law.zero_loss * self.floor))

    @cached_property
    def steps(self) -> pd.DataFrame:
        """The runs' table with the steps to the target."""
        return steps_to(self.history, self.target)

    def gap(self, rates: dict[str, float], seeds: Iterable[int]) -> Bounded:
        """Log ratio of steps at one rate for each optimizer, by seed."""
        own = self.steps[self.steps["seed"].isin(list(seeds))]
        return step_ratio(own[own["lr"] == own["optimizer"].map(rates)])

    def between(self, rates: dict[str, float], seeds: Iterable[int], step: int) -> pd.Series:
        """Log ratio of the factor between blocks at a step, SGD over Adam, by seed."""
        runs = self.history.runs
        runs = runs[runs["seed"].isin(list(seeds)) & (runs["lr"] == runs["optimizer"].map(rates))]
        logs = log_between(self.model, self.law, self.history.parameters(step)[runs["run"].tolist()])
        wide = runs.assign(value=logs).pivot(index="seed", columns="optimizer", values="value")
        return pd.Series(wide["sgd"] - wide["adam"])

    def ends(self, rates: dict[str, float], seeds: Iterable[int]) -> Interval:
        """Loss at the horizon, SGD over Adam, at one rate for each optimizer: geometric mean over seeds."""
        runs = self.history.runs
        runs = runs[runs["seed"].isin(list(seeds)) & (runs["lr"] == runs["optimizer"].map(rates))]
        losses = self.history.metric(COARSE_LOSS)
        last = losses[losses["step"] == losses["step"].max()].set_index("run")["value"]
        wide = runs.assign(value=np.log(last[runs["run"]].to_numpy(np.float64)))
        wide = wide.pivot(index="seed", columns="optimizer", values="value")
        return mean_of((wide["sgd"] - wide["adam"]).to_numpy(np.float64)).exp()

    def best(self, seeds: Iterable[int]) -> dict[str, float]:
        """Each optimizer's rate with the fewest steps to the target, median over tuning seeds; ties: the lower."""
        own = self.steps[self.steps["seed"].isin(list(seeds))]
        medians = own.groupby(["optimizer", "lr"])["steps"].median()
        return {str(name): float(medians[name].idxmin()) for name in own["optimizer"].unique()}


def _floor(histories: Iterable[History]) -> float:
    return min(float(history.metric(COARSE_LOSS)["value"].min()) for history in histories)


def _train(
    model: LeastModel, law: MeanSquare, runs: Runs, budget: LeastBudget, steps: int, kept: Iterable[int], title: str
) -> History:
    every, end = budget.early
    at = sorted({*range(0, min(end, steps) + 1, every), *range(0, steps + 1, budget.every), steps})
    probe = TypicalLoss(blocks=1, at=tuple(at), metric=COARSE_LOSS)
    return experiment(
        model, law, runs, steps=steps, batch=1, clip=CLIP, probes=[probe], snapshots=kept, device="cpu",
        engine="reference", title=title,
    )  # fmt: skip


def published(budget: LeastBudget) -> dict[int, Trained]:
    """Two and three layers at Setting 1's published rates, with Adam's groups beside; by layers."""
    law, found = MeanSquare(), {}
    seeds = range(budget.first_seed, budget.first_seed + budget.seeds)
    kept = {step + k for step in (*range(0, budget.steps, budget.every), *budget.probes) for k in (0, 1)}
    optimizers: tuple[Optimizer, ...] = (*OPTIMIZERS, *GROUPED)
    for layers in LAYERS:
        model = LeastModel(layers)
        runs = grid(optimizer=optimizers, lr=SETTINGS["1"].lr["adam"], seed=seeds)
        history = _train(model, law, runs, budget, budget.steps, sorted(kept), f"least model, L = {layers}")
        found[layers] = Trained(model, law, history, _floor([history]))
    return found


def cells(budget: LeastBudget) -> dict[tuple[str, float, float], Trained]:
    """All cells of the map at every rate, by form, second moment of the covariates and initial scale."""
    seeds = (*budget.tuning_seeds, *range(budget.first_seed, budget.first_seed + budget.map_seeds))
    runs = grid(optimizer=OPTIMIZERS, lr=budget.rates, seed=seeds)
    found: dict[tuple[str, float, float], Trained] = {}
    for form in budget.forms:
        for moment in budget.moments:
            law, own = MeanSquare(mean=moment), {}
            for size in budget.init_scales:
                model = LeastModel(3, form, size)
                title = f"least model, {form}, second moment {moment:g}, initial scale {size:g}"
                own[size] = model, _train(model, law, runs, budget, budget.map_steps, [budget.probes[0]], title)
            floor = _floor(history for _, history in own.values())
            found |= {(form, moment, size): Trained(model, law, h, floor) for size, (model, h) in own.items()}
    return found


def map_table(found: dict[tuple[str, float, float], Trained], budget: LeastBudget, reading: str) -> pd.DataFrame:
    """A row a cell and judging seed: cell, form, moment, scale, seed, predictor, gap (logs, SGD over Adam)."""
    seeds = range(budget.first_seed, budget.first_seed + budget.map_seeds)
    parts = []
    for (form, moment, size), cell in found.items():
        rates = rates_of(cell, budget, reading)
        gap = cell.gap(rates, seeds)
        columns = {"predictor": cell.between(rates, seeds, budget.probes[0]), "gap": gap.logs}
        frame = pd.DataFrame(columns).rename_axis("seed").reset_index()
        name = f"{form} {moment:g} {size:g}"
        parts.append(frame.assign(cell=name, form=form, moment=moment, scale=size))
    return pd.concat(parts, ignore_index=True)


def phases(cell: Trained, rates: dict[str, float], seeds: Iterable[int]) -> pd.DataFrame:
    """Plateaus and drops on the way to the target, a row a run.

    Returns:
        Columns optimizer, seed; plateau, the steps until the loss has left that of the zero predictor; drop, those from
        there to the target; plateaus, how many flat stretches there are on the whole way.
    """
    own = cell.steps[cell.steps["seed"].isin(list(seeds))]
    curves = cell.history.metric(COARSE_LOSS).pivot(index="step", columns="run", values="value")
    own, rows = own[own["lr"] == own["optimizer"].map(rates)], []
    for optimizer, seed, run, steps in zip(own["optimizer"], own["seed"], own["run"], own["steps"], strict=True):
        curve = curves[run].loc[:steps]
        left = curve.index[curve < ESCAPED * cell.law.zero_loss]
        plateau = float(min([*left[:1], steps]))
        logs, at = np.log(curve.to_numpy(np.float64)), curve.index.to_numpy(np.float64)
        slopes, mean = np.diff(logs) / np.diff(at), (logs[-1] - logs[0]) / max(steps, 1.0)
        flat = np.r_[False, slopes > FLAT * mean]
        rows.append((optimizer, seed, plateau, steps - plateau, int((flat[1:] & ~flat[:-1]).sum())))
    return pd.DataFrame(rows, columns=["optimizer", "seed", "plateau", "drop", "plateaus"])


def phases_table(
    found: dict[tuple[str, float, float], Trained], budget: LeastBudget, reading: str, moment: float = 1.0
) -> pd.DataFrame:
    """Medians of :func:`phases` over judging seeds at one second moment, columns form, scale, optimizer first."""
    seeds, parts = range(budget.first_seed, budget.first_seed + budget.map_seeds), []
    for (form, own, size), cell in found.items():
        if own == moment:
            table = phases(cell, rates_of(cell, budget, reading), seeds)
            parts.append(table.drop(columns="seed").assign(form=form, scale=size))
    return pd.concat(parts).groupby(["form", "scale", "optimizer"], sort=False).median().reset_index()


def rates_of(cell: Trained, budget: LeastBudget, reading: str) -> dict[str, float]:
    """Rates by optimizer: the paper's, or those that are best in a cell."""
    return dict(SETTINGS["1"].lr) if reading == "published" else cell.best(budget.tuning_seeds)


def gaps_by_scale(
    found: dict[tuple[str, float, float], Trained], budget: LeastBudget, reading: str
) -> dict[float, Bounded]:
    """Gaps of the sparse form at second moment 1, by initial scale: what F9 is judged on."""
    seeds = range(budget.first_seed, budget.first_seed + budget.map_seeds)
    return {
        size: cell.gap(rates_of(cell, budget, reading), seeds)
        for (form, moment, size), cell in found.items()
        if (form, moment) == ("sparse", 1.0)
    }


def share_larger(own: Trained, seeds: Iterable[int], budget: LeastBudget) -> float:
    """Share of the steps kept from the first probe on at which SGD meets the larger v'Hv along its step (C4)."""
    history, wanted = own.history, list(seeds)
    runs = history.runs[history.runs["seed"].isin(wanted)]
    signs = []
    for step in range(0, budget.steps, budget.every):
        if step < budget.probes[0]:
            continue
        before, after = history.parameters(step).double(), history.parameters(step + 1).double()
        moved = after - before
        products = torch.einsum("ri,rij,rj->r", moved, hessians(own.model, own.law, before), moved)
        smooth = products / (moved * moved).sum(-1)
        wide = runs.assign(value=smooth[runs["run"].tolist()].tolist())
        wide = wide.pivot(index="seed", columns="optimizer", values="value").dropna()
        signs.append((wide["sgd"] > wide["adam"]).mean())
    return float(np.mean(signs))


def closed(own: Trained, seeds: Iterable[int]) -> dict[str, float]:
    """Share of the log gap in steps that Adam with grouped second moments closes (F1); empty where SGD is no slower."""
    steps = own.steps[own.steps["seed"].isin(list(seeds))]
    logs = np.log(steps.groupby("optimizer")["steps"].apply(lambda each: np.exp(np.log(each.clip(lower=1)).mean())))
    gap = logs["sgd"] - logs["adam"]
    return {} if gap <= 0 else {each.name: float((logs["sgd"] - logs[each.name]) / gap) for each in GROUPED}


def surface(around: tuple[float, float], extent: float, points: int, p: float) -> tuple[np.ndarray, ...]:
    """Loss of two layers over q1 and q2 at one p, as (q1, q2, loss)."""
    one, two = (np.linspace(centre - extent, centre + extent, points) for centre in around)
    first, second = np.meshgrid(one, two)
    theta = torch.tensor(np.stack([np.full_like(first, p), first, second], -1))
    return first, second, LeastModel(2).loss(theta, MeanSquare().sample(0)).numpy()
