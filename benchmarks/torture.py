"""Faults on purpose: processes killed at random instants, stored files damaged in every way; a table of what was lost.

``python -m benchmarks.torture`` (``make torture``) kills a training, a ``lintrans execute`` and a ``lintrans build`` 50
times each at random instants (:mod:`.kills`), asks again each time, and compares every stored number with those of an
undisturbed run, bit for bit. Then it damages stored files, each kind in each way, and asks for them. It exits with 1
where a number is wrong, a fault goes unnoticed, or a process or a file is left. All happens in a temporary folder, with
a copy of the book.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import torch

import lintrans as lt
from lintrans.paper.claims.records import verdict_frame
from lintrans.publish.processes import stop_as_by_ctrl_c
from lintrans.store.results import measurement
from lintrans.store.store import Store
from lintrans.unfinished import Kept

from .kills import BUILDING, Job, Row, kill

COMMAND = (sys.executable, "-m", "lintrans_command")
QUICK = ("--scale", "quick")
HEAD = ("fault", "faults", "noticed or gone on", "computing lost (s)", "wrong numbers", "left behind")
TRAINING = """
import lintrans as lt
lt.experiment(
    lt.LinearTransformer(3, 5), lt.LinearRegression(5, 20), lt.grid(optimizer=["sgd", "adam"], lr=0.02, seed=range(3)),
    steps=4000, clip=1.0, probes=[lt.TestLoss(every=50)], snapshots=range(0, 4000, 500))
"""


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Do it; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=__doc__.splitlines()[0])
    for name, what in (("trainings", "trainings"), ("executes", "chapters"), ("books", "books at quick scale")):
        parser.add_argument(f"--{name}", type=int, default=50, metavar="N", help=f"{what} to kill (50)")
    parser.add_argument("--longest", type=int, default=25, metavar="N", help="kills before one end, at most (25)")
    parser.add_argument("--damages", type=int, default=5, metavar="N", help="times each damage to each file (5)")
    parser.add_argument("--chapter", default="gradient_noise", help="the chapter to execute (gradient_noise)")
    parser.add_argument("--of", nargs="*", default=(), metavar="CHAPTER", help="the chapters of these books (all)")
    parser.add_argument("--seed", type=int, default=0, help="of the instants and damages (0)")
    options = parser.parse_args(arguments)
    stop_as_by_ctrl_c()
    chance = random.Random(options.seed)
    rows: list[Row] = []
    jobs = (
        (options.trainings, Job("training", [sys.executable, "-c", TRAINING])),
        (options.executes, Job("lintrans execute", [*COMMAND, "execute", options.chapter, *QUICK], book=True)),
        (options.books, Job("lintrans build", [*COMMAND, "build", "--pairs", *QUICK], True, options.of, BUILDING)),
    )
    with tempfile.TemporaryDirectory(prefix="lintrans-torture-") as folder:
        place = Path(folder)
        if options.damages:
            rows += damages(chance, place / "damages", options.damages)
        for count, job in jobs:
            if count:
                own = place / job.kind.replace(" ", "-")
                own.mkdir()
                rows.append(kill(job, count, options.longest, chance, own))
    widths = [max(len(line[k]) for line in (HEAD, *(row.text for row in rows))) for k in range(len(HEAD))]
    for line in (HEAD, *(row.text for row in rows)):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return int(any(row.wrong or row.left or row.noticed < row.faults for row in rows))


if __name__ == "__main__":
    sys.exit(main())
