"""Kernels on demand: compiled once per shape, kept on disk, and never a silent pause.

A kernel's machine code is kept under ``DIGEST/NAME/`` of the cache folder (``$LINTRANS_KERNELS``, or the user's cache
folder), where DIGEST covers the source of every module that goes into kernels and the versions of numba and Python:
numba itself looks only at the file of the outermost function, and would serve old code after a change in another one.
A lock per kernel makes a second process wait and then load what the first one compiled. ``sums.json`` beside a kernel
has a checksum of each of its files, because numba would load, and run, whatever it finds: what is damaged is thrown
away and compiled again. A folder that is full or cannot be written costs the compile in every process, nothing else.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from ... import random
from ...files import locked, write
from ...progress import say

VARIABLE = "LINTRANS_KERNELS"
SOURCES = (
    "processor", "arguments", "laws", "rules", "products", "algebra", "vector", "variates", "lengths", "directions",
    "draw", "pieces",
)  # fmt: skip
MODULES = {"shape_kernels": (), "kernels": (), "mlp": (), "softmax": ("mlp",)}
"""Modules whose functions are compiled, and those of them beside SOURCES that each takes functions from."""
KEPT_DAYS = 30
SUMS = "sums.json"
LARGEST = 2**20
"""Bytes of a file that must fit where machine code is kept; the largest so far has 0.6 of them."""
ROOM = 16 * LARGEST
"""Bytes that must be free there."""
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
def problem() -> str | None:
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
def cuda_problem() -> str | None:
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


@cache
def digest(module: str = "kernels") -> str:
    """What the machine code of a module's kernels depends on, but for the processor, which numba looks at."""
    import numba

    outermost = (Path(__file__).parent / f"{module}.py").resolve()  # numba looks at its time stamp, and refuses another
    stamp = (
        f"{numba.__version__} {platform.python_version()} {np.__version__} {outermost} {outermost.stat().st_mtime_ns}"
    )
    total = hashlib.sha256(stamp.encode())
    total.update(Path(random.__file__).read_bytes())  # constants of the generator
    for name in dict.fromkeys((*SOURCES, *MODULES[module], module)):
        total.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return total.hexdigest()[:16]


