"""Training an ensemble: steps, probes, snapshots, divergence, progress.

**Step k** means the parameters after k updates. Everything between two probes happens inside the engine.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Required, TypedDict, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..devices import resolve_device, resolve_dtype
from ..engines import Engine, Plan, State, choose, device_for
from ..errors import UINT32, each, memory, room, shown, text, whole, yes_or_no
from ..models.fitting import check_task
from ..models.module_model import GivenModule, ModuleModel
from ..models.torch_module import TorchModel
from ..models.transformer import TensorModel, has_tensor
from ..progress import bar
from ..random import Stream
from ..tasks.regression import Task
from ..unfinished import Nowhere, Part
from .history import COLUMNS, History
from .probes import ROW_BYTES, Probe, StepProbe, TestLoss
from .resuming import Progress
from .runs import Runs, clip_number

__all__ = ["PLANNED", "TrainOptions", "plan_training", "resolve_device", "train"]

COUNTS = ("skipped_steps", "clipped_steps")
"""Metrics that no probe measures."""
GRAIN_SECONDS = 0.3
"""Time an engine works before Ctrl-C and the progress bar get their turn."""


LAST_STEP = UINT32 - 1
"""The generator's counter has no more steps."""
PLANNED = ("steps", "cooldown", "batch", "clip", "device", "dtype")
"""Options that a :class:`~lintrans.engines.Plan` is made of."""


class TrainOptions(TypedDict, total=False):
    """Keyword arguments of :func:`train`, but for its title."""

    steps: Required[int]
    batch: int
    clip: float | None
    probes: Sequence[Probe | StepProbe]
    snapshots: Iterable[int]
    cooldown: int
    device: str | torch.device
    dtype: torch.dtype | str | None
    engine: str
    progress: bool | None


def plan_training(
    model: TensorModel | TorchModel, task: Task, runs: Runs, *, steps: int, cooldown: int = 0, batch: int = 1000,
    clip: float | None = None, device: str | torch.device = "auto", dtype: torch.dtype | str | None = None,
) -> Plan:  # fmt: skip
    """Check the arguments of :func:`train` and resolve its defaults, before anything is computed."""
    if isinstance(model, TorchModel):
        model = ModuleModel(GivenModule(model))
    if not has_tensor(model):
        raise TypeError(
            f"model is a {type(model).__name__}: give a lintrans.LinearTransformer, a lintrans.ModuleModel, or another "
            f"model whose parameters are one tensor (see lintrans.models.TensorModel)"
        )
    if not isinstance(task, Task) or isinstance(task, type):
        raise TypeError(f"task is a {type(task).__name__}: give a lintrans.LinearRegression")
    if not isinstance(runs, Runs) or not len(runs):
        raise TypeError(f"runs = {shown(runs)} are no runs: give lintrans.grid(optimizer=..., lr=..., seed=...)")
    check_task(model, task)
    clip = clip_number(clip)
    kind = resolve_dtype(dtype, model.default_dtype)
    plan = Plan(
        model=model, task=task, runs=runs.with_clip(clip), steps=whole("steps", steps, 0, LAST_STEP),
        cooldown=whole("cooldown", cooldown, 0, LAST_STEP), batch=whole("batch", batch, 1, UINT32), dtype=kind,
        device=resolve_device(device, kind),
    )  # fmt: skip
    whole("steps + cooldown", plan.total, 0, LAST_STEP)
    size = math.prod(model.parameter_shape)
    room(f"the state of {len(runs):,} runs of {size:,} parameters", 4 * kind.itemsize * size * len(runs))
    return replace(plan, device=device_for(plan)) if device == "auto" else plan


