"""Tables, timings and figures of the page on larger models and more machines."""

from __future__ import annotations

import heapq
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from ...models.transformer import LinearTransformer
from ...store.distributed import distributed, local_workers
from ...store.planning import Cost, cost, makespan
from ...store.results import experiment, unlisted
from ...store.store import Store
from ...tasks.regression import LinearRegression
from ...training.history import History
from ...training.probes import TestLoss
from ...training.runs import Runs, grid
from ..figures.parts import subplots, titled
from ..figures.style import COLOURS, GREY, LINES
from ..scale_names import based_on

WORKERS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Numbers of workers that the simulation goes through."""
PLANNED = (1, 16, 256)
"""Numbers of processes that the plan shows."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a model and its task."""

    layers: int
    d: int
    n: int

    @property
    def title(self) -> str:
        return f"L = {self.layers}, d = {self.d}, n = {self.n}"

    @property
    def problem(self) -> tuple[LinearTransformer, LinearRegression]:
        return LinearTransformer(self.layers, self.d), LinearRegression(d=self.d, n=self.n)


@dataclass(frozen=True)
class ScalingBudget:
    """What the page computes itself.

    Attributes:
        shapes: trained here, each for `steps` steps.
        beyond: shapes that are planned and not trained.
        lengths: steps of shards whose overhead is measured, on as many `shards` of Setting 1.
    """

    shapes: tuple[Shape, ...]
    beyond: tuple[Shape, ...]
    steps: int
    seeds: int
    batch: int
    lengths: tuple[int, ...]
    shards: int


def arms(seeds: int) -> Runs:
    """Both optimizers at one rate that all shapes bear."""
    return grid(optimizer=["sgd", "adam"], lr=0.01, clip=1.0, seed=range(seeds))


def trained(budget: ScalingBudget) -> dict[Shape, History]:
    """The first steps of each shape, both optimizers."""
    return {
        shape: experiment(
            *shape.problem, arms(budget.seeds), steps=budget.steps, batch=budget.batch,
            probes=[TestLoss(every=budget.steps, batch=budget.batch)], title=shape.title, device="cpu",
        ) for shape in budget.shapes
    }  # fmt: skip


def progress_table(histories: dict[Shape, History]) -> pd.DataFrame:
    """Parameters, engine, seconds, and the loss at the end over that at the beginning by optimizer (medians)."""
    rows = []
    for shape, history in histories.items():
        losses = history.metric("test_loss").pivot_table("value", ["optimizer", "seed"], "step")
        share = (losses[history.steps] / losses[0]).groupby("optimizer").median()
        rows.append(
            {
                "model": shape.title,
                "parameters": f"{history.parameters()[0].numel():,}",
                "engine": history.info["engine"],
                "ms a step and run": f"{1e3 * history.info['seconds'] / history.steps / len(history.runs):.3g}",
                "loss left by SGD": f"{share['sgd']:.3f}",
                "loss left by Adam": f"{share['adam']:.3f}",
            }
        )
    return pd.DataFrame(rows)


