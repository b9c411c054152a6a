"""Trainings on other processes and machines, by Dask: each in shards, joined bit for bit and stored as ever.

Nothing here is imported from Dask before it is asked for. A shard is an ordinary :func:`lintrans.experiment`, which a
worker finds, goes on with, or computes; what it returns is kept under its own key in the store of whoever asked, too.
What the client asks and what a worker does stand in one long file, since they must agree.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import platform
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..engines import Plan, compiling
from ..errors import whole
from ..models.transformer import TensorModel
from ..progress import bar, heard, say
from ..tasks.regression import Task
from ..training.history import History
from ..training.runs import Runs
from ..training.train import PLANNED, plan_training, train
from . import results
from .shards import Shard, join, memory, split
from .sources import code
from .store import Store, versions

if TYPE_CHECKING:
    from distributed import Client, Future

VARIABLE = "LINTRANS_DASK"
"""The environment variable with the address of a scheduler, for processes that `lintrans` starts."""
TOPIC = "lintrans"
PATIENCE = 5.0
"""Seconds that a scheduler has to answer."""
SHARE = 0.9
"""Of a worker's memory that a shard and its process may fill."""
PROCESS_BYTES = 6 * 10**8
"""What a worker's process takes with PyTorch and compiled loops and without a shard."""
CLOSING = 30.0
"""Seconds that workers of this process have to end; after these they end with it."""
FAILURES = 10
"""Deaths of workers that a shard survives on workers that this process starts."""

_ONE = threading.Lock()  # one shard at a time in a process, whatever its threads, which bounds its memory


class DistributedError(RuntimeError):
    """A scheduler, its workers or their answers are not what is needed; the message says what to do, in one line."""


@contextlib.contextmanager
def distributed(client: Client | str | int, *, timeout: float = PATIENCE) -> Iterator[Client]:
    """Within it, :func:`lintrans.experiment` computes on the workers of a Dask cluster what is not stored.

    A training is cut into shards of at most 16 runs of one seed; each is an experiment of its own with its own key,
    checkpoint and place in the store. Joined they are, bit for bit, what one process computes, and are stored under the
    key of the whole. Measurements on trainings stay in this process.

    Args:
        client: a ``distributed.Client``, the address of a scheduler (``"tcp://host:8786"``), or a number of worker
            processes to start on this machine, which end with the context.
        timeout: seconds that a scheduler has to answer.

    Yields:
        The client.

    Raises:
        ModuleNotFoundError: Dask is not installed.
        DistributedError: nobody answers at the address; workers have other code, versions or processors than this
            process, which would change numbers; later, a shard needs more memory than they have, or cannot be computed.

    Example:
        >>> import lintrans as lt
        >>> with lt.distributed(4):  # doctest: +SKIP
        ...     history = lt.experiment(model, task, lt.grid(optimizer="adam", lr=0.01, seed=range(8)), steps=1000)
    """
    try:
        import distributed as dask
    except ModuleNotFoundError:
        raise ModuleNotFoundError("Dask is not installed: pip install 'lintrans[dask]'", name="distributed") from None
    with contextlib.ExitStack() as stack:
        if isinstance(client, dask.Client):
            connected = client
        elif isinstance(client, str):
            connected = stack.enter_context(_connected(client, timeout))
        else:
            connected = stack.enter_context(local_workers(whole("client", client, 1)))
        check_workers(connected)
        stack.enter_context(results.trained_by(Cluster(connected)))
        yield connected


@contextlib.contextmanager
def _connected(address: str, timeout: float) -> Iterator[Client]:
    from distributed import Client

    try:
        with _quiet():
            client = Client(address, timeout=timeout, set_as_default=False)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DistributedError(
            f"no Dask scheduler answers at {address!r} within {timeout:g} s ({why}): start one with `dask scheduler`, "
            "or give its address as tcp://HOST:PORT"
        ) from None
    try:
        yield client
    finally:
        with _quiet():
            client.close()


@contextlib.contextmanager
def local_workers(count: int) -> Iterator[Client]:
    """Worker processes on this machine, of one thread each."""
    import dask
    from distributed import Client, LocalCluster

    threads = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    quiet = {"DASK_LOGGING__DISTRIBUTED": "critical"}
    with dask.config.set({"distributed.scheduler.allowed-failures": FAILURES}), _quiet():
        cluster = LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # its HTTP server, at a port that is free
            env={**threads, **quiet},
            silence_logs=logging.CRITICAL,
        )
        try:
            with Client(cluster, set_as_default=False) as client:
                yield client
        finally:
            with contextlib.suppress(TimeoutError):
                cluster.close(timeout=CLOSING)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Dask's own lines of log, about what is said here or mended by it, go nowhere."""
    log = logging.getLogger("distributed")
    before, log.disabled = log.level, False
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


