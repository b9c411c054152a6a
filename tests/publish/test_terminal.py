"""What a person in a terminal sees and no page may show, in a pseudo-terminal: redirected output hides both."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest

from lintrans import progress
from lintrans.engines.cpu import compiling, kept
from lintrans.publish.notebooks import pairs, settle

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are for Unix")

TALKATIVE = """import logging, os, sys, time, warnings
import numpy as np
from lintrans import progress
from lintrans.engines.cpu import compiling
print("on the page")
compiling.piece("moments", 2, 1, True, np.dtype("float64")).address
with progress.bar(20, "Setting 9") as bar:
    for _ in range(20):
        bar.update()
        time.sleep(0.1)
logging.getLogger("fonts").warning("a font is missing")
os.write(2, b"a library in C informs\\n")
print("home is read-only", file=sys.stderr)
warnings.warn_explicit("a cache cannot be written", UserWarning, np.__file__, 1)"""
COMPILING = "compiling the moments of d = 2, sparse, float64, once"
compiles = pytest.mark.skipif(compiling.unsupported_cpu() is not None, reason="kernels cannot be compiled here")


def in_a_terminal(
    command: list[str], folder: Path, variables: dict[str, str] | None = None, size: tuple[int, int] = (40, 100)
) -> tuple[int, str]:
    """Run a command in a pseudo-terminal of so many lines and columns: its exit status, and all that it showed."""
    leader, follower = os.openpty()
    termios.tcsetwinsize(follower, size)
    left_out = (progress.VARIABLE, "OMP_WAIT_POLICY", "PYTEST_CURRENT_TEST")  # kernels go by the last one, too
    environment = {name: value for name, value in os.environ.items() if name not in left_out} | (variables or {})
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=follower, stdout=follower, stderr=follower, start_new_session=True
    )
    os.close(follower)
    shown, end = b"", time.monotonic() + 600
    while select.select([leader], [], [], max(0.0, end - time.monotonic()))[0]:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # the last process that had it open has ended
            break
        if not piece:
            break
        shown += piece
    os.close(leader)
    try:
        return process.wait(60), shown.decode()
    finally:
        process.kill()


def talk(root: Path, *names: str) -> None:
    """Give chapters a cell that compiles, has a bar, and writes to stderr in every way."""
    for pair in pairs(root):
        if pair.name in names:
            cell = f"```{{code-cell}} ipython3\n{TALKATIVE}\n```\n\nThe rate is"
            pair.text.write_text(pair.text.read_text().replace("The rate is", cell))
            settle(pair)


def streams(path: Path) -> list[tuple[str, str]]:
    """All that cells printed."""
    outputs: list[Any] = [output for cell in nbformat.read(path, 4).cells for output in cell.get("outputs", [])]
    return [(output.name, output.text) for output in outputs if output.output_type == "stream"]


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("variables", [{"OMP_WAIT_POLICY": "PASSIVE"}, {}], ids=["forked kernels", "jupyter's kernels"])
def test_a_chapter_that_compiles(tiny: Path, tmp_path: Path, jobs: int, variables: dict[str, str]) -> None:
    """It is executed; bars, compiles and whatever else merely informs are seen by the person, and on no page."""
    names = ("first", "second")[:jobs]
    talk(tiny, *names)
    command = [
        sys.executable, "-c", "from lintrans.publish.cli import main; main()", "execute", *names, "--scale", "quick",
    ]  # fmt: skip
    kernels = {kept.VARIABLE: str(tmp_path / "kernels")}
    status, shown = in_a_terminal([*command, "--jobs", str(jobs)], tiny, kernels | variables)
    assert status == 0, shown
    assert shown.count(COMPILING) == 1  # the other one waits, and loads what was compiled
    assert "Setting 9:" in shown
    assert "step/s" in shown
    for words in ("a font is missing", "a library in C informs", "a cache cannot be written"):
        assert words in shown
    for name in names:
        assert f"{name}: cell 4 ('import logging, os, sys, time, warnings') wrote: " in shown
        assert streams(tiny / "build" / "quick" / "src" / "book" / f"{name}.ipynb") == [("stdout", "on the page\n")]


@compiles
def test_plain_papermill(tiny: Path, tmp_path: Path) -> None:
    """Nobody looks at the cells while papermill executes them: what is meant for a person goes to the terminal."""
    talk(tiny, "first")
    command = [sys.executable, "-m", "papermill", str(tiny / "book" / "first.ipynb"), "out.ipynb"]
    status, shown = in_a_terminal(command, tmp_path, {kept.VARIABLE: str(tmp_path / "kernels")})
    assert status == 0, shown
    assert COMPILING in shown
    assert "Setting 9:" in shown
    written = "".join(text for _, text in streams(tmp_path / "out.ipynb"))
    assert "on the page" in written
    assert "compiling" not in written
    assert "Setting 9" not in written


def test_a_person_who_runs_a_cell_sees_it_there() -> None:
    """As in JupyterLab, whose client can answer questions."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3")
    said: list[tuple[str, str]] = []

    def listen(message: Any) -> None:
        if message["msg_type"] == "stream":
            said.append((message["content"]["name"], message["content"]["text"]))

    try:
        for watched in True, False:
            code = f"from lintrans import progress; progress.say('compiling, {watched}')"
            client.execute_interactive(code, allow_stdin=watched, output_hook=listen, timeout=60)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert said == [("stderr", "compiling, True\n")]


