"""What every module checks about its arguments, said in one voice: the value, what is allowed, what to do."""

from __future__ import annotations

import difflib
import math
import numbers
import operator
from collections.abc import Iterable
from typing import Any

UINT32 = 2**32


def nearest(name: str, allowed: Iterable[str]) -> str:
    """``" (did you mean 'adam'?)"`` where an allowed name is close to `name`, else nothing."""
    match = difflib.get_close_matches(str(name), list(allowed), n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


def whole(name: str, value: Any, least: int = 0, most: int | None = None) -> int:
    """Return `value` as an int in [least, most]; a TypeError for what is no whole number, bool and float included."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} = {value!r} ({type(value).__name__}) is no whole number: give an int >= {least}")
    number = int(value)
    if number < least or (most is not None and number > most):
        allowed = f">= {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} = {value} is not allowed: give a whole number {allowed}")
    return number


def seed_number(value: Any, name: str = "seed") -> int:
    """Return a seed: a whole number that fits the generator's 32-bit key."""
    return whole(name, value, 0, UINT32 - 1)


def real(
    name: str, value: Any, *, above: float | None = None, least: float | None = None, below: float | None = None
) -> float:
    """Return `value` as a finite float inside (above, below) or [least, below); a TypeError for no number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} = {value!r} ({type(value).__name__}) is no number: give a finite float")
    number = float(value)
    edges = ((">", above, operator.gt), (">=", least, operator.ge), ("<", below, operator.lt))
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
        raise ValueError(f"{name} = {value!r} is not one of {listed}{nearest(value, options)}")
    return value


def brief(error: Exception) -> str:
    """What an exception says, in one line; of the system's own errors, without number and file."""
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (told or type(error).__name__).splitlines()[0]