@functools.cache
def here() -> dict[str, str]:
    """What the bits of a training depend on beside its arguments, of this process: code, versions, processor."""
    lost = compiling.unsupported_cpu()
    made = {
        **versions(),
        "code of lintrans": code().digest(train.__module__),
        "machine": platform.machine(),
        "torch's instructions": torch.backends.cpu.get_cpu_capability(),
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "compiled loops": f"none ({lost})" if lost else _target(),
    }
    return {**made, "python": ".".join(made["python"].split(".")[:2])}


def _target() -> str:
    import numba
    from llvmlite import binding

    return f"numba {numba.__version__} for {numba.config.CPU_NAME or binding.get_host_cpu_name()}"


def differences(other: dict[str, str]) -> list[str]:
    """What another process has otherwise than this one, in words."""
    return [
        f"{name} is {other.get(name, 'unknown')} there and {value} here"
        for name, value in here().items()
        if other.get(name) != value
    ]


def check_workers(client: Client) -> None:
    """Refuse workers that would compute other bits; a DistributedError names the first one and what differs."""
    with _quiet():
        found: dict[str, Any] = client.run(_there, on_error="return")
    if not found:
        say(f"{_address(client)} has no workers yet: shards wait for the first one")
    for address, made in sorted(found.items()):
        if isinstance(made, OSError):  # it died meanwhile; who takes its place is looked at with its first shard
            continue
        if isinstance(made, BaseException):
            raise DistributedError(
                f"worker {address} cannot import lintrans ({compiling.brief(_exception(made))}): "
                "install there what is installed here"
            )
        if differs := differences(made):
            raise DistributedError(
                f"worker {address} would compute other bits: {'; '.join(differs)}. Start workers and this process in "
                "one environment, on processors of one kind"
            )


def _there() -> dict[str, str]:
    """What :func:`here` is on a worker."""
    return here()


def _address(client: Client) -> str:
    return str(getattr(client.scheduler, "address", "the scheduler"))


