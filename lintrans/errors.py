"""What every module checks about its arguments, said in one voice: the value, what is allowed, what to do."""

from __future__ import annotations

import difflib
import html
import math
import numbers
import operator
import os
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

UINT32 = 2**32
SQUARES = 1e-150, 1e150
"""Lengths whose squares a float64 can hold."""
MARKUP = re.compile(r"[\\`*_{}\[\]$|~]")


def shown(value: Any, most: int = 80) -> str:
    """A value as Python writes it, in one line of at most so many characters, whatever its ``repr`` does."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a user's own class
        text = f"<{type(value).__name__}>"
    return text if len(text) <= most else f"{text[: most - 1]}…"


def plain_text(text: str) -> str:
    """A text from a file, or of a reader's, as Markdown that shows it letter by letter, in one line."""
    return MARKUP.sub(r"\\\g<0>", html.escape(" ".join(text.split()), quote=False))


def nearest(name: str, allowed: Iterable[str]) -> str:
    """``" (did you mean 'adam'?)"`` where an allowed name is close to `name`, else nothing."""
    match = difflib.get_close_matches(str(name), list(allowed), n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


def whole(name: str, value: Any, least: int = 0, most: int | None = None) -> int:
    """Return `value` as an int in [least, most]; a TypeError for what is no whole number, bool and float included."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} = {shown(value)} ({type(value).__name__}) is no whole number: give an int >= {least}")
    number = int(value)
    if number < least or (most is not None and number > most):
        allowed = f">= {least}" if most is None else f"from {least} to {most}"
        written = f"{number}" if abs(number) < 10**30 else "a number of more than 30 digits"
        raise ValueError(f"{name} = {written} is not allowed: give a whole number {allowed}")
    return number


def seed_number(value: Any, name: str = "seed") -> int:
    """Return a seed: a whole number that fits the generator's 32-bit key."""
    return whole(name, value, 0, UINT32 - 1)


def real(
    name: str, value: Any, *, above: float | None = None, least: float | None = None, below: float | None = None,
    most: float | None = None,
) -> float:  # fmt: skip
    """Return `value` as a finite float between the bounds given; a TypeError for no number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} = {shown(value)} ({type(value).__name__}) is no number: give a finite float")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    edges = (
        (">", above, operator.gt), (">=", least, operator.ge), ("<", below, operator.lt), ("<=", most, operator.le)
    )  # fmt: skip
    limits = [(sign, edge, holds) for sign, edge, holds in edges if edge is not None]
    if not math.isfinite(number) or not all(holds(number, edge) for _, edge, holds in limits):
        bounds = " and ".join(f"{sign} {edge:g}" for sign, edge, _ in limits)
        raise ValueError(f"{name} = {number:g} is not allowed: give a finite number {bounds}".rstrip())
    return number


def choice(name: str, value: Any, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of `allowed`, else say which there are and which is nearest."""
    options = list(allowed)
    if not isinstance(value, str) or value not in options:
        listed = ", ".join(repr(option) for option in options)
        raise ValueError(f"{name} = {shown(value)} is not one of {listed}{nearest(shown(value), options)}")
    return value


def brief(error: Exception) -> str:
    """What an exception says, in one line; of the system's own errors, without number and file."""
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (told or type(error).__name__).splitlines()[0]


def settle(frozen: Any, **values: Any) -> None:
    """Give a frozen dataclass the values that its checks returned, so that equal ones are written alike."""
    for name, value in values.items():
        object.__setattr__(frozen, name, value)


def text(name: str, value: Any) -> str:
    """Return `value` if it is a text of at least one character that a file can hold."""
    if not isinstance(value, str) or not value or any("\ud800" <= sign <= "\udfff" for sign in value):
        raise TypeError(f"{name} = {shown(value)} ({type(value).__name__}) is no text: give one that is not empty")
    return value


def yes_or_no(name: str, value: Any) -> bool:
    """Return `value` if it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} = {shown(value)} ({type(value).__name__}) is not allowed: give True or False")
    return value


def each(name: str, values: Any, check: Callable[[Any], Any], most: int | None = None) -> tuple[Any, ...]:
    """Return the values of an iterable, each as `check` returns it; a TypeError for a single value or a text."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise TypeError(f"{name} = {shown(values)} ({type(values).__name__}) is no sequence: give a list")
    if getattr(values, "ndim", 1) > 1:
        raise ValueError(f"{name} has {getattr(values, 'ndim', 0)} axes: give a list")
    found: list[Any] = []
    for value in values:
        if most is not None and len(found) == most:
            raise ValueError(f"{name} holds more than {most:,} values: give fewer")
        found.append(check(value.item() if getattr(value, "ndim", None) == 0 else value))
    return tuple(found)


@cache
def memory() -> int:
    """Bytes of memory that this machine has; 2^40 where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 2**40


def room(what: str, needed: int) -> None:
    """Refuse what would need more bytes than this machine has, before it is asked for."""
    if needed > memory():
        most = min(needed, 2**100)  # an integer may be larger than any float
        raise ValueError(
            f"{what} would take {'about' if most == needed else 'more than'} {most / 2**30:,.0f} GiB, and this machine "
            f"has {memory() / 2**30:,.0f}: give smaller numbers"
        )
