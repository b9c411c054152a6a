"""Computed once, found again by any chapter: trainings and measurements, each with one line that says which and why.

A training is known by a hash of all that defines its numbers: task, model, runs, steps, batch, probes, snapshots,
dtype, and a digest of the code behind these (:mod:`.sources`, so comments and plots change nothing, and nobody
must remember a version number). The device and the engine are recorded, not hashed: prompts are the same on all of them
to rounding.
A measurement is a table computed from trainings or from the library alone; it is known by what was measured on what.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Unpack

import pandas as pd
import safetensors.torch

from ..engines import NAMES
from ..errors import brief, choice, each, nearest, shown, text, whole
from ..interrupts import deferred, terminable
from ..models.transformer import TensorModel
from ..tasks.regression import Task
from ..training.history import History
from ..training.probes import TestLoss
from ..training.runs import Runs
from ..training.train import PLANNED, TrainOptions, check_probes, check_progress, plan_training, train
from ..unfinished import Nowhere, Part, kept_by
from .checkpoints import Checkpoints
from .outside import classes_in, digest_outside, is_ours
from .sources import code
from .specs import canonical, key_of, name_of
from .store import VARIABLE, DamagedError, Entry, Payload, Store, UnreadableError, age, store

__all__ = ["VARIABLE", "NotStoredError", "Store", "experiment", "measurement", "store", "stored_only", "used"]

_STORED_ONLY: ContextVar[bool] = ContextVar("stored_only", default=False)


class NotStoredError(LookupError):
    """A result is not in the store, and was not to be computed; its title and hash, where it is one of these."""

    def __init__(self, message: str, title: str = "", key: str = "") -> None:
        super().__init__(message)
        self.title, self.key = title, key


@contextlib.contextmanager
def stored_only() -> Iterator[None]:
    """Within it nothing is computed: :func:`experiment` and :func:`measurement` find, or raise NotStoredError."""
    token = _STORED_ONLY.set(True)
    try:
        yield
    finally:
        _STORED_ONLY.reset(token)


_TRAINED_BY: ContextVar[Callable[..., History] | None] = ContextVar("trained_by", default=None)


@contextlib.contextmanager
def trained_by(trainer: Callable[..., History]) -> Iterator[None]:
    """Within it, what :func:`experiment` does not find comes from `trainer`, called as :func:`train` and with a store.

    Whoever computes, the result is stored under its own key (:mod:`.distributed`, :mod:`.planning`).
    """
    token = _TRAINED_BY.set(trainer)
    try:
        yield
    finally:
        _TRAINED_BY.reset(token)


_STAND_IN: ContextVar[Callable[..., History] | None] = ContextVar("stand_in", default=None)


@contextlib.contextmanager
def stand_in(maker: Callable[..., History]) -> Iterator[None]:
    """Within it nothing is computed nor stored; a training that is not in the store is what `maker` returns for it."""
    token = _STAND_IN.set(maker)
    try:
        with stored_only():
            yield
    finally:
        _STAND_IN.reset(token)


def _trainer() -> Callable[..., History] | None:
    """What trains instead of this process, if anything does."""
    if (trainer := _TRAINED_BY.get()) is None and (address := os.environ.get("LINTRANS_DASK")):
        from .distributed import asked_for

        return asked_for(address)
    return trainer


@dataclass(frozen=True)
class Use:
    """An experiment that this process asked for."""

    title: str
    key: str
    reused: bool
    device: str
    created: datetime
    seconds: float


_USED: list[Use] = []


@contextlib.contextmanager
def unlisted() -> Iterator[None]:
    """Within it, what is asked for is no part of :func:`used`."""
    count = len(_USED)
    try:
        yield
    finally:
        del _USED[count:]


def used() -> list[Use]:
    """The experiments this process asked for, in order; a page's provenance."""
    return list(_USED)


def _code(function: Callable[..., Any], of: Any, *, complete: bool) -> dict[str, Any]:
    """The code behind what a function computes of some values.

    That is its module with all that this one imports, and the classes of the dataclasses in `of`, those from outside
    with their own source. `complete`: every class in use is in `of`, so that what serves others can be left out.
    """
    things: set[Any] = {function, *classes_in(of)}
    ours = [thing for thing in things if is_ours(thing)]
    used = {thing.__qualname__ for thing in ours} if complete else ()
    outside = {name_of(thing): digest_outside(thing) for thing in things.difference(ours)}
    modules = {thing.__module__ for thing in ours}
    code().check(code().closure(*modules, classes=used))
    numerics = code().digest(*modules, classes=used)
    return {"numerics": numerics, **({"code": outside} if outside else {})}


