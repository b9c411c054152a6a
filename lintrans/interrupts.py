"""Ctrl-C and SIGTERM while numbers change in place: they wait for the end of a step, and the second one acts at once.

Signals reach the main thread alone; elsewhere these contexts do nothing.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM, where the process had no handler of its own."""


def _settable() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def deferred() -> Iterator[None]:
    """Handle a first signal after the body, a second one at once; those that nobody handles stay as they are."""
    if not _settable():
        yield
        return
    before: dict[int, Any] = {number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))}
    waiting: list[tuple[int, FrameType | None]] = []
    inside = True

    def note(number: int, frame: FrameType | None) -> None:
        if waiting or not inside:
            before[number](number, frame)
        waiting.append((number, frame))

    try:
        for number in before:
            signal.signal(number, note)
        yield
    finally:
        inside = False
        for number, handler in before.items():
            signal.signal(number, handler)
    if waiting:
        before[waiting[0][0]](*waiting[0])


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM interrupts the body as Ctrl-C does, so that it can keep what it has; then the process ends by it."""
    if not _settable() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    except Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