def plans(shapes: Sequence[Shape], steps: int, seeds: int, batch: int) -> list[Cost]:
    """What a training of each shape would take, by a short timing here."""
    probes = [TestLoss(every=steps // 10)]
    return [
        cost(*shape.problem, arms(seeds), steps=steps, batch=batch, probes=probes, title=shape.title, device="cpu")
        for shape in shapes
    ]


def plan_table(costs: Sequence[Cost]) -> pd.DataFrame:
    """Runs, shards, memory and hours by number of processes."""
    return pd.DataFrame(
        {
            "model": each.title,
            "engine": each.engine,
            "shards": len(each.seconds),
            "GB a process": f"{(each.bytes + 6e8) / 1e9:.1f}",
            **{f"hours, {workers} proc.": f"{makespan(each.seconds, workers) / 3600:.3g}" for workers in PLANNED},
        }
        for each in costs
    )


def timed(budget: ScalingBudget, layers: int = 3, d: int = 5, n: int = 20) -> pd.DataFrame:
    """Wall-clock seconds of an experiment in shards of several lengths, on no, one and two worker processes.

    Columns: steps, workers (0: in this process), seconds (of the whole), shard (median seconds of a shard's own
    training there), shards. Each time anew, in a store of its own; workers have computed something before.
    """
    model, task = Shape(layers, d, n).problem
    rows = []

    def measure(workers: int, steps: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = Store(folder)
            began = time.perf_counter()
            with unlisted():
                experiment(
                    model, task, arms(budget.shards), steps=steps, title=f"{steps} steps", store=store, device="cpu",
                    probes=[TestLoss(every=steps)], progress=False,
                )  # fmt: skip
            spent = time.perf_counter() - began
            own = [entry.seconds for entry in store.entries() if ", seed" in entry.title] or [spent / budget.shards]
            rows.append((steps, workers, spent, float(np.median(own)), budget.shards))

    for steps in budget.lengths:
        measure(0, steps)
    with local_workers(2) as client, distributed(client):
        for workers in (2, 1):
            if workers == 1:
                client.retire_workers(sorted(client.scheduler_info(n_workers=-1)["workers"])[:1])
            measure(workers, budget.lengths[0])  # each worker's first shard loads machine code
            rows.pop()
            for steps in budget.lengths:
                measure(workers, steps)
    return pd.DataFrame(rows, columns=["steps", "workers", "seconds", "shard", "shards"])


def overhead(timings: pd.DataFrame) -> float:
    """Seconds that one worker takes for a shard beside its training; the median over lengths."""
    alone = timings[timings["workers"] == 1]
    return float((alone["seconds"] / alone["shards"] - alone["shard"]).median())


def overhead_table(timings: pd.DataFrame) -> pd.DataFrame:
    """Length of a shard, what cutting adds to it on one worker, its share, and the speed-up of the second worker."""
    rows = []
    for steps, own in timings.groupby("steps"):
        seconds, shard = own.set_index("workers")["seconds"], own.set_index("workers")["shard"]
        shards = own["shards"].iloc[0]
        added = seconds[1] / shards - shard[1]
        rows.append(
            {
                "steps": f"{steps:,}",
                "a shard, ms": f"{1e3 * shard[1]:.0f}",
                "added to it, ms": f"{1e3 * added:.0f}",
                "share": f"{added * shards / seconds[1]:.0%}",
                "whole here, s": f"{seconds[0]:.2f}",
                "1 worker, s": f"{seconds[1]:.2f}",
                "2 workers, s": f"{seconds[2]:.2f}",
                "speed-up, 2 over 1": f"{seconds[1] / seconds[2]:.2f}",
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Trouble:
    """What goes wrong in a simulated cluster.

    Attributes:
        name: for a legend.
        slow: share of shards that take `factor` times as long.
        deaths: of a worker, for each second of its work.
        lost: seconds of work that a death costs at most, and that a worker needs to come back.
    """

    name: str
    slow: float = 0.0
    factor: float = 5.0
    deaths: float = 0.0
    lost: float = float("inf")
    back: float = 30.0


def simulated(
    seconds: npt.NDArray[np.float64], workers: int, trouble: Trouble, overhead: float, seed: int = 0
) -> float:
    """Seconds until all shards are done: each goes to the worker that is free first, in the order given.

    Deaths of a worker are a Poisson process of its working time; one costs what was computed since the last checkpoint
    (at most `lost` seconds, or all of the shard so far), and the time in which the worker comes back.
    """
    draws = np.random.default_rng(seed)
    free, ends = [0.0] * workers, 0.0
    for length in seconds + overhead:
        left = length * (trouble.factor if draws.random() < trouble.slow else 1.0)
        now = heapq.heappop(free)
        while trouble.deaths and (until := draws.exponential(1 / trouble.deaths)) < left:
            kept = max(0.0, until - draws.uniform(0, trouble.lost)) if np.isfinite(trouble.lost) else 0.0
            now, left = now + until + trouble.back, left - kept
        heapq.heappush(free, now + left)
        ends = max(ends, now + left)
    return ends


def replayed(
    measured: Sequence[float], shards: int, length: float, overhead: float, troubles: Sequence[Trouble]
) -> pd.DataFrame:
    """Speed-up over one undisturbed worker by workers and trouble, of shards like those measured.

    Args:
        measured: seconds of shards; drawn from with replacement.
        shards: how many.
        length: what their mean is made, in seconds.
        overhead: seconds added to each.
        troubles: one line of the figure each.
    """
    own = np.random.default_rng(1).choice(np.asarray(measured, np.float64), shards)
    own *= length / own.mean()
    alone = float((own + overhead).sum())
    return pd.DataFrame(
        [
            (trouble.name, workers, alone / simulated(own, workers, trouble, overhead))
            for trouble in troubles for workers in WORKERS
        ], columns=["trouble", "workers", "speed-up"],
    )  # fmt: skip


def replay_table(replays: pd.DataFrame) -> pd.DataFrame:
    """Simulated speed-ups, a row a number of workers and a column a trouble."""
    wide = replays.pivot(index="workers", columns="trouble", values="speed-up")[list(replays["trouble"].unique())]
    return wide.map("{:.3g}".format).reset_index()


def speed_ups(replays: pd.DataFrame) -> Figure:
    """Simulated speed-up against workers, a line a trouble, beside the ideal."""
    figure, axes = subplots(1, 1, 3.4)
    axes.plot(WORKERS, WORKERS, color=GREY, linewidth=0.8, label="ideal")
    colours: Iterator[str] = iter((COLOURS["adam"], COLOURS["sgd"], "#009e73", "#cc79a7"))
    for number, (name, own), colour in zip(count(), replays.groupby("trouble", sort=False), colours, strict=False):
        axes.plot(own["workers"], own["speed-up"], color=colour, dashes=LINES[number % len(LINES)], label=name)
    axes.set(xscale="log", yscale="log", xlabel="workers", ylabel="speed-up (simulated)")
    axes.legend()
    most = replays[replays["workers"] == replays["workers"].max()].set_index("trouble")["speed-up"]
    return titled(
        figure,
        f"{WORKERS[-1]:,} workers are as fast as {most.iloc[0]:.0f} ({most.index[0]}), "
        f"in the worst case as {most.min():.0f} ({most.idxmin()})",
    )


PAPER = ScalingBudget(
    shapes=(Shape(3, 5, 20), Shape(8, 5, 20), Shape(16, 5, 20), Shape(3, 20, 60), Shape(2, 32, 96), Shape(1, 64, 192)),
    beyond=(Shape(16, 5, 20), Shape(16, 20, 60), Shape(8, 32, 96), Shape(2, 64, 192), Shape(16, 64, 192)),
    steps=40, seeds=2, batch=250, lengths=(5, 50, 500), shards=8,
)  # fmt: skip
QUICK = ScalingBudget(
    shapes=(Shape(3, 5, 20), Shape(16, 5, 20)), beyond=(Shape(16, 5, 20), Shape(1, 40, 40)),
    steps=10, seeds=1, batch=50, lengths=(5, 50), shards=4,
)  # fmt: skip


def budget(scale: str) -> ScalingBudget:
    """What the page computes at a scale."""
    return {"paper": PAPER, "quick": QUICK}[based_on(scale)[0]]
