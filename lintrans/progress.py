"""Progress bars and short messages, where a person sees them and never on a page.

In a terminal that is its stderr. In a kernel whose cells a person runs, as in JupyterLab, it is the cell. In one that
executes a notebook (papermill, ``lintrans execute``) nobody looks at the cell, and what it says would end up on a page:
there it is the stderr that the kernel was started with. A bar shows on a terminal or in a cell, after a second, and is
wiped at its end; a message is one line, in a log file too. ``LINTRANS_PROGRESS=off`` hides both, and the path of a
terminal or of a file (with a slash in it) sends them there. A terminal that is gone stops neither bar nor work.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache
from typing import Any, TextIO

from tqdm.std import tqdm

VARIABLE = "LINTRANS_PROGRESS"
WIPE = "\r\x1b[K"
"""Sent to a terminal before a line, which a bar of this or of another process may hold."""


@contextlib.contextmanager
def channel() -> Iterator[tuple[TextIO | None, bool]]:
    """Where words for a person go (None: nowhere), and whether bars may move there."""
    mode = os.environ.get(VARIABLE, "auto")
    if os.sep in mode:
        with _opened(mode) as stream:
            yield stream, stream is not None
    elif mode == "off" or sys.stderr is None:
        yield None, False
    elif not _in_kernel():
        yield sys.stderr, sys.stderr.isatty()
    elif _watched():
        yield sys.stderr, True
    else:
        with _opened(_started_with()) as stream:
            yield stream, stream is not None and stream.isatty()


@contextlib.contextmanager
def _opened(place: str | int | None) -> Iterator[TextIO | None]:
    """A file or a descriptor, to write to; None where it cannot be opened."""
    stream = None
    if place is not None:
        with contextlib.suppress(OSError, ValueError):
            stream = open(place, "a", encoding="utf-8", closefd=not isinstance(place, int))  # noqa: SIM115 - closed below
    try:
        yield stream
    finally:
        if stream is not None:
            with contextlib.suppress(OSError):  # what a terminal that is gone did not take
                stream.close()


def _in_kernel() -> bool:
    """Whether what this process writes to stderr becomes output of a notebook's cell."""
    return type(sys.stderr).__module__.startswith("ipykernel.")


def _watched() -> bool:
    """Whether a person runs the cell: their client could answer a question, one that executes a notebook could not."""
    from IPython import get_ipython

    parent: Any = getattr(get_ipython(), "parent_header", None) or {}
    return bool(parent.get("content", {}).get("allow_stdin", False))


def _started_with() -> int | None:
    """The descriptor of the stderr that a kernel was started with; None where it had none."""
    for stream in sys.stderr, sys.__stderr__:  # the second where the kernel leaves descriptors alone
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return stream.fileno()  # type: ignore[union-attr]  # None where a program has no stderr
    return None


def wiped(stream: TextIO | None) -> str:
    """What to write before a line, so that it stands alone."""
    return WIPE if stream is not None and stream.isatty() else ""


def shape(stream: TextIO | None) -> dict[str, Any]:
    """Options for tqdm: follow a terminal's size, or take the usual one of a terminal that has none."""
    try:
        size = os.get_terminal_size(stream.fileno()) if stream is not None and stream.isatty() else None
    except (OSError, ValueError):
        size = None
    if size is None or (size.columns and size.lines):
        return {"dynamic_ncols": size is not None}
    return {"ncols": size.columns or 80, "nrows": size.lines or 24}


def say(message: str) -> None:
    """Tell a person something, in one line."""
    with channel() as (stream, _):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):  # gone, or closed
                print(f"{wiped(stream)}{message}", file=stream, flush=True)


@cache
def say_once(message: str) -> None:
    """Say it the first time only."""
    say(message)


@contextlib.contextmanager
def target(show: bool | None = None) -> Iterator[TextIO | None]:
    """Where a bar goes; None for nowhere. `show` True takes a log file too, False is nowhere."""
    with channel() as (stream, moving):
        yield stream if show is not False and (moving or show) else None


_HEARD: ContextVar[Callable[[int], object] | None] = ContextVar("heard", default=None)


@contextlib.contextmanager
def heard(listener: Callable[[int], object]) -> Iterator[None]:
    """Within it `listener` is told how many steps each bar goes on, shown or not."""
    token = _HEARD.set(listener)
    try:
        yield
    finally:
        _HEARD.reset(token)


class _Bar(tqdm):  # type: ignore[type-arg]  # no generic when it runs
    """A bar that somebody may listen to."""

    def update(self, n: float | None = 1) -> bool | None:
        if (listener := _HEARD.get()) is not None:
            listener(int(n or 0))
        return super().update(n)


@contextlib.contextmanager
def bar(total: int, title: str, show: bool | None = None) -> Iterator[tqdm[Any]]:
    """A bar over `total` steps, shown where :func:`target` says."""
    with target(show) as stream:
        live = stream is not None and stream.isatty()  # a log wants few lines
        with _Bar(
            total=total,
            desc=title,
            unit="step",
            file=stream,
            disable=stream is None,
            leave=False,
            delay=1.0,
            **shape(stream),
            mininterval=0.2 if live or _in_kernel() else 30.0,
        ) as shown:
            yield shown
