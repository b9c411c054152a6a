"""Calls in processes of their own."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from jupyter_core.utils import ensure_event_loop

from lintrans.publish.workers import Workers

LOOP: list[object] = []


def square(x: int) -> int:
    return x * x


def die(code: int) -> int:
    os._exit(code)


def has_the_same_loop(_: int) -> bool:
    return ensure_event_loop() in LOOP or asyncio.get_event_loop() in LOOP


def linger(path: Path) -> int:
    """Says that it runs, and what became of it."""
    path.write_text("running")
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        path.write_text("interrupted")
        raise
    return 0


def test_results_come_by_name() -> None:
    with Workers[int]() as workers:
        workers.start("two", square, 2)
        workers.start("three", square, 3)
        found: dict[str, int | None] = {}
        while len(workers):
            found |= dict(workers.finished())
    assert found == {"two": 4, "three": 9}


def test_an_event_loop_is_not_shared() -> None:
    """Siblings that share what wakes a loop take it from one another, and wait for ever."""
    LOOP[:] = [ensure_event_loop()]
    with Workers[bool]() as workers:
        workers.start("own", has_the_same_loop, 0)
        assert dict(workers.finished()) == {"own": False}


def test_a_process_that_dies_has_no_result() -> None:
    with Workers[int]() as workers:
        workers.start("dead", die, 3)
        assert dict(workers.finished()) == {"dead": None}
        assert len(workers) == 0


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "state"
    workers = Workers[int]()

    def stopped() -> None:
        with workers:
            workers.start("long", linger, path)
            end = time.monotonic() + 60
            while not path.exists() or not path.read_text():
                assert time.monotonic() < end
                time.sleep(0.05)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert path.read_text() == "interrupted"
    assert len(workers) == 0
