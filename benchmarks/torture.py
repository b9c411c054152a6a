"""Faults on purpose: processes killed at random instants, stored files damaged in every way; a table of what was lost.

``python -m benchmarks.torture`` (``make torture``) kills a training, a ``lintrans execute`` and a ``lintrans build`` at
random instants, asks again, and compares every stored number with those of an undisturbed run, bit for bit. Then it
damages stored files, each kind in each way, and asks for them. It exits with 1 where a number is wrong, a fault goes
unnoticed, or a process is left. All happens in a temporary folder, with a copy of the book.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch

import lintrans as lt
from lintrans.paper.claims.records import verdict_frame
from lintrans.store.results import VARIABLE, measurement
from lintrans.store.store import Store
from lintrans.unfinished import Kept

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("book", "pyproject.toml", "_config.yml", "_toc.yml", "requirements.lock")
PATIENCE = 3.0
"""Seconds that children of a killed process have to end."""
TRAINING = """
import lintrans as lt
lt.experiment(
    lt.LinearTransformer(3, 5), lt.LinearRegression(5, 20), lt.grid(optimizer=["sgd", "adam"], lr=0.02, seed=range(3)),
    steps=4000, clip=1.0, probes=[lt.TestLoss(every=50)], snapshots=range(0, 4000, 500))
