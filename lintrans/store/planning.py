"""What experiments would take, before any of them starts: runs, steps, memory, shards, and seconds measured here.

Of each shape a few steps and one measurement of each probe are timed, on this machine, with one run and with a few. A
search for rates asks for trainings that depend on the results of others; within :func:`planned` these are answered as
if the middle rate of each grid were the best, which decides names of rates and not how much is computed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch

from ..engines import Engine, Plan, choose
from ..models.transformer import TensorModel
from ..progress import say
from ..tasks.regression import Task
from ..training.history import COLUMNS, History
from ..training.probes import Probe, StepProbe, TestLoss
from ..training.runs import Runs
from ..training.train import PLANNED, plan_training
from . import results
from .shards import memory, split

FEW = 4
"""Runs of a seed that are timed beside one alone; what further ones take follows from both."""
SECONDS = 0.1
"""Time that steps are repeated for."""
SLOW = 1.0
"""Seconds of a run's step from which on one run is timed alone, and further ones are taken to cost as much each."""
LONG = 10**9
"""Steps of the trainings that are timed, whose ends nobody reaches."""
BLOCKS = 4
"""Blocks of evaluation prompts that are timed where a probe takes more: each takes as long."""


@dataclass(frozen=True)
class Cost:
    """What one training would take.

    Attributes:
        title: its own.
        runs, steps: how many.
        seconds: of each shard on one process of this machine; none where it is stored.
        bytes: what the largest shard may hold beside its process.
        engine: what was timed.
    """

    title: str
    runs: int
    steps: int
    seconds: tuple[float, ...]
    bytes: int
    engine: str


def cost(model: TensorModel, task: Task, runs: Runs, *, title: str = "experiment", **options: Any) -> Cost:
    """Time the shapes of a training's shards here; arguments as for :func:`lintrans.experiment`."""
    plan = plan_training(model, task, runs, **{name: value for name, value in options.items() if name in PLANNED})
    probes = tuple(options.get("probes", (TestLoss(),)))
    kept = len({*options.get("snapshots", ()), plan.steps, plan.total})
    shards = split(plan, probes, kept)
    held, each = memory(plan, probes, kept)
    say(f"{title}: timing its steps")
    engine, alone, more = _seconds(plan, shards[0].runs, probes, options.get("engine", "auto"))
    seconds = tuple(alone + more * (len(shard.runs) - 1) for shard in shards)
    return Cost(
        title, len(runs), plan.total, seconds, held + each * max(len(shard.runs) for shard in shards), engine.name
    )


def _seconds(plan: Plan, runs: Runs, probes: Sequence[Probe | StepProbe], engine: str) -> tuple[Engine, float, float]:
    """The engine, seconds of a training with one run, and how many each further run adds."""

    def timed(count: int) -> tuple[Engine, float, float]:
        own = replace(plan, runs=Runs(list(runs)[:count]))
        worker = choose(engine, replace(own, steps=LONG))
        step = _step(worker)
        return worker, step, plan.total * step + sum(_probe(worker, own, probe) for probe in probes)

    worker, step, alone = timed(1)
    few = min(FEW, len(runs))
    if few == 1 or step > SLOW:
        return worker, alone, alone
    return worker, alone, max(0.0, (timed(few)[2] - alone) / (few - 1))


def _step(engine: Engine) -> float:
    """Seconds of a step, the first one alone where it is long."""
    state, count = engine.start(), 1
    spent = _timed(lambda: engine.advance(state, 1))
    while spent < SECONDS:
        count = max(count + 1, min(2 * count, int(count * SECONDS / max(spent, 1e-6)) + 1))
        spent = _timed(lambda: engine.advance(state, count))  # noqa: B023 - called before the loop goes on
    return spent / count


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _probe(engine: Engine, plan: Plan, probe: Probe | StepProbe) -> float:
    """Seconds of all measurements of a probe."""
    times = len(probe.times(plan.steps, plan.total))
    share, parameters = 1.0, engine.start().parameters
    if isinstance(blocks := getattr(probe, "blocks", None), int) and dataclasses.is_dataclass(probe):
        share = max(1.0, blocks / BLOCKS)
        probe = replace(probe, blocks=min(blocks, BLOCKS))
    spent = [_timed(lambda: _measured(engine, plan, probe, parameters)) for _ in range(2)]
    return share * min(spent) * times


def _measured(engine: Engine, plan: Plan, probe: Probe | StepProbe, parameters: torch.Tensor) -> list[str]:
    """The metrics of a probe."""
    if isinstance(probe, StepProbe):
        return list(probe.measure_step(plan, parameters, parameters * 1.01, 0))
    return list(probe.measure(engine, plan, parameters, 0))


@contextlib.contextmanager
def planned() -> Iterator[list[Cost]]:
    """Within it :func:`lintrans.experiment` computes nothing but timings of what is not stored, and makes up the rest.

    Yields:
        The costs of all trainings that were asked for and are not stored, each once.

    A measurement that is not stored raises a NotStoredError, since nobody knows what its table would look like.
    """
    costs: dict[str, Cost] = {}

    def note(model: TensorModel, task: Task, runs: Runs, *, title: str, **options: Any) -> History:
        plan = plan_training(model, task, runs, **{name: value for name, value in options.items() if name in PLANNED})
        probes, snapshots = options["probes"], options["snapshots"]
        key = repr((plan.model, plan.task, list(plan.runs), plan.total, plan.batch, probes, snapshots))
        if key not in costs:
            costs[key] = cost(model, task, runs, title=title, **options)
            made.append(costs[key])
        return made_up(plan, probes, snapshots)

    made: list[Cost] = []
    with results.stand_in(note):
        yield made


def made_up(plan: Plan, probes: Sequence[Probe | StepProbe], snapshots: Sequence[int]) -> History:
    """A history that nobody trained: the middle rate ends lowest, parameters are those of the beginning."""
    frame = plan.runs.frame
    rates = sorted(set(frame["lr"]))
    worse = frame["lr"].map(lambda lr: 1.0 + abs(rates.index(lr) - (len(rates) - 1) // 2))
    engine = choose("reference", replace(plan, runs=Runs(list(plan.runs)[:1])))
    parameters = plan.model.init([run.seed for run in plan.runs], dtype=plan.dtype)
    rows = []
    for probe in probes:
        few = replace(probe, blocks=1) if hasattr(probe, "blocks") else probe  # type: ignore[type-var]  # a dataclass
        metrics = _measured(engine, engine.plan, few, parameters[:1])  # type: ignore[attr-defined]  # the reference's
        rows += [
            frame.assign(step=step, metric=metric, value=worse)
            for step in sorted(probe.times(plan.steps, plan.total)) for metric in metrics
        ]  # fmt: skip
    rows += [frame.assign(step=plan.total, metric=f"{name}_steps", value=0.0) for name in ("skipped", "clipped")]
    table = frame.assign(skipped=0, clipped=0, diverged=-1)
    kept = sorted({*snapshots, plan.steps, plan.total})
    info = {"device": str(plan.device), "dtype": str(plan.dtype), "engine": "none", "seconds": 0.0}
    whole = pd.concat(rows, ignore_index=True)[list(COLUMNS)].sort_values(["step", "run"], kind="stable")
    return History(whole.reset_index(drop=True), table, dict.fromkeys(kept, parameters), plan.steps, info)


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Seconds that so many workers take for shards of so many seconds, the longest first, each as one is free."""
    free = [0.0] * min(workers, max(1, len(seconds)))
    for length in sorted(seconds, reverse=True):
        heapq.heapreplace(free, free[0] + length)
    return max(free)


def process_bytes() -> int:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