def folder() -> Path:
    """Where machine code is kept."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).expanduser().resolve()
    return Path(platformdirs.user_cache_dir("lintrans", appauthor=False)) / "kernels"


def describe() -> str:
    """What compiles, and where machine code is kept."""
    import numba

    place = folder()
    kept = sum(1 for module in MODULES for _ in place.glob(f"{digest(module)}/*/**/*.nbi"))
    where = (
        f"{kept} kernels kept in {place}"
        if _writable(place)
        else f"{place} cannot be written, so every process compiles"
    )
    made_for = numba.config.CPU_NAME or "this processor"
    return f"numba {numba.__version__} for {made_for}, {numba.config.NUMBA_NUM_THREADS} threads; {where}"


@contextmanager
def _kept_in(place: Path | None) -> Iterator[dict[str, Any]]:
    """Options for numba.njit under which it keeps machine code in `place` (None: nowhere)."""
    import numba

    if place is None:
        yield {}
        return
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(place)
    try:
        yield {"cache": True}
    finally:
        numba.config.CACHE_DIR = before


def _choose_threads() -> None:
    """Take numba's own threads, which sleep while they wait for one another, unless the user named others.

    GNU OpenMP's spin by default, and what they win on an idle machine is lost many times over where another program
    wants a core: the thread that spins keeps the one that it waits for from running. With one more busy program on
    two cores, steps of a single run took ten times as long, and more; asleep, they hardly changed.
    """
    import numba

    if numba.config.THREADING_LAYER == "default":
        numba.config.THREADING_LAYER = "workqueue"  # of no effect where this process has started threads before


@cache
def _forget(root: Path) -> None:
    """Remove what older sources left and nobody added to for :data:`KEPT_DAYS`; at worst it is compiled again."""
    current = {digest(module) for module in MODULES}
    with suppress(OSError):
        for old in root.iterdir():
            if old.name not in current and old.is_dir() and time.time() - old.stat().st_mtime > KEPT_DAYS * 86400:
                shutil.rmtree(old, ignore_errors=True)


def _writable(place: Path) -> bool:
    try:
        place.mkdir(parents=True, exist_ok=True)
        probe = place / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


class _Kept:
    """What a compile of a kernel or a piece has in common: its folder, its lock, a word while it lasts.

    Args:
        module: of :data:`MODULES`, where it is written.
        name: of the folder that keeps its machine code; it tells shapes apart.
        label: in a message, for people.
        seconds: about how long it compiles.
    """

    def __init__(self, module: str, name: str, label: str, seconds: int) -> None:
        self.name, self.label, self.seconds = name, label, seconds
        place = folder() / digest(module) / self.name
        with suppress(OSError):
            if place.is_symlink() or place.is_file():
                place.unlink()
        self.place = place if _writable(place) else None
        self._identity = f"{digest(module)}/{self.name}"
        if self.place is not None:
            _forget(folder())

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """One process at a time, where there are locks."""
        with ExitStack() as stack:
            if self.place is not None:
                with suppress(OSError):
                    stack.enter_context(locked(self.place / "lock"))
            yield

    def compiled(self, make: Callable[[dict[str, Any]], Any]) -> tuple[Any, bool]:
        """Compile it, or load what an earlier process left, and whether it was compiled; to be called when guarded.

        Args:
            make: compiles or loads, given options for numba.
        """
        found = self._sums()
        kept = bool(found["files"]) and found == self._noted()
        if not kept:
            again = "again, since what was kept of it is damaged or unfinished"
            self._announce(again if found["files"] else "once")
            self._discard()
        if self.place is not None:
            try:
                with _kept_in(self.place) as options:
                    made = make(options)
                self.note()
                return made, not kept
            except Exception:  # the disk is full, numba cannot load it: whatever it is, it can be compiled and not kept
                if kept:
                    self._announce("again, since what was kept of it cannot be loaded")
                self._discard()
                self.place = None
        return make({}), True

    def _announce(self, why: str) -> None:
        say(f"compiling the {self.label}, {why} (about {self.seconds} s)")

    def note(self) -> None:
        """Write down the checksums of its files."""
        if self.place is not None and (sums := self._sums()) != self._noted():
            with suppress(OSError):
                write(self.place / SUMS, json.dumps(sums, indent=1))

    def _sums(self) -> dict[str, Any]:
        """Whose they are, and checksums of the files that numba left, by name; none of what cannot be read."""
        sums: dict[str, str] = {}
        if self.place is not None:
            for path in sorted(self.place.rglob("*.nb[ci]")):
                with suppress(OSError):
                    sums[path.relative_to(self.place).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
        return {"kernel": self._identity, "files": sums}

    def _noted(self) -> Any:
        try:
            return json.loads((self.place / SUMS).read_text(encoding="utf-8")) if self.place is not None else None
        except (OSError, ValueError, RecursionError):
            return None

    def _discard(self) -> None:
        """Throw its files away; where they stay, or no others would fit, nothing is kept from now on."""
        if self.place is not None:
            try:
                for path in self.place.iterdir():
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path)
                    elif path.name != "lock":
                        path.unlink()
                full = shutil.disk_usage(self.place).free < ROOM
                probe = self.place / f".probe-{os.getpid()}"
                try:
                    probe.write_bytes(bytes(LARGEST))  # a quota, or a limit on files, may be nearer than the disk's end
                finally:
                    probe.unlink(missing_ok=True)
            except OSError:
                full = True
            if full:
                self.place = None


class Kernel(_Kept):
    """A compiled loop for one dtype; calling it compiles it first, if need be.

    Args:
        module, name, label, seconds: see :class:`_Kept`.
        build: makes the function, given a decorator that compiles.
    """

    def __init__(
        self, module: str, name: str, label: str, seconds: int, build: Callable[[Callable[[Any], Any]], Any]
    ) -> None:
        super().__init__(module, name, label, seconds)
        self._build = build
        self._function: Any = None

    def __call__(self, **named: Any) -> None:
        """Run it, on arguments by name. One at a time: not every threading layer of numba bears two callers."""
        with _lock:
            if self._function is None:
                self._function = self._first(named)
            known = len(self._function.overloads)
            self._function(**named)
            if len(self._function.overloads) > known:  # for arguments of other types, which numba keeps too
                with self.guarded():
                    self.note()

    def _first(self, named: dict[str, Any]) -> Any:
        import numba

        from . import vector

        def make(options: dict[str, Any]) -> Any:
            function = self._build(numba.njit(parallel=True, **vector.OPTIONS, **options))
            function.compile(
                tuple(numba.typeof(named[name]) for name in inspect.signature(function.py_func).parameters)
            )
            return function

        _choose_threads()
        with self.guarded():
            return self.compiled(make)[0]


class Piece(_Kept):
    """A compiled function that kernels call by address; asking for the address compiles it first, if need be.

    Args:
        module, name, label, seconds: see :class:`_Kept`.
        build: makes signature and function.
        relatives: pieces that are compiled with it, in a second each.
    """

    def __init__(
        self,
        module: str,
        name: str,
        label: str,
        seconds: int,
        build: Callable[[], tuple[Any, Callable[..., None]]],
        relatives: Callable[[], Iterable[Piece]] = tuple,
    ) -> None:
        super().__init__(module, name, label, seconds)
        self._build = build
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
        signature, function = self._build()
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
        return Kernel("kernels", f"{kind}-{dtype.name}", label, SECONDS[kind], kernels.KERNELS[kind])


@cache
def drawing(dtype: np.dtype[Any]) -> Piece:
    """The piece that draws prompts, one object a process."""
    from . import shape_kernels

    with _lock:
        return Piece(
            "shape_kernels",
            f"prompts-{dtype.name}",
            f"draws of prompts, {dtype.name}",
            15,
            lambda: shape_kernels.prompts(dtype),
        )


@cache
def piece(kind: str, size: int, heads: int, sparse: bool, dtype: np.dtype[Any], tangents: int = 0) -> Piece:
    """The piece of a shape with linear attention, one object a process.

    Args:
        kind: one of :data:`~lintrans.engines.cpu.shape_kernels.PIECES`.
        size: D.
        heads: the model's.
        sparse: its form.
        dtype: float32 or float64.
        tangents: of dual numbers.
    """
    from . import shape_kernels

    form = "sparse" if sparse else "full"
    name = f"{kind}-{form}-{size}-{heads}-{dtype.name}-{tangents}"
    label = f"{kind} of d = {size if sparse else size - 1}, {form}, {_numbers(dtype, tangents)}"

    def relatives() -> list[Piece]:
        # the curvature of the larger ones is not measured, and the largest is trained in double precision
        family = FAMILY[:3] if tangents else FAMILY[:4] if dtype.itemsize == 4 else FAMILY
        if kind != "gradient" or heads > 1 or (size, sparse) not in family:
            return []
        return [piece(kind, other, 1, form, dtype, tangents) for other, form in family]

    with _lock:
        return Piece(
            "shape_kernels", name, label, {"moments": 1, "gradient": 15}[kind],
            lambda: shape_kernels.PIECES[kind](size, heads, sparse, dtype, tangents), relatives,
        )  # fmt: skip


def _numbers(dtype: np.dtype[Any], tangents: int) -> str:
    return dtype.name + (f" with {tangents} tangent{'s' * (tangents > 1)}" if tangents else "")


@cache
def embedded_piece(d: int, hidden: int, dtype: np.dtype[Any], tangents: int = 0) -> Piece:
    """The piece that differentiates a Transformer behind a network, one object a process.

    Args:
        d: inputs and outputs of the network.
        hidden: its hidden units.
        dtype: float32 or float64.
        tangents: of dual numbers.
    """
    from . import mlp

    name = f"embedded-{d}-{hidden}-{dtype.name}-{tangents}"
    label = f"gradient of a network of {d}, {hidden}, {d} units, {_numbers(dtype, tangents)}"
    with _lock:
        return Piece("mlp", name, label, 15, lambda: mlp.gradient(d, hidden, dtype, tangents))


@cache
def embedded_prompts(d: int, hidden: int, dtype: np.dtype[Any]) -> Kernel:
    """The kernel that draws prompts of a fixed network, one object a process; arguments as before."""
    from . import mlp, shape_kernels

    name = f"embedded-prompts-{d}-{hidden}-{dtype.name}"
    label = f"draws of a network of {d}, {hidden}, {d} units, {dtype.name}"
    with _lock:
        return Kernel("mlp", name, label, 8, lambda jit: mlp.prompts(jit, d, hidden, shape_kernels.lanes_of(dtype)))


@cache
def attending_piece(d: int, size: int, dtype: np.dtype[Any], tangents: int = 0) -> Piece:
    """The piece that differentiates attention that is not linear, whichever it is; one object a process.

    Args:
        d: dimension of the covariates.
        size: D, that of the trained matrices.
        dtype: float32 or float64.
        tangents: of dual numbers.
    """
    from . import softmax

    form = "sparse" if size == d else "full"
    name = f"attending-{form}-{d}-{dtype.name}-{tangents}"
    label = f"gradient of softmax and ReLU attention, d = {d}, {form}, {_numbers(dtype, tangents)}"
    with _lock:
        return Piece("softmax", name, label, 15, lambda: softmax.gradient(d, size, dtype, tangents))
