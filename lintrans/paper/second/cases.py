"""Cases of verdicts computed twice, each at its own horizon, rates and prompts: what `lintrans twice` computes."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
import pandas as pd

from ...progress import bar
from ...store.results import NotStoredError, stored_only
from ..claims import editions
from ..claims.records import verdict_records
from ..claims.twice import Case, Found, Left, Twice, wanted
from ..problems import PROBLEMS
from . import long
from .long import Training
from .terms import (
    NotSupportedError,
    Source,
    Term,
    chosen,
    fast,
    independent,
    noise_again,
    noise_table,
    parting,
    seconds_of,
    terms_of,
    training_of,
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A case that can be computed, with the training of each term (None of noise) and the fast number by seed."""

    case: Case
    terms: tuple[Term, ...]
    trainings: tuple[Training | None, ...]
    fast: pd.Series

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that it is computed on."""
        return tuple(int(seed) for seed in self.fast.index)

    def combined(self, numbers: Iterable[pd.Series]) -> pd.Series:
        """The case's number by seed, a ratio or a share."""
        parts = [term.sign * own for term, own in zip(self.terms, numbers, strict=True)]
        total = sum(parts[1:], start=parts[0]).dropna()
        return total if self.kind == "share" else total.map(np.exp)

    @property
    def kind(self) -> str:
        """Either "share" or "ratio"."""
        return "share" if self.terms[0].quantity.kind == "share" else "ratio"


class Quiet(contextlib.redirect_stdout[io.StringIO]):
    """Lines of the store go nowhere: there are hundreds."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())


def job_of(case: Case, scale: str, count: int, batches: int) -> Job:
    """Find what a case was judged on.

    Raises:
        NotSupportedError: there is no way to compute it here.
        NotStoredError: what it was judged on is not in the store.
    """
    terms = terms_of(case, scale)
    if terms[0].source.noise is not None:
        tables = [noise_table(term.source)[1].set_index("seed")["excess"].astype(float).map(np.log) for term in terms]
        job = Job(case, terms, (None,) * len(terms), pd.Series(dtype=float))
        return replace(job, fast=job.combined(tables).sort_index().iloc[:count])
    histories = [term.source.history() for term in terms]
    shared = set.intersection(*({int(seed) for seed in history.runs["seed"]} for history in histories))
    seeds = tuple(sorted(shared)[:count])
    trainings = tuple(training_of(term.source, own, seeds) for term, own in zip(terms, histories, strict=True))
    numbers = [fast(term, own, seeds, chosen(term, batches)) for term, own in zip(terms, histories, strict=True)]
    job = Job(case, terms, trainings, pd.Series(dtype=float))
    return replace(job, fast=job.combined(numbers))


def compute(
    scale: str, minutes: float = 20.0, count: int = 2, batches: int = 2, names: tuple[str, ...] = (),
    only_list: bool = False,
) -> Twice:  # fmt: skip
    """Compute the cases that fit into so many minutes, the cheapest first; the others are listed.

    Args:
        scale: whose verdicts.
        minutes: in all; what is in the store costs none.
        count: judging seeds, from the first on.
        batches: evaluation batches of curvature.
        names: only these claims; all if empty.
        only_list: estimate, and compute nothing that is not in the store.
    """
    began, first = time.monotonic(), editions.read(editions.PATH)
    before = first.records if first is not None and first.scale == scale else {}
    records = {key: own for key, own in verdict_records(scale).items() if not names or key[0] in names}
    jobs, left = [], []
    for case in wanted(records, before):
        try:
            with Quiet():
                jobs.append(job_of(case, scale, count, batches))
        except NotSupportedError as error:
            left.append(_left(case, str(error)))
        except NotStoredError as error:
            left.append(_left(case, f"the fast side is not in the store: {error}"))
    speeds: dict[Training | str, float] = {}
    rows, waiting = [], jobs
    while waiting:
        with Quiet():
            costs = [_seconds(job, batches, speeds) for job in waiting]
        place = int(np.argmin(costs))
        job, seconds = waiting[place], costs[place]
        if seconds and (only_list or time.monotonic() - began + seconds > 60 * minutes):
            why = f"takes longer than was left of {minutes:g} minutes" if not only_list else "not computed yet"
            left += [_left(own.case, why, cost / 60) for own, cost in zip(waiting, costs, strict=True)]
            break
        rows.append(_found(job, batches))
        waiting = [own for own in waiting if own is not job]
    return Twice(scale, datetime.now(UTC).date().isoformat(), version("lintrans"), tuple(rows), tuple(left))


def _left(case: Case, why: str, minutes: float | None = None) -> Left:
    return Left(case.claim, case.reading, case.case, why, minutes)


def _seconds(job: Job, batches: int, speeds: dict[Training | str, float]) -> float:
    """An estimate of what is missing of a case; `speeds` remembers how long a step, or a minibatch, takes."""
    total = 0.0
    for term, training in zip(job.terms, job.trainings, strict=True):
        if training is None:
            total += _noise_seconds(term.source, job.seeds, speeds)
            continue
        if training not in speeds:
            speeds[training] = long.step_seconds(training)
        total += seconds_of(term, training, chosen(term, batches), speeds[training])
    return total


def _noise_seconds(source: Source, seeds: tuple[int, ...], speeds: dict[Training | str, float]) -> float:
    setting, own = PROBLEMS[source.name], source.noise
    assert own is not None
    if source.name not in speeds:
        speeds[source.name] = long.noise_seconds(setting.model, setting.task, own.batch)
    total = 0.0
    for seed in seeds:
        try:
            with stored_only():
                noise_again(source, (seed,))
        except NotStoredError:
            total += speeds[source.name] * (own.samples + own.reference / own.batch)
    return total


def _found(job: Job, batches: int) -> Found:
    """Compute a case."""
    numbers, parted = [], []
    for term, training in zip(job.terms, job.trainings, strict=True):
        if training is None:
            with Quiet():
                numbers.append(noise_again(term.source, job.seeds))
            continue
        with bar(term.horizon, f"{job.case.title}: {training.title}") as shown, Quiet():
            states = long.trained(training, term.horizon, shown.update)
            numbers.append(independent(term, training, chosen(term, batches), states))
            parted.append(parting(term.source.history(), training, states, term.horizon))
    case, again = job.case, job.combined(numbers)
    seeds = tuple(int(seed) for seed in job.fast.index.intersection(again.index))
    return Found(
        case.claim, case.reading, case.case, case.statistic, case.state, case.before, job.kind,
        max(term.horizon for term in job.terms), max(len(chosen(term, batches)) for term in job.terms), seeds,
        tuple(float(job.fast[seed]) for seed in seeds), tuple(float(again[seed]) for seed in seeds),
        min((step for step in parted if step is not None), default=None),
    )  # fmt: skip