def test_a_terminal_that_is_closed_stops_nothing(tmp_path: Path) -> None:
    program = """import os, sys, time
from lintrans import progress
os.write(2, b"started")  # in one piece, so that it is written before this side is closed
sys.stdin.read()
progress.say("nobody reads this")
with progress.bar(20, "Setting 9") as bar:
    for _ in range(20):
        bar.update()
        time.sleep(0.1)
"""
    leader, follower = os.openpty()
    process = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stdin=subprocess.PIPE, stderr=follower)
    os.close(follower)
    assert os.read(leader, 100).startswith(b"s")
    os.close(leader)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_terminal_without_a_size_has_bars(tmp_path: Path) -> None:
    program = "import time\nfrom lintrans import progress\nwith progress.bar(9, 'Setting 9') as bar:\n"
    program += "    for _ in range(9):\n        bar.update()\n        time.sleep(0.2)"
    command = [sys.executable, "-c", program]
    assert "Setting 9:" in in_a_terminal(command, tmp_path, size=(0, 0))[1]
    assert "Setting 9:" in in_a_terminal(command, tmp_path, size=(0, 100))[1]


ENDS = {"nobody reads": "| head -1", "closed": ">&-", "both closed": ">&- 2>&-"}


@pytest.mark.slow
@pytest.mark.parametrize("variables", [{"OMP_WAIT_POLICY": "PASSIVE"}, {}], ids=["forked kernels", "jupyter's kernels"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_chapters_are_executed_whoever_reads(tiny: Path, end: str, variables: dict[str, str]) -> None:
    program = "from lintrans.publish.cli import main; main()"
    command = f"set -o pipefail; '{sys.executable}' -c '{program}' execute first second --scale quick --jobs 2 {end}"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | variables
    done = subprocess.run(
        ["bash", "-c", command], cwd=tiny, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    copies = tiny / "build" / "quick" / "src" / "book"
    assert {path.name for path in copies.iterdir()} == {"first.ipynb", "second.ipynb"}


def test_a_line_starts_where_a_bar_was(tmp_path: Path) -> None:
    program = "from lintrans import progress; progress.say('compiling'); progress.say_once('a'); progress.say_once('a')"
    status, shown = in_a_terminal([sys.executable, "-c", program], tmp_path)
    assert status == 0
    assert shown == "".join(f"{progress.WIPE}{line}\r\n" for line in ("compiling", "a"))
    log = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (log.stdout, log.stderr) == ("", "compiling\na\n")
