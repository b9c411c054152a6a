"""Bars go where they should, and leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import sys
import termios
import time
from pathlib import Path

import pytest

from lintrans import progress


def test_hidden_without_a_terminal(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    with progress.bar(3, "training") as bar:
        bar.update(3)
        progress.say("a line is for a log, too")
    assert capfd.readouterr() == ("", "a line is for a log, too\n")
    with progress.target(show=True) as stream:
        assert stream is sys.stderr


def test_a_word_it_does_not_know_is_no_file(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(progress.VARIABLE, "of")
    progress.say("something")
    assert capfd.readouterr().err == "something\n"
    assert not Path("of").exists()


@pytest.mark.parametrize("mode", ["off", "/nowhere/at all"])
def test_off(mode: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(progress.VARIABLE, mode)
    with progress.target() as stream:
        assert stream is None
    progress.say("nothing")
    assert capfd.readouterr() == ("", "")


def test_a_file_takes_lines_in_turn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "log"))
    progress.say("one")
    progress.say("two")
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_a_process_without_stderr_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    monkeypatch.setattr(sys, "stderr", None)
    progress.say("nothing")
    with progress.bar(3, "training") as bar:
        bar.update(3)


def last_line(written: str) -> str:
    """What a terminal shows in its last line: each carriage return goes back to the start and writes over it."""
    line = ""
    for part in written.replace("\0", "").rpartition("\n")[2].split("\r"):
        line = part + line[len(part) :]
    return line.strip()


def test_a_terminal_sees_the_bar_and_is_left_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = os.openpty()
    termios.tcsetwinsize(follower, (24, 100))
    monkeypatch.setenv(progress.VARIABLE, os.ttyname(follower))
    with progress.bar(1000, "Setting 1") as bar:
        for _ in range(15):
            bar.update(10)
            bar.set_postfix_str("median test loss 1.00e+00", refresh=False)
            time.sleep(0.1)
    os.set_blocking(leader, False)
    shown = ""
    deadline = time.monotonic() + 5
    while ("step/s" not in shown or last_line(shown)) and time.monotonic() < deadline:  # a terminal hands on in pieces
        with contextlib.suppress(BlockingIOError):
            shown += os.read(leader, 100_000).decode()
        time.sleep(0.02)
    os.close(leader)
    os.close(follower)
    assert "Setting 1" in shown
    assert "step/s" in shown
    assert "median test loss" in shown
    assert last_line(shown) == ""  # wiped
