"""Shards against the whole, bit for bit; a real cluster of processes on this machine, whose workers get killed."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT

import lintrans as lt
from lintrans.store import distributed, shards
from lintrans.store.store import Store
from lintrans.training.train import plan_training

TASK = lt.LinearRegression(d=3, n=6)
MODEL = lt.LinearTransformer(2, 3)
OPTIONS: dict[str, Any] = {"device": "cpu", "batch": 50, "snapshots": [1, 7]}
OPTIMIZERS = ["sgd", lt.Adam(), "signum", lt.NormalizedSGD()]
PROBES = (lt.TestLoss(every=5), lt.TypicalLoss(every=10, blocks=3))


def same(one: lt.History, other: lt.History) -> None:
    """Equal to the last bit, in the same order."""
    pd.testing.assert_frame_equal(one.frame, other.frame, check_exact=True)
    pd.testing.assert_frame_equal(one.runs, other.runs, check_exact=True)
    assert one.snapshots.keys() == other.snapshots.keys()
    assert all(torch.equal(one.snapshots[step], other.snapshots[step]) for step in one.snapshots)


def in_shards(model: Any, task: Any, runs: lt.Runs, probes: Any, **options: Any) -> tuple[list[Any], lt.History]:
    """The shards, and what they are when joined, without Dask."""
    planned = {name: value for name, value in options.items() if name not in ("snapshots", "engine")}
    cut = shards.split(plan_training(model, task, runs, **planned), probes, 4)
    return cut, shards.join(cut, [lt.train(model, task, shard.runs, probes=probes, **options) for shard in cut])


@pytest.mark.parametrize("engine", ["cpu", "reference"])
@pytest.mark.parametrize(
    ("model", "task", "dtype"),
    [
        (MODEL, TASK, "float32"),
        (MODEL, lt.LinearRegression(d=3, n=6, covariates=lt.GammaScaled(0.1, 10.0)), "float64"),
        (lt.LinearTransformer(2, 3, form="full"), TASK, "float32"),
        (lt.LinearTransformer(1, 3, attention="softmax"), TASK, "float32"),
        (lt.EmbeddedTransformer(1, 3, 6), lt.FeatureRegression(d=3, n=6, hidden=6), "float32"),
    ],
)
def test_shards_are_the_whole(engine: str, model: Any, task: Any, dtype: str) -> None:
    runs = lt.grid(optimizer=OPTIMIZERS, lr=[0.001, 0.003, 0.01, 0.02, 50.0], seed=[3, 0])  # 20 a seed; some diverge
    options = {**OPTIONS, "batch": 37, "steps": 10, "cooldown": 3, "dtype": dtype, "engine": engine}
    cut, joined = in_shards(model, task, runs, PROBES, **options)
    assert [len(shard.runs) for shard in cut] == [16, 4, 16, 4]
    same(joined, lt.train(model, task, runs, probes=PROBES, **options))


@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_curvature_in_shards_is_that_of_the_whole(engine: str) -> None:
    probes: list[Any] = [lt.Conditions(every=3, batch=100), lt.StepCurvature(every=2, spectral=True, batch=100)]
    runs = lt.grid(optimizer=["sgd", "adam"], lr=[0.003, 0.02, 1e9], seed=range(3))
    options = {**OPTIONS, "steps": 8, "engine": engine, "snapshots": []}
    cut, joined = in_shards(MODEL, TASK, runs, probes, **options)
    assert len(cut) == 3
    whole = lt.train(MODEL, TASK, runs, probes=probes, **options)
    assert len(whole.frame) < len(runs) * whole.frame[["step", "metric"]].drop_duplicates().shape[0]  # some are lost
    same(joined, whole)


def test_a_run_of_much_memory_gets_a_smaller_shard() -> None:
    runs = lt.grid(optimizer="sgd", lr=np.linspace(0.01, 0.02, 8).tolist())
    small, large = lt.LinearTransformer(2, 3), lt.LinearTransformer(16, 30)
    sizes = []
    for model in (small, large):
        task = lt.LinearRegression(d=model.d, n=40)
        plan = plan_training(model, task, runs, steps=10, batch=8000, device="cpu")
        cut = shards.split(plan, PROBES, 2)
        held, each = shards.memory(plan, PROBES, 2)
        assert max(len(shard.runs) for shard in cut) == 1 or each * len(cut[0].runs) <= shards.MOST_BYTES
        sizes.append(len(cut))
        assert held > 0
    assert sizes[0] == 1 < sizes[1]


def test_nobody_answers() -> None:
    pytest.importorskip("distributed")
    began = time.monotonic()
    address = "tcp://127.0.0.1:9"
    with pytest.raises(distributed.DistributedError, match=address) as caught, lt.distributed(address, timeout=0.5):
        pass
    assert time.monotonic() - began < 60
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [0, -1, True, 1.5])
def test_what_is_no_client(bad: Any) -> None:
    pytest.importorskip("distributed")
    with pytest.raises((TypeError, ValueError), match="client"), lt.distributed(bad):
        pass


def test_without_dask_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ModuleNotFoundError, match=r"lintrans\[dask\]"), lt.distributed(1):
        pass


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two worker processes on the loopback device."""
    pytest.importorskip("distributed")
    with distributed.local_workers(2) as client:
        yield client


