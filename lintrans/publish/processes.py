"""Processes that begin and end with the one that started them, and stop in one way whatever the signal."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from typing import NoReturn

PARENT_DEATH = 1  # PR_SET_PDEATHSIG of Linux
ENDINGS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


def end_with_parent(parent: int | None = None) -> None:
    """Have the system kill this process when the one that started it is gone, whatever ended that; on Linux.

    `parent` is its number, where it is known: it may have ended before this was called.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH, signal.SIGKILL)
        if parent is not None and os.getppid() != parent:
            os._exit(1)


def stop_as_by_ctrl_c() -> None:
    """Take the end of a session, or a kill that can be answered, as Ctrl-C; what is ignored (nohup) stays ignored."""
    for number in (signal.SIGINT, *ENDINGS):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, interrupt)


def interrupt(*_: object) -> NoReturn:
    """Raise KeyboardInterrupt, after which kernels and tasks that end with this process have nothing more to say."""
    logging.disable()
    raise KeyboardInterrupt


def ignore_endings() -> None:
    """Let nothing interrupt what Python does when it ends."""
    for number in (signal.SIGINT, *ENDINGS):
        signal.signal(number, signal.SIG_IGN)
