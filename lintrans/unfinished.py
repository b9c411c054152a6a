"""Long work that goes on where it stopped: what a loop keeps on the way, and finds again.

A loop asks for its :class:`Part`, loads what an earlier call has left of it, and offers what it has from time to time.
Who keeps it, and how often, is decided elsewhere (:mod:`lintrans.store.checkpoints`); outside of stored results nobody
does, and nothing is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor


@dataclass(frozen=True)
class Kept:
    """All that a loop needs to go on.

    Attributes:
        tensors: its numbers, of any dtype, by name.
        about: plain values as JSON knows them; where it stands, in words, under "where".
    """

    tensors: dict[str, Tensor]
    about: dict[str, Any] = field(default_factory=dict)


class Part(Protocol):
    """One loop's place to keep what it has."""

    def load(self, use: Callable[[Kept], None], **made: str) -> bool:
        """Give `use` what was kept last; False where there is nothing, or nothing made by the same engine, device, ...

        What makes `use` raise is not used either; it changes nothing then.
        """

    def keep(self, state: Callable[[], Kept], now: bool = False) -> None:
        """Keep what `state` returns, where it is time to, or `now`; nothing is raised where that fails."""


class Nowhere:
    """A part that is not kept."""

    def load(self, use: Callable[[Kept], None], **made: str) -> bool:
        return False

    def keep(self, state: Callable[[], Kept], now: bool = False) -> None:
        pass


_KEEPER: ContextVar[Callable[[str], Part] | None] = ContextVar("keeper", default=None)


@contextlib.contextmanager
def kept_by(keeper: Callable[[str], Part] | None) -> Iterator[None]:
    """Within it, :func:`part` gives the parts of a keeper, or what is not kept."""
    token = _KEEPER.set(keeper)
    try:
        yield
    finally:
        _KEEPER.reset(token)


def part(label: str) -> Part:
    """The place of the loop that begins now; loops are told apart by label and by the order in which they begin."""
    keeper = _KEEPER.get()
    return Nowhere() if keeper is None else keeper(label)