@pytest.fixture
def doomed() -> Iterator[Any]:
    """Two worker processes of a test's own, whose deaths no other test feels."""
    pytest.importorskip("distributed")
    with distributed.local_workers(2) as client:
        yield client


def experiment(store: Store, seeds: int = 3, steps: int = 40, title: str = "on workers", **more: Any) -> lt.History:
    runs = lt.grid(optimizer=["sgd", "adam"], lr=[0.01, 0.02], seed=range(seeds))
    options = {**OPTIONS, "steps": steps, "probes": PROBES, **more}
    return lt.experiment(MODEL, TASK, runs, title=title, store=store, **options)


@functools.cache
def undisturbed(steps: int, batch: int) -> lt.History:
    runs = lt.grid(optimizer=["sgd", "adam"], lr=[0.01, 0.02], seed=range(3))
    return lt.train(MODEL, TASK, runs, **{**OPTIONS, "batch": batch}, steps=steps, probes=PROBES)


def test_a_cluster_computes_what_one_process_does(cluster: Any, tmp_path: Path) -> None:
    store = Store(tmp_path)
    with lt.distributed(cluster):
        history = experiment(store)
    same(history, undisturbed(40, 50))
    assert experiment(store).key == history.key  # found without Dask
    stored = {entry.key: entry for entry in store.entries()}
    titles = [entry.title for key, entry in stored.items() if key != history.key]
    assert sorted(titles) == [f"on workers, seed {seed}" for seed in range(3)]
    assert stored[history.key].seconds > 0
    created = {key: (tmp_path / "experiments" / key / "record.json").stat().st_mtime_ns for key in stored}
    with lt.distributed(cluster):
        more = experiment(store, seeds=4)
    assert len(more.runs) == 16
    assert all((tmp_path / "experiments" / key / "record.json").stat().st_mtime_ns == created[key] for key in created)
    assert len(store.entries()) == len(stored) + 2  # one more seed, and the whole


def test_a_single_run_is_a_shard_too(cluster: Any, tmp_path: Path) -> None:
    runs, options = lt.grid(optimizer="adam", lr=0.01), {**OPTIONS, "steps": 20}
    with lt.distributed(cluster):
        history = lt.experiment(MODEL, TASK, runs, store=Store(tmp_path), **options)
    same(history, lt.train(MODEL, TASK, runs, **options))
    assert len(Store(tmp_path).entries()) == 1


