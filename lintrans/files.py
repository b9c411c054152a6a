"""Files that are there whole or not at all, and locks between processes."""

from __future__ import annotations

import errno
import glob
import os
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import filelock

try:
    import fcntl
except ImportError:  # Windows: what killed writers leave stays
    fcntl = None  # type: ignore[assignment]

UNLOCKABLE = frozenset({errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What a file system answers that has no locks, as some network file systems."""
UNSYNCED = frozenset({errno.EINVAL, errno.EBADF, errno.ENOSYS, errno.ENOTSUP, errno.EROFS})
"""What a file system answers that cannot sync a folder."""
ABANDONED = 1.0
"""Seconds after which a part that nobody holds is one that a killed writer has left, and not one just begun."""


def write(path: Path, content: str) -> None:
    """Write a text file so that a reader, or a crash, never meets half of it."""
    write_bytes(path, content.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a reader, a crash or a loss of power never meets half of it; halves that were left go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with part.open("wb") as file:
            _hold(file)
            file.write(content)
            file.flush()
            if path.exists():
                part.chmod(path.stat().st_mode)
            sync(part)
            if fcntl is not None:  # while it is held; Windows replaces no open file
                part.replace(path)
        if fcntl is None:
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    sync(path.parent)


def _hold(file: IO[bytes]) -> bool:
    """Lock a part until it is closed, by whatever; False where another one has, or nobody can."""
    with suppress(OSError):
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def _sweep(path: Path) -> None:
    """Delete the parts of a file whose writers were killed: nobody holds them."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > ABANDONED:
                with part.open("rb") as file:
                    if _hold(file):
                        part.unlink()


def sync(path: Path) -> None:
    """Bring a file or a folder's list of files to the disk; some file systems cannot, for folders."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSYNCED:
            raise
    finally:
        os.close(descriptor)


def folder_bytes(folder: Path) -> int:
    """Size of all files below a folder; one that goes meanwhile counts nothing."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            found = path.lstat()
            total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[bool]:
    """Hold a lock that dies with its process; whether it is held. `waiting` is called before waiting for another one.

    Where the file system has no locks, the body runs all the same: what is written whole stays right when two
    processes write it. A lock by a file's mere existence would outlive a killed process, and is not used.
    """
    lock = filelock.FileLock(path, fallback_to_soft=False)
    try:
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            waiting()
            lock.acquire()
    except OSError as error:
        if error.errno not in UNLOCKABLE:
            raise
    try:
        yield lock.is_locked
    finally:
        lock.release()
