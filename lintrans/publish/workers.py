"""Calls of functions in processes of their own, a few at a time; stopped together, as by Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from .processes import end_with_parent, interrupt

Result = TypeVar("Result")
PATIENCE = 15.0
"""Seconds that a process has to end by itself."""


def default_jobs() -> int:
    """Two where there are two processors: while one chapter computes, another one draws, compiles or imports."""
    return min(2, os.cpu_count() or 1)


class Workers(Generic[Result]):
    """Calls under way, by the name of each; no process is left at the end of the context, whatever the reason."""

    def __init__(self) -> None:
        # a fork has all modules at once; elsewhere than on Linux it is not safe
        self._context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        self._running: dict[str, tuple[Any, Connection]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def __enter__(self) -> Workers[Result]:
        return self

    def __exit__(self, *error: object) -> None:
        for process, _ in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGINT)
        for process, connection in self._running.values():
            process.join(PATIENCE)
            process.kill()
            connection.close()
        self._running.clear()

    def start(self, name: str, function: Callable[..., Result], *arguments: Any) -> None:
        here, there = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_call, args=(os.getpid(), there, function, arguments), name=name)
        process.start()
        there.close()
        self._running[name] = (process, here)

    def finished(self) -> Iterator[tuple[str, Result | None]]:
        """Wait until a call returns; names and results, None for a process that died."""
        ready = set(multiprocessing.connection.wait([connection for _, connection in self._running.values()]))
        for name, (process, connection) in list(self._running.items()):
            if connection in ready:
                try:
                    result: Result | None = connection.recv()
                except EOFError:
                    result = None
                process.join(PATIENCE)
                connection.close()
                del self._running[name]
                yield name, result


def _call(parent: int, connection: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """In the new process: out of the terminal's reach, so that one Ctrl-C is one interrupt, from :class:`Workers`.

    A fork has the event loop of its parent, if that had one, and would share what wakes it with its siblings: it begins
    with its own, and in a context that knows of no other.
    """
    end_with_parent(parent)
    os.setsid()
    signal.signal(signal.SIGINT, interrupt)
    asyncio.set_event_loop(asyncio.new_event_loop())
    try:
        connection.send(contextvars.Context().run(function, *arguments))
    except KeyboardInterrupt:
        sys.exit(130)
