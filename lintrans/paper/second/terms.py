"""What a case of a verdict is made of: quantities of problems, by the fast way and by the second implementation.

A case is a sum of terms, each a quantity of one problem by seed: a log ratio of end losses, a log end loss, a log ratio
of R_med, a share of steps, log E at initialization. The fast number of a term comes from the store, where nothing is
added to it; the other one from :mod:`.long`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from torch import Tensor

from ...diagnostics.along import TEST_BATCH
from ...store.results import NotStoredError, measurement, stored_only
from ...training.history import History
from ...training.optimizers import resolve
from ...training.runs import Run
from ..budgets import CurvatureBudget, NoiseBudget, TuningBudget
from ..claims.c3 import PUBLIC
from ..claims.c4 import METRIC, SPEED
from ..claims.c9 import COOLED
from ..claims.c11 import ENDS
from ..claims.common import judged_losses
from ..claims.twice import APART, Case
from ..judged import end_steps
from ..measure.curvature import condition_numbers, step_curvatures
from ..measure.noise import at_initialization
from ..problems import FULL_LINEAR, HEADS, NONLINEAR, PROBLEMS
from ..protocol import COOLDOWN, OPTIMIZERS, judge_all, published_runs, train_to_judge
from ..scales import ATTENTION, CURVATURE, DEPTH_BUDGETS, LARGER_BUDGETS, NOISE, NONLINEAR_BUDGETS, SCALES
from . import long
from .long import Training

PASSES = 3.0
"""Cost of a Hessian-vector product in gradients of as many prompts; a loss alone is a third of a gradient."""
FORWARD = 1 / 3
BLOCK = 1000


class NotSupportedError(LookupError):
    """A case that the second implementation does not compute from end to end."""


@dataclass(frozen=True)
class Source:
    """Where a problem is trained to be judged.

    Attributes:
        training: its budget, of this problem alone.
        tuned_at: the horizon of its rates, 0 for its own.
        curvature: where R_med and v'Hv are measured.
        readings: those that are trained together.
        noise: the budget of noise at initialization, which then is all that is measured.
    """

    name: str
    reading: str
    training: TuningBudget
    curvature: CurvatureBudget | None = None
    tuned_at: int = 0
    readings: tuple[str, ...] = ("published", "tuned")
    noise: NoiseBudget | None = None

    def history(self) -> History:
        """The judged runs of the reading, from the store.

        Raises:
            NotStoredError: they, or the search for their rates, are not there.
        """
        with stored_only():
            if self.name == NONLINEAR.name:
                runs = published_runs(NONLINEAR, self.training.judging)
                return train_to_judge(NONLINEAR, runs, self.training, NONLINEAR.title)
            judged = judge_all(self.training, readings=self.readings, tuned_at=self.tuned_at)
        if self.name not in judged.histories[self.reading]:
            raise NotStoredError(f"{PROBLEMS[self.name].title}: no {self.reading} rates")
        return judged.histories[self.reading][self.name]


@dataclass(frozen=True)
class Quantity:
    """A number of one problem by seed.

    Attributes:
        kind: "gap" (log end loss, SGD less Adam), "loss" (of one optimizer), "condition" (log R_med, SGD less Adam,
            mean over steps and batches), "share" (of steps and batches with v'Hv larger for SGD), "noise" (log E).
        cooled: of losses, that after the cooldown.
        steps: of "condition" and "share".
    """

    kind: str
    optimizer: str = ""
    cooled: bool = False
    steps: tuple[int, ...] = ()


@dataclass(frozen=True)
class Term:
    """A quantity of a problem, added (sign 1) or subtracted (-1)."""

    sign: int
    source: Source
    quantity: Quantity

    @property
    def horizon(self) -> int:
        """How far it has to be trained."""
        budget = self.source.training
        if self.quantity.kind == "noise":
            return 0
        if self.quantity.steps:
            return max(self.quantity.steps) + (self.quantity.kind == "share")
        return budget.steps + round(COOLDOWN * budget.steps) * self.quantity.cooled


# from a case to its terms


def _source(name: str, claim: str, reading: str, scale: str, *others: str) -> Source:
    """Where a claim has a problem trained; two depths are compared at the horizon that both have."""
    reading = "tuned" if reading == "cooled" else reading
    curvature: CurvatureBudget | None = None
    tuned_at = 0
    readings: tuple[str, ...] = ("published", "tuned")
    if claim in ("C9", "C10", "C12"):
        depths = DEPTH_BUDGETS(scale)
        both = {name, *others} <= set(depths.long.settings)
        budget = depths.long if both else depths.short
        curvature = depths.long_curvature if both else depths.short_curvature
    elif claim == "C13":
        attention, readings = ATTENTION(scale), ("tuned",)
        full = name in (FULL_LINEAR, *HEADS.values())
        budget, tuned_at = (attention.full, attention.tuning_steps) if full else (attention.sparse.training, 0)
    elif claim == "C14":
        budget, tuned_at = LARGER_BUDGETS(scale).training, LARGER_BUDGETS(scale).tuning_steps
    elif claim == "C15":
        budget, curvature = NONLINEAR_BUDGETS(scale).training, NONLINEAR_BUDGETS(scale).curvature
    else:
        budget, curvature = SCALES(scale), CURVATURE(scale)
    return Source(name, reading, replace(budget, settings=(name,)), curvature, tuned_at, readings)


def _noise_source(name: str, claim: str, scale: str) -> Source:
    """Where a claim has noise at initialization measured."""
    if claim == "C11":
        depths = DEPTH_BUDGETS(scale)
        own = depths.shallow_noise if name in depths.shallow_noise.settings else depths.deep_noise
    elif claim == "C14":
        own = LARGER_BUDGETS(scale).noise
    else:
        own = NONLINEAR_BUDGETS(scale).noise if claim == "C15" else NOISE(scale)
    return Source(name, "init", replace(SCALES(scale), settings=(name,)), noise=replace(own, settings=(name,)))


def terms_of(case: Case, scale: str) -> tuple[Term, ...]:
    """What a case is the sum of.

    Raises:
        NotSupportedError: its statistic is none of those that are computed here.
    """
    keys, cooled = case.keys, case.reading == "cooled"
    claim = keys.claim if case.claim in ("C14", "C15") and keys.claim else case.claim
    names = keys.problems

    def pair(quantity: Quantity | None, plus: str, minus: str) -> tuple[Term, ...]:
        both = ((1, plus, minus), (-1, minus, plus))
        sources = [(sign, _source(one, case.claim, case.reading, scale, other)) for sign, one, other in both]
        return tuple(Term(sign, own, quantity or _along(own)) for sign, own in sources)

    if claim in ("C1", "C3", "C4") and len(names) == 1:
        own = _source(names[0], case.claim, case.reading, scale)
        if claim == "C1" and keys.part is None:
            return (Term(1, own, Quantity("gap", cooled=cooled)),)
        if claim == "C3" and keys.step is not None:
            return (Term(1, own, Quantity("condition", steps=(keys.step,))),)
        if claim == "C4" and keys.convention != SPEED and own.curvature is not None:
            steps = range(0, own.training.steps, own.training.every)
            settled = tuple(step for step in steps if step >= own.curvature.settled)
            return (Term(1, own, Quantity("share", steps=settled)),)
    if claim == "C2" and len(names) == 1 and keys.part is None:
        return (Term(1, _noise_source(names[0], case.claim, scale), Quantity("noise")),)
    if (claim == "C6" or case.case == ENDS) and len(names) == 2:
        plus, minus = names if claim == "C6" else names[::-1]
        both = ((1, plus), (-1, minus))
        return tuple(Term(sign, _noise_source(name, claim, scale), Quantity("noise")) for sign, name in both)
    if claim in ("C7", "C12") and len(names) == 2:
        plus, minus = names if claim == "C7" else names[::-1]
        return pair(None, plus, minus)
    if claim == "C9" and len(names) == 2 and case.statistic == COOLED:
        return pair(Quantity("gap", cooled=True), *names)
    if claim == "C9" and len(names) == 2 and keys.part == "loss":
        return pair(Quantity("gap"), *names)
    if claim in ("C10", "C13") and len(names) == 2 and keys.optimizer:
        return pair(Quantity("loss", keys.optimizer, cooled), *names)
    raise NotSupportedError(f"not computed here: {case.statistic or case.claim}")


def _along(source: Source) -> Quantity:
    """R_med averaged over the probes along the run."""
    own = source.curvature
    steps = () if own is None else tuple(step for step in own.probes if own.settled <= step <= source.training.steps)
    return Quantity("condition", steps=steps)


# both numbers of a term


def noise_table(source: Source) -> tuple[NoiseBudget, pd.DataFrame]:
    """The budget of the noise, and the fast table of E by seed, from the store."""
    if source.noise is None:
        raise NotStoredError(f"{PROBLEMS[source.name].title}: no noise is measured")
    with stored_only():
        return source.noise, at_initialization(source.noise)[source.name]


def noise_again(source: Source, seeds: tuple[int, ...]) -> pd.Series:
    """Log E by seed from the second implementation, each seed kept in the store."""
    setting, own = PROBLEMS[source.name], source.noise
    assert own is not None
    rows = []
    for seed in seeds:
        arguments = (setting.model, setting.task, seed, own.batch, own.samples, own.reference)
        of = {"what": "noise by the second implementation", "arguments": list(arguments)}
        title = f"{setting.title}, noise of seed {seed} again"
        rows.append(measurement(title, of, partial(long.noise_tail, *arguments)))
    return pd.concat(rows).set_index("seed")["value"].map(np.log).sort_index()


def fast(term: Term, history: History, seeds: tuple[int, ...], batches: tuple[int, ...]) -> pd.Series:
    """The quantity by seed from the store.

    Raises:
        NotStoredError: it was not measured.
    """
    own, source, name = term.quantity, term.source, term.source.name
    if own.kind in ("gap", "loss"):
        table = judged_losses(history, PROBLEMS[name].task.zero_loss, own.cooled).assign(step=0, batch=0)
        table["value"] = table["loss"]
    elif source.curvature is None:
        raise NotStoredError(f"{PROBLEMS[name].title}: no curvature is measured")
    else:
        along, metric = (condition_numbers, PUBLIC) if own.kind == "condition" else (step_curvatures, METRIC)
        with stored_only():
            frame = along({name: history}, source.curvature, source.reading)[name]
        chosen = (frame["metric"] == metric) & frame["step"].isin(own.steps) & frame["batch"].isin(batches)
        table = frame[chosen]
    return _by_seed(own, table[table["seed"].isin(seeds)])


def _by_seed(quantity: Quantity, table: pd.DataFrame) -> pd.Series:
    """The quantity from columns optimizer, seed, step, batch and value."""
    wide = table.pivot(index=["seed", "step", "batch"], columns="optimizer", values="value")
    if quantity.kind == "share":
        wide = wide.reindex(columns=["sgd", "adam"]).dropna()
        points = (wide["sgd"] > wide["adam"]) + 0.5 * (wide["sgd"] == wide["adam"])
    elif quantity.kind == "loss":
        points = wide[quantity.optimizer].map(np.log)
    else:
        points = (wide["sgd"] / wide["adam"]).map(np.log)
        points = points[np.isfinite(points)]
    return points.groupby(level="seed").mean().sort_index()


def training_of(source: Source, history: History, seeds: tuple[int, ...]) -> Training:
    """The same training for the second implementation, of some of the seeds."""
    setting, budget = PROBLEMS[source.name], source.training
    known = {optimizer.name: optimizer for optimizer in OPTIMIZERS}
    runs = [
        Run(known.get(str(row["optimizer"])) or resolve(str(row["optimizer"])), row["lr"], row["seed"], row["clip"])
        for row in history.runs.to_dict("records")
        if row["seed"] in seeds
    ]
    cooldown = round(COOLDOWN * budget.steps)
    points = range(0, budget.steps, budget.every)
    probes = () if source.curvature is None else source.curvature.probes
    kept = {*points, *(step + 1 for step in points), *end_steps(budget.steps), *probes}
    return Training(
        f"{setting.title}, {source.reading} rates", setting.model, setting.task, tuple(runs), budget.batch,
        budget.steps, cooldown, tuple(sorted(step for step in kept if step <= budget.steps)),
    )  # fmt: skip


def _measured(term: Term, training: Training, batches: tuple[int, ...]) -> partial[pd.DataFrame]:
    """What measures the quantity, but for the parameters."""
    own, source = term.quantity, term.source
    if own.kind in ("gap", "loss"):
        at = (training.steps + training.cooldown,) if own.cooled else end_steps(training.steps)
        return partial(long.end_losses, training, at, source.training.blocks)
    prompts = (source.curvature.batch if source.curvature else 0) or TEST_BATCH
    along = long.conditions if own.kind == "condition" else long.smoothness
    return partial(along, training, own.steps, batches, prompts)


def independent(
    term: Term, training: Training, batches: tuple[int, ...], states: Mapping[int, Tensor] | None = None
) -> pd.Series:
    """The quantity by seed from the second implementation, in the store or measured on parameters that are kept."""
    compute = _measured(term, training, batches)
    of = {**training.of, "what": f"second implementation: {compute.func.__name__}", "arguments": list(compute.args[1:])}
    table = measurement(f"{training.title}, {term.quantity.kind} again", of, partial(compute, dict(states or {})))
    return _by_seed(term.quantity, table.assign(**{name: 0 for name in ("step", "batch") if name not in table}))


def seconds_of(term: Term, training: Training, batches: tuple[int, ...], step: float) -> float:
    """An estimate of what is missing; `step` is what one step of the training takes."""
    try:
        with stored_only():
            independent(term, training, batches)
        return 0.0
    except NotStoredError:
        steps = long.missing(training, term.horizon)
    compute = _measured(term, training, batches)
    per_prompt = step / training.batch
    if term.quantity.kind in ("gap", "loss"):
        measuring = FORWARD * per_prompt * len(compute.args[1]) * compute.args[2] * BLOCK
    else:
        columns = 1 if term.quantity.kind == "share" else int(np.prod(training.model.parameter_shape))
        measuring = PASSES * per_prompt * len(term.quantity.steps) * len(batches) * compute.args[3] * columns
    return float(steps * step + measuring)


def chosen(term: Term, batches: int) -> tuple[int, ...]:
    """The first evaluation batches; none for what needs none."""
    own = term.source.curvature
    if not term.quantity.steps or own is None:
        return ()
    return tuple(own.evaluation)[:batches]


def parting(history: History, training: Training, states: Mapping[int, Tensor], until: int) -> int | None:
    """The first step kept by both, up to `until`, at which a run's parameters are more than APART from each other."""
    table = history.runs
    rows = [int(run) for run in table[table["seed"].isin(training.seeds)]["run"]]
    for step in sorted(step for step in set(states) & set(history.snapshots) if step <= until):
        own, other = (each.double().flatten(1) for each in (history.snapshots[step][rows], states[step]))
        if bool(((own - other).norm(dim=1) > APART * other.norm(dim=1)).any()):
            return step
    return None
