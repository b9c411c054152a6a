"""One command at a time in a checkout: two would write the same files of ``build/``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from ..files import locked

_held: set[Path] = set()


@contextlib.contextmanager
def alone(root: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Wait, and say so, until no other process works in a checkout's ``build/``; within it, ask again freely."""
    here = root.resolve()
    if here in _held:
        yield
        return
    (here / "build").mkdir(exist_ok=True)
    with locked(here / "build" / ".lock", lambda: tell("another lintrans command works here: waiting for it to end")):
        _held.add(here)
        try:
            yield
        finally:
            _held.discard(here)
