"""Files are written whole; locks hold where there are locks, and nothing hangs where there are none."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import without_locks

import lintrans as lt
from lintrans import files
from lintrans.files import locked, write
from lintrans.store.store import Store


def test_a_file_is_the_old_one_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder" / "file"
    write(path, "old")
    path.chmod(0o640)
    write(path, "new\n")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new\n", 0o640)

    def fails(part: Path) -> None:
        assert part.read_text() == "newest"
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "sync", fails)
    with pytest.raises(OSError, match="No space left"):
        write(path, "newest")
    assert path.read_text() == "new\n"
    assert [file.name for file in path.parent.iterdir()] == ["file"]


def test_what_a_killed_writer_left_goes_with_the_next_writing(tmp_path: Path) -> None:
    path, other = tmp_path / "a [1].json", tmp_path / ".b.json.12345678.part"
    writer = """
import os, pathlib, signal, sys
from lintrans import files
files.sync = lambda part: os.kill(os.getpid(), signal.SIGKILL)
files.write(pathlib.Path(sys.argv[1]), "half")
"""
    assert subprocess.run([sys.executable, "-c", writer, path], check=False).returncode == -signal.SIGKILL
    [left] = tmp_path.iterdir()
    assert left.name.endswith(".part")
    write(path, "new")  # it may be that of a writer that has just begun
    assert {*tmp_path.iterdir()} == {path, left}
    other.touch()
    for part in (left, other):
        os.utime(part, (0, 0))
    with left.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as a writer that takes its time
        write(path, "newer")
        assert left.exists()
    write(path, "newest")
    assert {*tmp_path.iterdir()} == {path, other}
    assert path.read_text() == "newest"


def _hold(path: Path, held: Any, let_go: Any) -> None:
    with locked(path):
        held.set()
        let_go.wait(30)


def test_a_second_process_waits_and_says_so(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, let_go = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "lock", held, let_go))
    process.start()
    assert held.wait(60)
    waited = []

    def waiting() -> None:
        waited.append(time.monotonic())
        let_go.set()

    with locked(tmp_path / "lock", waiting) as mine:
        assert mine
    process.join(30)
    assert len(waited) == 1
    with locked(tmp_path / "lock", waiting) as mine:  # a lock that nobody holds: no waiting
        assert mine
    assert len(waited) == 1


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_the_work_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    with locked(tmp_path / "lock") as mine:
        assert mine
    without_locks(monkeypatch, number)
    for _ in range(2):  # a file that was left does not look like a lock that somebody holds
        with locked(tmp_path / "lock") as mine:
            assert not mine


def test_errors_of_the_body_are_its_own(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="of the body"), locked(tmp_path / "lock"):
        raise OSError(errno.ENOLCK, "of the body")
    with pytest.raises(OSError, match="lock"), locked(tmp_path / "lock" / "lock"):  # below a file
        raise AssertionError


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_store_without_locks_keeps_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    without_locks(monkeypatch, number)
    runs = lt.grid(optimizer="sgd", lr=0.1)
    for _ in range(2):
        lt.experiment(
            lt.LinearTransformer(1, 2), lt.LinearRegression(2, 3), runs,
            steps=2, batch=5, engine="reference", store=Store(tmp_path),
        )  # fmt: skip
    said = capsys.readouterr()
    first, second = said.out.splitlines()
    assert "the store is empty" in first
    assert "reused" in second
    assert said.err == ""
