"""A computation that is stopped goes on where it was, and ends with the same bits."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

import lintrans as lt
from lintrans.diagnostics.along import StepCurvature, conditions_along
from lintrans.diagnostics.noise import tabulate_noise
from lintrans.engines import Engine, Plan
from lintrans.interrupts import deferred
from lintrans.store import checkpoints
from lintrans.store.checkpoints import decode, encode
from lintrans.store.results import VARIABLE, measurement
from lintrans.store.store import Store
from lintrans.training.probes import Scheduled
from lintrans.unfinished import Kept, part

MODEL, TASK = lt.LinearTransformer(2, 2), lt.LinearRegression(2, 3)
RUNS = lt.grid(optimizer=["sgd", "adam"], lr=[0.1, 1e4], seed=range(2), clip=[1.0])
OPTIONS: dict[str, Any] = {
    "steps": 60, "cooldown": 20, "batch": 20, "snapshots": [7, 33],
    "probes": [lt.TestLoss(every=5), StepCurvature(every=3, batch=10)],
}  # fmt: skip


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints at every occasion."""
    monkeypatch.setattr(checkpoints, "SOONEST", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", 1e9)


def equal(one: lt.History, other: lt.History) -> None:
    pd.testing.assert_frame_equal(one.frame, other.frame, check_exact=True)
    pd.testing.assert_frame_equal(one.runs, other.runs, check_exact=True)
    assert list(one.snapshots) == list(other.snapshots)
    for step, tensor in one.snapshots.items():
        assert tensor.numpy().tobytes() == other.snapshots[step].numpy().tobytes()


class Stopped(Exception):
    """What a test stops a computation with."""


@dataclass
class Stopping:
    """A part that is in memory, and stops its loop after some writings, as a kill does."""

    after: int = 0
    content: bytes = b""
    loads: int = 0

    def load(self, use: Callable[[Kept], None], **made: str) -> bool:
        if self.content:
            use(decode(self.content))
            self.loads += 1
        return bool(self.content)

    def keep(self, state: Callable[[], Kept], now: bool = False) -> None:
        self.after -= 1
        if self.after == 0:
            self.content = encode(state())
            raise Stopped


@pytest.mark.parametrize("engine", ["cpu", "reference"])
@pytest.mark.parametrize("model", [MODEL, lt.LinearTransformer(1, 2, attention="softmax")])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_stopped_training_ends_with_the_same_bits(engine: str, model: lt.LinearTransformer, dtype: str) -> None:
    """Stopped again and again, at every kind of place; some of the runs diverge."""
    whole = lt.train(model, TASK, RUNS, engine=engine, dtype=dtype, **OPTIONS)
    assert (whole.runs["diverged"] >= 0).any() or model.attention != "linear" or dtype == "float64"
    place, stops = Stopping(), 0
    while True:
        place.after = 5
        try:
            again = lt.train(model, TASK, RUNS, engine=engine, dtype=dtype, checkpoint=place, **OPTIONS)
        except Stopped:
            stops += 1
            continue
        break
    assert place.loads == stops > 10
    equal(whole, again)


def test_the_state_of_an_own_optimizer_goes_on() -> None:
    optimizers = [lt.Adam(), replace(lt.Adam(), name="other", betas=(0.5, 0.5)), lt.SGD(momentum=0.9)]
    runs = lt.grid(optimizer=optimizers, lr=0.01, seed=range(2))
    options: dict[str, Any] = {"steps": 30, "batch": 5, "engine": "reference", "probes": [lt.TestLoss(every=2)]}
    place = Stopping(after=12)
    with pytest.raises(Stopped):
        lt.train(MODEL, TASK, runs, checkpoint=place, **options)
    equal(lt.train(MODEL, TASK, runs, **options), lt.train(MODEL, TASK, runs, checkpoint=place, **options))
    assert place.loads == 1


@dataclass(frozen=True, kw_only=True)
class Failing(Scheduled):
    """A probe that ends a training at a step: by an interrupt, as long as the file is there."""

    file: str
    step: int

    def measure(self, engine: Engine, plan: Plan, parameters: Tensor, step: int) -> dict[str, Tensor]:
        if step == self.step and Path(self.file).exists():
            raise KeyboardInterrupt
        return {"sum": parameters.flatten(1).sum(-1)}


def test_an_interrupted_experiment_goes_on_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flag = tmp_path / "flag"
    options = {**OPTIONS, "probes": [Failing(every=10, file=str(flag), step=40), lt.TestLoss(every=10)]}
    whole = lt.experiment(MODEL, TASK, RUNS, store=tmp_path / "one", **options)
    flag.touch()
    store = Store(tmp_path / "two")
    capsys.readouterr()
    with pytest.raises(KeyboardInterrupt):
        lt.experiment(MODEL, TASK, RUNS, store=store, **options)
    [orphan] = store.unfinished()
    assert (orphan.key, orphan.title, orphan.where) == (whole.key, "experiment", "step 40 of 80")
    flag.unlink()
    capsys.readouterr()
    equal(whole, lt.experiment(MODEL, TASK, RUNS, store=store, **options))
    assert f"going on with {whole.key[:8]} from step 40 of 80, kept just now" in capsys.readouterr().out
    assert store.unfinished() == []
    assert [path.name for path in store.path.rglob("*part*")] == []


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "other engine", "other version", "text"])
def test_what_cannot_be_used_is_said_and_computed_again(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flag, store = tmp_path / "flag", Store(tmp_path / "store")
    options = {**OPTIONS, "probes": [Failing(every=10, file=str(flag), step=40)], "engine": "reference"}
    flag.touch()
    with pytest.raises(KeyboardInterrupt):
        lt.experiment(MODEL, TASK, RUNS, store=store, **options)
    flag.unlink()
    [file] = store.unfinished()[0].path.iterdir()
    content = bytearray(file.read_bytes())
    if damage == "other engine":
        options["engine"] = "cpu"
    elif damage == "other version":
        monkeypatch.setattr(torch, "__version__", "0.0")
    elif damage == "bit":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        file.write_bytes({"cut": bytes(content[:-5]), "empty": b"", "text": b"x" * 100}[damage])
    again = lt.experiment(MODEL, TASK, RUNS, store=store, **options)
    said = capsys.readouterr().out
    if damage.startswith("other"):
        assert f"made with another {'engine' if damage == 'other engine' else 'torch'}" in said
    else:
        assert "going on" not in said
    equal(lt.train(MODEL, TASK, RUNS, **options), again)
    assert store.unfinished() == []


@pytest.mark.usefixtures("always")
def test_measurements_go_on_at_the_piece_where_they_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    history = lt.experiment(MODEL, TASK, RUNS, store=tmp_path, **OPTIONS)
    kept = [step for step in history.snapshots if step]

    def curvature() -> pd.DataFrame:
        return conditions_along(history, MODEL, TASK, kept, batch=20, batches=[-1, 0])

    def noise() -> pd.DataFrame:
        table = tabulate_noise(MODEL, TASK, MODEL.init([0, 1]), [0, 1], batch=5, samples=40, reference=10_500, keep=1)
        return table.assign(norms=[str(x) for x in table["norms"]], spectrum=[str(x) for x in table["spectrum"]])

    monkeypatch.setattr("lintrans.diagnostics.noise.GROUP_BYTES", 2000)
    whole = checkpoints.Checkpoints.keep
    for compute in (curvature, noise):
        right, stops = compute(), 0

        def stopping(self: Any, *arguments: Any) -> None:
            whole(self, *arguments)
            raise Stopped

        monkeypatch.setattr(checkpoints.Checkpoints, "keep", stopping)
        while stops < 100:
            try:
                found = measurement("numbers", {"what": compute.__name__}, compute, store=tmp_path)
            except Stopped:
                stops += 1
                continue
            break
        monkeypatch.setattr(checkpoints.Checkpoints, "keep", whole)
        assert stops > 5
        assert capsys.readouterr().out.count("going on with") == stops
        pd.testing.assert_frame_equal(right, found, check_exact=True)
    assert Store(tmp_path).unfinished() == []


def test_nothing_is_kept_outside_of_the_store(tmp_path: Path) -> None:
    own = part("loop")
    assert not own.load(lambda _: None)
    own.keep(lambda: pytest.fail("nobody keeps it"), now=True)


@pytest.fixture
def answered() -> Iterator[None]:
    """Ctrl-C as in a terminal, also where whoever started the tests has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_first_signal_waits_and_a_second_does_not(answered: None) -> None:
    done = []

    def signalled(times: int) -> None:
        with deferred():
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            done.append(times)

    for times in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            signalled(times)
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


SCRIPT = """
import os, signal, sys
import lintrans as lt
from lintrans.store import checkpoints
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests
checkpoints.SOONEST, checkpoints.SHARE = 0.05, 1.0
write = checkpoints.write_bytes
def writing(*arguments):
    write(*arguments)
    if sys.argv[1:]:  # it waits at its first checkpoint for what comes
        del sys.argv[1:]
        os.kill(os.getpid(), signal.SIGSTOP)
checkpoints.write_bytes = writing
history = lt.experiment(
    lt.LinearTransformer(3, 5), lt.LinearRegression(5, 10), lt.grid(optimizer=["sgd", "adam"], lr=0.02, seed=range(2)),
    steps=1500, batch=400, clip=1.0, probes=[lt.TestLoss(every=50)], snapshots=range(0, 1500, 100), engine="cpu")
print(history.key)
"""


def start(store: Path, *arguments: str, threads: int = 1) -> subprocess.Popen[str]:
    environment = {**os.environ, VARIABLE: str(store), "NUMBA_NUM_THREADS": str(threads), "LINTRANS_PROGRESS": "off"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def stored(store: Path) -> dict[str, bytes]:
    [entry] = Store(store).entries()
    return {name: (entry.path / name).read_bytes() for name in entry.record["files"]}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    store = tmp_path_factory.mktemp("undisturbed")
    process = start(store)
    assert process.communicate(timeout=300)[1] == ""
    return stored(store)


def wait_for(store: Path, process: subprocess.Popen[str]) -> None:
    """Until something is kept, or the process has ended."""
    end = time.monotonic() + 300
    while process.poll() is None and not any(store.glob("unfinished/*/*.checkpoint")):
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, None)],
)
def test_a_killed_process_goes_on_with_another_number_of_threads(
    tmp_path: Path, undisturbed: dict[str, bytes], number: int, status: int | None
) -> None:
    process = start(tmp_path, "waits")
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=60)
    assert process.returncode == status if status is not None else process.returncode != 0
    [orphan] = Store(tmp_path).unfinished()
    assert orphan.where.startswith("step ")
    again = start(tmp_path, threads=2)
    out, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert "going on with" in out
    assert stored(tmp_path) == undisturbed
    assert Store(tmp_path).unfinished() == []


@pytest.mark.slow
def test_ten_kills_at_random_instants(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    chance = random.Random(0)
    kills = 0
    while kills < 10:
        process = start(tmp_path, threads=1 + kills % 2)
        wait_for(tmp_path, process)
        time.sleep(chance.random() * 0.2)
        process.kill()
        process.communicate(timeout=60)
        kills += process.returncode == -signal.SIGKILL
        if Store(tmp_path).entries():
            break
    process = start(tmp_path)
    process.communicate(timeout=300)
    assert stored(tmp_path) == undisturbed
    assert Store(tmp_path).unfinished() == []
