"""Names of scales: "paper", "quick", and either with other judging seeds and batches, as "paper+100"."""

from __future__ import annotations

from ..errors import choice

SCALE_NAMES = ("paper", "quick")
OFFSETS = range(24, 901)
"""What may be added to judging seeds and batches: no seed is shared with the scale itself, nor with the tuning."""
OTHERS = "a scale may have other judging seeds and batches, as quick+100"


def based_on(scale: str) -> tuple[str, int]:
    """A scale's base and what is added to its judging seeds and batches: ("paper", 100) of "paper+100".

    Raises:
        ValueError: no such scale.
    """
    base, plus, offset = scale.partition("+") if isinstance(scale, str) else (scale, "", "")
    try:
        choice("scale", base if base in SCALE_NAMES else scale, SCALE_NAMES)
    except ValueError as error:
        raise ValueError(f"{error}; {OTHERS}") from None
    if not plus:
        return base, 0
    if not (offset.isascii() and offset.isdecimal() and offset == str(int(offset)) and int(offset) in OFFSETS):
        raise ValueError(
            f"scale = {scale!r} is not allowed: after the + comes a whole number from {OFFSETS[0]} to {OFFSETS[-1]}, "
            "which is added to the judging seeds and batches"
        )
    return base, int(offset)
