"""Arms beside the published ones: what the clip, beta2, dampening and the precision have to do with the gap."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...statistics import Interval, geometric_ratio
from ...store.results import experiment
from ...training.history import History
from ...training.optimizers import SGD, Adam
from ...training.probes import TypicalLoss
from ...training.runs import Runs, grid
from ..budgets import ControlBudget
from ..claims.common import judged_losses
from ..claims.records import interval_text
from ..claims.rules import NO_INTERVAL, Keys, Unit, ratio_unit
from ..problems import PROBLEMS, Setting
from ..protocol import LOSS, OPTIMIZERS, Tuning, end_steps, end_values, next_rate, published_runs
from ..scales import LABELS, TUNING_SEEDS

DAMPED = SGD(momentum=0.9, dampening=0.9, name="sgd, dampening 0.9")
SLOWER = tuple(Adam(betas=(0.9, beta2), name=f"adam, beta2 = {beta2:g}") for beta2 in (0.99, 0.999))
BASES = {DAMPED.name: "sgd", **{adam.name: "adam" for adam in SLOWER}}
"""Of optimizers that are not the published ones, whose variation they are."""
TRIFLE = 0.01
"""A difference that is not worth a word."""


@dataclass(frozen=True)
class Retuned:
    """Adam with another beta2 at its own best rate, against the published beta2 at its best, at one horizon.

    Attributes:
        best: rate of the published beta2.
        lr: rate of this one, the best of a few around it on tuning seeds.
        edge: the rate is the lowest or highest of those.
        ratio: end loss over that with the published beta2, on judging seeds.
    """

    setting: str
    optimizer: str
    steps: int
    best: float
    lr: float
    edge: bool
    ratio: Interval


@dataclass(frozen=True)
class Controls:
    """The arms of one setting, in the model's default precision, and the published ones again in float64."""

    history: History
    double: History


def _runs(setting: Setting, budget: ControlBudget) -> Runs:
    seeds = range(budget.seeds)
    arms = published_runs(setting, seeds)
    for optimizer in OPTIMIZERS:
        arms += grid(optimizer=optimizer, lr=setting.lr[optimizer.name], clip=None, seed=seeds)
    arms += grid(optimizer=DAMPED, lr=setting.lr["sgd"], clip=setting.clip, seed=seeds)
    return arms + grid(optimizer=SLOWER, lr=setting.lr["adam"], clip=setting.clip, seed=seeds)


def controls(names: tuple[str, ...], budget: ControlBudget, device: str = "auto") -> dict[str, Controls]:
    """Train the arms of every setting at its published rates."""
    found = {}
    for name in names:
        setting = PROBLEMS[name]

        def run(runs: Runs, dtype: str | None, what: str, setting: Setting = setting) -> History:
            probe = TypicalLoss(blocks=budget.blocks, at=end_steps(budget.steps), metric=LOSS)
            return experiment(
                setting.model, setting.task, runs, steps=budget.steps, batch=budget.batch, probes=[probe], dtype=dtype,
                device=device, title=f"{setting.title}, {what}",
            )  # fmt: skip

        double = run(published_runs(setting, range(budget.seeds)), "float64", "published rates in float64")
        found[name] = Controls(run(_runs(setting, budget), None, "arms beside the published ones"), double)
    return found


def retuned(searches: Iterable[Tuning], budget: ControlBudget, device: str = "auto") -> list[Retuned]:
    """Every beta2 at its own best rate, at the horizon of each search, with the clip of its best Adam."""
    found = []
    for tuning in (each for each in searches if each.complete):
        setting, best = PROBLEMS[tuning.setting], tuning.best["adam"]
        clip, base = best.clip, Adam()

        def run(runs: Runs, what: str, steps: int = best.steps, setting: Setting = setting) -> pd.DataFrame:
            probe = TypicalLoss(blocks=budget.blocks, at=end_steps(steps), metric=LOSS)
            history = experiment(
                setting.model, setting.task, runs, steps=steps, batch=budget.batch, probes=[probe], device=device,
                title=f"{setting.title}, {what}",
            )  # fmt: skip
            return judged_losses(history, setting.task.zero_loss)

        rates = [next_rate(best.lr, up=False), best.lr, next_rate(best.lr, up=True)]
        tried = run(
            grid(optimizer=SLOWER, lr=rates, clip=clip, seed=TUNING_SEEDS[: budget.tuning_seeds]), "beta2, rates"
        )
        medians = tried.groupby(["optimizer", "lr"])["loss"].median()
        chosen = {adam: float(medians[adam.name].idxmin()) for adam in SLOWER}
        seeds = range(budget.seeds)
        arms = grid(optimizer=base, lr=best.lr, clip=clip, seed=seeds)
        for adam, lr in chosen.items():
            arms += grid(optimizer=adam, lr=lr, clip=clip, seed=seeds)
        ends = run(arms, "beta2 at its best rate").pivot(index="seed", columns="optimizer", values="loss")
        found += [
            Retuned(
                tuning.setting, adam.name, best.steps, best.lr, lr, lr != best.lr,
                geometric_ratio(ends[adam.name].to_numpy(), ends[base.name].to_numpy()),
            )
            for adam, lr in chosen.items()
        ]  # fmt: skip
    return found