def train(
    model: TensorModel | TorchModel, task: Task, runs: Runs, *, steps: int, batch: int = 1000,
    clip: float | None = None, probes: Sequence[Probe | StepProbe] = (TestLoss(),), snapshots: Iterable[int] = (),
    cooldown: int = 0, device: str | torch.device = "auto", dtype: torch.dtype | str | None = None,
    engine: str = "auto", progress: bool | None = None, title: str = "training",
    checkpoint: Part | None = None,
) -> History:  # fmt: skip
    """Train all runs together; runs of one seed share their initial parameters and every prompt.

    Args:
        model: what is trained; of a :class:`~lintrans.TorchModel` each seed initializes the layers anew.
        task: where its prompts come from.
        runs: the ensemble, from :func:`lintrans.grid`.
        steps: updates at the constant learning rate.
        batch: fresh prompts per step.
        clip: global gradient-norm clip of the runs that name none; None for no clipping.
        probes: what is measured on the way; see :mod:`lintrans.training.probes`.
        snapshots: steps at which parameters are kept; those of the end always are.
        cooldown: further updates with the rate falling linearly to zero.
        device: "auto" (CUDA where there is one, but where only the CPU has compiled loops), "cpu", "cuda", or any torch
            device.
        dtype: torch.float32 or torch.float64; None: float32 to four layers, float64 beyond.
        engine: "auto" (the fastest that can do it), "cpu" or "cuda" (compiled loops) or "reference" (torch).
        progress: show a progress bar; None: in a terminal or notebook.
        title: its label.
        checkpoint: where an unfinished training is kept, and found; see :mod:`lintrans.unfinished`. None: nowhere.

    Returns:
        The :class:`~.history.History`. The same arguments give the same numbers: for a run alone or in an
        ensemble (to rounding), on any day.

    Raises:
        TypeError, ValueError: a bad argument, named, before anything is computed.

    Example:
        >>> import lintrans as lt
        >>> runs = lt.grid(optimizer=[lt.SGD(), lt.Adam()], lr=0.02, seed=range(2))
        >>> task = lt.LinearRegression(d=2, n=4)
        >>> history = lt.train(lt.LinearTransformer(layers=1, d=2), task, runs, steps=4, batch=10, clip=1.0)
        >>> history.parameters(4).shape
        torch.Size([4, 1, 1, 2, 2, 2])
    """
    plan = plan_training(
        model, task, runs, steps=steps, cooldown=cooldown, batch=batch, clip=clip, device=device, dtype=dtype
    )
    text("title", title)
    check_progress(progress)
    kept = check_snapshots(plan, snapshots)
    probes = check_probes(probes)
    due = [(probe, probe.times(plan.steps, plan.total)) for probe in probes if not isinstance(probe, StepProbe)]
    spans = [(probe, probe.times(plan.steps, plan.total)) for probe in probes if isinstance(probe, StepProbe)]
    measured = sum(len(times) for _, times in (*due, *spans))
    room(f"rows of {measured:,} measurements of {len(plan.runs):,} runs", ROW_BYTES * measured * len(plan.runs))
    begins = set[int]().union(*(times for _, times in spans))
    worker = choose(engine, plan)
    started = time.perf_counter()
    made = Progress(worker.start())
    state, rows, keeper = made.state, _Rows(made), checkpoint or Nowhere()
    keeper.load(made.restore, engine=worker.name, device=_device(plan.device))

    def keep(now: bool = False) -> None:
        if not made.torn:
            keeper.keep(lambda: made.kept(plan.total, time.perf_counter() - started), now)

    events = sorted(kept.union(begins, (step + 1 for step in begins), *(times for _, times in due)))
    try:
        with bar(plan.total, title, progress) as shown:
            shown.update(state.step)
            for event in events[bisect_right(events, made.done) :]:
                _advance(worker.advance, made, event, shown.update, keep)
                found: list[tuple[int, str, Tensor]] = []
                for step_probe, times in spans:
                    if made.before is not None and event - 1 in times:
                        values = step_probe.measure_step(plan, made.before, state.parameters, event - 1)
                        found += [(event - 1, metric, value) for metric, value in values.items()]
                here = cast(Engine, _Once(worker, state.parameters))
                for probe, times in due:
                    if event in times:
                        values = probe.measure(here, plan, state.parameters, event)
                        found += [(event, metric, value) for metric, value in values.items()]
                with made.changing():
                    for step, metric, value in found:
                        median = rows.add(step, state, metric, value)
                        if metric == "test_loss":
                            shown.set_postfix_str(f"median test loss {median:.2e}", refresh=False)
                    made.before = state.parameters.detach().clone() if event in begins else None
                    if event in kept:
                        made.taken[event] = state.parameters.detach().to("cpu", copy=True)
                    made.done = event
                keep()
    except KeyboardInterrupt:
        keep(now=True)
        raise
    for name in COUNTS:
        rows.add(state.step, state, name, getattr(state, name.removesuffix("_steps")))
    table = plan.runs.frame.assign(
        skipped=state.skipped.tolist(), clipped=state.clipped.tolist(), diverged=state.diverged.tolist()
    )
    info = {
        "device": _device(plan.device),
        "dtype": str(plan.dtype).removeprefix("torch."),
        "engine": worker.name,
        "seconds": made.seconds + time.perf_counter() - started,
    }
    return History(rows.frame(plan.runs.frame), table, made.taken, plan.steps, info)


def _device(device: torch.device) -> str:
    """A device in words."""
    return str(device) if device.type == "cpu" else f"{device} ({torch.cuda.get_device_name(device)})"


