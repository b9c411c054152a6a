"""Fault injection, in small: what ``make torture`` does for hours."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT

NOTHING = {"--trainings": "0", "--damages": "0", "--executes": "0", "--books": "0"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counts", "more", "rows"),
    [
        ({"--trainings": "10", "--damages": "2"}, (), 8),
        ({"--executes": "3"}, ("--chapter", "learning_rates"), 1),
        ({"--books": "1"}, ("--of", "learning_rates"), 1),
    ],
    ids=["trainings", "executes", "books"],
)
def test_nothing_is_lost_and_no_number_is_wrong(counts: dict[str, str], more: tuple[str, ...], rows: int) -> None:
    options = [part for pair in (NOTHING | counts).items() for part in pair]
    command = [sys.executable, "-m", "benchmarks.torture", *options, *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len([line for line in done.stdout.splitlines() if " killed  " in line or " damaged  " in line]) == rows
