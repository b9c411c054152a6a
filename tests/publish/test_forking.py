"""Kernels that are copies of the process that executes chapters: the same behaviour, begun earlier."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
import torch
from jupyter_core.utils import ensure_event_loop

from lintrans import devices
from lintrans.publish import forking
from lintrans.publish.notebooks import pairs, settle

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="copies of a process are for Linux")


def _end(status: int) -> None:
    os._exit(status)


def _sleep() -> None:
    time.sleep(60)


@pytest.mark.parametrize("status", [0, 3])
def test_a_copy_ends_with_its_status(status: int) -> None:
    copy = forking.Copy(_end, status)
    assert copy.wait(20) == copy.poll() == status
    copy.send_signal(signal.SIGTERM)  # to nobody


def test_a_copy_takes_no_event_loop_along() -> None:
    here = ensure_event_loop()
    copy = forking.Copy(lambda: _end(int(ensure_event_loop() is here)))
    assert copy.wait(20) == 0


@pytest.mark.parametrize(
    ("end", "number"), [(forking.Copy.terminate, signal.SIGTERM), (forking.Copy.kill, signal.SIGKILL)]
)
def test_a_copy_can_be_ended(end: Callable[[forking.Copy], None], number: int) -> None:
    copy = forking.Copy(_sleep)
    assert copy.poll() is None
    assert copy.wait(0.01) is None
    end(copy)
    assert copy.wait(20) == -number


def test_a_process_that_may_have_threads_makes_no_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", sys)
    assert not forking._imported.__wrapped__(())


def test_a_process_without_what_kernels_need_makes_no_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEEDED", "1")  # too late
    program = "import os, lintrans.publish.forking as f; os.environ['NEEDED'] = '1'; print(f.ready((('NEEDED', '1'),)))"
    variables = {name: value for name, value in os.environ.items() if name != "NEEDED"}
    for more, found in ({}, "False"), ({"NEEDED": "1"}, "True"):
        done = subprocess.run(
            [sys.executable, "-c", program], env=variables | more, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == found


def executed(root: Path, code: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Chapter `first` with one more cell, executed by the command line."""
    path = root / "book" / "first.md"
    path.write_text(path.read_text().replace("The rate is", f"```{{code-cell}} ipython3\n{code}\n```\n\nThe rate is"))
    for pair in pairs(root):
        settle(pair)
    program = "from lintrans.publish.cli import main; main()"
    command = [sys.executable, "-c", program, "execute", "first", "--scale", "quick"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=120)
    return done, root / "build" / "quick" / "src" / "book" / "first.ipynb"


COPY = """import multiprocessing, os, sys
assert multiprocessing.parent_process() is not None, "a new Python"
assert "seaborn" in sys.modules
import matplotlib.pyplot as plt
plt.plot([1, 2])
print(os.getcwd(), os.environ["OMP_WAIT_POLICY"])"""


def test_a_chapter_runs_in_a_copy_as_it_would_in_a_new_python(tiny: Path) -> None:
    done, copy = executed(tiny, COPY)
    assert done.returncode == 0, done.stdout + done.stderr
    outputs = [output for cell in nbformat.read(copy, 4).cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) or "image/svg+xml" in output.get("data", {}) for output in outputs)
    assert [output.text for output in outputs if output.output_type == "stream"] == [f"{tiny / 'book'} PASSIVE\n"]


def test_a_copy_that_dies_is_a_kernel_that_died(tiny: Path) -> None:
    done, copy = executed(tiny, "import os\nos._exit(1)")
    assert done.returncode != 0
    assert "the kernel died" in done.stdout
    assert not copy.exists()


def test_a_process_that_has_used_cuda_makes_no_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy could use CUDA no more: its driver does not live through a fork."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert not forking.ready(())
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(forking, "_imported", lambda environment: True)
    monkeypatch.setattr(torch.version, "cuda", "12.4")
    monkeypatch.setattr(devices, "_asked", False)
    assert forking.ready(())
    devices.resolve_device("auto")
    assert not forking.ready(())
    monkeypatch.setattr(torch.version, "cuda", None)  # nothing to be started
    assert forking.ready(())
