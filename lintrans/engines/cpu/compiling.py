"""What is compiled, once per shape and on demand, and how it is called; :mod:`~lintrans.engines.cpu.kept` keeps it.

A :class:`Kernel` is a loop on all cores, called with arguments by name; a :class:`Piece` is what kernels call by
address.
"""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np

from ...progress import say_once
from .kept import Kept, Spec, count, folder, writable

FAMILY = ((1, True), (2, True), (5, True), (6, False), (20, True))
"""Shapes with one head, (D, sparse), that are compiled together: those that the book trains.

Most of a compile is numba's work on the types of numbers, which shapes share: after the first one the others take a
second each, and in a process of their own they would take as long again.
"""
SECONDS = {"training": 12, "gradients": 5, "losses": 6, "tokens": 4, "token_gradients": 4}
"""About how long the loops of a dtype take to compile on one core."""

_lock = threading.RLock()


def brief(error: Exception) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0]}"


@cache
def unsupported_cpu() -> str | None:
    """Why kernels cannot be compiled here; None where they can."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return "NUMBA_DISABLE_JIT is set"
    try:
        from . import kernels
    except Exception as error:  # numba missing, or broken in whatever way
        return f"numba cannot be used ({brief(error)})"
    del kernels
    return None


@cache
def unsupported_cuda() -> str | None:
    """Why CUDA kernels cannot be compiled here; None where they can."""
    import torch

    if not torch.cuda.is_available():
        return "PyTorch sees no CUDA device"
    try:
        from numba import cuda

        if not cuda.is_available():
            return "numba-cuda finds no driver: install lintrans[cuda]"
        from ..cuda import engine
    except Exception as error:  # numba-cuda missing, or broken in whatever way
        return f"numba-cuda cannot be used ({brief(error)}): install lintrans[cuda]"
    del engine
    return None


def describe_cuda() -> str:
    """What compiles for a GPU."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"numba-cuda {version('numba-cuda')}"
    except PackageNotFoundError:  # numba's own, of older versions
        return "numba's own CUDA"


def describe() -> str:
    """What compiles, and where machine code is kept."""
    import numba

    place = folder()
    where = f"{count()} kernels kept in {place}"
    if not writable(place):
        where = f"{place} cannot be written, so every process compiles"
    made_for = numba.config.CPU_NAME or "this processor"
    return f"numba {numba.__version__} for {made_for}, {numba.config.NUMBA_NUM_THREADS} threads; {where}"


def _choose_threads() -> None:
    """Take numba's own threads, which sleep while they wait for one another, unless the user named others.

    GNU OpenMP's spin by default, and what they win on an idle machine is lost many times over where another program
    wants a core: the thread that spins keeps the one that it waits for from running. With one more busy program on
    two cores, steps of a single run took ten times as long, and more; asleep, they hardly changed.
    """
    import numba

    if numba.config.THREADING_LAYER == "default" and not strangers():
        numba.config.THREADING_LAYER = "workqueue"  # of no effect where this process has started threads before


KNOWN_THREADS = ("MainThread", "IPython", "IOPub", "Heartbeat", "Control", "Shell", "Subshell", "tqdm", "pydevd")
"""How the names of threads begin that run no compiled loops: of Python, of notebooks' kernels, of progress bars."""


def strangers() -> list[str]:
    """Names of other threads of this process that may call compiled loops of their own, in parallel to ours.

    Numba's own threads bear one caller at a time and end the process at a second one; OpenMP's bear many.
    """
    own = threading.current_thread()
    others = (each.name for each in threading.enumerate() if each is not own and type(each).__module__ == "threading")
    return [name for name in others if not name.startswith(KNOWN_THREADS)]


def _warn_of_strangers() -> None:
    """Say once where another thread has begun that numba's layer would not bear."""
    import numba

    if numba.config.THREADING_LAYER == "workqueue" and numba.threading_layer() == "workqueue":
        for name in strangers()[:1]:
            say_once(
                f"thread {name!r} must not call numba functions with parallel=True while this library computes: its "
                "own threads bear one caller. For several, set NUMBA_THREADING_LAYER=omp before Python starts"
            )


