"""Fault injection, in small: what ``make torture`` does for hours."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.slow
def test_nothing_is_lost_and_no_number_is_wrong() -> None:
    counts = ["--trainings", "10", "--damages", "2", "--executes", "0", "--books", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.torture", *counts], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if " killed " in line or " damaged " in line]
    assert len(rows) == 8