class _Form(Protocol[Payload]):
    """How one kind of result lies in its folder."""

    def read(self, entry: Entry) -> Payload: ...

    def write(self, payload: Payload, folder: Path) -> None: ...


def _obtain(
    title: str,
    spec: dict[str, Any],
    form: _Form[Payload],
    compute: Callable[[Callable[[str], Part]], tuple[Payload, dict[str, Any]]],
    store: Store,
) -> Payload:
    """Find the result that `spec` defines, or compute it (and what made it) and keep it; say which, and why.

    `compute` is given where to keep what it has on the way: a computation that was stopped goes on there.
    """
    key, kept = key_of(spec), True
    if (payload := _find(title, key, form, store)) is not None:
        return payload
    if _STORED_ONLY.get():
        raise NotStoredError(f"{title}: not in the store ({key[:8]})", title, key)
    waiting = partial(_say, title, f"{key[:8]} is being computed by another process, waiting for it")
    with contextlib.ExitStack() as stack:
        checkpoints: Checkpoints | None = None
        try:
            if stack.enter_context(store.lock(key, waiting)):
                store.sweep(key)
        except OSError as error:
            kept, why = False, f"which will not be kept ({brief(error)}: {store.path})"
        else:
            if (
                payload := _find(title, key, form, store, again=True)
            ) is not None:  # the process we waited for has stored it
                return payload
            checkpoints = store.checkpoints(key, title, partial(_say, title))
            why = f"because {store.why(spec)}"
        begun = checkpoints.begun() if checkpoints is not None else None
        if begun is None:
            _say(title, f"computing {key[:8]}, {why}")
        else:
            _say(title, f"going on with {key[:8]} from {begun.where}, kept {age(begun.created)}")
        with terminable():
            payload, info = compute(checkpoints or (lambda _: Nowhere()))
            _USED.append(Use(title, key, False, info["device"], datetime.now(UTC), info["seconds"]))
            if kept:
                with deferred():  # what is finished is kept, whatever the user wants next
                    try:
                        store.save(key, {"title": title, "info": info, "spec": spec}, partial(form.write, payload))
                    except Exception as error:  # a full disk (of many names), a title that no file can hold, ...
                        _say(title, f"not kept ({brief(error)}: {store.path})")
                    else:
                        if checkpoints is not None:
                            checkpoints.drop()
    return payload


def _find(title: str, key: str, form: _Form[Payload], store: Store, again: bool = False) -> Payload | None:
    """A stored result, announced; None where there is none, or one that cannot be used, which is said at first."""
    try:
        found = store.load(key, form.read)
    except (DamagedError, UnreadableError) as error:
        what = "is damaged ({}) and was set aside" if isinstance(error, DamagedError) else "may not be read ({})"
        if not again:
            _say(title, f"the stored copy {key[:8]} {what.format(error)}")
        return None
    if found is None:
        return None
    entry, payload = found
    made = f"computed {age(entry.created)} on {entry.device} in {entry.seconds:.0f} s"
    _say(title, f"reused {key[:8]}, {made}")
    _USED.append(Use(title, key, True, entry.device, entry.created, entry.seconds))
    return payload


def _say(title: str, what: str) -> None:
    print(f"{title}: {what}", flush=True)


