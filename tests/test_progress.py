"""Bars go where they should, and leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import termios
import time

import pytest

from lintrans import progress


def test_hidden_without_a_terminal(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    with progress.bar(3, "training") as bar:
        bar.update(3)
    assert capfd.readouterr() == ("", "")
    assert progress.terminal() == "off" or os.path.exists(progress.terminal())  # noqa: PTH110


@pytest.mark.parametrize("mode", ["off", "/nowhere/at all"])
def test_off(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(progress.VARIABLE, mode)
    with progress.target() as stream:
        assert stream is None


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
    while not shown.rstrip("\r\x00").endswith(" ") and time.monotonic() < deadline:  # a terminal hands on in pieces
        with contextlib.suppress(BlockingIOError):
            shown += os.read(leader, 100_000).decode()
        time.sleep(0.02)
    os.close(leader)
    os.close(follower)
    assert "Setting 1" in shown
    assert "step/s" in shown
    assert "median test loss" in shown
    assert shown.rstrip("\r\x00").endswith(" ")  # wiped
