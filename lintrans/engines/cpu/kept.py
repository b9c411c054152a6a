"""Machine code on disk: where a kernel's is kept, for whom, and whether it is whole.

It lies under ``DIGEST/NAME/`` of the cache folder (``$LINTRANS_KERNELS``, or the user's cache folder), where DIGEST
covers the code behind the kernel, by its imports, and the versions of numba and Python: numba itself looks only at the
file of the outermost function, and would serve old code after a change in another one. A lock per kernel makes a second
process wait and then load what the first one compiled. ``sums.json`` beside a kernel has a checksum of each of its
files, because numba would load, and run, whatever it finds: what is damaged is thrown away and compiled again. A folder
that is full or cannot be written costs the compile in every process, nothing else.

Machine code that is loaded is executed, so the folder is one user's own and must not be shared: what belongs to
somebody else there is not loaded, and others lose the right to write.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import platformdirs

from ...files import locked, write
from ...progress import say
from ...store.sources import code

VARIABLE = "LINTRANS_KERNELS"
KEPT_DAYS = 30
OTHERS = 0o022
"""Rights of a group, and of all, to write."""
SUMS = "sums.json"
LARGEST = 2**20
"""Bytes of a file that must fit where machine code is kept; the largest so far has 0.6 of them."""
ROOM = 16 * LARGEST
"""Bytes that must be free there."""


class Spec(NamedTuple):
    """What is compiled.

    Attributes:
        module: dotted name of the module that its outermost function is written in.
        name: of the folder that keeps its machine code; it tells shapes apart.
        label: in a message, for people.
        seconds: about how long it compiles.
        build: makes the function; see :mod:`~lintrans.engines.cpu.compiling`.
    """

    module: str
    name: str
    label: str
    seconds: int
    build: Callable[..., Any]


@cache
def digest(module: str) -> str:
    """What the machine code of a module's kernels depends on, but for the processor, which numba looks at."""
    import numba

    outermost = code().path(module)  # numba looks at its time stamp, and refuses another
    assert outermost is not None
    versions = f"{numba.__version__} {platform.python_version()} {np.__version__}"
    stamp = f"{versions} {outermost.resolve()} {outermost.stat().st_mtime_ns} {code().digest(module)}"
    return hashlib.sha256(stamp.encode()).hexdigest()[:16]


def folder() -> Path:
    """Where machine code is kept."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).expanduser().resolve()
    return Path(platformdirs.user_cache_dir("lintrans", appauthor=False)) / "kernels"


def count() -> int:
    """Kernels that are kept for the code as it is."""
    digests = map(digest, code().inside(__name__.rpartition(".")[0]))
    return sum(1 for each in digests for _ in folder().glob(f"{each}/*/**/*.nbi"))


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


@cache
def _forget(root: Path) -> None:
    """Remove what nobody used for :data:`KEPT_DAYS`; at worst it is compiled again."""
    with suppress(OSError):
        for old in root.iterdir():
            if old.is_dir() and time.time() - old.stat().st_mtime > KEPT_DAYS * 86400:
                shutil.rmtree(old, ignore_errors=True)


def writable(place: Path) -> bool:
    """Whether a folder is there, or can be made, and takes files."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        probe = place / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


def mine(path: Path) -> bool:
    """Whether a file is this user's, where files have owners."""
    return not hasattr(os, "getuid") or path.stat().st_uid == os.getuid()


@cache
def own(root: Path) -> bool:
    """Whether the folder of all machine code is this user's; nobody else may write there from then on."""
    try:
        if mine(root):
            mode = root.stat().st_mode & 0o7777
            if mode & OTHERS:
                root.chmod(mode & ~OTHERS)
            return True
    except OSError:
        return False
    say(f"{root} belongs to another user: machine code is not kept there (set {VARIABLE} to a folder of yours)")
    return False


class Kept:
    """What a compile of a kernel or a piece has in common: its folder, its lock, a word while it lasts."""

    def __init__(self, spec: Spec) -> None:
        self.spec, self.name, self.seconds = spec, spec.name, spec.seconds
        of = digest(spec.module)
        place = folder() / of / spec.name
        with suppress(OSError):
            if place.is_symlink() or place.is_file():
                place.unlink()
        self.place = place if writable(place) and own(folder()) else None
        self._identity = f"{of}/{spec.name}"
        if self.place is not None:
            with suppress(OSError):
                os.utime(self.place.parent)  # in use
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
        say(f"compiling the {self.spec.label}, {why} (about {self.seconds} s)")

    def note(self) -> None:
        """Write down the checksums of its files."""
        if self.place is not None and (sums := self._sums()) != self._noted():
            with suppress(OSError):
                write(self.place / SUMS, json.dumps(sums, indent=1))

    def _sums(self) -> dict[str, Any]:
        """Whose they are, and checksums of the files that numba left, by name; none of another user's."""
        sums: dict[str, str] = {}
        if self.place is not None:
            for path in sorted(self.place.rglob("*.nb[ci]")):
                with suppress(OSError):
                    if mine(path):
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