def check_progress(progress: bool | None) -> None:
    """Refuse what says neither yes nor no nor nothing."""
    if progress is not None:
        yes_or_no("progress", progress)


def check_snapshots(plan: Plan, snapshots: Iterable[int]) -> set[int]:
    """The steps at which parameters are kept, the ends included; a ValueError where memory cannot hold them."""
    own = plan.dtype.itemsize * math.prod(plan.model.parameter_shape) * len(plan.runs)
    steps = each(
        "snapshots", snapshots, lambda step: whole("a step of snapshots", step, 0, plan.total),
        most=max(1, memory() // (own + ROW_BYTES)),
    )  # fmt: skip
    return {*steps, plan.steps, plan.total}


def check_probes(probes: Any) -> tuple[Probe | StepProbe, ...]:
    """Probes as a tuple; a TypeError for what is none, a ValueError for two that would write under one name."""
    found = each("probes", probes, _probe)
    named: dict[str, Any] = {}
    for probe in found:
        for name in getattr(probe, "metrics", ()):
            if name in named or name in COUNTS:
                other = f"by {shown(named[name])}" if name in named else "as a count of steps"
                raise ValueError(
                    f"{shown(probe)} measures {name!r}, which is measured {other}: two values would stand under one "
                    f"name; give one probe for both, or another metric=... where the probe takes one"
                )
            named[name] = probe
    return found


def _probe(value: Any) -> Any:
    if isinstance(value, type) or not (
        callable(getattr(value, "times", None))
        and (callable(getattr(value, "measure", None)) or isinstance(value, StepProbe))
    ):
        advice = f", with its parentheses: {value.__name__}(...)" if isinstance(value, type) else ""
        raise TypeError(f"probes hold {shown(value)}, which is no probe: give lintrans.TestLoss() or another{advice}")
    return value


def _advance(
    advance: Callable[[State, int], None], made: Progress, until: int, report: Callable[[int], object],
    keep: Callable[[], None],
) -> None:  # fmt: skip
    """Bring the state to step `until` in grains short enough for Ctrl-C, checkpoints and the progress bar."""
    grain, state = 1, made.state
    while state.step < until:
        size = min(grain, until - state.step)
        began = time.perf_counter()
        with made.changing():
            advance(state, size)
        spent = time.perf_counter() - began
        report(size)
        keep()
        grain = max(1, min(2 * grain, int(size * GRAIN_SECONDS / max(spent, 1e-9))))


class _Once:
    """An engine at one step: the losses of the same blocks are computed once, whichever probes ask for them."""

    def __init__(self, engine: Engine, parameters: Tensor) -> None:
        self._engine, self._parameters = engine, parameters
        self._found: dict[tuple[Stream, int], Tensor] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def block_losses(self, parameters: Tensor, blocks: int, stream: Stream, batch: int) -> Tensor:
        if parameters is not self._parameters:
            return self._engine.block_losses(parameters, blocks, stream, batch)
        found = self._found.get((stream, batch))
        if found is None or found.shape[1] < blocks:
            found = self._found[stream, batch] = self._engine.block_losses(parameters, blocks, stream, batch)
        return found[:, :blocks]


class _Rows:
    """Tidy rows, put together once: a frame for every measurement would often cost more than measuring."""

    def __init__(self, made: Progress) -> None:
        self._made = made

    def add(self, step: int, state: State, metric: str, values: Tensor) -> float:
        """One metric of all runs, whose median is returned.

        A diverged run's loss is infinite, and what is undefined (NaN) has no row.
        """
        values = values.detach().to("cpu", torch.float64)
        if metric.endswith("loss"):
            lost = (state.diverged >= 0).cpu() | values.isnan()
            values = torch.where(lost, torch.inf, values)
        numbers = values.numpy()
        known = np.flatnonzero(~np.isnan(numbers))
        self._made.rows.append((step, metric, known, numbers[known]))
        return float(np.median(numbers[known])) if len(known) else math.nan

    def frame(self, runs: pd.DataFrame) -> pd.DataFrame:
        """The rows, in the order in which they came, beside the columns of their runs."""
        steps, metrics, chosen, values = zip(*self._made.rows, strict=True)
        counts = [len(each) for each in chosen]
        frame = runs.take(np.concatenate(chosen)).reset_index(drop=True)
        names = np.repeat(np.array(metrics, dtype=object), counts)
        frame = frame.assign(step=np.repeat(steps, counts), metric=names, value=np.concatenate(values))
        return frame[list(COLUMNS)]