def test_workers_of_another_kind_are_refused(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {**distributed.here(), "torch": "9.9"}
    monkeypatch.setattr(distributed, "here", lambda: made)
    what = rf"torch is {torch.__version__.split('+')[0]}.* and 9\.9"
    with pytest.raises(distributed.DistributedError, match=what), lt.distributed(cluster):
        pass


def test_a_worker_that_comes_later_is_looked_at_too(cluster: Any, tmp_path: Path) -> None:
    runs = lt.grid(optimizer="adam", lr=0.01)
    made = {**distributed.here(), "numpy": "0.1"}
    work = distributed.Work(MODEL, TASK, runs, {"steps": 1}, "late", "0" * 16, str(tmp_path), True, made)
    with pytest.raises(distributed.DistributedError, match="numpy"):
        cluster.submit(distributed.compute, work, pure=False).result(120)


def test_too_little_memory_is_said_before_anything_starts(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "PROCESS_BYTES", 10**14)
    with lt.distributed(cluster), pytest.raises(distributed.DistributedError, match="memory-limit"):
        experiment(Store(tmp_path))
    assert Store(tmp_path).entries() == []


def test_an_error_on_a_worker_is_one_line(cluster: Any, tmp_path: Path) -> None:
    with (
        lt.distributed(cluster),
        pytest.raises(distributed.DistributedError, match=r"seed \d: ValueError: engine = .cuda. cannot") as caught,
    ):
        experiment(Store(tmp_path), engine="cuda")
    assert "\n" not in str(caught.value)


def test_ctrl_c_keeps_what_is_done(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = list[str]()

    def interrupted(self: Any, work: Any, future: Any) -> lt.History:
        if done:
            raise KeyboardInterrupt
        done.append(work.key)
        return future.result()  # type: ignore[no-any-return]

    monkeypatch.setattr(distributed.Cluster, "_result", interrupted)
    with lt.distributed(cluster), pytest.raises(KeyboardInterrupt):
        experiment(Store(tmp_path), seeds=40, steps=1000, batch=400)  # far longer than the client is late
    assert done[0] in {entry.key for entry in Store(tmp_path).entries()}
    wait_for(lambda: not any(cluster.processing().values()))  # what was queued is cancelled
    assert len(Store(tmp_path).entries()) < 40


def wait_for(condition: Any, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("instant", [0, 1, *(pytest.param(k, marks=pytest.mark.slow) for k in range(2, 10))])
def test_a_killed_worker_changes_nothing(doomed: Any, tmp_path: Path, instant: int) -> None:
    steps, batch, delay = 3000, 400, random.Random(instant).uniform(0.1, 3.0)
    pids = list(doomed.run(os.getpid).values())
    killer = threading.Timer(delay, os.kill, (pids[instant % 2], signal.SIGKILL))
    killer.start()
    with lt.distributed(doomed):
        history = experiment(Store(tmp_path), steps=steps, batch=batch)
    killer.join()
    same(history, undisturbed(steps, batch))
    wait_for(lambda: not set(pids).issubset(doomed.run(os.getpid, on_error="return").values()))  # it was really killed
    assert [path.name for path in (tmp_path / "experiments").iterdir() if path.name.startswith(".")] == []


OFTEN = "from lintrans.store import checkpoints as c; c.SOONEST, c.SHARE = 0.02, 1.0"


def test_killed_workers_go_on_where_they_were(doomed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are killed once they have kept something twice, the first time at step 0; others go on at a later step."""
    doomed.run(exec, OFTEN)
    steps, batch, store = 12_000, 400, Store(tmp_path)
    pids = list(doomed.run(os.getpid).values())
    said: list[str] = []
    monkeypatch.setattr(distributed, "say", said.append)

    first: dict[Path, int] = {}

    def kept_again() -> bool:
        with contextlib.suppress(FileNotFoundError):  # that of a shard which has just ended
            found = {path: path.stat().st_mtime_ns for path in tmp_path.glob("unfinished/*/*.checkpoint")}
            return any(first.setdefault(path, kept) != kept for path, kept in found.items())
        return False

    def kill() -> None:
        wait_for(kept_again)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with lt.distributed(doomed):
        history = experiment(store, steps=steps, batch=batch)
    killer.join(10)
    same(history, undisturbed(steps, batch))
    assert any("went on from step" in line for line in said), said
    assert store.unfinished() == []


SCRIPT = """
import sys
import lintrans as lt
from lintrans.store.store import Store
runs = lt.grid(optimizer=["sgd", "adam"], lr=[0.01, 0.02], seed=range(3))
with lt.distributed(sys.argv[1]):
    history = lt.experiment(
        lt.LinearTransformer(2, 3), lt.LinearRegression(d=3, n=6), runs, title="on workers", store=Store(sys.argv[2]),
        device="cpu", batch=50, steps=40, snapshots=[1, 7],
        probes=(lt.TestLoss(every=5), lt.TypicalLoss(every=10, blocks=3)),
    )
"""


@pytest.mark.slow
def test_two_clients_agree(cluster: Any, tmp_path: Path) -> None:
    address, stores = cluster.scheduler.address, [tmp_path / "one", tmp_path / "two"]
    started = [subprocess.Popen([sys.executable, "-c", SCRIPT, address, str(store)], cwd=ROOT) for store in stores]
    assert [process.wait(300) for process in started] == [0, 0]
    for store in stores:
        assert len(Store(store).entries()) == 4
        same(experiment(Store(store)), undisturbed(40, 50))


@pytest.mark.slow
def test_a_lost_scheduler_leaves_what_is_finished(tmp_path: Path) -> None:
    dask = pytest.importorskip("distributed")
    store = Store(tmp_path)
    options: dict[str, Any] = {"threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    code = (
        "import distributed, sys, time\n"
        "if __name__ == '__main__':\n"
        f"    cluster = distributed.LocalCluster(n_workers=1, **{options})\n"
        "    print(cluster.scheduler_address, flush=True)\n"
        "    time.sleep(1000)\n"
    )
    script = tmp_path / "cluster.py"
    script.write_text(code)
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    try:

        def kill() -> None:
            wait_for(lambda: len(store.entries()) >= 1)
            process.kill()

        with lt.distributed(address) as client:
            client._timeout = 2  # what a client waits for a scheduler to come back
            killer = threading.Thread(target=kill, daemon=True)
            killer.start()
            with pytest.raises(distributed.DistributedError, match="finished shards are stored"):
                experiment(store, seeds=30, steps=2000)
            killer.join(120)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    del dask
    assert 1 <= len(store.entries()) < 30
