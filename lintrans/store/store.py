"""The store on disk: folders of results that are never half-written, found by a hash of what defines their numbers.

It lies in ``$LINTRANS_STORE`` if set, else in ``results/`` of the checkout of an editable install, else in the user's
cache folder. A result is a folder ``experiments/HASH`` of ``record.json`` (what made it) and its files; it is written
beside its place and renamed into it. What the files hold is the business of :mod:`lintrans.store.results`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import filelock
import numpy as np
import platformdirs
import torch

from ..errors import brief
from ..files import folder_bytes, locked, sync
from .checkpoints import Checkpoints, Orphan, orphans
from .sources import PACKAGE
from .specs import change, flatten, key_of

Payload = TypeVar("Payload")

VARIABLE = "LINTRANS_STORE"


def store_path() -> Path:
    """Where the store lies; see the module's text."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).expanduser().resolve()
    checkout = PACKAGE.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "_toc.yml").is_file():
        return checkout / "results"
    return Path(platformdirs.user_cache_dir("lintrans", appauthor=False)) / "results"


ASIDE = ".damaged-"
"""Before the name of an entry that was set aside."""
PART = ".part-"
"""Before the name of an entry that is being written."""
UNFINISHED = "unfinished"
"""The folder of what unfinished results have so far."""
FOLDERS = ("experiments", UNFINISHED, "locks", "verdicts")


class DamagedError(Exception):
    """A stored result is not what was stored."""


class UnreadableError(Exception):
    """A stored result may not be read by this user."""


@dataclass(frozen=True)
class Entry:
    """A stored result, as its record tells it."""

    path: Path
    record: dict[str, Any]

    @property
    def key(self) -> str:
        return self.path.name

    @property
    def title(self) -> str:
        return str(self.record["title"])

    @property
    def created(self) -> datetime:
        return datetime.fromisoformat(self.record["created"])

    @property
    def device(self) -> str:
        return str(self.record["info"]["device"])

    @property
    def seconds(self) -> float:
        return float(self.record["info"]["seconds"])

    @property
    def bytes(self) -> int:
        return folder_bytes(self.path)

    def facts(self) -> dict[str, Any]:
        """All that its record says, by dotted name."""
        return flatten({**self.record, "key": self.key})

    def check(self) -> None:
        """Compare the record with the hash, and the files with the record; a ValueError where they do not fit."""
        if key_of(self.record["spec"]) != self.key:
            raise ValueError("its record is that of another result")
        if self.record.get("seal") != _seal(self.record):
            raise ValueError("its record was changed, or is of an older version")
        noted, here = self.record.get("files"), {file.name for file in self.path.iterdir()} - {"record.json"}
        if not isinstance(noted, dict) or not noted or {*noted} != here:
            raise ValueError("its files are not those of its record")
        for name, checksum in noted.items():
            if _checksum(self.path / name) != checksum:
                raise ValueError(f"{name} was changed")


UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)
"""What records raise that are not ours, deep and huge ones included."""
NO_RECORD = "its record cannot be read"


