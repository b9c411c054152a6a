"""The store on disk: folders of results that are never half-written, found by a hash of what defines their numbers.

It lies in ``$LINTRANS_STORE`` if set, else in ``results/`` of the checkout of an editable install, else in the user's
cache folder. A result is a folder ``experiments/HASH`` of ``record.json`` (what made it) and its files; it is written
beside its place and renamed into it. What the files hold is the business of :mod:`lintrans.store.results`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

import numpy as np
import platformdirs
import torch

from ..files import locked
from .sources import PACKAGE, is_ours

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


def canonical(value: Any) -> Any:
    """A value as JSON that does not depend on the order of anything.

    Frozen dataclasses by class name and fields, tensors by dtype, shape and a digest of their numbers.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: canonical(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"is": name_of(type(value)), **fields}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [canonical(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, torch.Tensor):
        digest = hashlib.sha256(value.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
        return {"is": canonical(value.dtype), "shape": list(value.shape), "sha256": digest}
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(
        f"{value!r} ({type(value).__name__}) cannot be part of a stored experiment: "
        "give a frozen dataclass of plain values"
    )


def name_of(kind: type | FunctionType) -> str:
    """What a class or function is called in a record; one from outside with its module."""
    return kind.__qualname__ if is_ours(kind) else f"{kind.__module__}.{kind.__qualname__}"


ASIDE = ".damaged-"
"""Before the name of an entry that was set aside."""


class DamagedError(Exception):
    """A stored result is not what was stored."""


def key_of(spec: dict[str, Any]) -> str:
    """The hash of what defines a result."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


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
        return sum(file.stat().st_size for file in self.path.iterdir() if file.is_file())

    def check(self) -> None:
        """Compare the record with the hash, and the files with the record; a ValueError where they do not fit."""
        if key_of(self.record["spec"]) != self.key:
            raise ValueError("its record is that of another result")
        noted, here = self.record.get("files"), {file.name for file in self.path.iterdir()} - {"record.json"}
        if not isinstance(noted, dict) or not noted or {*noted} != here:
            raise ValueError("its files are not those of its record")
        for name, checksum in noted.items():
            if _checksum(self.path / name) != checksum:
                raise ValueError(f"{name} was changed")


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
            _ = entry.created, entry.device, entry.seconds, entry.title, entry.record["spec"].items()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return entry

    def size(self) -> int:
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    def set_aside(self) -> list[Path]:
        """Damaged entries that were set aside."""
        return [*self._experiments.glob(f"{ASIDE}*")]

    def remove(self, key: str) -> None:
        """Delete one experiment; a KeyError where there is none of that hash."""
        names = {folder.name: folder for folder in self._experiments.glob("*")}  # so that no key leads out of here
        if key not in names:
            raise KeyError(f"no experiment {key!r} in {self.path}")
        shutil.rmtree(names[key])

    def load(self, key: str, read: Callable[[Entry], Payload]) -> tuple[Entry, Payload] | None:
        """A result, or None where there is none.

        Raises:
            DamagedError: what is there is not what was stored under this hash; it has been set aside.
        """
        folder = self._experiments / key
        if not folder.exists():
            return None
        entry = self._entry(folder)
        try:
            if entry is None:
                raise ValueError("its record cannot be read")
            entry.check()
            return entry, read(entry)
        except Exception as error:  # whatever a damaged file makes its reader raise
            aside = self._experiments / f"{ASIDE}{key}"
            with contextlib.suppress(OSError):  # a store that cannot be written
                shutil.rmtree(aside, ignore_errors=True)
                folder.rename(aside)
            raise DamagedError((str(error) or type(error).__name__).splitlines()[0]) from error

    def save(self, key: str, record: dict[str, Any], write: Callable[[Path], None]) -> None:
        """Write a result beside its place, then rename it into it; what lies there, damaged, makes room.

        The record has title, info and spec, as :class:`Entry` reads them; when and by which versions is added.
        """
        self._experiments.mkdir(parents=True, exist_ok=True)
        made: dict[str, Any] = {"created": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions()}
        target = self._experiments / key
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=self._experiments))
        try:
            write(part)
            made["files"] = {file.name: _checksum(file) for file in sorted(part.iterdir())}
            (part / "record.json").write_text(json.dumps({**record, **made}, indent=1), encoding="utf-8")
            if target.exists():
                shutil.rmtree(target)
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)

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
            return "the store is empty"
        flat = _flatten(spec)
        best: tuple[int, list[str]] | None = None
        for entry in entries:
            other = _flatten(entry.record["spec"])
            changed = sorted(name for name in flat.keys() | other.keys() if flat.get(name) != other.get(name))
            if best is None or len(changed) <= best[0]:
                best = len(changed), [_change(name, other.get(name), flat.get(name)) for name in changed]
        assert best is not None  # there are entries
        if not best[1]:  # it was stored between two looks
            return "it was not stored a moment ago"
        return "; ".join(best[1]) if len(best[1]) <= 3 else "nothing like it is stored"


def store() -> Store:
    """The store of this machine and checkout."""
    return Store()


def versions() -> dict[str, str]:
    """Versions that may matter to a number."""
    return {
        "lintrans": sys.modules[PACKAGE.name].__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def _flatten(spec: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted names for the leaves of a spec; a list is one leaf."""
    if isinstance(spec, dict):
        flat: dict[str, Any] = {}
        for name, value in spec.items():
            flat |= _flatten(value, f"{prefix}.{name}" if prefix else name)
        return flat
    return {prefix: spec}


def _change(name: str, old: Any, new: Any) -> str:
    if name == "numerics":
        return "the numerical code changed"
    if name.startswith("code."):
        return f"the code of {name.removeprefix('code.')} changed"
    if isinstance(old, list) or isinstance(new, list):
        return f"{name} changed"
    return f"{name} is {new}, not {old}"


def age(then: datetime) -> str:
    """How long ago, in words."""
    seconds = max(0.0, (datetime.now(UTC) - then).total_seconds())
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