"""


@dataclass
class Row:
    """What came of one kind of fault."""

    kind: str
    faults: int = 0
    noticed: int = 0
    lost: list[float] = field(default_factory=list)
    wrong: int = 0
    left: int = 0

    @property
    def text(self) -> tuple[str, ...]:
        lost = f"{sum(self.lost) / len(self.lost):.1f} (most {max(self.lost):.1f})" if self.lost else "-"
        return self.kind, str(self.faults), str(self.noticed), lost, str(self.wrong), str(self.left)


HEAD = ("fault", "faults", "noticed or gone on", "seconds lost", "wrong numbers", "left behind")


@dataclass(frozen=True)
class Job:
    """A command that fills a store, run in a folder of its own."""

    kind: str
    command: Sequence[str]
    folder: Path

    def start(self, store: Path) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ, VARIABLE: str(store), "PYTHONPATH": str(ROOT), "LINTRANS_PROGRESS": "off",
            "OMP_WAIT_POLICY": "PASSIVE",
        }  # fmt: skip
        with (store.parent / f"{store.name}.log").open("ab") as log:
            return subprocess.Popen(
                self.command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def finish(self, store: Path) -> float:
        """Run it undisturbed; its seconds.

        Raises:
            RuntimeError: it failed.
        """
        began = time.monotonic()
        if self.start(store).wait() != 0:
            raise RuntimeError(f"{self.kind} failed: see {store.parent / store.name}.log")
        return time.monotonic() - began


def checksums(store: Path) -> dict[str, dict[str, str]]:
    """Of each stored result, by key: what its files are."""
    return {entry.key: entry.record["files"] for entry in Store(store).entries()}


def alive(store: Path) -> list[int]:
    """Processes that work on a store, by its path in their environment."""
    mark, found = f"{VARIABLE}={store}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def end(store: Path) -> int:
    """Wait for the processes of a store to end, kill those that do not; how many these were."""
    deadline = time.monotonic() + PATIENCE
    while alive(store) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = alive(store)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while alive(store):
        time.sleep(0.05)
    return len(left)


def kill(job: Job, count: int, chance: random.Random, place: Path) -> Row:
    """Kill a job at so many random instants, each time in a new store, and finish it."""
    row = Row(f"{job.kind} killed")
    whole = place / "whole"
    first = job.finish(whole)  # it compiles, which later ones do not
    right = checksums(whole)
    usual = job.finish(place / "usual")
    idle = job.finish(whole)  # all is stored: what starting costs
    print(f"{job.kind}: {first:.1f} s, again {usual:.1f} s, {idle:.1f} s of them to start", flush=True)
    for number in range(count):
        store = place / f"store-{number}"
        began = time.monotonic()
        process = job.start(store)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, usual))
        process.kill()
        process.wait()
        spent = time.monotonic() - began
        row.faults += 1
        row.left += end(store)
        begun = bool(Store(store).unfinished() or Store(store).entries())
        again = job.finish(store)
        row.lost.append(max(0.0, spent + again - usual - idle))
        row.noticed += begun or spent < idle + 2  # or nothing was there to go on with
        found = checksums(store)
        row.wrong += sum(found.get(key) != files for key, files in right.items())
        row.left += len(Store(store).half_written()) + len(Store(store).unfinished()) + end(store)
        shutil.rmtree(store)
    return row


def _flip(content: bytes, chance: random.Random) -> bytes:
    flipped = bytearray(content)
    flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
    return bytes(flipped)


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut": lambda content, chance: content[: chance.randrange(len(content))],
    "emptied": lambda content, _: b"",
    "a bit flipped": _flip,
    "zeroed": lambda content, _: bytes(len(content)),
    "a block zeroed": lambda content, chance: (
        content[: (at := chance.randrange(len(content)))] + bytes(len(content[at : at + 64])) + content[at + 64 :]
    ),
    "doubled": lambda content, _: content * 2,
    "made longer": lambda content, chance: content + chance.randbytes(30),
    "random": lambda content, chance: chance.randbytes(len(content)),
    "deep JSON": lambda content, _: b"[" * 100_000,
}


def damages(chance: random.Random, place: Path, count: int) -> Iterator[Row]:
    """Damage each kind of stored file in each way, so many times, and ask for it; a row a kind of file."""
    model, task = lt.LinearTransformer(1, 2), lt.LinearRegression(2, 3)
    runs = lt.grid(optimizer=["sgd", "adam"], lr=0.1, seed=range(2))
    store = Store(place)

    def ask() -> tuple[str, pd.DataFrame]:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            history = lt.experiment(model, task, runs, steps=8, batch=5, store=store, engine="reference")
            table = measurement("numbers", {"of": history.key}, lambda: history.frame, store=store)
        pd.testing.assert_frame_equal(table, history.frame)
        snapshot = history.parameters().flatten(1).numpy()
        return said.getvalue(), pd.concat([history.frame, pd.DataFrame(snapshot)], axis=1)

    _, right = ask()
    [key] = [entry.key for entry in store.entries() if entry.title == "experiment"]
    names = ["record.json", "frame.parquet", "runs.parquet", "snapshots.safetensors", "lock", "checkpoint", "verdict"]
    for name in names:
        row = Row(f"{name} damaged")
        for damage in DAMAGES.values():
            for _ in range(count):
                row.faults += 1
                began = time.monotonic()
                if name == "checkpoint":
                    part = store.checkpoints(key, "t", lambda _: None)("training")
                    part.keep(lambda: Kept({"x": torch.zeros(9)}, {"where": "here"}), now=True)
                    [file] = store.unfinished()[0].path.iterdir()
                    shutil.rmtree(place / "experiments" / key)
                elif name == "verdict":
                    file = place / "verdicts" / "quick" / "C1-tuned.json"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text('{"now": {"rules": "", "rows": []}, "before": null}')
                elif name == "lock":
                    file = place / "locks" / f"{key}.lock"
                    file.write_bytes(b"lock")
                else:
                    file = place / "experiments" / key / name
                file.write_bytes(damage(file.read_bytes(), chance))
                with contextlib.redirect_stderr(io.StringIO()):
                    row.wrong += len(verdict_frame("quick", store)) if name == "verdict" else 0
                    said, found = ask()
                fine = {"checkpoint": "going on" not in said, "lock": "damaged" not in said, "verdict": True}
                row.noticed += fine.get(name, "is damaged" in said)
                row.wrong += not found.equals(right)
                row.lost.append(time.monotonic() - began)
                row.left += len(store.unfinished()) + len(store.half_written())
        yield row


def book(place: Path) -> Path:
    """A copy of the book."""
    place.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, place / name)
    return place


def main(arguments: Sequence[str] | None = None) -> int:
    """Do it; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=__doc__.splitlines()[0])
    for name, what in (("trainings", "trainings"), ("executes", "chapters"), ("books", "books at quick scale")):
        parser.add_argument(f"--{name}", type=int, default=50, metavar="N", help=f"{what} to kill (50)")
    parser.add_argument("--damages", type=int, default=5, metavar="N", help="times each damage to each file (5)")
    parser.add_argument("--chapter", default="gradient_noise", help="the chapter to execute (gradient_noise)")
    parser.add_argument("--seed", type=int, default=0, help="of the instants and damages (0)")
    options = parser.parse_args(arguments)
    chance = random.Random(options.seed)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="lintrans-torture-") as folder:
        place, here = Path(folder), [sys.executable, "-c", "from lintrans.publish.cli import main; main()"]
        if options.damages:
            rows += damages(chance, place / "damages", options.damages)
        kinds = (
            ("training", options.trainings, [sys.executable, "-c", TRAINING], False),
            ("lintrans execute", options.executes, [*here, "execute", options.chapter, "--scale", "quick"], True),
            ("lintrans build", options.books, [*here, "build", "--scale", "quick"], True),
        )
        for kind, count, command, copied in kinds:
            if count:
                own = place / kind.replace(" ", "-")
                cwd = book(own / "book") if copied else own
                own.mkdir(parents=True, exist_ok=True)
                rows.append(kill(Job(kind, command, cwd), count, chance, own))
    widths = [max(len(line[k]) for line in (HEAD, *(row.text for row in rows))) for k in range(len(HEAD))]
    for line in (HEAD, *(row.text for row in rows)):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return int(any(row.wrong or row.left or row.noticed < row.faults for row in rows))


if __name__ == "__main__":
    sys.exit(main())
