"""Fault injection, in small: what ``make torture`` does for an hour."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT

NOTHING = {"--trainings": "0", "--damages": "0", "--executes": "0", "--books": "0"}
ALWAYS = ("starting", "executing", "writing")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counts", "more", "stages", "rows"),
    [
        ({"--trainings": "10", "--damages": "2"}, (), ALWAYS, 8),
        ({"--executes": "10"}, ("--chapter", "learning_rates"), ALWAYS, 1),
        ({"--books": "10"}, ("--of", "learning_rates", "lab"), (*ALWAYS, "building pages"), 1),
    ],
    ids=["trainings", "executes", "books"],
)
def test_nothing_is_lost_and_no_number_is_wrong(
    counts: dict[str, str], more: tuple[str, ...], stages: tuple[str, ...], rows: int
) -> None:
    options = [part for pair in (NOTHING | counts).items() for part in pair]
    command = [sys.executable, "-m", "benchmarks.torture", *options, *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len([line for line in done.stdout.splitlines() if " killed  " in line or " damaged  " in line]) == rows
    assert done.stdout.count("  killed ") >= 10
    assert [stage for stage in stages if f"  killed {stage} " in done.stdout] == [*stages], done.stdout
