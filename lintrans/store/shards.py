"""Shards of a training: runs of one seed, which share their prompts, and their numbers put together again.

Runs have nothing to do with one another but their prompts, and what an engine computes of a run does not depend, bit
for bit, on the others (``tests/core/test_distributed.py``). So shards joined are the whole. Where one ends depends on
the experiment alone and not on who computes, so that whoever asks again, on other machines, finds what is finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

import pandas as pd
import torch

from ..engines import Plan, unsupported_plan
from ..engines.reference import GROUP_BYTES, GROUP_RUNS
from ..training.history import History
from ..training.probes import Probe, StepProbe
from ..training.runs import Runs

MOST_BYTES = 2**30
"""What the runs of a shard may hold in memory, where compiled loops allow to take any of them together."""
ROW_BYTES = 200
"""Of one measured number, as a row and while rows are put together."""
PARTIAL = 2**8
"""Partial sums of compiled loops for each parameter and 1000 prompts, generously: one a chunk and lane."""


@dataclass(frozen=True)
class Shard:
    """Some runs of a training, all of one seed.

    Attributes:
        runs: an ensemble of their own.
        places: of these runs in the whole, ascending.
        name: for people.
    """

    runs: Runs
    places: tuple[int, ...]
    name: str


def split(plan: Plan, probes: Sequence[Probe | StepProbe], snapshots: int) -> list[Shard]:
    """The shards of a training, in the order of their first runs: by seed, and by runs where a seed has too many.

    Args:
        plan: of the whole.
        probes: its probes.
        snapshots: at how many steps parameters are kept.
    """
    most = GROUP_RUNS  # a seed of more is cut into several shards, each of which draws its prompts again
    if unsupported_plan("cpu", plan) is None:
        most = max(1, min(most, MOST_BYTES // memory(plan, probes, snapshots)[1]))
    seeds: dict[int, list[int]] = {}
    for place, run in enumerate(plan.runs):
        seeds.setdefault(run.seed, []).append(place)
    shards = []
    for seed, places in seeds.items():
        parts = [tuple(places[start : start + most]) for start in range(0, len(places), most)]
        for number, own in enumerate(parts, 1):
            name = f"seed {seed}" + (f", part {number} of {len(parts)}" if len(parts) > 1 else "")
            shards.append(Shard(Runs(plan.runs[place] for place in own), own, name))
    return shards


def memory(plan: Plan, probes: Sequence[Probe | StepProbe], snapshots: int) -> tuple[int, int]:
    """Bytes that a training needs beyond its process, whatever its runs, and for each of them: an upper estimate.

    A run has parameters, gradient, what optimizers remember and propose, its snapshots and the rows that are measured;
    compiled loops add partial sums. Both engines work on groups of runs, whose intermediate results are bounded.
    """
    numbers = torch.Size(plan.model.parameter_shape).numel() * plan.dtype.itemsize
    rows = sum(len(probe.times(plan.steps, plan.total)) for probe in probes) + 2
    each = numbers * (16 + snapshots) + rows * ROW_BYTES
    prompts, two = (plan.model.draw(plan.task, batch, [0], 0, dtype=plan.dtype) for batch in (1, 2))
    drawn = _bytes(prompts) + (plan.batch - 1) * (_bytes(two) - _bytes(prompts))  # a batch may hold all data as well
    if unsupported_plan("cpu", plan) is None:
        return 2**27 + 4 * drawn, each + numbers * PARTIAL * -(-plan.batch // 1000)
    kept = plan.model.numbers(prompts) * plan.dtype.itemsize * plan.batch
    return 4 * max(GROUP_BYTES, kept) + 4 * drawn, each


def _bytes(prompts: Any) -> int:
    """What the tensors of a batch hold, in float64."""
    return sum(8 * part.numel() for part in vars(prompts).values() if isinstance(part, torch.Tensor))


def join(shards: Sequence[Shard], parts: Sequence[History]) -> History:
    """The training whose shards these are: rows, runs and parameters in the order in which one process has them."""
    order = _order([part.frame for part in parts])
    frames, runs, kept = [], [], dict[int, torch.Tensor]()
    count = sum(len(shard.places) for shard in shards)
    for shard, part in zip(shards, parts, strict=True):
        places = pd.Series(shard.places)
        frames.append(part.frame.assign(run=part.frame["run"].map(places)))
        runs.append(part.runs.assign(run=part.runs["run"].map(places)))
        for step, tensor in part.snapshots.items():
            whole = kept.setdefault(step, torch.empty((count, *tensor.shape[1:]), dtype=tensor.dtype))
            whole[list(shard.places)] = tensor
    frame = pd.concat(frames, ignore_index=True)
    turn = frame["metric"].map(order)
    frame = frame.assign(turn=turn).sort_values(["step", "turn", "run"], ignore_index=True).drop(columns="turn")
    table = pd.concat(runs, ignore_index=True).sort_values("run", ignore_index=True)
    return History(frame, table, kept, parts[0].steps, _made([part.info for part in parts]))


def _order(frames: Sequence[pd.DataFrame]) -> dict[str, int]:
    """Metrics of one step in the order in which they are measured; a shard may lack some, where none is a number."""
    before: dict[str, set[str]] = {}
    for frame in frames:
        for _, rows in frame.drop_duplicates(["step", "metric"]).groupby("step", sort=False):
            metrics = list(rows["metric"])
            for earlier, later in zip([None, *metrics], metrics, strict=False):
                before.setdefault(later, set()).update([] if earlier is None else [earlier])
    return {metric: turn for turn, metric in enumerate(TopologicalSorter(before).static_order())}


def _made(infos: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What made a joined training: all devices and engines, and the seconds of all shards."""
    names = {name: " and ".join(sorted({str(info[name]) for info in infos})) for name in ("device", "dtype", "engine")}
    return {**names, "seconds": sum(float(info["seconds"]) for info in infos)}
