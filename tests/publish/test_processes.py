"""Commands beside one another, interrupted and killed: one waits, all end, and a person reads one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lintrans.publish.checkout import alone
from lintrans.publish.notebooks import pairs, settle

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, str(ROOT / "lintrans_command.py")]
"""As the installed command: by ``-m`` Python ends by SIGINT where that fell into a text that it executed."""
linux = pytest.mark.skipif(sys.platform != "linux", reason="the system ends children of a killed process on Linux")


def started(root: Path, *arguments: str) -> subprocess.Popen[str]:
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*COMMAND, *arguments], cwd=root, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def slow(root: Path, seconds: float) -> None:
    """Have a chapter note that it runs, and take its time."""
    path = root / "book" / "first.md"
    code = f"import os, pathlib, time\npathlib.Path('../pid').write_text(str(os.getpid()))\ntime.sleep({seconds})"
    path.write_text(path.read_text().replace("The rate is", f"```{{code-cell}} ipython3\n{code}\n```\n\nThe rate is"))
    for pair in pairs(root):
        settle(pair)


def alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def below(number: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    found = [int(child) for child in Path(f"/proc/{number}/task/{number}/children").read_text().split()]
    return [*found, *(each for child in found for each in below(child))]


def wait_for(path: Path, seconds: float = 60) -> int:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists() and path.read_text():
            return int(path.read_text())
        time.sleep(0.05)
    raise AssertionError(f"{path.name} did not appear")


@linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("jobs", ["2", pytest.param("1", marks=pytest.mark.slow)])
def test_a_command_that_is_ended_leaves_no_process(tiny: Path, number: signal.Signals, jobs: str) -> None:
    slow(tiny, 120)
    command = started(tiny, "execute", "first", "second", "--scale", "quick", "--jobs", jobs)
    kernel = wait_for(tiny / "pid")
    family = [*below(command.pid), kernel]
    command.send_signal(number)
    _, errors = command.communicate(timeout=30)
    end = time.monotonic() + 3
    while any(map(alive, family)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [each for each in family if alive(each)]
    if number != signal.SIGKILL:
        assert command.returncode == 130
        assert len(errors.strip().splitlines()) == 1


def listening(number: int, seconds: float = 60) -> None:
    """Wait until a process has read the first lines of the command, which take SIGTERM."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status = Path(f"/proc/{number}/status").read_text()
        if int(status.partition("SigCgt:")[2].split()[0], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.002)


@linux
@pytest.mark.parametrize("delay", [0.0, 0.3, 1.0, *(pytest.param(k / 2, marks=pytest.mark.slow) for k in range(3, 18))])
def test_ctrl_c_in_the_first_seconds_is_one_line(tiny: Path, delay: float) -> None:
    slow(tiny, 60)
    command = started(tiny, "execute", "first", "--scale", "quick")
    listening(command.pid)
    time.sleep(delay)
    command.send_signal(signal.SIGINT)
    _, errors = command.communicate(timeout=60)
    assert command.returncode == 130, errors
    assert len(errors.strip().splitlines()) == 1, errors


def test_two_commands_on_one_checkout(tiny: Path) -> None:
    slow(tiny, 1)
    both = [started(tiny, "execute", "first", "--scale", "quick", "--force") for _ in range(2)]
    said = [each.communicate(timeout=120) for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    assert sum("another lintrans command works here" in out for out, _ in said) == 1


def test_one_may_ask_again_for_what_it_holds(tmp_path: Path) -> None:
    said: list[str] = []
    with alone(tmp_path, said.append), alone(tmp_path, said.append):
        pass
    with alone(tmp_path, said.append):
        pass
    assert not said
