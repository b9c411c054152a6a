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
from lintrans.publish.processes import stop_as_by_ctrl_c
from lintrans.store.results import VARIABLE, measurement
from lintrans.store.store import Store
from lintrans.unfinished import Kept

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("book", "pyproject.toml", "_config.yml", "_toc.yml", "requirements.lock")
PATIENCE = 3.0
"""Seconds that children of a killed process have to end."""
LIMIT = 7200.0
"""Seconds after which a command that nobody kills is one that hangs."""
COMMAND = (sys.executable, "-m", "lintrans_command")
SOME = """
import sys
from lintrans.publish.cli import main
main(["execute", *sys.argv[1:], "--scale", "quick"], standalone_mode=False)
main(["build", "--no-execute", "--scale", "quick"])
"""
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


HEAD = ("fault", "faults", "noticed or gone on", "computing lost (s)", "wrong numbers", "left behind")


@dataclass(frozen=True)
class Job:
    """A command that fills a store; one of the book's is run in a copy of the book, one for each store."""

    kind: str
    command: Sequence[str]
    book: bool = False

    def folder(self, store: Path) -> Path:
        return store.with_name(f"{store.name}-book") if self.book else store.parent

    def log(self, store: Path) -> Path:
        return store.with_name(f"{store.name}.log")

    def start(self, store: Path) -> subprocess.Popen[bytes]:
        folder = self.folder(store)
        if self.book and not folder.exists():
            copy_book(folder)
        environment = {
            **os.environ, VARIABLE: str(store), "PYTHONPATH": str(ROOT), "LINTRANS_PROGRESS": "off",
            "OMP_WAIT_POLICY": "PASSIVE",
        }  # fmt: skip
        with self.log(store).open("ab") as log:
            return subprocess.Popen(
                self.command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def finish(self, store: Path) -> tuple[float, float]:
        """Run it undisturbed; seconds by the clock, and those that processors computed.

        Raises:
            RuntimeError: it failed, or hangs.
        """
        began, before = time.monotonic(), os.times()
        process = self.start(store)
        try:
            status: int | str = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            status = f"still running after {LIMIT:.0f} s"
        finally:
            process.kill()
        if status != 0:
            said = self.log(store).read_text(errors="replace")[-3000:]
            raise RuntimeError(f"{self.kind} failed ({status}):\n{said}")
        after = os.times()
        computed = after.children_user + after.children_system - before.children_user - before.children_system
        return time.monotonic() - began, computed

    def said(self, store: Path) -> str:
        """What its processes and its chapters have said."""
        files = [self.log(store), *(self.folder(store) / "build").rglob("*.ipynb")]
        return "\n".join(file.read_text(errors="replace") for file in files)

    def unclean(self, store: Path) -> list[Path]:
        """Files that are there only while it works."""
        build = self.folder(store) / "build"
        return [*build.glob("*/running/*"), *build.glob("*/building"), *build.rglob("*.part")] if self.book else []


def numbers(store: Path) -> dict[str, object]:
    """What each stored result's files are, by key, and the verdicts as text."""
    stored: dict[str, object] = {entry.key: entry.record["files"] for entry in Store(store).entries()}
    verdicts = verdict_frame("quick", Store(store))
    return {**stored, "verdicts": verdicts.to_csv()}


def alive(store: Path) -> list[int]:
    """Processes that work on a store, by its path in their environment."""
    mark, found = f"{VARIABLE}={store}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def computed(pids: Sequence[int]) -> float:
    """Seconds that processors have worked for these processes, and for their children that have ended."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def stored(store: Path) -> dict[str, int]:
    """When each result was written, by key."""
    return {entry.key: (entry.path / "record.json").stat().st_mtime_ns for entry in Store(store).entries()}


def end(store: Path) -> int:
    """Wait for the processes of a store to end, kill those that do not; how many these were."""
    deadline = time.monotonic() + PATIENCE
    while alive(store) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = alive(store)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while alive(store) and time.monotonic() < deadline + 60:
        time.sleep(0.05)
    return len(left)


def kill(job: Job, count: int, chance: random.Random, place: Path) -> Row:
    """Kill a job at so many random instants, each time in a new store, and finish it."""
    row = Row(f"{job.kind} killed")
    whole = place / "whole"
    job.finish(whole)  # it compiles, which later ones do not
    right = numbers(whole)
    seconds, usual = job.finish(place / "usual")
    idle = job.finish(whole)[1]  # all is stored: what starting costs
    print(f"{job.kind}: {seconds:.1f} s, {usual:.1f} s computed, {idle:.1f} s of them to start", flush=True)
    for number in range(count):
        store = place / f"store-{number}"
        process, instant = job.start(store), chance.uniform(0, seconds)
        with contextlib.suppress(subprocess.TimeoutExpired):
            try:
                process.wait(instant)
            finally:
                spent = computed(alive(store))
                process.kill()
        process.wait()
        row.faults += 1
        row.left += end(store)
        kept = stored(store)
        begun = {orphan.key for orphan in Store(store).unfinished() if any(orphan.parts())} - {*kept}
        again = job.finish(store)[1]
        row.lost.append(max(0.0, spent + again - usual - idle))
        said, now = job.said(store), stored(store)
        gone_on = all(f"going on with {key[:8]}" in said for key in begun)
        row.noticed += gone_on and all(now.get(key) == written for key, written in kept.items())
        found = numbers(store)
        row.wrong += sum(found.get(key) != files for key, files in right.items())
        row.left += len(Store(store).half_written()) + len(Store(store).unfinished()) + end(store)
        row.left += len(job.unclean(store))
        there = f"{len(kept)} results and {len(begun)} begun"
        print(f"  killed after {instant:.1f} s with {there}; lost {row.lost[-1]:.1f} s", flush=True)
        shutil.rmtree(store)
        if job.book:
            shutil.rmtree(job.folder(store))
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


def copy_book(place: Path) -> None:
    """Copy the book."""
    place.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, place / name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do it; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=__doc__.splitlines()[0])
    for name, what in (("trainings", "trainings"), ("executes", "chapters"), ("books", "books at quick scale")):
        parser.add_argument(f"--{name}", type=int, default=50, metavar="N", help=f"{what} to kill (50)")
    parser.add_argument("--damages", type=int, default=5, metavar="N", help="times each damage to each file (5)")
    parser.add_argument("--chapter", default="gradient_noise", help="the chapter to execute (gradient_noise)")
    parser.add_argument("--of", nargs="*", default=(), metavar="CHAPTER", help="the chapters of these books (all)")
    parser.add_argument("--seed", type=int, default=0, help="of the instants and damages (0)")
    options = parser.parse_args(arguments)
    stop_as_by_ctrl_c()
    chance = random.Random(options.seed)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="lintrans-torture-") as folder:
        place = Path(folder)
        if options.damages:
            rows += damages(chance, place / "damages", options.damages)
        quick = ("--scale", "quick")
        build = [sys.executable, "-c", SOME, *options.of] if options.of else [*COMMAND, "build", *quick]
        jobs = (
            (options.trainings, Job("training", [sys.executable, "-c", TRAINING])),
            (options.executes, Job("lintrans execute", [*COMMAND, "execute", options.chapter, *quick], book=True)),
            (options.books, Job("lintrans build", build, book=True)),
        )
        for count, job in jobs:
            if count:
                own = place / job.kind.replace(" ", "-")
                own.mkdir()
                rows.append(kill(job, count, chance, own))
    widths = [max(len(line[k]) for line in (HEAD, *(row.text for row in rows))) for k in range(len(HEAD))]
    for line in (HEAD, *(row.text for row in rows)):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return int(any(row.wrong or row.left or row.noticed < row.faults for row in rows))


if __name__ == "__main__":
    sys.exit(main())
