"""The store: an experiment is computed once, found again by any chapter, and never half-written.

An experiment is known by a hash of all that defines its numbers: task, model, runs, steps, batch, probes, snapshots,
dtype, and a digest of the numerical modules' syntax (so comments and plots change nothing, and nobody must remember a
version number). The device and the engine are recorded, not hashed: prompts are the same on all of them to rounding.

The store lies in ``$LINTRANS_STORE`` if set, else in ``results/`` of the checkout of an editable install, else in the
user's cache folder. An experiment is a folder ``experiments/HASH`` of ``record.json`` (what made it), two parquet
frames and one safetensors file; it is written beside its place and renamed into it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import platform
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Unpack

import filelock
import numpy as np
import pandas as pd
import platformdirs
import safetensors.torch
import torch

from .history import History
from .models import LinearTransformer
from .probes import TestLoss
from .runs import Runs
from .sources import digest_of
from .tasks import LinearRegression
from .training import PLANNED, TrainOptions, plan_training, train

VARIABLE = "LINTRANS_STORE"
PACKAGE = Path(__file__).parent
NUMERICAL = (
    "random",
    "tasks",
    "models",
    "optimizers",
    "runs",
    "probes",
    "training",
    "engines/base",
    "engines/reference",
    "engines/laws",
    "engines/products",
    "engines/algebra",
    "engines/vector",
    "engines/draw",
    "engines/kernels",
    "engines/loops",
    "engines/cpu",
    "engines/cuda",
    "engines/derivatives",
)
"""Modules whose code decides the numbers of an experiment."""


def store_path() -> Path:
    """Where the store lies; see the module's text."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).expanduser().resolve()
    checkout = PACKAGE.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "_toc.yml").is_file():
        return checkout / "results"
    return Path(platformdirs.user_cache_dir("lintrans", appauthor=False)) / "results"


def canonical(value: Any) -> Any:
    """A value as JSON that does not depend on the order of anything: frozen dataclasses by class name and fields."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: canonical(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"is": type(value).__name__, **fields}
    if isinstance(value, Runs | list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(
        f"{value!r} ({type(value).__name__}) cannot be part of a stored experiment: "
        "give a frozen dataclass of plain values"
    )


@cache
def numerics_digest() -> str:
    """Digest of the numerical modules."""
    return digest_of(PACKAGE / f"{name}.py" for name in NUMERICAL)


@dataclass(frozen=True)
class Entry:
    """A stored experiment, as its record tells it."""

    path: Path
    record: dict[str, Any]

    @property
    def key(self) -> str:
        """Its hash."""
        return self.path.name

    @property
    def title(self) -> str:
        """What it was called when it was computed."""
        return str(self.record["title"])

    @property
    def created(self) -> datetime:
        """When it was computed, UTC."""
        return datetime.fromisoformat(self.record["created"])

    @property
    def device(self) -> str:
        """Where it was computed."""
        return str(self.record["info"]["device"])

    @property
    def seconds(self) -> float:
        """How long that took."""
        return float(self.record["info"]["seconds"])

    @property
    def bytes(self) -> int:
        """Its size on disk."""
        return sum(file.stat().st_size for file in self.path.iterdir() if file.is_file())


@dataclass(frozen=True)
class Use:
    """An experiment that this process asked for."""

    title: str
    key: str
    reused: bool
    device: str
    created: datetime
    seconds: float


_USED: list[Use] = []


def used() -> list[Use]:
    """The experiments this process asked for, in order; a page's provenance."""
    return list(_USED)


