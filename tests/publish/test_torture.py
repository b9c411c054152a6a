"""Fault injection, in small: what ``make torture`` does in full; and that it finds what does not survive."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from benchmarks import kills

NOTHING = {"--trainings": "0", "--damages": "0", "--executes": "0", "--books": "0"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counts", "more", "rows"),
    [
        ({"--trainings": "10", "--damages": "2"}, (), 8),
        ({"--executes": "10"}, ("--chapter", "learning_rates"), 1),
        ({"--books": "10"}, ("--of", "learning_rates", "lab"), 1),
    ],
    ids=["trainings", "executes", "books"],
)
def test_nothing_is_lost_and_no_number_is_wrong(counts: dict[str, str], more: tuple[str, ...], rows: int) -> None:
    options = [part for pair in (NOTHING | counts).items() for part in pair]
    command = [sys.executable, "-m", "benchmarks.torture", *options, *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len([line for line in done.stdout.splitlines() if " killed  " in line or " damaged  " in line]) == rows
    assert done.stdout.count("  killed ") >= 10
    reached = ["executing", *(["building pages"] if "--books" in counts else [])]  # the others are hit by chance
    assert [stage for stage in reached if f"  killed {stage} " in done.stdout] == reached, done.stdout


WORK = """
import json, os, shutil, subprocess, sys, time
from pathlib import Path

fault, store = sys.argv[1], Path(os.environ["LINTRANS_STORE"])
before, within = (0.02, 0.28) if fault in ("not written whole", "a file is left") else (0.2, 0.1)


def compute(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


compute(0.1)
print("begun", flush=True)
if fault == "a process is left":
    subprocess.Popen(["sleep", "60"])
for number in range(5):
    place = store / "experiments" / f"result{number}"
    part = place.with_name(f".part-result{number}-{os.getpid()}")
    if place.exists() and fault != "computed anew":
        continue
    compute(before)
    if fault != "a file is left":
        for old in place.parent.glob(f".part-result{number}-*"):
            shutil.rmtree(old)
    folder = place if fault == "not written whole" else part
    folder.mkdir(parents=True, exist_ok=True)
    compute(within)
    wrong = fault == "a wrong number" and not store.with_name("whole").samefile(store)
    record = {"title": "", "created": "2026-01-01T00:00+00:00", "spec": {}, "files": {"value": number + wrong}}
    (folder / "record.json").write_text(json.dumps(record | {"info": {"device": "cpu", "seconds": 1.0}}))
    if folder == part:
        shutil.rmtree(place, ignore_errors=True)
        part.rename(place)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
@pytest.mark.parametrize(
    "fault",
    ["none", "not written whole", "a wrong number", "computed anew", "a process is left", "a file is left"],
)
def test_a_command_that_does_not_survive_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(kills, "SHORTEST", 0.5)  # so that most kills come after a result of 0.3 s
    monkeypatch.setattr(kills, "PATIENCE", 1.0)
    stages = kills.USUAL if fault in ("none", "a file is left") else (kills.EXECUTING,)
    job = kills.Job("work", [sys.executable, "-c", WORK, fault], stages=stages)
    row = kills.kill(job, 8, 8, random.Random(0), tmp_path)
    assert row.faults == 8
    found = {"wrong": row.wrong > 0, "unnoticed": row.noticed < 8, "left": row.left > 0}
    kind = {"not written whole": "wrong", "a wrong number": "wrong", "computed anew": "unnoticed"}
    if fault == "none":
        assert not any(found.values()), row
    else:
        assert found[kind.get(fault, "left")], row
