"""Logarithmic axes of the book: every one has at least two numbers, a short one at 1, 2 and 5."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.scale import LogScale, register_scale
from matplotlib.ticker import LogFormatterMathtext, LogLocator, MaxNLocator, NullFormatter

SHORT = 10.0**1.5
"""An axis that spans less has labels at 1, 2 and 5."""
APART = 0.18
"""The least distance between two labels, as a share of the axis."""


class Decades(LogLocator):
    """Powers of ten that float64 holds; of an axis that ends above 1e250 ``LogLocator`` asks for others too."""

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """See ``LogLocator``."""
        with np.errstate(over="ignore"):
            return [float(tick) for tick in super().tick_values(vmin, vmax) if np.isfinite(tick)]


class Numbers(Decades):
    """Powers of ten; on a short axis 1, 2 and 5, and if that gives fewer than two, round numbers."""

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """See ``LogLocator``."""
        low, high = sorted((vmin, vmax))
        ticks = super().tick_values(vmin, vmax)
        if not 0 < low < high or (high >= SHORT * low and _inside(ticks, low, high) > 1):
            return ticks
        for finer in (LogLocator(subs=(1.0, 2.0, 5.0), numticks=15), MaxNLocator(4), MaxNLocator(8)):
            ticks = _apart([float(tick) for tick in finer.tick_values(low, high) if tick > 0], low, high)
            if _inside(ticks, low, high) > 1:
                break
        return ticks


class Labels(LogFormatterMathtext):
    """Powers of ten, or plain numbers on a short axis."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """See ``Formatter``."""
        low, high = sorted(self.axis.get_view_interval()) if self.axis is not None else (0.0, 1.0)
        power = x > 0 and bool(np.isclose(np.log10(x) % 1, (0, 1), atol=1e-9).any())
        return f"{x:.6g}" if low > 0 and (high < SHORT * low or not power) else str(super().__call__(x, pos))


class BookScale(LogScale):
    """Matplotlib's logarithmic scale with these numbers, under its own name."""

    def __init__(self, *given: Any, **options: Any) -> None:  # an axis first, from matplotlib before 3.11
        super().__init__(given[0] if given else None, **options)

    def set_default_locators_and_formatters(self, axis: Any) -> None:
        """See ``LogScale``."""
        super().set_default_locators_and_formatters(axis)
        axis.set_major_locator(Numbers())
        axis.set_major_formatter(Labels())
        axis.set_minor_formatter(NullFormatter())


def _apart(ticks: list[float], low: float, high: float) -> list[float]:
    """Those ticks inside whose labels do not touch the one before."""
    kept: list[float] = []
    for tick in sorted(tick for tick in ticks if low <= tick <= high):
        if not kept or np.log(tick / kept[-1]) >= APART * np.log(high / low):
            kept.append(tick)
    return kept


def _inside(ticks: list[float], low: float, high: float) -> int:
    return sum(low <= tick <= high for tick in ticks)


def use() -> None:
    """Make every axis that is made logarithmic from now on one of these."""
    register_scale(BookScale)
