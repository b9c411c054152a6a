"""How things are timed: candidates in turn, in one process, and the machine's own peak beside them."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numba
import numpy as np

from lintrans.engines.cpu import algebra
from lintrans.engines.cpu.vector import OPTIONS, scratch, view


def alternate(
    calls: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each call in each round; every round takes all of them in turn, so that all see the same load."""
    for call in calls.values():
        call()  # compile, fill caches
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            began = clock()
            call()
            times[name].append(clock() - began)
    return times


def ratio(slow: list[float], fast: list[float]) -> float:
    """Median over rounds of slow / fast."""
    return statistics.median(s / f for s, f in zip(slow, fast, strict=True))


SPINS = 2_000_000
"""Multiply-adds of each sum in one call of :func:`peak`, some 4 ms of work."""


def peak(dtype: str) -> tuple[Callable[[], object], int]:
    """A call that multiplies and adds on one core: twelve independent sums in registers, nothing loaded.

    Returns:
        The call, and how many fused multiply-adds it makes.
    """
    kind = np.dtype(dtype)
    lanes = 32 // kind.itemsize

    @numba.njit(**OPTIONS)  # type: ignore[untyped-decorator]  # numba's
    def spin(out: Any, rounds: int) -> None:
        place = view(out, lanes, 0)
        a = scratch(place, 12)
        x, y = place[0], place[1]
        for i in range(12):
            a[i] = x
        for _ in range(rounds):
            for i in range(12):
                a[i] = a[i] * x + y
        for i in range(12):
            place[i] = a[i]

    return lambda: spin(np.full(12 * lanes, 0.5, kind), SPINS), SPINS * 12 * lanes


class Counted:
    """A number that counts multiplications."""

    multiplications = 0

    def __add__(self, other: Any) -> Counted:
        return self

    def __mul__(self, other: Any) -> Counted:
        Counted.multiplications += 1
        return self

    __radd__, __rmul__, __sub__, __rsub__ = __add__, __mul__, __add__, __add__


def multiplications(layers: int, size: int, heads: int, sparse: bool) -> int:
    """Multiplications of one prompt's gradient: the algebra's own source, run on numbers that count."""
    wide = 2 * layers * heads * size * size
    one = [Counted()]
    Counted.multiplications = 0
    numbers: list[Any] = one * algebra.data_size(size, sparse)
    view_of = Elements(one * algebra.work_size(layers, size, heads))
    algebra.gradient(
        numbers,
        Elements(one * wide),
        Elements(one * (wide + 1)),
        one[0],
        view_of,
        (one * size, 1, size),
        (layers, size, heads, sparse),
    )
    return Counted.multiplications


class Elements:
    """A list whose slices share its memory."""

    def __init__(self, values: list[Any], start: int = 0) -> None:
        self.values, self.start = values, start

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Elements(self.values, self.start + index.start)
        return self.values[self.start + index]

    def __setitem__(self, index: int, value: Any) -> None:
        self.values[self.start + index] = value if isinstance(value, Counted) else Counted()


def high_water() -> float:
    """The most memory in MB that this process has held (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def machine() -> dict[str, Any]:
    """The machine and the versions, recorded beside the numbers."""
    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [
            line.split(":", 1)[1].strip()
            for line in information.read_text().splitlines()
            if line.startswith("model name")
        ]
        processor = names[0] if names else processor
    versions = {}
    for name in ("lintrans", "numpy", "torch", "numba", "llvmlite", "jax"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
        "load": round(load, 2),
    }