class Store:
    """A folder of experiments."""

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = store_path() if path is None else Path(path)

    @property
    def _experiments(self) -> Path:
        return self.path / "experiments"

    def entries(self) -> list[Entry]:
        """All experiments that can be read, oldest first."""
        found = []
        for folder in self._experiments.glob("*"):
            if (entry := self._entry(folder)) is not None:
                found.append(entry)
        return sorted(found, key=lambda entry: (entry.created, entry.key))

    @staticmethod
    def _entry(folder: Path) -> Entry | None:
        try:
            entry = Entry(folder, json.loads((folder / "record.json").read_text(encoding="utf-8")))
            _ = entry.created, entry.device, entry.seconds, entry.title, entry.record["spec"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return entry

    def size(self) -> int:
        """Bytes on disk, verdicts and leftovers included."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    def remove(self, key: str) -> None:
        """Delete one experiment.

        Raises:
            KeyError: there is none of that hash.
        """
        names = {folder.name: folder for folder in self._experiments.glob("*")}  # so that no key leads out of here
        if key not in names:
            raise KeyError(f"no experiment {key!r} in {self.path}")
        shutil.rmtree(names[key])

    def load(self, key: str) -> tuple[Entry, History] | None:
        """An experiment, or None where there is none or it cannot be read."""
        folder = self._experiments / key
        entry = self._entry(folder)
        if entry is None:
            return None
        try:
            tensors = safetensors.torch.load_file(folder / "snapshots.safetensors")
            history = History(
                frame=pd.read_parquet(folder / "frame.parquet"),
                runs=pd.read_parquet(folder / "runs.parquet"),
                snapshots={
                    int(step): tensor for step, tensor in sorted(tensors.items(), key=lambda item: int(item[0]))
                },
                steps=int(entry.record["steps"]),
                info=entry.record["info"],
            )
        except Exception:  # whatever a damaged file makes its reader raise, the experiment is computed again
            return None
        return entry, history

    def save(self, key: str, title: str, spec: dict[str, Any], history: History) -> Entry:
        """Write an experiment beside its place, then rename it into it; one that is there already stays."""
        self._experiments.mkdir(parents=True, exist_ok=True)
        record = {
            "title": title,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "steps": history.steps,
            "info": history.info,
            "versions": versions(),
            "spec": spec,
        }
        place = self._experiments / key
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=self._experiments))
        try:
            history.frame.to_parquet(part / "frame.parquet", index=False)
            history.runs.to_parquet(part / "runs.parquet", index=False)
            tensors = {str(step): tensor.contiguous() for step, tensor in history.snapshots.items()}
            safetensors.torch.save_file(tensors, part / "snapshots.safetensors")
            (part / "record.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
            if place.exists() and self.load(key) is None:
                shutil.rmtree(place)  # damaged
            if not place.exists():
                part.rename(place)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return Entry(place, record)

    def lock(self, key: str) -> filelock.BaseFileLock:
        """A lock that dies with its process, so that two asking at once compute once."""
        folder = self.path / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(folder / f"{key}.lock")

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
        if not best[1]:
            return "the stored copy is damaged"
        return "; ".join(best[1]) if len(best[1]) <= 3 else "nothing like it is stored"


def store() -> Store:
    """The store of this machine and checkout."""
    return Store()


def versions() -> dict[str, str]:
    """Versions that may matter to a number."""
    from . import __version__

    return {
        "lintrans": __version__,
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


def experiment(
    model: LinearTransformer,
    task: LinearRegression,
    runs: Runs,
    *,
    title: str = "experiment",
    store: Store | None = None,
    **options: Unpack[TrainOptions],
) -> History:
    """What :func:`lintrans.train` returns for the same arguments: found in the store, or computed and stored.

    Prints one line that says which, and why. A finished experiment survives whatever happens next (Ctrl-C, a failing
    cell); of two processes that ask for the same one, one computes and the other waits. Where the store cannot be
    written, the result is computed and the line says that it was not kept.

    Args:
        model: as for :func:`lintrans.train`.
        task: as for :func:`lintrans.train`.
        runs: as for :func:`lintrans.train`.
        title: a name for people; it does not enter the hash.
        store: where to look; None: :func:`store_path`.
        **options: as for :func:`lintrans.train`: steps, batch, clip, probes, ...
    """
    snapshots = tuple(options.get("snapshots", ()))
    probes = tuple(options.get("probes", (TestLoss(),)))
    options = {**options, "snapshots": snapshots, "probes": probes}
    planned: dict[str, Any] = {name: value for name, value in options.items() if name in PLANNED}
    plan = plan_training(model, task, runs, **planned)
    spec = {
        "task": canonical(task),
        "model": canonical(model),
        "runs": canonical(plan.runs),
        "steps": plan.steps,
        "cooldown": plan.cooldown,
        "batch": plan.batch,
        "probes": canonical(probes),
        "snapshots": sorted(snapshots),
        "dtype": canonical(plan.dtype),
        "numerics": numerics_digest(),
    }
    key = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]
    place = store or Store()

    def reuse() -> History | None:
        found = place.load(key)
        if found is None:
            return None
        entry, history = found
        made = f"computed {age(entry.created)} on {entry.device} in {entry.seconds:.0f} s"
        print(f"{title}: reused {key[:8]}, {made}", flush=True)
        _USED.append(Use(title, key, True, entry.device, entry.created, entry.seconds))
        return history

    def compute(note: str) -> History:
        print(f"{title}: computing {key[:8]}, {note}", flush=True)
        history = train(model, task, runs, title=title, **options)
        now = datetime.now(UTC)
        _USED.append(Use(title, key, False, history.info["device"], now, history.info["seconds"]))
        return history

    if (history := reuse()) is not None:
        return history
    try:
        lock = place.lock(key)
        if not _acquired(lock):
            print(f"{title}: {key[:8]} is being computed by another process, waiting for it", flush=True)
            lock.acquire()
    except OSError as error:
        return compute(f"which will not be kept ({error.strerror or error}: {place.path})")
    try:
        history = reuse()  # by whom we waited for
        if history is None:
            history = compute(f"because {place.why(spec)}")
            try:
                place.save(key, title, spec, history)
            except OSError as error:
                print(f"{title}: not kept ({error.strerror or error}: {place.path})", flush=True)
    finally:
        lock.release()
    return history


def _acquired(lock: filelock.BaseFileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return False
    return True