def _seal(record: dict[str, Any]) -> str:
    """The checksum of a record, but for this one."""
    rest = {name: value for name, value in record.items() if name != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _checksum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


class Store:
    """A folder of results."""

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = store_path() if path is None else Path(path)

    @property
    def _experiments(self) -> Path:
        return self.path / "experiments"

    def entries(self) -> list[Entry]:
        """All experiments that can be read, oldest first."""
        folders = (folder for folder in self._experiments.glob("*") if not folder.name.startswith("."))
        found = [entry for folder in folders if (entry := self._entry(folder)) is not None]
        return sorted(found, key=lambda entry: (entry.created, entry.key))

    @staticmethod
    def _entry(folder: Path) -> Entry | None:
        try:
            entry = Entry(folder, json.loads((folder / "record.json").read_text(encoding="utf-8")))
            _ = entry.device, entry.title, entry.record["spec"].items()
            known = entry.created.tzinfo is not None and math.isfinite(entry.seconds)
        except UNREADABLE:
            return None
        return entry if known else None

    def forbidden(self) -> list[Path]:
        """Entries, or the folder of all of them, that this user may not read."""
        folders = [self._experiments, *self._experiments.glob("*")]
        return [folder for folder in folders if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK)]

    def size(self) -> int:
        return folder_bytes(self.path)

    def set_aside(self) -> list[Path]:
        """Damaged entries that were set aside."""
        return [*self._experiments.glob(f"{ASIDE}*")]

    def half_written(self, older: float = 0.0) -> list[Path]:
        """What killed processes have left of entries that they wrote, at least so many seconds ago."""
        now = time.time()
        found = []
        for folder in self._experiments.glob(f"{PART}*"):
            with contextlib.suppress(OSError):  # it is whole by now
                found += [folder] if now - folder.stat().st_mtime >= older else []
        return found

    def unfinished(self) -> list[Orphan]:
        """Results that were begun, the oldest first."""
        return orphans(self.path / UNFINISHED)

    def checkpoints(self, key: str, title: str, say: Callable[[str], None]) -> Checkpoints:
        """Where the unfinished work on a result is kept."""
        return Checkpoints(self.path / UNFINISHED / key, title, {**versions(), "target": target()}, say)

    def busy(self, key: str) -> bool:
        """Whether a process works on a result just now."""
        lock = filelock.FileLock(self.path / "locks" / f"{key}.lock", timeout=0, fallback_to_soft=False)
        try:
            with lock:
                return False
        except filelock.Timeout:
            return True
        except OSError:  # no locks here: nobody knows
            return False

    def remove(self, key: str) -> None:
        """Delete one experiment; a KeyError where there is none of that hash."""
        names = {folder.name: folder for folder in self._experiments.glob("*")}  # so that no key leads out of here
        if key not in names:
            raise KeyError(f"no experiment {key!r} in {self.path}")
        shutil.rmtree(names[key])

    def prune(self, days: float) -> tuple[list[Path], int]:
        """Delete what is neither a result nor in use: folders of unfinished, half-written and damaged ones.

        Returns:
            What was deleted, of at least so many days ago, and its bytes.
        """
        before = time.time() - 86400 * days
        chosen = [orphan.path for orphan in self.unfinished() if not self.busy(orphan.key)]
        chosen += [*self.set_aside(), *(path for path in self.half_written() if not self.busy(path.name.split("-")[1]))]
        chosen += [path for path in self.path.rglob(".*.part") if path.is_file() and path.parent not in chosen]
        found = [path for path in chosen if path.exists() and path.stat().st_mtime <= before]
        size = sum(folder_bytes(path) if path.is_dir() else path.stat().st_size for path in found)
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return found, size

    def folders(self) -> list[Path]:
        """Its folders: results with what is damaged or half-written, what is unfinished, locks and verdicts."""
        return [path for name in FOLDERS if (path := self.path / name).is_dir()]

    def clear(self) -> None:
        """Delete all of it, and nothing else that lies there."""
        for path in self.folders():
            shutil.rmtree(path)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Key and problem of each entry that is not what was stored, one after the other."""
        for folder in sorted(self._experiments.glob("*")):
            if not folder.name.startswith("."):
                entry = self._entry(folder)
                try:
                    entry.check() if entry is not None else self._permitted(folder)
                except UNREADABLE as error:
                    yield folder.name, brief(error)
                else:
                    if entry is None:
                        yield folder.name, NO_RECORD

    @staticmethod
    def _permitted(folder: Path) -> None:
        """A PermissionError where the record is there and may not be read."""
        with contextlib.suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
            (folder / "record.json").open("rb").close()

    def put_aside(self, key: str) -> None:
        """Rename an entry, so that it is computed again, and looked at by whoever wants to."""
        aside = self._experiments / f"{ASIDE}{key}"
        shutil.rmtree(aside, ignore_errors=True)
        (self._experiments / key).rename(aside)

    def load(self, key: str, read: Callable[[Entry], Payload]) -> tuple[Entry, Payload] | None:
        """A result, or None where there is none.

        Raises:
            UnreadableError: it may not be read.
            DamagedError: what is there is not what was stored under this hash; it has been set aside.
        """
        folder = self._experiments / key
        try:
            if not folder.exists():
                return None
            entry = self._entry(folder)
            if entry is None:
                self._permitted(folder)
                raise ValueError(NO_RECORD)
            entry.check()
            return entry, read(entry)
        except PermissionError as error:
            raise UnreadableError(f"{error.strerror}: {error.filename or folder}") from error
        except Exception as error:  # whatever a damaged file makes its reader raise
            with contextlib.suppress(OSError):  # a store that cannot be written
                self.put_aside(key)
            raise DamagedError(brief(error)) from error

    def save(self, key: str, record: dict[str, Any], write: Callable[[Path], None]) -> None:
        """Write a result beside its place, sync it, then rename it into it; what lies there, damaged, makes room.

        The record has title, info and spec, as :class:`Entry` reads them; when, by which versions and on which machine
        is added. Modes are those that the user's umask leaves.
        """
        self._experiments.mkdir(parents=True, exist_ok=True)
        made: dict[str, Any] = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions(), "machine": machine(),
        }  # fmt: skip
        place = self._experiments / key
        part = self._experiments / f"{PART}{key}-{uuid.uuid4().hex[:8]}"
        part.mkdir()
        try:
            write(part)
            made["files"] = {file.name: _checksum(file) for file in sorted(part.iterdir())}
            sealed = {**record, **made, "seal": _seal({**record, **made})}
            (part / "record.json").write_text(json.dumps(sealed, indent=1), encoding="utf-8")
            for path in part.iterdir():
                path.chmod(part.stat().st_mode & 0o666)  # safetensors lets nobody else read
                sync(path)
            sync(part)
            if place.exists():
                shutil.rmtree(place)
            part.rename(place)
            sync(self._experiments)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def sweep(self, key: str) -> None:
        """Delete what killed processes have left of writing a result; its lock has to be held."""
        for folder in self._experiments.glob(f"{PART}{key}-*"):
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def lock(self, key: str, waiting: Callable[[], None] = lambda: None) -> Iterator[bool]:
        """A lock that dies with its process, so that two asking at once compute once."""
        folder = self.path / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f"{key}.lock", waiting) as held:
            yield held

    def why(self, spec: dict[str, Any]) -> str:
        """Why an experiment is not here: what differs from the stored one most like it."""
        entries = self.entries()
        if not entries:
            return "nothing in the store may be read" if self.forbidden() else "the store is empty"
        flat = flatten(spec)
        best: tuple[int, list[str]] | None = None
        for entry in entries:
            other = flatten(entry.record["spec"])
            changed = sorted(name for name in flat.keys() | other.keys() if flat.get(name) != other.get(name))
            if best is None or len(changed) <= best[0]:
                best = len(changed), [change(name, other.get(name), flat.get(name)) for name in changed]
        assert best is not None  # there are entries
        if not best[1]:  # it was stored between two looks
            return "it was not stored a moment ago"
        return "; ".join(best[1]) if len(best[1]) <= 3 else "nothing like it is stored"


def store() -> Store:
    """The store of this machine and checkout."""
    return Store()


def versions() -> dict[str, str]:
    """Versions that may matter to a number."""
    try:
        numba = version("numba")
    except PackageNotFoundError:
        numba = "none"
    return {
        "lintrans": sys.modules[PACKAGE.name].__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "numba": numba,
    }


def target() -> str:
    """The kind of processor that torch computes for; results are the same bits on machines of one kind."""
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def machine() -> dict[str, str]:
    """What a record says of where it was made."""
    return {"host": platform.node(), "system": platform.system(), "target": target()}


def age(then: datetime) -> str:
    """How long ago, in words."""
    seconds = max(0.0, (datetime.now(UTC) - then).total_seconds())
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
