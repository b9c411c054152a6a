"""What unfinished results have so far, on disk: one folder a result, one file a loop.

A file is a digest (32 bytes) and a safetensors block, so that reading it executes nothing and half a file is noticed.
It is written aside, synced and renamed. Writing takes at most a SHARE of the time: after one that took a hundredth of a
second the next follows in two seconds. The folder goes when the result is stored.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from ..errors import brief
from ..files import folder_bytes, write_bytes
from ..unfinished import Kept, Part

SHARE = 0.005
"""Of the time, for writing."""
SOONEST = 1.0
"""Seconds between two writings at least."""
ABOUT = "about"
SUFFIX = ".checkpoint"


def encode(kept: Kept) -> bytes:
    """The content of a file."""
    about = torch.from_numpy(np.frombuffer(json.dumps(kept.about).encode(), np.uint8).copy())
    tensors = {f"tensor.{name}": value.detach().cpu().contiguous() for name, value in kept.tensors.items()}
    block = safetensors.torch.save({**tensors, ABOUT: about})
    return hashlib.sha256(block).digest() + block


def decode(content: bytes) -> Kept:
    """What :func:`encode` was given; a ValueError where the content is not what it wrote."""
    digest, block = content[:32], content[32:]
    if hashlib.sha256(block).digest() != digest:
        raise ValueError("its checksum is wrong")
    tensors = safetensors.torch.load(block)
    about = json.loads(tensors.pop(ABOUT).numpy().tobytes())
    return Kept({name.removeprefix("tensor."): value for name, value in tensors.items()}, about)


@dataclass(frozen=True)
class Orphan:
    """A result that was begun and not finished."""

    path: Path

    @property
    def key(self) -> str:
        return self.path.name

    @property
    def created(self) -> datetime:
        """When it was written to last."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)

    @property
    def bytes(self) -> int:
        return folder_bytes(self.path)

    def parts(self) -> Iterator[Kept]:
        """What can be read of it, the newest first."""
        for file in sorted(self.path.glob(f"*{SUFFIX}"), reverse=True):
            with contextlib.suppress(OSError, ValueError):
                yield decode(file.read_bytes())

    @property
    def title(self) -> str:
        return next((str(kept.about["title"]) for kept in self.parts()), "(nothing that can be read)")

    @property
    def where(self) -> str:
        """Where it stands, in words."""
        return next((str(kept.about["where"]) for kept in self.parts()), "its beginning")


class Checkpoints:
    """The unfinished work on one result: a keeper for :func:`lintrans.unfinished.kept_by`.

    Args:
        folder: its own.
        title: that of the result, for people.
        made: versions and machine; what was kept by others is not used.
        say: called with a line where something is wrong.
    """

    def __init__(self, folder: Path, title: str, made: dict[str, str], say: Callable[[str], None]) -> None:
        self.folder, self.title, self.made, self.say = folder, title, made, say
        self._count = 0
        self._failed = False
        self._next = time.monotonic() + SOONEST
        self.seconds, self.writings = 0.0, 0
        """What writing took, and how often it was done."""

    def begun(self) -> Orphan | None:
        """What there is already."""
        found = Orphan(self.folder)
        return found if next(found.parts(), None) is not None else None

    def __call__(self, label: str) -> Part:
        self._count += 1
        return _File(self, self.folder / f"{self._count:03d}-{label}{SUFFIX}")

    def load(self, file: Path, made: dict[str, str], use: Callable[[Kept], None]) -> bool:
        """Use a part; one that is damaged, or was made elsewhere, is said and removed."""
        try:
            kept = decode(file.read_bytes())
            if differs := sorted(name for name, value in made.items() if kept.about["made"].get(name) != value):
                raise ValueError(f"it was made with another {' and '.join(differs)}")
            use(kept)
        except FileNotFoundError:
            return False
        except Exception as error:  # whatever a damaged file makes its reader raise
            self.say(f"what was kept of it is not used ({brief(error)})")
            with contextlib.suppress(OSError):
                file.unlink()
            return False
        return True

    def keep(self, file: Path, made: dict[str, str], state: Callable[[], Kept], now: bool) -> None:
        """Write a part where it is time to."""
        began = time.monotonic()
        if began < self._next and not now:
            return
        try:
            kept = state()
            content = encode(Kept(kept.tensors, {"title": str(self.title), "made": made, **kept.about}))
            write_bytes(file, content)
        except Exception as error:  # a full disk, a tensor of an odd kind: the work goes on
            if not self._failed:
                self.say(f"its progress cannot be kept ({brief(error)}: {self.folder})")
            self._failed = True
        spent = time.monotonic() - began
        self.seconds, self.writings = self.seconds + spent, self.writings + 1
        self._next = time.monotonic() + max(SOONEST, spent / SHARE)

    def drop(self) -> None:
        """Remove all of it: the result is stored."""
        shutil.rmtree(self.folder, ignore_errors=True)


class _File:
    """One loop's file."""

    def __init__(self, keeper: Checkpoints, path: Path) -> None:
        self._keeper, self._path, self._made = keeper, path, keeper.made

    def load(self, use: Callable[[Kept], None], **made: str) -> bool:
        self._made = {**self._keeper.made, **made}
        return self._keeper.load(self._path, self._made, use)

    def keep(self, state: Callable[[], Kept], now: bool = False) -> None:
        self._keeper.keep(self._path, self._made, state, now)


def orphans(folder: Path) -> list[Orphan]:
    """Unfinished results below a folder, the oldest first."""
    found = [Orphan(path) for path in folder.glob("*") if path.is_dir()]
    return sorted(found, key=lambda orphan: (orphan.created, orphan.key))
