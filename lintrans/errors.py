"""What every module checks about its arguments, said in one voice: the value, what is allowed, what to do."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable
from typing import Any

UINT32 = 2**32


def nearest(name: str, allowed: Iterable[str]) -> str:
    """``" (did you mean 'adam'?)"`` where an allowed name is close to `name`, else nothing."""
    match = difflib.get_close_matches(str(name), list(allowed), n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


def whole(name: str, value: Any, least: int = 0, most: int | None = None) -> int:
    """Return `value` as an int if it is a whole number in [least, most]; bool and float are refused.

    Raises:
        TypeError: not a whole number.
        ValueError: outside the range.
    """
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
    """Return `value` as a finite float inside (above, below) or [least, below).

    Raises:
        TypeError: not a real number.
        ValueError: NaN, infinite or outside the interval.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} = {value!r} ({type(value).__name__}) is no number: give a finite float")
    number = float(value)
    bounds = []
    if above is not None:
        bounds.append(f"> {above:g}")
    if least is not None:
        bounds.append(f">= {least:g}")
    if below is not None:
        bounds.append(f"< {below:g}")
    wrong = (
        not math.isfinite(number)
        or (above is not None and number <= above)
        or (least is not None and number < least)
        or (below is not None and number >= below)
    )
    if wrong:
        raise ValueError(f"{name} = {number:g} is not allowed: give a finite number {' and '.join(bounds)}".rstrip())
    return number


def choice(name: str, value: Any, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of `allowed`, else say which there are and which is nearest.

    Raises:
        ValueError: not one of them.
    """
    options = list(allowed)
    if not isinstance(value, str) or value not in options:
        listed = ", ".join(repr(option) for option in options)
        raise ValueError(f"{name} = {value!r} is not one of {listed}{nearest(value, options)}")
    return value