def _beta2(own: Retuned) -> str:
    return own.optimizer.partition(", ")[2]


def retuned_table(found: Iterable[Retuned]) -> pd.DataFrame:
    """:func:`retuned` for a page, a row a setting and horizon, a column a beta2."""
    rows: dict[tuple[str, int], dict[str, str]] = {}
    for own in found:
        head = {"setting": PROBLEMS[own.setting].title, "steps": f"{own.steps:,}", "rate at 0.9": f"{own.best:g}"}
        row = rows.setdefault((own.setting, own.steps), head)
        edge = ", at the edge of those tried" if own.edge else ""
        row[_beta2(own)] = f"{interval_text(own.ratio)} at rate {own.lr:g}{edge}"
    return pd.DataFrame(rows.values())


def retuned_units(found: Iterable[Retuned]) -> list[Unit]:
    """The same as units: does the end loss suffer; the statistic is the step."""
    return [
        ratio_unit(
            f"{PROBLEMS[own.setting].title}, {_beta2(own)}", f"{own.steps:,}", own.ratio, False,
            Keys((own.setting,), own.steps),
        )
        for own in found
    ]  # fmt: skip


def _losses(history: History) -> dict[str, tuple[str, pd.Series]]:
    """Of every arm, by its name, the published optimizer it varies and its end values by seed; infinite if diverged."""
    found = {}
    table = end_values(history)
    for optimizer, clip in dict.fromkeys(zip(table["optimizer"], table["clip"], strict=True)):
        own = table[(table["optimizer"] == optimizer) & (table["clip"] == clip)]
        arm = optimizer if math.isfinite(clip) else f"{optimizer}, no clip"
        found[arm] = BASES.get(optimizer, optimizer), own.set_index("seed")["loss"].sort_index()
    return found


def ratios(found: Mapping[str, Controls]) -> pd.DataFrame:
    """End loss of each arm over that of the published arm of its optimizer.

    Returns:
        Columns setting, arm, label, estimate, low, high, lost (runs that diverged), lost_base (of the published
        arm), seeds.
    """
    rows = []
    for name, own in found.items():
        losses, double = _losses(own.history), _losses(own.double)
        arms = {arm: losses[arm] for arm in sorted(losses) if arm not in LABELS}
        arms |= {f"{arm}, float64": double[arm] for arm in sorted(double)}
        for arm, (optimizer, values) in arms.items():
            base = losses[optimizer][1]
            good = np.isfinite(values) & np.isfinite(base)
            ratio = geometric_ratio(values[good].to_numpy(), base[good].to_numpy()) if good.any() else NO_INTERVAL
            numbers = {"estimate": ratio.estimate, "low": ratio.low, "high": ratio.high}
            lost = {"lost": int((~np.isfinite(values)).sum()), "lost_base": int((~np.isfinite(base)).sum())}
            label = LABELS[optimizer] + arm[len(optimizer) :]
            rows.append({"setting": name, "arm": arm, "label": label, **numbers, **lost, "seeds": len(values)})
    return pd.DataFrame(rows)


def table(found: Mapping[str, Controls]) -> pd.DataFrame:
    """:func:`ratios` for a page, a row an arm and a column a setting."""
    rows: dict[str, dict[str, str]] = {}
    for row in ratios(found).to_dict("records"):
        arm = str(row["arm"])
        some = math.isfinite(row["estimate"])
        interval = Interval(row["estimate"], row["low"], row["high"], math.nan, row["seeds"] - row["lost"])
        text = interval_text(interval) if some else "no number"
        if row["lost"]:
            text += f", {row['lost']} of {row['seeds']} diverged"
        if row["lost_base"]:
            text += f", {row['lost_base']} of {row['seeds']} published runs diverged"
        rows.setdefault(arm, {"arm": row["label"]})[PROBLEMS[row["setting"]].title] = text
    return pd.DataFrame(rows.values()).sort_values("arm", ignore_index=True)


def describe(found: Mapping[str, Controls]) -> str:
    """Which arms end better or worse than the published arm of the same optimizer by their intervals, in Markdown."""
    frame = ratios(found)
    lines = []
    for name, own in frame.groupby("setting", sort=False):
        better, worse = (own[beyond]["label"] for beyond in (own["high"] < 1 - TRIFLE, own["low"] > 1 + TRIFLE))
        parts = [f"{words}: {'; '.join(arms)}" for words, arms in (("lower", better), ("higher", worse)) if len(arms)]
        lines.append(f"- {PROBLEMS[str(name)].title}: {'. '.join(parts) if parts else 'no arm'}.")
    return (
        f"End losses whose interval is more than {TRIFLE:.0%} lower or higher than that of the published arm of the "
        "same optimizer:\n\n" + "\n".join(lines)
    )