def _exception(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else RuntimeError(str(error))


@dataclass(frozen=True)
class Work:
    """What a worker is asked for: an experiment, its key, the store to try first, and what the asker computes with."""

    model: TensorModel
    task: Task
    runs: Runs
    options: dict[str, Any]
    title: str
    key: str
    store: str
    whole: bool
    made: dict[str, str]


class _Held(Store):
    """A store for one whose asker holds the lock already."""

    @contextlib.contextmanager
    def lock(self, key: str, waiting: Callable[[], None] = lambda: None) -> Iterator[bool]:
        yield True


def compute(work: Work) -> tuple[History, int]:
    """On a worker: a shard's experiment, and the step it went on from; its own lines go to the worker's log."""
    if differs := [name for name, value in here().items() if work.made.get(name) != value]:
        raise DistributedError(f"a worker that came later would compute other bits: it has another {differs[0]}")
    kind = _Held if work.whole else Store
    store = kind(work.store if Path(work.store).is_dir() else None)
    lines, report = io.StringIO(), _Reporter(work.key)
    with _ONE, contextlib.redirect_stdout(lines), heard(report):
        options: Any = {**work.options, "progress": False}
        try:
            with results.stored_only():
                kept = results.experiment(work.model, work.task, work.runs, title=work.title, store=store, **options)
                return kept, 0
        except results.NotStoredError as error:
            if error.key != work.key:
                raise DistributedError("a worker has other code of the classes that this experiment uses") from None
            history = results.experiment(work.model, work.task, work.runs, title=work.title, store=store, **options)
        except ValueError:  # classes of a notebook, whose source only the asker can read
            history = train(work.model, work.task, work.runs, title=work.title, **options)
    logging.getLogger("distributed.worker").info(lines.getvalue().strip())
    return history, report.begun


class _Reporter:
    """Tells the scheduler once a second how many steps are done; knows at which of them a worker began."""

    def __init__(self, key: str) -> None:
        from distributed import get_worker

        self.key, self.worker = key, get_worker()
        self.done, self.begun, self.last = 0, 0, 0.0

    def __call__(self, steps: int) -> None:
        self.done += steps
        if not self.last:
            self.begun = self.done
        now = time.monotonic()
        if now - self.last > 1:
            self.worker.log_event(TOPIC, {"key": self.key, "steps": self.done})
            self.last = now


class Cluster:
    """Trains on a client's workers: what :func:`lintrans.experiment` calls instead of :func:`lintrans.train`."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def __call__(
        self, model: TensorModel, task: Task, runs: Runs, *, title: str, store: Store, progress: bool | None = None,
        **options: Any,
    ) -> History:  # fmt: skip
        """The joined training."""
        plan = plan_training(model, task, runs, **{k: v for k, v in options.items() if k in PLANNED})
        probes, kept = options["probes"], {*options["snapshots"], plan.steps, plan.total}
        shards = split(plan, probes, len(kept))
        self._fits(title, plan, shards, probes, len(kept))
        options |= {"dtype": plan.dtype}
        if isinstance(options.get("device"), torch.device):
            options["device"] = str(options["device"])

        def ask(shard: Shard) -> History:
            name = f"{title}, {shard.name}"
            return _silently(model, task, shard.runs, title=name, store=store, **options)

        found: dict[int, History] = {}
        keys: dict[int, str] = {}
        for number, shard in enumerate(shards):
            try:
                with results.stored_only():
                    found[number] = ask(shard)
            except results.NotStoredError as error:
                keys[number] = error.key
        stored = f", {len(found)} of them stored" if found else ""
        say(f"{title}: {len(shards)} shards{stored}, on {_address(self.client)}")
        works = {
            number: Work(
                model, task, shards[number].runs, options, f"{title}, {shards[number].name}", key,
                str(store.path), len(shards) == 1, here(),
            ) for number, key in keys.items()
        }  # fmt: skip
        with bar(plan.total * len(shards), title, progress) as shown:
            shown.update(plan.total * len(found))
            for number, history in self._gather(works, plan.total, shown.update):
                with results.trained_by(lambda *_, history=history, **__: history):  # kept as if it were computed here
                    found[number] = history if len(shards) == 1 else ask(shards[number])
        return join(shards, [found[number] for number in range(len(shards))])

    def _fits(self, title: str, plan: Plan, shards: Sequence[Shard], probes: Any, kept: int) -> None:
        """Refuse shards that a worker has no memory for, before anything is computed."""
        held, each = memory(plan, probes, kept)
        need = PROCESS_BYTES + held + each * max(len(shard.runs) for shard in shards)
        workers = self.client.scheduler_info(n_workers=-1)["workers"]
        for address, about in workers.items():
            if (most := about.get("memory_limit") or 0) and need > SHARE * most:
                raise DistributedError(
                    f"{title}: a shard takes up to {need / 1e9:.1f} GB, and worker {address} has {most / 1e9:.1f} GB: "
                    f"start workers with --memory-limit {need / SHARE / 1e9 + 0.1:.1f}GB or more"
                )

    def _gather(
        self, works: dict[int, Work], steps: int, report: Callable[[int], object]
    ) -> Iterator[tuple[int, History]]:
        """Numbers and histories as they come; what is queued is cancelled when this ends early."""
        events: queue.Queue[Any] = queue.Queue()
        client, numbers = self.client, {work.key: number for number, work in works.items()}
        done = dict.fromkeys(works, 0)
        client.subscribe_topic(TOPIC, lambda event: events.put(event[1]))
        futures: dict[int, Future[tuple[History, int]]] = {}
        try:
            for number, work in works.items():
                futures[number] = client.submit(compute, work, key=f"{work.title}-{work.key}", pure=False)
                futures[number].add_done_callback(lambda _, number=number: events.put(number))
            while done:
                try:
                    event = events.get(timeout=0.5)
                except queue.Empty:  # word of a shard that is done may be lost, with the connection
                    lost = client.status not in ("running", "connecting")
                    event = next((number for number in done if lost or futures[number].done()), None)
                if isinstance(event, dict):
                    number, reached = numbers.get(event["key"], -1), min(event["steps"], steps)
                elif event in done:
                    history, begun = self._result(works[event], futures[event])
                    if begun:
                        say(f"{works[event].title}: a worker went on from step {begun:,} of {steps:,}")
                    yield event, history
                    number, reached = event, steps
                else:
                    continue
                if number in done and reached > done[number]:
                    report(reached - done[number])
                    done[number] = reached
                if event == number:
                    del done[number]
        finally:
            with contextlib.suppress(Exception):  # a scheduler that is gone
                client.unsubscribe_topic(TOPIC)
                client.cancel([futures[number] for number in done if number in futures])

    def _result(self, work: Work, future: Future[tuple[History, int]]) -> tuple[History, int]:
        from distributed import KilledWorker

        try:
            result: tuple[History, int] = future.result(None if self.client.status == "running" else PATIENCE)
        except KilledWorker as error:
            raise DistributedError(
                f"{work.title}: workers died of it, one after another (out of memory?); what is finished stays: {error}"
            ) from None
        except DistributedError:
            raise
        except Exception as error:  # of the training, or of Dask: a scheduler that is gone, a module that is not there
            if future.cancelled() or self.client.status != "running":
                raise DistributedError(
                    f"the connection to the scheduler is lost; finished shards are stored, the rest runs next time "
                    f"({compiling.brief(error)})"
                ) from None
            raise DistributedError(f"{work.title}: {compiling.brief(error)}") from error
        return result


def _silently(*arguments: Any, **options: Any) -> History:
    """An experiment without its line, and not among those that a page lists."""
    with contextlib.redirect_stdout(io.StringIO()), results.unlisted():
        return results.experiment(*arguments, **options)


@functools.cache
def asked_for(address: str) -> Cluster:
    """What computes where the environment names a scheduler; connected until this process ends."""
    import atexit

    stack = contextlib.ExitStack()
    client = stack.enter_context(_connected(address, PATIENCE))
    atexit.register(stack.close)
    check_workers(client)
    return Cluster(client)


def reachable(address: str) -> str:
    """Why the scheduler at an address cannot be used, in one line; "" where it can."""
    try:
        with distributed(address):
            return ""
    except (DistributedError, ModuleNotFoundError) as error:
        return str(error)