def experiment(
    model: TensorModel, task: Task, runs: Runs, *, title: str = "experiment", store: Store | Path | str | None = None,
    **options: Unpack[TrainOptions],
) -> History:  # fmt: skip
    """What :func:`lintrans.train` returns for the same arguments: found in the store, or computed and stored.

    Prints one line that says which, and why. A finished experiment survives whatever happens next (Ctrl-C, a failing
    cell); of two processes that ask for the same one, one computes and the other waits. Where the store cannot be
    written, the result is computed and the line says that it was not kept.

    Args:
        model: as for :func:`lintrans.train`.
        task: as for :func:`lintrans.train`.
        runs: as for :func:`lintrans.train`.
        title: a name for people; it does not enter the hash.
        store: where to look, or its folder; None: :func:`~lintrans.store.store.store_path`.
        **options: as for :func:`lintrans.train`: steps, batch, clip, probes, ...
    """
    if unknown := sorted(options.keys() - TrainOptions.__annotations__.keys()):
        raise TypeError(f"{unknown[0]} is no option{nearest(unknown[0], TrainOptions.__annotations__)}")
    choice("engine", options.get("engine", "auto"), NAMES)
    text("title", title)
    check_progress(options.get("progress"))
    snapshots = each("snapshots", options.get("snapshots", ()), lambda step: whole("a step of snapshots", step))
    probes = check_probes(options.get("probes", (TestLoss(),)))
    options = {**options, "snapshots": snapshots, "probes": probes}
    planned: dict[str, Any] = {name: value for name, value in options.items() if name in PLANNED}
    plan = plan_training(model, task, runs, **planned)
    spec = {
        "task": canonical(task), "model": canonical(model), "runs": canonical(list(plan.runs)), "steps": plan.steps,
        "cooldown": plan.cooldown, "batch": plan.batch, "probes": canonical(probes), "snapshots": sorted(snapshots),
        "dtype": canonical(plan.dtype), **_code(train, [task, model, plan.runs, probes], complete=True),
    }  # fmt: skip

    where = _store(store)

    def compute(keeper: Callable[[str], Part]) -> tuple[History, dict[str, Any]]:
        if (trainer := _trainer()) is not None:  # its shards have checkpoints of their own
            history = trainer(model, task, runs, title=title, store=where, **options)
        else:
            with kept_by(None):  # a probe's own loops begin anew
                history = train(model, task, runs, title=title, checkpoint=keeper("training"), **options)
        return history, history.info

    try:
        history = _obtain(title, spec, _Histories(), compute, where)
    except NotStoredError:
        if (maker := _STAND_IN.get()) is None:
            raise
        history = maker(model, task, runs, title=title, **options)
    return replace(history, key=key_of(spec))


def _store(chosen: Store | Path | str | None) -> Store:
    """The store that was named, itself or by its folder."""
    if not isinstance(chosen, Store | Path | str | None):
        raise TypeError(f"store = {shown(chosen)} is no store: give a lintrans.store.store.Store, or its folder")
    return chosen if isinstance(chosen, Store) else Store(chosen)


class _Histories:
    """Trainings: two tables, and the parameters by step."""

    def write(self, history: History, folder: Path) -> None:
        history.frame.to_parquet(folder / "frame.parquet", index=False)
        history.runs.to_parquet(folder / "runs.parquet", index=False)
        tensors = {str(step): tensor.contiguous() for step, tensor in history.snapshots.items()}
        safetensors.torch.save_file(tensors, folder / "snapshots.safetensors")

    def read(self, entry: Entry) -> History:
        tensors = safetensors.torch.load_file(entry.path / "snapshots.safetensors")
        return History(
            frame=pd.read_parquet(entry.path / "frame.parquet"),
            runs=pd.read_parquet(entry.path / "runs.parquet"),
            snapshots={step: tensors[str(step)] for step in sorted(map(int, tensors))},
            steps=int(entry.record["spec"]["steps"]),
            info=entry.record["info"],
        )


class _Tables:
    """Measurements: one table."""

    def write(self, frame: pd.DataFrame, folder: Path) -> None:
        frame.to_parquet(folder / "frame.parquet", index=False)

    def read(self, entry: Entry) -> pd.DataFrame:
        return pd.read_parquet(entry.path / "frame.parquet")


def measurement(
    title: str, of: Mapping[str, Any], compute: Callable[[], pd.DataFrame], *, store: Store | Path | str | None = None
) -> pd.DataFrame:
    """A table that `compute` returns: found in the store, or computed and stored. Prints one line that says which.

    Args:
        title: a name for people; it does not enter the hash.
        of: all that defines the numbers, by name: what is measured, its settings, and for measurements on a training
            its :attr:`~lintrans.training.history.History.key`. Plain values and frozen dataclasses of them.
        compute: called without arguments where the table is not stored. The code of the module that defines it, with
            all that this one imports, is part of the hash; of a :func:`functools.partial`, that of its function.
        store: as for :func:`experiment`.

    Example:
        >>> import pandas as pd
        >>> from lintrans.store.results import measurement
        >>> squares = lambda: pd.DataFrame({"x": [1, 4, 9]})
        >>> table = measurement("squares", {"what": "squares", "upto": 3}, squares)  # doctest: +ELLIPSIS
        squares: ...
    """
    text("title", title)
    function: Callable[..., Any] = compute
    while isinstance(function, partial):
        function = function.func
    spec = {name: canonical(value) for name, value in of.items()}
    spec |= _code(function, of, complete=False)

    def timed(keeper: Callable[[str], Part]) -> tuple[pd.DataFrame, dict[str, Any]]:
        began = time.perf_counter()
        with kept_by(keeper):
            frame = compute()
        return frame, {"device": "cpu", "seconds": time.perf_counter() - began}

    return _obtain(title, spec, _Tables(), timed, _store(store))