class Kernel(Kept):
    """A compiled loop for one dtype; calling it compiles it first, if need be.

    Args:
        spec: whose `build` makes the function, given a decorator that compiles.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self._function: Any = None

    def __call__(self, **named: Any) -> None:
        """Run it, on arguments by name. One at a time: not every threading layer of numba bears two callers."""
        with _lock:
            if self._function is None:
                self._function = self._first(named)
            known = len(self._function.overloads)
            self._function(**named)
            _warn_of_strangers()
            if len(self._function.overloads) > known:  # for arguments of other types, which numba keeps too
                with self.guarded():
                    self.note()

    def _first(self, named: dict[str, Any]) -> Any:
        import numba

        from . import vector

        def make(options: dict[str, Any]) -> Any:
            function = self.spec.build(numba.njit(parallel=True, **vector.OPTIONS, **options))
            function.compile(
                tuple(numba.typeof(named[name]) for name in inspect.signature(function.py_func).parameters)
            )
            return function

        _choose_threads()
        with self.guarded():
            return self.compiled(make)[0]


class Piece(Kept):
    """A compiled function that kernels call by address; asking for the address compiles it first, if need be.

    Args:
        spec: whose `build` makes signature and function.
        relatives: pieces that are compiled with it, in a second each.
    """

    def __init__(self, spec: Spec, relatives: Callable[[], Iterable[Piece]] = tuple) -> None:
        super().__init__(spec)
        self._relatives = relatives
        self._compiled: Any = None

    @property
    def address(self) -> int:
        """Where it starts in memory."""
        with _lock:
            if self._compiled is None:
                fresh = self.prepare()
                if fresh and self.place is not None:
                    for relative in self._relatives():
                        relative.prepare(seconds=1)
            return int(self._compiled.address)

    def prepare(self, seconds: int | None = None) -> bool:
        """Compile or load it, which is said to take so many seconds; whether it was compiled."""
        import numba

        from . import vector

        if self._compiled is not None:
            return False
        self.seconds = seconds or self.seconds
        signature, function = self.spec.build()
        with self.guarded():
            self._compiled, fresh = self.compiled(
                lambda options: numba.cfunc(signature, **vector.OPTIONS, **options)(function)
            )
        return fresh


@cache
def kernel(kind: str, dtype: np.dtype[Any]) -> Kernel:
    """The kernel of a dtype, one object a process.

    Args:
        kind: one of :data:`~lintrans.engines.cpu.kernels.KERNELS`.
        dtype: float32 or float64.
    """
    from . import kernels

    label = f"{kind.replace('_', ' ')} loop, {dtype.name}"
    with _lock:
        return Kernel(Spec(kernels.__name__, f"{kind}-{dtype.name}", label, SECONDS[kind], kernels.KERNELS[kind]))


@cache
def drawing(dtype: np.dtype[Any]) -> Piece:
    """The piece that draws prompts, one object a process."""
    from . import shape_kernels

    with _lock:
        name, label = f"prompts-{dtype.name}", f"draws of prompts, {dtype.name}"
        return Piece(Spec(shape_kernels.__name__, name, label, 15, lambda: shape_kernels.prompts(dtype)))


@cache
def piece(kind: str, size: int, heads: int, sparse: bool, dtype: np.dtype[Any], tangents: int = 0) -> Piece:
    """One of :data:`~lintrans.engines.cpu.shape_kernels.PIECES` for matrices of `size`, one object a process."""
    from . import shape_kernels

    form = "sparse" if sparse else "full"
    name = f"{kind}-{form}-{size}-{heads}-{dtype.name}-{tangents}"
    label = f"{kind} of d = {size if sparse else size - 1}, {form}, {_numbers(dtype, tangents)}"

    def relatives() -> list[Piece]:
        # the curvature of the larger ones is not measured, and the largest is trained in double precision
        family = FAMILY[:3] if tangents or kind == "diagonal" else FAMILY[:4] if dtype.itemsize == 4 else FAMILY
        if kind == "moments" or heads > 1 or (size, sparse) not in family:
            return []
        return [piece(kind, other, 1, form, dtype, tangents) for other, form in family]

    def build() -> Any:
        return shape_kernels.PIECES[kind](size, heads, sparse, dtype, tangents)

    with _lock:
        seconds = {"moments": 1, "gradient": 15, "diagonal": 15}[kind]
        return Piece(Spec(shape_kernels.__name__, name, label, seconds, build), relatives)


def _numbers(dtype: np.dtype[Any], tangents: int) -> str:
    return dtype.name + (f" with {tangents} tangent{'s' * (tangents > 1)}" if tangents else "")


@cache
def embedded_piece(d: int, hidden: int, dtype: np.dtype[Any], tangents: int = 0) -> Piece:
    """The piece that differentiates a Transformer behind a network, one object a process."""
    from . import mlp

    name = f"embedded-{d}-{hidden}-{dtype.name}-{tangents}"
    label = f"gradient of a network of {d}, {hidden}, {d} units, {_numbers(dtype, tangents)}"
    with _lock:
        return Piece(Spec(mlp.__name__, name, label, 15, lambda: mlp.gradient(d, hidden, dtype, tangents)))


@cache
def embedded_prompts(d: int, hidden: int, dtype: np.dtype[Any]) -> Kernel:
    """The kernel that draws prompts of a fixed network, one object a process."""
    from . import mlp, shape_kernels

    name = f"embedded-prompts-{d}-{hidden}-{dtype.name}"
    label = f"draws of a network of {d}, {hidden}, {d} units, {dtype.name}"
    with _lock:
        lanes = shape_kernels.lanes_of(dtype)
        return Kernel(Spec(mlp.__name__, name, label, 8, lambda jit: mlp.prompts(jit, d, hidden, lanes)))


@cache
def attending_piece(d: int, size: int, dtype: np.dtype[Any], tangents: int = 0) -> Piece:
    """The piece that differentiates attention that is not linear, whichever it is; one object a process."""
    from . import softmax

    form = "sparse" if size == d else "full"
    name = f"attending-{form}-{d}-{dtype.name}-{tangents}"
    label = f"gradient of softmax and ReLU attention, d = {d}, {form}, {_numbers(dtype, tangents)}"
    with _lock:
        return Piece(Spec(softmax.__name__, name, label, 15, lambda: softmax.gradient(d, size, dtype, tangents)))
